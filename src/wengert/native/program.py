"""A compiled graph: machine code, loaded, and called with arrays, returning new arrays."""

from __future__ import annotations

import ctypes
import hashlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedError, WengertError
from ..graph.graph import Graph
from ..graph.nodes import Var
from ..graph.types import ArrayType, Dim
from . import cache
from . import threads as pool
from .arrays import Memory
from .compiled import Compiled, Constant, Outside
from .digest import digest_of_text
from .library import blas_address
from .llvm import CALLED_BACK, Emitter
from .loader import Code, llvm
from .locks import Lock
from .loops import Buffer
from .lower import Lowering
from .memory import plan
from .parts import listing

DETAILS = 8
ALIGN = 64
LONG = 1 << 15
"""Elements computed from which on other Python threads may run meanwhile, which costs a tenth of a microsecond."""
_BACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


empty = np.empty


class Written:
    """A graph as loop nests and LLVM text, before there is machine code."""

    def __init__(self, graph: Graph) -> None:
        e = self.lowering = Lowering()
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
        self.memory = plan(e.buffers)
        emitter = Emitter(e, len(inputs), len(outputs))
        self.llvm = emitter.module()
        self.text = hashlib.sha256(self.llvm.encode()).hexdigest()
        self.table = tuple([_constant(e, x) if isinstance(x, Buffer) else x for x in emitter.table])
        self.callbacks = tuple(sorted({node.primitive.name for node, _, _ in e.calls}))

    @property
    def key(self) -> str:
        """A digest of the text and of the constants in the table."""
        outside = [x.array.tobytes() if isinstance(x, Constant) else x for x in self.table]
        return digest_of_text(self.llvm, *outside)


class Program:
    """The machine code of a graph.

    Parameters
    ----------
    graph : what makes the optimised static graph, with shapes that are known (inside it, lengths of `while_loop`
        records may not be). It is called only if the program is not in the cache, or its loop nests are needed.
    inputs, outputs : its types.
    key, constants : digest of what `graph` makes it from, and the arrays in that; None if there is no digest.
    times : seconds of the stages are entered here: "lowering", "LLVM" or "cache", "loading".
    threads : how many may work on it, None for as many as there are processors (`threads.limit`).

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
        threads: int | None = None,
    ) -> None:  # fmt: skip
        for t in (*inputs, *outputs):
            if any(isinstance(n, Dim) for n in t.shape) or t.dtype.kind not in "biufc":
                raise UnsupportedError(f"jit: a value of type {t} goes in or out", "return arrays of known shape")
        self._graph = graph
        self.threads = threads
        self.inputs = list(inputs)
        self.outputs = list(outputs)
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
        self._back = _BACK(self._called_back)
        self.code = Code(compiled.code)
        self.address = self.code.address
        table = (ctypes.c_void_p * max(len(compiled.table), 1)).from_address(self.code.table)
        for place, outside in enumerate(compiled.table):
            table[place] = self._address(outside)
        self.times["loading"] = time.perf_counter() - start
        self._entry = _ENTRY(self.address)
        self._errors = threading.local()
        self._arenas: list[Any] = []
        self._shapes = [(t.shape, t.dtype) for t in self.outputs]
        self._scalars = any(t.shape == () for t in self.outputs)
        self._pointers = ctypes.c_void_p * (len(self.inputs) + len(self.outputs))
        self.raises = self._raise

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

    def _address(self, outside: Any) -> int | None:
        if isinstance(outside, Constant):
            return outside.array.ctypes.data  # type: ignore[no-any-return]
        if isinstance(outside, Outside):
            return outside.address
        if outside == "parallel":
            return pool.pool().address
        if outside == "threads":
            return self.threads or pool.limit()
        return ctypes.cast(self._back, ctypes.c_void_p).value if outside == "python" else blas_address(outside)

    @property
    def written(self) -> Written:
        """The loop nests, which a program from the cache does not need to run."""
        with self._writing:
            if self._written is None:
                graph = self._graph()
                start = time.perf_counter()
                self._written = Written(graph)
                self.times["lowering"] = time.perf_counter() - start
            return self._written

    @property
    def lowering(self) -> Lowering:
        return self.written.lowering

    @property
    def llvm(self) -> str:
        return self.written.llvm

    @property
    def loops(self) -> str:
        return listing(self.lowering)

    @property
    def assembly(self) -> str:
        return llvm().assembly(self.llvm)  # type: ignore[no-any-return]

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """Run on C-contiguous arrays of exactly the input types (the caller has checked them)."""
        outs = [empty(shape, dtype) for shape, dtype in self._shapes]
        pointers = self._pointers(*[a.ctypes.data for a in arrays], *[out.ctypes.data for out in outs])
        try:
            arena = self._arenas.pop()  # atomic: a thread that finds none makes one
        except IndexError:
            arena = _Arena(self.memory)
        code = self._entry(arena.start, arena.details_at, pointers)
        if code and self._raise(code, arena.details_at) is NotImplemented:
            raise NotImplementedError("this part of the program is not known yet")
        self._arenas.append(arena)
        if self._scalars:
            return [out[()] if not out.ndim else out for out in outs]
        return outs

    def _raise(self, code: int, details: int) -> Any:
        """Raise the error that the program left with; NotImplemented if it says that it has no answer."""
        if code == CALLED_BACK:
            error: BaseException = self._errors.found
            self._errors.found = None
            raise error
        if code < 0:
            raise MemoryError("a record of a while_loop did not fit into memory")
        if self.written.text != self.compiled.text:  # of the cache, by another order of operations
            raise WengertError(f"compiled code left with error {code}", "call the function without jit to see it")
        found = self.lowering.sites[code - 1](list((ctypes.c_int64 * DETAILS).from_address(details)))
        if found is NotImplemented:
            return found
        raise found

    def _called_back(self, site: int, places: int, extents: int) -> int:
        """Compute an operation without native code, from memory to memory."""
        try:
            node, operands, results = self.lowering.calls[site]
            addresses = ctypes.cast(places, ctypes.POINTER(ctypes.c_void_p))
            lengths = ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64))
            at = 0
            arrays = []
            for k, (dtype, ndim) in enumerate((*operands, *results)):
                shape = tuple(lengths[at : at + ndim])
                at += ndim
                arrays.append(_view(addresses[k], shape, dtype))
            given = [a[()] if not a.ndim else a for a in arrays[: len(operands)]]
            with np.errstate(all="ignore"):
                found = node.primitive.numpy(*given)
            for target, value in zip(
                arrays[len(operands) :], found if node.primitive.multiple else (found,), strict=True
            ):
                target[...] = value
        except BaseException as error:
            self._errors.found = error
            return 1
        return 0


def _constant(e: Lowering, buffer: Buffer) -> Constant:
    """What a constant's memory holds, with the array of the graph that it comes from if it is one as it stands."""
    array = np.frombuffer(bytearray(ctypes.string_at(buffer.place, buffer.bytes)), buffer.dtype)
    value = next((getattr(owner, "value", None) for owner, b in e.kept if b is buffer), None)
    if isinstance(value, np.ndarray) and value.dtype == buffer.dtype and value.size == buffer.size:
        return Constant(array, value)
    return Constant(array, None)


def _view(address: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size or not address:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)


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


class _Arena:
    """Working memory of one running call."""

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size + ALIGN, np.uint8)
        self.start = -(-self.memory.ctypes.data // ALIGN) * ALIGN
        self.details = np.zeros(DETAILS, np.int64)
        self.details_at = self.details.ctypes.data
