"""Windows that slide over trailing axes, and their sum back: what pooling is made of.

    windows(x)[..., p, k] = x[..., p stride + k dilation],
    fold(y)[..., i] = sum of y[..., p, k] over all p, k with p stride + k dilation = i.

They are transposes of each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import bind, is_traced
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from .dependence import Operand, Pairs, positions
from .families import Linear, align_batches

Sizes = tuple[int, ...]


def window_lengths(size: Sequence[int], sizes: Sizes, strides: Sizes, dilation: Sizes) -> Sizes:
    """How many windows fit along each axis."""
    return tuple(
        max((n - (k - 1) * d - 1) // s + 1, 0) if n > (k - 1) * d else 0
        for n, k, s, d in zip(size, sizes, strides, dilation, strict=True)
    )


class Windows(Linear):
    """All windows of `sizes` over the last axes, in new last axes."""

    name = "windows"
    params = ("sizes", "strides", "dilation")
    facts = Linear.facts | {"rearranging"}
    sizes: Sizes
    strides: Sizes
    dilation: Sizes

    def type(self, x: ArrayType) -> ArrayType:
        d = len(self.sizes)
        if x.ndim < d:
            raise ShapeError(f"windows of {self.sizes} over {x}", f"give an array with at least {d} axes")
        lengths = window_lengths(x.shape[x.ndim - d :], self.sizes, self.strides, self.dilation)
        return ArrayType((*x.shape[: x.ndim - d], *lengths, *self.sizes), x.dtype)

    def numpy(self, x: Any) -> Any:
        d = len(self.sizes)
        lead, lengths = x.shape[: x.ndim - d], self.type(ArrayType(x.shape, x.dtype)).shape[x.ndim - d : x.ndim]
        if 0 in lengths:
            return np.zeros((*lead, *lengths, *self.sizes), x.dtype)
        steps = x.strides[x.ndim - d :]
        strides = (*x.strides[: x.ndim - d], *(a * s for a, s in zip(self.strides, steps, strict=True)),
                   *(a * s for a, s in zip(self.dilation, steps, strict=True)))  # fmt: skip
        return np.lib.stride_tricks.as_strided(x, (*lead, *lengths, *self.sizes), strides, writeable=False).copy()

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        shape = operands[0].shape
        return (bind(Fold.of(shape[len(shape) - len(self.sizes) :], self.strides, self.dilation), ct),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (x,) = align_batches(operands, axes)
        return bind(self, x), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.windows(operands[0], self.strides, self.dilation, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls.of((3,), (2,), (1,)), (rng.normal(size=(2, 8)),)
        yield cls.of((2, 3), (1, 2), (2, 1)), (rng.normal(size=(2, 5, 6)),)
        yield cls.of((4,), (1,), (1,)), (rng.normal(size=3),)


class Fold(Linear):
    """The sum of windows back into axes of `size`."""

    name = "fold"
    params = ("size", "strides", "dilation")
    facts = Linear.facts
    size: Sizes
    strides: Sizes
    dilation: Sizes

    def type(self, y: ArrayType) -> ArrayType:
        d = len(self.size)
        lead, sizes = y.shape[: max(y.ndim - 2 * d, 0)], y.shape[y.ndim - d :]
        if y.ndim < 2 * d or window_lengths(self.size, sizes, self.strides, self.dilation) != y.shape[len(lead) : -d]:
            raise ShapeError(f"fold of {y} into axes of {self.size}", "give windows of an array of that size")
        return ArrayType((*lead, *self.size), y.dtype)

    def numpy(self, y: Any) -> Any:
        d = len(self.size)
        at = y.ndim - 2 * d
        total = np.zeros((*y.shape[:at], *self.size), y.dtype)
        for place in np.ndindex(*y.shape[y.ndim - d :]):
            reach = tuple(
                slice(k * a, k * a + n * s if n else k * a, s)
                for k, a, n, s in zip(place, self.dilation, y.shape[at : at + d], self.strides, strict=True)
            )
            reach = tuple(slice(r.start, min(r.stop, n), r.step) for r, n in zip(reach, self.size, strict=True))
            total[(..., *reach)] += y[(..., *place)]
        return total

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        sizes = operands[0].shape[len(operands[0].shape) - len(self.size) :]
        targets = Windows.of(sizes, self.strides, self.dilation).numpy(positions(outs.shape))
        return [Pairs(targets.ravel(), np.arange(targets.size))]

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        shape = operands[0].shape
        return (bind(Windows.of(shape[len(shape) - len(self.size) :], self.strides, self.dilation), ct),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (y,) = align_batches(operands, axes)
        return bind(self, y), 0

    def flops(self, y: ArrayType) -> float:
        return float(y.size)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.folded(operands[0], self.strides, self.dilation, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls.of((8,), (2,), (1,)), (rng.normal(size=(2, 3, 3)),)
        yield cls.of((5, 6), (1, 2), (2, 1)), (rng.normal(size=(2, 3, 2, 2, 3)),)


def windows(x: Any, sizes: Sizes, strides: Sizes, dilation: Sizes) -> Any:
    """All windows over the last axes; see `Windows`."""
    return bind(Windows.of(sizes, strides, dilation), x if is_traced(x) else np.asarray(x))


def fold(y: Any, size: Sizes, strides: Sizes, dilation: Sizes) -> Any:
    """The transpose of `windows`."""
    return bind(Fold.of(size, strides, dilation), y if is_traced(y) else np.asarray(y))
