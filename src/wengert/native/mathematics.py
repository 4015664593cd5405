"""Mathematical functions as branch-free scalar code, which LLVM vectorises with the loop around it.

float32 goes through float64, so that its results are correctly rounded nearly everywhere. What has no code of its
own here calls the C mathematics library.
"""

from __future__ import annotations

import math
from typing import Any

from .loops import Builder, Value

LN2_HIGH = float.fromhex("0x1.62e42fee00000p-1")
LN2_LOW = float.fromhex("0x1.a39ef35793c76p-33")
MAGIC = 1.5 * 2.0**52
"""Added to a number below 2**51, it leaves the nearest integer in the low bits."""

# Lg1 to Lg7 of FreeBSD's e_log.c: log((1+s)/(1-s)) = 2s + s z (Lg1 + Lg2 z + ...), z = s**2.
LOG = (0.6666666666666735130, 0.3999999999940941908, 0.2857142874366239149, 0.2222219843214978396,
       0.1818357216161805012, 0.1531383769920937332, 0.1479819860511658591)  # fmt: skip
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD


class Scalars(Builder):
    """The builder with functions."""

    def polynomial(self, x: Value, coefficients: tuple[float, ...]) -> Any:
        """Coefficients from the constant upward."""
        total: Any = self.const(coefficients[-1], x.dtype)
        for c in reversed(coefficients[:-1]):
            total = self.intrinsic("fma", total, x, c)
        return total

    def wide(self, name: str, x: Value) -> Value:
        """A function of float32 by way of float64."""
        return self.convert(getattr(self, name)(self.convert(x, "f64")), "f32")  # type: ignore[no-any-return]

    def clamp(self, x: Value, low: float, high: float) -> Value:
        """Within limits; NaN stays."""
        x = self.select(self.lt(x, low), low, x)
        return self.select(self.gt(x, high), high, x)  # type: ignore[no-any-return]

    def _reduced(self, x: Value) -> tuple[Value, Value]:
        """(n, exp(r) - 1) with x = n log 2 + r; n as an integer."""
        shifted = self.add(self.mul(x, 1 / math.log(2)), MAGIC)
        n = self.sub(shifted, MAGIC)
        r = self.intrinsic("fma", self.neg(n), LN2_LOW, self.intrinsic("fma", self.neg(n), LN2_HIGH, x))
        tail = self.polynomial(r, tuple(1 / math.factorial(k) for k in range(2, 14)))
        power = self.sub(self.bits(shifted, "i64"), self.bits(self.const(MAGIC, "f64"), "i64"))
        return power, self.intrinsic("fma", self.mul(r, r), tail, r)

    def _two_to(self, n: Any) -> Value:
        return self.bits(self.shift_left(self.add(n, self.const(1023, "i64")), 52), "f64")

    def exp(self, x: Value) -> Value:
        if x.dtype == "f32":
            return self.wide("exp", x)
        n, p = self._reduced(self.clamp(x, -746.0, 710.0))
        half = self.shift_right(n, 1)  # 2**n itself may be infinite or subnormal
        return self.mul(self.mul(self.add(p, 1.0), self._two_to(half)), self._two_to(self.sub(n, half)))  # type: ignore[no-any-return]

    def expm1(self, x: Value) -> Value:
        if x.dtype == "f32":
            return self.wide("expm1", x)
        n, p = self._reduced(self.clamp(x, -60.0, 600.0))
        scale = self._two_to(n)
        near = self.intrinsic("fma", scale, p, self.sub(scale, 1.0))
        found = self.select(self.gt(x, 600.0), self.exp(x), near)
        return self.select(self.eq(x, 0.0), x, found)  # type: ignore[no-any-return]

    def tanh(self, x: Value) -> Value:
        if x.dtype == "f32":
            return self.wide("tanh", x)
        size = self.intrinsic("fabs", x)
        n, p = self._reduced(self.clamp(self.mul(size, 2.0), 0.0, 44.0))
        scale = self._two_to(n)
        grown = self.intrinsic("fma", scale, p, self.sub(scale, 1.0))
        return self.intrinsic("copysign", self.div(grown, self.add(grown, 2.0)), x)

    def log(self, x: Value) -> Value:
        if x.dtype == "f32":
            return self.wide("log", x)
        tiny = self.lt(x, 2.0**-1022)
        bits = self.bits(self.select(tiny, self.mul(x, 2.0**54), x), "i64")
        # The exponent that brings the mantissa into [sqrt(1/2), sqrt(2)).
        steps = self.shift_right(self.sub(bits, self.const(SQRT_HALF_BITS, "i64")), 52)
        mantissa = self.bits(self.sub(bits, self.shift_left(steps, 52)), "f64")
        k = self.convert(self.sub(steps, self.select(tiny, self.const(54, "i64"), self.const(0, "i64"))), "f64")
        f = self.sub(mantissa, 1.0)
        s = self.div(f, self.add(f, 2.0))
        z = self.mul(s, s)
        rest = self.mul(z, self.polynomial(z, LOG))
        half = self.mul(self.mul(f, f), 0.5)
        low = self.intrinsic("fma", s, self.add(half, rest), self.mul(k, LN2_LOW))
        found = self.intrinsic("fma", k, LN2_HIGH, self.sub(f, self.sub(half, low)))
        found = self.select(self.eq(x, math.inf), x, found)
        found = self.select(self.eq(x, 0.0), -math.inf, found)
        found = self.select(self.lt(x, 0.0), math.nan, found)
        return self.select(self.ne(x, x), x, found)  # type: ignore[no-any-return]

    def cbrt(self, x: Value) -> Value:
        """The library's result, off by up to 3 units in the last place, with one step of Newton's iteration."""
        if x.dtype == "f32":
            return self.wide("cbrt", x)
        root = self.library("cbrt", x)
        square = self.mul(root, root)
        better = self.sub(root, self.div(self.sub(self.mul(square, root), x), self.mul(square, 3.0)))
        size = self.intrinsic("fabs", x)
        return self.select(self.both(self.gt(size, 1e-290), self.lt(size, math.inf)), better, root)  # type: ignore[no-any-return]

    def sigmoid(self, x: Value) -> Value:
        if x.dtype == "f32":
            return self.wide("sigmoid", x)
        small = self.exp(self.neg(self.intrinsic("fabs", x)))
        return self.div(self.select(self.ge(x, 0.0), self.const(1.0, x.dtype), small), self.add(small, 1.0))  # type: ignore[no-any-return]

    def logaddexp(self, x: Value, y: Value) -> Value:
        gap = self.neg(self.intrinsic("fabs", self.sub(x, y)))
        found = self.add(self.maximum(x, y), self.library("log1p", self.exp(gap)))
        return self.select(self.eq(x, y), self.add(x, math.log(2)), found)  # type: ignore[no-any-return]

    def power(self, x: Value, y: Value) -> Value:
        if y.op == "const" and y.args[0] in (2.0, 0.5, -1.0, 1.0):
            return {2.0: lambda: self.mul(x, x), 0.5: lambda: self._root(x), -1.0: lambda: self.div(1.0, x),
                    1.0: lambda: x}[y.args[0]]()  # type: ignore[no-any-return]  # fmt: skip
        return self.library("pow", x, y)

    def _root(self, x: Value) -> Value:
        """x**0.5, which is 0 at -0.0 and infinite at -inf."""
        root = self.intrinsic("sqrt", self.add(x, 0.0))
        return self.select(self.eq(x, -math.inf), math.inf, root)  # type: ignore[no-any-return]

    def sign(self, x: Value) -> Value:
        """-1, 0, 1; NaN stays."""
        one, zero = self.const(1, x.dtype), self.const(0, x.dtype)
        found = self.select(self.gt(x, 0), one, zero)
        if x.dtype[0] in "fi":
            found = self.select(self.lt(x, 0), self.const(-1, x.dtype), found)
        return self.select(self.ne(x, x), x, found) if x.dtype[0] == "f" else found  # type: ignore[no-any-return]

    def absolute(self, x: Value) -> Value:
        if x.dtype[0] == "f":
            return self.intrinsic("fabs", x)
        return self.select(self.lt(x, 0), self.neg(x), x) if x.dtype[0] == "i" else x  # type: ignore[no-any-return]

    def strong_multiply(self, ct: Value, factor: Value) -> Value:
        """The product in which an exact zero wins over an infinity, and a zero `ct` over NaN."""
        product = self.mul(ct, factor)
        if product.dtype[0] != "f":
            return product  # type: ignore[no-any-return]
        lost = self.both(self.eq(factor, 0.0), self.eq(self.intrinsic("fabs", ct), math.inf))
        masked = self.both(self.ne(product, product), self.either(self.eq(ct, 0.0), lost))
        return self.select(masked, self.const(0.0, product.dtype), product)  # type: ignore[no-any-return]

    def remainder(self, x: Value, y: Value) -> Value:
        """x - y floor(x / y), with the sign of y; integers modulo 0 are 0."""
        if x.dtype[0] == "f":
            rest = self.library("fmod", x, y)
            other = self.both(self.ne(rest, 0), self.differ(self.lt(rest, 0), self.lt(y, 0)))
            found = self.select(other, self.add(rest, y), rest)
            return self.select(self.eq(rest, 0), self.intrinsic("copysign", self.const(0.0, x.dtype), y), found)  # type: ignore[no-any-return]
        safe = self.select(self.eq(y, 0), self.const(1, y.dtype), y)
        if x.dtype[0] == "i":
            safe = self.select(self.eq(y, -1), self.const(1, y.dtype), safe)
        rest = self.value("rem", (x, safe), x.dtype)
        if x.dtype[0] == "i":
            other = self.both(self.ne(rest, 0), self.differ(self.lt(rest, 0), self.lt(y, 0)))
            rest = self.select(other, self.add(rest, y), rest)
        return self.select(self.eq(y, 0), self.const(0, x.dtype), rest)  # type: ignore[no-any-return]
