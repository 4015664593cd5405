"""The memory plan: buffers of one arena, whose room is used again after the last use of what was in it."""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Sequence

from .loops import Buffer

ALIGN = 64
"""Bytes that larger buffers begin at a multiple of; small ones, which are read element by element, lie close."""
SMALL = 8
TRIED = 64
"""Gaps that are looked at for one buffer, so that the plan of many thousands of buffers takes linear time."""


def plan(buffers: Sequence[Buffer], pairs: Sequence[tuple[Buffer, Buffer]] = ()) -> int:
    """Give every arena buffer an offset; returns the size of the arena in bytes.

    First fit in order of birth: a buffer takes the lowest gap that it fits into, of the first `TRIED`. `pairs` are
    buffers of the same size of which the second one lies where the first one was (`inplace.joined`).
    """
    next_over = dict(pairs)
    later = set(next_over.values())
    rows = []
    for buffer in buffers:
        if buffer.kind == "arena" and buffer not in later:
            row = [buffer]
            while row[-1] in next_over:
                row.append(next_over[row[-1]])
            rows.append((min(b.birth for b in row), max(b.last for b in row), row))
    alive: list[tuple[int, int, int]] = []  # (last use, start, end)
    gaps: list[tuple[int, int]] = []  # (start, end), in order, apart from each other
    top = 0
    for birth, last, row in sorted(rows, key=lambda r: r[0]):
        while alive and alive[0][0] < birth:
            _, start, end = heapq.heappop(alive)
            release(gaps, start, end)
        size = max(row[0].bytes, 1)
        step = ALIGN if size >= ALIGN else SMALL
        size = -(-size // step) * step
        for k, (begin, end) in enumerate(gaps[:TRIED]):
            start = -(-begin // step) * step
            if end - start >= size:
                gaps[k : k + 1] = [gap for gap in ((begin, start), (start + size, end)) if gap[0] < gap[1]]
                break
        else:
            start = -(-top // step) * step
            if start > top:
                release(gaps, top, start)
            top = start + size
        for buffer in row:
            buffer.place = start
        heapq.heappush(alive, (last, start, start + size))
    return -(-top // ALIGN) * ALIGN


def release(gaps: list[tuple[int, int]], start: int, end: int) -> None:
    """Add a gap, joined with those that it touches."""
    k = bisect.bisect(gaps, (start, end))
    if k < len(gaps) and gaps[k][0] == end:
        end = gaps.pop(k)[1]
    if k and gaps[k - 1][1] == start:
        k -= 1
        start = gaps.pop(k)[0]
    gaps.insert(k, (start, end))
