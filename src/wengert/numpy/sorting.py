"""Sorting and what is built on it: median, quantiles, partition, search.

Elements that tie share the derivative equally, in `sort` and in everything built on it; so the median of
(1, 2, 2, 5) has the gradient (0, 1/2, 1/2, 0).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import is_traced
from ..graph.tensor import Tensor
from ..graph.types import is_inexact
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import sort as s
from ..ops.families import vocabulary
from ..ops.reduce import kept_shape, lanes_last, reduced_shape, sum_axes
from ..ops.shape import broadcast_to, canonical_axes, canonical_axis, convert, move_axis, reshape
from .convert import as_tensor_or_array
from .dispatch import implements, refuse
from .methods import attach, rebind
from .moments import mean
from .reductions import restore

__all__ = [
    "sort", "argsort", "partition", "argpartition", "searchsorted", "median", "quantile", "percentile", "nanmedian",
    "nanquantile", "nanpercentile",
]  # fmt: skip


def _flat_if_none(a: Any, axis: Any, what: str) -> tuple[Any, int]:
    x = as_tensor_or_array(a)
    if axis is None:
        return reshape(x, (x.size,)), 0
    return x, canonical_axis(axis, x.ndim, what)


@implements(np.sort)
def sort(a, axis=-1, kind=None, order=None, *, stable=None):  # type: ignore[no-untyped-def]
    """Ascending order along an axis (None: of the flattened array), NaN last, as `numpy.sort`.

    `kind` and `stable` make no difference to the values. The derivative gathers with the permutation; at ties
    each tied element gets the average over the places they hold.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.sum(np.sort(x) * np.array([1.0, 2.0, 4.0])))(np.array([3.0, 1.0, 3.0]))
    array([3., 1., 3.])
    """
    refuse("sort", order=order)
    return s.sort(*_flat_if_none(a, axis, "sort"))


@implements(np.argsort)
def argsort(a, axis=-1, kind=None, order=None, *, stable=None):  # type: ignore[no-untyped-def]
    """The stable permutation that sorts along an axis, as `numpy.argsort(..., stable=True)`; no derivative."""
    refuse("argsort", order=order)
    return s.argsort(*_flat_if_none(a, axis, "argsort"))


def _check_kth(kth: Any, extent: int) -> None:
    places = np.atleast_1d(kth)
    if np.any((places < -extent) | (places >= extent)):
        raise ValueError(f"kth(={kth}) out of bounds ({extent})")


@implements(np.partition)
def partition(a, kth, axis=-1, kind="introselect", order=None):  # type: ignore[no-untyped-def]
    """As `numpy.partition`. NumPy leaves the order beside the kth elements open; on traced values it is sorted."""
    refuse("partition", order=order)
    x, axis = _flat_if_none(a, axis, "partition")
    _check_kth(kth, x.shape[axis])
    return s.sort(x, axis)


@implements(np.argpartition)
def argpartition(a, kth, axis=-1, kind="introselect", order=None):  # type: ignore[no-untyped-def]
    """As `numpy.argpartition`; on traced values the stable permutation that sorts. No derivative."""
    refuse("argpartition", order=order)
    x, axis = _flat_if_none(a, axis, "argpartition")
    _check_kth(kth, x.shape[axis])
    return s.argsort(x, axis)


@implements(np.searchsorted)
def searchsorted(a, v, side="left", sorter=None):  # type: ignore[no-untyped-def]
    """Where `v` would be inserted into the sorted one-dimensional `a`, as `numpy.searchsorted`; no derivative.

    Raises
    ------
    ValueError : `a` has not one dimension, or `side` is neither "left" nor "right".
    """
    a, v = as_tensor_or_array(a), as_tensor_or_array(v)
    if a.ndim != 1:
        raise ShapeError(f"searchsorted in an array of shape {a.shape}", "search in a one-dimensional array")
    if side not in ("left", "right"):
        raise ValueError(f"search side must be 'left' or 'right' (got {side!r})")
    if sorter is not None:
        a = vocabulary.take_along_axis(a, as_tensor_or_array(sorter), 0)
    return s.searchsorted(a, v, side)


# Quantiles -----------------------------------------------------------------------------------------------


def _continuous(alpha: float, beta: float) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Place n q + alpha + q (1 - alpha - beta) - 1 in the sorted sample (Hyndman and Fan, Sample Quantiles in
    Statistical Packages, The American Statistician 50, 1996), linear between two elements."""
    return lambda n, q: _split(n * q + (alpha + q * (1 - alpha - beta)) - 1)


def _split(place: Any) -> tuple[Any, Any]:
    below = a_.floor(place)
    return below, place - below


def _rounded_up_unless(keep: Callable[[Any, Any], Any]) -> Callable[[Any], tuple[Any, Any]]:
    def choose(place: Any) -> tuple[Any, Any]:
        below, part = _split(place)
        return below + c.where(keep(below, part), 0.0, 1.0), 0.0

    return choose


