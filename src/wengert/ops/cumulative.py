"""Running sums, products, extrema and log-sum-exps along an axis, and the recurrence that their derivatives are.

The derivative of a running result obeys y[i] = a[i] y[i-1] + b[i]: it passes through a step with a factor and
receives the step's own contribution. `LinearRecurrence` computes that without division, so that zeros in a
running product and ties in a running maximum are no special cases, and its own derivatives are recurrences
again, so that any order works.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.interpreter import bind, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.types import ArrayType
from .arithmetic import strong_multiply
from .compare import equal, isinf, logical_and, logical_or, not_equal, where
from .dependence import Operand, running
from .exponential import exp
from .families import Linear, align_batches, shape_of, vocabulary
from .shape import canonical_axis, convert, pad


def shift(x: Any, axis: int, reverse: bool = False, fill: Any = 0) -> Any:
    """Every element moved one place towards the end (the beginning if `reverse`), with `fill` in the gap."""
    shape = shape_of(x)
    n = shape[axis]
    if n == 0:
        return x
    kept = vocabulary.slice_axis(x, axis, 1, n) if reverse else vocabulary.slice_axis(x, axis, 0, n - 1)
    gap = (0, 1) if reverse else (1, 0)
    return pad(kept, tuple(gap if k == axis else (0, 0) for k in range(len(shape))), fill)


# The recurrence ------------------------------------------------------------------------------------------

_SHORT = 64
_WIDE = 256


def _steps(a: Any, b: Any, cut: bool) -> Any:
    """y[i] = a[i] y[i-1] + b[i] along axis 0, one step after the other."""
    y = np.array(b)
    for i in range(1, len(y)):
        product = a[i] * y[i - 1]
        y[i] += np.where(a[i] == 0, 0, product) if cut else product
    return y


def _blocks(a: Any, b: Any) -> Any:
    """The same in blocks of about sqrt(n): all blocks step together, and what enters a block is added at the end.

    n multiplications more than `_steps`, but 2 sqrt(n) NumPy calls in place of n.
    """
    n = len(b)
    if n <= _SHORT or b[0].size >= _WIDE:
        return _steps(a, b, False)
    length = math.isqrt(n)
    rows = -(-n // length)
    filler = ((0, rows * length - n), *((0, 0),) * (b.ndim - 1))
    a = np.pad(a, filler).reshape(rows, length, *b.shape[1:])
    y = np.pad(b, filler).reshape(rows, length, *b.shape[1:])
    through = a.copy()
    for i in range(1, length):
        y[:, i] += a[:, i] * y[:, i - 1]
        through[:, i] *= through[:, i - 1]
    carried = _blocks(through[:, -1], y[:, -1])
    y[1:] += through[1:] * carried[:-1, None]
    return y.reshape(rows * length, *b.shape[1:])[:n]


class LinearRecurrence(Primitive):
    """y[i] = a[i] y[i-1] + b[i] along an axis, with y[-1] = 0; from the end if `reverse`.

    A factor of exactly 0 cuts the chain: nothing of y[i-1] passes, not even an infinity or a NaN.
    """

    name = "linear_recurrence"
    params = ("axis", "reverse")

    def type(self, a: ArrayType, b: ArrayType) -> ArrayType:
        canonical_axis(self.axis, b.ndim, self.name)
        if a.shape != b.shape:
            raise ShapeError(f"{self.name}: factors {a} for terms {b}", "give both the same shape")
        return ArrayType(b.shape, np.result_type(a.dtype, b.dtype))

    def numpy(self, a: Any, b: Any) -> Any:
        dtype = np.result_type(a, b)
        a, b = (np.moveaxis(np.asarray(v, dtype), self.axis, 0) for v in (a, b))
        if self.reverse:
            a, b = a[::-1], b[::-1]
        if b.size == 0:
            y = np.array(b)
        else:
            with np.errstate(all="ignore"):
                y = _blocks(a, b)
                if np.isnan(y).any():
                    y = _steps(a, b, True)
        return np.moveaxis(y[::-1] if self.reverse else y, 0, self.axis)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return [running(outs.shape, self.axis % len(outs.shape), self.reverse)] * 2

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        da, db = tangents
        if da is not None:
            term = strong_multiply(da, shift(out, self.axis, self.reverse))
            db = term if db is None else db + term
        return bind(self, primals[0], db)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        def step(before: Any, factor: Any, term: Any) -> Any:
            zero = e.const(0, before.dtype)
            return e.add(e.select(e.eq(factor, 0), zero, e.mul(factor, before)), term)

        axis = self.axis % len(out.shape)
        return e.accumulate(operands[0], axis, self.reverse, step, out, operands[1])

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        # ct'[i] = ct[i] + a[i+1] ct'[i+1]
        factors = shift(operands[0], self.axis, not self.reverse)
        return None, recurrence(factors, ct, self.axis, not self.reverse)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 2) if mask & 1 else (0,)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return recurrence(*align_batches(operands, axes), self.axis + 1, self.reverse), 0

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for axis, reverse in ((0, False), (1, True)):
            yield cls(axis, reverse), (rng.normal(size=(3, 4)), rng.normal(size=(3, 4)))
        yield cls(0, False), (rng.uniform(0.5, 1, 70), rng.normal(size=70))
        yield cls(0, True), (np.zeros((0, 2)), np.zeros((0, 2)))


def recurrence(a: Any, b: Any, axis: int, reverse: bool = False) -> Any:
    """y[i] = a[i] y[i-1] + b[i] along an axis; see `LinearRecurrence`."""
    return bind(LinearRecurrence.of(axis, reverse), a, b)


# Running results -----------------------------------------------------------------------------------------


class Running(Primitive, abstract=True):
    """The results of a NumPy ufunc over all leading parts of an axis; over all trailing parts if `reverse`."""

    params = ("axis", "reverse")
    facts = frozenset({"cumulative"})
    ufunc: ClassVar[np.ufunc]

    def type(self, x: ArrayType) -> ArrayType:
        canonical_axis(self.axis, x.ndim, self.name)
        return ArrayType(x.shape, self.ufunc.accumulate(np.empty(1, x.dtype)).dtype)

    def numpy(self, x: Any) -> Any:
        if not self.reverse:
            return self.ufunc.accumulate(x, self.axis)
        return np.flip(self.ufunc.accumulate(np.flip(x, self.axis), self.axis), self.axis)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return [running(outs.shape, self.axis % len(outs.shape), self.reverse)]

    def join(self, e: Any, x: Any, y: Any) -> Any:
        """Two results as one, in native code."""
        raise NotImplementedError

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        axis = self.axis % len(out.shape)
        return e.accumulate(operands[0], axis, self.reverse, lambda x, y: self.join(e, x, y), out)

    def before(self, x: Any, fill: Any) -> Any:
        """What the step before this one has."""
        return shift(x, self.axis, self.reverse, fill)

    def follow(self, factors: Any, terms: Any) -> Any:
        return recurrence(factors, terms, self.axis, self.reverse)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        at = axes[0] or 0
        return bind(type(self).of(self.axis + (self.axis >= at), self.reverse), operands[0]), at

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(0, False), (rng.normal(size=(4, 3)),)
        yield cls(1, True), (rng.normal(size=(2, 5)),)
        yield cls(0, False), (rng.normal(size=(0, 3)),)


class CumSum(Running, Linear):
    """Running sum."""

    name = "cumsum"
    facts = Running.facts | Linear.facts
    ufunc = np.add

    def join(self, e: Any, x: Any, y: Any) -> Any:
        return e.add(x, y)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (cumsum(ct, self.axis, not self.reverse),)


class CumProd(Running):
    """Running product: dy[i] = x[i] dy[i-1] + y[i-1] dx[i]."""

    name = "cumprod"
    ufunc = np.multiply

    def join(self, e: Any, x: Any, y: Any) -> Any:
        return e.mul(x, y)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return self.follow(primals[0], strong_multiply(tangents[0], self.before(out, 1)))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from super().samples(rng)
        zeros = rng.normal(size=6)
        zeros[[2, 4]] = 0
        yield cls(0, False), (zeros,)


class RunningExtremum(Running, abstract=True):
    """Running maximum or minimum; elements so far that tie share the derivative equally; NaN from the first NaN on."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        (x,), (tangent,) = primals, tangents
        weight = np.empty(0, type_of_value(x).dtype).real.dtype
        chosen = convert(logical_or(equal(x, out), not_equal(x, x)), weight)
        previous = self.before(out, 0)
        same = convert(logical_or(equal(out, previous), not_equal(previous, previous)), weight)
        ties = self.follow(same, chosen)
        return self.follow(same, strong_multiply(tangent, chosen)) / ties


