"""Means, variances, weighted means and vector norms, all made of sums.

`std` and `vector_norm` have derivative 0 at 0.
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..graph.interpreter import bind
from ..graph.nodes import Var
from ..graph.tensor import Tensor
from ..graph.types import Dim, is_inexact
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import reduce as r
from ..ops.shape import broadcast_to, canonical_axes, convert, reshape, transpose, zeros_like
from .convert import as_operand, as_tensor_or_array
from .dispatch import implements, refuse
from .methods import attach
from .reductions import given, instance, masked, restore
from .reductions import max as max_of
from .reductions import min as min_of
from .reductions import sum as sum_of

__all__ = ["mean", "average", "var", "std"]

_sum, _max, _min = sum_of.__wrapped__, max_of.__wrapped__, min_of.__wrapped__


def count_of(x: Any, axes: tuple[int, ...], where: Any = None, shape: Any = None) -> Any:
    """Number of elements in a lane; a traced number if a length is known only when the program runs."""
    shape = x.shape if shape is None else shape
    if masked(where):
        return r.sum_axes(broadcast_to(as_tensor_or_array(where), shape), axes)
    extents = [shape[k] for k in axes]
    for extent in extents:
        if isinstance(extent, Dim):
            return r.sum_axes(zeros_like(x) + 1, axes)
    return math.prod(extents)


_PLAIN = {np.dtype(name) for name in ("float32", "float64", "complex64", "complex128")}


def _moment_dtypes(dtype: Any, asked: Any) -> tuple[Any, Any]:
    """The dtype to compute a mean in and the dtype of the result."""
    if given(asked):
        return np.dtype(asked), np.dtype(asked)
    if not is_inexact(dtype):
        return np.dtype(np.float64), np.dtype(np.float64)
    return (np.dtype(np.float32), dtype) if dtype == np.float16 else (dtype, dtype)


@implements(np.mean)
def mean(a, axis=None, dtype=None, out=None, keepdims=False, *, where=None):  # type: ignore[no-untyped-def]
    """Arithmetic mean over axes, as `numpy.mean`: NaN for no elements; integers in float64, float16 in float32.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.mean)(np.array([1.0, 2.0]))
    array([0.5, 0.5])
    """
    plain = not keepdims and dtype is None and out is None and where is None
    if plain and a.__class__ is Tensor and a.note.__class__ is Var:
        kind, total = a.note, instance(r.Sum, a, axis)
        if kind.dtype in _PLAIN:
            return a_.divide(bind(total, a), count_of(a, total.axes, None, kind.shape))
    x = a if a.__class__ is Tensor else as_tensor_or_array(a)
    if out is not None:
        refuse("mean", out=out)
    shape, own = x.shape, x.dtype
    working, result = _moment_dtypes(own, dtype)
    if working != own:
        x = convert(x, working)
    axes = canonical_axes(axis, len(shape), "mean")
    count = count_of(x, axes, where)
    if masked(where):
        x = c.where(as_operand(where), x, working.type(0))
    total = bind(r.Sum.of(axes), x)
    if keepdims:
        total, count = restore(total, shape, axes, keepdims), restore(count, shape, axes, masked(where) and keepdims)
    ratio = a_.divide(total, count)
    return ratio if result == working and ratio.dtype == working else convert(ratio, result)


@implements(np.var)
def var(  # type: ignore[no-untyped-def]
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None
):
    """Variance over axes, as `numpy.var`: mean of |x - mean(x)|**2, real for complex numbers.

    Parameters
    ----------
    ddof, correction : the sum of squares is divided by (number of elements - ddof).
    mean : the mean if it is known already, with the reduced axes as 1.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.var(x, ddof=1))(np.array([1.0, 2.0, 6.0]))
    array([-2., -1.,  3.])
    """
    refuse("var", out=out)
    x = as_tensor_or_array(a)
    if given(correction):
        if ddof != 0:
            raise ValueError("ddof and correction can't be provided simultaneously.")
        ddof = correction
    working, result = _moment_dtypes(x.dtype, dtype)
    x = convert(x, working) if working != x.dtype else x
    shape = x.shape
    axes = canonical_axes(axis, len(shape), "var")
    spread = len(axes) < len(shape)  # one mean for everything needs no axes to broadcast
    centre = as_operand(mean) if given(mean) else _mean(x, axes, None, None, spread, where=where)
    offset = a_.subtract(x, centre)
    if working.kind == "c":
        squares = a_.add(a_.square(a_.real(offset)), a_.square(a_.imag(offset)))
        result = np.empty(0, result).real.dtype
    else:
        squares = a_.square(offset)
    if masked(where):
        squares = c.where(as_operand(where), squares, squares.dtype.type(0))
    count = count_of(x, axes, where)
    freedom = a_.maximum(count - ddof, 0) if not isinstance(count, int) else builtins.max(count - ddof, 0)
    value = a_.divide(bind(r.Sum.of(axes), squares), freedom)
    value = value if value.dtype == result else convert(value, result)
    return restore(value, shape, axes, keepdims)


_mean, _var = mean.__wrapped__, var.__wrapped__


@implements(np.std)
def std(  # type: ignore[no-untyped-def]
    a, axis=None, dtype=None, out=None, ddof=0, keepdims=False, *, where=None, mean=None, correction=None
):
    """Standard deviation over axes, as `numpy.std`; options as for `var`. Its derivative at 0 is 0."""
    return a_.sqrt(_var(a, axis, dtype, out, ddof, keepdims, where=where, mean=mean, correction=correction))


@implements(np.average)
def average(a, axis=None, weights=None, returned=False, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Weighted mean over axes, as `numpy.average`.

    Parameters
    ----------
    weights : of the shape of `a`, or of the shape of its reduced axes. None for equal weights.
    returned : return (average, sum of weights).

    Raises
    ------
    ZeroDivisionError : the weights are numbers (not traced) and add up to 0.
    """
    x = as_tensor_or_array(a)
    axes = canonical_axes(axis, len(x.shape), "average")
    if not given(weights):
        result = _mean(x, axes, keepdims=keepdims)
        total = np.asarray(count_of(x, axes), result.dtype)
    else:
        w = as_tensor_or_array(weights)
        dtype = np.result_type(x.dtype, w.dtype, *(() if is_inexact(x.dtype) else (np.float64,)))
        if w.shape != x.shape:
            ordered = tuple(k % x.ndim for k in axis) if isinstance(axis, (tuple, list)) else axes
            w = _along(w, x.shape, ordered)
        total = _sum(w, axes, dtype, keepdims=keepdims)
        if not isinstance(total, Tensor) and not np.all(total):
            raise ZeroDivisionError("Weights sum to zero, can't be normalized")
        result = a_.divide(_sum(a_.multiply(convert(x, dtype), w), axes, dtype, keepdims=keepdims), total)
    if not returned:
        return result
    return result, broadcast_to(total if isinstance(total, Tensor) else np.asarray(total), result.shape)


