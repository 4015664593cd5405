"""`show`: prints its operands when it runs, in traced and compiled programs too (public as `wg.debug.print`)."""

from __future__ import annotations

import string
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import bind, innermost
from ..graph.primitive import Primitive, Sample
from ..graph.trees import Structure, flatten, unflatten
from ..graph.types import ArrayType


class Text(string.Formatter):
    """`str.format`, where a format for numbers goes for the elements of an array."""

    def format_field(self, value: Any, spec: str) -> str:
        if isinstance(value, np.ndarray):
            if value.ndim == 0:
                value = value[()]
            elif spec:
                return np.array2string(value, separator=" ", formatter={"all": lambda x: format(x, spec)})
        return str(super().format_field(value, spec))


class Show(Primitive):
    """Prints a text made of its operands; has no results."""

    name = "show"
    params = ("text", "structure")
    multiple = True
    differentiable = False
    facts = frozenset({"effect"})
    text: str
    structure: Structure

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return ()

    def numpy(self, *values: Any) -> tuple[Any, ...]:
        # A copy: a compiled program hands out its own memory.
        args, kwargs = unflatten(self.structure, [np.array(v) if isinstance(v, np.ndarray) else v for v in values])
        print(Text().vformat(self.text, args, kwargs), flush=True)
        return ()

    def python_lines(self, targets: Any, operands: Sequence[Any], functions: Any, fresh: Any) -> list[str]:
        args, kwargs = unflatten(self.structure, [str(o) for o in operands])
        # `str.format` has no formats for the elements of arrays.
        plain = all(getattr(o, "type", None) is None or not o.type.shape for o in operands)
        text = self.text if plain else without_formats(self.text)
        given = ", ".join([repr(text), *map(text_of, args), *[f"{k}={text_of(v)}" for k, v in kwargs.items()]])
        return [f"print(str.format({given}))"]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        structure = flatten(((0,), {"y": 0}))[1]
        yield cls.of("x = {}, y = {y:.2f}", structure), (rng.normal(size=3), np.float64(rng.normal()))


def without_formats(text: str) -> str:
    """A text for `str.format` with the fields alone."""
    double = text.maketrans({"{": "{{", "}": "}}"})
    pieces = string.Formatter().parse(text)
    return "".join(
        before.translate(double) + ("" if field is None else f"{{{field}}}") for before, field, _, _ in pieces
    )


def text_of(tree: Any) -> str:
    """A container of texts as the source of the container."""
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{k!r}: {text_of(v)}" for k, v in tree.items()) + "}"
    if isinstance(tree, (list, tuple)):
        inner = ", ".join(map(text_of, tree))
        return f"[{inner}]" if isinstance(tree, list) else f"({inner},)"
    return str(tree)


def show(text: str, *args: Any, **kwargs: Any) -> None:
    """Print `text.format(*args, **kwargs)` each time the program runs, not when it is traced.

    Parameters
    ----------
    text : as for `str.format`; a format such as `{x:.3f}` goes for every element of an array.
    args, kwargs : arrays, numbers, or containers of them.

    Works in `grad`, `jvp`, `scan`, `while_loop`, branches and compiled programs; under `vmap` it prints lane by lane.
    What is printed are values; a cotangent is seen by printing inside a `custom_vjp`.

    Example
    -------
    >>> import wengert as wg
    >>> def f(x):
    ...     wg.debug.print("x is {x:.2f}", x=x)
    ...     return x * x
    >>> wg.jit(wg.grad(f))(3.0)
    x is 3.00
    np.float64(6.0)
    """
    leaves, structure = flatten((args, kwargs))
    primitive = Show.of(text, structure)
    inner = innermost()
    if inner is not None and inner.symbolic:
        inner.apply(primitive, tuple(leaves))
    else:
        bind(primitive, *leaves)
