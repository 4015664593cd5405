"""Threads: which loops of a program are worth several, and the pool that runs their chunks (`threads.ll`).

A loop is divided if its steps are independent and there is work for it. Chunks have a size that the program fixes, so
that results have the same bits whatever the number of threads is. A step's own working memory, a row, lives on the
stack of whoever runs it.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from . import cache
from .compiled import Compiled
from .digest import digest_of_text
from .loader import Code, llvm
from .loops import Block, Branch, Buffer, Call, Cell, Loop, Repeat, Store, Value, Write
from .products import work_of

WORTH = 400_000
"""Operations of a loop from which on it is divided; waking a thread takes as long as some ten thousand."""
CHUNK = 50_000
"""Operations of a chunk, about."""
STACK = 1 << 18
"""Bytes of rows that a step may have on the stack."""
UNKNOWN = 16
"""Steps that a loop is taken to have if only the run knows."""
GET, SET, MUTEX, CONDITION, WORDS = 13, 14, 16, 32, 48


class Division(NamedTuple):
    """How a loop is divided: what its steps read from outside, flags that any of them may raise, their rows, and the
    steps of a chunk.
    """

    given: list[Value]
    flags: list[Cell]
    rows: list[Buffer]
    chunk: int


def divisible(loop: Loop, elsewhere: set[Cell]) -> Division | None:
    """How to divide a loop; None if it is not worth it or cannot be done.

    elsewhere : the changing registers that other statements use as well.
    """
    if not loop.independent or not isinstance(loop.count, Value) or loop.count.op != "const":
        return None
    steps = loop.count.args[0]
    work = operations(loop.body) * steps
    if steps < 2 or work < WORTH:
        return None
    made, read, rows, flags = {loop.index}, {}, {}, {}  # type: ignore[var-annotated]
    moving = {loop.index}
    for s in statements(loop.body):
        if isinstance(s, Call) and isinstance(s.name, str) and s.name[1:] in ("gemm", "gemv"):  # type: ignore[attr-defined]
            if s.arguments[-2][2] not in moving:  # type: ignore[attr-defined]
                return None
        elif not isinstance(s, (Value, Store, Write, Loop, Branch)) or (isinstance(s, Value) and s.op == "outside"):
            return None
        for x in parts(s):
            if isinstance(x, Cell) and x in elsewhere:
                if not raises(s, x):
                    return None
                flags[x] = None
            if isinstance(x, Buffer) and x.kind == "record":
                return None
            if isinstance(x, Value) and x.op != "const":
                read[x] = None
        if isinstance(s, Value):
            made.add(s)
            if any(a in moving for a in s.args if isinstance(a, Value)) or s.op in ("read", "load"):
                moving.add(s)
        elif isinstance(s, Loop):
            made.add(s.index)  # type: ignore[attr-defined]
        elif isinstance(s, Store):
            if s.buffer.row:  # type: ignore[attr-defined]
                rows[s.buffer] = None  # type: ignore[attr-defined]
            elif s.offset not in moving:  # type: ignore[attr-defined]
                return None
    if sum(b.bytes for b in rows) > STACK:
        return None
    chunk = max(1, min(-(-steps // 2), round(CHUNK * steps / work)))
    return Division([x for x in read if x not in made], list(flags), list(rows), chunk)


def raises(s: Any, cell: Cell) -> bool:
    """Whether a statement uses a register only as a flag that it may raise."""
    if isinstance(s, Value):
        return s.op == "read" and cell.dtype == "bool"
    value = s.value if isinstance(s, Write) else None  # type: ignore[attr-defined]
    ors = isinstance(value, Value) and value.op == "or"
    return ors and any(isinstance(a, Value) and a.op == "read" and a.args[0] is cell for a in value.args)


class Whole:
    """The outermost statements of a program."""

    def __init__(self, root: Block) -> None:
        self.own = cells_by_statement(root)
        users: dict[Cell, list[Any]] = {}
        for s in root.statements:
            for cell in self.own[id(s)]:
                users.setdefault(cell, []).append(s)
        self.shared = {cell for cell, all_of in users.items() if not all(begins(s, cell) for s in all_of)}
        """Changing registers that carry something from one of the statements to another."""

    def division(self, loop: Loop) -> Division | None:
        """How to divide one of these loops, if it can be and is worth it."""
        return divisible(loop, self.own[id(loop)] & self.shared)


def begins(s: Any, cell: Cell) -> bool:
    """Whether a statement sets a register before it reads it, in each of its blocks."""
    if cell in parts(s):
        return isinstance(s, Write)
    for block in blocks(s):
        first = next((t for t in block.statements if mentions(t, cell)), None)
        if first is not None and not begins(first, cell):
            return False
    return True


def mentions(s: Any, cell: Cell) -> bool:
    return cell in parts(s) or any(mentions(t, cell) for block in blocks(s) for t in block.statements)


def statements(block: Block) -> Iterator[Any]:
    """All statements of a block, inner ones too."""
    for s in block.statements:
        yield s
        for inner in blocks(s):
            yield from statements(inner)


def blocks(s: Any) -> list[Block]:
    if isinstance(s, Loop):
        return [s.body]  # type: ignore[attr-defined]
    if isinstance(s, Branch):
        return list(s.blocks)  # type: ignore[attr-defined]
    if isinstance(s, Repeat):
        return [s.test, s.body]  # type: ignore[attr-defined]
    return []


def parts(s: Any) -> Iterator[Any]:
    """What a statement mentions."""
    fields = s.args if isinstance(s, Value) else [getattr(s, name) for name in s.fields]
    for x in fields:
        if isinstance(x, (list, tuple)):
            for y in x:
                yield from y if isinstance(y, tuple) else (y,)
        elif not isinstance(x, Block):
            yield x


def cells_by_statement(root: Block) -> dict[int, set[Cell]]:
    """The changing registers that each statement of a block mentions, by the statement's identity."""
    found: dict[int, set[Cell]] = {}
    for s in root.statements:
        own = found[id(s)] = {x for x in parts(s) if isinstance(x, Cell)}
        for inner in blocks(s):
            own |= {x for t in statements(inner) for x in parts(t) if isinstance(x, Cell)}
    return found


