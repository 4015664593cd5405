"""Chains within budgets, and minimum cuts: the same results from less memory, and the least of it."""

from __future__ import annotations

import itertools

import numpy
import pytest
from tests.graph.test_live import measured

import wengert as wg
import wengert.numpy as np
from wengert.graph.cost import graph_work
from wengert.graph.live import live
from wengert.graph.run import runner
from wengert.passes.chain import _table, divide, within
from wengert.passes.mincut import cheapest_kept
from wengert.passes.rematerialise import rematerialise
from wengert.transforms.schedule import revolve

RNG = numpy.random.default_rng(0)
W = RNG.normal(size=(40, 40)) / 6
X = RNG.normal(size=(80, 40))


def deep(w, x):
    for _ in range(60):
        x = np.tanh(x @ w)
    return np.sum(x**2)


def skipping(w, x):
    """Connections that skip one layer, and one value that is read at both ends."""
    first = x @ w
    x = first
    for _ in range(30):
        h = np.tanh(x @ w)
        x = x + np.sin(h) * 0.1
    return np.sum(x * first)


def gradient(f):
    return wg.optimize(wg.trace(wg.value_and_grad(f), W, X))


def same(found, graph):
    wg.verify(found)
    for a, b in zip(runner(found)(W, X), runner(graph)(W, X), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("share", [0.8, 0.5, 0.3, 0.2])
@pytest.mark.parametrize("f", [deep, skipping])
def test_chain_stays_within_its_budget(f, share):
    graph = gradient(f)
    budget = int(share * live(graph).peak)
    found, peak = within(graph, budget)
    assert found is not None
    assert peak == live(found).peak <= budget
    assert measured(runner(found), W, X) <= budget + 20_000
    same(found, graph)
    again = wg.optimize(found)
    assert live(again).peak <= budget  # common subexpressions do not undo it
    same(again, graph)


def test_less_memory_takes_more_time_and_a_tenth_not_much():
    graph = gradient(deep)
    seconds = [graph_work(within(graph, int(s * live(graph).peak))[0]).seconds for s in (0.8, 0.5, 0.3, 0.2)]
    assert seconds == sorted(seconds)
    assert seconds[-1] < 1.7 * graph_work(graph).seconds


def test_impossible_budgets_tell_the_least():
    graph = gradient(deep)
    found, least = within(graph, 1000)
    assert found is None
    assert 1000 < least < live(graph).peak / 5
    assert within(graph, least)[0] is not None


def test_graphs_that_are_no_chains():
    forward = wg.trace(deep, W, X)
    assert divide(forward, 10) is None
    assert within(forward, 10)[0] is None
    short = wg.trace(wg.value_and_grad(lambda x: np.sum(x * x)), X)
    assert within(short, 10)[0] is None


def test_dynamic_program_reaches_the_binomial_schedules():
    """Equal stages: no more runs than Griewank and Walther's schedule takes.

    With m units the program has room for the stage at work and the state that it starts from, which they do not count.
    """
    count = 10
    one = numpy.ones(count, int)
    table, _ = _table(numpy.array([0, *one[1:]]), one, 0 * one, numpy.ones(count))
    for units in (3, 4, 5, 7):
        assert table[0, count - 1, units] <= revolve(count, units - 1).runs()
    assert table[0, count - 1, count] == count
    assert not numpy.isfinite(table[0, count - 1, 1])


def test_rematerialise_recomputes_what_is_cheap():
    def f(x):
        a = np.sin(x) * 2 + 1
        b = a * a
        return np.sum(np.exp(b) * a)

    graph = wg.trace(wg.value_and_grad(f), X)
    found = rematerialise(graph)
    wg.verify(found)
    assert found is not graph
    assert live(found).peak <= live(graph).peak
    for a, b in zip(runner(found)(X), runner(graph)(X), strict=True):
        numpy.testing.assert_array_equal(a, b)
    crossing = {v for n in found.nodes if n.backward for v in n.inputs if isinstance(v, wg.Var) and v.node is not None}
    early = {v for n in found.nodes if not n.backward for v in n.outputs}
    assert crossing & early <= {v for v in early if v.shape == ()}  # everything follows from the argument


def test_rematerialise_leaves_products_alone():
    graph = wg.trace(wg.value_and_grad(lambda w, x: np.sum(np.tanh(x @ w))), W, X)
    found = rematerialise(graph)
    assert sum(n.primitive.name == "matmul" for n in found.nodes) == sum(
        n.primitive.name == "matmul" for n in graph.nodes
    )


def test_minimum_cut_is_minimal():
    """Against trying every set of values to keep."""
    rng = numpy.random.default_rng(3)
    for trial in range(20):

        def f(x, y, trial=trial):
            values = [x, y]
            pick = numpy.random.default_rng(trial)
            for _ in range(6):
                a, b = pick.integers(0, len(values), 2)
                values.append(values[a] * values[b] if pick.random() < 0.6 else np.sin(values[a]))
            return tuple(values[-3:])

        graph = wg.trace(f, 1.0, 2.0)
        made = [v for n in graph.nodes for v in n.outputs]
        price = {v: float(rng.integers(1, 20)) for v in (*made, *graph.inputs)}
        dear = {n for n in graph.nodes if rng.random() < 0.3}
        wanted = [v for v in graph.outputs if isinstance(v, wg.Var)]
        kept = cheapest_kept(graph.nodes, set(), wanted, price, lambda n, dear=dear: n not in dear)

        def enough(kept, graph=graph, dear=dear, wanted=wanted):
            have = set(kept)
            for node in graph.nodes:
                if node not in dear and all(a in have or not isinstance(a, wg.Var) for a in node.inputs):
                    have.update(node.outputs)
            return have.issuperset(wanted)

        assert enough(kept)
        pool = [*made, *graph.inputs]
        best = min(
            sum(price[v] for v in some)
            for size in range(len(pool) + 1)
            for some in itertools.combinations(pool, size)
            if enough(some)
        )
        assert sum(price[v] for v in kept) == best
