"""`graph.memory_timeline()`: the data of live memory, and its figure."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import MemoryBudgetError

W = numpy.random.default_rng(0).normal(size=(30, 30)) / 6
X = numpy.ones((50, 30))


def deep(w, x):
    for _ in range(40):
        x = np.tanh(x @ w)
    return np.sum(x)


def test_data_follow_the_run():
    graph = wg.trace(wg.value_and_grad(deep), W, X)
    found = graph.memory_timeline()
    assert len(found.before) == len(graph)
    assert max(p.peak for p in found.before) == found.peak == graph.memory_report().peak
    turn = next(k for k, p in enumerate(found.before) if p.backward)
    assert all(p.backward for p in found.before[turn:])
    rising = [p.after for p in found.before[:turn]]
    assert rising[-1] > 35 * X.nbytes  # every layer's result is kept on the way there
    assert found.before[-1].after < 3 * X.nbytes  # and gone at the end
    assert found.after is None
    assert found.before[0].line.startswith("test_timeline.py:")


def test_a_forward_graph_gets_its_reverse_mode():
    found = wg.trace(deep, W, X).memory_timeline()
    assert any(p.backward for p in found.before)


def test_before_and_after():
    found = wg.trace(deep, W, X).memory_timeline(memory="300kB")
    assert found.peak_after <= 300_000 < found.peak
    assert len(found.after) > len(found.before)
    part = wg.checkpoint(lambda w, x: deep(w, x))
    graph = wg.trace(wg.value_and_grad(deep), W, X)
    other = graph.memory_timeline(other=wg.trace(wg.value_and_grad(part), W, X))
    assert other.after is not None
    assert "as planned" in repr(found)
    with pytest.raises(MemoryBudgetError):
        graph.memory_timeline(memory=10)


def test_figure_is_valid_and_says_the_peaks(tmp_path):
    found = wg.trace(deep, W, X).memory_timeline(memory="300kB")
    text = found.to_svg()
    root = ElementTree.fromstring(text)
    paths = [node for node in root.iter() if node.tag.endswith("path")]
    assert len(paths) == 2
    assert "before" in text
    assert "kB at the peak" in text
    assert found._repr_svg_() == text
    assert found.save(tmp_path / "memory.svg").read_text(encoding="utf-8") == text


def test_names_are_escaped_and_long_runs_are_thinned():
    def f(x):
        for _ in range(1500):
            x = np.sin(x)
        return np.sum(x)

    f.__name__ = "<f & g>"
    text = wg.trace(f, X).memory_timeline().to_svg()
    ElementTree.fromstring(text)
    assert len(text) < 60_000


def test_empty_graph():
    found = wg.trace(lambda x: x, 1.0).memory_timeline()
    assert found.before == ()
    ElementTree.fromstring(found.to_svg())
