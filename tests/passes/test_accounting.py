"""`graph.cost()` and `graph.memory_report()`: data, tables, and the worked example of values kept for reverse mode."""

from __future__ import annotations

import numpy
import pytest
from tests.graph.test_live import PROGRAMS, measured

import wengert as wg
import wengert.numpy as np


def worked(x):
    u = x**2
    w = np.exp(x)
    v = np.sin(u)
    return v * w


def test_worked_example_keeps_x_u_v_w():
    """sin(x**2) e**x: backward reads x (square), u (sine), w (exponential), and v and w (product)."""
    for x in (0.5, numpy.ones(3)):
        found = wg.trace(worked, x).cost().cached
        assert {value.name for value in found} == {"x", "u", "v", "w"}
    assert [value.bytes for value in found] == [24] * 4
    gradient = wg.trace(wg.value_and_grad(worked), 0.5)
    assert {value.name for value in gradient.cost().cached} == {"x", "u", "v", "w"}


def test_values_that_no_rule_reads_are_not_kept():
    def f(x, y):
        a = x + y  # a sum reads nothing
        b = np.tanh(a)  # reads its result
        return np.sum(b.reshape(-1) * 3)

    assert [value.name for value in wg.trace(f, numpy.ones((2, 3)), numpy.ones(3)).cost().cached] == ["b"]


def test_integers_have_nothing_to_keep():
    found = wg.trace(lambda k: k * 2, 3).cost()
    assert found.cached == ()
    assert found.ratios == {}
    assert found.operations == 1


def test_ratios_of_derivatives():
    """Baur and Strassen: a gradient costs a small multiple of the function; a product with the Hessian a few more."""
    a, x = numpy.ones((40, 30)), numpy.ones(30)
    ratios = wg.trace(lambda a, x: np.sum(np.tanh(a @ x)), a, x).cost().ratios
    assert 2 < ratios["vjp"] < 3.5  # the product, and one for x; that for a is an outer product
    assert 2 < ratios["jvp"] < 3.5
    assert ratios["vjp"] < ratios["hvp"] < 4 * ratios["vjp"]


def test_table_and_data_agree():
    graph = wg.trace(wg.value_and_grad(PROGRAMS["looped"][0]), *PROGRAMS["looped"][1])
    found = graph.cost()
    data = found.as_dict()
    assert data["total"]["operations"] == pytest.approx(data["forward"]["operations"] + data["backward"]["operations"])
    assert data["backward"]["operations"] > 0
    text = str(found)
    assert f"{found.operations:,.0f}" in text
    assert "kept for reverse mode" in text
    assert "test_live.py:" in text
    inner = [row for row in found.rows if row.depth == 1]
    assert {row.times for row in inner} == {300}
    assert repr(found).startswith("<Cost of looped")


def test_unknown_numbers_of_steps_are_told():
    found = wg.trace(lambda x: wg.while_loop(lambda v: v > 1, lambda v: v / 2, x), 3.0).cost()
    assert "known only by the run" in str(found)


@pytest.mark.parametrize("name", PROGRAMS)
def test_report_names_the_lines_that_own_the_peak(name):
    f, args = PROGRAMS[name]
    graph = wg.trace(wg.value_and_grad(f), *args)
    report = graph.memory_report()
    assert report.peak == pytest.approx(measured(graph, *args), rel=0.1)
    assert sum(owner.bytes for owner in report.owners) + report.workspace == report.peak
    assert [o.bytes for o in report.owners] == sorted((o.bytes for o in report.owners), reverse=True)
    assert report.owners[0].line.startswith("test_live.py:")
    assert report.owners[0].text in str(report)


def test_the_largest_owner_is_the_line_that_keeps_everything():
    def f(x):
        small = np.sum(x)
        for _ in range(20):
            x = np.sin(x)  # kept
        return np.sum(x) * small

    owner = wg.trace(wg.value_and_grad(f), numpy.ones((200, 200))).memory_report().owners[0]
    assert owner.text.endswith("# kept")
    assert owner.bytes > 0.9 * 20 * 320_000


def test_stacks_of_a_loop_belong_to_the_line_in_its_body():
    def step(c, x):
        c = np.sin(c) * x  # in the body
        return c, None

    def f(c, xs):
        return np.sum(wg.scan(step, c, xs)[0])

    graph = wg.trace(wg.value_and_grad(f), numpy.ones(50), numpy.ones((400, 50)))
    assert "in the body" in graph.memory_report().owners[0].text


def test_empty_graph():
    graph = wg.trace(lambda x: x, numpy.ones(3))
    assert graph.cost().operations == 0
    assert graph.memory_report().peak == 0
    assert "0 B" in str(graph.memory_report())
