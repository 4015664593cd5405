"""Hoist: what is the same in every step of a loop is computed once before it (loop-invariant code).

Shape: rebuild. Assumes: the constants of a loop stand first among its operands (`ops.control_flow.Loop`).
Guarantees: the same values, bit for bit, and no error that the loop would not have raised: out of a part that may
not run at all (the body of a `while_loop`, a `scan` of no steps) only operations that cannot fail are moved.
Mere rearrangements (reshape, transpose, broadcast, slice) stay inside, where they cost nothing, unless what is
moved needs them; so no broadcast array is stored.
Cost: linear in the nodes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph.effects import effectful
from ..graph.graph import Graph
from ..graph.nodes import Const, Node, Var
from ..ops.families import Linear
from .build import Builder, everywhere

TOTAL = frozenset({"reduction", "bilinear", "cumulative"})
"""Facts of operations that a type rule checks completely, so that running them cannot fail."""


@everywhere
def hoist(graph: Graph) -> Graph:
    """The graph with invariant operations of loops moved before them."""
    if not any("loop" in node.primitive.facts for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        if "loop" not in node.primitive.facts or not hoisted(builder, node):
            builder.keep(node)
    return builder.finish()


def hoisted(builder: Builder, node: Node) -> bool:
    """Write the loop with its invariants in front of it; False if there are none."""
    loop: Any = node.primitive
    parts = [
        split(g, count, sure) for (_, g), count, sure in zip(node.subgraphs, loop.constants, loop.enters, strict=True)
    ]
    if not any(part.moved for part in parts):
        return False
    inputs = builder.atoms(node.inputs)
    graphs, counts = [], []
    operands: list[Any] = []
    start = 0
    for (_, body), count, part in zip(node.subgraphs, loop.constants, parts, strict=True):
        outer: dict[Any, Any] = dict(zip(body.inputs, inputs[start : start + count], strict=False))
        for inner in part.moved:
            made = builder.emit(inner.primitive, [outer.get(atom, atom) for atom in inner.inputs], inner)
            outer.update(zip(inner.outputs or (), made, strict=True))
        graphs.append(without(body, count, part))
        operands += [*inputs[start : start + count], *(outer[var] for var in part.results)]
        counts.append(count + len(part.results))
        start += count
    builder.copy(node, (*operands, *inputs[start:]), loop.with_subgraphs(*graphs, constants=counts))
    return True


class Split(NamedTuple):
    """The invariants of a body: nodes to run before it, nodes that stay, edges to hand in."""

    moved: list[Node]
    stay: list[Node]
    results: list[Var]


def split(body: Graph, count: int, sure: bool) -> Split:
    """Which nodes of a body read only its first `count` inputs and are worth moving."""
    fixed: set[Any] = set(body.inputs[:count])
    invariant = []
    for node in body.nodes:
        reads_fixed = all(isinstance(atom, Const) or atom in fixed for atom in node.inputs)
        if reads_fixed and (sure or total(node)) and not effectful(node):
            invariant.append(node)
            fixed.update(node.outputs or ())
    moved: dict[Node, bool] = {}
    wanted: set[Any] = set()
    for node in reversed(invariant):
        if works(node) or any(var in wanted for var in node.outputs or ()):
            moved[node] = works(node)
            wanted.update(node.inputs)
    stay = []
    read: set[Any] = set(body.outputs)
    for node in reversed(body.nodes):
        free = node in moved and not moved[node]  # a rearrangement may be needed on both sides
        if node not in moved or (free and any(var in read for var in node.outputs or ())):
            stay.append(node)
            read.update(node.inputs)
    before = list(reversed(moved))
    results = [var for node in before if moved[node] for var in node.outputs or () if var in read]
    return Split(before, stay[::-1], results)


def works(node: Node) -> bool:
    """Whether an operation computes or copies something, rather than looking at its operand in another way."""
    facts = node.primitive.facts
    return "rearranging" not in facts or "elementwise" in facts


def total(node: Node) -> bool:
    """Whether running an operation cannot fail (powers of integers can, and so can look-ups by index)."""
    primitive = node.primitive
    if "elementwise" in primitive.facts:
        return all(var.dtype.kind in "fcb" for var in node.outputs or ())
    if "rearranging" in primitive.facts:
        return isinstance(primitive, Linear) and len(primitive.linear_operands(len(node.inputs))) == len(node.inputs)
    return not TOTAL.isdisjoint(primitive.facts)


def without(body: Graph, count: int, part: Split) -> Graph:
    """The body that is handed the results instead of computing them."""
    if not part.moved:
        return body
    given = [Var.of(var.type, var.label) for var in part.results]
    inner = Builder(body)
    for old, new in zip(part.results, given, strict=True):
        inner.substitute(old, new)
    for node in part.stay:
        inner.keep(node)
    return inner.finish().replace(inputs=[*body.inputs[:count], *given, *body.inputs[count:]])
