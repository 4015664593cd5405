"""What each pass makes of a small program, as printed graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import pytest
from tests.passes.helpers import bits_equal, check, lines, same_interface, same_results, staged, text

import wengert as wg
import wengert.numpy as np
from wengert.errors import IndexOutOfBoundsError
from wengert.graph.graph import Graph
from wengert.graph.interpreter import bind
from wengert.graph.nodes import Const
from wengert.graph.stage import evaluate
from wengert.ops.arithmetic import multiply, power
from wengert.ops.branch import Switch
from wengert.ops.compare import less
from wengert.ops.scan import Scan
from wengert.ops.while_loop import While
from wengert.passes import cse, dce, fold, hoist, inline, products, simplify, strength
from wengert.passes.build import Pass

VECTOR = numpy.ones(3)
MATRIX = numpy.ones((2, 3))


def changed(change: Pass, fn: Callable[..., Any], *args: Any) -> Graph:
    """The graph after the pass, which is valid and computes the same."""
    before = wg.trace(fn, *args)
    after = change(before)
    check(after)
    same_interface(before, after)
    same_results(before, after)
    return after


def becomes(change: Pass, fn: Callable[..., Any], *args: Any, text_: str) -> None:
    assert text(changed(change, fn, *args)) == lines(text_)


def known(graph: Graph, **values: float) -> Graph:
    """The graph with some inputs replaced by constants: what is known before the program runs."""
    now = {var: Const(values[var.name]) for var in graph.inputs if var.name in values}
    nodes = []
    for node in graph.nodes:
        new = node.replace(tuple(now.get(atom, atom) for atom in node.inputs), node.outputs)
        for var in new.outputs:
            var.node = new
        nodes.append(new)
    return graph.replace(inputs=[var for var in graph.inputs if var not in now], nodes=nodes)


def test_fold_the_worked_example() -> None:
    """z = ((a+b)x + cd)(e+f) with a ... f known: from six operations to three."""
    traced = wg.trace(lambda a, b, c, d, e, f, x: ((a + b) * x + c * d) * (e + f), *numpy.ones(7))
    before = known(traced, a=1.0, b=2.0, c=3.0, d=4.0, e=5.0, f=6.0).replace(in_tree=None, name="z")
    assert text(before) == lines("""
        z(x: f64[]) -> f64[]:
          v0: f64[] = add(1.0, 2.0)
          v1: f64[] = multiply(v0, x)
          v2: f64[] = multiply(3.0, 4.0)
          v3: f64[] = add(v1, v2)
          v4: f64[] = add(5.0, 6.0)
          v5: f64[] = multiply(v3, v4)
          return v5
        """)
    after = fold(before)
    check(after)
    assert bits_equal(evaluate(after, 0.3)[0], numpy.float64(((1.0 + 2.0) * 0.3 + 3.0 * 4.0) * (5.0 + 6.0)))
    assert text(after) == lines("""
        z(x: f64[]) -> f64[]:
          v0: f64[] = multiply(f64(3.0), x)
          v1: f64[] = add(v0, f64(12.0))
          v2: f64[] = multiply(v1, f64(11.0))
          return v2
        """)


def test_fold_keeps_the_declared_dtype() -> None:
    """Two Python numbers make a float64 in the graph, although NumPy's operator gives a Python float."""
    graph = staged(lambda x: [multiply(x, x)], "f4")
    before = known(wg.trace(lambda a, b, x: (a + b) * x, 1.0, 2.0, numpy.float32(1)), a=1.0, b=2.0)
    after = fold(before)
    check(after)
    assert after.outputs[0].dtype == before.outputs[0].dtype
    assert fold(graph) is graph


def test_fold_leaves_large_results_and_errors() -> None:
    big = numpy.ones((400, 400))
    graph = known(wg.trace(lambda k, x: x + np.broadcast_to(k, (400, 400)), 1.0, big), k=1.0)
    assert text(fold(graph)) == text(graph)
    made = wg.trace(lambda k, x: np.linalg.cholesky(k) + x, -numpy.eye(2), numpy.ones((2, 2)))
    failing = known(made, k=-numpy.eye(2))
    assert text(fold(failing)) == text(failing)


def test_cse_the_worked_example() -> None:
    """x^2 (x+1) + sin(x^2): x^2 once."""
    becomes(cse, lambda x: x**2 * (x + 1) + np.sin(x**2), VECTOR, text_="""
        <lambda>(x: f64[3]) -> f64[3]:
          v0: f64[3] = square(x)
          v1: f64[3] = add(x, 1)
          v2: f64[3] = multiply(v0, v1)
          v3: f64[3] = sin(v0)
          v4: f64[3] = add(v2, v3)
          return v4
        """)  # fmt: skip


