"""Colourings: columns, rows and vertices of one colour can be told apart, on random patterns and well-known ones."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from scipy.sparse import csr_array, diags_array, eye_array, kron

from wengert.transforms.coloring import column_coloring, row_coloring, star_coloring


def random_pattern(seed: int, symmetric: bool) -> numpy.ndarray:
    rng = numpy.random.default_rng(seed)
    shape = (rng.integers(1, 25),) * 2 if symmetric else tuple(rng.integers(1, 25, 2))
    pattern = rng.random(shape) < rng.uniform(0, 0.5)
    if symmetric:
        pattern |= pattern.T
        if seed % 3:
            pattern |= numpy.eye(*shape, dtype=bool)
    return pattern


def seeds(coloring: Any) -> numpy.ndarray:
    return (coloring.colors[:, None] == numpy.arange(coloring.count)).astype(float)


@pytest.mark.parametrize("seed", range(40))
def test_entries_are_recovered(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    pattern = random_pattern(seed, False)
    a = rng.normal(size=pattern.shape) * pattern
    sparse = csr_array(pattern)
    expected = a[pattern]
    columns, rows = column_coloring(sparse), row_coloring(sparse)
    numpy.testing.assert_allclose((a @ seeds(columns))[columns.place, columns.sweep], expected, rtol=1e-12)
    numpy.testing.assert_allclose((seeds(rows).T @ a)[rows.sweep, rows.place], expected, rtol=1e-12)
    assert pattern.sum(1).max() <= columns.count <= pattern.shape[1]
    assert pattern.sum(0).max() <= rows.count <= pattern.shape[0]


@pytest.mark.parametrize("seed", range(80))
def test_entries_of_symmetric_matrices_are_recovered(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    pattern = random_pattern(seed, True)
    h = rng.normal(size=pattern.shape)
    h = (h + h.T) * pattern
    found = star_coloring(csr_array(pattern))
    numpy.testing.assert_allclose((h @ seeds(found))[found.place, found.sweep], h[pattern], rtol=1e-12)
    # Twins are read at one place.
    place = numpy.zeros(pattern.shape, int)
    place[pattern] = found.place * 100 + found.sweep
    numpy.testing.assert_array_equal(place, place.T)


def test_neighbours_differ_and_no_path_of_four_has_two_colours() -> None:
    for seed in range(40):
        pattern = random_pattern(seed, True)
        numpy.fill_diagonal(pattern, False)
        colors = star_coloring(csr_array(pattern)).colors
        for v, w in zip(*numpy.nonzero(pattern), strict=True):
            assert colors[v] != colors[w]
            for x in numpy.flatnonzero(pattern[w]):
                for y in numpy.flatnonzero(pattern[x]):
                    if len({v, w, x, y}) == 4:
                        assert len({colors[v], colors[w], colors[x], colors[y]}) > 2


def banded(n: int, width: int) -> Any:
    return csr_array(
        diags_array([numpy.ones(n - abs(k)) for k in range(-width, width + 1)], offsets=range(-width, width + 1))
    )


def arrow(n: int) -> Any:
    dense = numpy.eye(n)
    dense[0] = dense[:, 0] = 1
    return csr_array(dense)


@pytest.mark.parametrize(
    ("pattern", "columns", "star"),
    [
        (banded(50, 1), 3, 3),
        (banded(50, 3), 7, 7),
        (csr_array(numpy.eye(7)), 1, 1),
        (arrow(20), 20, 2),
        (csr_array(numpy.ones((6, 6))), 6, 6),
        (csr_array(kron(eye_array(5), numpy.ones((3, 3)))), 3, 3),
        (csr_array((4, 4)), 0, 0),
        (csr_array((0, 0)), 0, 0),
    ],
)
def test_numbers_of_colours(pattern: Any, columns: int, star: int) -> None:
    assert column_coloring(pattern).count == row_coloring(pattern).count == columns
    assert star_coloring(pattern).count == star


def test_a_grid_of_two_quantities() -> None:
    """The five-point stencil coupled at each point has 6 entries a row; the natural order alone takes 11 colours."""
    line = diags_array([numpy.ones(29), numpy.ones(30), numpy.ones(29)], offsets=[-1, 0, 1])
    grid = kron(line, eye_array(30)) + kron(eye_array(30), line)
    pattern = csr_array(kron(eye_array(2), grid) + kron([[0, 1], [1, 0]], eye_array(900)))
    assert column_coloring(pattern).count <= 8


def test_100_000_columns() -> None:
    pattern = banded(100_000, 1)
    assert column_coloring(pattern).count == star_coloring(pattern).count == 3
