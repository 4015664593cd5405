"""Where the first NaN or infinity comes from: `nans()` raises there, `trace_nan(f)` runs on and reports it.

A `Watch` stands beside the interpreters of a thread. While one is set, `bind`, `evaluate`, the backward walk and
compiled functions (which are then replayed node by node) show it every result; without one they never look.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import NonFiniteError
from ..graph.interpreter import bind, is_traced, type_of_value, watching
from ..graph.nodes import Node
from ..graph.primitive import Primitive
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..graph.types import is_inexact, type_of
from ..ops.families import vocabulary
from ..source import Source, describe, here
from ..transforms.trace import argument_names


class NonFinite:
    """The operation that made a NaN or an infinity of finite numbers. `str` gives the whole story.

    Attributes
    ----------
    operation : its name. operands : their values, where known. value : what it made.
    derivative : whether that was in a derivative and not in a value.
    index : place of the first such element in `value`. source : the user's line.
    """

    def __init__(self, operation: str, operands: Sequence[Any], value: Any, derivative: bool, source: Source | None,
                 rule: str = "", story: str = "", before: NonFinite | None = None) -> None:  # fmt: skip
        self.operation = operation
        self.operands = tuple(operands)
        self.value = np.asarray(value)
        self.derivative = derivative
        self.source = source
        self.rule = rule
        self.story = story
        self.before = before
        self.index = first_bad(self.value)

    @property
    def element(self) -> Any:
        """The first element that is not finite."""
        return self.value[self.index]

    def headline(self) -> str:
        """What was made of what."""
        if not self.operands and not self.rule:
            at = f" at {list(self.index)}" if self.index else ""
            return f"the argument {self.operation} holds {text_of(self.element)}{at}"
        operands = [np.asarray(x) for x in self.operands]
        what = "a NaN" if np.isnan(self.element) else f"an infinity ({self.element})"
        place = f", element {list(self.index)} of {type_of(self.value)}" if self.index else ""
        if self.story:
            return f"{what} in the derivative of {self.operation}{self.story}{place}"
        side = "in a derivative" if self.derivative else "in a value"
        if self.rule:
            side = f"in the derivative of {self.rule}"
        try:
            fits = np.broadcast_shapes(*[x.shape for x in operands]) == self.value.shape
        except ValueError:
            fits = False
        if fits and operands:
            elements = [np.broadcast_to(x, self.value.shape)[self.index] for x in operands]
            made = f"{self.operation}({', '.join(map(text_of, elements))})"
        else:
            made = f"{self.operation}({', '.join(map(summary, operands))})"
        return f"{what} {side}: {made} = {text_of(self.element)}{place}"

    def __str__(self) -> str:
        lines = [self.headline()]
        if self.source is not None:
            lines.append(f"  where:  {describe(self.source)}")
        return "\n".join(lines) + self.history()

    def history(self) -> str:
        """Where an operand that was infinite before came from."""
        if self.before is None:
            return ""
        where = f" ({self.before.source})" if self.before.source is not None else ""
        return f"\n  operand: {self.before.headline()}{where}"

    def __repr__(self) -> str:
        return f"<NonFinite: {self.headline()}>"


class Watch:
    """Looks at every result while it is `state.watch`.

    `place`, `backward` and `rule` are set from outside: the user's line that is being replayed or propagated back,
    whether this is a derivative, and of which operation.
    """

    def __init__(self, stop: bool, infinities: bool) -> None:
        self.stop = stop
        self.infinities = infinities
        self.found: list[NonFinite] = []
        self.origins: dict[int, tuple[Any, NonFinite]] = {}  # the value goes along, so that its id stays its own
        self.place: Source | None = None
        self.backward = 0
        self.rule = ""
        self.forward: list[Primitive] = []

    def run(self, node: Node, operands: Sequence[Any]) -> Any:
        """Run a node of a graph that is being replayed."""
        before = self.place, self.backward
        self.place, self.backward = node.source or self.place, self.backward + node.backward
        try:
            if any(map(is_traced, operands)):  # `bind` hands it to `around`
                return bind(node.primitive, *operands)
            return self.around(None, node.primitive, operands)
        finally:
            self.place, self.backward = before

    def around(self, interpreter: Any, primitive: Primitive, operands: Sequence[Any]) -> Any:
        """Run an operation under the interpreter of its operands (None: on plain values), and look at the results."""
        count = len(self.found)
        moving = any(tangent_of(x) is not None for x in operands)
        if moving:
            self.forward.append(primitive)
        try:
            outs = primitive.numpy(*operands) if interpreter is None else interpreter.apply(primitive, operands)
        finally:
            if moving:
                self.forward.pop()
        values = [plain(x) for x in operands]
        if any(x is None for x in values):  # symbolic
            return outs
        inside = self.found[count] if len(self.found) > count else None
        rule = next((p.name for p in self.forward if p is not primitive), self.rule)
        for out in outs if primitive.multiple else (outs,):
            made = plain(out)
            if not is_finite(made):
                self.note(primitive.name, values, made, values, inside, rule)
            moved = tangent_of(out)
            if not is_finite(moved):
                tangents = [t for t in map(tangent_of, operands) if t is not None]
                product = zero_times_infinity(moved, tangents)
                story = f" at {', '.join(map(summary, values))}, along {', '.join(map(summary, tangents))}{product}"
                self.note(primitive.name, values, moved, [*tangents, made], inside, primitive.name, story)
        return outs

    def pulled(self, node: Node, ct: Any, saved: Any, arriving: Sequence[Any]) -> Sequence[Any]:
        """The reverse rule of a recorded node has given these pairs of an edge and its cotangent."""
        cts = [c for c in map(plain, ct if isinstance(ct, list) else [ct]) if hasattr(c, "dtype")]
        for _, part in arriving:
            made = plain(part.dense() if hasattr(part, "dense") else part)
            if is_finite(made):
                continue
            held = saved[0] if node.primitive.higher_order else saved
            values = [v for v in map(plain, held) if isinstance(v, (np.ndarray, np.generic, float))]
            near = f" where it holds {', '.join(map(summary, values))}" if values else ""
            story = f"{near}, with the cotangent {', '.join(map(summary, cts))}{zero_times_infinity(made, cts)}"
            self.note(node.primitive.name, values, made, cts, None, node.primitive.name, story)
        return arriving

    def note(self, name: str, values: Sequence[Any], made: Any, causes: Sequence[Any], inside: NonFinite | None,
             rule: str, story: str = "") -> None:  # fmt: skip
        """Remember who made a value: an operation inside this one, one before it, or `name` itself."""
        if id(made) in self.origins:
            return
        earlier = next((self.origins[id(x)][1] for x in causes if id(x) in self.origins), None)
        new_nan = has_nan(made) and not any(map(has_nan, causes))
        if inside is not None or (not all(map(is_finite, causes)) and not new_nan):
            known = inside or earlier
            if known is not None:
                self.origins[id(made)] = (made, known)
            return
        one = NonFinite(name, values, made, bool(self.backward or rule), self.place or here(3), rule, story, earlier)
        self.origins[id(made)] = (made, one)
        self.found.append(one)
        if self.stop and (self.infinities or has_nan(made)):
            raise NonFiniteError(
                one.headline() + one.history(),
                "keep the operand where the operation is finite (np.where on the operand, a lower bound, "
                "np.log1p or np.logaddexp instead of log of a sum); wg.trace_nan(f) looks without raising",
                one.source,
            )

    def blame(self, value: Any) -> NonFinite | None:
        """Who made a value that is not finite, as far as is known."""
        if id(value) in self.origins:
            return self.origins[id(value)][1]
        nans = [one for one in self.found if has_nan(one.value)]
        wanted = nans if has_nan(value) and nans else self.found
        return wanted[0] if wanted else None


def is_finite(value: Any) -> bool:
    """Whether a plain value holds neither NaN nor infinity; what is no number is fine."""
    return not holds_numbers(value) or bool(np.isfinite(value).all())


def has_nan(value: Any) -> bool:
    return holds_numbers(value) and bool(np.isnan(value).any())


def holds_numbers(value: Any) -> bool:
    """Whether a value is floating-point or complex."""
    return isinstance(value, (float, complex)) or (hasattr(value, "dtype") and value.dtype.kind in "fc")


def zero_times_infinity(made: Any, causes: Sequence[Any]) -> str:
    """What to say of a NaN that a zero derivative from outside makes with an infinite one of the operation."""
    return "; 0 * inf" if np.isnan(made).any() and any(np.any(np.asarray(c) == 0) for c in causes) else ""


def plain(value: Any) -> Any:
    """The number inside a tensor (under `vmap` those of all lanes); None if it has none."""
    while is_traced(value):
        value = value.value
    return value


def tangent_of(value: Any) -> Any:
    """The tangent that a value of forward mode carries, None otherwise."""
    if is_traced(value) and (is_traced(value.note) or isinstance(value.note, (np.ndarray, np.generic, float, complex))):
        return plain(value.note)
    return None


def first_bad(value: Any) -> tuple[int, ...]:
    """Index of the first NaN, or of the first infinity if there is none."""
    bad = np.isnan(value)
    if not bad.any():
        bad = ~np.isfinite(value)
    return tuple(int(k) for k in np.unravel_index(int(np.argmax(bad)), value.shape)) if value.ndim else ()


def text_of(number: Any) -> str:
    return str(number.item()) if hasattr(number, "item") else str(number)


def summary(value: Any) -> str:
    """A number, or the range of an array."""
    value = np.asarray(value)
    if value.size == 1:
        return text_of(value.reshape(())[()])
    if not value.size or value.dtype.kind not in "fiu":
        return str(type_of(value))
    if value.size <= 4:
        return np.array2string(value, separator=", ")
    return f"{type_of(value)} from {text_of(value.min())} to {text_of(value.max())}"


@contextmanager
def watched(watch: Watch) -> Iterator[Watch]:
    """Show a watch all results of this thread."""
    with watching(watch), np.errstate(all="ignore"):
        yield watch


@contextmanager
def nans(infinities: bool = True) -> Iterator[None]:
    """Inside the block, raise where the first NaN or infinity is made: in a value, or in a derivative.

    Sees what runs under a transform or on `wg.variable`s, backward passes included, and compiled functions, which
    are replayed node by node; plain NumPy arrays outside all of these are NumPy's own (`numpy.errstate`).

    Parameters
    ----------
    infinities : False lets infinities pass (masks made of them, `log(0)` that `where` discards) until a NaN is made;
        the message then tells where the infinity came from.

    Raises
    ------
    NonFiniteError : (a `FloatingPointError`) with the operation, its operands and the user's line.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> with wg.debug.nans():
    ...     wg.grad(lambda x: np.log(x) * x)(0.0)
    Traceback (most recent call last):
        ...
    wengert.errors.NonFiniteError: an infinity (-inf) in a value: log(0.0) = -inf
    ...
    """
    with watched(Watch(True, infinities)):
        yield


def trace_nan(fn: Callable[..., Any]) -> Callable[..., NonFinite | None]:
    """`fn`, run with all results looked at: returns who made the first NaN or infinity that reaches its result.

    Returns
    -------
    A function of the arguments of `fn` that returns a `NonFinite` report (print it), or None if the result is
    finite. An infinity on the way that does not reach the result is not reported.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> print(wg.trace_nan(wg.grad(lambda x: np.sqrt(x) * 2))(0.0))  # doctest: +ELLIPSIS
    an infinity (inf) in the derivative of sqrt: divide(0.5, 0.0) = inf
      where:  ...
    """

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> NonFinite | None:
        watch = Watch(False, True)
        leaves, structure = flatten((args, kwargs))
        names = argument_names(fn, args) + [f"argument {k}" for k in range(len(args), len(leaves))]
        for leaf, name in zip(leaves, names, strict=False):
            value = plain(leaf)
            if not is_finite(value):
                one = NonFinite(name, (), value, False, here(2))
                watch.origins[id(value)] = (value, one)
                watch.found.append(one)
        given = [vocabulary.constant(x) if is_number(x) else x for x in leaves]
        with watched(watch):
            args, kwargs = unflatten(structure, given)
            result = fn(*args, **kwargs)
        for out in flatten(result)[0]:
            value = plain(out)
            if not is_finite(value):
                return watch.blame(value)
        return None

    return run


def is_number(value: Any) -> bool:
    """Whether a leaf is a plain floating-point number or array, which the watch would not see."""
    return not isinstance(value, Tensor) and is_inexact(type_of_value(value).dtype)
