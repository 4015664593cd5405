"""`checkpoint`: the same derivatives from fewer kept values, under every transform."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import ConcretizationError, WengertError

RNG = numpy.random.default_rng(0)
W = [RNG.normal(size=(12, 12)) / 3 for _ in range(6)]
X = RNG.normal(size=(5, 12))
POLICIES = ["nothing", "products", "plain products", "everything", "dots_saveable", ["h"], {"x", "h"}]


def net(ws, x):
    for w in ws:
        h = x @ w
        x = np.tanh(h)
    return x


def loss(part):
    return lambda ws: np.sum(part(ws[3:], part(ws[:3], X)) ** 2)


def close(found, wanted, rtol=1e-12):
    for a, b in zip(wg.trace(lambda *t: t, found).inputs, wg.trace(lambda *t: t, wanted).inputs, strict=True):
        assert a.type == b.type
    for a, b in zip(found, wanted, strict=True):
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


@pytest.mark.parametrize("policy", [*POLICIES, lambda node: node.primitive.name == "tanh"])
def test_gradients_are_the_same(policy):
    part = wg.checkpoint(net, policy=policy)
    wanted = wg.grad(loss(net))(W)
    close(wg.grad(loss(part))(W), wanted)
    static = wg.trace(wg.grad(loss(part)), W)
    wg.verify(static)
    close(static(W), wanted)
    close(wg.optimize(static)(W), wanted)


@pytest.mark.parametrize("policy", ["nothing", "products"])
def test_compiled(policy):
    part = wg.checkpoint(net, policy=policy)
    close(wg.jit(wg.grad(loss(part)))(W), wg.grad(loss(net))(W), 1e-9)
    close(wg.grad(wg.jit(loss(part)))(W), wg.grad(loss(net))(W), 1e-9)


def kept_by(policy):
    """Operations that the forward part of a checkpoint hands to the backward part."""
    graph = wg.trace(wg.grad(loss(wg.checkpoint(net, policy=policy))), W)
    call = next(node for node in graph.nodes if node.primitive.name == "checkpoint")
    body = call.primitive.body
    return [atom.node.primitive.name for atom in body.outputs[1:] if isinstance(atom, wg.Var) and atom.node is not None]


def test_policies_keep_what_they_say():
    assert kept_by("nothing") == []
    assert set(kept_by("products")) == {"matmul"} == set(kept_by(["h"]))
    assert set(kept_by(lambda node: node.primitive.name == "tanh")) == {"tanh"}
    assert "tanh" in kept_by("everything")


def test_a_checkpoint_keeps_its_operands_only():
    def deep(x):
        for _ in range(50):
            x = np.sin(x)
        return x

    def f(part):
        def run(x):
            for _ in range(8):
                x = part(x)
            return np.sum(x)

        return wg.trace(wg.grad(run), numpy.ones((100, 100)))

    plain, saved = f(deep), f(wg.checkpoint(deep))
    assert saved.memory_report().peak < plain.memory_report().peak / 5


def test_nested_and_higher_order():
    part = wg.checkpoint(net)
    outer = wg.checkpoint(lambda ws, x: part(ws[1:], wg.checkpoint(net, policy="products")(ws[:1], x)))

    def f(ws):
        return np.sum(outer(ws, X) ** 2)

    def plain(ws):
        return np.sum(net(ws, X) ** 2)

    close(wg.grad(f)(W), wg.grad(plain)(W))

    def product(g):
        return wg.jvp(wg.grad(g), (W,), (W,))[1]

    def norm(g):
        return wg.grad(lambda ws: sum(np.sum(d**2) for d in wg.grad(g)(ws)))(W)

    close(product(f), product(plain), 1e-10)
    close(norm(f), norm(plain), 1e-10)
    close(wg.jvp(f, (W,), (W,)), wg.jvp(plain, (W,), (W,)))
    rows = wg.vmap(wg.grad(lambda x: np.sum(outer(W, x))))(X)
    numpy.testing.assert_allclose(rows, wg.vmap(wg.grad(lambda x: np.sum(net(W, x))))(X), rtol=1e-12)


def test_what_is_captured_is_differentiated():
    w = wg.variable(W[0])
    wg.checkpoint(lambda: np.sum(np.tanh(w)))().backward()
    numpy.testing.assert_allclose(w.grad, 1 - numpy.tanh(W[0]) ** 2, rtol=1e-13)

    def f(w):
        return wg.checkpoint(lambda x: np.sum(np.sin(x @ w)))(X)

    numpy.testing.assert_allclose(wg.grad(f)(W[0]), wg.grad(lambda w: np.sum(np.sin(X @ w)))(W[0]), rtol=1e-12)


def test_any_containers_and_plain_arguments():
    @wg.checkpoint
    def f(params, axis, flag=False):
        total = np.sum(params["a"] * params["b"][0], axis=axis)
        return {"out": np.exp(total) if flag else total, "none": None}

    params = {"a": X, "b": (2 * X,)}
    found = wg.grad(lambda p: np.sum(f(p, 1, flag=True)["out"]))(params)
    wanted = wg.grad(lambda p: np.sum(np.exp(np.sum(p["a"] * p["b"][0], axis=1))))(params)
    numpy.testing.assert_allclose(found["a"], wanted["a"], rtol=1e-12)
    numpy.testing.assert_allclose(found["b"][0], wanted["b"][0], rtol=1e-12)
    numpy.testing.assert_array_equal(f(params, 0)["out"], numpy.sum(2 * X**2, 0))


def wayward(x):
    y = x
    while np.sum(y * y) > 1:
        y = y * 0.5
    return np.sum(np.sin(y) if y[0] > 0 else np.cos(y))


def test_python_control_flow_in_eager_runs():
    part = wg.checkpoint(wayward)
    for x in (X[0], -X[0], 0.01 * X[0]):
        numpy.testing.assert_allclose(wg.grad(part)(x), wg.grad(wayward)(x), rtol=1e-13)
        x = wg.variable(x)
        part(x).backward()
        numpy.testing.assert_allclose(x.grad, wg.grad(wayward)(x.numpy()), rtol=1e-13)


def test_python_control_flow_on_traced_values_is_refused():
    with pytest.raises(ConcretizationError):
        wg.trace(wg.checkpoint(wayward), X[0])
    with pytest.raises(ConcretizationError):
        wg.vmap(wg.checkpoint(wayward))(X)


def test_in_loops_and_branches():
    def f(x, part):
        c, ys = wg.scan(lambda c, x: (part(c) * x, np.sum(part(x))), x[0], x)
        d = wg.cond(np.sum(c) > 0, part, lambda v: v, c)
        return np.sum(c) + np.sum(ys) + np.sum(d)

    found = wg.trace(wg.grad(lambda x: f(x, wg.checkpoint(np.sin))), X)(X)
    numpy.testing.assert_allclose(found, wg.grad(lambda x: f(x, np.sin))(X), rtol=1e-12)


def test_bad_policies_and_sizes():
    with pytest.raises(WengertError, match="no policy 'all'"):
        wg.checkpoint(net, policy="all")
    with pytest.raises(WengertError, match="no number of bytes"):
        wg.checkpoint(net, memory="much")
    with pytest.raises(WengertError, match="no number of bytes"):
        wg.checkpoint(net, memory=-1)


# Loops by a schedule -------------------------------------------------------------------------------------------

XS = RNG.normal(size=(53, 4))


def looped(a, xs, wish, reverse):
    c, ys = wg.scan(lambda c, x: (np.tanh(c * a + x), {"y": np.sin(c)}), xs[0], xs, reverse=reverse, checkpoint=wish)
    return np.sum(c) + np.sum(ys["y"] ** 2)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("wish", ["sqrt", "log", 4, 9, 30])
def test_scan_by_a_schedule(wish, reverse):
    def f(wish):
        return wg.value_and_grad(lambda a, xs: looped(a, xs, wish, reverse), (0, 1))

    wanted = f(None)(XS[0], XS)
    for found in (f(wish)(XS[0], XS), wg.trace(f(wish), XS[0], XS)(XS[0], XS)):
        numpy.testing.assert_allclose(found[0], wanted[0], rtol=1e-13)
        close(found[1], wanted[1])


@pytest.mark.parametrize("wish", ["sqrt", "log", 6])
def test_scan_by_a_schedule_compiled_and_batched(wish):
    def f(a, xs):
        return looped(a, xs, wish, False)

    wanted = wg.grad(lambda a: looped(a, XS, None, False))(XS[0])
    numpy.testing.assert_allclose(wg.jit(wg.grad(f))(XS[0], XS), wanted, rtol=1e-10)
    rows = wg.vmap(wg.grad(f), in_axes=(0, None))(XS[:3], XS)
    for row, a in zip(rows, XS, strict=False):
        numpy.testing.assert_allclose(row, wg.grad(lambda a: looped(a, XS, None, False))(a), rtol=1e-12)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_short_scans(length):
    found = wg.grad(
        lambda a: looped(a, np.concatenate([XS[:1], XS[:length]])[1:], "sqrt", False) if length else a[0] * 2
    )(XS[0])
    assert found.shape == (4,)


def test_schedules_need_less_memory():
    xs = RNG.normal(size=(2000, 20))

    def peak(wish):
        def f(c):
            return np.sum(wg.scan(lambda c, x: (np.tanh(c * x), None), c, xs, checkpoint=wish)[0])

        return wg.trace(wg.grad(f), xs[0]).memory_report().peak

    plain = peak(None)
    assert peak("sqrt") < plain / 10
    assert peak("log") < plain / 20
    assert peak(40) < plain / 15


def test_bad_schedules():
    for wish in ("cube", 1, True, 2.5):
        with pytest.raises(WengertError, match="checkpoint="):
            wg.scan(lambda c, x: (c, x), 0.0, XS, checkpoint=wish)
