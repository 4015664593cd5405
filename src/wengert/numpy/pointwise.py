"""Element by element, but more than one operation: choices, limits, rounding, comparison with tolerance, parts of
complex numbers, interpolation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph.interpreter import is_traced, type_of_value
from ..graph.tensor import Tensor
from ..graph.types import is_inexact
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import trigonometric as t
from ..ops.families import vocabulary
from ..ops.gather import gather
from ..ops.index import take_part
from ..ops.shape import convert, zeros_like
from ..ops.sort import searchsorted
from .convert import as_operand
from .creation import copy, fresh
from .dispatch import implements, refuse
from .indexing import nonzero
from .keys import settled
from .methods import attach

__all__ = [
    "where", "clip", "round", "around", "astype", "real", "imag", "angle", "isclose", "allclose", "array_equal",
    "array_equiv", "nan_to_num", "interp", "sinc", "result_type", "iscomplexobj", "isrealobj", "iscomplex", "isreal",
    "isposinf", "isneginf",
]  # fmt: skip


@implements(np.where)
def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """`x` where the condition holds, else `y`, as `numpy.where`; with the condition alone the positions where it holds.

    The branch not taken gets derivative 0, even where it is infinite or NaN.
    """
    if x is None and y is None:
        return nonzero(condition)
    return c.where(as_operand(condition), as_operand(x), as_operand(y))


@implements(np.clip)
def clip(
    a: Any,
    a_min: Any = None,
    a_max: Any = None,
    out: Any = None,
    *,
    min: Any = None,
    max: Any = None,
    dtype: Any = None,
) -> Any:
    """`a` limited to an interval whose ends may be left out (None), as `numpy.clip`. At a limit the derivative is 1."""
    refuse("clip", out=out)
    low = a_min if min is None or min is np._NoValue else min
    high = a_max if max is None or max is np._NoValue else max
    low, high = (None if v is np._NoValue or v is None else as_operand(v) for v in (low, high))
    x = as_operand(a)
    if dtype is not None:
        x = convert(x, dtype)
    if low is None and high is None:
        return copy(x)
    if is_inexact(type_of_value(x).dtype) or all(v is None or is_inexact(type_of_value(v).dtype) for v in (low, high)):
        return c.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
    x = x if low is None else a_.maximum(x, low)
    return x if high is None else a_.minimum(x, high)


@implements(np.round, np.around)
def round(a: Any, decimals: int = 0, out: Any = None) -> Any:
    """Rounded to decimals, ties to even, as `numpy.round`; derivative 0."""
    refuse("round", out=out)
    x = as_operand(a)
    if not is_inexact(type_of_value(x).dtype):
        if decimals >= 0:
            return copy(x)
        raise UnsupportedError(
            "round of integers to tens is not supported on traced values", "convert with .astype(float)"
        )
    if decimals == 0:
        return a_.rint(x)
    scale = 10.0 ** abs(decimals)
    if decimals > 0:
        return a_.divide(a_.rint(a_.multiply(x, scale)), scale)
    return a_.multiply(a_.rint(a_.divide(x, scale)), scale)


around = round


def _astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Any:
    """Another dtype; complex to real keeps the real part."""
    dtype = np.dtype(dtype)
    return fresh(x) if x.dtype == dtype else convert(x, dtype)


astype = implements(np.astype)(_astype) if hasattr(np, "astype") else _astype


@implements(np.real)
def real(val: Any) -> Any:
    """Real part."""
    x = as_operand(val)
    return a_.real(x) if type_of_value(x).dtype.kind == "c" else x


@implements(np.imag)
def imag(val: Any) -> Any:
    """Imaginary part; zeros for real numbers."""
    x = as_operand(val)
    return a_.imag(x) if type_of_value(x).dtype.kind == "c" else zeros_like(x)


@implements(np.angle)
def angle(z: Any, deg: bool = False) -> Any:
    """Argument of complex numbers, in radians or degrees."""
    result = a_.angle(as_operand(z))
    return t.rad2deg(result) if deg else result


@implements(np.isclose)
def isclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |a - b| <= atol + rtol |b|, as `numpy.isclose`."""
    x, y = as_operand(a), as_operand(b)
    with np.errstate(invalid="ignore"):
        near = c.less_equal(a_.absolute(a_.subtract(x, y)), a_.add(atol, a_.multiply(rtol, a_.absolute(y))))
    result = c.logical_or(c.logical_and(near, c.isfinite(y)), c.equal(x, y))
    return c.logical_or(result, c.logical_and(c.isnan(x), c.isnan(y))) if equal_nan else result


def _every(x: Any) -> Any:
    """Whether all elements hold: a Python boolean where it is known."""
    result = vocabulary.equal(vocabulary.sum_axes(convert(c.logical_not(x), np.intp), tuple(range(len(x.shape)))), 0)
    return result if is_traced(result) else bool(result)


@implements(np.allclose)
def allclose(a: Any, b: Any, rtol: Any = 1e-5, atol: Any = 1e-8, equal_nan: bool = False) -> Any:
    """Whether all elements are close."""
    return _every(isclose(a, b, rtol, atol, equal_nan))


@implements(np.array_equal)
def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Any:
    """Whether shapes and all elements are the same."""
    x, y = as_operand(a1), as_operand(a2)
    if type_of_value(x).shape != type_of_value(y).shape:
        return False
    same = c.equal(x, y)
    return _every(c.logical_or(same, c.logical_and(c.isnan(x), c.isnan(y))) if equal_nan else same)


