"""Sparse Jacobians and Hessians equal dense ones, in every mode, container and way of running."""

from __future__ import annotations

import warnings
from typing import Any

import numpy
import pytest
import scipy.optimize
from scipy.sparse import csr_array, issparse
from scipy.sparse.linalg import spsolve

import wengert as wg
import wengert.numpy as np
from wengert.errors import IntegerInputError, NonScalarOutputError, SparsityError, UnsupportedError

RNG = numpy.random.default_rng(0)
X = RNG.uniform(0.5, 2.0, 12)
FIRST = numpy.array([0, 3, 1, 3, 2, 0])
SECOND = numpy.array([1, 1, 0, 3, 3, 2])


def chain(x: Any) -> Any:
    return np.sin(x[1:]) * x[:-1] ** 2


def stencil(x: Any) -> Any:
    y = np.reshape(x, (3, 4))
    return np.roll(y, 1, 0) + np.roll(y, -1, 1) * y


def pairs(x: Any) -> Any:
    """Rows that gather: differences of points, with their squared length."""
    p = np.reshape(x, (4, 3))
    d = p[FIRST] - p[SECOND]
    return np.concatenate([d[:, :2] * np.sum(d * d, 1)[:, None], p[FIRST][:, :1]], 1)


def lengths(x: Any) -> Any:
    p = np.reshape(x, (4, 3))
    d = p[FIRST] - p[SECOND]
    return np.sqrt(np.sum(d * d, 1))


def gathered_and_not(x: Any) -> Any:
    return x[FIRST] * x[SECOND] + np.sum(x[8:])


def running(x: Any) -> Any:
    return np.cumsum(x[:5] * x[5:10])


def scanned(x: Any) -> Any:
    return wg.scan(lambda c, v: (0.3 * c * v + v, c * v), 1.0, x[:7])[1]


def dense_row(x: Any) -> Any:
    return np.concatenate([x**2, np.reshape(np.sum(np.exp(x)), 1)])


def solved(x: Any) -> Any:
    return np.linalg.solve(np.reshape(x[:9], (3, 3)) + 3 * numpy.eye(3), x[9:])


def constant(x: Any) -> Any:
    return np.floor(x)


JACOBIANS = [chain, stencil, pairs, lengths, gathered_and_not, running, scanned, dense_row, solved, constant, np.sum]


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("fn", JACOBIANS)
def test_jacobians(fn: Any, compile: bool) -> None:
    expected = wg.jacobian(fn)(X).reshape(-1, 12)
    for mode in ("auto", "forward", "reverse"):
        derivative = wg.sparse_jacobian(fn, mode=mode, compile=compile)
        found = derivative(X)
        assert isinstance(found, csr_array) and found.has_sorted_indices and found.dtype == numpy.float64
        numpy.testing.assert_allclose(found.toarray(), expected, rtol=1e-12, atol=1e-13)
        again = derivative(X[::-1].copy())
        numpy.testing.assert_allclose(
            again.toarray(), wg.jacobian(fn)(X[::-1].copy()).reshape(-1, 12), rtol=1e-12, atol=1e-13
        )
        assert (derivative.pattern(X) != (derivative.plan(X).pattern)).nnz == 0


