"""DCE: what no output depends on is removed (dead code), in loops and branches too.

Shape: analysis backward, then filter. Assumes: only operations with the fact "effect" have one.
Guarantees: the same outputs, bit for bit; every input of the whole graph stays. Of a loop, results that nobody reads
go, with the carries and operands that only they need (a carry that only feeds itself is dead); of a branch, unused
results and operands that no branch reads. An operation that would have raised and that nobody reads is gone.
Cost: linear in the nodes; those of nested loops once for each level and each of their results.
"""

from __future__ import annotations

from typing import Any

from ..graph.effects import effectful
from ..graph.graph import Graph
from ..graph.nodes import Node
from .build import Builder


def dce(graph: Graph) -> Graph:
    """The graph with only the nodes, carries, results and operands that its outputs need."""
    needed: set[Any] = set(graph.outputs)
    kept: list[tuple[Node, Pruned | None]] = []
    for node in reversed(graph.nodes):
        if needed.isdisjoint(node.outputs or ()) and not effectful(node):
            continue
        if node.primitive.prune is None:
            kept.append((node, None))
            needed.update(node.inputs)
        else:
            smaller = Pruned(node, [var in needed for var in node.outputs or ()])
            kept.append((node, smaller))
            needed.update([node.inputs[k] for k in smaller.operands])
    if len(kept) == len(graph.nodes) and all(pruned is None or pruned.unchanged for _, pruned in kept):
        return graph
    builder = Builder(graph)
    builder.changed = len(kept) < len(graph.nodes)
    for node, pruned in reversed(kept):
        if pruned is None or pruned.unchanged:
            builder.keep(node)
        else:
            inputs = builder.atoms([node.inputs[k] for k in pruned.operands])
            outputs = [(node.outputs or ())[j] for j in pruned.results]
            builder.copy(node, inputs, pruned.primitive, outputs)
    return builder.finish()


class Pruned:
    """A loop or branch without what its used results do not need."""

    def __init__(self, node: Node, used: list[bool]) -> None:
        assert node.primitive.prune is not None
        self.primitive, self.operands, self.results = node.primitive.prune(used, dce)
        self.unchanged = (
            len(self.operands) == len(node.inputs)
            and len(self.results) == len(used)
            and all(a is b for (_, a), (_, b) in zip(self.primitive.subgraphs, node.subgraphs, strict=True))
        )
