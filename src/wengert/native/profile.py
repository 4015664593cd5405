"""Where the time of a compiled program goes, by the user's lines: `f.profile(*args)`.

The program is written a second time, by `Noting`, which remembers the operations behind each outermost statement, and
with time stamps between these statements. The program that ordinary calls run knows nothing of it.
"""

from __future__ import annotations

import bisect
import ctypes
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnsupportedError
from ..graph.graph import Graph
from ..graph.nodes import Node
from ..graph.types import ArrayType
from .arrays import Array, Map
from .compiled import Compiled, Outside
from .llvm import Emitter
from .loaded import DETAILS, Loaded
from .loader import llvm
from .locks import Lock
from .loops import Back, Block, Branch, Call, Loop, Repeat, Run, Statement
from .lower import Lowering
from .stages import Stored
from .written import Written

HEAVY = (Loop, Repeat, Branch, Call, Back, Run)
"""Statements that are worth a time stamp; others are straight-line code."""
SPAN = 0.2
"""Seconds that the program is run for, after the first run."""
RUNS = 100
"""Runs at most."""


class Line(NamedTuple):
    """A line of the user's program: where, its text, the operations, and whether they belong to a derivative."""

    place: str
    text: str
    operations: tuple[str, ...]
    backward: bool


class Part(NamedTuple):
    """A loop nest, call, control-flow loop or callback.

    what : "loops", the names of library routines, of an operation with a body, or of one that NumPy computes.
    seconds : in a call of the program, altogether. times : how often it ran in a call. lines : of the user's program,
    whose operations it computes.
    """

    what: str
    seconds: float
    times: float
    lines: tuple[Line, ...]


class Profile(NamedTuple):
    """The time of a compiled program and of its parts, the longest first; made by `f.profile(*args)`. Print it.

    seconds : a call without Python's share, the mean of `runs`. between : what no part takes: straight-line code in
    registers, and the time stamps themselves (some 30 ns each).
    """

    seconds: float
    runs: int
    parts: tuple[Part, ...]

    @property
    def between(self) -> float:
        return max(self.seconds - sum(part.seconds for part in self.parts), 0.0)

    def __str__(self) -> str:
        rows = []
        for part in self.parts:
            head = (duration(part.seconds), share(part.seconds, self.seconds), f"{part.times:.6g}", part.what)
            for k, line in enumerate(part.lines or (Line("", "", (), False),)):
                names = ", ".join(line.operations) + (" (derivative)" if line.backward else "")
                rows.append(((head if not k else ("",) * 4), (line.place, line.text, names)))
        last = (duration(self.between), share(self.between, self.seconds), "", "straight-line code")
        rows.append((last, ("", "", "")))
        heads = ("time", "share", "times", "what"), ("line", "", "operations")
        table = [a + b for a, b in [heads, *rows]]
        widths = [min(max(len(row[k]) for row in table), 60) for k in range(7)]
        lines = []
        for row in table:
            cells = [cell[:60] for cell in row[:6]] + [row[6]]
            fitted = [c.rjust(w) if k < 3 else c.ljust(w) for k, (c, w) in enumerate(zip(cells, widths, strict=True))]
            lines.append("  ".join(fitted).rstrip())
        times = "one run" if self.runs == 1 else f"mean of {self.runs} runs"
        return "\n".join([f"{duration(self.seconds)} in native code ({times})", *lines])


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def share(part: float, whole: float) -> str:
    return f"{100 * part / whole:.0f} %" if whole else ""


class Stamp(Statement):
    """Reads the clock; `number` says to which part the time since the last stamp belongs, None where one begins."""

    fields = ("number", "clock")


class Mark:
    """What statements are for: the operations whose results they compute."""

    def __init__(self, nodes: Sequence[Node], name: str = "") -> None:
        self.nodes = nodes
        self.name = name


