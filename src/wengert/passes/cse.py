"""CSE: an operation that was done before on the same operands is not done again (common subexpressions).

Shape: rebuild. Assumes: operations are functions of their operands; facts "commutative" are true.
Guarantees: the same values, bit for bit (the sign of a zero of `maximum` and the bits of a NaN may follow the other
order of operands). The first of equal nodes stays, with its source and name. Nested graphs are compared by what
they compute, each level is searched by itself.
Cost: linear in the nodes and in the bytes of small constants.
"""

from __future__ import annotations

from typing import Any

from ..graph.effects import effectful
from ..graph.graph import Graph
from ..graph.nodes import Const, Node
from ..graph.primitive import Primitive
from .build import Builder, everywhere
from .constants import const_key


@everywhere
def cse(graph: Graph) -> Graph:
    """The graph with every expression computed once."""
    builder = Builder(graph)
    found: dict[Any, Node] = {}
    numbers: dict[Any, int] = {}  # of operations that are equal
    known: dict[int, int] = {}  # the same by identity, since comparing operations takes longer
    for node in graph.nodes:
        primitive = node.primitive
        number = known.get(id(primitive))
        if number is None:
            number = known[id(primitive)] = numbers.setdefault(primitive_key(primitive), len(numbers))
        inputs = builder.atoms(node.inputs)
        keys: list[Any] = [const_key(atom) if atom.__class__ is Const else atom for atom in inputs]
        if len(keys) == 2 and "commutative" in primitive.facts and hash(keys[0]) > hash(keys[1]):
            keys.reverse()
        key = (number, *keys)
        first = found.get(key)
        if first is None or effectful(node):
            builder.rewire(node, inputs)
            found[key] = node
        else:
            for var, same in zip(node.outputs or (), first.outputs or (), strict=True):
                builder.substitute(var, same)
    return builder.finish()


def primitive_key(primitive: Primitive) -> Any:
    """The primitive, or for one that holds graphs its parameters with the graphs described by what they compute."""
    if not primitive.higher_order:
        return primitive
    return type(primitive), tuple(parameter_key(value) for value in primitive.arguments().values())


def parameter_key(value: Any) -> Any:
    if isinstance(value, Graph):
        return structure(value)
    if isinstance(value, tuple):
        return tuple(parameter_key(item) for item in value)
    return value


def structure(graph: Graph) -> Any:
    """A description that is equal for graphs of the same operations on the same edges and constants."""

    def describe() -> Any:
        numbers: dict[Any, Any] = {var: k for k, var in enumerate(graph.inputs)}
        lines = []
        for node in graph.nodes:
            inputs = tuple([const_key(a) if isinstance(a, Const) else numbers[a] for a in node.inputs])
            lines.append((primitive_key(node.primitive), inputs))
            for var in node.outputs or ():
                numbers[var] = len(numbers)
        results = tuple(const_key(a) if isinstance(a, Const) else numbers[a] for a in graph.outputs)
        return tuple(var.type for var in graph.inputs), tuple(lines), results

    return graph.cached("structure", describe)
