"""The methods of `Graph` that draw: attached here, since a graph itself knows no pictures."""

from __future__ import annotations

from ..graph.graph import Graph
from .dot import to_dot
from .html import to_html
from .place import MissingExtraError
from .show import show
from .svg import to_svg


def attach() -> None:
    """Give every graph the methods `show`, `to_html`, `to_svg`, `to_dot`, and a picture in notebooks."""
    for function in (show, to_html, to_svg, to_dot):
        setattr(Graph, function.__name__, function)
    Graph._repr_svg_ = repr_svg  # type: ignore[attr-defined]


def repr_svg(graph: Graph) -> str | None:
    """The picture that a notebook shows for a graph; without fast-sugiyama the notebook shows text."""
    try:
        return to_svg(graph)
    except MissingExtraError:
        return None
