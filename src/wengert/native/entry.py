"""Calls of compiled functions at the speed of C: Python's vectorcall goes straight into native code.

`entry.ll` is one native function that stands in every compiled function's object and does what a C extension would:
it looks at the arguments (type, dtype, rank, shape, strides), takes their pointers, makes the outputs, runs the
program and packs the results. What to look for is written in a `Record`, one for each combination of types that the
function was called with; what fits no record is left to Python, which then writes one.

This relies on how CPython and NumPy lay out their objects. `usable` compares that with known objects once, on import.
Where it differs (another interpreter, a build without the global lock), compiled functions are called by ctypes.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.trees import Structure, unflatten
from ..graph.types import ArrayType
from ..settings import unusual
from . import cache
from .compiled import Compiled
from .digest import digest_of_text
from .loader import Code, llvm

VECTORCALL, RECORDS, PYTHON, SIZE = 16, 24, 32, 40
"""Offsets in the object of a compiled function: the native function, the first record, Python's function; its size."""
TYPE_OFFSET, TYPE_FLAGS, HAS_VECTORCALL = 56, 168, 1 << 11
"""In a class: where instances hold their vectorcall, the flags, and the flag that they have one."""
MOST = 16
"""Records of a function: beyond, Python looks its program up."""

TUPLE, LIST, DICT, ARRAY, NUMBER, INTEGER, BOOLEAN, SAME = range(1, 9)
"""Checks of `entry.ll`."""
LEAF, MAKE_TUPLE, MAKE_LIST, MAKE_DICT, NONE = range(1, 6)
"""Its steps of building a result."""

SCALARS: dict[Any, Any] = {t: np.dtype(t) for t in (
    np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64,
    np.float32, np.float64, np.complex64, np.complex128,
)}  # fmt: skip
"""NumPy's scalar types, which hold their number right behind the object's head."""


def word(place: int) -> int:
    return ctypes.c_int64.from_address(place).value


def usable() -> bool:
    """Whether objects are laid out as `entry.ll` reads them."""
    if sys.implementation.name != "cpython" or not getattr(sys, "_is_gil_enabled", lambda: True)():
        return False
    if struct.calcsize("P") != 8 or sys.byteorder != "little":
        return False
    for array in (np.arange(3.0), np.arange(24).reshape(2, 3, 4)[1:], np.empty((2, 0), np.float32), np.array(1j)):
        at = id(array)
        shape = word(at + 32)
        seen = [word(at + 8), word(at + 16), ctypes.c_int32.from_address(at + 24).value, word(at + 56)]
        if seen != [id(np.ndarray), array.ctypes.data, array.ndim, id(array.dtype)]:
            return False
        if [word(shape + 8 * k) for k in range(array.ndim)] != list(array.shape):
            return False
        if ctypes.c_int32.from_address(at + 64).value & 0xFFFF != array.flags.num & 0xFFFF:
            return False
    for kind, dtype in SCALARS.items():
        scalar = kind(1) if dtype.kind != "c" else kind(1 + 2j)
        if ctypes.string_at(id(scalar) + 16, dtype.itemsize) != np.array(scalar).tobytes():
            return False
    for number in (1.5, 1.5 - 2j):
        if ctypes.string_at(id(number) + 16, 8 if isinstance(number, float) else 16) != np.array(number).tobytes():
            return False
    for container in ((1, 2, 3), [1, 2]):
        if word(id(container) + 8) != id(type(container)) or word(id(container) + 16) != len(container):
            return False
    function = type(usable)  # a class whose instances have a vectorcall
    flags = ctypes.c_uint64.from_address(id(function) + TYPE_FLAGS).value
    known = function.__flags__ & 0xFFFFFFFF
    within = 16 < word(id(function) + TYPE_OFFSET) < function.__basicsize__
    return flags & 0xFFFFFFFF == known and bool(known & HAS_VECTORCALL) and within


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int), ("doc", ctypes.c_char_p),
    )  # fmt: skip


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p), ("size", ctypes.c_int), ("item", ctypes.c_int), ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )  # fmt: skip


def address(function: Any) -> int:
    """Where a function of ctypes is."""
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def base_class() -> type:
    """A class whose instances hold the pointers that `entry.ll` reads, where objects are laid out as it expects."""
    members = (_Member * 2)(_Member(b"__vectorcalloffset__", 19, VECTORCALL, 1, None))  # 19: Py_ssize_t; 1: read only
    slots = (_Slot * 3)(
        _Slot(72, ctypes.addressof(members)),  # Py_tp_members
        _Slot(50, address(ctypes.pythonapi.PyVectorcall_Call)),  # Py_tp_call
    )
    flags = 1 << 18 | 1 << 10 | HAS_VECTORCALL  # the default, a base of other classes
    spec = _Spec(b"wengert.native.entry.Native", SIZE, 0, flags, slots)
    make = ctypes.pythonapi.PyType_FromSpec
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p]
    made: type = make(ctypes.byref(spec))
    _kept.append((members, slots, spec))  # the class points into them
    return made


