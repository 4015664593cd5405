"""The user's line: which file and line outside this package made a node or met an error.

A position is kept as a code object and an instruction offset, which costs two attribute reads, and is
resolved to text only when shown.
"""

from __future__ import annotations

import contextlib
import dis
import importlib.util
import linecache
import os
import sys
from types import CodeType
from typing import NamedTuple

PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
OUTSIDE = (os.path.join("demo", ""), os.path.join("testing", "programs.py"))
"""Files of the package whose lines count as a user's (they hold programs, not machinery)."""

MACHINERY = (
    contextlib.__file__,
    *(os.path.dirname(importlib.util.find_spec(name).origin) + os.sep for name in ("numpy", "optree")),  # type: ignore[union-attr,arg-type]
)

_internal: dict[str, bool] = {}
internal_file = _internal.get
"""What is known of a file already: True, False or None; for the innermost loop of define-by-run."""


class Source(NamedTuple):
    """A place in the user's program: an instruction of a code object."""

    code: CodeType
    offset: int

    @property
    def file(self) -> str:
        return self.code.co_filename

    @property
    def function(self) -> str:
        return self.code.co_qualname if sys.version_info >= (3, 11) else self.code.co_name

    @property
    def line(self) -> int:
        """Line number of the instruction, 1-based; 0 when the code object carries none."""
        found = 0
        for start, end, line in self.code.co_lines():
            if start <= self.offset < end:
                return line or found
            found = line or found
        return found

    @property
    def text(self) -> str:
        """The source line itself, stripped; empty when the file cannot be read."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def target(self) -> str | None:
        """The name that the instruction's result is assigned to (`loss` in `loss = x * y`), if any."""
        # Inside a call the offset may be that of a cache entry after the instruction, which `dis` leaves out.
        following = next((i for i in dis.get_instructions(self.code) if i.offset > self.offset), None)
        if following is not None and following.opname in {"STORE_FAST", "STORE_NAME", "STORE_GLOBAL", "STORE_DEREF"}:
            return str(following.argval)
        return None

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


def is_internal(filename: str) -> bool:
    """Whether a file belongs to this package (its frames are not the user's)."""
    known = _internal.get(filename)
    if known is None:
        inside = filename.startswith(PACKAGE) and not filename[len(PACKAGE) :].startswith(OUTSIDE)
        # NumPy, optree and contextlib call back into Python through frames of their own.
        known = inside or any(filename.startswith(place) for place in MACHINERY)
        _internal[filename] = known
    return known


def here(depth: int = 1) -> Source | None:
    """The innermost frame outside this package, starting `depth` frames up; None if there is none."""
    frame = sys._getframe(depth)
    while frame is not None:
        code = frame.f_code
        if not is_internal(code.co_filename):
            return Source(code, frame.f_lasti)
        frame = frame.f_back  # type: ignore[assignment]
    return None


def describe(source: Source | None) -> str:
    """`file:line, in function: text` for a message; empty without a source."""
    if source is None:
        return ""
    text = source.text
    return f"{source.file}:{source.line}, in {source.function}" + (f"\n        {text}" if text else "")
