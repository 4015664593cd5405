"""Graphviz text: valid by its grammar, complete, escaped."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from tests.view import graphs

from wengert.view.dot import to_dot
from wengert.view.model import folded, picture

STRING = r'"(?:[^"\\]|\\.)*"'
VALUE = rf"(?:{STRING}|[A-Za-z_][\w]*|-?[\d.]+)"
ATTRIBUTES = rf"\[{VALUE}={VALUE}(?:, {VALUE}={VALUE})*\]"
STATEMENT = re.compile(
    rf"(?:digraph {STRING} \{{|subgraph \w+ \{{|\}}|(?:graph|node|edge) {ATTRIBUTES}|n\d+ {ATTRIBUTES}"
    rf"|n\d+ -> n\d+ {ATTRIBUTES})"
)
"""The statements of the DOT grammar that are used, one a line."""


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("make", [graphs.ten, graphs.loop, graphs.layers])
def test_valid_and_complete(make, nested):
    graph = make()
    text = to_dot(graph, nested=nested)
    lines = [line.strip() for line in text.splitlines()]
    assert all(STATEMENT.fullmatch(line) for line in lines), [x for x in lines if not STATEMENT.fullmatch(x)]
    assert sum(line.endswith("{") for line in lines) == lines.count("}")
    view = picture(graph) if nested else folded(picture(graph))
    assert sum(bool(re.match(r"n\d+ \[", line)) for line in lines) == len(view.boxes)
    assert sum("->" in line for line in lines) == len(view.edges)


def test_gradient_edges_have_their_colour():
    lines = to_dot(graphs.ten()).splitlines()
    beside = [line for line in lines if "constraint=false" in line]
    assert len(beside) == 9 and all("#c2410c" in line for line in beside)


def test_quotes_and_backslashes():
    build = graphs.Builder()
    x = build.input('a"b\\n{}|<>')
    text = to_dot(build.graph(build.op("sin", x), name='"\\'))
    assert all(STATEMENT.fullmatch(line.strip()) for line in text.splitlines())


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("make", [graphs.ten, graphs.loop, graphs.layers])
def test_graphviz_reads_it(make):
    subprocess.run(["dot", "-Tsvg"], input=to_dot(make(), nested=True).encode(), check=True, capture_output=True)
