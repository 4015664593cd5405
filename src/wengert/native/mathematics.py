"""Mathematical functions as branch-free scalar code, which LLVM vectorises with the loop around it.

Every function is within 2 units in the last place of the exact value, in float64 and float32 and over the whole range;
`scripts/worst_errors.py` finds the worst arguments. float32 is computed in float32 but for the functions that say
otherwise. The coefficients of the polynomials are made by `scripts/minimax.py`.
"""

from __future__ import annotations

import math

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
        return self.select(self.lt(x, 0), self.neg(x), x) if x.dtype[0] == "i" else x  # type: ignore[no-any-return]

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
