"""What is called: BLAS through the pointers that SciPy exports, and Python for operations without native code."""

from __future__ import annotations

import ctypes
import functools
import importlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.nodes import Node
from ..graph.types import ArrayType
from .arrays import Array, Map, Memory, known_size, offset_of
from .compiled import Outside
from .loops import NATIVE, Back, Call, Value
from .rearrange import SMALL

UNROLLED = 64
"""Multiplications up to which a matrix product is written out."""
CALLED = 100
"""Weight of a call of a C function, which no reader shall do again."""
LOOPED = 4096
"""Multiplications up to which a matrix product is a loop nest; larger ones go to BLAS."""


@functools.cache
def blas_address(name: str) -> int:
    """The address of a BLAS or LAPACK routine with Fortran's calling convention."""
    if (found := getattr(openblas(), f"scipy_{name}_", None)) is not None:
        return ctypes.cast(found, ctypes.c_void_p).value or 0
    blas = importlib.import_module("scipy.linalg.cython_blas").__pyx_capi__  # slow to import
    capsule = blas.get(name) or importlib.import_module("scipy.linalg.cython_lapack").__pyx_capi__[name]
    api = ctypes.pythonapi
    api.PyCapsule_GetName.restype = ctypes.c_char_p
    api.PyCapsule_GetName.argtypes = [ctypes.py_object]
    api.PyCapsule_GetPointer.restype = ctypes.c_void_p
    api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    return api.PyCapsule_GetPointer(capsule, api.PyCapsule_GetName(capsule))  # type: ignore[no-any-return]


@functools.cache
def openblas() -> Any:
    """The BLAS that SciPy's wheels bring with them, without SciPy, whose import takes ten times as long; or None."""
    package = importlib.util.find_spec("scipy")
    for place in (package and package.submodule_search_locations) or ():
        for pattern in ("../scipy.libs/libscipy_openblas*.so*", ".dylibs/libscipy_openblas*.dylib"):
            for path in Path(place).glob(pattern):
                try:
                    return ctypes.CDLL(str(path.resolve()))
                except OSError:
                    continue
    return None


LOOPED_VECTOR = {"right": 512, "left": 2048}
"""The same for a matrix and a vector on that side. Rows times a vector are sums in order, which takes time."""


