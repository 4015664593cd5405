"""Rearranging without arithmetic: reshape, transpose, broadcast, convert, concatenate, pad, reverse.

All are linear; each states its transpose. Parameters are static: shapes, axes, dtypes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import AxisError, ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.reference_source import dtype_text
from ..graph.types import ArrayType, Dim, broadcast_shapes
from .families import Linear, align_batches, shape_of, vocabulary


def canonical_axis(axis: Any, ndim: int, what: str) -> int:
    """An axis counted from the front, or `AxisError`."""
    axis = axis.__index__()
    if not -ndim <= axis < ndim:
        raise AxisError(f"{what}: axis {axis} of an array with {ndim} axes", f"give an axis from {-ndim} to {ndim - 1}")
    return int(axis % ndim) if ndim else 0


def canonical_axes(axes: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Axes as a sorted tuple without repetition; None means all."""
    if axes is None:
        return tuple(range(ndim))
    found = [canonical_axis(axis, ndim, what) for axis in (axes if isinstance(axes, (tuple, list)) else (axes,))]
    if len(set(found)) != len(found):
        raise AxisError(f"{what}: an axis is given twice in {axes}", "name each axis once")
    return tuple(sorted(found))


class Reshape(Linear):
    """The same elements in row-major order under another shape."""

    name = "reshape"
    params = ("shape",)
    facts = Linear.facts | {"rearranging", "view", "row-major"}

    def type(self, x: ArrayType) -> ArrayType:
        if _count(x.shape) != _count(self.shape):
            raise ShapeError(
                f"reshape: {x} has {x.size} elements, shape {self.shape} has {np.prod(self.shape, dtype=int)}",
                "give a shape with as many elements; -1 stands for one extent to be found",
            )
        return ArrayType(self.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        return np.reshape(x, self.shape)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (reshape(ct, operands[0].shape),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (x,) = align_batches(operands, axes)
        return reshape(x, (shape_of(x)[0], *self.shape)), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.reshape(operands[0], self.shape)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((3, 2)), (rng.normal(size=(2, 3)),)
        yield cls((1, 1)), (rng.normal(size=()),)
        yield cls((4, 0)), (rng.normal(size=(0, 3)),)


def _count(shape: tuple[Any, ...]) -> Any:
    """Number of elements: the product of the known extents, and the unknown ones in any order."""
    known = 1
    for extent in shape:
        if not isinstance(extent, Dim):
            known *= extent
    return known, frozenset(extent for extent in shape if isinstance(extent, Dim))


def reshape(x: Any, shape: tuple[Any, ...]) -> Any:
    """`x` with a complete (no -1) shape."""
    return x if shape_of(x) == tuple(shape) else bind(Reshape.of(tuple(shape)), x)


class Transpose(Linear):
    """Axes in another order: output axis k is input axis permutation[k]."""

    name = "transpose"
    params = ("permutation",)
    facts = Linear.facts | {"rearranging", "view"}

    def type(self, x: ArrayType) -> ArrayType:
        if sorted(self.permutation) != list(range(x.ndim)):
            raise AxisError(
                f"transpose: {self.permutation} is no order of the {x.ndim} axes of {x}", "name each axis once"
            )
        return ArrayType(tuple(x.shape[k] for k in self.permutation), x.dtype)

    def numpy(self, x: Any) -> Any:
        return np.transpose(x, self.permutation)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (transpose(ct, tuple(np.argsort(self.permutation).tolist())),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (x,) = align_batches(operands, axes)
        return transpose(x, (0, *(k + 1 for k in self.permutation))), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.transpose(operands[0], self.permutation)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((2, 0, 1)), (rng.normal(size=(2, 3, 4)),)
        yield cls(()), (rng.normal(size=()),)
        yield cls((1, 0)), (rng.normal(size=(0, 3)),)


def transpose(x: Any, permutation: tuple[int, ...]) -> Any:
    """Axes in the given order (counted from the front)."""
    return x if permutation == tuple(range(len(permutation))) else bind(Transpose.of(permutation), x)


def move_axis(x: Any, source: int, target: int) -> Any:
    """One axis moved to another place, the others in order."""
    if source == target:
        return x
    order = [k for k in range(len(shape_of(x))) if k != source]
    order.insert(target, source)
    return transpose(x, tuple(order))


class BroadcastTo(Linear):
    """Repeated along new leading axes and axes of length 1."""

    name = "broadcast_to"
    params = ("shape",)
    facts = Linear.facts | {"rearranging", "view"}

    def type(self, x: ArrayType) -> ArrayType:
        if broadcast_shapes(x.shape, self.shape) != self.shape:
            raise ShapeError(f"broadcast_to: {x} cannot be repeated to shape {self.shape}", "axes must be equal or 1")
        return ArrayType(self.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        return np.broadcast_to(x, self.shape)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (sum_to(ct, operands[0].shape),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        (x,) = align_batches(operands, axes)
        size, *rest = shape_of(x)
        x = reshape(x, (size, *(1,) * (len(self.shape) - len(rest)), *rest))
        return broadcast_to(x, (size, *self.shape)), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.broadcast(operands[0], self.shape)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((2, 3, 4)), (rng.normal(size=(3, 1)),)
        yield cls((2,)), (rng.normal(size=()),)
        yield cls((0, 3)), (rng.normal(size=(1, 3)),)


def broadcast_to(x: Any, shape: tuple[Any, ...]) -> Any:
    """`x` repeated to a shape that it broadcasts to."""
    shape = tuple(shape)
    if shape_of(x) == shape and (is_traced(x) or isinstance(x, np.ndarray)):
        return x
    return bind(BroadcastTo.of(shape), x)


def sum_to(ct: Any, shape: tuple[Any, ...]) -> Any:
    """The transpose of broadcasting: summed to `shape`."""
    extra = len(shape_of(ct)) - len(shape)
    axes = tuple(range(extra)) + tuple(
        k + extra for k, n in enumerate(shape) if n == 1 and shape_of(ct)[k + extra] != 1
    )
    if axes:
        ct = vocabulary.sum_axes(ct, axes)
    return reshape(ct, shape)


class Convert(Linear):
    """Another dtype. A complex number converted to a real one keeps its real part."""

    name = "convert"
    params = ("dtype",)
    facts = Linear.facts | {"elementwise", "rearranging"}

    def type(self, x: ArrayType) -> ArrayType:
        return ArrayType(x.shape, self.dtype)

    def numpy(self, x: Any) -> Any:
        x = np.asarray(x)
        if x.dtype.kind == "c" and self.dtype.kind not in "cb":
            x = x.real
        return x.astype(self.dtype)[()] if x.ndim == 0 else x.astype(self.dtype)

    def python(self, x: Any) -> str:
        value = f"np.real({x})" if x.type.dtype.kind == "c" and self.dtype.kind not in "cb" else x
        dtype = dtype_text(self.dtype)
        if x.type.ndim:
            return f"{value}.astype({dtype})"
        return f"{dtype}({value})" if self.dtype.kind in "fc" else f"np.asarray({value}).astype({dtype})[()]"

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        if self.dtype.kind not in "fc" or type_of_value(primals[0]).dtype.kind not in "fc":
            return None
        return convert(tangents[0], self.dtype)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (convert(ct, operands[0].dtype),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return convert(operands[0], self.dtype), axes[0]

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.fitted(operands[0], operands[0].shape, self.dtype)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(np.dtype(np.float32)), (rng.normal(size=(2, 3)),)
        yield cls(np.dtype(np.complex128)), (rng.normal(size=3),)
        yield cls(np.dtype(np.float64)), (rng.normal(size=3) + 1j * rng.normal(size=3),)
        yield cls(np.dtype(np.int64)), (rng.normal(size=(0, 3)),)


def convert(x: Any, dtype: Any) -> Any:
    """`x` as `dtype` (complex to real keeps the real part)."""
    dtype = np.dtype(dtype)
    return x if getattr(x, "dtype", None) == dtype and is_traced(x) else bind(Convert.of(dtype), x)


class Concatenate(Linear):
    """Joined along an axis, operands of one dtype."""

    name = "concatenate"
    params = ("axis",)
    facts = Linear.facts | {"rearranging"}

    def type(self, *types: ArrayType) -> ArrayType:
        first = types[0]
        canonical_axis(self.axis, first.ndim, "concatenate")
        for t in types:
            if t.ndim != first.ndim or any(
                a != b for k, (a, b) in enumerate(zip(t.shape, first.shape, strict=True)) if k != self.axis
            ):
                raise ShapeError(
                    f"concatenate along axis {self.axis}: {first} and {t} differ elsewhere",
                    "all axes but the joined one must be equal",
                )
        extent = sum(t.shape[self.axis] for t in types)
        shape = (*first.shape[: self.axis], extent, *first.shape[self.axis + 1 :])
        return ArrayType(shape, np.result_type(*(t.dtype for t in types)))

    def numpy(self, *values: Any) -> Any:
        return np.concatenate(values, self.axis)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        cts: list[Any] = []
        start = 0
        for operand, wanted in zip(operands, linear, strict=True):
            extent = shape_of(operand)[self.axis]
            piece = vocabulary.slice_axis(ct, self.axis, start, start + extent) if wanted else None
            cts.append(convert(piece, operand.dtype) if wanted and piece.dtype != operand.dtype else piece)
            start += extent
        return cts

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return bind(Concatenate.of(self.axis + 1), *align_batches(operands, axes)), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        if any(isinstance(n, Dim) for n in out.shape):
            return NotImplemented
        pieces, start = [], 0
        for x in operands:
            stop = start + x.shape[self.axis]
            pieces.append((x, [(start, stop, 1) if k == self.axis else (0, n, 1) for k, n in enumerate(out.shape)]))
            start = stop
        return e.assembled(out.shape, out.dtype, e.zeros(out.shape, out.dtype), pieces)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(1), (rng.normal(size=(2, 3)), rng.normal(size=(2, 1)), rng.normal(size=(2, 0)))
        yield cls(0), (rng.normal(size=4),)


def concatenate(values: Sequence[Any], axis: int = 0) -> Any:
    """Joined along an existing axis (counted from the front)."""
    return bind(Concatenate.of(axis), *values)


class Pad(Linear):
    """Surrounded by a value: `widths` holds (before, after) per axis; operands are the array and the value."""

    name = "pad"
    params = ("widths",)
    facts = Linear.facts | {"rearranging"}

    def type(self, x: ArrayType, value: ArrayType) -> ArrayType:
        if len(self.widths) != x.ndim:
            raise ShapeError(f"pad: {len(self.widths)} pairs of widths for {x}", "give one (before, after) per axis")
        return ArrayType(tuple(n + a + b for n, (a, b) in zip(x.shape, self.widths, strict=True)), x.dtype)

    def numpy(self, x: Any, value: Any) -> Any:
        return np.pad(x, self.widths, constant_values=value)

    def _inside(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(slice(a, a + n) for n, (a, _) in zip(shape, self.widths, strict=True))

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        inside = ct
        for k, (n, (before, _)) in enumerate(zip(operands[0].shape, self.widths, strict=True)):
            inside = vocabulary.slice_axis(inside, k, before, before + n)
        around = None
        if linear[1]:
            everything = tuple(range(len(shape_of(ct))))
            around = vocabulary.sum_axes(ct, everything) - vocabulary.sum_axes(inside, everything)
        return (inside if linear[0] else None), around

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, value = operands
        if axes[1] is None:
            (x,) = align_batches((x,), axes[:1])
            return bind(Pad.of(((0, 0), *self.widths)), x, value), 0
        x, value = align_batches(operands, axes)
        inside = pad(x, ((0, 0), *self.widths), 0)
        mask = np.pad(np.ones(shape_of(x)[1:], bool), self.widths)
        column = reshape(value, (shape_of(value)[0], *(1,) * (len(shape_of(x)) - 1)))
        return vocabulary.where(mask, inside, column), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        place = [(a, a + n, 1) for n, (a, _) in zip(types[0].shape, self.widths, strict=True)]
        if any(a < 0 or b < 0 for a, b in self.widths):
            return NotImplemented
        return e.assembled(out.shape, out.dtype, operands[1], [(operands[0], place)])

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(((1, 0), (0, 2))), (rng.normal(size=(2, 3)), rng.normal(size=()))
        yield cls(((2, 1),)), (rng.normal(size=0), rng.normal(size=()))


def pad(x: Any, widths: tuple[tuple[int, int], ...], value: Any = 0) -> Any:
    """`x` surrounded by `value`."""
    if not widths:
        return x
    return bind(Pad.of(tuple((int(a), int(b)) for a, b in widths)), x, value)


class ZerosLike(Primitive):
    """Zeros of the same shape and dtype; needed as an operation only where a length is not known in advance."""

    name = "zeros_like"
    differentiable = False
    facts = frozenset({"elementwise"})

    def type(self, x: ArrayType) -> ArrayType:
        return ArrayType(x.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        return np.zeros_like(x)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return bind(self, operands[0]), axes[0]

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.zeros(out.shape, out.dtype)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(2, 3)),)


def zeros_like(x: Any) -> Any:
    """Zeros with the type of `x` (an array, a tensor or an edge), as a constant where the shape is known."""
    t = x.type if hasattr(x, "type") else type_of_value(x)
    if any(isinstance(n, Dim) for n in t.shape):
        return bind(ZerosLike.of(), x)
    return np.zeros(t.shape, t.dtype)


vocabulary.broadcast_to = broadcast_to
vocabulary.reshape = reshape
vocabulary.move_axis = move_axis
vocabulary.sum_to = sum_to
vocabulary.convert = convert
vocabulary.zeros_like = zeros_like
