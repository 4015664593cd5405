"""Rules made of a user's Python functions: what they get and must return, and how one mode follows from the other.

A `Definition` is what the user wrote. `FunctionRule` applies it to flat values: it checks every result against the
function's arguments and results, and derives the mode that is not given. Forward mode only: the rule is run on
tangents without numbers, which gives a linear graph, and that is transposed. Reverse mode only: the pullback is a
linear function of cotangents, and its transpose is the derivative. (Frostig, Johnson, Maclaurin, Paszke, Radul:
Decomposing reverse-mode automatic differentiation, 2021.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import RuleDtypeError, RuleMissingError, RuleShapeError, RuleStructureError
from ..graph.graph import Graph
from ..graph.interpreter import is_traced, type_of_value
from ..graph.stage import stage
from ..graph.tensor import Tensor
from ..graph.trees import Structure, flatten, paths, subtrees, unflatten
from ..graph.types import PYTHON_NUMBERS, ArrayType, is_inexact
from ..ops.arithmetic import conj
from ..ops.control_flow import Flags
from ..ops.reduce import sum_axes
from ..source import Source, is_internal
from .linear import transpose_graph
from .vmap import Batch, batched_value

REMEMBERED = 256
"""Rules of one definition whose results' containers are remembered."""
Static = Mapping[int, Any]
"""Arguments that are no arrays, by position."""


def definition_line(fn: Any) -> Source | None:
    """Where a function of the user's is defined, as far as it is Python."""
    fn = getattr(fn, "__wrapped__", fn)
    fn = getattr(fn, "func", getattr(fn, "__func__", fn))
    code = getattr(fn, "__code__", None)
    return None if code is None or is_internal(code.co_filename) else Source(code, 0)


class Definition:
    """A function with rules. Subclasses say which there are and how they are called.

    Rules speak the language of `wg.jvp` and `wg.vjp`: containers of the arguments and results, and complex cotangents
    such that `x - lr * gradient` descends.
    """

    label: str
    has_jvp = False
    has_vjp = False
    check = True
    invent = True
    """Whether the function may be tried on made-up numbers, where a trace has none."""

    def __init__(self) -> None:
        self.checked: set[Any] = set()
        self.out_trees: dict[Any, Structure] = {}
        """Containers of the result, by rules: an interpreter may remember what an equal rule gave."""

    def value(self, *args: Any) -> Any:
        """The result."""
        raise NotImplementedError

    def jvp(self, args: Sequence[Any], static: Static, tangents: Sequence[Any]) -> Any:
        """(result, tangent of it); `tangents` are those of the arguments that are not static."""
        raise NotImplementedError

    def forward(self, args: Sequence[Any], static: Static, needed: Sequence[Any]) -> Any:
        """(result, residuals); `needed` are flags in the containers of the arguments that are not static."""
        raise NotImplementedError

    def backward(self, args: int, static: Static, residuals: Any, ct: Any) -> Any:
        """Cotangents of the arguments that are not static; `args` is the number of all arguments."""
        raise NotImplementedError

    def line(self, which: str) -> Source | None:
        """Where "jvp", "forward" or "backward" is defined."""
        return None

    def names(self) -> list[str]:
        """Names of the arguments, for messages."""
        return []


