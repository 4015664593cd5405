"""`jit`: functions compiled to native programs, one for each combination of argument types."""

from __future__ import annotations

import functools
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from types import MethodType
from typing import Any

import numpy as np

from ..errors import DtypeError
from ..graph.graph import Graph
from ..graph.interpreter import type_of_value
from ..graph.stage import evaluate
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..graph.types import PYTHON_NUMBERS, WEAK_SAMPLES, ArrayType
from ..passes import NATIVE, optimize
from ..settings import settings, unusual
from ..transforms.trace import trace
from . import cache, entry
from .digest import digest_of
from .program import Program

ndarray = np.ndarray
PYTHON = frozenset(PYTHON_NUMBERS)


class Lowered:
    """What `f.lower(*args)` shows: the traced and the optimised graph, loop nests, LLVM text, assembly.

    `times` holds the seconds that went into its stages so far.
    """

    def __init__(self, fn: Callable[..., Any], args: Any, kwargs: Any) -> None:
        self.times: dict[str, float] = {}
        with self._timed("trace"):
            self.traced = trace(fn, *args, **kwargs)
        self._making = threading.RLock()
        self._graph: Graph | None = None
        self._program: Program | None = None
        assert self.traced.out_tree is not None
        self.structure = self.traced.out_tree
        self.types = [v.type for v in self.traced.inputs]
        self.names = [getattr(v, "name", None) or f"argument {k}" for k, v in enumerate(self.traced.inputs)]

    def _timed(self, stage: str) -> Any:
        return Stopwatch(self.times, stage)

    @property
    def graph(self) -> Graph:
        """The graph after the passes."""
        with self._making:
            if self._graph is None:
                with self._timed("passes"):
                    self._graph = optimize(self.traced, NATIVE)
            return self._graph

    @property
    def program(self) -> Program:
        """The machine code, made when first asked for."""
        with self._making:
            if self._program is None:
                outputs = [a.type for a in self.traced.outputs]
                found = None if cache.folder() is None else digest_of(self.traced)
                key, constants = found or (None, [])
                self._program = Program(lambda: self.graph, self.types, outputs, key, constants, self.times)
            return self._program

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
        return self.program.assembly

    @property
    def callbacks(self) -> list[str]:
        """Operations that have no native code and are computed by NumPy."""
        return self.program.callbacks


class Stopwatch:
    """Adds the seconds of a block to an entry of a dictionary."""

    def __init__(self, times: dict[str, float], stage: str) -> None:
        self.times = times
        self.stage = stage

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *failure: Any) -> None:
        self.times[self.stage] = self.times.get(self.stage, 0.0) + time.perf_counter() - self.start


