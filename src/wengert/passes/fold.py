"""Fold: what depends on constants only is computed now.

Shape: rebuild. Assumes: operations are functions of their operands (all primitives are).
Guarantees: the value that `primitive.numpy` gives, with the declared dtype; an operation that raises is left for
the run. Results are limited in size (`constants.worth_keeping`); loops are not run, as they may never end.
Cost: linear in the nodes, plus one evaluation of each folded node.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.effects import effectful
from ..graph.graph import Graph
from ..graph.nodes import Const, Node, Var
from .build import Builder, everywhere, known
from .constants import computed, worth_keeping


@everywhere
def fold(graph: Graph) -> Graph:
    """The graph with operations on constants replaced by their results."""
    builder = Builder(graph)
    now = builder.now
    for node in graph.nodes:
        for atom in node.inputs:
            if atom.__class__ is Var and atom not in now:
                builder.keep(node)
                break
        else:
            constants = folded(node, builder.atoms(node.inputs))
            if constants is None:
                builder.keep(node)
            else:
                for var, constant in zip(node.outputs or (), constants, strict=True):
                    builder.substitute(var, constant)
    return builder.finish()


def folded(node: Node, inputs: Sequence[Any]) -> list[Const] | None:
    """The results of a node on constants; None if they are not known, too large or left for the run."""
    if node.primitive.higher_order or effectful(node) or not all(known(atom) for atom in inputs):
        return None
    types = [var.type for var in node.outputs or ()]
    return computed(node.primitive, inputs, types) if worth_keeping(node.primitive, inputs, types) else None
