"""`print(graph)`: the expected text, whole; and that parts of large graphs are shown quickly."""

from __future__ import annotations

import re
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert import source
from wengert.graph.graph import Graph
from wengert.graph.nodes import Const, Node, Var
from wengert.graph.stage import stage
from wengert.graph.types import ArrayType, Dim

HERE = Path(__file__).name


def text_of(graph: Any, first: int) -> str:
    """The text with line numbers counted from a line of this file: `# +2`."""
    return re.sub(rf"{HERE}:(\d+)", lambda found: f"+{int(found[1]) - first}", str(graph))


def block(expected: str) -> str:
    return textwrap.dedent(expected).strip("\n")


def test_forward_and_gradient_part() -> None:
    first = sys._getframe().f_lineno

    def loss(w: Any, x: Any) -> Any:
        h = np.tanh(w @ x)
        h = h * 2.0
        return np.sum(h)

    graph = wg.trace(wg.value_and_grad(loss), numpy.ones((3, 2)), numpy.ones(2, numpy.float32))
    assert text_of(graph, first) == block("""
        loss(w: f64[3,2], x: f32[2]) -> (f64[], f64[3,2]):
          v0: f64[3] = matmul(w, x)                         # +3
          h: f64[3] = tanh(v0)                              # +3
          h_2: f64[3] = multiply(h, 2.0)                    # +4
          v1: f64[] = sum(h_2, axes=(0,))                   # +5
          g0: f64[3] = multiply(h, h)                       # gradient of +3
          g1: f64[3] = subtract(1, g0)                      # gradient of +3
          g2: f64[3] = multiply(f64([2.0, 2.0, 2.0]), g1)   # gradient of +3
          g3: f64[3,1] = reshape(g2, shape=(3, 1))          # gradient of +3
          g4: f64[3,2] = multiply(g3, x)                    # gradient of +3
          return v1, g4
    """)


def test_nested_graphs_stand_under_their_node() -> None:
    first = sys._getframe().f_lineno

    def f(c: Any, xs: Any) -> Any:
        def step(c: Any, x: Any) -> Any:
            new = c + x
            return new, wg.cond(x > 0, np.sin, np.cos, new)

        return wg.scan(step, c, xs)

    assert text_of(wg.trace(f, 1.0, numpy.ones(4)), first) == block("""
        f(c: f64[]*, xs: f64[4]) -> (f64[], f64[4]):
          v0: f64[], v1: f64[4] = scan(c, xs, consts=0, carries=1, length=4, reverse=False)   # +7
            body:
              step(v0: f64[], v1: f64[]) -> (f64[], f64[]):
                new: f64[] = add(v0, v1)      # +4
                v2: bool[] = greater(v1, 0)   # +5
                v3: f64[] = switch(v2, new)   # +5
                  branch 0:
                    cos(v0: f64[]) -> f64[]:
                      v1: f64[] = cos(v0)     # +5
                      return v1
                  branch 1:
                    sin(v0: f64[]) -> f64[]:
                      v1: f64[] = sin(v0)     # +5
                      return v1
                return new, v3
          return v0, v1
    """)


def test_the_whole_of_a_backward_loop_is_in_the_gradient_part() -> None:
    """Also the sums, and the choice between lanes, that are written only once the reverse of the body is known."""
    first = sys._getframe().f_lineno

    def f(x: Any) -> Any:
        last = wg.while_loop(lambda c: c < 9, lambda c: c * x, x)
        return last

    graph = wg.trace(wg.grad(f), 2.0)
    forward, backward = (node for node in graph.nodes if node.subgraphs)
    assert [node.primitive.name for node in (forward, backward)] == ["while_loop", "scan"]
    for node, gradient in ((forward, False), (backward, True)):
        ((_, body),) = [pair for pair in node.subgraphs if pair[0] == "body"]
        assert len(body.nodes) > 0
        for inner in body.nodes:
            assert inner.source is not None
            assert inner.source.line == first + 3
            assert inner.backward is gradient


def test_constants_parameters_and_indices() -> None:
    def f(x: Any) -> Any:
        a = x[1:, None, ::-1]
        b = a * numpy.arange(9.0)[None, None, :3] + numpy.float32(1.5)
        return np.sum(b.astype(complex) * numpy.ones((3, 1, 3)))

    text = re.sub(r" +#.*", "", str(wg.trace(f, numpy.ones((4, 3)))))
    assert text == block("""
        f(x: f64[4,3]) -> c128[]:
          a: f64[3,1,3] = slice(x, place=(1:, None, ::-1))
          v0: f64[3,1,3] = multiply(a, f64([[[0.0, 1.0, 2.0]]]))
          b: f64[3,1,3] = add(v0, f32(1.5))
          v1: c128[3,1,3] = convert(b, dtype=c128)
          v2: c128[3,1,3] = multiply(v1, const(f64[3,1,3]))
          v3: c128[] = sum(v2, axes=(0, 1, 2))
          return v3
    """)


