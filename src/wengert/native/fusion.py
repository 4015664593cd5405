"""Which stages share loops, and where their values live.

The stages that are to be computed come in an order in which every one follows what it reads. `arrange` groups them,
level by level: a stage joins a nest over an axis of its own if what it reads of the nest's members is of the same step
of the loop, and complete by then, and if it has a producer or something that it reads in common with it. Inside a
nest the same happens again with one axis less, so a row of a matrix goes through several inner loops one after the
other: find its maximum, add up exponentials, write the quotients.

The loops that a stage and all of its readers share need no memory for its value (array contraction: Gao, Olsen,
Sarkar, Thekkath, *Collective loop fusion for array contraction*, 1992): a value that is read in its own innermost loop
is a register, one that is read in later loops of the same row a buffer of one row. A value in whole memory that is
quicker to compute again is given back to its readers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from .stages import Assembled, Facts, Scattered, Stage, Stored

BODY = 1500
"""Operations that one nest holds at most, so that LLVM can keep up."""
AGAIN = 12
"""Operations of a value in whole memory up to which readers compute it again."""
AGAIN_LARGE = 60
"""The same for values that no cache near the processor holds."""
NEAR = 1 << 20
"""Bytes that such a cache holds."""


class Nest:
    """A loop: which axis of its members it runs over, and what is inside, in order."""

    def __init__(self, extent: Any, level: int) -> None:
        self.extent = extent
        self.level = level
        self.members: dict[Stage, int] = {}
        self.touched: set[Any] = set()
        self.weight = 0
        self.body: list[Nest | Stage] = []

    def take(self, stage: Stage, axis: int, facts: Facts) -> None:
        self.members[stage] = axis
        self.touched |= facts.touched[axis]
        self.touched |= {(stage.number, place) for place, k in enumerate(stage.kept) if k == axis}
        self.weight += facts.weight * facts.written_out

    @property
    def independent(self) -> bool:
        """Whether no step needs another one's results."""
        return all(axis in stage.kept for stage, axis in self.members.items())


