"""Where NaNs and infinities come from: the operation, its operands, the line, and whether in a derivative."""

from __future__ import annotations

import threading
import warnings

import numpy as onp
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import NonFiniteError
from wengert.graph.interpreter import state


def entropy(p):
    logs = np.log(p)
    return np.sum(logs * p)


def line_of(report):
    return report.source.text


@pytest.mark.parametrize("compiled", [False, True])
def test_the_value_is_blamed(compiled):
    f = wg.jit(entropy) if compiled else entropy
    report = wg.trace_nan(f)(onp.array([1.0, 0.0]))
    assert report.operation == "multiply" and not report.derivative and report.index == (1,)
    assert line_of(report) == "return np.sum(logs * p)"
    assert "multiply(-inf, 0.0) = nan" in str(report)
    assert report.before.operation == "log" and "log(0.0) = -inf" in str(report)


@pytest.mark.parametrize("compiled", [False, True])
def test_the_derivative_is_blamed(compiled):
    def f(x):
        root = np.sqrt(x)
        return np.sum(root * 2.0)

    g = wg.jit(wg.grad(f)) if compiled else wg.grad(f)
    report = wg.trace_nan(g)(onp.array([4.0, 0.0]))
    assert report.derivative and line_of(report) == "root = np.sqrt(x)" and report.index == (1,)
    assert wg.trace_nan(wg.jit(f) if compiled else f)(onp.array([4.0, 0.0])) is None


def test_forward_mode():
    report = wg.trace_nan(lambda x: wg.jvp(np.sqrt, (x,), (1.0,)))(0.0)
    assert report.derivative and report.rule == "sqrt"


def test_a_backward_pass_of_variables():
    x = wg.variable(onp.array([4.0, 0.0]), name="x")
    with wg.debug.nans():
        y = np.sum(np.sqrt(x))
        with pytest.raises(NonFiniteError, match="in the derivative of sqrt where it holds"):
            y.backward()


def test_zero_times_infinity_is_named():
    def f(x):
        with wg.settings(strong_zero=False):
            return wg.grad(lambda z: np.sum(np.sqrt(z) * 0.0))(x)

    report = wg.trace_nan(f)(onp.zeros(1))
    assert report is not None and "nan" in str(report)


def test_what_does_not_reach_the_result_is_not_reported():
    assert wg.trace_nan(lambda x: np.where(x > 0, np.log(x), 0.0))(0.0) is None
    assert wg.trace_nan(wg.grad(lambda x: np.where(x > 0, np.log(x), 0.0)))(0.0) is None


def test_an_argument_that_is_not_finite():
    report = wg.trace_nan(lambda a, b: a["x"] * b)({"x": onp.array([1.0, onp.nan])}, 2.0)
    assert str(report).startswith("the argument a['x'] holds nan at [1]")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("transform", [lambda f: f, wg.grad])
def test_inside_loops(compiled, transform):
    def f(x):
        def step(s, _):
            grown = s * s
            return grown, None

        return wg.scan(step, x, length=12)[0]

    g = transform(f)
    report = wg.trace_nan(wg.jit(g) if compiled else g)(10.0)
    assert report.operation == "multiply" or report.operation == "square"
    assert line_of(report) == "grown = s * s"


def test_nans_raises_at_the_first_and_infinities_may_pass():
    with pytest.raises(NonFiniteError, match=r"log\(0.0\) = -inf") as caught, wg.debug.nans():
        wg.grad(entropy)(onp.array([1.0, 0.0]))
    assert caught.value.source.text == "logs = np.log(p)"
    with pytest.raises(NonFiniteError, match=r"multiply\(-inf, 0.0\) = nan"), wg.debug.nans(infinities=False):
        wg.grad(entropy)(onp.array([1.0, 0.0]))
    with wg.debug.nans():
        assert wg.grad(entropy)(onp.array([1.0, 0.5])).shape == (2,)


def test_vmap_is_seen():
    with pytest.raises(NonFiniteError, match="log"), wg.debug.nans():
        wg.vmap(wg.grad(np.log))(onp.array([1.0, 0.0]))


def test_compiled_functions_are_replayed_only_inside():
    f = wg.jit(wg.grad(lambda x: np.sum(np.log(x))))
    x = onp.array([1.0, 0.0])
    before = f(x)
    with pytest.raises(NonFiniteError), wg.debug.nans():
        f(x)
    onp.testing.assert_array_equal(f(x), before)


def test_nothing_is_left_behind():
    with pytest.raises(NonFiniteError), wg.debug.nans():
        wg.grad(np.log)(0.0)
    assert state.watch is None
    x = wg.variable(0.0)
    y = np.sqrt(x)
    y.backward()
    assert x.grad == onp.inf
    with warnings.catch_warnings(), wg.debug.nans(), wg.debug.nans(infinities=False):
        pass
    assert state.watch is None


def test_other_threads_are_not_watched():
    found = []
    with wg.debug.nans():
        thread = threading.Thread(target=lambda: found.append(wg.grad(np.sqrt)(0.0)))
        thread.start()
        thread.join()
    assert found == [onp.inf]
