"""Running sums, products and log-sum-exps, differences and the trapezoidal rule."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.interpreter import bind
from ..graph.tensor import Tensor
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops import cumulative as cu
from ..ops.families import vocabulary
from ..ops.shape import broadcast_to, canonical_axis, concatenate, convert, reshape
from .convert import as_operand, as_tensor_or_array, promote
from .dispatch import implements, refuse
from .methods import attach
from .reductions import given, sum, ufunc_method

__all__ = [
    "cumsum", "cumprod", "cumulative_sum", "cumulative_prod", "logcumsumexp", "diff", "ediff1d", "trapezoid",
]  # fmt: skip


def _running(what: str, primitive: Any, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    refuse(what, out=out)
    x = as_tensor_or_array(a)
    if given(dtype):
        x = convert(x, dtype)
    if axis is None or x.ndim == 0:
        x, axis = reshape(x, (x.size,)), 0 if axis is None else canonical_axis(axis, 1, what)
    return bind(primitive.of(canonical_axis(axis, x.ndim, what), False), x)


@implements(np.cumsum)
def cumsum(a, axis=None, dtype=None, out=None):  # type: ignore[no-untyped-def]
    """Running sum along an axis (None: of the flattened array), as `numpy.cumsum`.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.cumsum(x)[-1])(np.ones(3))
    array([1., 1., 1.])
    """
    return _running("cumsum", cu.CumSum, a, axis, dtype, out)


@implements(np.cumprod)
def cumprod(a, axis=None, dtype=None, out=None):  # type: ignore[no-untyped-def]
    """Running product along an axis (None: of the flattened array), as `numpy.cumprod`.

    Derivatives of any order are right with zeros: nothing is divided.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.jvp(np.cumprod, (np.array([0.0, 2.0, 3.0]),), (np.ones(3),))[1]
    array([1., 2., 6.])
    """
    return _running("cumprod", cu.CumProd, a, axis, dtype, out)


def _array_api(
    what: str, running: Any, first: Any, x: Any, axis: Any, dtype: Any, out: Any, include_initial: bool
) -> Any:
    x = as_tensor_or_array(x)
    if axis is None:
        if x.ndim > 1:
            raise ValueError("For arrays which have more than one dimension ``axis`` argument is required.")
        axis = 0
    if x.ndim == 0:
        raise ValueError("Cannot accumulate on a 0-dimensional array")
    result = running(x, axis, dtype, out)
    if not include_initial:
        return result
    axis = canonical_axis(axis, x.ndim, what)
    start = np.full(tuple(1 if k == axis else n for k, n in enumerate(result.shape)), first, result.dtype)
    return concatenate([start, result], axis)


@implements(np.cumulative_sum)
def cumulative_sum(x, /, *, axis=None, dtype=None, out=None, include_initial=False):  # type: ignore[no-untyped-def]
    """Running sum, as `numpy.cumulative_sum`; `include_initial` puts a 0 in front."""
    return _array_api("cumulative_sum", cumsum.__wrapped__, 0, x, axis, dtype, out, include_initial)


@implements(np.cumulative_prod)
def cumulative_prod(x, /, *, axis=None, dtype=None, out=None, include_initial=False):  # type: ignore[no-untyped-def]
    """Running product, as `numpy.cumulative_prod`; `include_initial` puts a 1 in front."""
    return _array_api("cumulative_prod", cumprod.__wrapped__, 1, x, axis, dtype, out, include_initial)


def logcumsumexp(a: Any, axis: Any = None) -> Any:
    """log(cumsum(exp(a))) along an axis (None: of the flattened array) without overflow; `np.logaddexp.accumulate`.

    Example
    -------
    >>> import wengert.numpy as np
    >>> np.logcumsumexp(np.array([1000.0, 1000.0]))
    array([1000.  , 1000.69])
    """
    return _running("logcumsumexp", cu.CumLogSumExp, a, axis, None, None)


def _accumulate(primitive: Any) -> Any:
    def accumulate(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
        return _running("accumulate", primitive, array, axis, dtype, out)

    return accumulate


for _ufunc, _primitive in (
    (np.add, cu.CumSum), (np.multiply, cu.CumProd), (np.maximum, cu.CumMax), (np.minimum, cu.CumMin),
    (np.logaddexp, cu.CumLogSumExp),
):  # fmt: skip
    ufunc_method(_ufunc, "accumulate", _accumulate(_primitive))


# Differences ---------------------------------------------------------------------------------------------


def neighbours(x: Any, axis: int) -> tuple[Any, Any]:
    """All elements along an axis but the last, and all but the first."""
    n = x.shape[axis]
    return vocabulary.slice_axis(x, axis, 0, max(n - 1, 0)), vocabulary.slice_axis(x, axis, min(1, n), n)


@implements(np.diff)
def diff(a, n=1, axis=-1, prepend=None, append=None):  # type: ignore[no-untyped-def]
    """n-th difference x[i+1] - x[i] along an axis, as `numpy.diff`; booleans give whether neighbours differ.

    Parameters
    ----------
    prepend, append : arrays, or numbers for one element, joined at the ends first.

    Raises
    ------
    ValueError : n is negative, or `a` has no axis.
    """
    x = as_tensor_or_array(a)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n}")
    if x.ndim == 0:
        raise ValueError("diff requires input that is at least one dimensional")
    if n == 0:
        return Tensor(x.interpreter, x.value, x.note) if isinstance(x, Tensor) else x
    axis = canonical_axis(axis, x.ndim, "diff")
    parts = [x]
    for where, extra in ((0, prepend), (2, append)):
        if given(extra):
            extra = as_tensor_or_array(extra)
            if extra.ndim == 0:
                extra = broadcast_to(extra, tuple(1 if k == axis else m for k, m in enumerate(x.shape)))
            parts.insert(where, extra)
    if len(parts) > 1:
        x = concatenate(promote(parts), axis)
    operation = c.not_equal if x.dtype.kind == "b" else a_.subtract
    for _ in range(n):
        if x.shape[axis] == 0:
            break
        before, after = neighbours(x, axis)
        x = operation(after, before)
    return x


@implements(np.ediff1d)
def ediff1d(ary, to_end=None, to_begin=None):  # type: ignore[no-untyped-def]
    """Differences of the flattened array, with values joined at the ends afterwards, as `numpy.ediff1d`."""
    x = as_tensor_or_array(ary)
    x = reshape(x, (x.size,))
    result = diff.__wrapped__(x)
    ends = [None if v is None else as_tensor_or_array(v) for v in (to_begin, to_end)]
    flat = [None if v is None else convert(reshape(v, (v.size,)), x.dtype) for v in ends]
    parts = [part for part in (flat[0], result, flat[1]) if part is not None]
    return concatenate(parts, 0) if len(parts) > 1 else result


@implements(np.trapezoid)
def trapezoid(y, x=None, dx=1.0, axis=-1):  # type: ignore[no-untyped-def]
    """Integral along an axis by the trapezoidal rule, as `numpy.trapezoid`; differentiable in y, x and dx.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.trapezoid)(np.array([1.0, 2.0, 3.0]), dx=2.0)
    array([1., 2., 1.])
    """
    y = as_tensor_or_array(y)
    axis = canonical_axis(axis, y.ndim, "trapezoid")
    if x is None:
        width = as_operand(dx)
    else:
        x = as_tensor_or_array(x)
        if x.ndim == 1:
            width = diff.__wrapped__(x)
            width = reshape(width, tuple(width.shape[0] if k == axis else 1 for k in range(y.ndim)))
        else:
            width = diff.__wrapped__(x, axis=axis)
    before, after = neighbours(y, axis)
    return sum.__wrapped__(a_.multiply(width, a_.add(after, before)) / 2.0, axis)


attach(cumsum=cumsum.__wrapped__, cumprod=cumprod.__wrapped__)
