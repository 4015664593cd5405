"""Laurent series in an infinitesimal eps: how a derivative at coinciding eigenvalues finds its limit.

`ops.spectral` explains why: a decomposition whose values coincide hands out w + eps d, and what is computed from
it are series in eps. `Series` is the lowest interpreter, below every derivative, so that any nesting of forward
and reverse mode runs on series as it does on numbers. `settle` takes the limit at the end: the term of order 0.

A series knows its terms up to some order (its precision), as p-adic numbers do; a product with a pole loses
some. Linear operations act term by term, multilinear ones by convolution, all others on series without poles by
Taylor's formula from the forward rule: the terms of f(x(eps)) are those of f'(x(eps)) x'(eps), integrated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.interpreter import Interpreter, bind, state
from ..graph.nodes import Var
from ..graph.primitive import Primitive
from ..graph.tensor import Tensor
from ..ops.families import Elementwise, vocabulary
from ..ops.shape import move_axis
from ..ops.spectral import InverseGap, Limit, warn
from .forward import Forward, jvp_graph, jvp_rule
from .reverse import Record
from .vmap import Batch


@dataclass(frozen=True, slots=True)
class Terms:
    """Sum of coefficients[k] eps^(start + k), known below the order `precision` (infinite: nothing follows).

    `reach` is how many terms a function of it is computed to; `size` the magnitude that terms of negative order
    had before they cancelled, against which round-off is judged.
    """

    start: int
    coefficients: list[Any]
    precision: float
    reach: int
    size: float = 0.0

    def term(self, order: int) -> Any:
        """The coefficient of eps^order (a zero if there is none)."""
        k = order - self.start
        if 0 <= k < len(self.coefficients):
            return self.coefficients[k]
        return np.zeros_like(self.coefficients[0])

    @property
    def end(self) -> int:
        """The order after the last coefficient."""
        return self.start + len(self.coefficients)

    def regular(self) -> Terms:
        """Without its terms of negative order."""
        if self.start >= 0:
            return self
        kept = self.coefficients[-self.start :]
        return Terms(0, kept or [np.full_like(self.coefficients[0], np.nan)], self.precision, self.reach)


class Series(Interpreter):
    """Tensors carry the term of order 0 as their value and all `Terms` as their note."""

    noun = "value with an infinitesimal part"

    def __init__(self) -> None:
        self.level = -1
        self.done = 0

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        if not primitive.differentiable:
            return bind(primitive, *[number(x) for x in operands])
        terms = [x.note if x.__class__ is Tensor else None for x in operands]
        with np.errstate(all="ignore"):
            if isinstance(primitive, InverseGap):
                return (
                    _inverse_gap(primitive, terms[0], number(operands[1]))
                    if terms[0]
                    else primitive(*map(number, operands))
                )
            if isinstance(primitive, Limit):
                found = terms[0]
                return operands[0].value if found.precision > 0 and not pole_left(found) else operands[0]
            joint, multi = linear_positions(primitive, len(operands))
            moving = [k for k, t in enumerate(terms) if t is not None]
            if set(moving) <= set(joint):
                return self._linear(primitive, operands, terms, joint)
            if set(moving) <= set(multi):
                return self._product(primitive, operands, terms, moving)
            if primitive.split is not None:
                outs = bind(primitive, *[number(x) for x in operands])
                parted = primitive.split(outs, max(t.reach for t in terms if t is not None) - 1)
                if parted is not outs:
                    return parted
            return self._taylor(primitive, operands, terms, multi)

    def _linear(
        self, primitive: Primitive, operands: Sequence[Any], terms: Sequence[Terms | None], joint: Sequence[int]
    ) -> Any:
        known = [t for t in terms if t is not None]
        precision = min(t.precision for t in known)
        constant = any(t is None and k in joint for k, t in enumerate(terms))
        start = min([t.start for t in known] + [0] * constant)
        end = max([t.end for t in known] + [1] * constant)
        if precision < end:
            end = max(int(precision), start + 1)
        found = []
        for order in range(start, end):
            values = []
            for k, (x, t) in enumerate(zip(operands, terms, strict=True)):
                if t is not None:
                    values.append(t.term(order))
                else:
                    values.append(np.zeros_like(x) if k in joint and order else x)
            found.append(bind(primitive, *values))
        return self._wrap(primitive, start, found, precision, max(t.reach for t in known), max(t.size for t in known))

    def _product(
        self, primitive: Primitive, operands: Sequence[Any], terms: Sequence[Terms | None], moving: Sequence[int]
    ) -> Any:
        known: list[Any] = [terms[k] for k in moving]
        start = sum(t.start for t in known)
        precision = min(t.precision + start - t.start for t in known)
        reach = max(t.reach for t in known)
        largest = [max(_size(c) for c in t.coefficients) for t in known]
        noise = [max(t.size, m if t.start < 0 else 0.0) for t, m in zip(known, largest, strict=True)]
        size = 0.0
        others = [_size(x) for k, x in enumerate(operands) if k not in moving]
        if start < 0:
            for own, rest in zip(noise, range(len(known)), strict=True):
                size = max(size, own * math.prod(m for j, m in enumerate(largest) if j != rest) * math.prod(others))
        end = sum(t.end - 1 for t in known) + 1
        if precision < end:
            end = max(int(precision), start + 1)
        found: list[Any] = [None] * (end - start)
        for orders in itertools.product(*[range(t.start, t.end) for t in known]):
            place = sum(orders) - start
            if place < len(found):
                values = list(operands)
                for k, t, order in zip(moving, known, orders, strict=True):
                    values[k] = t.term(order)
                part = bind(primitive, *values)
                found[place] = part if found[place] is None else _plus(found[place], part)
        return self._wrap(primitive, start, found, precision, reach, size)

    def _taylor(
        self, primitive: Primitive, operands: Sequence[Any], terms: Sequence[Terms | None], multi: Sequence[int]
    ) -> Any:
        shift, size = 0, 0.0
        regular: list[Any] = []
        for k, t in enumerate(terms):
            if t is not None and t.start < 0:
                if k in multi:  # f(eps^-p x) = eps^-p f(x)
                    shift += t.start
                    size = max(size, t.size)
                    t = Terms(0, t.coefficients, t.precision - t.start, t.reach)
                else:
                    _check_pole(t)
                    t = t.regular()
            regular.append(t)
        known = [t for t in regular if t is not None]
        reach = max(t.reach for t in known)
        precision = min([t.precision for t in known] + [reach])
        found = taylor(primitive, operands, regular, max(int(precision), 1))
        return self._wrap(primitive, shift, found, precision + shift, reach, size)

    def _wrap(
        self, primitive: Primitive, start: int, found: list[Any], precision: float, reach: int, size: float
    ) -> Any:
        if primitive.multiple:
            columns = zip(*found, strict=True)
            return tuple(wrap(Terms(start, list(column), precision, reach, size)) for column in columns)
        return wrap(Terms(start, found, precision, reach, size))


series = Series()


def wrap(terms: Terms) -> Any:
    """The tensor for some terms."""
    start, coefficients, precision = terms.start, terms.coefficients, terms.precision
    # A pole that is exactly zero is none.
    while start < 0 and len(coefficients) > 1 and not np.any(coefficients[0]):
        start, coefficients = start + 1, coefficients[1:]
    terms = Terms(start, coefficients, precision, terms.reach, terms.size if start < 0 else 0.0)
    value = terms.term(0) if precision > 0 else np.full_like(coefficients[0], np.nan)
    return value if value.dtype.kind not in "fc" else Tensor(series, value, terms)


def number(value: Any) -> Any:
    """The term of order 0 of a series, poles unheeded; anything else as it is."""
    return value.value if value.__class__ is Tensor and value.interpreter is series else value


def _size(value: Any) -> float:
    value = np.abs(np.asarray(value))
    return float(value.max()) if value.size else 0.0


def _plus(x: Any, y: Any) -> Any:
    return tuple(map(_plus, x, y)) if isinstance(x, tuple) else x + y


def linear_positions(primitive: Primitive, count: int) -> tuple[Sequence[int], Sequence[int]]:
    """Operands in which an operation is linear jointly, and those in each of which it is linear."""
    if isinstance(primitive, Elementwise):
        given = [(k, d) for k, d in enumerate(primitive.derivatives or ()) if d is not None]
        if "linear" in primitive.facts or all(not callable(d) and d != 0 for _, d in given):
            return [k for k, _ in given], ()
        reads = primitive._arguments
        return (), [k for k, d in given if callable(d) and k not in reads[k] and primitive.arity not in reads[k]]
    if "linear" in primitive.facts:
        chosen = getattr(primitive, "linear_operands", range)(count)
        return list(chosen), ()
    if "bilinear" in primitive.facts:
        return (), (0, 1)
    return (), getattr(primitive, "linear_at", ())


def taylor(primitive: Primitive, operands: Sequence[Any], terms: Sequence[Terms | None], count: int) -> list[Any]:
    """The first `count` terms of an operation on series without poles (tuples for several outputs)."""
    first = bind(primitive, *[x if t is None else t.term(0) for x, t in zip(operands, terms, strict=True)])
    found = [first]
    for known in range(1, count):  # the terms below `known` give the one of that order
        low, slope = [], []
        for x, t in zip(operands, terms, strict=True):
            if t is None:
                low.append(x)
                slope.append(None)
            else:
                low.append(_short([t.term(k) for k in range(known)], t.reach))
                slope.append(_short([(k + 1) * t.term(k + 1) for k in range(known)], t.reach))
        if primitive.higher_order:
            _, rates = primitive.jvp(low, slope, jvp_graph)  # type: ignore[call-arg]
        else:
            reach = max(t.reach for t in terms if t is not None)
            out = _transposed(found, reach) if primitive.multiple else _short(found, reach)
            rates = jvp_rule(primitive, low, slope, out)
        if primitive.multiple:
            found.append(tuple(_rate(r, known, f) for r, f in zip(rates, first, strict=True)))
        else:
            found.append(_rate(rates, known, first))
    return found


def _short(coefficients: list[Any], reach: int) -> Any:
    """Terms up to a precision that is their number; a plain value if it is one term."""
    if len(coefficients) == 1:
        return coefficients[0]
    return wrap(Terms(0, coefficients, len(coefficients), reach))


def _transposed(found: list[Any], reach: int) -> tuple[Any, ...]:
    return tuple(_short(list(column), reach) for column in zip(*found, strict=True))


def _rate(rate: Any, order: int, like: Any) -> Any:
    """The term of some order from the rate of change at one order less."""
    if rate is None:
        return np.zeros_like(like)
    if rate.__class__ is Tensor:
        rate = rate.note.term(order - 1)
    elif order > 1:
        return np.zeros_like(like)
    return rate / order


def _inverse_gap(primitive: InverseGap, terms: Terms, scale: Any) -> Any:
    terms = terms.regular()
    count = int(min(terms.precision - 1, terms.reach))
    start, coefficients = primitive.series(terms.coefficients, scale, max(count, 1))
    precision: float = start + len(coefficients) if start < 0 else min(terms.precision, len(coefficients))
    if count < 1:
        precision = 0
    return wrap(Terms(start, coefficients, precision, terms.reach))


def split_values(outs: Sequence[Any], at: int, directions: Callable[[Any], Any], order: int | None) -> Any:
    """Outputs of a decomposition with an infinitesimal part for coinciding values, if it works on plain numbers."""
    if order is None:  # one term for every derivative that is being taken; `backward` may take two
        order = sum(getattr(i, "orders", 1) for i in state.stack if isinstance(i, (Record, Forward, Deeper))) or 2
    parted = _part(outs[at], directions, order)
    return outs if parted is None else (*outs[:at], parted, *outs[at + 1 :])


def _part(value: Any, directions: Callable[[Any], Any], order: int) -> Any:
    if value.__class__ is Tensor:
        if not isinstance(value.interpreter, Batch):
            return None
        inner = _part(move_axis(value.value, value.note, 0), directions, order)
        return None if inner is None else Tensor(value.interpreter, inner, 0)
    if not np.isfinite(value).all():
        return None
    direction = directions(value)
    return None if direction is None else wrap(Terms(0, [value, direction], math.inf, order + 1))


def settle(value: Any) -> Any:
    """The limit for eps -> 0 of a series; anything else as it is. Warns if there is a pole."""
    if value.__class__ is not Tensor or value.interpreter is not series:
        return value
    _check_pole(value.note)
    return value.value if value.value.ndim else value.value[()]


def pole_left(terms: Terms) -> bool:
    """Whether a term of negative order is more than round-off."""
    if terms.start >= 0:
        return False
    poles = terms.coefficients[: -terms.start]
    left = max(_size(c) for c in poles)
    return not left <= math.sqrt(np.finfo(poles[0].dtype).eps) * terms.size


def _check_pole(terms: Terms) -> None:
    if terms.precision <= 0:
        warn(
            "a derivative of high order at equal eigenvalues or singular values: not enough terms of the limit were "
            "kept, the result is NaN; take it by nested wg.grad or wg.jvp instead of repeated backward()"
        )
    elif pole_left(terms):
        warn(
            "a derivative depends on the choice of vectors for equal eigenvalues or singular values, which is "
            "arbitrary; use a function of the values, or of the whole space of the equal ones, or break the tie"
        )


class Deeper(Interpreter):
    """At work while a static graph runs that holds derivatives: how many, for `split_values` to count."""

    def __init__(self, orders: int) -> None:
        super().__init__()
        self.orders = orders


def run_limit(graph: Graph, *values: Any) -> list[Any] | None:
    """A static graph that holds derivatives of decompositions, run so that limits are taken; None if it holds none.

    How many derivatives deep it is, is found by trying.
    """
    if not graph.cached("needs a limit", lambda: any(isinstance(n.primitive, InverseGap) for n in graph.nodes)):
        return None
    for orders in range(1, 6):
        with Deeper(orders):
            known: dict[Var, Any] = dict(zip(graph.inputs, values, strict=True))
            for node in graph.nodes:
                operands = [known[atom] if isinstance(atom, Var) else atom.value for atom in node.inputs]
                outs = bind(node.primitive, *operands)
                if node.primitive.split is not None:
                    outs = node.primitive.split(outs, None)
                for var, out in zip(node.outputs or (), outs if node.primitive.multiple else (outs,), strict=True):
                    known[var] = out
        results = [known[atom] if isinstance(atom, Var) else atom.value for atom in graph.outputs]
        if all(map(_is_precise, results)):
            break
    return [settle(x) for x in results]


def _is_precise(value: Any) -> bool:
    """Whether the term of order 0 is known, of the value and of what other interpreters keep with it."""
    if value.__class__ is not Tensor:
        return True
    if value.interpreter is series:
        return value.note.precision > 0  # type: ignore[no-any-return]
    return _is_precise(value.value) and _is_precise(value.note)


vocabulary.split_values = split_values
vocabulary.settle = settle
vocabulary.run_limit = run_limit