_closest = _rounded_up_unless(lambda below, part: c.logical_and(c.equal(part, 0), c.equal(a_.remainder(below, 2), 1)))
_inverted = _rounded_up_unless(lambda below, part: c.equal(part, 0))


def _averaged(n: Any, q: Any) -> tuple[Any, Any]:
    below, part = _split(n * q - 1)
    return below, c.where(c.equal(part, 0), 0.5, 1.0)


def _midpoint(n: Any, q: Any) -> tuple[Any, Any]:
    below, part = _split((n - 1) * q)
    return below, c.where(c.equal(part, 0), 0.0, 0.5)


METHODS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "inverted_cdf": lambda n, q: _inverted(n * q - 1),
    "averaged_inverted_cdf": _averaged,
    "closest_observation": lambda n, q: _closest(n * q - 1.5),
    "interpolated_inverted_cdf": _continuous(0, 1),
    "hazen": _continuous(0.5, 0.5),
    "weibull": _continuous(0, 0),
    "linear": lambda n, q: _split((n - 1) * q),
    "median_unbiased": _continuous(1 / 3, 1 / 3),
    "normal_unbiased": _continuous(3 / 8, 3 / 8),
    "lower": lambda n, q: (a_.floor((n - 1) * q), 0.0),
    "higher": lambda n, q: (a_.ceil((n - 1) * q), 0.0),
    "midpoint": _midpoint,
    "nearest": lambda n, q: (a_.rint((n - 1) * q), 0.0),
}
"""method -> (n, q) -> the place below the quantile in the sorted sample, and the way to go to the next."""

_DISCRETE = {"inverted_cdf", "closest_observation", "lower", "higher", "nearest"}


def _lanes(a: Any, axis: Any, what: str) -> tuple[Any, tuple[Any, ...], tuple[int, ...]]:
    """The sorted lanes along the last axis, the shape, and the reduced axes."""
    x = as_tensor_or_array(a)
    axes = canonical_axes(axis, x.ndim, what)
    lanes = lanes_last(x, axes)
    return s.sort(lanes, len(lanes.shape) - 1), x.shape, axes


def _pick(lanes: Any, place: Any, last: Any) -> Any:
    """Elements of sorted lanes at places (numbers, possibly outside), broadcast against the lanes."""
    inside = a_.minimum(a_.maximum(place, 0), last)
    inside = c.where(c.isnan(inside), a_.maximum(last, 0), inside)
    shape = (*lanes.shape[:-1], inside.shape[-1])
    indices = broadcast_to(convert(inside, np.intp), shape)
    return vocabulary.take_along_axis(lanes, indices, len(shape) - 1)


def _quantiles(lanes: Any, n: Any, q: Any, method: str) -> Any:
    """Quantiles q (one axis) of sorted lanes, of which the first n elements count: the last axis follows q."""
    below, part = METHODS[method](n, q)
    first = _pick(lanes, below, n - 1)
    if method in _DISCRETE:
        return first
    second = _pick(lanes, below + 1, n - 1)
    step = second - first
    # From the nearer end, so that the result never leaves the interval.
    value = c.where(c.less(part, 0.5), first + step * part, second - step * (1 - part))
    return value if value.dtype == _quantile_dtype(lanes, q) else convert(value, _quantile_dtype(lanes, q))


def _quantile_dtype(x: Any, q: Any) -> Any:
    return np.result_type(x.dtype, q.dtype)


def _as_quantile(q: Any, x: Any, scale: float) -> Any:
    """`q` in [0, 1] as an array; a Python number takes the dtype of real `x`."""
    if isinstance(q, (int, float)):
        q = np.asarray(q, x.dtype if x.dtype.kind == "f" else np.float64)
    q = as_tensor_or_array(q)
    if scale != 1:
        q = a_.divide(q, q.dtype.type(scale) if q.dtype.kind == "f" else scale)
    q = q if is_inexact(q.dtype) else convert(q, np.float64)
    if not is_traced(q) and not np.all((np.isnan(q)) | ((np.asarray(q) >= 0) & (np.asarray(q) <= 1))):
        raise ValueError(f"Quantiles must be in the range [0, {int(scale)}]")
    return q if isinstance(q, Tensor) else np.asarray(q)


