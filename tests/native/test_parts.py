"""Compiled unrolled loops: parts compute what the whole does, raise the same errors, and are written once."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import IndexOutOfBoundsError
from wengert.graph.trees import flatten
from wengert.testing import random_program
from wengert.testing.differential import check_compiled

RNG = numpy.random.default_rng(0)


def agree(fn: Callable[..., Any], *args: Any, rtol: float = 1e-11) -> Any:
    """The compiled function gives what evaluation gives; returns it with what it was lowered to."""
    compiled = wg.jit(fn)
    for found, expected in zip(flatten(compiled(*args))[0], flatten(fn(*args))[0], strict=True):
        assert numpy.asarray(found).dtype == numpy.asarray(expected).dtype
        numpy.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-13)
    lowered = compiled.lower(*args)
    assert "part" in lowered.loops
    return lowered


def waves(rounds: int) -> Callable[..., Any]:
    def f(x: Any, a: Any) -> Any:
        for _ in range(rounds):
            x = np.sin(x) * a + x * 0.5 + np.tanh(x) * 0.1
        return np.sum(x)

    return f


@pytest.mark.parametrize("x", [0.3, numpy.array([0.1, 0.2, 0.3]), RNG.normal(size=100), numpy.zeros((0, 3))],
                         ids=["scalar", "small", "large", "empty"])  # fmt: skip
@pytest.mark.parametrize("dtype", [numpy.float64, numpy.float32])
def test_unrolled_loops(x: Any, dtype: Any) -> None:
    x = numpy.asarray(x, dtype)
    tolerance = 1e-11 if dtype == numpy.float64 else 2e-4
    agree(wg.value_and_grad(waves(60), (0, 1)), x, dtype(0.7), rtol=tolerance)


def test_the_text_does_not_grow_with_the_rounds() -> None:
    few, many = (wg.jit(wg.grad(waves(rounds))).lower(RNG.normal(size=50), 0.7) for rounds in (60, 600))
    assert many.llvm.count("\n") == few.llvm.count("\n")


def test_runs_of_calls_are_loops_in_the_listing() -> None:
    lowered = wg.jit(waves(100)).lower(numpy.ones(3), 0.5)
    assert "more calls" in lowered.loops
    assert lowered.llvm.count("call i64 @part0(") == 1


def test_lists_of_scalars() -> None:
    def rate(u: list[Any], p: Any) -> list[Any]:
        return [p[0] * u[0] - p[1] * u[0] * u[1], p[2] * u[0] * u[1] - p[3] * u[1]]

    def f(u: list[Any], p: Any) -> Any:
        for _ in range(20):
            k1 = rate(u, p)
            k2 = rate([a + 0.05 * b for a, b in zip(u, k1, strict=True)], p)
            k3 = rate([a + 0.05 * b for a, b in zip(u, k2, strict=True)], p)
            k4 = rate([a + 0.1 * b for a, b in zip(u, k3, strict=True)], p)
            u = [a + 0.1 / 6 * (b + 2 * c + 2 * d + e) for a, b, c, d, e in zip(u, k1, k2, k3, k4, strict=True)]
        return u[0] + u[1]

    agree(wg.value_and_grad(f, (0, 1)), [1.0, 0.5], numpy.array([1.1, 0.4, 0.1, 0.4]))


def test_every_round_is_an_output() -> None:
    def f(x: Any) -> Any:
        found = []
        for _ in range(60):
            x = np.cos(x) * 0.9 + np.sin(x)
            found.append(x)
        return found, np.stack(found)

    agree(f, numpy.array([0.1, 0.5]))
    agree(f, RNG.normal(size=40))


def test_data_of_each_round() -> None:
    data, targets = RNG.normal(size=(70, 30)), RNG.normal(size=70)

    def loss(w: Any) -> Any:
        total = 0.0
        for row, target in zip(data, targets, strict=True):
            total = total + (np.tanh(np.sum(row * w)) - target) ** 2
        return total

    agree(wg.value_and_grad(loss), RNG.normal(size=30))


def test_rows_of_an_argument() -> None:
    def f(xs: Any, w: Any) -> Any:
        h = np.zeros(20)
        for k in range(50):
            h = np.tanh(h * w + xs[k]) + xs[k, 0] * 0.1
        return np.sum(h * h)

    agree(wg.value_and_grad(f, (0, 1)), RNG.normal(size=(50, 20)), RNG.normal(size=20))


def test_layers() -> None:
    def f(layers: list[tuple[Any, Any]], x: Any) -> Any:
        for w, b in layers:
            x = np.tanh(w @ x + b) + x / (1 + np.sum(x * x))
        return np.sum(x)

    layers = [(RNG.normal(size=(30, 30)) * 0.1, RNG.normal(size=30)) for _ in range(25)]
    agree(wg.value_and_grad(f, (0, 1)), layers, RNG.normal(size=30))


def test_integers_booleans_and_complex_numbers() -> None:
    def f(n: Any, z: Any) -> Any:
        odd = n > 0
        for _ in range(60):
            n = n * 3 % 17 + 1
            odd = np.logical_xor(odd, n % 2 == 1)
            z = z * (0.5 + 0.5j) + np.where(odd, 1.0, -1.0)
        return n, odd, z

    agree(f, numpy.array([1, 2, 3]), numpy.array([1j, 2, 3 + 0.5j]))
    agree(f, numpy.arange(30), RNG.normal(size=30) + 1j)


def test_operations_without_native_code() -> None:
    def f(x: Any) -> Any:
        for _ in range(40):
            x = np.linalg.eigvalsh(np.outer(x, x) + np.diag(x)) * 0.3 + np.sin(x) * 0.1
        return x

    assert agree(f, RNG.normal(size=6)).callbacks


def test_loops_in_each_round() -> None:
    def newton(x: Any) -> Any:
        return wg.while_loop(lambda s: s[1] < 4, lambda s: (s[0] - (s[0] ** 2 - x) / (2 * s[0]), s[1] + 1), (x, 0))[0]

    def f(x: Any) -> Any:
        for _ in range(40):
            x = newton(1 + x * x) * 0.3 + np.sin(x) * 0.2 + wg.cond(x > 1.2, np.cos, np.tanh, x)
        return x

    agree(f, 0.7)


def test_parts_inside_native_loops() -> None:
    def step(x: Any, row: Any) -> Any:
        for _ in range(50):
            x = x * 0.5 + 0.3 * np.sqrt(1 + x * x)
        return x + row, np.sum(x)

    def f(x: Any, rows: Any) -> Any:
        x, sums = wg.scan(step, x, rows)
        return np.sum(x) + np.sum(sums)

    agree(wg.value_and_grad(f, (0, 1)), RNG.normal(size=30), RNG.normal(size=(5, 30)))
    agree(wg.value_and_grad(f, (0, 1)), RNG.normal(size=3), RNG.normal(size=(5, 3)))


def test_straight_code_in_pieces() -> None:
    order = RNG.integers(0, 5, 500)
    functions = (np.square, np.abs, np.sqrt, lambda x: x + 0.5, lambda x: 1 / (2 + x * x))

    def f(x: Any) -> Any:
        y = x
        for k in order:
            x, y = functions[k](x) * 0.5 + 0.3 * y + 0.1 * x, x
        return x

    lowered = agree(f, numpy.array([1.2, 0.4]))
    assert lowered.llvm.count("define internal") > 3


def test_an_error_in_a_round_is_raised_with_the_users_line() -> None:
    def walk(table: Any, k: Any) -> Any:
        for _ in range(60):
            k = table[k] + 1 - 1 * (table[k] > 100)
        return k

    compiled = wg.jit(walk)
    table = numpy.arange(50)
    assert "part" in compiled.lower(table, 0).loops
    table[:40] = 0
    assert compiled(table, 0) == walk(table, 0) == 1
    table[:] = numpy.arange(50)
    with pytest.raises(IndexOutOfBoundsError, match="index 50 on axis 0") as caught:
        compiled(table, 0)
    assert "k = table[k]" in str(caught.value)
    table[:40] = 0
    assert compiled(table, 0) == 1  # and it runs again


def test_many_threads_call_it_at_once() -> None:
    compiled = wg.jit(wg.value_and_grad(waves(80)))
    inputs = [RNG.normal(size=200) for _ in range(8)]
    expected = [compiled(x, 0.5) for x in inputs]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            for (value, slope), (v, s) in zip(pool.map(lambda x: compiled(x, 0.5), inputs), expected, strict=True):
                assert value == v
                numpy.testing.assert_array_equal(slope, s)


def test_large_loops_in_parts_are_divided_among_threads() -> None:
    x = RNG.normal(size=200_000)

    def f(x: Any) -> Any:
        for _ in range(60):
            x = np.sin(x) * 0.7 + np.cos(x)
            x = x / (1 + np.abs(x))
        return x

    one, two = wg.jit(f, threads=1), wg.jit(f, threads=2)
    numpy.testing.assert_array_equal(one(x), two(x))
    text = two.lower(x).llvm
    assert "@part0(" in text
    assert ".steps(" in text
    numpy.testing.assert_allclose(two(x), f(x), rtol=1e-12)


def test_loops_inside_loops() -> None:
    def f(x: Any, a: Any) -> Any:
        for _ in range(6):
            for _ in range(50):
                x = x * 0.5 + a * np.sqrt(1 + x * x)
            for _ in range(40):
                x = x - 0.1 * x * np.abs(x - a)
            x = x / (1 + np.sum(x * x))
        return np.sum(x)

    lowered = agree(wg.value_and_grad(f, (0, 1)), RNG.normal(size=20), 0.3)
    assert any(node.primitive.name == "part" for f in lowered.program.lowering.functions for node in f.nodes)


@pytest.mark.parametrize("seed", range(12))
def test_random_programs_in_tiny_parts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = {"LEAST": 12, "SAVED": 6, "BODY": 4, "AGAIN": 8, "LONGEST": 12, "CHUNK": 8}
    for name, value in limits.items():
        monkeypatch.setattr(sys.modules["wengert.passes.outline"], name, value)
    once = random_program(seed)

    def thrice(*args: Any) -> list[Any]:
        """The program on inputs that differ a little, so that it repeats but is no common subexpression."""
        kinds = [np.asarray(x).dtype.kind if not hasattr(x, "dtype") else x.dtype.kind for x in args]
        return [
            out
            for k in range(3)
            for out in once(*[x * (1 - k / 1024) if kind in "fc" else x for x, kind in zip(args, kinds, strict=True)])
        ]

    check_compiled(dataclasses.replace(once, function=thrice))