@implements(np.array_equiv)
def array_equiv(a1: Any, a2: Any) -> Any:
    """Whether all elements are the same after broadcasting."""
    x, y = as_operand(a1), as_operand(a2)
    try:
        np.broadcast_shapes(type_of_value(x).shape, type_of_value(y).shape)
    except ValueError:
        return False
    return _every(c.equal(x, y))


@implements(np.nan_to_num)
def nan_to_num(x: Any, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    """NaN and infinities replaced by numbers, as `numpy.nan_to_num`; those elements get derivative 0."""
    x = as_operand(x)
    dtype = type_of_value(x).dtype
    if not is_inexact(dtype):
        return x
    if dtype.kind == "c":
        parts = [nan_to_num(part, copy, nan, posinf, neginf) for part in (a_.real(x), a_.imag(x))]
        return a_.add(parts[0], a_.multiply(1j, parts[1]))
    limits = np.finfo(dtype)
    result = c.where(c.isnan(x), nan, x)
    result = c.where(c.equal(x, np.inf), float(limits.max) if posinf is None else posinf, result)
    return c.where(c.equal(x, -np.inf), float(limits.min) if neginf is None else neginf, result)


@implements(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Piecewise linear interpolation, as `numpy.interp`; differentiable in `x`, `xp` and `fp`.

    At a node the slope is that of the interval to its right.
    """
    x, xp, fp = (settled(as_operand(v)) for v in (x, xp, fp))
    if period is not None:
        raise UnsupportedError(
            "interp(..., period=...) is not supported on traced values", "use x % period and extend xp"
        )
    last = type_of_value(xp).shape[0] - 1
    first_value, last_value = take_part(fp, (0,)), take_part(fp, (last,))
    left = first_value if left is None else as_operand(left)
    right = last_value if right is None else as_operand(right)
    if last == 0:
        middle = first_value
    else:
        at = c.clip(a_.subtract(searchsorted(xp, x, "right"), 1), 0, last - 1)
        x0, x1 = gather(xp, (0,), 0, (at,)), gather(xp, (0,), 0, (at + 1,))
        y0, y1 = gather(fp, (0,), 0, (at,)), gather(fp, (0,), 0, (at + 1,))
        middle = y0 + (y1 - y0) / (x1 - x0) * (x - x0)
    above = c.where(c.equal(x, take_part(xp, (last,))), last_value, right)
    result = c.where(c.less(x, take_part(xp, (0,))), left, c.where(c.greater(x, take_part(xp, (last,))), above, middle))
    return c.where(c.isnan(x), x, result)


_SINC = [1.0]
for _k in range(1, 10):
    _SINC.append(-_SINC[-1] * np.pi**2 / (2 * _k * (2 * _k + 1)))


@implements(np.sinc)
def sinc(x: Any) -> Any:
    """sin(pi x) / (pi x), 1 at 0; the Taylor series for |x| < 1/8, so that derivatives of any order hold at 0."""
    x = as_operand(x)
    small = c.less(a_.absolute(x), 0.125)
    near, far = c.where(small, x, 0.0), c.where(small, 1.0, x)
    power = near * near
    series: Any = _SINC[-1]
    for coefficient in reversed(_SINC[:-1]):
        series = series * power + coefficient
    return c.where(small, series, t.sin(np.pi * far) / (np.pi * far))


@implements(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> Any:
    """The dtype that operands promote to."""
    return np.result_type(*(type_of_value(v).promotes_as if v.__class__ is Tensor else v for v in arrays_and_dtypes))


@implements(np.iscomplexobj)
def iscomplexobj(x: Any) -> bool:
    """Whether the dtype is complex."""
    return type_of_value(as_operand(x)).dtype.kind == "c"


@implements(np.isrealobj)
def isrealobj(x: Any) -> bool:
    """Whether the dtype is not complex."""
    return not iscomplexobj(x)


@implements(np.iscomplex)
def iscomplex(x: Any) -> Any:
    """Whether each element has an imaginary part that is not 0."""
    return c.not_equal(imag(x), 0)


@implements(np.isreal)
def isreal(x: Any) -> Any:
    """Whether each element has imaginary part 0."""
    return c.equal(imag(x), 0)


@implements(np.isposinf)
def isposinf(x: Any, out: Any = None) -> Any:
    """Whether x is +infinity."""
    refuse("isposinf", out=out)
    return c.equal(as_operand(x), np.inf)


@implements(np.isneginf)
def isneginf(x: Any, out: Any = None) -> Any:
    """Whether x is -infinity."""
    refuse("isneginf", out=out)
    return c.equal(as_operand(x), -np.inf)


attach(
    astype=lambda self, dtype, order="K", casting="unsafe", subok=True, copy=True, device=None: _astype(self, dtype),
    copy=lambda self, order="C": fresh(self),
    __copy__=fresh,
    __deepcopy__=lambda self, memo: fresh(self),
    real=property(real.__wrapped__),
    imag=property(imag.__wrapped__),
    conj=lambda self: a_.conj(self),
    conjugate=lambda self: a_.conj(self),
    clip=clip.__wrapped__,
    round=lambda self, decimals=0, out=None: round(self, decimals, out),
    __round__=lambda self, ndigits=None: round(self, ndigits or 0),
)
