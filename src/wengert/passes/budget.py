"""Gradients within a given memory: what to keep and what to compute again, planned for a whole graph before it runs.

Tried in order, until the predicted peak (`graph.live`, which is what runs do) is within the budget:

1. the gradient as it is;
2. what a minimum cut finds cheap to compute again (`rematerialise`);
3. loops by schedules that keep fewer states (`transforms.schedule`), the fewest steps run again first;
4. of each of these the whole graph as a chain of stages (`chain`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackwardError, ConcretizationError, MemoryBudgetError
from ..graph.cost import size_text
from ..graph.graph import Graph
from ..graph.interpreter import is_traced, type_of_value
from ..graph.live import live
from ..graph.nodes import Node
from ..graph.stage import stage
from ..graph.trees import flatten, unflatten
from ..graph.types import ArrayType
from ..ops.families import vocabulary
from ..ops.scan import Scan
from ..settings import settings
from ..source import Source, here
from ..transforms.grad import check_differentiable, value_and_grad
from ..transforms.reverse import split_graph
from ..transforms.schedule import Schedule, Steps
from ..transforms.schedule import within as schedule_within
from ..transforms.scheduled import run_scan, state_bytes
from ..transforms.trace import call, leaf_names, parameter_names, trace
from . import optimize
from .build import Builder
from .chain import within as chain_within
from .rematerialise import rematerialise

RESERVE = 32_000
"""Bytes for Python's own objects during a run."""
SHORTEST = 8
"""Steps from which on a loop gets a schedule."""
SHARES = (0.95, 0.75, 0.5, 0.3, 0.15, 0.05)
"""Parts of the budget to try for what loops keep."""


class Planned(NamedTuple):
    """A gradient graph and the most bytes that it allocates at any moment."""

    graph: Graph
    peak: int


