"""Plans of sparse derivatives: the pattern of a function, a colouring of it, and the program for the entries."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from ..errors import ConcretizationError, SparsityError
from ..graph.graph import Graph
from ..graph.stage import stage
from ..graph.types import ArrayType
from ..native.jit import jit
from ..passes import optimize
from ..transforms.coloring import Coloring, column_coloring, row_coloring, star_coloring
from ..transforms.compressed import BLOCK, Compressed
from ..transforms.sparsity import graph_pattern
from ..transforms.trace import call, trace
from .forms import BlockForm, block_diagonal, block_triangular

REVERSE_COST = 2
"""How much more a sweep of reverse mode costs than one of forward mode."""


class SparsePlan:
    """How a sparse derivative is computed; the same for all values of arguments of the same types.

    Attributes
    ----------
    pattern : boolean `scipy.sparse.csr_array`, the structure of every result.
    mode : "column" (forward mode, columns of one colour together), "row" (reverse mode, rows of one colour together)
        or "star" (symmetric; directional derivatives of the gradient).
    colors : the colour of each column (of each row, if mode is "row"); -1 for those without entries.
    count : number of colours, and so of sweeps.
    blocks : the block-diagonal form of the pattern. triangular : its block-triangular form.
    """

    def __init__(self, graph: Graph, wanted: Sequence[bool], pattern: Any, coloring: Coloring, compile: bool) -> None:
        self.function = graph
        self.pattern = pattern
        self.mode = coloring.mode
        self.colors = coloring.colors
        self.count = coloring.count
        self._compressed = Compressed(graph, wanted, coloring)
        self._types = [var.type for var in graph.inputs]
        self._batched = self._compressed.blocks is not None
        compressed = self._compressed
        self._program: Callable[..., Any] = jit(compressed.sweeps if self._batched else compressed.entries)
        self._compile = compile

    @functools.cached_property
    def graph(self) -> Graph:
        """The optimised graph that computes the entries (a batch of sweeps, where they are many)."""
        if self._batched:
            seeds = [ArrayType((BLOCK, *t.shape), t.dtype) for t in self._compressed.seeded]
            return optimize(trace(self._compressed.sweeps, self._types, seeds))
        return optimize(trace(self._compressed.entries, *self._types))

    @functools.cached_property
    def blocks(self) -> BlockForm:
        return block_diagonal(self.pattern)

    @functools.cached_property
    def triangular(self) -> BlockForm:
        return block_triangular(self.pattern)

    def entries(self, values: Sequence[Any]) -> Any:
        """The values of the entries, in the order of the pattern."""
        run = self._program if self._compile else functools.partial(call, self.graph)
        return self._compressed.collect(run, list(values)) if self._batched else run(*values)

    def matrix(self, values: Sequence[Any]) -> Any:
        """The derivative for the values of the traced leaves."""
        # The arrays of the pattern are copied, since methods like `eliminate_zeros` change those of a result.
        shape = self.pattern.shape
        return csr_array((self.entries(values), self.pattern.indices.copy(), self.pattern.indptr.copy()), shape=shape)

    def __str__(self) -> str:
        m, n = self.pattern.shape
        share = self.pattern.nnz / max(m * n, 1)
        sweep = {"column": "columns, forward mode", "row": "rows, reverse mode", "star": "symmetric, forward on gradient"}
        colors = "1 colour" if self.count == 1 else f"{self.count:,} colours"
        return "\n".join([
            f"{m:,} x {n:,}, {self.pattern.nnz:,} entries ({share:.3g} of all)",
            f"{colors} ({sweep[self.mode]})",
            str(self.blocks),
            str(self.triangular),
        ])  # fmt: skip

    def __repr__(self) -> str:
        m, n = self.pattern.shape
        return f"<SparsePlan: {m} x {n}, {self.pattern.nnz} entries, {self.count} colours of {self.mode}s>"


def traced(fn: Callable[..., Any], types: Sequence[ArrayType], names: Sequence[str], name: str) -> Graph:
    """The optimised graph of a flat function, or the error that it has no fixed structure."""
    try:
        graph, _ = stage(fn, types, names, name=name)
    except ConcretizationError as error:
        raise SparsityError(
            f"the structure of {name} changes with the values of its arguments: {error.message}",
            error.repair,
            error.source,
        ) from error
    return optimize(graph)


def jacobian_coloring(pattern: Any, mode: str) -> Coloring:
    """Of columns or rows, whichever is cheaper."""
    by_row = int(np.diff(pattern.indptr).max(initial=0))
    by_column = int(np.bincount(pattern.indices).max(initial=0)) if pattern.nnz else 0
    if mode == "forward":
        return column_coloring(pattern)
    if mode == "reverse":
        return row_coloring(pattern)
    # A row of k entries needs k colours of columns: often that decides without looking at the other side.
    if by_row <= REVERSE_COST * by_column:
        first = column_coloring(pattern)
        if first.count <= REVERSE_COST * by_column:
            return first
        other = row_coloring(pattern)
        return first if first.count <= REVERSE_COST * other.count else other
    other = row_coloring(pattern)
    if REVERSE_COST * other.count < by_row:
        return other
    first = column_coloring(pattern)
    return first if first.count <= REVERSE_COST * other.count else other


def make_plan(graph: Graph, wanted: Sequence[bool], mode: str, compile: bool) -> tuple[SparsePlan, bool]:
    """The plan for a graph, and whether the values of integer arguments might make it sharper."""
    pattern, asked = graph_pattern(graph, wanted)
    if mode == "symmetric":
        pattern = csr_array(pattern + pattern.T)
        pattern.sort_indices()
        coloring = star_coloring(pattern)
    else:
        coloring = jacobian_coloring(pattern, mode)
    return SparsePlan(graph, wanted, pattern, coloring, compile), asked
