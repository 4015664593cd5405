"""Plans of sparse derivatives: the pattern of a function, a colouring of it, and the program for the entries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from ..errors import ConcretizationError, SparsityError
from ..graph.graph import Graph
from ..graph.stage import evaluate, stage
from ..graph.trees import flatten
from ..graph.types import ArrayType
from ..native.jit import jit
from ..passes import optimize
from ..settings import settings
from ..transforms.coloring import Coloring, column_coloring, row_coloring, star_coloring
from ..transforms.compressed import BLOCK, Compressed
from ..transforms.locality import cut_gathers, merged
from ..transforms.rows import by_rows
from ..transforms.sparsity import graph_pattern
from ..transforms.trace import call, trace
from .forms import BlockForm, block_diagonal, block_triangular

REVERSE_COST = 2
"""How much more a sweep of reverse mode costs than one of forward mode."""


class Sweeps(NamedTuple):
    """A way to compute the entries of a pattern."""

    pattern: Any
    coloring: Coloring
    compressed: Compressed

    @property
    def cost(self) -> int:
        return self.coloring.count * (REVERSE_COST if self.coloring.mode == "row" else 1)


class Program:
    """The entries as a function of flat arguments: a native program, or a graph evaluated by NumPy.

    Products of derivatives are strong or plain as the graph was made, whatever the settings are when it runs.
    """

    def __init__(self, compressed: Compressed, types: Sequence[ArrayType], compile: bool, strong: bool) -> None:
        self.compressed = compressed
        self.types = list(types)
        self.strong = strong
        self.batched = compressed.blocks is not None
        self.compile = compile
        self.run: Callable[..., Any] = jit(self.compiled) if compile else self.evaluated

    @cached_property
    def graph(self) -> Graph:
        with settings(strong_zero=self.strong):
            if self.batched:
                seeds = [ArrayType((BLOCK, *t.shape), t.dtype) for t in self.compressed.seeded]
                return optimize(trace(self.compressed.sweeps, self.types, seeds))
            graph = optimize(trace(self.compressed.entries, *self.types))
            # What is computed from gathered values works row by row, which compiled code does best in a loop.
            return optimize(by_rows(graph)) if self.compile and self.compressed.outer is not None else graph

    def compiled(self, *values: Any) -> Any:
        return evaluate(self.graph, *flatten(values)[0])[0]

    def evaluated(self, *values: Any) -> Any:
        return call(self.graph, *values)

    def __call__(self, values: Sequence[Any]) -> Any:
        return self.compressed.collect(self.run, list(values)) if self.batched else self.run(*values)


class SparsePlan:
    """How a sparse derivative is computed; the same for all values of arguments of the same types.

    Attributes
    ----------
    pattern : boolean `scipy.sparse.csr_array`, the structure of every result.
    mode : "column" (forward mode, columns of one colour together), "row" (reverse mode, rows of one colour together)
        or "star" (symmetric; directional derivatives of the gradient).
    local : whether the derivative is taken in gathered copies of the unknowns, and added up from there.
    colors : the colour of each column (of each row, if mode is "row"); -1 for those without entries.
    count : number of colours, and so of sweeps.
    graph : the optimised graph that computes the entries (a batch of sweeps, where they are many).
    blocks : the block-diagonal form of the pattern. triangular : its block-triangular form.
    """

    def __init__(self, make: Callable[[], Graph], wanted: Sequence[bool], mode: str, compile: bool) -> None:
        self._make = make
        self._wanted = list(wanted)
        self._compile = compile
        graph = self._traced(False)
        self._types = [var.type for var in graph.inputs]
        pattern, self.asked = graph_pattern(graph, wanted)
        if mode == "symmetric":
            pattern = csr_array(pattern + pattern.T)
            pattern.sort_indices()
            coloring = star_coloring(pattern)
            sweeps = Sweeps(pattern, coloring, Compressed(graph, wanted, coloring))
        else:
            coloring = jacobian_coloring(pattern, mode)
            sweeps = Sweeps(pattern, coloring, Compressed(graph, wanted, coloring))
            if sweeps.cost > REVERSE_COST and mode == "auto":
                sweeps = min([sweeps, *local_sweeps(graph, wanted, pattern.shape[1])], key=lambda s: s.cost)
        self.pattern = sweeps.pattern
        self.mode = sweeps.coloring.mode
        self.local = sweeps.compressed.outer is not None
        self.colors = sweeps.coloring.colors
        self.count = sweeps.coloring.count
        self._coloring = coloring
        self._plain = Program(sweeps.compressed, self._types, compile, False)
        self._strong: Program | None = None

    def _traced(self, strong: bool) -> Graph:
        with settings(strong_zero=strong):
            return self._make()

    @property
    def graph(self) -> Graph:
        return self._plain.graph

    @cached_property
    def blocks(self) -> BlockForm:
        return block_diagonal(self.pattern)

    @cached_property
    def triangular(self) -> BlockForm:
        return block_triangular(self.pattern)

    def entries(self, values: Sequence[Any]) -> Any:
        """The values of the entries, in the order of the pattern.

        As in reverse mode, products are plain at first; only if there is a NaN, all is computed again with the strong
        zero. The minimum is NaN if any element is.
        """
        found = self._plain(values)
        if settings.strong_zero and np.isnan(np.minimum.reduce(found, axis=None, initial=0)):
            if self._strong is None:
                coloring = jacobian_coloring(self.pattern, "auto") if self.local else self._coloring
                compressed = Compressed(self._traced(True), self._wanted, coloring)
                self._strong = Program(compressed, self._types, self._compile, True)
            return self._strong(values)
        return found

    def matrix(self, values: Sequence[Any]) -> Any:
        """The derivative for the values of the traced leaves."""
        # The arrays of the pattern are copied, since methods like `eliminate_zeros` change those of a result.
        shape = self.pattern.shape
        return csr_array((self.entries(values), self.pattern.indices.copy(), self.pattern.indptr.copy()), shape=shape)

    def __str__(self) -> str:
        m, n = self.pattern.shape
        share = self.pattern.nnz / max(m * n, 1)
        sweep = {
            "column": "columns, forward mode",
            "row": "rows, reverse mode",
            "star": "symmetric, forward over reverse",
        }
        colors = "1 colour" if self.count == 1 else f"{self.count:,} colours"
        return "\n".join([
            f"{m:,} x {n:,}, {self.pattern.nnz:,} entries ({share:.3g} of all)",
            f"{colors} ({sweep[self.mode]}{', in gathered values' if self.local else ''})",
            str(self.blocks),
            str(self.triangular),
        ])  # fmt: skip

    def __repr__(self) -> str:
        m, n = self.pattern.shape
        return f"<SparsePlan: {m} x {n}, {self.pattern.nnz} entries, mode {self.mode}, colours: {self.count}>"


def local_sweeps(graph: Graph, wanted: Sequence[bool], width: int) -> list[Sweeps]:
    """The derivative by way of gathered values, or of all selected ones, if the function has such."""
    found = []
    for every in (False, True):
        cut = cut_gathers(graph, wanted, every)
        if cut is not None:
            inner, _ = graph_pattern(cut.inner, cut.wanted)
            coloring = jacobian_coloring(inner, "auto")
            pattern, merge = merged(inner, cut.columns, width)
            found.append(Sweeps(pattern, coloring, Compressed(cut.inner, cut.wanted, coloring, cut.outer, merge)))
    return found


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
    else:
        other = row_coloring(pattern)
        if REVERSE_COST * other.count < by_row:
            return other
        first = column_coloring(pattern)
    return first if first.count <= REVERSE_COST * other.count else other
