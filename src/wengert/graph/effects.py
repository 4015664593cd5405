"""Operations that do something beside giving a result: they stay, and stay in order, whoever reads their result."""

from __future__ import annotations

from .graph import Graph
from .nodes import Node


def effectful(node: Node) -> bool:
    """Whether an operation, or one inside it, has an effect (fact "effect")."""
    primitive = node.primitive
    if not primitive.higher_order:
        return "effect" in primitive.facts
    return any(effects(graph) for _, graph in node.subgraphs)


def effects(graph: Graph) -> list[Node]:
    """The nodes of a graph that have effects."""
    return graph.cached("effects", lambda: [node for node in graph.nodes if effectful(node)])  # type: ignore[no-any-return]
