"""Powers, roots, and the error function."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from .mathematics_basic import FORMATS, parts
from .mathematics_coefficients import CBRT, ERF, LOG_PAIR, SHORT_TAIL, TAIL
from .mathematics_exponential import Exponential

TWO_THIRDS = {dtype: parts(Decimal(2) / 3, dtype, 2) for dtype in FORMATS}


class Special(Exponential):
    """Part of `Scalars`. Every function takes and returns registers of one format of floats."""

    def hypot(self, x: Any, y: Any) -> Any:
        """sqrt(x**2 + y**2), scaled by a power of two where squares would leave the range."""
        wide = x.dtype == "f64"
        large, small, up = (2.0**510, 2.0**-450, 2.0**600) if wide else (2.0**62, 2.0**-50, 2.0**75)
        a, b = self.size(x), self.size(y)
        swap = self.lt(a, b)
        a, b = self.select(swap, b, a), self.select(swap, a, b)
        one = self.const(1.0, x.dtype)
        big, tiny = self.gt(a, large), self.lt(a, small)
        factor = self.select(big, self.const(1 / up, x.dtype), self.select(tiny, self.const(up, x.dtype), one))
        back = self.select(big, self.const(up, x.dtype), self.select(tiny, self.const(1 / up, x.dtype), one))
        a, b = self.mul(a, factor), self.mul(b, factor)
        found = self.mul(self.intrinsic("sqrt", self.fma(a, a, self.mul(b, b))), back)
        infinite = self.either(self.eq(self.size(x), math.inf), self.eq(self.size(y), math.inf))
        return self.select(infinite, self.const(math.inf, x.dtype), found)

    def cbrt(self, x: Any) -> Any:
        """From w near a**(-1/3) for |x| = 8**n a, 1 <= a < 8: a step of Newton's for w, and one for a w**2."""
        dtype = x.dtype
        form = FORMATS[dtype]
        size = self.size(x)
        tiny = self.lt(size, form.least)
        bits = self.bits(self.select(tiny, self.mul(size, 2.0**form.lift), size), form.unsigned)
        m = self.bits(self.either(self.both(bits, (1 << form.mantissa) - 1), form.bias << form.mantissa), dtype)
        exponent = self.small_number(self.shift_right(bits, form.mantissa), dtype, form.bias)
        third, end = self.nearest(self.sub(exponent, 1.0), 1 / 3, form.bias)
        left = self.sub(exponent, self.mul(third, 3.0))  # 0, 1 or 2
        one, none, single = (self.const(1.0, dtype), self.eq(left, 0.0), self.eq(left, 1.0))
        a = self.mul(m, self.select(none, one, self.select(single, self.const(2.0, dtype), 4.0)))
        w = self.select(none, one, self.select(single, self.const(0.5 ** (1 / 3), dtype), 0.25 ** (1 / 3)))
        w = self.mul(w, self.polynomial(m, CBRT[dtype]))
        w = self.fma(self.mul(w, 1 / 3), self.fma(self.neg(self.mul(a, w)), self.mul(w, w), 1.0), w)
        square = self.mul(w, w)
        y = self.mul(a, square)
        power, lost = self.times(y, y)
        excess = self.fma(lost, y, self.fma(power, y, self.neg(a)))  # y**3 - a
        y = self.mul(self.fma(self.mul(excess, -1 / 3), square, y), self.two_to(end, dtype))
        y = self.select(tiny, self.mul(y, 2.0 ** (-form.lift // 3)), y)
        y = self.select(self.both(self.gt(size, 0.0), self.lt(size, math.inf)), y, size)
        return self.intrinsic("copysign", y, x)

    # The error function ---------------------------------------------------------------------------------

    def _erfcx(self, a: Any, coefficients: tuple[float, ...]) -> tuple[Any, Any]:
        """exp(a**2) erfc(a) and a small correction of it, for a >= 0.

        (1 + 2a) exp(a**2) erfc(a) varies little over all a >= 0 and is a polynomial in (a - 4) / (a + 4): M. M.
        Shepherd and J. G. Laframboise, *Chebyshev approximation of (1 + 2x) exp(x^2) erfc x*, Math. Comp. 36, 1981.
        """
        r = self.div(1.0, self.add(a, 4.0))
        first = self.mul(self.sub(a, 4.0), r)
        more = self.fma(self.neg(first), a, self.fma(self.add(first, 1.0), -4.0, a))
        q = self.fma(r, more, first)
        p = self.polynomial(q, coefficients, 10)
        if a.dtype == "f64":  # near a = 0 the slope of P, 1.74, makes the rounding of q seen
            p = self.fma(self.fma(r, more, self.sub(first, q)), self.fma(q, -0.87, 0.87), p)
        r = self.div(0.5, self.add(a, 0.5))
        y = self.fma(p, r, r)
        rest = self.add(self.fma(self.mul(a, -2.0), y, self.sub(1.0, y)), p)  # 1 + p - y (1 + 2a)
        return y, self.mul(rest, r)

    def erf(self, x: Any) -> Any:
        """By a polynomial for |x| <= 1, and as 1 - erfc(|x|) beyond."""
        wide = x.dtype == "f64"
        a = self.size(x)
        near = self.fma(a, self.polynomial(self.mul(a, a), ERF[x.dtype]), a)
        far = self.clamp(a, 0.0, 6.0 if wide else 4.0)
        exponent, p = self._reduced_sum(self.neg(self.mul(far, far)))
        scale = self._power_of_two(exponent, x.dtype)
        tail, _ = self._erfcx(far, TAIL["f64"] if wide else SHORT_TAIL["f32"])
        beyond = self.fma(self.neg(self.fma(scale, p, scale)), tail, 1.0)
        return self.intrinsic("copysign", self.select(self.le(a, 1.0), near, beyond), x)

    def erfc(self, x: Any, form: str | None = None) -> Any:
        """exp(-x**2) times a function that varies slowly; the square and the product carry their rounding errors."""
        if x.dtype == "f32":
            return self.convert(self.erfc(self.convert(x, "f64"), "short"), "f32")
        a = self.clamp(self.size(x), 0.0, 28.0 if form is None else 10.4)
        square, lost = self.times(a, a)
        exponent, r, rest = self._reduced(self.neg(square), self.neg(lost), form)
        e, e_low = self.larger_plus(self.const(1.0, "f64"), r)
        e_low = self.add(e_low, rest)
        y, y_low = self._erfcx(a, TAIL["f64"] if form is None else SHORT_TAIL["short"])
        found = self.scaled(self.fma(e, y, self.fma(e, y_low, self.mul(e_low, y))), exponent)
        return self.select(self.lt(x, 0.0), self.sub(2.0, found), found)

    # Powers ---------------------------------------------------------------------------------------------

    def power(self, x: Any, y: Any) -> Any:
        simple = {
            1.0: lambda: x,
            2.0: lambda: self.mul(x, x),
            3.0: lambda: self.mul(self.mul(x, x), x),
            -1.0: lambda: self.div(1.0, x),
            0.5: lambda: self._root(x),
        }
        if y.op == "const" and y.args[0] in simple:
            return simple[y.args[0]]()
        dtype = x.dtype
        one, zero = self.const(1.0, dtype), self.const(0.0, dtype)
        size = self.size(x)
        found = self._power(size, y)
        found = self.select(self.eq(size, 1.0), one, found)  # 1**infinity and (-1)**infinity are 1
        whole = self.eq(self.intrinsic("floor", y), y)
        half = self.mul(y, 0.5)
        odd = self.both(whole, self.ne(self.intrinsic("floor", half), half))
        negative = self.lt(self.bits(x, FORMATS[dtype].integer), 0)
        found = self.select(self.both(negative, odd), self.neg(found), found)
        root = self.both(self.both(self.lt(x, 0.0), self.gt(x, -math.inf)), self.invert(whole))
        found = self.select(root, self.const(math.nan, dtype), found)
        return self.select(self.either(self.eq(y, zero), self.eq(x, one)), one, found)

    def _power(self, x: Any, y: Any) -> Any:
        """x**y for x >= 0 as exp(y log(x)) with the logarithm and the product in two floats each."""
        wide = x.dtype == "f64"
        high, low = self._log_pair(x)
        t, rest = self.times(y, high)
        inside = self.lt(self.size(t), 800.0 if wide else 150.0)
        rest = self.select(inside, self.fma(y, low, rest), self.const(0.0, x.dtype))
        t = self.clamp(t, -746.0, 710.0) if wide else self.clamp(t, -104.5, 89.0)
        return self._scaled_up(*self._reduced_sum(t, rest))

    def _log_pair(self, x: Any) -> tuple[Any, Any]:
        """log(x) for x >= 0 as the sum of two floats, by log(1 + f) = 2 artanh(s), s = f / (2 + f)."""
        ln2, two_thirds = FORMATS[x.dtype].ln2, TWO_THIRDS[x.dtype]
        k, f, _ = self.mantissa(x)
        d, d_low = self.larger_plus(self.const(2.0, x.dtype), f)
        r = self.div(1.0, d)
        s = self.mul(f, r)
        s_low = self.mul(self.fma(self.neg(s), d_low, self.fma(self.neg(s), d, f)), r)
        z, z_low = self.times(s, s)
        z_low = self.fma(self.mul(s, 2.0), s_low, z_low)
        cube, cube_low = self.times(s, z)
        cube_low = self.fma(s, z_low, self.fma(s_low, z, cube_low))
        third, third_low = self.times(cube, two_thirds[0])
        third_low = self.fma(cube, two_thirds[1], self.fma(cube_low, two_thirds[0], third_low))
        further = self.mul(self.mul(cube, z), self.mul(self.polynomial(z, LOG_PAIR[x.dtype]), 2.0))
        sum_, low = self.larger_plus(self.mul(s, 2.0), third)
        low = self.add(low, self.fma(s_low, 2.0, self.add(third_low, further)))
        whole, whole_low = self.times(k, ln2[0])
        high, rest = self.larger_plus(whole, sum_)
        high, low = self.larger_plus(high, self.add(rest, self.add(low, self.fma(k, ln2[1], whole_low))))
        return self._of_positive(x, high), low

    def _root(self, x: Any) -> Any:
        """x**0.5, which is 0 at -0.0 and infinite at -inf."""
        root = self.intrinsic("sqrt", self.add(x, 0.0))
        return self.select(self.eq(x, -math.inf), math.inf, root)