def test_cse_knows_what_commutes_and_tells_constants_apart() -> None:
    becomes(cse, lambda x, y: [x + y, y + x, x - y, y - x, x + 0.0, x + -0.0, x + 0, x + 0.0], VECTOR, VECTOR, text_="""
        <lambda>(x: f64[3], y: f64[3]) -> (f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[3]):
          v0: f64[3] = add(x, y)
          v1: f64[3] = subtract(x, y)
          v2: f64[3] = subtract(y, x)
          v3: f64[3] = add(x, 0.0)
          v4: f64[3] = add(x, -0.0)
          v5: f64[3] = add(x, 0)
          return v0, v0, v1, v2, v3, v4, v5, v3
        """)  # fmt: skip


def test_cse_compares_loops_by_what_they_compute() -> None:
    def run(x: Any) -> Any:
        return wg.scan(lambda c, _: (np.sin(c) * 0.5, None), x, length=3)[0]

    after = changed(cse, lambda x: run(x) + run(x), VECTOR)
    assert [node.primitive.name for node in after.nodes] == ["scan", "add"]
    other = changed(cse, lambda x: run(x) + wg.scan(lambda c, _: (np.sin(c) * 0.7, None), x, length=3)[0], VECTOR)
    assert [node.primitive.name for node in other.nodes] == ["scan", "scan", "add"]


def test_dce_in_a_scan() -> None:
    """A carry that only feeds itself, a result nobody reads, and the operands that only they need."""

    def f(x: Any, w: Any) -> Any:
        def step(carry: Any, x: Any) -> Any:
            total, idle = carry
            return (total + x, idle * w), (np.sin(x), total)

        (total, _), (_, totals) = wg.scan(step, (0.0, 1.0), x)
        return total + np.sum(totals)

    becomes(dce, f, VECTOR, 2.0, text_="""
        f(x: f64[3], w: f64[]*) -> f64[]:
          v0: f64[], v1: f64[3] = scan(f64(0.0), x, consts=0, carries=1, length=3, reverse=False)
            body:
              step(v0: f64[], v1: f64[]) -> (f64[], f64[]):
                v2: f64[] = add(v0, v1)
                return v2, v0
          v2: f64[] = sum(v1, axes=(0,))
          v3: f64[] = add(v0, v2)
          return v3
        """)  # fmt: skip


def test_dce_in_a_while_loop() -> None:
    """The counter stays, as the condition reads it; what nobody reads goes."""

    def f(x: Any, w: Any) -> Any:
        return wg.while_loop(lambda s: s[0] < 3, lambda s: (s[0] + 1, s[1] * x, s[2] * w), (0, 1.0, 1.0))[1]

    becomes(dce, f, 2.0, 3.0, text_="""
        f(x: f64[]*, w: f64[]*) -> f64[]:
          v0: i64[], v1: f64[] = while_loop(x, i64(0), f64(1.0), cond_consts=0, body_consts=1, length=None)
            cond:
              <lambda>(v0: i64[], v1: f64[]) -> bool[]:
                v2: bool[] = less(v0, 3)
                return v2
            body:
              <lambda>(x: f64[]*, v0: i64[], v1: f64[]) -> (i64[], f64[]):
                v2: i64[] = add(v0, 1)
                v3: f64[] = multiply(v1, x)
                return v2, v3
          return v1
        """)  # fmt: skip


def test_dce_in_a_branch() -> None:
    def f(p: Any, x: Any, w: Any) -> Any:
        return wg.cond(p, lambda x, w: (x + 1, w * 2), lambda x, w: (x * 2, w * 3), x, w)[0]

    becomes(dce, f, True, 2.0, 3.0, text_="""
        f(p: bool[]*, x: f64[]*, w: f64[]*) -> f64[]:
          v0: f64[] = switch(p, x)
            branch 0:
              <lambda>(v0: f64[]*) -> f64[]:
                v1: f64[] = multiply(v0, 2)
                return v1
            branch 1:
              <lambda>(v0: f64[]*) -> f64[]:
                v1: f64[] = add(v0, 1)
                return v1
          return v0
        """)  # fmt: skip


