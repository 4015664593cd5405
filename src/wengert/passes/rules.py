"""Rewrite rules as data: a pattern, a replacement, conditions, and what the rule may change.

    rule("add(x, negative(y)) -> subtract(x, y)", when=[...])

A pattern is written like a call of operations. In it `x y z w` stand for any value (the same letter for the same
value), `a b c` for constants, `f` for any operation with the fact given as `f="odd"`, a number for a constant all of
whose elements are that number. Operands of an operation with the fact "commutative" match in both orders. Keywords
bind parameters to names, `transpose(x, permutation=p)`; in the replacement they are expressions over those names and
the functions in `helpers`. In a replacement, an operation on constants alone is computed, in the dtype of the result.

The result always has the type of what it replaces: where the replacement is of a smaller dtype or shape, it is
converted and broadcast.

What a rule may change is named in words:

- "digits": the last digits; the error stays within 2 ulp of what an accurate operation has.
- "order": the terms of a sum of products are added in another order, as BLAS does by itself.
- "rounding": rounding errors, which cancellation can make larger.
- "zero sign": the sign of a zero.
- "nan": results where operands or intermediate values are NaN, infinite or out of range.
- "derivative": derivatives of the rewritten graph.

A rule that changes nothing is exact: the same bits (those of a NaN aside), and the same derivatives.
"""

from __future__ import annotations

import ast
import functools
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import RegistrationError
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.primitive import Primitive, registry
from ..graph.types import ArrayType
from .build import known
from .constants import uniform

CHANGES = ("digits", "order", "rounding", "zero sign", "nan", "derivative")


CONSTANT = "constant"
OTHER = "other number"
"""What is known of an operand that is a constant: this, or for a single number its value if a rule names it."""


def constant_kind(atom: Const, numbers: Collection[Any]) -> Any:
    """CONSTANT for an array, the number for one of `numbers`, OTHER for any other number; None if it is not known."""
    value = atom.value
    if value.__class__ is float or value.__class__ is int or isinstance(value, np.number):
        return value if value in numbers else OTHER
    return CONSTANT if known(atom) else None


class Match(NamedTuple):
    """What the names of a pattern stand for, and the type of the value to replace."""

    out: ArrayType
    atoms: dict[str, Atom]
    params: dict[str, Any]
    operations: dict[str, Primitive]
    inner: tuple[Var, ...]
    """Values inside the pattern that are no operands of it."""

    def type(self, name: str) -> ArrayType:
        return self.atoms[name].type


Condition = Callable[[Match, "Uses"], bool]
Uses = Mapping[Var, int]


class Rule(NamedTuple):
    """One identity. `text` is how it is written, `changes` what it may change (see the top of the file)."""

    text: str
    pattern: ast.expr
    replacement: ast.expr
    when: tuple[Condition, ...]
    changes: frozenset[str]
    facts: Mapping[str, str]
    helpers: Mapping[str, Any]

    @property
    def numbers(self) -> frozenset[Any]:
        """The numbers that its pattern names."""
        return numbers_in(self.pattern)

    @property
    def exact(self) -> bool:
        return not self.changes

    def may_match(self, primitive: Primitive, kinds: Sequence[Any], same: bool) -> bool:
        """Whether an operation may be the outermost one of the pattern, by what makes its operands.

        `kinds` holds for each operand the operation that makes it, the `constant_kind` or None; `same` says whether the
        first two operands are one value.
        """
        parts = self.pattern.args  # type: ignore[attr-defined]
        if not operation_fits(self.pattern, primitive, self.facts) or len(parts) != len(kinds):
            return False
        names = [part.id for part in parts if isinstance(part, ast.Name)]
        if len(parts) == 2 and len(names) == 2 and names[0] == names[1] and not same:
            return False
        orders = [kinds, kinds[::-1]] if len(kinds) == 2 and "commutative" in primitive.facts else [kinds]
        return any(all(self._may_be(part, kind) for part, kind in zip(parts, order, strict=True)) for order in orders)

    def _may_be(self, part: ast.expr, kind: Any) -> bool:
        if isinstance(part, ast.Call):
            return isinstance(kind, Primitive) and operation_fits(part, kind, self.facts)
        if isinstance(part, ast.Name):
            return part.id not in "abc" or not (kind is None or isinstance(kind, Primitive))
        return kind is CONSTANT or (kind is not None and kind == number(part))

    def __str__(self) -> str:
        return self.text + (f"   (changes: {', '.join(sorted(self.changes))})" if self.changes else "")


def rule(
    text: str, when: Sequence[Condition] = (), changes: Sequence[str] = (), helpers: Mapping[str, Any] | None = None,
    **facts: str,
) -> Rule:  # fmt: skip
    """A rule from its text, "pattern -> replacement".

    Raises `RegistrationError` for an operation that does not exist or a change that has no name.
    """
    left, right = (ast.parse(part.strip(), mode="eval").body for part in text.split("->"))
    for call in (node for side in (left, right) for node in ast.walk(side) if isinstance(node, ast.Call)):
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name not in registry and name not in facts and name not in (helpers or {}):
            raise RegistrationError(f"rule {text!r}: there is no operation {name!r}", "name a registered primitive")
    if unknown := set(changes) - set(CHANGES):
        raise RegistrationError(f"rule {text!r}: no such change: {sorted(unknown)}", f"name some of {CHANGES}")
    return Rule(text, left, right, tuple(when), frozenset(changes), facts, helpers or {})


