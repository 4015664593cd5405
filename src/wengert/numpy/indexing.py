"""Reading and assigning parts of arrays: brackets, `.at`, `take`, diagonals, and NumPy's functions that write.

Assignment makes a new value and rebinds the handle: what was computed from `x` before does not change, and
parts taken from `x` are no views of it. Repeated indices are as in NumPy: the last one assigned wins, and
`x[i] += v` adds once; `x.at[i].add(v)` and `np.add.at(x, i, v)` add every time.
"""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from sys import getrefcount
from typing import Any

import numpy as np

from ..errors import ShapeError, UnsupportedError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.nodes import Var
from ..graph.tensor import Tensor
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops.families import shape_of, vocabulary
from ..ops.gather import gather, gathered_shape, grid, scatter, scatter_add
from ..ops.index import Place, SetSlice, Slice, Unslice, slice_axis
from ..ops.index import flip as flip_axis
from ..ops.shape import broadcast_to, canonical_axes, canonical_axis, concatenate, convert, reshape, transpose
from .convert import _READY, as_operand, as_tensor_or_array, broadcast_operands, promote, stack_operands
from .dispatch import implements, refuse
from .keys import Key, concrete, mask_key, parse, settled, span
from .methods import attach, rebind

__all__ = [
    "take", "take_along_axis", "choose", "compress", "extract", "select", "nonzero", "flatnonzero", "argwhere",
    "tril", "triu", "diag", "diagonal", "diagflat", "trace", "roll", "flip", "fliplr", "flipud", "rot90",
]  # fmt: skip


# Brackets ------------------------------------------------------------------------------------------------


def get(x: Any, key: Any) -> Any:
    """`x[key]`."""
    found = mask_key(parse(key, x), x)
    if not found.indices:
        return bind(Slice.of(found.place), x)
    if not found.whole:
        x = bind(Slice.of(found.place), x)
    return gather(x, found.axes, found.at, found.indices)


def basic(key: Any) -> Place | None:
    """The place for a key of integers, slices, None and an ellipsis; None for any other. The keys of inner loops."""
    kind = key.__class__
    if kind is int:
        return (key,)
    if kind is slice:
        return (span(key),)
    if kind is not tuple:
        return None
    parts = []
    dots = False
    for part in key:
        kind = part.__class__
        if kind is slice:
            part = span(part)
        elif part is Ellipsis:
            if dots:
                return None
            dots = True
        elif kind is not int and part is not None:
            return None
        parts.append(part)
    return tuple(parts)


def getitem(self: Tensor, key: Any) -> Any:
    """`x[key]`; integers and slices, the keys of inner loops, first."""
    place = basic(key)
    if place is None:
        if key.__class__ is np.ndarray and key.dtype.kind == "i" and key.ndim:
            return gather(self, (0,), 0, (key,))
        return get(self, key)
    primitive = Slice.of(place)
    interpreter = self.interpreter
    return bind(primitive, self) if interpreter.done else interpreter.apply(primitive, (self,))


def set_part(x: Any, key: Any, v: Any) -> Any:
    """`x` with `x[key] = v`."""
    found = parse(key, x)
    v = settled(as_operand(v))
    if found.mask is not None:
        return _set_masked(x, key, v)
    if not found.indices:
        return bind(SetSlice.of(found.place), x, v)
    if found.whole:
        return _scatter(x, found, v)
    return bind(SetSlice.of(found.place), x, _scatter(bind(Slice.of(found.place), x), found, v))


def _scatter(x: Any, key: Key, v: Any) -> Any:
    part = gathered_shape(tuple(shape_of(x)), key.axes, key.at, key.indices)
    return scatter(x, key.axes, key.at, without_leading(v, len(part)), key.indices)


def without_leading(v: Any, rank: int) -> Any:
    """A value for an assignment without leading axes of length 1 that the part does not have."""
    shape = shape_of(v)
    extra = len(shape) - rank
    return reshape(v, shape[extra:]) if extra > 0 and all(n == 1 for n in shape[:extra]) else v


def _set_masked(x: Any, key: Any, v: Any) -> Any:
    """`x[mask] = v` for a mask without numbers, which is a choice if `v` does not depend on how many there are."""
    mask = key[0] if key.__class__ is tuple and len(key) == 1 else key
    if mask.__class__ is not Tensor:
        concrete(next(part for part in key if part.__class__ is Tensor and part.dtype.kind == "b"), "x[mask, ...] = v")
    shape, rank = tuple(shape_of(x)), mask.ndim
    if tuple(mask.shape) != shape[:rank]:
        raise ShapeError(
            f"a mask of shape {mask.shape} for {type_of_value(x)}", "a mask has the shape of the axes it indexes"
        )
    if len(shape_of(v)) > len(shape) - rank:
        concrete(mask, "x[mask] = v with one value for each place")
    mask = reshape(mask, (*mask.shape, *(1,) * (len(shape) - rank)))
    dtype = type_of_value(x).dtype
    return c.where(mask, convert(v if is_traced(v) else np.asarray(v), dtype), x)


