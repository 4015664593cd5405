"""Loop nests as LLVM text: one function of the arena, the details of an error, and the arrays."""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from . import mathematics_rescue as rescue
from .compiled import Outside
from .loops import Back, Block, Branch, Buffer, Builder, Call, Check, Grow, Loop, Repeat, Run, Store, Value, Write
from .threads import Division, Whole

TYPES = {"f64": "double", "f32": "float", "f16": "half", "bool": "i1"} | {
    f"{k}{n}": f"i{n}" for k in "iu" for n in (8, 16, 32, 64)
}
BINARY = {
    "add": ("fadd", "add", "add", "or"), "sum": ("fadd reassoc contract", "add", "add", "or"),
    "plus": ("fadd contract", "", "", ""), "minus": ("fsub contract", "", "", ""),
    "times": ("fmul contract", "", "", ""),
    "sub": ("fsub", "sub", "sub", "xor"), "mul": ("fmul", "mul", "mul", "and"), "div": ("fdiv", "sdiv", "udiv", "and"),
    "rem": ("frem", "srem", "urem", "urem"), "udiv": ("", "udiv", "udiv", ""), "urem": ("", "urem", "urem", ""),
    "and": ("", "and", "and", "and"), "or": ("", "or", "or", "or"), "xor": ("", "xor", "xor", "xor"),
    "shl": ("", "shl", "shl", "shl"), "shr": ("", "ashr", "lshr", "lshr"),
}  # fmt: skip
"""Instructions for floats, signed and unsigned integers, booleans."""
COMPARE = {
    "eq": ("oeq", "eq"),
    "ne": ("une", "ne"),
    "lt": ("olt", "lt"),
    "le": ("ole", "le"),
    "gt": ("ogt", "gt"),
    "ge": ("oge", "ge"),
}
HINTS = 9
"""Metadata up to this number is the same for all programs."""
EXTREMA = {"min": ("minimum", "smin", "umin", "and"), "max": ("maximum", "smax", "umax", "or")}
CALLED_BACK, NO_MEMORY = -1, -2
"""What the program returns for an exception in Python, and for memory that the system refused."""


def kind(dtype: str) -> int:
    return 0 if dtype[0] == "f" else 3 if dtype == "bool" else 1 if dtype[0] == "i" else 2


def literal(number: Any, dtype: str) -> str:
    if dtype == "bool":
        return "true" if number else "false"
    if dtype[0] != "f":
        return str(number)
    if dtype == "f16":
        return f"0xH{int(np.float16(number).view(np.uint16)):04X}"
    if dtype == "f32" and math.isfinite(number):
        number = struct.unpack("<f", struct.pack("<f", number))[0]
    return "0x" + struct.pack(">d", number).hex().upper()


def stored(dtype: str) -> str:
    return "i8" if dtype == "bool" else TYPES[dtype]


INSIDE = frozenset({"python", "parallel", "threads"})
"""What the table may hold beside routines of the matrix library."""


def quiet(begins: int) -> str:
    """The library is kept to one thread from here on, or no longer (see `threads.ll`)."""
    return f"  %quiet{begins} = call i64 %pool(ptr null, ptr null, i64 {begins}, i64 0, i64 0)\n"


class Spread(NamedTuple):
    """Where the arrays of a column are: pointers that the distances count from, and tables of what varies.

    None: the distance is start + k * step. One: distances. Two: which base of those stored at `choice`, and distances.
    """

    bases: list[str]
    tables: list[list[int]]
    choice: str = ""
    start: int = 0
    step: int = 0


