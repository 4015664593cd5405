"""The time of a compiled program by the user's lines: what is timed, what it is called, and that the sums fit."""

from __future__ import annotations

import time
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import DtypeError, ShapeError, UnsupportedError

rng = numpy.random.default_rng(0)


def network(x: Any, w: Any) -> Any:
    h = np.tanh(x @ w)
    g = np.cumsum(np.sin(h) * 2, axis=0)
    return np.sum(g / np.sum(g * g + 1, axis=1, keepdims=True))


X, W = rng.normal(size=(200, 60)), rng.normal(size=(60, 60))


def operations(profile: Any) -> dict[str, set[str]]:
    """The operations by the text of their line."""
    found: dict[str, set[str]] = {}
    for part in profile.parts:
        for line in part.lines:
            found.setdefault(line.text, set()).update(line.operations)
    return found


def test_parts_name_lines_and_operations() -> None:
    profile = wg.jit(network).profile(X, W)
    by_line = operations(profile)
    assert "matmul" in by_line["h = np.tanh(x @ w)"] and "tanh" in by_line["h = np.tanh(x @ w)"]
    assert {"sin", "multiply"} <= by_line["g = np.cumsum(np.sin(h) * 2, axis=0)"]
    assert {"sum", "divide"} <= by_line["return np.sum(g / np.sum(g * g + 1, axis=1, keepdims=True))"]
    assert [part.what for part in profile.parts].count("dgemm") == 1
    assert all(line.place.startswith("test_profile.py:") for part in profile.parts for line in part.lines)
    assert not any(line.backward for part in profile.parts for line in part.lines)


def test_times_add_up() -> None:
    profile = wg.jit(network).profile(X, W)
    inside = sum(part.seconds for part in profile.parts)
    assert 0 < inside <= profile.seconds and profile.between == pytest.approx(profile.seconds - inside)
    assert [p.seconds for p in profile.parts] == sorted([p.seconds for p in profile.parts], reverse=True)
    assert all(part.times == 1 for part in profile.parts) and profile.runs >= 1


def test_the_expensive_part_comes_first() -> None:
    def f(x: Any) -> Any:
        cheap = np.sum(x)
        return np.linalg.inv(x @ x.T + 1000 * np.eye(x.shape[0])) * cheap

    first = wg.jit(f).profile(rng.normal(size=(400, 400))).parts[0]
    assert first.what != "loops" and first.lines[0].text.startswith("return np.linalg.inv")


def test_derivatives_are_told() -> None:
    profile = wg.jit(wg.grad(network)).profile(X, W)
    backward = [line for part in profile.parts for line in part.lines if line.backward]
    assert any("matmul" in line.operations for line in backward)
    assert "(derivative)" in str(profile)


def test_the_table() -> None:
    text = str(wg.jit(network).profile(X, W))
    lines = text.splitlines()
    assert "in native code (mean of" in lines[0]
    assert lines[1].split() == ["time", "share", "times", "what", "line", "operations"]
    assert "straight-line code" in lines[-1]
    assert "h = np.tanh(x @ w)" in text and "dgemm" in text


def test_loops_of_control_flow_are_one_part_with_the_lines_of_their_bodies() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, t: Any) -> Any:
            inner = np.sin(c) * t
            return inner, None

        return wg.scan(step, x, np.arange(50.0))[0]

    profile = wg.jit(f).profile(rng.normal(size=100))
    scan = next(part for part in profile.parts if part.what == "scan")
    assert any(line.text == "inner = np.sin(c) * t" and "sin" in line.operations for line in scan.lines)
    spin = wg.jit(lambda x: wg.while_loop(lambda v: v < 100, lambda v: v * 1.5, x)).profile(1.0)
    assert [part.what for part in spin.parts] == ["while_loop"]


def test_callbacks_and_what_numpy_computes() -> None:
    f = wg.jit(lambda x: np.linalg.eigh(x @ x.T)[0])
    assert f.lower(X).callbacks == ["eigh"]
    assert "eigh by NumPy" in [part.what for part in f.profile(X).parts]


def test_unrolled_loops_are_timed_inside() -> None:
    def f(x: Any) -> Any:
        for _ in range(300):
            x = np.sin(x) + np.cumsum(x) * 1e-3
        return x

    profile = wg.jit(f).profile(rng.normal(size=200))
    assert max(part.times for part in profile.parts) > 20
    assert any("sin" in ops for ops in operations(profile).values())


def test_numbers_in_registers_have_no_parts() -> None:
    profile = wg.jit(lambda x: np.sum(x * x)).profile(numpy.ones(3))
    assert profile.parts == () and profile.between == profile.seconds > 0
    assert "straight-line code" in str(profile)


def test_through_lower_and_the_program() -> None:
    lowered = wg.jit(network).lower(X, W)
    for profile in (lowered.profile(X, W), lowered.program.profile(X, W)):
        assert any(part.what == "dgemm" for part in profile.parts)


def test_containers_static_arguments_and_keywords() -> None:
    f = wg.jit(lambda p, n, *, scale: np.tanh(p["x"] @ p["x"]) * n * scale, static_argnames="n")
    profile = f.profile({"x": X[:60]}, 3, scale=2.0)
    assert profile.parts


def test_the_program_itself_is_the_same() -> None:
    f = wg.jit(network)
    before, text = f(X, W), f.lower(X, W).llvm
    f.profile(X, W)
    assert f(X, W) == before and f.lower(X, W).llvm == text and "wengert.now" not in text


def test_errors_are_raised_as_in_a_call() -> None:
    f = wg.jit(lambda x, i: np.tanh(x[i]) + x)
    x = numpy.ones((30, 30))
    with pytest.raises(wg.errors.IndexOutOfBoundsError):
        f.profile(x, 30)
    assert f.profile(x, 1).parts


def test_programs_that_print_run_once(capsys: Any) -> None:
    def f(x: Any) -> Any:
        wg.debug.print("sum {}", np.sum(x))
        return x * 2

    profile = wg.jit(f).profile(numpy.ones(100))
    assert profile.runs == 1 and capsys.readouterr().out.count("sum") == 1


def test_arguments_of_other_types() -> None:
    lowered = wg.jit(lambda x: x * 2).lower(numpy.ones(30, numpy.float32))
    with pytest.raises(ShapeError, match="input 0 has shape"):
        lowered.profile(numpy.ones(31, numpy.float32))
    with pytest.raises(ShapeError, match="2 arrays"):
        lowered.profile(numpy.ones(30, numpy.float32), 1.0)
    with pytest.raises(DtypeError, match="complex128"):
        lowered.profile(numpy.ones(30, complex))


def test_where_there_is_no_profile() -> None:
    with pytest.raises(UnsupportedError, match="branches"):
        wg.jit(lambda x: x if x > 0 else -x, branches=True).profile(1.0)
    f = wg.jit(lambda x: x * 2)
    with pytest.raises(UnsupportedError, match="another transform"):
        wg.grad(lambda x: f.profile(x))(1.0)


def test_threads_at_work() -> None:
    f = wg.jit(lambda x: np.tanh(x) * np.exp(x), threads=2)
    profile = f.profile(numpy.linspace(-1, 1, 1_000_000))
    assert len(profile.parts) == 1 and profile.parts[0].seconds > 0


def test_a_profile_takes_no_longer_than_it_says() -> None:
    f = wg.jit(network)
    f.profile(X, W)
    start = time.perf_counter()
    profile = f.profile(X, W)
    assert profile.seconds * profile.runs <= time.perf_counter() - start
