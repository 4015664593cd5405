"""Random programs for testing transforms: NumPy code that is smooth and well-conditioned where it is run.

A program is made line by line: a template is drawn and filled with values computed so far, and the line is kept if
NumPy runs it and the result is finite, small, and away from the kinks of what was applied. So the source reads like a
user's, and differences of its values are good enough to check derivatives with.
"""

from __future__ import annotations

import linecache
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy

from .. import numpy as np
from ..transforms.control import associative_scan, cond, fori_loop, scan, switch, while_loop

CONTROL = (associative_scan, cond, fori_loop, scan, switch, while_loop)
NAMES = {"np": np, "wg": SimpleNamespace(**{f.__name__: f for f in CONTROL})}
"""What the source of a program may use: NumPy's names, and loops and branches."""

LARGEST = 4.0
MOST = 120


@dataclass(frozen=True)
class Program:
    """A function with inputs to run it on.

    Attributes
    ----------
    source : its text, a function `program(x0, x1, ...)` returning a list of arrays.
    inputs : arrays and numbers, by position.
    single : whether single precision occurs in it.
    """

    seed: int
    source: str
    inputs: tuple[Any, ...]
    single: bool
    function: Callable[..., list[Any]] = field(repr=False)

    def __call__(self, *values: Any) -> list[Any]:
        return self.function(*values)

    def __str__(self) -> str:
        return self.source


def spread(x: Any, gap: float = 0.05) -> bool:
    """Whether no two elements along the last axis are close."""
    return x.ndim > 0 and x.dtype.kind == "f" and bool(numpy.all(numpy.diff(numpy.sort(x, -1), axis=-1) > gap))


def apart(x: Any, y: Any, gap: float = 0.05) -> bool:
    """Whether no element of x is close to that of y."""
    return real(x) and real(y) and bool(numpy.all(numpy.abs(x - y) > gap))


def real(x: Any) -> bool:
    return numpy.asarray(x).dtype.kind in "fiub"


def floating(x: Any) -> bool:
    return x.dtype.kind == "f"


def some(x: Any) -> bool:
    """Whether there are elements (NumPy takes any index where there are none)."""
    return x.size > 0


def always(*values: Any) -> bool:
    return True


