"""Comparison, logic and bits (no derivatives), and the choice between values: `where`, `clip`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import type_of_value
from .families import Elementwise, booleans, elementwise, fit, integers, match, reals, vocabulary

equal = elementwise("equal", np.equal, facts=("commutative",), doc="x == y")
not_equal = elementwise("not_equal", np.not_equal, facts=("commutative",), doc="x != y")
less = elementwise("less", np.less, doc="x < y")
less_equal = elementwise("less_equal", np.less_equal, doc="x <= y")
greater = elementwise("greater", np.greater, doc="x > y")
greater_equal = elementwise("greater_equal", np.greater_equal, doc="x >= y")
logical_and = elementwise("logical_and", np.logical_and, facts=("commutative", "associative"), samples=booleans(), doc="x and y")
logical_or = elementwise("logical_or", np.logical_or, facts=("commutative", "associative"), samples=booleans(), doc="x or y")
logical_xor = elementwise("logical_xor", np.logical_xor, facts=("commutative", "associative"), samples=booleans(), doc="x xor y")
logical_not = elementwise("logical_not", np.logical_not, samples=booleans(), doc="not x")
bitwise_and = elementwise("bitwise_and", np.bitwise_and, facts=("commutative",), samples=integers(0, 64), complex=False, doc="x & y")
bitwise_or = elementwise("bitwise_or", np.bitwise_or, facts=("commutative",), samples=integers(0, 64), complex=False, doc="x | y")
bitwise_xor = elementwise("bitwise_xor", np.bitwise_xor, facts=("commutative",), samples=integers(0, 64), complex=False, doc="x ^ y")
invert = elementwise("invert", np.invert, samples=integers(0, 64), complex=False, doc="~x")
left_shift = elementwise("left_shift", np.left_shift, samples=integers(0, 8), complex=False, doc="x << y")
right_shift = elementwise("right_shift", np.right_shift, samples=integers(0, 8), complex=False, doc="x >> y")
isnan = elementwise("isnan", np.isnan, doc="Whether x is NaN")
isinf = elementwise("isinf", np.isinf, doc="Whether x is infinite")
isfinite = elementwise("isfinite", np.isfinite, doc="Whether x is neither infinite nor NaN")
signbit = elementwise("signbit", np.signbit, complex=False, doc="Whether the sign bit is set (-0.0 included)")


class Where(Elementwise, abstract=True):
    """`where(condition, x, y)`: linear in x and y together; a masked operand gets an exact zero."""

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        condition, *_ = primals
        zero = type_of_value(out).dtype.type(0)
        _, dx, dy = (t if t is None else match(t, out) for t in tangents)
        return match(self(condition, zero if dx is None else dx, zero if dy is None else dy), out)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0,)

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
    doc="x where the condition holds, else y. The branch not taken gets derivative 0, even if it is infinite or NaN there.",
)  # fmt: skip

clip = elementwise(
    "clip", np.clip,
    lambda x, y, z: where(logical_and(greater_equal(x, y), less_equal(x, z)), 1.0, 0.0),
    lambda x, y, z: where(logical_and(less(x, y), less_equal(y, z)), 1.0, 0.0),
    lambda x, y, z: where(logical_or(greater(x, z), greater(y, z)), 1.0, 0.0),
    arity=3, samples=[reals(-3, 3), reals(-2, -1), reals(1, 2)], complex=False,
    doc="x limited to [y, z]. On the limits themselves the derivative is that of x: 1.",
)  # fmt: skip

vocabulary.equal = equal
vocabulary.less = less
vocabulary.where = where

vocabulary.logical_and = logical_and
vocabulary.not_equal = not_equal
