"""Addition, multiplication, division, powers, absolute value, rounding, and the parts of complex numbers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import is_traced, type_of_value
from ..graph.types import ArrayType, is_inexact
from ..settings import settings
from .families import Elementwise, by_operator, elementwise, fit, integers, reals, vocabulary


def _inexact(*types: ArrayType) -> Any:
    """NumPy's promotion, with integers going to float64."""
    dtype = np.result_type(*(t.promotes_as for t in types))
    return dtype if is_inexact(dtype) else np.dtype(np.float64)


# Zero is 0 here wherever the multiplicand is: see `strong_multiply`.
add = elementwise(
    "add", np.add, 1, 1, facts=("commutative", "associative"), scalar=lambda e, x, y: e.add(x, y),
    doc="x + y",
)  # fmt: skip
subtract = elementwise(
    "subtract", np.subtract, 1, -1, scalar=lambda e, x, y: e.sub(x, y),
    doc="x - y",
)  # fmt: skip
negative = elementwise(
    "negative", np.negative, -1, facts=("odd", "zero at zero"), scalar=lambda e, x: e.neg(x),
    doc="-x",
)  # fmt: skip
positive = elementwise(
    "positive", np.positive, 1, facts=("zero at zero",), scalar=lambda e, x: x,
    doc="+x",
)  # fmt: skip
multiply = elementwise(
    "multiply",
    np.multiply,
    lambda y: y,
    lambda x: x,
    facts=("tame", "commutative", "associative", "bilinear"),
    scalar=lambda e, x, y: e.mul(x, y),
    doc="x * y",
)


def _strong_product(ct: Any, factor: Any) -> Any:
    product = np.multiply(ct, factor)
    # A minimum is NaN if any element is, and needs no array of its own.
    if product.dtype.kind not in "fc" or not np.isnan(np.minimum.reduce(product, axis=None, initial=0)):
        return product
    zero = (np.equal(ct, 0)) | (np.equal(factor, 0) & np.isinf(ct))
    return np.where(zero, product.dtype.type(0), product)[()]


class StrongMultiply(Elementwise, abstract=True):
    """`strong_multiply`, which is a plain product when the setting `strong_zero` is off."""

    def workspace(self, *types: ArrayType) -> float:
        return 0.0

    def __call__(self, *operands: Any) -> Any:
        ct, factor = operands
        if ct.__class__ is np.float64 and factor.__class__ is np.float64:
            product = ct * factor
            if product == product:  # no NaN, so no zero has met an infinity
                return product
        if not settings.strong_zero:
            return multiply(ct, factor)
        if is_traced(ct) or is_traced(factor):
            for known, other in ((ct, factor), (factor, ct)):
                if not is_traced(known) and np.isfinite(known).all() and np.all(known):
                    if np.ndim(known) == 0 and known == 1 and np.result_type(known, other.dtype) == other.dtype:
                        return other
                    return multiply(ct, factor)  # a constant that is neither 0 nor infinite needs no care
            return super().__call__(ct, factor)
        return _strong_product(ct, factor)


strong_multiply = elementwise(
    "strong_multiply",
    _strong_product,
    lambda y: y,
    lambda x: x,
    dtypes=lambda *types: np.result_type(*(t.promotes_as for t in types)),
    facts=("bilinear",),
    family=StrongMultiply,
    scalar=lambda e, x, y: e.strong_multiply(x, y),
    doc="Product of a cotangent (or tangent) and a local derivative, in which an exact zero wins over an "
    "infinity and a zero cotangent over NaN (Enzyme's strong zero). This is what makes the derivative of a "
    "branch masked by `where` zero and not NaN.",
)


class Divide(Elementwise, abstract=True):
    """x / y. Under a constant x reverse mode keeps x and not the quotient: x is alive anyway, or a number."""

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 1) if mask == 2 else super().saves(mask, count)

    def pullback(self, mask: int) -> tuple[Any, Any]:
        if mask != 2:
            return super().pullback(mask)

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            x, y = saved
            slope = x / y / -y  # not -x, which unsigned integers do not have
            return None, fit(ct * slope if times is None else times(ct, slope), inputs[1])

        return lambda operands, out: tuple(operands), apply


