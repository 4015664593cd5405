"""Colourings of sparsity patterns: which columns or rows of a Jacobian can be computed in one sweep.

Columns that have no row in common can be added up and still be told apart, so that one directional derivative gives
all columns of a colour (A. R. Curtis, M. J. D. Powell, J. K. Reid, On the estimation of sparse Jacobian matrices,
J. Inst. Maths Applics 13, 1974). A symmetric matrix can do with fewer: in a star colouring neighbours differ and no
path of four vertices has two colours only, so that each entry stands alone in its row or in its column
(T. F. Coleman, J. J. Moré, Estimation of sparse Hessian matrices and graph coloring problems, Math. Programming 28,
1984; A. H. Gebremedhin, F. Manne, A. Pothen, What color is your Jacobian?, SIAM Review 47, 2005).

The greedy choice is the least colour that is free. The set of colours in use at a row or vertex is one Python integer,
so that a choice is a few bit operations, whatever the number of colours; 100,000 columns take a few tenths of a second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import reverse_cuthill_mckee

Ints = np.ndarray[Any, np.dtype[np.intp]]

ROUNDS = 4
"""How often a colouring is done again in the order of its own colours, as long as that finds a better one."""


@dataclass(frozen=True, eq=False)
class Coloring:
    """Which sweeps to make, and where each entry of the pattern is found in their results.

    colors : the colour of each column (mode "column" and "star") or row ("row"); -1 where there is no entry.
    count : number of colours. sweep, place : for each entry of the CSR pattern, in order, the colour it is computed
    with, and its position in the result of that sweep: a row for "column" and "star", a column for "row".
    """

    mode: str
    colors: Ints
    count: int
    sweep: Ints
    place: Ints


def column_coloring(pattern: Any) -> Coloring:
    """Columns of one colour share no row: a product with a vector for each colour gives the matrix.

    >>> tridiagonal = csr_array(np.eye(6) + np.eye(6, k=1) + np.eye(6, k=-1))
    >>> column_coloring(tridiagonal).colors
    array([0, 1, 2, 0, 1, 2])
    """
    colors, count = _columns(pattern)
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    return Coloring("column", colors, count, colors[pattern.indices], rows)


def row_coloring(pattern: Any) -> Coloring:
    """Rows of one colour share no column: a product from the left for each colour gives the matrix."""
    colors, count = _columns(pattern.T.tocsr())
    rows = np.repeat(np.arange(pattern.shape[0]), np.diff(pattern.indptr))
    return Coloring("row", colors, count, colors[rows], pattern.indices.astype(np.intp))


def _columns(pattern: Any) -> tuple[Ints, int]:
    """Distance-2 colouring of the columns, in their natural order and, until no colour is wasted, in others."""
    by_column = pattern.tocsc()
    bound = int(np.diff(pattern.indptr).max(initial=0))  # a row with so many entries needs as many colours
    lengths = np.diff(by_column.indptr)
    used = np.flatnonzero(lengths)
    best = _greedy(by_column, used)
    for order in (_by_neighbourhood, _by_degree):
        if _colors_of(best) > bound and (columns := order(pattern, lengths)) is not None:
            best = min(best, _greedy(by_column, columns[lengths[columns] > 0]), key=_colors_of)
    for _ in range(ROUNDS):
        count = _colors_of(best)
        if count <= bound:
            break
        # Greedy in the order of the classes of a colouring never takes more colours (J. Culberson, Iterated greedy
        # graph coloring and the difficulty landscape, TR 92-07, University of Alberta 1992).
        better = _greedy(by_column, used[np.argsort(-best[used], kind="stable")])
        if _colors_of(better) >= count:
            break
        best = better
    return best, _colors_of(best)


def _by_degree(pattern: Any, lengths: Ints) -> Ints:
    """Columns with many entries first."""
    return np.argsort(-lengths, kind="stable")


def _by_neighbourhood(pattern: Any, lengths: Ints) -> Ints | None:
    """Columns of a square pattern in the order that makes its band narrow, which suits grids of several quantities."""
    if pattern.shape[0] != pattern.shape[1]:
        return None
    symmetric = (pattern + pattern.T).astype(np.int8)
    return reverse_cuthill_mckee(symmetric, symmetric_mode=True).astype(np.intp)  # type: ignore[no-any-return]


def _colors_of(colors: Ints) -> int:
    return int(colors.max(initial=-1)) + 1


def _greedy(by_column: Any, order: Ints) -> Ints:
    """The least free colour for each column, in an order."""
    rows, starts = by_column.indices.tolist(), by_column.indptr.tolist()
    taken = [0] * by_column.shape[0]
    colors = [-1] * by_column.shape[1]
    for column in order.tolist():
        mine = rows[starts[column] : starts[column + 1]]
        others = 0
        for row in mine:
            others |= taken[row]
        bit = ~others & (others + 1)
        colors[column] = bit.bit_length() - 1
        for row in mine:
            taken[row] |= bit
    return np.array(colors, np.intp)


def star_coloring(pattern: Any) -> Coloring:
    """For a symmetric pattern: a product with a vector for each colour gives the matrix.

    An entry (i, j) is read from row i in the sweep of j's colour if no other entry of row i has that colour, and
    otherwise from row j in the sweep of i's colour.

    >>> arrow = csr_array(np.eye(5) + np.outer(np.ones(5), [1, 0, 0, 0, 0]) + np.outer([1, 0, 0, 0, 0], np.ones(5)))
    >>> star_coloring(arrow).count
    2
    """
    lengths = np.diff(pattern.indptr)
    used = np.flatnonzero(lengths)
    colors = _star(pattern, used)
    by_degree = used[np.argsort(-lengths[used], kind="stable")]
    if not np.array_equal(by_degree, used):
        colors = min(colors, _star(pattern, by_degree), key=_colors_of)
    count = _colors_of(colors)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    columns = pattern.indices.astype(np.intp)
    # Entries of a row with the same colour, counted: an entry that is alone can be read there.
    keys = rows * max(count, 1) + colors[columns]
    _, where, many = np.unique(keys, return_inverse=True, return_counts=True)
    alone = many[where] == 1
    sweep, place = np.where(alone, colors[columns], colors[rows]), np.where(alone, rows, columns)
    # Entries below the diagonal read what those above it read, so that the result is symmetric to the last bit.
    mirror = csr_array((np.arange(len(rows)), pattern.indices, pattern.indptr), shape=pattern.shape).T.tocsr().data
    twin = np.where(rows > columns, mirror, np.arange(len(rows)))
    return Coloring("star", colors, count, sweep[twin], place[twin])


def _star(pattern: Any, order: Ints) -> Ints:
    """Greedy star colouring (A. H. Gebremedhin, A. Tarafdar, F. Manne, A. Pothen, New acyclic and star coloring
    algorithms with application to computing Hessians, SIAM J. Sci. Comput. 29, 2007, algorithm 4.1, with sets of
    colours as integers in place of the walk over vertices at distance 3)."""
    size = pattern.shape[0]
    neighbours, starts = pattern.indices.tolist(), pattern.indptr.tolist()
    bits = [0] * size  # the colour of a vertex, as a bit; 0 before it has one
    once = [0] * size  # colours among the neighbours of a vertex
    twice = [0] * size  # colours of two or more of them
    hubs = [0] * size  # colours of those neighbours x that have another neighbour of this vertex's own colour
    colors = [-1] * size
    for v in order.tolist():
        mine = neighbours[starts[v] : starts[v + 1]]
        others = once[v]
        double = twice[v]
        for w in mine:
            bit = bits[w]
            if bit and w != v:
                # A path v-w-x or, where two neighbours of v share w's colour, the path x-w-v-w'.
                others |= once[w] if double & bit else hubs[w]
        bit = ~others & (others + 1)
        bits[v] = bit
        colors[v] = bit.bit_length() - 1
        for w in mine:
            if w == v:
                continue
            if not once[w] & bit:
                once[w] |= bit
            elif not twice[w] & bit:
                # w has got a second neighbour of this colour: the earlier ones see it in `hubs` from now on.
                twice[w] |= bit
                if bits[w]:
                    for x in neighbours[starts[w] : starts[w + 1]]:
                        if bits[x] == bit:
                            hubs[x] |= bits[w]
            elif bits[w]:
                hubs[v] |= bits[w]
            if bits[w] & double:
                hubs[w] |= bit
    return np.array(colors, np.intp)
