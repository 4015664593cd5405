"""Basic indexing: integers, slices, newaxis and ellipsis, all static; reading and (functional) assignment.

A place is a tuple of `int`, `Span`, None (a new axis) and Ellipsis. Integer arrays and integers that are known
only when the program runs are in `gather`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import IndexOutOfBoundsError, ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.reference_source import dtype_text, parameter_text
from ..graph.tensor import Tensor
from ..graph.types import ArrayType, Dim, broadcast_shapes, is_inexact
from .families import Linear, align_batches, batch_size, fit, shape_of, vocabulary
from .shape import broadcast_to, concatenate, convert, reshape, zeros_like


class Span(NamedTuple):
    """A slice `start:stop:step`, hashable."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None

    def __repr__(self) -> str:
        text = ":".join("" if part is None else str(part) for part in self[:2])
        return text if self.step is None else f"{text}:{self.step}"


FULL = Span()
Place = tuple[Any, ...]


def numpy_key(place: Place) -> Any:
    """The place as NumPy takes it."""
    if len(place) == 1 and place[0].__class__ is int:
        return place[0]
    key = tuple([slice(*part) if part.__class__ is Span else part for part in place])
    return key[0] if len(key) == 1 else key


def place_text(place: Place) -> str:
    """The place as it stands between brackets: `1, ::-1`."""
    parts = [repr(p) if isinstance(p, Span) else "..." if p is Ellipsis else str(p) for p in place]
    return ", ".join(parts) or "()"


def expanded(place: Place, ndim: int) -> list[Any]:
    """The place with one entry for each axis (and each new axis): no ellipsis, nothing left out."""
    count = sum(part is not None and part is not Ellipsis for part in place)
    if count > ndim:
        raise IndexOutOfBoundsError(f"{count} indices for an array with {ndim} axes", "leave indices out")
    fill = [FULL] * (ndim - count)
    if Ellipsis not in place:
        return [*place, *fill]
    at = place.index(Ellipsis)
    return [*place[:at], *fill, *place[at + 1 :]]


def check_bounds(position: int, extent: Any, axis: int, t: Any) -> None:
    """Raise for a position that the axis does not have."""
    if not isinstance(extent, Dim) and not -extent <= position < extent:
        raise IndexOutOfBoundsError(
            f"index {position} on axis {axis} of {t}, which has {extent} elements there",
            f"give an index from {-extent} to {extent - 1}" if extent else "the axis is empty: test its length first",
        )


def place_shape(place: Place, t: ArrayType) -> tuple[Any, ...]:
    """The shape of the part at a place, or `IndexOutOfBoundsError`."""
    shape: list[Any] = []
    axis = 0
    for part in expanded(place, t.ndim):
        if part is None:
            shape.append(1)
            continue
        extent = t.shape[axis]
        if part.__class__ is not Span:
            check_bounds(part, extent, axis, t)
        elif part == FULL:
            shape.append(extent)
        elif isinstance(extent, Dim):
            if part != Span(None, None, -1):
                raise ShapeError(
                    f"slice {part} of axis {axis} of {t}, whose length is not known yet", "take the axis whole"
                )
            shape.append(extent)
        else:
            shape.append(len(range(*slice(*part).indices(extent))))
        axis += 1
    return tuple(shape)


class Piece:
    """A cotangent that is zero outside one part: what reading `x[i]` hands back to `x`.

    Pieces add up in place in one buffer of the size of `x`, so that a loop over `x[i]` costs its own length
    and not the square of it; assignment to `x[i]` empties that place in it. Only numbers travel this way.
    `key` is what NumPy indexes the part by, or a function `add(buffer, ct)`. A piece has one owner, the walk
    backward, which asks for `dense()` in the end.
    """

    __slots__ = ("buffer", "ct", "key", "like")
    __array_ufunc__ = None  # an array leaves `array + piece` to __radd__

    def __init__(self, key: Any, ct: Any, like: Any, buffer: Any = None) -> None:
        self.key = key
        self.ct = ct
        self.like = like
        self.buffer = buffer

    def add_to(self, buffer: Any) -> None:
        """Add this piece, which has no buffer yet, to one."""
        if callable(self.key):
            self.key(buffer, self.ct)
        else:
            buffer[self.key] += self.ct

    def dense(self) -> Any:
        """The whole array (not copied again by later sums)."""
        if self.buffer is None:
            self.buffer = np.zeros(self.like.shape, self.like.dtype)
            self.add_to(self.buffer)
            self.key = self.ct = None
        return self.buffer

    def __add__(self, other: Any) -> Any:
        buffer = self.dense()
        if other.__class__ is Tensor:
            return buffer + other
        if other.__class__ is not Piece:
            buffer += other
        elif other.buffer is None:
            other.add_to(buffer)
        else:
            buffer += other.buffer
        return self

    def __radd__(self, other: Any) -> Any:
        if other.__class__ is Tensor or self.buffer is not None:
            return other + self.dense()
        self.buffer = np.array(other, self.like.dtype, order="C")  # `key` may see it as flat
        self.add_to(self.buffer)
        self.key = self.ct = None
        return self


