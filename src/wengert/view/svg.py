"""One still picture as SVG text: readable in a report, a notebook or a browser, without any program."""

from __future__ import annotations

import os
from collections.abc import Mapping
from html import escape as escape_html
from itertools import pairwise

from ..graph.graph import Graph
from .colours import DARK, KINDS, LIGHT
from .groups import GROUPS, choose, grouped, opened
from .model import GRADIENT, Box, Edge, Picture, folded, picture
from .place import Layout, Point, place
from .save import saved
from .text import columns

CHAR, LEAD, PAD_X, PAD_Y = 6.9, 15.0, 9.0, 7.0
"""Width of a character, distance of lines, free space inside a box; for a font of 11 px."""

MARGIN, HEADER = 18.0, 64.0
BESIDE = 7.0
"""How far a gradient edge runs from the forward edge that it accompanies."""

BREAK = "\n"


def to_svg(
    graph: Graph, path: str | os.PathLike[str] | None = None, *, group: str = "auto", colours: str = "auto"
) -> str:
    """The graph as one SVG document (text), nested graphs folded into boxes that name how much they hold.

    path : a file to write the picture to.
    group : how operations are folded into groups: "none", "function", "line", "order" (stretches of
        consecutive operations), or "auto": none up to 150 boxes, by function beyond, where groups are opened
        as long as about 60 boxes are in view.
    colours : "light", "dark", or "auto", which follows the reader's setting (paper is always light).

    Raises `MissingExtraError` without the extra `pictures` (fast-sugiyama). Same graph, same text.
    """
    whole = picture(graph)
    mode = choose(whole) if group == "auto" else group
    divided = grouped(whole, mode)
    view = folded(divided, opened(divided))
    containers = {box.parent for box in view.boxes}
    # A still picture has no frames around opened groups: their members stand for themselves.
    boxes = tuple(box for box in view.boxes if box.id not in containers)
    hidden = whole.operations - sum(box.kind == "operation" for box in boxes)
    subtitle = whole.subtitle + (f"; {hidden:,} of the operations are inside folded boxes" if hidden else "")
    still = Picture(whole.name, in_order(boxes, divided), view.edges, whole.has_gradient)
    return saved(draw(still, subtitle, colours), path)


def escape(text: str) -> str:
    """Text for XML, without the characters that XML forbids."""
    allowed = (char for char in text if char in "\t\n" or (char >= " " and not "\ud800" <= char <= "\udfff"))
    return escape_html("".join(char for char in allowed if char not in "\ufffe\uffff"))


def in_order(boxes: tuple[Box, ...], divided: Picture) -> tuple[Box, ...]:
    """Groups carry the last ids, but stand in the program where their first member does."""
    start = {box.id: box.id for box in divided.boxes}
    for box in divided.boxes:
        if box.kind not in GROUPS:
            parent = box.parent
            while parent is not None and divided.boxes[parent].kind in GROUPS:
                start[parent] = min(start[parent], box.id)
                parent = divided.boxes[parent].parent
    return tuple(sorted(boxes, key=lambda box: (start[box.id], box.id)))


def size(box: Box) -> Point:
    """Width and height that the text of a box needs."""
    rows = box.rows()
    return max(round(box.columns() * CHAR + 2 * PAD_X, 1), 60.0), round(len(rows) * LEAD + 2 * PAD_Y, 1)


def draw(view: Picture, subtitle: str, colours: str = "light") -> str:
    """The SVG text of a picture without containers."""
    sizes = {box.id: size(box) for box in view.boxes}
    layout = place(sizes, view.edges)
    ends = slots(view)
    legend = legend_items(view)
    legend_width = sum(36 + columns(text) * CHAR for _, text in legend)
    head_width = max(columns(view.name) * CHAR * 1.4, columns(subtitle) * CHAR, legend_width)
    width = max(layout.width, head_width) + 2 * MARGIN
    height = layout.height + HEADER + 2 * MARGIN
    shift = (width - layout.width) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="wengert" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(f"{view.name}: {subtitle}")}">',
        f"<style>{style(colours)}</style>",
        markers(),
        '<rect class="paper" width="100%" height="100%"/>',
        f'<text class="heading" x="{MARGIN}" y="{MARGIN + 10}">{escape(view.name)}</text>',
        f'<text class="muted" x="{MARGIN}" y="{MARGIN + 28}">{escape(subtitle)}</text>',
        draw_legend(legend),
        f'<g transform="translate({shift:.1f} {HEADER + MARGIN:.1f})">',
    ]
    parts += [draw_edge(edge, layout, sizes, ends, view) for edge in view.edges]
    parts += [draw_box(box, layout.centre[box.id], sizes[box.id]) for box in view.boxes]
    parts.append("</g></svg>")
    return BREAK.join(parts) + BREAK


