"""Indexing by integer arrays (a single traced integer among them): reading, assigning, adding.

The index arrays are operands; they broadcast together and index the axes `axes`, and the axes of their common
shape stand at position `at` of the result, the other axes of the array around them in order. NumPy's rule for
where indexed axes go, boolean masks and mixed keys are resolved to this form by the NumPy layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, IndexOutOfBoundsError, ShapeError
from ..graph.interpreter import bind, is_traced, symbolic_active, type_of_value
from ..graph.primitive import Sample
from ..graph.reference_source import dtype_text, parameter_text
from ..graph.tensor import Tensor
from ..graph.types import ArrayType, broadcast_shapes
from .dependence import SAME, Groups, Operand, dense, positions, rearranged
from .families import Linear, batch_size, describe, fit, shape_of, vocabulary
from .index import Piece, assignment_tangent, check_bounds, take_part
from .reduce import reduced_shape
from .shape import broadcast_to, reshape


def common_shape(indices: Sequence[Any]) -> tuple[Any, ...]:
    """The shape that the index arrays broadcast to."""
    shape = broadcast_shapes(*(tuple(shape_of(i)) for i in indices))
    if shape is None:
        raise ShapeError(
            f"index arrays do not broadcast: {describe([type_of_value(i) for i in indices])}",
            "give them one shape, or shapes that broadcast; np.ix_ makes a grid of rows and columns",
        )
    return shape


def gathered_shape(shape: tuple[Any, ...], axes: tuple[int, ...], at: int, indices: Sequence[Any]) -> tuple[Any, ...]:
    """The shape of the result of a gather."""
    rest = reduced_shape(shape, axes)
    return (*rest[:at], *common_shape(indices), *rest[at:])


def check_indices(axes: tuple[int, ...], x: Any, types: Sequence[ArrayType]) -> None:
    for t in types:
        if t.dtype.kind not in "iu":
            raise DtypeError(
                f"an index array is {t}", "indices are integers (convert with .astype(int)) or boolean masks"
            )
    if len(axes) != len(types) or list(axes) != sorted(set(axes)) or (axes and axes[-1] >= len(x.shape)):
        raise ShapeError(f"{len(types)} index arrays for the axes {axes} of {x}")


def _numpy_key(ndim: int, axes: tuple[int, ...], indices: Sequence[Any]) -> tuple[tuple[Any, ...], int]:
    """NumPy's key for index arrays at axes, and where NumPy puts their shape."""
    key: list[Any] = [slice(None)] * (axes[-1] + 1)
    for axis, index in zip(axes, indices, strict=True):
        key[axis] = index
    together = axes[-1] - axes[0] == len(axes) - 1
    return tuple(key), axes[0] if together else 0


def _move_block(x: Any, count: int, source: int, target: int) -> Any:
    """`count` neighbouring axes moved from position `source` to `target`."""
    if source == target or count == 0:
        return x
    return np.moveaxis(x, range(source, source + count), range(target, target + count))


def _key_text(axes: tuple[int, ...], at: int, indices: Sequence[Any]) -> str | None:
    """The key as it stands between brackets, `:, i`; None if NumPy puts the shape of the indices elsewhere."""
    found = dict(zip(axes, indices, strict=True))
    block = common_shape([index.type for index in indices])
    natural = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    if block and natural != at:
        return None
    return ", ".join(str(found.get(axis, ":")) for axis in range(axes[-1] + 1))


def _read(x: Any, axes: tuple[int, ...], at: int, indices: Sequence[Any]) -> Any:
    if len(axes) == 1 and at == axes[0] == 0:
        return x[indices[0]]
    key, natural = _numpy_key(np.ndim(x), axes, indices)
    count = len(np.broadcast_shapes(*(np.shape(i) for i in indices)))
    return _move_block(x[key], count, natural, at)


def _write(x: Any, axes: tuple[int, ...], at: int, v: Any, indices: Sequence[Any]) -> None:
    key, natural = _numpy_key(x.ndim, axes, indices)
    block = np.broadcast_shapes(*(np.shape(i) for i in indices))
    if natural != at and block:
        v = np.broadcast_to(v, gathered_shape(x.shape, axes, at, indices))
        v = _move_block(v, len(block), at, natural)
    x[key] = v