def owners(tensor: Tensor) -> int:
    """The number of references to a tensor's array."""
    return getrefcount(tensor.value)


SOLE = owners(Tensor(None, np.zeros(1), None))  # type: ignore[arg-type]
"""What `owners` says of an array that only the tensor refers to: no other handle, view, saved value or variable."""


def plain_or_recorded(v: Any) -> bool:
    """Whether an operand is a number or array, or a record's tensor on one: an operation on it runs just once."""
    if v.__class__ is not Tensor:
        return True
    if v.note.__class__ is not Var and v.note is not None:
        return False
    return v.value is not None and v.value.__class__ is not Tensor


def assigned_in_place(primitive: SetSlice, x: Tensor, v: Any) -> Any:
    """`x[...] = v` in the memory of `x`, which nothing else refers to, so that a loop does not copy it each time."""
    result = bind(primitive.overwriting, x, v)
    if result.__class__ is Tensor and result.node is not None:
        result.node.primitive = primitive  # what the graph shows is the operation without side effects
    return result


def setitem(self: Tensor, key: Any, v: Any) -> None:
    """`x[key] = v`: the handle now stands for the new value, at the level of whichever of the two is higher."""
    place = basic(key)
    if place is None or v.__class__ not in _READY:
        result = set_part(self, key, v)
    else:
        primitive = SetSlice.of(place)
        value = self.value
        if value.__class__ is np.ndarray and plain_or_recorded(self) and plain_or_recorded(v) and value.base is None:
            del value
            result = assigned_in_place(primitive, self, v) if owners(self) == SOLE else bind(primitive, self, v)
        else:
            result = bind(primitive, self, v)
    rebind(self, result if result.__class__ is Tensor else vocabulary.constant(result))


def iterate(self: Tensor) -> Iterator[Any]:
    """The rows, one by one."""
    shape = self.shape
    if not shape:
        raise TypeError("iteration over a 0-dimensional value")
    return (self[k] for k in range(shape[0]))


def add_part(x: Any, key: Any, v: Any) -> Any:
    """`x` with `v` added at `key`, repeated indices adding up."""
    found = mask_key(parse(key, x), x)
    shape, dtype = tuple(shape_of(x)), type_of_value(x).dtype
    v = as_tensor_or_array(v)
    v = convert(v, dtype) if v.dtype != dtype else v
    sliced = tuple(np.broadcast_to(0, shape)[Slice.of(found.place).numpy_key].shape)
    part = gathered_shape(sliced, found.axes, found.at, found.indices) if found.indices else sliced
    v = broadcast_to(without_leading(v, len(part)), part)
    if found.indices:
        v = scatter_add(v, found.axes, found.at, sliced, found.indices)
    if sliced != shape or not found.whole or not found.indices:
        v = bind(Unslice.of(found.place, shape), v)
    return a_.add(x, v)


class At:
    """`x.at[i]`: assignment and addition at `i` as expressions, which leave `x` alone.

    >>> import wengert as wg, wengert.numpy as np
    >>> x = wg.constant(np.zeros(3))
    >>> x.at[[0, 0, 2]].add(1.0)
    Tensor([2., 0., 1.])
    """

    __slots__ = ("key", "x")

    def __init__(self, x: Tensor, key: Any = None) -> None:
        self.x = x
        self.key = key

    def __getitem__(self, key: Any) -> At:
        return At(self.x, key)

    def get(self) -> Any:
        """`x[i]`."""
        return get(self.x, self.key)

    def set(self, v: Any) -> Any:
        """`x` with `v` at `i`; the last of repeated indices wins."""
        return set_part(self.x, self.key, v)

    def add(self, v: Any) -> Any:
        """`x` with `v` added at `i`, as often as an index occurs."""
        return add_part(self.x, self.key, v)

    def subtract(self, v: Any) -> Any:
        """`x` with `v` subtracted at `i`, as often as an index occurs."""
        return add_part(self.x, self.key, a_.negative(as_operand(v)))


# Functions that read -------------------------------------------------------------------------------------


