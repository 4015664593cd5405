"""Derivatives at equal eigenvalues and singular values: limits that exist, in every mode and order, and warnings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import scipy.linalg
from tests.numpy.modes import agree

import wengert as wg
import wengert.numpy.linalg as linalg
from wengert.errors import DegenerateWarning
from wengert.ops.spectral import directions

rng = np.random.default_rng(11)
C, E, F = rng.normal(size=(3, 3, 3))
Q, P = (np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(2))
SYMMETRIC = (C + C.T) / 2


def turned(*values):
    a = Q @ np.diag(values) @ Q.T
    return (a + a.T) / 2


MATRICES = {
    "diag(1, 1, 2)": np.diag([1.0, 1.0, 2.0]),
    "turned diag(1, 1, 2)": turned(1, 1, 2),
    "identity": np.eye(3),
    "zero": np.zeros((3, 3)),
    "equal but for round-off": turned(1, 1 + 1e-14, 2),
    "nearly equal": turned(1, 1 + 1e-9, 2),
    "different": turned(1, 2, 3),
}


def function_of(a, g):
    """V g(w) V^T, by eigenvalues and eigenvectors."""
    w, v = np.linalg.eigh(a)
    return (v * g(w)) @ np.conj(v).T


def by_eigh(a):
    return np.sum(C * function_of(a, np.exp))


def by_expm(a):
    return np.sum(SYMMETRIC * linalg.expm(a))


def by_variable(f):
    def derivative(a):
        leaf = wg.variable(a)
        f(leaf).backward()
        return leaf.grad

    return derivative


def by_forward(f):
    basis = np.eye(9).reshape(9, 3, 3)
    return lambda a: np.stack([wg.jvp(f, (a,), ((t + t.T) / 2,))[1] for t in basis]).reshape(3, 3)


GRADIENTS = {
    "reverse": wg.grad,
    "forward": by_forward,
    "define by run": by_variable,
    "static": lambda f: lambda a: wg.trace(wg.grad(f), a)(a),
    "static forward": lambda f: lambda a: wg.trace(by_forward(f), a)(a),
    "batched": lambda f: lambda a: wg.vmap(wg.grad(f))(np.stack([turned(1, 2, 3), a]))[1],
    "of a batched function": lambda f: lambda a: wg.grad(lambda a: np.sum(wg.vmap(f)(np.stack([a, a]))) / 2)(a),
    "pullback": lambda f: lambda a: wg.vjp(f, a)[1](1.0)[0],
    "batch of pullbacks": lambda f: lambda a: wg.vmap(wg.vjp(f, a)[1])(np.ones(2))[0][1],
}


@pytest.mark.parametrize("mode", GRADIENTS)
@pytest.mark.parametrize("name", MATRICES)
def test_the_exponential_by_eigenvectors_has_the_derivative_of_the_exponential(name, mode):
    a = MATRICES[name]
    expected = scipy.linalg.expm_frechet(a, SYMMETRIC, compute_expm=False)
    np.testing.assert_allclose(GRADIENTS[mode](by_eigh)(a), expected, rtol=1e-12, atol=1e-12)


SECOND = {
    "reverse over reverse": lambda f, a: wg.grad(lambda a: np.sum(E * wg.grad(f)(a)))(a),
    "forward over reverse": lambda f, a: wg.jvp(wg.grad(f), (a,), ((E + E.T) / 2,))[1],
    "reverse over forward": lambda f, a: wg.grad(lambda a: wg.jvp(f, (a,), ((E + E.T) / 2,))[1])(a),
    "forward over forward": lambda f, a: wg.jvp(lambda a: wg.jvp(f, (a,), (SYMMETRIC,))[1], (a,), ((E + E.T) / 2,))[1],
    "static": lambda f, a: wg.trace(lambda a: wg.grad(lambda a: np.sum(E * wg.grad(f)(a)))(a), a)(a),
    "derivative of a static gradient": lambda f, a: wg.jvp(wg.trace(wg.grad(f), a), (a,), ((E + E.T) / 2,))[1],
    "batched": lambda f, a: wg.vmap(lambda a: wg.grad(lambda a: np.sum(E * wg.grad(f)(a)))(a))(a[None])[0],
    "third order": lambda f, a: wg.jvp(
        lambda a: wg.grad(lambda a: np.sum(E * wg.grad(f)(a)))(a), (a,), ((F + F.T) / 2,)
    )[1],
}


@pytest.mark.parametrize("mode", SECOND)
@pytest.mark.parametrize("name", [n for n in MATRICES if n != "nearly equal"])
def test_higher_derivatives_are_those_of_the_exponential(name, mode):
    a = MATRICES[name]
    expected = SECOND[mode](lambda a: by_expm((a + a.T) / 2), a)
    np.testing.assert_allclose(SECOND[mode](by_eigh, a), expected, rtol=1e-11, atol=1e-11)


def test_backward_twice():
    a = turned(1, 1, 2)
    x = wg.variable(a)
    by_eigh(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    np.sum(first * E).backward()
    agree(x.grad, SECOND["reverse over reverse"](lambda a: by_expm((a + a.T) / 2), a), rtol=1e-10)


def test_hermitian_matrices():
    c = rng.normal(size=(3, 3)) + 1j * rng.normal(size=(3, 3))
    u = np.linalg.qr(c)[0]
    a = u @ np.diag([1.0, 1, 2]) @ np.conj(u.T)
    a = (a + np.conj(a.T)) / 2
    gradient = wg.grad(lambda a: np.real(np.sum(np.conj(c) * function_of(a, np.exp))))(a)
    expected = scipy.linalg.expm_frechet(a, c, compute_expm=False)
    agree(gradient, (expected + np.conj(expected.T)) / 2)


@pytest.mark.parametrize("mode", ["reverse", "define by run", "static", "batched"])
def test_decompositions_after_each_other(mode):
    a = turned(1, 1, 2)
    there_and_back = lambda a: np.sum(C * function_of(function_of(function_of(a, np.exp), np.log), lambda w: w**2))
    agree(GRADIENTS[mode](there_and_back)(a), wg.grad(lambda a: np.sum(SYMMETRIC * (a @ a)))(a))
    agree(wg.jvp(there_and_back, (a,), (E,))[1], np.sum((E + E.T) / 2 * (SYMMETRIC @ a + a @ SYMMETRIC)))


SINGULAR = {
    "identity": np.eye(3),
    "a pair": Q @ np.diag([2.0, 2, 1]) @ P,
    "rank 1": Q @ np.diag([2.0, 0, 0]) @ P,
    "a pair and a zero": Q @ np.diag([2.0, 2, 0]) @ P,
    "zero": np.zeros((3, 3)),
    "tall of rank 1": np.outer(C[0], E[0, :2]),
    "wide with a pair": np.eye(2, 3),
    "different": C,
}


@pytest.mark.parametrize("name", SINGULAR)
@pytest.mark.parametrize("unit", [1.0, 1 + 0j])
def test_functions_of_singular_values_and_vectors(name, unit):
    """U s^3 V^H is A A^H A, whatever the singular values."""
    a = SINGULAR[name] * unit
    c, e = (rng.normal(size=(2, *a.shape))) * unit

    def by_svd(a):
        u, s, vh = np.linalg.svd(a, full_matrices=False)
        return np.real(np.sum(c * ((u * s**3) @ vh)))

    def by_products(a):
        return np.real(np.sum(c * (a @ np.conj(a.T) @ a)))

    tolerance = {"rtol": 1e-11, "atol": 1e-11}
    agree(wg.grad(by_svd)(a), wg.grad(by_products)(a), **tolerance)
    agree(wg.jvp(by_svd, (a,), (e,))[1], wg.jvp(by_products, (a,), (e,))[1], **tolerance)
    agree(wg.trace(wg.grad(by_svd), a)(a), wg.grad(by_products)(a), **tolerance)
    agree(wg.jvp(wg.grad(by_svd), (a,), (e,))[1], wg.jvp(wg.grad(by_products), (a,), (e,))[1], **tolerance)


def test_general_matrices_with_equal_eigenvalues():
    a = C @ np.diag([1.0, 1, 2]) @ np.linalg.inv(C)

    def exponential(a):
        w, v = np.linalg.eig(a)
        return np.real(np.sum(E * ((v * np.exp(w)) @ np.linalg.inv(v))))

    agree(wg.grad(exponential)(a), scipy.linalg.expm_frechet(a.T, E, compute_expm=False), rtol=1e-9, atol=1e-9)
    agree(wg.grad(exponential)(np.eye(3)), np.e * E)


@pytest.mark.parametrize(
    "f,expected",
    [
        (lambda a: np.sum(np.linalg.eigvalsh(a) ** 2), 2 * np.eye(3)),
        (lambda a: np.sum(np.linalg.svd(a, compute_uv=False)), np.eye(3)),
        (lambda a: np.linalg.norm(a, "nuc"), np.eye(3)),
        (lambda a: np.linalg.norm(a, 2), np.eye(3) / 3),
        (lambda a: np.linalg.cond(a), np.zeros((3, 3))),
        (lambda a: np.sum((lambda v: C * (v @ v.T))(np.linalg.eigh(a)[1])), np.zeros((3, 3))),
        (lambda a: np.linalg.eigvalsh(a)[0], np.diag([1.0, 0, 0])),
    ],
)
def test_what_does_not_depend_on_the_choice_of_vectors_gives_no_warning(f, expected):
    agree(wg.grad(f)(np.eye(3)), expected)
    agree(wg.jvp(f, (np.eye(3),), (np.diag([1.0, 2, 3]),))[1], np.sum(expected * np.diag([1.0, 2, 3])))


@pytest.mark.parametrize("mode", [m for m in GRADIENTS if m not in ("of a batched function",)])
@pytest.mark.parametrize(
    "f",
    [
        lambda a: np.linalg.eigh(a)[1][0, 1],
        lambda a: np.linalg.svd(a)[0][0, 1],
        lambda a: np.real(np.linalg.eig(a)[1][0, 1]),
    ],
)
def test_what_depends_on_the_choice_of_vectors_warns(f, mode):
    with pytest.warns(DegenerateWarning, match="choice of vectors") as caught:
        found = GRADIENTS[mode](f)(np.eye(3))
    assert np.isfinite(found).all()
    assert all(warning.filename == __file__ for warning in caught)


def test_the_strict_setting_gives_nan():
    a = turned(1, 1, 2)
    with wg.settings(degenerate="nan"):
        for mode in ("reverse", "forward", "static", "define by run"):
            assert np.isnan(GRADIENTS[mode](by_eigh)(a)).all()
        assert np.isfinite(wg.grad(lambda a: np.sum(np.linalg.eigvalsh(a) ** 2))(a)).all()
        assert np.isfinite(wg.grad(by_eigh)(turned(1, 2, 3))).all()


def test_no_series_leaves_a_transform():
    a = turned(1, 1, 2)
    (value, aux), gradient = wg.value_and_grad(lambda a: (by_eigh(a), np.linalg.eigh(a)), has_aux=True)(a)
    agree(value, by_eigh(a))
    for mine, theirs in zip(aux, np.linalg.eigh(a), strict=True):
        assert type(mine) is np.ndarray and np.array_equal(mine, theirs)
    assert type(gradient) is np.ndarray
    out, pullback = wg.vjp(np.linalg.eigh, a)
    assert type(out[0]) is np.ndarray and type(pullback(out)[0]) is np.ndarray
    x = wg.variable(a)
    w, _ = np.linalg.eigh(x)
    assert np.array_equal(w.numpy(), np.linalg.eigh(a)[0]) and float(w[0]) == np.linalg.eigh(a)[0][0]
    assert bool(w[2] > 1.5)


def test_a_branch_on_an_eigenvalue_sees_its_number():
    def f(a):
        w, v = np.linalg.eigh(a)
        return np.sum(C * ((v * w**2) @ v.T)) if w[0] > 0.5 else 0.0 * w[0]

    a = np.diag([1.0, 1.0, 2.0])
    agree(wg.grad(f)(a), wg.grad(lambda a: np.sum(SYMMETRIC * (a @ a)))(a))


def test_a_loop_written_as_an_operation_warns_where_it_cannot_take_the_limit():
    step = lambda a, _: (function_of(a, np.sin), None)
    loop = lambda a: np.sum(C * wg.scan(step, a, None, length=2)[0])
    with pytest.warns(DegenerateWarning, match="loop or branch"):
        wg.grad(loop)(turned(1, 1, 2))
    python_loop = lambda a: np.sum(C * function_of(function_of(a, np.sin), np.sin))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        agree(wg.grad(loop)(turned(1, 2, 3)), wg.grad(python_loop)(turned(1, 2, 3)))


def test_directions_tell_equal_values_apart():
    assert directions(np.array([1.0, 2.0, 3.0])) is None
    assert directions(np.array([3.0, 2.0, 1.0]), True) is None
    d = directions(np.array([[1.0, 1.0, 2.0], [1.0, 2.0, 3.0]]))
    assert d[0, 0] == -d[0, 1] != 0 and d[0, 2] == 0 and not d[1].any()
    d = directions(np.array([2.0, 0.0, 0.0]), True)
    assert d[0] == 0 and d[1] > d[2] > 0
    d = directions(np.array([1j, 1.0, 1j]))
    assert d[0] == -d[2] != 0 and d[1] == 0
    chain = 1 + 1e-8 * np.arange(4)
    assert len(set(directions(chain))) == 4


def test_float32():
    a = np.diag([1.0, 1.0, 2.0]).astype(np.float32)
    gradient = wg.grad(by_eigh)(a)
    assert gradient.dtype == np.float32
    np.testing.assert_allclose(
        gradient, scipy.linalg.expm_frechet(a.astype(float), SYMMETRIC, compute_expm=False), rtol=1e-5
    )


def test_a_dynamic_graph_shows_numbers():
    x = wg.variable(np.diag([1.0, 1.0, 2.0]))
    y = by_eigh(x)
    y.backward(keep=True)
    graph = wg.graph(y)
    shown = [*graph.values.values(), *graph.gradients.values()]
    assert shown and not any(isinstance(value, wg.Tensor) for value in shown)
