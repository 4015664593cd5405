"""Reductions of NumPy: sums, products, extrema, moments, norms, and the `reduce` methods of its ufuncs.

Where several elements tie for an extremum they share its derivative equally. `std` and `vector_norm` have
derivative 0 at 0. `logsumexp` has the name and the arguments of SciPy's (`scipy.special.logsumexp`).
"""

from __future__ import annotations

import builtins
import math
from typing import Any

import numpy as np

from ..graph.interpreter import bind, type_of_value
from ..graph.nodes import Var
from ..graph.tensor import Tensor
from ..graph.types import Dim, is_inexact
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import reduce as r
from ..ops.exponential import exp, log
from ..ops.shape import broadcast_to, canonical_axes, canonical_axis, convert, reshape, transpose, zeros_like
from . import elementwise as e
from .convert import as_operand, as_tensor_or_array
from .dispatch import implements, refuse, table
from .methods import attach

__all__ = [
    "sum", "prod", "max", "amax", "min", "amin", "any", "all", "argmax", "argmin", "mean", "average", "var", "std", "ptp",
    "count_nonzero", "logsumexp",
]  # fmt: skip


def given(value: Any) -> bool:
    """Whether an option was given: NumPy marks those left out by None or by a value of its own."""
    return value is not None and value is not np._NoValue


def masked(where: Any) -> bool:
    """Whether `where=` leaves anything out."""
    return given(where) and where is not True


def restore(result: Any, shape: tuple[Any, ...], axes: tuple[int, ...], keepdims: Any) -> Any:
    """The reduced axes put back with length 1 if `keepdims` is set."""
    return reshape(result, r.kept_shape(shape, axes)) if keepdims is True or (given(keepdims) and keepdims) else result


_instances: dict[Any, Any] = {}


def instance(primitive: Any, x: Tensor, axis: Any) -> Any:
    """The reduction of a tensor over `axis` as NumPy takes it, found in a table in most calls."""
    note = x.note
    ndim = len(note.shape) if note.__class__ is Var else x.ndim
    key = (primitive, ndim, tuple(axis) if axis.__class__ is list else axis)
    found = _instances.get(key)
    if found is None:
        found = _instances[key] = primitive.of(canonical_axes(axis, ndim, primitive.name))
    return found


def fold(
    what: str, primitive: Any, a: Any, axis: Any, dtype: Any, out: Any, keepdims: Any, initial: Any, where: Any,
    identity: Any, combine: Any,
) -> Any:  # fmt: skip
    """A reduction with NumPy's options. `identity(dtype)` fills what `where` leaves out; `combine` joins `initial`."""
    if a.__class__ is Tensor and not keepdims and dtype is None and out is None and initial is None and where is None:
        return bind(instance(primitive, a, axis), a)
    x = a if a.__class__ is Tensor else as_tensor_or_array(a)
    if out is not None:
        refuse(what, out=out)
    if dtype is not None:
        x = convert(x, dtype)
    if masked(where):
        x = c.where(as_operand(where), x, identity(x.dtype))
    shape = x.shape
    axes = canonical_axes(axis, len(shape), what)
    if given(initial) and 0 in [shape[k] for k in axes]:
        start = as_tensor_or_array(initial)
        result = broadcast_to(convert(start, x.dtype), r.reduced_shape(shape, axes))
    else:
        result = bind(primitive.of(axes), x)
        if given(initial):
            result = combine(result, as_operand(initial))
    return restore(result, shape, axes, keepdims)


def zero(dtype: np.dtype[Any]) -> Any:
    """What `sum` and `any` ignore."""
    return dtype.type(0)


def one(dtype: np.dtype[Any]) -> Any:
    """What `prod` and `all` ignore."""
    return dtype.type(1)


def lowest(dtype: np.dtype[Any]) -> Any:
    """What `max` ignores: -inf or the smallest integer."""
    if is_inexact(dtype):
        return dtype.type(-np.inf)
    return dtype.type(False) if dtype.kind == "b" else np.iinfo(dtype).min


def highest(dtype: np.dtype[Any]) -> Any:
    """What `min` ignores: inf or the largest integer."""
    if is_inexact(dtype):
        return dtype.type(np.inf)
    return dtype.type(True) if dtype.kind == "b" else np.iinfo(dtype).max


def count_of(x: Any, axes: tuple[int, ...], where: Any = None) -> Any:
    """Number of elements in a lane; a traced number if a length is known only when the program runs."""
    shape = x.shape
    if masked(where):
        return r.sum_axes(broadcast_to(as_tensor_or_array(where), shape), axes)
    extents = [shape[k] for k in axes]
    for extent in extents:
        if isinstance(extent, Dim):
            return r.sum_axes(zeros_like(x) + 1, axes)
    return math.prod(extents)


