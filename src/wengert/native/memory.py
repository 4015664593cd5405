"""The memory plan: buffers of one arena, whose room is used again after the last use of what was in it."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from .loops import Buffer

ALIGN = 64


def plan(buffers: Sequence[Buffer]) -> int:
    """Give every arena buffer an offset; returns the size of the arena in bytes.

    First fit in order of birth: a buffer takes the lowest gap that is free for its whole life.
    """
    active: list[tuple[int, int, int]] = []  # (last use, start, end)
    top = 0
    for buffer in sorted((b for b in buffers if b.kind == "arena"), key=lambda b: b.birth):
        while active and active[0][0] < buffer.birth:
            heapq.heappop(active)
        size = -(-max(buffer.bytes, 1) // ALIGN) * ALIGN
        start = 0
        for _, begin, end in sorted(active, key=lambda item: item[1]):
            if begin - start >= size:
                break
            start = max(start, end)
        buffer.place = start
        heapq.heappush(active, (buffer.last, start, start + size))
        top = max(top, start + size)
    return top
