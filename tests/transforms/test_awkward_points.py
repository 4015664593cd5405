"""Derivatives where the usual formulas give NaN: kinks, masked branches, norms at 0, powers at 0, ties."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp


def by_define_by_run(f):
    def derivative(x):
        leaf = wg.variable(x)
        f(leaf).backward()
        return np.zeros_like(x) if leaf.grad is None else leaf.grad

    return derivative


def by_forward(f):
    def derivative(x):
        x = np.asarray(x)
        basis = np.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
        return np.array([wg.jvp(f, (x,), (t,))[1] for t in basis]).reshape(x.shape)

    return derivative


MODES = {
    "reverse": wg.grad,
    "forward": by_forward,
    "define by run": by_define_by_run,
    "static": lambda f: lambda x: wg.trace(wg.grad(f), x)(x),
    "static forward": lambda f: lambda x: by_forward(lambda v: wg.trace(f, v)(v))(x),
    "batched": lambda f: lambda x: wg.vmap(wg.grad(f))(np.asarray(x)[None])[0],
    "nested": lambda f: lambda x: wg.jvp(lambda s: s * wg.grad(f)(x), (1.0,), (1.0,))[1],
}

WEIGHTS = np.array([1.0, 2.0, 4.0])
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
relu_like = lambda x: np.maximum(x, 0.0)
CASES = [
    ("masked sqrt", lambda x: np.where(x > 1, np.sqrt(x - 1), x), 1.0, 1.0),
    ("masked sqrt beyond its domain", lambda x: np.where(x > 1, np.sqrt(x - 1), x), 0.5, 1.0),
    ("masked sine of a NaN", lambda x: np.where(x > 1, np.sin(np.sqrt(x - 1)), x), 0.0, 1.0),
    ("masked x log x", lambda x: np.where(x > 0, x * np.log(x), 2 * x), 0.0, 2.0),
    ("masked quotient", lambda x: np.where(x != 0, np.sin(x) / x, 1.0 + x), 0.0, 1.0),
    ("masked power", lambda x: np.where(x > 0, x**0.5, 3 * x), 0.0, 3.0),
    ("masked exp overflow", lambda x: np.where(x < 100, x, np.exp(x * x)), 50.0, 1.0),
    ("norm at 0", lambda x: wnp.linalg.norm(x), np.zeros(3), np.zeros(3)),
    ("norm written out at 0", lambda x: np.sqrt(np.sum(x**2)), np.zeros(3), np.zeros(3)),
    ("norm of products at 0", lambda x: np.sqrt(np.sum(x * x)), np.zeros(3), np.zeros(3)),
    ("hypot at 0", lambda x: np.hypot(x, x), 0.0, 0.0),
    ("standard deviation of equal numbers", lambda x: np.std(x), np.ones(3), np.zeros(3)),
    ("x**0 at 0", lambda x: x**0, 0.0, 0.0),
    ("x**0.0 at 0", lambda x: x**0.0, 0.0, 0.0),
    ("x**1 at 0", lambda x: x**1, 0.0, 1.0),
    ("x**2 at 0", lambda x: x**2, 0.0, 0.0),
    ("x**3 at 0", lambda x: x**3, 0.0, 0.0),
    ("exponent at base 0", lambda y: np.power(0.0, y), 2.0, 0.0),
    ("abs at 0", np.abs, 0.0, 0.0),
    ("relu at 0 shares", relu_like, 0.0, 0.5),
    ("ties of maximum", lambda x: np.sum(np.maximum(x, np.ones(2))), np.ones(2), np.full(2, 0.5)),
    ("ties of max", lambda x: np.max(x), np.array([1.0, 3.0, 3.0, 3.0]), np.array([0, 1, 1, 1]) / 3),
    ("ties of min", lambda x: np.min(x), np.array([1.0, 1.0, 3.0]), np.array([0.5, 0.5, 0.0])),
    ("ties of sort", lambda x: np.sum(np.sort(x) * WEIGHTS), np.array([2.0, 1.0, 1.0]), np.array([4.0, 1.5, 1.5])),
    ("product with one zero", lambda x: np.prod(x), np.array([2.0, 0.0, 3.0]), np.array([0.0, 6.0, 0.0])),
    ("product with two zeros", lambda x: np.prod(x), np.array([0.0, 0.0, 3.0]), np.zeros(3)),
    ("cumprod with a zero", lambda x: np.sum(np.cumprod(x)), np.array([2.0, 0.0, 3.0]), np.array([1.0, 8.0, 0.0])),
    ("clip at the limit", lambda x: np.clip(x, 0.0, 1.0), 1.0, 1.0),
    ("sinc at 0", np.sinc, 0.0, 0.0),
    ("logaddexp of -inf", lambda x: np.logaddexp(x, -np.inf), 1.0, 1.0),
    ("determinant of a singular matrix", lambda a: np.linalg.det(a), SINGULAR, np.array([[4.0, -2.0], [-2.0, 1.0]])),
]  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("f", "x", "wanted"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_first_derivative(mode, f, x, wanted):
    with np.errstate(all="ignore"):  # values on the masked side overflow or leave their domain on purpose
        np.testing.assert_allclose(MODES[mode](f)(x), wanted, rtol=1e-12, atol=1e-12)


SECOND = [
    ("masked sqrt", lambda x: np.where(x > 1, np.sqrt(x - 1), x * x), 1.0, 2.0),
    ("masked x log x", lambda x: np.where(x > 0, x * np.log(x), x * x), 0.0, 2.0),
    ("x**2 at 0", lambda x: x**2, 0.0, 2.0),
    ("x**3 at 0", lambda x: x**3, 0.0, 0.0),
    ("x**1 at 0", lambda x: x**1, 0.0, 0.0),
    ("x**0 at 0", lambda x: x**0, 0.0, 0.0),
    ("x**2.0 by power", lambda x: np.power(x, np.array(2.0)), 0.0, 2.0),
    ("sinc at 0", np.sinc, 0.0, -(np.pi**2) / 3),
    ("linear", lambda x: 3.0 * x, 1.0, 0.0),
]


@pytest.mark.parametrize(("f", "x", "wanted"), [case[1:] for case in SECOND], ids=[case[0] for case in SECOND])
def test_second_derivative(f, x, wanted):
    slope = lambda v: wg.jvp(f, (v,), (1.0,))[1]
    with np.errstate(all="ignore"):
        for second in (
            wg.grad(wg.grad(f))(x),
            wg.jvp(wg.grad(f), (x,), (1.0,))[1],
            wg.grad(slope)(x),
            wg.jvp(slope, (x,), (1.0,))[1],
            wg.trace(wg.grad(wg.grad(f)), x)(x),
            wg.vmap(wg.grad(wg.grad(f)))(np.array([x]))[0],
        ):
            np.testing.assert_allclose(second, wanted, rtol=1e-9, atol=1e-12)


def test_the_setting_gives_strict_products():
    f = lambda x: np.where(x > 1, np.sqrt(x - 1), x)
    with wg.settings(strong_zero=False):
        assert np.isnan(wg.grad(f)(1.0))
        strict = wg.trace(wg.grad(f), 1.0)
    assert np.isnan(strict(1.0))
    assert wg.grad(f)(1.0) == 1.0


def test_true_singularities_stay():
    with np.errstate(all="ignore"):
        assert wg.grad(np.sqrt)(0.0) == np.inf
        assert wg.grad(np.log)(0.0) == np.inf
        assert np.isnan(wg.grad(np.sqrt)(np.nan))
        assert np.isnan(wg.grad(lambda x: x * np.nan)(1.0))
        assert wg.grad(lambda x: x * np.inf)(1.0) == np.inf


def test_what_took_no_part():
    params = {"used": 2.0, "unused": np.ones(3)}
    loss = lambda p: p["used"] ** 2
    eager = wg.grad(loss)(params)
    assert eager["used"] == 4.0 and eager["unused"] is None
    static = wg.trace(wg.grad(loss), params)(params)
    assert static["used"] == 4.0 and np.array_equal(static["unused"], np.zeros(3))
    used, unused = wg.variable(2.0), wg.variable(np.ones(3))
    (used**2).backward()
    assert used.grad == 4.0 and unused.grad is None
    # What was read, but does not matter, has a derivative, and it is 0.
    assert wg.grad(lambda x: x * 0.0 + wg.stop_gradient(x))(3.0) == 0.0
    assert wg.grad(wg.grad(lambda x: 3.0 * x))(2.0) == 0.0


def test_fan_out_and_tied_weights_add_up():
    w = wg.variable(np.array([1.0, 2.0]), name="w")
    y = np.sum(w * w * w) + np.sum(w[::-1] * np.array([3.0, 4.0]))
    y.backward()
    np.testing.assert_allclose(w.grad, 3 * np.array([1.0, 4.0]) + [4.0, 3.0])
    y = np.sum(w * 2.0)
    y.backward()  # gradients add up over calls
    np.testing.assert_allclose(w.grad, 3 * np.array([1.0, 4.0]) + [6.0, 5.0])


def test_broadcast_gradients_are_summed():
    rows, columns = np.random.default_rng(0).normal(size=(2, 3, 1)), np.random.default_rng(1).normal(size=(4,))
    gr, gc = wg.grad(lambda a, b: np.sum((a * b) ** 2), (0, 1))(rows, columns)
    np.testing.assert_allclose(gr, 2 * rows * (columns**2).sum())
    np.testing.assert_allclose(gc, 2 * columns * (rows**2).sum())
    assert gr.shape == rows.shape and gc.shape == columns.shape


def test_complex_gradient_descends():
    target = 1.0 + 2.0j
    loss = lambda z: np.abs(z - target) ** 2
    z = 3.0 - 1.0j
    g = wg.grad(loss)(z)
    np.testing.assert_allclose(g, 2 * (z - target))
    assert loss(z - 0.1 * g) < loss(z)


def test_perturbations_of_nested_derivatives_are_kept_apart():
    f = lambda x: x * wg.grad(lambda y: x + y)(1.0)
    assert wg.grad(f)(2.0) == 1.0
    g = lambda x: x * wg.jvp(lambda y: x * y, (2.0,), (1.0,))[1]
    assert wg.grad(g)(3.0) == 6.0 and wg.jvp(g, (3.0,), (1.0,))[1] == 6.0


@pytest.mark.parametrize("shape", [(0,), (0, 3), (2, 0)])
def test_empty_arrays(shape):
    x = np.zeros(shape)
    f = lambda v: np.sum(np.sin(v) * v)
    assert wg.grad(f)(x).shape == shape
    assert wg.trace(wg.grad(f), x)(x).shape == shape
    assert wg.jvp(f, (x,), (x,))[1] == 0.0


def test_nan_and_infinity_propagate_as_in_numpy():
    x = np.array([np.nan, np.inf, -np.inf, 1.0])
    f = lambda v: v * v + 1.0
    np.testing.assert_array_equal(wg.vjp(f, x)[0], f(x))
    np.testing.assert_array_equal(wg.vjp(f, x)[1](np.ones(4))[0], 2 * x)


def test_trace_from_types_alone():
    vector = wg.ArrayType((3,), np.dtype(np.float32))
    graph = wg.trace(lambda p, k: p["w"] * k, {"w": vector}, wg.ArrayType((), np.dtype(np.int32)))
    assert [var.type for var in graph.inputs] == [vector, wg.ArrayType((), np.dtype(np.int32))]
    np.testing.assert_array_equal(graph({"w": np.ones(3, np.float32)}, np.int32(2)), [2.0, 2.0, 2.0])


def test_writing_into_an_array_after_its_use_does_not_change_the_derivative():
    def f(x):
        weights, total = np.zeros(3), 0.0
        for k in range(3):
            weights[:] = k  # a buffer that a simulation uses again
            total = total + np.sum(weights * np.sin(x))
        return total

    np.testing.assert_allclose(wg.grad(f)(np.zeros(3)), np.full(3, 3.0))
