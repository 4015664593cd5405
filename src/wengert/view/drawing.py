"""What `attach` loads when the first picture is asked for: every way of drawing, in one place."""

from __future__ import annotations

from ..errors import MissingExtraError
from ..graph.graph import Graph
from .dot import to_dot
from .html import to_html
from .show import show
from .svg import to_svg
from .timeline import memory_timeline

__all__ = ["_repr_svg_", "memory_timeline", "show", "to_dot", "to_html", "to_svg"]


def _repr_svg_(graph: Graph) -> str | None:
    """The still picture that a notebook shows; without fast-sugiyama None, so that the notebook shows text."""
    try:
        return to_svg(graph)
    except MissingExtraError:
        return None