ONE: list[tuple[str, Callable[[Any], bool]]] = [
    ("np.sin({x})", always),
    ("np.exp(0.3 * {x})", always),
    ("np.tanh(0.5 * {x})", real),
    ("np.cos({x}) * {x}", always),
    ("{x} ** 2", always),
    ("{x} ** 3 / 4", always),
    ("-{x}", always),
    ("0.5 * {x} - 1", always),
    ("1 / (1.5 + {x} * {x})", real),
    ("np.sqrt(1 + {x} * {x})", real),
    ("np.log(2 + np.cos({x}))", real),
    ("np.log1p(np.square({x}))", real),
    ("np.expm1(0.2 * {x})", always),
    ("np.arctan({x})", real),
    ("(2.5 + np.sin({x})) ** 1.5", real),
    ("np.multiply(1 - 0.5j, {x})", always),
    ("np.real({x})", always),
    ("np.imag({x})", lambda x: x.dtype.kind == "c"),
    ("np.conj({x})", always),
    ("np.abs({x})", lambda x: bool(numpy.all(numpy.abs(x) > 0.1))),
    ("np.sign({x}) * {x}", lambda x: real(x) and apart(x, 0.0)),
    ("np.clip({x}, -1, 0.75)", lambda x: floating(x) and apart(x, -1.0) and apart(x, 0.75)),
    ("np.floor({x}) + {x}", lambda x: floating(x) and apart(x, numpy.round(x))),
    ("np.where({x} > 0.25, {x}, 0.5 * {x})", lambda x: apart(x, 0.25)),
    ("{x}.astype(float)", real),
    # Reductions and running results.
    ("np.sum({x})", always),
    ("np.sum({x}, axis={axis})", always),
    ("np.mean({x}, axis={axis}, keepdims=True)", always),
    ("np.prod(1 + 0.1 * {x}, axis={axis})", always),
    ("np.max({x}, axis=-1)", spread),
    ("np.min({x}, axis=-1, keepdims=True)", spread),
    ("np.var({x}, axis={axis})", always),
    ("np.std({x}, axis=-1)", spread),
    ("np.cumsum({x}, axis={axis})", always),
    ("np.cumprod(1 + 0.1 * {x}, axis={axis})", always),
    ("np.sort({x}, axis=-1)", spread),
    ("np.median({x}, axis=-1)", spread),
    ("np.diff({x}, axis={axis})", always),
    ("np.linalg.norm({x})", lambda x: bool(numpy.linalg.norm(x) > 0.1)),
    ("{x}[..., np.argmax({x}[0])]", lambda x: x.ndim == 2 and spread(x)),
    # Shape.
    ("np.reshape({x}, -1)", always),
    ("{x}.reshape({x}.shape[::-1])", always),
    ("np.transpose({x})", always),
    ("np.swapaxes({x}, 0, -1)", always),
    ("{x}[None]", always),
    ("np.expand_dims({x}, -1)", always),
    ("np.squeeze({x})", always),
    ("np.flip({x}, axis={axis})", always),
    ("np.roll({x}, 1, axis={axis})", always),
    ("np.tile({x}, 2)", always),
    ("np.repeat({x}, 2, axis={axis})", always),
    ("np.pad({x}, 1)", always),
    ("np.broadcast_to({x}, (2, *{x}.shape))", always),
    ("np.tril({x})", lambda x: x.ndim >= 2),
    ("np.diagonal({x})", lambda x: x.ndim == 2),
    # Indexing.
    ("{x}[0]", always),
    ("{x}[-1:]", always),
    ("{x}[..., ::-1]", always),
    ("{x}[:0]", always),
    ("{x}[1:, ..., ::2]", always),
    ("{x}[np.array([0, -1, 0])]", always),
    ("np.take({x}, np.array([[1, 0], [0, 0]]), axis={axis})", some),
    ("{x}[np.arange(len({x})) % 2 == 0]", lambda x: x.ndim > 0),
    ("{x}[i0]", always),
    ("np.take({x}, i0 + np.array([0, 1]), axis={axis})", some),
    # Matrices.
    ("{x} @ {x}.T", lambda x: x.ndim == 2),
    ("np.linalg.inv(3 * np.eye(len({x})) + 0.2 * {x})", lambda x: x.ndim == 2 and len(x) > 0),
    ("np.linalg.det(np.eye(len({x})) + 0.2 * {x})", lambda x: x.ndim == 2),
    ("np.linalg.cholesky(np.eye(len({x})) + 0.1 * {x} @ np.conj({x}.T))", lambda x: x.ndim == 2 and len(x) > 0),
    ("np.trace({x})", lambda x: x.ndim == 2),
    # Loops and branches.
    (
        "wg.fori_loop(0, 3, lambda i, a: np.tanh(a) + 0.1 * {x}, {x})",
        lambda x: floating(x) and x.dtype == float,
    ),
    (
        "wg.cond(np.sum({x}) > 0.3, lambda a: np.sin(a) + {x}, lambda a: 0.5 * a, {x})",
        lambda x: x.dtype == float and abs(float(numpy.sum(x)) - 0.3) > 0.1,
    ),
    (
        "wg.scan(lambda c, a: (0.5 * c + np.sin(a), c * a), 0.0, {x})[1]",
        lambda x: x.dtype == float and x.ndim == 1,
    ),
    (
        "wg.scan(lambda c, a: (0.5 * c + np.sin(a), c), {x}[0], {x}, reverse=True)[0]",
        lambda x: x.dtype == float and x.ndim > 1 and len(x) > 0,
    ),
    (
        "wg.while_loop(lambda s: s[0] < 2 + i0, lambda s: (s[0] + 1, np.sin(s[1]) + 0.2 * {x}), (0, {x}))[1]",
        lambda x: x.dtype == float,
    ),
    (
        "wg.switch(i0, [lambda a: np.cos(a), lambda a: a * {x}], {x})",
        lambda x: x.dtype == float,
    ),
    (
        "wg.associative_scan(lambda a, b: a + b + 0.1 * a * b, {x})",
        lambda x: x.dtype == float and x.ndim > 0 and len(x) > 1,
    ),
    # Assignment, with indices that repeat.
    ("add_at({x}, np.array([0, -1, 0]), 0.5)", lambda x: floating(x) and x.ndim > 0 and len(x) > 0),
    ("add_at({x}, (Ellipsis, i0), 1.0)", lambda x: floating(x) and x.ndim > 0 and x.shape[-1] > 1),
    ("assign({x}, {x} > 0.25, 0.5)", lambda x: apart(x, 0.25) and floating(x)),
    ("np.linalg.slogdet(2 * np.eye(len({x})) + 0.2 * {x})[1]", lambda x: x.ndim == 2 and real(x) and len(x) > 0),
    ("np.exp({x} - np.max({x}, axis=-1, keepdims=True))", spread),
    ("({x} - np.mean({x}, axis=-1, keepdims=True)) / (1 + np.std({x}, axis=-1, keepdims=True))", spread),
]
"""Lines of one value, with what the value has to be."""

