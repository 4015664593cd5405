"""Sorting, quantiles and searching: values against NumPy, derivatives, and ties in every mode."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy
import pytest
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import AxisError, ShapeError, UnsupportedError
from wengert.numpy.sorting import METHODS

RNG = numpy.random.default_rng(9)
X = RNG.normal(size=(3, 5))
NAN = X.copy()
NAN[0, 1] = NAN[2, 4] = NAN[2, 0] = numpy.nan
TIES = RNG.integers(0, 3, (3, 5)).astype(float)
KINDS: dict[str, Any] = {
    "f64": X,
    "f32": X.astype(numpy.float32),
    "c128": TIES + 1j * X,
    "i32": RNG.integers(-3, 3, (3, 5)).astype(numpy.int32),
    "bool": X > 0,
    "nan": NAN,
    "ties": TIES,
    "no rows": numpy.zeros((0, 5)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_sort_values(kind: str) -> None:
    x = KINDS[kind]
    for axis in (None, 0, 1, -1):
        check_values(lambda x, a=axis: np.sort(x, axis=a), x)
        check_values(lambda x, a=axis: np.argsort(x, axis=a, stable=True), x)


def test_sort_options() -> None:
    with pytest.raises(AxisError):
        np.sort(wg.variable(X), axis=2)
    with pytest.raises(AxisError):
        np.sort(wg.variable(1.0))
    with pytest.raises(UnsupportedError, match="order"):
        np.sort(wg.variable(X), order="a")
    handle = other = wg.variable(X)
    held = handle + 0
    assert handle.sort(axis=0) is None
    agree(other.numpy(), numpy.sort(X, 0))
    agree(held.numpy(), X)
    agree(wg.variable(TIES).argsort(kind="stable"), numpy.argsort(TIES, kind="stable"))

    def in_place(x: Any) -> Any:
        x = x * 1
        x.sort()
        return np.sum(x * numpy.arange(5.0))

    agree(wg.grad(in_place)(X[0]), numpy.argsort(numpy.argsort(X[0])).astype(float))


@pytest.mark.parametrize("axis", [None, 0, 1])
def test_sort_derivatives(axis: Any) -> None:
    check_derivatives(lambda x: np.sort(x, axis=axis) ** 2, X)
    check_derivatives(lambda x: np.sort(x, axis=axis), X + 1j * X[::-1])


def averaged_over_orders(x: Any, weights: Any) -> Any:
    """The mean gradient of sum(sort(x) * weights) over every permutation that sorts x."""
    orders = [p for p in itertools.permutations(range(len(x))) if (numpy.diff(x[list(p)]) >= 0).all()]
    gradient = numpy.zeros(len(x))
    for order in orders:
        gradient[list(order)] += weights / len(orders)
    return gradient


@pytest.mark.parametrize("x", [[2.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0], [3.0, 1.0, 3.0, 1.0], [0.0, -0.0, 5.0, 0.0]])
def test_ties_share_equally_in_every_mode(x: list[float]) -> None:
    a, weights, tangent = numpy.array(x), RNG.normal(size=4), RNG.normal(size=4)
    expected = averaged_over_orders(a, weights)

    def loss(x: Any) -> Any:
        return np.sum(np.sort(x) * weights)

    agree(wg.grad(loss)(a), expected)
    agree(wg.trace(wg.grad(loss), a)(a), expected)
    agree(wg.vmap(wg.grad(loss))(numpy.stack([a, a[::-1]])), numpy.stack([expected, expected[::-1]]))
    agree(wg.jvp(loss, (a,), (tangent,))[1], expected @ tangent)
    agree(wg.trace(lambda x: wg.jvp(loss, (x,), (tangent,))[1], a)(a), expected @ tangent)
    agree(wg.vmap(lambda t: wg.jvp(loss, (a,), (t,))[1])(numpy.eye(4)), expected)
    agree(wg.vmap(lambda w: wg.grad(lambda x: np.sum(np.sort(x) * w))(a))(numpy.stack([weights, -weights])),
          numpy.stack([expected, -expected]))  # fmt: skip
    # sum(sort(x)**2 / 2) = sum(x**2 / 2), so that every derivative is known, ties or not.
    half = lambda x: np.sum(np.sort(x) ** 2) / 2
    agree(wg.grad(half)(a), a)
    rows = numpy.stack([wg.jvp(wg.grad(half), (a,), (unit,))[1] for unit in numpy.eye(4)])
    tied = a[:, None] == a
    agree(rows, tied / tied.sum(1))


def test_permutation_invariance_of_the_gradient() -> None:
    weights, order = RNG.normal(size=8), RNG.permutation(8)
    x = RNG.integers(0, 4, 8).astype(float)
    f = wg.grad(lambda x: np.sum(np.sort(x) * weights))
    agree(f(x[order]), f(x)[order])


def test_partition() -> None:
    for kth in (0, 2, -1, [1, 3]):
        found = np.partition(wg.variable(X), kth, axis=1).numpy()
        agree(found[:, kth], numpy.partition(X, kth, axis=1)[:, kth])
        places = np.argpartition(wg.variable(X), kth, axis=1)
        agree(numpy.take_along_axis(X, places, 1), found)
    assert np.partition(wg.variable(X), 2, axis=None).shape == (15,)
    with pytest.raises(ValueError, match="out of bounds"):
        np.partition(wg.variable(X), 5)
    agree(wg.grad(lambda x: np.sum(np.partition(x, 1)[:2]))(X[0]), (X[0] <= numpy.sort(X[0])[1]).astype(float))


# Median and quantiles ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["f64", "f32", "i32", "nan", "ties"])
def test_median_values(kind: str) -> None:
    x = KINDS[kind]
    for name in ("median", "nanmedian"):
        for axis in (None, 0, -1, (0, 1), (1, 0), (0,)):
            for keepdims in (False, True):
                check_values(lambda x, n=name, a=axis, k=keepdims: getattr(np, n)(x, axis=a, keepdims=k), x, rtol=1e-6)


def test_median_of_nothing_and_of_infinities() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_values(np.median, numpy.zeros(0))
        check_values(lambda x: np.median(x, axis=0), numpy.zeros((0, 2)))
    check_values(np.median, numpy.array([numpy.inf, 1.0, numpy.inf, numpy.inf]))
    check_values(np.median, numpy.array([-numpy.inf, 1.0, numpy.inf]))


@pytest.mark.parametrize("axis", [None, 0, 1, (0, 1)])
def test_median_derivatives(axis: Any) -> None:
    check_derivatives(lambda x: np.median(x, axis=axis) ** 2, X)
    check_derivatives(lambda x: np.median(x, axis=axis), X[:2, :4])


def test_median_at_ties() -> None:
    agree(wg.grad(np.median)(numpy.array([5.0, 2.0, 1.0, 2.0])), [0.0, 0.5, 0.0, 0.5])
    agree(wg.grad(np.median)(numpy.array([2.0, 2.0, 2.0])), [1 / 3] * 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["f64", "f32", "i32", "nan"])
def test_quantile_values(method: str, kind: str) -> None:
    x = KINDS[kind]
    tolerance = {"rtol": 1e-5, "atol": 1e-6} if kind == "f32" else {}
    several = numpy.array([[0.0, 0.1, 0.25], [0.5, 0.8, 1.0]])
    for q in (0.0, 0.3, 0.5, 1.0, several[0], several):
        for axis in (None, 0, -1, (1, 0)):
            for keepdims in (False, True):
                options = {"axis": axis, "keepdims": keepdims, "method": method}
                check_values(lambda x, q=q, o=options: np.quantile(x, q, **o), x, **tolerance)
    check_values(lambda x: np.percentile(x, [10, 50, 99.5], axis=1, method=method), x, **tolerance)
    check_values(lambda x: np.nanquantile(x, several[1], axis=1, method=method), x, **tolerance)
    check_values(lambda x: np.nanpercentile(x, 40, axis=0, method=method), x, **tolerance)


STEPS = [
    "inverted_cdf", "closest_observation", "lower", "higher", "nearest", "averaged_inverted_cdf", "midpoint",
]  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_quantile_derivatives(method: str) -> None:
    q = numpy.array([0.13, 0.37, 0.71])
    check_derivatives(lambda x: np.quantile(x, q, axis=1, method=method), X)
    check_derivatives(lambda x: np.quantile(x, 0.37, method=method), X)
    if method not in STEPS:
        check_derivatives(lambda q: np.quantile(X, q, axis=1, method=method), q)


def test_quantile_errors() -> None:
    v = wg.variable(X)
    with pytest.raises(ValueError, match="range"):
        np.quantile(v, 1.5)
    with pytest.raises(ValueError, match="range"):
        np.percentile(v, -1)
    with pytest.raises(ValueError, match="valid method"):
        np.quantile(v, 0.5, method="other")
    with pytest.raises(UnsupportedError, match="weights"):
        np.quantile(v, 0.5, weights=X)
    with pytest.raises(ShapeError, match="no element"):
        np.quantile(wg.variable(numpy.zeros((0, 2))), 0.5, axis=0)
    with pytest.raises(TypeError, match="real"):
        np.quantile(wg.variable(X + 0j), 0.5)


def test_nan_quantile_gradient_leaves_nans_out() -> None:
    gradient = wg.grad(lambda x: np.sum(np.nanmedian(x, axis=1)))(NAN)
    assert (gradient[numpy.isnan(NAN)] == 0).all()
    agree(gradient.sum(1), [1.0, 1.0, 1.0])


# Searching -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["left", "right"])
def test_searchsorted(side: str) -> None:
    table = numpy.array([0.0, 1.0, 1.0, 2.0, numpy.nan])
    v = numpy.array([[-1.0, 0.0, 1.0], [1.5, 3.0, numpy.nan]])
    check_values(lambda v: np.searchsorted(table, v, side), v)
    agree(np.searchsorted(wg.variable(table), 1.0, side), numpy.searchsorted(table, 1.0, side))
    tables = numpy.sort(RNG.integers(0, 4, (3, 6)).astype(float))
    rows = numpy.stack([numpy.searchsorted(row, v, side) for row in tables])
    agree(wg.vmap(lambda t: np.searchsorted(t, v, side))(tables), rows)
    agree(wg.vmap(lambda t, v: np.searchsorted(t, v, side))(tables, v[0]), numpy.stack(
        [numpy.searchsorted(row, x, side) for row, x in zip(tables, v[0], strict=True)]))  # fmt: skip
    both = wg.vmap(wg.vmap(lambda t, v: np.searchsorted(t, v, side), (None, 0)), (0, None))(tables, v)
    agree(both, rows)
    shuffled = numpy.array([2.0, 0.0, 1.0])
    agree(np.searchsorted(wg.variable(shuffled), 1.5, side, sorter=numpy.argsort(shuffled)), numpy.int64(2))


def test_searchsorted_errors() -> None:
    with pytest.raises(ShapeError, match="one-dimensional"):
        np.searchsorted(wg.variable(X), 1.0)
    with pytest.raises(ValueError, match="side"):
        np.searchsorted(wg.variable(X[0]), 1.0, side="middle")
