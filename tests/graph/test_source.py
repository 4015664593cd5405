"""The user's line: found for every node, through the package's own frames."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import ShapeError
from wengert.source import PACKAGE, Source, here, is_internal

HERE = Path(__file__).name


def lines_of(graph: wg.Graph) -> dict[str, str]:
    """The text of the line of each operation."""
    return {node.primitive.name: node.source.text for node in graph.all_nodes() if node.source is not None}


def test_lines_of_nodes() -> None:
    def f(x: Any) -> Any:
        a = np.sin(x)  # the sine
        b = numpy.cos(a)  # NumPy dispatches to the tensor
        c = b.reshape(3, 1)  # a method
        c[0] = 2.0  # an assignment
        return functools.reduce(np.maximum, [c, a])  # called back by functools

    found = lines_of(wg.trace(f, numpy.ones(3)))
    assert "the sine" in found["sin"]
    assert "NumPy dispatches" in found["cos"]
    assert "a method" in found["reshape"]
    assert "an assignment" in found["set_slice"]
    assert "called back" in found["maximum"]


def test_lines_of_the_gradient_are_those_of_the_forward_part() -> None:
    def f(x: Any) -> Any:
        a = np.sin(x)  # first
        return np.sum(a * a)  # second

    graph = wg.trace(wg.grad(f), numpy.ones(3))
    backward = [node for node in graph.nodes if node.backward]
    assert backward
    assert {node.primitive.name: node.source.text[-5:] for node in backward}["cos"] == "first"  # type: ignore[union-attr]


def test_lines_inside_loops_and_branches() -> None:
    def f(x: Any) -> Any:
        def step(c: Any, _: Any) -> Any:
            return wg.cond(c > 0, lambda c: np.sin(c), lambda c: np.cos(c), c), None  # both branches

        return wg.scan(step, x, None, length=3)[0]

    found = lines_of(wg.trace(f, 1.0))
    assert "both branches" in found["sin"]
    assert "both branches" in found["cos"]


def test_lines_of_dynamic_nodes_and_errors() -> None:
    x = wg.variable(numpy.ones(3))
    y = np.sin(x)  # made here
    assert "made here" in y.node.source.text
    with pytest.raises(ShapeError) as caught:
        _ = y + numpy.ones(4)  # fails here
    assert "fails here" in str(caught.value)
    assert caught.value.source.file == __file__


def test_targets() -> None:
    def f(x: Any) -> Any:
        total = x + 1
        value = np.sin(total)
        a, b = np.cos(value), np.tan(value)
        return a * b

    names = [node.outputs[0].label for node in wg.trace(f, 1.0).nodes]  # type: ignore[index]
    assert names[:2] == ["total", "value"]
    assert names[4] is None


def test_what_is_internal() -> None:
    assert is_internal(PACKAGE + "ops/shape.py")
    assert is_internal(numpy.__file__)
    assert not is_internal(__file__)
    place = here()
    assert place is not None
    assert (place.file, place.function) == (__file__, "test_what_is_internal")
    assert str(place).startswith(f"{HERE}:")


def test_code_without_lines() -> None:
    code = compile("x = 1", "<made>", "exec").replace(co_linetable=b"")
    assert Source(code, 0).line == 0
    assert Source(code, 0).text == ""
