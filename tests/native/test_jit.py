"""`jit`: composed with every transform, containers, dtypes, strides, bad input, and what it shows of itself."""

from __future__ import annotations

import copy
import functools
import pickle
import subprocess
import sys
import threading

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.primitive import registry
from wengert.native.jit import jit


def close(a, b, rtol=1e-11):
    wg_leaves, other = _leaves(a), _leaves(b)
    assert len(wg_leaves) == len(other)
    for x, y in zip(wg_leaves, other, strict=True):
        numpy.testing.assert_allclose(x, y, rtol=rtol, atol=1e-12)


def _leaves(tree):
    if isinstance(tree, (tuple, list)):
        return [leaf for part in tree for leaf in _leaves(part)]
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in _leaves(tree[key])]
    return [tree]


def rng():
    return numpy.random.default_rng(0)


def loss(p, x):
    return np.mean(np.tanh(x @ p["w"] + p["b"]) ** 2)


def test_composes_with_transforms():
    p = {"w": rng().normal(size=(30, 20)), "b": rng().normal(size=20)}
    x = rng().normal(size=(40, 30))
    wanted = wg.grad(loss)(p, x)
    close(jit(wg.grad(loss))(p, x), wanted)
    close(wg.grad(jit(loss))(p, x), wanted)
    close(jit(wg.grad(jit(loss)))(p, x), wanted)
    each = wg.vmap(wg.grad(loss), in_axes=(None, 0))
    close(jit(each)(p, x[:, None, :]), each(p, x[:, None, :]))
    close(wg.vmap(jit(wg.grad(loss)), in_axes=(None, 0))(p, x[:, None, :]), each(p, x[:, None, :]))
    f = lambda v: np.sum(np.sin(v) * np.roll(v, 1) ** 2)
    v = rng().normal(size=25)
    close(jit(wg.hessian(f))(v), wg.hessian(f)(v), 1e-9)
    close(jit(lambda a, t: wg.jvp(f, (a,), (t,)))(v, v[::-1]), wg.jvp(f, (v,), (v[::-1],)))


def test_containers_and_static_arguments():
    @jit
    def f(pair, *, scale=2.0):
        a, b = pair
        return {"sum": a + b * scale, "list": [a, (b,)]}

    out = f((numpy.arange(3.0), 4), scale=3)
    close(out, {"list": [numpy.arange(3.0), (4,)], "sum": numpy.arange(3.0) + 12})

    @jit
    def same(a):
        return a, a

    first, second = same(numpy.arange(40.0))
    first[0] = 9
    assert second[0] == 0

    @lambda fn: jit(fn, static_argnames=("n", "how"))
    def power(x, n, how="up"):
        return x**n if how == "up" else x**-n

    close(power(numpy.array([1.0, 2.0]), 3), numpy.array([1, 8]))
    close(power(numpy.array([1.0, 2.0]), n=2, how="down"), numpy.array([1, 0.25]))
    with pytest.raises(wg.errors.StaticArgumentError, match="'y'"):
        jit(lambda x: x, static_argnames="y")
    with pytest.raises(wg.errors.StaticArgumentError, match="n is of type list"):
        power(numpy.ones(2), [2])
    with pytest.raises(wg.errors.StaticArgumentError, match="ndarray"):
        power(numpy.ones(2), numpy.ones(2))
    with pytest.raises(TypeError, match="missing"):
        power(numpy.ones(2))


def test_python_numbers_are_weak():
    f = jit(lambda x, a: x * a)
    assert f(numpy.ones(3, numpy.float32), 2.0).dtype == numpy.float32
    assert f(numpy.ones(3, numpy.float32), numpy.float64(2)).dtype == numpy.float64
    count = len(f._known)
    f(numpy.ones(3, numpy.float32), 7.5)
    assert len(f._known) == count
    assert f(2, 3) == 6


