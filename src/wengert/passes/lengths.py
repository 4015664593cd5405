"""Lengths that only the run knows, under new names: a body that is put in several places has others in each.

Shape: rebuild. Assumes: nothing. Guarantees: the same graph, but for the identity of its edges and of the `Dim`s that
its inputs do not mention. A graph without such lengths stays as it is. Cost: linear in the nodes, nested ones included.
"""

from __future__ import annotations

from typing import Any

from ..graph.graph import Graph
from ..graph.nodes import Atom, Node, Var
from ..graph.primitive import Primitive
from ..graph.types import ArrayType, Dim


def with_new_lengths(graph: Graph) -> Graph:
    """A copy in which every unknown length that the graph makes is a new one."""
    if not any(isinstance(n, Dim) for node in graph.all_nodes() for var in node.outputs or () for n in var.shape):
        return graph
    own = {n for var in graph.inputs for n in var.shape if isinstance(n, Dim)}
    return _Copy({n: n for n in own}).graph(graph)


class _Copy:
    """Copies graphs; `now` says which length stands for an old one."""

    def __init__(self, now: dict[Dim, Dim]) -> None:
        self.now = now
        self.graphs: dict[int, Graph] = {}

    def value(self, value: Any) -> Any:
        """A parameter of an operation, a type, a length, or anything else."""
        if isinstance(value, Dim):
            if value not in self.now:
                self.now[value] = Dim()
            return self.now[value]
        if isinstance(value, Graph):
            return self.graph(value)
        if isinstance(value, ArrayType):
            return value._replace(shape=self.value(value.shape))
        if type(value) is tuple:
            parts = tuple([self.value(part) for part in value])
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
        return value

    def primitive(self, primitive: Primitive) -> Primitive:
        old = list(primitive.arguments().values())
        new = [self.value(value) for value in old]
        return primitive if all(a is b for a, b in zip(old, new, strict=True)) else type(primitive)(*new)

    def graph(self, graph: Graph) -> Graph:
        if id(graph) not in self.graphs:
            edges: dict[Atom, Atom] = {}

            def edge(var: Var, node: Node | None, k: int) -> Var:
                made = Var.of(self.value(var.type), getattr(var, "name", None), node, k)
                edges[var] = made
                return made

            inputs = [edge(var, None, 0) for var in graph.inputs]
            nodes = []
            for node in graph.nodes:
                new = node.replace(tuple([edges.get(a, a) for a in node.inputs]), (), self.primitive(node.primitive))
                new.outputs = tuple([edge(var, new, k) for k, var in enumerate(node.outputs or ())])
                nodes.append(new)
            outputs = [edges.get(atom, atom) for atom in graph.outputs]
            self.graphs[id(graph)] = graph.replace(inputs=inputs, nodes=nodes, outputs=outputs, values=None)
        return self.graphs[id(graph)]
