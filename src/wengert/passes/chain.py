"""Chain: a gradient graph rewritten to keep fewer forward values, computing the others again, within so many bytes.

Shape: analysis, dynamic program, rebuild. Assumes: nodes of the gradient part are marked `backward`, and nothing of the
forward part reads them. Guarantees: the same operations on the same values, so the same results, bit for bit.

The forward part is divided into stages at places where few bytes cross; the gradient part falls into stages of its own
by what it reads. Which states between stages to keep, and which stages to keep everything of, is found for stages of
any sizes and times by the recursion of O. Beaumont, L. Eyraud-Dubois, J. Herrmann, A. Joly, A. Shilova, *Optimal
checkpointing for heterogeneous chains: how to train deep neural networks with limited memory*, 2019, which for equal
stages is the schedule of Griewank and Walther. Values that are read far from where they are made are kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph.cost import is_view, node_work
from ..graph.graph import Graph
from ..graph.live import footprint, live, workspace
from ..graph.nodes import Atom, Const, Node, Var
from ..ops.checkpoint import Barrier

UNITS = 256
"""Steps in which the dynamic program counts memory."""


class Stages(NamedTuple):
    """A gradient graph as a chain. Sizes are bytes, times seconds; `entering` has one more entry than stages."""

    graph: Graph
    forward: list[list[Node]]
    backward: list[list[Node]]
    entering: list[list[Var]]
    """Values made before a stage that it or later ones read."""
    residuals: list[list[Var]]
    """Values of a stage that its gradient part reads."""
    kept: set[Var]
    """Values that stay from when they are made to their last use."""
    root: dict[Any, Any]
    """For a rearrangement the value that it looks at."""


def within(graph: Graph, budget: int, stages: int = 100) -> tuple[Graph | None, int]:
    """The graph computing again what is needed to stay within the budget, or None; and the least bytes found.

    stages : the most stages to divide it into; the time of planning grows with the cube.
    """
    chain = divide(graph, stages)
    if chain is None:
        return None, live(graph).peak
    least = live(graph).peak
    limit = budget
    for _ in range(4):  # what the dynamic program leaves out of account is found by the exact count
        plan = solve(chain, limit)
        if plan is None:
            break
        made = written(chain, plan)
        peak = live(made).peak
        least = min(least, peak)
        if peak <= budget:
            return made, peak
        limit -= peak - budget
    tightest = solve(chain, None)
    if tightest is not None:
        made = written(chain, tightest)
        peak = live(made).peak
        least = min(least, peak)
        if peak <= budget:
            return made, peak
    return None, least


# Dividing ----------------------------------------------------------------------------------------------------


def divide(graph: Graph, most: int) -> Stages | None:
    """A gradient graph as a chain of at most so many stages; None if it has no two of them."""
    late = [node for node in graph.nodes if node.backward]
    early = [node for node in graph.nodes if not node.backward]
    made_late = {var for node in late for var in node.outputs or ()}
    if not late or any(atom in made_late for node in early for atom in node.inputs):
        return None
    root = roots(graph)
    work = [node for node in early if not is_view(node)]
    place = {var: k for k, node in enumerate(work) for var in node.outputs or ()}
    last: dict[Var, int] = {}
    for k, node in enumerate(work):
        for var in reads(node, root, place):
            last[var] = k
    read_late = {var for node in late for var in reads(node, root, place)}
    count = len(work)
    kept = {var for var, k in last.items() if count > 30 and k - place[var] > count // 3}
    kept |= {v for v in (root.get(a, a) for a in graph.outputs) if v in place}
    ends = boundaries(work, place, last, read_late, kept, most)
    if len(ends) < 2:
        return None
    forward, start = [], 0
    for end in ends:
        forward.append(work[start:end])
        start = end
    stage_of = {var: s for s, nodes in enumerate(forward) for node in nodes for var in node.outputs or ()}
    entering: list[list[Var]] = [[] for _ in range(len(ends) + 1)]
    for var, k in last.items():
        for s in range(stage_of[var] + 1, stage_of[(work[k].outputs or ())[0]] + 1):
            entering[s].append(var)
    backward = assigned(late, stage_of, entering, kept, root, place)
    entering = [[v for v in values if v not in kept] for values in entering]
    residuals: list[list[Var]] = []
    for s, nodes in enumerate(backward):
        found = dict.fromkeys(v for node in nodes for v in reads(node, root, place))
        residuals.append([v for v in found if stage_of[v] == s and v not in kept])
    return Stages(graph, forward, backward, entering, residuals, kept, root)


def roots(graph: Graph) -> dict[Any, Any]:
    """For each rearrangement in the forward part the value that it looks at in the end."""
    found: dict[Any, Any] = {}
    for node in graph.nodes:
        if is_view(node) and not node.backward:
            found[(node.outputs or ())[0]] = found.get(node.inputs[0], node.inputs[0])
    return found


def reads(node: Node, root: dict[Any, Any], place: dict[Var, int]) -> list[Var]:
    """The values of the forward part that a node reads, rearrangements counted as what they look at."""
    found = (root.get(atom, atom) for atom in node.inputs if not isinstance(atom, Const))
    return [var for var in dict.fromkeys(found) if var in place]


def boundaries(
    work: Sequence[Node], place: dict[Var, int], last: dict[Var, int], read_late: set[Var], kept: set[Var], most: int
) -> list[int]:
    """Where stages end: after about equal bytes of residuals, where few bytes cross."""
    count = len(work)
    change = np.zeros(count + 1)
    for var, k in last.items():
        if var not in kept:  # crossing costs less where the value is kept for the gradient anyway
            size = footprint(var) * (1.0 if var in read_late else 1.3)
            change[place[var]] += size
            change[k] -= size
    crossing = np.cumsum(change)[:count]
    weight = np.array([sum(footprint(v) for v in node.outputs or () if v in read_late) for node in work], float)
    weight += weight.sum() / max(count, 1) / 4 + 1
    filled = np.cumsum(weight)
    share = filled[-1] / most
    ends: list[int] = []
    at = 0.0
    while at + 1.5 * share < filled[-1]:
        low = int(np.searchsorted(filled, at + 0.5 * share))
        high = max(low + 1, int(np.searchsorted(filled, at + 1.5 * share)))
        window = crossing[low:high]
        best = np.flatnonzero(window <= window.min() * 1.001)
        middle = int(np.searchsorted(filled, at + share)) - low
        end = low + int(best[np.argmin(np.abs(best - middle))]) + 1
        if end >= count:
            break
        ends.append(end)
        at = filled[end - 1]
    return [*ends, count]


def assigned(
    late: Sequence[Node], stage_of: dict[Var, int], entering: Sequence[Sequence[Var]], kept: set[Var],
    root: dict[Any, Any], place: dict[Var, int],
) -> list[list[Node]]:  # fmt: skip
    """The gradient part by stages: each node as early as what it reads is at hand. `kept` grows by what never is."""
    stages: list[list[Node]] = [[] for _ in entering[1:]]
    reach: dict[Var, int] = {}  # the last stage that a value is at hand in
    for s, values in enumerate(entering):
        for var in values:
            reach[var] = min(s, len(stages) - 1)
    done: dict[Any, int] = {}
    for node in late:
        limit = min((done[a] for a in node.inputs if a in done), default=len(stages) - 1)
        wanted = [var for var in reads(node, root, place) if var not in kept]
        stage = min([limit, *(max(stage_of[v], reach.get(v, 0)) for v in wanted)])
        for var in wanted:
            if not stage_of[var] <= stage:
                kept.add(var)
        # All are at hand in the stage unless one was made later, or does not reach as far as another one begins.
        for var in wanted:
            if var not in kept and stage > max(stage_of[var], reach.get(var, 0)):
                kept.add(var)
        stages[stage].append(node)
        for out in node.outputs or ():
            done[out] = stage
    return stages


# The dynamic program -------------------------------------------------------------------------------------------


class Sizes(NamedTuple):
    """What the dynamic program knows of each stage."""

    state: np.ndarray
    """Bytes entering."""
    all: np.ndarray
    """Bytes of what its gradient part reads and of what it hands on."""
    seconds: np.ndarray
    working: np.ndarray
    """Bytes for a moment while it runs."""
    fixed: int
    """Bytes of kept values and of the gradient part at its worst."""


def measured(chain: Stages) -> Sizes:
    """Bytes and seconds of the stages of a chain."""
    own = live(chain.graph).sizes

    def size(var: Var) -> int:
        return max(own.get(var, 0), footprint(var) if var not in chain.root else 0)

    state, everything, seconds, working = [], [], [], []
    for s, nodes in enumerate(chain.forward):
        state.append(sum(map(size, chain.entering[s])))
        made = {var for node in nodes for var in node.outputs or ()}
        stays = {*chain.residuals[s], *(v for v in chain.entering[s + 1] if v in made)}
        everything.append(sum(map(size, stays)))
        seconds.append(sum(node_work(node).seconds for node in nodes))
        working.append(_transient(nodes, stays, chain, own))
    outs = _gradient_peak(chain, own)
    kept = sum(size(var) for var in chain.kept)
    return Sizes(np.array(state), np.array(everything), np.array(seconds), np.array(working), kept + outs)


def _transient(nodes: Sequence[Node], stays: set[Var], chain: Stages, own: Any) -> int:
    """Bytes beyond what stays, at the worst moment of running a stage."""
    last = {}
    for k, node in enumerate(nodes):
        for atom in node.inputs:
            last[chain.root.get(atom, atom)] = k
    now = most = 0
    alive: dict[Var, int] = {}
    for k, node in enumerate(nodes):
        for var in node.outputs or ():
            if var not in stays and var not in chain.kept:
                alive[var] = own.get(var, footprint(var))
        now = sum(alive.values())
        most = max(most, now + workspace(node))
        alive = {var: size for var, size in alive.items() if last.get(var, -1) > k}
    return most


def _gradient_peak(chain: Stages, own: Any) -> int:
    """The most bytes of values of the gradient part at any moment, in the order of its stages."""
    order = [node for nodes in reversed(chain.backward) for node in nodes]
    last: dict[Any, int] = {atom: k for k, node in enumerate(order) for atom in node.inputs}
    results = set(chain.graph.outputs)
    now = most = 0
    for k, node in enumerate(order):
        outs = node.outputs or ()
        now += sum(own.get(var, 0) for var in outs)
        most = max(most, now + workspace(node))
        for var in dict.fromkeys((*node.inputs, *outs)):
            if last.get(var, k) == k and var not in results and var in own and var.__class__ is Var:
                now -= own[var] if _late(var, chain) else 0
    return most


def _late(var: Var, chain: Stages) -> bool:
    made = chain.graph.cached(
        "made late", lambda: {v for n in chain.graph.nodes if n.backward for v in n.outputs or ()}
    )
    return var in made


class Plan(NamedTuple):
    """For stages s to t with m units of memory: 0 keeps everything of s, k > 0 keeps the state entering s + k."""

    choice: np.ndarray
    units: int
    state: np.ndarray
    all: np.ndarray


def solve(chain: Stages, budget: int | None) -> Plan | None:
    """The plan with least time within the budget (None: with least memory); None if there is none."""
    sizes = chain.graph.cached(("sizes", len(chain.forward)), lambda: measured(chain))
    free = sizes.state.sum() + sizes.all.sum() if budget is None else budget - sizes.fixed
    if free <= 0:
        return None
    unit = max(free / UNITS, 1.0)
    if budget is None:  # count finely where it matters: near the least
        unit = max((sizes.state.max() * 2 + sizes.all.max() + sizes.working.max()) * 4 / UNITS, 1.0)
    state, everything, working = (np.ceil(x / unit).astype(int) for x in (sizes.state, sizes.all, sizes.working))
    table, choice = _table(state, everything, working, sizes.seconds)
    best = table[0, len(state) - 1]
    fits = np.flatnonzero(np.isfinite(best))
    if not len(fits):
        return None
    return Plan(choice, int(fits[0]) if budget is None else UNITS, state, everything)


def _table(
    state: np.ndarray, everything: np.ndarray, working: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Least seconds for every range of stages and every number of units, and the first choice that gives it."""
    count, width = len(state), UNITS + 1
    table = np.full((count, count, width), np.inf)
    choice = np.full((count, count, width), -1, np.int16)
    units = np.arange(width)
    run = np.concatenate([[0.0], np.cumsum(seconds)])
    for s in range(count):
        table[s, s, units >= everything[s] + working[s]] = seconds[s]
        choice[s, s, units >= everything[s] + working[s]] = 0
    for length in range(1, count):
        for s in range(count - length):
            t = s + length
            # Everything of stage s is kept while the others are dealt with.
            rest = np.full(width, np.inf)
            left = width - everything[s]
            if left > 0:
                rest[everything[s] :] = table[s + 1, t, :left]
            rest[: everything[s] + working[s]] = np.inf
            best = rest + seconds[s]
            pick = np.where(np.isfinite(best), 0, -1).astype(np.int16)
            # The state entering stage s + k is kept, and the stages before are run again.
            cuts = np.arange(s + 1, t + 1)
            index = units[None, :] - state[cuts][:, None]
            right = np.where(index >= 0, table[cuts[:, None], t, np.maximum(index, 0)], np.inf)
            peak = np.maximum.accumulate(np.maximum(working[s:t], np.maximum(state[s + 1 : t + 1], 0)))
            total = (run[cuts] - run[s])[:, None] + right + table[s, cuts - 1]
            total[units[None, :] < peak[:, None]] = np.inf
            k = np.argmin(total, axis=0)
            found = total[k, units]
            better = found < best
            best = np.where(better, found, best)
            pick = np.where(better, (k + 1).astype(np.int16), pick)
            table[s, t], choice[s, t] = best, pick
    return table, choice


