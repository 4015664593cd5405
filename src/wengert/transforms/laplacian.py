"""Laplacians by a forward pass of their own.

The forward Laplacian carries, for every value v, its gradient in all inputs and its Laplacian: along y = f(v),

    grad y = f'(v) grad v,    lap y = f'(v) lap v + f''(v) |grad v|^2,

so that the n second derivatives share f' and f'', and only the gradient is n times as large as the value.
(R. Li et al., A computational framework for neural network-based variational Monte Carlo with forward Laplacian, 2024.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import DtypeError, WengertError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..ops.control_flow import ControlFlow
from ..ops.families import Elementwise, match, shape_of, vocabulary
from ..ops.reduce import sum_axes
from ..ops.shape import concatenate, reshape, zeros_like
from .complaints import explain
from .forward import Forward, jvp_rule, scalar, split
from .jacobian import basis, chosen
from .packed import Packed
from .power_series import constant_slopes, plus
from .vmap import Batch, batched_value


class Slopes(NamedTuple):
    """The gradient of a value, with the inputs along a leading axis, and its Laplacian (None for zero)."""

    first: Any
    second: Any


class Spread(Packed):
    """Tensors are values with their gradients and Laplacians in `count` inputs."""

    noun = "value with a gradient and a Laplacian"
    orders = 2

    def __init__(self, count: int) -> None:
        super().__init__(count + 1)
        self.count = count

    def again(self) -> Spread:
        return Spread(self.count)

    def pack(self, value: Any, note: Slopes) -> Any:
        second = zeros_like(value) if note.second is None else note.second
        return concatenate([note.first, reshape(second, (1, *shape_of(second)))], 0)

    def unpack(self, value: Any, packed: Any) -> Slopes:
        return Slopes(vocabulary.slice_axis(packed, 0, 0, self.count), vocabulary.take_row(packed, self.count))

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        values, slopes = zip(*map(self.opened, operands), strict=True)
        if isinstance(primitive, ControlFlow) and "custom" not in primitive.facts:
            return self.through_graphs(primitive, values, slopes)
        try:
            out = bind(primitive, *values)
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, values, error) from error
        if not primitive.differentiable:
            return out
        if "custom" in primitive.facts:
            self.check_captured(out)
        if primitive.split is not None:  # equal eigenvalues: see ops.spectral
            out = primitive.split(out, None)
        with np.errstate(all="ignore"):
            found = self._slopes(primitive, values, slopes, out)
        if not primitive.multiple:
            return out if found[0] is None else Tensor(self, out, found[0])
        return tuple(o if s is None else Tensor(self, o, s) for o, s in zip(out, found, strict=True))

    def _slopes(
        self, primitive: Primitive, values: Sequence[Any], slopes: Sequence[Slopes | None], out: Any
    ) -> list[Slopes | None]:
        several = primitive.multiple
        with Batch(self.count) as batch:
            tangents = [None if s is None else Tensor(batch, s.first, 0) for s in slopes]
            firsts = listed(jvp_rule(primitive, values, tangents, out), several)
        along = [None if t is None else batched_value(batch, t) for t in firsts]
        seconds: list[Any] = [None] * len(firsts)
        if any(s is not None and s.second is not None for s in slopes):
            rates = [None if s is None else s.second for s in slopes]
            seconds = listed(jvp_rule(primitive, values, rates, out), several)
        bends: list[Any] = [None] * len(firsts)
        if is_linear(primitive, slopes):
            pass
        elif isinstance(primitive, Elementwise) and "bilinear" not in primitive.facts:
            bends = [bend(primitive, values, slopes, out)]
        elif "bilinear" in primitive.facts and len(values) == 2:
            with Batch(self.count) as batch:
                x, y = (Tensor(batch, s.first, 0) for s in slopes)  # type: ignore[union-attr]
                products = bind(primitive, x, y)
            bends = [2 * sum_axes(batched_value(batch, products), (0,))]
        else:
            bends = self._bends(primitive, values, slopes, out, along)
        return [
            None if a is None else Slopes(a, plus(s, b)) for a, s, b in zip(along, seconds, bends, strict=True)
        ]  # fmt: skip

    def _bends(
        self, primitive: Primitive, values: Sequence[Any], slopes: Sequence[Slopes | None], out: Any, along: list[Any]
    ) -> list[Any]:
        """The sum of second derivatives along every row of the gradients: the forward rule, differentiated again."""
        with Batch(self.count) as batch:
            rows = [None if s is None else Tensor(batch, s.first, 0) for s in slopes]
            out_rows = [None if a is None else Tensor(batch, a, 0) for a in along]
            with Forward() as forward:

                def dual(value: Any, row: Any) -> Any:
                    return value if row is None else Tensor(forward, value, row)

                outs = [dual(o, r) for o, r in zip(listed(out, primitive.multiple), out_rows, strict=True)]
                result = jvp_rule(
                    primitive,
                    [dual(v, r) for v, r in zip(values, rows, strict=True)],
                    rows,
                    tuple(outs) if primitive.multiple else outs[0],
                )
            found = [None if r is None else split(forward, r)[1] for r in listed(result, primitive.multiple)]
        return [None if t is None else sum_axes(batched_value(batch, t), (0,)) for t in found]


def listed(value: Any, several: bool) -> list[Any]:
    return list(value) if several else [value]


def is_linear(primitive: Primitive, slopes: Sequence[Slopes | None]) -> bool:
    """Whether an operation is linear in what moves."""
    if "linear" in primitive.facts or constant_slopes(primitive, slopes):  # type: ignore[arg-type]
        return True
    return "bilinear" in primitive.facts and sum(s is not None for s in slopes) == 1


def bend(primitive: Elementwise, values: Sequence[Any], slopes: Sequence[Slopes | None], out: Any) -> Any:
    """The sum over pairs of operands of d2f/da db (grad a . grad b), for an elementwise operation f."""
    rank = len(shape_of(out))
    moving = [k for k, s in enumerate(slopes) if s is not None and (primitive.derivatives or ())[k] is not None]
    rows = {k: with_rank(slopes[k].first, rank) for k in moving}  # type: ignore[union-attr]
    total = None
    for a in moving:
        for b in moving:
            if b < a:
                continue
            second = second_slope(primitive, values, out, a, b)
            if second is not None:
                pairs = sum_axes(rows[a] * rows[b], (0,))
                total = plus(total, vocabulary.strong_multiply(pairs if a == b else 2 * pairs, second))
    return None if total is None else match(total, out)


def with_rank(rows: Any, rank: int) -> Any:
    """Rows of an operand with axes of length 1 in front, so that they broadcast against those of the result."""
    shape = shape_of(rows)
    return rows if len(shape) == rank + 1 else reshape(rows, (shape[0], *(1,) * (rank + 1 - len(shape)), *shape[1:]))


def second_slope(primitive: Elementwise, values: Sequence[Any], out: Any, a: int, b: int) -> Any:
    """d2f/da db as an array of the result's shape or one that broadcasts to it; None if it is zero."""
    derivatives = primitive.derivatives or ()
    if not callable(derivatives[a]):
        return None
    slots = primitive._arguments
    every = [*values, out]
    with Forward() as forward:
        duals = list(every)
        duals[b] = Tensor(forward, values[b], ones_like(values[b]))
        if primitive.arity in slots[a]:
            slope = derivatives[b](*[every[k] for k in slots[b]]) if callable(derivatives[b]) else derivatives[b]
            like = zeros_like(out)
            duals[primitive.arity] = Tensor(forward, out, like + slope)
        result = derivatives[a](*[duals[k] for k in slots[a]])
    return split(forward, result)[1]