class Plan:
    """Loops for some stages.

    `items` are the nests and straight-line stages in order; `steps[stage]` are the nests around a stage;
    `shared[stage]` is how many of them its readers are inside of as well, so that its value need not outlive them.
    """

    def __init__(self, stages: Sequence[Stage], facts: dict[Stage, Facts], wanted: Collection[Stage]) -> None:
        self.stages = stages
        self.facts = facts
        self.readers: dict[Stage, list[Stage]] = {s: [] for s in stages}
        for s in stages:
            for other in (*facts[s].reads, *s.after):
                if other in self.readers:
                    self.readers[other].append(s)
        self.items = self._arrange(stages, dict.fromkeys(stages, ()))
        self.steps: dict[Stage, tuple[Nest, ...]] = {}
        self._note(self.items, ())
        self.shared = {s: 0 if s in wanted or s.whole else self._common(s) for s in stages}

    def _note(self, items: Iterable[Nest | Stage], around: tuple[Nest, ...]) -> None:
        for item in items:
            if isinstance(item, Nest):
                self._note(item.body, (*around, item))
            else:
                self.steps[item] = around

    def _common(self, stage: Stage) -> int:
        """How many of the loops around a stage are around all of its readers."""
        if isinstance(stage, Scattered):
            return 0
        own = self.steps[stage]
        count = len(own)
        for reader in self.readers[stage]:
            other = self.steps[reader]
            shared = 0
            while shared < min(count, len(other)) and own[shared] is other[shared]:
                shared += 1
            count = shared
        return count

    def passed(self, stage: Stage) -> dict[int, Nest]:
        """The axes of a stage that shared loops run over."""
        return {nest.members[stage]: nest for nest in self.steps[stage][: self.shared[stage]]}

    def rows(self, stage: Stage) -> list[int]:
        """The axes of a value that take memory; none if registers hold it."""
        if isinstance(stage, (Assembled, Scattered)):
            return []
        gone = self.passed(stage)
        facts = self.facts[stage]
        long = [k for k in stage.kept if k in facts.order and k not in gone]
        if long or not all(self._constant(stage, reader) for reader in self.readers[stage]):
            return [k for k in stage.kept if k not in gone and stage.domain[k] != 1]
        return []

    def _constant(self, stage: Stage, reader: Stage) -> bool:
        """Whether a reader's index on written-out axes is a number."""
        facts, own = self.facts[reader], self.facts[stage]
        for index in facts.reads.get(stage, ()):
            for i, k in zip(index, stage.kept, strict=True):
                if k in own.short and stage.domain[k] != 1 and not isinstance(i, int):
                    axis = facts.axis.get(id(i))
                    if axis is None or axis not in facts.short:
                        return False
        return True

    # Grouping ------------------------------------------------------------------------------------------

    def _arrange(self, stages: Sequence[Stage], done: dict[Stage, tuple[int, ...]]) -> list[Nest | Stage]:
        """Loops over one more axis of each stage, in order.

        Everything has a level: the nests of a level run before its straight-line stages, these before the next level.
        """
        facts = self.facts
        level: dict[Stage, int] = {}
        home: dict[Stage, Nest] = {}
        nests: list[Nest] = []
        for s in stages:
            left = [k for k in facts[s].order if k not in done[s]]
            read = [d for d in (*facts[s].reads, *s.after) if d in level]
            if not left:
                level[s] = max((level[d] for d in read), default=-1)
                continue
            best: tuple[Nest, int] | None = None
            worth = -1
            for nest in nests:
                axis = self._joins(s, left, nest, read, home, level)
                if axis is not None:
                    gain = 1 + 1000 * any(home.get(d) is nest for d in read)
                    if gain > worth:
                        best, worth = (nest, axis), gain
            if best is None:
                nest = Nest(s.domain[left[0]], 1 + max((level[d] for d in read), default=-1))
                nests.append(nest)
                best = nest, left[0]
            nest, axis = best
            nest.take(s, axis, facts[s])
            home[s] = nest
            level[s] = nest.level
        self._sink(stages, home, level, done)
        items: list[tuple[int, int, int, Nest | Stage]] = []
        for n, nest in enumerate(nests):
            if nest.members:
                inner = sorted(nest.members, key=lambda s: s.turn)
                nest.body = self._arrange(inner, {s: (*done[s], nest.members[s]) for s in inner})
                items.append((nest.level, 0, n, nest))
        for n, s in enumerate(stages):
            if s not in home:
                items.append((level[s], 1, n, s))
        return [item[3] for item in sorted(items, key=lambda item: item[:3])]

    def _joins(self, s: Stage, left: Sequence[int], nest: Nest, read: Sequence[Stage], home: dict[Stage, Nest],
               level: dict[Stage, int]) -> int | None:  # fmt: skip
        """The axis over which a stage can join a nest, if that is right and of use."""
        facts = self.facts[s]
        if nest.weight + facts.weight * facts.written_out > BODY:
            return None
        axes: set[int] | None = None
        for d in read:
            if home.get(d) is nest:
                found = self._aligned(s, d, nest.members[d])
                axes = found if axes is None else axes & found
                if not axes or d in s.after:
                    return None
            elif level[d] + 1 > nest.level:
                return None
        if isinstance(s, Scattered) and not s.add:
            left = left[:1]  # later elements win, so the order stays
        for axis in left if axes is None else [k for k in left if k in axes]:
            if same(s.domain[axis], nest.extent) and (axes is not None or facts.touched[axis] & nest.touched):
                return axis
        return None

    def _aligned(self, reader: Stage, stage: Stage, axis: int) -> set[int]:
        """The axes of a reader whose step reads only the same step of a stage's axis."""
        if axis not in stage.kept:
            return set()
        place = stage.kept.index(axis)
        facts = self.facts[reader]
        found = {facts.axis.get(id(index[place])) for index in facts.reads[stage]} if stage in facts.reads else {None}
        return {k for k in found if k is not None} if len(found) == 1 else set()

    def _sink(self, stages: Sequence[Stage], home: dict[Stage, Nest], level: dict[Stage, int],
              done: dict[Stage, tuple[int, ...]]) -> None:  # fmt: skip
        """Move values that are read in a single later nest into it."""
        for s in reversed(stages):
            if not isinstance(s, Stored) or s.whole or s not in home:
                continue
            nests = {home.get(r) for r in self.readers[s] if r in level}
            if len(nests) != 1 or (nest := nests.pop()) is None or nest is home[s] or nest.level < level[s]:
                continue
            inside = [r for r in self.readers[s] if r in level]
            if len(inside) != len(self.readers[s]):
                continue
            wanted = {self._wanted(r, s, nest.members[r]) for r in inside}
            if len(wanted) != 1 or (axis := wanted.pop()) is None or axis in done[s]:
                continue
            if not same(s.domain[axis], nest.extent) or axis not in self.facts[s].order:
                continue
            del home[s].members[s]
            home[s].weight -= self.facts[s].weight * self.facts[s].written_out
            nest.take(s, axis, self.facts[s])
            home[s] = nest
            level[s] = nest.level

    def _wanted(self, reader: Stage, stage: Stage, axis: int) -> int | None:
        """The axis of a stage that a reader reads at the step of its own axis."""
        facts = self.facts[reader]
        found = set()
        for index in facts.reads.get(stage, ()):
            found.add(next((k for i, k in zip(index, stage.kept, strict=True) if facts.axis.get(id(i)) == axis), None))
        return found.pop() if len(found) == 1 else None


def same(a: Any, b: Any) -> bool:
    """Whether two extents, numbers or registers, are one."""
    return a is b or (isinstance(a, int) and isinstance(b, int) and a == b)


def points(stage: Stage) -> int:
    """The size of a domain, as far as it is known."""
    return math.prod(n for n in stage.domain if isinstance(n, int))


def again(plan: Plan) -> list[Stage]:
    """The stages of a plan that had better be computed again by their readers than kept in whole memory."""
    found: list[Stage] = []
    for s in plan.stages:
        if isinstance(s, Stored) and not s.whole and not s.required and not plan.shared[s] and plan.rows(s):
            count = points(s)
            if any(points(reader) > 2 * count for reader in plan.readers[s]):
                continue  # each value is read many times
            size = count * s.dtype.itemsize
            if plan.facts[s].weight <= (AGAIN if size <= NEAR else AGAIN_LARGE):
                found.append(s)
    return found
