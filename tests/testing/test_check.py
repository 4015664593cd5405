"""`check_grads` finds wrong derivatives, says where they are, and tells kinks from mistakes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.primitive import registry
from wengert.ops.families import elementwise
from wengert.testing import GradientError, KinkWarning, check_grads


@pytest.fixture
def declare() -> Iterator[Any]:
    """Declares elementwise operations for one test."""
    names: list[str] = []

    def make(name: str, *args: Any, **options: Any) -> Any:
        names.append(name)
        return elementwise(name, *args, **options)

    yield make
    for name in names:
        del registry[name]


def test_correct_derivatives_pass_in_containers_of_many_dtypes() -> None:
    rng = numpy.random.default_rng(0)
    params = {
        "w": rng.normal(size=(3, 2)),
        "b": [rng.normal(size=2), 0.5],
        "z": rng.normal(size=2) + 1j * rng.normal(size=2),
        "n": numpy.array([0, 2]),
    }

    def f(params: Any, x: Any) -> Any:
        y = np.tanh(x @ params["w"] + params["b"][0]) * params["b"][1]
        return {"y": y[params["n"]], "power": np.abs(params["z"]) ** 2, "count": params["n"] + 1}

    check_grads(f, (params, rng.normal(size=(4, 3))), order=2)
    check_grads(lambda x: np.exp(np.sin(x)), (0.3,), order=4, directions=1)


def test_single_precision_has_a_tolerance_of_its_own() -> None:
    x = numpy.linspace(0.5, 2, 5, dtype=numpy.float32)
    check_grads(lambda x: np.log(x) * x, (x,))


def test_a_wrong_slope_is_found_and_its_leaves_named(declare: Any) -> None:
    wrong = declare("wrong_sine", numpy.sin, lambda x: 1.001 * np.cos(x))
    good = {"a": numpy.ones(2), "b": numpy.full(3, 0.3)}

    def f(p: Any) -> Any:
        return {"fine": np.sin(p["a"]), "off": wrong(p["b"])}

    for mode in ("forward", "reverse"):
        with pytest.raises(GradientError) as caught:
            check_grads(f, (good,), modes=(mode,))
        text = str(caught.value)
        assert f"{mode} mode, direction 0: the derivative is " in text
        assert "from p['b']: f64[3] to output['off']" in text
        assert "fine" not in text and "p['a']" not in text
        assert not caught.value.kink


def test_modes_that_disagree_are_told_apart(declare: Any) -> None:
    """A hand-written vjp that is wrong does not spoil forward mode."""
    operation = declare("half_wrong", numpy.exp, lambda out: out)
    operation.pullback = lambda mask: (
        lambda operands, out: (out,),
        lambda ct, saved, inputs, times: (2 * ct * saved[0],),
    )
    check_grads(operation, (0.3,), order=1, modes=("forward",))
    with pytest.raises(GradientError, match="reverse mode"):
        check_grads(operation, (0.3,), order=1)


def test_a_wrong_second_derivative_is_found(declare: Any) -> None:
    slope = declare("wrong_slope", numpy.cos, lambda x: -0.9 * np.sin(x))
    operation = declare("right_value", numpy.sin, lambda x: slope(x))
    check_grads(operation, (0.4,), order=1)
    with pytest.raises(GradientError, match="forward mode, direction 0, and of that forward mode: "):
        check_grads(operation, (0.4,), order=2)


def test_a_stopped_gradient_is_no_derivative() -> None:
    with pytest.raises(GradientError) as caught:
        check_grads(lambda x: x * wg.stop_gradient(x), (numpy.ones(2),))
    assert not caught.value.kink


@pytest.mark.parametrize(
    ("f", "x", "word"),
    [
        (lambda x: np.clip(x, 0, 1) + 3 * wg.stop_gradient(x), 0.0, "a kink: .* behind the point"),
        (lambda x: np.sum(np.where(x > 1.0, x + 1, x)), numpy.array([1.0, 2.0]), "a jump"),
        (lambda x: np.sqrt(x), 1e-9, "not finite beside the point"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_points_without_a_derivative_are_recognised(f: Any, x: Any, word: str) -> None:
    with pytest.raises(GradientError, match=word) as caught:
        check_grads(f, (x,), order=1)
    assert caught.value.kink


def test_a_kink_is_told_by_its_two_slopes_and_is_no_failure() -> None:
    for f in (lambda x: np.clip(x, 0, 1), lambda x: np.where(x > 0.0, 3 * x, x), lambda x: np.maximum(x, 0.0)):
        with pytest.warns(KinkWarning, match=r"the derivative is .* at a kink: .* slope is .* behind .* ahead"):
            check_grads(f, (0.0,))
    with pytest.warns(KinkWarning):
        check_grads(lambda p: np.sum(np.abs(p)), (numpy.array([0.0, 1.0]),), order=3)


def test_a_kink_of_the_slope_is_seen_at_second_order() -> None:
    check_grads(lambda x: x * np.abs(x) + x, (0.0,), order=1)
    with pytest.warns(KinkWarning, match="and of that"):
        check_grads(lambda x: x * np.abs(x) + x, (0.0,), order=3)


def test_strong_curvature_is_no_mistake() -> None:
    check_grads(lambda x: np.sin(300 * x), (0.3,), order=1)
    check_grads(lambda x: x / (1 + np.abs(x)), (0.0,), order=1)


def test_tolerances_and_directions_are_the_callers() -> None:
    def nearly(x: Any) -> Any:
        return x + 1e-3 * wg.stop_gradient(x)

    with pytest.raises(GradientError):
        check_grads(nearly, (1.0,))
    check_grads(nearly, (1.0,), rtol=1e-2)
    check_grads(nearly, (1.0,), atol=1e-1)
    calls = []
    check_grads(lambda x: calls.append(1) or x * x, (1.0,), order=1, directions=1)
    one = len(calls)
    check_grads(lambda x: calls.append(1) or x * x, (1.0,), order=1, directions=5)
    assert len(calls) > 3 * one


@pytest.mark.parametrize(
    ("args", "options", "error"),
    [
        (1.0, {}, TypeError),
        ((1.0,), {"modes": ("sideways",)}, ValueError),
        ((1.0,), {"modes": ()}, ValueError),
        ((1,), {}, ValueError),
    ],
)
def test_misuse_is_refused(args: Any, options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_grads(lambda x: x * x, args, **options)