def _along(w: Any, shape: tuple[Any, ...], axes: tuple[int, ...]) -> Any:
    """Weights for the reduced axes in the order given, as an array that broadcasts against the whole."""
    if w.shape != tuple(shape[k] for k in axes):
        raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
    w = transpose(w, tuple(int(k) for k in np.argsort(axes)))
    return reshape(w, tuple(n if k in axes else 1 for k, n in enumerate(shape)))


@implements(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):  # type: ignore[no-untyped-def]
    """Norm of vectors along axes, as `numpy.linalg.vector_norm`: sum(|x|**ord)**(1/ord), with derivative 0 at 0.

    Parameters
    ----------
    ord : any number; inf and -inf are the largest and smallest |x|, 0 counts the elements that are not zero.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.grad(np.linalg.vector_norm)(np.array([3.0, 4.0])), wg.grad(np.linalg.vector_norm)(np.zeros(2))
    (array([0.6, 0.8]), array([0., 0.]))
    """
    x = as_tensor_or_array(x)
    x = x if is_inexact(x.dtype) else convert(x, np.float64)
    if ord == 2:
        squares = a_.square(x) if x.dtype.kind != "c" else a_.add(a_.square(a_.real(x)), a_.square(a_.imag(x)))
        return a_.sqrt(_sum(squares, axis, keepdims=keepdims))
    if ord == 0:
        return convert(_sum(c.not_equal(x, 0), axis, keepdims=keepdims), np.empty(0, x.dtype).real.dtype)
    size = a_.absolute(x)
    if ord == np.inf:
        return _max(size, axis, None, keepdims)
    if ord == -np.inf:
        return _min(size, axis, None, keepdims)
    if ord == 1:
        return _sum(size, axis, keepdims=keepdims)
    return a_.power(_sum(a_.power(size, ord), axis, keepdims=keepdims), 1.0 / ord)


attach(mean=_mean, var=_var, std=std.__wrapped__)
