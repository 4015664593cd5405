"""What the mathematical functions are made of: constants of the formats of floats, polynomials, powers of two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import Decimal, getcontext
from typing import Any, NamedTuple

import numpy as np

from .loops import Builder

getcontext().prec = 120
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798")
LN2 = Decimal(2).ln()
LN10 = Decimal(10).ln()


def parts(number: Decimal, dtype: str, count: int) -> tuple[float, ...]:
    """A number as a sum of floats, each the rounding of what the ones before leave over."""
    found = []
    for _ in range(count):
        found.append(float(number) if dtype == "f64" else float(np.float32(float(number))))
        number -= Decimal(found[-1])
    return tuple(found)


class Format(NamedTuple):
    """Facts about a format of floats."""

    integer: str
    unsigned: str
    mantissa: int
    """Bits after the point."""
    bias: int
    """Of the exponent."""
    magic: float
    """Added to a number of less than half its size, it leaves the nearest integer in the low bits."""
    least: float
    """The smallest normal number."""
    lift: int
    """Doublings that make every subnormal number normal; a multiple of three."""
    ln2: tuple[float, ...]
    ln10_of_e: tuple[float, ...]
    """log10(e) in two parts."""
    log10_of_2: tuple[float, ...]
    """In two parts, the first short enough that its product with an exponent is exact."""
    log2_of_e: tuple[float, ...]
    half_pi: tuple[float, ...]


def _format(dtype: str, mantissa: int, bias: int, lift: int) -> Format:
    short = Decimal(int(LN2 / LN10 * 2 ** (mantissa - 10))) / 2 ** (mantissa - 10)
    return Format(
        "i" + dtype[1:], "u" + dtype[1:], mantissa, bias, 1.5 * 2.0**mantissa, 2.0 ** (1 - bias), lift,
        parts(LN2, dtype, 2), parts(1 / LN10, dtype, 2), (float(short), *parts(LN2 / LN10 - short, dtype, 1)),
        parts(1 / LN2, dtype, 2), parts(PI / 2, dtype, 3),
    )  # fmt: skip


FORMATS = {"f64": _format("f64", 52, 1023, 54), "f32": _format("f32", 23, 127, 24)}


class Basic(Builder):
    """The builder with what the functions share. All of it is free of branches, so that LLVM can vectorise."""

    def fma(self, x: Any, y: Any, z: Any) -> Any:
        """x y + z with one rounding."""
        return self.intrinsic("fma", x, y, z)

    def size(self, x: Any) -> Any:
        return self.intrinsic("fabs", x)

    def polynomial(self, x: Any, coefficients: Sequence[float], plain: int = 2) -> Any:
        """Coefficients from the constant upward.

        After the first `plain` ones the even and the odd are summed at the same time, so that less waits for what comes
        before it. That loses digits where the two sums nearly cancel.
        """
        if len(coefficients) < plain + 4:
            return self._horner(x, coefficients)
        square = self.mul(x, x)
        even, odd = (self._horner(square, coefficients[plain + k :: 2]) for k in (0, 1))
        return self._horner(x, (*coefficients[:plain], self.fma(x, odd, even)))

    def _horner(self, x: Any, coefficients: Sequence[Any]) -> Any:
        total: Any = self.lift(coefficients[-1], x.dtype)
        for c in reversed(coefficients[:-1]):
            total = self.fma(total, x, c)
        return total

    def wide(self, name: str, *operands: Any) -> Any:
        """A function of float32 by way of float64."""
        return self.convert(getattr(self, name)(*(self.convert(x, "f64") for x in operands)), "f32")

    def clamp(self, x: Any, low: float, high: float) -> Any:
        """Within limits; NaN stays."""
        x = self.select(self.lt(x, low), low, x)
        return self.select(self.gt(x, high), high, x)

    def plus(self, x: Any, y: Any) -> tuple[Any, Any]:
        """x + y and its rounding error (Knuth)."""
        total = self.add(x, y)
        other = self.sub(total, x)
        return total, self.add(self.sub(x, self.sub(total, other)), self.sub(y, other))

    def larger_plus(self, x: Any, y: Any) -> tuple[Any, Any]:
        """The same for |x| >= |y| (Dekker)."""
        total = self.add(x, y)
        return total, self.sub(y, self.sub(total, x))

    def times(self, x: Any, y: Any) -> tuple[Any, Any]:
        """x y and its rounding error."""
        product = self.mul(x, y)
        return product, self.fma(x, y, self.neg(product))

    def quotient_of(self, x: Any, y: Any, low: Any) -> Any:
        """x / (y + low), where `low` is what rounding took from y."""
        inverse = self.div(1.0, y)
        q = self.mul(x, inverse)
        return self.fma(self.fma(self.neg(q), low, self.fma(self.neg(q), y, x)), inverse, q)

    def nearest(self, x: Any, factor: float, shift: int = 0) -> tuple[Any, Any]:
        """The integer nearest to `factor` x, and an integer register that ends with the bits of that + `shift`."""
        f = FORMATS[x.dtype]
        shifted = self.fma(x, factor, f.magic + shift)
        return self.sub(shifted, f.magic + shift), self.bits(shifted, f.unsigned)

    def two_to(self, exponent: Any, dtype: str) -> Any:
        """2**n for normal results; the register `exponent` ends with the bits of n + bias."""
        return self.bits(self.shift_left(exponent, FORMATS[dtype].mantissa), dtype)

    def scaled(self, x: Any, exponent: Any) -> Any:
        """x 2**n with one rounding; `exponent` ends with the bits of n + 2 bias. 2**n need not be a float itself."""
        half = self.shift_right(exponent, 1)
        return self.mul(self.mul(x, self.two_to(half, x.dtype)), self.two_to(self.sub(exponent, half), x.dtype))

    def mantissa(self, x: Any, subnormal: bool = True) -> tuple[Any, Any, Any]:
        """(k, m - 1, low bits of k + bias + 1) with x = 2**k m and sqrt(1/2) <= m < sqrt(2), for 0 < x < infinity."""
        f = FORMATS[x.dtype]
        root = _bits_of(math.sqrt(0.5), x.dtype)
        offset: Any = float(f.bias + 1)
        if subnormal:
            tiny = self.lt(x, f.least)
            x = self.select(tiny, self.mul(x, 2.0**f.lift), x)
            offset = self.select(tiny, self.const(offset + f.lift, x.dtype), offset)
        moved = self.sub(self.bits(x, f.unsigned), root - ((f.bias + 1) << f.mantissa))
        raw = self.shift_right(moved, f.mantissa)
        m = self.bits(self.add(self.both(moved, (1 << f.mantissa) - 1), root), x.dtype)
        return self.small_number(raw, x.dtype, offset), self.sub(m, 1.0), raw

    def small_number(self, n: Any, dtype: str, less: Any = 0.0) -> Any:
        """The float n - `less` for a small integer n >= 0, by way of a float with n in the end of its mantissa."""
        magic = 2.0 ** FORMATS[dtype].mantissa
        number = self.bits(self.either(n, _bits_of(magic, dtype)), dtype)
        if isinstance(less, float):
            return self.sub(number, magic + less)
        return self.sub(self.sub(number, magic), less)


def _bits_of(number: float, dtype: str) -> int:
    kind = (np.float64, np.uint64) if dtype == "f64" else (np.float32, np.uint32)
    return int(kind[0](number).view(kind[1]))
