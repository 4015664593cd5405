"""A compiled graph: built once, called with arrays, returning new arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph.graph import Graph
from ..graph.nodes import Var
from ..graph.types import ArrayType, Dim
from .arrays import Memory
from .library import blas_address
from .llvm import CALLED_BACK, Emitter
from .loops import Buffer, text
from .lower import Lowering
from .memory import plan

DETAILS = 8
ALIGN = 64
_BACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


empty = np.empty


class Program:
    """The machine code of a graph.

    Parameters
    ----------
    graph : a static graph with shapes that are known (inside it, lengths of `while_loop` records may not be).

    Attributes
    ----------
    loops : the loop nests as text. llvm : the LLVM text. memory : bytes of the arena.
    native, callbacks : names of the operations with and without native code.
    """

    def __init__(self, graph: Graph) -> None:
        from .engine import Code  # llvmlite takes a tenth of a second to import

        for t in (a.type for a in (*graph.inputs, *graph.outputs)):
            if any(isinstance(n, Dim) for n in t.shape) or t.dtype.kind not in "biufc":
                raise UnsupportedError(f"jit: a value of type {t} goes in or out", "return arrays of known shape")
        self.graph = graph
        self.inputs = [v.type for v in graph.inputs]
        self.outputs = [a.type for a in graph.outputs]
        e = Lowering()
        self.lowering = e
        count = len(self.inputs)
        given = [e.whole(e.buffer("input", t.dtype, t.size, k), t.shape) for k, t in enumerate(self.inputs)]
        targets = [e.whole(e.buffer("output", t.dtype, t.size, count + k), t.shape) for k, t in enumerate(self.outputs)]
        direct: dict[Var, Memory] = {}
        for atom, target in zip(graph.outputs, targets, strict=True):
            if isinstance(atom, Var):
                direct.setdefault(atom, target)
        results = e.graph(graph, [e.settled(x, False) for x in given], direct)
        for out, target in zip(results, targets, strict=True):
            if out is not target:
                e.put(out, target)
        self.memory = plan(e.buffers)
        self._back = _BACK(self._called_back)
        back = ctypes.cast(self._back, ctypes.c_void_p).value
        emitter = Emitter(e, count, len(self.outputs))
        self.llvm = emitter.module()
        self.callbacks = sorted({node.primitive.name for node, _, _ in e.calls})
        self.code = Code(self.llvm)
        table = (ctypes.c_void_p * max(len(emitter.table), 1)).from_address(self.code.table)
        for entry, place in emitter.table.items():
            if isinstance(entry, Buffer):
                table[place] = entry.place
            else:
                table[place] = back if entry == "python" else blas_address(entry)
        self.entry = _ENTRY(self.code.address)
        self._errors = threading.local()
        self._arenas: list[Any] = []
        self._shapes = [(t.shape, t.dtype) for t in self.outputs]
        self._scalars = any(t.shape == () for t in self.outputs)
        self._pointers = ctypes.c_void_p * (len(self.inputs) + len(self.outputs))

    @property
    def loops(self) -> str:
        return text(self.lowering.root)

    @property
    def assembly(self) -> str:
        return self.code.assembly()

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """Run on C-contiguous arrays of exactly the input types (the caller has checked them)."""
        outs = [empty(shape, dtype) for shape, dtype in self._shapes]
        pointers = self._pointers(*[a.ctypes.data for a in arrays], *[out.ctypes.data for out in outs])
        try:
            arena = self._arenas.pop()  # atomic: a thread that finds none makes one
        except IndexError:
            arena = _Arena(self.memory)
        code = self.entry(arena.start, arena.details_at, pointers)
        if code:
            raise self._error(code, arena.details)
        self._arenas.append(arena)
        if self._scalars:
            return [out[()] if not out.ndim else out for out in outs]
        return outs

    def _error(self, code: int, details: Any) -> BaseException:
        if code == CALLED_BACK:
            error: BaseException = self._errors.found
            self._errors.found = None
            return error
        if code < 0:
            return MemoryError("a record of a while_loop did not fit into memory")
        return self.lowering.sites[code - 1](details.tolist())

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


def _view(address: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size or not address:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)


class _Arena:
    """Working memory of one running call."""

    def __init__(self, size: int) -> None:
        self.memory = np.empty(size + ALIGN, np.uint8)
        self.start = -(-self.memory.ctypes.data // ALIGN) * ALIGN
        self.details = np.zeros(DETAILS, np.int64)
        self.details_at = self.details.ctypes.data


def flat_types(types: Sequence[ArrayType]) -> tuple[Any, ...]:
    return tuple((t.shape, t.dtype.str, t.weak) for t in types)
