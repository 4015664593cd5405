"""Reductions: sum, product, extrema, any and all, positions of extrema, log-sum-exp.

`axes` is a sorted tuple counted from the front; axes are removed (the NumPy layer puts them back for
`keepdims`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.types import ArrayType
from .arithmetic import strong_multiply
from .compare import equal, isinf, logical_or, not_equal, where
from .dependence import Operand, by_labels
from .exponential import exp
from .families import Linear, shape_of, vocabulary
from .shape import broadcast_to, canonical_axes, convert, reshape, transpose


def kept_shape(shape: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    """The shape with the reduced axes as 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def reduced_shape(shape: tuple[Any, ...], axes: tuple[int, ...]) -> tuple[Any, ...]:
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def axes_text(axes: tuple[int, ...]) -> str:
    """The axes as source, a single one without its tuple."""
    return str(axes[0] if len(axes) == 1 else axes)


def batched_axes(axes: tuple[int, ...], at: int) -> tuple[tuple[int, ...], int]:
    """Reduced axes in the presence of a batch axis `at`, and where that axis ends up."""
    shifted = tuple(k + (k >= at) for k in axes)
    return shifted, at - sum(k < at for k in shifted)


_SMALL = 4096


def _nothing(operands: Any, out: Any) -> Any:
    return ()


_KEEP: dict[tuple[int, ...], Any] = {
    (0,): lambda operands, out: (operands[0],),
    (0, 1): lambda operands, out: (operands[0], out),
}


class Sum(Linear):
    """Sum over axes. Integers and booleans are added as NumPy does, in at least 64 bits."""

    name = "sum"
    params = ("axes",)
    facts = Linear.facts | {"reduction"}

    def type(self, x: ArrayType) -> ArrayType:
        axes = canonical_axes(self.axes, x.ndim, "sum")
        return ArrayType(reduced_shape(x.shape, axes), np.sum(np.empty(0, x.dtype)).dtype)

    def numpy(self, x: Any) -> Any:
        return np.add.reduce(x, axis=self.axes)

    def python(self, x: Any) -> str:
        return f"np.sum({x}, axis={axes_text(self.axes)})"

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        shape = operands[0].shape
        return (broadcast_to(reshape(ct, kept_shape(shape, self.axes)), shape),)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        return [reduced_path(operands[0].shape, canonical_axes(self.axes, len(operands[0].shape), self.name))]

    def pullback(self, mask: int) -> tuple[Any, Any]:
        """`transpose` again, for the inner loop of define-by-run: a small array is filled faster than broadcast."""

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            shape = inputs[0].shape
            if is_traced(ct) or math.prod(shape) > _SMALL:
                return self.transpose(ct, inputs, (True,))
            spread = np.empty(shape, ct.dtype)
            spread[...] = ct if len(self.axes) == len(shape) else np.reshape(ct, kept_shape(shape, self.axes))
            return (spread,)

        return _nothing, apply

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        reduced, at = batched_axes(self.axes, axes[0] or 0)
        return bind(Sum.of(reduced), operands[0]), at

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("add", operands[0], self.axes, out.dtype)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1,)), (rng.normal(size=(2, 3, 4)),)
        yield cls((0, 2)), (rng.normal(size=(2, 3, 4)),)
        yield cls(()), (rng.normal(size=()),)
        yield cls((0,)), (rng.normal(size=(0, 3)),)


def sum_axes(x: Any, axes: tuple[int, ...]) -> Any:
    """Sum over axes counted from the front."""
    return bind(Sum.of(axes), x) if axes else x


