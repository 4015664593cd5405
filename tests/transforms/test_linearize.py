"""The derivative at a point as a graph that runs again, and transposes of linear functions."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors
import wengert.numpy as wnp

RNG = np.random.default_rng(5)
MATRIX = RNG.normal(size=(4, 3))


def model(p, x):
    return {"y": np.tanh(p["w"] @ x) * x[0], "s": np.sum(x**2), "n": 3}


def looping(x):
    carry, ys = wg.scan(lambda c, t: (np.sin(c) * t + x, c * x), x, np.arange(3.0))
    end = wg.while_loop(lambda v: v * v > 0.1, lambda v: np.sin(v) * 0.8 * x, carry)
    return wg.cond(end > 0, lambda v: v * x, lambda v: v - x, end) + np.sum(ys)


def factoring(x):
    a = np.outer(x, x) + np.diag(np.arange(3.0, 3.0 + len(x)))
    return np.linalg.solve(a, x) * np.linalg.slogdet(a)[1] + np.linalg.eigh(a)[1][:, 0] * np.sort(x)


P = {"w": RNG.normal(size=(4, 3)), "unused": RNG.normal(size=2)}
X = RNG.normal(size=3)


def test_it_is_the_derivative_of_jvp_for_any_tangent():
    out, derivative = wg.linearize(model, P, X)
    np.testing.assert_array_equal(out["y"], model(P, X)["y"])
    for seed in range(3):
        rng = np.random.default_rng(seed)
        t = ({"w": rng.normal(size=(4, 3)), "unused": rng.normal(size=2)}, rng.normal(size=3))
        expected = wg.jvp(model, (P, X), t)[1]
        for run in (derivative, wg.jit(derivative), lambda *t: wg.trace(derivative, *t)(*t)):
            found = run(*t)
            for key in ("y", "s", "n"):
                np.testing.assert_allclose(found[key], expected[key], rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize(("f", "x"), [(looping, 0.7), (factoring, X)])
def test_loops_and_factorisations(f, x):
    out, derivative = wg.linearize(f, x)
    np.testing.assert_allclose(out, f(x), rtol=1e-13)
    t = np.ones_like(x)
    expected = wg.jvp(f, (x,), (t,))[1]
    np.testing.assert_allclose(derivative(t), expected, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(wg.jit(derivative)(t), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(derivative(2 * t), 2 * expected, rtol=1e-11, atol=1e-13)
    jacobian = wg.jacobian(f)(x)
    basis = np.eye(np.size(x)).reshape(np.size(x), *np.shape(x))
    np.testing.assert_allclose(np.moveaxis(wg.vmap(derivative)(basis), 0, -1).reshape(jacobian.shape), jacobian,
                               rtol=1e-10, atol=1e-12)  # fmt: skip


def test_the_function_runs_once_on_numbers():
    calls = []

    def f(x):
        calls.append(1)
        return x * 2 if x > 0 else x * np.sin(x)  # a branch in Python

    out, derivative = wg.linearize(f, -1.0)
    assert [float(derivative(t)) for t in (1.0, 2.0)] == [float(k * wg.grad(f)(-1.0)) for k in (1, 2)]
    assert len(calls) == 3 and out == np.sin(1.0)  # one of them for each gradient
    assert {n.primitive.name for n in derivative.graph.nodes} <= {"add", "multiply", "strong_multiply"}


def test_inside_of_other_transforms():
    push = lambda x, t: wg.linearize(np.sin, x)[1](t)
    np.testing.assert_allclose(wg.grad(push)(0.3, 2.0), -2 * np.sin(0.3))
    np.testing.assert_allclose(wg.grad(push, 1)(0.3, 2.0), np.cos(0.3))
    np.testing.assert_allclose(wg.vmap(push)(X, X), np.cos(X) * X)
    np.testing.assert_allclose(wg.jit(wg.grad(push))(0.3, 2.0), -2 * np.sin(0.3))
    np.testing.assert_allclose(wg.linear_transpose(wg.linearize(np.sin, X)[1], X)(X)[0], np.cos(X) * X)


def test_later_changes_of_an_argument_do_not_matter():
    x = np.array([1.0, 2.0])
    _, derivative = wg.linearize(lambda x: x * x, x)
    x[:] = 100
    assert derivative(np.ones(2)).tolist() == [2.0, 4.0]


def test_aux_is_handed_through():
    out, derivative, aux = wg.linearize(lambda x: (x * x, {"x": x, "n": 1}), 3.0, has_aux=True)
    assert (out, derivative(1.0), aux["x"], aux["n"]) == (9.0, 6.0, 3.0, 1)


LINEAR = {
    "matrix": lambda x: MATRIX @ x,
    "containers": lambda x: {"a": np.cumsum(x)[::-1], "b": (x[0] * 2 - x[2], np.outer(x, [1.0, 2.0]))},
    "scan": lambda x: wg.scan(lambda c, t: (c * 0.5 + t, c - t), x[0], x),
    "fft": lambda x: np.convolve(x, [1.0, 2.0, -1.0]),
    "solve": lambda x: np.linalg.solve(MATRIX[:3] + 3 * np.eye(3), x),
    "mask": lambda x: np.where([True, False, True], x, 0.0),
    "nothing": lambda x: np.zeros(2) * x[0],
}


@pytest.mark.parametrize("name", LINEAR)
def test_transposes_of_linear_functions(name):
    f = LINEAR[name]
    for like in (X, wg.ArrayType((3,), np.dtype(float))):
        transposed = wg.linear_transpose(f, like)
        out, pullback = wg.vjp(f, X)
        np.testing.assert_allclose(transposed(out)[0], pullback(out)[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(wg.jit(transposed)(out)[0], pullback(out)[0], rtol=1e-12, atol=1e-13)


def test_the_transpose_of_complex_matrices_is_not_conjugated():
    a = RNG.normal(size=(2, 2)) + 1j * RNG.normal(size=(2, 2))
    z = RNG.normal(size=2) + 1j * RNG.normal(size=2)
    np.testing.assert_allclose(wg.linear_transpose(lambda x: a @ x, z)(z)[0], a.T @ z)


def test_several_arguments_jointly_and_captured_values():
    f = lambda x, y: 2 * x + MATRIX.T @ y
    found = wg.linear_transpose(f, np.zeros(3), np.zeros(4))(X)
    np.testing.assert_allclose(found[0], 2 * X)
    np.testing.assert_allclose(found[1], MATRIX @ X)
    scaled = lambda s: np.sum(wg.linear_transpose(lambda x: s * x, X)(X)[0])
    np.testing.assert_allclose(wg.grad(scaled)(3.0), np.sum(X))


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x * x,
        lambda x: np.sum(x * np.ones(3)) * x,
        lambda x: x + 1.0,
        np.sin,
        np.abs,
        np.floor,
        lambda x: wnp.where(x > 0, x, 0.0),
        lambda x: wg.scan(lambda c, t: (c * t, c), x[0], x)[0],
        lambda x: wg.cond(x[0] > 0, lambda v: v, lambda v: 2 * v, x),
    ],
)
def test_what_is_not_linear_is_refused(f):
    with pytest.raises(errors.NotLinearError, match="is not linear") as caught:
        wg.linear_transpose(f, X)
    assert "test_linearize.py" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wg.linearize(np.sin, 1.0)[1](np.ones(2)), errors.ShapeError, r"f64\[2\]"),
        (lambda: wg.linearize(np.sin, 1.0)[1]((1.0,)), errors.TreeMismatchError, "tangents"),
        (lambda: wg.linearize(model, P, X)[1]({"w": X}, X), errors.TreeMismatchError, "unused"),
        (lambda: wg.linear_transpose(lambda x: 2 * x, 1), errors.NotLinearError, "x is i64"),
        (lambda: wg.linear_transpose(lambda x: 2 * x, X)(1.0), errors.ShapeError, "cotangent"),
    ],
)
def test_misuse_is_named(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call()
    assert "test_linearize.py" in str(caught.value)
