"""Mathematical functions as branch-free scalar code, which LLVM vectorises with the loop around it.

Every function is within 2 units in the last place of the exact value, in float64 and float32 and over the whole range;
`scripts/worst_errors.py` finds the worst arguments. float32 is computed in float32 but for the functions that say
otherwise. The coefficients of the polynomials are made by `scripts/minimax.py`.
"""

from __future__ import annotations

import math
from typing import Any

from .loops import Value
from .mathematics_special import Special
from .mathematics_trigonometric import Trigonometric


class Scalars(Trigonometric, Special):
    """The builder with functions."""

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
        return self.select(self.lt(x, 0), self.neg(x), x) if x.dtype[0] == "i" else x

    def strong_multiply(self, ct: Value, factor: Value) -> Value:
        """The product in which an exact zero wins over an infinity, and a zero `ct` over NaN."""
        product = self.mul(ct, factor)
        if product.dtype[0] != "f":
            return product  # type: ignore[no-any-return]
        if self.plain is not None:
            self.plain.product(product)
            return product  # type: ignore[no-any-return]
        lost = self.both(self.eq(factor, 0.0), self.eq(self.intrinsic("fabs", ct), math.inf))
        masked = self.both(self.ne(product, product), self.either(self.eq(ct, 0.0), lost))
        return self.select(masked, self.const(0.0, product.dtype), product)  # type: ignore[no-any-return]

    def floor_divide(self, x: Any, y: Any) -> Any:
        """floor(x / y), as NumPy finds it from the remainder; integers over 0 are 0."""
        zero = self.const(0, x.dtype)
        if x.dtype[0] == "f":
            rest = self.library("fmod", x, y)
            quotient = self.div(self.sub(x, rest), y)
            other = self.both(self.ne(rest, 0), self.differ(self.lt(rest, 0), self.lt(y, 0)))
            quotient = self.select(other, self.sub(quotient, 1), quotient)
            below = self.intrinsic("floor", quotient)
            found = self.select(self.gt(self.sub(quotient, below), 0.5), self.add(below, 1), below)
            plain = self.div(x, y)
            found = self.select(self.eq(quotient, 0), self.intrinsic("copysign", zero, plain), found)
            return self.select(self.eq(y, 0), plain, found)
        one = self.const(1, x.dtype)
        unsafe = self.eq(y, 0)
        if x.dtype[0] == "i":
            unsafe = self.either(unsafe, self.eq(y, -1))  # the least integer has no quotient by -1
        safe = self.select(unsafe, one, y)
        quotient = self.div(x, safe)
        if x.dtype[0] == "i":
            rest = self.sub(x, self.mul(quotient, safe))
            other = self.both(self.ne(rest, 0), self.differ(self.lt(rest, 0), self.lt(safe, 0)))
            quotient = self.select(other, self.sub(quotient, one), quotient)
            quotient = self.select(self.eq(y, -1), self.sub(zero, x), quotient)
        return self.select(self.eq(y, 0), zero, quotient)

    def shifted(self, x: Any, y: Any, left: bool) -> Any:
        """x << y or x >> y; shifts by as many bits as there are, or more, or by less than 0, leave no bit of x."""
        width = int(x.dtype[1:])
        fine = self.both(self.ge(y, 0), self.lt(y, width))
        count = self.select(fine, y, self.const(0, x.dtype))
        if left:
            return self.select(fine, self.shift_left(x, count), self.const(0, x.dtype))
        empty = self.select(self.lt(x, 0), self.const(-1 if x.dtype[0] == "i" else 0, x.dtype), self.const(0, x.dtype))
        return self.select(fine, self.shift_right(x, count), empty)

    def signbit(self, x: Any) -> Any:
        return self.lt(self.bits(x, "i" + x.dtype[1:]), 0)

    def sinc(self, x: Any) -> Any:
        """sin(pi x) / (pi x) with NumPy's rounding of pi x, in which the error of the sine is seen."""
        y = self.mul(self.select(self.eq(x, 0), self.const(1e-20, x.dtype), x), math.pi)
        return self.div(self.sin(y), y)

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
