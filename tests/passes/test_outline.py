"""Outline: long graphs become parts that compute the same, and as few bodies as there are loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from tests.passes.helpers import check, same_interface

import wengert as wg
import wengert.numpy as np
from wengert.graph.graph import Graph
from wengert.graph.nodes import Const
from wengert.graph.stage import evaluate
from wengert.graph.types import Dim
from wengert.ops.part import Part
from wengert.passes import optimize
from wengert.passes.outline import CHUNK, LEAST, LONGEST, outline

VALUES = numpy.array([0.3, 0.5, 0.9])


def bodies(graph: Graph) -> Counter[Graph]:
    """How often each body is called, in the graph itself."""
    return Counter(node.primitive.body for node in graph.nodes if isinstance(node.primitive, Part))


def outlined(fn: Callable[..., Any], *args: Any) -> Graph:
    """The graph of a function after `outline`, which must compute the same bits."""
    before = optimize(wg.trace(fn, *args))
    after = outline(before)
    check(after)
    wg.verify(after)
    same_interface(before, after)
    leaves = [numpy.asarray(a) for arg in args for a in (arg if isinstance(arg, (list, tuple)) else [arg])]
    for found, expected in zip(evaluate(after, *leaves), evaluate(before, *leaves), strict=True):
        numpy.testing.assert_array_equal(found, expected)
    return after


def loop(rounds: int) -> Callable[..., Any]:
    def f(x: Any, a: Any) -> Any:
        for _ in range(rounds):
            x = np.sin(x) * a + x * 0.5 + np.tanh(x) * 0.1
        return np.sum(x)

    return f


def test_short_graphs_stay() -> None:
    graph = optimize(wg.trace(loop(5), VALUES, 0.5))
    assert len(graph) < LEAST
    assert outline(graph) is graph


def test_an_unrolled_loop_is_one_body() -> None:
    after = outlined(loop(100), VALUES, 0.5)
    ((body, times),) = bodies(after).items()
    assert times * len(body) > 0.95 * 7 * 100
    assert len(after) - times < 2 * len(body)
    assert len(body.inputs) == 2  # x and a
    assert len(body.outputs) == 1


def test_its_gradient_is_two() -> None:
    after = outlined(wg.grad(loop(100)), VALUES, 0.5)
    found = bodies(after)
    assert len(found) == 2
    assert min(found.values()) > 20
    assert {node.backward for node in after.nodes if isinstance(node.primitive, Part)} == {True, False}


def test_the_number_of_nodes_does_not_grow_faster_than_the_rounds() -> None:
    few, many = (outlined(wg.grad(loop(rounds)), VALUES, 0.5) for rounds in (60, 240))
    assert sorted(len(body) for body in bodies(few)) == sorted(len(body) for body in bodies(many))
    assert sum(bodies(many).values()) > 3 * sum(bodies(few).values())


def test_numbers_that_differ_from_round_to_round_are_operands() -> None:
    def f(x: Any) -> Any:
        for k in range(100):
            x = np.sin(x * (0.1 * k)) + np.cos(x) * 0.5
        return x

    ((body, times),) = bodies(outlined(f, VALUES)).items()
    assert times > 10
    assert any(isinstance(atom, Const) for node in body.nodes for atom in node.inputs)  # 0.5
    after = outlined(f, VALUES)
    part = next(node for node in after.nodes if isinstance(node.primitive, Part))
    assert any(isinstance(atom, Const) for atom in part.inputs)


def test_rows_of_data_are_operands() -> None:
    data = numpy.random.default_rng(0).normal(size=(80, 3))

    def f(w: Any) -> Any:
        total = 0.0
        for row in data:
            total = total + np.tanh(np.sum(row * w)) ** 2
        return total

    found = bodies(outlined(wg.grad(f), VALUES))
    assert len(found) <= 3
    assert sum(found.values()) > 20


def test_loops_inside_loops() -> None:
    def f(x: Any) -> Any:
        for _ in range(30):
            for _ in range(20):
                x = np.sin(x) + np.cos(x) * 0.5
            x = np.exp(-x) * 2 + np.sqrt(1 + x * x)
        return np.sum(x)

    after = outlined(f, VALUES)
    assert len(after) < 200
    assert len(bodies(after)) == 1


def test_long_loops_inside_loops() -> None:
    def f(x: Any) -> Any:
        for _ in range(5):
            for _ in range(60):
                x = np.sin(x) + np.cos(x) * 0.5
            for _ in range(80):
                x = x * 0.9 + np.tanh(x)
            x = np.exp(-x) * 2 + np.sqrt(1 + x * x)
        return np.sum(x)

    after = outlined(f, VALUES)
    kinds = {node.primitive.body for node in after.all_nodes() if isinstance(node.primitive, Part)}
    assert 2 <= len(kinds) <= 4
    assert len(after) + sum(map(len, kinds)) < 400


def test_a_body_that_consists_of_similar_stages() -> None:
    def rate(u: list[Any], p: Any) -> list[Any]:
        return [p[0] * u[0] - p[1] * u[0] * u[1], p[2] * u[0] * u[1] - p[3] * u[1]]

    def f(p: Any) -> Any:
        u = [1.0, 0.5]
        for _ in range(30):
            k1 = rate(u, p)
            k2 = rate([a + 0.05 * b for a, b in zip(u, k1, strict=True)], p)
            k3 = rate([a + 0.05 * b for a, b in zip(u, k2, strict=True)], p)
            k4 = rate([a + 0.1 * b for a, b in zip(u, k3, strict=True)], p)
            u = [a + 0.1 / 6 * (b + 2 * c + 2 * d + e) for a, b, c, d, e in zip(u, k1, k2, k3, k4, strict=True)]
        return u[0] + u[1]

    found = bodies(outlined(wg.grad(f), numpy.array([1.1, 0.4, 0.1, 0.4])))
    assert len(found) <= 4
    assert sum(found.values()) > 50


def test_layers_with_parameters_of_their_own() -> None:
    rng = numpy.random.default_rng(1)
    weights = [rng.normal(size=(4, 4)) for _ in range(40)]

    def f(weights: list[Any]) -> Any:
        x = np.ones(4)
        for w in weights:
            x = np.tanh(w @ x) + x / (1 + np.sum(x * x))
        return np.sum(x)

    found = bodies(outlined(wg.grad(f), weights))
    assert len(found) == 2
    assert min(found.values()) > 5


def test_a_function_called_here_and_there() -> None:
    def block(x: Any) -> Any:
        for k in range(70):  # no period: every round is another operation
            x = (np.sin, np.cos, np.tanh, np.exp, np.sqrt)[k * k % 5](x * x + k % 7) * (k % 3 + 1.0)
            x = x - (np.square, np.abs, np.arctan)[(k // 5) ** 2 % 3](x) if k % 11 else x
        return x / (1 + np.abs(x))

    def f(x: Any) -> Any:
        return block(block(np.sin(x)) + 2) * block(x[:2].sum() + x)

    found = bodies(outlined(f, VALUES))
    assert 3 in found.values()


def test_straight_code_is_cut_into_pieces() -> None:
    rng = numpy.random.default_rng(2)
    order = rng.integers(0, 5, 3 * LONGEST)
    functions = (np.sin, np.cos, np.tanh, np.arctan, lambda x: 1 / (2 + x * x))

    def f(x: Any) -> Any:
        y = x
        for k in order:
            x, y = functions[k](x) + 0.3 * y, x
        return x

    after = outlined(f, VALUES)
    assert len(after) < 50
    sizes = [len(body) for body in bodies(after)]
    assert max(sizes) <= LONGEST
    assert numpy.median(sizes) > CHUNK / 2
    pieces = [node for node in after.nodes if isinstance(node.primitive, Part)]
    assert all(len(node.outputs) <= 3 for node in pieces)  # cut where little is alive


def test_long_bodies_of_loops_are_outlined_too() -> None:
    def step(x: Any, _: Any) -> Any:
        for _ in range(60):
            x = np.sin(x) + np.cos(x) * 0.5
        return x, np.sum(x)

    after = outlined(lambda x: wg.scan(step, x, length=3)[0], VALUES)
    scan = next(node for node in after.nodes if node.primitive.name == "scan")
    assert len(scan.primitive.body) < 60


def test_lengths_that_only_the_run_knows_stay_outside() -> None:
    def newton(x: Any) -> Any:
        return wg.while_loop(lambda s: s[1] < 4, lambda s: (s[0] - (s[0] ** 2 - x) / (2 * s[0]), s[1] + 1), (x, 0))[0]

    def f(x: Any) -> Any:
        for _ in range(40):
            x = newton(1 + x * x) * 0.3 + np.sin(x)
        for _ in range(80):
            x = np.cos(x) * 0.3 + np.sin(x)
        return x

    after = outlined(wg.grad(f), 0.7)
    parts = [node for node in after.nodes if isinstance(node.primitive, Part)]
    assert parts
    assert not [n for node in parts for a in (*node.inputs, *node.outputs) for n in a.shape if isinstance(n, Dim)]


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.complex128, numpy.int64])
def test_dtypes(dtype: Any) -> None:
    def f(x: Any) -> Any:
        for _ in range(60):
            x = x * 2 - (x + 1) * 3 + 1
            x = (x + 2) // 3 if dtype == numpy.int64 else (x + 2) / 3
        return x

    found = bodies(outlined(f, numpy.array([1, 2, 3], dtype)))
    assert len(found) == 1


def test_the_users_lines_stay() -> None:
    after = outlined(loop(100), VALUES, 0.5)
    ((body, _),) = bodies(after).items()
    assert {node.source.function for node in body.nodes} == {"loop.<locals>.f"}
    assert {node.source.text for node in body.nodes} == {"x = np.sin(x) * a + x * 0.5 + np.tanh(x) * 0.1"}


def test_loops_on_different_lines_are_different_bodies() -> None:
    def f(x: Any) -> Any:
        for _ in range(60):
            x = np.sin(x) + np.cos(x) * 0.5
        for _ in range(60):
            x = np.sin(x) + np.cos(x) * 0.5
        return x

    assert len(bodies(outlined(f, VALUES))) == 2


def test_outlined_graphs_print_and_become_python() -> None:
    after = outlined(loop(100), VALUES, 0.5)
    assert "part" in str(after)
    scope: dict[str, Any] = {}
    exec(after.as_python("f"), scope)
    numpy.testing.assert_allclose(scope["f"](VALUES, 0.5), loop(100)(VALUES, 0.5), rtol=1e-12)
