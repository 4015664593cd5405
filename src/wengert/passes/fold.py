"""Fold: what depends on constants only is computed now.

Shape: rebuild. Assumes: operations are functions of their operands (all primitives are).
Guarantees: the value that `primitive.numpy` gives, with the declared dtype; an operation that raises is left for
the run. Results are limited in size (`constants.worth_keeping`); loops are not run, as they may never end.
Cost: linear in the nodes, plus one evaluation of each folded node.
"""

from __future__ import annotations

from ..graph.graph import Graph
from .build import Builder, everywhere, known
from .constants import computed, worth_keeping


@everywhere
def fold(graph: Graph) -> Graph:
    """The graph with operations on constants replaced by their results."""
    builder = Builder(graph)
    for node in graph.nodes:
        inputs = builder.atoms(node.inputs)
        types = [var.type for var in node.outputs or ()]
        constants = None
        if (
            all(known(atom) for atom in inputs)
            and not node.primitive.higher_order
            and worth_keeping(node.primitive, inputs, types)  # type: ignore[arg-type]
        ):
            constants = computed(node.primitive, inputs, types)  # type: ignore[arg-type]
        if constants is None:
            builder.keep(node)
        else:
            for var, constant in zip(node.outputs or (), constants, strict=True):
                builder.substitute(var, constant)
    return builder.finish()