def reduced_path(shape: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
    """Each result on all elements along the axes."""
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    return by_labels(range(len(shape)), shape, rest, [shape[axis] for axis in rest])


class Reduction(Primitive, abstract=True):
    """One result per lane of elements along `axes`.

    Both directions follow from `slopes`, the derivatives of a result in the elements that it was made from.
    """

    params = ("axes",)
    facts = frozenset({"reduction"})
    reads: ClassVar[tuple[int, ...]] = (0, 1)
    """What `slopes` reads: the operand (0), the result (1)."""

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return [reduced_path(operands[0].shape, canonical_axes(self.axes, len(operands[0].shape), self.name))]

    def slopes(self, x: Any, out: Any) -> Any:
        """The derivatives, in the shape of `x`; `out` has length 1 along the reduced axes."""
        raise NotImplementedError

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        (x,), (tangent,) = primals, tangents
        slopes = self.slopes(x, reshape(out, kept_shape(shape_of(x), self.axes)))
        return sum_axes(strong_multiply(tangent, slopes), self.axes)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return self.reads

    def pullback(self, mask: int) -> tuple[Any, Any]:
        """By hand, since the derived rule takes ten times as long on small arrays; the derivatives are the same."""

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            kept = kept_shape(inputs[0].shape, self.axes)
            values = dict(zip(self.reads, saved, strict=True))
            out = reshape(values[1], kept) if 1 in values else None
            ct, slopes = reshape(ct, kept), self.slopes(values.get(0), out)
            return (ct * slopes if times is None else times(ct, slopes),)

        return _KEEP[self.reads], apply

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        reduced, at = batched_axes(self.axes, axes[0] or 0)
        return bind(type(self).of(reduced), operands[0]), at

    def type(self, x: ArrayType) -> ArrayType:
        axes = canonical_axes(self.axes, x.ndim, self.name)
        return ArrayType(reduced_shape(x.shape, axes), self.result_dtype(x.dtype))

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return dtype

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1,)), (rng.normal(size=(2, 3, 4)),)
        yield cls((0, 2)), (rng.normal(size=(2, 3, 4)),)
        yield cls(()), (rng.normal(size=()),)
        yield cls((0,)), (rng.normal(size=(3, 0)),)


class Prod(Reduction):
    """Product over axes. Integers and booleans are multiplied as NumPy does, in at least 64 bits.

    The derivative in an element is the product of all the others, made of the products of those before and
    those after it, so that nothing is divided and zeros (one or several) are no special case.
    """

    name = "prod"
    reads = (0,)

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.multiply.reduce(np.empty(0, dtype)).dtype

    def numpy(self, x: Any) -> Any:
        return np.multiply.reduce(x, axis=self.axes)

    def python(self, x: Any) -> str:
        return f"np.prod({x}, axis={axes_text(self.axes)})"

    def slopes(self, x: Any, out: Any) -> Any:
        lanes = lanes_last(x, self.axes)
        others = vocabulary.product_of_others(lanes, len(shape_of(lanes)) - 1)
        return lanes_back(others, shape_of(x), self.axes)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("multiply", operands[0], self.axes, out.dtype)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from super().samples(rng)
        zeros = rng.normal(size=(3, 4))
        zeros[0, 1] = zeros[1, 0] = zeros[1, 2] = 0
        yield cls((1,)), (zeros,)


class Extremum(Reduction, abstract=True):
    """Largest or smallest element; NaN if one is NaN. Elements that tie share the derivative equally."""

    facts = Reduction.facts | {"increasing"}
    ufunc: ClassVar[np.ufunc]

    def type(self, x: ArrayType) -> ArrayType:
        axes = canonical_axes(self.axes, x.ndim, self.name)
        if 0 in [x.shape[k] for k in axes]:
            raise ShapeError(
                f"{self.name} over axes {axes} of {x}: there is no element to choose",
                "give initial=, or check the shape",
            )
        return super().type(x)

    def numpy(self, x: Any) -> Any:
        return self.ufunc.reduce(x, axis=self.axes)

    def python(self, x: Any) -> str | None:
        return f"np.{self.name}({x}, axis={axes_text(self.axes)})"

    def slopes(self, x: Any, out: Any) -> Any:
        chosen = logical_or(equal(x, out), not_equal(x, x))  # a NaN is what made the result NaN
        chosen = convert(chosen, np.empty(0, type_of_value(x).dtype).real.dtype)
        count = sum_axes(chosen, self.axes)
        return chosen / reshape(count, shape_of(out))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1,)), (rng.normal(size=(2, 3, 4)),)
        yield cls((0, 2)), (rng.normal(size=(2, 3, 4)),)
        yield cls(()), (rng.normal(size=()),)
        yield cls((0,)), (rng.normal(size=(3, 0)),)


class Max(Extremum):
    """Largest element over axes; complex numbers in NumPy's order (real part, then imaginary part)."""

    name = "max"
    ufunc = np.maximum

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("maximum", operands[0], self.axes, out.dtype)


class Min(Extremum):
    """Smallest element over axes; complex numbers in NumPy's order (real part, then imaginary part)."""

    name = "min"
    ufunc = np.minimum

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("minimum", operands[0], self.axes, out.dtype)