def test_dce_reaches_nested_loops() -> None:
    """A carry of the outer loop that feeds only a dead carry of the inner one is dead as well."""

    def f(x: Any) -> Any:
        def outer(carry: Any, _: Any) -> Any:
            live, dead = carry
            (live, inner), _ = wg.scan(lambda c, _: ((np.sin(c[0]), c[1] * dead), None), (live, dead), length=2)
            return (live, inner), None

        return wg.scan(outer, (x, x), length=2)[0][0]

    after = changed(dce, f, 0.5)
    assert [node.primitive.name for node in after.all_nodes()] == ["scan", "scan", "sin"]


def test_dce_of_the_residuals_of_a_while_loop() -> None:
    """The reverse sweep over a length that only the run knows keeps an array that tells it."""

    def f(x: Any) -> Any:
        return wg.while_loop(lambda s: s[0] < 10, lambda s: (s[0] + x, s[1] + 1), (x, 0))[0]

    after = changed(dce, wg.grad(f), 2.0)
    assert after(2.0) == wg.grad(f)(2.0)


def test_inline() -> None:
    branch = [wg.trace(lambda x, y: x + y, VECTOR, VECTOR), wg.trace(lambda x, y: np.sin(x) * y, VECTOR, VECTOR)]
    branches = tuple(b.replace(in_tree=None, out_tree=None) for b in branch)
    graph = staged(lambda x, y: [bind(Switch(branches), numpy.int64(1), x, bind(Switch(branches), True, y, x)[0])[0]],
                   "f8[3]", "f8[3]")  # fmt: skip
    after = inline(graph)
    check(after)
    same_results(graph, after)
    assert text(after) == lines("""
        f(x: f64[3], y: f64[3]) -> f64[3]:
          v0: f64[3] = sin(y)
          v1: f64[3] = multiply(v0, x)
          v2: f64[3] = sin(x)
          v3: f64[3] = multiply(v2, v1)
          return v3
        """)


def test_inline_leaves_an_index_out_of_bounds_to_the_run() -> None:
    branches = (wg.trace(lambda x: x + 1, VECTOR).replace(in_tree=None, out_tree=None),)
    graph = staged(lambda x: [bind(Switch(branches), numpy.int64(2), x)[0]], "f8[3]")
    assert inline(graph) is graph
    with pytest.raises(IndexOutOfBoundsError):
        evaluate(inline(graph), VECTOR)
    unknown = staged(lambda k, x: [bind(Switch(branches), k, x)[0]], "i8", "f8[3]")
    assert inline(unknown) is unknown


def test_simplify() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.where(True, (x * 1 - 0.0) / 1, y) + np.negative(-y) - (-np.maximum(x, x)) * -1.0

    becomes(simplify, f, VECTOR, VECTOR, text_="""
        f(x: f64[3], y: f64[3]) -> f64[3]:
          v0: f64[3] = negative(y)
          v1: f64[3] = add(x, y)
          v2: f64[3] = negative(x)
          v3: f64[3] = subtract(v1, x)
          return v3
        """)  # fmt: skip


def test_simplify_the_seeds_of_a_gradient() -> None:
    becomes(simplify, wg.grad(lambda x: np.sum(np.sin(x) * 3.0)), VECTOR, text_="""
        <lambda>(x: f64[3]) -> f64[3]:
          g0: f64[3] = cos(x)
          g1: f64[3] = multiply(f64([3.0, 3.0, 3.0]), g0)
          return g1
        """)  # fmt: skip


def test_simplify_keeps_the_type() -> None:
    """A Python number, an integer or a smaller shape is converted, as the operation did."""
    becomes(simplify, lambda x, k: [x * 1, k * 1.0, x * numpy.ones(2)], 2.0, 3, text_="""
        <lambda>(x: f64[]*, k: i64[]*) -> (f64[], f64[], f64[2]):
          v0: f64[] = convert(x, dtype=f64)
          v1: f64[] = convert(k, dtype=f64)
          v2: f64[] = convert(x, dtype=f64)
          v3: f64[2] = broadcast_to(v2, shape=(2,))
          return v0, v1, v3
        """)  # fmt: skip


def test_strength() -> None:
    powers = (2.0, 3, 4, -1, 1, 0, 0.5)
    becomes(strength, lambda x: [*(power(x, p) for p in powers), x / 8.0, x / 3.0], VECTOR, text_="""
        <lambda>(x: f64[3]) -> (f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[3], f64[3]):
          v0: f64[3] = square(x)
          v1: f64[3] = square(x)
          v2: f64[3] = multiply(v1, x)
          v3: f64[3] = square(x)
          v4: f64[3] = square(v3)
          v5: f64[3] = reciprocal(x)
          v6: f64[3] = power(x, 0.5)
          v7: f64[3] = multiply(x, f64(0.125))
          v8: f64[3] = divide(x, 3.0)
          return v0, v2, v4, v5, x, f64([1.0, 1.0, 1.0]), v6, v7, v8
        """)  # fmt: skip


