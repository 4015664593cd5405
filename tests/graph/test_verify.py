"""`wg.verify`: accepts what is right, and says where each rule is broken."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import GraphError
from wengert.graph.graph import Graph
from wengert.graph.nodes import Const, Var
from wengert.graph.types import ArrayType, Dim
from wengert.graph.verify import matches

HERE = Path(__file__).name
F64 = numpy.dtype(numpy.float64)


def model(x: Any, xs: Any) -> Any:
    def step(c: Any, x: Any) -> Any:
        grown = wg.while_loop(lambda s: s < 9, lambda s: s * 2 + x**2, c)
        return np.tanh(c + x), grown

    last, ys = wg.scan(step, x, xs)
    low = np.linalg.cholesky(np.eye(2) * (2 + np.sin(last)))
    return wg.cond(last > 0, lambda y: y[0] * 2, lambda y: np.sum(y), ys) + low[0, 0]


def straight() -> Graph:
    """Five nodes in a row."""

    def f(x: Any, y: Any) -> Any:
        a = np.sin(x)
        b = a * y
        c = np.cos(b)
        d = c + a
        return np.sum(d)

    return wg.trace(f, numpy.ones(3), numpy.ones(3))


@pytest.mark.parametrize(
    "make",
    [
        lambda f: f,
        lambda f: wg.grad(f),
        lambda f: wg.grad(f, argnums=(0, 1)),
        lambda f: lambda x, xs: wg.jvp(f, (x, xs), (1.0, xs)),
        lambda f: wg.grad(wg.grad(f)),
        lambda f: lambda x, xs: wg.vmap(wg.grad(f), in_axes=(0, None))(np.stack([x, 2 * x]), xs),
    ],
)
def test_every_transform_makes_valid_graphs(make: Callable[..., Any]) -> None:
    graph = wg.trace(make(model), 0.5, numpy.linspace(0.1, 1, 4))
    assert wg.verify(graph) is graph


def test_dynamic_graphs_are_valid() -> None:
    x = wg.variable(numpy.ones(3))
    y = np.sum(np.split(x, 3)[0] * wg.scan(lambda c, v: (c * v, c), x[0], x)[0])
    y.backward()
    wg.verify(wg.graph(y))


def broken(graph: Graph, k: int, inputs: Any = None, outputs: Any = None) -> Graph:
    node = graph.nodes[k]
    new = node.replace(node.inputs if inputs is None else inputs, node.outputs if outputs is None else outputs)
    return graph.replace(nodes=(*graph.nodes[:k], new, *graph.nodes[k + 1 :]))


def test_order() -> None:
    graph = straight()
    nodes = list(graph.nodes)
    nodes[1], nodes[2] = nodes[2], nodes[1]
    with pytest.raises(GraphError) as caught:
        wg.verify(graph.replace(nodes=nodes))
    message = str(caught.value)
    first = straight.__code__.co_firstlineno
    assert "graph f, node 1 (cos): operand 0 is a f64[3] which node 2 (multiply) makes only later" in message
    assert f"    -> c: f64[3] = cos(b)   # {HERE}:{first + 6}" in message
    assert "       a: f64[3] = sin(x)" in message
    assert "       d: f64[3] = add(c, a)" in message
    assert f"{HERE}:{first + 6}, in" in message
    assert "c = np.cos(b)" in message
    assert "repair: sort the nodes" in message


def test_closure() -> None:
    stranger = Var.of(ArrayType((3,), F64))
    graph = broken(straight(), 3, inputs=(stranger, straight().inputs[0]))
    with pytest.raises(GraphError, match=r"node 3 \(add\): operand 0 is a f64\[3\] which no input or node"):
        wg.verify(graph)
    graph = straight()
    with pytest.raises(GraphError, match=r"graph f: output 0 is a f64\[\] which node 4 \(sum\)|which no input"):
        wg.verify(graph.replace(nodes=graph.nodes[:-1]))


def test_a_node_does_not_read_its_own_result() -> None:
    graph = straight()
    with pytest.raises(GraphError, match="which the node itself makes"):
        wg.verify(broken(graph, 0, inputs=graph.nodes[0].outputs))


def test_single_assignment() -> None:
    graph = straight()
    with pytest.raises(GraphError, match=r"node 2 \(cos\): result 0 is an edge that .* makes already"):
        wg.verify(broken(graph, 2, outputs=graph.nodes[0].outputs))
    with pytest.raises(GraphError, match="input 1 is an edge"):
        wg.verify(graph.replace(inputs=[graph.inputs[0]] * 2))


@pytest.mark.parametrize("type", [ArrayType((4,), F64), ArrayType((3,), numpy.dtype("f4")), ArrayType((3,), F64, True)])
def test_types_of_results(type: ArrayType) -> None:
    with pytest.raises(GraphError, match=r"node 1 \(multiply\): result 0 is .*, but the operation gives f64\[3\]"):
        wg.verify(broken(straight(), 1, outputs=(Var.of(type),)))


def test_types_of_operands() -> None:
    graph = straight()
    other = Const(numpy.ones(5))
    with pytest.raises(GraphError, match=r"does not accept its operands: multiply: shapes do not broadcast"):
        wg.verify(broken(graph, 1, inputs=(graph.nodes[0].outputs[0], other)))  # type: ignore[index]
    with pytest.raises(GraphError, match="does not accept its operands"):
        wg.verify(broken(graph, 0, inputs=()))


def test_number_of_results() -> None:
    with pytest.raises(GraphError, match="0 results, but the operation gives 1"):
        wg.verify(broken(straight(), 1, outputs=()))


def test_kinds_of_things() -> None:
    graph = straight()
    with pytest.raises(GraphError, match="operand 0 is a float"):
        wg.verify(broken(graph, 0, inputs=(1.0,)))
    with pytest.raises(GraphError, match="node 5 is a str"):
        wg.verify(graph.replace(nodes=(*graph.nodes, "sin")))
    with pytest.raises(GraphError, match="2 outputs for containers with 1"):
        wg.verify(graph.replace(outputs=graph.outputs * 2))


def inside(change: Callable[[Graph], Graph]) -> Graph:
    """A loop whose body was changed."""
    graph = wg.trace(lambda w, xs: wg.scan(lambda c, x: (c * w + x, np.sin(c)), 0.0, xs), 2.0, numpy.ones(3))
    (node,) = graph.nodes
    loop = node.primitive.with_subgraphs(change(node.subgraphs[0][1]))  # type: ignore[misc]
    return graph.replace(nodes=[node.replace(node.inputs, node.outputs, loop)])  # type: ignore[arg-type]


def test_nested_graphs() -> None:
    wg.verify(inside(lambda body: body))
    with pytest.raises(GraphError, match=r"graph .*, node 0 \(scan\), body, node 1 \(add\): operand 0 .* only later"):
        wg.verify(inside(lambda body: body.replace(nodes=body.nodes[::-1])))
    with pytest.raises(GraphError, match="body takes 2 values and gets 3"):
        wg.verify(inside(lambda body: body.replace(inputs=body.inputs[1:], nodes=[], outputs=body.inputs[1:])))
    with pytest.raises(GraphError, match=r"input 2 of body is f32\[\] and gets f64\[\]"):
        wg.verify(inside(lambda body: other_input(body)))


def other_input(body: Graph) -> Graph:
    w, c, _ = body.inputs
    return body.replace(inputs=[w, c, Var.of(ArrayType((), numpy.dtype("f4")))], nodes=[], outputs=[c, c])


def test_nested_graphs_use_nothing_from_outside() -> None:
    outer = Var.of(ArrayType((), F64))
    with pytest.raises(GraphError, match="which no input or node of this graph makes"):
        wg.verify(inside(lambda body: body.replace(outputs=[outer, body.outputs[1]])))


def test_unknown_lengths_may_be_renamed_but_not_mixed() -> None:
    a, b, c = Dim(), Dim(), Dim()
    lengths: dict[Dim, Dim] = {}
    assert matches((a, 3), (b, 3), lengths)
    assert matches((3, a), (3, b), lengths)
    assert not matches((a,), (c,), lengths)
    assert not matches((a,), (3,), lengths)
    assert not matches((3,), (a,), {})
    assert not matches((3,), (3, 1), {})


def test_values_fit_their_edges() -> None:
    x = wg.variable(numpy.ones(3))
    graph = wg.graph(x * 2)
    with pytest.raises(GraphError, match=r"a value of shape \(2,\) is kept for a f64\[3\]"):
        wg.verify(graph.replace(values={graph.inputs[0]: numpy.ones(2)}))
