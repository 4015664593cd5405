"""Running passes one after the other: what each made of the graph, how long it took, whether it is still valid."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..graph.collector import Paused
from ..graph.graph import Graph
from .build import Pass


class Step(NamedTuple):
    """One pass: its name, the graph after it, seconds."""

    name: str
    graph: Graph
    seconds: float


def run(graph: Graph, passes: Sequence[Pass], check: Callable[[Graph], object] | None = None) -> list[Step]:
    """The graph after each of the passes, the last one is the result.

    Parameters
    ----------
    graph : where to start.
    passes : functions from graph to graph.
    check : called with the graph before the first pass and after each one; what it raises gets a note that names
        the pass.
    """
    steps: list[Step] = []
    if check is not None:
        check(graph)
    with Paused():
        for change in passes:
            start = time.perf_counter()
            graph = change(graph)
            steps.append(Step(name_of(change), graph, time.perf_counter() - start))
            if check is not None:
                try:
                    check(graph)
                except Exception as error:
                    error.add_note(f"after pass {steps[-1].name!r}")
                    raise
    return steps


def name_of(change: Pass) -> str:
    """The name of the function that a pass is, options aside."""
    while isinstance(change, functools.partial):
        change = change.func
    return getattr(change, "__name__", type(change).__name__)


def count(graph: Graph) -> Counter[str]:
    """How often each operation occurs, nested graphs included."""
    return Counter(node.primitive.name for node in graph.all_nodes())
