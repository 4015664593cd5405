"""`jit`: functions compiled to native programs, one for each combination of argument types."""

from __future__ import annotations

import functools
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from types import CodeType, MethodType
from typing import Any

import numpy as np

from ..errors import DonationError, DtypeError, StaticArgumentError, UnsupportedError
from ..graph.graph import Graph
from ..graph.interpreter import bind, state, type_of_value
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import flatten, paths, unflatten
from ..graph.types import PYTHON_NUMBERS, WEAK_SAMPLES, ArrayType
from ..settings import Settings, settings, unusual
from ..source import Source, here
from ..transforms.trace import argument_names
from . import entry
from .branches import Tree
from .calls import as_call
from .donation import Donation
from .history import Chapter, Form, History, reason
from .locks import Lock
from .lowered import Lowered, Stopwatch
from .profile import Profile

ndarray = np.ndarray
PYTHON = frozenset(PYTHON_NUMBERS)
SETTINGS = tuple(name for name in Settings.__annotations__)
made: Counter[CodeType] = Counter()
"""How often `jit` was called for a piece of code."""


class Jitted(entry.Native):  # type: ignore[misc]
    """A compiled function; made by `jit`.

    Where `native.entry` can, calls do not come by here: `__call__` does those that meet new types, tensors,
    containers that are no plain ones, or arrays that are to be copied first.
    """

    def __init__(self, fn: Callable[..., Any], static_argnames: Sequence[str], branches: int = 0,
                 threads: int | None = None, donate: Sequence[str | int] = ()) -> None:  # fmt: skip
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.static = tuple(static_argnames)
        self.branches = branches
        self.threads = threads
        self.donate = tuple(donate)
        self._donation = Donation(fn, self.donate, self.static) if self.donate else None
        self._signature = inspect.signature(fn) if self.static else None
        self._known: dict[Any, Lowered | Tree] = {}
        self._chapters: list[Chapter] = []
        self._derived: dict[str, Jitted] = {}
        self._records: list[entry.Record] = []
        self._made_for: dict[Any, list[entry.Record]] = {}
        self._retired: list[entry.Record] = []
        self._forms: set[Any] = set()
        self._adding = Lock()
        if (code := getattr(fn, "__code__", None)) is not None:
            made[code] += 1
        for name in self.static:
            if self._signature is not None and name not in self._signature.parameters:
                raise StaticArgumentError(
                    f"jit: {fn!r} has no parameter {name!r}, which static_argnames names",
                    f"choose from {', '.join(self._signature.parameters)}",
                )

    def _split(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Any]:
        """Arguments without the static ones and the static ones, by name, and the function of the others."""
        assert self._signature is not None
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        fixed = {name: bound.arguments[name] for name in self.static if name in bound.arguments}
        rest = {name: value for name, value in bound.arguments.items() if name not in fixed}
        signature, fn = self._signature, self.fn

        def with_static(*a: Any, **k: Any) -> Any:
            whole = inspect.BoundArguments(signature, dict.fromkeys(signature.parameters))
            values = {**dict(zip(rest, a, strict=True)), **fixed}
            given = {name: values[name] for name in signature.parameters if name in values}
            whole.arguments = given
            return fn(*whole.args, **whole.kwargs)

        functools.update_wrapper(with_static, fn)
        with_static.__dict__.pop("__wrapped__", None)
        return rest, fixed, with_static

    def _find(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, list[Any], bool]:
        """What was made for arguments of these types, their leaves, and whether one is a tensor."""
        fixed: dict[str, Any] = {}
        fn, names = self.fn, None
        if self._signature is not None:
            rest, fixed, fn = self._split(args, kwargs)
            args, kwargs, names = tuple(rest.values()), {}, list(rest)
        leaves, structure = flatten((args, kwargs))
        keys: list[Any] = [structure, tuple(sorted(fixed.items()))]
        keys += [getattr(settings, name) for name in SETTINGS]
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
                t = leaf.type
                keys.append(type(WEAK_SAMPLES[t.dtype.kind]) if t.weak else (t.shape, t.dtype))
            else:
                leaf = leaves[k] = np.asarray(leaf)
                keys.append((leaf.shape, leaf.dtype))
        key = tuple(keys)
        try:
            found = self._known.get(key)
        except TypeError as error:
            raise unhashable(fixed) or error from error
        if found is None:
            with self._adding:
                found = self._known.get(key) or self._make(key, fn, names, args, kwargs, leaves, structure, fixed)
        return found, leaves, traced

    def _make(
        self, key: Any, fn: Any, names: Any, args: Any, kwargs: Any, leaves: Any, structure: Any, fixed: Any
    ) -> Any:
        """Trace for new types, and remember why."""
        types = [type_of_value(leaf) for leaf in leaves]
        if names is None:
            labels = argument_names(fn, args, kwargs)
        else:
            labels = [label for name, arg in zip(names, args, strict=True) for label in paths(flatten(arg)[1], name)]
        for t, label in zip(types, labels, strict=True):
            if t.dtype.kind not in "biufc":
                raise DtypeError(
                    f"jit: the argument {label} is {t}", "pass numbers; name other arguments in static_argnames"
                )
        found: Lowered | Tree
        captured: list[Any] = []
        if self.branches:
            found = Tree(fn, structure, types, labels, self.branches)
        else:
            times: dict[str, float] = {}
            with Stopwatch(times, "trace"):
                graph, captured, out = closed(fn, structure, types, labels)
            if self._donation is None or captured:
                found = Lowered.of(graph, out, times, captured, self.threads)
            else:  # a program of its own: in other transforms the graph's must not overwrite anything
                given = self._donation.given(args, kwargs) if names is None else list(zip(names, args, strict=True))
                found = Lowered(graph, out, times, captured, self.threads, self._donation.leaves(given))
        form = Form(structure, tuple(labels), tuple(types), fixed, {name: getattr(settings, name) for name in SETTINGS})
        why = reason(form, [chapter.form for chapter in self._chapters])
        self._chapters.append(Chapter(form, why, here(), found))
        if not captured:  # what it captures is other values next time
            self._known[key] = found
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._donation is not None:  # such calls come by here each time, since the arrays are to be looked at
            rest = None if self._signature is None else self._split(args, kwargs)[0].items()
            self._donation.check(self._donation.given(args, kwargs) if rest is None else rest)
        found, leaves, traced = self._find(args, kwargs)
        if self.branches:
            before = found.straight
            result = found(leaves, traced)
            if found.straight is not before:
                self._retire(before)
            if found.straight is not None and not traced and entry.available and not unusual.value:
                self._add_record(found.straight, args, kwargs, leaves)
            return result
        if state.watch is not None:  # a watch wants to see every operation
            return unflatten(found.structure, evaluate(found.traced, *found.captured, *leaves))
        if traced or found.captured:
            outs = bind(as_call(found.traced), *found.captured, *leaves)
            return unflatten(found.structure, outs)
        if self._donation is None and entry.available and not unusual.value:
            self._add_record(found, args, kwargs, leaves)
        return unflatten(found.structure, found.run(leaves))

    def _add_record(self, found: Lowered, args: Any, kwargs: Any, leaves: Sequence[Any]) -> None:
        """Let the next call of this form go straight into the program."""
        form = (found, len(args), tuple(kwargs), tuple([leaf.__class__ for leaf in leaves]))
        if form in self._forms or len(self._records) >= entry.MOST:
            return
        with self._adding:
            if form in self._forms:
                return
            self._forms.add(form)
            first = self._first_leaves(args, kwargs)
            if first is not None:
                given = [*args, *kwargs.values()]
                record = entry.try_record(self, found.ready, given, list(kwargs), first, len(leaves), found.structure)
                if record is not None:
                    self._made_for.setdefault(found, []).append(record)

    def _retire(self, lowered: Lowered | None) -> None:
        """Take away the records of a program that has been replaced; they stay where native code has their address."""
        with self._adding:
            for record in self._made_for.pop(lowered, []):
                record.retire()
                self._records.remove(record)
                self._retired.append(record)

    def _first_leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[int | None] | None:
        """For each argument of a call the number of its first leaf, None for static ones; None if that is not told."""
        if self._signature is None:
            order = [*range(len(args)), *[len(args) + list(kwargs).index(name) for name in sorted(kwargs)]]
        else:
            kinds = {p.kind for p in self._signature.parameters.values()}
            if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
                return None
            names = [*list(self._signature.parameters)[: len(args)], *kwargs]
            places = {name: k for k, name in enumerate(names)}
            rest, _, _ = self._split(args, kwargs)
            order = [places[name] for name in rest if name in places]
        given = [*args, *kwargs.values()]
        first: list[int | None] = [None] * len(given)
        count = 0
        for place in order:
            first[place] = count
            count += len(flatten(given[place])[0])
        return first

    def compiled_with(self, key: str, transform: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Jitted:
        """A transform of the function, compiled as it is: what `grad` and `vmap` of it return (made once for a key)."""
        with self._adding:
            found = self._derived.get(key)
            if found is None:
                found = self._derived[key] = Jitted(transform(self.fn), self.static, self.branches, self.threads)
            return found

    def lower(self, *args: Any, **kwargs: Any) -> Lowered:
        """Graph, loop nests, LLVM text and assembly for arguments of these types.

        Raises
        ------
        UnsupportedError : with `branches=True` there are several graphs.
        """
        if self.branches:
            raise UnsupportedError(
                "lower of a function whose branches are compiled one by one", "look at f.explain(), or use wg.cond"
            )
        return self._find(args, kwargs)[0]  # type: ignore[no-any-return]

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """The time of each loop nest, library call, loop and callback of a call, by the user's lines: print it.

        A version of the program with time stamps is compiled for it and runs several times; a program that prints runs
        once. Calls of the function itself are no slower for it. The result has `seconds`, and `parts` with the same
        as data.

        Raises
        ------
        UnsupportedError : with `branches=True`, or for values of another transform.

        Example
        -------
        >>> import numpy as np, wengert as wg
        >>> f = wg.jit(lambda x: np.sum(np.tanh(x @ x)))
        >>> profile = f.profile(np.ones((100, 100)))
        >>> sorted(part.what for part in profile.parts)
        ['dgemm', 'loops']
        """
        if self.branches:
            raise UnsupportedError(
                "profile of a function whose branches are compiled one by one", "profile a part of it, or use wg.cond"
            )
        found, leaves, traced = self._find(args, kwargs)
        if traced:
            raise UnsupportedError("profile of values of another transform", "profile the whole function, on arrays")
        return found.measure(leaves)  # type: ignore[no-any-return]

    def explain(self) -> History:
        """Why calls so far traced or compiled (the argument that differed), and where the time went: print it.

        Example
        -------
        >>> import numpy as np, wengert as wg
        >>> f = wg.jit(lambda x, a: x * a)
        >>> _ = f(np.ones(3), 2.0), f(np.ones(3), 3.0), f(np.ones(4), 2.0)
        >>> print(f.explain())
        <lambda>: traced twice, compiled twice, read from disk never
        1. (x: f64[3], a: a Python float)
            because it was called for the first time at ...
            took ... ms: trace ... ms, passes ... ms, lowering ... ms, LLVM ... ms, loading ... ms
        2. (x: f64[4], a: a Python float)
            because x is f64[4], was f64[3] at ...
            took ...
        """
        code = getattr(self.fn, "__code__", None)
        name = getattr(self.fn, "__name__", repr(self.fn))
        return History(
            name, self._chapters, made[code] if code is not None else 1, str(Source(code, 0)) if code else ""
        )

    def __repr__(self) -> str:
        return f"jit({self.fn!r})"

    def __reduce__(self) -> Any:
        """For pickle: by name where the function is found under its own name, as those with a decorator are."""
        found: Any = sys.modules.get(self.__module__)
        for name in getattr(self, "__qualname__", "").split("."):
            found = getattr(found, name, None)
        return self.__qualname__ if found is self else (Jitted, self._made_of)

    @property
    def _made_of(self) -> tuple[Any, ...]:
        return self.fn, self.static, self.branches, self.threads, self.donate

    def __copy__(self) -> Jitted:
        return self

    def __deepcopy__(self, memo: Any) -> Jitted:
        return self  # as functions are

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else MethodType(self, owner)


entry.enable(Jitted)


def unhashable(fixed: dict[str, Any]) -> StaticArgumentError | None:
    """The error for a static argument whose value cannot be looked up."""
    for name, value in fixed.items():
        try:
            hash(value)
        except TypeError:
            kind = type(value).__name__
            return StaticArgumentError(
                f"jit: the static argument {name} is of type {kind}, which cannot be hashed, so that no program can be "
                "found by it",
                "pass a tuple in place of a list, or an array as an ordinary argument",
            )
    return None


def closed(
    fn: Callable[..., Any], structure: Any, types: Sequence[ArrayType], names: Sequence[str]
) -> tuple[Graph, list[Any], Any]:
    """The graph of a function, what it captures of transforms around it, and the containers of its results.

    The captured tensors are the leading inputs of the graph.
    """
    out: Any = None

    def flat(*tensors: Any) -> list[Any]:
        nonlocal out
        args, kwargs = unflatten(structure, tensors)
        outputs, out = flatten(fn(*args, **kwargs))
        return outputs

    graph, captured = stage(flat, types, names, close=True, name=getattr(fn, "__name__", "graph"))
    return graph.replace(in_tree=None if captured else structure, out_tree=out), captured, out


def jit(
    fn: Callable[..., Any] | None = None, *, static_argnames: str | Sequence[str] = (), branches: bool | int = False,
    threads: int | None = None, donate: str | int | Sequence[str | int] = (),
) -> Any:  # fmt: skip
    """`fn` compiled: traced once for each combination of argument types, optimised, and run as machine code.

    Parameters
    ----------
    fn : a function of arrays in any containers, written in NumPy.
    static_argnames : parameters that are no arrays; each of their values (hashable) gets a program of its own.
    branches : let Python's `if`, `while`, `and`, `or` ask for traced values. The program is then split there: the
        trace follows the actual value, the other branch is traced when a call first takes it, and a call runs the
        compiled pieces one after the other. A number allows that many pieces (True: 200) for each combination of
        types; a function that needs more is evaluated without compiling, with a `BranchLimitWarning`.
    threads : how many threads may work on large loops. By default `WENGERT_THREADS` of the environment, or as many as
        there are processors that this process may run on. Results have the same bits for any number.
    donate : parameters, by name or position, whose arrays the caller needs no more: a result of the same shape and
        dtype is written into the memory of a donated array, in place where the program allows, and that array is
        returned. So `x = step(x)` needs no second array. Whoever reads a donated array afterwards finds something else
        in it. Inside other transforms nothing is overwritten. Such calls take some 20 µs more.

    Returns
    -------
    A function of the same arguments, NumPy in, NumPy out. In another transform (`grad(jit(f))`) it is one operation,
    whose derivatives and batches are compiled too. Arrays that `fn` captures are constants of the program.
    `f.lower(*args)` shows the graph, the loop nests and the machine code; `f.explain()` why it was traced again.

    Raises
    ------
    ConcretizationError : the function asks for a number (`if x > 0`), which a trace does not have.
    StaticArgumentError : a static argument does not exist, or its value cannot be hashed.
    DonationError : a donated parameter does not exist; or an array of its is read-only, not contiguous, shares memory
        with another argument, or is no array.
    IndexOutOfBoundsError : as without `jit`, with the line of the operation.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.jit(lambda x: np.sum(x**2))(np.arange(3.0))
    np.float64(5.0)
    >>> wg.jit(lambda x: x if x > 0 else -x, branches=True)(-2.0)
    np.float64(2.0)
    """
    names = (static_argnames,) if isinstance(static_argnames, str) else tuple(static_argnames)
    if fn is not None and not callable(fn):
        raise TypeError(f"jit compiles a function, not {fn!r}; options are given by name")
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int)):
        raise TypeError(f"jit: threads={threads!r}; give a whole number, or None for all processors")
    if threads is not None and threads < 1:
        raise ValueError(f"jit: {threads} threads; there is at least 1")
    donated = (donate,) if isinstance(donate, (str, int)) else tuple(donate)
    if donated and branches:
        raise DonationError(
            "jit: donate of a function whose branches are compiled one by one", "use wg.cond, or do not donate"
        )
    pieces = 200 if branches is True else int(branches)
    if fn is None:
        return lambda f: Jitted(f, names, pieces, threads, donated)
    return Jitted(fn, names, pieces, threads, donated)
