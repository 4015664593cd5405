"""Hessian diagonals: one forward pass for the gradients of all values, one reverse pass for their weights.

Along y = f(v) the second derivatives in input i are f'(v) times those of v, plus f''(v) (dv/dx_i)^2. The first part is
linear in what comes before, so that in a scalar result every operation contributes

    sum over elements of (adjoint of y) f''(v) (dv/dx_i)^2,

where the adjoints of all values come from a single reverse pass. Only the gradients are n times as large as the values.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import WengertError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..ops.arithmetic import real, strong_multiply
from ..ops.families import Elementwise, shape_of, vocabulary
from ..ops.reduce import sum_axes
from ..ops.shape import move_axis, zeros_like
from .complaints import explain
from .forward import Forward, jvp_rule, scalar
from .grad import lowered, one_like
from .jacobian import basis, chosen, cut
from .jet import Jet, jet
from .laplacian import is_linear, listed, real_inputs, second_slope, with_rank
from .power_series import given
from .reverse import Record
from .vmap import Batch, batched_value, vmap

Share = Callable[[Any], Any]
"""From the adjoint of a value to what its operation contributes, one number for each input."""


class Curvature(Forward):
    """Tensors are recorded values with their gradients, the inputs along a leading axis; notes what bends where."""

    noun = "value with a gradient"
    orders = 2

    def __init__(self, count: int, record: Record) -> None:
        super().__init__()
        self.count = count
        self.record = record
        self.shares: list[tuple[Any, Share]] = []

    def plain(self, value: Any) -> Any:
        """A recorded value without its record."""
        return value.value if is_traced(value) and value.interpreter is self.record else self.record.lower(value)

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        mine = [is_traced(x) and x.interpreter is self for x in operands]
        recorded = [x.value if m else self.lower(x) for x, m in zip(operands, mine, strict=True)]
        rows = [x.note if m else None for x, m in zip(operands, mine, strict=True)]
        try:
            out = bind(primitive, *recorded)
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, recorded, error) from error
        if not primitive.differentiable:
            return out
        if "custom" in primitive.facts:
            self.check_captured(out)
        outs = listed(out, primitive.multiple)
        values = [self.plain(x) for x in recorded]
        results = [self.plain(o) for o in outs]
        with np.errstate(all="ignore"):
            slopes, shares = self._bent(primitive, values, rows, results)
        found = []
        for o, slope, share in zip(outs, slopes, shares, strict=True):
            if share is not None:
                self.shares.append((o, share))
            found.append(o if slope is None else Tensor(self, o, slope))
        return tuple(found) if primitive.multiple else found[0]

    def _bent(
        self, primitive: Primitive, values: Sequence[Any], rows: Sequence[Any], results: list[Any]
    ) -> tuple[list[Any], list[Share | None]]:
        """The gradients of the results, and what each contributes."""
        several = primitive.multiple
        straight = is_linear(primitive, rows)
        if isinstance(primitive, Elementwise) or straight:
            with Batch(self.count) as batch:
                tangents = [None if r is None else Tensor(batch, r, 0) for r in rows]
                out = tuple(results) if several else results[0]
                moved = listed(jvp_rule(primitive, values, tangents, out), several)
            slopes = [None if t is None else batched_value(batch, t) for t in moved]
            shares: list[Share | None] = [None] * len(slopes)
            if not straight:
                shares = [self._by_slopes(primitive, values, rows, results[0])]  # type: ignore[arg-type]
            return slopes, shares
        return self._by_series(primitive, values, rows)

    def _by_slopes(self, primitive: Elementwise, values: Sequence[Any], rows: Sequence[Any], out: Any) -> Share | None:
        """An elementwise operation: the sum over pairs of operands of f_ab times their gradients."""
        rank = len(shape_of(out))
        moving = [k for k, r in enumerate(rows) if r is not None and (primitive.derivatives or ())[k] is not None]
        pairs = [(a, b) for a in moving for b in moving if a <= b]
        slopes = [(a, b, second_slope(primitive, values, out, a, b)) for a, b in pairs]
        bent = [(a, b, s) for a, b, s in slopes if s is not None]

        def share(adjoint: Any) -> Any:
            total = None
            for a, b, second in bent:
                weight = strong_multiply(adjoint, second)
                product = with_rank(rows[a], rank) * with_rank(rows[b], rank)
                if shape_of(weight) != shape_of(product)[1:]:
                    weight = vocabulary.sum_to(weight, shape_of(product)[1:])
                part = self.contracted(product, weight)
                part = part if a == b else 2 * part
                total = part if total is None else total + part
            return total

        return share if bent else None

    def _by_series(
        self, primitive: Primitive, values: Sequence[Any], rows: Sequence[Any]
    ) -> tuple[list[Any], list[Share | None]]:
        """Any other operation, loops included: its own series of second order along each row of the gradients."""
        moving = [k for k, r in enumerate(rows) if r is not None]
        kinds: list[bool] = []

        def along(*directions: Any) -> list[Any]:
            with Jet(2) as level:
                full = list(values)
                for k, direction in zip(moving, directions, strict=True):
                    full[k] = Tensor(level, values[k], given(values[k], [direction]))
                outs = listed(bind(primitive, *full), primitive.multiple)
                found = [(level.opened(out)) for out in outs]
                kinds[:] = [terms is not None for _, terms in found]
                zeros = [zeros_like(value) for value, _ in found]
                terms = [[t[1], t[2]] for _, t in found if t is not None]
                blanks = [z for z, (_, t) in zip(zeros, found, strict=True) if t is not None]
            return [
                blank if term is None else vocabulary.settle(term)
                for blank, own in zip(blanks, terms, strict=True)
                for term in own
            ]

        columns = iter(vmap(along, axis_size=self.count)(*[rows[k] for k in moving]))
        slopes: list[Any] = []
        shares: list[Share | None] = []
        for moves in kinds:
            slopes.append(next(columns) if moves else None)
            bend = 2 * next(columns) if moves else None
            shares.append(None if bend is None else lambda adjoint, bend=bend: self.contracted(bend, adjoint))
        return slopes, shares

    def contracted(self, rows: Any, weight: Any) -> Any:
        """One number for each row: its inner product with the weight."""
        found = sum_axes(rows * weight, tuple(range(1, len(shape_of(rows)))))
        return real(found) if type_of_value(found).dtype.kind == "c" else found


def hessian_diagonal(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """A function that returns the second derivatives of `fn` in every element of an argument, without the mixed ones.

    Parameters
    ----------
    fn : of real arrays in any containers; any number of outputs.
    argnums : which positional argument, or a sequence of such.

    Returns
    -------
    A function whose result has the containers of the output, each leaf replaced by the containers of the argument,
    each leaf of shape (*output shape, *input shape), as that of `jacobian`. For a scalar function those are the
    containers and shapes of the argument itself.

    For a scalar function that is one forward pass with the gradients of all values and one reverse pass of the function
    alone, about half the cost of Hessian-vector products with all unit vectors; for others one batched forward pass on
    series of second order.

    Raises
    ------
    IntegerInputError, DtypeError : a leaf of the argument is not real floating point.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.hessian_diagonal(lambda x: np.sum(x**3) + x[0] * x[1])(np.array([1.0, 2.0]))
    array([ 6., 12.])
    """

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        of, leaves, structure = chosen(fn, argnums, args, kwargs, "hessian_diagonal")
        types = real_inputs(leaves, "hessian_diagonal")
        leaves = [leaf if is_traced(leaf) else np.asarray(leaf) for leaf in leaves]
        directions = basis(types)
        with Record() as record:
            values = [record.leaf(leaf) for leaf in leaves]
            with Curvature(sum(t.size for t in types), record) as level:
                result = of(*[Tensor(level, v, rows) for v, rows in zip(values, directions, strict=True)])
        outs, out_structure = flatten(result)
        value = outs[0].value if outs and is_traced(outs[0]) and outs[0].interpreter is level else None
        if value is None or len(outs) > 1 or shape_of(value) != ():
            return by_series(of, leaves, types, structure)
        total = diagonal(level, value)
        if total is None:
            parts = [np.zeros(t.shape, t.dtype)[()] for t in types]
        else:
            parts = cut(vocabulary.settle(total), (), types)
        return unflatten(out_structure, [unflatten(structure, [scalar(p) for p in parts])])

    return wrapped


def diagonal(level: Curvature, value: Any) -> Any:
    """The sum of all contributions to a scalar; None if there are none."""
    record = level.record
    if not (is_traced(value) and value.interpreter is record and value.note is not None):
        return None
    record.backward([(value.note, one_like(lowered(record, value)))], keep=True)
    total = None
    for out, share in level.shares:
        adjoint = getattr(out.note, "gradient", None) if is_traced(out) and out.interpreter is record else None
        if adjoint is not None:
            part = share(adjoint)
            total = part if total is None else total + part
    return total


def by_series(of: Callable[..., Any], leaves: Sequence[Any], types: Sequence[Any], structure: Any) -> Any:
    """Second derivatives of any number of outputs, on series of second order along every unit vector."""

    def second(*directions: Any) -> Any:
        out, series = jet(of, leaves, [[v, None] for v in directions])
        out_tree = flatten(out)[1]
        return unflatten(out_tree, [own[1] for own in out_tree.flatten_up_to(series)])

    columns, out_structure = flatten(vmap(second, axis_size=sum(t.size for t in types))(*basis(list(types))))
    table = [cut(move_axis(c, 0, len(shape_of(c)) - 1), shape_of(c)[1:], list(types)) for c in columns]
    return unflatten(out_structure, [unflatten(structure, row) for row in table])
