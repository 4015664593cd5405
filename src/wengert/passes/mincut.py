"""Minimum cuts: which values to hand from one part of a program to the next, so that fewest bytes are kept."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph.nodes import Node, Var

SMALL = 2000
"""Edges up to which a cut is found here: importing SciPy takes longer than compiling most loops."""
SCALE = 2**30
"""The largest capacity; SciPy counts flow in 32 bits."""


def cheapest_kept(
    nodes: Sequence[Node],
    given: Collection[Any],
    wanted: Collection[Var],
    price: Mapping[Var, float],
    again: Callable[[Node], bool],
) -> set[Var]:
    """The values to keep, of least total price, so that all wanted ones can be computed from them.

    Parameters
    ----------
    nodes : the part of the program that makes the values, in order.
    given : values at hand anyway; constants are.
    wanted : values that the next part reads.
    price : what keeping each value costs; of what has no price the cost is without bound.
    again : whether a node may be done again.

    A value is in the next part's hands if it is kept, or if its node may be done again and all that this reads is in
    its hands. The least cut of the graph with an edge of its price through every value is the least price: values on
    the far side are computed there. (PyTorch 2 cuts its joint graphs in this way.)
    """
    producer = {var: node for node in nodes for var in node.outputs or ()}
    numbers: dict[Any, int] = {}
    edges: list[tuple[int, int, float]] = []
    unbounded = float("inf")

    def inside(var: Any) -> int:
        return numbers.setdefault(var, 2 + 2 * len(numbers))

    stack = [var for var in wanted if var not in given]
    for var in stack:
        edges.append((inside(var) + 1, 1, unbounded))
    seen = set(stack)
    while stack:
        var = stack.pop()
        at = inside(var)
        edges.append((at, at + 1, price.get(var, unbounded)))
        node = producer.get(var)
        if node is None or not again(node):
            edges.append((0, at, unbounded))
            continue
        for atom in node.inputs:
            if not isinstance(atom, Var) or atom in given:
                continue
            edges.append((inside(atom) + 1, at, unbounded))
            if atom not in seen:
                seen.add(atom)
                stack.append(atom)
    if not numbers:
        return set()
    far = _far_side(edges, 2 + 2 * len(numbers))
    return {var for var, at in numbers.items() if not far[at] and far[at + 1]}


def _far_side(edges: Sequence[tuple[int, int, float]], count: int) -> np.ndarray:
    """Which vertices are on the side of vertex 1 of the least cut between vertices 0 and 1 (that nearest to 1)."""
    if len(edges) <= SMALL:
        return _small_far_side(edges, count)
    sparse = importlib.import_module("scipy.sparse")
    graphs = importlib.import_module("scipy.sparse.csgraph")
    finite = [c for _, _, c in edges if c != float("inf")]
    total = max(sum(finite), 1.0)
    unit = max(total / (SCALE / 4), 1e-9) if total > SCALE / 4 or min(finite, default=1) < 1 else 1.0
    merged: dict[tuple[int, int], int] = {}
    for a, b, c in edges:
        capacity = SCALE if c == float("inf") else max(1, round(c / unit))
        merged[a, b] = min(SCALE, merged.get((a, b), 0) + capacity)
    pairs = np.array(list(merged), np.int32)
    data = np.array(list(merged.values()), np.int32)
    matrix = sparse.csr_matrix((data, (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    flow = graphs.maximum_flow(matrix, 0, 1).flow
    left = (matrix - flow).tocsr()  # what capacity is left, backward edges included
    left.data[left.data < 0] = 0
    left.eliminate_zeros()
    reached = graphs.breadth_first_order(left.T.tocsr(), 1, directed=True, return_predecessors=False)
    far = np.zeros(count, bool)
    far[reached] = True
    return far


def _small_far_side(edges: Sequence[tuple[int, int, float]], count: int) -> np.ndarray:
    """The same for small graphs: flow is pushed along shortest paths (Edmonds and Karp, 1972)."""
    left: list[dict[int, float]] = [{} for _ in range(count)]
    for a, b, capacity in edges:
        left[a][b] = left[a].get(b, 0.0) + capacity
        left[b].setdefault(a, 0.0)
    while True:
        before = [-1] * count
        before[0] = 0
        queue = [0]
        for vertex in queue:
            if vertex == 1:
                break
            for other, capacity in left[vertex].items():
                if capacity > 0 and before[other] < 0:
                    before[other] = vertex
                    queue.append(other)
        if before[1] < 0:
            break
        path = [1]
        while path[-1] != 0:
            path.append(before[path[-1]])
        steps = [(path[k + 1], path[k]) for k in range(len(path) - 1)]
        pushed = min(left[a][b] for a, b in steps)
        for a, b in steps:
            left[a][b] -= pushed
            left[b][a] += pushed
    far = np.zeros(count, bool)
    far[1] = True
    queue = [1]
    for vertex in queue:
        for other in left[vertex]:
            if not far[other] and left[other].get(vertex, 0.0) > 0:
                far[other] = True
                queue.append(other)
    return far