Slots = Mapping[tuple[int, str], int]


def slots(view: Picture) -> dict[tuple[int, str], int]:
    """How many places for edges each box needs at its top ("in") and bottom ("out")."""
    found: dict[tuple[int, str], int] = {}
    for edge in view.edges:
        if not edge.beside:
            for key, index in (((edge.head, "in"), edge.slot), ((edge.tail, "out"), edge.port)):
                found[key] = max(found.get(key, 1), index + 1)
    return found


def draw_box(box: Box, centre: Point, size: Point) -> str:
    """A box with its rows of text and a tooltip."""
    width, height = size
    x, y = centre[0] - width / 2, centre[1] - height / 2
    kinds = f"box {colour_of(box)}" + (" backward" if box.backward else "") + (" folded" if box.count else "")
    parts = [f'<g class="{kinds}" id="box-{box.id}"><title>{escape(tooltip(box))}</title>']
    radius = 12 if box.kind in {"input", "output"} else 4
    if box.count:
        parts.append(rectangle(x + 4, y + 4, width, height, radius, "behind"))
    parts.append(rectangle(x, y, width, height, radius, "front"))
    for index, (style, text) in enumerate(box.rows()):
        base = y + PAD_Y + index * LEAD + 11
        parts.append(f'<text class="{style}" x="{centre[0]:.1f}" y="{base:.1f}">{escape(text)}</text>')
    parts.append("</g>")
    return "".join(parts)


def rectangle(x: float, y: float, width: float, height: float, radius: float, name: str) -> str:
    return f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" rx="{radius}"/>'


def tooltip(box: Box) -> str:
    """Everything about a box, uncut."""
    lines = [box.title, box.note, box.contents]
    for port in box.ports:
        lines.append((f"{port.name}: " if port.name else "") + port.type)
        lines += [f"value {port.full_value}"] if port.full_value is not None else []
        lines += [f"gradient {port.full_gradient}"] if port.full_gradient is not None else []
    if box.place is not None:
        lines += [f"{box.place} in {box.place.function}", box.place.text]
    return BREAK.join(line for line in lines if line)


def draw_edge(edge: Edge, layout: Layout, sizes: Mapping[int, Point], ends: Slots, view: Picture) -> str:
    """An edge as a curve through the points that the layout gave it; a companion runs beside, upward."""
    giver, reader = (edge.head, edge.tail) if edge.beside else (edge.tail, edge.head)
    upward = (giver, reader) not in layout.ways
    upper, lower = (reader, giver) if upward else (giver, reader)
    start = exit_point(layout, sizes, ends, upper, edge.port, "in" if upward else "out", bottom=True)
    stop = exit_point(layout, sizes, ends, lower, edge.slot, "out" if upward else "in", bottom=False)
    aside = BESIDE if edge.beside else 0.0
    points = [start]
    points.append((start[0], layout.rows[layout.row[upper]][1]))
    for x, row in layout.ways[upper, lower]:
        points += [(x, layout.rows[row][0]), (x, layout.rows[row][1])]
    points.append((stop[0], layout.rows[layout.row[lower]][0]))
    points.append(stop)
    points = [(x + aside, y) for x, y in points]
    if upward != edge.beside:
        points.reverse()
    text = f"{edge.count} values" if edge.count > 1 else edge.label
    thick = ' stroke-width="2.2"' if edge.count > 1 else ""
    kinds = f"edge {edge.role}" + (" beside" if edge.beside else "")
    title = f"<title>{escape(text)}</title>" if text else ""
    return (
        f'<path class="{kinds}" data-ends="{edge.tail} {edge.head}"{thick} d="{curve(points, aside)}" '
        f'marker-end="url(#wg-{edge.role})">{title}</path>'
    )


def exit_point(
    layout: Layout, sizes: Mapping[int, Point], ends: Slots, box: int, index: int, side: str, bottom: bool
) -> Point:
    """Where an edge touches a box: places are spread evenly over its width, left to right."""
    x, y = layout.centre[box]
    width, height = sizes[box]
    count = ends.get((box, side), 1)
    step = min(width / (count + 1), 60.0)
    return x + (index - (count - 1) / 2) * step, y + (height / 2 if bottom else -height / 2)