class Slice(Linear):
    """The part of an array at a place: `x[i]`, `x[1:4, None]`, `x[..., ::-1]`."""

    name = "slice"
    params = ("place",)
    facts = Linear.facts | {"rearranging", "view"}

    def __init__(self, place: Place) -> None:
        # Written out, since a loop over `x[i]` makes an instance for each i.
        self.place = place
        self.key = (Slice, place)
        self.pullbacks = {}
        self.numpy_key = numpy_key(place)

    def type(self, x: ArrayType) -> ArrayType:
        return ArrayType(place_shape(self.place, x), x.dtype)

    def numpy(self, x: Any) -> Any:
        try:
            return x[self.numpy_key]
        except IndexError:
            raise out_of_bounds(self, x) from None
        except TypeError:  # a Python number
            return np.asarray(x)[self.numpy_key]

    def python(self, x: Any) -> str:
        return f"{x}[{place_text(self.place)}]"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return bind(self, tangents[0])

    def pullback(self, mask: int) -> tuple[Any, Any]:
        key = self.numpy_key

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            if ct.__class__ is Tensor:
                return self.transpose(ct, inputs, (True,))
            return (Piece(key, ct, inputs[0]),)

        return _keep_nothing, apply

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (bind(Unslice.of(self.place, tuple(operands[0].shape)), ct),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (x,) = align_batches(operands, axes)
        return bind(Slice.of((FULL, *self.place)), x), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.part(operands[0], expanded(self.place, types[0].ndim))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1, Span(None, None, -1))), (rng.normal(size=(3, 4)),)
        yield cls((Ellipsis, Span(-1, 0, -2), None)), (rng.normal(size=(2, 6)),)
        yield cls((Ellipsis,)), (rng.normal(size=()),)
        yield cls((Span(2, 1),)), (rng.normal(size=(3, 0)),)


def _keep_nothing(operands: Any, out: Any) -> tuple[()]:
    return ()


def out_of_bounds(primitive: Any, x: Any, *others: Any) -> Exception:
    """The error for an index that NumPy refused, as the type rule words it."""
    try:
        primitive.type(*(type_of_value(value) for value in (x, *others)))
    except IndexOutOfBoundsError as error:
        return error
    return IndexOutOfBoundsError(f"{primitive} of {type_of_value(x)}: an index is out of bounds")


class Unslice(Linear):
    """Zeros of a shape with the operand at a place: the transpose of `Slice`."""

    name = "unslice"
    params = ("place", "shape")
    facts = Linear.facts | {"rearranging"}

    def __init__(self, place: Place, shape: tuple[Any, ...]) -> None:
        super().__init__(place, shape)
        self.numpy_key = numpy_key(place)

    def type(self, ct: ArrayType) -> ArrayType:
        part = place_shape(self.place, ArrayType(self.shape, ct.dtype))
        if part != ct.shape:
            raise ShapeError(f"unslice: {ct} at a place of shape {part}", "the operand must fill the place")
        return ArrayType(self.shape, ct.dtype)

    def numpy(self, ct: Any) -> Any:
        out = np.zeros(self.shape, np.asarray(ct).dtype)
        out[self.numpy_key] = ct
        return out

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        (out,) = targets
        zeros = f"{out} = np.zeros({parameter_text(self.shape)}, {dtype_text(out.type.dtype)})"
        return [zeros, f"{out}[{place_text(self.place)}] = {operands[0]}"]

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (bind(Slice.of(self.place), ct),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (ct,) = align_batches(operands, axes)
        return bind(Unslice.of((FULL, *self.place), (shape_of(ct)[0], *self.shape)), ct), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        place = expanded(self.place, len(self.shape))
        return e.assembled(out.shape, out.dtype, e.zeros(out.shape, out.dtype), [(operands[0], place)])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1, Span(None, None, -1)), (3, 4)), (rng.normal(size=4),)
        yield cls((None, 0), (2,)), (rng.normal(size=1),)
        yield cls((Span(2, 1),), (3, 0)), (rng.normal(size=(0, 0)),)


