"""Jacobians in both modes, Hessians and their products with vectors: against differences, each other, any container."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors

RNG = np.random.default_rng(3)
POINT = ({"w": RNG.normal(size=(2, 3)), "b": RNG.normal(size=2)}, RNG.normal(size=3))


def model(p, x):
    hidden = np.tanh(p["w"] @ x + p["b"])
    return {"hidden": hidden, "parts": (np.sum(hidden * x[:2]), np.outer(x, hidden))}


def loss(p, x):
    return np.sum(np.sin(p["w"] @ x) * p["b"]) + np.sum(x**3)


def differences(f, x, step=1e-6):
    """(*out, *in), by central differences."""
    x = np.asarray(x, float)
    columns = []
    for k in range(x.size):
        e = np.zeros(x.size)
        e[k] = step
        e = e.reshape(x.shape)
        columns.append((np.asarray(f(x + e)) - np.asarray(f(x - e))) / (2 * step))
    return np.stack(columns, -1).reshape((*np.shape(f(x)), *x.shape))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("compiled", [False, True])
def test_modes_agree_with_differences_in_any_container(mode, compiled):
    p, x = POINT
    f = wg.jacobian(model, (0, 1), mode)
    found = (wg.jit(f) if compiled else f)(p, x)
    for pick in (lambda t: t["hidden"], lambda t: t["parts"][0], lambda t: t["parts"][1]):
        by_p, by_x = pick(found)
        np.testing.assert_allclose(by_x, differences(lambda v, pick=pick: pick(model(p, v)), x), atol=1e-8)
        for key in p:
            wanted = differences(lambda v, key=key, pick=pick: pick(model({**p, key: v}, x)), p[key])
            np.testing.assert_allclose(by_p[key], wanted, atol=1e-8)
    alone = wg.jacobian(model, -1, mode)(p, x)
    np.testing.assert_allclose(alone["hidden"], found["hidden"][1], rtol=1e-12, atol=1e-14)


def lanes(f, x):
    """How many columns or rows the graph of a Jacobian carries along."""
    graph = wg.trace(wg.jacobian(f), x)
    work = [n for n in graph.nodes if "rearranging" not in n.primitive.facts]
    return {n.outputs[0].shape[0] for n in work if len(n.outputs[0].shape) == 2}


def test_the_shapes_choose_the_mode():
    tall, wide = RNG.normal(size=(7, 2)), RNG.normal(size=(2, 7))
    assert lanes(lambda x: np.tanh(tall @ x), np.ones(2)) == {2}
    assert lanes(lambda x: np.tanh(wide @ x), np.ones(7)) == {2}
    assert lanes(lambda x: np.tanh(np.ones((5, 5)) @ x), np.ones(5)) == {5}


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_aux_scalars_complex_and_empty(mode):
    j, aux = wg.jacobian(lambda x: (x * x, {"n": 3, "x": x}), mode=mode, has_aux=True)(np.array([1.0, 2.0]))
    np.testing.assert_allclose(j, np.diag([2.0, 4.0]))
    assert aux["n"] == 3 and aux["x"].tolist() == [1.0, 2.0]
    np.testing.assert_allclose(wg.jacobian(np.sin, mode=mode)(0.3), np.cos(0.3))
    z = np.array([1 + 2j, 0.5 - 1j])
    np.testing.assert_allclose(wg.jacobian(lambda z: z**2, mode=mode)(z), np.diag(2 * z), atol=1e-14)
    assert wg.jacobian(lambda x: x * 2, mode=mode)(np.zeros(0)).shape == (0, 0)
    single = wg.jacobian(lambda x: x * x, mode=mode)(np.ones(2, np.float32))
    assert single.dtype == np.float32


def test_jacobians_of_jacobians_and_of_loops():
    f = lambda x: wg.scan(lambda c, t: (np.sin(c) * t + x, c), x, np.arange(3.0))[1] ** 2
    x = np.array([0.3, -0.5])
    np.testing.assert_allclose(wg.jacobian(f)(x), differences(f, x), atol=1e-8)
    second = wg.jacobian(wg.jacobian(f, mode="forward"), mode="reverse")(x)
    np.testing.assert_allclose(second, differences(wg.jacobian(f), x), atol=1e-7)
    np.testing.assert_allclose(wg.jit(wg.jacobian(wg.jacobian(f)))(x), second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("compiled", [False, True])
def test_hessians_of_containers(compiled):
    p, x = POINT
    f = wg.hessian(loss, (0, 1))
    h = (wg.jit(f) if compiled else f)(p, x)
    for key in p:
        g = lambda v, key=key: wg.grad(loss, 1)({**p, key: v}, x)
        np.testing.assert_allclose(h[1][0][key], differences(g, p[key]), atol=1e-7)
        np.testing.assert_allclose(np.moveaxis(h[0][key][1], -1, 0), h[1][0][key], atol=1e-12)
    np.testing.assert_allclose(h[0]["b"][0]["b"], np.zeros((2, 2)), atol=1e-14)
    np.testing.assert_allclose(h[1][1], differences(lambda v: wg.grad(loss, 1)(p, v), x), atol=1e-7)


def test_a_leaf_that_takes_no_part_has_zeros_in_a_hessian():
    h = wg.hessian(lambda p: np.sum(p["a"] ** 3))({"a": np.array([1.0, 2.0]), "b": np.ones(3)})
    np.testing.assert_allclose(h["a"]["a"], np.diag([6.0, 12.0]))
    assert not h["b"]["b"].any() and h["b"]["b"].shape == (3, 3) and h["a"]["b"].shape == (2, 3)
    v = {"a": np.ones(2), "b": np.ones(3)}
    product = wg.hvp(lambda p: np.sum(p["a"] ** 3), ({"a": np.array([1.0, 2.0]), "b": np.ones(3)},), (v,))
    assert product["a"].tolist() == [6.0, 12.0] and product["b"].tolist() == [0.0] * 3


def test_hvp_is_the_hessian_times_the_vector():
    p, x = POINT
    h = wg.hessian(loss, 1)(p, x)
    v = RNG.normal(size=3)
    f = lambda x, p: loss(p, x)
    zero = {"w": np.zeros((2, 3)), "b": np.zeros(2)}
    for product in (wg.hvp, lambda f, x, v: wg.jit(lambda x, v: wg.hvp(f, x, v))(x, v)):
        np.testing.assert_allclose(product(f, (x, p), (v, zero)), h @ v, rtol=1e-10)
        np.testing.assert_allclose(product(f, (x, p), (v,)), h @ v, rtol=1e-10)


def test_hvp_does_a_small_multiple_of_the_work_of_the_gradient():
    """Counted in the large products of the graphs, which is where the time goes: five for three and their changes."""
    weights = [RNG.normal(size=(64, 64)) for _ in range(3)]

    def network(x):
        for w in weights:
            x = np.tanh(w @ x)
        return np.sum(x)

    x = RNG.normal(size=64)
    products = lambda f, *args: sum(n.primitive.name == "matmul" for n in wg.optimize(wg.trace(f, *args)).all_nodes())
    gradient = products(wg.grad(network), x)
    assert gradient == 6
    assert products(lambda x, v: wg.hvp(network, (x,), (v,)), x, x) <= 2 * gradient


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wg.jacobian(np.sin)(3), errors.IntegerInputError, "i64"),
        (lambda: wg.jacobian(lambda p: p["a"])({"a": 1.0, "n": 2}), errors.IntegerInputError, r"\['n'\]"),
        (lambda: wg.jacobian(np.sin, mode="backward")(3.0), errors.NonScalarOutputError, "backward"),
        (lambda: wg.jacobian(np.sin, 1)(3.0), errors.IntegerInputError, "argument 1"),
        (lambda: wg.hessian(np.sin)(np.ones(2)), errors.NonScalarOutputError, r"f64\[2\]"),
        (lambda: wg.hessian(lambda x: (x, x))(1.0), errors.NonScalarOutputError, "one real number"),
        (lambda: wg.hessian(np.sin)(3), errors.IntegerInputError, "hessian"),
        (lambda: wg.hvp(np.sum, np.ones(2), np.ones(2)), errors.TreeMismatchError, "tuples"),
        (lambda: wg.jvp(np.sum, np.ones(2), np.ones(2)), errors.TreeMismatchError, "tuples"),
        (lambda: wg.hvp(np.sum, (np.ones(2),), (np.ones(3),)), errors.ShapeError, r"f64\[3\]"),
        (lambda: wg.hvp(np.sin, (np.ones(2),), (np.ones(2),)), errors.NonScalarOutputError, "hvp"),
    ],
)
def test_misuse_is_named(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call()
    assert "test_jacobian.py" in str(caught.value)