def _add(x: Any, axes: tuple[int, ...], at: int, v: Any, indices: Sequence[Any]) -> None:
    """Add `v` to elements of the contiguous array `x` in place; repeated indices add up.

    `np.add.at` is fast for one flat index array only, so everything is brought to that form.
    """
    block = np.broadcast_shapes(*(np.shape(i) for i in indices))
    if x.ndim == 1 and block:
        np.add.at(x, indices[0], v)
        return
    if not block:
        x[_numpy_key(x.ndim, axes, indices)[0]] += np.asarray(v)
        return
    strides = [s // x.itemsize for s in x.strides]
    rest = reduced_shape(x.shape, axes)
    after = len(rest) - at
    flat: Any = 0
    for axis, index in zip(axes, indices, strict=True):
        index = np.asarray(index)
        if index.size and not (index.min() >= -x.shape[axis] and index.max() < x.shape[axis]):
            raise IndexError(f"index out of bounds on axis {axis}")
        flat = flat + np.where(index < 0, index + x.shape[axis], index).astype(np.intp) * strides[axis]
    flat = np.reshape(flat, (*(1,) * at, *np.shape(flat), *(1,) * after))
    others = [axis for axis in range(x.ndim) if axis not in axes]
    for position, axis in enumerate(others):
        place = position if position < at else position + len(block)
        line = np.arange(x.shape[axis]) * strides[axis]
        flat = flat + line.reshape([-1 if k == place else 1 for k in range(len(rest) + len(block))])
    shape = (*rest[:at], *block, *rest[at:])
    np.add.at(x.reshape(-1), np.broadcast_to(flat, shape).ravel(), np.broadcast_to(v, shape).ravel())


class _Indexed(Linear, abstract=True):
    """What the operations with index arrays share: `leading` operands come before the indices."""

    params = ("axes", "at")
    facts = Linear.facts | {"rearranging"}
    leading = 1

    def linear_operands(self, count: int) -> Sequence[int]:
        return range(self.leading)

    def unknown_places(self, shape: tuple[Any, ...], indices: Sequence[Operand]) -> tuple[Any, Any]:
        """Which elements an indexed one may be, where not all indices are known.

        Numbers of groups, for the elements of the array and those of the part: axes whose index is known keep their
        position, the others count as one.
        """
        values = [index.index for index in indices]
        numbers = positions(shape)
        for axis, value in zip(self.axes, values, strict=True):
            if value is None:
                numbers = np.repeat(np.take(numbers, [0], axis), shape[axis], axis)
        given = [np.zeros(i.shape, int) if v is None else v for i, v in zip(indices, values, strict=True)]
        return numbers.ravel(), np.ravel(_read(numbers, self.axes, self.at, given))

    def batched_indices(
        self, operands: Sequence[Any], axes: Sequence[int | None]
    ) -> tuple[tuple[int, ...], list[Any], bool]:
        """Axes and indices beside a leading batch axis of the array; whether that is indexed too (indices differ)."""
        indices, own = operands[self.leading :], axes[self.leading :]
        shifted = tuple(axis + 1 for axis in self.axes)
        if all(a is None for a in own):
            return shifted, list(indices), False
        aligned = aligned_indices(indices, own)
        size = next(shape_of(i)[a] for i, a in zip(indices, own, strict=True) if a is not None)
        rank = max(len(shape_of(i)) for i in aligned)
        return (0, *shifted), [np.arange(size).reshape(size, *(1,) * (rank - 1)), *aligned], True


def aligned_indices(indices: Sequence[Any], axes: Sequence[int | None]) -> list[Any]:
    """Index arrays with their batch axis in front, fit to broadcast with each other."""
    rank = max(len(shape_of(i)) - (a is not None) for i, a in zip(indices, axes, strict=True))
    aligned = []
    for index, axis in zip(indices, axes, strict=True):
        if axis is not None:
            index = vocabulary.move_axis(index, axis, 0)
            size, *own = shape_of(index)
            index = reshape(index, (size, *(1,) * (rank - len(own)), *own))
        aligned.append(index)
    return aligned


def _front(x: Any, axis: int | None, size: Any) -> Any:
    """An operand with the batch axis in front, repeated if it has none."""
    if axis is None:
        return broadcast_to(x if is_traced(x) else np.asarray(x), (size, *shape_of(x)))
    return vocabulary.move_axis(x, axis, 0)


class Gather(_Indexed):
    """Elements at integer positions: `x[i]` for an integer array (or traced integer) `i`. Operands: x, indices."""

    name = "gather"

    def type(self, x: ArrayType, *indices: ArrayType) -> ArrayType:
        check_indices(self.axes, x, indices)
        return ArrayType(gathered_shape(x.shape, self.axes, self.at, indices), x.dtype)

    def numpy(self, x: Any, *indices: Any) -> Any:
        try:
            return _read(x if isinstance(x, np.ndarray) else np.asarray(x), self.axes, self.at, indices)
        except IndexError as error:
            raise misplaced(self, x, indices, error) from None

    def python(self, x: Any, *indices: Any) -> str | None:
        key = _key_text(self.axes, self.at, indices)
        return None if key is None else f"{x}[{key}]"

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        x, *indices = operands
        if all(index.index is not None for index in indices):
            return rearranged(self, operands, (0,))
        every, part = self.unknown_places(x.shape, indices)
        return [Groups(every, part, x.size), *[None] * len(indices)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return bind(self, tangents[0], *primals[1:])

    def pullback(self, mask: int) -> tuple[Any, Any]:
        axes, at = self.axes, self.at

        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            if ct.__class__ is Tensor or any(i.__class__ is Tensor for i in saved):
                return self.transpose(ct, (inputs[0], *saved), (True,))
            return (
                Piece(lambda buffer, part: _add(buffer, axes, at, part, saved), ct, inputs[0]),
                *(None,) * len(saved),
            )

        return lambda operands, out: operands[1:], apply

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        x, *indices = operands
        return (scatter_add(ct, self.axes, self.at, tuple(x.shape), indices), *(None,) * len(indices))

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        if axes[0] is None:
            return bind(self, operands[0], *aligned_indices(operands[1:], axes[1:])), self.at
        x = vocabulary.move_axis(operands[0], axes[0], 0)
        shifted, indices, both = self.batched_indices(operands, axes)
        if both:
            return bind(Gather.of(shifted, self.at), x, *indices), self.at
        return bind(Gather.of(shifted, self.at + 1), x, *indices), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.gather(operands[0], self.axes, self.at, operands[1:], out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((0,), 0), (rng.normal(size=(4, 3)), rng.integers(-4, 4, (2, 3)))
        yield cls((0, 2), 1), (rng.normal(size=(2, 3, 4)), rng.integers(0, 2, (5, 1)), rng.integers(0, 4, 2))
        yield cls((1,), 1), (rng.normal(size=(2, 3)), np.int64(-1))
        yield cls((0,), 0), (rng.normal(size=(3, 0)), np.zeros(0, int))


class ScatterAdd(_Indexed):
    """Zeros of a shape with the operand added at integer positions, repeated ones adding up: Gather's transpose."""

    name = "scatter_add"
    params = ("axes", "at", "shape")

    def type(self, v: ArrayType, *indices: ArrayType) -> ArrayType:
        result = ArrayType(self.shape, v.dtype)
        check_indices(self.axes, result, indices)
        if gathered_shape(self.shape, self.axes, self.at, indices) != v.shape:
            raise ShapeError(f"scatter_add: {v} does not have one element for each index", "broadcast it first")
        return result

    def numpy(self, v: Any, *indices: Any) -> Any:
        out = np.zeros(self.shape, np.asarray(v).dtype)
        try:
            _add(out, self.axes, self.at, v, indices)
        except IndexError as error:
            raise misplaced(self, out, indices, error) from None
        return out

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        every, part = self.unknown_places(self.shape, operands[1:])
        return [Groups(part, every, len(every)), *[None] * (len(operands) - 1)]

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str] | None:
        (out,), (v, *indices) = targets, operands
        key = _key_text(self.axes, self.at, indices)
        if key is None:
            return None
        zeros = f"{out} = np.zeros({parameter_text(self.shape)}, {dtype_text(out.type.dtype)})"
        return [zeros, f"np.add.at({out}, np.s_[{key}], {v})"]

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        indices = operands[1:]
        return (bind(Gather.of(self.axes, self.at), ct, *indices), *(None,) * len(indices))

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        size = batch_size(operands, axes)
        v = _front(operands[0], axes[0], size)
        shifted, indices, both = self.batched_indices(operands, axes)
        shape = (size, *self.shape)
        if both:
            return bind(ScatterAdd.of(shifted, self.at, shape), vocabulary.move_axis(v, 0, self.at), *indices), 0
        return bind(ScatterAdd.of(shifted, self.at + 1, shape), v, *indices), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.scatter(None, operands[0], self.axes, self.at, operands[1:], out, add=True)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((0,), 0, (4, 3)), (rng.normal(size=(2, 5, 3)), rng.integers(-4, 4, (2, 5)))
        yield cls((0, 2), 1, (2, 3, 4)), (rng.normal(size=(3, 5, 2)), rng.integers(0, 2, (5, 1)), rng.integers(0, 4, 2))
        yield cls((1,), 0, (2, 3)), (rng.normal(size=2), np.int64(-1))
        yield cls((0,), 0, (3, 0)), (rng.normal(size=(0, 0)), np.zeros(0, int))


class Scatter(_Indexed):
    """The first operand with the second assigned at integer positions, the last of repeated ones winning.

    Operands: x, v, indices; v is broadcast. Linear in x and v together. The result has the dtype of x.
    """

    name = "scatter"
    leading = 2

    def type(self, x: ArrayType, v: ArrayType, *indices: ArrayType) -> ArrayType:
        check_indices(self.axes, x, indices)
        part = gathered_shape(x.shape, self.axes, self.at, indices)
        if broadcast_shapes(part, v.shape) != part:
            raise ShapeError(
                f"{v} assigned to elements of shape {part} of {x}", "give the value that shape, or a scalar"
            )
        return ArrayType(x.shape, x.dtype)

    def numpy(self, x: Any, v: Any, *indices: Any) -> Any:
        out = np.array(x)
        try:
            _write(out, self.axes, self.at, v, indices)
        except IndexError as error:
            raise misplaced(self, x, indices, error) from None
        return out

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        x, v, *indices = operands
        if all(index.index is not None for index in indices):
            return rearranged(self, operands, (0, 1))
        every, part = self.unknown_places(x.shape, indices)
        assigned = Groups(part, every, x.size) if v.size == len(part) else dense([v], outs)[0]
        return [SAME, assigned, *[None] * len(indices)]

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str] | None:
        (out,), (x, v, *indices) = targets, operands
        key = _key_text(self.axes, self.at, indices)
        return None if key is None else [f"{out} = np.array({x})", f"{out}[{key}] = {v}"]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return assignment_tangent(self, primals, tangents)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        _, v, *indices = operands
        zero = type_of_value(ct).dtype.type(0)
        dx = bind(self, ct, zero, *indices) if linear[0] else None
        dv = None
        if linear[1]:
            dv = bind(Gather.of(self.axes, self.at), ct, *indices)
            winner = self.winners(shape_of(ct), indices)
            if winner is not None:
                after = len(shape_of(ct)) - len(self.axes) - self.at
                dv = vocabulary.where(reshape(winner, (*shape_of(winner), *(1,) * after)), dv, zero)
            dv = fit(dv, v)
        return (dx, dv, *(None,) * len(indices))

    def winners(self, shape: tuple[int, ...], indices: Sequence[Any]) -> Any:
        """Which entries of the index arrays are the last of their element; None if all are."""
        extents = tuple(shape[axis] for axis in self.axes)
        block = common_shape(indices)
        count = int(np.prod(block, dtype=int))
        if count <= 1:
            return None
        order = np.arange(1, count + 1).reshape(block)
        axes = tuple(range(len(extents)))
        last = bind(Scatter.of(axes, 0), np.zeros(extents, int), order, *indices)
        winner = vocabulary.equal(bind(Gather.of(axes, 0), last, *indices), order)
        return None if not is_traced(winner) and winner.all() else winner

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, v, *_ = operands
        size = batch_size(operands, axes)
        rank = len(shape_of(x)) - (axes[0] is not None) - len(self.axes)  # of a part, without the block
        own = [len(shape_of(i)) - (a is not None) for i, a in zip(operands[2:], axes[2:], strict=True)]
        rank += max(own)
        x = _front(x, axes[0], size)
        shifted, indices, both = self.batched_indices(operands, axes)
        if axes[1] is not None:
            v = vocabulary.move_axis(v, axes[1], 0)
            v = reshape(v, (size, *(1,) * (rank + 1 - len(shape_of(v))), *shape_of(v)[1:]))
        if not both:
            return bind(Scatter.of(shifted, self.at + 1), x, v, *indices), 0
        if axes[1] is not None:
            v = vocabulary.move_axis(v, 0, self.at)
        elif len(shape_of(v)) > rank - self.at:
            v = reshape(v, (*(1,) * (rank - len(shape_of(v))), *shape_of(v)))
            v = reshape(v, (*shape_of(v)[: self.at], 1, *shape_of(v)[self.at :]))
        return bind(Scatter.of(shifted, self.at), x, v, *indices), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.scatter(operands[0], operands[1], self.axes, self.at, operands[2:], out, add=False)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls((0,), 0), (rng.normal(size=(4, 3)), rng.normal(size=(6, 1)), np.array([0, 2, 0, -1, 2, 1]))
        yield (
            cls((0, 2), 1),
            (rng.normal(size=(2, 3, 4)), rng.normal(size=(3, 5, 2)), rng.integers(0, 2, (5, 1)), np.array([3, 1])),
        )
        yield cls((1,), 0), (rng.normal(size=(2, 3)), rng.normal(size=2), np.int64(-1))
        yield cls((0,), 0), (rng.normal(size=(3, 0)), rng.normal(size=()), np.zeros(0, int))


def misplaced(primitive: Any, x: Any, indices: Sequence[Any], error: Exception) -> Exception:
    """The error for index arrays that NumPy refused: which one, on which axis, or the misfit of types."""
    for axis, index in zip(primitive.axes, indices, strict=True):
        try:
            check_values(index, np.shape(x), axis, type_of_value(x))
        except IndexOutOfBoundsError as found:
            return found
    return ShapeError(f"{primitive.name} of {type_of_value(x)}: {error}", "check shapes and dtypes of the indices")


def check_values(index: Any, shape: tuple[Any, ...], axis: int, t: Any) -> None:
    """Raise if an index array with numbers goes beyond its axis."""
    flat = np.ravel(index)
    if flat.size:
        check_bounds(int(flat.min()), shape[axis], axis, t)
        check_bounds(int(flat.max()), shape[axis], axis, t)


def _check_constants(x: Any, axes: tuple[int, ...], indices: Sequence[Any]) -> None:
    """In a static trace, indices that are known are checked at once."""
    if symbolic_active():
        for axis, index in zip(axes, indices, strict=True):
            if not is_traced(index):
                check_values(index, shape_of(x), axis, type_of_value(x))


def gather(x: Any, axes: tuple[int, ...], at: int, indices: Sequence[Any]) -> Any:
    """Elements of `x` at index arrays for some axes; the indexed shape stands at position `at` of the result."""
    _check_constants(x, axes, indices)
    return bind(Gather.of(axes, at), x, *indices)


def scatter(x: Any, axes: tuple[int, ...], at: int, v: Any, indices: Sequence[Any]) -> Any:
    """`x` with `v` (broadcast) at those elements; the last of repeated indices wins."""
    _check_constants(x, axes, indices)
    return bind(Scatter.of(axes, at), x, v, *indices)


def scatter_add(v: Any, axes: tuple[int, ...], at: int, shape: tuple[int, ...], indices: Sequence[Any]) -> Any:
    """Zeros of a shape with `v` (of the gathered shape) added at those elements; repeated indices add up."""
    return bind(ScatterAdd.of(axes, at, shape), v, *indices)


def take_row(x: Any, k: Any) -> Any:
    """`x[k]` along the first axis; `k` may be traced."""
    if is_traced(k) or isinstance(k, np.ndarray):
        return gather(x, (0,), 0, (k,))
    return take_part(x, (int(k),))


def grid(shape: tuple[int, ...], axis: int) -> list[Any]:
    """Index arrays that go through all positions of every axis but one, whose entry is None."""
    return [
        None if k == axis else np.arange(n).reshape([-1 if j == k else 1 for j in range(len(shape))])
        for k, n in enumerate(shape)
    ]


def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """Elements at positions along an axis that differ from line to line, as `numpy.take_along_axis`."""
    positions = [indices if p is None else p for p in grid(shape_of(x), axis)]
    return gather(x, tuple(range(len(positions))), 0, positions)


vocabulary.take_row = take_row
vocabulary.take_along_axis = take_along_axis
