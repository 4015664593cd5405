"""Native calls: the same results and errors as calls through Python, for whatever a caller may pass."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict, namedtuple
from types import SimpleNamespace

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.primitive import registry
from wengert.native import entry
from wengert.native.jit import Jitted

X = numpy.linspace(-1, 2, 7)
needs_native = pytest.mark.skipif(not entry.available, reason="objects are laid out otherwise in this interpreter")


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif a is not None:
        assert a.dtype == b.dtype
        numpy.testing.assert_array_equal(a, b)


@pytest.fixture
def by_python(monkeypatch):
    """How often a call came by Python."""
    count = SimpleNamespace(calls=0)
    find = Jitted._find

    def counted(self, args, kwargs):
        count.calls += 1
        return find(self, args, kwargs)

    monkeypatch.setattr(Jitted, "_find", counted)
    return count


CONTAINERS = {
    "one": (lambda x: x * 2, (numpy.arange(3.0),), {}),
    "two": (lambda x, y: (x + y, x * y), (numpy.arange(3.0), numpy.ones(3)), {}),
    "numbers": (lambda x, a, k, b, z: (x * a + k, z * 1, x[b * 1]), (numpy.arange(3.0), 1.5, 3, True, 2j), {}),
    "scalars": (lambda a, b: (a + b, a), (numpy.float32(3), numpy.int8(4)), {}),
    "zero-dimensional": (lambda a: (a + 1, [a]), (numpy.array(3.0),), {}),
    "keywords": (lambda x, *, scale, shift: x * scale - shift, (numpy.arange(3.0),), {"shift": 2.0, "scale": 3}),
    "dictionary": (
        lambda p, x: {"out": x @ p["w"] + p["b"], "again": [p]},
        ({"w": numpy.eye(3), "b": numpy.ones(3)}, numpy.arange(3.0)),
        {},
    ),
    "nested": (
        lambda tree: [tree["b"], {"y": (tree["a"][0] * 2, None), "x": []}, ()],
        ({"a": [numpy.ones(2), (numpy.zeros(3), None)], "b": {}},),
        {},
    ),
    "complex": (lambda z: (z * 1j, numpy.conj(z)), (numpy.arange(3) + 1j,), {}),
    "empty": (lambda x: (x + 1, np.sum(x)), (numpy.zeros((0, 3)),), {}),
    "integers": (lambda i, x: (i + 1, x[i]), (numpy.array([2, 0]), numpy.arange(5.0)), {}),
    "booleans": (lambda m, x: (~m, np.where(m, x, 0)), (numpy.array([True, False]), numpy.arange(2.0)), {}),
    "float32": (lambda x: (x + 1, np.sum(x)), (numpy.ones((2, 2), numpy.float32),), {}),
    "constant": (lambda x: (3.0, np.zeros(2), x), (numpy.ones(2),), {}),
    "same twice": (lambda x: (x, x), (numpy.ones(2),), {}),
    "inner order": (lambda p: p["b"] - p["a"], ({"b": numpy.ones(2), "a": numpy.zeros(2)},), {}),
}


@needs_native
@pytest.mark.parametrize("name", CONTAINERS)
def test_results_are_those_of_python_calls(name, by_python):
    fn, args, kwargs = CONTAINERS[name]
    f = wg.jit(fn)
    first = f(*args, **kwargs)
    assert by_python.calls == 1
    for _ in range(3):
        same(f(*args, **kwargs), first)
    assert by_python.calls == 1, "a call of the same form came by Python"


@needs_native
@pytest.mark.parametrize(
    "fn, args",
    [
        (lambda p: p.x + p.y, (namedtuple("Pair", "x y")(numpy.ones(2), 2.0),)),
        (lambda p: p["a"] * 2, (OrderedDict(a=numpy.ones(2)),)),
        (lambda p: {3: p[1] * 2, 1: p[3]}, ({3: numpy.ones(2), 1: numpy.zeros(2)},)),
        (lambda x: OrderedDict(b=x, a=x), (numpy.ones(2),)),
        (lambda x: np.sum(x), (numpy.ones(2).view(numpy.memmap),)),
    ],
)
def test_other_containers_come_by_python(fn, args, by_python):
    f = wg.jit(fn)
    first = f(*args)
    same(f(*args), first)
    assert by_python.calls == 2


def test_other_types_after_a_record():
    f = wg.jit(lambda x, y: x * y)
    x = numpy.arange(3.0)
    f(x, x)
    same(f(x, numpy.float32(2)), x * numpy.float32(2))
    same(f(x, 2), x * 2)
    same(f(x, 2**40), x * 2**40)
    same(f(x.astype(numpy.float32), 2.0), x.astype(numpy.float32) * 2.0)
    same(f(numpy.arange(4.0), numpy.arange(4.0)), numpy.arange(4.0) ** 2)
    same(f(x.reshape(3, 1), x), x.reshape(3, 1) * x)
    same(f(x.astype(">f8"), x), x * x)
    same(f(numpy.arange(6.0)[::2], x), numpy.arange(6.0)[::2] * x)
    same(f(numpy.frombuffer(b"\0" + x.tobytes(), numpy.uint8)[1:].view(float), x), x * x)
    same(f(x, numpy.array(2.0)), x * numpy.array(2.0))
    same(f(x, numpy.float64(2.0)), x * 2.0)
    same(f(x, True), x * True)
    for wrong in ((), (x,), (x, x, x)):
        with pytest.raises(TypeError):
            f(*wrong)
    with pytest.raises(TypeError):
        f(x, z=x)
    with pytest.raises(wg.errors.DtypeError):
        f(x, "a")
    with pytest.raises(wg.errors.DtypeError):
        f(x, object())
    same(f(x, y=x), x * x)
    same(f(y=x, x=x + 1), x * (x + 1))
    same(f(x=x + 1, y=x), x * (x + 1))
    same(f(x, x), x * x)


def test_integers_beyond_64_bits():
    f = wg.jit(lambda x: x + 1)
    assert f(4) == f(5) - 1 == 5
    with pytest.raises(OverflowError):
        f(2**70)
    assert f(4) == 5


def test_other_containers_after_a_record():
    f = wg.jit(lambda p: p["a"] + 1)
    x = numpy.ones(2)
    for _ in range(2):
        same(f({"a": x}), x + 1)
        same(f({"a": x, "b": x}), x + 1)
        with pytest.raises(KeyError):
            f({"b": x})
        with pytest.raises((TypeError, KeyError, IndexError)):
            f([x])


@needs_native
def test_python_numbers_need_no_new_program(by_python):
    f = wg.jit(lambda x, a: x * a)
    x = numpy.ones(3, numpy.float32)
    for a in (1.0, 2.5, -1e300, numpy.pi):
        assert f(x, a).dtype == numpy.float32
    assert len(f._known) == 1
    assert by_python.calls == 1


@needs_native
def test_static_arguments(by_python):
    f = wg.jit(lambda x, n=2, how="up": x**n if how == "up" else x**-n, static_argnames=("n", "how"))
    x = numpy.array([1.0, 2.0])
    for _ in range(2):
        same(f(x, 3), x**3)
        same(f(x, n=3), x**3)
        same(f(x, 2, how="down"), x**-2)
        same(f(how="down", x=x), x**-2)
        same(f(x), x**2)
    assert by_python.calls == 5
    same(f(x, how="".join(["do", "wn"])), x**-2.0)  # equal, not the same object
    ones = numpy.ones(2)
    g = wg.jit(lambda x, scale=ones, n=1: x * scale * n, static_argnames="n")
    same(g(x), g(x))


def test_errors_in_native_calls():
    f = wg.jit(lambda x, i: (x[i], x * 2))
    x = numpy.arange(30.0)
    f(x, 3)
    for _ in range(3):
        with pytest.raises(wg.errors.IndexOutOfBoundsError, match="index 40") as caught:
            f(x, 40)
        assert caught.value.source.file == __file__
        same(f(x, -1), (x[-1], x * 2))
    g = wg.jit(lambda a: np.linalg.inv(a))
    numpy.testing.assert_allclose(g(numpy.eye(3)), numpy.eye(3))
    for _ in range(2):
        with pytest.raises(numpy.linalg.LinAlgError):
            g(numpy.zeros((3, 3)))
        numpy.testing.assert_allclose(g(numpy.eye(3)), numpy.eye(3))


@needs_native
def test_references_are_balanced():
    f = wg.jit(lambda p, a: {"y": (p["x"] * a, None), "s": np.sum(p["x"])})
    long = wg.jit(lambda p, a: np.sum(np.sin(p["x"])) * a)
    bad = wg.jit(lambda x, i: (x[i], x * 2))
    x, p = numpy.arange(5.0), {"x": numpy.arange(5.0)}
    big = {"x": numpy.ones(100_000)}
    watched = [x, p, p["x"], big, big["x"], None, numpy.dtype(float), "y", "x", True, float, 2.5]

    def calls(n):
        for _ in range(n):
            f(p, 2.5)
            long(big, 2.5)
            with pytest.raises(IndexError):
                bad(x, 99)
            bad(x, 1)

    calls(3)
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    objects = len(gc.get_objects())
    calls(50)
    gc.collect()
    after = [sys.getrefcount(thing) for thing in watched]
    assert max(b - a for a, b in zip(before, after, strict=True)) < 20
    assert len(gc.get_objects()) - objects < 40


@needs_native
def test_results_are_new_arrays():
    f = wg.jit(lambda x: (x, x * 2))
    x = numpy.arange(3.0)
    f(x)
    first, _ = f(x)
    third, _ = f(x)
    first[0] = 9
    assert x[0] == 0
    assert third[0] == 0
    assert first.flags.owndata
    assert first.flags.writeable
    assert first.flags.c_contiguous


@needs_native
def test_a_compiled_function_is_freed():
    def make():
        f = wg.jit(lambda x: np.sum(np.sin(x)[:, None] * np.cos(x)))
        f(numpy.ones(50))
        f(numpy.ones(50))
        return weakref.ref(f), weakref.ref(f._records[0])

    function, record = make()
    gc.collect()
    assert function() is None
    assert record() is None


def test_settings_are_heeded(by_python):
    f = wg.jit(wg.grad(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0))))
    x = numpy.array([0.0, 4.0])
    same(f(x), numpy.array([0.0, 0.25]))
    same(f(x), numpy.array([0.0, 0.25]))
    with wg.settings(strong_zero=False):
        assert numpy.isnan(f(x)[0])
        assert numpy.isnan(f(x)[0])
    same(f(x), numpy.array([0.0, 0.25]))


@needs_native
def test_other_threads_run_meanwhile():
    f = wg.jit(lambda x: wg.fori_loop(0, 300, lambda k, s: np.sin(s) + 1e-3, x))
    x = numpy.linspace(0, 1, 40_000)
    f(x)
    assert f.lower(x).program.long
    assert not wg.jit(lambda x: x + 1).lower(numpy.ones(3)).program.long
    started, done = threading.Event(), threading.Event()

    def work():
        started.set()
        for _ in range(3):
            f(x)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    started.wait()
    turns = 0
    while not done.is_set():
        turns += 1
        time.sleep(0)
    thread.join()
    assert turns > 3


def test_many_threads():
    f = wg.jit(lambda x: (np.sum(np.sin(x)[:, None] * x), x * 2))
    xs = [numpy.linspace(0, k + 1, 40) for k in range(6)]
    wanted = [f(x) for x in xs]
    wrong = []

    def work(k):
        for _ in range(300):
            found = f(xs[k])
            if found[0] != wanted[k][0] or (found[1] != wanted[k][1]).any():
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(len(xs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_first_calls_from_many_threads():
    f = wg.jit(lambda x, y: x @ y)
    x = numpy.eye(4)
    found = []

    def work():
        barrier.wait()
        found.append(f(x, x))

    barrier = threading.Barrier(5)
    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 5
    for a in found:
        same(a, x)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_fork_while_another_thread_compiles():
    code = """