def operations(block: Block) -> float:
    """About how many operations a block does."""
    total = 0.0
    for s in block.statements:
        if isinstance(s, Loop):
            count = s.count  # type: ignore[attr-defined]
            known = isinstance(count, Value) and count.op == "const"
            total += operations(s.body) * (count.args[0] if known else UNKNOWN)  # type: ignore[attr-defined]
        elif isinstance(s, (Branch, Repeat)):
            total += sum(map(operations, blocks(s)))
        else:
            total += work_of(s) if isinstance(s, Call) else 1
    return total


def limit() -> int:
    """How many threads a program may use: `WENGERT_THREADS`, or the processors that this process may run on."""
    text = os.environ.get("WENGERT_THREADS", "")
    if text.isdigit() and int(text) > 0:
        return int(text)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def pool() -> Code:
    """The pool's code, compiled when first needed; its `address` is that of `run`."""
    text = Path(__file__).with_suffix(".ll").read_text()
    key = digest_of_text(text)
    kept = cache.load(key)
    if kept is None:
        kept = Compiled(llvm().compile(text, quickly=True))
        cache.store(key, kept)
    code = Code(kept.code)
    reset(code.table)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: reset(code.table))
    return code


def reset(table: int) -> None:
    """No job and no workers: at the start, and in a forked process, which has none of them."""
    ctypes.memset(table, 0, 8 * WORDS)
    libc = ctypes.CDLL(None)
    for name, place in (("pthread_mutex_init", MUTEX), ("pthread_cond_init", CONDITION)):
        getattr(libc, name)(ctypes.c_void_p(table + 8 * place), None)
    for name, place in (("get", GET), ("set", SET)):
        ctypes.c_int64.from_address(table + 8 * place).value = library_function(name)


@functools.cache
def library_function(name: str) -> int:
    """The address of the function of SciPy's OpenBLAS that tells or sets how many threads it uses; 0 without one."""
    found = importlib.util.find_spec("scipy")
    folder = Path(str(found and found.origin)).parent.parent / "scipy.libs"
    for path in folder.glob("libscipy_openblas*"):
        library = ctypes.CDLL(str(path))
        for form in ("scipy_openblas_{}_num_threads", "openblas_{}_num_threads"):
            function = getattr(library, form.format(name), None)
            if function is not None:
                return ctypes.cast(function, ctypes.c_void_p).value or 0
    return 0