def test_the_user_s_names_come_first_and_are_unique() -> None:
    def f(v0: Any, h_2: Any) -> Any:
        h = v0 * h_2
        h = h * 2
        return h * 3

    names = re.findall(r"^  (\w+):", str(wg.trace(f, 1.0, 2.0)), re.M)
    assert names == ["h", "h_3", "v1"]


def test_unknown_lengths_are_numbered_by_appearance() -> None:
    graph = wg.trace(wg.grad(lambda x: wg.while_loop(lambda c: c < 9, lambda c: c * x, x)), 2.0)
    assert "[n0]" in str(graph)
    assert "n1" not in str(graph)
    assert str(graph).count("length=n0") == 2
    wg.verify(graph)
    assert str(wg.ArrayType((Dim(),), numpy.dtype(bool))) != "bool[n0]"  # numbers of lengths go on from run to run


def test_a_dynamic_graph_prints() -> None:
    first = sys._getframe().f_lineno
    x = wg.variable(2.0, name="x")
    y = x * 3.0
    z = np.sin(y) + x
    assert text_of(wg.graph(z), first) == block("""
        graph(x: f64[]*) -> f64[]:
          y: f64[] = multiply(x, 3.0)   # +2
          v0: f64[] = sin(y)            # +3
          z: f64[] = add(v0, x)         # +3
          return z
    """)


def test_the_text_is_the_same_in_every_run() -> None:
    def f(x: Any) -> Any:
        return wg.while_loop(lambda c: c < 9, lambda c: c * x, x) + np.sum(np.sort(x * numpy.ones(3)))

    texts = {str(wg.trace(wg.grad(f), 2.0)) for _ in range(3)}
    assert len(texts) == 1
    assert "0x" not in texts.pop()


def chain(length: int) -> Graph:
    """sin(sin(...x)) with a node for each step."""
    one, _ = stage(lambda x: [np.sin(x)], [ArrayType((), numpy.dtype(float))], ["x"], name="chain")
    (node,) = one.nodes
    value, nodes = one.inputs[0], []
    for _ in range(length):
        made = Var.of(node.outputs[0].type)  # type: ignore[index]
        nodes.append(node.replace((value,), (made,)))
        value = made
    return one.replace(nodes=nodes, outputs=[value])


def test_the_middle_of_a_large_graph_is_left_out() -> None:
    graph = chain(10)
    assert re.sub(r" +#.*", "", graph.text(max_nodes=3)) == block("""
        chain(x: f64[]) -> f64[]:
          v1: f64[] = sin(x)
          v2: f64[] = sin(v1)
          ... 7 nodes not shown: text(start=2, stop=9)
          v10: f64[] = sin(v9)
          return v10
    """)
    assert re.sub(r" +#.*", "", graph.text(start=4, stop=6)) == block("""
        chain(x: f64[]) -> f64[]:
          ... 4 nodes before
          v5: f64[] = sin(v4)
          v6: f64[] = sin(v5)
          ... 4 nodes after
          return v10
    """)
    assert "sin(v9)" in graph.text(start=-1)
    assert len(graph.text(max_nodes=None).splitlines()) == 12
    assert len(str(chain(5000)).splitlines()) == 2003


def test_a_part_of_a_million_nodes_is_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = chain(1_000_000)
    looked_up = []
    monkeypatch.setattr(
        source.Source,
        "line",
        property(lambda place: looked_up.append(place) or 1),  # type: ignore[func-returns-value]
    )
    start = time.perf_counter()
    text = graph.text(start=500_000, stop=500_005)
    seconds = time.perf_counter() - start
    assert text.count("sin(") == 5
    assert len(looked_up) <= 10  # no line of a node that is not shown
    assert seconds < 5  # it takes 0.2 s; a full text would take half a minute


def test_broken_graphs_still_print() -> None:
    graph = chain(2)
    operands = Var.of(graph.inputs[0].type), Const(None, graph.inputs[0].type)
    lost = Node(graph.nodes[0].primitive, operands, None, None, 0, 0)
    assert "sin(?, const(f64[]))" in str(graph.replace(nodes=(lost, *graph.nodes)))


def test_repr_is_one_line() -> None:
    assert repr(chain(3)) == "<Graph chain: 1 inputs, 3 nodes, 1 outputs>"
