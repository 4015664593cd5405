"""The methods of `Graph` that draw: attached here, since a graph itself knows no pictures.

They load the modules that do the work when first called, so that `import wengert` is no slower for them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..graph.graph import Graph

SUMMARIES = {
    "show": "Write a page to explore the graph in, open it in the browser, return its path (`wengert.view.show`).",
    "to_html": "The graph as one HTML page with search, folding, pan and zoom (`wengert.view.html`).",
    "to_svg": "The graph as an SVG picture; needs the extra `pictures` (`wengert.view.svg`).",
    "to_dot": "The graph in Graphviz's language (`wengert.view.dot`).",
    "memory_timeline": "Live bytes over the forward and backward run, as data and figure (`wengert.view.timeline`).",
    "_repr_svg_": "The picture that a notebook shows.",
}
"""The methods, each with the name and arguments of a function in `drawing`."""


def attach() -> None:
    """Give every graph the methods `show`, `to_html`, `to_svg`, `to_dot`, and a picture in notebooks."""
    for name, summary in SUMMARIES.items():
        setattr(Graph, name, deferred(name, summary))


def deferred(name: str, summary: str) -> Callable[..., Any]:
    """A method that loads the function of that name and calls it."""

    def method(self: Graph, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module("wengert.view.drawing"), name)(self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Graph.{name}"
    method.__doc__ = summary
    return method