class Emitter:
    """Writes the LLVM text of a program.

    The text holds no address, so that its machine code can be kept for other processes: what is outside is found
    through `@table`, which whoever loads the code fills. `table` lists what belongs there: a constant's buffer, the
    name of a library routine, a C function of the user's, or "python" for the way back to Python.
    """

    def __init__(self, builder: Builder, inputs: int, outputs: int, caller: Emitter | None = None) -> None:
        self.builder = builder
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.cells: dict[int, str] = {}
        self.count = 0
        self.pointers = inputs + outputs
        self.rows: dict[Buffer, str] = {}
        """Memory of rows that is not in the arena, in a function of steps."""
        self.whole: Whole | None = None
        """The program, while its outermost statements are written: loops there may be divided among threads."""
        # What functions of a program have in common.
        self.declared: set[str] = set() if caller is None else caller.declared
        self.table: dict[Buffer | str | Outside, int] = {} if caller is None else caller.table
        self.written: dict[Any, str] = {} if caller is None else caller.written
        self.hints: list[str] = [] if caller is None else caller.hints
        self.globals: list[str] = [] if caller is None else caller.globals

    def fresh(self, stem: str = "t") -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def emit(self, line: str) -> None:
        self.lines.append(line)

    def alloca(self, name: str, what: str) -> None:
        self.entry.append(f"  {name} = alloca {what}, align 8")

    def ref(self, v: Value) -> str:
        return literal(v.args[0], v.dtype) if v.op == "const" else f"%v{v.number}"

    def typed(self, v: Value) -> str:
        return f"{TYPES[v.dtype]} {self.ref(v)}"

    def address(self, of: Buffer | str | Outside) -> str:
        """What is outside of the program, from the table."""
        place = self.table.setdefault(of, len(self.table))
        name = "%" + self.fresh()
        self.emit(f"  {name} = load ptr, ptr getelementptr (ptr, ptr @table, i64 {place}), !invariant.load !1")
        return name

    def base(self, buffer: Buffer) -> str:
        if buffer.kind in ("input", "output"):
            return f"%p{buffer.place}"
        if buffer.kind == "constant":
            return self.address(buffer)
        if buffer in self.rows:
            return self.rows[buffer]
        if buffer.kind == "arena":
            if not buffer.place:
                return "%arena"
            return f"getelementptr (i8, ptr %arena, i64 {buffer.place})"
        name = "%" + self.fresh()
        self.emit(f"  {name} = load ptr, ptr %r{buffer.number}")
        return name

    def pointer(self, buffer: Buffer, offset: Value) -> str:
        base = self.base(buffer)
        if base.startswith("getelementptr"):
            name = "%" + self.fresh()
            self.emit(f"  {name} = getelementptr inbounds i8, ptr %arena, i64 {buffer.place}")
            base = name
        name = "%" + self.fresh()
        from_size = f"[{buffer.dtype.itemsize} x i8]"
        if buffer.dtype.kind == "f" and buffer.dtype.itemsize in (2, 4, 8):
            from_size = TYPES[f"f{8 * buffer.dtype.itemsize}"]
        elif buffer.dtype.kind in "iub":
            from_size = f"i{8 * buffer.dtype.itemsize}"
        self.emit(f"  {name} = getelementptr inbounds {from_size}, ptr {base}, {self.typed(offset)}")
        return name

    # Statements ---------------------------------------------------------------------------------------

    def block(self, block: Block) -> None:
        for s in block.statements:
            if isinstance(s, Value):
                self.scalar(s)
            else:
                getattr(self, "on_" + type(s).__name__.lower())(s)

    def scalar(self, v: Value) -> None:
        op, args, dtype, name, t = v.op, v.args, v.dtype, f"%v{v.number}", TYPES[v.dtype]
        if op in BINARY:
            self.emit(f"  {name} = {BINARY[op][kind(dtype)]} {t} {self.ref(args[0])}, {self.ref(args[1])}")
        elif op in COMPARE:
            k = kind(args[0].dtype)
            sign = "" if k == 0 or op in ("eq", "ne") else "s" if k == 1 else "u"
            word = f"fcmp {COMPARE[op][0]}" if k == 0 else f"icmp {sign}{COMPARE[op][1]}"
            self.emit(f"  {name} = {word} {self.typed(args[0])}, {self.ref(args[1])}")
        elif op in EXTREMA:
            word = EXTREMA[op][kind(dtype)]
            if dtype == "bool":
                self.emit(f"  {name} = {word} i1 {self.ref(args[0])}, {self.ref(args[1])}")
            else:
                self.call(name, f"llvm.{word}.{dtype.replace('u', 'i')}", t, args)
        elif op == "select":
            self.emit(f"  {name} = select {self.typed(args[0])}, {self.typed(args[1])}, {self.typed(args[2])}")
        elif op == "read":
            self.emit(f"  {name} = load {t}, ptr %c{args[0].number}")
        elif op == "load":
            self.on_load(v)
        elif op == "neg":
            self.emit(f"  {name} = fneg {self.typed(args[0])}")
        elif op == "intrinsic":
            self.call(name, f"llvm.{args[0]}.{dtype}", t, args[1:])
        elif op == "library":
            self.call(name, args[0], t, args[1:], " nounwind willreturn memory(none)")
        elif op == "outside":
            place = self.address(args[0])
            self.emit(f"  {name} = call {t} {place}({', '.join(self.typed(a) for a in args[1:])})")
        elif op == "rescue":
            self.declared |= rescue.DECLARATIONS
            given = ", ".join(self.typed(a) for a in args[1:])
            self.emit(f"  {name} = call {t} @wengert.{args[0]}.{dtype}({given}) {rescue.attribute(args[0], dtype)}")
        elif op == "bits":
            self.emit(f"  {name} = bitcast {self.typed(args[0])} to {t}")
        elif op == "convert":
            self.on_convert(name, args[0], dtype)
        else:
            raise AssertionError(op)

    def call(self, name: str, function: str, t: str, args: Any, attributes: str = "") -> None:
        types = ", ".join(TYPES[a.dtype] for a in args)
        self.declared.add(f"declare {t} @{function}({types}){attributes}")
        self.emit(f"  {name} = call {t} @{function}({', '.join(self.typed(a) for a in args)})")

    def on_load(self, v: Value) -> None:
        pointer = self.pointer(*v.args)
        if v.dtype != "bool":
            self.emit(f"  %v{v.number} = load {TYPES[v.dtype]}, ptr {pointer}")
            return
        byte = "%" + self.fresh()
        self.emit(f"  {byte} = load i8, ptr {pointer}")
        self.emit(f"  %v{v.number} = icmp ne i8 {byte}, 0")

    def on_convert(self, name: str, x: Value, dtype: str) -> None:
        a, b = kind(x.dtype), kind(dtype)
        t = TYPES[dtype]
        if a == 0 and b == 0:
            word = "fpext" if int(dtype[1:]) > int(x.dtype[1:]) else "fptrunc"
        elif a == 0:  # out of range or NaN: the nearest integer or 0, never undefined
            self.call(name, f"llvm.fpto{'s' if b == 1 else 'u'}i.sat.i{dtype[1:]}.{x.dtype}", t, (x,))
            return
        elif b == 0:
            word = "sitofp" if a == 1 else "uitofp"
        else:
            width = {"bool": 1}.get(x.dtype) or int(x.dtype[1:])
            to = int(dtype[1:])
            if width == to:
                word = "bitcast"
            else:
                word = "trunc" if to < width else "sext" if a == 1 else "zext"
        self.emit(f"  {name} = {word} {self.typed(x)} to {t}")

    def on_store(self, s: Store) -> None:
        pointer = self.pointer(s.buffer, s.offset)
        if s.value.dtype != "bool":
            self.emit(f"  store {self.typed(s.value)}, ptr {pointer}")
            return
        byte = "%" + self.fresh()
        self.emit(f"  {byte} = zext {self.typed(s.value)} to i8")
        self.emit(f"  store i8 {byte}, ptr {pointer}")

    def on_write(self, s: Write) -> None:
        self.cells.setdefault(s.cell.number, TYPES[s.cell.dtype])
        self.emit(f"  store {self.typed(s.value)}, ptr %c{s.cell.number}")

    def on_loop(self, s: Loop) -> None:
        division = None if self.whole is None or id(s) not in self.whole.own else self.whole.division(s)
        if division is None:
            self.steps(s, "0", self.ref(s.count))
        else:
            self.divided(s, division)

    def divided(self, s: Loop, division: Division) -> None:
        """A loop as a function of a range of steps, which the pool calls for one chunk after the other."""
        name = f"chunk{len(self.written)}"
        self.written[name] = ""
        pointers = [f"%p{k}" for k in range(self.pointers)]
        flags = [f"%c{cell.number}" for cell in division.flags]
        given = [f"%v{v.number}" for v in division.given]
        types = ["ptr"] * (1 + len(pointers) + len(flags)) + [TYPES[v.dtype] for v in division.given]
        values = ["%arena", *pointers, *flags, *given]
        child = type(self)(self.builder, self.pointers, 0, self)
        child.rows = {b: f"%row{b.number}" for b in division.rows}
        for b, row in child.rows.items():
            child.entry.append(f"  {row} = alloca [{max(b.bytes, 1)} x i8], align 64")
        child.steps(s, "%from", "%to")
        # A flag is the function's own, and raised outside in the end.
        own = dict.fromkeys(flags)
        cells = [f"  %c{number} = alloca {t}" for number, t in child.cells.items() if f"%c{number}" not in own]
        cells += [f"  {flag} = alloca i1\n  store i1 false, ptr {flag}" for flag in flags]
        for flag in flags:
            child.emit(f"  {flag}.up = load i1, ptr {flag}\n  br i1 {flag}.up, label {flag}.raise, label {flag}.done")
            child.emit(f"{flag[1:]}.raise:\n  store i1 true, ptr {flag}.outside\n  br label {flag}.done")
            child.emit(f"{flag[1:]}.done:")
        marks = [" noalias" if t == "ptr" else "" for t in types]
        named = [f"{v}.outside" if v in own else v for v in values]
        head = ", ".join(f"{t}{mark} {v}" for t, mark, v in zip(types, marks, named, strict=True))
        loads = [
            f"  {v}.at = getelementptr i64, ptr %context, i64 {k}\n  {v} = load {t}, ptr {v}.at"
            for k, (t, v) in enumerate(zip(types, values, strict=True))
        ]
        passed = ", ".join(f"{t} {v}" for t, v in zip(types, values, strict=True))
        self.written[name] = "\n".join([
            f"define internal void @{name}.steps({head}, i64 %from, i64 %to) noinline #0 {{\nentry:",
            *child.entry, *cells, *child.lines, "  ret void\n}",
            f"define internal void @{name}(ptr %context, i64 %from, i64 %to) #0 {{", *loads,
            f"  call void @{name}.steps({passed}, i64 %from, i64 %to)\n  ret void\n}}",
        ])  # fmt: skip
        context = "%" + self.fresh("context")
        self.alloca(context, f"[{len(values)} x i64]")
        for k, (t, v) in enumerate(zip(types, values, strict=True)):
            self.emit(f"  {context}.{k} = getelementptr i64, ptr {context}, i64 {k}")
            self.emit(f"  store {t} {v}, ptr {context}.{k}")
        run, threads = self.address("parallel"), self.address("threads")
        number = "%" + self.fresh("threads")
        self.emit(f"  {number} = ptrtoint ptr {threads} to i64")
        self.emit(
            f"  %{self.fresh('rc')} = call i64 {run}(ptr @{name}, ptr {context}, i64 {self.ref(s.count)}, "
            f"i64 {division.chunk}, i64 {number})"
        )

    def steps(self, s: Loop, start: str, stop: str) -> None:
        n = self.fresh("L")
        i = f"%v{s.index.number}"
        self.emit(f"  br label %{n}.before\n{n}.before:\n  br label %{n}.head\n{n}.head:")
        self.emit(f"  {i} = phi i64 [ {start}, %{n}.before ], [ %{n}.next, %{n}.latch ]")
        self.emit(f"  %{n}.go = icmp slt i64 {i}, {stop}")
        self.emit(f"  br i1 %{n}.go, label %{n}.body, label %{n}.end\n{n}.body:")
        self.block(s.body)
        self.emit(f"  br label %{n}.latch\n{n}.latch:\n  %{n}.next = add nuw nsw i64 {i}, 1")
        self.emit(f"  br label %{n}.head{self.hint(s)}\n{n}.end:")

    def hint(self, s: Loop) -> str:
        """What LLVM should know of a loop: whether it is worth the code that vectors take."""
        if not s.rare:
            return ""
        number = HINTS + 1 + len(self.hints)
        self.hints.append(f"!{number} = distinct !{{!{number}, !2, !3}}")
        return f", !llvm.loop !{number}"

    def on_repeat(self, s: Repeat) -> None:
        n = self.fresh("W")
        self.emit(f"  br label %{n}.head\n{n}.head:")
        self.block(s.test)
        self.emit(f"  br i1 {self.ref(s.proceed)}, label %{n}.body, label %{n}.end\n{n}.body:")
        self.block(s.body)
        self.emit(f"  br label %{n}.head\n{n}.end:")

    def on_branch(self, s: Branch) -> None:
        n = self.fresh("B")
        last = len(s.blocks) - 1
        cases = " ".join(f"i64 {k}, label %{n}.{k}" for k in range(last))
        self.emit(f"  switch {self.typed(s.index)}, label %{n}.{last} [ {cases} ]")
        for k, inner in enumerate(s.blocks):
            self.emit(f"{n}.{k}:")
            self.block(inner)
            self.emit(f"  br label %{n}.end")
        self.emit(f"{n}.end:")

    def on_check(self, s: Check) -> None:
        n = self.fresh("K")
        self.emit(f"  br i1 {self.ref(s.holds)}, label %{n}.fine, label %{n}.bad, !prof !0\n{n}.bad:")
        for k, detail in enumerate(s.details):
            self.emit(
                f"  %{n}.d{k} = getelementptr i64, ptr %details, i64 {k}\n  store {self.typed(detail)}, ptr %{n}.d{k}"
            )
        self.emit(f"  store i64 {s.site}, ptr %code\n  br label %exit\n{n}.fine:")

    def on_grow(self, s: Grow) -> None:
        n = self.fresh("G")
        r = f"%r{s.buffer.number}"
        self.declared.add("declare ptr @realloc(ptr, i64)")
        self.emit(f"  %{n}.have = load i64, ptr {r}.room\n  %{n}.enough = icmp ule {self.typed(s.count)}, %{n}.have")
        self.emit(f"  br i1 %{n}.enough, label %{n}.end, label %{n}.more\n{n}.more:")
        self.emit(f"  %{n}.twice = shl i64 {self.ref(s.count)}, 1\n  %{n}.room = add i64 %{n}.twice, 64")
        self.emit(f"  %{n}.bytes = mul i64 %{n}.room, {s.buffer.dtype.itemsize}\n  %{n}.old = load ptr, ptr {r}")
        self.emit(
            f"  %{n}.new = call ptr @realloc(ptr %{n}.old, i64 %{n}.bytes)\n  %{n}.none = icmp eq ptr %{n}.new, null"
        )
        self.emit(f"  br i1 %{n}.none, label %{n}.bad, label %{n}.good\n{n}.bad:")
        self.emit(f"  store i64 {NO_MEMORY}, ptr %code\n  br label %exit\n{n}.good:")
        self.emit(f"  store ptr %{n}.new, ptr {r}\n  store i64 %{n}.room, ptr {r}.room\n  br label %{n}.end\n{n}.end:")

    def on_call(self, s: Call) -> None:
        """Library routines take everything by reference (Fortran), the user's as they say; `copy` is memmove."""
        if s.name == "copy":
            self.declared.add("declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)")
            target, source, size = s.arguments
            a, b = self.pointer(*target[1:]), self.pointer(*source[1:])
            self.emit(f"  call void @llvm.memmove.p0.p0.i64(ptr {a}, ptr {b}, {self.typed(size[1])}, i1 false)")
            return
        if isinstance(s.name, Outside):
            passed = [f"ptr {self.pointer(*a[1:])}" if a[0] == "pointer" else self.typed(a[1]) for a in s.arguments]
            self.emit(f"  call void {self.address(s.name)}({', '.join(passed)})")
            return
        given = []
        real = "double" if s.name[0] == "d" else "float"
        for what, *rest in s.arguments:
            if what == "pointer":
                given.append(self.pointer(*rest))
                continue
            slot = "%" + self.fresh("slot")
            if what == "integer":
                self.alloca(slot, "i32")
                narrow = "%" + self.fresh()
                self.emit(f"  {narrow} = trunc {self.typed(rest[0])} to i32\n  store i32 {narrow}, ptr {slot}")
            elif what == "real":
                self.alloca(slot, real)
                self.emit(f"  store {real} {literal(rest[0], 'f64')}, ptr {slot}")
            else:
                self.alloca(slot, "i8")
                self.emit(f"  store i8 {ord(rest[0])}, ptr {slot}")
            given.append(slot)
        self.emit(f"  call void {self.address(s.name)}({', '.join('ptr ' + g for g in given)})")

    def on_back(self, s: Back) -> None:
        n = self.fresh("P")
        self.alloca(f"%{n}.places", f"[{max(len(s.buffers), 1)} x ptr]")
        self.alloca(f"%{n}.extents", f"[{max(len(s.extents), 1)} x i64]")
        for k, (buffer, offset) in enumerate(s.buffers):
            pointer = self.pointer(buffer, offset)
            self.emit(
                f"  %{n}.p{k} = getelementptr ptr, ptr %{n}.places, i64 {k}\n  store ptr {pointer}, ptr %{n}.p{k}"
            )
        for k, extent in enumerate(s.extents):
            self.emit(
                f"  %{n}.e{k} = getelementptr i64, ptr %{n}.extents, i64 {k}\n"
                f"  store {self.typed(extent)}, ptr %{n}.e{k}"
            )
        back = self.address("python")
        self.emit(f"  %{n}.rc = call i64 {back}(i64 {s.site}, ptr %{n}.places, ptr %{n}.extents)")
        self.emit(f"  %{n}.fine = icmp eq i64 %{n}.rc, 0\n  br i1 %{n}.fine, label %{n}.end, label %{n}.bad\n{n}.bad:")
        self.emit(f"  store i64 {CALLED_BACK}, ptr %code\n  br label %exit\n{n}.end:")

    def on_run(self, s: Run) -> None:
        """Calls of a function; several are a loop, with a table of places where they are not evenly spaced."""
        if s.function not in self.written:
            self.written[s.function] = ""  # in its place before the functions that it calls
            emitter = type(self)(s.function.lowering, s.function.pointers, 0, self)
            emitter.whole = Whole(s.function.lowering.root)
            self.written[s.function] = emitter.function(s.function.name)
        n = self.fresh("R")
        count = len(s.rows)
        scratch = self.pointer(s.scratch.buffer, Value("const", (0,), "i64", 0))
        columns: list[Any] = []
        for column in zip(*s.rows, strict=True):
            if len({(x.buffer, x.offset) for x in column}) == 1:
                columns.append(self.pointer(column[0].buffer, self.builder.lift(column[0].offset, "i64")))
            else:
                columns.append(self.spread(column))
        tables = [numbers for column in columns if not isinstance(column, str) for numbers in column.tables]
        if tables:
            rows = f"@rows{len(self.globals)}"
            kind_of = f"[{count * len(tables)} x i64]"
            numbers = ", ".join(f"i64 {t[k]}" for k in range(count) for t in tables)
            self.globals.append(f"{rows} = internal unnamed_addr constant {kind_of} [{numbers}]")
        if count > 1:
            self.emit(f"  br label %{n}.before\n{n}.before:\n  br label %{n}.head\n{n}.head:")
            self.emit(f"  %{n}.k = phi i64 [ 0, %{n}.before ], [ %{n}.next, %{n}.latch ]")
        if tables:
            self.emit(f"  %{n}.row = mul i64 %{n}.k, {len(tables)}")
        at = 0
        for j, column in enumerate(columns):
            if isinstance(column, str):
                continue
            found = []
            for _ in column.tables:
                t = f"%{n}.t{at}"
                self.emit(f"  {t}.at = add i64 %{n}.row, {at}\n  {t}.p = getelementptr i64, ptr {rows}, i64 {t}.at")
                self.emit(f"  {t} = load i64, ptr {t}.p, !invariant.load !1")
                found.append(t)
                at += 1
            columns[j] = f"%{n}.p{j}"
            base, offset = column.bases[0], found[-1] if found else f"%{n}.o{j}"
            if not found:
                self.emit(f"  {offset}.s = mul i64 %{n}.k, {column.step}")
                self.emit(f"  {offset} = add i64 {offset}.s, {column.start}")
            if len(found) > 1:
                base = f"%{n}.b{j}"
                self.emit(f"  {base}.p = getelementptr ptr, ptr {column.choice}, i64 {found[0]}")
                self.emit(f"  {base} = load ptr, ptr {base}.p")
            self.emit(f"  {columns[j]} = getelementptr i8, ptr {base}, i64 {offset}")
        passed = "".join(f", ptr {pointer}" for pointer in columns)
        self.emit(f"  %{n}.rc = call i64 @{s.function.name}(ptr {scratch}, ptr %details{passed})")
        self.emit(f"  %{n}.fine = icmp eq i64 %{n}.rc, 0")
        self.emit(f"  br i1 %{n}.fine, label %{n}.latch, label %{n}.bad, !prof !0\n{n}.bad:")
        self.emit(f"  store i64 %{n}.rc, ptr %code\n  br label %exit\n{n}.latch:")
        if count > 1:
            self.emit(f"  %{n}.next = add nuw nsw i64 %{n}.k, 1\n  %{n}.go = icmp slt i64 %{n}.next, {count}")
            self.emit(f"  br i1 %{n}.go, label %{n}.head, label %{n}.end\n{n}.end:")

    def spread(self, column: Sequence[Any]) -> Spread:
        """Where the arrays of a column are, as bases and distances from them in bytes."""
        arena = [x.buffer.kind == "arena" for x in column]
        owners = list(dict.fromkeys("arena" if a else x.buffer for x, a in zip(column, arena, strict=True)))
        bases = ["%arena" if owner == "arena" else self.base(owner) for owner in owners]
        offsets = [x.offset * x.buffer.dtype.itemsize + x.buffer.place * a for x, a in zip(column, arena, strict=True)]
        if len(owners) == 1:
            step = offsets[1] - offsets[0]
            if all(b - a == step for a, b in itertools.pairwise(offsets)):
                return Spread(bases, [], "", offsets[0], step)
            return Spread(bases, [offsets])
        choice = "%" + self.fresh("choice")
        self.alloca(choice, f"[{len(owners)} x ptr]")
        for k, base in enumerate(bases):
            self.emit(f"  {choice}.{k} = getelementptr ptr, ptr {choice}, i64 {k}")
            self.emit(f"  store ptr {base}, ptr {choice}.{k}")
        which = [owners.index("arena" if a else x.buffer) for x, a in zip(column, arena, strict=True)]
        return Spread(bases, [which, offsets], choice)

    # The whole ----------------------------------------------------------------------------------------

    def function(self, name: str) -> str:
        """The text of a function of arena, details of an error, and arrays, which returns an error's number."""
        self.block(self.builder.root)
        records = [b for b in self.builder.buffers if b.kind == "record"]
        head = ["  %code = alloca i64", "  store i64 0, ptr %code"]
        head += [f"  %c{number} = alloca {t}" for number, t in self.cells.items()]
        freed = []
        for r in records:
            head += [f"  %r{r.number} = alloca ptr\n  %r{r.number}.room = alloca i64"]
            head += [f"  store ptr null, ptr %r{r.number}\n  store i64 0, ptr %r{r.number}.room"]
            freed += [f"  %r{r.number}.last = load ptr, ptr %r{r.number}\n  call void @free(ptr %r{r.number}.last)"]
            self.declared.add("declare void @free(ptr)")
        names = "".join(f", ptr noalias %p{k}" for k in range(self.pointers))
        return "\n".join([
            f"define internal i64 @{name}(ptr noalias %arena, ptr noalias %details{names}) noinline #0 {{\nentry:",
            *self.entry, *head, *self.lines, "  br label %exit\nexit:", *freed,
            "  %result = load i64, ptr %code\n  ret i64 %result\n}",
        ])  # fmt: skip

    def module(self) -> str:
        """The text of the program: its functions, and `run`, which takes the arrays as a row of pointers."""
        self.whole = Whole(self.builder.root)
        body = self.function("body")
        loads = "".join(
            f"  %a{k} = getelementptr ptr, ptr %args, i64 {k}\n  %p{k} = load ptr, ptr %a{k}\n"
            for k in range(self.pointers)
        )
        passed = "".join(f", ptr %p{k}" for k in range(self.pointers))
        begin = end = ""
        if any(isinstance(name, str) and name not in INSIDE for name in self.table):  # it calls the matrix library
            place = self.table.setdefault("parallel", len(self.table))
            begin = f"  %pool = load ptr, ptr getelementptr (ptr, ptr @table, i64 {place})\n" + quiet(1)
            end = quiet(0)
        return "\n".join([
            f"@table = global [{max(len(self.table), 1)} x ptr] zeroinitializer",
            *self.globals, *sorted(self.declared), *self.written.values(), body,
            f"define i64 @run(ptr %arena, ptr %details, ptr %args) #0 {{\n{loads}"
            f"{begin}  %rc = call i64 @body(ptr %arena, ptr %details{passed})\n{end}  ret i64 %rc\n}}",
            'attributes #0 = { nounwind "prefer-vector-width"="512" }',
            '!0 = !{!"branch_weights", i32 1000000, i32 1}', "!1 = !{}",
            '!2 = !{!"llvm.loop.vectorize.enable", i1 false}', '!3 = !{!"llvm.loop.unroll.disable"}',
            *self.hints, "",
        ])  # fmt: skip
