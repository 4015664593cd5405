"""The memory plan: nothing that is alive shares room, and room is used again."""

from __future__ import annotations

import numpy
from hypothesis import given
from hypothesis import strategies as st

from wengert.native.loops import Buffer
from wengert.native.memory import ALIGN, plan


def buffers(rows: list[tuple[int, int, int]]) -> list[Buffer]:
    """Arena buffers of (elements, birth, last use)."""
    found = []
    for number, (size, birth, life) in enumerate(rows):
        buffer = Buffer("arena", numpy.dtype(numpy.float32), size, number)
        buffer.birth, buffer.last = birth, birth + life
        found.append(buffer)
    return found


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 50), st.integers(0, 60)), max_size=60))
def test_what_is_alive_has_room_of_its_own(rows: list[tuple[int, int, int]]) -> None:
    found = buffers(rows)
    total = plan(found)
    assert total % ALIGN == 0
    for k, one in enumerate(found):
        assert one.place % (ALIGN if one.bytes >= ALIGN else 8) == 0
        assert 0 <= one.place <= one.place + one.bytes <= total
        for other in found[:k]:
            if one.birth <= other.last and other.birth <= one.last and one.size and other.size:
                assert one.place + one.bytes <= other.place or other.place + other.bytes <= one.place


def test_room_is_used_again() -> None:
    assert plan(buffers([(1000, k, 0) for k in range(500)])) == plan(buffers([(1000, 0, 0)]))


def test_small_ones_lie_close() -> None:
    assert plan(buffers([(2, k, 1000) for k in range(100)])) <= 100 * 8 + ALIGN


def test_neighbours_make_room_for_a_large_one() -> None:
    rows = [(100, k, 100 - k) for k in range(10)]
    assert plan(buffers([*rows, (1000, 200, 1)])) <= plan(buffers(rows)) + ALIGN
