"""Loops of unknown length with a fixed number of states kept: the same derivatives, in bounded memory."""

from __future__ import annotations

import numpy
import pytest
from tests.graph.test_live import measured

import wengert as wg
import wengert.numpy as np
from wengert.errors import MemoryBudgetError, WengertError

RNG = numpy.random.default_rng(0)
A, X = RNG.normal(size=4), RNG.normal(size=4) * 3


def run(a, x, limit, states):
    """About `limit` steps; a captured constant, a counter, and a carry of another shape."""
    return wg.while_loop(
        lambda s: s["k"] < limit,
        lambda s: {"k": s["k"] + 1, "x": np.sin(s["x"] * a) + 0.1 * s["x"], "total": s["total"] + np.sum(s["x"])},
        {"k": 0, "x": x, "total": 0.0},
        checkpoint=states,
    )


def loss(states, limit):
    def f(a, x):
        last = run(a, x, limit, states)
        return last["total"] + np.sum(last["x"] ** 2)

    return f


@pytest.mark.parametrize("states", [2, 4, 10])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 9, 16, 17, 40])
def test_gradients_for_any_number_of_steps(limit, states):
    wanted = wg.value_and_grad(loss(None, limit), (0, 1))(A, X)
    found = wg.value_and_grad(loss(states, limit), (0, 1))(A, X)
    numpy.testing.assert_allclose(found[0], wanted[0], rtol=1e-13)
    for a, b in zip(found[1], wanted[1], strict=True):
        numpy.testing.assert_allclose(0 if a is None else a, 0 if b is None else b, rtol=1e-11, atol=1e-13)


def test_static_compiled_and_second_order():
    f, plain = loss(4, 23), loss(None, 23)
    wanted = wg.grad(plain)(A, X)
    graph = wg.trace(wg.grad(f), A, X)
    wg.verify(graph)
    numpy.testing.assert_allclose(graph(A, X), wanted, rtol=1e-11)
    numpy.testing.assert_allclose(wg.optimize(graph)(A, X), wanted, rtol=1e-11)
    numpy.testing.assert_allclose(wg.jit(wg.grad(f))(A, X), wanted, rtol=1e-9)
    numpy.testing.assert_allclose(wg.jvp(f, (A, X), (A, X)), wg.jvp(plain, (A, X), (A, X)), rtol=1e-11)

    def product(g):
        return wg.grad(lambda a: np.sum(wg.grad(g)(a, X) * A))(A)

    numpy.testing.assert_allclose(product(f), product(plain), rtol=1e-8)


def test_batched():
    rows = wg.vmap(wg.grad(loss(4, 12), 1), in_axes=(None, 0))(A, numpy.stack([X, 2 * X]))
    for row, x in zip(rows, (X, 2 * X), strict=True):
        numpy.testing.assert_allclose(row, wg.grad(loss(None, 12), 1)(A, x), rtol=1e-10)


def test_lanes_that_stop_at_different_steps():
    def newton(c, states):
        return wg.while_loop(lambda s: abs(s * s - c) > 1e-12, lambda s: 0.5 * (s + c / s), c + 1.0, checkpoint=states)

    c = numpy.array([2.0, 9.0, 1e4])
    numpy.testing.assert_allclose(wg.vmap(wg.grad(lambda c: newton(c, 2)))(c), 0.5 / numpy.sqrt(c), rtol=1e-6)


def test_memory_is_bounded():
    x = RNG.normal(size=400)

    def peak(states):
        def f(x):
            return np.sum(
                wg.while_loop(
                    lambda s: s[0] < 1000, lambda s: (s[0] + 1, np.sin(s[1]) * 1.1), (0, x), checkpoint=states
                )[1]
            )

        return measured(wg.grad(f), x)

    plain, few = peak(None), peak(40)
    assert few < plain / 8
    assert few < (3 * 40 + 4 * 2 * 1000 / 40) * x.nbytes  # the states, while they are replaced, and one stretch


def test_bad_numbers_of_states_and_plans():
    for states in (0, 1, 3, True, "sqrt"):
        with pytest.raises(WengertError, match="checkpoint="):
            run(A, X, 3, states)
    with pytest.raises(MemoryBudgetError, match="only the run knows"):
        wg.grad(loss(None, 5), memory="1MB")(A, X)
