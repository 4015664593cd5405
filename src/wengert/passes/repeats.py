"""Finding what repeats in a long sequence of numbers: periods, as of unrolled loops, and strings that occur again.

Equal strings of 1, 2, 4, 8, ... numbers get equal names (Karp, Miller, Rosenberg, *Rapid identification of repeated
patterns in strings, trees and arrays*, STOC 1972), all in arrays, so that the cost is n log n with a small constant.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[np.int64]]
LENGTHS = (4, 16, 64, 256, 1024)
"""Lengths of strings whose earlier occurrences are looked for. Short ones find the period of a simple loop, long ones
that of a loop whose body repeats itself."""


class Stretch(NamedTuple):
    """From `start` to before `stop`; from start + period on, what stands there is what stood `period` earlier."""

    start: int
    stop: int
    period: int


def names(tokens: Array, lengths: tuple[int, ...] = LENGTHS) -> Iterator[tuple[int, Array]]:
    """For growing lengths: for each position a number that is equal where the strings from there on are equal."""
    if not len(tokens):
        return
    length, name = 1, np.unique(tokens, return_inverse=True)[1].astype(np.int64)
    for wanted in lengths:
        while length < wanted:
            if len(name) <= length:
                return
            pairs = name[:-length] * (int(name.max()) + 1) + name[length:]
            name = np.unique(pairs, return_inverse=True)[1].astype(np.int64)
            length *= 2
        yield length, name


def distances(name: Array) -> Array:
    """For each position, how far back its name occurred last; 0 if it did not."""
    order = np.argsort(name, kind="stable")
    again = np.flatnonzero(name[order[1:]] == name[order[:-1]])
    found = np.zeros(len(name), np.int64)
    found[order[again + 1]] = order[again + 1] - order[again]
    return found


def stretches(tokens: Array, places: Array, least: int) -> list[Stretch]:
    """Stretches, apart from each other, in which everything repeats with a period, in order.

    `places` says where each token begins (and where the last one ends): tokens may stand for more than one place, and
    stretches are given in places. At least `least` places of each are repeats, and at least one whole period. Of the
    shortest strings that show any.
    """
    for length, name in names(tokens):
        back = distances(name)
        edges = np.flatnonzero(np.diff(back)) + 1
        starts, stops = np.concatenate(([0], edges)), np.concatenate((edges, [len(back)]))
        periods = back[starts]
        good = (periods > 0) & (stops - starts + length - 1 >= periods)
        found: list[Stretch] = []
        end = 0
        for start, stop, period in np.stack((starts, stops, periods), 1)[good].tolist():
            begin = max(start - period, end)
            last = stop + length - 1
            if last - begin >= 2 * period and places[last] - places[begin + period] >= least:
                end = last
                width = int(places[begin + period] - places[begin])
                found.append(Stretch(int(places[begin]), int(places[last]), width))
        if found:
            return found
    return []


def recurring(tokens: Array, places: Array, least: int) -> list[tuple[int, list[int]]]:
    """Strings of at least `least` tokens (a power of two) that occur several times: length and starts, in places.

    No two occurrences overlap. From left to right, each as long as the first two occurrences agree.
    """
    name = next((name for _, name in names(tokens, (least,))), None)
    if name is None:
        return []
    occurrences: dict[int, list[int]] = {}
    for start, number in enumerate(name.tolist()):
        occurrences.setdefault(number, []).append(start)
    taken = np.zeros(len(tokens), bool)
    found: list[tuple[int, list[int]]] = []
    for start, number in enumerate(name.tolist()):
        others = occurrences[number]
        if len(others) < 2 or taken[start : start + least].any():
            continue
        other = next((k for k in others if k >= start + least and not taken[k : k + least].any()), None)
        if other is None:
            continue
        limit = min(other - start, len(tokens) - other)
        one, two = slice(start, start + limit), slice(other, other + limit)
        differ = np.flatnonzero((tokens[one] != tokens[two]) | taken[one] | taken[two])
        length = int(differ[0]) if len(differ) else limit
        where = [start]
        for k in others:
            here = slice(k, k + length)
            if k >= where[-1] + length and not taken[here].any() and np.array_equal(tokens[here], tokens[one][:length]):
                where.append(k)
        for k in where:
            taken[k : k + length] = True
        found.append((int(places[start + length] - places[start]), places[where].tolist()))
    return found
