"""Writing loop nests: stages wait here until somebody needs them, then their plan becomes loops."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from .arrays import Array, Elements, Index, Joined, Map, Memory, known_size, offset_of, parts_of, positions
from .fusion import Nest, Plan, again
from .loops import NATIVE, Block, Loop, Value
from .stages import Assembled, Facts, Reduced, Scattered, Stage, Stored

CHEAP = 3
"""Operations up to which an element is computed again by every reader."""


class Registers(Array):
    """A value in the step of the loops where it is read: registers by position on the axes that are written out."""

    def __init__(self, stage: Stage, short: Sequence[int], items: dict[tuple[int, ...], Value]) -> None:
        self.shape = stage.shape
        self.dtype = stage.dtype
        self.places = [r for r, k in enumerate(stage.kept) if k in short]
        self.items = items

    def at(self, e: Any, index: Index) -> Value:
        return self.items[tuple(0 if self.shape[r] == 1 else index[r] for r in self.places)]

    @property
    def flattens(self) -> bool:
        return len(self.items) == 1

    def flat(self, e: Any, k: Any) -> Value | None:
        (value,) = self.items.values()
        return value


def in_order(facts: dict[Stage, Facts]) -> list[Stage]:
    """Stages after those that they read, otherwise by age: a map may become a stage after a reader of it."""
    found: dict[Stage, None] = {}
    left = sorted(facts, key=lambda s: -s.number)
    while left:
        s = left[-1]
        before = [d for d in (*facts[s].reads, *s.after) if d in facts and d not in found]
        if s not in found and before:
            left += sorted(before, key=lambda s: -s.number)
            continue
        found[left.pop()] = None
    for turn, s in enumerate(found):
        s.turn = turn
    return list(found)


class Running:
    """A stage while its loops are written: the index so far, accumulators, and where the value goes."""

    def __init__(self, stage: Stage, facts: Facts) -> None:
        self.stage = stage
        self.facts = facts
        self.index: list[Any] = [0] * len(stage.domain)
        self.looped: set[int] = set()
        """The axes that the loops around the present place run over."""
        self.memory: Memory | None = None
        self.cells: dict[tuple[int, ...], Any] | None = None
        self.begun = False
        self.row = False
        """Whether the memory is that of a row, which nobody reads after the nest."""
        self.kept_short = [k for k in stage.kept if k in facts.short]
        self.reduced_short = [k for k in facts.short if k in stage.reduced]


def in_parts(pairs: Iterable[tuple[Array, Memory]]) -> list[tuple[Array, Memory]]:
    """Values and where they go, joined complex numbers part by part."""
    found: list[tuple[Array, Memory]] = []
    for value, target in pairs:
        if isinstance(value, Joined):
            found += zip(value.parts, parts_of(target), strict=True)
        else:
            found.append((value, target))
    return found


class Nests:
    """Part of `Lowering`."""

    def __init__(self: Any) -> None:
        super().__init__()
        self.pending: list[Stage] = []
        self.frames: list[Any] = []
        self.running: dict[Stage, Running] = {}

    # Asking for values -----------------------------------------------------------------------------------

    def stage(self: Any, value: Array) -> Stage:
        """A map as a stage; a stage as it is."""
        if isinstance(value, Stage):
            return value
        if isinstance(value, Map) and value.stage is not None:
            return value.stage  # type: ignore[no-any-return]
        found = Stored(self, value)
        self.pending.append(found)
        if isinstance(value, Map):
            value.stage = found
        return found

    def waits(self, value: Array) -> bool:
        """Whether a value depends on a stage that is not computed."""
        return bool(self.waiting([value]))

    def waiting(self: Any, values: Iterable[Array], among: Collection[Stage] | None = None) -> set[Stage]:
        """The stages nearest to some values that are not computed; only those of a collection, if one is given."""
        found: set[Stage] = set()
        seen: set[int] = set()
        left = list(values)
        while left:
            value = left.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if isinstance(value, Map) and value.stage is not None:
                value = value.stage
            if isinstance(value, Joined):
                left += value.parts
            if isinstance(value, Stage):
                if value.ready is not None:
                    continue
                if not value.inline and (among is None or value in among):
                    found.add(value)
                    continue
                left += value.after
                source = getattr(value, "source", None)
                if isinstance(source, Map) and source.stage is value:
                    left += self.sources(source)
                elif source is not None:
                    left.append(source)
            elif isinstance(value, Map):
                left += self.sources(value)
        return found

    def sources(self: Any, value: Map) -> Sequence[Array]:
        """What a map reads."""
        if value.sources is None:
            symbols = [0 if isinstance(n, int) and n == 1 else Value("index", (), "i64", -k - 1)
                       for k, n in enumerate(value.shape)]  # fmt: skip
            with self.probing() as (probe, _):
                value.compute(self, symbols)
            value.sources = tuple(probe.reads)
        return value.sources

    def force(self: Any, values: Sequence[Array]) -> None:
        """Compute whatever some values depend on."""
        if self.waiting(values):
            self.flush(values)

    def deliver(self: Any, pairs: Sequence[tuple[Array, Memory]]) -> None:
        """Write arrays to memory of their shapes, in common loops."""
        wanted = []
        for value, target in in_parts(pairs):
            if isinstance(value, Map) and value.stage is not None:
                value = value.stage
            if value is target or (isinstance(value, Stage) and value.ready is target):
                continue
            if value.dtype not in NATIVE:
                self.copy_bytes(value, target)
                continue
            if isinstance(value, Stage) and value.target is target:
                wanted.append(value)
                continue
            if isinstance(value, Elements) or (known_size(value.shape) == 1 and not self.waits(value)):
                for index in positions(tuple(value.shape)):
                    item = value.at(self, index)
                    self.store(target.buffer, offset_of(self, target.offset, target.strides, index), item)
                continue
            if not (isinstance(value, Stage) and value.aim(target)):
                value = Stored(self, value)
                self.pending.append(value)
                value.aim(target)
            wanted.append(value)
        self.force(wanted)

    @contextmanager
    def inside(self: Any, block: Block, looping: bool = False) -> Iterator[Block]:
        """The body of a loop or branch: what waits outside is not computed in here."""
        waiting, self.pending = self.pending, []
        self.frames.append({})
        with super().inside(block, looping) as inner:  # type: ignore[misc]
            yield inner
        self.frames.pop()
        self.pending = waiting

    # Writing loops ---------------------------------------------------------------------------------------

    def flush(self: Any, values: Sequence[Array]) -> None:
        """Write the loops of the stages that some values need, and of the others that join them."""
        while True:
            needed = self.waiting(values)
            stages, facts = self._chosen(needed)
            plan = Plan(stages, facts, needed | self.waiting(self._alive(), facts))
            repeated = again(plan)
            if not repeated:
                break
            for s in repeated:
                s.inline = True
        if any(s.depth < len(self.open) for s in stages):
            raise AssertionError("a value from outside a loop was first needed in its body: fix it before the loop")
        for s in stages:
            for small in facts[s].varying:
                self.in_memory(small)
        self.running = {s: Running(s, facts[s]) for s in stages}
        source = self.source
        for s in stages:
            self.source = s.origin
            self._place(s, plan)
        self.source = source
        self._write(plan.items, 0)
        for s in stages:
            if plan.shared[s] == 0 and s.ready is not None:
                self._finished(s)
            else:
                s.ready = None
        self.running = {}
        self.pending = [s for s in self.pending if s.ready is None and s not in plan.steps and not s.inline]

    def _alive(self: Any) -> list[Array]:
        """Arrays that nodes to come will read."""
        return list(self.frames[-1].values()) if self.frames else []

    def _chosen(self: Any, needed: set[Stage]) -> tuple[list[Stage], dict[Stage, Facts]]:
        """The stages to compute, in order, and what is known of them."""
        facts: dict[Stage, Facts] = {}
        left = [*needed, *(s for s in self.pending if s.ready is None and (s.eager or s.required))]
        while left:
            s = left.pop()
            if s in facts or s.ready is not None or s.inline:
                continue
            facts[s] = Facts(self, s)
            left += facts[s].reads
            left += s.after
        return in_order(facts), facts

    def _place(self: Any, s: Stage, plan: Plan) -> None:
        """Memory for a value, if it needs some."""
        run = self.running[s]
        if s.fill is not None:
            s.target = s.fill()
        if isinstance(s, (Assembled, Scattered)):
            run.memory = s.memory(self)
            return
        if s.target is not None:
            run.memory = s.target
            return
        rows = plan.rows(s)
        if not rows:
            return
        if plan.shared[s] == 0:
            short = [k for k in rows if k in run.kept_short]
            if isinstance(s, Reduced) and not s.required and 0 < len(short) < len(rows):
                # Accumulators of a loop over long axes: along these they are contiguous, for the vectoriser.
                order = [*short, *(k for k in rows if k not in short)]
                turned = self.new([s.domain[k] for k in order], s.dtype)
                steps = dict(zip(order, turned.strides, strict=True))
                run.memory = Memory(turned.buffer, s.shape, 0, [steps.get(k, 0) for k in s.kept])
                return
            run.memory = self.new(s.shape, s.dtype)
            return
        whole = self.new([s.domain[k] for k in rows], s.dtype)
        strides = dict(zip(rows, whole.strides, strict=True))
        run.memory = Memory(whole.buffer, s.shape, 0, [strides.get(k, 0) for k in s.kept])
        run.row = whole.buffer.row = True

    def _finished(self: Any, s: Stage) -> None:
        """A value after its nest: a small one, without memory, is elements in registers."""
        if isinstance(s.ready, Registers):
            size = known_size(s.shape)
            assert size is not None
            s.ready = Elements(s.shape, s.dtype, [s.ready.at(self, index) for index in positions(s.shape)])

    def _write(self: Any, items: Sequence[Nest | Stage], depth: int) -> None:
        for item in items:
            if isinstance(item, Stage):
                self._step(self.running[item])
                continue
            begun: list[Running] = []
            if depth:
                self._loops(item, depth, begun)
            else:
                self._top(item, begun)
            for run in begun:
                self._end(run)

    def _top(self: Any, item: Nest, begun: list[Running]) -> None:
        """An outermost loop, in a fast and a careful version if it multiplies strongly."""
        runs = [self.running[s] for s in item.members]
        if any(isinstance(run.stage, Scattered) for run in runs):  # adds to what is there: once only
            self._loops(item, 0, begun)
            return
        own = {run.memory.buffer for run in runs if run.memory is not None and run.row}

        def again() -> None:
            begun.clear()
            for run in runs:
                run.begun = False
                run.stage.ready = None

        def cells() -> list[Any]:
            return [cell for run in begun if run.cells for cell in run.cells.values()]

        self.carefully(lambda: self._loops(item, 0, begun), again, cells, own)

    def _loops(self: Any, item: Nest, depth: int, begun: list[Running]) -> None:
        """A loop and what is in it; `begun` gets the stages whose accumulators start with it."""
        for s, axis in item.members.items():
            run = self.running[s]
            if axis in s.reduced and not run.begun:
                self._begin(run)
                begun.append(run)
        flat = self._collapsed(item) if depth == 0 else None
        if flat is not None:
            self._write_flat(item, flat)
            return
        with self.loop(item.extent) as i:
            for s, axis in item.members.items():
                self.running[s].index[axis] = i
                self.running[s].looped.add(axis)
            self._write(item.body, depth + 1)
        for s, axis in item.members.items():
            self.running[s].looped.discard(axis)
        self._mark(item)

    def _mark(self: Any, nest: Nest) -> None:
        """Note on the loop just written whether its steps are independent."""
        last = self.block.statements[-1]
        if isinstance(last, Loop):
            last.independent = nest.independent

    def _collapsed(self: Any, nest: Nest) -> list[Running] | None:
        """The stages of a perfect nest that reads and writes in row-major order, so that one loop will do."""
        members = list(nest.members)
        while True:
            if set(nest.members) != set(members):
                return None
            if len(nest.body) == 1 and isinstance(nest.body[0], Nest):
                nest = nest.body[0]
                continue
            if any(isinstance(item, Nest) for item in nest.body) or len(nest.body) != len(members):
                return None
            break
        order = [self.running[s] for s in nest.body]
        shape = order[0].stage.domain
        for run in order:
            s = run.stage
            whole = isinstance(s, Stored) or (isinstance(s, Reduced) and not s.kept)
            dense = run.memory is None or run.memory.dense
            if not (whole and dense and s.flat_domain and len(s.domain) == len(shape)) or self._by_index(s):
                return None
            if any(not (a is b or (isinstance(a, int) and a == b)) for a, b in zip(s.domain, shape, strict=True)):
                return None
        return order

    def _by_index(self: Any, stage: Stage) -> bool:
        """Whether something that a stage computes on the way is known by index only."""
        left: list[Any] = [stage.source]  # type: ignore[attr-defined]
        seen: set[int] = set()
        while left:
            value = left.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            inner = value.stage if isinstance(value, Map) else value
            if isinstance(inner, Stage) and inner is not stage:
                if inner.inline and inner.ready is None:
                    if not inner.flat_domain:
                        return True
                    left += self.sources(inner.source) if isinstance(inner.source, Map) else [inner.source]  # type: ignore[attr-defined]
            elif isinstance(value, Map):
                left += self.sources(value)
        return False

    def _write_flat(self: Any, nest: Nest, order: Sequence[Running]) -> None:
        size: Any = 1
        for n in order[0].stage.domain:
            size = self.mul(size, n)
        with self.loop(size) as k:
            for run in order:
                s = run.stage
                value = s.flat_value(self, k)
                if isinstance(s, Reduced):
                    (cell,) = run.cells.values()  # type: ignore[union-attr]
                    self.write(cell, s.join(self, self.read(cell), value))
                    continue
                if run.memory is not None:
                    self.store(run.memory.buffer, self.add(run.memory.offset, k), value)
                    s.ready = run.memory
                    self.memos[-1]["stage", s.number, k] = value, s
                else:
                    s.ready = Registers(s, (), {(): value})
        self._mark(nest)

    def _begin(self: Any, run: Running) -> None:
        """Start values of accumulators, before the outermost loop that is reduced over."""
        s = run.stage
        run.begun = True
        if isinstance(s, Scattered):
            return
        assert isinstance(s, Reduced)
        left = [k for k in s.kept if k in run.facts.order and k not in run.looped]
        if not left:
            zero = self.const(s.start, s.name)
            if run.cells is None:
                run.cells = {point: self.cell(s.name, zero) for point in run.facts.points(s, run.kept_short)}
                return
            for cell in run.cells.values():  # the careful version
                self.write(cell, zero)
            return
        index = list(run.index)
        axes = left + [k for k in run.kept_short if s.domain[k] != 1]
        with self.nest([s.domain[k] for k in axes]) as inner:
            for k, i in zip(axes, inner, strict=True):
                index[k] = i
            self._store(run, index, self.const(s.start, s.name))

    def _store(self: Any, run: Running, index: Sequence[Any], value: Any) -> None:
        memory = run.memory
        assert memory is not None
        place = [index[k] for k in run.stage.kept]
        self.store(memory.buffer, offset_of(self, memory.offset, memory.strides, place), value)

    def _end(self: Any, run: Running) -> None:
        """The values of accumulators, after the outermost loop that is reduced over."""
        s = run.stage
        if run.cells is None:
            s.ready = run.memory
            return
        items = {point: self.read(cell) for point, cell in run.cells.items()}
        self._ready(run, items)

    def _ready(self: Any, run: Running, items: dict[tuple[int, ...], Any]) -> None:
        """Registers with the value at the present step go to memory if it has any; those who read at once need none."""
        s = run.stage
        if run.memory is None:
            s.ready = Registers(s, run.kept_short, items)
            return
        index = list(run.index)
        for point, value in items.items():
            for k, i in zip(run.kept_short, point, strict=True):
                index[k] = i
            self._store(run, index, value)
            self.memos[-1]["stage", s.number, *(index[k] for k in s.kept)] = value, s
        s.ready = run.memory

    def _step(self: Any, run: Running) -> None:
        """The straight-line code of a stage, in the loops around it."""
        s, facts = run.stage, run.facts
        index = run.index
        if isinstance(s, Assembled):
            s.ready = run.memory
            return
        if isinstance(s, Stored):
            items = {}
            for point in facts.points(s, run.kept_short):
                self._point(index, run.kept_short, point)
                items[point] = s.value(self, list(index))
            self._ready(run, items)
            return
        if isinstance(s, Scattered):
            self._scatter(run)
            return
        assert isinstance(s, Reduced)
        items = {}
        for point in facts.points(s, run.kept_short):
            self._point(index, run.kept_short, point)
            total: Any = None
            for lane in facts.points(s, run.reduced_short):
                self._point(index, run.reduced_short, lane)
                value = s.value(self, list(index))
                total = value if total is None else s.join(self, total, value)
            if total is None:
                total = self.const(s.start, s.name)
            if not run.begun:
                items[point] = total
            elif run.cells is not None:
                cell = run.cells[point]
                self.write(cell, s.join(self, self.read(cell), total))
            else:
                memory = run.memory
                assert memory is not None
                place = offset_of(self, memory.offset, memory.strides, [index[k] for k in s.kept])
                self.store(memory.buffer, place, s.join(self, self.load(memory.buffer, place), total))
        if not run.begun:
            self._ready(run, items)

    def _scatter(self: Any, run: Running) -> None:
        s = run.stage
        assert isinstance(s, Scattered)
        if not run.begun:
            self._begin(run)
        memory = run.memory
        assert memory is not None
        for point in run.facts.points(s, run.reduced_short):
            self._point(run.index, run.reduced_short, point)
            value = self.convert(s.source.at(self, list(run.index)), NATIVE[s.dtype])
            offset = offset_of(self, memory.offset, memory.strides, s.place(list(run.index)))
            if s.add:
                value = self.add(self.load(memory.buffer, offset), value)
            self.store(memory.buffer, offset, value)
        s.ready = memory

    @staticmethod
    def _point(index: list[Any], axes: Sequence[int], point: Sequence[int]) -> None:
        for k, i in zip(axes, point, strict=True):
            index[k] = i


def bytes_of(value: Array) -> int | None:
    """The memory that an array takes; None if only the run knows."""
    size = known_size(value.shape)
    return None if size is None else math.prod([size, value.dtype.itemsize])