class LogSumExp(Reduction):
    """log(sum(exp(x))) over axes, without overflow; -inf for no elements. The derivative is the softmax.

    It is 0 where every element is -inf; elements of +inf share it equally.
    """

    name = "logsumexp"

    def flops(self, x: ArrayType) -> float:
        return 4 * x.size

    def workspace(self, x: ArrayType) -> float:
        return 2 * x.size * x.dtype.itemsize

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.exp(np.empty(0, dtype)).dtype

    def numpy(self, x: Any) -> Any:
        x = np.asarray(x)
        if x.dtype.kind not in "fc":
            x = x.astype(self.result_dtype(x.dtype))
        top = np.max(x.real, axis=self.axes, keepdims=True, initial=-np.inf)
        top = np.where(np.isfinite(top), top, 0)  # -inf - -inf would be NaN
        with np.errstate(divide="ignore"):
            total = np.log(np.sum(np.exp(x - top), axis=self.axes, keepdims=True))
        return np.reshape(total + top, reduced_shape(x.shape, self.axes))[()]

    def slopes(self, x: Any, out: Any) -> Any:
        if not is_traced(out) and np.isfinite(out).all():
            return exp(x - out)
        infinite = isinf(out)
        weights = exp(where(infinite, -np.inf, x - where(infinite, 0.0, out)))
        top = equal(x, np.inf)
        real = np.empty(0, type_of_value(out).dtype).real.dtype
        count = reshape(sum_axes(convert(top, real), self.axes), shape_of(out))
        return where(top, 1 / where(equal(count, 0), 1.0, count), weights)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.logsumexp(operands[0], self.axes, out.dtype)


class Logical(Reduction, abstract=True):
    """`any` and `all`: booleans, so without derivative."""

    differentiable = False
    ufunc: ClassVar[np.ufunc]

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.bool_)

    def numpy(self, x: Any) -> Any:
        return self.ufunc.reduce(x, axis=self.axes, dtype=np.bool_)


class Any_(Logical):
    """Whether an element is true (not zero)."""

    name = "any"
    ufunc = np.logical_or

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("or", operands[0], self.axes, out.dtype)


class All(Logical):
    """Whether every element is true (not zero)."""

    name = "all"
    ufunc = np.logical_and

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reduce("and", operands[0], self.axes, out.dtype)


class Position(Extremum, abstract=True):
    """Where the extremum along one axis is: the first of several, the first NaN if there is one."""

    differentiable = False
    facts = frozenset({"reduction"})
    find: ClassVar[Any]

    def result_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.intp)

    def numpy(self, x: Any) -> Any:
        return self.find(x, self.axes[0])

    def python(self, x: Any) -> str | None:
        return f"np.{self.name}({x}, axis={self.axes[0]})"

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1,)), (rng.normal(size=(2, 3, 4)),)
        yield cls((0,)), (np.array([1.0, 3.0, 3.0, -1.0, -1.0]),)
        yield cls((0,)), (np.array([True, False, True]),)


class ArgMax(Position):
    """Position of the largest element along an axis."""

    name = "argmax"
    find = staticmethod(np.argmax)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.arg("gt", operands[0], self.axes[0], out.dtype)


class ArgMin(Position):
    """Position of the smallest element along an axis."""

    name = "argmin"
    find = staticmethod(np.argmin)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.arg("lt", operands[0], self.axes[0], out.dtype)


def logsumexp_axes(x: Any, axes: tuple[int, ...]) -> Any:
    """log(sum(exp(x))) over axes counted from the front."""
    return bind(LogSumExp.of(axes), x)


def max_axes(x: Any, axes: tuple[int, ...]) -> Any:
    """Largest element over axes counted from the front."""
    return bind(Max.of(axes), x)


def lanes_last(x: Any, axes: tuple[int, ...]) -> Any:
    """The axes moved to the end and joined to one."""
    shape = shape_of(x)
    others = reduced_shape(shape, axes)
    moved = transpose(x, (*(k for k in range(len(shape)) if k not in axes), *axes))
    extent = shape[axes[0]] if len(axes) == 1 else math.prod(shape[k] for k in axes)
    return reshape(moved, (*others, extent))


def lanes_back(lanes: Any, shape: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
    """The inverse of `lanes_last` for an array of this shape."""
    order = (*(k for k in range(len(shape)) if k not in axes), *axes)
    moved = reshape(lanes, tuple(shape[k] for k in order))
    return transpose(moved, tuple(order.index(k) for k in range(len(shape))))


vocabulary.sum_axes = sum_axes
vocabulary.max_axes = max_axes
vocabulary.logsumexp_axes = logsumexp_axes
