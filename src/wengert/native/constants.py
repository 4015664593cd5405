"""Constant arrays that a formula gives: the same everywhere or along an axis, evenly spaced, a diagonal.

They are computed where they are read, which needs no memory and tells what an index array is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

EXACT = 2**53
"""Integers up to which float64 holds all."""


class Spaced(NamedTuple):
    """start + sum of steps[k] * index[k]."""

    start: int
    steps: tuple[int, ...]


class Diagonal(NamedTuple):
    """One number where the last two indices are equal, another one elsewhere."""

    on: Any
    off: Any


def formula(array: np.ndarray[Any, Any]) -> Spaced | Diagonal | None:
    """What an array with at least two different elements follows, exactly."""
    return spaced(array) or diagonal(array)


def uniform(array: np.ndarray[Any, Any]) -> bool:
    """Whether all elements have the same bits."""
    return bool((bits(array) == bits(array.ravel()[:1])).all())


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements as integers, so that zeros of both signs differ and NaN equals itself."""
    return np.ascontiguousarray(array).view(f"u{array.dtype.itemsize}")


def spaced(array: np.ndarray[Any, Any]) -> Spaced | None:
    if array.dtype.kind not in "iuf":
        return None
    origin = (0,) * array.ndim
    corner = [array[origin]]
    corner += [array[(*origin[:k], 1, *origin[k + 1 :])] for k in range(array.ndim) if array.shape[k] > 1]
    if not all(np.isfinite(x) and x == np.trunc(x) and abs(float(x)) < EXACT for x in corner):
        return None
    start = int(corner[0])
    rest = iter(corner[1:])
    steps = tuple(int(next(rest)) - start if n > 1 else 0 for n in array.shape)
    ends = [start] + [start + step * (n - 1) for step, n in zip(steps, array.shape, strict=True)]
    if max(map(abs, ends)) >= (2**24 if array.dtype == np.float32 else EXACT):
        return None
    wanted: Any = np.int64(start)
    for k, (step, n) in enumerate(zip(steps, array.shape, strict=True)):
        wanted = wanted + (step * np.arange(n)).reshape([-1 if j == k else 1 for j in range(array.ndim)])
    wanted = np.asarray(wanted).astype(array.dtype)
    return Spaced(start, steps) if np.array_equal(bits(array), bits(np.broadcast_to(wanted, array.shape))) else None


def diagonal(array: np.ndarray[Any, Any]) -> Diagonal | None:
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.shape[-1] < 2:
        return None
    first = array.reshape(-1, *array.shape[-2:])[0]
    on, off = first[0, 0], first[0, 1]
    wanted = np.where(np.eye(array.shape[-1], dtype=bool), on, off).astype(array.dtype)
    same = np.array_equal(bits(array), np.broadcast_to(bits(wanted), array.shape))
    return Diagonal(on.item(), off.item()) if same else None


def repeated(array: np.ndarray[Any, Any]) -> Sequence[int]:
    """Axes along which nothing changes."""
    found = []
    for k in range(array.ndim):
        if array.shape[k] > 1:
            first = array[(slice(None),) * k + (slice(0, 1),)]
            if (bits(array) == bits(first)).all():
                found.append(k)
    return found