def _quantile(what: str, a: Any, q: Any, scale: float, axis: Any, method: str, keepdims: Any, nan: bool) -> Any:
    x = as_tensor_or_array(a)
    if x.dtype.kind == "c":
        raise TypeError("a must be an array of real numbers")
    if method not in METHODS:
        raise ValueError(f"{method!r} is not a valid method. Use one of: {list(METHODS)}")
    q = _as_quantile(q, x, scale)
    lanes, shape, axes = _lanes(x, axis, what)
    extent = lanes.shape[-1]
    if extent == 0:
        raise ShapeError(f"{what} over axes {axes} of shape {shape}: there is no element", "check the shape")
    n: Any = extent
    inexact = is_inexact(x.dtype)
    if nan and inexact:
        n = sum_axes(convert(c.logical_not(c.isnan(lanes)), q.dtype), (len(lanes.shape) - 1,))
        n = reshape(n, (*n.shape, 1))
    value = _quantiles(lanes, n, reshape(q, (q.size,)), method)
    if inexact and not nan:
        last = vocabulary.slice_axis(lanes, len(lanes.shape) - 1, extent - 1, extent)
        value = c.where(c.isnan(last), last, value)
    value = move_axis(value, len(value.shape) - 1, 0)
    rest = kept_shape(shape, axes) if keepdims else reduced_shape(shape, axes)
    return reshape(value, (*q.shape, *rest))


@implements(np.quantile)
def quantile(  # type: ignore[no-untyped-def]
    a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None
):
    """Quantiles over axes, as `numpy.quantile`, with all of its methods; differentiable in `a` and in `q`.

    Parameters
    ----------
    a : real array or tensor.
    q : numbers in [0, 1], of any shape, which comes first in the shape of the result. Not checked if traced.
    method : "linear" and the other 12 of NumPy.

    Raises
    ------
    ValueError : q is out of range; the method is unknown; there is no element (`ShapeError`).
    UnsupportedError : `out` or `weights` is given.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.quantile(x, 0.25))(np.array([4.0, 1.0, 2.0]))
    array([0. , 0.5, 0.5])
    """
    refuse("quantile", out=out, weights=weights)
    return _quantile("quantile", a, q, 1.0, axis, method, keepdims, False)


@implements(np.percentile)
def percentile(  # type: ignore[no-untyped-def]
    a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None
):
    """As `quantile` with q in [0, 100]: `numpy.percentile`."""
    refuse("percentile", out=out, weights=weights)
    return _quantile("percentile", a, q, 100.0, axis, method, keepdims, False)


@implements(np.nanquantile)
def nanquantile(  # type: ignore[no-untyped-def]
    a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None
):
    """As `quantile`, of the elements that are not NaN: `numpy.nanquantile`."""
    refuse("nanquantile", out=out, weights=weights)
    return _quantile("nanquantile", a, q, 1.0, axis, method, keepdims, True)


@implements(np.nanpercentile)
def nanpercentile(  # type: ignore[no-untyped-def]
    a, q, axis=None, out=None, overwrite_input=False, method="linear", keepdims=False, *, weights=None
):
    """As `percentile`, of the elements that are not NaN: `numpy.nanpercentile`."""
    refuse("nanpercentile", out=out, weights=weights)
    return _quantile("nanpercentile", a, q, 100.0, axis, method, keepdims, True)


@implements(np.median)
def median(a, axis=None, out=None, overwrite_input=False, keepdims=False):  # type: ignore[no-untyped-def]
    """Middle element, or the mean of the two in the middle, as `numpy.median`; NaN if one is NaN or there is none.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.median)(np.array([5.0, 1.0, 2.0, 2.0]))
    array([0. , 0. , 0.5, 0.5])
    """
    refuse("median", out=out)
    lanes, shape, axes = _lanes(a, axis, "median")
    n, along = lanes.shape[-1], len(lanes.shape) - 1
    middle = vocabulary.slice_axis(lanes, along, max(n - 1, 0) // 2, n // 2 + (n > 0))
    value = mean.__wrapped__(middle, along)
    if n and is_inexact(lanes.dtype):
        last = reshape(vocabulary.slice_axis(lanes, along, n - 1, n), value.shape)
        value = c.where(c.isnan(last), last, value)
    return restore(value, shape, axes, keepdims)


@implements(np.nanmedian)
def nanmedian(a, axis=None, out=None, overwrite_input=False, keepdims=False):  # type: ignore[no-untyped-def]
    """As `median`, of the elements that are not NaN: `numpy.nanmedian`."""
    refuse("nanmedian", out=out)
    x = as_tensor_or_array(a)
    if not is_inexact(x.dtype):
        return median.__wrapped__(x, axis, None, False, keepdims)
    return _quantile("nanmedian", x, 0.5, 1.0, axis, "midpoint", keepdims, True)


# Methods of tensors --------------------------------------------------------------------------------------


def _sort_in_place(self: Tensor, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> None:
    """`x.sort()`: the handle stands for the sorted values from now on."""
    rebind(self, sort.__wrapped__(self, axis, kind, order, stable=stable))


def _partition_in_place(self: Tensor, kth: Any, axis: Any = -1, kind: str = "introselect", order: Any = None) -> None:
    """`x.partition(kth)`: the handle stands for the partitioned values from now on."""
    rebind(self, partition.__wrapped__(self, kth, axis, kind, order))


attach(
    sort=_sort_in_place, argsort=argsort.__wrapped__, partition=_partition_in_place,
    argpartition=argpartition.__wrapped__, searchsorted=searchsorted.__wrapped__,
)  # fmt: skip
