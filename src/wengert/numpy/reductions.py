"""Reductions of NumPy: sums, products, extrema, and the `reduce` methods of its ufuncs.

Where several elements tie for an extremum they share its derivative equally. `logsumexp` has the name and the
arguments of SciPy's (`scipy.special.logsumexp`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.interpreter import bind
from ..graph.nodes import Var
from ..graph.tensor import Tensor
from ..graph.types import is_inexact
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import reduce as r
from ..ops.exponential import exp, log
from ..ops.shape import broadcast_to, canonical_axes, canonical_axis, convert, reshape
from . import elementwise as e
from .convert import as_operand, as_tensor_or_array
from .dispatch import implements, refuse, table
from .methods import attach

__all__ = [
    "sum", "prod", "max", "amax", "min", "amin", "any", "all", "argmax", "argmin", "ptp", "count_nonzero", "logsumexp",
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


# Others -------------------------------------------------------------------------------------------------

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
        axes = canonical_axes(axis, len(shape), "logsumexp")
        top = bind(r.LogSumExp.of(axes), broadcast_to(c.where(c.equal(factor, 0), -np.inf, x), shape))
        top = c.where(c.isfinite(top), top, 0.0)
        # A factor of 0 wins over an exp that overflows.
        terms = a_.strong_multiply(broadcast_to(factor, shape), exp(a_.subtract(x, restore(top, shape, axes, True))))
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

    def reduce(
        array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False, initial: Any = None,
        where: Any = None,
    ) -> Any:  # fmt: skip
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
    sum=_sum, prod=prod.__wrapped__, max=_max, min=_min, any=any.__wrapped__, all=all.__wrapped__,
    argmax=argmax.__wrapped__, argmin=argmin.__wrapped__,
)  # fmt: skip
