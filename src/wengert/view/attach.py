"""The methods of `Graph` that draw: attached here, since a graph itself knows no pictures.

They load the module that does the work when they are called, so that `import wengert` is no slower for them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from ..graph.graph import Graph

HOMES = {"show": "show", "to_html": "html", "to_svg": "svg", "to_dot": "dot", "_repr_svg_": "notebook"}
"""The module of each function; a method has its function's name and arguments."""

SUMMARIES = {
    "show": "Write a page to explore the graph in, open it in the browser, return its path (`wengert.view.show`).",
    "to_html": "The graph as one HTML page with search, folding, pan and zoom (`wengert.view.to_html`).",
    "to_svg": "The graph as an SVG picture; needs the extra `pictures` (`wengert.view.to_svg`).",
    "to_dot": "The graph in Graphviz's language (`wengert.view.to_dot`).",
    "_repr_svg_": "The picture that a notebook shows.",
}


def attach() -> None:
    """Give every graph the methods `show`, `to_html`, `to_svg`, `to_dot`, and a picture in notebooks."""
    for name in HOMES:
        setattr(Graph, name, deferred(name))


def deferred(name: str) -> Callable[..., Any]:
    """A method that loads the function of that name and calls it."""

    def method(self: Graph, *args: Any, **kwargs: Any) -> Any:
        module = importlib.import_module(f".{HOMES[name]}", __package__)
        return getattr(module, name)(self, *args, **kwargs)

    method.__name__ = name
    method.__qualname__ = f"Graph.{name}"
    method.__doc__ = SUMMARIES[name]
    return method
