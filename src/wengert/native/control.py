"""Loops and branches: `scan`, `while_loop`, `switch` as native loops and branches; nothing returns to Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import IndexOutOfBoundsError
from ..graph.types import ArrayType, Dim
from .arrays import Array, Elements, Map, Memory, known_size, size_of
from .loops import NATIVE
from .rearrange import SMALL
from .stages import Stage, Stored


class Variable:
    """An array that changes from step to step: cells if it is small, otherwise memory of its own."""

    def __init__(self, e: Any, type: ArrayType, start: Array | None) -> None:
        self.e = e
        self.shape = e.extents(type.shape)
        self.dtype = type.dtype
        size = known_size(self.shape)
        if size is not None and size <= SMALL:
            name = NATIVE[type.dtype]
            items = [0] * size if start is None else [e.convert(v, name) for v in e.elements(start).items]
            self.cells = [e.cell(name, v) for v in items]
            self.memory = None
        else:
            self.cells = []
            self.memory = e.new(self.shape, type.dtype)
            if start is not None:
                self.write(start)

    def write(self, value: Array) -> None:
        """Give it a value that does not depend on it."""
        if self.memory is not None:
            self.e.put(self.fitted(value), self.memory)
            return
        for cell, item in zip(self.cells, self.e.elements(value).items, strict=True):
            self.e.write(cell, self.e.convert(item, cell.dtype))

    def read(self) -> Array:
        if self.memory is not None:
            return self.memory  # type: ignore[no-any-return]
        return Elements(self.shape, self.dtype, [self.e.read(cell) for cell in self.cells])

    def fitted(self, value: Array) -> Array:
        """A new value in the variable's shape and dtype."""
        return self.e.fitted(value, self.shape, self.dtype)  # type: ignore[no-any-return]


def assign(
    e: Any, variables: Sequence[Variable], values: Sequence[Array], rows: Sequence[tuple[Array, Memory]]
) -> None:
    """All variables get new values at once, after rows of records were written."""
    own = {v.memory.buffer for v in variables if v.memory is not None}
    ready: list[Array] = []
    for variable, value in zip(variables, values, strict=True):
        if variable.memory is None:
            ready.append(value)
            continue
        new = variable.fitted(value)
        if new is variable.memory or (isinstance(new, Memory) and new.buffer not in own):
            ready.append(new)
            continue
        stage = e.stage(new) if isinstance(new, (Map, Stage)) else Stored(e, new)
        stage.required, stage.inline = True, False
        if stage not in e.pending:
            e.pending.append(stage)
        ready.append(stage)
    e.deliver(rows)
    e.force(ready)
    items = [e.elements(value).items if v.memory is None else None for v, value in zip(variables, ready, strict=True)]
    copies = []
    for variable, value, found in zip(variables, ready, items, strict=True):
        if found is not None:
            name = NATIVE[variable.dtype]
            for cell, item in zip(variable.cells, found, strict=True):
                e.write(cell, e.convert(item, name))
        elif value is not variable.memory:
            copies.append((value, variable.memory))
    e.deliver(copies)


def uniform(x: Array) -> bool:
    """Whether an array is a number everywhere, and needs no memory."""
    return isinstance(x, Map) and x.weight == 0 and x.sources == () and x.stage is None


