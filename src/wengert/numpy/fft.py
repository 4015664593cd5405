"""`numpy.fft` on traced values (and on plain arrays, by NumPy itself).

Everything is made of one complex transform along one axis (`wengert.ops.fourier`). In compiled programs NumPy computes
it, called from native code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.fft import fftfreq, rfftfreq

from ..errors import DtypeError, ShapeError, UnsupportedError
from ..graph.interpreter import type_of_value
from ..ops.arithmetic import conj, divide, real
from ..ops.families import vocabulary
from ..ops.fourier import fourier
from ..ops.shape import canonical_axis, concatenate, convert, pad
from .convert import as_tensor_or_array
from .dispatch import implements, refuse
from .indexing import roll

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

SWAPPED = {None: "forward", "backward": "forward", "forward": "backward", "ortho": "ortho"}


def _complex(x: Any) -> Any:
    """As complex numbers: of float16, float32 and complex64 single, of everything else double precision."""
    x = as_tensor_or_array(x)
    dtype = type_of_value(x).dtype
    return convert(x, np.result_type(dtype, np.complex64) if dtype.kind in "fc" else np.complex128)


def _points(n: Any, what: str) -> int:
    """A number of points, checked."""
    if n.__index__() < 1:
        raise ShapeError(f"{what} of {n} points", "give at least one point")
    return int(n.__index__())


def _resized(x: Any, n: int, axis: int) -> Any:
    """The first `n` elements along an axis, followed by zeros where there are fewer."""
    length = x.shape[axis]
    if n < length:
        return vocabulary.slice_axis(x, axis, 0, n)
    widths = tuple((0, n - length if k == axis else 0) for k in range(x.ndim))
    return pad(x, widths) if n > length else x


def _transform(a: Any, n: Any, axis: int, norm: Any, inverse: bool, what: str) -> Any:
    x = _complex(a)
    axis = canonical_axis(axis, x.ndim, what)
    n = _points(x.shape[axis] if n is None else n, what)
    if norm not in SWAPPED:
        raise UnsupportedError(f"{what}: norm={norm!r}", 'choose "backward", "ortho" or "forward"')
    y = fourier(_resized(x, n, axis), axis, inverse)
    if norm == "ortho":
        return divide(y, math.sqrt(n))
    return divide(y, n) if inverse == (norm != "forward") else y


@implements(np.fft.fft)
def fft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """Sum over j of a[j] exp(-2 pi i j k / n) along an axis, as `numpy.fft.fft`.

    Raises
    ------
    ShapeError : there is no point. AxisError : the axis does not exist. UnsupportedError : `norm` is unknown.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.abs(np.fft.fft(x)[1]) ** 2)(np.array([1.0, 0.0, 0.0, 0.0])).round(6) + 0.0
    array([ 2.,  0., -2.,  0.])
    """
    refuse("fft", out=out)
    return _transform(a, n, axis, norm, False, "fft")


@implements(np.fft.ifft)
def ifft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The inverse of `fft`, as `numpy.fft.ifft`."""
    refuse("ifft", out=out)
    return _transform(a, n, axis, norm, True, "ifft")