def ones_like(value: Any) -> Any:
    t = type_of_value(value)
    return np.ones(t.shape, t.dtype)[()]


def real_inputs(leaves: Sequence[Any], what: str) -> list[Any]:
    types = [type_of_value(leaf)._replace(weak=False) for leaf in leaves]
    for t in types:
        if t.dtype.kind == "c":
            raise DtypeError(f"{what} with respect to {t}", "take derivatives in the real and imaginary parts")
    return types


def laplacian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the sum of the second derivatives of `fn` in every element of an argument.

    Parameters
    ----------
    fn : of real arrays in any containers; any number of outputs.
    argnums : which positional argument, or a sequence of such, whose elements all count.

    Returns
    -------
    A function of the same arguments; its result has the containers and shapes of the output of `fn`.

    One forward pass carries the value, its gradient and its Laplacian, without a Hessian. For n inputs that is about n
    times the cost of `fn`; Hessian-vector products with n unit vectors cost several times that.

    Raises
    ------
    IntegerInputError, DtypeError : a leaf of the argument is not real floating point.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.laplacian(lambda x: np.sum(x**3) + x[0] * x[1])(np.array([1.0, 2.0]))
    np.float64(18.0)
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        of, leaves, _ = chosen(fn, argnums, args, kwargs, "laplacian")
        types = real_inputs(leaves, "laplacian")
        count = sum(t.size for t in types)
        with Spread(count) as spread:
            given = [
                Tensor(spread, leaf if is_traced(leaf) else np.asarray(leaf), Slopes(rows, None))
                for leaf, rows in zip(leaves, basis(types), strict=True)
            ]
            outs, out_structure = flatten(of(*given))
            found = [spread.opened(out) for out in outs]
        results = [
            zeros_like(value) if slopes is None or slopes.second is None else slopes.second for value, slopes in found
        ]
        return unflatten(out_structure, [scalar(vocabulary.settle(r)) for r in results])

    return wrapped