class FunctionRule:
    """A definition for arguments of one structure, as a rule on flat values."""

    def __init__(self, definition: Definition, count: int, static: Static, tree: Structure) -> None:
        self.definition = definition
        self.count = count
        self.static = static
        self.tree = tree
        self.out_tree: Structure | None = None
        """Containers of the result, known after the first run."""
        self.ready: Callable[[FunctionRule, Sequence[Any]], None] | None = None
        """Called with the values before a derivative is taken."""
        try:
            self.key: Any = (definition, count, tuple(sorted(static.items())), tree)
            hash(self.key)
        except TypeError:
            self.key = (id(self),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionRule) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return self.definition.label

    # The questions. --------------------------------------------------------------------------------

    def run(self, *values: Any) -> list[Any]:
        return self.flat(self.definition.value(*self.arguments(values)))

    def graph(self, types: Sequence[ArrayType]) -> tuple[Graph, list[Any]]:
        return stage(self.run, types, self.leaf_names(), close=True, name=self.definition.label)

    def push(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        self.prepare(values)
        if self.definition.has_jvp:
            return self.push_given(values, tangents)
        needed = [t is not None for t in tangents]
        outs, kept, rest = self.pull_given(values, needed)
        smooth = [is_inexact(type_of_value(out).dtype) for out in outs]

        def pullback(*cts: Any) -> list[Any]:
            given = iter(cts)
            found = self.back_given(kept, rest, [next(given) if s else None for s in smooth], needed)
            alive[:] = [ct is not None for ct in found]
            return [ct for ct in found if ct is not None]

        alive: list[bool] = []
        types = [strong(out) for out, s in zip(outs, smooth, strict=True) if s]
        linear = stage(pullback, types, name=f"pullback of {self.definition.label}")[0]
        found = iter(transpose_graph(linear, [t for t, a in zip(tangents, alive, strict=True) if a]))
        return outs, [next(found) if s else None for s in smooth]

    def pull(self, values: Sequence[Any], needed: Flags) -> tuple[list[Any], list[Any], Any]:
        self.prepare(values)
        if self.definition.has_vjp:
            return self.pull_given(values, needed)
        outs: list[Any] = []
        alive: list[bool] = []

        def tangents_of(*given: Any) -> list[Any]:
            moving = iter(given)
            found, tangents = self.push_given(values, [next(moving) if n else None for n in needed])
            # Where a loop in the rule computes values and tangents together, the values have no numbers.
            symbolic = any(is_traced(out) and out.interpreter is given[0].interpreter for out in found)
            outs[:] = self.run(*values) if symbolic else found
            alive[:] = [t is not None for t in tangents]
            return [t for t in tangents if t is not None]

        types = [strong(x) for x, n in zip(values, needed, strict=True) if n]
        linear, captured = stage(tangents_of, types, close=True, name=f"derivative of {self.definition.label}")
        return outs, captured, (linear, alive)

    def back(self, kept: Sequence[Any], rest: Any, cts: Sequence[Any], needed: Flags) -> list[Any]:
        if self.definition.has_vjp:
            return self.back_given(kept, rest, cts, needed)
        linear, alive = rest
        found = iter(transpose_graph(linear, [ct for ct, a in zip(cts, alive, strict=True) if a], kept))
        return [next(found) if n else None for n in needed]

    def batched(self, flags: Flags, size: Any) -> BatchedRule:
        return BatchedRule(self, tuple(flags), size)

    # What the user wrote, with its results checked. -------------------------------------------------

    def prepare(self, values: Sequence[Any]) -> None:
        if not (self.definition.has_jvp or self.definition.has_vjp):
            raise RuleMissingError(
                f"{self.definition.label} is to be differentiated, but no rule was defined for it",
                "define one: f.defjvp(rule) or f.defvjp(forward, backward)",
            )
        if self.ready is not None:
            self.ready(self, values)

    def push_given(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Results and tangents by the given forward rule."""
        what = f"the jvp rule of {self.definition.label}"
        full = [zero_of(v) if t is None else t for v, t in zip(values, tangents, strict=True)]
        result = self.definition.jvp(self.arguments(values), self.static, unflatten(self.tree, full))
        out, tangent = self.pair(result, what, "(result, tangent)", "jvp")
        outs = self.flat(out)
        assert self.out_tree is not None
        return outs, self.fitted(self.out_tree, tangent, [strong(x) for x in outs], f"{what}: tangent", "result", "jvp")

    def pull_given(self, values: Sequence[Any], needed: Flags) -> tuple[list[Any], list[Any], Any]:
        """Results, residuals and what surrounds them, by the given forward part of the reverse rule."""
        result = self.definition.forward(self.arguments(values), self.static, unflatten(self.tree, list(needed)))
        what = f"the forward part of the vjp rule of {self.definition.label}"
        out, residuals = self.pair(result, what, "(result, residuals)", "forward")
        outs = self.flat(out)
        leaves, structure = flatten(residuals)
        kept = [is_value(x) for x in leaves]
        others = [None if k else x for x, k in zip(leaves, kept, strict=True)]
        rest = (structure, kept, others, [strong(x) for x in values], [strong(x) for x in outs])
        return outs, [x for x, k in zip(leaves, kept, strict=True) if k], rest

    def back_given(self, kept: Sequence[Any], rest: Any, cts: Sequence[Any], needed: Flags) -> list[Any]:
        """Cotangents by the given backward part of the reverse rule."""
        structure, flags, others, types, out_types = rest
        given = iter(kept)
        residuals = unflatten(structure, [next(given) if k else x for k, x in zip(flags, others, strict=True)])
        full = [zeros(t) if ct is None else conj(ct) for ct, t in zip(cts, out_types, strict=True)]
        ct = unflatten(self.out_tree, full)  # type: ignore[arg-type]
        found = self.definition.backward(self.count, self.static, residuals, ct)
        what = f"the vjp rule of {self.definition.label}"
        arguments = self.tree.num_children
        if not isinstance(found, (tuple, list)) or len(found) != arguments:
            shape = f"{len(found)} values" if isinstance(found, (tuple, list)) else type(found).__name__
            raise RuleStructureError(
                f"{what} returned {shape} for {arguments} argument{'s' if arguments > 1 else ''}",
                "return a tuple with one cotangent per argument (None for one that is zero)",
                self.definition.line("backward"),
            )  # fmt: skip
        result = self.fitted(self.tree, tuple(found), types, f"{what}: cotangent", "argument", "backward")
        return [conj(c) if n and c is not None else None for c, n in zip(result, needed, strict=True)]

    def pair(self, result: Any, what: str, parts: str, which: str) -> tuple[Any, Any]:
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise RuleStructureError(
                f"{what} returned {'a ' + type(result).__name__ if result is not None else 'None'}"
                + (f" of {len(result)}" if isinstance(result, (tuple, list)) else ""),
                f"return {parts}", self.definition.line(which),
            )  # fmt: skip
        return result[0], result[1]

    def flat(self, out: Any) -> list[Any]:
        """The leaves of a result; its containers must be the same every time."""
        leaves, structure = flatten(out)
        if self.out_tree is not None and structure != self.out_tree:
            raise RuleStructureError(
                f"{self.definition.label} and its rule return different containers: {self.out_tree} and {structure}",
                "return the same result from the function and its rules", self.definition.line("any"),
            )  # fmt: skip
        if self.out_tree is None:
            self.out_tree = structure
            if len(self.definition.out_trees) >= REMEMBERED:
                self.definition.out_trees.clear()
            self.definition.out_trees[self.key] = structure
        return [x if is_value(x) else np.asarray(x)[()] for x in leaves]

    def fitted(
        self, tree: Structure, given: Any, types: Sequence[ArrayType], what: str, like: str, which: str
    ) -> list[Any]:
        """The leaves of a derivative, which must be like the values they belong to; None for those that are zero."""
        plain = type(given) is tuple and is_flat(tree) and len(given) == tree.num_leaves
        leaves = list(given) if plain else subtrees(tree, given)
        if leaves is None:
            raise RuleStructureError(
                f"{what}s have other containers than the {like}s\n  expected: {tree}\n  found:    {flatten(given)[1]}",
                f"return the containers of the {like}s, None for what is zero", self.definition.line(which),
            )  # fmt: skip
        results: list[Any] = []
        for k, (leaf, t) in enumerate(zip(leaves, types, strict=True)):
            if leaf is None or not is_inexact(t.dtype):
                results.append(None)
                continue
            if hasattr(leaf, "dtype") and leaf.dtype == t.dtype and leaf.shape == t.shape:
                results.append(leaf)
                continue
            path = paths(tree)[k]
            if not is_value(leaf) and leaf.__class__ not in PYTHON_NUMBERS:
                raise RuleStructureError(
                    f"{what}{path} is a {type(leaf).__name__}, the {like} is {t}", "return an array, or None for zero",
                    self.definition.line(which),
                )  # fmt: skip
            found = type_of_value(leaf)
            if found.shape != t.shape:
                raise RuleShapeError(
                    f"{what}{path} is {found}, the {like} is {t}",
                    f"give it the shape {t.shape}",
                    self.definition.line(which),
                )
            if leaf.__class__ in PYTHON_NUMBERS and (leaf.__class__ is not complex or t.dtype.kind == "c"):
                leaf = t.dtype.type(leaf)
            elif found.dtype != t.dtype:
                raise RuleDtypeError(
                    f"{what}{path} is {found}, the {like} is {t}",
                    f"convert it: .astype({t.dtype.name!r})",
                    self.definition.line(which),
                )
            results.append(leaf)
        return results

    def arguments(self, values: Sequence[Any]) -> list[Any]:
        """All arguments, with the static ones in their places."""
        moving = iter(unflatten(self.tree, list(values)))
        return [self.static[k] if k in self.static else next(moving) for k in range(self.count)]

    def leaf_names(self) -> list[str]:
        roots = [n for k, n in enumerate(self.definition.names()) if k not in self.static]
        children = self.tree.children()
        roots += [f"arg{k}" for k in range(len(roots), len(children))]
        return [name for root, child in zip(roots, children, strict=False) for name in paths(child, root)]


class BatchedRule:
    """The rule of a function on batches, by another rule on values that carry a batch axis."""

    def __init__(self, inner: Any, flags: tuple[bool, ...], size: Any) -> None:
        self.inner = inner
        self.flags = flags
        self.size = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BatchedRule) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.inner, self.flags, self.size))

    def __repr__(self) -> str:
        return f"vmap of {self.inner!r}"

    def lifted(self, batch: Batch, values: Sequence[Any], flags: Flags) -> list[Any]:
        return [Tensor(batch, v, 0) if f and v is not None else v for v, f in zip(values, flags, strict=True)]

    def lowered(self, batch: Batch, outs: Sequence[Any]) -> list[Any]:
        """Results, all with the batch axis in front."""
        batch.check_captured([out for out in outs if not mine(batch, out)])
        return [None if out is None else batched_value(batch, out) for out in outs]

    def run(self, *values: Any) -> list[Any]:
        with Batch(self.size) as batch:
            return self.lowered(batch, self.inner.run(*self.lifted(batch, values, self.flags)))

    def graph(self, types: Sequence[ArrayType]) -> tuple[Graph, list[Any]]:
        return stage(self.run, types, close=True, name=repr(self))

    def push(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        with Batch(self.size) as batch:
            outs, moved = self.inner.push(
                self.lifted(batch, values, self.flags), self.lifted(batch, tangents, self.flags)
            )
            return self.lowered(batch, outs), self.lowered(batch, moved)

    def pull(self, values: Sequence[Any], needed: Flags) -> tuple[list[Any], list[Any], Any]:
        with Batch(self.size) as batch:
            outs, kept, rest = self.inner.pull(self.lifted(batch, values, self.flags), needed)
            flags = [mine(batch, x) for x in kept]
            below = [batched_value(batch, x) if f else batch.lower(x) for x, f in zip(kept, flags, strict=True)]
            return self.lowered(batch, outs), below, (rest, flags)

    def back(self, kept: Sequence[Any], rest: Any, cts: Sequence[Any], needed: Flags) -> list[Any]:
        inner, flags = rest
        with Batch(self.size) as batch:
            given = self.lifted(batch, cts, [True] * len(cts))
            found = self.inner.back(self.lifted(batch, kept, flags), inner, given, needed)
            whole = [None if ct is None else batched_value(batch, ct) for ct in found]
        # What all lanes share gets the sum of their cotangents.
        return [ct if ct is None or f else sum_axes(ct, (0,)) for ct, f in zip(whole, self.flags, strict=True)]

    def batched(self, flags: Flags, size: Any) -> BatchedRule:
        return BatchedRule(self, tuple(flags), size)


@functools.lru_cache(maxsize=1024)
def is_flat(tree: Structure) -> bool:
    """Whether a structure is a tuple of leaves, as most arguments are."""
    return tree.type is tuple and all(child.is_leaf() for child in tree.children())


def mine(batch: Batch, value: Any) -> bool:
    return is_traced(value) and value.interpreter is batch


def is_value(x: Any) -> bool:
    """Whether something is an array, a number of NumPy, or a tensor."""
    return is_traced(x) or isinstance(x, (np.ndarray, np.generic))


def strong(value: Any) -> ArrayType:
    """The type of a value as an array has it."""
    if value.__class__ is np.ndarray or value.__class__ is np.float64:
        return ArrayType(value.shape, value.dtype)
    return type_of_value(value)._replace(weak=False)


def zeros(t: ArrayType) -> Any:
    """The zero tangent or cotangent of a type, which is all that integers have."""
    return np.zeros(t.shape, t.dtype)[()]


def zero_of(value: Any) -> Any:
    return zeros(strong(value))
