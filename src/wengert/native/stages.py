"""Stages: values that loops compute, and what is known of one before its loops are written.

A stage waits until its value is needed. Then `fusion` puts the stages that wait into common loops and `nests` writes
these. What a stage reads, and at which index, is found by a *probe*: its scalar code is written once for symbols in
place of indices, into a block that is thrown away.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from .arrays import Array, Elements, Index, Map, Memory, known_size, positions
from .loops import INDEX, NATIVE, Block, Builder, Value

SHORT = 8
"""Extent up to which a trailing axis is written out in registers."""
WRITTEN_OUT = 16
"""Elements that are written out per step of the loops around them."""
LENGTHY = 400
"""Operations that writing out may amount to."""
PRICES = {"div": 4, "rem": 20, "library": 20, "const": 0, "read": 0, "load": 1, "stage": 0}
"""Operations that an operation counts for; 1 if not here."""


class Stage(Array):
    """An array that loops compute, some time before it is read.

    Attributes
    ----------
    domain : the extents of its loops. kept : the axes of the domain that are axes of the value, in order.
    ready : where the value is; None while it is not computed. In the middle of a nest it may be ready for the
        current step of the loops only.
    target : memory that the value has to go to. eager : whether it joins the next loops that are written.
    required : somebody has to find it in memory. inline : computed again by each reader after all.
    """

    weight = 1
    turn = 0
    """Its place in the order in which the loops at hand are written."""
    eager = False
    fill: Callable[[], Memory] | None = None
    """What gives the target, if that is part of an array which gets its memory later."""
    after: tuple[Stage, ...] = ()
    """Stages that must be complete before this one begins."""

    def __init__(self, e: Any, shape: Sequence[Any], dtype: Any, domain: Sequence[Any], kept: Sequence[int]) -> None:
        self.shape = tuple(shape)
        self.dtype = np.dtype(dtype)
        self.domain = tuple(domain)
        self.kept = tuple(kept)
        self.reduced = frozenset(range(len(self.domain))) - set(self.kept)
        self.ready: Array | None = None
        self.target: Memory | None = None
        self.required = False
        self.inline = False
        self.number = e.next()
        self.origin = e.source
        self.depth = len(e.open)

    def value(self, e: Any, index: Index) -> Value:
        """The scalar of a point of the domain."""
        raise NotImplementedError

    def flat_value(self, e: Any, k: Any) -> Value:
        """The same by position in row-major order."""
        raise NotImplementedError

    @property
    def flat_domain(self) -> bool:
        return False

    @property
    def whole(self) -> bool:
        """Whether its value goes to memory as a whole."""
        return self.target is not None or self.fill is not None

    def aim(self, target: Memory) -> bool:
        """Make it go to a place in memory, if nothing else is decided."""
        if self.ready is not None or self.whole or self.inline:
            return False
        self.target = target
        return True

    @property
    def flattens(self) -> bool:
        return not isinstance(self.ready, Elements) or self.ready.flattens

    def at(self, e: Any, index: Index) -> Value:
        if self.ready is not None:
            found = e.recall(("stage", self.number, *index))
            return found[0] if found is not None else self.ready.at(e, index)
        if self.inline:
            return self.value(e, index)
        if e.probe is None:
            raise AssertionError(f"{self!r} is read before it is computed")
        return e.probe.read(e, self, index)  # type: ignore[no-any-return]

    def flat(self, e: Any, k: Any) -> Value | None:
        ready = self.ready
        if ready is None and self.inline:
            return self.flat_value(e, k) if self.flat_domain else self.value(e, unflat(e, k, self.domain))
        if ready is None:
            raise AssertionError(f"{self!r} is read before it is computed")
        found = e.recall(("stage", self.number, k))
        if found is not None:
            return found[0]  # type: ignore[no-any-return]
        return ready.flat(e, k) if ready.flattens else ready.at(e, unflat(e, k, self.shape))

    def __repr__(self) -> str:
        return f"{type(self).__name__.lower()} {self.number} {list(self.shape)}"


def unflat(e: Builder, k: Any, shape: Sequence[Any]) -> list[Any]:
    """The index of a position in row-major order."""
    index: list[Any] = []
    for n in reversed(shape[1:]):
        index.append(e.rest(k, n))
        k = e.quotient(k, n)
    return [*([k] if shape else []), *reversed(index)]


class Stored(Stage):
    """A map that is computed once, because several read it or somebody needs it in memory."""

    def __init__(self, e: Any, source: Array) -> None:
        super().__init__(e, source.shape, source.dtype, source.shape, range(source.ndim))
        self.source = source
        if isinstance(source, Map) and source.origin is not None:  # it may become a stage while another line is lowered
            self.origin = source.origin

    def value(self, e: Any, index: Index) -> Value:
        source = self.source
        own = isinstance(source, Map) and source.stage is self
        return source.compute(e, index) if own else source.at(e, index)  # type: ignore[attr-defined]

    def flat_value(self, e: Any, k: Any) -> Value:
        source = self.source
        own = isinstance(source, Map) and source.stage is self
        found = source.compute_flat(e, k) if own else source.flat(e, k)  # type: ignore[attr-defined]
        assert found is not None
        return found

    @property
    def flat_domain(self) -> bool:
        own = isinstance(self.source, Map) and self.source.stage is self
        return self.source.flattens_itself if own else self.source.flattens  # type: ignore[attr-defined]


class Reduced(Stage):
    """Elements of an array along axes joined to one."""

    eager = True

    def __init__(self, e: Any, source: Array, axes: Sequence[int], dtype: Any, join: Callable[..., Any],
                 start: Any) -> None:  # fmt: skip
        kept = [k for k in range(source.ndim) if k not in axes]
        super().__init__(e, [source.shape[k] for k in kept], dtype, source.shape, kept)
        self.source = source
        self.join = join
        self.start = start
        self.name = NATIVE[self.dtype]

    def value(self, e: Any, index: Index) -> Value:
        return e.convert(self.source.at(e, index), self.name)  # type: ignore[no-any-return]

    def flat_value(self, e: Any, k: Any) -> Value:
        return e.convert(self.source.flat(e, k), self.name)  # type: ignore[no-any-return]

    @property
    def flat_domain(self) -> bool:
        return self.source.flattens


class Scattered(Stage):
    """Elements written over, or added to, places of an array that are known when the program runs.

    `place` gives the index in the array for a point of the domain, which is the shape of `source`.
    """

    eager = True

    def __init__(self, e: Any, base: Stage, source: Array, place: Callable[[Index], list[Any]], add: bool) -> None:
        super().__init__(e, base.shape, base.dtype, source.shape, ())
        self.source = source
        self.place = place
        self.add = add
        self.after = (base,)
        base.fill = lambda: self.memory(e)

    def memory(self, e: Any) -> Memory:
        """Where the elements are written."""
        if self.target is None:
            self.target = e.new(self.shape, self.dtype)
        return self.target

    def value(self, e: Any, index: Index) -> Value:
        for i in self.place(index):  # for the probe, to which they are reads
            e.lift(i, INDEX)
        return self.source.at(e, index)


class Assembled(Stage):
    """An array in memory that other stages fill, a part each.

    `parts` holds each with the function from the array's memory to the part's. Later parts overwrite earlier ones.
    """

    def __init__(self, e: Any, shape: Sequence[Any], dtype: Any,
                 parts: Sequence[tuple[Stage, Callable[[Memory], Memory]]]) -> None:  # fmt: skip
        super().__init__(e, shape, dtype, (), ())
        self.after = tuple(stage for stage, _ in parts)
        for k, (stage, place) in enumerate(parts):
            stage.fill = lambda place=place: place(self.memory(e))
            stage.after = self.after[max(k - 1, 0) : k]

    def memory(self, e: Any) -> Memory:
        if self.target is None:
            self.target = e.new(self.shape, self.dtype)
        return self.target

    def value(self, e: Any, index: Index) -> Value:
        return e.const(0, INDEX)  # type: ignore[no-any-return]


class Probe:
    """What scalar code reads: other stages, memory, and small arrays at an index that varies."""

    def __init__(self) -> None:
        self.reads: dict[Stage, list[tuple[Any, ...]]] = {}
        self.loads: list[tuple[Memory, tuple[Any, ...]]] = []
        self.varying: list[Elements] = []

    def read(self, e: Any, stage: Stage, index: Index) -> Value:
        self.reads.setdefault(stage, []).append(tuple(index))
        return e.value("stage", (stage, *(e.lift(i, INDEX) for i in index)), NATIVE[stage.dtype])  # type: ignore[no-any-return]

    def load(self, e: Any, memory: Memory, index: Index, offset: Any) -> Value:
        self.loads.append((memory, tuple(index)))
        return e.value("load", (memory.buffer, e.lift(offset, INDEX)), NATIVE[memory.dtype])  # type: ignore[no-any-return]

    def vary(self, e: Any, elements: Elements, place: Value) -> Value:
        self.varying.append(elements)
        return e.value("load", (elements, place), NATIVE[elements.dtype])  # type: ignore[no-any-return]


def price(block: Block) -> int:
    """Operations of straight-line code."""
    return sum(PRICES.get(v.op, 1) for v in block.statements if isinstance(v, Value))


class Facts:
    """What is known of a stage: its reads, the axes of its loops in their order, those written out, its price."""

    def __init__(self, e: Any, stage: Stage) -> None:
        size = known_size(stage.domain)
        self.small = size is not None and size <= WRITTEN_OUT
        self.symbols = [
            0 if isinstance(n, int) and n == 1 else Value("index", (), INDEX, -k - 1)
            for k, n in enumerate(stage.domain)
        ]
        with e.probing() as (probe, block):
            for index in positions(stage.domain) if self.small else [self.symbols]:
                stage.value(e, list(index))
        self.reads: dict[Stage, list[tuple[Any, ...]]] = probe.reads
        self.varying = probe.varying
        self.weight = 1 + price(block)
        self.axis = {id(v): k for k, v in enumerate(self.symbols) if isinstance(v, Value)}
        self.short = self._short(stage)
        self.written_out = 1 if self.small else math.prod(stage.domain[k] for k in self.short)
        self.touched: dict[int, set[Any]] = {k: set() for k in self.axis.values()}
        self.order = self._order(stage, probe)

    def _short(self, stage: Stage) -> tuple[int, ...]:
        """Trailing axes that are written out."""
        extents = stage.domain
        if self.small:
            return tuple(range(len(extents)))
        found, total = [], 1
        for k in reversed(range(len(extents))):
            n = extents[k]
            if isinstance(n, int) and n == 1:
                found.append(k)
                continue
            if not (isinstance(n, int) and n <= SHORT and total * n <= WRITTEN_OUT):
                break
            if total * n * self.weight > LENGTHY:
                break
            total *= n
            found.append(k)
        ones = [k for k, n in enumerate(extents) if isinstance(n, int) and n == 1]
        return tuple(sorted({*found, *ones}))

    def _order(self, stage: Stage, probe: Probe) -> list[int]:
        """The axes of loops from the outside in: the one along which most is contiguous comes last."""
        long = [k for k in range(len(stage.domain)) if k not in self.short]
        score = dict.fromkeys(long, 0.0)

        def count(what: Any, index: Sequence[Any], strides: Sequence[Any], worth: float) -> None:
            for place, (i, stride) in enumerate(zip(index, strides, strict=True)):
                k = self.axis.get(id(i))
                if k is not None:
                    self.touched[k].add((what, place))
                    if k in score and isinstance(stride, int) and stride == 1:
                        score[k] += worth

        for memory, index in probe.loads:
            count(id(memory.buffer), index, memory.strides, 1)
        for other, indices in probe.reads.items():
            for index in indices:
                count(other.number, index, last(index), 0.75)
        own = [self.symbols[k] for k in stage.kept]
        if own and not isinstance(stage, Scattered):
            strides = stage.target.strides if stage.target is not None else last(own)
            count(None, own, strides, 0.5 if isinstance(stage, Reduced) else 1)
        for places in self.touched.values():
            places.discard((None, len(own) - 1))
        if len(long) > 1 and not (isinstance(stage, Scattered) and not stage.add):
            best = max(long, key=lambda k: (score[k], k))
            if score[best] > score[long[-1]]:
                long.remove(best)
                long.append(best)
        return long

    def points(self, stage: Stage, axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
        """All positions on written-out axes."""
        return itertools.product(*(range(stage.domain[k]) for k in axes))


def last(index: Sequence[Any]) -> list[int]:
    """Strides of which only the last one counts: 1."""
    return [int(k == len(index) - 1) for k in range(len(index))]


class Probing:
    """Part of `Lowering`."""

    probe: Any = None

    @contextmanager
    def probing(self: Any) -> Iterator[tuple[Probe, Block]]:
        """Scalar code written in here goes nowhere."""
        before = self.block, self.memos, self.count, self.probe, self.plain
        sites = len(self.sites)
        nothing: list[dict[Any, Any]] = [{}]
        self.block, self.memos, self.probe, self.plain = Block(), nothing, Probe(), None
        try:
            yield self.probe, self.block
        finally:
            self.block, self.memos, self.count, self.probe, self.plain = before
            del self.sites[sites:]

    def price(self: Any, scalar: Callable[..., Any], names: Sequence[str]) -> int:
        """Operations of a scalar rule."""
        key = (scalar, *names)
        found = _prices.get(key)
        if found is None:
            with self.probing() as (_, block):
                scalar(self, *(Value("operand", (), name, -k - 1) for k, name in enumerate(names)))
            found = _prices[key] = max(price(block), 1)
        return found


_prices: dict[Any, int] = {}