# Writing -------------------------------------------------------------------------------------------------------


class Writer:
    """Writes the nodes of a plan: forward ones as often as they are run, gradient ones once."""

    def __init__(self, chain: Stages) -> None:
        self.chain = chain
        self.nodes: list[Node] = []
        self.first: set[int] = set(range(len(chain.forward)))
        self.now: dict[Any, Atom] = {}
        """For values of the gradient part, and for kept ones, what stands for them."""
        self.made: set[Any] = set()
        self.places: dict[Any, int] = {}
        """In which order values of the gradient part were made."""
        self.after: Var | None = None
        self.views = {
            (node.outputs or ())[0]: node for node in chain.graph.nodes if is_view(node) and not node.backward
        }

    def find(self, atom: Any, known: dict[Any, Any]) -> Any:
        """What stands for an atom: a rearrangement is done again of what stands for its operand."""
        if atom in known:
            return known[atom]
        if atom in self.now:
            return self.now[atom]
        node = self.views.get(atom)
        if node is None:
            return atom
        operand = self.find(node.inputs[0], known)
        if operand is node.inputs[0] and self.written(atom):
            return atom
        made = self.copy(node, (operand, *node.inputs[1:]), fresh=operand is not node.inputs[0])
        known[atom] = made[0]
        return made[0]

    def written(self, atom: Any) -> bool:
        return atom in self.now

    def copy(self, node: Node, inputs: Sequence[Any], fresh: bool) -> tuple[Var, ...]:
        """A node on other operands; with edges of its own if `fresh`."""
        outs = node.outputs or ()
        if fresh:
            outs = tuple(Var.of(v.type, getattr(v, "name", None), None, k) for k, v in enumerate(outs))
        elif all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
            self.nodes.append(node)
            return outs
        made = node.replace(tuple(inputs), outs)
        if fresh:
            for var in outs:
                var.node = made
        self.nodes.append(made)
        return outs

    def run(self, stage: int, state: dict[Any, Any], everything: bool) -> dict[Any, Any]:
        """Run a stage on the values of its state; what it made, by the edges of the original graph."""
        chain = self.chain
        again = stage not in self.first
        self.first.discard(stage)
        wanted = set(chain.entering[stage + 1])
        if everything:
            wanted.update(chain.residuals[stage])
        if not again:
            wanted.update(chain.kept)
        chosen = []
        for node in reversed(chain.forward[stage]):
            if not wanted.isdisjoint(node.outputs or ()):
                chosen.append(node)
                wanted.update(chain.root.get(atom, atom) for atom in node.inputs)
        known = dict(state)
        apart: dict[Any, Any] = {}
        for node in reversed(chosen):
            inputs = [self.find(atom, known) if not isinstance(atom, Const) else atom for atom in node.inputs]
            if again and self.after is not None and not any(a in apart.values() or a in known.values() for a in inputs):
                inputs = self.behind(inputs, apart)
            for old, new in zip(node.outputs or (), self.copy(node, inputs, fresh=again), strict=True):
                if old in chain.kept and again:
                    continue
                known[old] = new
                if old in chain.kept:
                    self.now[old] = new
        return known

    def behind(self, inputs: list[Any], apart: dict[Any, Any]) -> list[Any]:
        """Operands of which one stands behind a barrier, so that the operation is not one that was done before."""
        for k, atom in enumerate(inputs):
            if isinstance(atom, Var) and not atom.type.weak:
                return [*inputs[:k], self.barrier(atom, apart), *inputs[k + 1 :]]
        return inputs

    def barrier(self, atom: Any, apart: dict[Any, Any]) -> Any:
        if atom not in apart:
            assert self.after is not None
            out = Var.of(atom.type._replace(weak=False), getattr(atom, "name", None))
            node = Node(Barrier.of(), (atom, self.after), (out,), None, 0, self.nodes[-1].number, None, None, True)
            out.node = node
            self.nodes.append(node)
            apart[atom] = out
        return apart[atom]

    def state_after(self, stage: int, known: dict[Any, Any]) -> dict[Any, Any]:
        return {var: known[var] for var in self.chain.entering[stage + 1]}

    def back(self, stage: int, known: dict[Any, Any]) -> None:
        """The gradient part of a stage."""
        known = dict(known)
        for node in self.chain.backward[stage]:
            inputs = [self.find(atom, known) if not isinstance(atom, Const) else atom for atom in node.inputs]
            changed = any(a is not b for a, b in zip(inputs, node.inputs, strict=True))
            outs = self.copy(node, inputs, fresh=changed)
            for old, new in zip(node.outputs or (), outs, strict=True):
                self.now[old] = new
                self.made.add(old)
                self.places[new] = len(self.places)

    def separate(self, stage: int, state: dict[Any, Any]) -> dict[Any, Any]:
        """A state behind barriers, from which stages up to `stage` are run again."""
        self.after = self.alive(stage)
        if self.after is None:
            return state
        apart: dict[Any, Any] = {}
        return {var: self.barrier(atom, apart) for var, atom in state.items()}

    def alive(self, stage: int) -> Var | None:
        """The latest value of the gradient part that the part of this stage, or of one before it, still reads.

        The latest, since every run must stand behind something else than the runs before it.
        """
        found = (
            self.now[atom]
            for s in range(stage, -1, -1)
            for node in self.chain.backward[s]
            for atom in node.inputs
            if atom in self.made
        )
        values = (atom for atom in itertools.islice(found, 256) if isinstance(atom, Var))
        return max(values, key=self.made_at, default=None)

    def made_at(self, atom: Any) -> int:
        return self.places.get(atom, -1)


def written(chain: Stages, plan: Plan) -> Graph:
    """The graph of a plan."""
    writer = Writer(chain)
    # (first stage, last stage, units, state, whether it is run again), and gradient parts to write, as a stack.
    todo: list[tuple[Any, ...]] = [("range", 0, len(chain.forward) - 1, plan.units, {}, False)]
    while todo:
        kind, *job = todo.pop()
        if kind == "back":
            writer.back(*job)
            continue
        s, t, units, state, again = job
        if again:
            state = writer.separate(t, state)
        choice = int(plan.choice[s, t, units])
        if choice == 0:
            known = writer.run(s, state, True)
            todo.append(("back", s, known))
            if t > s:
                todo.append(("range", s + 1, t, units - int(plan.all[s]), writer.state_after(s, known), False))
            continue
        now = state
        for stage in range(s, s + choice):
            now = writer.state_after(stage, writer.run(stage, now, False))
        todo.append(("range", s, s + choice - 1, units, state, True))
        todo.append(("range", s + choice, t, units - int(plan.state[s + choice]), now, False))
    outputs = [writer.find(atom, {}) if isinstance(atom, Var) else atom for atom in chain.graph.outputs]
    return chain.graph.replace(nodes=writer.nodes, outputs=outputs)
