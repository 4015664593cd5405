"""Every row of the tables is an identity: values (bit for bit if it says so), types, shapes and derivatives."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from tests.passes.helpers import bits_equal, check, staged

import wengert as wg
from wengert.errors import RegistrationError, WengertError
from wengert.graph.graph import Graph
from wengert.graph.interpreter import bind
from wengert.graph.primitive import Primitive, registry
from wengert.graph.stage import evaluate
from wengert.passes.identities import IDENTITIES
from wengert.passes.products import PRODUCTS
from wengert.passes.rewrite import rewrite
from wengert.passes.rules import CHANGES, Rule, number, operation_fits, rule
from wengert.passes.strength import REDUCTIONS

CONSTANTS = (2.0, -4, numpy.array([0.5, 8.0, 2.0]), 3.0, 0, 0.0, -0.0, numpy.array([1.5, -3.0, 0.7]), True)
DTYPES = ("f8", "f4", "i8", "u1", "?", "c16")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 2.5, numpy.inf, -numpy.inf, numpy.nan, 1e30, -1e-30)
PARAMETERS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "transpose(x, permutation=p) -> x": [("f8[2,3]", {"p": (0, 1)}), ("f4", {"p": ()})],
    "transpose(transpose": [("f8[2,3,4]", {"p": (2, 0, 1), "q": (1, 0, 2)}), ("f4[2,0]", {"p": (1, 0), "q": (1, 0)})],
    "transpose(matmul": [
        ("f8[2,3] f8[3,4]", {"p": (1, 0)}),
        ("f4[5,2,3] f4[3,4]", {"p": (0, 2, 1)}),
        ("c16[5,2,3] c16[4,1,3,2]", {"p": (0, 1, 3, 2)}),
        ("f8[2,0] f8[0,3]", {"p": (1, 0)}),
        ("i8[2,3] i8[3,2]", {"p": (1, 0)}),
    ],
    "reshape(x": [("f8[2,3]", {"s": (2, 3)})],
    "reshape(reshape": [("f8[2,3]", {"s": (6,), "t": (3, 2)}), ("f4[0,3]", {"s": (3, 0), "t": (0,)})],
    "broadcast_to(x": [("f8[2,3]", {"s": (2, 3)})],
    "broadcast_to(broadcast_to": [("f8[1,3]", {"s": (2, 3), "t": (4, 2, 3)}), ("f4", {"s": (1,), "t": (0, 1)})],
    "convert(x": [("f8[2]", {"d": numpy.dtype("f8")})],
    "convert(convert": [
        (a, {"p": numpy.dtype(b), "q": numpy.dtype(c)})
        for a, b, c in (("f4[2]", "f8", "f2"), ("i2[2]", "f8", "i4"), ("?[3]", "i8", "f4"), ("f4[2]", "c16", "f8"),
                        ("u1[3]", "i4", "i1"), ("f4", "f8", "i8"))
    ],
    "concatenate(x": [("f8[2,3]", {"k": 1})],
    "f(broadcast_to": [("f8[1,3]", {"s": (2, 3)}), ("f8", {"s": (0,)})],
}  # fmt: skip
"""Operand types and parameters for the rules that have parameters."""

TABLE = [*IDENTITIES, *REDUCTIONS, *PRODUCTS]


def arguments(found: Rule) -> list[str]:
    """The letters of a pattern in order."""
    names = [n.id for n in ast.walk(found.pattern) if isinstance(n, ast.Name)]
    functions = {c.func.id for c in ast.walk(found.pattern) if isinstance(c, ast.Call)}
    parameters = {k.value.id for c in ast.walk(found.pattern) if isinstance(c, ast.Call) for k in c.keywords}
    return sorted({*names} - functions - parameters)


def calls(pattern: ast.expr, name: str) -> int:
    return next(len(c.args) for c in ast.walk(pattern) if isinstance(c, ast.Call) and c.func.id == name)


def candidates(found: Rule) -> list[dict[str, Primitive]]:
    """Which operations `f` may be: all with the fact and the number of operands."""
    if not found.facts:
        return [{}]
    (letter,) = found.facts
    able = []
    for primitive in registry.values():
        fits = not isinstance(primitive, type) and operation_fits(
            ast.parse("f()", mode="eval").body, primitive, found.facts
        )
        if fits and primitive.arity == calls(found.pattern, letter):
            able.append({letter: primitive})
    return able


def build(pattern: ast.expr, values: dict[str, Any], operations: dict[str, Primitive], params: dict[str, Any]) -> Any:
    """Apply the pattern to values."""
    if isinstance(pattern, ast.Name):
        return values[pattern.id]
    if not isinstance(pattern, ast.Call):
        return number(pattern)
    name = pattern.func.id
    primitive = operations.get(name) or registry[name]
    if isinstance(primitive, type):
        primitive = primitive.of(**{k.arg: params[k.value.id] for k in pattern.keywords})
    # Without the shortcut that the public function takes for constants.
    return bind(primitive, *[build(part, values, operations, params) for part in pattern.args])


def instances(found: Rule) -> Iterator[tuple[Graph, Graph]]:
    """Graphs of the pattern on which the rule fires, before and after."""
    names = arguments(found)
    open_names = [n for n in names if n not in "abc"]
    closed = [n for n in names if n in "abc"]
    if any(c.keywords for c in ast.walk(found.pattern) if isinstance(c, ast.Call)):
        key = max((k for k in PARAMETERS if found.text.startswith(k)), key=len)
        choices = [(types.split(), params) for types, params in PARAMETERS[key]]
    else:
        shapes = [
            ["[3]"] * len(open_names),
            ["", "[2,1]", "[3]"][: len(open_names)],
            ["[0]", "[1]", "[0]"][: len(open_names)],
        ]
        choices = [([d + s for s in shape], {}) for d in DTYPES for shape in shapes]
        choices += [
            ([f"{d}[3]" for d in mixed], {}) for mixed in itertools.permutations(("f8", "f4", "i8"), len(open_names))
        ]
    for operations in candidates(found):
        for types, params in choices:
            for constants in itertools.product(CONSTANTS, repeat=len(closed)):
                fixed = dict(zip(closed, constants, strict=True))

                def program(
                    *given: Any, fixed: Any = fixed, operations: Any = operations, params: Any = params
                ) -> list[Any]:
                    return [
                        build(found.pattern, {**dict(zip(open_names, given, strict=True)), **fixed}, operations, params)
                    ]

                try:
                    before = staged(program, *types)
                    with numpy.errstate(all="ignore"):
                        evaluate(before, *inputs_of(before, False, numpy.random.default_rng(0)))
                except (WengertError, TypeError, OverflowError, ValueError):  # not for these dtypes, or int ** -1
                    continue
                after = rewrite(before, [found], CHANGES)
                if after is not before:
                    yield before, after


def inputs_of(graph: Graph, special: bool, rng: numpy.random.Generator) -> list[Any]:
    values = []
    for var in graph.inputs:
        limits = numpy.finfo(var.dtype) if var.dtype.kind in "fc" else None
        if special and var.dtype.kind in "fc":
            choices = numpy.array([*SPECIAL, limits.max, limits.tiny, limits.smallest_subnormal], limits.dtype)
            value = rng.choice(choices, var.shape)
            if var.dtype.kind == "c":
                value, real = numpy.empty(var.shape, var.dtype), value
                value.real, value.imag = real, rng.choice(choices, var.shape)
        elif var.dtype.kind in "fc":
            value = rng.uniform(0.3, 2, var.shape)
            value = value + 1j * rng.uniform(0.3, 2, var.shape) if var.dtype.kind == "c" else value
        else:
            value = rng.integers(0, 2, var.shape) if var.dtype.kind == "b" else rng.integers(1, 100, var.shape)
        values.append(numpy.asarray(value).astype(var.dtype)[()])
    return values


@pytest.mark.parametrize("found", TABLE, ids=str)
def test_a_rule_is_an_identity(found: Rule) -> None:
    fired = 0
    rng = numpy.random.default_rng(1)
    for before, after in instances(found):
        fired += 1
        check(after)
        assert after.outputs[0].type == before.outputs[0].type
        for trial in range(6):
            special = trial > 2 and not found.changes & {"nan", "rounding"}
            values = inputs_of(before, special, rng)
            with numpy.errstate(all="ignore"):
                (expected,), (got,) = evaluate(before, *values), evaluate(after, *values)
            signs = "zero sign" not in found.changes and "strong" not in found.text
            if found.exact:
                assert bits_equal(got, expected, signs), f"{before.nodes} on {values}: {got}, not {expected}"
            else:
                assert numpy.asarray(got).dtype == numpy.asarray(expected).dtype
                eps = numpy.finfo(numpy.asarray(got).dtype).eps if numpy.asarray(got).dtype.kind in "fc" else 0
                within = 4 if "digits" in found.changes else 200
                numpy.testing.assert_allclose(got, expected, rtol=within * float(eps), atol=within * float(eps))
    assert fired, "the rule never fires"


@pytest.mark.parametrize("found", [r for r in TABLE if not r.changes & {"derivative", "nan"}], ids=str)
def test_a_rule_keeps_derivatives(found: Rule) -> None:
    """First and second derivatives, at ordinary points and at zero."""
    if "power" in found.text or "reciprocal" in found.text:
        points = (0.7, 1.0)
    else:
        points = (0.7, 1.0, 0.0, -1.3)
    for before, after in instances(found):
        if not before.inputs or any(var.dtype != numpy.float64 for var in before.inputs):
            continue
        for point in points:
            values = [numpy.full(var.shape, point) for var in before.inputs]
            tangents = [numpy.ones_like(v) * (k + 1) for k, v in enumerate(values)]

            def slope(graph: Graph, tangents: Any = tangents) -> Any:
                return lambda *args: wg.jvp(lambda *a: evaluate(graph, *a)[0], args, tuple(tangents))[1]

            with numpy.errstate(all="ignore"):
                numpy.testing.assert_allclose(slope(after)(*values), slope(before)(*values), rtol=1e-12, atol=1e-12)
                second = [wg.jvp(slope(g), tuple(values), tuple(tangents))[1] for g in (before, after)]
            numpy.testing.assert_allclose(second[1], second[0], rtol=1e-12, atol=1e-12)


def test_exact_rules_only_unless_asked() -> None:
    graph = staged(lambda x: [bind(registry["subtract"], x, x)], "f8[3]")
    assert rewrite(graph, IDENTITIES) is graph
    assert rewrite(graph, IDENTITIES, ["rounding"]) is graph
    assert len(rewrite(graph, IDENTITIES, ["nan"])) == 0


def test_strong_product_with_zeros_stays() -> None:
    """An infinite cotangent times a constant zero is zero, which an ordinary product would make NaN."""
    graph = staged(lambda x: [bind(registry["strong_multiply"], x, numpy.array([0.0, 2.0]))], "f8[2]")
    assert rewrite(graph, IDENTITIES) is graph


def test_a_narrow_conversion_stays() -> None:
    """Through float32 a float64 loses digits, through float64 an int64 does."""
    convert = registry["convert"]
    for start, between, last in (
        ("f8", "f4", "f8"),
        ("i8", "f8", "i8"),
        ("f8", "i8", "f8"),
        ("c16", "f8", "c16"),
        ("i4", "f8", "u1"),
    ):
        graph = staged(
            lambda x, p=between, q=last: [bind(convert(numpy.dtype(q)), bind(convert(numpy.dtype(p)), x))], start
        )
        assert rewrite(graph, PRODUCTS) is graph


def test_a_shared_product_is_not_computed_twice() -> None:
    def program(x: Any, y: Any) -> list[Any]:
        z = bind(registry["matmul"](), x, y)
        return [z, bind(registry["transpose"]((1, 0)), z)]

    graph = staged(program, "f8[2,3]", "f8[3,4]")
    assert rewrite(graph, PRODUCTS, CHANGES) is graph


@pytest.mark.parametrize(("text", "changes"), [("add(x, nothing(y)) -> x", ()), ("add(x, 0) -> x", ("colour",))])
def test_a_rule_with_a_slip_is_refused(text: str, changes: tuple[str, ...]) -> None:
    with pytest.raises(RegistrationError):
        rule(text, changes=changes)


def test_rules_that_undo_each_other_come_to_an_end() -> None:
    back_and_forth = [rule("add(x, y) -> subtract(x, negative(y))"), rule("subtract(x, negative(y)) -> add(x, y)")]
    graph = staged(lambda x, y: [bind(registry["add"], x, y)], "f8", "f8")
    after = rewrite(graph, back_and_forth)
    check(after)
    assert bits_equal(evaluate(after, 1.5, 2.0)[0], 3.5)
