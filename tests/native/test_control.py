"""Loops and branches compiled: values, gradients and second derivatives equal evaluation."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.native.jit import jit


def rk4(deriv, u, h):
    k1 = deriv(u)
    k2 = deriv(u + h / 2 * k1)
    k3 = deriv(u + h / 2 * k2)
    k4 = deriv(u + h * k3)
    return u + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def lorenz(p):
    s, r, b = p[0], p[1], p[2]

    def deriv(u):
        return np.stack([s * (u[1] - u[0]), u[0] * (r - u[2]) - u[1], u[0] * u[1] - b * u[2]])

    last, _ = wg.scan(lambda u, _: (rk4(deriv, u, 0.01), None), numpy.ones(3), None, length=40)
    return np.sum(last**2)


def wide(p):
    """A state too large for registers, stacked outputs, and a scanned input."""
    xs = numpy.linspace(0, 1, 60).reshape(3, 20)

    def step(c, x):
        c, d = c
        return (d * np.cos(x), np.tanh(c + x * np.sum(p))), c[:5] * d[5:10]

    (c, d), ys = wg.scan(step, (numpy.linspace(0, 1, 20), numpy.linspace(1, 2, 20)), xs)
    return np.sum(c * d) + np.sum(ys**2)


def backwards(p):
    _, ys = wg.scan(lambda c, x: (c * x + p[0], c), p[1], numpy.linspace(0.5, 1, 7), reverse=True)
    return np.sum(ys * p[2])


def empty(p):
    last, _ = wg.scan(lambda c, x: (c * x, None), np.sum(p), numpy.zeros(0))
    return last


def root(p):
    """Newton's iteration until a tolerance."""
    a = np.sum(p)
    return wg.while_loop(lambda u: np.abs(u * u - a) > 1e-10, lambda u: 0.5 * (u + a / u), a)


def long_while(p):
    def body(state):
        k, u = state
        return k + 1, u + 0.01 * np.sin(u) * p[0]

    return np.sum(wg.while_loop(lambda s: s[0] < 300, body, (0, p[1] * numpy.ones(20)))[1])


def nested(p):
    def outer(c, x):
        inner = wg.while_loop(lambda u: u[0] < x, lambda u: (u[0] + 1, u[1] * p[0]), (0.0, c))
        return inner[1], inner[1]

    last, ys = wg.scan(outer, p[1], numpy.array([1.0, 3.0, 2.0]))
    return last + np.sum(ys)


def branches(p):
    def step(c, k):
        return wg.switch(
            k, [lambda v: v * p[0], lambda v: np.sin(v), lambda v: wg.cond(np.sum(v) > 2, lambda: v, lambda: v * v)], c
        ), None

    last, _ = wg.scan(step, p, numpy.array([0, 1, 2, 2, 0, 1]))
    return np.sum(last)


PROGRAMS = [lorenz, wide, backwards, empty, root, long_while, nested, branches]
POINT = numpy.array([1.2, 0.7, 1.5])


CHANGES = {
    "value": (lambda f: f, POINT),
    "grad": (wg.grad, POINT),
    "hessian": (wg.hessian, POINT),
    "vmap": (lambda f: wg.vmap(wg.grad(f)), numpy.stack([POINT, POINT * 1.1])),
}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("change", CHANGES)
def test_compiled_is_evaluated(program, change):
    transform, x = CHANGES[change]
    f = transform(program)
    numpy.testing.assert_allclose(jit(f)(x), f(x), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_returns_to_python(program):
    assert jit(wg.value_and_grad(program)).lower(POINT).callbacks == []


@pytest.mark.parametrize("program", PROGRAMS)
def test_gradient_of_compiled(program):
    numpy.testing.assert_allclose(wg.grad(jit(program))(POINT), wg.grad(program)(POINT), rtol=1e-10)


def test_memory_is_planned():
    """A loop's temporaries share their room: the arena does not grow with the number of operations."""

    def f(x, n):
        for _ in range(n):
            x = np.cumsum(x) * 0.5
        return x

    sizes = [jit(lambda x, n=n: f(x, n)).lower(numpy.ones(1000)).program.memory for n in (3, 30)]
    assert sizes[0] == sizes[1] <= 3 * 8064
