"""Joining, splitting, repeating and padding arrays as NumPy does."""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np

from ..errors import ShapeError, UnsupportedError
from ..graph.interpreter import type_of_value
from ..ops import shape as s
from ..ops.gather import gather
from ..ops.index import slice_axis
from ..ops.shape import canonical_axis
from .convert import as_operand, as_tensor_or_array, promote
from .dispatch import implements, refuse
from .keys import concrete
from .methods import attach
from .shaping import atleast_1d, atleast_2d, atleast_3d, expand_dims, ravel

__all__ = [
    "concatenate", "concat", "stack", "vstack", "hstack", "dstack", "column_stack", "block", "append", "split",
    "array_split", "vsplit", "hsplit", "dsplit", "unstack", "tile", "repeat", "resize", "pad", "insert", "delete",
]  # fmt: skip


# Joining and splitting -----------------------------------------------------------------------------------


def _rows(arrays: Any, what: str) -> list[Any]:
    """The operands of a joining function."""
    values = list(arrays)
    if not values:
        raise ShapeError(f"{what} of no arrays", "give at least one")
    return promote([as_tensor_or_array(value) for value in values])


@implements(np.concatenate)
def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: Any = None
) -> Any:
    """Joined along an existing axis, as `numpy.concatenate`."""
    refuse("concatenate", out=out, casting=casting)
    values = _rows(arrays, "concatenate")
    if axis is None:
        values, axis = [ravel(value) for value in values], 0
    if values[0].ndim == 0:
        raise ShapeError("concatenate of 0-dimensional arrays", "use np.stack")
    axis = canonical_axis(axis, values[0].ndim, "concatenate")
    joined = s.concatenate(values, axis)
    return joined if dtype is None else s.convert(joined, dtype)


concat = concatenate


@implements(np.stack)
def stack(arrays: Any, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = None) -> Any:
    """Joined along a new axis, as `numpy.stack`."""
    refuse("stack", out=out, casting=casting)
    values = _rows(arrays, "stack")
    shapes = {tuple(value.shape) for value in values}
    if len(shapes) > 1:
        raise ShapeError(f"stack of arrays of shapes {', '.join(map(str, shapes))}", "all must have one shape")
    axis = canonical_axis(axis, values[0].ndim + 1, "stack")
    return concatenate([expand_dims(value, axis) for value in values], axis, dtype=dtype)


