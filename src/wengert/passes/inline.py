"""Inline: a `switch` whose index is a constant becomes the nodes of the branch it selects, a call those of its body.

Shape: rebuild. Assumes: branches and bodies have the types of the operands.
Guarantees: the same values, bit for bit, the same derivatives and errors. An index out of bounds is left for the
run to complain about, and so is a single branch under an index that only the run knows. Calls that say so
(`inline = False`) stay, and all calls do with `calls=False`. With `final=True` calls lose derivatives of their own and
are put in place as well: for graphs that nobody differentiates any more.
Cost: linear in the nodes, those of the chosen branches and bodies included, as often as they are put somewhere.
"""

from __future__ import annotations

from typing import Any

from ..graph.graph import Graph
from ..graph.nodes import Node
from .build import Builder, everywhere, known
from .lengths import with_new_lengths


@everywhere
def inline(graph: Graph, calls: bool = True, final: bool = False) -> Graph:
    """The graph with branches whose choice is known put in place of the choice, and with bodies in place of calls."""
    if not any("branch" in node.primitive.facts or "call" in node.primitive.facts for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        if not opened(builder, node, calls, final):
            builder.keep(node)
    return builder.finish()


def opened(builder: Builder, node: Node, calls: bool, final: bool) -> bool:
    """Put the nodes of the graph that a node surely runs in its place, if there is such a graph."""
    graph: Graph | None = None
    operands = builder.atoms(node.inputs)
    if "branch" in node.primitive.facts:
        index, *rest = operands
        graph = node.primitive.choose(index.value) if known(index) else None  # type: ignore[attr-defined, union-attr]
        operands = tuple(rest)
    elif "call" in node.primitive.facts and calls:
        call: Any = node.primitive
        if call.inline or (final and "custom" in call.facts):
            graph = with_new_lengths(call.body)
    if graph is None or any(var.type.weak and not a.type.weak for var, a in zip(graph.inputs, operands, strict=True)):
        return False
    # The graph has edges of its own, and other ones each time it is put somewhere.
    given = [builder.fit(atom, var.type, node) or atom for var, atom in zip(graph.inputs, operands, strict=True)]
    outside, builder.now = builder.now, dict(zip(graph.inputs, given, strict=True))
    for inner in graph.nodes:
        if not opened(builder, inner, calls, final):
            builder.copy(inner, builder.atoms(inner.inputs))
    results, builder.now = builder.atoms(graph.outputs), outside
    for old, atom in zip(node.outputs or (), results, strict=True):
        fitted = builder.fit(atom, old.type, node)
        assert fitted is not None, "a branch has the types of the switch, a body those of the call"
        builder.substitute(old, fitted)
    return True
