"""Compiled functions inside other transforms and inside each other: derivatives and batches are compiled as well."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.native import calls
from wengert.native.calls import Flat, NativeCall

X = numpy.linspace(-1, 2, 12)
W = numpy.random.default_rng(0).normal(size=(4, 12)) / 12


def loss(w, x):
    return np.sum(np.tanh(w @ x) ** 2) + np.sum(np.exp(-x * x))


def ran(monkeypatch):
    """The graphs that ran as machine code, in order."""
    graphs = []
    run = Flat.__call__

    def counted(self, *values):
        graphs.append(self.lowered.traced)
        return run(self, *values)

    monkeypatch.setattr(calls, "compiled", lambda graph: lambda *values: counted(Flat(graph), *values))
    return graphs


def test_the_gradient_of_a_compiled_function_is_compiled(monkeypatch):
    graphs = ran(monkeypatch)
    f = wg.jit(loss)
    _, pullback = wg.vjp(f, W, X)
    numpy.testing.assert_allclose(pullback(1.0)[0], wg.grad(loss)(W, X), rtol=1e-12)
    assert len(graphs) == 2  # forward part, backward part
    assert all(len(graph.nodes) > 3 for graph in graphs)
    graphs.clear()
    _, tangent = wg.jvp(f, (W, X), (W, X))
    numpy.testing.assert_allclose(tangent, wg.jvp(loss, (W, X), (W, X))[1], rtol=1e-12)
    assert len(graphs) == 1
    graphs.clear()
    batch = numpy.stack([X, X + 1, X * 2])
    found = wg.vmap(lambda w, x: f(w, x), in_axes=(None, 0))(W, batch)
    numpy.testing.assert_allclose(found, [loss(W, x) for x in batch], rtol=1e-12)
    assert len(graphs) == 1


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: wg.grad(f, argnums=(0, 1))(W, X),
        lambda f: wg.value_and_grad(f, argnums=1)(W, X),
        lambda f: wg.jit(wg.grad(f))(W, X),
        lambda f: wg.hessian(lambda x: f(W, x))(X),
        lambda f: wg.jacobian(wg.grad(lambda x: f(W, x)))(X),
        lambda f: wg.vmap(wg.grad(f, argnums=1), in_axes=(None, 0))(W, numpy.stack([X, X + 1])),
        lambda f: wg.grad(lambda x: np.sum(wg.vmap(f, in_axes=(None, 0))(W, x[None] * np.arange(3.0)[:, None])))(X),
        lambda f: wg.jvp(wg.grad(f), (W, X), (W, X)),
        lambda f: wg.grad(wg.jit(lambda w, x: f(w, x) ** 2 + f(w, x * 2)))(W, X),
        lambda f: wg.jit(wg.vmap(wg.grad(wg.jit(f), argnums=1), in_axes=(None, 0)))(W, numpy.stack([X, X + 1])),
        lambda f: wg.vjp(f, W, X)[1](2.0),
        lambda f: wg.scan(lambda c, x: (c + f(W, X * x), f(W, X + c * 1e-2)), 0.0, numpy.arange(3.0)),
        lambda f: wg.grad(lambda x: wg.scan(lambda c, k: (c + f(W, x * k), c), 0.0, numpy.arange(3.0))[0])(X),
        lambda f: wg.cond(True, lambda x: f(W, x), lambda x: 0.0, X),
    ],
)
def test_composes(transform):
    for a, b in zip(leaves(transform(wg.jit(loss))), leaves(transform(loss)), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)


def leaves(tree):
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, (tuple, list)) else [tree]


def test_gradients_and_batches_are_compiled_functions():
    f = wg.jit(loss)
    for transform in (wg.grad, wg.value_and_grad, lambda f: wg.vmap(f, in_axes=(None, 0))):
        made = transform(f)
        assert type(made) is type(f)
        assert transform(f) is made
        assert made is not f
    assert wg.grad(f) is not wg.grad(f, argnums=1)
    assert wg.grad(f).lower(W, X).callbacks == []
    with pytest.raises(wg.errors.IntegerInputError):
        wg.grad(wg.jit(lambda x: x * 1.0))(3)
    with pytest.raises(wg.errors.NonScalarOutputError):
        wg.grad(wg.jit(lambda x: x * 1.0))(X)
    g = wg.grad(wg.jit(lambda x, n, scale=2.0: scale * np.sum(x**n), static_argnames="n"))
    numpy.testing.assert_allclose(g(X, 3), 6 * X**2)
    numpy.testing.assert_allclose(g(X, n=2, scale=1.0), 2 * X)
    gradient, aux = wg.grad(wg.jit(lambda x: (np.sum(x**2), {"y": x[0]})), has_aux=True)(X)
    numpy.testing.assert_allclose(gradient, 2 * X)
    assert aux["y"] == X[0]
    assert wg.grad(wg.jit(lambda x, y: x * 2), argnums=[0, 1])(1.0, 5.0) == (2.0, 0.0)
    assert wg.grad(wg.jit(lambda x: x * x if x > 0 else x, branches=True))(-3.0) == 1


def test_containers_and_weak_numbers_through_a_gradient():
    f = wg.jit(lambda p, a, *, k=2: {"y": np.sum(p["w"] * a) * k, "rest": [p["w"]]})
    p = {"w": X}
    for a in (2.0, 3):
        g = wg.grad(lambda p, a: f(p, a, k=3)["y"])(p, a)
        numpy.testing.assert_allclose(g["w"], numpy.full(12, 3.0 * a))
    assert wg.grad(lambda a: f(p, a)["y"])(2.0) == pytest.approx(2 * X.sum())
    single = wg.jit(lambda x, a: x * a)
    y = wg.vmap(lambda x: single(x, 2.0))(numpy.ones(3, numpy.float32))
    assert y.dtype == numpy.float32


def test_define_by_run():
    f = wg.jit(lambda x: np.sum(np.sin(x)))
    x = wg.variable(X, name="x")
    y = f(x) * 2
    y.backward()
    numpy.testing.assert_allclose(x.grad, 2 * numpy.cos(X))
    text = str(wg.graph(y))
    assert "jit(" in text
    assert "sin" in text


def test_values_captured_from_a_transform_around():
    def outer(w):
        inner = wg.jit(lambda x: np.sum(x * w**2))
        return inner(X) + inner(X + 1)

    numpy.testing.assert_allclose(wg.grad(outer)(X), 2 * X * (2 * X + 1))
    numpy.testing.assert_allclose(wg.jit(wg.grad(outer))(X), 2 * X * (2 * X + 1))
    numpy.testing.assert_allclose(wg.vmap(outer)(numpy.stack([X, X * 2]))[1], outer(X * 2))
    kept = []

    @wg.jit
    def scaled(x):
        return x * kept[-1]

    def through(w):
        kept.append(w)
        return np.sum(scaled(X))

    for k in (1.0, 2.0, 3.0):  # another w every time: nothing of the last call may be left
        numpy.testing.assert_allclose(wg.grad(through)(X * k), X)


def test_errors_and_integers():
    f = wg.jit(lambda x, i: np.sum(x[i] ** 2))
    g = wg.grad(f)
    i = numpy.array([0, 0, 3])
    numpy.testing.assert_allclose(g(X, i), wg.grad(lambda x: np.sum(x[i] ** 2))(X))
    with pytest.raises(wg.errors.IndexOutOfBoundsError) as caught:
        g(X, numpy.array([0, 99]))
    assert caught.value.source.text.startswith("f = wg.jit(")
    with pytest.raises(wg.errors.ConcretizationError):
        wg.grad(wg.jit(lambda x: x if x > 0 else -x))(1.0)


def test_while_loops_inside():
    def root(a):
        return wg.while_loop(lambda x: np.abs(x * x - a) > 1e-13, lambda x: (x + a / x) / 2, a)

    assert wg.grad(wg.jit(root))(4.0) == pytest.approx(0.25)
    assert wg.jit(wg.grad(wg.jit(root)))(4.0) == pytest.approx(0.25)
    numpy.testing.assert_allclose(wg.vmap(wg.jit(root))(numpy.array([4.0, 9.0])), [2, 3])


def test_as_python_and_verify():
    f = wg.jit(lambda x: np.sum(np.sin(x)))
    graph = wg.trace(lambda x: f(x) + f(x * 2), X)
    wg.verify(graph)
    assert [node.primitive.name for node in graph.nodes].count("jit") == 2
    assert all(node.primitive.__class__ is NativeCall for node in graph.nodes if node.primitive.name == "jit")
    scope = {}
    exec(graph.as_python("total"), scope)
    numpy.testing.assert_allclose(scope["total"](X), numpy.sin(X).sum() + numpy.sin(2 * X).sum())
    assert "jit" not in [node.primitive.name for node in wg.optimize(graph).nodes]
