"""DCE: what no output depends on is removed (dead code), in loops and branches too.

Shape: analysis backward, then filter. Assumes: operations have no effects.
Guarantees: the same outputs, bit for bit; every input of the whole graph stays. Of a loop, results that nobody reads
go, with the carries and operands that only they need (a carry that only feeds itself is dead); of a branch, unused
results and operands that no branch reads. An operation that would have raised and that nobody reads is gone.
Cost: linear in the nodes; those of nested loops once for each level and each of their results.
"""

from __future__ import annotations

from ..graph.graph import Graph
from ..graph.nodes import Node, Var
from .build import Builder


def dce(graph: Graph) -> Graph:
    """The graph with only the nodes, carries, results and operands that its outputs need."""
    needed = {atom for atom in graph.outputs if isinstance(atom, Var)}
    kept: list[tuple[Node, Pruned | None]] = []
    for node in reversed(graph.nodes):
        used = [var in needed for var in node.outputs or ()]
        if any(used):
            pruned = None if node.primitive.prune is None else Pruned(node, used)
            kept.append((node, pruned))
            needed.update(node.inputs if pruned is None else [node.inputs[k] for k in pruned.operands])
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
