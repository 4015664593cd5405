"""Donated arguments of `jit`: which they are, and whether the arrays of a call may be overwritten."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import DonationError
from ..graph.tensor import Tensor
from ..graph.trees import flatten, paths

PLAIN = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Donation:
    """The donated parameters of a function.

    Parameters
    ----------
    fn : the function. asked : names of parameters, or their positions. static : names of its static parameters.

    Raises
    ------
    DonationError : there is no such parameter, or it is static.
    """

    def __init__(self, fn: Callable[..., Any], asked: Sequence[str | int], static: Sequence[str]) -> None:
        parameters = inspect.signature(fn).parameters
        plain = [name for name, p in parameters.items() if p.kind in PLAIN]
        self.positional = [name for name in plain if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY]
        self.names: set[str] = set()
        for which in asked:
            if isinstance(which, str):
                name = which if which in plain else None
            else:
                name = self.positional[which] if 0 <= which < len(self.positional) else None
            if name is None:
                what = f"named {which!r}" if isinstance(which, str) else f"at position {which}"
                raise DonationError(
                    f"jit: {fn!r} has no parameter {what}, which donate asks for",
                    f"choose from {', '.join(plain) or 'the parameters of another function: this one has none'}",
                )
            if name in static:
                raise DonationError(
                    f"jit: the parameter {name} is donated and static", "donate arrays, which are not static"
                )
            self.names.add(name)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[tuple[str | None, Any]]:
        """The arguments of a call with their names, in the order of their leaves; None for those of `*args`."""
        names: list[str | None] = list(self.positional[: len(args)])
        names += [None] * (len(args) - len(names))
        return [*zip(names, args, strict=True), *[(name, kwargs[name]) for name in sorted(kwargs)]]

    def leaves(self, given: Iterable[tuple[str | None, Any]]) -> tuple[int, ...]:
        """The numbers of the leaves that are donated."""
        found: list[int] = []
        count = 0
        for name, value in given:
            own = len(flatten(value)[0])
            if name in self.names:
                found += range(count, count + own)
            count += own
        return tuple(found)

    def check(self, given: Iterable[tuple[str | None, Any]]) -> None:
        """Raise a `DonationError` unless the donated arguments are arrays that can be written over.

        Nothing is said of values of other transforms: there nothing is overwritten.
        """
        spans: list[tuple[int, int, Any]] = []
        flat = [(name, *flatten(value)) for name, value in given]
        if any(isinstance(leaf, Tensor) for _, leaves, _ in flat for leaf in leaves):
            return
        for name, leaves, structure in flat:
            donated = name in self.names
            for k, leaf in enumerate(leaves):
                fault = unfit(leaf) if donated else None
                if fault is not None:
                    label = paths(structure, name or "")[k]
                    raise DonationError(
                        f"jit: the argument {label} is donated, and {fault[0]}; its memory cannot be written over",
                        fault[1],
                    )
                if isinstance(leaf, np.ndarray) and leaf.size:
                    spans.append((*bounds(leaf), (structure, name, k) if donated else None))
        spans.sort(key=lambda span: span[:2])
        reached = reached_donated = 0
        for start, end, place in spans:
            if start < reached_donated or (place is not None and start < reached):
                structure, name, k = place or next(p for a, b, p in spans if p is not None and a <= start < b)
                raise DonationError(
                    f"jit: the donated argument {paths(structure, name or '')[k]} shares memory with another argument",
                    "pass a copy, x.copy(), for one of them",
                )
            reached = max(reached, end)
            if place is not None:
                reached_donated = max(reached_donated, end)


def bounds(array: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Where an array's memory begins and ends."""
    if array.flags.c_contiguous:
        start = array.__array_interface__["data"][0]
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)


def unfit(leaf: Any) -> tuple[str, str] | None:
    """Why a value cannot be written over, and what to do; None if it can be."""
    if not isinstance(leaf, np.ndarray):
        return f"is no array but of type {type(leaf).__name__}", "pass a NumPy array, or do not donate it"
    if not leaf.flags.writeable:
        return "is read-only", "pass a copy, x.copy(), or do not donate it"
    if not (leaf.flags.c_contiguous and leaf.flags.aligned and leaf.dtype.isnative):
        return "does not lie contiguously in C order", "pass np.ascontiguousarray(x), or do not donate it"
    return None
