"""A traced function on its way to machine code, each stage made when first asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError, UnsupportedError
from ..graph.collector import Paused
from ..graph.graph import Graph
from ..graph.trees import flatten
from ..passes import NATIVE, optimize
from . import cache
from .digest import digest_of
from .locks import Lock
from .memory_plan import MemoryPlan
from .profile import Profile
from .program import Program


class Lowered:
    """What `f.lower(*args)` shows: the traced and the optimised graph, loop nests, LLVM text, assembly.

    `times` holds the seconds that went into its stages so far; `captured` are tensors of transforms around the
    function, the leading inputs of the graph; `donated` are the numbers of inputs that may be overwritten.
    """

    def __init__(
        self, traced: Graph, structure: Any = None, times: dict[str, float] | None = None,
        captured: Sequence[Any] = (), threads: int | None = None, donated: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self.traced = traced
        self.structure = structure
        self.times: dict[str, float] = {} if times is None else times
        self.captured = captured
        self.threads = threads
        self.donated = tuple(donated)
        self.types = [v.type for v in traced.inputs]
        self._making = Lock()
        self._graph: Graph | None = None
        self._program: Program | None = None

    @classmethod
    def of(cls, graph: Graph, *more: Any) -> Lowered:
        """That of a graph, made once; `more` as in the constructor, for the first time."""
        found: Lowered = graph.cached("lowered", lambda: cls(graph, *more))
        if more and found.structure is None:
            found.structure = more[0]
        return found

    @property
    def graph(self) -> Graph:
        """The graph after the passes."""
        with self._making:
            if self._graph is None:
                with Stopwatch(self.times, "passes"):
                    self._graph = optimize(self.traced, NATIVE)
            return self._graph

    @property
    def program(self) -> Program:
        """The machine code, made when first asked for."""
        with self._making, Paused():
            if self._program is None:
                outputs = [a.type for a in self.traced.outputs]
                found = None if cache.folder() is None else digest_of(self.traced, *self.donated)
                key, constants = found or (None, [])
                self._program = Program(
                    lambda: self.graph, self.types, outputs, key, constants, self.times, self.threads, self.donated
                )
            return self._program

    @property
    def ready(self) -> Program:
        """The machine code, with one look where it is there already."""
        return self._program or self.program

    @property
    def loops(self) -> str:
        """The loop nests as text."""
        return self.program.loops

    @property
    def llvm(self) -> str:
        """The LLVM text, before LLVM's own optimisations."""
        return self.program.llvm

    @property
    def assembly(self) -> str:
        """The machine code as text."""
        return self.program.assembly

    @property
    def callbacks(self) -> list[str]:
        """Operations that have no native code and are computed by NumPy."""
        return self.program.callbacks

    @property
    def memory(self) -> MemoryPlan:
        """The bytes that a call needs, buffer by buffer with the lines that they are for: print it.

        Example
        -------
        >>> import numpy as np, wengert as wg
        >>> print(wg.jit(lambda x: np.cumsum(x) * 2).lower(np.ones(1000)).memory)
        24,000 bytes
          arena ...
        """
        return self.program.memory_plan

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """The time of each loop nest, library call and loop on arguments of these types, by the user's lines.

        A version of the program with time stamps is compiled for it, and runs several times (once, if it prints).
        Nothing is overwritten, donated or not.

        Raises
        ------
        ShapeError, DtypeError : the arguments have other types than those that were lowered.
        """
        return self.measure(flatten((args, kwargs))[0])

    def measure(self, leaves: Sequence[Any]) -> Profile:
        """The profile for flat values."""
        if self.captured:
            raise UnsupportedError(
                "profile: the function captures tensors of a transform", "profile the whole function"
            )
        if len(leaves) != len(self.types):
            raise ShapeError(
                f"profile: {len(leaves)} arrays and numbers, but the program takes {len(self.types)}",
                "pass the arguments that were lowered, without static ones",
            )
        for k, (leaf, t) in enumerate(zip(leaves, self.types, strict=True)):
            shape, kind = np.shape(leaf), np.asarray(leaf).dtype
            if shape != t.shape:
                raise ShapeError(f"profile: input {k} has shape {shape}, but was lowered as {t}", "lower it for these")
            if not np.can_cast(kind, t.dtype, "same_kind"):
                raise DtypeError(f"profile: input {k} has dtype {kind}, but was lowered as {t}", "lower it for these")
        return self.program.profile(*fitting(leaves, self.types))

    @property
    def compiled(self) -> bool:
        """Whether there is machine code yet."""
        return self._program is not None

    @property
    def cached(self) -> bool:
        """Whether the machine code came from the cache on disk."""
        return self._program is not None and self._program.cached

    def run(self, leaves: Sequence[Any]) -> list[Any]:
        """The outputs for flat values, which are copied where they do not lie as the program wants them."""
        return self.ready(fitting(leaves, self.types))


def fitting(leaves: Sequence[Any], types: Sequence[Any]) -> list[Any]:
    """Values as contiguous arrays of the given types."""
    return [
        x if x.__class__ is np.ndarray and x.flags.c_contiguous and x.flags.aligned and x.dtype is t.dtype
        else np.require(x, t.dtype, ("C", "A")).reshape(t.shape)
        for x, t in zip(leaves, types, strict=True)
    ]  # fmt: skip


class Stopwatch:
    """Adds the seconds of a block to an entry of a dictionary."""

    def __init__(self, times: dict[str, float], stage: str) -> None:
        self.times = times
        self.stage = stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *failure: Any) -> None:
        self.times[self.stage] = self.times.get(self.stage, 0.0) + time.perf_counter() - self.start
