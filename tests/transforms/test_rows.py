"""Array code as a loop over rows: the same values, and one loop where every operation works row by row."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.passes import optimize
from wengert.transforms.rows import by_rows

N = 300
A = numpy.random.default_rng(0).uniform(1, 2, (N, 3))
TABLE = numpy.random.default_rng(1).uniform(1, 2, (7, 3))
INDEX = numpy.random.default_rng(2).integers(0, 7, N)


def geometry(a: Any, table: Any) -> Any:
    b = table[INDEX] + numpy.arange(3.0)
    cross = np.stack([a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1], a[:, 0] - b[:, 0]], 1)
    length = np.sqrt(np.sum(a * a, 1))[:, None]
    return cross / length + np.concatenate([a[:, :1], b[:, 1:2]], 1) * numpy.ones((N, 1))


def then_whole(a: Any, table: Any) -> Any:
    rows = geometry(a, table)
    return np.cumsum(np.exp(-rows), 0), np.sum(rows), rows[::-1] * rows


def across_first(a: Any, table: Any) -> Any:
    centred = a - np.mean(a, 0)
    return np.sqrt(np.sum(centred * centred, 1)) * np.sum(geometry(centred, table), 1) / 3 + table[0, 0]


@pytest.mark.parametrize("fn", [geometry, then_whole, across_first])
def test_values_stay(fn: Any) -> None:
    graph = optimize(wg.trace(fn, A, TABLE))
    looped = by_rows(graph)
    wg.verify(looped)
    assert [node.primitive.name for node in looped.nodes].count("scan") == 1
    assert len(looped.nodes) < len(graph.nodes)
    found, expected = looped(A, TABLE), graph(A, TABLE)
    for mine, theirs in zip(*(x if isinstance(x, tuple) else (x,) for x in (found, expected)), strict=True):
        numpy.testing.assert_allclose(mine, theirs, rtol=1e-13)


def test_geometry_is_one_loop() -> None:
    looped = by_rows(optimize(wg.trace(geometry, A, TABLE)))
    assert [node.primitive.name for node in looped.nodes] == ["scan"]
    assert all(var.type.size <= 3 for node in looped.nodes[0].subgraphs[0][1].nodes for var in node.outputs)


def test_what_does_not_work_by_rows_stays() -> None:
    for fn in (lambda x: np.cumsum(x) * x[::-1], lambda x: np.sin(x[:10]) * 2):
        graph = optimize(wg.trace(fn, A[:, 0]))
        assert by_rows(graph) is graph
