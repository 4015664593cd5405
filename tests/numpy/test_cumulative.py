"""Running results, differences and the trapezoidal rule: values against NumPy, derivatives, ties and infinities."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import AxisError, UnsupportedError
from wengert.ops.cumulative import recurrence

RNG = numpy.random.default_rng(8)
X = RNG.normal(size=(3, 4))
KINDS: dict[str, Any] = {
    "f64": X,
    "f32": X.astype(numpy.float32),
    "c128": X + 1j * X[::-1],
    "i32": RNG.integers(-3, 3, (3, 4)).astype(numpy.int32),
    "bool": X > 0,
    "nan": numpy.where(X > 1, numpy.nan, X),
    "no rows": numpy.zeros((0, 4)),
}
ACCUMULATE = ["add", "multiply", "maximum", "minimum", "logaddexp"]


@pytest.mark.parametrize("kind", KINDS)
def test_values_are_those_of_numpy(kind: str) -> None:
    x = KINDS[kind]
    for axis in (None, 0, -1):
        for name in ("cumsum", "cumprod"):
            check_values(lambda x, n=name, a=axis: getattr(np, n)(x, axis=a), x, rtol=1e-6)
        for name in ACCUMULATE:
            if axis is None or (name == "logaddexp" and kind == "c128"):
                continue
            with numpy.errstate(invalid="ignore"):  # NumPy's logaddexp warns of NaN
                check_values(lambda x, n=name, a=axis: getattr(numpy, n).accumulate(x, axis=a), x, rtol=1e-6)
    for name in ("cumulative_sum", "cumulative_prod"):
        for initial in (False, True):
            check_values(
                lambda x, n=name, i=initial: getattr(np, n)(x, axis=1, include_initial=i), x, rtol=1e-6
            )  # fmt: skip


def test_options() -> None:
    check_values(lambda x: np.cumsum(x, dtype=numpy.float32), X, rtol=1e-5)
    check_values(lambda x: np.cumsum(x), numpy.float64(2.0))
    check_values(lambda x: np.cumulative_sum(x), X[0])
    with pytest.raises(ValueError, match="axis"):
        np.cumulative_sum(wg.variable(X))
    with pytest.raises(AxisError):
        np.cumsum(wg.variable(X), axis=2)
    with pytest.raises(UnsupportedError, match="out"):
        np.cumprod(wg.variable(X), out=numpy.zeros(12))


@pytest.mark.parametrize("name", ACCUMULATE)
@pytest.mark.parametrize("axis", [0, 1])
def test_derivatives(name: str, axis: int) -> None:
    check_derivatives(lambda x: getattr(numpy, name).accumulate(x, axis=axis), X)


def test_complex_derivatives() -> None:
    check_derivatives(lambda x: np.cumsum(x, axis=1), KINDS["c128"])
    check_derivatives(lambda x: np.cumprod(x, axis=1), KINDS["c128"])


def test_running_product_with_zeros() -> None:
    x = X.copy()
    x[0, 1] = x[1, 0] = x[1, 2] = x[2, 3] = 0
    for axis in (0, 1, None):
        check_derivatives(lambda x, a=axis: np.cumprod(x, axis=a), x)


@pytest.mark.parametrize("size", [65, 100, 700])
def test_long_running_products_in_blocks(size: int) -> None:
    """The blockwise recurrence against the definition; a zero and a long axis with several lanes."""
    x = RNG.uniform(0.9, 1.1, (size, 2))
    x[size // 2, 0] = 0
    ct = RNG.normal(size=x.shape)
    y = numpy.zeros_like(x)
    for i in range(size):
        y[i] = x[i] * (y[i - 1] if i else 0) + ct[i]
    agree(recurrence(x, ct, 0), y)
    agree(recurrence(x[::-1], ct[::-1], 0, True)[::-1], y)
    check_derivatives(lambda x: np.cumprod(x, axis=0), x, second=size < 100)


def test_recurrence_keeps_infinities_and_nans_out_behind_a_zero() -> None:
    a = numpy.array([1.0, 1.0, 0.0, 2.0])
    agree(recurrence(a, numpy.array([numpy.inf, -numpy.inf, 1.0, 1.0]), 0), [numpy.inf, numpy.nan, 1.0, 3.0])
    agree(wg.grad(lambda x: np.sum(np.sqrt(np.minimum.accumulate(x))))(numpy.array([1.0, 0.0])), [0.5, numpy.inf])


@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_ties_in_running_extrema_share_equally(name: str) -> None:
    sign = 1 if name == "maximum" else -1
    x = sign * numpy.array([1.0, 3.0, 2.0, 3.0, 3.0, 4.0])
    rows = numpy.array([
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 1 / 2, 0, 1 / 2, 0, 0],
        [0, 1 / 3, 0, 1 / 3, 1 / 3, 0],
        [0, 0, 0, 0, 0, 1],
    ])  # fmt: skip
    weights = RNG.normal(size=6)

    def loss(x: Any) -> Any:
        return np.sum(getattr(numpy, name).accumulate(x) * weights)

    agree(wg.grad(loss)(x), weights @ rows)
    agree(wg.trace(wg.grad(loss), x)(x), weights @ rows)
    agree(wg.vmap(wg.grad(loss))(x[None]), (weights @ rows)[None])
    tangent = RNG.normal(size=6)
    agree(wg.jvp(getattr(numpy, name).accumulate, (x,), (tangent,))[1], rows @ tangent)


def test_running_maximum_after_nan() -> None:
    x = numpy.array([1.0, numpy.nan, 2.0])
    agree(wg.jvp(numpy.maximum.accumulate, (x,), (numpy.array([1.0, 2.0, 4.0]),))[1], [1.0, 2.0, 2.0])


def test_logcumsumexp() -> None:
    agree(np.logcumsumexp(X, 1), numpy.log(numpy.cumsum(numpy.exp(X), 1)))
    check_derivatives(lambda x: np.logcumsumexp(x, axis=1), X)
    inf = numpy.inf
    for x, rows in (
        ([-inf, -inf, 0.0], [[0, 0, 0], [0, 0, 0], [0, 0, 1]]),
        ([1.0, inf, 2.0, inf], [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0.5, 0, 0.5]]),
        ([800.0, 800.0], [[1, 0], [0.5, 0.5]]),
    ):
        a = numpy.array(x)
        for k, row in enumerate(rows):
            unit = numpy.eye(len(x))[k]
            agree(wg.vjp(np.logcumsumexp, a)[1](unit)[0], numpy.array(row, float))
            agree(wg.jvp(np.logcumsumexp, (a,), (unit,))[1], numpy.array(rows, float)[:, k])


def test_diff() -> None:
    for x in (X, KINDS["i32"], KINDS["bool"], KINDS["c128"], KINDS["no rows"]):
        for axis in (0, -1):
            for n in (0, 1, 2, 4):
                check_values(lambda x, n=n, a=axis: np.diff(x, n, a), x)
    check_values(lambda x: np.diff(x, prepend=0.0, append=X[:, :2]), X)
    check_values(lambda x: np.diff(x, append=1.0), X)
    check_derivatives(lambda x: np.diff(x, 2, axis=0), X)
    check_derivatives(lambda p: np.diff(X, prepend=p), X[:, :1])
    with pytest.raises(ValueError, match="non-negative"):
        np.diff(wg.variable(X), -1)
    with pytest.raises(ValueError, match="one dimensional"):
        np.diff(wg.variable(1.0))
    check_values(lambda x: np.ediff1d(x, to_end=[1.0, 2.0], to_begin=0.5), X)
    check_derivatives(np.ediff1d, X)


def test_trapezoid() -> None:
    at = numpy.sort(RNG.normal(size=4))
    for axis in (0, 1):
        check_values(lambda y, a=axis: np.trapezoid(y, dx=0.5, axis=a), X)
    check_values(lambda y: np.trapezoid(y, at), X)
    check_values(lambda y: np.trapezoid(y, X), X)
    check_values(lambda y: np.trapezoid(y), numpy.zeros((2, 0)))
    check_derivatives(lambda y: np.trapezoid(y, at), X)
    check_derivatives(lambda t: np.trapezoid(X, t), at)
    check_derivatives(lambda h: np.trapezoid(X, dx=h), numpy.array(0.5))