@implements(np.sum)
def sum(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Sum over axes, as `numpy.sum`.

    Parameters
    ----------
    a : array or tensor of any shape; integers and booleans are added in at least 64 bits.
    axis : None for all, an integer, or a tuple of integers.
    keepdims : keep the reduced axes with length 1.
    initial, where : a value to start from, and which elements to take.

    Raises
    ------
    AxisError : an axis that does not exist.
    UnsupportedError : `out` is given.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.sum(x * x))(np.array([1.0, 2.0]))
    array([2., 4.])
    """
    return fold("sum", r.Sum, a, axis, dtype, out, keepdims, initial, where, zero, a_.add)


@implements(np.prod)
def prod(a, axis=None, dtype=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Product over axes, as `numpy.prod`; options as for `sum`. Derivatives of any order are right with zeros.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.prod)(np.array([2.0, 0.0, 5.0]))
    array([ 0., 10.,  0.])
    """
    return fold("prod", r.Prod, a, axis, dtype, out, keepdims, initial, where, one, a_.multiply)


@implements(np.max, np.amax)
def max(a, axis=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Largest element over axes, as `numpy.max`; NaN if one is NaN. Elements that tie share the derivative.

    Raises
    ------
    ShapeError : there is no element, and no `initial`.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.max)(np.array([1.0, 3.0, 3.0]))
    array([0. , 0.5, 0.5])
    """
    return fold("max", r.Max, a, axis, None, out, keepdims, initial, _with_initial(where, initial), lowest, a_.maximum)


@implements(np.min, np.amin)
def min(a, axis=None, out=None, keepdims=False, initial=None, where=None):  # type: ignore[no-untyped-def]
    """Smallest element over axes, as `numpy.min`; NaN if one is NaN. Elements that tie share the derivative.

    Raises
    ------
    ShapeError : there is no element, and no `initial`.
    """
    return fold("min", r.Min, a, axis, None, out, keepdims, initial, _with_initial(where, initial), highest, a_.minimum)


amax, amin = max, min


def _with_initial(where: Any, initial: Any) -> Any:
    if masked(where) and not given(initial):
        raise ValueError("max and min with where= need initial=, for the case that nothing is left")
    return where


@implements(np.any)
def any(a, axis=None, out=None, keepdims=False, where=None):  # type: ignore[no-untyped-def]
    """Whether any element over axes is true, as `numpy.any`. Booleans have no derivative."""
    return fold("any", r.Any_, a, axis, None, out, keepdims, None, where, zero, None)


@implements(np.all)
def all(a, axis=None, out=None, keepdims=False, where=None):  # type: ignore[no-untyped-def]
    """Whether all elements over axes are true, as `numpy.all`. Booleans have no derivative."""
    return fold("all", r.All, a, axis, None, out, keepdims, None, where, one, None)


def _position(what: str, primitive: Any, a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    refuse(what, out=out)
    x = as_tensor_or_array(a)
    shape = x.shape
    if axis is None:
        found = bind(primitive.of((0,)), reshape(x, (x.size,)))
        return restore(found, shape, tuple(range(len(shape))), keepdims)
    axis = canonical_axis(axis, len(shape), what)
    return restore(bind(primitive.of((axis,)), x), shape, (axis,), keepdims)


@implements(np.argmax)
def argmax(a, axis=None, out=None, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Position of the first largest element, as `numpy.argmax`. Integers have no derivative."""
    return _position("argmax", r.ArgMax, a, axis, out, keepdims)


