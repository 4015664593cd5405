"""Machine code in memory, called with arrays, returning new arrays."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import WengertError
from ..graph.types import ArrayType
from . import threads as pool
from .compiled import Compiled, Constant, Outside
from .library import blas_address
from .llvm import CALLED_BACK
from .loader import Code
from .lower import Lowering
from .written import Written

DETAILS = 8
ALIGN = 64
_BACK = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p)
_ENTRY = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


empty = np.empty


class Loaded:
    """A program that runs. Who derives from it sets what follows and calls `load`.

    Attributes
    ----------
    inputs, outputs : types. compiled : the machine code. written : what it was made from. memory : bytes of the arena.
    taken : which outputs lie over which inputs. threads : how many may work on it, None for `threads.limit`.
    """

    inputs: list[ArrayType]
    outputs: list[ArrayType]
    compiled: Compiled
    memory: int
    taken: dict[int, int]
    threads: int | None
    details = DETAILS
    """Numbers that the program can leave behind, those of an error first."""

    @property
    def written(self) -> Written:
        raise NotImplementedError

    @property
    def lowering(self) -> Lowering:
        return self.written.lowering

    def load(self) -> None:
        """Bring the code into memory and tell it where things are."""
        self._back = _BACK(self._called_back)
        self.code = Code(self.compiled.code)
        self.address = self.code.address
        table = (ctypes.c_void_p * max(len(self.compiled.table), 1)).from_address(self.code.table)
        for place, outside in enumerate(self.compiled.table):
            table[place] = self._address(outside)
        self._entry = _ENTRY(self.address)
        self._errors = threading.local()
        self._arenas: list[Any] = []
        self._shapes = [(t.shape, t.dtype) for t in self.outputs]
        self._scalars = any(t.shape == () for t in self.outputs)
        self._pointers = ctypes.c_void_p * (len(self.inputs) + len(self.outputs))
        self.raises = self._raise

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

    def __call__(self, arrays: Sequence[Any]) -> list[Any]:
        """Run on C-contiguous arrays of exactly the input types (the caller has checked them)."""
        outs = [empty(shape, dtype) for shape, dtype in self._shapes] if not self.taken else self._outputs(arrays)
        pointers = self._pointers(*[a.ctypes.data for a in arrays], *[out.ctypes.data for out in outs])
        try:
            arena = self._arenas.pop()  # atomic: a thread that finds none makes one
        except IndexError:
            arena = _Arena(self.memory, self.details)
        code = self._entry(arena.start, arena.details_at, pointers)
        if code and self._raise(code, arena.details_at) is NotImplemented:
            raise NotImplementedError("this part of the program is not known yet")
        self._arenas.append(arena)
        if self._scalars:
            return [out[()] if not out.ndim else out for out in outs]
        return outs

    def _outputs(self, arrays: Sequence[Any]) -> list[Any]:
        """Memory for the results, some of which are written over inputs."""
        return [
            arrays[self.taken[k]] if k in self.taken else empty(shape, dtype)
            for k, (shape, dtype) in enumerate(self._shapes)
        ]

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


def _view(address: int | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if not size or not address:
        return np.empty(shape, dtype)
    memory: Any = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape)


class _Arena:
    """Working memory of one running call."""

    def __init__(self, size: int, details: int) -> None:
        self.memory = np.empty(size + ALIGN, np.uint8)
        self.start = -(-self.memory.ctypes.data // ALIGN) * ALIGN
        self.details = np.zeros(details, np.int64)
        self.details_at = self.details.ctypes.data
