"""Results over dying operands: which buffers may lie where another one was, and outputs in donated inputs.

Loops that read an array for the last time and write another of as many elements, each at the place where they read,
need one memory for both. That is seen in the finished loop nests: all reads of the one stand in the block of a write
of the other, before it and at the same offset, and each element is written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..graph.types import ArrayType
from .loops import Back, Block, Branch, Buffer, Builder, Call, Grow, Loop, Repeat, Run, Store, Value

WORTH = 64
"""Bytes from which on a buffer is looked at."""
PLACES = frozenset({"index", "const", "add", "sub", "mul", "shl", "udiv", "urem"})
"""Operations of offsets that only the position in the loops decides."""


def mentioned(s: Any) -> Iterator[Buffer]:
    """The buffers that a statement reads or writes, without those of inner statements."""
    if isinstance(s, Value):
        if s.op == "load":
            yield s.args[0]
    elif isinstance(s, (Store, Grow)):
        yield s.buffer
    elif isinstance(s, Call):
        yield from (a[1] for a in s.arguments if a[0] == "pointer")
    elif isinstance(s, Back):
        yield from (b for b, _ in s.buffers)
    elif isinstance(s, Run):
        yield s.scratch.buffer
        yield from (x.buffer for row in s.rows for x in row)


def blocks(s: Any) -> Sequence[Block]:
    if isinstance(s, Loop):
        return (s.body,)
    if isinstance(s, Branch):
        return s.blocks  # type: ignore[no-any-return]
    if isinstance(s, Repeat):
        return (s.test, s.body)
    return ()


def spans(root: Block) -> dict[Buffer, tuple[int, int]]:
    """The first and the last outermost statement that has to do with a buffer, by number."""
    found: dict[Buffer, tuple[int, int]] = {}
    for k, outermost in enumerate(root.statements):
        left = [outermost]
        while left:
            s = left.pop()
            for buffer in mentioned(s):
                found[buffer] = found.get(buffer, (k, k))[0], k
            for block in blocks(s):
                left += block.statements
    return found


class Accesses:
    """What an outermost loop does to buffers: reads and writes with their offset, block and place in it."""

    def __init__(self, loop: Any) -> None:
        self.loads: dict[Buffer, list[tuple[Value, int, int]]] = {}
        self.stores: dict[Buffer, list[tuple[Value, int, int, int | None]]] = {}
        self.others: set[Buffer] = set()
        self._block(loop, 1, 0)

    def _block(self, s: Any, times: int | None, depth: int) -> None:
        inner = None
        if isinstance(s, Loop) and times is not None:
            count = s.count
            inner = times * count.args[0] if count.op == "const" else None
        for block in blocks(s):
            for at, t in enumerate(block.statements):
                if isinstance(t, Value):
                    if t.op == "load":
                        self.loads.setdefault(t.args[0], []).append((t.args[1], id(block), at))
                elif isinstance(t, Store):
                    place = (t.offset, id(block), at, inner)
                    self.stores.setdefault(t.buffer, []).append(place)
                else:
                    self.others.update(mentioned(t))
                    self._block(t, inner, depth + 1)

    def may(self, old: Buffer, new: Buffer) -> bool:
        """Whether the new buffer may lie over the old one, if nothing else reads that afterwards."""
        if old in self.others or new in self.others or old in self.stores:
            return False
        if old.dtype.itemsize != new.dtype.itemsize or old.size != new.size:
            return False
        stores = self.stores.get(new, [])
        if any(times is None for *_, times in stores) or sum(times or 0 for *_, times in stores) != new.size:
            return False
        if not all(regular(offset) for offset, *_ in stores):
            return False
        ends = {(offset, block): at for offset, block, at, _ in stores}
        return all(at < ends.get((offset, block), -1) for offset, block, at in self.loads.get(old, []))


def regular(offset: Value) -> bool:
    """Whether the position in the loops alone decides an offset."""
    left = [offset]
    while left:
        v = left.pop()
        if v.op not in PLACES:
            return False
        left += [a for a in v.args if isinstance(a, Value)]
    return True


def joined(e: Builder) -> list[tuple[Buffer, Buffer]]:
    """Pairs of arena buffers, an old one and a new one that may lie over it."""
    large = [b for b in e.buffers if b.kind == "arena" and not b.row and b.bytes >= WORTH]
    if len(large) < 2:
        return []
    around = spans(e.root)
    born: dict[int, list[Buffer]] = {}
    dying: dict[int, list[Buffer]] = {}
    for buffer in large:
        first, last = around.get(buffer, (0, 0))
        if first != last:
            born.setdefault(first, []).append(buffer)
            dying.setdefault(last, []).append(buffer)
    found = []
    for at, old in dying.items():
        if at not in born or not isinstance(e.root.statements[at], Loop):
            continue
        accesses = Accesses(e.root.statements[at])
        for new in born[at]:
            over = next((b for b in old if accesses.may(b, new)), None)
            if over is not None:
                old.remove(over)
                found.append((over, new))
    return found


def taken(inputs: Sequence[ArrayType], outputs: Sequence[ArrayType], donated: Sequence[int]) -> dict[int, int]:
    """Which output gets the memory of which donated input: the first of its shape and dtype that has none."""
    found: dict[int, int] = {}
    for j in donated:
        t = inputs[j]
        fits = (k for k, o in enumerate(outputs) if k not in found and o.shape == t.shape and o.dtype == t.dtype)
        k = next(fits, None) if t.shape else None  # results without axes are returned as numbers
        if k is not None:
            found[k] = j
    return found


def give(e: Builder, pairs: Mapping[int, int], inputs: Sequence[Buffer], outputs: Sequence[Buffer]) -> list[int]:
    """Let outputs lie over donated inputs: at once where nothing reads these any more, otherwise copied in the end.

    Returns the numbers of the outputs that are copied.
    """
    copied = []
    around = spans(e.root) if pairs else {}
    for k, j in pairs.items():
        old, new = inputs[j], outputs[k]
        last = around.get(old, (0, -1))[1]
        first = around.get(new, (last + 1, 0))[0]
        statements = e.root.statements
        if last < first or (
            last == first and isinstance(statements[last], Loop) and Accesses(statements[last]).may(old, new)
        ):
            new.place = old.place
        else:
            copied.append(k)
    for k in copied:
        old, new = inputs[pairs[k]], outputs[k]
        new.kind, new.birth = "arena", 0
        e.clock += 1
        new.last = e.clock
        zero, size = e.const(0, "i64"), e.const(new.bytes, "i64")
        e.root.statements.append(Call("copy", [("pointer", old, zero), ("pointer", new, zero), ("integer", size)]))
    return copied
