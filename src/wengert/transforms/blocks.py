"""Walking back over large elementwise operations a block of elements at a time.

The gradient of an elementwise function of 10^6 elements spends its time on memory and not on arithmetic: each
cotangent on the way is a new array of 8 MB, written out to main memory and read back by the next rule. But an
elementwise rule needs no more than the same elements of what it reads. So a run of such operations is walked
block by block, with everything in between in the cache; only the cotangents that leave the run are stored in
full. The arithmetic is the same. Only where several cotangents of an edge outside of the run add up, those of the
run are added among themselves first, which may change the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from math import prod
from typing import Any

import numpy as np
from numpy import ndarray

from ..graph.nodes import Node, Var
from ..graph.tensor import Tensor
from ..ops.families import Elementwise

LARGE = 1 << 16
"""Elements from which on blocks pay: so large an array does not fit into the second level of the cache."""
BLOCK = 1 << 14
"""Elements of a block: a handful of these fit."""

Step = tuple[Any, list[Any], list[int | None]]
"""A node in a run: its rule, its saved values as one axis or a number each, and where its cotangents go."""


def take_run(first: Node, ct: Any, pending: dict[Node, Any], heap: list[tuple[int, Node]]) -> list[tuple[Node, Any]]:
    """The longest run of the walk from `first` on that can go by blocks: nodes and the cotangents they have so far.

    The walk's order is kept: always the latest node next, be it reached from the run or pending already. What the
    run includes is taken off `pending` and `heap`. Empty if `first` itself does not fit.
    """
    shape, dtype = ct.shape, ct.dtype
    run: list[tuple[Node, Any]] = []
    seen = {first}
    ahead: list[tuple[int, Node]] = []  # reached from the run, by negative creation number as in `heap`
    node = first
    while fits(node, ct, shape, dtype):
        if node in pending:
            del pending[node]
            heappop(heap)
        run.append((node, ct))
        for atom in node.inputs:
            if atom.__class__ is Var and atom.node is not None and atom.node not in seen:
                seen.add(atom.node)
                heappush(ahead, (-atom.node.number, atom.node))
        if ahead and (not heap or ahead[0][0] <= heap[0][0]):
            node = heappop(ahead)[1]
        elif heap:
            node = heap[0][1]
            seen.add(node)
        else:
            break
        ct = pending.get(node)
    return run


def fits(node: Node, ct: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
    """Whether a node's rule can be applied to some of its elements alone: nothing broadcast, cast or nested."""
    if node.outputs is not None or node.rule is None or not isinstance(node.primitive, Elementwise):
        return False
    if ct is not None and (ct.__class__ is not ndarray or ct.shape != shape or ct.dtype != dtype):
        return False
    for atom in node.inputs:
        if atom.__class__ is Var and (atom.shape != shape or atom.dtype != dtype):
            return False
    for value in node.saved:
        if value.__class__ is Tensor:
            return False
        if value.__class__ is ndarray and value.ndim and (value.shape != shape or not value.flags.c_contiguous):
            return False
    return True


def walk_blocks(run: Sequence[tuple[Node, Any]], times: Any) -> list[tuple[Var, Any]]:
    """Apply the rules of a run; the cotangents of the edges that lead out of it, in full."""
    shape, dtype = run[0][1].shape, run[0][1].dtype
    places = {node: k for k, (node, _) in enumerate(run)}
    leaving: dict[Var, int] = {}  # edges that lead out, with their places after those of the nodes
    steps: list[Step] = []
    for node, _ in run:
        targets: list[int | None] = []
        for atom in node.inputs:
            if atom.__class__ is not Var:
                targets.append(None)
            elif atom.node in places:
                targets.append(places[atom.node])
            else:
                targets.append(leaving.setdefault(atom, len(run) + len(leaving)))
        steps.append((node.rule, [flat(value) for value in node.saved], targets))
    arrived = [flat(ct) for _, ct in run]
    size = prod(shape)
    results: list[Any] = [None] * len(leaving)
    most = max(len(targets) for _, _, targets in steps)
    for low in range(0, size, BLOCK):
        part = slice(low, min(low + BLOCK, size))
        length = part.stop - low
        like = (Var((length,), dtype),) * most  # stands for the inputs, of which rules ask shape and dtype
        cts = [piece(ct, part, length) for ct in arrived] + [None] * len(leaving)
        for k, (rule, saved, targets) in enumerate(steps):
            ct = cts[k]
            if ct is None:  # every derivative that leads here is zero
                continue
            cts[k] = None
            values = [value[part] if value.__class__ is ndarray and value.ndim else value for value in saved]
            for target, g in zip(targets, rule(ct, values, like, times), strict=True):
                if g is not None and target is not None:
                    cts[target] = g if cts[target] is None else cts[target] + g
        for k, ct in enumerate(cts[len(run) :]):
            if ct is not None:
                if results[k] is None:
                    results[k] = np.empty(size, dtype)
                results[k][part] = ct
    return [(var, None if r is None else r.reshape(shape)) for var, r in zip(leaving, results, strict=True)]


def flat(value: Any) -> Any:
    """An array as one axis; one that repeats a single number (the cotangent of a sum) as that number."""
    if value.__class__ is not ndarray or value.ndim == 0:
        return value
    return value.reshape(-1) if any(value.strides) else value[(0,) * value.ndim]


def piece(ct: Any, part: slice, length: int) -> Any:
    """A block of a cotangent; None for none."""
    if ct is None:
        return None
    return ct[part] if ct.__class__ is ndarray else np.full(length, ct)
