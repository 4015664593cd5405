"""Live bytes over a forward and backward run: `graph.memory_timeline()`, as data and as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..graph.cost import size_text
from ..graph.graph import Graph
from ..graph.live import live
from ..passes.accounting import gradient_graph
from ..passes.budget import within_budget
from ..transforms.sizes import bytes_in
from .colours import DARK, LIGHT
from .svg import escape

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 70, 16, 56, 44
COLUMNS = 600
"""Points of a curve in the figure; of more nodes the highest in each column is drawn."""


class Point(NamedTuple):
    """A node of a run: bytes at most while it runs, bytes after it, the user's line, whether in the gradient part."""

    peak: int
    after: int
    operation: str
    line: str
    backward: bool


class MemoryTimeline:
    """Live bytes at every node of a run; made by `graph.memory_timeline()`. A notebook shows the figure.

    Attributes
    ----------
    before : a `Point` for each node, in order. after : the same for the planned graph, None without a budget.
    peak, peak_after : the most bytes of each.
    """

    def __init__(self, name: str, before: Graph, after: Graph | None) -> None:
        self.name = name
        self.before = points(before)
        self.after = None if after is None else points(after)
        self.peak = live(before).peak
        self.peak_after = None if after is None else live(after).peak

    def to_svg(self) -> str:
        """The figure as one SVG document (text)."""
        return draw(self)

    def save(self, path: str | Path) -> Path:
        """Write the figure to a file; returns its path."""
        place = Path(path)
        place.write_text(self.to_svg(), encoding="utf-8")
        return place

    def _repr_svg_(self) -> str:
        return self.to_svg()

    def __repr__(self) -> str:
        after = "" if self.peak_after is None else f", {size_text(self.peak_after)} as planned"
        return f"<MemoryTimeline of {self.name}: {len(self.before)} nodes, {size_text(self.peak)} at the peak{after}>"


def points(graph: Graph) -> tuple[Point, ...]:
    return tuple(
        Point(m.peak, m.after, m.node.primitive.name, str(m.node.source or ""), m.node.backward)
        for m in live(graph).moments
    )


def memory_timeline(
    graph: Graph, memory: int | float | str | None = None, other: Graph | None = None
) -> MemoryTimeline:
    """Live bytes over the forward and the backward run of a graph, known before running.

    Parameters
    ----------
    graph : a gradient graph (`wg.trace(wg.value_and_grad(f), x)`), or any other, whose reverse mode is added.
    memory : a budget, as for `wg.grad`: what is then kept and what computed again is shown beside it.
    other : another graph to show beside it, for instance of the function with checkpoints.

    Raises
    ------
    MemoryBudgetError : the budget is too small.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> graph = wg.trace(lambda x: np.sum(np.sin(np.cos(x))), np.ones(1000))
    >>> memory_timeline(graph)  # doctest: +ELLIPSIS
    <MemoryTimeline of <lambda>: ... nodes, ... kB at the peak>
    """
    before = gradient_graph(graph) or graph
    after = None
    if memory is not None:
        after = within_budget(before, bytes_in(memory), graph.name)
    elif other is not None:
        after = gradient_graph(other) or other
    return MemoryTimeline(graph.name, before, after)


def draw(timeline: MemoryTimeline) -> str:
    """Curves of live bytes over the run, the gradient part shaded."""
    top = max(timeline.peak, timeline.peak_after or 0, 1)
    curves = [("before" if timeline.after else "live bytes", "forward", timeline.before, timeline.peak)]
    if timeline.after is not None and timeline.peak_after is not None:
        curves.append(("after", "gradient", timeline.after, timeline.peak_after))
    body: list[str] = []
    turn = next((k for k, p in enumerate(timeline.before) if p.backward), None)
    if turn is not None:
        x = _x(turn, len(timeline.before))
        body.append(
            f'<rect class="late" x="{x:.1f}" y="{TOP}" width="{WIDTH - RIGHT - x:.1f}" height="{_span():.1f}"/>'
        )
        body.append(f'<text class="muted" x="{x + 6:.1f}" y="{TOP + 14}">backward</text>')
        body.append(f'<text class="muted" x="{LEFT + 6}" y="{TOP + 14}">forward</text>')
    for part in range(5):
        y = _y(top * part / 4, top)
        body.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        size = size_text(top * part / 4)
        body.append(f'<text class="muted" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{size}</text>')
    for position, (label, kind, found, peak) in enumerate(curves):
        body.append(f'<path class="{kind}" d="{_path(found, top)}"><title>{escape(label)}</title></path>')
        text = f"{label}: {len(found):,} operations, {size_text(peak)} at the peak"
        body.append(f'<text class="{kind} label" x="{LEFT + 250 * position + 6}" y="{TOP - 12}">{escape(text)}</text>')
    title = escape(f"Memory of {timeline.name}")
    middle = (LEFT + WIDTH - RIGHT) / 2
    foot = (
        f'<text class="muted" x="{middle:.0f}" y="{HEIGHT - 12}" text-anchor="middle">'
        "operations, in order (each curve over its own run)</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{title}">\n<style>{_style()}</style>\n'
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}"/>\n'
        f'<text class="title" x="{LEFT}" y="24">{title}</text>\n' + "\n".join(body) + f"\n{foot}\n</svg>\n"
    )


def _span() -> float:
    return HEIGHT - TOP - BOTTOM


def _x(k: float, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * k / max(count, 1)


def _y(size: float, top: float) -> float:
    return HEIGHT - BOTTOM - _span() * size / top


def _path(found: Sequence[Point], top: float) -> str:
    """Steps: the peak of each column, and what is live after it."""
    count = len(found)
    step = max(1, -(-count // COLUMNS))
    parts = [f"M{LEFT:.1f} {_y(0, top):.1f}"]
    for start in range(0, count, step):
        column = found[start : start + step]
        x, end = _x(start, count), _x(min(start + step, count), count)
        high = _y(max(p.peak for p in column), top)
        parts.append(f"L{x:.1f} {high:.1f}L{end:.1f} {high:.1f}L{end:.1f} {_y(column[-1].after, top):.1f}")
    return "".join(parts)


def _style() -> str:
    def rules(colours: dict[str, Any]) -> str:
        return (
            f".paper{{fill:{colours['paper']}}}.title{{fill:{colours['text']};font-weight:bold;font-size:14px}}"
            f".muted{{fill:{colours['muted']}}}.grid{{stroke:{colours['line']};stroke-opacity:.25}}"
            f".late{{fill:{colours['backward']};fill-opacity:.6}}"
            f"path{{fill:none;stroke-width:1.5}}path.forward{{stroke:{colours['forward']}}}"
            f"path.gradient{{stroke:{colours['gradient']}}}.label.forward{{fill:{colours['forward']}}}"
            f".label.gradient{{fill:{colours['gradient']}}}"
        )

    text = "text{font-family:system-ui,sans-serif;font-size:11px}"
    return f"{text}{rules(LIGHT)}@media (prefers-color-scheme: dark){{{rules(DARK)}}}"
