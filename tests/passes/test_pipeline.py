"""The whole pipeline: same values and derivatives on many programs, sources, reports, linear cost."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from tests.passes.helpers import check, lines, same_interface, same_results, text

import wengert as wg
import wengert.numpy as np
from wengert.errors import WengertError
from wengert.graph.graph import Graph
from wengert.graph.nodes import Const
from wengert.passes import PIPELINE, explain, fold, optimize
from wengert.passes.build import Pass
from wengert.passes.pipeline import run


def newton(x: Any) -> Any:
    """A root by a loop whose number of steps depends on the data."""
    return wg.while_loop(lambda s: s[1] < 6, lambda s: (s[0] - (s[0] ** 2 - x) / (2 * s[0]), s[1] + 1), (x, 0))[0]


def recurrent(w: Any, x: Any) -> Any:
    def step(h: Any, x: Any) -> Any:
        h = np.tanh(w @ h + x)
        return h, np.sum(h) * 1.0

    h, total = wg.scan(step, np.zeros(3) * x[0], x)
    return np.sum(h) + np.mean(total)


def branches(x: Any) -> Any:
    y = wg.cond(x > 1, lambda v: v * v * 1.0, lambda v: np.sin(v) - 0.0, x)
    return wg.switch((x > 0) * 1, [lambda v: v, lambda v: v**3 + v / 4.0], y)


def network(w: Any, v: Any, x: Any) -> Any:
    hidden = np.tanh(x @ w.T)
    logits = hidden @ v
    return -np.mean(logits[:, 0] - np.log(np.sum(np.exp(logits), axis=1)))


RNG = numpy.random.default_rng(0)
PROGRAMS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda x: np.sum(x**2 * (x + 1) + np.sin(x**2)), (RNG.normal(size=3),)),
    (lambda x: np.sum(np.power(x, 3) / 8.0 + np.sqrt(np.sum(x * x)) * 1), (RNG.normal(size=3),)),
    (lambda x: np.sum(np.where(x > 0, x, 0) ** 1.5), (RNG.normal(size=4),)),
    (lambda x: np.sum(np.broadcast_to(np.exp(x), (2, 3)) * x[None]), (RNG.normal(size=3),)),
    (lambda x: np.sum(x[1:] * x[:-1]) - np.sum(-x), (RNG.normal(size=5),)),
    (lambda x: np.sum(x.astype(np.float32).astype(np.float64) * 2), (RNG.normal(size=3),)),
    (newton, (numpy.float64(2.0),)),
    (recurrent, (RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3)))),
    (branches, (numpy.float64(0.5),)),
    (branches, (numpy.float64(1.5),)),
    (network, (RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2)), RNG.normal(size=(5, 3)))),
    (lambda x: np.sum(x * 2) + 1.0, (numpy.zeros((0, 3)),)),
    (lambda x: np.sum(np.abs(x) * np.maximum(x, x)), (RNG.normal(size=3).astype(numpy.float32),)),
]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_values_and_derivatives_stay(number: int) -> None:
    """The program, its gradient and second derivatives, optimised; and derivatives of the optimised program."""
    fn, args = PROGRAMS[number]
    slope = wg.grad(fn)
    curve = wg.grad(lambda *a: np.sum(slope(*a)))
    for program in (fn, slope, curve):
        before = wg.trace(program, *args)
        after = optimize(before, check=check)
        same_interface(before, after)
        assert len(list(after.all_nodes())) <= len(list(before.all_nodes())) + 4  # a power is several products
        rtol = 1e-5 if args[0].dtype == numpy.float32 else 1e-10
        numpy.testing.assert_allclose(after(*args), before(*args), rtol=rtol, atol=rtol)
    numpy.testing.assert_allclose(wg.grad(optimize(wg.trace(fn, *args)))(*args), slope(*args), rtol=rtol, atol=rtol)


def random_program(rng: numpy.random.Generator) -> Callable[..., Any]:
    """A function of two arrays: operations drawn at random, constants and rearrangements among them."""
    unary = [np.sin, np.exp, np.negative, np.square, np.abs, lambda x: x * 1, lambda x: x - 0.0, lambda x: x**3,
             np.tanh, lambda x: np.transpose(np.transpose(x)), lambda x: np.reshape(np.reshape(x, (-1,)), np.shape(x)),
             lambda x: x / 4, lambda x: wg.cond(np.sum(x) > 0, lambda v: v * 2, lambda v: v - 1, x),
             lambda x: wg.scan(lambda c, _: (np.sin(c) * x[0, 0] + 1, None), x, length=2)[0],
             lambda x: wg.fori_loop(0, 2, lambda i, c: c * 0.5 + i, x)]  # fmt: skip
    binary = [np.add, np.subtract, np.multiply, np.maximum, lambda x, y: x * np.sum(y), lambda x, y: x @ y.T @ y,
              lambda x, y: np.where(x > y, x, y), lambda x, y: -x - -y]  # fmt: skip
    plan = [(int(rng.integers(2)), int(rng.integers(1 << 30)), rng.integers(0, 1 << 30, 2)) for _ in range(12)]

    def program(x: Any, y: Any) -> Any:
        values = [x, y]
        for two, which, operands in plan:
            a, b = (values[-1 - int(k) % min(4, len(values))] for k in operands)
            new = binary[which % len(binary)](a, b) if two else unary[which % len(unary)](a)
            values.append(np.tanh(new))  # so that nothing overflows
        return np.sum(values[-1] * values[-2])

    return program


@pytest.mark.parametrize("seed", range(25))
def test_random_programs(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    program = random_program(rng)
    shape = [(2, 3), (1, 1), (3, 2)][seed % 3]
    dtype = [numpy.float64, numpy.float32][seed % 5 == 0]
    args = [rng.normal(size=shape).astype(dtype) for _ in range(2)]
    for fn in (program, wg.grad(program)):
        before = wg.trace(fn, *args)
        after = optimize(before, check=check)
        same_interface(before, after)
        rtol = 2e-3 if dtype == numpy.float32 else 1e-8
        numpy.testing.assert_allclose(after(*args), before(*args), rtol=rtol, atol=rtol)
        relaxed = optimize(before, allow=["rounding", "zero sign", "derivative"], check=check)
        numpy.testing.assert_allclose(relaxed(*args), before(*args), rtol=rtol, atol=rtol)


def test_nan_and_infinity_stay() -> None:
    def program(x: Any) -> Any:
        return (x * 1 - 0.0) * 0 + (x - x) + np.maximum(x, x) / 4 + 1 / x

    values = numpy.array([numpy.nan, numpy.inf, -numpy.inf, 0.0, -0.0, 1e308, 5e-324])
    before = wg.trace(program, values)
    with numpy.errstate(all="ignore"):
        expected, found = before(values), optimize(before)(values)
    numpy.testing.assert_array_equal(found, expected)
    assert (numpy.signbit(found) == numpy.signbit(expected)).all()


def test_a_dynamic_graph() -> None:
    """Recorded values stay with the edges; constants without a value are left alone."""
    x = wg.variable(numpy.ones(3), name="x")
    y = np.sum(np.sin(x) * 1.0 + np.sin(x))
    before = wg.graph(y)
    after = optimize(before)
    assert len(after) < len(before)
    assert [var.name for var in after.inputs] == [var.name for var in before.inputs]
    numpy.testing.assert_allclose(after.values[after.outputs[0]], y.numpy())


def test_sources_names_and_containers_stay() -> None:
    def program(parameters: dict[str, Any], x: Any) -> dict[str, Any]:
        doubled = parameters["w"] * x * 1.0
        again = parameters["w"] * x
        return {"sum": doubled + again}

    before = wg.trace(program, {"w": numpy.ones(2)}, numpy.ones(2))
    after = optimize(before, check=check)
    same_interface(before, after)
    first = program.__code__.co_firstlineno
    assert [(n.primitive.name, n.source.line - first) for n in after.nodes] == [("multiply", 1), ("add", 3)]
    assert after({"w": numpy.ones(2)}, numpy.full(2, 3.0))["sum"].tolist() == [6.0, 6.0]


def test_backward_nodes_stay_marked() -> None:
    after = optimize(wg.trace(wg.value_and_grad(lambda x: np.sin(x) * np.exp(x)), 1.0))
    assert {n.backward for n in after.nodes} == {False, True}


def test_explain() -> None:
    report = explain(wg.trace(lambda x: x**2 * (x + 1) + np.sin(x**2) * 1, 1.0))
    shown = [line.split("#")[0].rstrip() for line in str(report).splitlines()]
    assert "\n".join(shown) == lines("""
        before: 7 operations
          <lambda>(x: f64[]*) -> f64[]:
            v0: f64[] = square(x)
            v1: f64[] = add(x, 1)
            v2: f64[] = multiply(v0, v1)
            v3: f64[] = square(x)
            v4: f64[] = sin(v3)
            v5: f64[] = multiply(v4, 1)
            v6: f64[] = add(v2, v5)
            return v6

        fold      -
        inline    -
        fold      -
        strength  -
        products  -
        simplify  7 -> 6   multiply -1
        hoist     -
        cse       6 -> 5   square -1
        dce       -

        after: 5 operations
          <lambda>(x: f64[]*) -> f64[]:
            v0: f64[] = square(x)
            v1: f64[] = add(x, 1)
            v2: f64[] = multiply(v0, v1)
            v3: f64[] = sin(v0)
            v4: f64[] = add(v2, v3)
            return v4
        """)
    assert repr(report) == "<Report: 7 operations before, 5 operations after>"
    assert "ms" in report.text(seconds=True)
    assert [step.name for step in report.steps] == [p.__name__ for p in PIPELINE]


def test_a_pass_that_breaks_the_graph_is_named() -> None:
    def careless(graph: Graph) -> Graph:
        return graph.replace(nodes=graph.nodes[1:])

    graph = wg.trace(lambda x: np.sin(np.exp(x)), 1.0)
    with pytest.raises(AssertionError) as caught:
        run(graph, (fold, careless), check)
    assert caught.value.__notes__ == ["after pass 'careless'"]


def test_a_change_that_no_rule_makes_is_refused() -> None:
    with pytest.raises(WengertError, match="colour"):
        optimize(wg.trace(np.sin, 1.0), allow=["colour"])


def test_inexact_rules_on_request() -> None:
    graph = wg.trace(lambda x: (x + 1.0) + 2.0 - (x - x), numpy.float32(1))
    assert text(optimize(graph)) == text(graph)
    assert text(optimize(graph, allow=["rounding", "nan"])) == lines("""
        <lambda>(x: f32[]) -> f32[]:
          v0: f32[] = add(x, f32(3.0))
          return v0
        """)


def chain(length: int) -> Graph:
    """Every pass finds something to do in a part of it."""

    def program(x: Any, y: Any) -> Any:
        for k in range(length // 10):
            x = np.sin(x) * 1.0 + np.power(y, 3)
            x = np.transpose(np.transpose(x)) - -(x / 4.0)
            y = y * (k + 2.0)
        return x + y

    return wg.trace(program, numpy.ones((2, 2)), numpy.ones((2, 2)))


def calls(change: Pass, graph: Graph) -> int:
    """How many Python and C functions a pass calls."""
    total = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal total
        total += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        change(graph)
    finally:
        sys.setprofile(None)
    return total


@pytest.mark.parametrize("change", [*dict.fromkeys(PIPELINE)], ids=lambda p: p.__name__)
def test_cost_is_linear_in_the_nodes(change: Pass) -> None:
    small, large = chain(500), chain(2000)
    ratio = len(large) / len(small)
    assert calls(change, large) <= 1.05 * ratio * calls(change, small)


def test_twenty_thousand_nodes() -> None:
    graph = chain(20_000)
    assert len(graph) >= 20_000
    after = optimize(graph)
    check(after)
    assert len(after) < len(graph)
    same_results(graph, after, rtol=1e-9)


def test_constants_stay_shared() -> None:
    """A large constant is neither copied nor compared element by element."""
    weights = numpy.random.default_rng(0).normal(size=(200, 200))
    after = optimize(wg.trace(lambda x: weights @ x + weights.T @ x, numpy.ones(200)))
    held = [atom.value for node in after.nodes for atom in node.inputs if isinstance(atom, Const)]
    assert any(value is weights for value in held)
