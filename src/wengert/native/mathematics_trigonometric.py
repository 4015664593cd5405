"""Trigonometric functions, their inverses, and artanh.

x = q pi/2 + r with pi/2 in three parts, of which the first product is subtracted exactly by the fused multiply-add
(Cody and Waite, *Software Manual for the Elementary Functions*, 1980). That holds up to a limit; beyond it the C
library, which has all digits of pi that the largest arguments need, is called for the few lanes that ask for it.
"""

from __future__ import annotations

import math
from typing import Any

from .mathematics_basic import FORMATS, Basic
from .mathematics_coefficients import ASIN, ATAN, ATANH, COS, SIN, TAN

LIMIT = {"f64": 2.0**40, "f32": 2.0**17}
"""Up to where q and r are found with three parts of pi/2."""


class Trigonometric(Basic):
    """Part of `Scalars`. Every function takes and returns registers of one format of floats."""

    def rescue(self, name: str, x: Any, fast: Any) -> Any:
        """`fast`, but the C library's function of x where |x| is above `LIMIT`; see `mathematics_rescue`."""
        return self.value("rescue", (name, x, fast), x.dtype)

    def _turned(self, x: Any) -> tuple[Any, Any, Any]:
        """r and a small correction of it with x = q pi/2 + r + low, |r| <= pi/4; q's bits at the end of a register."""
        half_pi = FORMATS[x.dtype].half_pi
        q, turns = self.nearest(x, 2 / math.pi)
        q = self.neg(q)
        first = self.fma(q, half_pi[0], x)  # exact
        r = self.fma(q, half_pi[1], first)
        return r, self.mul(q, half_pi[2]), turns

    def _wave(self, name: str, x: Any, ahead: int) -> Any:
        """sin(x + ahead pi/2)."""
        dtype = x.dtype
        form = FORMATS[dtype]
        r, low, turns = self._turned(x)
        z = self.mul(r, r)
        sine = self.add(r, self.fma(self.mul(r, z), self.polynomial(z, SIN[dtype]), low))
        cosine = self.fma(z, self.fma(z, self.polynomial(z, COS[dtype]), -0.5), 1.0)
        turns = self.add(turns, self.const(ahead, form.unsigned)) if ahead else turns
        odd = self.ne(self.both(turns, 1), 0)
        found = self.bits(self.select(odd, cosine, sine), form.unsigned)
        sign = self.both(self.shift_left(turns, int(dtype[1:]) - 2), _sign_bit(dtype))
        found = self.bits(self.differ(found, sign), dtype)
        if not ahead:
            found = self.select(self.eq(x, 0.0), x, found)  # -0.0
        return self.rescue(name, x, found)

    def sin(self, x: Any) -> Any:
        return self._wave("sin", x, 0)

    def cos(self, x: Any) -> Any:
        return self._wave("cos", x, 1)

    def tan(self, x: Any) -> Any:
        """Between odd multiples of pi/4 around odd multiples of pi/2 it is -1 / tan(r)."""
        dtype = x.dtype
        half_pi = FORMATS[dtype].half_pi
        q, turns = self.nearest(x, 2 / math.pi)
        q = self.neg(q)
        second, second_low = self.times(q, half_pi[1])
        r, low = self.larger_plus(self.fma(q, half_pi[0], x), second)
        low = self.fma(q, half_pi[2], self.add(low, second_low))
        z = self.mul(r, r)
        rest = self.fma(self.mul(r, z), self.polynomial(z, TAN[dtype]), self.fma(low, z, low))
        even, left = self.larger_plus(r, rest)
        inverse = self.div(-1.0, even)
        odd = self.fma(inverse, self.fma(inverse, left, self.fma(inverse, even, 1.0)), inverse)
        found = self.select(self.ne(self.both(turns, 1), 0), odd, even)
        return self.rescue("tan", x, self.select(self.eq(x, 0.0), x, found))

    # Inverses -------------------------------------------------------------------------------------------

    def _arc(self, x: Any) -> tuple[Any, Any, Any]:
        """Whether |x| <= 1/2, then (s, P) with arcsin(s) = s + P: s = |x|, else s = sqrt((1 - |x|) / 2)."""
        a = self.size(x)
        near = self.le(a, 0.5)
        half = self.mul(self.sub(1.0, a), 0.5)
        z = self.select(near, self.mul(a, a), half)
        s = self.select(near, a, self.intrinsic("sqrt", half))
        return near, s, self.mul(self.mul(s, z), self.polynomial(z, ASIN[x.dtype]))

    def arcsin(self, x: Any) -> Any:
        """arcsin(x) = pi/2 - 2 arcsin(sqrt((1 - x) / 2)) for x > 1/2."""
        half_pi = FORMATS[x.dtype].half_pi
        near, s, rest = self._arc(x)
        first, lost = self.larger_plus(self.const(half_pi[0], x.dtype), self.mul(s, -2.0))
        far = self.sub(first, self.fma(rest, 2.0, self.sub(-half_pi[1], lost)))
        return self.intrinsic("copysign", self.select(near, self.add(s, rest), far), x)

    def arccos(self, x: Any) -> Any:
        half_pi = FORMATS[x.dtype].half_pi
        near, s, rest = self._arc(x)
        positive = self.gt(x, 0.0)
        inner = self.sub(half_pi[0], self.sub(x, self.sub(half_pi[1], self.intrinsic("copysign", rest, x))))
        small = self.mul(self.add(s, rest), 2.0)
        far = self.select(positive, small, self.sub(2 * half_pi[0], self.sub(small, 2 * half_pi[1])))
        return self.select(near, inner, far)

    def _arctan(self, t: Any) -> Any:
        """arctan(t) - t for 0 <= t <= 1."""
        z = self.mul(t, t)
        return self.mul(self.mul(t, z), self.polynomial(z, ATAN[t.dtype]))

    def arctan(self, x: Any) -> Any:
        """arctan(x) = pi/2 - arctan(1 / x) for x > 1."""
        half_pi = FORMATS[x.dtype].half_pi
        a = self.size(x)
        far = self.gt(a, 1.0)
        t = self.select(far, self.div(1.0, a), a)
        rest = self._arctan(t)
        found = self.select(far, self.sub(half_pi[0], self.sub(t, self.sub(half_pi[1], rest))), self.add(t, rest))
        return self.intrinsic("copysign", found, x)

    def arctan2(self, y: Any, x: Any) -> Any:
        """The angle of (x, y), signed zeros and infinities included."""
        form = FORMATS[y.dtype]
        half_pi = form.half_pi
        high, wide = self.size(y), self.size(x)
        steep = self.gt(high, wide)
        low, large = self.select(steep, wide, high), self.select(steep, high, wide)
        zero, one = self.const(0.0, y.dtype), self.const(1.0, y.dtype)
        same = self.select(self.eq(large, 0.0), zero, one)  # also for two infinities
        t = self.select(self.eq(low, large), same, self.div(low, large))
        rest = self._arctan(t)
        behind = self.lt(self.bits(x, form.integer), 0)
        # A right angle less t where steep, which turns round behind: 0 + t, pi/2 - t, pi - t, pi/2 + t.
        minus = self.differ(steep, behind)
        t = self.select(minus, self.neg(t), t)
        rest = self.select(minus, self.neg(rest), rest)
        right = self.select(steep, self.const(half_pi[0], y.dtype), self.select(behind, 2 * half_pi[0], zero))
        little = self.select(steep, self.const(half_pi[1], y.dtype), self.select(behind, 2 * half_pi[1], zero))
        return self.intrinsic("copysign", self.add(right, self.add(t, self.add(rest, little))), y)

    def arctanh(self, x: Any) -> Any:
        """log((1 + x) / (1 - x)) / 2 = k log(2) / 2 + artanh(s), where s is exactly x for small x."""
        form = FORMATS[x.dtype]
        a = self.size(x)
        one = self.const(1.0, x.dtype)
        (n, n_low), (d, d_low) = self.larger_plus(one, a), self.larger_plus(one, self.neg(a))
        ratio = self.sub(self.bits(n, form.unsigned), self.bits(d, form.unsigned))
        # Near log2 of the quotient, and 0 up to where a term log(2) / 2 does not cancel much of artanh(s).
        k = self.shift_right(self.add(ratio, 1 << (form.mantissa - 2)), form.mantissa)
        scale = self.neg(self.two_to(self.add(k, form.bias), x.dtype))
        number = self.small_number(k, x.dtype)
        above = self.add(self.fma(scale, d, n), self.fma(scale, d_low, n_low))
        s = self.div(above, self.fma(self.neg(scale), d, n))
        z = self.mul(s, s)
        rest = self.fma(self.mul(s, z), self.polynomial(z, ATANH[x.dtype]), self.mul(number, 0.5 * form.ln2[1]))
        found = self.fma(number, 0.5 * form.ln2[0], self.add(s, rest))
        edge = self.select(self.eq(a, 1.0), self.const(math.inf, x.dtype), self.const(math.nan, x.dtype))
        return self.intrinsic("copysign", self.select(self.lt(a, 1.0), found, edge), x)


def _sign_bit(dtype: str) -> int:
    return 1 << (int(dtype[1:]) - 1)
