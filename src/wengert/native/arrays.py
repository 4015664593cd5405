"""Values while a graph is lowered: elements in registers, arrays in memory, and maps from an index to an element."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .loops import Buffer, Builder, Value

Index = Sequence[Any]


class Array:
    """Base: shape (extents may be registers), dtype, and `at(index)`, the element as a register."""

    shape: tuple[Any, ...]
    dtype: np.dtype[Any]
    weight = 0
    """Operations that it takes to compute an element."""
    host: Any = None
    """The elements, if they are known while the program is written."""
    spaced: Any = None
    """The formula of an array of evenly spaced integers."""

    def at(self, e: Any, index: Index) -> Value:
        raise NotImplementedError

    def flat(self, e: Any, k: Any) -> Value | None:
        """The element at a position in row-major order, if that is no more work than by index."""
        return None

    @property
    def flattens(self) -> bool:
        return False

    @property
    def ndim(self) -> int:
        return len(self.shape)


def known_size(shape: Sequence[Any]) -> int | None:
    """The number of elements; None if only the run knows."""
    return math.prod(shape) if all(isinstance(n, int) for n in shape) else None


def size_of(e: Builder, shape: Sequence[Any]) -> Any:
    total: Any = 1
    for n in shape:
        total = e.mul(total, n)
    return total


def row_major(e: Builder, shape: Sequence[Any]) -> tuple[Any, ...]:
    """Strides of a contiguous array, in elements."""
    strides: list[Any] = []
    step: Any = 1
    for n in reversed(shape):
        strides.append(step)
        step = e.mul(step, n)
    return tuple(reversed(strides))


def offset_of(e: Builder, start: Any, strides: Sequence[Any], index: Index) -> Any:
    total = start
    for step, i in zip(strides, index, strict=True):
        total = e.add(total, e.mul(i, step))
    return total


def positions(shape: tuple[int, ...]) -> Any:
    """All indices in row-major order."""
    return np.ndindex(*shape)


class Elements(Array):
    """A small array whose elements are in registers."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], items: Sequence[Value]) -> None:
        self.shape = shape
        self.dtype = dtype
        self.items = list(items)

    @property
    def flattens(self) -> bool:
        return len(self.items) == 1

    def flat(self, e: Any, k: Any) -> Value | None:
        return self.items[0] if len(self.items) == 1 else None

    def at(self, e: Any, index: Index) -> Value:
        place = 0
        for i, n in zip(index, self.shape, strict=True):
            place = e.add(e.mul(place, n), i)
        if isinstance(place, Value) and place.op == "const":
            place = place.args[0]
        if isinstance(place, int):
            return self.items[place]
        if e.probe is not None:
            return e.probe.vary(e, self, place)
        return e.in_memory(self).at(e, index)


class Memory(Array):
    """An array in memory: offset and strides in elements."""

    def __init__(
        self, buffer: Buffer, shape: Sequence[Any], offset: Any, strides: Sequence[Any], dense: bool = False
    ) -> None:
        self.buffer = buffer
        self.shape = tuple(shape)
        self.dtype = buffer.dtype
        self.offset = offset
        self.strides = tuple(strides)
        self.dense = dense
        """Whether the elements lie in row-major order without gaps."""

    @property
    def flattens(self) -> bool:
        return self.dense

    def flat(self, e: Any, k: Any) -> Value | None:
        return e.load(self.buffer, e.add(self.offset, k)) if self.dense else None

    def at(self, e: Any, index: Index) -> Value:
        offset = offset_of(e, self.offset, self.strides, index)
        if e.probe is not None:
            return e.probe.load(e, self, index, offset)  # type: ignore[no-any-return]
        return e.load(self.buffer, offset)  # type: ignore[no-any-return]


class Joined(Array):
    """Complex numbers as arrays of their parts, on their way to memory."""

    def __init__(self, shape: Sequence[Any], dtype: np.dtype[Any], parts: Sequence[Array]) -> None:
        self.shape = tuple(shape)
        self.dtype = dtype
        self.parts = tuple(parts)


def parts_of(value: Memory) -> tuple[Memory, Memory]:
    """The real and the imaginary parts of complex numbers in memory."""
    steps = [2 * n if isinstance(n, int) else n for n in value.strides]
    return tuple([Memory(value.buffer, value.shape, value.offset + k, steps) for k in (0, 1)])  # type: ignore[return-value]


class Map(Array):
    """An array that is computed where it is read, or by its stage if it has one.

    `sources` are the arrays that its function reads, None if nobody said.
    """

    def __init__(self, shape: Sequence[Any], dtype: np.dtype[Any], fn: Callable[..., Value], weight: int = 0,
                 flat: Callable[..., Value] | None = None, sources: Sequence[Array] | None = None) -> None:  # fmt: skip
        self.shape = tuple(shape)
        self.dtype = dtype
        self.fn = fn
        self.weight = weight
        self._flat = flat
        self.sources = sources
        self.stage: Any = None
        self.origin: Any = None
        """The user's line that it belongs to."""

    @property
    def flattens_itself(self) -> bool:
        return self._flat is not None

    @property
    def flattens(self) -> bool:
        return self._flat is not None if self.stage is None else self.stage.flattens

    def flat(self, e: Any, k: Any) -> Value | None:
        return self.compute_flat(e, k) if self.stage is None else self.stage.flat(e, k)

    def at(self, e: Any, index: Index) -> Value:
        return self.compute(e, index) if self.stage is None else self.stage.at(e, index)

    def compute_flat(self, e: Any, k: Any) -> Value | None:
        if self._flat is None:
            return None
        return remembered(e, (id(self), "flat", k), self, lambda: self._flat(k))  # type: ignore[misc, no-any-return]

    def compute(self, e: Any, index: Index) -> Value:
        return remembered(e, (id(self), *index), self, lambda: self.fn(list(index)))  # type: ignore[no-any-return]


def remembered(e: Builder, key: Any, owner: Any, make: Callable[[], Any]) -> Any:
    """What `make` returns, once for a key in scope; the owner is kept, since its id is in the key."""
    found = e.recall(key)
    if found is None:
        found = e.memos[-1][key] = (make(), owner)
    return found[0]
