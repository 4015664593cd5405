"""Shapes and axes as NumPy has them."""

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np

from ..errors import AxisError, ShapeError
from ..graph.interpreter import type_of_value
from ..graph.tensor import Tensor
from ..graph.types import Dim, broadcast_shapes
from ..ops import shape as s
from ..ops.families import shape_of
from ..ops.shape import canonical_axis
from .convert import as_operand, as_tensor_or_array
from .creation import fresh
from .dispatch import implements
from .keys import settled
from .methods import attach

__all__ = [
    "reshape", "ravel", "transpose", "permute_dims", "matrix_transpose", "moveaxis", "rollaxis", "swapaxes",
    "expand_dims", "squeeze", "broadcast_to", "broadcast_arrays", "atleast_1d", "atleast_2d", "atleast_3d",
    "shape", "ndim", "size",
]  # fmt: skip

# Shape and axes ------------------------------------------------------------------------------------------


def completed_shape(x: Any, shape: Any) -> tuple[Any, ...]:
    """A shape with its -1 resolved."""
    given = list(shape) if isinstance(shape, (tuple, list)) else [settled(shape)]
    given = [n if isinstance(n, Dim) else operator.index(n) for n in given]
    if -1 not in given:
        return tuple(given)
    at = given.index(-1)
    old = list(x.shape)
    for n in [n for n in given if isinstance(n, Dim)]:
        if n in old:
            old.remove(n)
    others = [n for k, n in enumerate(given) if k != at and not isinstance(n, Dim)]
    unknown = [n for n in old if isinstance(n, Dim)]
    count, known = math.prod(n for n in old if not isinstance(n, Dim)), math.prod(others)
    if unknown and len(unknown) == 1 and count == known:
        given[at] = unknown[0]
    elif unknown or given.count(-1) > 1 or known == 0 or count % known:
        raise ShapeError(
            f"reshape: {type_of_value(x)} does not fit shape {tuple(shape)}", "the number of elements must agree"
        )
    else:
        given[at] = count // known
    return tuple(given)


@implements(np.reshape)
def reshape(a: Any, /, shape: Any = None, order: str = "C", *, newshape: Any = None, copy: Any = None) -> Any:
    """The same elements under another shape, one of whose lengths may be -1, as `numpy.reshape`."""
    a = as_tensor_or_array(a)
    shape = completed_shape(a, newshape if shape is None else shape)
    if order == "F":
        return _reversed_axes(s.reshape(_reversed_axes(a), shape[::-1]))
    return s.reshape(a, shape)


def _reversed_axes(x: Any) -> Any:
    return s.transpose(x, tuple(range(len(shape_of(x))))[::-1])


@implements(np.ravel)
def ravel(a: Any, order: str = "C") -> Any:
    """All elements in one axis."""
    return reshape(a, -1 if type_of_value(as_operand(a)).size else 0, order)


@implements(np.transpose, np.permute_dims)
def transpose(a: Any, axes: Any = None) -> Any:
    """Axes in another order, reversed by default, as `numpy.transpose`."""
    a = as_tensor_or_array(a)
    if axes is None:
        return _reversed_axes(a)
    order = tuple(canonical_axis(axis, a.ndim, "transpose") for axis in axes)
    if sorted(order) != list(range(a.ndim)):
        raise AxisError(
            f"transpose: {tuple(axes)} is no order of the {a.ndim} axes of {type_of_value(a)}", "name each axis once"
        )
    return s.transpose(a, order)


permute_dims = transpose