class Jitted(entry.Native):  # type: ignore[misc]
    """A compiled function; made by `jit`.

    Where `native.entry` can, calls do not come by here: `__call__` does those that meet new types, tensors,
    containers that are no plain ones, or arrays that are to be copied first.
    """

    def __init__(self, fn: Callable[..., Any], static_argnames: Sequence[str]) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.static = tuple(static_argnames)
        self._signature = inspect.signature(fn) if self.static else None
        self._known: dict[Any, Lowered] = {}
        self._records: list[entry.Record] = []
        self._forms: set[Any] = set()
        self._adding = threading.Lock()
        for name in self.static:
            if self._signature is not None and name not in self._signature.parameters:
                raise TypeError(f"jit: {fn!r} has no parameter {name!r}, which static_argnames names")

    def _split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, Any]:
        """Arguments without the static ones by name, the static ones as a key, and the function of the others."""
        assert self._signature is not None
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        fixed = {name: bound.arguments[name] for name in self.static if name in bound.arguments}
        rest = {name: value for name, value in bound.arguments.items() if name not in fixed}
        key = tuple(sorted(fixed.items()))
        signature, fn = self._signature, self.fn

        def with_static(*a: Any, **k: Any) -> Any:
            whole = inspect.BoundArguments(signature, dict.fromkeys(signature.parameters))
            values = {**dict(zip(rest, a, strict=True)), **fixed}
            given = {name: values[name] for name in signature.parameters if name in values}
            whole.arguments = given
            return fn(*whole.args, **whole.kwargs)

        functools.update_wrapper(with_static, fn)
        with_static.__dict__.pop("__wrapped__", None)
        return rest, key, with_static

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Lowered, list[Any], bool]:
        """The program for these arguments, their leaves, and whether one is a tensor."""
        static: Any = ()
        fn = self.fn
        if self._signature is not None:
            rest, static, fn = self._split(args, kwargs)
            args, kwargs = tuple(rest.values()), {}
        leaves, structure = flatten((args, kwargs))
        keys: list[Any] = [structure, static, settings.strong_zero, settings.degenerate]
        traced = False
        for k, leaf in enumerate(leaves):
            kind = leaf.__class__
            if kind is ndarray:
                if not leaf.dtype.isnative:
                    leaf = leaves[k] = leaf.astype(leaf.dtype.newbyteorder("="))
                keys.append((leaf.shape, leaf.dtype))
            elif kind in PYTHON:
                keys.append(kind)
            elif kind is Tensor:
                traced = True
                keys.append(leaf.type)
            else:
                leaf = leaves[k] = np.asarray(leaf)
                keys.append((leaf.shape, leaf.dtype))
        key = tuple(keys)
        found = self._known.get(key)
        if found is None:
            types = [type_of_value(leaf) for leaf in leaves]
            for t in types:
                if t.dtype.kind not in "biufc":
                    raise DtypeError(
                        f"jit: an argument is {t}", "pass numbers; name other arguments in static_argnames"
                    )
            abstract_args, abstract_kwargs = unflatten(structure, [_like(t) for t in types])
            found = self._known[key] = Lowered(fn, abstract_args, abstract_kwargs)
        return found, leaves, traced

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lowered, leaves, traced = self._find(args, kwargs)
        if traced:
            return unflatten(lowered.structure, evaluate(lowered.traced, *leaves))
        program = lowered._program or lowered.program
        if entry.available and not unusual.value and len(self._records) < entry.MOST:
            self._add_record(lowered, args, kwargs, leaves)
        arrays = [
            x if x.__class__ is ndarray and x.flags.c_contiguous and x.flags.aligned
            else np.require(x, t.dtype, ("C", "A")).reshape(t.shape)
            for x, t in zip(leaves, program.inputs, strict=True)
        ]  # fmt: skip
        return unflatten(lowered.structure, program(arrays))

    def _add_record(self, lowered: Lowered, args: Any, kwargs: Any, leaves: Sequence[Any]) -> None:
        """Let the next call of this form go straight into the program."""
        form = (id(lowered), len(args), tuple(kwargs), tuple([leaf.__class__ for leaf in leaves]))
        if form in self._forms:
            return
        with self._adding:
            self._forms.add(form)
            given, names = [*args, *kwargs.values()], list(kwargs)
            try:
                first = self._first_leaves(args, kwargs)
                record = entry.Record(lowered.program, given, names, first, len(leaves), lowered.structure)
            except entry.Unfit:
                return
            self._records.append(record)
            entry.install(self, record, _by_python)

    def _first_leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | None]:
        """For each argument of a call the number of its first leaf; None for static ones."""
        if self._signature is None:
            order = [*range(len(args)), *[len(args) + list(kwargs).index(name) for name in sorted(kwargs)]]
        else:
            names = [*list(self._signature.parameters)[: len(args)], *kwargs]
            places = {name: k for k, name in enumerate(names)}
            kinds = {p.kind for p in self._signature.parameters.values()}
            if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
                raise entry.Unfit
            rest, _, _ = self._split(args, kwargs)
            order = [places[name] for name in rest if name in places]
        given = [*args, *kwargs.values()]
        first: list[int | None] = [None] * len(given)
        count = 0
        for place in order:
            first[place] = count
            count += len(flatten(given[place])[0])
        return first

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Graph, loop nests, LLVM text and assembly for arguments of these types."""
        return self._find(args, kwargs)[0]

    def __repr__(self) -> str:
        return f"jit({self.fn!r})"

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else MethodType(self, owner)


_by_python = Jitted.__call__
entry.enable(Jitted)


def _like(t: ArrayType) -> Any:
    """Something of a type, to trace with: a Python number, or an array without memory of its own."""
    return WEAK_SAMPLES[t.dtype.kind] if t.weak else np.broadcast_to(np.zeros((), t.dtype), t.shape)


def jit(fn: Callable[..., Any] | None = None, *, static_argnames: str | Sequence[str] = ()) -> Any:
    """`fn` compiled: traced once for each combination of argument types, optimised, and run as machine code.

    Parameters
    ----------
    fn : a function of arrays in any containers, written in NumPy.
    static_argnames : parameters that are no arrays; each of their values (hashable) gets a program of its own.

    Returns
    -------
    A function of the same arguments, NumPy in, NumPy out. In another transform (`grad(jit(f))`) its graph takes
    part like the function itself. `f.lower(*args)` shows the graph, the loop nests and the machine code.

    Raises
    ------
    ConcretizationError : the function asks for a number (`if x > 0`), which a trace does not have.
    IndexOutOfBoundsError : as without `jit`, with the line of the operation.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.jit(lambda x: np.sum(x**2))(np.arange(3.0))
    np.float64(5.0)
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if fn is None:
        return lambda f: Jitted(f, names)
    return Jitted(fn, names)