class SetSlice(Linear):
    """The first operand with the part at a place replaced by the second, which is broadcast: `x[i] = v`.

    Linear in both together. The result has the dtype of the first.
    """

    name = "set_slice"
    params = ("place",)
    facts = Linear.facts | {"rearranging"}

    def __init__(self, place: Place) -> None:
        self.place = place
        self.key = (SetSlice, place)
        self.pullbacks = {}
        self.numpy_key = numpy_key(place)
        self.twin: SetSlice | None = None

    @property
    def overwriting(self) -> SetSlice:
        """The same operation, which takes the first operand's memory for the result."""
        if self.twin is None:
            self.twin = _Overwriting(self.place)
            self.twin.pullbacks = self.pullbacks
        return self.twin

    def overwrite(self, x: Any, v: Any) -> Any:
        try:
            x[self.numpy_key] = v
        except IndexError:
            raise out_of_bounds(self, x, v) from None
        return x

    def type(self, x: ArrayType, v: ArrayType) -> ArrayType:
        part = place_shape(self.place, x)
        extra = max(len(v.shape) - len(part), 0)
        if broadcast_shapes(part, v.shape[extra:]) != part or any(n != 1 for n in v.shape[:extra]):
            raise ShapeError(
                f"{v} assigned to a part of shape {part} of {x}", "give the value the shape of the part, or a scalar"
            )
        return ArrayType(x.shape, x.dtype)

    def numpy(self, x: Any, v: Any) -> Any:
        return self.overwrite(np.array(x), v)

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        (out,), (x, v) = targets, operands
        return [f"{out} = np.array({x})", f"{out}[{place_text(self.place)}] = {v}"]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return assignment_tangent(self, primals, tangents)

    def pullback(self, mask: int) -> tuple[Any, Any]:
        key = self.numpy_key

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            if ct.__class__ is Tensor:
                return self.transpose(ct, inputs, (mask & 1, mask & 2))
            if ct.__class__ is not Piece:
                if not mask & 1:
                    return None, fit_value(np.array(ct[key]), inputs[1])  # a copy, not to keep all of `ct` alive
                ct = Piece(None, None, ct, np.array(ct))
            part = np.array(ct.dense()[key])
            ct.buffer[key] = 0
            return ct if mask & 1 else None, fit_value(part, inputs[1]) if mask & 2 else None

        return _keep_nothing, apply

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        dx = bind(self, ct, type_of_value(ct).dtype.type(0)) if linear[0] else None
        return dx, (fit_value(bind(Slice.of(self.place), ct), operands[1]) if linear[1] else None)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, v = operands
        size = batch_size(operands, axes)
        part = place_shape(self.place, ArrayType(_own_shape(x, axes[0]), type_of_value(x).dtype))
        if axes[0] is None:
            x = broadcast_to(x if is_traced(x) else np.asarray(x), (size, *shape_of(x)))
        else:
            x = vocabulary.move_axis(x, axes[0], 0)
        if axes[1] is not None:
            v = vocabulary.move_axis(v, axes[1], 0)
            own = shape_of(v)[1:]
            v = reshape(v, (size, *(1,) * (len(part) - len(own)), *own[max(len(own) - len(part), 0) :]))
        return bind(SetSlice.of((FULL, *self.place)), x, v), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.assembled(out.shape, out.dtype, operands[0], [(operands[1], expanded(self.place, out.ndim))])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((1, Span(None, None, -1))), (rng.normal(size=(3, 4)), rng.normal(size=4))
        yield cls((Span(0, 2),)), (rng.normal(size=(3, 4)), rng.normal(size=()))
        yield cls((Ellipsis, None, 0)), (rng.normal(size=(2, 3)), rng.normal(size=(2, 1)))
        yield cls((Span(2, 1),)), (rng.normal(size=(3, 0)), rng.normal(size=()))


class _Overwriting(SetSlice, abstract=True):
    """`SetSlice` in the memory of its first operand. No graph holds it: see `SetSlice.overwriting`."""

    def numpy(self, x: Any, v: Any) -> Any:
        return self.overwrite(x, v)


def fit_value(ct: Any, v: Any) -> Any:
    """The cotangent of a part as that of the value assigned to it, which may have more leading axes of length 1."""
    extra = len(v.shape) - len(shape_of(ct))
    return fit(reshape(ct, (*(1,) * extra, *shape_of(ct))) if extra > 0 else ct, v)


def _own_shape(x: Any, axis: int | None) -> tuple[Any, ...]:
    shape = shape_of(x)
    return shape if axis is None else (*shape[:axis], *shape[axis + 1 :])


def assignment_tangent(primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """The tangent of `x[...] = v`: the tangent of `v` assigned into that of `x`."""
    x, _, *indices = primals
    dx, dv, *_ = tangents
    dtype = type_of_value(x).dtype
    if not is_inexact(dtype):
        return None
    dx = zeros_like(x) if dx is None else dx
    dv = dtype.type(0) if dv is None else convert(dv, dtype)
    return bind(primitive, dx, dv, *indices)


def take_part(x: Any, place: Place) -> Any:
    """The part of `x` at a place."""
    return bind(Slice.of(place), x)


def slice_axis(x: Any, axis: int, start: int | None, stop: int | None, step: int | None = None) -> Any:
    """`x[..., start:stop:step, ...]` along one axis."""
    return bind(Slice.of(((FULL,) * axis) + (Span(start, stop, step),)), x)


def flip(x: Any, axis: int) -> Any:
    """`x` in reverse order along an axis."""
    return slice_axis(x, axis, None, None, -1)


def stack_rows(rows: Sequence[Any]) -> Any:
    """Values of one type joined along a new first axis."""
    return concatenate([reshape(row if is_traced(row) else np.asarray(row), (1, *shape_of(row))) for row in rows], 0)


vocabulary.slice_axis = slice_axis
vocabulary.stack_rows = stack_rows
vocabulary.flip = flip
vocabulary.take_part = take_part
