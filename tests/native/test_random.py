"""Random programs: compiled equals evaluated, values and gradients, for arrays in registers and in memory."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np

SHAPES = [(3,), (2, 3), (40,), (6, 7), (5, 1, 9), (1,), (), (0, 4)]
UNARY = [np.sin, np.tanh, np.exp, np.abs, np.square, lambda x: -x, lambda x: np.sqrt(x * x + 1),
         lambda x: x / 3,
         lambda x: np.where(x > 0, x, 0.1 * x),
         lambda x: np.maximum(x, 0.2), lambda x: np.clip(x, -0.5, 0.5)]  # fmt: skip
BINARY = [lambda a, b: a + b, lambda a, b: a * b, lambda a, b: a - 2 * b, np.maximum, lambda a, b: a / (1 + b * b),
          np.arctan2, np.hypot, lambda a, b: np.where(a > b, a, b * b)]  # fmt: skip


def rearrange(x, rng):
    """A random change of shape or order."""
    choices = [
        lambda: np.reshape(x, (-1,) if x.size else (0, 2)),
        lambda: np.transpose(x),
        lambda: np.expand_dims(x, 0),
    ]
    if x.ndim and x.shape[0] > 1:
        choices += [lambda: x[::-1], lambda: x[1:], lambda: x[::2], lambda: np.roll(x, 1, axis=0), lambda: x[0],
                    lambda: np.concatenate([x, x[:1]]), lambda: np.pad(x, [(1, 2)] + [(0, 0)] * (x.ndim - 1)),
                    lambda: np.cumsum(x, axis=0), lambda: np.sort(x, axis=0),
                    lambda: x[numpy.array([0, -1, 1, 0])]]  # fmt: skip
    if x.ndim:
        choices += [
            lambda: np.sum(x, axis=-1),
            lambda: np.sum(x, axis=0, keepdims=True),
            lambda: np.mean(x) * np.ones(3),
        ]
        if x.size:
            choices += [lambda: np.max(x, axis=0), lambda: np.min(x, axis=-1), lambda: np.tanh(np.prod(x, axis=0))]
    if x.ndim == 2:
        choices += [lambda: x @ np.transpose(x) / (x.size + 1), lambda: np.transpose(x) @ x / (x.size + 1)]
    return choices[rng.integers(len(choices))]()


def loop(x, y, rng):
    """A loop or branch that keeps the shape of `x`."""
    kind = rng.integers(4)
    if kind == 0:
        return wg.scan(lambda c, t: (np.sin(c) * 0.5 + t * np.sum(y), None), x, numpy.linspace(0, 0.1, 4))[0]
    if kind == 1:
        last, ys = wg.scan(lambda c, _: (c * 0.9 + 0.1, c[..., None] * 2), x, None, length=3, reverse=True)
        return last + np.sum(ys, axis=(0, -1))
    if kind == 2:
        return wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, np.cos(s[1]) + 0.01 * np.sum(y)), (0, x))[1]
    return wg.cond(np.sum(x) > 0.3, lambda v: np.sin(v), lambda v: v * 0.5 + np.sum(y), x)


def program(seed):
    """A function of two arrays to one number, the same every time it is called."""

    def f(a, b):
        rng = numpy.random.default_rng(seed)
        pool = [a, b]
        for _ in range(12):
            x = pool[rng.integers(len(pool))]
            kind = rng.integers(8)
            if kind < 3:
                new = UNARY[rng.integers(len(UNARY))](x)
            elif kind < 5:
                near = [y for y in pool if fits(x.shape, y.shape)]
                new = BINARY[rng.integers(len(BINARY))](x, near[rng.integers(len(near))])
            elif kind < 7:
                new = rearrange(x, rng)
            else:
                new = loop(x, pool[rng.integers(len(pool))], rng)
            pool.append(np.tanh(new) if new.ndim < 4 else np.sum(new))
        return sum((np.sum(p * p) for p in pool[2:]), 0.0) / len(pool)

    return f


def fits(a, b):
    try:
        numpy.broadcast_shapes(a, b)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("seed", range(25))
def test_compiled_is_evaluated(seed):
    rng = numpy.random.default_rng(seed)
    shapes = [SHAPES[k] for k in rng.integers(len(SHAPES), size=2)]
    dtype = numpy.float64 if seed % 4 else numpy.float32
    values = [rng.normal(size=s).astype(dtype) for s in shapes]
    rtol, atol = (1e-9, 1e-10) if dtype == numpy.float64 else (2e-3, 2e-4)
    f = wg.value_and_grad(program(seed), argnums=(0, 1))
    with numpy.errstate(all="ignore"):
        traced = wg.trace(f, *values)(*values)
    value, gradients = wg.jit(f)(*values)
    numpy.testing.assert_allclose(value, traced[0], rtol=rtol, atol=atol)
    for found, wanted in zip(gradients, traced[1], strict=True):
        assert found.dtype == wanted.dtype
        numpy.testing.assert_allclose(found, wanted, rtol=rtol, atol=atol)
