"""Matrix products with NumPy's rules: vectors, matrices, stacks that broadcast.

Z = X Y gives dZ = dX Y + X dY; transposed, X receives ct Y^T and Y receives X^T ct, summed over the axes
along which a stack was repeated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.interpreter import bind, is_traced
from ..graph.primitive import Sample
from ..graph.types import ArrayType, broadcast_shapes
from .arithmetic import conj, multiply
from .dependence import Operand, product
from .families import Bilinear, fit, shape_of, vocabulary
from .shape import move_axis, reshape, sum_to, transpose


class Matmul(Bilinear):
    """`x @ y`: the last axis of x against the last but one of y (the only one, if y is a vector)."""

    name = "matmul"
    facts = frozenset({"bilinear", "matmul"})

    def type(self, x: ArrayType, y: ArrayType) -> ArrayType:
        if not x.shape or not y.shape:
            raise ShapeError(f"matmul: {x} @ {y}: a number is no matrix", "multiply by a number with *")
        if x.dtype.kind in "mMOSUV" or y.dtype.kind in "mMOSUV":
            raise DtypeError(f"matmul does not accept {x} and {y}", "convert with .astype first")
        inner = y.shape[-2] if y.ndim > 1 else y.shape[0]
        stack = broadcast_shapes(x.shape[:-2], y.shape[:-2])
        if x.shape[-1] != inner or stack is None:
            raise ShapeError(f"matmul: {x} @ {y}: {_mismatch(x, y, inner, stack)}", _repair(x, y))
        shape = (*stack, *x.shape[-2:-1], *(y.shape[-1:] if y.ndim > 1 else ()))
        return ArrayType(shape, np.result_type(x.promotes_as, y.promotes_as))

    def numpy(self, x: Any, y: Any) -> Any:
        return np.matmul(x, y)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        x, y = (len(operand.shape) for operand in operands)
        stack = [("stack", k) for k in range(max(x, y, 2) - 2)]
        left = [*stack[len(stack) - max(x - 2, 0) :], *(["row"] if x > 1 else []), "inner"]
        right = [*stack[len(stack) - max(y - 2, 0) :], "inner", *(["column"] if y > 1 else [])]
        result = [*stack, *(["row"] if x > 1 else []), *(["column"] if y > 1 else [])]
        return product(operands, (left, right), outs.shape, result)

    def flops(self, x: ArrayType, y: ArrayType) -> float:
        return 2 * self.type(x, y).size * x.shape[-1]  # type: ignore[no-any-return]

    def pullback(self, mask: int) -> tuple[Any, Any]:
        """(keep, apply) as `saves` says, without the detours of the general bilinear rule."""
        if mask == 3:
            return lambda operands, out: tuple(operands), _both
        return (
            (lambda operands, out: (operands[1],), _left)
            if mask == 1
            else (lambda operands, out: (operands[0],), _right)
        )

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        x, y = operands
        return (for_left(ct, x, y) if linear[0] else None), (for_right(ct, x, y) if linear[1] else None)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, y = (z if a is None else move_axis(z, a, 0) for z, a in zip(operands, axes, strict=True))
        x_rank, y_rank = (len(shape_of(z)) - (a is not None) for z, a in zip(operands, axes, strict=True))
        if axes[1] is None and (y_rank <= 2 or x_rank == 1) and x_rank <= 2:
            if x_rank == 1 and y_rank > 2:
                x = reshape(x, (shape_of(x)[0], *(1,) * (y_rank - 1), shape_of(x)[1]))
                out = matmul(x, y)
                return reshape(out, (*shape_of(out)[:-2], shape_of(out)[-1])), 0
            return matmul(x, y), 0
        if axes[0] is None and x_rank == 1:
            return matmul(x, y) if y_rank > 1 else matmul(y, x), 0
        if axes[0] is None and x_rank == 2 and y_rank == 1:
            return matmul(y, swap(x)), 0
        rank = max(x_rank, y_rank, 2)
        x = _as_stack(x, axes[0] is not None, x_rank, rank, left=True)
        y = _as_stack(y, axes[1] is not None, y_rank, rank, left=False)
        out = matmul(x, y)
        shape = list(shape_of(out))
        if x_rank == 1:
            del shape[-2]
        if y_rank == 1:
            del shape[-1]
        return reshape(out, tuple(shape)), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.matmul(*operands, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        shapes = [((2, 3), (3, 4)), ((3,), (3,)), ((3,), (3, 2)), ((2, 3), (3,)), ((5, 1, 2, 3), (4, 3, 2)),
                  ((2, 0), (0, 3)), ((4, 2, 3), (3,)), ((3,), (4, 3, 2)), ((4, 2, 3), (3, 2))]  # fmt: skip
        for left, right in shapes:
            yield cls(), (rng.normal(size=left), rng.normal(size=right))
        yield cls(), (rng.normal(size=(2, 3)) + 1j * rng.normal(size=(2, 3)), rng.normal(size=(3, 2)))


def _both(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
    x, y = saved
    return for_left(ct, inputs[0], y), for_right(ct, x, inputs[1])


def _left(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
    return for_left(ct, inputs[0], saved[0]), None


def _right(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
    return None, for_right(ct, saved[0], inputs[1])


def _mismatch(x: ArrayType, y: ArrayType, inner: Any, stack: Any) -> str:
    if x.shape[-1] != inner:
        return f"the last axis of the left operand has {x.shape[-1]} elements, the matching one of the right {inner}"
    return f"the stacks {x.shape[:-2]} and {y.shape[:-2]} do not broadcast"


def _repair(x: ArrayType, y: ArrayType) -> str:
    if x.ndim == y.ndim == 2 and x.shape == y.shape:
        return "write x @ y.T or x.T @ y for the product with a transpose, x * y for the elementwise one"
    if x.ndim == y.ndim == 2 and x.shape[0] == y.shape[0]:
        return "write x.T @ y"
    if x.ndim == y.ndim == 2 and x.shape[1] == y.shape[1]:
        return "write x @ y.T"
    return "make the inner axes equal, for instance with .T or np.reshape"


def _as_stack(x: Any, batched: bool, own: int, rank: int, left: bool) -> Any:
    """An operand of a batched product with its own axes filled up to `rank`, a vector as a row or a column."""
    shape = shape_of(x)
    lead, rest = (shape[:1], shape[1:]) if batched else ((), shape)
    if own == 1:
        rest = (1, *rest) if left else (*rest, 1)
    if batched:
        rest = (*(1,) * (rank - len(rest)), *rest)
    return reshape(x, (*lead, *rest))


def matmul(x: Any, y: Any) -> Any:
    """`x @ y`."""
    return bind(_matmul, x, y)


_matmul = Matmul.of()


def swap(x: Any) -> Any:
    """The last two axes exchanged."""
    if not is_traced(x):
        return np.swapaxes(x, -1, -2)
    rank = len(shape_of(x))
    return transpose(x, (*range(rank - 2), rank - 1, rank - 2))


def adjoint(x: Any) -> Any:
    """The conjugate transpose of the last two axes."""
    return conj(swap(x))


def for_left(ct: Any, x: Any, y: Any) -> Any:
    """The cotangent of x in x @ y; of x only shape and dtype are read."""
    x_rank, y_rank = len(x.shape), len(shape_of(y))
    if y_rank == 2 and x_rank <= 2:
        found = matmul(ct, swap(y))
    elif y_rank == 1:
        ct = reshape(ct, (*shape_of(ct), 1)) if x_rank > 1 else ct
        found = multiply(ct, y)
    elif x_rank == 1:
        ct = reshape(ct, (*shape_of(ct), 1))
        found = matmul(y, ct)
        found = reshape(found, shape_of(found)[:-1])
        found = sum_to(found, x.shape)
    else:
        found = sum_to(matmul(ct, swap(y)), x.shape)
    return fit(found, x)


def for_right(ct: Any, x: Any, y: Any) -> Any:
    """The cotangent of y in x @ y; of y only shape and dtype are read."""
    x_rank, y_rank = len(shape_of(x)), len(y.shape)
    if x_rank == 2 and y_rank <= 2:
        found = matmul(swap(x), ct)
    elif x_rank == 1:
        if y_rank > 1:
            ct = reshape(ct, (*shape_of(ct)[:-1], 1, shape_of(ct)[-1]))
            x = reshape(x, (*shape_of(x), 1))
        found = multiply(x, ct)
    elif y_rank <= 2:  # a stack against one matrix or vector: one product over all rows
        rows, inner = shape_of(x)[:-1], shape_of(x)[-1]
        count = 1
        for extent in rows:
            count = count * extent
        flat = reshape(ct, (count, *shape_of(ct)[len(rows) :]))
        found = matmul(swap(reshape(x, (count, inner))), flat)
    else:
        found = sum_to(matmul(swap(x), ct), y.shape)
    return fit(found, y)


vocabulary.matmul = matmul
vocabulary.swap = swap
