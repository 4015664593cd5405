"""Linear algebra, einsum and running results in native programs: tiny, looped and LAPACK sizes against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.errors import SingularMatrixError

LEADS = [(), (2, 2)]
SIZES = [1, 3, 4, 7, 40]


def matrices(lead, n, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(*lead, n, n)) + 2 * np.eye(n)
    return rng, a, a @ np.swapaxes(a, -1, -2) + np.eye(n)


def compiled(f, *args):
    """The result of the compiled function, which must be native throughout."""
    g = wg.jit(f)
    assert g.lower(*args).callbacks == []
    return g(*args)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("n", SIZES)
def test_systems(lead, n):
    rng, a, _ = matrices(lead, n)
    for b in (rng.normal(size=n), rng.normal(size=(*lead, n, 3)), rng.normal(size=(*lead, n, 9))):
        np.testing.assert_allclose(compiled(wnp.linalg.solve, a, b), np.linalg.solve(a, b), rtol=1e-8, atol=1e-9)
        triangle = a + 2 * n * np.eye(n)
        for lower, part in ((True, np.tril), (False, np.triu)):
            found = compiled(lambda a, b, o=lower: wnp.linalg.solve_triangular(a, b, lower=o), triangle, b)
            np.testing.assert_allclose(found, np.linalg.solve(part(triangle), b), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("lead", LEADS)
@pytest.mark.parametrize("n", SIZES)
def test_functions_of_matrices(lead, n):
    _, a, s = matrices(lead, n)
    np.testing.assert_allclose(compiled(wnp.linalg.inv, a), np.linalg.inv(a), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(compiled(wnp.linalg.cholesky, s), np.linalg.cholesky(s), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(compiled(wnp.linalg.det, a), np.linalg.det(a), rtol=1e-9)
    for found, expected in zip(compiled(wnp.linalg.slogdet, a), np.linalg.slogdet(a), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("n", [2, 4, 6])
def test_gradients(n):
    rng, a, _ = matrices((3,), n)
    b = rng.normal(size=(3, n, 2))

    def f(a, b):
        positive = a @ wnp.swapaxes(a, -1, -2) + np.eye(n)
        parts = wnp.linalg.solve(a, b) ** 2, wnp.linalg.slogdet(a)[1], wnp.linalg.cholesky(positive)
        return sum(wnp.sum(part) for part in parts)

    g = wg.grad(f, argnums=(0, 1))
    for found, expected in zip(wg.jit(g)(a, b), g(a, b), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def test_rows_change_places():
    a = np.array([[0.0, 2.0, 1.0], [1.0, 0.0, 0.0], [3.0, 0.0, 1e-30]])
    for x in (a, a[::-1], a[:, ::-1]):
        np.testing.assert_allclose(compiled(wnp.linalg.det, x), np.linalg.det(x), rtol=1e-12)
        np.testing.assert_allclose(compiled(wnp.linalg.inv, x), np.linalg.inv(x), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("bad", [np.zeros((3, 3)), np.zeros((6, 6)), np.stack([np.eye(3), np.ones((3, 3))])])
def test_singular_matrices_are_errors_with_the_line(bad):
    right = np.ones((*bad.shape[:-1], 1))
    for f in (wnp.linalg.inv, wnp.linalg.cholesky, lambda a: wnp.linalg.solve(a, right)):
        with pytest.raises(SingularMatrixError, match=r"(?i)matrix") as caught:
            wg.jit(lambda a, f=f: f(a))(bad)
        assert caught.value.source is not None
        assert caught.value.source.file == __file__
    n = bad.shape[-1]
    triangle = np.diag(np.arange(n, dtype=float))
    with pytest.raises(SingularMatrixError, match="diagonal"):
        wg.jit(lambda t: wnp.linalg.solve_triangular(t, np.ones(n)))(triangle)
    assert compiled(wnp.linalg.det, np.zeros((n, n))) == 0
    sign, size = compiled(wnp.linalg.slogdet, np.zeros((n, n)))
    assert (sign, size) == (0, -np.inf)


def test_nan_goes_through():
    a = np.full((3, 3), np.nan)
    assert np.isnan(compiled(wnp.linalg.solve, a, np.ones(3))).all()
    assert np.isnan(compiled(wnp.linalg.det, a))


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", ((30, 40), (40, 50))),
        ("bij,bkj->bik", ((3, 30, 40), (3, 20, 40))),
        ("ii->", ((5, 5),)),
        ("ij->ji", ((5, 6),)),
        ("nd,kde->nke", ((50, 6), (7, 6, 6))),
        ("nkd,nkd->nk", ((50, 7, 6), (50, 7, 6))),
        ("i,j->ij", ((40,), (30,))),
        ("iij,jk->ki", ((3, 3, 4), (4, 5))),
        ("ij,ij->", ((4, 5), (4, 5))),
        ("ab,bc->ac", ((0, 3), (3, 2))),
    ],
)
def test_einsum(subscripts, shapes):
    rng = np.random.default_rng(0)
    xs = [rng.normal(size=shape) for shape in shapes]
    found = compiled(lambda *x: wnp.einsum(subscripts, *x), *xs)
    np.testing.assert_allclose(found, np.einsum(subscripts, *xs), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_results(axis):
    x = np.random.default_rng(0).normal(size=(5, 6, 7))
    x[2, 3] = 0
    for f in (wnp.cumsum, wnp.cumprod, lambda x, axis: wnp.flip(wnp.cumsum(wnp.flip(x, axis), axis), axis)):
        np.testing.assert_allclose(compiled(lambda x, f=f: f(x, axis), x), f(x, axis), rtol=1e-11, atol=1e-12)
        g = wg.grad(lambda x, f=f: wnp.sum(f(x, axis) ** 2))
        np.testing.assert_allclose(compiled(g, x), g(x), rtol=1e-9, atol=1e-10)
