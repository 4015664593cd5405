"""Gradients of large elementwise functions, which go back by blocks, against the same walk in one piece."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.transforms import blocks, reverse

SIZE = blocks.LARGE + 12_345  # the last block is a short one
POINT = numpy.random.default_rng(0).uniform(0.2, 2.0, SIZE)
WEIGHT = numpy.random.default_rng(1).normal(size=SIZE)
ROW = numpy.random.default_rng(2).normal(size=(1, 64))


@pytest.fixture
def runs(monkeypatch):
    """The lengths of the runs that were walked by blocks."""
    lengths = []

    def counting(run, times):
        lengths.append(len(run))
        return blocks.walk_blocks(run, times)

    monkeypatch.setattr(reverse, "walk_blocks", counting)
    return lengths


def in_one_piece(function, *args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reverse, "LARGE", 1 << 60)
        return function(*args)


def logistic(x):
    return np.sum(1.0 / (1.0 + np.exp(-x)))


def fan_out(x):
    u = np.sin(x) * x
    v = np.exp(-u) + u
    return np.sum(u * v + WEIGHT * v) + np.sum(x * WEIGHT)


def kinked(x):
    return np.sum(np.where(x > 1.0, x * x, -x) * np.maximum(x, 1.0))


def with_a_scalar(x):
    scale = np.sum(x) / SIZE
    return np.sum(np.tanh(x * scale) * np.sqrt(x))


def two_dimensions(x):
    table = np.reshape(x[: 64 * 1024], (1024, 64))
    return np.sum(np.cos(table * ROW) * np.exp(table) / (1.0 + table))


def single_precision(x):
    x = x.astype(numpy.float32)
    return np.sum(np.exp(x) * np.tanh(x) + 0.5 * x)


def mixed_precision(x):
    return np.sum(np.exp(x.astype(numpy.float32) * 2.0) * WEIGHT * np.sin(x))


def constant_slopes(x):
    return np.sum(np.sign(x) * np.floor(x) * x + np.sign(x - 1.0))


def transposed(x):
    table = np.reshape(x[: 512 * 128], (512, 128)).T
    return np.sum(np.log(table) * np.sin(table))


def complex_between(x):
    return np.sum(np.abs(np.exp(1j * x) * (1.0 + x)) ** 2)


BY_BLOCKS = [
    logistic, fan_out, kinked, with_a_scalar, two_dimensions, single_precision, mixed_precision, constant_slopes
]  # fmt: skip
OTHERWISE = [transposed, complex_between]


@pytest.mark.parametrize("function", BY_BLOCKS + OTHERWISE)
def test_blocks_give_the_numbers_of_the_whole_walk(function, runs):
    gradient = wg.grad(function)(POINT)
    assert (max(runs, default=0) > 1) == (function in BY_BLOCKS)
    whole = in_one_piece(wg.grad(function), POINT)
    tolerance = 1e-6 if function in (single_precision, mixed_precision) else 1e-14
    assert gradient.dtype == whole.dtype and gradient.shape == whole.shape
    numpy.testing.assert_allclose(gradient, whole, rtol=tolerance, atol=tolerance)


def test_a_zero_cotangent_wins_over_a_singular_derivative(runs):
    x = POINT.copy()
    x[5] = 0.5  # under the root of a negative number, whose branch is not taken
    with numpy.errstate(invalid="ignore"):
        gradient = wg.grad(lambda x: np.sum(np.where(x > 1.0, np.sqrt(x - 1.0), x)))(x)
    assert runs
    numpy.testing.assert_allclose(
        gradient, numpy.where(x > 1, 0.5 / numpy.sqrt(numpy.where(x > 1, x - 1, 1)), 1.0), rtol=1e-14
    )


def test_gradients_kept_in_between_and_second_derivatives_do_without_blocks(runs):
    x = wg.variable(POINT)
    u = np.exp(x)
    np.sum(u * np.sin(x)).backward(keep=True)
    numpy.testing.assert_allclose(u.grad, numpy.sin(POINT))
    assert not runs
    x.grad = None
    np.sum(x * x * x).backward(create_graph=True)
    np.sum(x.grad).backward()
    numpy.testing.assert_allclose(wg.grad(lambda x: np.sum(wg.grad(lambda x: np.sum(x**3))(x)))(POINT), 6 * POINT)


def test_a_tangent_under_the_record(runs):
    _, moved = wg.jvp(wg.grad(lambda x: np.sum(np.exp(x) * x)), (POINT,), (WEIGHT,))
    numpy.testing.assert_allclose(moved, (POINT + 2) * numpy.exp(POINT) * WEIGHT, rtol=1e-13)


def test_several_variables_and_one_that_only_steps(runs):
    x, y, z = (wg.variable(POINT + k) for k in range(3))
    np.sum(np.sin(x) * y * np.floor(z)).backward()
    assert runs
    numpy.testing.assert_allclose(x.grad, numpy.cos(POINT) * (POINT + 1) * numpy.floor(POINT + 2))
    numpy.testing.assert_allclose(y.grad, numpy.sin(POINT) * numpy.floor(POINT + 2))
    assert z.grad is None or not z.grad.any()


@pytest.mark.parametrize("dividend", [numpy.array([1, 200], numpy.uint8), numpy.array([True, False]), 1, 2.0])
def test_a_constant_dividend_of_any_kind(dividend):
    gradient = wg.grad(lambda y: np.sum(dividend / y))(numpy.array([2.0, 4.0]))
    numpy.testing.assert_allclose(gradient, numpy.asarray(dividend) / [-4.0, -16.0])
