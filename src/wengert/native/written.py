"""A graph as loop nests and LLVM text, before there is machine code."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Var
from .arrays import Memory
from .compiled import Constant
from .digest import digest_of_text
from .inplace import give, joined
from .llvm import Emitter
from .loops import Buffer
from .lower import Lowering
from .memory import plan


class Written:
    """The stages of a program that people can read.

    Parameters
    ----------
    graph : the optimised graph.
    taken : which outputs get the memory of which inputs, by number.
    lowering, emitter : who writes the loops and the text.

    Attributes
    ----------
    memory : bytes of the arena. copied : the outputs that could not be written over their inputs at once.
    """

    def __init__(
        self, graph: Graph, taken: Mapping[int, int] | None = None, lowering: type[Lowering] = Lowering,
        emitter: type[Emitter] = Emitter,
    ) -> None:  # fmt: skip
        e = self.lowering = lowering()
        inputs, outputs = graph.inputs, [a.type for a in graph.outputs]
        given = [e.whole(e.buffer("input", t.dtype, t.type.size, k), t.shape) for k, t in enumerate(inputs)]
        targets = [
            e.whole(e.buffer("output", t.dtype, t.size, len(inputs) + k), t.shape) for k, t in enumerate(outputs)
        ]
        direct: dict[Var, Memory] = {}
        for atom, target in zip(graph.outputs, targets, strict=True):
            if isinstance(atom, Var):
                direct.setdefault(atom, target)
        results = e.graph(graph, [e.settled(x, False) for x in given], direct)
        e.deliver(list(zip(results, targets, strict=True)))
        self.taken = dict(taken or {})
        self.copied = give(e, self.taken, [x.buffer for x in given], [x.buffer for x in targets])
        self.pairs = joined(e)
        self.memory = plan(e.buffers, self.pairs)
        self.finished()
        text = emitter(e, len(inputs), len(outputs))
        self.llvm = text.module()
        self.text = digest_of_text(self.llvm)
        self.table = tuple([_constant(e, x) if isinstance(x, Buffer) else x for x in text.table])
        self.callbacks = tuple(sorted({node.primitive.name for node, _, _ in e.calls}))

    def finished(self) -> None:
        """The loops are complete; for whoever adds to them."""

    @property
    def key(self) -> str:
        """A digest of the text and of the constants in the table."""
        outside = [x.array.tobytes() if isinstance(x, Constant) else x for x in self.table]
        return digest_of_text(self.llvm, *outside)


def _constant(e: Lowering, buffer: Buffer) -> Constant:
    """What a constant's memory holds, with the array of the graph that it comes from if it is one as it stands."""
    array = np.frombuffer(bytearray(ctypes.string_at(buffer.place, buffer.bytes)), buffer.dtype)
    value: Any = next((getattr(owner, "value", None) for owner, b in e.kept if b is buffer), None)
    if isinstance(value, np.ndarray) and value.dtype == buffer.dtype and value.size == buffer.size:
        return Constant(array, value)
    return Constant(array, None)
