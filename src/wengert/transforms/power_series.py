"""Truncated power series through operations: the recurrences that `jet` runs on.

The coefficients of y(t) = f(x(t)) follow from those of x one after the other. For an elementwise operation with the
declared derivative d, y' = d(x, y) x', so

    k y_k = sum over j = 1..k of j x_j d_{k-j},

where d, a program in traceable operations, is itself run on series, as far as asked for and not further. Where it comes
back to what is known (the derivative of sin is cos, whose derivative is -sin of the same x), the system closes and each
coefficient costs k products: K coefficients cost O(K^2). Products convolve, linear operations go term by term, and any
other operation has its forward rule run on series, y' = jvp(x, x'). (A. Griewank and A. Walther, Evaluating
Derivatives, chapter 13; M. D. McIlroy, Squinting at power series, 1990, for the lazy coefficients.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import bind, is_traced
from ..graph.primitive import Primitive
from ..ops.arithmetic import divide, multiply, power
from ..ops.exponential import exp, log
from ..ops.families import Elementwise, match, vocabulary
from ..ops.shape import zeros_like
from ..ops.solve import Solve, TriangularSolve
from .forward import jvp_rule


class Terms:
    """The coefficients c_0, c_1, ... of a series, each computed when first asked for; None stands for zero."""

    __slots__ = ("_known", "_make", "_rates", "made")

    def __init__(self, value: Any, make: Callable[[int], Any]) -> None:
        self._known = [value]
        self._rates: list[Any] = []
        self._make = make
        self.made: dict[Any, Any] = {}
        """Results of operations on this series, by operation and operands, with what keeps the key valid."""

    def __getitem__(self, k: int) -> Any:
        known = self._known
        while len(known) <= k:
            known.append(self._make(len(known)))
        return known[k]

    def close(self) -> None:
        """Keep the coefficients known by now, and nothing to make more of."""
        self._make = _closed

    def rate(self, k: int) -> Any:
        """k c_k, the coefficient of order k-1 of the derivative in t."""
        while len(self._rates) < k:
            order = len(self._rates) + 1
            term = self[order]
            self._rates.append(term if term is None or order == 1 else order * term)
        return self._rates[k - 1]


def _closed(k: int) -> Any:
    raise RuntimeError(f"coefficient {k} of a series was not computed while its pass was at work")


def given(value: Any, coefficients: Sequence[Any]) -> Terms:
    """The series of a value and its further coefficients."""
    return Terms(value, lambda k: coefficients[k - 1] if k <= len(coefficients) else None)


def plus(x: Any, y: Any) -> Any:
    if x is None or y is None:
        return x if y is None else y
    return x + y


Operands = Sequence[Any]
"""Values of the operands at t = 0."""
Known = Sequence[Terms | None]
"""Their series, None for constants."""


def recurrence(jet: Any, primitive: Primitive, values: Operands, series: Known, out: Any) -> list[Terms]:
    """The series of the results of an operation (a list of one unless it has several)."""
    if primitive.not_differentiable is not None:
        jvp_rule(primitive, values, series, out)  # raises
    if primitive is divide and series[1] is not None:
        return [quotient(values, series, out)]
    if primitive is power and (found := powers(jet, values, series, out)) is not None:
        return [found]
    if "bilinear" in primitive.facts and len(series) == 2 and all(t is not None for t in series):
        return [product(primitive, series, out)]  # type: ignore[arg-type]
    if isinstance(primitive, (Solve, TriangularSolve)) and series[0] is not None:
        return [solution(primitive, values, series, out)]
    if "linear" in primitive.facts or "bilinear" in primitive.facts or constant_slopes(primitive, series):
        return term_by_term(primitive, values, series, out)
    if isinstance(primitive, Elementwise):
        return [by_slope(jet, primitive, values, series, out)]
    return by_forward_rule(jet, primitive, values, series, out)


def constant_slopes(primitive: Primitive, series: Known) -> bool:
    """Whether an elementwise operation is linear in the operands that move."""
    return isinstance(primitive, Elementwise) and all(
        t is None or not callable(d) for t, d in zip(series, primitive.derivatives or (), strict=True)
    )


def together(primitive: Primitive, out: Any, make: Callable[[int, list[Terms]], Sequence[Any]]) -> list[Terms]:
    """Series of several results, whose coefficients of one order are made at once: `make(k, the series)`."""
    rows: dict[int, Sequence[Any]] = {}

    def entry(place: int) -> Callable[[int], Any]:
        def coefficient(k: int) -> Any:
            if k not in rows:
                rows[k] = make(k, found)
            return rows[k][place]

        return coefficient

    values = out if primitive.multiple else (out,)
    found = [Terms(value, entry(place)) for place, value in enumerate(values)]
    return found


def term_by_term(primitive: Primitive, values: Operands, series: Known, out: Any) -> list[Terms]:
    """An operation that is linear in what moves: its forward rule on the coefficients of each order."""
    nothing = (None,) * len(out) if primitive.multiple else (None,)

    def make(k: int, found: list[Terms]) -> Sequence[Any]:
        terms = [None if t is None else t[k] for t in series]
        if all(t is None for t in terms):
            return nothing
        result = jvp_rule(primitive, values, terms, out)
        return result if primitive.multiple else (result,)

    return together(primitive, out, make)


def product(primitive: Primitive, series: Sequence[Terms], out: Any) -> Terms:
    """z_k = sum of x_j y_{k-j}; of a square every product but the middle one twice."""
    x, y = series
    square = x is y and "commutative" in primitive.facts

    def make(k: int) -> Any:
        total = None
        for j in range((k + 1) // 2 if square else k + 1):
            total = _add_product(total, primitive, x[j], y[k - j])
        if square:
            total = None if total is None else 2 * total
            if k % 2 == 0:
                total = _add_product(total, primitive, x[k // 2], x[k // 2])
        return None if total is None else match(total, out)

    return Terms(out, make)


def _add_product(total: Any, primitive: Primitive, x: Any, y: Any) -> Any:
    return total if x is None or y is None else plus(total, bind(primitive, x, y))


def quotient(values: Operands, series: Known, out: Any) -> Terms:
    """From x = q y: q_k = (x_k - sum over j = 1..k of y_j q_{k-j}) / y_0."""
    x, y = series
    assert y is not None

    def make(k: int) -> Any:
        total = None
        for j in range(1, k + 1):
            total = _add_product(total, multiply, y[j], found[k - j])
        top = None if x is None else x[k]
        if total is None and top is None:
            return None
        rest = top if total is None else -total if top is None else top - total
        return match(rest / values[1], out)

    found = Terms(out, make)
    return found


def powers(jet: Any, values: Operands, series: Known, out: Any) -> Terms | None:
    """x**a by repeated products for a small whole number, else by x z' = a z x'; x**y as exp(y log x).

    None where these do not hold: at bases known not to be positive, and for arrays of whole numbers.
    """
    x, y = values
    base, exponent = series
    if exponent is None:
        number = None if is_traced(y) else np.asarray(y)
        if number is not None and number.dtype.kind in "biuf" and np.all((number >= 0) & (number == np.trunc(number))):
            if number.ndim or number > MOST:
                return None
            return repeated(jet, x, base, int(number), out)
        assert base is not None
        return fixed_power(x, base, y, out)
    start = jet.concrete_value(x)
    if start is not None and np.any(np.real(start) <= 0):
        return None
    with jet.lazily():
        logarithm = log(jet.tensor(x, base)) * jet.tensor(y, exponent)
        return by_slope(jet, exp, (logarithm.value,), (logarithm.note,), out)


MOST = 64
"""The highest power that is computed by repeated products."""


def repeated(jet: Any, x: Any, base: Any, exponent: int, out: Any) -> Terms:
    if exponent == 0:
        return given(out, ())
    with jet.lazily():
        square, total = jet.tensor(x, base), None
        while exponent:
            if exponent & 1:
                total = square if total is None else total * square
            exponent >>= 1
            if exponent:
                square = square * square
    assert total is not None
    terms = total.note
    return Terms(out, lambda k: None if terms[k] is None else match(terms[k], out))


def fixed_power(x: Any, base: Terms, a: Any, out: Any) -> Terms:
    """k x_0 z_k = sum over j = 1..k of (a j - (k - j)) x_j z_{k-j}."""

    def make(k: int) -> Any:
        total = None
        for j in range(1, k + 1):
            factor, other = base[j], found[k - j]
            if factor is not None and other is not None:
                total = plus(total, (a * j - (k - j)) * (factor * other))
        return None if total is None else match(total / (k * x), out)

    found = Terms(out, make)
    return found


def solution(primitive: Primitive, values: Operands, series: Known, out: Any) -> Terms:
    """From a y = b: a_0 y_k = b_k - sum over j = 1..k of a_j y_{k-j}, in the words of the forward rule."""
    matrix, right = series
    assert matrix is not None

    def make(k: int) -> Any:
        total = None
        last = None if right is None else right[k]
        for j in range(1, k + 1):
            if matrix[j] is not None and found[k - j] is not None:
                total = plus(total, jvp_rule(primitive, values, [matrix[j], None], found[k - j]))
        if last is not None:
            total = plus(total, jvp_rule(primitive, values, [None, last], out))
        return total

    found = Terms(out, make)
    return found


def by_slope(jet: Any, primitive: Elementwise, values: Operands, series: Known, out: Any) -> Terms:
    """k y_k = sum of j x_j d_{k-j}, over the operands that move."""
    slopes: list[tuple[Terms, Any]] = []

    def slope(position: int) -> Any:
        derivative = (primitive.derivatives or ())[position]
        if not callable(derivative):
            return derivative
        every = [*values, out]
        terms = [*series, found]
        with jet.lazily():
            return derivative(*[jet.tensor(every[slot], terms[slot]) for slot in primitive._arguments[position]])

    def make(k: int) -> Any:
        if not slopes:
            slopes.extend(
                (terms, slope(position))
                for position, terms in enumerate(series)
                if terms is not None and (primitive.derivatives or ())[position] is not None
            )
        total = None
        for terms, factor in slopes:
            own = jet.terms(factor)
            for j in range(1, k + 1) if own is not None else (k,):
                rate = terms.rate(j)
                other = own[k - j] if own is not None else factor
                if rate is not None and other is not None:
                    total = plus(total, vocabulary.strong_multiply(rate, other))
        if total is None:
            return None
        return match(total if k == 1 else total * (1.0 / k), out)

    found = Terms(out, make)
    return found


def by_forward_rule(jet: Any, primitive: Primitive, values: Operands, series: Known, out: Any) -> list[Terms]:
    """y' = jvp(x, x'), the forward rule itself on series: k y_k is the coefficient of order k-1 of the tangent."""
    rates: list[Any] = []

    def tangent(value: Any, terms: Terms | None) -> Any:
        if terms is None:
            return None
        first = terms[1]
        return jet.tensor(zeros_like(value) if first is None else first, Terms(first, lambda k: terms.rate(k + 1)))

    def make(k: int, found: list[Terms]) -> Sequence[Any]:
        if not rates:
            outs = tuple(map(jet.tensor, out if primitive.multiple else (out,), found))
            with jet.lazily():
                result = jvp_rule(
                    primitive,
                    [jet.tensor(v, t) for v, t in zip(values, series, strict=True)],
                    [tangent(v, t) for v, t in zip(values, series, strict=True)],
                    outs if primitive.multiple else outs[0],
                )
            rates.extend(result if primitive.multiple else (result,))
        row = []
        for rate in rates:
            own = jet.terms(rate)
            term = own[k - 1] if own is not None else rate if k == 1 else None
            row.append(term if term is None or k == 1 else term * (1.0 / k))
        return row

    return together(primitive, out, make)
