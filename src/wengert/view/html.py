"""A page to explore a graph in: one HTML file that needs no network and no server.

The layout runs in the reader's browser (elkjs, in a worker); `page/` holds the page's own program.
"""

from __future__ import annotations

import json
import os
from html import escape
from pathlib import Path
from typing import Any

from ..graph.graph import Graph
from .colours import DARK, KINDS, LIGHT
from .groups import MODES, choose, grouped, known, opened
from .model import Box, Edge, Picture, picture
from .save import saved

PAGE = Path(__file__).parent / "page"
VENDOR = Path(__file__).parent / "vendor"

PROGRAM = ("fold.js", "layout.js", "draw.js", "view.js", "panel.js", "main.js")
"""The page's scripts, in order."""


def to_html(graph: Graph, path: str | os.PathLike[str] | None = None, *, group: str = "auto") -> str:
    """The graph as the text of one HTML page, to be opened in a browser.

    path : a file to write the page to.
    group : how operations are folded at first: "none", "function", "line", "order" (stretches of consecutive
        operations), or "auto": none up to 150 boxes, by function beyond. The page can change it.

    The page has search, folding and unfolding of nested graphs and of groups, pan and zoom, details of every
    box, and prints; it holds everything it needs (about 1.7 MB, most of it the layout program) and works
    from a file without a network.
    """
    whole = picture(graph)
    data = json.dumps(payload(whole, group), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    parts = {
        "name": escape(whole.name),
        "subtitle": escape(whole.subtitle),
        "style": variables() + (PAGE / "page.css").read_text("utf-8"),
        # "<" must not occur, so that no text of the user's can end the script element.
        "data": data.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029"),
        "elk_api": (VENDOR / "elk-api.js").read_text("utf-8"),
        "elk_worker": (VENDOR / "elk-worker.min.js").read_text("utf-8"),
        "program": "\n".join((PAGE / name).read_text("utf-8") for name in PROGRAM),
    }
    pieces = (PAGE / "page.html").read_text("utf-8").split("@@")
    # Every second piece is a name; filling by position leaves "@@" inside the parts alone.
    return saved("".join(parts[piece] if index % 2 else piece for index, piece in enumerate(pieces)), path)


def payload(whole: Picture, group: str) -> dict[str, Any]:
    """What the page's program reads, as JSON data."""
    first = choose(whole) if group == "auto" else known(group)
    modes = {}
    for mode in MODES:
        divided = grouped(whole, mode)
        modes[mode] = {
            "groups": [box_data(box) for box in divided.boxes[len(whole.boxes) :]],
            "parents": [-1 if box.parent is None else box.parent for box in divided.boxes],
            "open": sorted(opened(divided)),
        }
    return {
        "name": whole.name,
        "mode": first,
        "modes": modes,
        "boxes": [box_data(box) for box in whole.boxes],
        "edges": [edge_data(edge) for edge in whole.edges],
        "hasGradient": whole.has_gradient,
    }


def box_data(box: Box) -> dict[str, Any]:
    """A box: the rows drawn, their width in characters, and the details; what is empty is left out."""
    found: dict[str, Any] = {
        "kind": box.kind,
        "title": box.title,
        "rows": box.rows(),
        "width": round(box.columns(), 2),
        "note": box.note,
        "backward": box.backward,
        "count": box.count,
        "contents": box.contents,
        "ports": [
            {
                key: value
                for key, value in (
                    ("name", port.name),
                    ("type", port.type),
                    ("uses", port.uses),
                    ("value", port.full_value),
                    ("gradient", port.full_gradient),
                )
                if value is not None
            }
            for port in box.ports
        ],
    }
    if box.place is not None:
        found["place"] = {
            "at": str(box.place), "file": box.place.file, "function": box.place.function, "text": box.place.text,
        }  # fmt: skip
    return {key: value for key, value in found.items() if value not in ("", False, 0, [])}


def edge_data(edge: Edge) -> list[Any]:
    """Tail, head, port, slot, whether it is a gradient, whether it runs beside a forward edge, label."""
    return [edge.tail, edge.head, edge.port, edge.slot, int(edge.role == "gradient"), int(edge.beside), edge.label]


def variables() -> str:
    """The colours as CSS variables, for light and dark screens; paper is light."""
    names = ("paper", "text", "muted", "line", "forward", "gradient", "value", *KINDS, "backward")

    def block(colours: dict[str, str]) -> str:
        return ":root{" + "".join(f"--{name}:{colours[name]};" for name in names) + "}"

    return block(LIGHT) + f"@media screen and (prefers-color-scheme:dark){{{block(DARK)}}}\n"