def test_strides_and_byte_order():
    f = jit(lambda x: np.sum(x * np.arange(4.0), axis=1))
    x = rng().normal(size=(6, 8))
    close(f(x[:, ::2]), f(x[:, ::2].copy()))
    close(f(x.T[:4].T), f(x.T[:4].T.copy()))
    close(f(x[::-1, :4]), f(x[::-1, :4].copy()))
    close(f(numpy.broadcast_to(x[0, :4], (5, 4))), f(numpy.tile(x[0, :4], (5, 1))))
    close(f(x[:, :4].astype(">f8")), f(x[:, :4].copy()))
    packed = numpy.zeros(6, [("a", "i1"), ("x", "f8", 4)])
    packed["x"] = x[:, :4]
    close(f(packed["x"]), f(x[:, :4].copy()))


def test_bad_input():
    f = jit(lambda x, i: x[i] * 2)
    x = numpy.arange(30.0)
    for bad in (30, -31, numpy.array([0, 99])):
        with pytest.raises(wg.errors.IndexOutOfBoundsError) as caught:
            f(x, bad)
        assert caught.value.source is not None
        assert caught.value.source.file == __file__
    close(f(x, -30), 0)
    with pytest.raises(wg.errors.DtypeError):
        f(numpy.array(["a"]), 0)
    with pytest.raises(wg.errors.ShapeError):
        jit(lambda a, b: a + b)(numpy.ones(3), numpy.ones(4))
    with pytest.raises(wg.errors.ConcretizationError):
        jit(lambda a: a if a > 0 else -a)(1.0)
    with pytest.raises(TypeError):
        f(x)
    scatter = jit(lambda a, i: wg.grad(lambda v: np.sum(v[i] ** 2))(a))
    with pytest.raises(IndexError):
        scatter(x, numpy.array([3, 40]))
    close(scatter(x, numpy.array([3, 3, -1])), wg.grad(lambda v: np.sum(v[numpy.array([3, 3, -1])] ** 2))(x))
    chosen = jit(lambda k, v: wg.switch(k, [np.sin, np.cos], v))
    close(chosen(1, 0.5), numpy.cos(0.5))
    with pytest.raises(IndexError):
        chosen(2, 0.5)


def test_error_in_callback(monkeypatch):
    cbrt = registry["cbrt"]
    original = cbrt.numpy

    def fails_below_zero(x):
        if (numpy.asarray(x) < 0).any():
            raise ValueError("below zero")
        return original(x)

    monkeypatch.setattr(cbrt, "lowering", None)
    monkeypatch.setattr(cbrt, "numpy", fails_below_zero)
    f = jit(lambda a: np.cbrt(a).sum() + 1)
    assert f.lower(numpy.ones(3)).callbacks == ["cbrt"]
    for _ in range(2):
        close(f(numpy.ones(3)), 4)
        with pytest.raises(ValueError, match="below zero"):
            f(-numpy.ones(3))


def test_complex_numbers_are_compiled():
    f = lambda z: np.sum(np.abs(np.exp(1j * z) * (1 + z)) ** 2)
    z = rng().normal(size=20)
    close(jit(f)(z), f(z))
    close(jit(wg.grad(f))(z), wg.grad(f)(z))
    close(jit(lambda a: a * 2j)(z + 1j), (z + 1j) * 2j)
    assert jit(wg.grad(f)).lower(z).callbacks == []


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.float64, numpy.int64, numpy.int8, numpy.uint16, numpy.bool_])
def test_dtypes(dtype):
    x = (rng().integers(0, 3, (5, 7))).astype(dtype)

    def f(x):
        return x + x, x * x, np.sum(x, axis=0), np.max(x, axis=1), x > 1, np.where(x > 1, x, 0), np.exp(x * 1.0)

    for a, b in zip(jit(f)(x), f(x), strict=True):
        assert a.dtype == b.dtype
        numpy.testing.assert_allclose(a, b, rtol=1e-6)


