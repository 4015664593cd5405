"""What a notebook shows for a graph."""

from __future__ import annotations

from ..graph.graph import Graph
from .place import MissingExtraError
from .svg import to_svg


def _repr_svg_(graph: Graph) -> str | None:
    """The still picture; without fast-sugiyama None, so that the notebook shows text."""
    try:
        return to_svg(graph)
    except MissingExtraError:
        return None
