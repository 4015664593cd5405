"""`f.explain()`: why calls traced again, and where the time went."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np

X = numpy.arange(3.0)


def reasons(f):
    return [chapter.why for chapter in f.explain().chapters]


def test_the_argument_that_differed_is_named():
    f = wg.jit(lambda x, a, *, p=None: x * a)
    f(X, 2.0)
    f(X, 3.5)  # the same program
    f(numpy.arange(4.0), 2.0)
    f(X.astype(numpy.float32), 2.0)
    f(X, 2)
    f(X, X)
    f(X, X, p=X)
    f([X], 2.0)
    found = reasons(f)
    assert found[0] == "it was called for the first time"
    assert found[1] == "x is f64[4], was f64[3]"
    assert found[2] == "x is f32[3], was f64[4]"
    assert found[3] == "a is a Python int, was a Python float"
    assert found[4] == "a is f64[3], was a Python int"
    assert found[5] == "p came"
    assert found[6] == "x[0] came; x went"
    assert len(found) == 7


def test_the_nearest_earlier_call_is_compared_with():
    f = wg.jit(lambda x, y, z: x + y + z)
    f(X, X, X)
    f(1.0, 2.0, 3.0)
    f(X, X, 1.0)
    assert reasons(f)[2] == "z is a Python float, was f64[3]"


def test_static_arguments_and_settings():
    f = wg.jit(lambda x, n, how="up": x**n, static_argnames=("n", "how"))
    f(X, 2)
    f(X, 3)
    f(X, 3, how="down")
    with wg.settings(strong_zero=False):
        f(X, 3)
    assert reasons(f)[1:] == [
        "n is 3, was 2", "how is 'down', was 'up'", "strong_zero is False, was True",
    ]  # fmt: skip
    assert "(x: f64[3], n=3, how='down')" in str(f.explain())


def test_lines_and_times():
    f = wg.jit(lambda x: np.sum(np.sin(x)))
    assert "traced never" in str(f.explain())
    f(X)
    (chapter,) = f.explain().chapters
    assert chapter.source.file == __file__
    assert set(chapter.times) == {"trace", "passes", "lowering", "LLVM", "loading"}
    assert all(seconds > 0 for seconds in chapter.times.values())
    assert not chapter.cached
    text = str(f.explain())
    assert "test_history.py" in text
    for stage in ("trace", "passes", "lowering", "LLVM"):
        assert f"{stage} " in text
    f.lower(numpy.arange(5.0))  # traced, not compiled
    assert "traced twice, compiled once" in str(f.explain())
    assert repr(f.explain()) == "<History of <lambda>: 2 tracings>"


def test_what_came_from_the_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("WENGERT_CACHE", str(tmp_path / "programs"))
    code = lambda x: np.sum(np.cos(x))
    first, second = wg.jit(code), wg.jit(code)
    first(X)
    second(X)
    (chapter,) = second.explain().chapters
    assert chapter.cached
    assert set(chapter.times) == {"trace", "cache", "loading"}
    text = str(second.explain())
    assert "compiled never, read from disk once" in text
    assert "read from the cache on disk" in text


def test_functions_made_again_and_again():
    def step(x):
        def inner(v):
            return v * 2

        return wg.jit(inner)

    for _ in range(3):
        f = step(X)
        f(X)
    text = str(f.explain())
    assert "jit has made 3 functions of the code at test_history.py:" in text
    assert "make one and keep it" in text


def test_captured_values():
    kept = []
    f = wg.jit(lambda x: x * kept[-1])

    def through(w):
        kept.append(w)
        return np.sum(f(X))

    wg.grad(through)(2.0)
    wg.grad(through)(3.0)
    assert reasons(f)[1] == "it captures values of a transform around it, which change"


def test_one_trace_for_numbers_and_for_derivatives():
    f = wg.jit(lambda x, a: np.sum(x * a))
    f(X, 2.0)
    wg.grad(f)(X, 2.0)
    wg.grad(f, argnums=1)(X, 2.0)
    wg.vmap(f, in_axes=(0, None))(numpy.ones((2, 3)), 2.0)
    assert len(reasons(f)) == 1


def test_a_function_without_code():
    f = wg.jit(numpy.sin)
    assert f(0.0) == 0
    assert "sin: traced once" in str(f.explain())


def test_a_leaf_that_is_no_number_is_named():
    with pytest.raises(wg.errors.DtypeError, match=r"p\['name'\]"):
        wg.jit(lambda p: p)({"x": X, "name": "a"})