_kept: list[Any] = []
_unusual = ctypes.c_int64(unusual.value)
"""The count of unusual settings where native code can see it."""


def _note(number: int) -> None:
    _unusual.value = number


unusual.tell = _note
available = usable()
Native: Any = base_class() if available else object
"""The base of compiled functions."""


def enable(cls: type) -> None:
    """Let Python call the instances of a class derived from `Native` by their vectorcall, if they have one.

    CPython clears the flag of a class that defines `__call__`; the instances' vectorcall does the same and faster,
    and an instance without one is called by `__call__`.
    """
    if available and word(id(cls) + TYPE_OFFSET) == VECTORCALL:
        flags = ctypes.c_uint64.from_address(id(cls) + TYPE_FLAGS)
        flags.value |= HAS_VECTORCALL


def numpy_function(number: int) -> int:
    """A function of NumPy's C interface."""
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = get(np._core._multiarray_umath._ARRAY_API, None)  # type: ignore[attr-defined]
    return word(table + 8 * number)


def outside() -> list[int]:
    """The table of `entry.ll`: what it uses of Python and NumPy."""
    api = ctypes.pythonapi
    return [
        id(np.ndarray), id(bool), id(True), id(tuple), id(list), id(dict), id(int),
        address(api.PyObject_Vectorcall), address(api.PyDict_GetItemWithError), address(api.PyErr_Clear),
        address(api.PyLong_AsLongLongAndOverflow),
        numpy_function(94),  # PyArray_NewFromDescr
        address(api.PyDict_Size), address(api.PyTuple_GetItem), address(api.PyList_GetItem),
        address(api.PyLong_FromLongLong), address(api.PyEval_SaveThread), address(api.PyEval_RestoreThread),
        address(api.Py_IncRef), address(api.Py_DecRef), address(api.PyMem_RawMalloc), address(api.PyMem_RawFree),
        address(api.PyErr_NoMemory),
        numpy_function(60),  # PyArray_Scalar
        address(api.PyTuple_New), address(api.PyList_New), address(api.PyDict_New), address(api.PyDict_SetItem),
        id(None), address(api.PyTuple_SetItem), address(api.PyList_SetItem),
        ctypes.addressof(_unusual), id(NotImplemented),
    ]  # fmt: skip


@functools.cache
def native() -> int:
    """The address of the vectorcall, compiled when first needed."""
    text = Path(__file__).with_suffix(".ll").read_text()
    key = digest_of_text(text) if cache.folder() is not None else None
    kept = cache.load(key) if key is not None else None
    if kept is None:
        kept = Compiled(llvm().compile(text, quickly=True))
        if key is not None:
            cache.store(key, kept)
    code = Code(kept.code)
    table = outside()
    room = (ctypes.c_int64 * len(table)).from_address(code.table)
    for place, value in enumerate(table):
        room[place] = value
    _kept.append(code)
    return code.address


class Unfit(Exception):
    """Arguments or results in containers that `entry.ll` does not know."""


