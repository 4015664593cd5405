"""Graphs, edges and nodes as data: uses, producers, order, replacement, evaluation."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import WengertError
from wengert.graph.nodes import Const, Var
from wengert.graph.stage import evaluate
from wengert.graph.types import ArrayType, Dim, broadcast_shapes, type_of


def example() -> wg.Graph:
    def f(x: Any, y: Any) -> Any:
        a = np.sin(x)
        return a * y + a

    return wg.trace(f, numpy.ones(3), 2.0)


def test_uses_and_producers() -> None:
    graph = example()
    a = graph.nodes[0].outputs[0]  # type: ignore[index]
    assert graph.uses()[a] == [graph.nodes[1], graph.nodes[2]]
    assert graph.producers()[a] is graph.nodes[0]
    assert graph.outputs[0] not in graph.uses()
    assert [node.primitive.name for node in graph.nodes] == ["sin", "multiply", "add"]
    assert len(graph) == 3


def test_all_nodes_visits_nested_graphs_after_their_node() -> None:
    graph = wg.trace(lambda x: np.cos(wg.fori_loop(0, 3, lambda k, c: np.sin(c), x)), 1.0)
    names = [node.primitive.name for node in graph.all_nodes()]
    assert names.index("scan") < names.index("sin") < names.index("cos")


def test_replace_leaves_the_graph_as_it_was() -> None:
    graph = example()
    short = graph.replace(outputs=graph.nodes[0].outputs, name="short", out_tree=None)
    assert (short.name, graph.name) == ("short", "f")
    assert short.inputs is graph.inputs
    assert len(graph.outputs) == 1 and graph.out_tree is not None


def test_a_graph_is_a_function() -> None:
    graph = example()
    x = numpy.array([0.1, 0.2, 0.3])
    numpy.testing.assert_allclose(graph(x, 3.0), numpy.sin(x) * 4)
    slope = wg.grad(lambda x: np.sum(graph(x, 3.0)))(x)
    numpy.testing.assert_allclose(slope, numpy.cos(x) * 4)
    with pytest.raises(WengertError, match="called with 1 values"):
        evaluate(graph, x)


def test_a_graph_that_is_traced_again_keeps_lines_and_gradient_part() -> None:
    graph = wg.trace(wg.grad(lambda x: np.sum(np.sin(x))), numpy.ones(3))
    again = wg.trace(lambda x: graph(x), numpy.ones(3))
    assert [(str(n.source), n.backward) for n in again.nodes] == [(str(n.source), n.backward) for n in graph.nodes]


def test_cached_is_made_once() -> None:
    graph, made = example(), []
    assert graph.cached("k", lambda: made.append(1) or 7) == graph.cached("k", lambda: made.append(1) or 8) == 7  # type: ignore[func-returns-value]
    assert made == [1]


def test_types_print_short() -> None:
    dtypes = [bool, "i4", "u1", "f4", float, complex]
    text = ["bool[2]", "i32[2]", "u8[2]", "f32[2]", "f64[2]", "c128[2]"]
    assert [str(type_of(numpy.zeros(2, dtype))) for dtype in dtypes] == text
    assert (str(type_of(1)), str(type_of(numpy.int8(1)))) == ("i64[]*", "i8[]")


def test_unknown_lengths_are_equal_only_to_themselves() -> None:
    n, m = Dim(), Dim()
    assert broadcast_shapes((n, 1), (3,)) == (n, 3)
    assert broadcast_shapes((n,), (n,)) == (n,)
    assert broadcast_shapes((n,), (m,)) is None
    assert broadcast_shapes((n,), (3,)) is None
    with pytest.raises(TypeError):
        _ = ArrayType((n,), numpy.dtype(float)).size


def test_edges_and_constants() -> None:
    assert Const(2.0).type == ArrayType((), numpy.dtype(float), True)
    assert repr(Const(2.0)) == "Const(2.0)"
    assert repr(Const(numpy.ones(2))) == "Const(f64[2])"
    assert repr(Var.of(type_of(numpy.ones(2)), "x")) == "Var(x: f64[2])"
