"""NumPy's functions that write into their first argument: they rebind its handle, as `x[i] = v` does."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..errors import ShapeError, UnsupportedError
from ..graph.interpreter import type_of_value
from ..graph.tensor import Tensor
from ..ops import arithmetic as a_
from ..ops import compare as c
from ..ops.families import vocabulary
from ..ops.gather import gather, grid, scatter
from ..ops.shape import broadcast_to, canonical_axis, convert, reshape
from .convert import as_operand, as_tensor_or_array
from .dispatch import implements, refuse, table
from .indexing import add_part, positions_within, set_part, without_leading
from .keys import concrete, settled
from .methods import attach, rebind

__all__ = ["put_along_axis", "put", "place", "putmask", "copyto", "fill_diagonal"]


def written(what: str, x: Any, result: Any) -> None:
    """The result of a function that writes into its first argument, which must be a tensor for that."""
    if x.__class__ is not Tensor:
        raise UnsupportedError(
            f"{what} would write a traced value into a plain array",
            "make the array with wengert.numpy.zeros inside the function, or with wg.constant(a)",
        )
    rebind(x, result if result.__class__ is Tensor else vocabulary.constant(result))


def _add_at(a: Any, indices: Any, b: Any) -> None:
    written("np.add.at", a, add_part(a, indices, b))


def _subtract_at(a: Any, indices: Any, b: Any) -> None:
    written("np.subtract.at", a, add_part(a, indices, a_.negative(as_operand(b))))


table[np.add, "at"] = _add_at
table[np.subtract, "at"] = _subtract_at


@implements(np.put_along_axis)
def put_along_axis(arr: Any, indices: Any, values: Any, axis: int | None) -> None:
    """`arr` with values assigned at positions along an axis, as `numpy.put_along_axis`; rebinds the handle."""
    indices = settled(as_tensor_or_array(indices))
    values = as_operand(values)
    if axis is None:
        flat = reshape(arr, (arr.size,))
        written("put_along_axis", arr, reshape(scatter(flat, (0,), 0, values, (indices,)), arr.shape))
        return
    axis = canonical_axis(axis, arr.ndim, "put_along_axis")
    positions = tuple(indices if p is None else p for p in grid(arr.shape, axis))
    written("put_along_axis", arr, scatter(arr, tuple(range(arr.ndim)), 0, values, positions))


@implements(np.put)
def put(a: Any, ind: Any, v: Any, mode: str = "raise") -> None:
    """Values assigned at flat positions, repeated as needed, as `numpy.put`; rebinds the handle."""
    ind = settled(as_tensor_or_array(ind))
    ind = positions_within(reshape(ind, (int(np.prod(ind.shape)),)), a.size, mode)
    v = as_tensor_or_array(v)
    v = reshape(v, (v.size,))
    count = ind.shape[0]
    if v.size == 0 or count == 0:
        return
    if v.size != count:
        v = gather(v, (0,), 0, (np.arange(count) % v.size,))
    written("put", a, reshape(scatter(reshape(a, (a.size,)), (0,), 0, v, (ind,)), a.shape))


@implements(np.place)
def place(arr: Any, mask: Any, vals: Any) -> None:
    """Values assigned one after the other where the mask holds, as `numpy.place`; rebinds the handle."""
    mask = concrete(mask, "np.place").astype(bool)
    vals = as_tensor_or_array(vals)
    vals = reshape(vals, (vals.size,))
    if mask.any():
        vals = gather(vals, (0,), 0, (np.arange(int(mask.sum())) % vals.size,))
        written("place", arr, set_part(arr, mask.reshape(arr.shape), vals))


@implements(np.putmask)
def putmask(a: Any, mask: Any, values: Any) -> None:
    """`values`, repeated to the shape of `a`, where the mask holds, as `numpy.putmask`; rebinds the handle."""
    values = as_tensor_or_array(values)
    if values.shape != a.shape:
        values = reshape(gather(reshape(values, (values.size,)), (0,), 0, (np.arange(a.size) % values.size,)), a.shape)
    mask = as_operand(mask)
    written("putmask", a, c.where(mask, convert(values, a.dtype), a))


@implements(np.copyto)
def copyto(dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    """`src`, broadcast, where the mask holds, as `numpy.copyto`; rebinds the handle."""
    src = convert(as_tensor_or_array(src), dst.dtype)
    src = broadcast_to(without_leading(src, dst.ndim), dst.shape)
    written("copyto", dst, src if where is True else c.where(as_operand(where), src, dst))


@implements(np.fill_diagonal)
def fill_diagonal(a: Any, val: Any, wrap: bool = False) -> None:
    """Values on the diagonal of all axes, as `numpy.fill_diagonal`; rebinds the handle."""
    if wrap:
        refuse("fill_diagonal", wrap=wrap)
    if a.ndim < 2 or (a.ndim > 2 and len(set(a.shape)) != 1):
        raise ShapeError(f"fill_diagonal of {type_of_value(a)}", "give a matrix, or an array with equal axes")
    line = np.arange(builtins.min(a.shape))
    val = as_tensor_or_array(val)
    if val.ndim:
        val = reshape(val, (val.size,))
        val = gather(val, (0,), 0, (line % val.size,))
    written("fill_diagonal", a, scatter(a, tuple(range(a.ndim)), 0, val, (line,) * a.ndim))


attach(put=put.__wrapped__)
