"""Inline: a `switch` whose index is a constant becomes the nodes of the branch it selects.

Shape: rebuild. Assumes: branches have the types of the operands.
Guarantees: the same values, bit for bit, the same derivatives and errors. An index out of bounds is left for the
run to complain about, and so is a single branch under an index that only the run knows.
Cost: linear in the nodes, those of the chosen branches included.
"""

from __future__ import annotations

from ..graph.graph import Graph
from ..graph.nodes import Node
from .build import Builder, everywhere, known


@everywhere
def inline(graph: Graph) -> Graph:
    """The graph with branches whose choice is known put in place of the choice."""
    builder = Builder(graph)
    for node in graph.nodes:
        if not opened(builder, node):
            builder.keep(node)
    return builder.finish()


def opened(builder: Builder, node: Node) -> bool:
    """Put the nodes of the branch that a node surely runs in its place, if there is such a branch."""
    if "branch" not in node.primitive.facts:
        return False
    index, *operands = builder.atoms(node.inputs)
    branch = node.primitive.choose(index.value) if known(index) else None  # type: ignore[attr-defined, union-attr]
    if branch is None:
        return False
    # The branch has edges of its own, and other ones each time it is put somewhere.
    outside, builder.now = builder.now, dict(zip(branch.inputs, operands, strict=True))
    for inner in branch.nodes:
        if not opened(builder, inner):
            builder.copy(inner, builder.atoms(inner.inputs))
    results, builder.now = builder.atoms(branch.outputs), outside
    for old, atom in zip(node.outputs or (), results, strict=True):
        fitted = builder.fit(atom, old.type, node)
        assert fitted is not None, "a branch has the types of the switch"
        builder.substitute(old, fitted)
    return True