def positions_within(indices: Any, extent: int, mode: str) -> Any:
    """Indices under one of NumPy's modes for those out of bounds."""
    if mode == "raise":
        return indices
    if mode == "wrap":
        return a_.remainder(indices, extent)
    if mode == "clip":
        return c.clip(indices, 0, extent - 1)
    raise UnsupportedError(f"mode {mode!r}", "use 'raise', 'wrap' or 'clip'")


@implements(np.take)
def take(a: Any, indices: Any, axis: int | None = None, out: Any = None, mode: str = "raise") -> Any:
    """Elements at integer positions along an axis (of the flat array by default), as `numpy.take`.

    Raises
    ------
    IndexOutOfBoundsError : a position is beyond the axis (mode "raise").
    """
    refuse("take", out=out)
    a = as_tensor_or_array(a)
    if axis is None:
        a, axis = reshape(a, (a.size,)), 0
    axis = canonical_axis(axis, a.ndim, "take")
    indices = settled(as_tensor_or_array(indices))
    if indices.size == 0 and indices.dtype.kind == "f":
        indices = indices.astype(np.intp)
    return gather(a, (axis,), axis, (positions_within(indices, a.shape[axis], mode),))


@implements(np.take_along_axis)
def take_along_axis(arr: Any, indices: Any, axis: int | None = -1) -> Any:
    """Elements at positions along an axis that differ from line to line, as `numpy.take_along_axis`."""
    arr = as_tensor_or_array(arr)
    indices = settled(as_tensor_or_array(indices))
    if axis is None:
        return gather(reshape(arr, (arr.size,)), (0,), 0, (indices,))
    axis = canonical_axis(axis, arr.ndim, "take_along_axis")
    if indices.ndim != arr.ndim:
        raise ShapeError(
            f"take_along_axis: indices of shape {indices.shape} for {type_of_value(arr)}",
            "indices need as many axes as the array",
        )
    return vocabulary.take_along_axis(arr, indices, axis)