def curve(points: list[Point], aside: float = 0.0) -> str:
    """A path through points that leaves and enters each of them vertically.

    aside : how far to the right of another curve this one runs: its level parts are moved up or down as far.
    """
    first = points[0]
    text = [f"M{first[0]:.1f} {first[1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if abs(y1 - y0) < 0.05 and abs(x1 - x0) < 0.05:
            continue
        if abs(x1 - x0) < 0.05:
            text.append(f"L{x1:.1f} {y1:.1f}")
        else:
            middle = (y0 + y1) / 2 + (aside if (x1 < x0) == (y1 > y0) else -aside)
            text.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    return "".join(text)


def markers() -> str:
    """The arrow heads of both kinds of edges."""
    return "<defs>" + "".join(
        f'<marker id="wg-{role}" viewBox="0 0 8 8" refX="7.5" refY="4" markerWidth="8" markerHeight="8" '
        f'markerUnits="userSpaceOnUse" orient="auto"><path class="head {role}" d="M0 0.5L8 4L0 7.5z"/></marker>'
        for role in ("forward", "gradient")
    ) + "</defs>"  # fmt: skip


def legend_items(view: Picture) -> list[tuple[str, str]]:
    """What the colours in this picture mean: only those that occur."""
    words = {
        "input": "input", "constant": "constant", "operation": "operation", "output": "output",
        "graph": "nested graph", "group": "folded group",
    }  # fmt: skip
    kinds = {colour_of(box) for box in view.boxes if not box.backward}
    items = [(kind, words[kind]) for kind in KINDS if kind in kinds]
    if any(box.backward for box in view.boxes):
        items.append(("backward", "gradient part"))
    items.append(("forward", "value"))
    if view.has_gradient:
        items.append(("gradient", "gradient"))
    return items


def colour_of(box: Box) -> str:
    """The kind whose colour a box has."""
    if box.kind in GROUPS:
        return "group"
    return "graph" if box.count else box.kind


def draw_legend(items: list[tuple[str, str]]) -> str:
    parts = ['<g class="legend">']
    x, y = MARGIN, MARGIN + 40
    for name, text in items:
        if name in {"forward", GRADIENT}:
            parts.append(f'<path class="edge {name}" d="M{x:.1f} {y + 6:.1f}h20" marker-end="url(#wg-{name})"/>')
        else:
            parts.append(f'<g class="box {name}">{rectangle(x, y, 20, 12, 3, "front")}</g>')
        parts.append(f'<text class="muted" x="{x + 25:.1f}" y="{y + 10:.1f}">{escape(text)}</text>')
        x += 36 + columns(text) * CHAR
    parts.append("</g>")
    return "".join(parts)


def style(colours: str) -> str:
    """The style sheet, every rule under `.wengert` so that a page that holds the picture is left alone."""
    if colours not in {"auto", "light", "dark"}:
        raise ValueError(f"no colours named {colours!r}; there are auto, light, dark")
    rules = (
        ".wengert text{font:11px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono','Liberation Mono',monospace}"
        ".wengert .box text{text-anchor:middle}"
        ".wengert .heading{font-size:15px;font-weight:bold}"
        ".wengert .title{font-size:11.5px;font-weight:bold}"
        ".wengert .edge{fill:none;stroke-width:1.3}"
        ".wengert .beside{stroke-dasharray:5 3}"
        ".wengert .box rect{stroke-width:1}"
    )
    rules += palette(DARK if colours == "dark" else LIGHT)
    if colours == "auto":
        rules += f"@media screen and (prefers-color-scheme:dark){{{palette(DARK)}}}"
    return rules


def palette(colour: Mapping[str, str]) -> str:
    """Rules that set colours only."""
    rules = [
        f".wengert .paper{{fill:{colour['paper']}}}",
        f".wengert text{{fill:{colour['text']}}}",
        *(f".wengert text.{name}{{fill:{colour['muted']}}}" for name in ("muted", "note", "place", "type", "contents")),
        f".wengert text.value{{fill:{colour['value']}}}",
        f".wengert text.gradient{{fill:{colour['gradient']}}}",
        f".wengert .box rect{{stroke:{colour['line']}}}",
        *(f".wengert .{kind} rect{{fill:{colour[kind]}}}" for kind in KINDS),
        f".wengert .backward rect{{fill:{colour['backward']};stroke:{colour['gradient']}}}",
    ]
    for role in ("forward", "gradient"):
        rules.append(f".wengert .edge.{role}{{stroke:{colour[role]}}}")
        rules.append(f".wengert .head.{role}{{fill:{colour[role]}}}")
    return "".join(rules)