divide = elementwise(
    "divide",
    np.divide,
    lambda y: 1 / y,
    lambda y, out: -out / y,
    samples=reals(0.5, 3),
    family=Divide,
    scalar=lambda e, x, y: e.div(x, y),
    doc="x / y",
)
reciprocal = elementwise(
    "reciprocal", np.reciprocal, lambda out: -out * out, samples=reals(0.5, 3),
    scalar=lambda e, x: e.div(1.0, x), scalar_kinds="f",
    doc="1 / x",
)  # fmt: skip
square = elementwise(
    "square", np.square, lambda x: 2 * x, facts=("tame", "even", "zero at zero"), scalar=lambda e, x: e.mul(x, x),
    doc="x**2",
)  # fmt: skip
sqrt = elementwise(
    "sqrt", np.sqrt, lambda out: 0.5 / out, facts=("increasing", "zero at zero"), samples=reals(0.5, 3),
    scalar=lambda e, x: e.intrinsic("sqrt", x),
    doc="Square root; the derivative at 0 is infinite, and 0 under a zero cotangent.",
)  # fmt: skip
cbrt = elementwise(
    "cbrt", np.cbrt, lambda out: 1 / (3 * out * out), facts=("odd", "increasing", "zero at zero"),
    samples=reals(0.5, 3), complex=False, scalar=lambda e, x: e.cbrt(x),
    doc="Real cube root",
)  # fmt: skip


def _power_slope_base(x: Any, y: Any) -> Any:
    """d(x**y)/dx = y x**(y-1), with 0 where y is 0 (also at x = 0, where x**0 is 1 for every x)."""
    zero = vocabulary.equal(y, 0)
    return vocabulary.where(zero, 0.0, y * power(x, vocabulary.where(zero, 1.0, y - 1)))


def _power_slope_exponent(x: Any, out: Any) -> Any:
    """d(x**y)/dy = x**y log(x), with 0 at x = 0, where 0**y is constant for y > 0."""
    zero = vocabulary.equal(x, 0)
    return out * vocabulary.where(zero, 0.0, vocabulary.log(vocabulary.where(zero, 1.0, x)))


power = elementwise(
    "power", np.power, _power_slope_base, _power_slope_exponent, samples=[reals(0.5, 3), reals(-2, 2)],
    scalar=lambda e, x, y: e.power(x, y), scalar_kinds="f",
    doc="x**y. Subgradients: x**0 has derivative 0 in x everywhere, 0**y has derivative 0 in y.",
)  # fmt: skip


def _direction(x: Any) -> Any:
    """d|x|/dx: the sign; for a complex number conj(x)/|x|, as a function with a derivative of its own."""
    if type_of_value(x).dtype.kind != "c":
        return sign(x)
    length = absolute(x)
    return conj(x) / vocabulary.where(vocabulary.equal(length, 0), length.dtype.type(1), length)


absolute = elementwise(
    "abs", np.absolute, lambda x: _direction(x), facts=("even", "zero at zero"), samples=reals(0.2, 3),
    dtypes=lambda x: np.empty(0, x.dtype).real.dtype, scalar=lambda e, x: e.absolute(x),
    doc="|x|, with derivative 0 at 0",
)  # fmt: skip
sign = elementwise(
    "sign", np.sign, 0, facts=("odd", "zero at zero"), samples=reals(0.2, 3), complex=False,
    scalar=lambda e, x: e.sign(x),
    doc="Sign of a real number; derivative 0",
)  # fmt: skip

