"""Norms and condition numbers of `numpy.linalg`, with derivative 0 where a norm is 0."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import AxisError
from ..graph.interpreter import type_of_value
from ..ops import solve as systems
from ..ops import spectral
from ..ops.arithmetic import absolute, divide, imag, multiply, power, real, sqrt, square
from ..ops.compare import equal, not_equal, where
from ..ops.families import shape_of
from ..ops.reduce import sum_axes
from ..ops.shape import canonical_axes, canonical_axis, convert, reshape
from .convert import as_tensor_or_array
from .dispatch import implements
from .reductions import max as _max
from .reductions import min as _min
from .shaping import transpose as _transpose

__all__ = ["cond", "matrix_norm", "norm", "vector_norm"]


def as_inexact(x: Any) -> Any:
    """Integers as float64."""
    x = as_tensor_or_array(x)
    return x if type_of_value(x).dtype.kind in "fc" else convert(x, np.float64)


def _root_of_sum(x: Any, axes: tuple[int, ...]) -> Any:
    """sqrt(sum |x|^2), with derivative 0 (of every order) where it is 0."""
    t = type_of_value(x)
    squares = square(real(x)) + square(imag(x)) if t.dtype.kind == "c" else square(x)
    return _power_or_zero(sum_axes(squares, axes), sqrt)


def _power_or_zero(total: Any, root: Any) -> Any:
    """A root that stays 0 at 0, derivatives included."""
    zero = equal(total, 0)
    dtype = type_of_value(total).dtype.type
    return where(zero, dtype(0), root(where(zero, dtype(1), total)))


def _vector(x: Any, ord: Any, axes: tuple[int, ...]) -> Any:
    if ord is None or ord == 2:
        return _root_of_sum(x, axes)
    size = absolute(x)
    if ord == np.inf:
        return _max(size, axis=axes)
    if ord == -np.inf:
        return _min(size, axis=axes)
    if ord == 0:
        return sum_axes(convert(not_equal(x, 0), type_of_value(size).dtype), axes)
    if ord == 1:
        return sum_axes(size, axes)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    return _power_or_zero(sum_axes(power(size, float(ord)), axes), lambda total: power(total, 1 / float(ord)))


def _matrix_norm(x: Any, ord: Any) -> Any:
    """Norm of matrices in the last two axes."""
    rank = len(shape_of(x))
    last = (rank - 2, rank - 1)
    if ord is None or ord in ("fro", "f"):
        return _root_of_sum(x, last)
    if ord == "nuc":
        return sum_axes(spectral.svd(x)[1], (rank - 2,))
    if ord in (2, -2):
        return (_max if ord == 2 else _min)(spectral.svd(x)[1], axis=-1)
    if ord in (1, -1, np.inf, -np.inf):
        sums = sum_axes(absolute(x), (last[0] if abs(ord) == 1 else last[1],))
        return (_max if ord > 0 else _min)(sums, axis=-1)
    raise ValueError("Invalid norm order for matrices.")


@implements(np.linalg.norm)
def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norm of vectors or matrices, as `numpy.linalg.norm` with every `ord`.

    Subgradients: 0 where a 2-, p- or Frobenius norm is 0; ties for a maximum or minimum share equally (the 2-norm of a
    matrix with equal largest singular values included).

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.linalg.norm)(np.array([3.0, 4.0])), wg.grad(np.linalg.norm)(np.zeros(2))
    (array([0.6, 0.8]), array([0., 0.]))
    """
    x = as_inexact(x)
    shape = shape_of(x)
    rank = len(shape)
    if axis is None:
        if ord is None:
            result, axes = _root_of_sum(x, tuple(range(rank))), tuple(range(rank))
            return reshape(result, (1,) * rank) if keepdims else result
        if rank not in (1, 2):
            raise ValueError("Improper number of dimensions to norm.")
        axis = tuple(range(rank))
    if isinstance(axis, (tuple, list)) and len(axis) == 1:
        axis = axis[0]
    if not isinstance(axis, (tuple, list)):
        axes = canonical_axes(axis, rank, "norm")
        result = _vector(x, ord, axes)
    elif len(axis) == 2:
        row, column = (canonical_axis(k, rank, "norm") for k in axis)
        if row == column:
            raise AxisError(f"norm over axes {axis}", "name two different axes")
        axes = (row, column)
        rest = [k for k in range(rank) if k not in axes]
        result = _matrix_norm(_transpose(x, (*rest, row, column)), ord)
    else:
        raise ValueError("Improper number of dimensions to norm.")
    return reshape(result, tuple(1 if k in axes else n for k, n in enumerate(shape))) if keepdims else result


@implements(np.linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Norm over the last two axes, as `numpy.linalg.matrix_norm`."""
    return norm(x, ord, (-2, -1), keepdims)


@implements(np.linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    """Norm of vectors over any axes (all by default), as `numpy.linalg.vector_norm`."""
    x = as_inexact(x)
    shape = shape_of(x)
    axes = canonical_axes(axis, len(shape), "vector_norm")
    result = _vector(x, ord, axes)
    return reshape(result, tuple(1 if k in axes else n for k, n in enumerate(shape))) if keepdims else result


@implements(np.linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    """Condition number, as `numpy.linalg.cond`."""
    x = as_inexact(x)
    if p in (None, 2, -2):
        s = spectral.svd(x)[1]
        largest, least = _max(s, axis=-1), _min(s, axis=-1)
        return divide(least, largest) if p == -2 else divide(largest, least)
    systems.check_matrix(type_of_value(x), "cond")
    return multiply(norm(x, p, (-2, -1)), norm(systems.inv(x), p, (-2, -1)))
