"""Graphs cut at gathers: the two parts together are the function, and columns know where copies came from."""

from __future__ import annotations

from typing import Any

import numpy
from scipy.sparse import csr_array

import wengert as wg
import wengert.numpy as np
from wengert.transforms.locality import cut_gathers, merged

X = numpy.random.default_rng(0).normal(size=(4, 3))
INDEX = numpy.array([3, 1, 1, 0, -1])


def test_the_parts_make_the_whole() -> None:
    def fn(x: Any, y: Any) -> Any:
        return np.sum(x.T[:, INDEX] ** 2, 0) * x[INDEX, 0] + y * x[1, 1]

    graph = wg.trace(fn, X, numpy.ones(5))
    cut = cut_gathers(graph, [True, False])
    assert cut is not None
    values = cut.outer.replace(in_tree=None)(X, numpy.ones(5))
    found = cut.inner.replace(in_tree=None)(*values)
    numpy.testing.assert_allclose(found, fn(X, numpy.ones(5)))
    flat = numpy.concatenate([numpy.ravel(v) for v, w in zip(values, cut.wanted, strict=True) if w])
    numpy.testing.assert_array_equal(flat, X.ravel()[cut.columns])


def test_functions_that_do_not_repeat_are_not_cut() -> None:
    for fn in (lambda x: x[::-1] * x, lambda x: x[numpy.array([2, 0])] ** 2, lambda x: np.sin(x)[INDEX]):
        assert cut_gathers(wg.trace(fn, X), [True]) is None


def test_entries_of_one_place_are_added() -> None:
    """Three gathered values, of which two are the same unknown and one is a constant."""
    inner = csr_array(numpy.array([[1, 1, 0], [0, 1, 1]], bool))
    pattern, merge = merged(inner, numpy.array([1, 1, -1]), 2)
    numpy.testing.assert_array_equal(pattern.toarray(), [[0, 1], [0, 1]])
    assert merge.order is None
    numpy.testing.assert_array_equal(merge.target, [0, 0, 1, -1])
    _, distinct = merged(inner, numpy.array([2, 0, 1]), 3)
    assert distinct.order is not None
    numpy.testing.assert_array_equal(distinct.order, [1, 0, 2, 3])