class CumMax(RunningExtremum):
    """Running maximum."""

    name = "cummax"
    ufunc = np.maximum

    def join(self, e: Any, x: Any, y: Any) -> Any:
        return e.maximum(x, y)


class CumMin(RunningExtremum):
    """Running minimum."""

    name = "cummin"
    ufunc = np.minimum

    def join(self, e: Any, x: Any, y: Any) -> Any:
        return e.minimum(x, y)


class CumLogSumExp(Running):
    """log(cumsum(exp(x))) without overflow.

    dy[i] = exp(y[i-1] - y[i]) dy[i-1] + exp(x[i] - y[i]) dx[i]. As for `logsumexp`, the derivative is 0 where
    everything so far is -inf, and elements of +inf share it equally.
    """

    name = "cumlogsumexp"
    ufunc = np.logaddexp

    def join(self, e: Any, x: Any, y: Any) -> Any:
        return e.logaddexp(x, y)

    def type(self, x: ArrayType) -> ArrayType:
        if x.dtype.kind == "c":
            raise DtypeError(f"cumlogsumexp takes no complex numbers, and got {x}", "use np.log(np.cumsum(np.exp(x)))")
        return super().type(x)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        (x,), (tangent,) = primals, tangents
        if type_of_value(x).dtype != type_of_value(out).dtype:
            x = convert(x, type_of_value(out).dtype)
        previous = self.before(out, -np.inf)
        infinite = equal(out, np.inf)
        count = cumsum(convert(equal(x, np.inf), type_of_value(out).dtype), self.axis, self.reverse)
        share = 1 / where(equal(count, 0), 1.0, count)
        passing = where(infinite, self.before(count, 0) * share, _weight(previous, out))
        own = where(infinite, where(equal(x, np.inf), share, 0.0), _weight(x, out))
        return self.follow(passing, strong_multiply(tangent, own))


def _weight(x: Any, out: Any) -> Any:
    """exp(x - out), with 0 where both are infinite."""
    safe = where(logical_and(equal(x, out), isinf(x)), -np.inf, x)
    return exp(safe - where(equal(safe, -np.inf), 0.0, out))


def cumsum(x: Any, axis: int, reverse: bool = False) -> Any:
    """Running sum along an axis counted from the front."""
    return bind(CumSum.of(axis, reverse), x)


def cumprod(x: Any, axis: int, reverse: bool = False) -> Any:
    """Running product along an axis counted from the front."""
    return bind(CumProd.of(axis, reverse), x)


def product_of_others(x: Any, axis: int) -> Any:
    """For every element the product of all others along an axis: those before times those after it."""
    if shape_of(x)[axis] == 0:
        return x
    return cumprod(shift(x, axis, False, 1), axis) * cumprod(shift(x, axis, True, 1), axis, True)


vocabulary.cumsum = cumsum
vocabulary.product_of_others = product_of_others