class Noting(Lowering):
    """Lowering that remembers the operations behind outermost statements."""

    def __init__(self) -> None:
        super().__init__()
        self.owners: dict[int, tuple[Any, Mark]] = {}
        """By the identity of a statement: it, and its mark."""
        self.begins: list[int] = []
        self.begun_by: list[Node] = []
        self.fused: dict[Node, None] | None = None
        """The operations computed in the loops at hand."""

    def own(self, start: int, mark: Mark) -> None:
        """Mark what was written at the outermost level since `start` and has no mark."""
        for s in self.root.statements[start:]:
            if isinstance(s, HEAVY):
                self.owners.setdefault(id(s), (s, mark))

    def apply(self, node: Node, operands: list[Array]) -> list[Array]:
        self.begins.append(self.count)
        self.begun_by.append(node)
        outermost, start = self.block is self.root, len(self.root.statements)
        found = super().apply(node, operands)
        if outermost:
            self.own(start, Mark([node], node.primitive.name if node.subgraphs else ""))
        for x in found:
            if isinstance(x, Map) and not any(x is y for y in operands):
                self.note(x, node)
        return found

    def note(self, x: Map, node: Node) -> None:
        """Let a map tell when it is computed."""

        def noted(fn: Any) -> Any:
            def computed(index: Any) -> Any:
                if self.fused is not None and self.probe is None:
                    self.fused[node] = None
                return fn(index)

            return computed

        x.fn = noted(x.fn)
        if x._flat is not None:
            x._flat = noted(x._flat)

    def parts(self, nodes: Sequence[Node], *others: Any) -> None:
        outermost, start = self.block is self.root, len(self.root.statements)
        super().parts(nodes, *others)
        if outermost:
            self.own(start, Mark(nodes, "unrolled loop" if len(nodes) > 1 else "part"))

    def _top(self, item: Any, begun: Any) -> None:
        if self.block is not self.root or self.fused is not None:
            super()._top(item, begun)
            return
        self.fused = {}
        start = len(self.root.statements)
        super()._top(item, begun)
        for stage in item.members:
            if not isinstance(stage, Stored):  # those are maps, and have told
                at = bisect.bisect_right(self.begins, stage.number) - 1
                self.fused[self.begun_by[max(at, 0)]] = None
        self.own(start, Mark(list(self.fused), "" if self.fused else "copy"))
        self.fused = None


class Sections(Written):
    """Loop nests with time stamps."""

    def __init__(self, graph: Graph) -> None:
        self.marks: list[tuple[str, Mark]] = []
        """The parts that are timed: what they are, and their operations."""
        super().__init__(graph, None, Noting, Stamping)

    def finished(self) -> None:
        e: Any = self.lowering
        timed: set[Any] = set()
        for function in e.functions.values():  # those that others call come first
            before = len(self.marks)
            self.divide(function.lowering, timed)
            if len(self.marks) > before:
                timed.add(function)
        self.divide(e, timed)
        e.root.statements.insert(0, Stamp(None, "whole"))
        e.root.statements.append(Stamp(len(self.marks), "whole"))

    def divide(self, e: Any, timed: set[Any]) -> None:
        """Put stamps around the parts of a function; what is timed inside needs none of its own."""
        found: list[Any] = []
        current: Mark | None = None
        run: list[Any] = []

        def end() -> None:
            nonlocal current
            if current is not None:
                found.append(Stamp(len(self.marks), "part"))
                self.marks.append((described(run, current, e), current))
            current = None
            run.clear()

        for s in e.root.statements:
            if isinstance(s, HEAVY):
                if (isinstance(s, Run) and s.function in timed) or len(s.fields) == 0:
                    end()
                else:
                    mark = e.owners.get(id(s), (s, NOBODY))[1]
                    if mark is not current:
                        end()
                        found.append(Stamp(None, "part"))
                        current = mark
                    run.append(s)
            found.append(s)
        end()
        e.root.statements[:] = found


NOBODY = Mark([])


def described(statements: Sequence[Any], mark: Mark, e: Any) -> str:
    """What some statements of a part are."""
    if mark.name:
        return mark.name
    calls: dict[str, None] = {}
    left = list(statements)
    while left:
        s = left.pop()
        if isinstance(s, Call):
            calls["a C function" if isinstance(s.name, Outside) else s.name] = None
        elif isinstance(s, Back):
            calls[f"{e.calls[s.site][0].primitive.name} by NumPy"] = None
        for block in inner(s):
            left += block.statements
    return ", ".join(calls) if calls else "loops"


def inner(s: Any) -> Sequence[Block]:
    if isinstance(s, Loop):
        return (s.body,)
    if isinstance(s, Branch):
        return s.blocks  # type: ignore[no-any-return]
    return (s.test, s.body) if isinstance(s, Repeat) else ()


