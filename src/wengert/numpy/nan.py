"""Reductions that leave NaNs out."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.tensor import Tensor
from ..graph.types import is_inexact
from ..ops import compare as c
from . import cumulative as cu
from . import moments as m
from . import reductions as r
from .convert import as_tensor_or_array
from .dispatch import implements, refuse
from .reductions import given

__all__ = [
    "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nanargmax", "nanargmin", "nancumsum",
    "nancumprod",
]  # fmt: skip


def present(x: Any) -> Any:
    """Where `x` is a number; None if it cannot hold a NaN."""
    return c.logical_not(c.isnan(x)) if is_inexact(x.dtype) else None


def filled(x: Any, value: Any) -> Any:
    """`x` with its NaNs replaced."""
    return c.where(c.isnan(x), x.dtype.type(value), x) if is_inexact(x.dtype) else x


def _both(there: Any, where: Any) -> Any:
    if not r.masked(where):
        return there
    return where if there is None else c.logical_and(there, where)


@implements(np.nansum)
def nansum(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Sum of the elements that are not NaN, as `numpy.nansum`."""
    return r.sum.__wrapped__(filled(as_tensor_or_array(a), 0), axis, dtype, out, keepdims, initial, where)


@implements(np.nanprod)
def nanprod(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Product of the elements that are not NaN, as `numpy.nanprod`."""
    return r.prod.__wrapped__(filled(as_tensor_or_array(a), 1), axis, dtype, out, keepdims, initial, where)


def _extremum(
    reduction: Any, a: Any, axis: Any, out: Any, keepdims: Any, initial: Any, where: Any, neutral: Any
) -> Any:
    x = as_tensor_or_array(a)
    result = reduction(filled(x, neutral), axis, out, keepdims, initial, where)
    there = _both(present(x), where)
    if there is None or given(initial):
        return result
    return c.where(r.any.__wrapped__(there, axis, keepdims=keepdims), result, result.dtype.type(np.nan))


@implements(np.nanmax)
def nanmax(a, axis=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Largest element that is not NaN, as `numpy.nanmax`; NaN (without a warning) if all are. Ties share equally."""
    return _extremum(r.max.__wrapped__, a, axis, out, keepdims, initial, where, -np.inf)


@implements(np.nanmin)
def nanmin(a, axis=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Smallest element that is not NaN, as `numpy.nanmin`; NaN (without a warning) if all are. Ties share equally."""
    return _extremum(r.min.__wrapped__, a, axis, out, keepdims, initial, where, np.inf)


@implements(np.nanmean)
def nanmean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=None):  # type: ignore[no-untyped-def]
    """Mean of the elements that are not NaN, as `numpy.nanmean`."""
    x = as_tensor_or_array(a)
    return m.mean.__wrapped__(x, axis, dtype, out, keepdims, where=_both(present(x), where))


@implements(np.nanvar)
def nanvar(  # type: ignore[no-untyped-def]
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None
):
    """Variance of the elements that are not NaN, as `numpy.nanvar`."""
    x = as_tensor_or_array(a)
    there = _both(present(x), where)
    return m.var.__wrapped__(x, axis, dtype, out, ddof, keepdims, where=there, mean=mean, correction=correction)


@implements(np.nanstd)
def nanstd(  # type: ignore[no-untyped-def]
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None
):
    """Standard deviation of the elements that are not NaN, as `numpy.nanstd`."""
    x = as_tensor_or_array(a)
    there = _both(present(x), where)
    return m.std.__wrapped__(x, axis, dtype, out, ddof, keepdims, where=there, mean=mean, correction=correction)


def _position(position: Any, a: Any, axis: Any, out: Any, keepdims: Any, neutral: Any) -> Any:
    x = as_tensor_or_array(a)
    there = present(x)
    if there is not None and x.size:
        some = r.any.__wrapped__(there, axis)
        if not isinstance(some, Tensor) and not np.all(some):
            raise ValueError("All-NaN slice encountered")
    return position(filled(x, neutral), axis, out, keepdims=keepdims)


@implements(np.nanargmax)
def nanargmax(a, axis=None, out=None, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Position of the largest element that is not NaN, as `numpy.nanargmax`; 0 where all are NaN in a static trace."""
    return _position(r.argmax.__wrapped__, a, axis, out, keepdims, -np.inf)


@implements(np.nanargmin)
def nanargmin(a, axis=None, out=None, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Position of the smallest element that is not NaN, as `numpy.nanargmin`; 0 where all are NaN in a static trace."""
    return _position(r.argmin.__wrapped__, a, axis, out, keepdims, np.inf)


@implements(np.nancumsum)
def nancumsum(a, axis=None, dtype=None, out=None):  # type: ignore[no-untyped-def]
    """Running sum that leaves NaNs out, as `numpy.nancumsum`."""
    refuse("nancumsum", out=out)
    return cu.cumsum.__wrapped__(filled(as_tensor_or_array(a), 0), axis, dtype)


@implements(np.nancumprod)
def nancumprod(a, axis=None, dtype=None, out=None):  # type: ignore[no-untyped-def]
    """Running product that leaves NaNs out, as `numpy.nancumprod`."""
    refuse("nancumprod", out=out)
    return cu.cumprod.__wrapped__(filled(as_tensor_or_array(a), 1), axis, dtype)
