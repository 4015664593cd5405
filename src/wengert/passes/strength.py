"""Strength reduction: powers with small constant exponents and divisions by constants as cheaper operations.

Shape: local rules. Assumes: nothing.
Guarantees: types and derivatives stay, results differ in the last digits at most (a power takes 20 times as long as
a product, and its error is not smaller). Divisions by powers of two are exact. Square roots for powers of 0.5 differ
at -0.0 and -inf, products for other divisors in rounding: only if `allow` names that.
Cost: linear in the nodes.
"""

from __future__ import annotations

from collections.abc import Collection

from ..graph.graph import Graph
from .build import everywhere
from .rewrite import rewrite
from .rules import kinds, one_dtype, powers_of_two, rule

SAME = one_dtype
NUMBER = kinds("iuf")
FLOAT = kinds("f")

REDUCTIONS = (
    rule("power(x, 0) -> 1", [NUMBER]),
    rule("power(x, 1) -> x", [NUMBER, SAME]),
    rule("power(x, 2) -> square(x)", [NUMBER, SAME], ["digits"]),
    rule("power(x, 3) -> multiply(square(x), x)", [NUMBER, SAME], ["digits"]),
    rule("power(x, 4) -> square(square(x))", [NUMBER, SAME], ["digits"]),
    rule("power(x, -1) -> reciprocal(x)", [FLOAT, SAME], ["digits"]),
    rule("power(x, 0.5) -> sqrt(x)", [FLOAT, SAME], ["digits", "nan", "zero sign"]),
    rule("power(x, -0.5) -> reciprocal(sqrt(x))", [FLOAT, SAME], ["digits", "nan", "zero sign"]),
    rule("power(x, 1.5) -> multiply(x, sqrt(x))", [FLOAT, SAME], ["digits", "nan", "zero sign"]),
    rule("power(2, x) -> exp2(x)", [FLOAT, SAME], ["digits"]),
    rule("divide(x, a) -> multiply(x, reciprocal(a))", [FLOAT, powers_of_two("a")]),
    rule("divide(x, a) -> multiply(x, reciprocal(a))", [FLOAT], ["rounding", "nan"]),
)  # fmt: skip


@everywhere
def strength(graph: Graph, allow: Collection[str] = ()) -> Graph:
    """The graph with cheaper operations, exact ones and those that differ in the last digits or as `allow` names."""
    return rewrite(graph, REDUCTIONS, {"digits", *allow})
