"""Block forms of sparsity patterns: block-diagonal, and block-triangular by Dulmage and Mendelsohn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import block_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components, maximum_bipartite_matching

Ints = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, eq=False)
class BlockForm:
    """An order of rows and columns in which a pattern consists of blocks.

    Attributes
    ----------
    rows, columns : the order, so that `a[form.rows][:, form.columns]` has the form.
    row_bounds, column_bounds : block k has the rows `rows[row_bounds[k]:row_bounds[k + 1]]`, and likewise columns.
    triangular : whether entries may stand above the blocks, to their right; otherwise outside of them are none.
    """

    rows: Ints
    columns: Ints
    row_bounds: Ints
    column_bounds: Ints
    triangular: bool

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.row_bounds) - 1

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """The shape of each block."""
        heights, widths = np.diff(self.row_bounds), np.diff(self.column_bounds)
        return [(int(m), int(n)) for m, n in zip(heights, widths, strict=True)]

    def blocks(self, matrix: Any) -> list[Any]:
        """The blocks of a matrix with this pattern (those on the diagonal, of a triangular form)."""
        ordered = csr_array(matrix)[self.rows][:, self.columns]
        return [
            ordered[a:b, c:d]
            for a, b, c, d in zip(
                self.row_bounds[:-1], self.row_bounds[1:], self.column_bounds[:-1], self.column_bounds[1:], strict=True
            )
        ]

    def __str__(self) -> str:
        kind = "block-triangular" if self.triangular else "block-diagonal"
        largest = max(self.shapes, key=lambda shape: shape[0] * shape[1], default=(0, 0))
        blocks = "1 block" if self.count == 1 else f"{self.count:,} blocks"
        return f"{kind}: {blocks}, the largest {largest[0]:,} x {largest[1]:,}"


def block_diagonal(pattern: Any) -> BlockForm:
    """The finest form with blocks along the diagonal: the connected components of rows and columns.

    Example
    -------
    >>> import numpy as np
    >>> print(block_diagonal(csr_array(np.kron(np.eye(3), np.ones((2, 2))))))
    block-diagonal: 3 blocks, the largest 2 x 2
    """
    pattern = csr_array(pattern)
    m, n = pattern.shape
    both = block_array([[None, pattern], [pattern.T, None]], format="csr") if m and n else csr_array((m + n, m + n))
    _, labels = connected_components(both, directed=False)
    return _ordered(labels[:m], labels[m:], False)


def _ordered(row_labels: Ints, column_labels: Ints, triangular: bool) -> BlockForm:
    """Rows and columns sorted by the number of their block."""
    count = int(max(row_labels.max(initial=-1), column_labels.max(initial=-1))) + 1
    row_bounds, column_bounds = (
        np.concatenate(([0], np.cumsum(np.bincount(labels, minlength=count)))) for labels in (row_labels, column_labels)
    )
    rows, columns = (np.argsort(labels, kind="stable") for labels in (row_labels, column_labels))
    return BlockForm(rows, columns, row_bounds, column_bounds, triangular)


def block_triangular(pattern: Any) -> BlockForm:
    """The finest block upper triangular form.

    A maximum matching pairs rows with columns. What is reached on alternating paths from columns without a partner
    has more columns than rows and comes first; what is reached from rows without a partner has more rows than columns
    and comes last; the rest is square and falls into the strong components of the graph of pairs. (A. L. Dulmage,
    N. S. Mendelsohn, Coverings of bipartite graphs, Canad. J. Math. 10, 1958; A. Pothen, C.-J. Fan, Computing the block
    triangular form of a sparse matrix, ACM TOMS 16, 1990.)

    Example
    -------
    >>> import numpy as np
    >>> form = block_triangular(csr_array(np.array([[1, 0, 0], [1, 1, 1], [0, 0, 1]])))
    >>> form.count, form.rows
    (3, array([1, 2, 0]))
    """
    pattern = csr_array(pattern, dtype=bool)
    m, n = pattern.shape
    partner = maximum_bipartite_matching(pattern, perm_type="column") if m and n else np.full(m, -1)
    mate = np.full(n, -1, np.intp)  # the row of a column
    paired = np.flatnonzero(partner >= 0)
    mate[partner[paired]] = paired
    # Pairs as vertices 0 ... p-1: an edge from the pair of a row to the pairs of the columns that the row has.
    number = np.full(m, -1, np.intp)
    number[paired] = np.arange(len(paired))
    square = pattern[paired][:, partner[paired]]
    rows_of_free = csr_array(pattern[:, np.flatnonzero(mate < 0)])
    from_columns = np.flatnonzero(np.diff(rows_of_free[paired].indptr)) if len(paired) else np.zeros(0, np.intp)
    from_rows = np.unique(pattern[np.flatnonzero(partner < 0)][:, partner[paired]].indices)
    wide, tall = _reached(square.T.tocsr(), from_columns), _reached(square, from_rows)
    rest = np.flatnonzero(~wide & ~tall)
    count, strong = connected_components(square[rest][:, rest], connection="strong")
    rank = _topological(square[rest][:, rest], strong, count)
    label = np.empty(len(paired), np.intp)
    has_wide = bool(wide.any() or (mate < 0).any())
    label[wide], label[tall], label[rest] = 0, count + has_wide, rank[strong] + has_wide
    row_labels = np.full(m, count + has_wide, np.intp)
    row_labels[paired] = label
    column_labels = np.zeros(n, np.intp)
    column_labels[partner[paired]] = label
    return _ordered(row_labels, column_labels, True)


def _reached(graph: Any, starts: Ints) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which vertices can be reached from some."""
    size = graph.shape[0]
    found = np.zeros(size + 1, bool)
    if len(starts):
        above = csr_array((np.ones(len(starts)), (np.zeros(len(starts), int), starts)), shape=(1, size))
        whole = block_array([[graph.astype(float), csr_array((size, 1))], [above, None]], format="csr")
        found[breadth_first_order(whole, size, return_predecessors=False)] = True
    return found[:size]


def _topological(graph: Any, component: Ints, count: int) -> Ints:
    """The rank of each strong component in an order in which edges lead to later ones."""
    edges = graph.tocoo()
    tails, heads = component[edges.coords[0]], component[edges.coords[1]]
    between = csr_array((np.ones(len(tails), bool), (tails, heads)), shape=(count, count))
    between.setdiag(False)
    between.eliminate_zeros()
    waiting = np.bincount(between.indices, minlength=count).tolist()
    targets, starts = between.indices.tolist(), between.indptr.tolist()
    ready = [k for k in range(count - 1, -1, -1) if not waiting[k]]
    rank, place = np.empty(count, np.intp), 0
    while ready:
        k = ready.pop()
        rank[k] = place
        place += 1
        for target in targets[starts[k] : starts[k + 1]]:
            waiting[target] -= 1
            if not waiting[target]:
                ready.append(target)
    return rank
