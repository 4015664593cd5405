"""Comparison, logic and bits (no derivatives), and the choice between values: `where`, `clip`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import type_of_value
from .dependence import Operand, broadcast, positions
from .families import Elementwise, booleans, elementwise, fit, integers, match, reals, vocabulary

equal = elementwise(
    "equal", np.equal, facts=("commutative",), scalar=lambda e, x, y: e.eq(x, y),
    doc="x == y",
)  # fmt: skip
not_equal = elementwise(
    "not_equal", np.not_equal, facts=("commutative",), scalar=lambda e, x, y: e.ne(x, y),
    doc="x != y",
)  # fmt: skip
less = elementwise(
    "less", np.less, scalar=lambda e, x, y: e.lt(x, y),
    doc="x < y",
)  # fmt: skip
less_equal = elementwise(
    "less_equal", np.less_equal, scalar=lambda e, x, y: e.le(x, y),
    doc="x <= y",
)  # fmt: skip
greater = elementwise(
    "greater", np.greater, scalar=lambda e, x, y: e.gt(x, y),
    doc="x > y",
)  # fmt: skip
greater_equal = elementwise(
    "greater_equal", np.greater_equal, scalar=lambda e, x, y: e.ge(x, y),
    doc="x >= y",
)  # fmt: skip
logical_and = elementwise(
    "logical_and", np.logical_and, facts=("commutative", "associative"), samples=booleans(),
    scalar=lambda e, x, y: e.both(e.convert(x, "bool"), e.convert(y, "bool")),
    doc="x and y",
)  # fmt: skip
logical_or = elementwise(
    "logical_or", np.logical_or, facts=("commutative", "associative"), samples=booleans(),
    scalar=lambda e, x, y: e.either(e.convert(x, "bool"), e.convert(y, "bool")),
    doc="x or y",
)  # fmt: skip
logical_xor = elementwise(
    "logical_xor", np.logical_xor, facts=("commutative", "associative"), samples=booleans(),
    scalar=lambda e, x, y: e.differ(e.convert(x, "bool"), e.convert(y, "bool")),
    doc="x xor y",
)  # fmt: skip
logical_not = elementwise(
    "logical_not", np.logical_not, samples=booleans(), scalar=lambda e, x: e.invert(e.convert(x, "bool")),
    doc="not x",
)  # fmt: skip
bitwise_and = elementwise(
    "bitwise_and", np.bitwise_and, facts=("commutative",), samples=integers(0, 64), complex=False,
    scalar=lambda e, x, y: e.both(x, y),
    doc="x & y",
)  # fmt: skip
bitwise_or = elementwise(
    "bitwise_or", np.bitwise_or, facts=("commutative",), samples=integers(0, 64), complex=False,
    scalar=lambda e, x, y: e.either(x, y),
    doc="x | y",
)  # fmt: skip
bitwise_xor = elementwise(
    "bitwise_xor", np.bitwise_xor, facts=("commutative",), samples=integers(0, 64), complex=False,
    scalar=lambda e, x, y: e.differ(x, y),
    doc="x ^ y",
)  # fmt: skip
invert = elementwise(
    "invert", np.invert, samples=integers(0, 64), complex=False, scalar=lambda e, x: e.invert(x),
    doc="~x",
)  # fmt: skip
left_shift = elementwise(
    "left_shift", np.left_shift, samples=integers(0, 8), complex=False,
    scalar=lambda e, x, y: e.shifted(x, y, True), scalar_kinds="iu", doc="x << y",
)  # fmt: skip
right_shift = elementwise(
    "right_shift", np.right_shift, samples=integers(0, 8), complex=False,
    scalar=lambda e, x, y: e.shifted(x, y, False), scalar_kinds="iu", doc="x >> y",
)  # fmt: skip
isnan = elementwise(
    "isnan", np.isnan, scalar=lambda e, x: e.ne(x, x), scalar_kinds="f",
    doc="Whether x is NaN",
)  # fmt: skip
isinf = elementwise(
    "isinf", np.isinf, scalar=lambda e, x: e.eq(e.absolute(x), np.inf), scalar_kinds="f",
    doc="Whether x is infinite",
)  # fmt: skip
isfinite = elementwise(
    "isfinite", np.isfinite, scalar=lambda e, x: e.lt(e.absolute(x), np.inf), scalar_kinds="f",
    doc="Whether x is neither infinite nor NaN",
)  # fmt: skip
signbit = elementwise(
    "signbit", np.signbit, complex=False, scalar=lambda e, x: e.signbit(x), scalar_kinds="f",
    doc="Whether the sign bit is set (-0.0 included)",
)  # fmt: skip


class Where(Elementwise, abstract=True):
    """`where(condition, x, y)`: linear in x and y together; a masked operand gets an exact zero."""

    def operand_dtypes(self, types: Sequence[Any], out: Any) -> list[np.dtype[Any]]:
        return [np.dtype(bool), out.dtype, out.dtype]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        condition, *_ = primals
        zero = type_of_value(out).dtype.type(0)
        _, dx, dy = (t if t is None else match(t, out) for t in tangents)
        return match(self(condition, zero if dx is None else dx, zero if dy is None else dy), out)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0,)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        """The elements at the same place; where the condition is known, those of the branch that is taken."""
        choice = operands[0].value
        paths: list[Any] = [None]
        for x, taken in zip(operands[1:], (True, False), strict=True):
            if choice is None:
                paths.append(broadcast(x.shape, outs.shape))
            else:
                mine = np.equal(np.broadcast_to(choice, outs.shape), taken)
                paths.append(np.where(mine, np.broadcast_to(positions(x.shape), outs.shape), -1))
        return paths

    def pullback(self, mask: int) -> tuple[Any, Any]:
        def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
            (condition,) = saved
            zero = ct.dtype.type(0)
            dx = fit(self(condition, ct, zero), inputs[1]) if mask & 2 else None
            dy = fit(self(condition, zero, ct), inputs[2]) if mask & 4 else None
            return None, dx, dy

        return lambda operands, out: (operands[0],), apply

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        zero = ct.dtype.type(0)
        dx = fit(self(operands[0], ct, zero), operands[1]) if linear[1] else None
        dy = fit(self(operands[0], zero, ct), operands[2]) if linear[2] else None
        return None, dx, dy


where = elementwise(
    "where", np.where, None, 1, 1, samples=[booleans(), reals(-3, 3), reals(-3, 3)], family=Where,
    dtypes=lambda condition, x, y: np.result_type(x.promotes_as, y.promotes_as),
    scalar=lambda e, c, x, y: e.select(c, x, y),
    doc="x where the condition holds, else y. The branch not taken gets derivative 0, also if it is infinite or NaN.",
)  # fmt: skip

clip = elementwise(
    "clip", np.clip,
    lambda x, y, z: where(logical_and(greater_equal(x, y), less_equal(x, z)), 1.0, 0.0),
    lambda x, y, z: where(logical_and(less(x, y), less_equal(y, z)), 1.0, 0.0),
    lambda x, y, z: where(logical_or(greater(x, z), greater(y, z)), 1.0, 0.0),
    arity=3, samples=[reals(-3, 3), reals(-2, -1), reals(1, 2)],
    scalar=lambda e, x, y, z: e.minimum(e.maximum(x, y), z),
    doc="x limited to [y, z]. On the limits themselves the derivative is that of x: 1.",
)  # fmt: skip

vocabulary.equal = equal
vocabulary.less = less
vocabulary.where = where

vocabulary.logical_and = logical_and
vocabulary.not_equal = not_equal