@functools.cache
def number(pattern: ast.expr) -> Any:
    """The number that a pattern is, None if it is no number."""
    try:
        return ast.literal_eval(pattern)
    except ValueError:
        return None


@functools.cache
def numbers_in(pattern: ast.expr) -> frozenset[Any]:
    """The numbers that a pattern names."""
    return frozenset(number(part) for part in ast.walk(pattern) if isinstance(part, (ast.Constant, ast.UnaryOp)))


def operation_fits(pattern: ast.expr, primitive: Primitive, facts: Mapping[str, str]) -> bool:
    name = pattern.func.id  # type: ignore[attr-defined]
    return facts[name] in primitive.facts if name in facts else primitive.name == name


def matches(
    found: Rule, primitive: Primitive, inputs: Sequence[Atom], out: ArrayType, producer: Mapping[Any, Node]
) -> Iterator[Match]:
    """The ways in which an operation on these operands is the rule's pattern."""
    start = Match(out, {}, {}, {}, ())
    yield from _call(found, found.pattern, primitive, inputs, start, producer)


def _call(
    found: Rule, pattern: Any, primitive: Primitive, inputs: Sequence[Atom], match: Match, producer: Mapping[Any, Node]
) -> Iterator[Match]:
    if not operation_fits(pattern, primitive, found.facts) or len(pattern.args) != len(inputs):
        return
    name = pattern.func.id
    if name in found.facts:
        if match.operations.get(name, primitive) != primitive:
            return
        match = match._replace(operations={**match.operations, name: primitive})
    if pattern.keywords:
        params = dict(match.params)
        for keyword in pattern.keywords:
            value = getattr(primitive, keyword.arg)
            if params.setdefault(keyword.value.id, value) != value:
                return
        match = match._replace(params=params)
    orders = [inputs]
    if len(inputs) == 2 and "commutative" in primitive.facts:
        orders.append(inputs[::-1])
    for operands in orders:
        ways: Iterator[Match] = iter((match,))
        for part, atom in zip(pattern.args, operands, strict=True):
            ways = itertools.chain.from_iterable([_atom(found, part, atom, way, producer) for way in ways])
        yield from ways


def _atom(found: Rule, pattern: Any, atom: Atom, match: Match, producer: Mapping[Any, Node]) -> Iterator[Match]:
    if isinstance(pattern, ast.Call):
        node = producer.get(atom)
        if node is not None and not node.primitive.multiple:
            out, atoms, params, operations, inner = match
            inside = Match(out, atoms, params, operations, (*inner, atom))  # type: ignore[arg-type]
            yield from _call(found, pattern, node.primitive, node.inputs, inside, producer)
    elif isinstance(pattern, ast.Name):
        if pattern.id in "abc" and not known(atom):
            return
        before = match.atoms.get(pattern.id)
        if before is None:
            out, atoms, params, operations, inner = match  # quicker than `_replace`, and most matches end here
            yield Match(out, {**atoms, pattern.id: atom}, params, operations, inner)
        elif before is atom:
            yield match
    elif known(atom) and uniform(atom) == number(pattern):  # type: ignore[arg-type]
        yield match


# Conditions ----------------------------------------------------------------------------------------------


def kinds(letters: str) -> Condition:
    """The result has a dtype of one of these kinds (b, i, u, f, c)."""
    return lambda match, uses: match.out.dtype.kind in letters


def one_dtype(match: Match, uses: Uses) -> bool:
    """All values but constants, inner ones included, have the dtype of the result, so that nothing is promoted."""
    values = [*match.inner, *(atom for atom in match.atoms.values() if isinstance(atom, Var))]
    return all(value.dtype == match.out.dtype for value in values)


def used_once(match: Match, uses: Uses) -> bool:
    """The values inside the pattern are read by nothing else, so that they need not be computed any more."""
    return all(uses.get(var, 2) == 1 for var in match.inner)


def _constant(test: Callable[[np.ndarray], Any]) -> Callable[[str], Condition]:
    return lambda name: lambda match, uses: bool(test(np.asarray(match.atoms[name].value)))  # type: ignore[union-attr]


regular = _constant(lambda a: a.dtype.kind in "biufc" and np.isfinite(a).all() and (a != 0).all())
"""A constant without zeros, infinities and NaNs."""
neutral = _constant(lambda a: a.size > 0 and (a == 0).all() and (a.dtype.kind == "f") and np.signbit(a).all())
"""A constant of negative zeros: x + -0.0 is x, whereas 0.0 + -0.0 is 0.0."""
positive_zero = _constant(
    lambda a: (
        a.size > 0 and (a == 0).all() and (a.dtype.kind in "biu" or (a.dtype.kind == "f" and not np.signbit(a).any()))
    )
)
"""A constant of zeros without sign: x - 0.0 is x, also for x = -0.0."""


def _powers_of_two(a: np.ndarray) -> bool:
    if a.dtype.kind not in "iuf" or a.size == 0 or not np.isfinite(a).all():
        return False
    fraction, exponent = np.frexp(a.astype(np.float64))
    return bool((np.abs(fraction) == 0.5).all() and (np.abs(exponent) < 100).all())


powers_of_two = _constant(_powers_of_two)
"""A constant of powers of two, positive or negative, whose reciprocals are exact and not extreme."""
