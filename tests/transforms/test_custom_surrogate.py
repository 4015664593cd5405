"""Straight-through estimators and gradient reversal: values of one function, derivatives of another."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import RuleShapeError, RuleStructureError

X = numpy.array([-2.0, -0.4, 0.0, 1.0, 1.7])
S = 1 / (1 + numpy.exp(-X))
SLOPES = {"identity": numpy.ones(5), "clipped": numpy.array([0, 1, 1, 1, 0.0]), "sigmoid": S * (1 - S)}


@pytest.mark.parametrize("surrogate", SLOPES)
@pytest.mark.parametrize("forward", [np.round, np.sign, lambda x: np.where(x > 0, 1.0, 0.0)])
def test_values_and_derivatives(forward, surrogate):
    f = wg.straight_through(forward, surrogate)
    numpy.testing.assert_array_equal(f(X), forward(X))
    for slope in (
        wg.grad(lambda x: np.sum(f(x)))(X),
        wg.jit(wg.grad(lambda x: np.sum(f(x))))(X),
        wg.grad(wg.trace(lambda x: np.sum(f(x)), X))(X),
        wg.vmap(wg.grad(f))(X),
        wg.jvp(f, (X,), (numpy.ones(5),))[1],
    ):
        numpy.testing.assert_allclose(slope, SLOPES[surrogate], 1e-14)


def test_higher_derivatives_are_those_of_the_surrogate():
    step = wg.straight_through(np.sign, lambda x: x**3)
    assert wg.grad(wg.grad(step))(2.0) == 12.0
    sigmoid = wg.straight_through(np.sign, "sigmoid")
    numpy.testing.assert_allclose(wg.vmap(wg.grad(wg.grad(sigmoid)))(X), S * (1 - S) * (1 - 2 * S), 1e-12)
    assert numpy.isfinite(wg.vmap(wg.grad(wg.grad(sigmoid)))(numpy.array([-800.0, 800.0]))).all()


def test_containers_and_single_precision():
    f = wg.straight_through(lambda p: {k: np.round(v) for k, v in p.items()}, "clipped")
    g = wg.grad(lambda p: np.sum(f(p)["a"] * f(p)["b"]))({"a": X, "b": 0.9})
    numpy.testing.assert_array_equal(g["a"], SLOPES["clipped"])
    assert g["b"] == numpy.sum(numpy.round(X))
    step = wg.straight_through(lambda x: np.where(x > 0, 1.0, 0.0))
    assert wg.grad(lambda x: np.sum(step(x)))(X.astype(numpy.float32)).dtype == numpy.float32


def test_a_quantised_model_learns():
    """Weights that are rounded in every forward pass reach the best grid point."""
    rng = numpy.random.default_rng(0)
    x, target = rng.normal(size=(50, 2)), numpy.array([2.0, -1.0])
    quantize = wg.straight_through(np.round)
    w = numpy.array([0.3, 0.2])
    gradient = wg.grad(lambda w: np.mean((x @ quantize(w) - x @ target) ** 2))
    for _ in range(50):
        w = w - 0.1 * gradient(w)
    numpy.testing.assert_array_equal(numpy.round(w), target)


def test_misfits():
    with pytest.raises(ValueError, match="surrogate 'tanh': give one of identity, clipped, sigmoid, or a function"):
        wg.straight_through(np.round, "tanh")
    with pytest.raises(RuleShapeError):
        wg.grad(wg.straight_through(np.sum))(X)
    with pytest.raises(RuleStructureError):
        wg.grad(lambda x: wg.straight_through(np.round, lambda x: (x, x))(x))(1.0)


def test_gradient_reversal():
    tree = {"a": X, "b": (2.0, X.astype(numpy.float32))}
    value, pullback = wg.vjp(lambda t: wg.gradient_reversal(t, 0.5), tree)
    assert value["b"][0] == 2.0
    (ct,) = pullback(tree)
    numpy.testing.assert_array_equal(ct["a"], -0.5 * X)
    assert ct["b"][0] == -1.0 and ct["b"][1].dtype == numpy.float32
    numpy.testing.assert_array_equal(wg.jvp(wg.gradient_reversal, (X,), (X,))[1], -X)


def test_gradient_reversal_by_a_traced_amount():
    """The amount may grow over training, in compiled code as well, and is not differentiated."""
    step = wg.jit(wg.grad(lambda x, s: np.sum(wg.gradient_reversal(x, s) ** 2), argnums=(0, 1)))
    for s in (0.0, 0.3):
        slope, amount = step(X, s)
        numpy.testing.assert_allclose(slope, -2 * s * X)
        assert amount == 0.0
    batch = wg.vmap(lambda x, s: wg.grad(lambda x: wg.gradient_reversal(x, s))(x))(X, X)
    numpy.testing.assert_array_equal(batch, -X)