def rosenbrock(x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def springs(x: Any) -> Any:
    p = np.reshape(x, (4, 3))
    d = p[FIRST[:3]] - p[SECOND[:3]]
    return np.sum((np.sqrt(np.sum(d * d, 1)) - 1.0) ** 2)


def arrowhead(x: Any) -> Any:
    return np.sum(x[0] * x[1:] ** 2)


def looped(x: Any) -> Any:
    return wg.scan(lambda c, v: (c + v**3, None), 0.0, x)[0]


def linear(x: Any) -> Any:
    return np.sum(3 * x)


@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("fn", [rosenbrock, springs, arrowhead, looped, linear, np.prod])
def test_hessians(fn: Any, compile: bool) -> None:
    found = wg.sparse_hessian(fn, compile=compile)(X)
    numpy.testing.assert_allclose(found.toarray(), wg.hessian(fn)(X), rtol=1e-10, atol=1e-11)
    assert (found != found.T).nnz == 0


def test_the_hessian_of_scipy() -> None:
    x = RNG.normal(size=300)
    found = wg.sparse_hessian(rosenbrock)
    numpy.testing.assert_allclose(found(x).toarray(), scipy.optimize.rosen_hess(x), rtol=1e-12)
    assert found.plan(x).count == 3 and found.plan(x).mode == "star"
    assert wg.sparse_hessian(arrowhead).plan(x).count == 2


def test_sides_and_gathers_are_chosen_by_cost() -> None:
    assert wg.sparse_jacobian(chain).plan(X).mode == "column"
    assert wg.sparse_jacobian(np.sum).plan(X).mode == "row"
    plan = wg.sparse_jacobian(lengths).plan(X)
    assert plan.local and plan.mode == "row" and plan.count == 1
    assert not wg.sparse_jacobian(lengths, mode="forward").plan(X).local


def test_stencils_are_copies_of_unknowns() -> None:
    """Five points of a grid with a border of zeros: one sweep of reverse mode, and only the diagonal varies."""

    def residual(u: Any) -> Any:
        f = np.pad(u, 1)
        return f[2:, 1:-1] + f[:-2, 1:-1] + f[1:-1, 2:] + f[1:-1, :-2] - 4 * u - np.exp(u)

    u = RNG.normal(size=(6, 5))
    derivative = wg.sparse_jacobian(residual)
    plan = derivative.plan(u)
    assert plan.local and plan.count == 1
    numpy.testing.assert_allclose(derivative(u).toarray(), wg.jacobian(residual)(u).reshape(30, 30), rtol=1e-12)
    assert derivative(u).nnz == plan.pattern.nnz == 30 + 2 * (5 * 5 + 6 * 4)


def test_many_colours_are_computed_in_blocks() -> None:
    """Every element of 40 depends on all others."""
    x = RNG.normal(size=40)
    a = RNG.normal(size=(40, 40))
    for mode in ("forward", "reverse"):
        for compile in (False, True):
            derivative = wg.sparse_jacobian(lambda x: np.sin(a @ x), mode=mode, compile=compile)
            assert derivative.plan(x).count == 40
            numpy.testing.assert_allclose(derivative(x).toarray(), numpy.cos(a @ x)[:, None] * a, rtol=1e-12)


def test_containers_arguments_and_dtypes() -> None:
    def fn(scale: Any, p: Any, power: int, *, shift: Any) -> Any:
        return {"b": scale * p["v"] ** power + shift, "a": p["u"][::-1] * p["v"][:2]}

    p = {"u": X[:2], "v": X[2:6]}
    dense = wg.jacobian(fn, 1)(2.0, p, 3, shift=X[6:10])
    expected = numpy.block([[dense["a"]["u"], dense["a"]["v"]], [dense["b"]["u"], dense["b"]["v"]]])
    derivative = wg.sparse_jacobian(fn, argnums=1)
    numpy.testing.assert_allclose(derivative(2.0, p, 3, shift=X[6:10]).toarray(), expected, rtol=1e-12)
    both = wg.sparse_jacobian(fn, argnums=(0, 1))(2.0, p, 3, shift=X[6:10]).toarray()
    numpy.testing.assert_allclose(both[:, 1:], expected, rtol=1e-12)
    numpy.testing.assert_allclose(both[:, 0], numpy.concatenate([[0, 0], X[2:6] ** 3]), rtol=1e-12)
    swapped = wg.sparse_jacobian(chain)(X.astype(X.dtype.newbyteorder()))
    numpy.testing.assert_array_equal(swapped.toarray(), wg.sparse_jacobian(chain)(X).toarray())
    single = wg.sparse_jacobian(chain)(X.astype(numpy.float32))
    assert single.dtype == numpy.float32
    z = X + 1j * X[::-1]
    numpy.testing.assert_allclose(
        wg.sparse_jacobian(chain)(z).toarray(), wg.jacobian(chain, mode="forward")(z), rtol=1e-12
    )
    assert wg.sparse_jacobian(lambda x: x * x)(3.0).toarray().tolist() == [[6.0]]
    assert wg.sparse_jacobian(lambda x: x * x)(numpy.zeros(0)).shape == (0, 0)
    assert wg.sparse_hessian(lambda x: x**3)(2.0).toarray().tolist() == [[12.0]]


def test_a_plan_serves_all_values_of_its_types() -> None:
    derivative = wg.sparse_jacobian(chain)
    plan = derivative.plan(X)
    assert derivative.plan(2 * X) is plan
    assert derivative.plan(wg.ArrayType((12,), numpy.dtype(float))) is plan
    assert derivative.plan(X[:5]) is not plan
    assert derivative.plan(X[:5]).pattern.shape == (4, 5)


def test_integer_arguments_are_structure() -> None:
    derivative = wg.sparse_jacobian(lambda x, i: x[i] ** 2)
    first, second = numpy.array([3, 1]), numpy.array([0, 0])
    for index in (first, second, first):
        expected = numpy.zeros((2, 12))
        expected[[0, 1], index] = 2 * X[index]
        found = derivative(X, index)
        assert found.nnz == 2
        numpy.testing.assert_allclose(found.toarray(), expected)
    assert derivative.plan(X, first) is derivative.plan(X, first.copy())
    # An integer that is no index does not belong to the plan.
    power = wg.sparse_jacobian(lambda x, k: x**k)
    assert power.plan(X, 2) is power.plan(X, 3)
    numpy.testing.assert_allclose(power(X, 3).diagonal(), 3 * X**2)


def test_indices_computed_from_the_argument() -> None:
    """They may point anywhere: the pattern is dense there, and the values are right for each order."""
    derivative = wg.sparse_jacobian(lambda x: x[np.argsort(x)][:2] ** 2)
    for x in (X, -X):
        numpy.testing.assert_allclose(derivative(x).toarray(), wg.jacobian(lambda x: x[np.argsort(x)][:2] ** 2)(x))


@pytest.mark.parametrize("compile", [False, True])
def test_masked_branches_at_singular_points(compile: bool) -> None:
    """The strong zero holds: the root's infinite slope does not reach the other branch."""

    def fn(x: Any) -> Any:
        return np.where(x > 1.0, np.sqrt(x - 1.0), x) * x[0]

    x = numpy.array([1.0, 2.0, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = wg.jacobian(fn)(x)
        assert numpy.isfinite(expected).all()
        for mode in ("forward", "reverse"):
            found = wg.sparse_jacobian(fn, mode=mode, compile=compile)
            numpy.testing.assert_allclose(found(x).toarray(), expected, rtol=1e-12)
            numpy.testing.assert_allclose(found(x + 0.1).toarray(), wg.jacobian(fn)(x + 0.1), rtol=1e-12)

        def gathered(x: Any) -> Any:
            return fn(x)[FIRST % 3] * x[SECOND % 3]

        numpy.testing.assert_allclose(
            wg.sparse_jacobian(gathered, compile=compile)(x).toarray(), wg.jacobian(gathered)(x), rtol=1e-12
        )
        with wg.settings(strong_zero=False):
            assert numpy.isnan(found(x).toarray()).any()


def test_nan_stays_nan() -> None:
    x = X.copy()
    x[3] = numpy.nan
    found = wg.sparse_jacobian(lambda x: x**2)(x).diagonal()
    numpy.testing.assert_array_equal(numpy.isnan(found), numpy.isnan(x))


def test_results_do_not_share_memory() -> None:
    derivative = wg.sparse_jacobian(lambda x: x * x)
    first = derivative(numpy.zeros(3))
    first.eliminate_zeros()
    assert first.nnz == 0
    assert derivative(numpy.ones(3)).nnz == 3


def test_newton() -> None:
    """A boundary-value problem u'' = exp(u), with SciPy's sparse solver."""
    n = 50

    def residual(u: Any) -> Any:
        full = np.pad(u, 1)
        return (full[2:] - 2 * u + full[:-2]) * (n + 1) ** 2 - np.exp(u)

    jacobian = wg.sparse_jacobian(residual)
    u = numpy.zeros(n)
    for _ in range(6):
        step = jacobian(u)
        assert issparse(step)
        u -= spsolve(step.tocsc(), residual(u))
    assert numpy.abs(residual(u)).max() < 1e-9


def test_plans_print() -> None:
    plan = wg.sparse_jacobian(lambda x: x**2).plan(X)
    assert str(plan).splitlines() == [
        "12 x 12, 12 entries (0.0833 of all)",
        "1 colour (columns, forward mode)",
        "block-diagonal: 12 blocks, the largest 1 x 1",
        "block-triangular: 12 blocks, the largest 1 x 1",
    ]
    assert plan.blocks.count == plan.triangular.count == 12
    assert len(plan.graph.nodes) > 0
    assert repr(plan) == "<SparsePlan: 12 x 12, 12 entries, mode column, colours: 1>"
    assert plan.triangular.triangular and not plan.blocks.triangular


@pytest.mark.parametrize("make", [wg.sparse_jacobian, wg.sparse_hessian])
def test_errors(make: Any) -> None:
    with pytest.raises(SparsityError, match="structure of <lambda> changes"):
        make(lambda x: np.sum(x[x > 0] ** 2))(X)
    with pytest.raises(SparsityError, match="structure of <lambda> changes"):
        make(lambda x: x[0] if x[0] > 0 else x[1])(X)
    with pytest.raises(IntegerInputError, match=f"{make.__name__}"):
        make(lambda x: x[0] * 2)(numpy.arange(3))
    with pytest.raises(UnsupportedError, match="argnums 3"):
        make(lambda x: x[0], argnums=3)(X)
    with pytest.raises(UnsupportedError, match="inside another transform"):
        wg.grad(lambda x: np.sum(make(lambda y: y[0] ** 2)(x)))(X)


def test_hessian_of_what_is_no_number() -> None:
    with pytest.raises(NonScalarOutputError):
        wg.sparse_hessian(lambda x: x**2)(X)
    with pytest.raises(NonScalarOutputError, match="mode"):
        wg.sparse_jacobian(lambda x: x, mode="sideways")