floor = elementwise(
    "floor", np.floor, facts=("increasing", "zero at zero"), complex=False,
    scalar=lambda e, x: e.intrinsic("floor", x), scalar_kinds="f",
    doc="Rounded down",
)  # fmt: skip
ceil = elementwise(
    "ceil", np.ceil, facts=("increasing", "zero at zero"), complex=False,
    scalar=lambda e, x: e.intrinsic("ceil", x), scalar_kinds="f",
    doc="Rounded up",
)  # fmt: skip
trunc = elementwise(
    "trunc", np.trunc, facts=("odd", "zero at zero"), complex=False,
    scalar=lambda e, x: e.intrinsic("trunc", x), scalar_kinds="f",
    doc="Rounded towards 0",
)  # fmt: skip
rint = elementwise(
    "rint", np.rint, facts=("odd", "zero at zero"), scalar=lambda e, x: e.intrinsic("rint", x),
    doc="Rounded to nearest, ties to even",
)  # fmt: skip
floor_divide = elementwise(
    "floor_divide", np.floor_divide, samples=reals(0.5, 3), complex=False, scalar=lambda e, x, y: e.floor_divide(x, y),
    scalar_kinds="iuf", doc="floor(x / y)",
)  # fmt: skip
remainder = elementwise(
    "remainder", np.remainder, 1, lambda x, y: -floor_divide(x, y), samples=[reals(0.1, 0.4), reals(0.5, 3)],
    complex=False, scalar=lambda e, x, y: e.remainder(x, y),
    doc="x - y floor(x/y), with the sign of y",
)  # fmt: skip
fmod = elementwise(
    "fmod", np.fmod, 1, lambda x, y: -trunc(x / y), samples=[reals(0.1, 0.4), reals(0.5, 3)], complex=False,
    scalar=lambda e, x, y: e.library("fmod", x, y), scalar_kinds="f",
    doc="x - y trunc(x/y), with the sign of x",
)  # fmt: skip
copysign = elementwise(
    "copysign", np.copysign, lambda x, y: sign(x) * copysign(1.0, y), 0, samples=reals(0.2, 3), complex=False,
    scalar=lambda e, x, y: e.intrinsic("copysign", x, y),
    doc="|x| with the sign of y",
)  # fmt: skip


class NextAfter(Elementwise, abstract=True):
    """Steps of the dtype itself, for which the C library has no float16."""

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return NotImplemented if out.dtype == np.float16 else super().lowering(e, operands, types, out)


nextafter = elementwise(
    "nextafter", np.nextafter, complex=False, arity=2, family=NextAfter,
    not_differentiable="it steps between neighbouring floating-point numbers",
    scalar=lambda e, x, y: e.library("nextafter", x, y),
    doc="Next float after x towards y",
)  # fmt: skip
gcd = elementwise("gcd", np.gcd, samples=integers(1, 30), complex=False, doc="Greatest common divisor of integers")
lcm = elementwise("lcm", np.lcm, samples=integers(1, 30), complex=False, doc="Least common multiple of integers")

# Ties share equally: at x == y each operand gets half of the derivative.


def _share(x: Any, out: Any, other: Any) -> Any:
    mine = vocabulary.equal(x, out)
    return vocabulary.where(mine, vocabulary.where(vocabulary.equal(other, out), 0.5, 1.0), 0.0)


maximum = elementwise(
    "maximum", np.maximum, lambda x, y, out: _share(x, out, y), lambda x, y, out: _share(y, out, x),
    facts=("commutative", "associative", "idempotent", "increasing"),
    scalar=lambda e, x, y: e.maximum(x, y),
    doc="Larger of x and y; NaN if either is. At ties each operand gets half of the derivative.",
)  # fmt: skip
minimum = elementwise(
    "minimum", np.minimum, lambda x, y, out: _share(x, out, y), lambda x, y, out: _share(y, out, x),
    facts=("commutative", "associative", "idempotent", "increasing"),
    scalar=lambda e, x, y: e.minimum(x, y),
    doc="Smaller of x and y; NaN if either is. At ties each operand gets half of the derivative.",
)  # fmt: skip
fmax = elementwise(
    "fmax", np.fmax, lambda x, y, out: _share(x, out, y), lambda x, y, out: _share(y, out, x),
    facts=("commutative",), scalar=lambda e, x, y: e.intrinsic("maxnum", x, y), scalar_kinds="f",
    doc="Larger of x and y, ignoring NaN; ties share equally",
)  # fmt: skip
fmin = elementwise(
    "fmin", np.fmin, lambda x, y, out: _share(x, out, y), lambda x, y, out: _share(y, out, x),
    facts=("commutative",), scalar=lambda e, x, y: e.intrinsic("minnum", x, y), scalar_kinds="f",
    doc="Smaller of x and y, ignoring NaN; ties share equally",
)  # fmt: skip

