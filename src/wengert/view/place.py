"""Positions for the boxes of an SVG picture, by fast-sugiyama (a layered layout).

The library places points of one size: it decides the rows, the order in each row, and by which points a long
edge passes the rows between its ends. Rows then get the height of their tallest box, and columns the width
of the widest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import MissingExtraError
from .model import Edge

GAP_X, GAP_Y = 26.0, 46.0
"""Free space between the boxes of a row, and between rows."""

THIN = 0.3
"""Room for an edge that passes a row, in widths of a box."""

Point = tuple[float, float]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Layout:
    """Where everything goes.

    centre : the middle of each box. row : the row of each box. rows : top and bottom of each row.
    ways : for each pair of joined boxes, upper one first, the points (x, row) that the edge passes between them.
    """

    centre: Mapping[int, Point]
    row: Mapping[int, int]
    rows: Sequence[Point]
    ways: Mapping[Pair, Sequence[tuple[float, int]]]
    width: float
    height: float


def place(sizes: Mapping[int, Point], edges: Iterable[Edge]) -> Layout:
    """Place boxes of the given widths and heights, by id in the order of the program; edges run downward.

    Edges against the order (between folded groups) run upward. Raises `MissingExtraError` if fast-sugiyama
    is not installed.
    """
    order = {box: position for position, box in enumerate(sizes)}
    pairs = sorted(
        {
            (min(ends, key=order.__getitem__), max(ends, key=order.__getitem__))
            for ends in ((edge.tail, edge.head) for edge in edges if not edge.beside)
        }
    )
    columns: dict[int, Point] = {}
    passed: dict[Pair, list[Point]] = {}
    offset = 0.0
    alone = []
    for part, joined in components(list(sizes), pairs):
        if not joined:
            alone += part
            continue
        positions, chains = layered(part, joined)
        for box, (x, row) in positions.items():
            columns[box] = x + offset, row
        for pair, points in chains.items():
            passed[pair] = [(x + offset, row) for x, row in points]
        offset = 1 + max(x for x, _ in (*columns.values(), *(p for points in passed.values() for p in points)))
    depth = int(max((row for _, row in columns.values()), default=5)) + 1
    for index, box in enumerate(alone):
        columns[box] = offset + index // depth, index % depth

    heights = [0.0] * (1 + max((int(row) for _, row in columns.values()), default=0))
    for box, (_, row) in columns.items():
        heights[int(row)] = max(heights[int(row)], sizes[box][1])
    rows, top = [], 0.0
    for height in heights:
        rows.append((top, top + height))
        top += height + GAP_Y

    scale = max((width for width, _ in sizes.values()), default=0.0) + GAP_X
    corners = [x * scale + sign * sizes[box][0] / 2 for box, (x, _) in columns.items() for sign in (-1, 1)]
    corners += [x * scale for points in passed.values() for x, _ in points]
    left, right = min(corners, default=0.0), max(corners, default=0.0)
    return Layout(
        {box: (x * scale - left, sum(rows[int(row)]) / 2) for box, (x, row) in columns.items()},
        {box: int(row) for box, (_, row) in columns.items()},
        rows,
        {pair: [(x * scale - left, int(row)) for x, row in points] for pair, points in passed.items()},
        right - left,
        max(top - GAP_Y, 0.0),
    )


def components(boxes: Sequence[int], pairs: Sequence[Pair]) -> list[tuple[list[int], list[Pair]]]:
    """The parts that no edge joins, each with its edges, in the order of their first boxes."""
    near: dict[int, list[int]] = {box: [] for box in boxes}
    for one, other in pairs:
        near[one].append(other)
        near[other].append(one)
    part_of: dict[int, int] = {}
    parts: list[tuple[list[int], list[Pair]]] = []
    for box in boxes:
        if box in part_of:
            continue
        part_of[box] = len(parts)
        stack, members = [box], []
        while stack:
            this = stack.pop()
            members.append(this)
            for other in near[this]:
                if other not in part_of:
                    part_of[other] = len(parts)
                    stack.append(other)
        parts.append((sorted(members), []))
    for pair in pairs:
        parts[part_of[pair[0]]][1].append(pair)
    return parts


def layered(boxes: Sequence[int], pairs: Sequence[Pair]) -> tuple[dict[int, Point], dict[Pair, list[Point]]]:
    """Column and row (from 0, downward) of each box of one part, and the points that each pair's edge passes."""
    number = {box: index for index, box in enumerate(boxes)}
    numbered = [(number[tail], number[head]) for tail, head in pairs]
    (points, _, _, steps), = library().from_edges(
        numbered, minimum_length=1, vertex_spacing=1, dummy_vertices=True, dummy_size=THIN, check_layout=False
    )  # fmt: skip
    found = dict(points)
    top, left = max(y for _, y in found.values()), min(x for x, _ in found.values())
    position = {point: (x - left, round(top - y)) for point, (x, y) in found.items()}
    # A long edge comes back as a chain through points numbered from len(boxes) on, each with one way in and out.
    onward = {tail: head for tail, head in steps if tail >= len(boxes)}
    chains: dict[Pair, list[Point]] = {}
    for tail, head in steps:
        if tail >= len(boxes):
            continue
        chain = []
        while head >= len(boxes):
            chain.append(position[head])
            head = onward[head]
        chains[boxes[tail], boxes[head]] = chain
    return {box: position[index] for box, index in number.items()}, chains


def library() -> Any:
    """fast-sugiyama, imported when the first picture is placed."""
    try:
        import fast_sugiyama
    except ImportError as error:
        raise MissingExtraError(
            "to_svg() places boxes with the package fast-sugiyama, which is not installed",
            'pip install "wengert[pictures]"; or use to_html() or show(), which need nothing more',
        ) from error
    return fast_sugiyama