class Library:
    """Part of `Lowering`."""

    def matmul(self: Any, x: Array, y: Array, out: ArrayType) -> Array:
        """The matrix product with NumPy's rules."""
        shape = self.extents(out.shape)
        name = NATIVE[out.dtype]
        x, y = (self.fixed(z) if z.weight > 0 or known_size(z.shape) is None else z for z in (x, y))
        rows = 0 if x.ndim == 1 else 1
        columns = 0 if y.ndim == 1 else 1
        lead = len(shape) - rows - columns
        inner = x.shape[-1]

        def factors(index: Sequence[Any], k: Any) -> Any:
            stack, own = index[:lead], list(index[lead:])
            left = [*_own(stack, x.shape[:-2]), *own[:rows], k]
            right = [*_own(stack, y.shape[:-2]), k, *own[rows:]]
            return self.mul(self.convert(x.at(self, left), name), self.convert(y.at(self, right), name))

        size = known_size(shape)
        work = size * inner if size is not None and isinstance(inner, int) else None
        if work is not None and work <= UNROLLED and size is not None and size <= SMALL:

            def element(index: list[Any]) -> Any:
                total = factors(index, 0) if inner else self.const(0, name)
                for k in range(1, inner):
                    total = self.add(total, factors(index, k))
                return total

            return self.elements(Map(shape, out.dtype, element))  # type: ignore[no-any-return]
        target: Memory = self.new(shape, out.dtype)
        looped = LOOPED_VECTOR["right"] if y.ndim == 1 else LOOPED_VECTOR["left"] if x.ndim == 1 else LOOPED
        if name not in ("f64", "f32") or (work is not None and work <= looped):
            with self.nest(shape) as index:
                cell = self.cell(name, 0)
                with self.loop(inner) as k:
                    self.write(cell, self.add(self.read(cell), factors(index, k)))
                self.store(target.buffer, offset_of(self, 0, target.strides, index), self.read(cell))
            return target
        left, right = (self._matrix(z, out.dtype) for z in (x, y))
        self.products(left, right, target, shape[:lead])
        return target

    def _matrix(self: Any, x: Any, dtype: Any) -> Any:
        """In memory, with one of its last two axes contiguous, as BLAS takes it."""
        if not (isinstance(x, Memory) and x.dtype == dtype):
            x = self._stored(self.fitted(x, x.shape, dtype))
        last = x.strides[-2:]
        fine = all(isinstance(s, int) and s >= 0 for s in last) and 1 in last and 0 not in last
        if x.ndim > 1 and isinstance(x.shape[-1], int) and isinstance(x.shape[-2], int) and fine:
            wide = last[1] == 1 and last[0] >= x.shape[-1]
            if wide or (last[0] == 1 and last[1] >= x.shape[-2]):
                return x
        return x if x.dense else self._stored(x)

    def _product(self: Any, x: Memory, y: Memory, target: Memory, stack: list[Any]) -> None:
        """One product by gemm. BLAS counts columns first, so it computes the transpose, y^T x^T."""
        m = x.shape[-2] if x.ndim > 1 else 1
        n = y.shape[-1] if y.ndim > 1 else 1
        k = x.shape[-1]
        x_place = offset_of(self, x.offset, x.strides[:-2], _own(stack, x.shape[:-2]))
        y_place = offset_of(self, y.offset, y.strides[:-2], _own(stack, y.shape[:-2]))
        z_place = offset_of(self, target.offset, target.strides[: len(stack)], stack)
        x_plain, x_step = _leading_dimension(x, k)
        y_plain, y_step = (True, 1) if y.ndim == 1 else _leading_dimension(y, n)
        for buffer in (x.buffer, y.buffer, target.buffer):
            self.touch(buffer)
        one: Any = lambda v: self.select(self.gt(v, 1), v, 1) if isinstance(v, Value) else max(v, 1)
        kind = "d" if target.dtype == np.float64 else "s"
        if y.ndim == 1 or x.ndim == 1:  # gemm takes twice as long for a vector
            plain, step, rows, columns = (x_plain, x_step, m, k) if y.ndim == 1 else (not y_plain, y_step, n, k)
            matrix, vector = ((x.buffer, x_place), (y.buffer, y_place))[:: 1 if y.ndim == 1 else -1]
            first, second = (columns, rows) if plain else (rows, columns)
            self.block.statements.append(Call(kind + "gemv", [
                ("letter", "T" if plain else "N"),
                ("integer", self.lift(first, "i64")), ("integer", self.lift(second, "i64")),
                ("real", 1.0), ("pointer", matrix[0], self.lift(matrix[1], "i64")),
                ("integer", self.lift(one(step), "i64")),
                ("pointer", vector[0], self.lift(vector[1], "i64")), ("integer", self.lift(1, "i64")),
                ("real", 0.0), ("pointer", target.buffer, self.lift(z_place, "i64")),
                ("integer", self.lift(1, "i64")),
            ]))  # fmt: skip
            return
        arguments = [
            ("letter", "N" if y_plain else "T"), ("letter", "N" if x_plain else "T"),
            ("integer", self.lift(n, "i64")), ("integer", self.lift(m, "i64")), ("integer", self.lift(k, "i64")),
            ("real", 1.0), ("pointer", y.buffer, self.lift(y_place, "i64")), ("integer", self.lift(one(y_step), "i64")),
            ("pointer", x.buffer, self.lift(x_place, "i64")), ("integer", self.lift(one(x_step), "i64")),
            ("real", 0.0), ("pointer", target.buffer, self.lift(z_place, "i64")), ("integer", self.lift(one(n), "i64")),
        ]  # fmt: skip
        self.block.statements.append(Call(kind + "gemm", arguments))

    def call_back(self: Any, node: Node, operands: Sequence[Array], types: Sequence[ArrayType]) -> list[Array]:
        """An operation without native code: Python computes it, from memory to memory."""
        given = [self.in_memory(x) for x in operands]
        results = [self.new(self.extents(t.shape), t.dtype) for t in types]
        for x in (*given, *results):
            self.touch(x.buffer)
        self.calls.append((node, [(x.dtype, len(x.shape)) for x in given], [(t.dtype, len(t.shape)) for t in types]))
        extents = [self.lift(n, "i64") for x in (*given, *results) for n in x.shape]
        places = [(x.buffer, self.lift(x.offset, "i64")) for x in (*given, *results)]
        self.block.statements.append(Back(len(self.calls) - 1, places, extents))
        return results

    def outside_elements(self: Any, c: Any, operands: Sequence[Array], dtypes: Sequence[Any], out: ArrayType) -> Array:
        """A C function of numbers, element by element; its results are kept, however cheap the call may be."""
        routine = Outside(c.address, c.owner)
        result = NATIVE[c.returns]

        def scalar(e: Any, *values: Any) -> Any:
            return e.value(
                "outside", (routine, *[e.lift(v, NATIVE[d]) for v, d in zip(values, dtypes, strict=True)]), result
            )

        found: Map = self.elementwise(scalar, operands, dtypes, out)
        found.weight += CALLED
        return found

    def outside_arrays(
        self: Any, c: Any, operands: Sequence[Array], types: Sequence[ArrayType], lead: int
    ) -> list[Array]:
        """A C function of pointers and numbers, once for every index of the `lead` leading axes."""
        routine = Outside(c.address, c.owner)
        given = [
            self.in_memory(self.fitted(x, x.shape, d)) if p else self.fixed(x)
            for x, d, p in zip(operands, c.takes, c.pointers, strict=False)
        ]
        results = [self.new(self.extents(t.shape), t.dtype) for t in types]
        front = (given or results)[0].shape[:lead]
        with self.nest(front) as index:
            arguments: list[Any] = []
            for x, d, p in zip((*given, *results), c.takes, c.pointers, strict=True):
                if p:
                    self.touch(x.buffer)
                    place = offset_of(self, x.offset, x.strides[:lead], index)
                    arguments.append(("pointer", x.buffer, self.lift(place, "i64")))
                else:
                    arguments.append(("number", self.convert(x.at(self, list(index)), NATIVE[d])))
            self.block.statements.append(Call(routine, arguments))
        return results

    def copy_bytes(self: Any, value: Array, target: Memory) -> None:
        """An array of a dtype that registers do not hold, from memory to memory."""
        if not (isinstance(value, Memory) and value.dense and target.dense):
            raise NotImplementedError("strided copy of a dtype without registers")
        self.touch(value.buffer)
        self.touch(target.buffer)
        size: Any = value.dtype.itemsize
        for n in value.shape:
            size = self.mul(size, n)
        self.block.statements.append(
            Call("copy", [("pointer", target.buffer, self.lift(target.offset, "i64")),
                          ("pointer", value.buffer, self.lift(value.offset, "i64")),
                          ("integer", self.lift(size, "i64"))])
        )  # fmt: skip


def _own(stack: Sequence[Any], shape: Sequence[Any]) -> list[Any]:
    """The index of a stack that is broadcast."""
    own = stack[len(stack) - len(shape) :]
    return [0 if isinstance(n, int) and n == 1 else i for i, n in zip(own, shape, strict=True)]


def _leading_dimension(x: Memory, columns: Any) -> tuple[bool, Any]:
    """Whether rows are contiguous, and the step between them (between columns otherwise)."""
    if x.ndim == 1 or x.dense:
        return True, columns
    if x.strides[-1] == 1 and x.strides[-2] >= x.shape[-1]:  # both strides of a transposed column are 1
        return True, x.strides[-2]
    return False, x.strides[-1]
