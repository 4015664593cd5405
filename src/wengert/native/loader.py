"""Loading object files without LLVM: reading one from the cache must not cost the import of a compiler.

The object files of 64-bit ELF for x86-64 as LLVM writes them: sections are copied into memory of our own, addresses
are filled in (System V Application Binary Interface, AMD64 Supplement, section 4.4), and the pages of the code are
made executable. For other systems, and for anything unexpected in a file, `load` raises `Unloadable`, and LLVM's own
loader does the work.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import platform
import struct
import sys
from typing import Any, NamedTuple

PAGE = mmap.PAGESIZE
ALLOC, WRITE, EXECUTE = 2, 1, 4
"""Flags of sections."""
SYMBOLS, RELOCATIONS, NO_BITS = 2, 4, 8
"""Types of sections."""
ABSOLUTE, RELATIVE, CALL, WIDE_RELATIVE = 1, 2, 4, 24
THROUGH_TABLE = frozenset({9, 41, 42})
"""Types of relocations: an address; its distance in 32 bits; that of a function; in 64 bits; that of its address."""
STUB = b"\xff\x25\x00\x00\x00\x00"
"""jmp *0(%rip): to the address that stands behind it."""
STUB_SIZE = 16


class Unloadable(Exception):
    """An object file, or a system, that this loader does not know."""


class Section(NamedTuple):
    name: int
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    info: int
    align: int
    entry: int


class Image:
    """An object file in memory; it stays while this object lives. `symbols` are the addresses of what it defines."""

    def __init__(self, code: bytes) -> None:
        if not (sys.platform == "linux" and platform.machine() == "x86_64" and code[:6] == b"\x7fELF\x02\x01"):
            raise Unloadable("no 64-bit ELF on x86-64 Linux")
        try:
            self._load(code)
        except (struct.error, IndexError, AttributeError, ValueError) as error:
            raise Unloadable(str(error)) from error

    def _load(self, code: bytes) -> None:
        (start,) = struct.unpack_from("<Q", code, 40)
        size, count, _ = struct.unpack_from("<HHH", code, 58)
        sections = [Section(*struct.unpack_from("<IIQQQQIIQQ", code, start + k * size)) for k in range(count)]
        tables = [s for s in sections if s.type == SYMBOLS]
        entries = [struct.unpack_from("<IBBHQQ", code, t.offset + at) for t in tables for at in range(0, t.size, 24)]
        names = sections[tables[0].link].offset if tables else 0
        outside = sum(1 for entry in entries if not entry[3])
        places: dict[int, int] = {}
        top = 0
        # Code, with the ways to what is far away, then what is only read, then what is written, on pages of their own.
        for kind in (EXECUTE, 0, WRITE):
            for k, s in enumerate(sections):
                if s.flags & ALLOC and s.flags & (EXECUTE | WRITE) == kind and s.size:
                    align = max(s.align, 1)
                    places[k] = top = -(-top // align) * align
                    top += s.size
            if kind == EXECUTE:
                stubs = -(-top // 16) * 16
                executable = -(-(stubs + STUB_SIZE * outside) // PAGE) * PAGE
                top = executable
        pointers = -(-top // 8) * 8
        total = pointers + 8 * len(entries)
        self.memory = mmap.mmap(-1, max(total, PAGE), prot=mmap.PROT_READ | mmap.PROT_WRITE)
        self._start = ctypes.c_char.from_buffer(self.memory)
        base = ctypes.addressof(self._start)
        for k, place in places.items():
            s = sections[k]
            if s.type != NO_BITS:
                self.memory[place : place + s.size] = code[s.offset : s.offset + s.size]
        self.symbols: dict[str, int] = {}
        values: list[int] = []
        far: dict[int, int] = {}
        for number, (name, _info, _, section, value, _) in enumerate(entries):
            end = code.index(b"\0", names + name)
            text = code[names + name : end].decode()
            if section in places:
                values.append(base + places[section] + value)
                if text:
                    self.symbols[text] = values[-1]
            elif section == 0 and text:
                values.append(external(text))
                stub = stubs + STUB_SIZE * len(far)
                self.memory[stub : stub + 14] = STUB + struct.pack("<Q", values[-1])
                far[number] = base + stub
            else:
                values.append(0)
        for s in sections:
            if s.type != RELOCATIONS or s.info not in places:
                continue
            for offset, info, addend in struct.iter_unpack("<QQq", code[s.offset : s.offset + s.size]):
                kind, symbol = info & 0xFFFFFFFF, info >> 32
                place = places[s.info] + offset
                if kind == ABSOLUTE:
                    struct.pack_into("<Q", self.memory, place, (values[symbol] + addend) & 0xFFFFFFFFFFFFFFFF)
                elif kind == WIDE_RELATIVE:
                    struct.pack_into("<q", self.memory, place, values[symbol] + addend - base - place)
                elif kind in THROUGH_TABLE:
                    pointer = pointers + 8 * symbol
                    struct.pack_into("<Q", self.memory, pointer, values[symbol])
                    struct.pack_into("<i", self.memory, place, pointer + addend - place)
                elif kind in (RELATIVE, CALL):
                    target = far.get(symbol, values[symbol]) if kind == CALL else values[symbol]
                    struct.pack_into("<i", self.memory, place, target + addend - base - place)
                else:
                    raise Unloadable(f"relocation of type {kind}")
        if executable and protect()(base, executable, mmap.PROT_READ | mmap.PROT_EXEC):
            raise Unloadable("pages must not be executable here")


def llvm() -> Any:
    """The compiler, imported when first needed: llvmlite takes longer to import than most programs to load."""
    from . import engine

    return engine


class Code:
    """An object file ready to run: `address` is that of its function `run`, `table` that of its table of addresses."""

    def __init__(self, code: bytes) -> None:
        try:
            image = Image(code)
            self.address, self.table = image.symbols["run"], image.symbols["table"]
            self.keeper: Any = image
        except Unloadable:
            self.address, self.table, self.keeper = llvm().load(code)


@functools.cache
def protect() -> Any:
    function = ctypes.CDLL(None).mprotect
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function


@functools.cache
def external(name: str) -> int:
    """The address of a function of the C libraries that Python runs on."""
    for library in (None, "libm.so.6", "libc.so.6"):
        try:
            function = getattr(ctypes.CDLL(library), name)
        except (AttributeError, OSError):
            continue
        return ctypes.cast(function, ctypes.c_void_p).value or 0
    raise Unloadable(f"no function {name}")
