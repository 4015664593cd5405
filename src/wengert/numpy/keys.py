"""What stands between the brackets of `x[...]`, brought to the forms that the operations know.

A key becomes a basic place (integers, slices, new axes) followed by a gather at integer arrays, with NumPy's
rules for boolean masks and for where indexed axes go.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np

from ..errors import ConcretizationError, DtypeError, IndexOutOfBoundsError
from ..graph.interpreter import type_of_value
from ..graph.tensor import Tensor
from ..ops.index import FULL, Place, Span
from .convert import as_operand


class Key(NamedTuple):
    """`x[place]`, then a gather of index arrays at `axes` whose shape goes to position `at`."""

    place: Place
    axes: tuple[int, ...] = ()
    at: int = 0
    indices: tuple[Any, ...] = ()
    mask: Any = None
    """A mask without numbers; then the place and the rest are empty."""

    @property
    def whole(self) -> bool:
        """Whether the place is all of the array."""
        return all(part == FULL or part is Ellipsis for part in self.place)


def settled(value: Any) -> Any:
    """A constant tensor as the array that it is; anything else as it is."""
    while value.__class__ is Tensor and value.note is None:
        value = value.value
    return value


def concrete(value: Any, what: str) -> Any:
    """The numbers of an operand whose values decide a shape."""
    value = settled(as_operand(value))
    if value.__class__ is not Tensor:
        return np.asarray(value)
    found = value.interpreter.concrete(value)
    if found is None:
        raise ConcretizationError(
            f"{what} needs the values of a {value.interpreter.noun} of type {value.type}, since they decide the shape "
            "of the result",
            "use np.where(mask, x, 0), or a mask that does not depend on traced values",
        )
    return np.asarray(found)


def bound(value: Any) -> int | None:
    """A limit or step of a slice."""
    if value is None or value.__class__ is int:
        return value  # type: ignore[no-any-return]
    try:
        return operator.index(value)
    except ConcretizationError as error:
        raise ConcretizationError(
            "a slice has a traced limit, so that the length of the result is not known",
            "use x[i + np.arange(n)] for a window of fixed length n, or np.where with a mask",
        ) from error
    except TypeError as error:
        raise DtypeError(f"a slice limit is {value!r}", "slice limits are integers or None") from error


def span(part: slice) -> Span:
    return Span(bound(part.start), bound(part.stop), bound(part.step))


def _entry(part: Any) -> Any:
    """One entry of a key: None, Ellipsis, `Span`, `int`, or an array or tensor of integers or booleans."""
    kind = part.__class__
    if part is None or part is Ellipsis or kind is int:
        return part
    if kind is slice:
        return span(part)
    if kind is bool:
        return np.asarray(part)
    if isinstance(part, np.integer):
        return int(part)
    part = settled(part)
    if part.__class__ is Tensor:
        array: Any = part
        dtype = part.dtype
    else:
        array = part if isinstance(part, np.ndarray) else as_operand(part)
        if array.__class__ is not Tensor:
            array = np.asarray(array)
            if array.size == 0 and not isinstance(part, np.ndarray):
                array = array.astype(np.intp)
        dtype = array.dtype
    if dtype.kind not in "iub":
        raise DtypeError(
            f"an index is {type_of_value(array)}",
            "indices are integers, slices, None, ... or arrays of integers or booleans",
        )
    if array.__class__ is not Tensor and dtype.kind != "b" and array.ndim == 0:
        return int(array)
    return array


_BASIC = {int, Span, type(None), type(Ellipsis)}


def parse(key: Any, x: Any) -> Key:
    """The key for `x[key]`."""
    parts = [part if part.__class__ in _BASIC else _entry(part) for part in (key if key.__class__ is tuple else (key,))]
    ellipses = sum(part is Ellipsis for part in parts)
    if ellipses > 1:
        raise IndexOutOfBoundsError("a key may hold one ellipsis (...)", "write the slices out")
    if all(part.__class__ in _BASIC for part in parts):
        return Key(tuple(parts))
    for part in parts:
        if part.__class__ is Tensor and part.dtype.kind == "b":
            return Key((), mask=part)
    return _advanced(parts, x.shape)


def mask_key(key: Key, x: Any) -> Key:
    """The key, or an error for a mask without numbers."""
    if key.mask is not None:
        concrete(key.mask, "x[mask]")
        raise AssertionError
    return key


def _advanced(parts: list[Any], shape: tuple[Any, ...]) -> Key:
    """A key with at least one array."""
    count = sum(_consumed(part) for part in parts)
    if count > len(shape):
        raise IndexOutOfBoundsError(f"{count} indices for an array with {len(shape)} axes", "leave indices out")
    if not any(part is Ellipsis for part in parts):
        parts = [*parts, Ellipsis]
    place: list[Any] = []
    axes: list[int] = []
    indices: list[Any] = []
    axis = 0  # of the array
    kept = 0  # axes of the sliced array so far
    at = 0
    state = "before"  # the first run of advanced entries
    for part in parts:
        kind = part.__class__
        advanced = kind not in _BASIC or kind is int
        if advanced and state == "before":
            state, at = "inside", kept
        elif advanced and state == "after":
            state, at = "apart", 0
        elif not advanced and state == "inside":
            state = "after"
        if part is None:
            place.append(None)
            kept += 1
        elif part is Ellipsis:
            gap = len(shape) - count
            place += [FULL] * gap
            kept += gap
            axis += gap
        elif kind is Span or kind is int:
            place.append(part)
            kept += kind is Span
            axis += 1
        else:
            for index, new in _index_arrays(part, shape, axis):
                place.append(None if new else FULL)
                axes.append(kept)
                indices.append(index)
                kept += 1
                axis += not new
    # `at` counted the indexed axes before it, which are none: the first advanced entry sets it.
    return Key(tuple(place), tuple(axes), at, tuple(indices))


def _consumed(part: Any) -> int:
    """How many axes of the array an entry indexes."""
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def _index_arrays(part: Any, shape: tuple[Any, ...], axis: int) -> list[tuple[Any, bool]]:
    """Integer arrays for an advanced entry, and whether each indexes a new axis (a mask without axes does)."""
    if part.__class__ is Tensor or part.dtype.kind != "b":
        return [(part, False)]
    if part.ndim == 0:
        return [(np.zeros(1 if part else 0, np.intp), True)]
    found = shape[axis : axis + part.ndim]
    if part.shape != found:
        raise IndexOutOfBoundsError(
            f"a boolean mask of shape {part.shape} indexes axes of shape {found}",
            "a mask has the shape of the axes it indexes",
        )
    return [(index, False) for index in part.nonzero()]
