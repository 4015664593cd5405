"""Gathers and scatters: elements at positions that are known when the program runs.

Index arrays are checked first, in a loop of their own that the vectoriser takes; reads and writes then need no checks,
stay maps and join the loops of their readers. Positions that are known while the program is written (`np.arange(n)` in
`x[np.arange(n), labels]`) are checked here and now, and evenly spaced ones are formulas of the loop index.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.nodes import Const
from ..graph.types import ArrayType, broadcast_shapes
from .arrays import Array, Elements, Map, Memory, known_size
from .nests import CHEAP
from .rearrange import out_of_bounds
from .stages import Scattered, Stage, Stored


class Indexing:
    """Part of `Lowering`. Index arrays broadcast to a block of axes, which stands at `at` among the other axes."""

    def checked(self: Any, index: Array, extent: Any, axis: int, shown: Any) -> Array:
        """An index array whose elements are positions from the front, after a check that they exist."""
        host = index.host
        if host is not None and isinstance(extent, int):
            bad = (host < -extent) | (host >= extent)
            if not bad.any():
                return self.constant(Const(np.where(host < 0, host + extent, host))) if (host < 0).any() else index
        index = self.fixed(index)
        if isinstance(index, Elements):
            items = [self.position(item, extent, axis, shown) for item in index.items]
            return Elements(index.shape, np.dtype(np.int64), items)
        self._check(index, extent, axis, shown)
        if index.dtype.kind == "u":
            return index

        def wrapped(at: Sequence[Any]) -> Any:
            i = self.convert(index.at(self, at), "i64")
            return self.select(self.lt(i, 0), self.add(i, extent), i)

        return self.map(index.shape, np.int64, wrapped, 3, None, [index])  # type: ignore[no-any-return]

    def _check(self: Any, index: Memory, extent: Any, axis: int, shown: Any) -> None:
        """Whether all are in range, in one loop; if not, a second one finds the first that is not."""
        low = self.neg(self.lift(extent, "i64"))
        least, most = self.cell("i64", 0), self.cell("i64", low)

        def position(place: Sequence[Any]) -> Any:
            return self.convert(index.at(self, place), "i64")

        with self.nest(index.shape) as place:
            i = position(place)
            self.write(least, self.minimum(self.read(least), i))
            self.write(most, self.maximum(self.read(most), i))
        fine = self.both(self.ge(self.read(least), low), self.lt(self.read(most), self.lift(extent, "i64")))
        source = self.source

        def report() -> None:
            with self.nest(index.shape) as place:
                i = position(place)
                here = self.both(self.ge(i, low), self.lt(i, self.lift(extent, "i64")))
                self.check(here, lambda details: out_of_bounds(details, axis, shown, source), i, extent)

        self.branch(self.convert(fine, "i64"), [report, lambda: None])

    def _places(self: Any, axes: Sequence[int], at: int, indices: Sequence[Array], shape: Sequence[Any]) -> Any:
        """The function from an index of the gathered shape to one of the array."""
        block = len(broadcast_shapes(*(x.shape for x in indices)) or ())
        given = dict(zip(axes, indices, strict=True))

        def place(index: Sequence[Any]) -> list[Any]:
            inner = index[at : at + block]
            rest = iter([*index[:at], *index[at + block :]])
            return [self._position(given[axis], inner) if axis in given else next(rest) for axis, _ in enumerate(shape)]

        return place

    def _position(self: Any, index: Array, inner: Sequence[Any]) -> Any:
        """The position that an index array gives; a loop's own index where it counts up from 0."""
        own = inner[len(inner) - index.ndim :]
        if index.spaced is not None:
            start, steps = index.spaced
            moving = [(i, step) for i, step, n in zip(own, steps, index.shape, strict=True) if step and n != 1]
            if start == 0 and len(moving) == 1 and moving[0][1] == 1:
                return moving[0][0]
        found = self.broadcast_at(index, inner)
        if found.op == "const":
            return int(found.args[0])
        return self.convert(found, "i64")

    def gather(self: Any, x: Array, axes: Sequence[int], at: int, indices: Sequence[Array], out: ArrayType) -> Array:
        shown = ArrayType(x.shape, x.dtype)
        indices = [self.checked(i, x.shape[axis], axis, shown) for axis, i in zip(axes, indices, strict=True)]
        if isinstance(x, Elements) and not all(i.host is not None for i in indices):
            x = self.in_memory(x)
        size, all_ = known_size(self.extents(out.shape)), known_size(x.shape)
        few = size is not None and all_ is not None and 4 * size <= all_
        if isinstance(x, Map) and x.weight > CHEAP and not few:
            x = self.stage(x)
        place = self._places(axes, at, indices, x.shape)
        weight = x.weight + 2 + sum(i.weight for i in indices)
        return self.map(  # type: ignore[no-any-return]
            out.shape, x.dtype, lambda index: x.at(self, place(index)), weight, None, [x, *indices]
        )

    def scatter(self: Any, x: Array | None, v: Array, axes: Sequence[int], at: int, indices: Sequence[Array],
                out: ArrayType, add: bool) -> Array:  # fmt: skip
        """A copy of `x` (zeros) with `v` assigned (added) at positions, in order."""
        shape = self.extents(out.shape)
        shown = ArrayType(tuple(shape), np.dtype(out.dtype))
        base = self.zeros(shape, out.dtype) if x is None else self.fitted(x, shape, out.dtype)
        indices = [self.checked(i, shape[axis], axis, shown) for axis, i in zip(axes, indices, strict=True)]
        rest = [n for axis, n in enumerate(shape) if axis not in axes]
        block = broadcast_shapes(*(i.shape for i in indices)) or ()
        part = (*rest[:at], *block, *rest[at:])
        v = self.fitted(v, part, out.dtype)
        once = self._one_for_each(axes, at, indices, block, shape)
        if once is not None:
            return self._chosen_ones(base, v, once, axes, at, indices, shape, add)  # type: ignore[no-any-return]
        first: Stage = Stored(self, base)
        made = Scattered(self, first, v, self._places(axes, at, indices, shape), add)
        self.pending += [first, made]
        return made

    def _one_for_each(self: Any, axes: Sequence[int], at: int, indices: Sequence[Array], block: Sequence[int],
                      shape: Sequence[Any]) -> dict[int, int] | None:  # fmt: skip
        """The axis of the array for each axis of the block, if index arrays that count along an axis say so.

        In `x[np.arange(n), labels]` every row has exactly one place, so that the scattered array is a map.
        """
        found: dict[int, int] = {}
        for axis, index in zip(axes, indices, strict=True):
            if index.spaced is None or index.spaced.start != 0:
                continue
            moving = [k for k, (step, n) in enumerate(zip(index.spaced.steps, index.shape, strict=True)) if step]
            if len(moving) == 1 and index.spaced.steps[moving[0]] == 1 and index.shape[moving[0]] == shape[axis]:
                found.setdefault(len(block) - index.ndim + moving[0], axis)
        needed = [k for k, n in enumerate(block) if n != 1]
        return found if needed and set(found) == set(needed) and len(found) < len(axes) else None

    def _chosen_ones(self: Any, base: Array, v: Array, once: dict[int, int], axes: Sequence[int], at: int,
                     indices: Sequence[Array], shape: Sequence[Any], add: bool) -> Array:  # fmt: skip
        """`base` with one element for each index of the block replaced (added to)."""
        block = v.ndim - (len(shape) - len(axes))
        chosen = [(axis, i) for axis, i in zip(axes, indices, strict=True) if axis not in once.values()]
        others = [axis for axis in range(len(shape)) if axis not in axes]

        def element(index: Sequence[Any]) -> Any:
            inner = [index[once[k]] if k in once else 0 for k in range(block)]
            here: Any = None
            for axis, i in chosen:
                equal = self.eq(self.lift(index[axis], "i64"), self._position(i, inner))
                here = equal if here is None else self.both(here, equal)
            rest = [index[axis] for axis in others]
            value = v.at(self, [*rest[:at], *inner, *rest[at:]])
            old = base.at(self, index)
            return self.select(here, self.add(old, value) if add else value, old)

        weight = base.weight + v.weight + 4
        return self.map(shape, base.dtype, element, weight, None, [base, v, *(i for _, i in chosen)])  # type: ignore[no-any-return]
