"""What a compiled program needs of memory, known before it runs: `f.lower(*args).memory`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..graph.types import ArrayType
from ..source import Source
from .loops import Buffer
from .written import Written

SHOWN = 8
"""Buffers that the text shows."""


class Room(NamedTuple):
    """A buffer of the arena: its bytes, where it begins, elements and dtype, the line that it is for, and whether it
    lies over another one that ends where it begins.
    """

    bytes: int
    start: int
    what: str
    source: Source | None
    over: bool


class MemoryPlan:
    """The bytes of a program, known before it runs. Print it.

    Attributes
    ----------
    arena : working memory of a call, kept for the next one; the native code allocates no more than that, but for
        records of `while_loop`s, whose length only the run knows.
    inputs, outputs, constants : bytes of the arrays that go in, come out as new arrays, and belong to the program.
    donated : bytes of outputs that lie over inputs. total : all of these but the inputs donated twice.
    alive : the most that is alive in the arena at once; the rest of it is gaps.
    buffers : of the arena, the largest first. records : how many there are that grow.
    copied : numbers of outputs that are made elsewhere and copied over donated inputs in the end, since these are
        still read while they are made.
    """

    def __init__(self, written: Written, inputs: Sequence[ArrayType], outputs: Sequence[ArrayType]) -> None:
        every = written.lowering.buffers
        over = {new for _, new in written.pairs}
        self.arena = written.memory
        self.inputs = sum(t.size * t.dtype.itemsize for t in inputs)
        sizes = [t.size * t.dtype.itemsize for t in outputs]
        self.donated = sum(sizes[k] for k in written.taken)
        self.outputs = sum(sizes) - self.donated
        self.constants = sum(b.bytes for b in every if b.kind == "constant")
        for function in written.lowering.functions.values():
            self.constants += sum(b.bytes for b in function.lowering.buffers if b.kind == "constant")
        self.copied = written.copied
        self.records = sum(b.kind == "record" for b in every)
        self.records += sum(b.kind == "record" for f in written.lowering.functions.values() for b in f.lowering.buffers)
        arena = [b for b in every if b.kind == "arena" and b.bytes]
        arena.sort(key=lambda b: -b.bytes)
        self.buffers = tuple(Room(b.bytes, b.place, f"{b.size} {b.dtype}", b.origin, b in over) for b in arena)
        self.alive = most_alive(arena, written.pairs)

    @property
    def total(self) -> int:
        return self.arena + self.inputs + self.outputs + self.constants

    def __str__(self) -> str:
        rows: list[tuple[str, Any, str]] = [
            ("arena", self.arena, f"working memory of a call ({self.alive:,} alive at once)"),
            ("inputs", self.inputs, ""),
            ("outputs", self.outputs, f"and {self.donated:,} over donated inputs" if self.donated else ""),
            ("constants", self.constants, ""),
        ]
        width = max(len(f"{n:,}") for _, n, _ in [*rows, ("", self.total, "")])
        lines = [f"{self.total:,} bytes"]
        lines += [f"  {name:<10} {n:>{width},}  {note}".rstrip() for name, n, note in rows]
        if self.copied:
            lines.append(f"  copied over donated inputs in the end: outputs {', '.join(map(str, self.copied))}")
        if self.records:
            lines.append(f"  and {self.records} records of while_loops, as long as the run makes them")
        if self.buffers:
            lines.append("largest buffers of the arena:")
        for room in self.buffers[:SHOWN]:
            line = "" if room.source is None else f"{room.source}  {room.source.text}"
            note = "  (in place)" if room.over else ""
            lines.append(f"  {room.bytes:>{width},}  at {room.start:,}: {room.what}{note}  {line}".rstrip())
        if len(self.buffers) > SHOWN:
            lines.append(f"  ... {len(self.buffers) - SHOWN} more")
        return "\n".join(lines)

    __repr__ = __str__


def most_alive(buffers: Sequence[Buffer], pairs: Sequence[tuple[Buffer, Buffer]]) -> int:
    """The most bytes in use at once; of two buffers in one place, one counts while both are."""
    changes = []
    begins = {new: old.last + 1 for old, new in pairs}
    for b in buffers:
        changes += [(begins.get(b, b.birth), b.bytes), (max(b.last, begins.get(b, 0)) + 1, -b.bytes)]
    now = most = 0
    for _, change in sorted(changes):
        now += change
        most = max(most, now)
    return most
