"""Residuals of loops: fewer bytes are stacked, and nothing else changes."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.live import live
from wengert.passes import cse, dce, mincut
from wengert.passes.mincut import cheapest_kept
from wengert.passes.residuals import pairs_of, residuals

P = numpy.array([10.0, 28.0, 8 / 3])


def lorenz(p, xs):
    def slope(s):
        return (p[0] * (s[1] - s[0]), s[0] * (p[1] - s[2]) - s[1], s[0] * s[1] - p[2] * s[2])

    def step(s, x):
        k = slope(s)
        half = slope(tuple(a + 0.005 * b for a, b in zip(s, k, strict=True)))
        return tuple(a + 0.01 * b + 0.001 * x for a, b in zip(s, half, strict=True)), s[0] * s[0]

    s, ys = wg.scan(step, (1.0, 1.0, 1.0), xs)
    return s[0] ** 2 + s[1] * s[2] + np.sum(ys)


def decay(p, xs):
    last = wg.while_loop(
        lambda s: np.sum(s * s) > 1, lambda s: s * 0.7 + 0.1 * (s + p) * s / (1 + s * s + p * p), p + xs[:3]
    )
    return np.sum(last)


def recurrent(w, xs):
    def step(c, x):
        c = np.tanh(c @ w + x)  # neither the product nor the tangent is done again
        return c, c * c * 0.5

    c, ys = wg.scan(step, np.zeros(3), xs.reshape(-1, 3))
    return np.sum(c) + np.sum(ys)


XS = numpy.linspace(-1, 1, 60)
PROGRAMS = {"lorenz": (lorenz, P), "decay": (decay, P), "recurrent": (recurrent, numpy.outer(P, P) / 800)}


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_results_are_the_same(name, reverse):
    f, p = PROGRAMS[name]
    xs = XS[::-1] if reverse else XS
    graph = wg.optimize(wg.trace(wg.value_and_grad(f, (0, 1)), p, xs))
    found = residuals(graph)
    wg.verify(found)
    clean = dce(cse(found))
    wg.verify(clean)
    wanted = graph(p, xs)
    for made in (found(p, xs), clean(p, xs)):
        numpy.testing.assert_array_equal(made[0], wanted[0])
        for a, b in zip(made[1], wanted[1], strict=True):
            numpy.testing.assert_allclose(a, b, rtol=1e-14)


def stacked(graph):
    """Numbers that the loop of a gradient stacks in a step."""
    pair = pairs_of(graph)[0]
    return sum(pair.loop.primitive.body.outputs[j].type.size for j in pair.stacks)


def test_states_are_stacked_instead_of_what_follows_from_them():
    graph = wg.optimize(wg.trace(wg.grad(lorenz), P, XS))
    found = dce(cse(residuals(graph)))
    assert stacked(graph) > 6
    assert stacked(found) == 3
    assert live(found).peak < live(graph).peak


def test_what_is_dear_is_still_stacked():
    graph = wg.optimize(wg.trace(wg.grad(recurrent), PROGRAMS["recurrent"][1], XS))
    found = dce(cse(residuals(graph)))
    assert stacked(found) <= stacked(graph)
    back = pairs_of(found)[0].back
    assert not any(node.primitive.name == "tanh" for node in back.primitive.body.nodes)


def test_compiled():
    for f, p in PROGRAMS.values():
        numpy.testing.assert_allclose(wg.jit(wg.grad(f))(p, XS), wg.grad(f)(p, XS), rtol=1e-9)


def test_stacks_that_others_read_stay():
    def f(p):
        def step(c, _):
            c = np.sin(c * p)
            return c, c

        _, ys = wg.scan(step, p, None, length=9)
        return np.sum(ys * ys), ys

    graph = wg.optimize(wg.trace(wg.value_and_grad(f, has_aux=True), P))
    found = dce(residuals(graph))
    wg.verify(found)
    numpy.testing.assert_array_equal(found(P)[0][1], graph(P)[0][1])
    numpy.testing.assert_allclose(found(P)[1], graph(P)[1], rtol=1e-14)


def test_graphs_without_loops_stay():
    graph = wg.trace(wg.grad(lambda x: np.sum(np.sin(x))), P)
    assert residuals(graph) is graph


def test_both_ways_to_find_a_cut_agree(monkeypatch):
    graph = wg.trace(lambda p: lorenz(p, XS), P)
    body = next(node for node in graph.nodes if node.primitive.name == "scan").primitive.body
    values = [var for node in body.nodes for var in node.outputs]
    rng = numpy.random.default_rng(1)
    price = {var: float(rng.integers(1, 9)) for var in (*values, *body.inputs)}
    wanted = set(values[-6:])

    def total():
        return sum(price[var] for var in cheapest_kept(body.nodes, set(), wanted, price, lambda node: True))

    here = total()
    monkeypatch.setattr(mincut, "SMALL", 0)
    assert total() == here
