"""What memory a graph needs when `graph.run` runs it: live bytes at every node, known before running.

Counted is what a run allocates: intermediate values, results, the working memory of operations. Arguments and
constants exist already. Views cost nothing and keep what they look at alive; results written over dying operands cost
nothing. The answers of `graph.lifetimes` are the ones that runs act on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from .cost import held, is_view
from .graph import Graph
from .lifetimes import last_uses, overwritten, ufunc_of
from .nodes import Node, Var

OBJECT = 112
"""Bytes of an array object beside its elements."""
FRUGAL = (np.where,)
"""Functions of NumPy, other than ufuncs, that need no working memory."""
SCALAR = 32
"""Bytes of a NumPy scalar."""


class Moment(NamedTuple):
    """A node at work. Bytes: `peak` while it runs, `after` when it is done and the dead are dropped."""

    node: Node
    peak: int
    after: int


class Live(NamedTuple):
    """The memory of a run.

    moments : one for each node. peak : the most at any moment. at : the position of the node where that is.
    sizes : bytes that each value holds of its own (0 for views and what is written over an operand).
    held : at the peak, the values alive and their bytes, the largest first; `work` what the node there needs besides.
    """

    moments: tuple[Moment, ...]
    peak: int
    at: int
    sizes: Mapping[Var, int]
    held: tuple[tuple[Var, int], ...]
    work: int


def live(graph: Graph) -> Live:
    """The memory that a run of the graph needs."""
    return graph.cached("live", lambda: _simulate(graph))  # type: ignore[no-any-return]


def _simulate(graph: Graph) -> Live:
    over = overwritten(graph)
    layouts: dict[Var, Any] = {}
    base: dict[Any, Var] = {}
    """For a view the value whose memory it shares."""
    members: dict[Var, int] = {}
    """How many living values share the memory of one."""
    sizes: dict[Var, int] = dict.fromkeys(graph.inputs, 0)
    alive: dict[Var, int] = {}
    moments = []
    now = peak = work = 0
    at = -1
    ends: dict[Var, int] = {}
    """At which node the memory of a value is given back."""
    begins: dict[Var, int] = {}
    for k, (node, dead) in enumerate(zip(graph.nodes, last_uses(graph), strict=True)):
        outs = node.outputs or ()
        target = over.get(node)
        extra = workspace(node)
        for out in outs:
            owner = target if target is not None else _shared(node, out, base, layouts)
            if owner is None:
                sizes[out] = alive[out] = footprint(out)
                begins[out] = k
                now += alive[out]
                members[out] = 1
            else:
                owner = base.get(owner, owner)
                base[out] = owner
                sizes[out] = 0
                if owner in members:
                    members[owner] += 1
        if now + extra > peak:
            peak, at, work = now + extra, k, extra
        during = now + extra
        for var in dead:
            layouts.pop(var, None)
            owner = base.get(var, var)
            if owner in members:
                members[owner] -= 1
                if not members[owner]:
                    now -= alive.pop(owner)
                    ends[owner] = k
        moments.append(Moment(node, during, now))
    never = len(graph.nodes)
    then = [(var, sizes[var]) for var, begin in begins.items() if begin <= at <= ends.get(var, never)]
    held_then = tuple(sorted(then, key=lambda item: -item[1]))
    return Live(tuple(moments), peak, at, sizes, held_then, work)


def footprint(var: Any) -> int:
    """Bytes of a value with its object."""
    return held(var) + OBJECT if var.shape else SCALAR


def _shared(node: Node, out: Var, base: dict[Any, Var], layouts: dict[Var, Any]) -> Var | None:
    """The operand whose memory a result shares, None if it has its own."""
    if "identity" in node.primitive.facts:
        return node.inputs[0] if node.inputs[0].__class__ is Var else None
    if not is_view(node) or not out.shape:
        return None
    source = node.inputs[0]
    if source.__class__ is not Var:
        return None
    layout = layouts.get(source)
    if layout is None:
        layout = layouts[source] = _dense(source)
    if layout is NotImplemented:
        return None
    try:
        found = (
            np.reshape(layout, out.shape, copy=False)
            if "row-major" in node.primitive.facts
            else node.primitive.numpy(layout)
        )
    except (ValueError, TypeError, IndexError):  # cannot be seen without a copy
        return None
    layouts[out] = found
    return source


def _dense(var: Var) -> Any:
    """An array of this type without memory of its own, whose elements are never read."""
    if any(n.__class__ is not int for n in var.shape) or not var.shape:
        return NotImplemented
    strides, step = [], int(var.dtype.itemsize)
    for extent in reversed(var.shape):
        strides.append(step)
        step *= max(1, extent)
    one = np.empty(1, var.dtype)
    return np.lib.stride_tricks.as_strided(one, var.shape, strides[::-1], writeable=False)


def workspace(node: Node) -> int:
    """Bytes that a node needs beside its operands and results: what the primitive states, otherwise by its family."""
    primitive = node.primitive
    inner = [live(graph).peak for _, graph in node.subgraphs]
    if inner:
        return max(inner) + _carried(node)
    if primitive.workspace is not None:
        return int(primitive.workspace(*[atom.type for atom in node.inputs]))
    facts = primitive.facts
    cheap = ufunc_of(node) is not None or primitive.reference in FRUGAL
    cheap = cheap or not {"rearranging", "reduction", "matmul", "identity"}.isdisjoint(facts)
    if cheap:
        return 0
    return 2 * sum(held(var) for var in node.outputs or ())


def _carried(node: Node) -> int:
    """A loop holds the carries of two steps at a time."""
    count = getattr(node.primitive, "carries", 0)
    return sum(footprint(var) for var in (node.outputs or ())[: count if isinstance(count, int) else 0])
