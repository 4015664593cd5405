"""Gathers and scatters: elements at positions that are known when the program runs, each checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.types import ArrayType, broadcast_shapes
from .arrays import Array, Elements, Memory, offset_of


class Indexing:
    """Part of `Lowering`. Index arrays broadcast to a block of axes, which stands at `at` among the other axes."""

    def _places(
        self: Any, axes: Sequence[int], at: int, indices: Sequence[Array], shape: Sequence[Any], shown: Any
    ) -> Any:
        """The function from an index of the gathered shape to one of the array."""
        block = len(broadcast_shapes(*(x.shape for x in indices)) or ())

        def place(index: Sequence[Any]) -> list[Any]:
            inner = index[at : at + block]
            rest = iter([*index[:at], *index[at + block :]])
            given = dict(zip(axes, indices, strict=True))
            found = []
            for axis, n in enumerate(shape):
                if axis in given:
                    found.append(self.position(self.broadcast_at(given[axis], inner), n, axis, shown))
                else:
                    found.append(next(rest))
            return found

        return place

    def gather(self: Any, x: Array, axes: Sequence[int], at: int, indices: Sequence[Array], out: ArrayType) -> Array:
        x = self.in_memory(x) if isinstance(x, Elements) or x.weight else x
        indices = [self.fixed(i) for i in indices]
        shown = ArrayType(x.shape, x.dtype)
        place = self._places(axes, at, indices, x.shape, shown)
        # A read in memory: so that a bad index is an error even if nobody reads the result.
        return self.fixed(self.map(out.shape, x.dtype, lambda index: x.at(self, place(index)), 3))  # type: ignore[no-any-return]

    def scatter(self: Any, x: Array | None, v: Array, axes: Sequence[int], at: int, indices: Sequence[Array],
                out: ArrayType, add: bool) -> Array:  # fmt: skip
        """A copy of `x` (zeros) with `v` assigned (added) at positions, in order."""
        shape = self.extents(out.shape)
        indices = [self.fixed(i) for i in indices]
        target: Memory = self.new(shape, out.dtype)
        self.put(self.zeros(shape, out.dtype) if x is None else self.fitted(x, shape, out.dtype), target)
        rest = [n for axis, n in enumerate(shape) if axis not in axes]
        block = broadcast_shapes(*(i.shape for i in indices)) or ()
        part = (*rest[:at], *block, *rest[at:])
        v = self.fitted(v, part, out.dtype)
        place = self._places(axes, at, indices, shape, ArrayType(tuple(shape), np.dtype(out.dtype)))
        with self.nest(part) as index:
            offset = offset_of(self, 0, target.strides, place(index))
            value = v.at(self, index)
            if add:
                value = self.add(self.load(target.buffer, offset), value)
            self.store(target.buffer, offset, value)
        return target