@implements(np.matrix_transpose, np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged."""
    return swapaxes(x, -1, -2)


@implements(np.moveaxis)
def moveaxis(a: Any, source: Any, destination: Any) -> Any:
    """Axes moved to other positions, the rest in order, as `numpy.moveaxis`."""
    a = as_tensor_or_array(a)
    sources, targets = ([axis] if np.ndim(axis) == 0 else list(axis) for axis in (source, destination))
    sources = [canonical_axis(axis, a.ndim, "moveaxis") for axis in sources]
    targets = [canonical_axis(axis, a.ndim, "moveaxis") for axis in targets]
    if len(set(sources)) != len(sources) or len(set(targets)) != len(targets) or len(sources) != len(targets):
        raise AxisError(f"moveaxis: from {source} to {destination}", "name as many different targets as sources")
    order = [axis for axis in range(a.ndim) if axis not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return s.transpose(a, tuple(order))


@implements(np.rollaxis)
def rollaxis(a: Any, axis: int, start: int = 0) -> Any:
    """One axis moved before position `start`, as `numpy.rollaxis`."""
    a = as_tensor_or_array(a)
    axis = canonical_axis(axis, a.ndim, "rollaxis")
    start = start + a.ndim if start < 0 else start
    return s.move_axis(a, axis, start - (axis < start))


@implements(np.swapaxes)
def swapaxes(a: Any, axis1: int, axis2: int) -> Any:
    """Two axes exchanged."""
    a = as_tensor_or_array(a)
    order = list(range(a.ndim))
    first, second = canonical_axis(axis1, a.ndim, "swapaxes"), canonical_axis(axis2, a.ndim, "swapaxes")
    order[first], order[second] = second, first
    return s.transpose(a, tuple(order))


@implements(np.expand_dims)
def expand_dims(a: Any, axis: Any) -> Any:
    """New axes of length 1 at positions of the result, as `numpy.expand_dims`."""
    a = as_tensor_or_array(a)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    rank = a.ndim + len(axes)
    new = {canonical_axis(k, rank, "expand_dims") for k in axes}
    if len(new) != len(axes):
        raise AxisError(f"expand_dims: an axis is given twice in {axes}", "name each axis once")
    old = iter(a.shape)
    return s.reshape(a, tuple(1 if k in new else next(old) for k in range(rank)))


@implements(np.squeeze)
def squeeze(a: Any, axis: Any = None) -> Any:
    """Without axes of length 1 (all, or those named), as `numpy.squeeze`."""
    a = as_tensor_or_array(a)
    if axis is None:
        return s.reshape(a, tuple(n for n in a.shape if n != 1))
    axes = s.canonical_axes(axis, a.ndim, "squeeze")
    for k in axes:
        if a.shape[k] != 1:
            raise ShapeError(f"squeeze: axis {k} of {type_of_value(a)} is not 1", "only axes of length 1 can go")
    return s.reshape(a, tuple(n for k, n in enumerate(a.shape) if k not in axes))


@implements(np.broadcast_to)
def broadcast_to(array: Any, shape: Any, subok: bool = False) -> Any:
    """Repeated along new and length-1 axes to a shape."""
    array = as_tensor_or_array(array)
    shape = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if broadcast_shapes(array.shape, shape) != shape:
        raise ShapeError(
            f"broadcast_to: {type_of_value(array)} cannot be repeated to shape {shape}", "axes must be equal or 1"
        )
    return s.broadcast_to(array, shape)


@implements(np.broadcast_arrays)
def broadcast_arrays(*args: Any, subok: bool = False) -> Any:
    """All repeated to their common shape."""
    values = [as_tensor_or_array(arg) for arg in args]
    shape = broadcast_shapes(*(tuple(v.shape) for v in values))
    if shape is None:
        raise ShapeError(
            f"broadcast_arrays: {', '.join(str(type_of_value(v)) for v in values)} do not broadcast",
            "make trailing axes equal or 1, for instance with x[:, None]",
        )
    return tuple(s.broadcast_to(v, shape) for v in values)


def _each(values: tuple[Any, ...], grow: Any) -> Any:
    results = tuple(grow(as_tensor_or_array(v)) for v in values)
    return results[0] if len(results) == 1 else results


@implements(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    """With at least one axis."""
    return _each(arys, lambda x: s.reshape(x, (1,)) if x.ndim == 0 else x)


@implements(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    """With at least two axes, new ones in front."""
    return _each(arys, lambda x: s.reshape(x, (*(1,) * (2 - x.ndim), *x.shape)) if x.ndim < 2 else x)


@implements(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    """With at least three axes, a vector along the second, a matrix along the first two."""

    def grow(x: Any) -> Any:
        shapes = {0: (1, 1, 1), 1: (1, *x.shape, 1), 2: (*x.shape, 1)}
        return s.reshape(x, shapes[x.ndim]) if x.ndim < 3 else x

    return _each(arys, grow)


# Questions -----------------------------------------------------------------------------------------------


@implements(np.shape)
def shape(a: Any) -> Any:
    """The shape."""
    return tuple(type_of_value(as_operand(a)).shape)


@implements(np.ndim)
def ndim(a: Any) -> int:
    """The number of axes."""
    return type_of_value(as_operand(a)).ndim


@implements(np.size)
def size(a: Any, axis: Any = None) -> int:
    """The number of elements, or the length of axes."""
    t = type_of_value(as_operand(a))
    return t.size if axis is None else math.prod(t.shape[k] for k in s.canonical_axes(axis, t.ndim, "size"))


def _varargs(args: tuple[Any, ...]) -> Any:
    """`x.reshape(2, 3)` and `x.reshape((2, 3))` alike."""
    return args[0] if len(args) == 1 and not isinstance(args[0], (int, np.integer, Dim)) else args


def _T(self: Tensor) -> Any:
    """The axes in reverse order."""
    return _reversed_axes(self)


def _mT(self: Tensor) -> Any:
    """The last two axes exchanged."""
    return swapaxes(self, -1, -2)


attach(
    T=property(_T),
    mT=property(_mT),
    reshape=lambda self, *shape, order="C", copy=None: reshape(self, _varargs(shape), order),
    ravel=lambda self, order="C": ravel(self, order),
    flatten=lambda self, order="C": fresh(ravel(self, order)),
    transpose=lambda self, *axes: transpose(self, _varargs(axes) if axes and axes != (None,) else None),
    squeeze=lambda self, axis=None: squeeze(self, axis),
    swapaxes=lambda self, axis1, axis2: swapaxes(self, axis1, axis2),
)