@implements(np.choose)
def choose(a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    """From arrays of choices, element by element the one with number `a`, as `numpy.choose`."""
    refuse("choose", out=out)
    if not isinstance(choices, (list, tuple)):
        choices = list(as_tensor_or_array(choices))
    number, *options = broadcast_operands([settled(as_operand(v)) for v in (a, *choices)])
    stacked = stack_operands(options)
    number = positions_within(number, len(options), mode)
    return gather(stacked, tuple(range(stacked.ndim)), 0, (number, *grid(number.shape, -1)))


@implements(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None, out: Any = None) -> Any:
    """The slices along an axis where the condition holds, which must be known, as `numpy.compress`."""
    refuse("compress", out=out)
    return take(a, concrete(condition, "np.compress").nonzero()[0], axis)


@implements(np.extract)
def extract(condition: Any, arr: Any) -> Any:
    """The elements where the condition holds, which must be known, as `numpy.extract`."""
    return take(arr, concrete(condition, "np.extract").ravel().nonzero()[0])


@implements(np.select)
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    """Element by element the choice of the first condition that holds, as `numpy.select`."""
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(
            f"select: {len(condlist)} conditions for {len(choicelist)} choices", "give one choice per condition"
        )
    *choices, result = promote([as_operand(v) for v in (*choicelist, default)])
    for condition, choice in zip(reversed(list(condlist)), reversed(choices), strict=True):
        result = c.where(as_operand(condition), choice, result)
    return result


@implements(np.nonzero)
def nonzero(a: Any) -> Any:
    """Positions of the nonzero elements as plain integer arrays; the values must be known."""
    return concrete(a, "np.nonzero").nonzero()


@implements(np.flatnonzero)
def flatnonzero(a: Any) -> Any:
    """Flat positions of the nonzero elements as a plain integer array; the values must be known."""
    return np.flatnonzero(concrete(a, "np.flatnonzero"))


@implements(np.argwhere)
def argwhere(a: Any) -> Any:
    """Positions of the nonzero elements, one a row, as a plain integer array; the values must be known."""
    return np.argwhere(concrete(a, "np.argwhere"))


# Triangles and diagonals ---------------------------------------------------------------------------------


def _triangle(m: Any, k: int, lower: bool) -> Any:
    m = as_tensor_or_array(m)
    if m.ndim < 2:
        m = broadcast_to(m, (*m.shape, *m.shape)) if m.ndim else reshape(m, (1, 1))
    mask = np.tri(*m.shape[-2:], k if lower else k - 1, dtype=bool)
    return c.where(mask if lower else ~mask, m, m.dtype.type(0))


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    """The lower triangle of matrices (diagonal k and below), zeros elsewhere."""
    return _triangle(m, k, True)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    """The upper triangle of matrices (diagonal k and above), zeros elsewhere."""
    return _triangle(m, k, False)


@implements(np.diagonal, np.linalg.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """Diagonals over two axes, which become the last axis, as `numpy.diagonal`."""
    a = as_tensor_or_array(a)
    first, second = canonical_axis(axis1, a.ndim, "diagonal"), canonical_axis(axis2, a.ndim, "diagonal")
    if first == second:
        raise ShapeError(f"diagonal: axis1 and axis2 are both {first}", "name two axes")
    rows, columns = a.shape[first], a.shape[second]
    count = builtins.max(builtins.min(rows + builtins.min(offset, 0), columns - builtins.max(offset, 0)), 0)
    line = np.arange(count)
    row, column = line - builtins.min(offset, 0), line + builtins.max(offset, 0)
    axes, indices = ((first, second), (row, column)) if first < second else ((second, first), (column, row))
    return gather(a, axes, a.ndim - 2, indices)


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    """The diagonal of a matrix, or a matrix with a given diagonal, as `numpy.diag`."""
    v = as_tensor_or_array(v)
    if v.ndim == 2:
        return diagonal(v, k)
    if v.ndim != 1:
        raise ShapeError(f"diag of {type_of_value(v)}", "give a vector or a matrix; np.diagflat takes any shape")
    n = v.shape[0] + builtins.abs(k)
    line = np.arange(v.shape[0])
    return scatter_add(v, (0, 1), 0, (n, n), (line - builtins.min(k, 0), line + builtins.max(k, 0)))


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    """A matrix with the elements of any array on a diagonal."""
    v = as_tensor_or_array(v)
    return diag(reshape(v, (v.size,)), k)


@implements(np.trace)
def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> Any:
    """Sum of a diagonal."""
    refuse("trace", out=out)
    line = diagonal(a, offset, axis1, axis2)
    return vocabulary.sum_axes(line if dtype is None else convert(line, dtype), (line.ndim - 1,))


# Rotations -----------------------------------------------------------------------------------------------


@implements(np.roll)
def roll(a: Any, shift: Any, axis: Any = None) -> Any:
    """Elements moved along axes, those that fall off coming back in front, as `numpy.roll`."""
    a = as_tensor_or_array(a)
    if axis is None:
        return reshape(roll(reshape(a, (a.size,)), np.sum(shift), 0), a.shape)
    shifts, axes = np.broadcast_arrays(settled(shift), axis)
    for step, along in zip(shifts.ravel().tolist(), axes.ravel().tolist(), strict=True):
        along = canonical_axis(along, a.ndim, "roll")
        n = a.shape[along]
        step = step % n if n else 0
        if step:
            a = concatenate([slice_axis(a, along, n - step, None), slice_axis(a, along, None, n - step)], along)
    return a


@implements(np.flip)
def flip(m: Any, axis: Any = None) -> Any:
    """Elements in reverse order along axes, all by default."""
    m = as_tensor_or_array(m)
    for k in canonical_axes(axis, m.ndim, "flip"):
        m = flip_axis(m, k)
    return m


@implements(np.fliplr)
def fliplr(m: Any) -> Any:
    """Columns in reverse order."""
    return flip(m, 1)


@implements(np.flipud)
def flipud(m: Any) -> Any:
    """Rows in reverse order."""
    return flip(m, 0)


@implements(np.rot90)
def rot90(m: Any, k: int = 1, axes: Any = (0, 1)) -> Any:
    """Turned by k right angles in the plane of two axes, from the first towards the second."""
    m = as_tensor_or_array(m)
    first, second = (canonical_axis(axis, m.ndim, "rot90") for axis in axes)
    if first == second:
        raise ShapeError(f"rot90: axes {axes} are the same", "name two axes")
    order = list(range(m.ndim))
    order[first], order[second] = second, first
    match k % 4:
        case 0:
            return m
        case 1:
            return transpose(flip(m, second), tuple(order))
        case 2:
            return flip(flip(m, first), second)
        case _:
            return flip(transpose(m, tuple(order)), second)


attach(
    __getitem__=getitem,
    __setitem__=setitem,
    __iter__=iterate,
    at=property(At),
    take=take.__wrapped__,
    choose=choose.__wrapped__,
    compress=lambda self, condition, axis=None: compress(condition, self, axis),
    diagonal=diagonal.__wrapped__,
    trace=trace.__wrapped__,
    nonzero=nonzero.__wrapped__,
    fill=lambda self, value: setitem(self, Ellipsis, value),
)
