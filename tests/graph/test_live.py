"""Predicted memory against what `tracemalloc` measures, and the run that the prediction is about."""

from __future__ import annotations

import gc
import tracemalloc
import warnings

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.lifetimes import overwritten
from wengert.graph.live import live, workspace
from wengert.graph.primitive import registry
from wengert.graph.run import _walk, _write, runner
from wengert.graph.types import type_of

RNG = numpy.random.default_rng(0)
W = [RNG.normal(size=(120, 120)) / 11 for _ in range(8)]
X = RNG.normal(size=(256, 120))
STEPS = RNG.normal(size=(300, 60))


def measured(run, *args):
    """The most bytes allocated at any moment of a call, once caches and the interpreter's free lists are filled."""
    with numpy.errstate(all="ignore"):
        gc.collect()
        run(*args)
        tracemalloc.start()
        try:
            result = run(*args)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    del result
    return peak


def deep(ws, x):
    for w in ws:
        x = np.tanh(x @ w)
    return np.sum(x**2)


def wide(w, x):
    h = np.maximum(x @ w, 0)
    h = h - np.mean(h, axis=1, keepdims=True)
    z = np.log(np.sum(np.exp(h.reshape(16, 16, 120).transpose(0, 2, 1)), axis=2))
    return np.mean(z[:, ::2] ** 2)


def looped(a, x):
    c, ys = wg.scan(lambda c, x: (np.tanh(c * a + x), np.sin(c)), x[0], x)
    return np.sum(c) + np.sum(ys)


def rearranged(x):
    y = np.concatenate([x.T, x.T])[::2]
    return np.sum(np.sin(y.reshape(-1)) * 2 + 1)


PROGRAMS = {
    "deep": (deep, (W, X)),
    "wide": (wide, (W[0], X)),
    "looped": (looped, (STEPS[0], STEPS)),
    "rearranged": (rearranged, (X,)),
}


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_predicted_peak_is_what_is_measured(name, optimised):
    f, args = PROGRAMS[name]
    graph = wg.trace(wg.value_and_grad(f), *args)
    if optimised:
        graph = wg.optimize(graph)
    assert live(graph).peak == pytest.approx(measured(lambda *a: graph(*a), *args), rel=0.1)


@pytest.mark.parametrize("name", PROGRAMS)
def test_written_out_and_walked_runs_agree(name):
    f, args = PROGRAMS[name]
    graph = wg.trace(wg.value_and_grad(f), *args)
    leaves = [*args[0], args[1]] if name == "deep" else args
    before = [x.copy() for x in leaves]
    first, second = _write(graph)(*leaves), _walk(graph)(*leaves)
    value, gradient = wg.value_and_grad(f)(*args)
    gradient = gradient if isinstance(gradient, list) else [gradient]
    for a, b, c in zip(first, second, [value, *gradient], strict=True):
        numpy.testing.assert_array_equal(a, b)
        numpy.testing.assert_allclose(a, c, rtol=1e-12)
    for old, new in zip(before, leaves, strict=True):
        numpy.testing.assert_array_equal(old, new)  # arguments are never written over


def test_results_are_written_over_dying_operands_only():
    x = numpy.ones((100, 100))
    graph = wg.trace(lambda x: (np.sin(x) + 1) * 2, x)
    assert len(overwritten(graph)) == 2
    assert live(graph).peak == pytest.approx(x.nbytes, rel=0.01)

    def kept(x):
        y = np.sin(x)
        return y, y + 1, x + 1

    assert not overwritten(wg.trace(kept, x))  # a result, and an argument

    def seen(x):
        y = np.sin(x)
        return y + y.T  # a view of what dies is read as well

    graph = wg.trace(seen, x)
    assert not overwritten(graph)
    numpy.testing.assert_array_equal(graph(numpy.triu(x)), numpy.sin(numpy.triu(x)) + numpy.sin(numpy.triu(x)).T)


def test_a_value_nobody_reads_is_dropped_at_once():
    def f(x):
        np.sin(x)
        return x.T

    graph = wg.graph(wg.variable(numpy.ones((100, 100))) + 1)
    assert live(graph).peak > 0
    assert live(wg.trace(f, numpy.ones((100, 100)))).peak < 1000


def test_moments_cover_every_node_and_end_with_the_results():
    graph = wg.trace(wg.value_and_grad(deep), W, X)
    found = live(graph)
    assert [m.node for m in found.moments] == list(graph.nodes)
    assert max(m.peak for m in found.moments) == found.peak
    results = sum(w.nbytes for w in W)
    assert found.moments[-1].after == pytest.approx(results, rel=0.01)
    assert sum(b for _, b in found.held) + found.work == found.peak


@pytest.mark.slow
def test_no_elementwise_operation_needs_more_than_it_says():
    n = 1 << 16
    checked = 0
    for primitive in registry.values():
        if not isinstance(primitive, wg.Primitive) or "elementwise" not in primitive.facts:
            continue
        _, sample = next(iter(primitive.samples(RNG)))
        operands = [numpy.resize(numpy.ravel(x), n).astype(numpy.asarray(x).dtype) for x in sample]
        types = [type_of(x) for x in operands]
        out = primitive.type(*types)
        node = wg.Node(primitive, tuple(wg.Var.of(t) for t in types), (wg.Var.of(out),), None, 0, 0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            peak = measured(primitive.numpy, *operands)
        assert peak <= 1.05 * (out.dtype.itemsize * n + workspace(node)) + 20_000, primitive.name
        checked += 1
    assert checked > 60


def test_runner_is_made_once():
    graph = wg.trace(np.sin, 1.0)
    assert runner(graph) is runner(graph)