class Planner:
    """Looks for the fastest graph of a gradient within a budget, and remembers the least memory met."""

    def __init__(self, budget: int) -> None:
        self.budget = budget - min(RESERVE, budget // 4)
        self.least: int | None = None

    def fits(self, graph: Graph, peak: int | None = None) -> bool:
        peak = live(graph).peak if peak is None else peak
        self.least = peak if self.least is None else min(self.least, peak)
        return peak <= self.budget

    def flat(self, graph: Graph, deep: bool = True) -> Graph | None:
        """A gradient graph within the budget, its loops left as they are."""
        if self.fits(graph):
            return graph
        cheaper = rematerialise(graph)
        if cheaper is not graph and self.fits(cheaper):
            return cheaper
        if not deep:
            return None
        for start in (graph, cheaper) if cheaper is not graph else (graph,):
            for stages in (60, 150):
                made, peak = chain_within(start, self.budget, stages)
                self.fits(start, peak)
                if made is not None:
                    return made
        return None


def within_budget(graph: Graph, budget: int, name: str) -> Graph:
    """A gradient graph that allocates at most `budget` bytes at any moment.

    Raises `MemoryBudgetError`, which names the least possible.
    """
    planner = Planner(budget)
    found = planner.flat(graph)
    if found is None:
        raise too_small(name, budget, planner.least, None)
    return found


def too_small(name: str, budget: int, least: int | None, source: Source | None) -> MemoryBudgetError:
    least = (least or 0) + min(RESERVE, (least or 0) // 3 + 2)
    return MemoryBudgetError(
        f"the gradient of {name} does not fit into {size_text(budget)}: the least possible is {size_text(least)} "
        f"({least:,} bytes)",
        f"give memory={least} or more; arguments do not count, results do",
        source,
    )


# Loops -------------------------------------------------------------------------------------------------------


class LoopSize(NamedTuple):
    """A loop of known length: bytes of its state, and of what the derivative reads of one step."""

    node: Node
    state: int
    step: int


def loops_of(graph: Graph) -> list[LoopSize]:
    """The loops of a graph that can get a schedule."""
    found = []
    for node in graph.nodes:
        loop: Any = node.primitive
        if isinstance(node.primitive, Scan) and isinstance(loop.length, int) and loop.length >= SHORTEST:
            consts, carries, xs = loop.parts([var.dtype.kind in "fc" for var in loop.body.inputs])
            active = loop.active_carries([*consts, *carries, *xs])
            flags = [*consts, *active, *xs]
            arriving = [*active, *(a.type.dtype.kind in "fc" for a in loop.body.outputs[loop.carries :])]
            available = [True] * loop.consts + [False] * loop.carries + [True] * len(xs)
            forward, _, _ = split_graph(loop.body, flags, arriving, available)
            kept = forward.outputs[len(loop.body.outputs) :]
            step = sum(atom.type.size * atom.type.dtype.itemsize for atom in kept)
            found.append(LoopSize(node, max(state_bytes(loop), 1), max(step, 1)))
    return found


def with_schedules(graph: Graph, schedules: dict[Node, Schedule]) -> Graph:
    """The graph with loops run by schedules."""
    if not schedules:
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        schedule = schedules.get(node)
        if schedule is None or isinstance(schedule, Steps):
            builder.keep(node)
            continue
        loop: Any = node.primitive

        def run(*values: Any, loop: Any = loop, schedule: Schedule = schedule) -> list[Any]:
            return run_scan(loop, values, schedule)

        types = [atom.type._replace(weak=False) for atom in node.inputs]
        inner, _ = stage(run, types, name=loop.body.name)
        operands = builder.atoms(node.inputs)
        outside, builder.now = builder.now, dict(zip(inner.inputs, operands, strict=True))
        for part in inner.nodes:
            new = builder.copy(part, builder.atoms(part.inputs))
            new.code, new.offset = node.code, node.offset
        results, builder.now = builder.atoms(inner.outputs), outside
        for old, atom in zip(node.outputs or (), results, strict=True):
            builder.substitute(old, atom)
    return builder.finish()


def scheduled(graph: Graph, budget: int) -> Iterator[dict[Node, Schedule]]:
    """Schedules for the loops of a graph, those with fewest steps run again first."""
    loops = loops_of(graph)
    if not loops:
        return
    total = sum(size.step * size.node.primitive.length for size in loops)  # type: ignore[attr-defined]
    seen = set()
    for share in SHARES:
        found: dict[Node, Schedule] = {}
        for size in loops:
            length = size.node.primitive.length  # type: ignore[attr-defined]
            part = share * budget * size.step * length / total
            made = schedule_within(length, size.state, size.step, part)
            if made is not None:
                found[size.node] = made
        key = tuple(found.values())
        if key not in seen and len(found) == len(loops):
            seen.add(key)
            yield found


# Functions ---------------------------------------------------------------------------------------------------


def plan(fn: Callable[..., Any], types: Sequence[ArrayType], names: Sequence[str], places: Sequence[int],
         has_aux: bool, budget: int) -> Planned:  # fmt: skip
    """The graph from flat arguments to the value (with aux) and the gradients of those at `places`, within a budget."""
    name = getattr(fn, "__name__", "the function")
    source = here(3)
    try:
        primal = trace(fn, *types)
    except ConcretizationError as error:
        raise MemoryBudgetError(
            f"no plan for {name}, whose structure changes with the values of its arguments: {error.message}",
            error.repair,
            error.source,
        ) from error
    primal = forward_only(optimize(primal))
    for var, label in zip(primal.inputs, names, strict=True):
        if not hasattr(var, "name"):
            var.name = label
    refuse_open(primal, name)
    planner = Planner(budget)

    def joint(graph: Graph) -> Graph:
        both = value_and_grad(functools.partial(call, graph), tuple(places), has_aux)
        return optimize(trace(both, *types))

    whole = joint(primal)
    found = planner.flat(whole, deep=not loops_of(primal))
    if found is None:
        late = None
        for schedules in scheduled(primal, budget):
            graph = joint(with_schedules(primal, schedules))
            found = planner.flat(graph, deep=False)
            if found is not None:
                break
            late = graph
        else:
            for last in (late, whole):
                found = planner.flat(last) if last is not None and found is None else found
    if found is None:
        raise too_small(name, budget, planner.least, source)
    return Planned(found, live(found).peak)


def refuse_open(graph: Graph, name: str) -> None:
    """Raise for a loop whose record grows with a number of steps that only the run knows."""
    for node in graph.all_nodes():
        if "loop" in node.primitive.facts and getattr(node.primitive, "length", None) is None:
            raise MemoryBudgetError(
                f"no plan for {name}: only the run knows how many steps its {node.primitive.name} takes, and so how "
                "much its derivative has to keep",
                "give the loop itself a number of states to keep, while_loop(..., checkpoint=64), and differentiate "
                "without memory=; or use a scan, whose length is known",
                node.source,
            )


def forward_only(graph: Graph) -> Graph:
    """The graph with no node marked as part of a gradient (of one that the function itself takes)."""
    if not any(node.backward for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        builder.copy(node, builder.atoms(node.inputs)).backward = False
    return builder.finish()


def gradient_within(
    fn: Callable[..., Any], argnums: int | Sequence[int], has_aux: bool, budget: int
) -> Callable[..., Any]:
    """`value_and_grad` of a function within a budget: planned once for the types of the arguments, then run."""
    several = not isinstance(argnums, int)
    numbers: tuple[int, ...] = (argnums,) if isinstance(argnums, int) else tuple(argnums)
    roots = parameter_names(fn)
    plans: dict[Any, Planned] = {}

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for k in numbers:
            if not -len(args) <= k < len(args):
                raise BackwardError(
                    f"grad with respect to argument {k}, but the function was called with {len(args)} arguments",
                    "give argnums of arguments that are passed by position",
                )
        check_differentiable(*flatten(tuple(args[k] for k in numbers)), "grad")
        leaves, tree = flatten((args, kwargs))
        counts = np.cumsum([0, *(len(flatten(arg)[0]) for arg in args)])
        chosen = [j for k in numbers for j in range(counts[k % len(args)], counts[k % len(args) + 1])]
        traced = [j for j, leaf in enumerate(leaves) if j in set(chosen) or is_traced(leaf) or hasattr(leaf, "dtype")]
        types = [type_of_value(leaves[j]) for j in traced]
        fixed = tuple((j, type(leaf), leaf) for j, leaf in enumerate(leaves) if j not in set(traced))
        key = (tree, tuple(traced), tuple(types), fixed, settings.strong_zero, settings.degenerate)
        found = plans.get(key)
        if found is None:

            def flat(*values: Any) -> Any:
                given = list(leaves)
                for j, value in zip(traced, values, strict=True):
                    given[j] = value
                new_args, new_kwargs = unflatten(tree, given)
                return fn(*new_args, **new_kwargs)

            flat.__name__ = getattr(fn, "__name__", "function")
            labels = [name for k, arg in enumerate(args) for name in leaf_names(roots, k, arg)]
            names = [labels[j] if j < len(labels) else f"arg{j}" for j in traced]
            places = [traced.index(j) for j in chosen]
            found = plans[key] = plan(flat, types, names, places, has_aux, budget)
        value, gradients = call(found.graph, *(leaves[j] for j in traced))
        structure = flatten(tuple(args[k] for k in numbers))[1]
        gradient = unflatten(structure, list(gradients))
        return value, gradient if several else gradient[0]

    wrapped.plans = plans  # type: ignore[attr-defined]
    return wrapped


vocabulary.within_budget = within_budget
vocabulary.gradient_within = gradient_within
