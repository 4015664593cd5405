"""Exponentials and logarithms.

exp(x) = 2**n exp(r) with x = n log(2) + r, where r is found with an exact first product (Cody and Waite, *Software
Manual for the Elementary Functions*, 1980; a fused multiply-add makes the first difference exact), and log(x) =
k log(2) + log(1 + f). Both then take a polynomial.
"""

from __future__ import annotations

import math
from typing import Any

from .mathematics_basic import FORMATS, Basic
from .mathematics_coefficients import EXP, EXP2, LOG, SINH


class Exponential(Basic):
    """Part of `Scalars`. Every function takes and returns registers of one format of floats."""

    def _reduced(self, x: Any, low: Any = None, form: str | None = None) -> tuple[Any, Any, Any]:
        """n, r and exp(r) - 1 - r with x + low = n log(2) + r; n as a register that ends with n + 2 bias."""
        f = FORMATS[x.dtype]
        n, exponent = self.nearest(x, f.log2_of_e[0], 2 * f.bias)
        n = self.neg(n)
        r = self.fma(n, f.ln2[1], self.fma(n, f.ln2[0], x))
        if low is not None:
            r = self.add(r, low)
        return exponent, r, self.mul(self.mul(r, r), self.polynomial(r, EXP[form or x.dtype], 0))

    def _reduced_sum(self, x: Any, low: Any = None, form: str | None = None) -> tuple[Any, Any]:
        """n as in `_reduced`, and exp(r) - 1."""
        exponent, r, _ = self._reduced(x, low, form)
        return exponent, self.fma(self.mul(r, r), self.polynomial(r, EXP[form or x.dtype], 0), r)

    def _power_of_two(self, exponent: Any, dtype: str, less: int = 0) -> Any:
        """2**(n - less) from what `_reduced` returns, for normal results."""
        return self.two_to(self.sub(exponent, FORMATS[dtype].bias + less), dtype)

    def exp(self, x: Any) -> Any:
        x = self.clamp(x, -746.0, 710.0) if x.dtype == "f64" else self.clamp(x, -104.5, 89.0)
        return self._scaled_up(*self._reduced_sum(x))

    def _scaled_up(self, exponent: Any, p: Any) -> Any:
        """(1 + p) 2**n."""
        half = self.shift_right(exponent, 1)
        first, second = self.two_to(half, p.dtype), self.two_to(self.sub(exponent, half), p.dtype)
        return self.mul(self.fma(p, first, first), second)

    def exp2(self, x: Any) -> Any:
        f = FORMATS[x.dtype]
        x = self.clamp(x, -1077.0, 1025.0) if x.dtype == "f64" else self.clamp(x, -151.0, 129.0)
        n, exponent = self.nearest(x, 1.0, 2 * f.bias)
        r = self.sub(x, n)
        return self._scaled_up(exponent, self.mul(r, self.polynomial(r, EXP2[x.dtype])))

    def _grown(self, x: Any, less: int = 0) -> Any:
        """(exp(x) - 1) / 2**less, where 2**(n - less) is in range."""
        exponent, r, rest = self._reduced(x)
        scale = self._power_of_two(exponent, x.dtype, less)
        first = self.sub(scale, 0.5**less)
        if not less:  # for tanh, which would see two roundings
            found, lost = self.larger_plus(first, self.mul(scale, r))
            return self.add(found, self.fma(scale, rest, lost))
        return self.fma(scale, rest, self.fma(scale, r, first))

    def expm1(self, x: Any) -> Any:
        inside = self.clamp(x, -60.0, 710.0) if x.dtype == "f64" else self.clamp(x, -30.0, 89.0)
        found = self.mul(self._grown(inside, 1), 2.0)
        return self.select(self.lt(self.size(x), 2.0**-60), x, found)  # -0.0, and subnormal numbers lose no bit

    def tanh(self, x: Any) -> Any:
        """t / (t + 2) with t = exp(2 |x|) - 1, the quotient without the rounding of the sum."""
        t = self._grown(self.clamp(self.mul(self.size(x), 2.0), 0.0, 44.0 if x.dtype == "f64" else 20.0))
        found = self.quotient_of(t, *self.larger_plus(self.const(2.0, x.dtype), t))
        return self.intrinsic("copysign", found, x)

    def _quarter(self, x: Any) -> Any:
        """exp(|x|) / 4, which is finite wherever the hyperbolic functions are."""
        exponent, p = self._reduced_sum(self.clamp(self.size(x), 0.0, 710.6 if x.dtype == "f64" else 89.5))
        scale = self._power_of_two(exponent, x.dtype, 2)
        return self.fma(scale, p, scale)

    def sinh(self, x: Any) -> Any:
        """By a polynomial for |x| <= 1, and as (exp(|x|) - exp(-|x|)) / 2 beyond."""
        a, quarter = self.size(x), self._quarter(x)
        z = self.mul(a, a)
        near = self.fma(self.mul(a, z), self.polynomial(z, SINH[x.dtype]), a)
        far = self.mul(self.sub(quarter, self.div(0.0625, quarter)), 2.0)
        return self.intrinsic("copysign", self.select(self.le(a, 1.0), near, far), x)

    def cosh(self, x: Any) -> Any:
        quarter = self._quarter(x)
        return self.mul(self.add(quarter, self.div(0.0625, quarter)), 2.0)

    def sigmoid(self, x: Any) -> Any:
        """1 / (1 + exp(-x)), by the side on which the exponential cannot overflow."""
        small = self.exp(self.neg(self.size(x)))
        one = self.const(1.0, x.dtype)
        return self.quotient_of(self.select(self.ge(x, 0.0), one, small), *self.larger_plus(one, small))

    # Logarithms -----------------------------------------------------------------------------------------

    def _tail(self, f: Any) -> Any:
        """log(1 + f) - f."""
        return self.mul(self.mul(f, f), self.polynomial(f, LOG[f.dtype]))

    def _of_positive(self, x: Any, found: Any) -> Any:
        """A logarithm with its values outside the positive numbers."""
        below = self.select(self.eq(x, 0.0), self.const(-math.inf, x.dtype), self.const(math.nan, x.dtype))
        found = self.select(self.le(x, 0.0), below, found)
        return self.select(self.lt(x, math.inf), found, x)

    def log(self, x: Any) -> Any:
        ln2 = FORMATS[x.dtype].ln2
        k, f, _ = self.mantissa(x)
        rest = self.add(f, self.fma(k, ln2[1], self._tail(f)))
        return self._of_positive(x, self.fma(k, ln2[0], rest))

    def log2(self, x: Any) -> Any:
        unit = FORMATS[x.dtype].log2_of_e
        k, f, _ = self.mantissa(x)
        p, error = self.times(f, unit[0])
        low = self.add(error, self.fma(f, unit[1], self.mul(self._tail(f), unit[0])))
        total, rest = self.larger_plus(k, p)
        return self._of_positive(x, self.add(total, self.add(rest, low)))

    def log10(self, x: Any) -> Any:
        form = FORMATS[x.dtype]
        unit, two = form.ln10_of_e, form.log10_of_2
        k, f, _ = self.mantissa(x)
        p, error = self.times(f, unit[0])
        low = self.add(error, self.fma(f, unit[1], self.mul(self._tail(f), unit[0])))
        total, rest = self.larger_plus(self.mul(k, two[0]), p)
        return self._of_positive(x, self.add(total, self.add(rest, self.fma(k, two[1], low))))

    def _log1p(self, x: Any, low: Any = None, doubled: Any = None, below_one: bool = False) -> Any:
        """log(1 + x + low) for -1 < x < infinity, plus log(2) where `doubled`, with `low` far below x."""
        form = FORMATS[x.dtype]
        one = self.const(1.0, x.dtype)
        u, error = self.larger_plus(one, x) if below_one else self.plus(x, one)
        k, f, raw = self.mantissa(u, subnormal=False)
        plain = self.eq(k, 0.0)
        zero = self.const(0.0, x.dtype)
        f = self.select(plain, x, f)
        error = self.select(plain, zero, error)
        if low is not None:
            error = self.add(error, low)
        # What rounding 1 + x lost, in units of 2**k; nothing where 1 + x is x to all digits.
        inverse = self.two_to(self.sub(self.const(2 * form.bias + 1, form.unsigned), raw), x.dtype)
        lost = self.mul(error, inverse)
        if not below_one:
            lost = self.select(self.gt(x, 2.0**60), zero, lost)
        # log(1 + f + c) = log(1 + f) + c / (1 + f), where a few digits of the quotient will do.
        tail = self.fma(lost, self.fma(f, self.sub(f, 1.0), 1.0), self._tail(f))
        if doubled is not None:
            k = self.select(doubled, self.add(k, 1.0), k)
        return self.fma(k, form.ln2[0], self.add(f, self.fma(k, form.ln2[1], tail)))

    def log1p(self, x: Any) -> Any:
        found = self.intrinsic("copysign", self._log1p(x), x)
        low = self.select(self.eq(x, -1.0), self.const(-math.inf, x.dtype), self.const(math.nan, x.dtype))
        found = self.select(self.le(x, -1.0), low, found)
        return self.select(self.lt(x, math.inf), found, x)

    def logaddexp(self, x: Any, y: Any) -> Any:
        """max(x, y) + log(1 + exp(-|x - y|)); where the terms cancel, within 2 units of the larger one."""
        swap = self.gt(x, y)
        large, small = self.select(swap, x, y), self.select(swap, y, x)
        gap, low = self.plus(small, self.neg(large))
        low = self.select(self.gt(gap, -800.0), low, self.const(0.0, x.dtype))
        found = self.add(large, self._log_of_sum(gap, low))
        return self.select(self.eq(x, y), self.add(x, math.log(2)), found)

    def logaddexp2(self, x: Any, y: Any) -> Any:
        """log2(2**x + 2**y), as `logaddexp`."""
        swap = self.gt(x, y)
        large, small = self.select(swap, x, y), self.select(swap, y, x)
        gap, low = self.plus(small, self.neg(large))
        low = self.select(self.gt(gap, -1100.0), low, self.const(0.0, x.dtype))
        e = self.exp2(gap)
        term = self._log1p(e, self.mul(self.mul(e, low), math.log(2)), below_one=True)
        found = self.add(large, self.mul(term, FORMATS[x.dtype].log2_of_e[0]))
        return self.select(self.eq(x, y), self.add(x, 1.0), found)

    def softplus(self, x: Any) -> Any:
        """log(1 + exp(x))."""
        positive = self.select(self.gt(x, 0.0), x, self.const(0.0, x.dtype))
        return self.add(positive, self._log_of_sum(self.neg(self.size(x))))

    def _log_of_sum(self, x: Any, low: Any = None) -> Any:
        """log(1 + exp(x + low)) for x <= 0, with the exponential in two floats."""
        x = self.clamp(x, -746.0, 0.0) if x.dtype == "f64" else self.clamp(x, -104.5, 0.0)
        exponent, r, rest = self._reduced(x, low)
        p, rest = self.larger_plus(r, rest)
        e, lost = self.larger_plus(self.const(1.0, x.dtype), p)
        lost = self.add(lost, rest)
        return self._log1p(self.scaled(e, exponent), self.scaled(lost, exponent), below_one=True)

    def arcsinh(self, x: Any) -> Any:
        """log(|x| + sqrt(x**2 + 1)) as log1p(|x| + x**2 / (1 + sqrt(x**2 + 1)))."""
        a = self.size(x)
        limit = 2.0**54 if x.dtype == "f64" else 2.0**25
        huge = self.gt(a, limit)
        inside = self.select(huge, self.const(1.0, x.dtype), a)
        square = self.mul(inside, inside)
        root = self.intrinsic("sqrt", self.add(square, 1.0))
        total, low = self.larger_plus(inside, self.div(square, self.add(root, 1.0)))
        zero = self.const(0.0, x.dtype)
        found = self._log1p(self.select(huge, a, total), self.select(huge, zero, low), huge)
        return self.select(self.lt(a, math.inf), self.intrinsic("copysign", found, x), x)

    def arccosh(self, x: Any) -> Any:
        """log(x + sqrt(x**2 - 1)) as log1p(t + sqrt(t**2 + 2t)) with t = x - 1."""
        limit = 2.0**54 if x.dtype == "f64" else 2.0**25
        huge = self.gt(x, limit)
        t = self.sub(self.select(huge, self.const(1.0, x.dtype), x), 1.0)
        total, low = self.larger_plus(self.intrinsic("sqrt", self.fma(t, t, self.mul(t, 2.0))), t)
        found = self._log1p(self.select(huge, x, total), self.select(huge, self.const(0.0, x.dtype), low), huge)
        found = self.select(self.lt(x, 1.0), self.const(math.nan, x.dtype), found)
        return self.select(self.lt(x, math.inf), found, x)