class Stamping(Emitter):
    """Writes time stamps too. Sums and counts stand behind the details of an error."""

    def on_stamp(self, s: Stamp) -> None:
        place = self.table.setdefault("clock", len(self.table))
        self.written.setdefault("clock", CLOCK.format(place))
        slot, now = f"%stamp.{s.clock}", "%" + self.fresh("now")
        line = f"  {slot} = alloca i64, align 8"
        if line not in self.entry:
            self.entry.append(line)
        self.emit(f"  {now} = call i64 @wengert.now()")
        number = s.number
        if number is None:
            self.emit(f"  store i64 {now}, ptr {slot}")
            return
        self.emit(f"  {now}.from = load i64, ptr {slot}\n  {now}.took = sub i64 {now}, {now}.from")
        for k, what in enumerate((f"{now}.took", "1")):
            at = f"{now}.{k}"
            self.emit(f"  {at}.at = getelementptr i64, ptr %details, i64 {DETAILS + 2 * number + k}")
            self.emit(f"  {at}.sum = load i64, ptr {at}.at\n  {at}.new = add i64 {at}.sum, {what}")
            self.emit(f"  store i64 {at}.new, ptr {at}.at")


CLOCK = """define internal i64 @wengert.now() noinline nounwind {{
  %time = alloca [2 x i64], align 8
  %clock = load ptr, ptr getelementptr (ptr, ptr @table, i64 {0})
  %rc = call i32 %clock(i32 %number, ptr %time)
  %seconds = load i64, ptr %time
  %rest.at = getelementptr i64, ptr %time, i64 1
  %rest = load i64, ptr %rest.at
  %billions = mul i64 %seconds, 1000000000
  %now = add i64 %billions, %rest
  ret i64 %now
}}""".replace("%number", str(getattr(time, "CLOCK_MONOTONIC", 0)))
"""Nanoseconds, by POSIX's `clock_gettime`."""


class Instrumented(Loaded):
    """A program with time stamps. Nothing of it lies over its inputs, whatever may be overwritten."""

    def __init__(
        self, graph: Graph, inputs: Sequence[ArrayType], outputs: Sequence[ArrayType], threads: int | None
    ) -> None:
        if not hasattr(time, "CLOCK_MONOTONIC"):
            raise UnsupportedError("profile: this system has no clock_gettime", "profile on Linux or macOS")
        self.inputs, self.outputs, self.threads, self.taken = list(inputs), list(outputs), threads, {}
        self.sections = Sections(graph)
        self.memory = self.sections.memory
        self.compiled = Compiled(llvm().compile(self.sections.llvm), self.sections.table, text=self.sections.text)
        self.details = DETAILS + 2 * (len(self.sections.marks) + 1)
        self.load()
        self.once = any("effect" in node.primitive.facts for node in nested(graph))
        """Whether somebody sees how often it runs."""
        self._measuring = Lock()

    @property
    def written(self) -> Written:
        return self.sections

    def _address(self, outside: Any) -> int | None:
        if isinstance(outside, str) and outside == "clock":
            return ctypes.cast(ctypes.CDLL(None).clock_gettime, ctypes.c_void_p).value
        return super()._address(outside)

    def measure(self, arrays: Sequence[Any]) -> Profile:
        """Run on arrays of the input types, and see where the time goes."""
        with self._measuring:
            if not self.once:
                self(arrays)
            for arena in self._arenas:
                arena.details[:] = 0
            start, runs = time.perf_counter(), 0
            while not runs or (not self.once and runs < RUNS and time.perf_counter() - start < SPAN):
                self(arrays)
                runs += 1
            numbers = sum(arena.details[DETAILS:] for arena in self._arenas) / runs
        taken, times = np.asarray(numbers).reshape(-1, 2).T.tolist()
        parts = [
            Part(what, 1e-9 * t, n, tuple(lines(mark.nodes)))
            for (what, mark), t, n in zip(self.sections.marks, taken, times, strict=False)
            if n
        ]
        return Profile(1e-9 * taken[-1], runs, tuple(sorted(parts, key=lambda part: -part.seconds)))


def nested(graph: Graph) -> Iterator[Node]:
    """All nodes, those of bodies too."""
    for node in graph.nodes:
        yield node
        for _, body in node.subgraphs:
            yield from nested(body)


def lines(nodes: Sequence[Node]) -> list[Line]:
    """The user's lines behind some operations, in the order of the program, those of bodies too."""
    found: dict[tuple[str, int, bool], tuple[Any, dict[str, None]]] = {}
    left = list(reversed(nodes))
    while left:
        node = left.pop()
        if node.source is not None:
            key = node.source.file, node.source.line, bool(node.backward)
            found.setdefault(key, (node.source, {}))[1][node.primitive.name] = None
        for _, body in node.subgraphs:
            left += reversed(body.nodes)
    ordered = sorted(found.items(), key=lambda item: (item[0][2], item[0][0], item[0][1]))
    return [Line(str(source), source.text, tuple(names), back) for (_, _, back), (source, names) in ordered]