def test_strength_takes_square_roots_only_on_request() -> None:
    before = wg.trace(lambda x: power(x, 0.5), VECTOR)
    assert strength(before) is before
    after = strength(before, allow=["nan", "zero sign"])
    assert [node.primitive.name for node in after.nodes] == ["sqrt"]


def test_products() -> None:
    def f(x: Any, y: Any) -> Any:
        return np.reshape(np.reshape((x @ y).T, (8,)), (2, 4)), np.exp(np.broadcast_to(x[0], (2, 3))) * x

    becomes(lambda g: dce(products(g)), f, MATRIX, numpy.ones((3, 4)), text_="""
        f(x: f64[2,3], y: f64[3,4]) -> (f64[2,4], f64[2,3]):
          v0: f64[4,3] = transpose(y, permutation=(1, 0))
          v1: f64[3,2] = transpose(x, permutation=(1, 0))
          v2: f64[4,2] = matmul(v0, v1)
          v3: f64[2,4] = reshape(v2, shape=(2, 4))
          v4: f64[3] = slice(x, place=(0,))
          v5: f64[3] = exp(v4)
          v6: f64[2,3] = multiply(v5, x)
          return v3, v6
        """)  # fmt: skip


def test_hoist() -> None:
    def f(x: Any, w: Any) -> Any:
        def step(w: Any, c: Any, x: Any) -> Any:
            return [c * np.exp(w[0] * 2) + x, np.sum(w)]

        return bind(Scan(staged(step, "f8[3]", "f8", "f8", names="wcx"), 1, 1, 3, False), w, 0.0, x)

    becomes(hoist, f, VECTOR, VECTOR, text_="""
        f(x: f64[3], w: f64[3]) -> (f64[], f64[3]):
          v0: f64[] = slice(w, place=(0,))
          v1: f64[] = multiply(v0, 2)
          v2: f64[] = exp(v1)
          v3: f64[] = sum(w, axes=(0,))
          v4: f64[], v5: f64[3] = scan(w, v2, v3, 0.0, x, consts=3, carries=1, length=3, reverse=False)
            body:
              f(w: f64[3], v0: f64[], v1: f64[], c: f64[], x: f64[]) -> (f64[], f64[]):
                v2: f64[] = multiply(c, v0)
                v3: f64[] = add(v2, x)
                return v3, v1
          return v4, v5
        """)  # fmt: skip


def test_hoist_out_of_two_loops_and_of_a_condition() -> None:
    def f(x: Any, w: Any) -> Any:
        proceed = staged(lambda w, s: [less(s, np.exp(w))], "f8", "f8")
        step = staged(lambda w, s: [s * 2 + np.sin(w)], "f8", "f8")
        outer = staged(lambda w, s: bind(While(proceed, step, 1, 1, None), w, w, s), "f8", "f8")
        return bind(Scan(outer, 1, 1, 2, False), w, x)[0]

    after = dce(changed(hoist, f, numpy.float64(0.1), numpy.float64(1.0)))
    assert [node.primitive.name for node in after.nodes] == ["exp", "sin", "scan"]
    assert [node.primitive.name for node in after.all_nodes()][3:] == ["while_loop", "less", "multiply", "add"]


def test_hoist_moves_nothing_that_may_fail_out_of_what_may_not_run() -> None:
    """The body runs no step, so the singular matrix must do no harm; a loop of three steps fails anyway."""

    step = staged(lambda w, s: [s + np.linalg.inv(w)[0, 0]], "f8[2,2]", "f8")
    loop = While(staged(lambda s: [less(s, 0)], "f8"), step, 0, 1, None)
    graph = staged(lambda w, s: bind(loop, w, s), "f8[2,2]", "f8")
    assert hoist(graph) is graph
    assert evaluate(hoist(graph), numpy.zeros((2, 2)), 1.0) == [1.0]
    sure = staged(lambda w, s: bind(Scan(step, 1, 1, 3, False), w, s), "f8[2,2]", "f8")
    assert hoist(sure).nodes[0].primitive.name == "inv"


def test_a_pass_with_nothing_to_do_returns_the_graph() -> None:
    graph = wg.trace(lambda x, y: np.sin(x) * y, VECTOR, VECTOR)
    for change in (fold, inline, simplify, strength, products, hoist, cse, dce):
        assert change(graph) is graph
