"""Repetitions in sequences, against a search by comparing everything with everything."""

from __future__ import annotations

import numpy
from hypothesis import given
from hypothesis import strategies as st

from wengert.passes.repeats import names, recurring, stretches


def tokens(text: str) -> numpy.ndarray:
    return numpy.array([ord(letter) for letter in text], numpy.int64)


def places(row: numpy.ndarray) -> numpy.ndarray:
    return numpy.arange(len(row) + 1)


@given(st.lists(st.integers(0, 3), max_size=60))
def test_equal_names_are_equal_strings(row: list[int]) -> None:
    for length, name in names(numpy.array(row, numpy.int64), (1, 2, 4, 8)):
        assert len(name) == len(row) - length + 1
        strings = [tuple(row[k : k + length]) for k in range(len(name))]
        assert len(set(strings)) == len(set(name.tolist())) == len(set(zip(strings, name.tolist(), strict=True)))


@given(st.lists(st.integers(0, 2), max_size=12), st.lists(st.integers(0, 9), min_size=1, max_size=30),
       st.integers(2, 8), st.lists(st.integers(0, 2), max_size=12))  # fmt: skip
def test_stretches_repeat(head: list[int], body: list[int], count: int, tail: list[int]) -> None:
    row = numpy.array(head + body * count + tail, numpy.int64)
    end = 0
    for start, stop, period in stretches(row, places(row), 8):
        assert start >= end
        end = stop
        assert stop <= len(row)
        assert stop - start >= 2 * period
        assert stop - start - period >= 8
        assert (row[start + period : stop] == row[start : stop - period]).all()


def test_a_loop_is_found_with_its_period() -> None:
    row = tokens("xy" + "abcdefg" * 10 + "z")
    assert stretches(row, places(row), 20) == [(2, 72, 7)]


def test_two_loops_are_found_apart() -> None:
    row = tokens("abcde" * 6 + "fghijkl" * 5)
    assert stretches(row, places(row), 15) == [(0, 30, 5), (30, 65, 7)]


def test_a_body_that_repeats_itself_a_little_is_found_whole() -> None:
    body = "abcdabcdxabcdabcdy"  # four stages, two and two alike
    row = tokens(body * 20)
    (start, stop, period), *others = stretches(row, places(row), 100)
    assert (start, stop, period, others) == (0, len(row), len(body), [])


def test_tokens_that_stand_for_many_places_count_as_such() -> None:
    row = tokens("rabcd" * 5)
    widths = numpy.where(row == ord("r"), 100, 1)
    where = numpy.concatenate(([0], numpy.cumsum(widths)))
    assert stretches(row, where, 300) == [(0, 520, 104)]
    assert stretches(row, places(row), 300) == []


@given(st.lists(st.integers(0, 9), min_size=8, max_size=20), st.lists(st.integers(10, 19), min_size=1, max_size=9),
       st.integers(2, 4))  # fmt: skip
def test_strings_that_recur(body: list[int], between: list[int], count: int) -> None:
    row = numpy.array([x for k in range(count) for x in (*body, *[100 * k + 100 + b for b in between])], numpy.int64)
    taken: set[int] = set()
    for length, starts in recurring(row, places(row), 8):
        assert length >= 8
        assert len(starts) > 1
        for start in starts:
            assert row[start : start + length].tolist() == row[starts[0] : starts[0] + length].tolist()
            here = set(range(start, start + length))
            assert not here & taken
            taken |= here
    assert len(taken) >= count * 8


def test_nothing_recurs_in_a_short_or_varied_row() -> None:
    for row in (numpy.arange(0), numpy.arange(5), numpy.arange(500)):
        assert recurring(row, places(row), 64) == []
        assert stretches(row, places(row), 64) == []
