"""How long values live when a graph runs node by node: who dies after which node, who may be overwritten.

`graph.run` frees and overwrites by these answers, and `graph.live` predicts memory from the same ones, so that a
prediction and a run cannot drift apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .graph import Graph
from .nodes import Node, Var

WORTHWHILE = 4096
"""Bytes from which on writing a result over a dying operand pays."""


def last_uses(graph: Graph) -> list[tuple[Var, ...]]:
    """For each node the values that nothing reads after it, results of its own that nothing reads among them."""

    def find() -> list[tuple[Var, ...]]:
        kept: set[Any] = set(graph.outputs)
        dead: list[tuple[Var, ...]] = []
        for node in reversed(graph.nodes):
            found = [v for v in dict.fromkeys((*node.inputs, *(node.outputs or ()))) if v.__class__ is Var]
            dead.append(tuple([v for v in found if v not in kept]))
            kept.update(found)
        return dead[::-1]

    return graph.cached("last uses", find)  # type: ignore[no-any-return]


def ufunc_of(node: Node) -> Any:
    """The ufunc that computes a node, if it is one."""
    reference = node.primitive.reference
    return reference if "elementwise" in node.primitive.facts and isinstance(reference, np.ufunc) else None


def fresh(node: Node) -> bool:
    """Whether a node's result shares memory with none of its operands."""
    facts = node.primitive.facts
    return ufunc_of(node) is not None or "matmul" in facts or "reduction" in facts


def bytes_of(type: Any) -> int | None:
    """Bytes of the elements of a value; None if an extent is known only by the run."""
    count = type.dtype.itemsize
    for extent in type.shape:
        if extent.__class__ is not int:
            try:
                extent = int(extent)
            except TypeError:
                return None
        count *= extent
    return count  # type: ignore[no-any-return]


def overwritten(graph: Graph) -> dict[Node, Var]:
    """For elementwise nodes the dying operand that their result may be written over.

    The operand was made in this graph, has the type of the result, dies at this node, and shares memory with nothing:
    neither it nor anything that read it is a view, a loop or a branch.
    """

    def find() -> dict[Node, Var]:
        own: dict[Var, bool] = {}
        found: dict[Node, Var] = {}
        for node, dead in zip(graph.nodes, last_uses(graph), strict=True):
            outs = node.outputs or ()
            if ufunc_of(node) is not None and len(outs) == 1 and outs[0].shape and outs[0] not in dead:
                out = outs[0]
                size = bytes_of(out)
                if size is not None and size >= WORTHWHILE:
                    for var in dead:
                        if own.get(var) and var.shape == out.shape and var.dtype == out.dtype:
                            found[node] = var
                            break
            alone = fresh(node)
            if not alone:
                for atom in node.inputs:
                    own[atom] = False
            for out in outs:
                own[out] = alone
        return found

    return graph.cached("overwritten", find)  # type: ignore[no-any-return]
