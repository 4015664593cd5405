"""Reductions: sums, products, extrema, any and all, positions of extrema."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .arrays import Array, Memory, known_size, offset_of, positions
from .loops import NATIVE
from .nests import CHEAP
from .rearrange import SMALL
from .stages import SHORT, Reduced

KINDS: dict[str, tuple[Callable[..., Any], Callable[[str], Any]]] = {
    "add": (lambda e, x, y: e.binary("sum", x, y) if x.dtype[0] == "f" else e.add(x, y), lambda t: 0),
    "multiply": (lambda e, x, y: e.mul(x, y), lambda t: 1),
    "maximum": (lambda e, x, y: e.maximum(x, y), lambda t: _limit(t, -1)),
    "minimum": (lambda e, x, y: e.minimum(x, y), lambda t: _limit(t, 1)),
    "or": (lambda e, x, y: e.either(x, y), lambda t: False),
    "and": (lambda e, x, y: e.both(x, y), lambda t: True),
}
"""How two values are joined, and what joining starts from. A "sum" of floats may be reordered by LLVM."""


def _limit(dtype: str, sign: int) -> Any:
    if dtype[0] == "f":
        return sign * math.inf
    if dtype == "bool":
        return sign > 0
    info = np.iinfo(np.dtype(("int" if dtype[0] == "i" else "uint") + dtype[1:]))
    return info.max if sign > 0 else info.min


class Reductions:
    """Part of `Lowering`."""

    def reduce(self: Any, kind: str, x: Array, axes: Sequence[int], dtype: Any) -> Array:
        """Elements along axes joined to one; `dtype` is that of the result, in which they are joined."""
        join, start = KINDS[kind]
        name = NATIVE[np.dtype(dtype)]
        zero = start(name)
        kept = [k for k in range(x.ndim) if k not in axes]
        shape = tuple(x.shape[k] for k in kept)
        lanes = tuple(x.shape[k] for k in axes)
        total, lane = known_size(x.shape), known_size(lanes)

        def read(outer: Sequence[Any], inner: Sequence[Any]) -> Any:
            index: list[Any] = [None] * x.ndim
            for k, i in zip((*kept, *axes), (*outer, *inner), strict=True):
                index[k] = i
            return self.convert(x.at(self, index), name)

        def joined(outer: Sequence[Any]) -> Any:
            values = [read(outer, inner) for inner in positions(lanes)]
            result = values[0] if values else self.const(zero, name)
            for v in values[1:]:
                result = join(self, result, v)
            return result

        if lane is not None and (lane <= SHORT or (total is not None and total <= SMALL)):
            made = self.map(shape, dtype, joined, lane * (x.weight + 1), None, [x])
            return made if self.waits(x) or total is None or total > SMALL else self.elements(made)  # type: ignore[no-any-return]
        stage = Reduced(self, x, axes, dtype, join, zero)
        self.pending.append(stage)
        return stage

    def arg(self: Any, kind: str, x: Array, axis: int, dtype: Any) -> Array:
        """The first position of the largest ("gt") or smallest ("lt") element along an axis; of the first NaN."""
        x = self.fixed(x)
        shape = tuple(n for k, n in enumerate(x.shape) if k != axis)
        target: Memory = self.new(shape, dtype)
        name = NATIVE[x.dtype]
        with self.nest(shape) as outer:

            def read(i: Any) -> Any:
                return x.at(self, [*outer[:axis], i, *outer[axis:]])

            best, place = self.cell(name, read(0)), self.cell("i64", 0)
            with self.loop(x.shape[axis]) as i:
                value, now = read(i), self.read(best)
                better = self.binary(kind, value, now)
                if name[0] == "f":
                    better = self.both(self.eq(now, now), self.either(better, self.ne(value, value)))
                self.write(
                    place, self.select(better, i if not isinstance(i, int) else self.const(i, "i64"), self.read(place))
                )
                self.write(best, self.select(better, value, now))
            self.store(
                target.buffer,
                offset_of(self, 0, target.strides, outer),
                self.convert(self.read(place), NATIVE[target.dtype]),
            )
        return target

    def logsumexp(self: Any, x: Array, axes: Sequence[int], dtype: Any) -> Array:
        """log(sum(exp(x))), shifted by the largest element of a lane."""
        name = NATIVE[np.dtype(dtype)]
        x = self.stage(x) if x.weight > CHEAP else x
        top = self.reduce("maximum", x, axes, dtype)
        shape = top.shape

        def shift(value: Any) -> Any:
            finite = self.lt(self.intrinsic("fabs", value), math.inf)
            return self.select(finite, value, self.const(0.0, name))

        def powers(index: Sequence[Any]) -> Any:
            outer = [i for k, i in enumerate(index) if k not in axes]
            return self.exp(self.sub(self.convert(x.at(self, list(index)), name), shift(top.at(self, outer))))

        total = self.reduce("add", self.map(x.shape, dtype, powers, 20, None, [x, top]), axes, dtype)

        def result(index: Sequence[Any]) -> Any:
            return self.add(self.log(total.at(self, index)), shift(top.at(self, index)))

        return self.map(shape, dtype, result, 20, None, [total, top])  # type: ignore[no-any-return]
