"""Schedules of checkpoints for loops: which states to keep, which steps to run again. Pure arithmetic.

A schedule of n steps is one of

- `Steps(n)`: run them with everything kept that the derivative reads;
- `Again(part)`: run the part, keep its first state alone, and run it again when the derivative gets there;
- `Repeat(count, part)`: `count` times `Again(part)`, as a loop;
- `Chain(parts)`: one after the other.

With p states kept and every step run again at most r times, binomial schedules reach (p + r over r) stretches, which
no schedule exceeds: A. Griewank, *Achieving logarithmic growth of temporal and spatial complexity in reverse automatic
differentiation*, 1992; A. Griewank and A. Walther, *Algorithm 799: revolve*, 2000.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple


class Steps(NamedTuple):
    """Steps with everything kept."""

    steps: int

    def runs(self) -> int:
        """How many steps are run in all, the first time included."""
        return self.steps

    def cost(self, state: float, step: float) -> float:
        """Bytes kept at most beside the first state, at `state` bytes for one and `step` for all that a step keeps."""
        return self.steps * step


class Again(NamedTuple):
    """A part that is run once, and again for its derivative."""

    part: Schedule

    @property
    def steps(self) -> int:
        return self.part.steps

    def runs(self) -> int:
        return self.part.steps + self.part.runs()

    def cost(self, state: float, step: float) -> float:
        return self.part.cost(state, step)


class Repeat(NamedTuple):
    """A part that is run `count` times, and again for each derivative."""

    count: int  # type: ignore[assignment]
    part: Schedule

    @property
    def steps(self) -> int:
        return self.count * self.part.steps

    def runs(self) -> int:
        return self.count * (self.part.steps + self.part.runs())

    def cost(self, state: float, step: float) -> float:
        return self.count * state + self.part.cost(state, step)


class Chain(NamedTuple):
    """Parts one after the other; the derivative goes through them from the last."""

    parts: tuple[Schedule, ...]

    @property
    def steps(self) -> int:
        return sum(part.steps for part in self.parts)

    def runs(self) -> int:
        return sum(part.runs() for part in self.parts)

    def cost(self, state: float, step: float) -> float:
        most = before = 0.0
        for k, part in enumerate(self.parts):
            if k and not isinstance(part, Steps):
                before += state
            most = max(most, before + part.cost(state, step))
            if isinstance(part, Repeat):
                before += part.count * state
            elif not isinstance(part, Again):
                before += part.cost(state, step)
        return most


Schedule = Steps | Again | Repeat | Chain


def in_segments(steps: int, segment: int) -> Schedule:
    """Segments of equal length run again, after a first stretch for what is left over."""
    count, rest = divmod(steps, segment)
    if count <= 1:
        return Steps(steps)
    repeated = Repeat(count, Steps(segment))
    return Chain((Steps(rest), repeated)) if rest else repeated


def square_root(steps: int) -> Schedule:
    """About sqrt(n) states and sqrt(n) steps kept; every step runs twice."""
    return in_segments(steps, max(1, math.isqrt(max(steps, 1))))


def logarithmic(steps: int, ways: int = 4) -> Schedule:
    """About `ways` log(n) states kept; every step runs log(n) times more."""
    if steps <= 2 * ways:
        return Steps(steps)
    segment = steps // ways
    rest = steps - ways * segment
    repeated = Repeat(ways, logarithmic(segment, ways))
    return Chain((Steps(rest), repeated)) if rest else repeated


def reach(states: int, repeats: int) -> int:
    """The most stretches that binomial schedules reverse with so many states, running none more often than that."""
    return math.comb(states + repeats, repeats) if states >= 0 and repeats >= 0 else 0


DEEPEST = 64


def revolve(stretches: int, states: int, length: int = 1) -> Schedule:
    """The optimal schedule of that many stretches of `length` steps, with at most `states` states kept.

    The last stretch keeps what its derivative reads. The number of stretches run is the least possible,
    r n - (p + r over r - 1), plus one run of each for the values; see `repeats_needed` for r.

    Raises ValueError if there is no state to keep for more than one stretch, or a single one for more than 64, which
    would be a nest of graphs as deep as there are stretches.

    >>> revolve(10, 3).runs() + 0  # 10 the first time, r n - (p + r over r - 1) = 2 * 10 - 5 again
    25
    """
    if stretches > 1 and states < 1:
        raise ValueError(f"{stretches} stretches need a state to start again from")
    if stretches > DEEPEST and states < 2:
        raise ValueError(f"{stretches} stretches need two states")
    return _revolve(stretches, states, length)


def repeats_needed(stretches: int, states: int) -> int:
    """The least r with reach(states, r) >= stretches."""
    repeats = 0
    while reach(states, repeats) < stretches:
        repeats += 1
    return repeats


@functools.cache
def _revolve(n: int, p: int, length: int) -> Schedule:
    if n <= 1:
        return Steps(n * length)
    r = repeats_needed(n, p)
    if r == 1:  # every stretch but the last has a state of its own
        return Chain((Repeat(n - 1, Steps(length)), Steps(length)))
    if p == 1:  # from the first state, each time
        return Chain((Again(_revolve(n - 1, 1, length)), Steps(length)))
    first = max(1, min(reach(p, r - 1), n - reach(p - 1, r - 1)))
    rest = _revolve(n - first, p - 1, length)
    parts = rest.parts if isinstance(rest, Chain) else (rest,)
    return Chain((Again(_revolve(first, p, length)), *parts))


def with_states(steps: int, states: int) -> Schedule:
    """The schedule with least steps run that keeps at most `states` (2 or more), what a step keeps counted as one."""
    found = within(steps, 1.0, 1.0, float(states))
    return revolve(steps, states) if found is None else found


MOST_STATES = 24
"""States beyond which schedules with more than two runs again use equal segments, to keep their graphs small."""


def within(steps: int, state: float, step: float, budget: float) -> Schedule | None:
    """The schedule with least steps run that keeps at most `budget` bytes; None if there is none.

    `state` and `step` are the bytes of a state and of what the derivative of one step reads.
    """
    if steps * step <= budget:
        return Steps(steps)
    best: Schedule | None = None
    for repeats in range(1, 40):
        for length in _lengths(steps, state, step, budget, repeats):
            for made in _candidates(steps, state, step, budget, repeats, length):
                if made.cost(state, step) <= budget and (best is None or made.runs() < best.runs()):
                    best = made
        if best is not None:
            return best
    return best


def _lengths(steps: int, state: float, step: float, budget: float, repeats: int) -> list[int]:
    """Lengths of the last stretch to try: the best share of the budget is about one part in r + 1."""
    share = budget / (step * (repeats + 1))
    tried = {int(share * factor) for factor in (0.5, 0.75, 1.0, 1.25, 1.5)} | {1}
    return sorted(n for n in tried if 1 <= n <= steps)


def _candidates(
    steps: int, state: float, step: float, budget: float, repeats: int, length: int
) -> list[Schedule]:  # fmt: skip
    states = int((budget - length * step) / state) if state else steps
    if states < 1:
        return []
    stretches, rest = divmod(steps, length)
    found: list[Schedule] = []
    lead: tuple[Schedule, ...] = (Steps(rest),) if rest else ()
    if rest and (budget - (length + rest) * step) / max(state, 1e-9) < 1:
        lead = (Again(Steps(rest)),)
        states -= 1
    if (
        stretches <= reach(states, repeats)
        and (repeats <= 2 or states <= MOST_STATES)
        and states > (stretches > DEEPEST)
    ):
        most = 400 if repeats > 1 else states
        made = revolve(stretches, min(states, most), length)
        found.append(Chain((*lead, *(made.parts if isinstance(made, Chain) else (made,)))) if lead else made)
    if repeats > 1:
        found.append(nested(steps, repeats, length))
    return found


def nested(steps: int, repeats: int, length: int) -> Schedule:
    """Equal segments in equal segments, so deep that every step runs `repeats` times more."""
    if steps <= length or repeats == 0:
        return Steps(steps)
    count = max(2, math.ceil((steps / length) ** (1 / repeats)))
    segment = max(1, steps // count)
    rest = steps - count * segment
    repeated = Repeat(count, nested(segment, repeats - 1, length))
    return Chain((Steps(rest), repeated)) if rest else repeated