@implements(np.argmin)
def argmin(a, axis=None, out=None, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Position of the first smallest element, as `numpy.argmin`. Integers have no derivative."""
    return _position("argmin", r.ArgMin, a, axis, out, keepdims)


# Moments -------------------------------------------------------------------------------------------------


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
    if a.__class__ is Tensor and a.note.__class__ is Var and not keepdims and dtype is None and out is None and where is None:
        kind, total = a.note, instance(r.Sum, a, axis)
        if kind.dtype in _PLAIN:
            return a_.divide(bind(total, a), count_of(kind, total.axes))
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
            w = _along(w, x.shape, axes if not isinstance(axis, (tuple, list)) else tuple(k % len(x.shape) for k in axis))
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


_sum, _max, _min = sum.__wrapped__, max.__wrapped__, min.__wrapped__


@implements(np.ptp)
def ptp(a, axis=None, out=None, keepdims=False):  # type: ignore[no-untyped-def]
    """Largest minus smallest element over axes, as `numpy.ptp`."""
    refuse("ptp", out=out)
    return a_.subtract(_max(a, axis, None, keepdims), _min(a, axis, None, keepdims))


@implements(np.count_nonzero)
def count_nonzero(a, axis=None, *, keepdims=False):  # type: ignore[no-untyped-def]
    """Number of elements that are not zero, as `numpy.count_nonzero`. Integers have no derivative."""
    return _sum(c.not_equal(as_tensor_or_array(a), 0), axis, np.intp, keepdims=keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x, /, *, axis=None, keepdims=False, ord=2):  # type: ignore[no-untyped-def]
    """Norm of vectors along axes, as `numpy.linalg.vector_norm`: sum(|x|**ord)**(1/ord), with derivative 0 at 0.

    Parameters
    ----------
    ord : any number; inf and -inf are the largest and smallest |x|, 0 counts the elements that are not zero.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
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


def logsumexp(a: Any, axis: Any = None, b: Any = None, keepdims: bool = False) -> Any:
    """log(sum(b * exp(a))) over axes without overflow, as `scipy.special.logsumexp`, on arrays and traced values.

    Parameters
    ----------
    a : real or complex array or tensor. -inf stands for a term of 0; for no terms the result is -inf.
    b : factors, broadcast against `a`; the result is NaN where the sum is negative.

    The derivative is the softmax of `a`; it is 0 where every element is -inf.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.logsumexp)(np.array([1000.0, 1000.0]))
    array([0.5, 0.5])
    """
    x = as_tensor_or_array(a)
    if b is not None:
        factor = as_tensor_or_array(b)
        shape = np.broadcast_shapes(x.shape, factor.shape)
        x = broadcast_to(c.where(c.equal(factor, 0), -np.inf, x), shape)
        axes = canonical_axes(axis, len(shape), "logsumexp")
        top = bind(r.LogSumExp.of(axes), x)
        top = c.where(c.isfinite(top), top, 0.0)
        terms = a_.multiply(broadcast_to(factor, shape), exp(a_.subtract(x, restore(top, shape, axes, True))))
        return restore(a_.add(log(_sum(terms, axes)), top), shape, axes, keepdims)
    axes = canonical_axes(axis, len(x.shape), "logsumexp")
    return restore(bind(r.LogSumExp.of(axes), x), x.shape, axes, keepdims)


# Methods of ufuncs and of tensors ------------------------------------------------------------------------


def ufunc_method(ufunc: np.ufunc, method: str, implementation: Any) -> None:
    """Register `np.add.reduce` and the like, for NumPy's ufunc and for the function of the same name here."""
    table[ufunc, method] = implementation
    own = getattr(e, ufunc.__name__)
    original = getattr(ufunc, method)

    def public(array: Any, *args: Any, **kwargs: Any) -> Any:
        array = as_operand(array)
        return (implementation if isinstance(array, Tensor) else original)(array, *args, **kwargs)

    public.__name__ = method
    public.__doc__ = f"As `numpy.{ufunc.__name__}.{method}`, on traced values as well."
    setattr(own, method, public)


def _ufunc_reduce(implementation: Any, converts: bool = True) -> Any:
    """`ufunc.reduce` from the function: axis 0 by default, and the dtype second."""

    def reduce(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
               where: Any = None) -> Any:  # fmt: skip
        options = {key: value for key, value in (("initial", initial), ("where", where)) if given(value)}
        if dtype is not None and converts:
            array = convert(as_tensor_or_array(array), dtype)
        return implementation(array, axis=axis, out=out, keepdims=keepdims, **options)

    return reduce


def _logaddexp_reduce(a: Any, axis: Any, out: Any, keepdims: Any) -> Any:
    refuse("logaddexp.reduce", out=out)
    return logsumexp(a, axis, None, keepdims)


for _ufunc, _implementation in (
    (np.add, _sum), (np.multiply, prod.__wrapped__), (np.maximum, _max), (np.minimum, _min),
    (np.logaddexp, _logaddexp_reduce),
):  # fmt: skip
    ufunc_method(_ufunc, "reduce", _ufunc_reduce(_implementation))
ufunc_method(np.logical_or, "reduce", _ufunc_reduce(any.__wrapped__, converts=False))
ufunc_method(np.logical_and, "reduce", _ufunc_reduce(all.__wrapped__, converts=False))

attach(
    sum=_sum, prod=prod.__wrapped__, max=_max, min=_min, any=any.__wrapped__, all=all.__wrapped__, mean=_mean, var=_var,
    std=std.__wrapped__, argmax=argmax.__wrapped__, argmin=argmin.__wrapped__,
)  # fmt: skip
