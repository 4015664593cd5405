"""Convolutions, sliding windows and their sums: windows are a view of memory, a convolution is a product with them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.types import ArrayType
from .arrays import Array, Memory, known_size
from .loops import NATIVE

MOST = 64
"""Elements of a window up to which a sum of windows is written out."""


class Sliding:
    """Part of `Lowering`."""

    def convolution(self: Any, primitive: Any, x: Array, w: Array, out: ArrayType) -> Any:
        """A convolution (see `ops.convolve`) image by image: the kernel times windows as columns, kept in cache."""
        if NATIVE[out.dtype] not in ("f32", "f64") or None in map(known_size, (x.shape, w.shape, out.shape)):
            return NotImplemented
        if not math.prod(out.shape) or not math.prod(w.shape):
            return self.zeros(out.shape, out.dtype)
        groups, (made, inner, *kernel), lengths = primitive.groups, w.shape, out.shape[2:]
        x = self.around(primitive, self.in_memory(self.fitted(x, x.shape, out.dtype)))
        steps = x.strides[2:]
        shape = (groups, inner, *kernel, *lengths)
        strides = (
            x.strides[1] * inner, x.strides[1],
            *(d * s for d, s in zip(primitive.dilation, steps, strict=True)),
            *(d * s for d, s in zip(primitive.strides, steps, strict=True)),
        )  # fmt: skip
        deep, wide = inner * math.prod(kernel), math.prod(lengths)
        rows = self.in_memory(self.reshape(self.fitted(w, w.shape, out.dtype), (groups, made // groups, deep)))
        target = self.new((out.shape[0], groups, made // groups, wide), out.dtype)
        columns = self.new(shape, out.dtype)
        flat = Memory(columns.buffer, (groups, deep, wide), columns.offset, (deep * wide, wide, 1), dense=True)
        with self.loop(out.shape[0]) as image:
            start = self.add(x.offset, self.mul(image, x.strides[0]))
            self.put(Memory(x.buffer, shape, start, strides), columns)
            with self.loop(groups) as group:
                self._product(rows, flat, target, [image, group])
        return self.reshape(target, out.shape)

    def around(self: Any, primitive: Any, x: Memory) -> Memory:
        """An array in memory with zeros between and around its elements, as a convolution asks for."""
        if all(a == b == 0 for a, b in primitive.padding) and set(primitive.spread) == {1}:
            return x
        shape, inside, own = list(x.shape[:2]), [(0, n, 1) for n in x.shape[:2]], [(0, n, 1) for n in x.shape[:2]]
        for n, (lo, hi), step in zip(x.shape[2:], primitive.padding, primitive.spread, strict=True):
            total = max(((n - 1) * step + 1 if n else 0) + lo + hi, 0)
            first = -(lo // step) if lo < 0 else 0  # elements that a negative width cuts off
            last = max(min(n, (total - 1 - lo) // step + 1), first)
            shape.append(total)
            own.append((first, last, 1))
            place = lo + step * first
            inside.append((place, place + step * (last - first - 1) + 1 if last > first else place, step))
        zero = self.zeros((), x.dtype)
        return self.in_memory(self.assembled(shape, x.dtype, zero, [(self.part(x, own), inside)]))  # type: ignore[no-any-return]

    def windows(self: Any, x: Array, strides: Sequence[int], dilation: Sequence[int], out: ArrayType) -> Any:
        """All windows over the last axes."""
        if known_size(x.shape) is None:
            return NotImplemented
        d = len(strides)
        at = x.ndim - d
        if isinstance(x, Memory):
            steps = x.strides[at:]
            over = [a * s for by in (strides, dilation) for a, s in zip(by, steps, strict=True)]
            return Memory(x.buffer, out.shape, x.offset, (*x.strides[:at], *over))
        x = self.fixed(x) if x.weight > 2 else x

        def element(index: list[Any]) -> Any:
            places, inside = index[at : at + d], index[at + d :]
            own = [
                self.add(self.mul(p, s), self.mul(k, a))
                for p, s, k, a in zip(places, strides, inside, dilation, strict=True)
            ]
            return x.at(self, [*index[:at], *own])

        return self.map(out.shape, out.dtype, element, x.weight)

    def folded(self: Any, y: Array, strides: Sequence[int], dilation: Sequence[int], out: ArrayType) -> Any:
        """The sum of windows: each element adds up those windows that it lies in."""
        d = len(strides)
        if known_size(y.shape) is None or math.prod(y.shape[y.ndim - d :]) > MOST:
            return NotImplemented
        at = y.ndim - 2 * d
        lengths, sizes = y.shape[at : at + d], y.shape[at + d :]
        y = self.fixed(y)
        name = NATIVE[out.dtype]
        if 0 in lengths:
            return self.zeros(out.shape, out.dtype)

        def element(index: list[Any]) -> Any:
            total: Any = self.const(0, name)
            for window in np.ndindex(*sizes):
                places = []
                holds: Any = None
                for i, k, s, a, n in zip(index[at:], window, strides, dilation, lengths, strict=True):
                    shift = self.sub(self.lift(i, "i64"), k * a)
                    place = shift if s == 1 else self.binary("div", shift, s)
                    fine = self.both(self.ge(shift, 0), self.lt(place, n))
                    if s > 1:
                        fine = self.both(fine, self.eq(self.mul(place, s), shift))
                    holds = fine if holds is None else self.both(holds, fine)
                    places.append(self.select(fine, place, 0))
                value = y.at(self, [*index[:at], *places, *window])
                total = self.add(total, self.select(holds, value, self.const(0, name)))
            return total

        return self.map(out.shape, out.dtype, element, 6 * math.prod(sizes))
