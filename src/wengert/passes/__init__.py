"""Optimisation of graphs: passes, each a function from graph to graph in a file of its own, and their order."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence

from ..errors import WengertError
from ..graph.graph import Graph
from .build import Pass
from .complex_parts import complex_parts
from .cse import cse
from .dce import dce
from .fold import fold
from .half_precision import half_precision
from .hoist import hoist
from .inline import inline
from .outline import outline
from .pipeline import run
from .products import products
from .report import Report
from .residuals import residuals
from .rules import CHANGES
from .simplify import simplify
from .strength import strength

PIPELINE: tuple[Pass, ...] = (
    fold,  # constants, which may choose branches
    inline,  # branches that are known to be chosen
    fold,  # constants inside them
    strength,  # cheaper operations
    products,  # rearrangements out of the way
    simplify,  # identities
    hoist,  # invariants out of loops
    cse,  # everything once
    dce,  # nothing unused
)
"""The default order, from left to right."""

NATIVE: tuple[Pass, ...] = (
    *(functools.partial(inline, final=True) if change is inline else change for change in PIPELINE),
    complex_parts,
    half_precision,
    residuals,
    cse,
    dce,
    outline,
)
"""The order for compiling: derivatives are settled; complex numbers become pairs of real ones, float16 is
computed in float32; loops stack less for
them, which pays where operations run in registers; at the end, long graphs become parts, compiled one by one."""

RULES: tuple[Callable[..., Graph], ...] = (strength, products, simplify)
"""Passes made of rules, which take `allow`."""


def allowing(allow: Collection[str], passes: Sequence[Pass] = PIPELINE) -> tuple[Pass, ...]:
    """The passes with more rules allowed: those that change only what is named (see `passes.rules`)."""
    if unknown := set(allow) - set(CHANGES):
        raise WengertError(f"no rule changes {sorted(unknown)}", f"name some of {', '.join(CHANGES)}")
    table = {p: functools.partial(p, allow=frozenset(allow)) for p in RULES}
    return tuple(table.get(p, p) for p in passes)


def optimize(
    graph: Graph,
    passes: Sequence[Pass] | None = None,
    allow: Collection[str] = (),
    check: Callable[[Graph], object] | None = None,
) -> Graph:
    """An equivalent graph with fewer and cheaper operations.

    Parameters
    ----------
    graph : a static or dynamic graph.
    passes : which passes, in order; `PIPELINE` by default.
    allow : what inexact rules may change beyond the last digits: some of "rounding", "zero sign", "nan" and
        "derivative". None by default: then values agree within a few units in the last place, NaN and infinities
        included, and so do derivatives.
    check : called with the graph before the first and after every pass, for instance `wg.verify`.

    Returns
    -------
    A graph with the same inputs, containers, names and lines, and the same types of outputs.

    Raises
    ------
    WengertError : `allow` holds a word that no rule uses.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> g = wg.trace(lambda x: np.sin(x) + np.sin(x), 1.0)
    >>> len(g), len(optimize(g))
    (3, 2)
    """
    chosen = allowing(allow, PIPELINE if passes is None else passes)
    steps = run(graph, chosen, check)
    return steps[-1].graph if steps else graph


def explain(graph: Graph, passes: Sequence[Pass] | None = None, allow: Collection[str] = ()) -> Report:
    """What `optimize` does, pass by pass, with counts of operations: print it.

    Parameters as for `optimize`.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> explain(wg.trace(lambda x: np.sin(x) + np.sin(x), 1.0))
    <Report: 3 operations before, 2 operations after>
    """
    return Report(graph, run(graph, allowing(allow, PIPELINE if passes is None else passes)))