def test_zero_sizes():
    def f(x):
        return np.sum(x, axis=0), np.exp(x), x @ x.T, np.concatenate([x, x + 1]), np.sum(x), np.reshape(x, (3, 0, 1))

    for a, b in zip(jit(f)(numpy.zeros((0, 3))), f(numpy.zeros((0, 3))), strict=True):
        assert numpy.shape(a) == numpy.shape(b)
        numpy.testing.assert_array_equal(a, b)


def test_larger_products():
    for shapes in [
        ((50, 60), (60, 70)),
        ((7, 50, 60), (60, 70)),
        ((50, 60), (60,)),
        ((60,), (60, 70)),
        ((4, 1, 20, 30), (3, 30, 20)),
        ((3000,), (3000,)),
    ]:
        for dtype, rtol in ((numpy.float64, 1e-11), (numpy.float32, 2e-3)):
            a, b = (rng().normal(size=s).astype(dtype) for s in shapes)
            close(jit(lambda a, b: a @ b)(a, b), a @ b, rtol)
    a, b = rng().normal(size=(60, 50)), rng().normal(size=(70, 60))
    close(jit(lambda a, b: a.T @ b.T)(a, b), a.T @ b.T)
    close(jit(lambda a, b: (a.T[3:40:2] * 2) @ b.T[:, ::3])(a, b), (a.T[3:40:2] * 2) @ b.T[:, ::3])
    close(jit(lambda a, b: a[:, 1:41].T @ b[5:, :].T)(a, b), a[:, 1:41].T @ b[5:, :].T)


def test_shows_itself():
    low = jit(lambda x: np.sum(np.exp(x))).lower(numpy.ones(100))
    assert "for %" in low.loops
    assert "define i64 @run" in low.llvm
    assert "run" in low.assembly
    assert low.callbacks == []
    assert [node.primitive.name for node in low.graph.nodes] == ["exp", "sum"]


def test_threads():
    f = jit(lambda x: np.sum(np.sin(x[:, None] * x) @ x))
    xs = [rng().normal(size=60) + k for k in range(8)]
    wanted = [f(x) for x in xs]
    found = [[] for _ in xs]

    def work(k):
        for _ in range(20):
            found[k].append(f(xs[k]))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(value == w for values, w in zip(found, wanted, strict=True) for value in values)


def test_llvmlite_is_imported_late():
    code = "import sys, wengert, wengert.native.jit; assert 'llvmlite' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_assigned_value_with_leading_axes_of_length_one():
    def f(x, v):
        y = x * 1.0
        y[2:] = v[None]
        return y

    x, v = np.arange(5.0), np.array([7.0])
    np.testing.assert_array_equal(wg.jit(f)(x, v), f(wg.constant(x), v).numpy())


@jit
def found_by_name(x):
    return x * 2


class WithMethod:
    @jit(static_argnames="self")
    def twice(self, x):
        return x * 2


def test_copies_and_pickles():
    f = jit(numpy.sin, static_argnames=())
    assert copy.copy(f) is copy.deepcopy({"f": f})["f"] is f
    assert pickle.loads(pickle.dumps(found_by_name)) is found_by_name
    assert pickle.loads(pickle.dumps(WithMethod.twice)) is WithMethod.twice
    close(WithMethod().twice(numpy.ones(2)), numpy.full(2, 2.0))
    again = pickle.loads(pickle.dumps(f))
    close(again(1.0), numpy.sin(1.0))
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(jit(lambda x: x))


def test_other_callables():
    class Scale:
        def __call__(self, x):
            return x * 3

    close(jit(Scale())(2.0), 6)
    close(jit(functools.partial(lambda a, x: a * x, 4.0))(2.0), 8)
    close(jit(numpy.sum)(numpy.ones(3)), 3)
    bound = numpy.linspace(0, 1, 4)
    close(jit(lambda x: x + bound)(bound), 2 * bound)


@pytest.mark.parametrize("transform", [wg.jit, wg.vmap])
def test_what_is_no_function_is_refused_at_once(transform):
    with pytest.raises(TypeError, match=r"a function, not 3\.0"):
        transform(3.0)