@implements(np.vstack)
def vstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Rows on top of each other."""
    return concatenate([atleast_2d(v) for v in tup], 0, dtype=dtype, casting=casting)


@implements(np.hstack)
def hstack(tup: Any, *, dtype: Any = None, casting: Any = None) -> Any:
    """Columns side by side; vectors one after the other."""
    values = [atleast_1d(v) for v in tup]
    return concatenate(values, 0 if values and values[0].ndim == 1 else 1, dtype=dtype, casting=casting)


@implements(np.dstack)
def dstack(tup: Any) -> Any:
    """Joined along the third axis."""
    return concatenate([atleast_3d(v) for v in tup], 2)


@implements(np.column_stack)
def column_stack(tup: Any) -> Any:
    """Vectors as the columns of a matrix."""
    values = [as_tensor_or_array(v) for v in tup]
    return concatenate([v if v.ndim >= 2 else s.reshape(v, (v.size, 1)) for v in values], 1)


@implements(np.block)
def block(arrays: Any) -> Any:
    """An array from nested lists of blocks: the innermost lists join along the last axis, as `numpy.block`."""

    def depth(nested: Any) -> int:
        return 1 + max(map(depth, nested)) if isinstance(nested, list) else 0

    def rank(nested: Any) -> int:
        return max(map(rank, nested)) if isinstance(nested, list) else len(type_of_value(as_operand(nested)).shape)

    def join(nested: Any, level: int) -> Any:
        if not isinstance(nested, list):
            x = as_tensor_or_array(nested)
            return s.reshape(x, (*(1,) * (total - x.ndim), *x.shape))
        return concatenate([join(item, level - 1) for item in nested], total - level)

    levels = depth(arrays)
    total = max(levels, rank(arrays))
    return join(arrays, levels)


@implements(np.append)
def append(arr: Any, values: Any, axis: int | None = None) -> Any:
    """`values` joined to the end."""
    return concatenate([arr, values], axis)


@implements(np.array_split)
def array_split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts along an axis, of nearly equal length or between given positions, as `numpy.array_split`."""
    ary = as_tensor_or_array(ary)
    axis = canonical_axis(axis, ary.ndim, "split")
    length = ary.shape[axis]
    if np.ndim(indices_or_sections) == 0:
        count = operator.index(indices_or_sections)
        if count <= 0:
            raise ShapeError(f"split into {count} parts", "give a positive number")
        sizes = [length // count + (k < length % count) for k in range(count)]
        bounds = [0, *np.cumsum(sizes).tolist()]
    else:
        bounds = [0, *(operator.index(k) for k in indices_or_sections), length]
    return [slice_axis(ary, axis, a, b) for a, b in itertools.pairwise(bounds)]


@implements(np.split)
def split(ary: Any, indices_or_sections: Any, axis: int = 0) -> Any:
    """Parts along an axis, of equal length or between given positions, as `numpy.split`."""
    ary = as_tensor_or_array(ary)
    if np.ndim(indices_or_sections) == 0:
        length = ary.shape[canonical_axis(axis, ary.ndim, "split")]
        if length % operator.index(indices_or_sections):
            raise ShapeError(f"split of {length} elements into {indices_or_sections} equal parts", "use np.array_split")
    return array_split(ary, indices_or_sections, axis)


@implements(np.vsplit)
def vsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Parts along the first axis."""
    return split(ary, indices_or_sections, 0)


@implements(np.hsplit)
def hsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Parts along the second axis; of a vector, along its only one."""
    return split(ary, indices_or_sections, 1 if as_tensor_or_array(ary).ndim > 1 else 0)


@implements(np.dsplit)
def dsplit(ary: Any, indices_or_sections: Any) -> Any:
    """Parts along the third axis."""
    return split(ary, indices_or_sections, 2)


def unstack(x: Any, /, *, axis: int = 0) -> Any:
    """A tuple of the parts along an axis, which goes."""
    x = as_tensor_or_array(x)
    moved = s.move_axis(x, canonical_axis(axis, x.ndim, "unstack"), 0)
    return tuple(moved[k] for k in range(moved.shape[0]))


if hasattr(np, "unstack"):  # NumPy 2.1
    unstack = implements(np.unstack)(unstack)


# Repeating and padding -----------------------------------------------------------------------------------


@implements(np.tile)
def tile(A: Any, reps: Any) -> Any:
    """Repeated as a whole along each axis, as `numpy.tile`."""
    x = as_tensor_or_array(A)
    counts = (
        [operator.index(n) for n in reps] if isinstance(reps, (tuple, list, np.ndarray)) else [operator.index(reps)]
    )
    rank = max(len(counts), x.ndim)
    counts = [1] * (rank - len(counts)) + counts
    shape = (*(1,) * (rank - x.ndim), *x.shape)
    x = s.reshape(x, tuple(n for extent in shape for n in (1, extent)))
    x = s.broadcast_to(x, tuple(n for pair in zip(counts, shape, strict=True) for n in pair))
    return s.reshape(x, tuple(a * b for a, b in zip(counts, shape, strict=True)))


@implements(np.repeat)
def repeat(a: Any, repeats: Any, axis: int | None = None) -> Any:
    """Each element repeated, as often as a (known) number or array of numbers says, as `numpy.repeat`."""
    a = as_tensor_or_array(a)
    if axis is None:
        a, axis = ravel(a), 0
    axis = canonical_axis(axis, a.ndim, "repeat")
    counts = concrete(repeats, "np.repeat")
    if counts.ndim == 0 or counts.size == 1:
        n = int(counts.ravel()[0])
        wide = s.reshape(a, (*a.shape[: axis + 1], 1, *a.shape[axis + 1 :]))
        wide = s.broadcast_to(wide, (*a.shape[: axis + 1], n, *a.shape[axis + 1 :]))
        return s.reshape(wide, (*a.shape[:axis], a.shape[axis] * n, *a.shape[axis + 1 :]))
    if counts.shape != (a.shape[axis],):
        raise ShapeError(
            f"repeat: {counts.size} counts for {a.shape[axis]} elements", "give one number, or one per element"
        )
    return gather(a, (axis,), axis, (np.repeat(np.arange(a.shape[axis]), counts),))


@implements(np.resize)
def resize(a: Any, new_shape: Any) -> Any:
    """The elements in order, again from the start as often as needed, under a new shape, as `numpy.resize`."""
    a = ravel(a)
    new_shape = tuple(new_shape) if isinstance(new_shape, (tuple, list)) else (new_shape,)
    count = math.prod(new_shape)
    if a.shape[0] == 0:
        return np.zeros(new_shape, a.dtype)
    return s.reshape(gather(a, (0,), 0, (np.arange(count) % a.shape[0],)), new_shape)


_BY_POSITION = ("edge", "reflect", "symmetric", "wrap")


@implements(np.pad)
def pad(array: Any, pad_width: Any, mode: Any = "constant", **options: Any) -> Any:
    """Surrounded by constants or by its own elements ("edge", "reflect", "symmetric", "wrap"), as `numpy.pad`.

    Raises
    ------
    UnsupportedError : another mode.
    """
    x = as_tensor_or_array(array)
    if isinstance(pad_width, dict):
        pad_width = [pad_width.get(k, pad_width.get(k - x.ndim, (0, 0))) for k in range(x.ndim)]
        pad_width = [(w, w) if np.ndim(w) == 0 else tuple(w) for w in pad_width]
    widths = [(int(a), int(b)) for a, b in np.broadcast_to(np.asarray(pad_width), (x.ndim, 2))]
    if mode in ("constant", "empty"):
        values = as_tensor_or_array(options.pop("constant_values", 0))
        refuse("pad", **options)
        values = s.convert(values, x.dtype)
        if values.ndim == 0:
            return s.pad(x, tuple(widths), values)
        values = s.broadcast_to(values, (x.ndim, 2))
        for axis, pair in enumerate(widths):
            for side, width in enumerate(pair):
                edge = s.broadcast_to(values[axis, side], (*x.shape[:axis], width, *x.shape[axis + 1 :]))
                x = s.concatenate([x, edge] if side else [edge, x], axis)
        return x
    if mode not in _BY_POSITION:
        raise UnsupportedError(
            f"pad with mode {mode!r} is not supported on traced values", f"use one of {_BY_POSITION}"
        )
    for axis, width in enumerate(widths):
        if width != (0, 0):
            x = gather(x, (axis,), axis, (np.pad(np.arange(x.shape[axis]), width, mode=mode, **options),))
    return x


@implements(np.delete)
def delete(arr: Any, obj: Any, axis: int | None = None) -> Any:
    """Without the elements at (known) positions, as `numpy.delete`."""
    x = as_tensor_or_array(arr)
    if axis is None:
        x, axis = ravel(x), 0
    axis = canonical_axis(axis, x.ndim, "delete")
    obj = obj if isinstance(obj, slice) else concrete(obj, "np.delete")
    return gather(x, (axis,), axis, (np.delete(np.arange(x.shape[axis]), obj),))


@implements(np.insert)
def insert(arr: Any, obj: Any, values: Any, axis: int | None = None) -> Any:
    """With values before (known) positions, as `numpy.insert`."""
    x = as_tensor_or_array(arr)
    if axis is None:
        x, axis = ravel(x), 0
    axis = canonical_axis(axis, x.ndim, "insert")
    where = obj if isinstance(obj, slice) else concrete(obj, "np.insert")
    length = x.shape[axis]
    new = as_tensor_or_array(values)
    new = s.convert(new, x.dtype)
    new = s.reshape(new, (*(1,) * (x.ndim - new.ndim), *new.shape))
    if not isinstance(where, slice) and where.ndim == 0:
        new = s.move_axis(new, 0, axis)
        count = new.shape[axis]
        order = np.insert(np.arange(length), int(where), length + np.arange(count))
    else:
        marks = np.insert(np.zeros(length, int), where, 1)
        count = int(marks.sum())
        numbers = np.insert(np.arange(length), where, length + np.arange(count))
        order = numbers
    new = s.broadcast_to(new, (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    return gather(s.concatenate([x, new], axis), (axis,), axis, (order,))


attach(repeat=lambda self, repeats, axis=None: repeat(self, repeats, axis))
