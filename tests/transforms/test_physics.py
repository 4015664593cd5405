"""Derivatives are graphs: the residual of a differential equation on a network, differentiated again in its weights."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import wengert as wg

RNG = np.random.default_rng(0)
SIZES = [2, 64, 64, 64, 64, 1]
WEIGHTS = [(RNG.normal(size=(m, n)) / np.sqrt(m), 0.1 * RNG.normal(size=n)) for m, n in itertools.pairwise(SIZES)]
POINTS = RNG.uniform(-1, 1, size=(16, 2))
VISCOSITY = 0.01 / np.pi


def network(weights, t, x):
    hidden = np.stack([t, x])
    for w, b in weights[:-1]:
        hidden = np.tanh(hidden @ w + b)
    w, b = weights[-1]
    return (hidden @ w + b)[0]


def by_gradients(u, t, x):
    slope = wg.grad(u, 1)
    return wg.grad(u)(t, x) + u(t, x) * slope(t, x) - VISCOSITY * wg.grad(slope, 1)(t, x)


def by_forward_mode(u, t, x):
    value, u_t = wg.jvp(lambda t: u(t, x), (t,), (1.0,))
    along = lambda x: wg.jvp(lambda x: u(t, x), (x,), (1.0,))[1]
    u_x, u_xx = wg.jvp(along, (x,), (1.0,))
    return u_t + value * u_x - VISCOSITY * u_xx


def by_series(u, t, x):
    u_t = wg.jvp(lambda t: u(t, x), (t,), (1.0,))[1]
    value, (u_x, u_xx) = wg.jet(lambda x: u(t, x), (x,), ([1.0, None],))
    return u_t + value * u_x - VISCOSITY * u_xx


def loss_of(residual):
    def loss(weights, points):
        at = lambda p: residual(lambda t, x: network(weights, t, x), p[0], p[1])
        return np.mean(wg.vmap(at)(points) ** 2)

    return loss


@pytest.mark.parametrize("residual", [by_gradients, by_forward_mode, by_series])
def test_the_compiled_gradient_of_a_residual_equals_the_eager_one(residual):
    both = wg.value_and_grad(loss_of(residual))
    value, gradient = both(WEIGHTS, POINTS)
    compiled, other = wg.jit(both)(WEIGHTS, POINTS)
    np.testing.assert_allclose(compiled, value, rtol=1e-10)
    scale = max(np.max(np.abs(g)) for layer in gradient for g in layer)
    for mine, theirs in zip(other, gradient, strict=True):
        for a, b in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * scale)


def test_the_formulations_agree_with_each_other_and_with_differences():
    losses = [loss_of(r) for r in (by_gradients, by_forward_mode, by_series)]
    values = [f(WEIGHTS, POINTS) for f in losses]
    np.testing.assert_allclose(values, values[0], rtol=1e-11)
    ways = [(RNG.normal(size=w.shape), RNG.normal(size=b.shape)) for w, b in WEIGHTS]
    moved = lambda s: [(w + s * v, b + s * c) for (w, b), (v, c) in zip(WEIGHTS, ways, strict=True)]
    step = 1e-5
    difference = (losses[2](moved(step), POINTS) - losses[2](moved(-step), POINTS)) / (2 * step)
    for f in losses:
        gradient = wg.grad(f)(WEIGHTS, POINTS)
        along = sum(np.sum(g * v) for a, b in zip(gradient, ways, strict=True) for g, v in zip(a, b, strict=True))
        np.testing.assert_allclose(along, difference, rtol=1e-5)
