"""Loop nests as data: scalars in registers, loops, branches, loads and stores, and the builder that writes them.

A program is a `Block` of statements. A `Value` is a scalar in a register and is its own statement. Loops, branches
and checks hold blocks. Registers that change (loop carries, accumulators) are `Cell`s, which LLVM turns into
registers again; memory is a `Buffer` of elements of one dtype. Offsets are in elements; wherever an index is asked
for, a Python integer will do, and arithmetic on integers happens while the program is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ..passes.complex_rules import PARTS

NATIVE = {np.dtype(t): n for t, n in (
    (np.float64, "f64"), (np.float32, "f32"), (np.float16, "f16"),
    (np.int64, "i64"), (np.int32, "i32"), (np.int16, "i16"), (np.int8, "i8"),
    (np.uint64, "u64"), (np.uint32, "u32"), (np.uint16, "u16"), (np.uint8, "u8"), (np.bool_, "bool"),
)}  # fmt: skip
"""The dtypes that registers hold; nothing computes with float16 (see `passes.half_precision`)."""
INDEX = "i64"
CONTRACTED = {"add": "plus", "sub": "minus", "mul": "times"}
"""The operations that LLVM may join to a product and sum with one rounding."""
COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge"})


class Value:
    """A scalar in a register: an operation on other scalars."""

    __slots__ = ("args", "dtype", "number", "op")

    def __init__(self, op: str, args: tuple[Any, ...], dtype: str, number: int) -> None:
        self.op = op
        self.args = args
        self.dtype = dtype
        self.number = number

    def __repr__(self) -> str:
        return repr(self.args[0]) if self.op == "const" else f"%{self.number}"


class Cell:
    """A register that changes."""

    __slots__ = ("dtype", "number")

    def __init__(self, dtype: str, number: int) -> None:
        self.dtype = dtype
        self.number = number

    def __repr__(self) -> str:
        return f"${self.number}"


class Buffer:
    """Memory for `size` elements. `kind` says whose: an input's, an output's, a constant's, of the arena, or a
    record, which grows while the program runs. Complex numbers are two elements each; `holds` is the dtype that
    others see. `place` is the argument's number, the address or the arena offset.
    `row` marks what a step of a nest uses and nobody reads after it. `origin` is the user's line that it is for.
    """

    __slots__ = (
        "birth", "depth", "dtype", "holds", "kind", "last", "number", "origin", "place", "row", "size", "version",
    )  # fmt: skip

    def __init__(self, kind: str, dtype: np.dtype[Any], size: Any, number: int, place: int = -1) -> None:
        self.kind = kind
        self.holds = dtype
        self.dtype = PARTS.get(dtype, dtype)
        self.size = size if dtype not in PARTS else 2 * size
        self.number = number
        self.place = place
        self.birth = self.last = self.depth = self.version = 0
        self.row = False
        self.origin: Any = None

    @property
    def bytes(self) -> int:
        return int(self.size) * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.kind}{self.number}"


class Block:
    __slots__ = ("statements",)

    def __init__(self) -> None:
        self.statements: list[Any] = []


class Statement:
    """Base of the statements that are no `Value`: fields by name."""

    fields: tuple[str, ...] = ()

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, *values: Any) -> None:
        for name, field in zip(self.fields, values, strict=True):
            setattr(self, name, field)


class Store(Statement):
    fields = ("buffer", "offset", "value")


class Write(Statement):
    fields = ("cell", "value")


class Loop(Statement):
    fields = ("index", "count", "body")
    rare = False
    """Whether it seldom runs, and need not be fast."""
    independent = False
    """Whether no step needs what another one leaves behind, so that they may run in any order."""


class Repeat(Statement):
    """While: the block `test` runs, then `body` if `proceed` holds, and again."""

    fields = ("test", "proceed", "body")


class Branch(Statement):
    """`blocks[index]`. `note` says in the text what the last one is, in place of its statements."""

    fields = ("index", "blocks")
    note = ""


class Check(Statement):
    """Leaves the program with the error of a site unless `holds`; `details` go with it."""

    fields = ("holds", "site", "details")


class Grow(Statement):
    """Makes sure that a record has room for `count` elements, keeping what is in it."""

    fields = ("buffer", "count")


class Call(Statement):
    """A library routine at an address: arguments are ("pointer", buffer, offset), ("integer", n) or ("real", x)."""

    fields = ("name", "arguments")


class Back(Statement):
    """A call back into Python for an operation without native code: operands and results are in memory."""

    fields = ("site", "buffers", "extents")


class Run(Statement):
    """Calls of a function of the program, one for each row of arrays: its operands and results, in memory. `scratch` is
    its working memory.
    """

    fields = ("function", "rows", "scratch")


class Builder:
    """Writes statements. The methods named after operations are the protocol of `scalar` and `lowering` rules."""

    source: Any = None
    """The user's line of the operation at hand."""
    plain: Any = None
    """Where loops are written with plain products: who follows these."""
    rare = False
    contracts = False
    inverses = False

    def __init__(self) -> None:
        self.root = Block()
        self.block = self.root
        self.memos: list[dict[Any, Any]] = [{}]
        self.count = 0
        self.clock = 0
        self.buffers: list[Buffer] = []
        self.open: list[list[Buffer]] = []
        self.opened: list[int] = []
        """When the blocks at hand began."""
        self.sites: list[Callable[[Sequence[int]], Exception]] = []
        self.calls: list[Any] = []
        self.functions: dict[Any, Any] = {}

    # Registers -----------------------------------------------------------------------------------------

    def next(self) -> int:
        self.count += 1
        return self.count

    def recall(self, key: Any) -> Any:
        for memo in reversed(self.memos):
            if key in memo:
                return memo[key]
        return None

    def value(self, op: str, args: tuple[Any, ...], dtype: str, pure: bool = True) -> Value:
        """The register that holds an operation's result; the same one for the same operation in scope."""
        key = (op, dtype, *args)
        found = self.recall(key) if pure else None
        if found is None:
            found = Value(op, args, dtype, self.next())
            self.block.statements.append(found)
            if pure:
                self.memos[-1][key] = found
            if self.plain is not None:
                self.plain.see(found)
        return found

    def const(self, number: Any, dtype: str) -> Value:
        if dtype[0] == "f":
            number = float(number)
        else:
            number = bool(number) if dtype == "bool" else int(number)
        key = ("const", dtype, repr(number))
        found = self.memos[0].get(key)
        if found is None:
            found = self.memos[0][key] = Value("const", (number,), dtype, self.next())
        return found

    def lift(self, x: Any, like: str) -> Value:
        return x if isinstance(x, Value) else self.const(x, like)

    def binary(self, op: str, x: Any, y: Any) -> Any:
        dtype = x.dtype if isinstance(x, Value) else y.dtype
        x, y = self.lift(x, dtype), self.lift(y, dtype)
        if self.contracts and dtype[0] == "f":
            op = CONTRACTED.get(op, op)
        return self.value(op, (x, y), "bool" if op in COMPARISONS else dtype)

    def add(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if isinstance(y, int) and y == 0 and x.dtype == INDEX:
            return x
        if isinstance(x, int) and x == 0 and y.dtype == INDEX:
            return y
        return self.binary("add", x, y)

    def sub(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return x - y
        if isinstance(y, int) and y == 0 and x.dtype == INDEX:
            return x
        return self.binary("sub", x, y)

    def mul(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        for a, b in ((x, y), (y, x)):
            if isinstance(a, int) and b.dtype == INDEX and a in (0, 1):
                return b if a else 0
        return self.binary("mul", x, y)

    def quotient(self, x: Any, y: Any) -> Any:
        """Of two indices that are not negative."""
        if isinstance(x, int) and isinstance(y, int):
            return x // y
        return x if isinstance(y, int) and y == 1 else self.binary("udiv", x, y)

    def rest(self, x: Any, y: Any) -> Any:
        if isinstance(x, int) and isinstance(y, int):
            return x % y
        return 0 if isinstance(y, int) and y == 1 else self.binary("urem", x, y)

    def div(self, x: Any, y: Any) -> Any:
        if isinstance(y, Value) and y.op == "neg":
            return self.neg(self.div(x, y.args[0]))
        if self.inverses and isinstance(y, Value) and y.dtype[0] == "f":
            inverse = self.recall(("div", y.dtype, self.const(1.0, y.dtype), y))
            if inverse is not None and not (isinstance(x, (int, float)) or x.op == "const"):
                return self.mul(x, inverse)
        return self.binary("div", x, y)

    def minimum(self, x: Any, y: Any) -> Any:
        return self.binary("min", x, y)

    def maximum(self, x: Any, y: Any) -> Any:
        return self.binary("max", x, y)

    def eq(self, x: Any, y: Any) -> Any:
        return self.binary("eq", x, y)

    def ne(self, x: Any, y: Any) -> Any:
        return self.binary("ne", x, y)

    def lt(self, x: Any, y: Any) -> Any:
        return self.binary("lt", x, y)

    def le(self, x: Any, y: Any) -> Any:
        return self.binary("le", x, y)

    def gt(self, x: Any, y: Any) -> Any:
        return self.binary("gt", x, y)

    def ge(self, x: Any, y: Any) -> Any:
        return self.binary("ge", x, y)

    def both(self, x: Any, y: Any) -> Any:
        return self.binary("and", x, y)

    def either(self, x: Any, y: Any) -> Any:
        return self.binary("or", x, y)

    def differ(self, x: Any, y: Any) -> Any:
        return self.binary("xor", x, y)

    def shift_left(self, x: Any, y: Any) -> Any:
        return self.binary("shl", x, y)

    def shift_right(self, x: Any, y: Any) -> Any:
        return self.binary("shr", x, y)

    def invert(self, x: Value) -> Value:
        return self.differ(x, True if x.dtype == "bool" else -1)  # type: ignore[no-any-return]

    def neg(self, x: Value) -> Value:
        return self.value("neg", (x,), x.dtype) if x.dtype[0] == "f" else self.sub(self.const(0, x.dtype), x)

    def intrinsic(self, name: str, *args: Any) -> Value:
        """An LLVM intrinsic on floats of one dtype: sqrt, fabs, floor, fma, ..."""
        dtype = next(a.dtype for a in args if isinstance(a, Value))
        return self.value("intrinsic", (name, *(self.lift(a, dtype) for a in args)), dtype)

    def library(self, name: str, *args: Any) -> Value:
        """A function of the C mathematics library."""
        dtype = next(a.dtype for a in args if isinstance(a, Value))
        return self.value(
            "library", (name + ("f" if dtype == "f32" else ""), *(self.lift(a, dtype) for a in args)), dtype
        )

    def select(self, condition: Any, x: Any, y: Any) -> Any:
        dtype = x.dtype if isinstance(x, Value) else y.dtype if isinstance(y, Value) else INDEX
        return self.value("select", (condition, self.lift(x, dtype), self.lift(y, dtype)), dtype)

    def convert(self, x: Any, dtype: str) -> Any:
        if isinstance(x, Value) and x.dtype == dtype:
            return x
        if not isinstance(x, Value) or x.op == "const":
            number = x.args[0] if isinstance(x, Value) else x
            if np.isfinite(number) or dtype[0] == "f":
                return self.const(np.asarray(number).astype(DTYPES[dtype]).item(), dtype)
        if "f16" in (x.dtype, dtype) and "f32" not in (x.dtype, dtype):  # processors convert from and to float32 only
            return self.convert(self.to_odd(x) if x.dtype == "f64" else self.convert(x, "f32"), dtype)
        if dtype == "bool":
            return self.ne(x, 0)
        return self.value("convert", (x,), dtype)

    def to_odd(self, x: Value) -> Value:
        """A float64 as float32, with the last bit set if digits were lost: rounding again then rounds `x` itself."""
        y = self.value("convert", (x,), "f32")
        back = self.value("convert", (y,), "f64")
        bits = self.bits(y, "i32")
        beyond = self.gt(self.intrinsic("fabs", back), self.intrinsic("fabs", x))
        cut = self.select(beyond, self.sub(bits, 1), bits)  # towards zero
        lost = self.both(self.ne(back, x), self.eq(x, x))
        return self.bits(self.select(lost, self.either(cut, 1), bits), "f32")

    def bits(self, x: Value, dtype: str) -> Value:
        """The same bits as another dtype of the same width."""
        return self.value("bits", (x,), dtype)

    # Memory and changing registers ----------------------------------------------------------------------

    def cell(self, dtype: str, start: Any) -> Cell:
        cell = Cell(dtype, self.next())
        self.write(cell, self.lift(start, dtype))
        return cell

    def read(self, cell: Cell) -> Value:
        return self.value("read", (cell,), cell.dtype, pure=False)

    def write(self, cell: Cell, value: Any) -> None:
        value = self.lift(value, cell.dtype)
        self.block.statements.append(Write(cell, value))
        if self.plain is not None:
            self.plain.write(cell, value)

    def buffer(self, kind: str, dtype: Any, size: Any, place: int = -1) -> Buffer:
        buffer = Buffer(kind, np.dtype(dtype), size, len(self.buffers), place)
        self.clock += 1
        buffer.birth = buffer.last = self.clock
        buffer.depth = len(self.open)
        buffer.origin = self.source
        self.buffers.append(buffer)
        return buffer

    def touch(self, buffer: Buffer) -> None:
        self.clock += 2
        buffer.last = self.clock
        if len(self.open) > buffer.depth:  # alive until the loop that it is used in, and was made outside of, ends
            self.open[buffer.depth].append(buffer)

    def load(self, buffer: Buffer, offset: Any) -> Value:
        self.touch(buffer)
        offset = self.lift(offset, INDEX)
        if buffer.kind in ("input", "constant"):
            return self.value("load", (buffer, offset), NATIVE[buffer.dtype])
        # What was read before in this step of this loop is the same until something is stored.
        key = ("load", buffer, offset, buffer.version)
        found = self.memos[-1].get(key)
        if found is None:
            found = self.memos[-1][key] = self.value("load", (buffer, offset), NATIVE[buffer.dtype], pure=False)
        return found

    def store(self, buffer: Buffer, offset: Any, value: Any) -> None:
        if buffer.last == buffer.birth:  # until now it needed no room; in a loop, from its beginning
            outside = len(self.open) > buffer.depth
            buffer.birth = self.opened[buffer.depth] if outside else self.clock + 1
        self.touch(buffer)
        buffer.version += 1
        value = self.lift(value, NATIVE[buffer.dtype])
        self.block.statements.append(Store(buffer, self.lift(offset, INDEX), value))
        if self.plain is not None:
            self.plain.store(buffer, value)

    def grow(self, buffer: Buffer, count: Any) -> None:
        self.block.statements.append(Grow(buffer, self.lift(count, INDEX)))

    def opens(self) -> None:
        """A block begins."""
        self.clock += 1
        self.open.append([])
        self.opened.append(self.clock)

    def closes(self) -> None:
        """A block ends, and with it what was used in it and made outside."""
        self.clock += 1
        self.opened.pop()
        for buffer in self.open.pop():
            buffer.last = self.clock

    # Structure ------------------------------------------------------------------------------------------

    @contextmanager
    def inside(self, block: Block, looping: bool = False) -> Iterator[Block]:
        outer, self.block = self.block, block
        self.memos.append({})
        self.opens()
        yield block
        self.closes()
        self.memos.pop()
        self.block = outer

    @contextmanager
    def loop(self, count: Any) -> Iterator[Any]:
        """A loop whose index runs from 0 to count-1; a single step is written without one."""
        if isinstance(count, int) and count == 1:
            yield 0
            return
        index = Value("index", (), INDEX, self.next())
        body = Block()
        loop = Loop(index, self.lift(count, INDEX), body)
        loop.rare = self.rare
        self.block.statements.append(loop)
        with self.inside(body):
            yield index

    @contextmanager
    def nest(self, extents: Sequence[Any]) -> Iterator[list[Any]]:
        """Loops inside each other, the last axis innermost."""
        if not extents:
            yield []
            return
        with self.loop(extents[0]) as first, self.nest(extents[1:]) as others:
            yield [first, *others]

    def repeat(self, test: Callable[[], Any], body: Callable[[], None]) -> None:
        """A while loop."""
        blocks = Block(), Block()
        statement = Repeat(blocks[0], None, blocks[1])
        self.block.statements.append(statement)
        self.opens()
        with self.inside(blocks[0]):
            statement.proceed = test()
        with self.inside(blocks[1]):
            body()
        self.closes()

    def branch(self, index: Any, cases: Sequence[Callable[[], None]]) -> None:
        """`cases[index]()`; the last one for any other index."""
        blocks = [Block() for _ in cases]
        self.block.statements.append(Branch(index, blocks))
        for block, case in zip(blocks, cases, strict=True):
            with self.inside(block):
                case()

    def check(self, holds: Any, error: Callable[[Sequence[int]], Exception], *details: Any) -> None:
        """Leave with an error unless a condition holds; `error` makes it from the values of `details`."""
        self.sites.append(error)
        self.block.statements.append(Check(holds, len(self.sites), [self.lift(d, INDEX) for d in details]))


DTYPES = {name: dtype for dtype, name in NATIVE.items()}
SHOWN = 3
"""Calls of one function after each other that the text shows."""


def text(block: Block, indent: str = "") -> str:
    """Loop nests for people to read."""
    lines = []
    for s in block.statements:
        if isinstance(s, Value):
            arguments = ", ".join(str(a) for a in s.args)
            lines.append(f"{s!r}: {s.dtype} = {s.op}({arguments})")
        elif isinstance(s, Store):
            lines.append(f"{s.buffer}[{s.offset}] = {s.value}")
        elif isinstance(s, Write):
            lines.append(f"{s.cell} = {s.value}")
        elif isinstance(s, Loop):
            lines += [f"{'each' if s.independent else 'for'} {s.index} in range({s.count}):", text(s.body, "    ")]
        elif isinstance(s, Repeat):
            lines += ["while:", text(s.test, "    "), f"    if not {s.proceed}: break", text(s.body, "    ")]
        elif isinstance(s, Branch):
            for k, inner in enumerate(s.blocks):
                if s.note and inner is s.blocks[-1]:
                    lines.append(f"case {s.index} == {k}: {s.note}")
                elif inner.statements:
                    lines += [f"case {s.index} == {k}:", text(inner, "    ")]
        elif isinstance(s, Run):
            for row in s.rows[:SHOWN]:
                lines.append(f"{s.function.name}({', '.join(str(x.buffer) for x in row)})")
            if len(s.rows) > SHOWN:
                lines.append(f"... {len(s.rows) - SHOWN} more calls")
        else:
            fields = ", ".join(str(getattr(s, name)) for name in s.fields)
            lines.append(f"{type(s).__name__.lower()} {fields}")
    return "\n".join(indent + line for chunk in lines for line in chunk.split("\n") if line)
