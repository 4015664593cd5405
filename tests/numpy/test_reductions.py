"""Reductions: values against NumPy, derivatives against differences and closed forms, ties, zeros and NaNs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy
import pytest
import scipy.special
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import AxisError, ShapeError, UnsupportedError
from wengert.ops.compare import where

RNG = numpy.random.default_rng(7)
X = RNG.normal(size=(2, 3, 4))
Z = X + 1j * RNG.normal(size=X.shape)
AXES = [None, 0, -1, (0, 2), (2, 0), (-1, 1), ()]
INPUTS: dict[str, Any] = {
    "f64": X,
    "f32": X.astype(numpy.float32),
    "f16": X.astype(numpy.float16),
    "c128": Z,
    "i64": RNG.integers(-3, 3, (2, 3, 4)),
    "i32": RNG.integers(-3, 3, (2, 3, 4)).astype(numpy.int32),
    "u8": RNG.integers(0, 3, (2, 3, 4)).astype(numpy.uint8),
    "bool": RNG.integers(0, 2, (2, 3, 4)).astype(bool),
    "nan": numpy.where(X > 1, numpy.nan, X),
}
REDUCTIONS = ["sum", "prod", "max", "min", "amax", "amin", "mean", "var", "std", "any", "all", "ptp", "count_nonzero"]
# float16: the sum is rounded in another order than in the mean of NumPy; float32 likewise.
ROUNDING = {"f16": {"rtol": 3e-3, "atol": 3e-3}, "f32": {"rtol": 3e-6, "atol": 3e-6}}


@pytest.mark.parametrize("kind", INPUTS)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_values_and_dtypes_are_those_of_numpy(name: str, kind: str) -> None:
    x = INPUTS[kind]
    if name == "ptp" and kind == "bool":
        with pytest.raises(TypeError):
            np.ptp(wg.constant(x))
        return
    rounding = ROUNDING.get(kind, {})
    for axis in AXES:
        for keepdims in (False, True):
            check_values(lambda x, a=axis, k=keepdims: getattr(np, name)(x, axis=a, keepdims=k), x, **rounding)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("kind", ["f64", "f32", "i64", "bool", "nan", "c128"])
def test_positions_are_those_of_numpy(name: str, kind: str) -> None:
    for axis in (None, 0, 1, -1):
        for keepdims in (False, True):
            check_values(lambda x, a=axis, k=keepdims: getattr(np, name)(x, axis=a, keepdims=k), INPUTS[kind])


@pytest.mark.parametrize("name", ["sum", "prod", "mean", "any", "all"])
def test_no_elements(name: str) -> None:
    f = getattr(np, name)
    for shape, axis in (((0, 3), 1), ((3, 0), (1,)), ((0,), None)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy warns of the mean of nothing
            check_values(lambda x, a=axis: f(x, axis=a), numpy.zeros(shape))


def test_zero_dimensions() -> None:
    for name in [*REDUCTIONS, "argmax", "median", "logsumexp"]:
        check_values(getattr(np, name), numpy.float64(1.5))


@pytest.mark.parametrize("name", ["max", "min"])
def test_extremum_of_nothing_raises(name: str) -> None:
    f = getattr(np, name)
    for run in (lambda x: f(wg.variable(x), axis=0), lambda x: wg.trace(lambda x: f(x, axis=0), x)):
        with pytest.raises(ShapeError, match="no element"):
            run(numpy.zeros((0, 3)))
    check_values(lambda x: f(x, axis=1), numpy.zeros((0, 3)))
    check_values(lambda x: f(x, axis=0, initial=2.0), numpy.zeros((0, 3)))


def test_options() -> None:
    mask = X > 0
    for name in ("sum", "prod"):
        check_values(lambda x, n=name: getattr(np, n)(x, axis=1, where=mask, initial=2.0), X)
        check_values(lambda x, n=name: getattr(np, n)(x, dtype=numpy.float32), X)
        check_values(lambda x, n=name: getattr(np, n)(x, dtype=numpy.float64), INPUTS["i32"])
    for name in ("max", "min"):
        check_values(lambda x, n=name: getattr(np, n)(x, axis=1, where=mask, initial=0.25), X)
        with pytest.raises(ValueError, match="initial"):
            getattr(np, name)(wg.variable(X), where=mask)
    for name in ("any", "all"):
        check_values(lambda x, n=name: getattr(np, n)(x > 0.5, axis=(0, 1), where=mask), X)
    for name in ("mean", "var", "std"):
        check_values(lambda x, n=name: getattr(np, n)(x, axis=(0, 1), where=mask), X)
        check_values(lambda x, n=name: getattr(np, n)(x, axis=(0, 1), keepdims=True, where=mask), X)
        check_values(lambda x, n=name: getattr(np, n)(x, dtype=numpy.float32), X, rtol=1e-5)
    for name in ("var", "std"):
        for keyword in ("ddof", "correction"):
            check_values(lambda x, n=name, k=keyword: getattr(np, n)(x, axis=1, **{k: 1}), X)
        check_values(lambda x, n=name: getattr(np, n)(x, axis=1, mean=np.mean(x, axis=1, keepdims=True)), X)
    with pytest.raises(ValueError, match="simultaneously"):
        np.var(wg.variable(X), ddof=1, correction=1)


def test_refused_options_and_axes() -> None:
    v = wg.variable(X)
    with pytest.raises(UnsupportedError, match="out"):
        np.sum(v, out=numpy.zeros(()))
    for axis in (3, -4):
        with pytest.raises(AxisError, match="axis"):
            np.sum(v, axis=axis)
    with pytest.raises(AxisError, match="twice"):
        np.max(v, axis=(0, -3))


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "mean", "var", "std", "logsumexp", "ptp"])
@pytest.mark.parametrize("axis", AXES)
def test_derivatives(name: str, axis: Any) -> None:
    if axis == () and name == "std":  # sqrt(0) everywhere, which is not smooth
        agree(wg.grad(lambda x: np.sum(np.std(x, axis=axis)))(X), 0 * X)
        return
    check_derivatives(lambda x: getattr(np, name)(x, axis=axis), X)


@pytest.mark.parametrize("name", ["sum", "prod", "max", "mean", "var", "std"])
def test_complex_derivatives(name: str) -> None:
    check_derivatives(lambda x: getattr(np, name)(x, axis=1), Z)


def test_float32_gradients_stay_float32() -> None:
    for name in ("sum", "prod", "max", "mean", "var", "std", "logsumexp", "median", "sort", "cumsum", "cumprod"):
        g = wg.grad(lambda x, n=name: np.sum(getattr(np, n)(x) ** 2))(INPUTS["f32"])
        expected = wg.grad(lambda x, n=name: np.sum(getattr(np, n)(x) ** 2))(INPUTS["f32"].astype(float))
        assert g.dtype == numpy.float32
        numpy.testing.assert_allclose(g, expected, rtol=1e-3, atol=1e-3)


# Products with zeros -------------------------------------------------------------------------------------


@pytest.mark.parametrize("zeros", [(), (1,), (0, 3), (0, 1, 4)])
def test_products_with_zeros(zeros: tuple[int, ...]) -> None:
    x = RNG.normal(size=5)
    x[list(zeros)] = 0
    for f in (np.prod, np.cumprod):
        check_derivatives(f, x)
    others = [numpy.prod(numpy.delete(x, k)) for k in range(5)]
    agree(wg.grad(np.prod)(x), others)
    pairs = [[0 if i == j else numpy.prod(numpy.delete(x, [i, j])) for j in range(5)] for i in range(5)]
    for route in (wg.grad, lambda g: wg.trace(wg.grad(g), x)):
        rows = [route(lambda x, k=k: wg.grad(np.prod)(x)[k])(x) for k in range(5)]
        agree(numpy.stack(rows), numpy.array(pairs))


def test_third_derivative_of_a_product() -> None:
    def third(x: Any) -> Any:
        return wg.grad(lambda x: wg.grad(lambda x: wg.grad(np.prod)(x)[0])(x)[1])(x)

    agree(third(numpy.array([0.0, 0.0, 2.0, 3.0])), [0.0, 0.0, 3.0, 2.0])


def test_product_over_several_axes_and_of_nothing() -> None:
    x = X.copy()
    x[0, 1, 2] = x[1, 1, 1] = 0
    for axis in ((0, 2), (1, 2), 1):
        check_derivatives(lambda x, a=axis: np.prod(x, axis=a), x)
    assert wg.grad(lambda x: np.sum(np.prod(x, axis=0)))(numpy.zeros((0, 3))).shape == (0, 3)


# Ties and NaN --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max", "min"])
def test_ties_share_equally_in_every_mode(name: str) -> None:
    f = getattr(np, name)
    x = numpy.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]) * (1 if name == "max" else -1)
    expected = numpy.array([[0, 0.5, 0.5], [1 / 3] * 3])

    def loss(x: Any) -> Any:
        return np.sum(f(x, axis=1))

    agree(wg.grad(loss)(x), expected)
    agree(wg.trace(wg.grad(loss), x)(x), expected)
    agree(wg.vmap(wg.grad(f))(x), expected)
    tangent = RNG.normal(size=x.shape)
    agree(wg.jvp(lambda x: f(x, axis=1), (x,), (tangent,))[1], numpy.sum(expected * tangent, 1))
    agree(wg.grad(lambda x: np.sum(wg.grad(loss)(x) * x))(x), expected)


def test_nan_is_what_makes_the_maximum_nan() -> None:
    x = numpy.array([1.0, numpy.nan, 3.0])
    assert numpy.isnan(np.max(wg.variable(x)).numpy())
    agree(wg.grad(np.max)(x), [0.0, 1.0, 0.0])


def test_infinite_cotangent_does_not_leak_from_the_maximum() -> None:
    agree(wg.grad(lambda x: np.sqrt(np.max(x)))(numpy.array([0.0, -1.0])), [numpy.inf, 0.0])


# Roots at zero -------------------------------------------------------------------------------------------


NORMS = {
    "sqrt of sum of squares": lambda x: np.sqrt(np.sum(x**2)),
    "norm": lambda x: numpy.linalg.vector_norm(x),
    "3-norm": lambda x: numpy.linalg.vector_norm(x, ord=3),
    "std": lambda x: np.std(x),
}


@pytest.mark.parametrize("name", NORMS)
def test_roots_have_derivative_zero_at_zero(name: str) -> None:
    f, x, zero = NORMS[name], numpy.zeros(3), numpy.zeros(3)
    agree(wg.grad(f)(x), zero)
    agree(wg.jvp(f, (x,), (numpy.ones(3),))[1], 0.0)
    with numpy.errstate(all="ignore"):
        agree(wg.trace(wg.grad(f), x)(x), zero)
        agree(wg.vmap(wg.grad(f))(numpy.stack([x, x])), numpy.stack([x, x]))
        # The second derivative of |x| has no value at 0; it must not be NaN, so that a masked use of it is right.
        second = wg.grad(lambda x: np.sum(wg.grad(f)(x)))(x)
        assert not numpy.isnan(second).any()
        safe = wg.grad(lambda x: np.sum(where(np.sum(x**2) > 0, wg.grad(f)(x), 0.0)))(x)
        agree(safe, zero)


@pytest.mark.parametrize("order", [1, 2, 2.5, 3, -1, 0, numpy.inf, -numpy.inf])
def test_vector_norm(order: float) -> None:
    for x in (X, Z, INPUTS["i64"] + 5):
        check_values(lambda x: numpy.linalg.vector_norm(x, ord=order, axis=(0, 2)), x)
    if order:
        check_derivatives(lambda x: numpy.linalg.vector_norm(x, ord=order, axis=(0, 2), keepdims=True), X)


# Log-sum-exp ---------------------------------------------------------------------------------------------


def test_logsumexp_values() -> None:
    for axis in AXES:
        agree(np.logsumexp(X, axis), scipy.special.logsumexp(X, axis))
        check_values(lambda x, a=axis: np.logsumexp(x, axis=a, keepdims=True), X)
    check_values(lambda x: np.logsumexp(x, axis=0), INPUTS["f32"], rtol=1e-6)
    check_values(lambda x: np.logsumexp(x, axis=0), INPUTS["i64"])
    agree(np.logsumexp(Z, 1), scipy.special.logsumexp(Z, 1))
    factors = numpy.array([1.0, 0.0, 2.0, 0.5])
    agree(np.logsumexp(X, 2, b=factors), scipy.special.logsumexp(X, 2, b=factors))
    check_derivatives(lambda x: np.logsumexp(x, 2, b=factors), X)
    check_derivatives(lambda b: np.logsumexp(X, 2, b=b), factors)
    check_derivatives(lambda x: np.logsumexp(x, axis=(0, 2)), Z)


@pytest.mark.parametrize(
    ("x", "value", "gradient"),
    [
        ([1000.0, 1000.0], 1000 + numpy.log(2), [0.5, 0.5]),
        ([-numpy.inf, 0.0], 0.0, [0, 1]),
        ([-numpy.inf, -numpy.inf], -numpy.inf, [0, 0]),
        ([numpy.inf, 1.0, numpy.inf], numpy.inf, [0.5, 0, 0.5]),
        ([numpy.inf, -numpy.inf], numpy.inf, [1, 0]),
    ],
)
def test_logsumexp_at_infinity(x: list[float], value: float, gradient: list[float]) -> None:
    a, expected = numpy.array(x), numpy.array(gradient, float)
    agree(np.logsumexp(a), value)
    agree(wg.grad(np.logsumexp)(a), expected)
    agree(wg.trace(wg.grad(np.logsumexp), a)(a), expected)
    agree(wg.vmap(wg.grad(np.logsumexp))(a[None]), expected[None])
    agree(wg.jvp(np.logsumexp, (a,), (numpy.arange(1.0, len(x) + 1),))[1], expected @ numpy.arange(1.0, len(x) + 1))


def test_logsumexp_of_nothing_and_nan() -> None:
    assert np.logsumexp(numpy.zeros(0)) == -numpy.inf
    assert numpy.isnan(np.logsumexp(numpy.array([1.0, numpy.nan])))


# Other functions -----------------------------------------------------------------------------------------


def test_average() -> None:
    weights = RNG.uniform(0.5, 1, X.shape)
    for axis in (None, 0, (0, 2), (2, 0)):
        check_values(lambda x, a=axis: np.average(x, axis=a), X)
        check_values(lambda x, a=axis: np.average(x, axis=a, weights=weights, keepdims=True), X)
    check_values(lambda x, w: np.average(x, axis=1, weights=w), X, weights[0, :, 0])
    check_values(lambda x: np.average(x, axis=(2, 0), weights=weights[:, 0].T), X)
    check_values(lambda x: np.average(x, weights=INPUTS["u8"] + 1), INPUTS["i64"])
    check_derivatives(lambda x: np.average(x, axis=1, weights=weights), X)
    check_derivatives(lambda w: np.average(X, axis=1, weights=w), weights)
    value, total = np.average(wg.variable(X), axis=0, weights=weights, returned=True)
    agree(value.numpy(), numpy.average(X, 0, weights))
    agree(total, weights.sum(0))
    with pytest.raises(ZeroDivisionError):
        np.average(wg.variable(X[0, 0]), weights=numpy.array([1.0, -1, 0, 0]))


NAN_FUNCTIONS = ["nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd", "nancumsum", "nancumprod"]


@pytest.mark.parametrize("name", NAN_FUNCTIONS)
def test_nan_functions(name: str) -> None:
    f, x = getattr(np, name), X.copy()
    x[0, 1, 2] = x[1, 2, 3] = x[1, 2, 0] = numpy.nan
    for axis in (None, 0, -1):
        check_values(lambda x, a=axis: f(x, axis=a), x)
        clean = numpy.nan_to_num(x)
        gradient = wg.grad(lambda x, a=axis: np.sum(f(x, axis=a) ** 2))(x)
        assert not numpy.isnan(gradient).any()
        assert (gradient[numpy.isnan(x)] == 0).all()
        for k in ((0, 0, 0), (1, 1, 1)):
            step = numpy.zeros(x.shape)
            step[k] = 1e-6
            rise = numpy.sum(f(x + step, axis=axis) ** 2) - numpy.sum(f(x - step, axis=axis) ** 2)
            numpy.testing.assert_allclose(gradient[k], rise / 2e-6, rtol=1e-6, atol=1e-6)
        check_values(lambda x, a=axis: f(x, axis=a), clean)
    check_values(f, INPUTS["i64"])


def test_nan_functions_of_nothing_but_nan() -> None:
    x = numpy.array([[numpy.nan, numpy.nan], [1.0, numpy.nan]])
    for name in ("nanmax", "nanmin"):
        agree(getattr(np, name)(wg.variable(x), axis=1).numpy(), [numpy.nan, 1.0])
    for name in ("nanargmax", "nanargmin"):
        check_values(lambda x, n=name: getattr(np, n)(x), x)
        with pytest.raises(ValueError, match="All-NaN"):
            getattr(np, name)(wg.variable(x), axis=1)


def test_numpy_and_ufunc_methods_arrive_here() -> None:
    v = wg.variable(X)
    for name in ("sum", "prod", "max", "min", "mean", "std", "ptp"):
        agree(getattr(numpy, name)(v, axis=1).numpy(), getattr(numpy, name)(X, axis=1))
    for ufunc in (numpy.add, numpy.multiply, numpy.maximum, numpy.minimum, numpy.logaddexp):
        own = getattr(np, ufunc.__name__)
        for module in (ufunc, own):
            agree(module.reduce(v).numpy(), ufunc.reduce(X))
            agree(module.reduce(v, axis=1, keepdims=True).numpy(), ufunc.reduce(X, axis=1, keepdims=True))
            agree(module.accumulate(v, axis=1).numpy(), ufunc.accumulate(X, axis=1))
        agree(own.reduce(X), ufunc.reduce(X))
    for ufunc in (numpy.logical_or, numpy.logical_and):
        agree(ufunc.reduce(v > 0), ufunc.reduce(X > 0))


def test_tensor_methods() -> None:
    for name in ("sum", "prod", "max", "min", "mean", "var", "std", "any", "all"):
        check_values(lambda x, n=name: getattr(x, n)(axis=1), X)
        check_values(lambda x, n=name: getattr(x, n)(), X)
    for name in ("argmax", "argmin", "cumsum", "cumprod"):
        check_values(lambda x, n=name: getattr(x, n)(1), X)
        check_values(lambda x, n=name: getattr(x, n)(), X)


def test_a_list_of_tensors_is_an_array() -> None:
    agree(wg.grad(lambda x: np.sum([x, 2 * x, 3.0]))(1.0), 3.0)
    agree(wg.grad(lambda x: np.max([x, 2 * x, 1.5]))(1.0), 2.0)


def test_results_are_new_handles() -> None:
    v = wg.variable(2.0)
    for f in (np.sum, np.prod, np.max):
        y = f(v)
        y += 1
        assert v.numpy() == 2.0
