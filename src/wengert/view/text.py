"""Short text for what a picture says of a value: clipped numbers, arrays, parameters, names."""

from __future__ import annotations

import math
import unicodedata
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.tensor import Tensor

ROW = 34
"""Columns of a box."""


def columns(text: str) -> int:
    """How many columns a text takes in a fixed-width font (wide East Asian characters take two).

    >>> columns("grad"), columns("\u6570")
    (4, 2)
    """
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def clip(text: str, width: int = ROW) -> str:
    """One line of at most `width` columns, with an ellipsis where something was cut.

    >>> clip("a long line of text", 8)
    'a long …'
    """
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    if columns(line) <= width:
        return line
    while columns(line) > width - 1:
        line = line[:-1]
    return line + "…"


def number(value: Any) -> str:
    """A scalar in at most about a dozen characters.

    >>> number(np.float64(0.1) + 0.2), number(True), number(1.5 - 2j), number(10**30)
    ('0.3', 'True', '1.5-2j', '1e+30')
    """
    value = value.item() if isinstance(value, np.generic | np.ndarray) else value
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, int):
        return str(value) if abs(value) < 10**9 else f"{value:.6g}"
    if isinstance(value, float | complex):
        return f"{value:.6g}"
    return repr(value)


def known(value: Any) -> Any:
    """The array or number behind a value that may be a tensor; None if there is none."""
    while isinstance(value, Tensor):
        value = value.interpreter.concrete(value)
    return value


def short_value(value: Any) -> str | None:
    """A value in a few words: the number, a few elements, or range and mean.

    >>> short_value(np.float64(0.5)), short_value(np.arange(4)), short_value(np.zeros((2, 0)))
    ('0.5', '[0, 1, 2, 3]', 'empty')
    >>> short_value(np.linspace(0, 1, 101))
    '0 to 1, mean 0.5'
    >>> short_value(np.array([1.0, np.nan, np.inf]))
    '[1, nan, inf]'
    """
    value = known(value)
    if value is None:
        return None
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        return clip(repr(value), ROW)
    if array.size == 0:
        return "empty"
    if array.ndim == 0:
        return number(array)
    if array.size <= 6:
        text = nested(array)
        if columns(text) <= ROW - 6:
            return text
    return summary(array)


def nested(array: Any) -> str:
    """A small array written out on one line."""
    if array.ndim == 0:
        return number(array)
    return "[" + ", ".join(nested(item) for item in array) + "]"


def summary(array: Any) -> str:
    """Range and mean of the finite elements, and how many are not finite.

    >>> summary(np.array([1.0, 3.0, np.nan]))
    '1 nan, 1 to 3, mean 2'
    """
    if array.dtype.kind == "b":
        return f"{int(array.sum())} of {array.size} true"
    words = []
    finite = np.isfinite(array)
    for name, count in (("nan", int(np.isnan(array).sum())), ("inf", int(np.isinf(array).sum()))):
        if count:
            words.append(f"{count} {name}")
    if finite.any():
        part = array[finite]
        if array.dtype.kind == "c":
            size = np.abs(part)
            words.append(f"|z| {size.min():.3g} to {size.max():.3g}")
        else:
            # Scaled before summing, so that values near the largest number do not overflow.
            mean = math.fsum(part.astype(np.float64).ravel()[:100_000] / min(part.size, 100_000))
            about = "mean" if part.size <= 100_000 else "mean about"
            words.append(f"{number_short(part.min())} to {number_short(part.max())}")
            words.append(f"{about} {number_short(mean)}")
    return ", ".join(words)


def number_short(value: Any) -> str:
    return f"{float(value):.3g}"


def long_value(value: Any, limit: int = 400) -> str | None:
    """A value as NumPy prints it, its large parts left out, cut after `limit` characters."""
    value = known(value)
    if value is None:
        return None
    array = np.asarray(value)
    text = np.array2string(array, threshold=24, edgeitems=2, precision=6, separator=", ")
    if array.size > 6 and array.dtype.kind in "biufc":
        text = f"{summary(array)}\n{text}"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def parameters(arguments: dict[str, Any]) -> str:
    """Parameters of a primitive as `axis=(0,), keepdims=True`; graphs, None and False are left out.

    >>> parameters({"axes": (0,), "keepdims": False, "where": None})
    'axes=(0,)'
    """
    return ", ".join(
        f"{name}={parameter(value)}" for name, value in arguments.items() if value is not None and value is not False
        if not holds_graph(value)
    )  # fmt: skip


def parameter(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    if callable(value) and hasattr(value, "__name__"):
        return str(value.__name__)
    return repr(value)


def holds_graph(value: Any) -> bool:
    return isinstance(value, Graph) or (isinstance(value, tuple | list) and any(holds_graph(item) for item in value))


def plural(count: int, noun: str) -> str:
    """
    >>> plural(1, "operation"), plural(2000, "operation")
    ('1 operation', '2,000 operations')
    """
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
