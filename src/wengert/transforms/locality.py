"""Functions of selected values: f(x) = g(x[i], x) for constant indices i, and the Jacobian of f from that of g.

In a sum over observations, elements, bonds or edges each row reads a few of many unknowns: `camera[i]`, `point[j]`.
Taken in the unknowns, rows that share one cannot be computed together; taken in the gathered copies they can, since
each row has copies of its own. So one sweep of reverse mode for each component of a row gives everything, and the
entries go to the columns that the copies came from. The neighbours in a stencil are copies as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ..graph.graph import Graph
from ..graph.nodes import Const, Var
from ..graph.stage import live_nodes
from ..ops.dependence import Joint, Operand
from ..ops.families import Linear


class Cut(NamedTuple):
    """A graph in two: `outer` gathers, `inner` computes from the gathered values and the inputs.

    wanted : which inputs of `inner` the derivative is taken in. columns : for each of their elements, one after the
    other, the element of the inputs that it is; -1 for a constant.
    """

    outer: Graph
    inner: Graph
    wanted: list[bool]
    columns: np.ndarray[Any, Any]


def cut_gathers(graph: Graph, wanted: Sequence[bool], every: bool = False) -> Cut | None:
    """The graph cut where elements of the inputs are repeated; None if they nowhere are.

    With `every`, cut behind all selections, as those of a stencil: `x[1:]` and `x[:-1]` hold copies of one unknown.
    """
    selected: dict[Var, Any] = {}
    at = 0
    for var, w in zip(graph.inputs, wanted, strict=True):
        if w:
            selected[var] = np.arange(at, at + var.type.size)
            at += var.type.size
    identity = np.arange(at)
    gathered: dict[Var, Any] = {}
    for node in graph.nodes:
        index = _selection(node, selected)
        if index is not None:
            own = index[index >= 0]
            repeated = len(own) and np.bincount(own).max() > 1
            (gathered if repeated else selected)[node.outputs[0]] = index  # type: ignore[index]
        elif every:
            for atom in node.inputs:
                if atom in selected and atom not in graph.inputs:
                    gathered[atom] = selected[atom]
    copied = np.concatenate([np.zeros(0, int), *gathered.values()])
    if np.bincount(copied[copied >= 0], minlength=1).max() < 2:
        return None
    inner_nodes = [node for node in graph.nodes if not (node.outputs and node.outputs[0] in gathered)]
    inner_nodes = live_nodes(inner_nodes, graph.outputs)
    copies = [var for var in gathered if any(var in node.inputs for node in inner_nodes) or var in graph.outputs]
    outer = graph.replace(
        nodes=live_nodes(graph.nodes, copies), outputs=[*copies, *graph.inputs], in_tree=None, out_tree=None
    )
    inner = graph.replace(inputs=[*copies, *graph.inputs], nodes=inner_nodes, in_tree=None, out_tree=None)
    columns = np.concatenate([*(gathered[var] for var in copies), identity])
    return Cut(outer, inner, [True] * len(copies) + list(wanted), columns)


def _selection(node: Any, selected: dict[Var, Any]) -> Any:
    """Which elements of the inputs the result of a node consists of; None if it is more than a selection."""
    primitive = node.primitive
    if not isinstance(primitive, Linear) or "rearranging" not in primitive.facts or "elementwise" in primitive.facts:
        return None
    linear = primitive.linear_operands(len(node.inputs))
    if not all(isinstance(a, Const) or (k in linear and a in selected) for k, a in enumerate(node.inputs)):
        return None
    if all(isinstance(a, Const) for a in node.inputs):
        return None
    operands = [Operand(a.type, a.value if isinstance(a, Const) else None) for a in node.inputs]
    path = primitive.depends(operands, node.outputs[0].type)
    if not isinstance(path, Joint):
        return None
    index = np.ravel(path.index)
    given = [node.inputs[k] for k in path.operands]
    source = np.concatenate([np.full(a.type.size, -1) if isinstance(a, Const) else selected[a] for a in given])
    return np.where(index < 0, -1, np.append(source, -1)[index])


@dataclass(frozen=True, eq=False)
class Merge:
    """Where the entries of the inner Jacobian go: entry k is added to number `target[k]` of the whole one; -1 drops it.

    `order` is, if no two go to the same place, for each entry of the whole Jacobian the one that it is.
    """

    target: np.ndarray[Any, Any]
    count: int
    order: np.ndarray[Any, Any] | None


def merged(inner: Any, columns: np.ndarray[Any, Any], width: int) -> tuple[Any, Merge]:
    """The pattern in the inputs from that in the gathered values, and where its entries come from."""
    rows = np.repeat(np.arange(inner.shape[0]), np.diff(inner.indptr))
    owner = columns[inner.indices]
    keys = rows * width + owner
    found, place = np.unique(keys[owner >= 0], return_inverse=True)
    target = np.full(len(keys), -1)
    target[owner >= 0] = place
    indptr = np.searchsorted(found, np.arange(inner.shape[0] + 1) * width)
    pattern = csr_array(
        (np.ones(len(found), bool), (found % max(width, 1)).astype(np.int32), indptr.astype(np.int32)),
        shape=(inner.shape[0], width),
    )
    order = None
    if len(place) == len(found):
        order = np.empty(len(found), int)
        order[place] = np.flatnonzero(owner >= 0)
    return pattern, Merge(target, len(found), order)