class Control:
    """Part of `Lowering`."""

    def row(self: Any, x: Array, k: Any) -> Array:
        """`x[k]` along the first axis."""
        if not isinstance(x, Memory):
            row = self.map(x.shape[1:], x.dtype, lambda index: x.at(self, [k, *index]), 0, None, ())
            return self.settled(row, False)  # type: ignore[no-any-return]
        place = self.add(x.offset, self.mul(k, x.strides[0]))
        row = Memory(x.buffer, x.shape[1:], place, x.strides[1:], x.dense)
        size = known_size(row.shape)
        return self.elements(row) if size is not None and size <= SMALL else row

    def scan(self: Any, primitive: Any, operands: Sequence[Array], types: Sequence[ArrayType]) -> list[Array]:
        given = iter(self.fix([x for x in operands if not uniform(x)]))
        consts, init, xs = primitive.parts([x if uniform(x) else next(given) for x in operands])
        xs = [x if isinstance(x, Memory) or uniform(x) else self.in_memory(x) for x in xs]
        n = len(init)
        variables = [Variable(self, t, x) for t, x in zip(types, init, strict=False)]
        stacks = [self.new(self.extents(t.shape), t.dtype) for t in types[n:]]
        length = self.extents((primitive.length,))[0]

        def steps() -> None:
            with self.loop(length) as i:
                k = self.sub(self.sub(length, 1), i) if primitive.reverse else i
                carries = [v.read() for v in variables]
                outs = self.graph(primitive.body, [*consts, *carries, *[self.row(x, k) for x in xs]])
                rows = [self.row_of(out, stack, k) for stack, out in zip(stacks, outs[n:], strict=True)]
                assign(self, variables, outs[:n], rows)

        def again() -> None:
            for variable, start in zip(variables, init, strict=True):
                variable.write(start)

        self.carefully(steps, again, lambda: [cell for v in variables for cell in v.cells])
        return [*[v.read() for v in variables], *stacks]

    def row_of(self: Any, value: Array, stack: Memory, k: Any) -> tuple[Array, Memory]:
        """A value and its place in a stack."""
        shape = stack.shape[1:]
        row = Memory(stack.buffer, shape, self.mul(k, stack.strides[0]), stack.strides[1:], True)
        return self.fitted(value, shape, stack.dtype), row

    def while_loop(self: Any, primitive: Any, operands: Sequence[Array], types: Sequence[ArrayType]) -> list[Array]:
        cond_consts, consts, init = primitive.parts(self.fix(operands))
        n = len(init)
        recording = primitive.length is not None
        variables = [Variable(self, t, x) for t, x in zip(types, init, strict=False)]
        kept = [ArrayType(t.shape[1:], t.dtype) for t in types[n + 1 :]]
        records = [self.buffer("record", t.dtype, 0) for t in kept]
        same = list(range(len(kept)))
        """Which record holds the values of each: two that are always the same need one."""
        steps = self.cell("i64", 0)

        def test() -> Any:
            (going,) = self.graph(primitive.cond, [*cond_consts, *[v.read() for v in variables]])
            return self.convert(self.elements(going).items[0], "bool")

        def body() -> None:
            outs = self.graph(primitive.body, [*consts, *[v.read() for v in variables]])
            done = self.read(steps)
            count = self.add(done, 1)
            rows: list[tuple[Array, Memory]] = []
            first: dict[Any, int] = {}
            for k, (record, t, out) in enumerate(zip(records, kept, outs[n:], strict=True)):
                key = (tuple(out.items), t) if isinstance(out, Elements) else id(out)
                same[k] = first.setdefault(key, k)
                if same[k] != k:
                    continue
                shape = self.extents(t.shape)
                size = size_of(self, shape)
                self.grow(record, self.mul(count, size))
                row = self.whole(record, shape)
                row.offset = self.mul(done, size)
                rows.append((self.fitted(out, shape, t.dtype), row))
            assign(self, variables, outs[:n], rows)
            self.write(steps, count)

        self.repeat(test, body)
        values = [v.read() for v in variables]
        if not recording:
            return values
        length = self.dims[primitive.length] = self.read(steps)
        alive = self.filled((length,), np.dtype(bool), True)
        return [
            *values,
            alive,
            *[self.whole(records[k], (length, *self.extents(t.shape))) for k, t in zip(same, kept, strict=True)],
        ]

    def switch(self: Any, primitive: Any, operands: Sequence[Array], types: Sequence[ArrayType]) -> list[Array]:
        index, *rest = self.fix(operands)
        choice = self.convert(self.elements(index).items[0], "i64")
        count, source = len(primitive.branches), self.source
        fine = self.both(self.ge(choice, 0), self.lt(choice, count))
        self.check(fine, lambda details: IndexOutOfBoundsError(
            f"switch: index {details[0]} with {count} branches", "give 0 <= index < branches", source
        ), choice)  # fmt: skip
        variables = [Variable(self, t, None) for t in types]

        def case(branch: Any) -> None:
            assign(self, variables, self.graph(branch, rest), ())

        self.branch(choice, [lambda b=b: case(b) for b in primitive.branches])
        return [v.read() for v in variables]


def free_of_dims(types: Sequence[ArrayType]) -> bool:
    return all(not isinstance(n, Dim) for t in types for n in t.shape)
