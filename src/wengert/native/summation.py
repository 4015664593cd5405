"""Einstein sums as matrix products or loop nests, and running results along an axis."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..graph.types import ArrayType
from .arrays import Array, Memory, known_size, offset_of
from .loops import NATIVE


class Summation:
    """Part of `Lowering`."""

    def einsum(self: Any, inputs: Sequence[str], output: str, operands: Sequence[Array], out: ArrayType) -> Any:
        """Explicit subscripts of one or two operands."""
        if None in map(known_size, (*[x.shape for x in operands], out.shape)):
            return NotImplemented
        sizes = {
            c: n for letters, x in zip(inputs, operands, strict=True) for c, n in zip(letters, x.shape, strict=True)
        }
        found = self.as_product(inputs, output, operands, sizes, out) if len(operands) == 2 else None
        if found is not None:
            return found
        summed = "".join(c for c in dict.fromkeys("".join(inputs)) if c not in output)
        name = NATIVE[out.dtype]
        operands = [self.fixed(x) if x.weight > 2 else x for x in operands]

        def element(index: list[Any]) -> Any:
            at = dict(zip(output + summed, index, strict=True))
            total: Any = None
            for letters, x in zip(inputs, operands, strict=True):
                value = self.convert(x.at(self, [at[c] for c in letters]), name)
                total = value if total is None else self.mul(total, value)
            return total

        whole = self.map(tuple(sizes[c] for c in output + summed), out.dtype, element, len(operands))
        axes = tuple(range(len(output), len(output) + len(summed)))
        return self.reduce("add", whole, axes, out.dtype) if summed else whole

    def as_product(self: Any, inputs: Sequence[str], output: str, operands: Sequence[Array], sizes: dict[str, int],
                   out: ArrayType) -> Array | None:  # fmt: skip
        """A stacked matrix product, if letters are shared, summed and kept as in one and it is worth it."""
        left, right = inputs
        if any(len(set(s)) != len(s) for s in inputs):
            return None
        stack = [c for c in output if c in left and c in right]
        inner = [c for c in left if c in right and c not in output]
        rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
        if not inner or not set(rows + columns) <= set(output) or not (rows or columns):
            return None

        def grouped(x: Array, letters: str, *groups: Sequence[str]) -> Array:
            order = [letters.index(c) for group in groups for c in group]
            turned = x if order == sorted(order) else self.transpose(x, order)
            shape = (*(sizes[c] for c in groups[0]), *(math.prod(sizes[c] for c in g) for g in groups[1:]))
            return self.reshape(turned, shape)  # type: ignore[no-any-return]

        x, y = grouped(operands[0], left, stack, rows, inner), grouped(operands[1], right, stack, inner, columns)
        lead = tuple(sizes[c] for c in stack)
        made = self.matmul(x, y, ArrayType((*lead, x.shape[-2], y.shape[-1]), out.dtype))
        order = stack + rows + columns
        found = self.reshape(made, tuple(sizes[c] for c in order))
        if "".join(order) == output:
            return found  # type: ignore[no-any-return]
        return self.transpose(found, [order.index(c) for c in output])  # type: ignore[no-any-return]

    def accumulate(self: Any, x: Array, axis: int, reverse: bool, join: Callable[[Any, Any], Any], out: ArrayType,
                second: Array | None = None) -> Any:  # fmt: skip
        """The results of joining up to every place along an axis: y[i] = join(y[i-1], x[i]), y[0] = x[0].

        With a `second` array y[i] = join(y[i-1], x[i], second[i]).
        """
        if known_size(x.shape) is None or NATIVE.get(out.dtype) is None:
            return NotImplemented
        name, n = NATIVE[out.dtype], x.shape[axis]
        target: Memory = self.new(out.shape, out.dtype)
        if not math.prod(out.shape):
            return target
        x = self.fixed(x) if x.weight else x
        second = self.fixed(second) if second is not None else None
        before, after = out.shape[:axis], out.shape[axis + 1 :]

        def place(outer: Sequence[Any], k: Any, inner: Sequence[Any]) -> list[Any]:
            return [*outer, self.sub(n - 1, k) if reverse else k, *inner]

        def values(index: list[Any]) -> list[Any]:
            return [self.convert(v.at(self, index), name) for v in (x, second) if v is not None]

        # Steps outside of the axes behind, so that memory is read in order and those can be vectors.
        with self.nest(before) as outer:
            with self.nest(after) as inner:
                index = place(outer, 0, inner)
                self.store(target.buffer, offset_of(self, 0, target.strides, index), values(index)[-1])
            with self.loop(n - 1) as k, self.nest(after) as inner:
                index = place(outer, self.add(k, 1), inner)
                last = self.load(target.buffer, offset_of(self, 0, target.strides, place(outer, k, inner)))
                self.store(target.buffer, offset_of(self, 0, target.strides, index), join(last, *values(index)))
        return target
