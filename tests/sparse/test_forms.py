"""Block forms: permutations with nothing outside the blocks, as fine as the pattern allows."""

from __future__ import annotations

import itertools

import numpy
import pytest
from scipy.sparse import csr_array

from wengert.sparse.forms import BlockForm, block_diagonal, block_triangular


def check(form: BlockForm, pattern: numpy.ndarray) -> None:
    """A permutation of rows and columns, and nothing below the blocks (nor above, if diagonal)."""
    m, n = pattern.shape
    assert sorted(form.rows) == list(range(m)) and sorted(form.columns) == list(range(n))
    assert form.row_bounds[-1] == m and form.column_bounds[-1] == n
    ordered = pattern[form.rows][:, form.columns]
    block_of_row = numpy.repeat(numpy.arange(form.count), numpy.diff(form.row_bounds))
    block_of_column = numpy.repeat(numpy.arange(form.count), numpy.diff(form.column_bounds))
    rows, columns = numpy.nonzero(ordered)
    if form.triangular:
        assert (block_of_row[rows] <= block_of_column[columns]).all()
    else:
        assert (block_of_row[rows] == block_of_column[columns]).all()


@pytest.mark.parametrize("seed", range(60))
def test_random_patterns(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    shape = tuple(rng.integers(1, 15, 2)) if seed % 2 else (rng.integers(1, 15),) * 2
    pattern = rng.random(shape) < rng.uniform(0.02, 0.3)
    for form in (block_diagonal(csr_array(pattern)), block_triangular(csr_array(pattern))):
        check(form, pattern)
        assert sum(m for m, _ in form.shapes) == shape[0] and sum(n for _, n in form.shapes) == shape[1]


@pytest.mark.parametrize("seed", range(10))
def test_hidden_blocks_are_found(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    sizes = rng.integers(1, 5, 6)
    edges = numpy.concatenate([[0], numpy.cumsum(sizes)])
    pattern = numpy.zeros((edges[-1], edges[-1]), bool)
    for a, b in itertools.pairwise(edges):
        pattern[a:b, a:b] = True
    rows, columns = rng.permutation(edges[-1]), rng.permutation(edges[-1])
    diagonal = block_diagonal(csr_array(pattern[rows][:, columns]))
    assert sorted(diagonal.shapes) == sorted((k, k) for k in sizes)
    for a, b in itertools.pairwise(edges):
        pattern[a:b, b:] = rng.random((b - a, edges[-1] - b)) < 0.3
    hidden = pattern[rows][:, columns]
    triangular = block_triangular(csr_array(hidden))
    check(triangular, hidden)
    assert sorted(triangular.shapes) == sorted((k, k) for k in sizes)


def test_rectangular_parts() -> None:
    """Two columns that one row must determine, a square part, and one column that two rows determine."""
    pattern = numpy.array([[1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0, 1]], bool)
    form = block_triangular(csr_array(pattern))
    assert form.shapes == [(1, 2), (1, 1), (2, 1)]
    assert str(form) == "block-triangular: 3 blocks, the largest 1 x 2"


def test_blocks_of_a_matrix() -> None:
    a = numpy.kron(numpy.diag([1.0, 2.0]), numpy.ones((2, 2)))
    first, second = block_diagonal(csr_array(a)).blocks(a)
    numpy.testing.assert_array_equal(first.toarray(), numpy.ones((2, 2)))
    numpy.testing.assert_array_equal(second.toarray(), 2 * numpy.ones((2, 2)))


def test_empty_patterns() -> None:
    for shape in ((0, 0), (3, 0), (0, 2), (3, 2)):
        for form in (block_diagonal(csr_array(shape)), block_triangular(csr_array(shape))):
            check(form, numpy.zeros(shape, bool))
