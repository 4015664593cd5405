"""`memory=`: the promise is kept, measured; or the error names the least, which is then kept."""

from __future__ import annotations

import re

import numpy
import pytest
from tests.graph.test_live import measured

import wengert as wg
import wengert.numpy as np
from wengert.errors import BackwardError, IntegerInputError, MemoryBudgetError, NonScalarOutputError, WengertError

RNG = numpy.random.default_rng(0)
W = RNG.normal(size=(50, 50)) / 7
X = RNG.normal(size=(64, 50))
WIDE = RNG.normal(size=(60, 20_000))
STEPS = RNG.normal(size=(3000, 20))


def deep(w, x):
    for _ in range(100):
        x = np.tanh(x @ w)
    return np.sum(x**2)


def looped(a, x):
    c, _ = wg.scan(lambda c, x: (np.tanh(c * a + x), None), x[0], x)
    return np.sum(c)


def both(a, x):
    c, ys = wg.scan(lambda c, x: (np.tanh(c * a + x), np.sum(c)), x[0], x)
    for _ in range(20):
        c = np.sin(c * a)
    return np.sum(c) + np.mean(ys)


@pytest.mark.parametrize(
    ("f", "args", "budget"),
    [
        (deep, (W, X), "1GB"),
        (deep, (W, X), "1.2MB"),
        (deep, (W, X), "500 kB"),
        (looped, (STEPS[0], STEPS), "1MB"),
        (looped, (STEPS[0], STEPS), "120kB"),
        (both, (STEPS[0], STEPS), "300kB"),
    ],
)
def test_measured_peak_is_within_the_budget(f, args, budget):
    run = wg.value_and_grad(f, memory=budget)
    value, gradient = wg.value_and_grad(f)(*args)
    found = run(*args)
    numpy.testing.assert_allclose(found[0], value, rtol=1e-12)
    numpy.testing.assert_allclose(found[1], gradient, rtol=1e-10)
    limit = {"GB": 1e9, "MB": 1e6, "kB": 1e3}[budget[-2:]] * float(budget[:-2])
    assert measured(run, *args) <= limit


@pytest.mark.slow
@pytest.mark.parametrize(("f", "args"), [(deep, (W, X)), (looped, (WIDE[0], WIDE))])
def test_impossible_budgets_name_the_least_which_is_kept(f, args):
    with pytest.raises(MemoryBudgetError, match="does not fit into 2 kB") as caught:
        wg.grad(f, memory=2000)(*args)
    least = int(re.search(r"\(([\d,]+) bytes\)", str(caught.value))[1].replace(",", ""))
    run = wg.grad(f, memory=least)
    numpy.testing.assert_allclose(run(*args), wg.grad(f)(*args), rtol=1e-10)
    assert measured(run, *args) <= 1.02 * least


def test_containers_argnums_and_aux():
    def f(params, x, flag, *, scale):
        y = x @ params["w"] + params["b"]
        assert flag == "plain"
        return scale * np.sum(y**2), {"y": y}

    params = {"w": W, "b": W[0]}
    args = (params, X, "plain")
    wanted = wg.value_and_grad(f, (0, 1), has_aux=True)(*args, scale=2.0)
    found = wg.value_and_grad(f, (0, 1), has_aux=True, memory="10MB")(*args, scale=2.0)
    numpy.testing.assert_allclose(found[0][0], wanted[0][0])
    numpy.testing.assert_allclose(found[0][1]["y"], wanted[0][1]["y"])
    numpy.testing.assert_allclose(found[1][0]["w"], wanted[1][0]["w"])
    numpy.testing.assert_allclose(found[1][0]["b"], wanted[1][0]["b"])
    numpy.testing.assert_allclose(found[1][1], wanted[1][1])
    gradient, aux = wg.grad(f, has_aux=True, memory=1e7)(*args, scale=2.0)
    numpy.testing.assert_allclose(aux["y"], wanted[0][1]["y"])
    assert set(gradient) == {"w", "b"}


def test_planned_once_for_types():
    calls = []

    def f(x):
        calls.append(1)
        return np.sum(np.sin(x))

    run = wg.grad(f, memory="1MB")
    run(X)
    run(2 * X)
    assert len(calls) == 1
    run(X[:3])
    assert len(calls) == 2
    assert run(2.0) == pytest.approx(numpy.cos(2.0))


def test_inside_other_transforms():
    f = wg.grad(deep, 1, memory="1MB")
    wanted = wg.grad(deep, 1)(W, X)
    numpy.testing.assert_allclose(wg.jit(f)(W, X), wanted, rtol=1e-9)
    numpy.testing.assert_allclose(wg.trace(f, W, X)(W, X), wanted, rtol=1e-12)

    def norm(g):
        return lambda a: np.sum(g(a, STEPS[:60]) ** 2)

    wanted = wg.grad(norm(wg.grad(looped)))(STEPS[0])
    numpy.testing.assert_allclose(wg.grad(norm(wg.grad(looped, memory="100kB")))(STEPS[0]), wanted, rtol=1e-9)


def test_checkpoint_with_memory():
    part = wg.checkpoint(deep, memory="800kB")
    numpy.testing.assert_allclose(wg.grad(part)(W, X), wg.grad(deep)(W, X), rtol=1e-12)
    with pytest.raises(MemoryBudgetError, match="least possible"):
        wg.grad(wg.checkpoint(deep, memory=1000))(W, X)


def test_bad_input():
    with pytest.raises(MemoryBudgetError, match="structure changes with the values"):
        wg.grad(lambda x: np.sum(x[x > 0]), memory="1MB")(X)
    with pytest.raises(WengertError, match="no number of bytes"):
        wg.grad(deep, memory="lots")
    with pytest.raises(IntegerInputError):
        wg.grad(lambda x: np.sum(x * 1.0), memory="1MB")(numpy.arange(3))
    with pytest.raises(NonScalarOutputError):
        wg.grad(np.sin, memory="1MB")(X)
    with pytest.raises(BackwardError, match="argument 2"):
        wg.grad(deep, 2, memory="1MB")(W, X)
