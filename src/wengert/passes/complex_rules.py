"""Operations on complex numbers as operations on their real and imaginary parts.

A rule takes the operands as `Pair`s and returns a `Pair`, or a real value. A part that is None is an exact zero, which
costs nothing: so a product with 1j or with a real number takes two products, not four. Formulas:

- division: R. L. Smith, *Algorithm 116: Complex division*, CACM 5 (1962), as NumPy does it;
- roots: the half-angle formula without cancellation; tanh: W. Kahan, *Branch cuts for complex elementary functions*
  (1987);
- logarithms of numbers near the unit circle: log1p(|z|^2 - 1) / 2;
- powers with small integer exponents: repeated squaring; others: exp(y log x).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..graph.interpreter import bind, is_traced, type_of_value
from ..ops.arithmetic import absolute as magnitude
from ..ops.arithmetic import copysign, maximum, minimum, reciprocal, rint, square, strong_multiply
from ..ops.arithmetic import sqrt as root
from ..ops.compare import equal, greater, isfinite, isinf, isnan, less, logical_and, logical_or, not_equal, where
from ..ops.exponential import exp, expm1, log, log1p
from ..ops.shape import convert
from ..ops.trigonometric import arctan2, cos, cosh, hypot, sin, sinh, tan, tanh


class Pair(NamedTuple):
    """The parts of a complex value, None for zeros; `whole` is the value itself where it exists anyway."""

    re: Any
    im: Any
    whole: Any = None


PARTS = {np.dtype(np.complex64): np.dtype(np.float32), np.dtype(np.complex128): np.dtype(np.float64)}
"""The dtypes that are split, with those of their parts."""
LARGEST_POWER = 100
"""Integer exponents up to which powers are products."""
LARGE = 20.0
"""Beyond it tanh is 1 in all digits."""


# Arithmetic on parts, of which None is zero ---------------------------------------------------------------


def plus(x: Any, y: Any) -> Any:
    return y if x is None else x if y is None else x + y


def minus(x: Any, y: Any) -> Any:
    return x if y is None else -y if x is None else x - y


def opposite(x: Any) -> Any:
    return None if x is None else -x


def times(x: Any, y: Any) -> Any:
    return None if x is None or y is None else x * y


def strongly(x: Any, y: Any) -> Any:
    return None if x is None or y is None else bind(strong_multiply, x, y)


def filled(x: Pair, dtype: Any) -> tuple[Any, Any]:
    """Both parts, zeros included."""
    zero = dtype.type(0)
    return (zero if x.re is None else x.re), (zero if x.im is None else x.im)


def either(x: Any, y: Any) -> Any:
    return bind(logical_or, x, y)


def choose(condition: Any, x: Any, y: Any) -> Any:
    return None if x is None and y is None else bind(where, condition, 0.0 if x is None else x, 0.0 if y is None else y)


def nonzero(x: Any) -> Any:
    """A value as a truth value: either part is not zero."""
    if not isinstance(x, Pair):
        return x
    tests = [bind(not_equal, part, 0) for part in (x.re, x.im) if part is not None]
    return either(*tests) if len(tests) == 2 else tests[0] if tests else np.bool_(False)


# Rules: of the dtype of the parts, and the operands ----------------------------------------------------------


def add(dtype: Any, x: Pair, y: Pair) -> Pair:
    return Pair(plus(x.re, y.re), plus(x.im, y.im))


def subtract(dtype: Any, x: Pair, y: Pair) -> Pair:
    return Pair(minus(x.re, y.re), minus(x.im, y.im))


def product(x: Pair, y: Pair, of: Callable[[Any, Any], Any] = times) -> Pair:
    """(a + bi)(c + di) by a product of real values."""
    return Pair(minus(of(x.re, y.re), of(x.im, y.im)), plus(of(x.re, y.im), of(x.im, y.re)))


def multiply(dtype: Any, x: Pair, y: Pair) -> Pair:
    return product(x, y)


def divide(dtype: Any, x: Pair, y: Pair) -> Pair:
    if y.im is None:
        below = dtype.type(0) if y.re is None else y.re
        return Pair(*(None if part is None else part / below for part in (x.re, x.im)))
    if y.re is None:  # (a + bi) / di = b/d - (a/d) i
        return Pair(None if x.im is None else x.im / y.im, None if x.re is None else -(x.re / y.im))
    a, b, c, d = x.re, x.im, y.re, y.im
    swap = bind(less, bind(magnitude, c), bind(magnitude, d))
    large, small = choose(swap, d, c), choose(swap, c, d)
    ratio = bind(where, bind(equal, large, 0), dtype.type(0), small / large)
    # A quotient by zero is infinite as that by +0 is; adding 0 makes -0 one.
    scale = bind(reciprocal, (large + small * ratio) + dtype.type(0))
    u, v = choose(swap, b, a), choose(swap, a, b)
    re, im = times(plus(u, times(v, ratio)), scale), times(minus(v, times(u, ratio)), scale)
    return Pair(re, choose(swap, opposite(im), im))


def invert(dtype: Any, x: Pair) -> Pair:
    return divide(dtype, Pair(dtype.type(1), None), x)


def squared(dtype: Any, x: Pair) -> Pair:
    if x.re is None or x.im is None:
        return product(x, x)
    twice = x.re * x.im
    return Pair(bind(square, x.re) - bind(square, x.im), twice + twice)


def absolute(dtype: Any, x: Pair) -> Any:
    if x.re is None or x.im is None:
        return bind(magnitude, filled(x, dtype)[x.re is None])
    return bind(hypot, x.re, x.im)


def angle(dtype: Any, x: Pair) -> Any:
    re, im = filled(x, dtype)
    return bind(arctan2, im, re)


def exponential(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    if x.im is None:
        return Pair(bind(exp, re), None)
    size = bind(exp, re)
    # A real number has a real exponential, infinite ones as well.
    return Pair(size * bind(cos, im), bind(where, bind(equal, im, 0), im, size * bind(sin, im)))


def log_of_size(re: Any, im: Any) -> Any:
    """log |z|, without cancellation near |z| = 1."""
    size, a, b = bind(hypot, re, im), bind(magnitude, re), bind(magnitude, im)
    large, small = bind(maximum, a, b), bind(minimum, a, b)
    near = bind(logical_and, bind(greater, size, 0.5), bind(less, size, 2.0))
    return bind(where, near, 0.5 * bind(log1p, (large - 1) * (large + 1) + small * small), bind(log, size))


def logarithm(base: float | None) -> Callable[..., Pair]:
    def rule(dtype: Any, x: Pair) -> Pair:
        re, im = filled(x, dtype)
        found = log_of_size(re, im), bind(arctan2, im, re)
        return Pair(*found) if base is None else Pair(*(part * dtype.type(1 / math.log(base)) for part in found))

    return rule


def log_of_sum(dtype: Any, x: Pair) -> Pair:
    """log(1 + z)."""
    re, im = filled(x, dtype)
    near = bind(less, bind(hypot, re, im), 0.5)
    exact = 0.5 * bind(log1p, re * (re + 2) + im * im)
    return Pair(bind(where, near, exact, log_of_size(re + 1, im)), bind(arctan2, im, re + 1))


def exp_less_one(dtype: Any, x: Pair) -> Pair:
    """exp(z) - 1: its real part is expm1(a) cos b - 2 sin(b/2)^2."""
    re, im = filled(x, dtype)
    half = bind(sin, 0.5 * im)
    return Pair(bind(expm1, re) * bind(cos, im) - 2 * half * half, bind(exp, re) * bind(sin, im))


def power_of_two(dtype: Any, x: Pair) -> Pair:
    return exponential(dtype, Pair(*(times(part, dtype.type(math.log(2))) for part in x[:2])))


def sqrt(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    size = bind(magnitude, re)
    t = bind(root, 0.5 * size + 0.5 * bind(hypot, re, im))
    other = bind(where, bind(equal, t, 0), bind(magnitude, im), bind(magnitude, im) / (2 * t))
    left = bind(less, re, 0)
    return Pair(bind(where, left, other, t), bind(copysign, bind(where, left, t, other), im))


def sine(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    return Pair(bind(sin, re) * bind(cosh, im), bind(cos, re) * bind(sinh, im))


def cosine(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    return Pair(bind(cos, re) * bind(cosh, im), -(bind(sin, re) * bind(sinh, im)))


def hyperbolic_sine(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    return Pair(bind(sinh, re) * bind(cos, im), bind(cosh, re) * bind(sin, im))


def hyperbolic_cosine(dtype: Any, x: Pair) -> Pair:
    re, im = filled(x, dtype)
    return Pair(bind(cosh, re) * bind(cos, im), bind(sinh, re) * bind(sin, im))


def hyperbolic_tangent(dtype: Any, x: Pair) -> Pair:
    a, b = filled(x, dtype)
    slope, s, c = bind(tan, b), bind(sinh, a), bind(cosh, a)
    stretch = 1 + slope * slope
    below = 1 + stretch * s * s
    large = bind(greater, bind(magnitude, a), LARGE)
    tail = 4 * bind(sin, b) * bind(cos, b) * bind(exp, -2 * bind(magnitude, a))
    return Pair(bind(where, large, bind(tanh, a), stretch * c * s / below), bind(where, large, tail, slope / below))


def tangent(dtype: Any, x: Pair) -> Pair:
    """tan z = -i tanh(iz)."""
    found = hyperbolic_tangent(dtype, Pair(opposite(x.im), x.re))
    return Pair(found.im, opposite(found.re))


def power(dtype: Any, x: Pair, y: Pair) -> Pair:
    n = y.re if y.im is None else None
    if n is not None and not is_traced(n) and np.ndim(n) == 0 and n == int(n) and abs(n) <= LARGEST_POWER:
        return integer_power(dtype, x, int(n))
    re, im = filled(x, dtype)
    found = exponential(dtype, product(y, Pair(log_of_size(re, im), bind(arctan2, im, re))))
    # Of zero: 1 to the power of 0, 0 where the exponent has a positive real part, otherwise undefined.
    a, b = filled(y, dtype)
    none = bind(logical_and, bind(equal, re, 0), bind(equal, im, 0))
    flat = bind(logical_and, bind(equal, a, 0), bind(equal, b, 0))
    zero, nan = dtype.type(0), dtype.type(np.nan)
    of_zero = bind(where, flat, dtype.type(1), bind(where, bind(greater, a, 0), zero, nan))
    turned = bind(where, either(flat, bind(greater, a, 0)), zero, nan)
    return Pair(bind(where, none, of_zero, filled(found, dtype)[0]), bind(where, none, turned, filled(found, dtype)[1]))


def integer_power(dtype: Any, x: Pair, n: int) -> Pair:
    found, factor, left = Pair(dtype.type(1), None), x, abs(n)
    while left:
        if left & 1:
            found = factor if found.im is None and not is_traced(found.re) else product(found, factor)
        left >>= 1
        if left:
            factor = squared(dtype, factor)
    return invert(dtype, found) if n < 0 else found


def same(dtype: Any, x: Pair, y: Pair) -> Any:
    (a, b), (c, d) = filled(x, dtype), filled(y, dtype)
    return bind(logical_and, bind(equal, a, c), bind(equal, b, d))


def differ(dtype: Any, x: Pair, y: Pair) -> Any:
    (a, b), (c, d) = filled(x, dtype), filled(y, dtype)
    return either(bind(not_equal, a, c), bind(not_equal, b, d))


def test(of: Any, join: Any) -> Callable[..., Any]:
    """Whether either part, or both, are NaN, infinite, finite."""
    return lambda dtype, x: bind(join, *(bind(of, part) for part in filled(x, dtype)))


def each(of: Callable[[Any], Any]) -> Callable[..., Pair]:
    """A function of both parts alone."""
    return lambda dtype, x: Pair(*(None if part is None else of(part) for part in x[:2]))


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "add": add, "subtract": subtract, "multiply": multiply, "divide": divide, "power": power,
    "strong_multiply": lambda dtype, x, y: product(x, y, strongly),
    "negative": lambda dtype, x: Pair(opposite(x.re), opposite(x.im)),
    "positive": each(lambda part: part), "stop_gradient": each(lambda part: part),
    "rint": each(lambda part: bind(rint, part)),
    "conj": lambda dtype, x: Pair(x.re, opposite(x.im)),
    "real": lambda dtype, x: filled(x, dtype)[0], "imag": lambda dtype, x: filled(x, dtype)[1],
    "abs": absolute, "angle": angle, "square": squared, "reciprocal": invert, "sqrt": sqrt,
    "exp": exponential, "exp2": power_of_two, "expm1": exp_less_one,
    "log": logarithm(None), "log2": logarithm(2), "log10": logarithm(10), "log1p": log_of_sum,
    "sin": sine, "cos": cosine, "tan": tangent,
    "sinh": hyperbolic_sine, "cosh": hyperbolic_cosine, "tanh": hyperbolic_tangent,
    "equal": same, "not_equal": differ,
    "isnan": test(isnan, logical_or), "isinf": test(isinf, logical_or), "isfinite": test(isfinite, logical_and),
}  # fmt: skip
"""Rules by the name of the operation. All operands of a rule have the dtype of the parts, or are Python numbers."""
TRUTH = frozenset({"logical_and", "logical_or", "logical_not", "logical_xor", "any", "all"})
"""Operations that take operands for true or false."""


def as_part(x: Any, dtype: Any) -> Any:
    """A real operand of an operation on complex numbers: integers as floats."""
    t = type_of_value(x)
    return x if t.dtype.kind == "f" or t.weak else convert(x, dtype)
