"""Pictures of graphs: a page to explore, a still picture, Graphviz text. Loaded when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .attach import HOMES, attach

if TYPE_CHECKING:
    from .dot import to_dot
    from .html import to_html
    from .place import MissingExtraError
    from .show import show
    from .svg import to_svg

__all__ = ["MissingExtraError", "attach", "show", "to_dot", "to_html", "to_svg"]


def __getattr__(name: str) -> Any:
    home = "place" if name == "MissingExtraError" else HOMES.get(name)
    if home is None or name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{home}", __name__), name)