# Complex numbers. Cotangents pair with tangents as Re(sum(ct * t)), so a rule is the transpose, without
# conjugation; the public functions conjugate once at the end, so that x - lr * grad descends. A real result
# of a complex operand takes the real part of (tangent * derivative), which `match` does: Im(t) = Re(-i t).


def _real_dtype(x: ArrayType) -> Any:
    return np.empty(0, x.dtype).real.dtype


class Part(Elementwise, abstract=True):
    """Real or imaginary part, which compiled programs read where the complex number lies."""

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        if types[0].dtype.kind == "c":
            return e.part_of(operands[0], self.name == "imag")
        return super().lowering(e, operands, types, out)


real = elementwise(
    "real", np.real, 1, dtypes=_real_dtype, facts=("linear", "zero at zero", "parts"), scalar=lambda e, x: x,
    family=Part, doc="Real part",
)  # fmt: skip
imag = elementwise(
    "imag", np.imag, lambda: -1j, dtypes=_real_dtype, facts=("linear", "zero at zero", "parts"),
    scalar=lambda e, x: e.const(0, x.dtype), family=Part, doc="Imaginary part",
)  # fmt: skip


def _complex_dtype(*types: ArrayType) -> Any:
    return np.result_type(np.result_type(*(t.promotes_as for t in types)), np.complex64)


def _from_parts(re: Any, im: Any) -> Any:
    dtype = np.result_type(np.result_type(re, im), np.complex64)
    out = np.empty(np.broadcast_shapes(np.shape(re), np.shape(im)), dtype)
    out.real, out.imag = re, im
    return out[()]


class Joined(Elementwise, abstract=True):
    """Parts of compiled programs that are written to memory as complex numbers."""

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.joined(operands[0], operands[1], out)


complex_of = elementwise(
    "complex", _from_parts, 1, lambda: 1j, dtypes=_complex_dtype, facts=("tame", "parts"), family=Joined, complex=False,
    doc="The complex number with these real and imaginary parts",
)  # fmt: skip
angle = elementwise(
    "angle", np.angle, lambda x: -1j / vocabulary.where(vocabulary.equal(x, 0), 1.0, x),
    dtypes=lambda x: np.angle(np.empty(0, x.dtype)).dtype, samples=reals(0.2, 3),
    doc="Argument of a complex number; derivative 0 for real ones",
)  # fmt: skip


class Conjugate(Elementwise, abstract=True):
    """Linear over the real numbers only: the tangent itself is conjugated."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return self(tangents[0])

    def pullback(self, mask: int) -> tuple[Any, Any]:
        return lambda operands, out: (), lambda ct, saved, inputs, times: (self(ct),)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (self(ct),)


_conjugate = elementwise(
    "conj", np.conjugate, 1, facts=("linear", "zero at zero"), family=Conjugate, scalar=lambda e, x: x,
    doc="Conjugate",
)  # fmt: skip


def conj(x: Any) -> Any:
    """Complex conjugate; a real operand is returned as it is."""
    return _conjugate(x) if type_of_value(x).dtype.kind == "c" else x


# Python's operators are quicker than the ufuncs, on NumPy scalars several times. (Two Python numbers give a
# Python number; `Record` asks the ufunc then.)
for _primitive, _operate in ((add, operator.add), (subtract, operator.sub), (multiply, operator.mul)):
    _primitive.numpy = _operate  # type: ignore[method-assign]
by_operator(divide, operator.truediv)
by_operator(negative, operator.neg)

vocabulary.add = add
vocabulary.multiply = multiply
vocabulary.strong_multiply = strong_multiply
vocabulary.negative = negative

vocabulary.absolute = absolute
