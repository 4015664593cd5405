"""Simplify: algebraic identities (`identities.py`).

Shape: local rules. Assumes: facts of operations are true.
Guarantees: the same bits (those of a NaN and the zeros of a strong product aside), types and derivatives; with
`allow`, differences of the kinds it names (see `rules.py`). No node is added that costs more than the one replaced.
Cost: linear in the nodes, times the number of rules that start with a node's operation.
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph.graph import Graph
from .build import everywhere
from .identities import IDENTITIES
from .rewrite import rewrite


@everywhere
def simplify(graph: Graph, allow: Collection[str] = ()) -> Graph:
    """The graph with algebraic identities applied: the exact ones, and those that change only what `allow` names."""
    return rewrite(graph, IDENTITIES, allow)