TWO: list[tuple[str, Callable[[Any, Any], bool]]] = [
    ("{x} + {y}", always),
    ("{x} - {y}", always),
    ("{x} * {y}", always),
    ("{x} / (2 + {y} * {y})", lambda x, y: real(y)),
    ("np.maximum({x}, {y})", apart),
    ("np.minimum({x}, {y})", apart),
    ("np.where({x} > {y}, 2 * {x}, {y})", apart),
    ("np.hypot(1 + {x} * {x}, {y})", lambda x, y: real(x) and real(y)),
    ("np.logaddexp({x}, {y})", lambda x, y: real(x) and real(y)),
    ("np.arctan2({x}, 1.5 + {y} * {y})", lambda x, y: real(x) and real(y)),
    ("(1.5 + {x} * {x}) ** (0.5 * {y})", lambda x, y: real(x) and real(y)),
    ("np.concatenate([{x}, {y}], axis={axis})", always),
    ("np.stack([{x}, {y}])", always),
    ("{x} @ {y}", always),
    ("np.outer({x}, {y})", always),
    ("np.tensordot({x}, {y}, axes=1)", lambda x, y: x.ndim > 0 and y.ndim > 0),
    ("np.einsum('ij,kj->ik', {x}, {y})", lambda x, y: x.ndim == y.ndim == 2),
    ("np.linalg.solve(3 * np.eye(len({x})) + 0.2 * {x}, {y})", lambda x, y: x.ndim == y.ndim == 2 and len(x) > 0),
    ("assign({x}, 0, {y})", lambda x, y: floating(x) and real(y)),
    ("assign({x}, (Ellipsis, slice(1, None)), 0.5 * {y})", lambda x, y: floating(x) and real(y)),
]
"""Lines of two values."""

DTYPES = ["float64"] * 10 + ["complex128"] * 2 + ["float32"] * 2 + ["int64"] * 2
SHAPES = [(), (3,), (3,), (2, 3), (3, 3), (3, 2), (1, 3), (2, 3, 2), (0, 3), (2, 1), (40,), (5, 7)]

HEADER = """\
def assign(x, key, value):
    x = np.array(x)
    x[key] = value
    return x

def add_at(x, key, value):
    x = np.array(x)
    x[key] += value
    return x

"""


def random_input(rng: numpy.random.Generator, dtype: str, shape: tuple[int, ...]) -> Any:
    if dtype == "int64":
        return layout(rng, rng.integers(-2, 3, shape))
    value = rng.uniform(-1.5, 1.5, shape)
    if dtype == "complex128":
        value = value + 1j * rng.uniform(-1.5, 1.5, shape)
    return layout(rng, numpy.asarray(value, dtype))


