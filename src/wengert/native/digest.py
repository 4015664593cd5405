"""What a program is made of, as a number: the same graph in another process has the same digest."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Var
from ..graph.primitive import Primitive, registry
from ..graph.types import PYTHON_NUMBERS, Dim
from ..source import PACKAGE
from .loader import llvm

BUILT_IN = frozenset(id(p) for p in registry.values() if isinstance(p, Primitive))
"""The one-line declarations that come with the package. Of others a name does not tell what they compute."""


class Opaque(Exception):
    """A graph with something inside whose content cannot be told, such as a function of the user's."""


class Digest:
    """Reads graphs. `constants` lists the arrays met, in order, so that they need not be kept a second time."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256(environment())
        self.constants: list[Any] = []
        self.numbers: dict[Any, int] = {}
        self.types: dict[Any, str] = {}
        self.operations: dict[int, tuple[int, Primitive]] = {}
        self.described: dict[str, int] = {}

    def add(self, *tokens: Any) -> None:
        self.hash.update(repr(tokens).encode())

    def number(self, of: Any) -> int:
        """Edges and unknown lengths by the order in which they are met."""
        return self.numbers.setdefault(of, len(self.numbers))

    def value(self, x: Any) -> Any:
        """A parameter as something whose `repr` says all."""
        kind = x.__class__
        if x is None or x is Ellipsis or kind in (bool, int, str, bytes, float, complex):
            return x
        if kind is tuple or kind is list or isinstance(x, tuple):
            return (kind.__name__, *[self.value(item) for item in x])
        if kind is slice:
            return ("slice", self.value(x.start), self.value(x.stop), self.value(x.step))
        if kind is frozenset:
            return ("frozenset", *sorted(repr(self.value(item)) for item in x))
        if isinstance(x, np.dtype):
            return ("dtype", x.str)
        if isinstance(x, np.generic):
            return ("scalar", x.dtype.str, x.tobytes())
        if isinstance(x, Dim):
            return ("dim", self.number(x))
        if isinstance(x, Graph):
            self.graph(x)
            return "graph"
        if isinstance(x, Primitive):
            return ("primitive", self.primitive(x))
        if isinstance(x, type) and x.__module__.startswith("wengert."):
            return ("class", x.__qualname__)
        raise Opaque(repr(x))

    def primitive(self, p: Primitive) -> Any:
        known = registry.get(p.name) is type(p) or id(p) in BUILT_IN
        if not (known and type(p).__module__.startswith("wengert.")):
            raise Opaque(p.name)
        return (p.name, *[self.value(item) for item in p.key[1:]])

    def type(self, t: Any) -> Any:
        return (*[self.value(n) for n in t.shape], t.dtype.str, t.weak)

    def atom(self, atom: Any) -> Any:
        if isinstance(atom, Var):
            return self.number(atom)
        value = atom.value
        if value.__class__ in PYTHON_NUMBERS and atom.type.weak:
            return value.__class__.__name__, value
        if value is None or not isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
            raise Opaque(repr(value))
        if isinstance(value, np.ndarray) and value.ndim:
            self.constants.append(value)
            self.hash.update(np.ascontiguousarray(value).tobytes())
            return ("array", self.type(atom.type))
        return ("number", self.type(atom.type), np.asarray(value).tobytes())

    def graph(self, graph: Graph) -> None:
        self.add("inputs", *[(self.number(v), self.type(v.type)) for v in graph.inputs])
        numbers, types = self.numbers, self.types
        rows: list[Any] = []
        for node in graph.nodes:
            row = [self.operation(node.primitive)]
            for atom in node.inputs:
                number = numbers.get(atom)
                row.append(self.atom(atom) if number is None else number)
            for var in node.outputs or ():
                key = (var.shape, var.dtype, getattr(var, "weak", False))
                known = types.get(key)
                if known is None:
                    known = types[key] = repr(self.type(var.type))
                numbers[var] = len(numbers)
                row.append(known)
            rows.append(row)
        self.hash.update(repr(rows).encode())
        self.add("outputs", *[self.atom(a) for a in graph.outputs])

    def operation(self, p: Primitive) -> Any:
        """A number for an operation that holds no graph, described when first met: mostly there are few."""
        known = self.operations.get(id(p))
        if known is not None:
            return known[0]
        if p.higher_order:
            return self.primitive(p)
        text = repr(self.primitive(p))
        number = self.described.get(text)
        if number is None:
            number = self.described[text] = len(self.described)
            self.add("operation", text)
        self.operations[id(p)] = number, p
        return number


def digest_of(graph: Graph, *more: Any) -> tuple[str, list[Any]] | None:
    """The digest of a graph and of what else bears on its program, and its arrays; None if it cannot be told."""
    digest = Digest()
    try:
        digest.graph(graph)
        digest.add(*[digest.value(x) for x in more])
    except Opaque:
        return None
    return digest.hash.hexdigest(), digest.constants


def digest_of_text(text: str, *more: Any) -> str:
    """The digest of LLVM text."""
    found = hashlib.sha256(environment())
    found.update(text.encode())
    found.update(repr(more).encode())
    return found.hexdigest()


@functools.cache
def environment() -> bytes:
    """All that bears on machine code apart from the program: versions, this package's files, the processor."""
    facts = [
        sys.version, sys.implementation.cache_tag, platform.system(), np.__version__,
        version("wengert"), version("llvmlite"), files(Path(PACKAGE)), processor(),
    ]  # fmt: skip
    return hashlib.sha256(repr(facts).encode()).digest()


def version(package: str) -> str:
    """That of an installed package; nothing for one that lies about without being installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def files(folder: Path) -> list[tuple[str, int, int]]:
    """Names, sizes and times of the files that make programs, so that a changed compiler finds nothing old."""
    found = []
    for part in ("", "graph", "ops", "passes", "native", "transforms", "numpy"):
        with contextlib.suppress(OSError), os.scandir(folder / part) as entries:  # in an archive there are no files
            found += [
                (f"{part}/{entry.name}", (stat := entry.stat()).st_size, stat.st_mtime_ns)
                for entry in entries
                if entry.name.endswith((".py", ".ll"))
            ]
    return sorted(found)


def processor(read: Callable[[], str] | None = None) -> str:
    """What the processor can do. On Linux from the system, which is quicker than to ask LLVM."""
    try:
        lines = (read or _first_processor)().splitlines()
        wanted = ("vendor_id", "cpu family", "model", "flags", "Features", "CPU implementer", "CPU part")
        found = [line for line in lines if line.split(":")[0].strip() in wanted]
        if found:
            return platform.machine() + "\n".join(found)
    except OSError:
        pass
    return llvm().processor()  # type: ignore[no-any-return]


def _first_processor() -> str:
    with open("/proc/cpuinfo") as file:
        return file.read(8192).split("\n\n")[0]
