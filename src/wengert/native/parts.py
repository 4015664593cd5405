"""Functions inside a program: each body of `part`s is written once, and called with pointers to operands and results.

Parts of one body that follow each other, the rounds of an unrolled loop, become a native loop that reads from a table
where the operands and results of a round are. Working memory of a body belongs to its caller.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Const, Node, Var
from ..graph.types import ArrayType
from ..ops.part import Part
from .arrays import Array, Elements, Memory
from .inplace import joined
from .loops import Builder, Run, text
from .memory import plan


class Function:
    """A body as loop nests of its own. `memory` is what it needs of the arena, in bytes."""

    lowering: Builder
    pointers: int
    memory: int

    def __init__(self, name: str) -> None:
        self.name = name

    def write(self, e: Any, body: Graph) -> None:
        """Lower the body, with the functions that it calls."""
        self.lowering = e
        count = len(body.inputs)
        self.pointers = count + len(body.outputs)
        given = [e.whole(e.buffer("input", v.dtype, v.type.size, k), v.shape) for k, v in enumerate(body.inputs)]
        targets = [
            e.whole(e.buffer("output", a.dtype, a.type.size, count + k), a.shape) for k, a in enumerate(body.outputs)
        ]
        direct: dict[Var, Memory] = {}
        for atom, target in zip(body.outputs, targets, strict=True):
            if isinstance(atom, Var):
                direct.setdefault(atom, target)
        results = e.graph(body, [e.settled(x, False) for x in given], direct)
        e.deliver(list(zip(results, targets, strict=True)))
        self.memory = plan(e.buffers, joined(e))


class Parts:
    """Part of `Lowering`."""

    def function(self: Any, body: Graph) -> Function:
        """The function of a body, written when first asked for."""
        found = self.functions.get(body)
        if found is None:
            e = type(self)()
            e.sites, e.calls, e.kept, e.functions = self.sites, self.calls, self.kept, self.functions
            found = self.functions[body] = Function(f"part{len(self.functions)}")  # its name is taken from here on
            found.write(e, body)
        return found  # type: ignore[no-any-return]

    def call_part(self: Any, body: Graph, operands: Sequence[Array], out: Sequence[ArrayType]) -> list[Array]:
        """A single call."""
        function = self.function(body)
        row = [self.in_memory(x) for x in operands]
        scratch = self.new((function.memory,), np.uint8)
        results = [self.new(self.extents(t.shape), t.dtype) for t in out]
        for x in (*row, *results, scratch):
            self.touch(x.buffer)
        self.block.statements.append(Run(function, [[*row, *results]], scratch))
        return results

    def parts(
        self: Any, nodes: Sequence[Node], known: dict[Var, Array], targets: dict[Var, Memory], read: set[Var]
    ) -> None:
        """Calls of one body after each other, whose results go into `known`.

        `targets` says where some of the results shall be, `read` which of them others than parts read.
        """
        function = self.function(nodes[0].primitive.body)  # type: ignore[attr-defined]
        made = {var for node in nodes for var in node.outputs or ()}
        # Everything that comes from elsewhere is put into memory before the first call, ...
        columns = [self.column([node.inputs[k] for node in nodes], known, made) for k in range(len(nodes[0].inputs))]
        scratch = self.new((function.memory,), np.uint8)
        rows = []
        for n, node in enumerate(nodes):
            # ... and no result of a call may lie where an operand or another result of it is.
            results = [targets.get(var) or self.new(var.shape, var.dtype) for var in node.outputs or ()]
            given: list[Any] = [column[n] or known[atom] for column, atom in zip(columns, node.inputs, strict=True)]
            for x in (*given, *results):
                self.touch(x.buffer)
            known.update(zip(node.outputs or (), results, strict=True))
            rows.append([*given, *results])
        self.touch(scratch.buffer)
        self.block.statements.append(Run(function, rows, scratch))
        for var in made & read:
            memory = known[var]
            known[var] = value = self.settled(memory, False)
            if isinstance(value, Elements):
                self.memos[-1]["memory", id(value)] = memory, value

    def column(self: Any, atoms: Sequence[Any], known: dict[Var, Array], made: set[Var]) -> list[Memory | None]:
        """One operand of all calls, in memory; None where it is the result of an earlier call."""
        found: list[Memory | None] = []
        if all(isinstance(atom, Const) for atom in atoms) and len(atoms) > 1:
            first = atoms[0]
            array = np.array([np.asarray(atom.value, first.dtype) for atom in atoms])
            buffer = self.buffer("constant", array.dtype, array.size, array.ctypes.data)
            self.kept.append((array, buffer))
            size = first.type.size
            rows = self.whole(buffer, array.shape)
            width = buffer.size // array.size  # 2 numbers for a complex one
            found = [Memory(buffer, first.shape, n * size * width, rows.strides[1:], True) for n in range(len(atoms))]
            for memory in found:
                memory.dtype = rows.dtype
            return found
        fixed = len(set(map(id, atoms))) == 1
        for atom in atoms:
            if isinstance(atom, Const):
                found.append(self.in_memory(self.constant(atom)))
            elif atom in made:
                found.append(None)
            else:
                value = known[atom]
                memory = self.in_memory(value)
                if not isinstance(value, Elements):
                    known[atom] = memory
                if not isinstance(memory.offset, int) and not fixed:
                    memory = self._stored(memory)
                found.append(memory)
        return found


def runs(nodes: Sequence[Node]) -> Iterator[list[Node]]:
    """The nodes one by one, parts of the same body that follow each other together."""
    run: list[Node] = []
    for node in nodes:
        if run and not (isinstance(node.primitive, Part) and node.primitive is run[-1].primitive):
            yield run
            run = []
        run.append(node)
    if run:
        yield run


def listing(e: Any) -> str:
    """The loop nests of a program with those of its functions."""
    functions = [f"{f.name}:\n{text(f.lowering.root, '    ')}" for f in e.functions.values()]
    return "\n".join([text(e.root), *functions])