class Record:
    """What `entry.ll` must know of one combination of argument types.

    Parameters
    ----------
    program : what runs.
    given : the arguments of a call, in its order, and `names`, those of the last ones, given by keyword.
    first : for each of them the number of its first leaf; None for one that must be the same object.
    leaves : the number of leaves.
    structure : of the results.

    Raises
    ------
    Unfit : it cannot be done natively.
    """

    def __init__(
        self, program: Any, given: Sequence[Any], names: Sequence[str], first: Sequence[int | None], leaves: int,
        structure: Structure,
    ) -> None:  # fmt: skip
        self.kept: list[Any] = [program, program.raises, *names]
        self.steps: list[int] = []
        self.slots = len(given)
        self.types: Sequence[ArrayType] = program.inputs
        self.seen: list[int] = []
        for slot, (value, leaf) in enumerate(zip(given, first, strict=True)):
            if leaf is None:
                self.step(SAME, slot, self.keep(value))
            else:
                self.check(slot, value, leaf)
        if sorted(self.seen) != list(range(leaves)):  # a default value, which is not among the arguments
            raise Unfit
        self.step(0)
        outputs = [self.description(t.dtype, t.shape) for t in program.outputs]
        self.fields = np.array([
            0, len(given) - len(names), len(names), self.memory([id(n) for n in names]), self.memory(self.steps),
            self.slots, len(program.inputs) + len(outputs), len(program.inputs), len(outputs), self.memory(outputs),
            self.result(structure, len(outputs)), program.address, program.memory, 0, int(program.long),
            id(program.raises),
        ], np.int64)  # fmt: skip
        self.at = self.fields.ctypes.data

    def retire(self) -> None:
        """Let no call fit any more."""
        self.fields[1] = -1

    def __del__(self) -> None:
        fields = getattr(self, "fields", None)
        if fields is not None and fields[13]:
            free = ctypes.pythonapi.PyMem_RawFree
            free.argtypes = [ctypes.c_void_p]
            free(int(fields[13]))

    def keep(self, value: Any) -> int:
        self.kept.append(value)
        return id(value)

    def memory(self, numbers: Sequence[int]) -> int:
        array = np.array(numbers or [0], np.int64)
        self.kept.append(array)
        return array.ctypes.data

    def step(self, what: int, slot: int = 0, a: int = 0, b: int = 0, c: int = 0) -> None:
        self.steps += [what, slot, a, b, c, 0]

    def description(self, dtype: Any, shape: Sequence[int]) -> int:
        return self.memory([self.keep(np.dtype(dtype)), len(shape), *shape])

    def check(self, slot: int, value: Any, leaf: int) -> int:
        """Steps for an argument or a part of one, which begins with leaf number `leaf`; the number after it."""
        kind = value.__class__
        if kind is tuple or kind is list or kind is dict:
            keys = self.keys(value) if kind is dict else []
            parts = [value[key] for key in keys] if kind is dict else value
            places = self.slots
            self.slots += len(parts)
            what = {tuple: TUPLE, list: LIST, dict: DICT}[kind]
            self.step(what, slot, len(parts), places, self.memory([id(key) for key in keys]))
            for k, part in enumerate(parts):
                leaf = self.check(places + k, part, leaf)
            return leaf
        if value is None:
            self.step(SAME, slot, id(None))
            return leaf
        if leaf >= len(self.types):
            raise Unfit
        wanted: Any = self.types[leaf]
        if kind is np.ndarray and value.dtype == wanted.dtype and value.dtype.isnative and value.shape == wanted.shape:
            element = value.dtype.type
            scalar = 0 if wanted.shape or SCALARS.get(element) is not value.dtype else id(element)
            self.step(ARRAY, slot, self.description(value.dtype, value.shape), leaf, scalar)
        elif kind in SCALARS and SCALARS[kind] == wanted.dtype and wanted.shape == ():
            self.step(ARRAY, slot, self.description(SCALARS[kind], ()), leaf, id(kind))
        elif (kind is float or kind is complex) and wanted.dtype == kind:
            self.step(NUMBER, slot, 0, leaf, id(kind))
        elif (kind is int or kind is bool) and wanted.dtype == (np.int64 if kind is int else np.bool_):
            self.step(INTEGER if kind is int else BOOLEAN, slot, 0, leaf)
        else:
            raise Unfit
        self.seen.append(leaf)
        return leaf + 1

    def keys(self, value: dict[Any, Any]) -> list[Any]:
        """The keys in the order in which containers are taken apart: sorted."""
        if not all(key.__class__ is str for key in value):
            raise Unfit
        keys = sorted(value)
        self.kept += keys
        return keys

    def result(self, structure: Structure, count: int) -> int:
        """The steps that pack the results; 0 for a bare one."""
        outputs = [_Output(k) for k in range(count)]
        tree = unflatten(structure, outputs)
        if tree.__class__ is _Output:
            return 0
        steps: list[int] = []
        depth = self.pack(tree, steps)
        return self.memory([depth, *steps, 0, 0])

    def pack(self, tree: Any, steps: list[int]) -> int:
        """Steps for a part of the result; returns how many objects are on the stack meanwhile."""
        kind = tree.__class__
        if kind is _Output:
            steps += [LEAF, tree.number]
            return 1
        if tree is None:
            steps += [NONE, 0]
            return 1
        if kind not in (tuple, list, dict):
            raise Unfit
        parts = tree.values() if kind is dict else tree
        depth = max([k + self.pack(part, steps) for k, part in enumerate(parts)], default=0)
        steps += [{tuple: MAKE_TUPLE, list: MAKE_LIST, dict: MAKE_DICT}[kind], len(tree)]
        if kind is dict:
            steps += [self.keep(key) for key in tree]
        return max(depth, 1)


class _Output:
    """Stands for an output where the result's containers are looked at."""

    def __init__(self, number: int) -> None:
        self.number = number


def try_record(
    function: Any, program: Any, given: Sequence[Any], names: Sequence[str], first: Sequence[int | None], leaves: int,
    structure: Structure,
) -> Record | None:  # fmt: skip
    """Let the next call of this form go straight into the program, if that can be; arguments as for `Record`.

    `function` has a list `_records`. Of its class `__call__` does the calls that fit no record.
    """
    try:
        record = Record(program, given, names, first, leaves, structure)
    except Unfit:
        return None
    function._records.append(record)
    at = id(function)
    last = at + RECORDS
    while word(last):
        last = word(last)
    ctypes.c_int64.from_address(last).value = record.at
    ctypes.c_int64.from_address(at + PYTHON).value = id(type(function).__call__)
    ctypes.c_int64.from_address(at + VECTORCALL).value = native()
    return record
