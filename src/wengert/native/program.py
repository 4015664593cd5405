"""A compiled graph: machine code from LLVM or from the cache."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import UnsupportedError
from ..graph.graph import Graph
from ..graph.types import ArrayType, Dim
from . import cache
from .compiled import Compiled, Outside
from .inplace import taken
from .loaded import Loaded
from .loader import llvm
from .locks import Lock
from .memory_plan import MemoryPlan
from .parts import listing
from .profile import Instrumented, Profile
from .written import Written

LONG = 1 << 15
"""Elements computed from which on other Python threads may run meanwhile, which costs a tenth of a microsecond."""


class Program(Loaded):
    """The machine code of a graph.

    Parameters
    ----------
    graph : what makes the optimised static graph, with shapes that are known (inside it, lengths of `while_loop`
        records may not be). It is called only if the program is not in the cache, or its loop nests are needed.
    inputs, outputs : its types.
    key, constants : digest of what `graph` makes it from, and the arrays in that; None if there is no digest.
    times : seconds of the stages are entered here: "lowering", "LLVM" or "cache", "loading".
    threads : how many may work on it, None for as many as there are processors (`threads.limit`).
    donated : the inputs that may be overwritten, by number.

    Attributes
    ----------
    loops : the loop nests as text. llvm : the LLVM text. memory : bytes of the arena.
    callbacks : names of the operations without native code. long : whether it is worth releasing the lock.
    cached : whether it came from the cache.

    Raises
    ------
    UnsupportedError : a shape is not known, or a dtype is none of numbers.
    """

    def __init__(
        self, graph: Callable[[], Graph], inputs: Sequence[ArrayType], outputs: Sequence[ArrayType],
        key: str | None = None, constants: Sequence[Any] = (), times: dict[str, float] | None = None,
        threads: int | None = None, donated: Sequence[int] = (),
    ) -> None:  # fmt: skip
        for t in (*inputs, *outputs):
            if any(isinstance(n, Dim) for n in t.shape) or t.dtype.kind not in "biufc":
                raise UnsupportedError(f"jit: a value of type {t} goes in or out", "return arrays of known shape")
        self._graph = graph
        self.threads = threads
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.taken = taken(self.inputs, self.outputs, donated)
        self._instrumented: Instrumented | None = None
        self._written: Written | None = None
        self._writing = Lock()
        self.times = {} if times is None else times
        compiled = self._cached(key, constants)
        self.cached = compiled is not None
        if compiled is None:
            compiled = self._compile(key, constants)
        self.compiled = compiled
        self.memory, self.callbacks, self.long = compiled.memory, list(compiled.callbacks), compiled.long
        start = time.perf_counter()
        self.load()
        self.times["loading"] = time.perf_counter() - start

    def _cached(self, key: str | None, constants: Sequence[Any]) -> Compiled | None:
        """The program from the cache; by its LLVM text if there is no digest of what that is made from."""
        if cache.folder() is None:
            return None
        if key is None:
            if any(isinstance(x, Outside) for x in self.written.table):
                return None
            key = self.written.key
        start = time.perf_counter()
        found = cache.load(key, constants)
        if found is None:
            return None
        self.times["cache"] = time.perf_counter() - start
        if found.callbacks and found.text != self.written.text:  # which operation is called back is told by a number
            return None
        return found

    def _compile(self, key: str | None, constants: Sequence[Any]) -> Compiled:
        written = self.written
        start = time.perf_counter()
        code = llvm().compile(written.llvm)
        self.times["LLVM"] = time.perf_counter() - start
        long = work(self._graph()) > LONG
        made = Compiled(code, written.table, written.memory, written.callbacks, long, written.text)
        if not any(isinstance(x, Outside) for x in written.table):
            cache.store(key or written.key, made, constants)
        return made

    @property
    def written(self) -> Written:
        """The loop nests, which a program from the cache does not need to run."""
        with self._writing:
            if self._written is None:
                graph = self._graph()
                start = time.perf_counter()
                self._written = Written(graph, self.taken)
                self.times["lowering"] = time.perf_counter() - start
            return self._written

    @property
    def llvm(self) -> str:
        return self.written.llvm

    @property
    def loops(self) -> str:
        return listing(self.lowering)

    @property
    def assembly(self) -> str:
        return llvm().assembly(self.llvm)  # type: ignore[no-any-return]

    @property
    def memory_plan(self) -> MemoryPlan:
        """What the program needs of memory, buffer by buffer."""
        return MemoryPlan(self.written, self.inputs, self.outputs)

    def profile(self, *arrays: Any) -> Profile:
        """The time of each loop nest and call for arrays of the input types (`profile.Profile`)."""
        with self._writing:
            if self._instrumented is None:
                self._instrumented = Instrumented(self._graph(), self.inputs, self.outputs, self.threads)
        return self._instrumented.measure(arrays)


def work(graph: Graph) -> float:
    """Roughly how many elements a run computes; infinite where only the run knows."""
    total = 0.0
    for node in graph.nodes:
        primitive = node.primitive
        types = [a.type for a in (*node.inputs, *(node.outputs or ()))]
        if any(isinstance(n, Dim) for t in types for n in t.shape) or primitive.name == "while_loop":
            return math.inf
        inner = 1
        if "bilinear" in primitive.facts and len(types) > 2 and types[0].shape:
            inner = types[0].shape[-1]
        elements = max(t.size for t in types) * inner if types else 0
        steps = getattr(primitive, "length", None)
        bodies = sum(work(g) for _, g in node.subgraphs)
        total += elements + bodies * (steps if isinstance(steps, int) else 1)
    return total
