"""Pictures of graphs: a page to explore, a still picture, Graphviz text."""

from .attach import attach
from .dot import to_dot
from .html import to_html
from .place import MissingExtraError
from .show import show
from .svg import to_svg

__all__ = ["MissingExtraError", "attach", "show", "to_dot", "to_html", "to_svg"]
