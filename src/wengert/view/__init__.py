"""Pictures of graphs: a page to explore, a still picture, Graphviz text. `drawing` has the functions."""

from .attach import attach

__all__ = ["attach"]
