"""Convolution with strides, padding, dilation and groups, in any number of dimensions.

As the field has it, without turning the kernel round (a cross-correlation): with x of shape (N, G C, *S) and w of shape
(G M, C, *K), spread(x) being x with zeros between its elements (`spread`) and around (`padding`),

    out[n, g M + m, p] = sum over c, k of w[g M + m, c, k] spread(x)[n, g C + c, p stride + k dilation].

Its transposes are convolutions again: that in x of the cotangent, spread by the stride, with the kernel turned round;
that in w of x with the cotangent as the kernel, stride and dilation having changed places. (V. Dumoulin and F. Visin,
A guide to convolution arithmetic for deep learning, 2016.) It is computed as a product of matrices: the kernel times
the windows of x as columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from .dependence import Operand, by_labels, positions
from .dependence import Pairs as Links
from .families import Bilinear, align_batches, fit, shape_of, vocabulary
from .index import flip
from .shape import move_axis, reshape, transpose

Pairs = tuple[tuple[int, int], ...]
Sizes = tuple[int, ...]


class Convolve(Bilinear):
    """The convolution of x (N, G C, *S) with w (G M, C, *K); see the file's head for the parameters."""

    name = "convolve"
    params = ("strides", "padding", "spread", "dilation", "groups")
    facts = frozenset({"bilinear"})
    strides: Sizes
    padding: Pairs
    spread: Sizes
    dilation: Sizes
    groups: int

    def type(self, x: ArrayType, w: ArrayType) -> ArrayType:
        d = len(self.strides)
        if x.ndim != d + 2 or w.ndim != d + 2:
            raise ShapeError(
                f"convolve: {x} with a kernel {w}, in {d} dimensions",
                f"give x as (batch, channels, {d} lengths) and the kernel as (channels out, channels in, {d} lengths)",
            )
        if x.shape[1] != w.shape[1] * self.groups or w.shape[0] % self.groups:
            raise ShapeError(
                f"convolve: {x} has {x.shape[1]} channels, the kernel {w} takes {w.shape[1]} in each of "
                f"{self.groups} groups and gives {w.shape[0]}",
                "make x.shape[1] == groups * w.shape[1] and w.shape[0] a multiple of groups",
            )
        return ArrayType(
            (x.shape[0], w.shape[0], *self.lengths(x.shape[2:], w.shape[2:])),
            np.result_type(x.promotes_as, w.promotes_as),
        )

    def lengths(self, size: Sizes, kernel: Sizes) -> Sizes:
        """The lengths of the result."""
        spans = zip(spread_size(size, self.spread), self.padding, spread_size(kernel, self.dilation), strict=True)
        return tuple(
            max((n + lo + hi - k) // s + 1, 0) if n + lo + hi >= k else 0
            for (n, (lo, hi), k), s in zip(spans, self.strides, strict=True)
        )

    def numpy(self, x: Any, w: Any) -> Any:
        (n, _, *size), (out, inner, *kernel) = x.shape, w.shape
        lengths = self.lengths(tuple(size), tuple(kernel))
        dtype = np.result_type(x, w)
        if not math.prod((n, out, *lengths)) or not w.size:
            return np.zeros((n, out, *lengths), dtype)
        view = self.taps(x, (inner, *kernel), lengths)
        columns = view.reshape(n, self.groups, inner * math.prod(kernel), math.prod(lengths))
        rows = w.reshape(self.groups, out // self.groups, inner * math.prod(kernel))
        return np.matmul(rows, columns).reshape(n, out, *lengths)

    def taps(self, x: Any, kernel: Sizes, lengths: Sizes) -> Any:
        """The elements that each element of the kernel meets: (N, G, C, *K, *lengths)."""
        whole = self.around(x)
        steps = whole.strides[2:]
        return np.lib.stride_tricks.as_strided(
            whole,
            (x.shape[0], self.groups, *kernel, *lengths),
            (whole.strides[0], whole.strides[1] * kernel[0], whole.strides[1],
             *(d * s for d, s in zip(self.dilation, steps, strict=True)),
             *(d * s for d, s in zip(self.strides, steps, strict=True))),
            writeable=False,
        )  # fmt: skip

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        """The elements that the kernel meets, unless it is known to be zero there; all of the kernel of a channel."""
        x, w = operands
        (n, out, *lengths), (_, *kernel), d = outs.shape, w.shape, len(self.strides)
        if not outs.size or not w.size:
            return [None, None]
        taps = self.taps(positions(x.shape, 1), tuple(kernel), tuple(lengths))[:, :, None]
        meets = taps > 0
        if w.value is not None and not w.moves:
            weights = np.reshape(w.value, (self.groups, out // self.groups, *kernel, *(1,) * d))
            meets = meets & (weights != 0)
        results = positions(outs.shape).reshape(n, self.groups, out // self.groups, *(1,) * (d + 1), *lengths)
        shape = np.broadcast_shapes(meets.shape, results.shape)
        meets = np.broadcast_to(meets, shape)
        data = Links(np.broadcast_to(results, shape)[meets], np.broadcast_to(taps, shape)[meets] - 1)
        mine, theirs = ["out", *range(d + 1)], ["batch", "out", *(("place", k) for k in range(d))]
        return [data, by_labels(mine, w.shape, theirs, outs.shape)]

    def around(self, x: Any) -> Any:
        """x with zeros between and around its elements."""
        if all(a == b == 0 for a, b in self.padding) and set(self.spread) == {1}:
            return x
        size = spread_size(x.shape[2:], self.spread)
        shape = [max(m + lo + hi, 0) for m, (lo, hi) in zip(size, self.padding, strict=True)]
        whole = np.zeros((*x.shape[:2], *shape), x.dtype)
        inside, own = [], []
        for m, total, (lo, _), step in zip(x.shape[2:], shape, self.padding, self.spread, strict=True):
            first = max(-(lo // step), 0) if lo < 0 else 0  # elements cut off by a negative width
            last = min(m, max((total - 1 - lo) // step + 1, 0))
            own.append(slice(first, max(last, first)))
            inside.append(slice(lo + step * first, max(lo + step * (last - 1) + 1, 0) if last > first else 0, step))
        whole[(..., *inside)] = x[(..., *own)]
        return whole

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        x, w = operands
        if not math.prod(shape_of(ct)) or not math.prod(x.shape) or not math.prod(w.shape):
            zeros = [np.zeros(z.shape, z.dtype) if flag else None for z, flag in zip(operands, linear, strict=True)]
            return [None if z is None else vocabulary.convert(z, o.dtype) for z, o in zip(zeros, operands, strict=True)]
        return (
            fit(self.for_data(ct, x, w), x) if linear[0] else None,
            fit(self.for_kernel(ct, x, w), w) if linear[1] else None,
        )

    def for_data(self, ct: Any, x: Any, w: Any) -> Any:
        """The cotangent of x, of which only the shape is read."""
        g, (out, inner, *kernel) = self.groups, shape_of(w)
        d = len(kernel)
        turned = reshape(w, (g, out // g, inner, *kernel))
        turned = transpose(turned, (0, 2, 1, *range(3, 3 + d)))
        turned = reshape(turned, (g * inner, out // g, *kernel))
        for axis in range(2, 2 + d):
            turned = flip(turned, axis)
        size, spans = spread_size(x.shape[2:], self.spread), spread_size(tuple(kernel), self.dilation)
        back = spread_size(tuple(shape_of(ct)[2:]), self.strides)
        padding = tuple(
            (k - 1 - lo, n + lo - c) for k, (lo, _), n, c in zip(spans, self.padding, size, back, strict=True)
        )
        return bind(Convolve.of(self.spread, padding, self.strides, self.dilation, g), ct, turned)

    def for_kernel(self, ct: Any, x: Any, w: Any) -> Any:
        """The cotangent of w, of which only the shape is read."""
        g, (n, channels, *size) = self.groups, shape_of(x)
        kernel = w.shape[2:]
        d = len(kernel)
        lengths = tuple(shape_of(ct)[2:])
        data = reshape(x, (n, g, channels // g, *size))
        data = transpose(data, (2, 1, 0, *range(3, 3 + d)))
        data = reshape(data, (channels // g, g * n, *size))
        as_kernel = transpose(ct, (1, 0, *range(2, 2 + d)))
        spans = zip(spread_size(tuple(kernel), self.dilation), spread_size(lengths, self.strides),
                    spread_size(tuple(size), self.spread), self.padding, strict=True)  # fmt: skip
        padding = tuple((lo, k + c - 1 - m - lo) for k, c, m, (lo, _) in spans)
        found = bind(Convolve.of(self.dilation, padding, self.spread, self.strides, g), data, as_kernel)
        return transpose(found, (1, 0, *range(2, 2 + d)))

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, w = operands
        if axes[1] is None:
            x = move_axis(x, axes[0], 0)
            lanes, n, *rest = shape_of(x)
            made = bind(self, reshape(x, (lanes * n, *rest)), w)
            return reshape(made, (lanes, n, *shape_of(made)[1:])), 0
        # A group for every lane.
        x, w = align_batches(operands, axes)
        lanes, n, channels, *size = shape_of(x)
        x = reshape(move_axis(x, 0, 1), (n, lanes * channels, *size))
        _, out, *rest = shape_of(w)
        w = reshape(w, (lanes * out, *rest))
        many = Convolve.of(self.strides, self.padding, self.spread, self.dilation, lanes * self.groups)
        made = bind(many, x, w)
        return reshape(made, (n, lanes, out, *shape_of(made)[2:])), 1

    def flops(self, x: ArrayType, w: ArrayType) -> float:
        return 2 * self.type(x, w).size * math.prod(w.shape[1:])  # type: ignore[no-any-return]

    def workspace(self, x: ArrayType, w: ArrayType) -> float:
        lengths = self.lengths(x.shape[2:], w.shape[2:])
        columns = x.shape[0] * x.shape[1] * math.prod(w.shape[2:]) * math.prod(lengths)
        return columns * x.dtype.itemsize

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.convolution(self, *operands, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        one = (1, 1)
        for x, w, params in (
            ((2, 3, 7), (4, 3, 3), ((1,), ((0, 0),), (1,), (1,), 1)),
            ((2, 4, 6, 5), (6, 2, 3, 2), ((2, 1), ((1, 1), (0, 2)), one, (1, 2), 2)),
            ((1, 2, 4, 4), (2, 2, 3, 3), (one, ((2, 1), (-1, 3)), (2, 3), one, 1)),
            ((2, 2, 3, 4, 3), (3, 2, 2, 2, 2), ((1, 2, 1), ((0, 0), (1, 0), (0, 1)), (1, 1, 1), (1, 1, 1), 1)),
            ((2, 1, 2), (1, 1, 3), ((1,), ((0, 0),), (1,), (1,), 1)),
        ):
            yield cls.of(*params), (rng.normal(size=x), rng.normal(size=w))


def spread_size(size: Sizes, step: Sizes) -> Sizes:
    """Lengths after step-1 zeros have been put between neighbours."""
    return tuple((n - 1) * s + 1 if n else 0 for n, s in zip(size, step, strict=True))


def convolve(x: Any, w: Any, strides: Sizes, padding: Pairs, spread: Sizes, dilation: Sizes, groups: int) -> Any:
    """`Convolve` with these parameters."""
    if not is_traced(x):
        x = np.asarray(x)
    if not is_traced(w):
        w = np.asarray(w)
    primitive = Convolve.of(strides, padding, spread, dilation, groups)
    primitive.type(type_of_value(x), type_of_value(w))  # NumPy alone would take too many channels
    return bind(primitive, x, w)
