"""Machine code on disk, so that a second process need not compile.

One file for each program, named by the digest of all that it follows from (`digest.py`). A file is written whole under
another name and then renamed, so that processes do not disturb each other, and carries a checksum. It is used only if
it belongs to the user, nobody else can write to it, and nothing about it is wrong; otherwise the program is compiled
and the file written anew. When the files grow over a limit, those used longest ago go.

The folder is `wengert` in the user's cache folder; `WENGERT_CACHE` names another one, and set to nothing, `0` or
`off` turns the cache off. `WENGERT_CACHE_SIZE` is the limit in megabytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .compiled import Compiled, Constant

MAGIC = b"wengert program 1\n"
CHECKSUM = 32
SUFFIX = ".program"
LIMIT = 256
"""Megabytes that the cache may take."""
LARGEST = 16 << 20
"""Bytes of a program beyond which it is not kept: its constants are too large."""


class Damaged(Exception):
    """A file that is none of ours, or not as it was written."""


def folder() -> Path | None:
    """Where programs are kept; None if they shall not be."""
    named = os.environ.get("WENGERT_CACHE")
    if named is not None:
        return None if named.strip().lower() in ("", "0", "off") else Path(named).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA")
    else:
        base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "wengert"
    except RuntimeError:  # a user without a home
        return None


def limit() -> int:
    """Bytes that the cache may take."""
    try:
        return int(float(os.environ.get("WENGERT_CACHE_SIZE", LIMIT)) * 1_000_000)
    except ValueError:
        return LIMIT * 1_000_000


def trusted(status: os.stat_result) -> bool:
    """Whether a file or folder is the user's own, and nobody else's to write."""
    if not hasattr(os, "getuid"):
        return True
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def load(key: str, constants: Sequence[Any] = ()) -> Compiled | None:
    """The program of a digest, None if there is none that can be used; `constants` are the arrays of its graph."""
    place = folder()
    if place is None:
        return None
    path = place / (key + SUFFIX)
    try:
        if not trusted(os.stat(place)):
            return None
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        with open(handle, "rb") as file:
            status = os.fstat(handle)
            if not trusted(status) or not stat.S_ISREG(status.st_mode):
                return None
            content = file.read()
        found = unpack(content, key, constants)
    except (OSError, Damaged):
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # used now
    return found


def store(key: str, program: Compiled, constants: Sequence[Any] = ()) -> bool:
    """Keep a program; False if that is not possible or not wanted."""
    place = folder()
    content = b"" if place is None else pack(program, key, constants)
    if place is None or not 0 < len(content) <= min(LARGEST, limit()):
        return False
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not trusted(os.stat(place)):
            return False
        handle, temporary = tempfile.mkstemp(dir=place, prefix=".new-")
        try:
            with open(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, place / (key + SUFFIX))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return False
        tidy(place)
    except OSError:
        return False
    return True


def pack(program: Compiled, key: str, constants: Sequence[Any]) -> bytes:
    """The content of a file: what it is, a checksum of the rest, the length of a header, the header, and the data."""
    known = {id(array): k for k, array in enumerate(constants)}
    blobs = [program.code]
    table: list[Any] = []
    for entry in program.table:
        if isinstance(entry, str):
            table.append(["routine", entry])
        elif id(entry.source) in known:
            table.append(["given", known[id(entry.source)]])
        else:
            blobs.append(entry.array.tobytes())
            table.append(["constant", entry.array.dtype.str, len(blobs) - 1])
    header = {
        "key": key, "sizes": [len(blob) for blob in blobs], "table": table, "memory": program.memory,
        "callbacks": program.callbacks, "long": program.long, "text": program.text,
    }  # fmt: skip
    head = json.dumps(header).encode()
    body = len(head).to_bytes(8, "little") + head + b"".join(blobs)
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(content: bytes, key: str, constants: Sequence[Any]) -> Compiled:
    """The program in a file; raises `Damaged`."""
    start = len(MAGIC) + CHECKSUM
    body = content[start:]
    if content[: len(MAGIC)] != MAGIC or hashlib.sha256(body).digest() != content[len(MAGIC) : start]:
        raise Damaged
    try:
        length = int.from_bytes(body[:8], "little")
        header = json.loads(body[8 : 8 + length])
        if header["key"] != key:
            raise Damaged
        blobs, at = [], 8 + length
        for size in header["sizes"]:
            blobs.append(body[at : at + size])
            at += size
        table: list[Any] = []
        for kind, *what in header["table"]:
            if kind == "routine":
                table.append(what[0])
            elif kind == "given":
                table.append(Constant.of(constants[what[0]]))
            else:
                table.append(Constant(np.frombuffer(bytearray(blobs[what[1]]), np.dtype(what[0])), None))
        return Compiled(
            blobs[0], tuple(table), header["memory"], tuple(header["callbacks"]), header["long"], header["text"]
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise Damaged from error


class Entry(NamedTuple):
    """A file of the cache: where, bytes, when it was last used."""

    path: Path
    size: int
    used: float


def entries(place: Path | None = None) -> list[Entry]:
    """What is in the cache, the longest unused first."""
    place = place or folder()
    found = []
    if place is not None:
        with contextlib.suppress(OSError), os.scandir(place) as items:
            for item in items:
                if item.name.endswith(SUFFIX) or item.name.startswith(".new-"):
                    with contextlib.suppress(OSError):
                        status = item.stat(follow_symlinks=False)
                        found.append(Entry(Path(item.path), status.st_size, status.st_mtime))
    return sorted(found, key=lambda entry: entry.used)


def tidy(place: Path) -> None:
    """Remove what was unused longest, down to three quarters of the limit, if the cache is above it."""
    kept = entries(place)
    total, most = sum(entry.size for entry in kept), limit()
    if total <= most:
        return
    for entry in kept:
        if total <= 0.75 * most:
            break
        with contextlib.suppress(OSError):
            entry.path.unlink()
        total -= entry.size


def clear() -> tuple[int, int]:
    """Remove everything; how many files and bytes that was."""
    count = size = 0
    for entry in entries():
        with contextlib.suppress(OSError):
            entry.path.unlink()
            count, size = count + 1, size + entry.size
    return count, size