def layout(rng: numpy.random.Generator, value: Any) -> Any:
    """The same numbers, now and then in memory with gaps, backward or in the other order."""
    kind = rng.integers(8)
    if kind == 0:
        return numpy.asfortranarray(value)
    if kind == 1 and value.ndim:
        return numpy.repeat(value, 2, axis=0)[::2]
    if kind == 2 and value.ndim:
        return value[::-1].copy()[::-1]
    return value


def random_program(seed: int, lines: int = 8) -> Program:
    """The random program with this number.

    Parameters
    ----------
    seed : any integer; the same program in every run.
    lines : how many values it computes.

    Example
    -------
    >>> program = random_program(3)
    >>> print(program.source)  # doctest: +ELLIPSIS
    def assign(x, key, value):
    ...
    def program(x0, ..., i0):
    ...
    >>> len(program(*program.inputs)) > 0
    True
    """
    rng = numpy.random.default_rng(seed)
    count = int(rng.integers(1, 4))
    kinds = ["float64", *rng.choice(DTYPES, count - 1)]
    inputs = [random_input(rng, str(kind), SHAPES[rng.integers(len(SHAPES))]) for kind in kinds]
    parameters = [f"x{k}" for k in range(count)]
    known: dict[str, Any] = dict(zip(parameters, inputs, strict=True))
    scope: dict[str, Any] = dict(NAMES)
    exec(HEADER, scope)
    fixed = {"i0": numpy.int64(rng.integers(0, 2))}
    body: list[str] = []
    used: set[str] = set()
    single = any(x.dtype == numpy.float32 for x in inputs)
    while len(body) < lines:
        line, operands = draw(rng, list(known), known)
        if line is None:
            continue
        value = attempt(line, {**scope, **known, **fixed})
        if value is None:
            continue
        name = f"v{len(body)}"
        body.append(f"    {name} = {line}")
        known[name] = value
        used.update(operands)
    outputs = [name for name in known if name not in used and name not in parameters and known[name].dtype.kind in "fc"]
    outputs = outputs or [name for name in known if known[name].dtype.kind in "fc"][-1:]
    text = f"{HEADER}\ndef program({', '.join([*parameters, 'i0'])}):\n" + "\n".join(body)
    text += f"\n    return [{', '.join(outputs)}]\n"
    file = f"<random program {seed}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    exec(compile(text, file, "exec"), scope)
    return Program(seed, text, (*inputs, fixed["i0"]), single, scope["program"])


def draw(rng: numpy.random.Generator, names: Sequence[str], known: dict[str, Any]) -> tuple[str | None, list[str]]:
    """A line filled with values that it is fit for, and their names; None if these do not fit."""
    recent = 1 + rng.integers(len(names))  # later values are chosen more often, so that programs grow deep
    x, y = (names[-rng.integers(1, recent + 1)] for _ in range(2))
    if rng.uniform() < 0.6:
        template, fits = ONE[rng.integers(len(ONE))]
        operands = [x]
    else:
        template, both = TWO[rng.integers(len(TWO))]
        operands = [x, y]
        fits = both  # type: ignore[assignment]
    values = [known[name] for name in operands]
    if "{axis}" in template and values[0].ndim == 0:
        return None, []
    try:
        with numpy.errstate(all="ignore"):
            if not fits(*values):
                return None, []
    except ValueError:  # they do not broadcast
        return None, []
    axis = int(rng.integers(max(1, values[0].ndim)))
    return template.format(x=x, y=y, axis=axis), operands


def attempt(line: str, scope: dict[str, Any]) -> Any:
    """The value of a line as an array, if NumPy runs it quietly and the result is fit to go on with."""
    try:
        with numpy.errstate(all="raise"), warnings.catch_warnings():
            warnings.simplefilter("error")
            value = numpy.asarray(eval(line, scope))
    except (ValueError, TypeError, IndexError, FloatingPointError, RuntimeWarning, numpy.linalg.LinAlgError):
        return None
    if value.size > MOST or value.ndim > 4 or value.dtype.kind not in "fci":
        return None
    if value.size and not float(numpy.max(numpy.abs(value))) <= LARGEST:
        return None
    return value