@implements(np.fft.rfft)
def rfft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The first n // 2 + 1 elements of `fft` of real numbers, as `numpy.fft.rfft`."""
    refuse("rfft", out=out)
    a = as_tensor_or_array(a)
    if type_of_value(a).dtype.kind == "c":
        raise DtypeError(f"rfft of complex numbers, {type_of_value(a)}", "use np.fft.fft, or take the real part")
    axis = canonical_axis(axis, a.ndim, "rfft")
    n = a.shape[axis] if n is None else n
    return vocabulary.slice_axis(_transform(a, n, axis, norm, False, "rfft"), axis, 0, n // 2 + 1)


@implements(np.fft.irfft)
def irfft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The `n` real numbers of which `a` is the `rfft`, by default 2 (m - 1) of m, as `numpy.fft.irfft`."""
    refuse("irfft", out=out)
    x = _complex(a)
    axis = canonical_axis(axis, x.ndim, "irfft")
    n = _points(2 * (x.shape[axis] - 1) if n is None else n, "irfft")
    half = _resized(x, n // 2 + 1, axis)
    mirrored = conj(vocabulary.flip(vocabulary.slice_axis(half, axis, 1, (n + 1) // 2), axis))
    return real(_transform(concatenate([half, mirrored], axis), n, axis, norm, True, "irfft"))


@implements(np.fft.hfft)
def hfft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The real transform of a signal whose second half is the conjugate of the first, as `numpy.fft.hfft`."""
    return irfft.__wrapped__(conj(_complex(a)), n, axis, SWAPPED.get(norm, norm), out)


@implements(np.fft.ihfft)
def ihfft(a, n=None, axis=-1, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The inverse of `hfft`, as `numpy.fft.ihfft`."""
    return conj(rfft.__wrapped__(a, n, axis, SWAPPED.get(norm, norm), out))


# Several axes ---------------------------------------------------------------------------------------------


def _lengths(a: Any, s: Any, axes: Any, what: str) -> list[tuple[int | None, int]]:
    """(number of points or None, axis) for each axis."""
    if axes is None:
        axes = range(a.ndim) if s is None else range(a.ndim - len(s), a.ndim)
    axes = [canonical_axis(axis, a.ndim, what) for axis in axes]
    counts = [None] * len(axes) if s is None else [None if n == -1 else n for n in s]
    if len(counts) != len(axes) or not axes:
        raise ShapeError(f"{what}: s={s!r} for the axes {axes}", "give one length for each axis, and at least one axis")
    return list(zip(counts, axes, strict=True))


def _over_axes(one: Any, a: Any, plan: Sequence[tuple[int | None, int]], norm: Any) -> Any:
    for n, axis in plan:
        a = one.__wrapped__(a, n, axis, norm)
    return a


@implements(np.fft.fftn)
def fftn(a, s=None, axes=None, norm=None, out=None):  # type: ignore[no-untyped-def]
    """`fft` along several axes, by default all, as `numpy.fft.fftn`."""
    refuse("fftn", out=out)
    a = as_tensor_or_array(a)
    return _over_axes(fft, a, _lengths(a, s, axes, "fftn")[::-1], norm)


@implements(np.fft.ifftn)
def ifftn(a, s=None, axes=None, norm=None, out=None):  # type: ignore[no-untyped-def]
    """`ifft` along several axes, by default all, as `numpy.fft.ifftn`."""
    refuse("ifftn", out=out)
    a = as_tensor_or_array(a)
    return _over_axes(ifft, a, _lengths(a, s, axes, "ifftn")[::-1], norm)


@implements(np.fft.rfftn)
def rfftn(a, s=None, axes=None, norm=None, out=None):  # type: ignore[no-untyped-def]
    """`rfft` along the last of several axes and `fft` along the others, as `numpy.fft.rfftn`."""
    refuse("rfftn", out=out)
    a = as_tensor_or_array(a)
    *others, last = _lengths(a, s, axes, "rfftn")
    return _over_axes(fft, _over_axes(rfft, a, [last], norm), others[::-1], norm)


@implements(np.fft.irfftn)
def irfftn(a, s=None, axes=None, norm=None, out=None):  # type: ignore[no-untyped-def]
    """The inverse of `rfftn`, as `numpy.fft.irfftn`."""
    refuse("irfftn", out=out)
    a = as_tensor_or_array(a)
    *others, last = _lengths(a, s, axes, "irfftn")
    return _over_axes(irfft, _over_axes(ifft, a, others, norm), [last], norm)


@implements(np.fft.fft2)
def fft2(a, s=None, axes=(-2, -1), norm=None, out=None):  # type: ignore[no-untyped-def]
    """`fftn` along the last two axes, as `numpy.fft.fft2`."""
    return fftn.__wrapped__(a, s, axes, norm, out)


@implements(np.fft.ifft2)
def ifft2(a, s=None, axes=(-2, -1), norm=None, out=None):  # type: ignore[no-untyped-def]
    """`ifftn` along the last two axes, as `numpy.fft.ifft2`."""
    return ifftn.__wrapped__(a, s, axes, norm, out)


@implements(np.fft.rfft2)
def rfft2(a, s=None, axes=(-2, -1), norm=None, out=None):  # type: ignore[no-untyped-def]
    """`rfftn` along the last two axes, as `numpy.fft.rfft2`."""
    return rfftn.__wrapped__(a, s, axes, norm, out)


@implements(np.fft.irfft2)
def irfft2(a, s=None, axes=(-2, -1), norm=None, out=None):  # type: ignore[no-untyped-def]
    """`irfftn` along the last two axes, as `numpy.fft.irfft2`."""
    return irfftn.__wrapped__(a, s, axes, norm, out)


def _shifted(x: Any, axes: Any, sign: int) -> Any:
    x = as_tensor_or_array(x)
    axes = range(x.ndim) if axes is None else (axes,) if isinstance(axes, int) else axes
    axes = tuple(canonical_axis(axis, x.ndim, "fftshift") for axis in axes)
    return roll(x, tuple(sign * (x.shape[axis] // 2) for axis in axes), axes)


@implements(np.fft.fftshift)
def fftshift(x, axes=None):  # type: ignore[no-untyped-def]
    """Frequency 0 moved to the middle, as `numpy.fft.fftshift`."""
    return _shifted(x, axes, 1)


@implements(np.fft.ifftshift)
def ifftshift(x, axes=None):  # type: ignore[no-untyped-def]
    """The inverse of `fftshift`, as `numpy.fft.ifftshift`."""
    return _shifted(x, axes, -1)
