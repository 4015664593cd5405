"""A compiled function as an operation of graphs, so that derivatives and batches of it are compiled as well."""

from __future__ import annotations

from typing import Any

from ..graph.graph import Graph
from ..graph.trees import flatten
from ..ops.call import Call
from ..settings import unusual
from . import entry
from .locks import Lock
from .lowered import Lowered


class Flat(entry.Native):  # type: ignore[misc]
    """A graph as a compiled function from flat values to a tuple of arrays."""

    def __init__(self, graph: Graph) -> None:
        self.lowered = Lowered.of(graph)
        self._structure = flatten((0,) * len(graph.outputs))[1]
        self._records: list[entry.Record] = []
        self._forms: set[Any] = set()
        self._adding = Lock()

    def __call__(self, *values: Any) -> tuple[Any, ...]:
        program = self.lowered.ready
        if entry.available and not unusual.value and len(self._records) < entry.MOST:
            form = tuple([value.__class__ for value in values])
            with self._adding:
                if form not in self._forms:
                    self._forms.add(form)
                    entry.try_record(self, program, values, (), range(len(values)), len(values), self._structure)
        return tuple(self.lowered.run(values))


entry.enable(Flat)


def compiled(graph: Graph) -> Flat:
    """The compiled function of a graph, made once."""
    return graph.cached("compiled", lambda: Flat(graph))  # type: ignore[no-any-return]


class NativeCall(Call):
    """A call of a function made by `jit`: on numbers its machine code runs."""

    name = "jit"

    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        return compiled(self.body)(*operands)


def as_call(graph: Graph) -> NativeCall:
    """The operation that runs a traced function (made once)."""
    return graph.cached("call", lambda: NativeCall(graph))  # type: ignore[no-any-return]