import os, threading, time, numpy, wengert as wg, wengert.numpy as np
inside = threading.Event()
@wg.jit
def f(x):
    if threading.current_thread() is not threading.main_thread():
        inside.set()
        time.sleep(0.5)
    return np.sin(x)
thread = threading.Thread(target=f, args=(numpy.ones(3),))
thread.start()
inside.wait()
child = os.fork()
if child == 0:
    os._exit(0 if abs(f(numpy.ones(3))[0] - numpy.sin(1)) < 1e-15 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
thread.join()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_fork():
    code = """
import os, numpy, wengert as wg, wengert.numpy as np
f = wg.jit(lambda x: np.sum(np.sin(x)[:, None] * x))
x = numpy.linspace(0, 1, 60)
wanted = f(x)
child = os.fork()
if child == 0:
    g = wg.jit(lambda x: x * 3)
    os._exit(0 if f(x) == f(x) == wanted and g(x)[-1] == 3 else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert f(x) == wanted
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_calls_itself_through_python(monkeypatch):
    cbrt = registry["cbrt"]
    original, depth = cbrt.numpy, []

    def again(x):
        if not depth:
            depth.append(1)
            same(f(X), original(X) * 2)
        return original(x)

    monkeypatch.setattr(cbrt, "lowering", None)
    f = wg.jit(lambda a: np.cbrt(a) * 2)
    f(X)
    monkeypatch.setattr(cbrt, "numpy", again)
    same(f(X), original(X) * 2)
    assert depth


def test_methods():
    class Model:
        def __init__(self):
            self.w = numpy.ones(3)

        @lambda fn: wg.jit(fn, static_argnames="self")
        def __call__(self, x):
            return x * self.w

    model = Model()
    for _ in range(3):
        same(model(numpy.arange(3.0)), numpy.arange(3.0))


def test_without_native_calls():
    """As on an interpreter whose objects are laid out otherwise."""
    code = """
import sys, types
sys.implementation = types.SimpleNamespace(**{**vars(sys.implementation), "name": "other"})
import numpy, wengert as wg, wengert.numpy as np
from wengert.graph.primitive import registry
from wengert.native import entry
assert not entry.available
f = wg.jit(lambda x, a: {"y": x * a, "s": np.sum(x)})
x = numpy.arange(3.0)
for a in (1.0, 2.5):
    out = f(x, a=a)
    assert (out["y"] == x * a).all() and out["s"] == 3.0 and type(out["s"]) is numpy.float64
assert not f._records
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_native
def test_layouts_are_checked(monkeypatch):
    monkeypatch.setattr(entry, "word", lambda place: 0)
    assert not entry.usable()
