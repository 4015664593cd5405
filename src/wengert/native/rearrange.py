"""Index maps: reshape, transpose, broadcast, slices, assembly of pieces, positions checked at run time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import IndexOutOfBoundsError
from .arrays import Array, Elements, Memory, known_size, offset_of, positions, row_major
from .loops import NATIVE
from .stages import Assembled, Stored

SMALL = 16
"""Elements up to which an array lives in registers."""


class Rearranging:
    """Part of `Lowering`."""

    map: Any
    new: Any
    put: Any
    extents: Any

    # Rearranging --------------------------------------------------------------------------------------

    def reshape(self: Any, x: Array, shape: Sequence[Any]) -> Array:
        shape = self.extents(shape)
        if isinstance(x, Elements):
            return Elements(tuple(shape), x.dtype, x.items)
        if isinstance(x, Memory) and x.dense:
            return Memory(x.buffer, shape, x.offset, row_major(self, shape), dense=True)
        old = x.shape
        flat = (lambda k: x.flat(self, k)) if x.flattens else None
        return self.map(shape, x.dtype, lambda index: x.at(self, self.regroup(index, shape, old)), x.weight, flat, [x])  # type: ignore[no-any-return]

    def regroup(self: Any, index: Sequence[Any], new: Sequence[Any], old: Sequence[Any]) -> list[Any]:
        """An index under one shape as the index of the same element under another."""
        kept = [(i, n) for i, n in zip(index, new, strict=True) if not (isinstance(n, int) and n == 1)]
        wanted = [n for n in old if not (isinstance(n, int) and n == 1)]
        found = []
        for mine, theirs in common_blocks([n for _, n in kept], wanted):
            inside = kept[mine]
            if len(inside) == len(wanted[theirs]) == 1:
                found.append(inside[0][0])
                continue
            place: Any = 0
            for i, n in inside:
                place = self.add(self.mul(place, n), i)
            block: list[Any] = []
            for n in reversed(wanted[theirs]):
                block.append(self.rest(place, n) if len(block) < len(wanted[theirs]) - 1 else place)
                place = self.quotient(place, n)
            found += reversed(block)
        given = iter(found)
        return [0 if isinstance(n, int) and n == 1 else next(given) for n in old]

    def transpose(self: Any, x: Array, permutation: Sequence[int]) -> Array:
        shape = tuple(x.shape[k] for k in permutation)
        if isinstance(x, Memory):
            return Memory(x.buffer, shape, x.offset, [x.strides[k] for k in permutation])

        def element(index: list[Any]) -> Any:
            own = [0] * len(index)
            for i, k in zip(index, permutation, strict=True):
                own[k] = i
            return x.at(self, own)

        return self.map(shape, x.dtype, element, x.weight, None, [x])  # type: ignore[no-any-return]

    def broadcast(self: Any, x: Array, shape: Sequence[Any]) -> Array:
        shape = self.extents(shape)
        x = self.spread(x, shape)
        flat = (lambda k: x.flat(self, 0)) if known_size(x.shape) == 1 and x.flattens else None
        return self.map(shape, x.dtype, lambda index: self.broadcast_at(x, index), x.weight, flat, [x])  # type: ignore[no-any-return]

    def part(self: Any, x: Array, place: Sequence[Any]) -> Array:
        """The part at a place: an entry for each axis (an integer or (start, stop, step)) or new axis (None)."""
        shape: list[Any] = []
        starts: list[tuple[Any, int, bool]] = []  # per axis of x: start, step, whether the axis stays
        for entry in place:
            if entry is None:
                shape.append(1)
                continue
            n = x.shape[len(starts)]
            if isinstance(entry, int):
                starts.append((entry if entry >= 0 else self.add(n, entry), 0, False))
                continue
            if isinstance(n, int):
                start, stop, step = slice(*entry).indices(n)
                shape.append(len(range(start, stop, step)))
            else:
                step = -1 if entry[2] == -1 else 1
                start = self.sub(n, 1) if step == -1 else 0
                shape.append(n)
            starts.append((start, step, True))
        if isinstance(x, Memory):
            strides: list[Any] = []
            own = iter(zip(starts, x.strides, strict=True))
            offset = x.offset
            for entry in place:
                if entry is None:
                    strides.append(0)
                    continue
                (start, step, stays), stride = next(own)
                offset = self.add(offset, self.mul(start, stride))
                if stays:
                    strides.append(self.mul(step, stride))
            dense = x.dense and known_size(shape) is not None and _leading(shape, strides)
            return Memory(x.buffer, shape, offset, strides, dense)

        def element(index: list[Any]) -> Any:
            given = iter(
                [
                    i
                    for i, entry in zip(index, [p for p in place if not isinstance(p, int)], strict=True)
                    if entry is not None
                ]
            )
            inner = [self.add(start, self.mul(next(given), step)) if stays else start for start, step, stays in starts]
            return x.at(self, inner)

        return self.map(shape, x.dtype, element, x.weight, None, [x])  # type: ignore[no-any-return]

    def assembled(
        self: Any, shape: Sequence[Any], dtype: Any, base: Array, pieces: Sequence[tuple[Array, Sequence[Any]]]
    ) -> Array:
        """`base` with pieces (broadcast) written over parts of it."""
        shape = self.extents(shape)
        size = known_size(shape)
        if size is not None and size <= SMALL:
            return self._few(shape, dtype, base, pieces)  # type: ignore[no-any-return]
        if len(pieces) == 1 and self.everything(shape, *pieces[0]):
            return self.reshape(self.fitted(pieces[0][0], pieces[0][0].shape, dtype), shape)  # type: ignore[no-any-return]
        parts: list[Any] = []

        def fill(value: Array, extents: Sequence[Any], place: Any) -> None:
            parts.append((Stored(self, self.fitted(value, extents, dtype)), place))

        if not (len(pieces) > 1 and base.weight == 0 and self.covered(shape, pieces)):
            fill(base, shape, lambda memory: memory)
        for piece, place in pieces:
            part = self.part(self.zeros(shape, dtype), place)
            fill(piece, part.shape, lambda memory, place=place: self.part(memory, place))
        return Assembled(self, shape, dtype, parts)

    def _few(self: Any, shape: tuple[int, ...], dtype: Any, base: Array,
             pieces: Sequence[tuple[Array, Sequence[Any]]]) -> Array:  # fmt: skip
        """A small array with pieces written over it, element by element."""
        name = NATIVE[np.dtype(dtype)]
        size = math.prod(shape)
        origin: list[tuple[Array, Sequence[Any]]] = [(base, index) for index in positions(shape)]
        numbers = Elements(shape, np.dtype(np.int64), list(range(size)))  # type: ignore[arg-type]
        for piece, place in pieces:
            part = self.part(numbers, place)
            for index in positions(part.shape):
                origin[part.at(self, index)] = piece, index

        def item(k: int) -> Any:
            return self.convert(self.broadcast_at(*origin[k]), name)

        arrays = [base, *(piece for piece, _ in pieces)]
        if not any(self.waits(x) for x in arrays):
            return Elements(shape, np.dtype(dtype), [item(k) for k in range(size)])
        steps = row_major(self, shape)

        def element(index: Sequence[Any]) -> Any:
            place = offset_of(self, 0, steps, index)
            if isinstance(place, int):
                return item(place)
            return Elements(shape, np.dtype(dtype), [item(k) for k in range(size)]).at(self, index)

        return self.map(shape, dtype, element, 1 + sum(x.weight for x in arrays), None, arrays)  # type: ignore[no-any-return]

    def everything(self: Any, shape: Sequence[Any], piece: Array, place: Sequence[Any]) -> bool:
        """Whether a piece, unbroadcast and in order, is written over a whole array."""
        if known_size(shape) is None or known_size(piece.shape) != known_size(shape):
            return False
        axes = [entry for entry in place if entry is not None]
        return all(isinstance(entry, int) or slice(*entry).indices(n) == (0, n, 1)
                   for entry, n in zip(axes, shape, strict=True))  # fmt: skip

    def covered(self: Any, shape: Sequence[Any], pieces: Sequence[tuple[Array, Sequence[Any]]]) -> bool:
        """Whether the pieces, which do not overlap, fill everything (as in a concatenation)."""
        sizes = [known_size(piece.shape) for piece, _ in pieces]
        return None not in sizes and sum(sizes) == known_size(shape)  # type: ignore[arg-type]

    def fitted(self: Any, x: Array, shape: Sequence[Any], dtype: Any) -> Array:
        """Broadcast and converted."""
        x = self.reshape(x, x.shape[x.ndim - len(shape) :]) if x.ndim > len(shape) else x
        if x.shape == tuple(shape) and x.dtype == dtype:
            return x
        name = NATIVE[np.dtype(dtype)]
        flat = (
            (lambda k: self.convert(x.flat(self, k), name))
            if x.flattens and (x.shape == tuple(shape) or known_size(x.shape) == 1)
            else None
        )
        return self.map(  # type: ignore[no-any-return]
            shape, dtype, lambda index: self.convert(self.broadcast_at(x, index), name), x.weight, flat, [x]
        )

    def zeros(self: Any, shape: Sequence[Any], dtype: Any) -> Array:
        return self.filled(shape, dtype, 0)  # type: ignore[no-any-return]

    def filled(self: Any, shape: Sequence[Any], dtype: Any, number: Any) -> Array:
        value = self.const(number, NATIVE[np.dtype(dtype)])
        return self.map(shape, dtype, lambda index: value, 0, lambda k: value, ())  # type: ignore[no-any-return]

    def position(self: Any, index: Any, extent: Any, axis: int, shown: Any) -> Any:
        """An index as one from the front, checked at run time."""
        source = self.source
        index = self.convert(index, "i64")
        wrapped = self.select(self.lt(index, 0), self.add(index, extent), index)
        fine = self.both(self.ge(wrapped, 0), self.lt(wrapped, extent))
        self.check(fine, lambda details: out_of_bounds(details, axis, shown, source), index, extent)
        return wrapped


def common_blocks(new: Sequence[Any], old: Sequence[Any]) -> list[tuple[slice, slice]]:
    """The finest cut of two shapes of one size into blocks of axes, of which each pair has one size as well."""
    blocks = []
    i = k = 0
    while i < len(new) or k < len(old):
        start, other = i, k
        mine, theirs = new[i : i + 1], old[k : k + 1]
        i, k = i + len(mine), k + len(theirs)
        while not (len(mine) == len(theirs) == 1 and (mine[0] is theirs[0] or mine[0] == theirs[0])):
            a, b = known_size(mine), known_size(theirs)
            if a is None or b is None:  # a length that only the run knows: the rest in one block
                i, k = len(new), len(old)
                break
            if a == b:
                break
            if (a < b and i < len(new)) or k == len(old):
                mine, i = new[start : i + 1], i + 1
            else:
                theirs, k = old[other : k + 1], k + 1
            if i > len(new) or k > len(old):
                i, k = len(new), len(old)
                break
        blocks.append((slice(start, i), slice(other, k)))
    return blocks


def out_of_bounds(details: Sequence[int], axis: int, shown: Any, source: Any) -> Exception:
    position, extent = details[:2]
    return IndexOutOfBoundsError(
        f"index {position} on axis {axis} of {shown}, which has {extent} elements there",
        f"give an index from {-extent} to {extent - 1}" if extent else "the axis is empty: test its length first",
        source,
    )


def _leading(shape: Sequence[int], strides: Sequence[Any]) -> bool:
    """Whether the strides are those of a contiguous array."""
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1 and s != step:
            return False
        step *= n
    return math.prod(shape) > 0
