"""How large the gradient is on its way back: by line of the program and by parameter, as a table and a figure."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from html import escape
from math import isfinite, log10
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import BackwardError
from ..graph.interpreter import is_traced, type_of_value, watching
from ..graph.nodes import Node, Var
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..graph.types import ArrayType, is_inexact
from ..source import Source
from ..transforms.grad import check_scalar, one_like
from ..transforms.reverse import Record
from ..transforms.trace import argument_names
from .finite import plain

FAINT = 1e-4
"""Root mean square of a gradient, relative to what is usual, below which it is called vanishing; above the inverse it
is called exploding."""

COLOURS = {"": "#4878a8", "vanishing": "#c9a227", "exploding": "#c0392b", "not finite": "#8e44ad", "zero": "#888888"}


class Row(NamedTuple):
    """One line of the program or one parameter.

    name : the user's. type : of the value. norm : Euclidean norm of its gradient. rms : root mean square of the
    gradient's elements. size : norm of the value itself (parameters only). mark : "", "vanishing", "exploding",
    "zero" or "not finite". source : the line.
    """

    name: str
    type: ArrayType
    norm: float
    rms: float
    size: float | None
    mark: str
    source: Source | None


class Flow:
    """What `gradient_flow` returns. `lines` in the order of the program, `parameters` from the loss back."""

    def __init__(self, lines: Sequence[Row], parameters: Sequence[Row]) -> None:
        arrays = [r for r in lines if r.type.shape and usable(r)]
        self.lines = marked(lines, arrays[-1].rms if arrays else 1.0)
        good = [r.rms for r in parameters if usable(r)]
        self.parameters = marked(parameters, float(np.median(good)) if good else 1.0)

    def __str__(self) -> str:
        return "\n".join([table("on the way back", self.lines), "", table("parameters", self.parameters)])

    __repr__ = __str__

    def to_svg(self, path: str | os.PathLike[str] | None = None) -> str:
        """Bars of the root mean squares on a logarithmic scale, as SVG text, written to `path` if given."""
        text = bars(self)
        if path is not None:
            Path(path).write_text(text, "utf-8")
        return text

    def _repr_svg_(self) -> str:
        return self.to_svg()


def gradient_flow(loss: Any, *args: Any) -> Flow:
    """Norms of the gradient at every line between parameters and loss, and at every parameter.

    Parameters
    ----------
    loss : a real scalar computed define-by-run; or a function, followed by its arguments, whose floating-point
        leaves are taken as parameters. `.grad` of variables is left as it is.

    A line is marked "vanishing" (or "exploding") if the root mean square of its gradient is 10^4 times below (or above)
    that of the array nearest to the loss, a parameter if it is so against the median of the parameters; other marks
    are "zero" and "not finite".

    Raises
    ------
    BackwardError : no variable leads to the loss.
    NonScalarOutputError : the loss is not a real scalar.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> w, v = wg.variable(np.full((2, 2), 1e-6), name="w"), wg.variable(np.ones(2), name="v")
    >>> flow = wg.debug.gradient_flow(np.sum(np.tanh(w @ v)))
    >>> [(row.name, round(row.norm, 3)) for row in flow.parameters]
    [('w', 2.0), ('v', 0.0)]
    """
    if is_traced(loss):
        return of_tensor(loss)
    if not callable(loss):
        raise BackwardError(
            f"gradient_flow of a plain value of type {type(loss).__name__}: no variable leads to it",
            "give a value computed of wg.variable(...), or a function and its arguments",
        )
    return of_function(loss, args)


def of_function(fn: Callable[..., Any], args: Sequence[Any]) -> Flow:
    leaves, structure = flatten(tuple(args))
    names = argument_names(fn, args)
    with Record() as record:
        given = [
            record.leaf(leaf, name) if is_inexact(type_of_value(leaf).dtype) else leaf
            for leaf, name in zip(leaves, names, strict=True)
        ]
        return of_tensor(getattr(fn, "fn", fn)(*unflatten(structure, given)))


class Norms:
    """A watch of the backward walk that notes how large the cotangents are."""

    place: Source | None = None
    rule = ""
    backward = 0

    def __init__(self) -> None:
        self.lines: dict[Any, tuple[Node, list[Any]]] = {}

    def around(self, interpreter: Any, primitive: Any, operands: Sequence[Any]) -> Any:
        return interpreter.apply(primitive, operands)

    def run(self, node: Node, operands: Sequence[Any]) -> Any:
        return node.primitive.numpy(*operands)

    def pulled(self, node: Node, ct: Any, saved: Any, arriving: Sequence[Any]) -> Sequence[Any]:
        """A line is judged by the last of its operations, whose cotangent comes first."""
        cts = [plain(c) for c in (ct if isinstance(ct, list) else [ct]) if c is not None]
        key = node.number if node.source is None else node.source[0], getattr(node.source, "line", node.number)
        if key not in self.lines and cts:
            self.lines[key] = node, cts
        return arriving


def of_tensor(loss: Tensor | Any) -> Flow:
    if not is_traced(loss) or loss.edge is None or not isinstance(loss.interpreter, Record):
        raise BackwardError(
            "gradient_flow: no variable leads to this value", "make the parameters with wg.variable(...)"
        )
    check_scalar(loss.interpreter, loss)
    norms = Norms()
    with watching(norms):
        found = loss.interpreter.backward([(loss.edge, one_like(loss))])
    lines = []
    for node, cts in sorted(norms.lines.values(), key=lambda item: item[0].number):
        where = node.source
        label = node.primitive.name if where is None else (where.target or node.primitive.name)
        lines.append(row(label, cts, None, where))
    parameters = [row(edge.label or str(edge.type), [plain(ct)], value_of(edge), None) for edge, ct in found.items()]
    return Flow(lines, parameters)


def value_of(edge: Var) -> Any:
    value = getattr(edge, "value", None)
    return None if value is None else plain(value)


def row(name: str, cts: Sequence[Any], value: Any, source: Source | None) -> Row:
    parts = [np.abs(np.asarray(c)).ravel() for c in cts]
    flat = np.concatenate(parts) if parts else np.zeros(0)
    norm = float(np.linalg.norm(flat))
    rms = norm / max(flat.size, 1) ** 0.5
    first = np.asarray(cts[0])
    size = None if value is None else float(np.linalg.norm(np.abs(np.asarray(value)).ravel()))
    return Row(name, ArrayType(first.shape, first.dtype), norm, rms, size, "", source)


def usable(row: Row) -> bool:
    """Whether a gradient can serve as a measure."""
    return isfinite(row.rms) and row.rms > 0


def marked(rows: Sequence[Row], usual: float) -> list[Row]:
    """The rows, those marked that stand out from what is usual."""

    def mark(rms: float) -> str:
        if not isfinite(rms):
            return "not finite"
        if rms == 0:
            return "zero"
        return "vanishing" if rms < FAINT * usual else "exploding" if rms > usual / FAINT else ""

    return [r._replace(mark=mark(r.rms)) for r in rows]


def table(title: str, rows: Sequence[Row]) -> str:
    """Rows as aligned text."""
    cells = [("", "type", "norm", "rms", "norm of value", "line", "")]
    cells += [
        (r.name, str(r.type), f"{r.norm:.3g}", f"{r.rms:.3g}", "" if r.size is None else f"{r.size:.3g}",
         "" if r.source is None else str(r.source), r.mark)
        for r in rows
    ]  # fmt: skip
    kept = [k for k in range(7) if k < 4 or any(line[k] for line in cells[1:])]
    widths = {k: max(len(line[k]) for line in cells) for k in kept}
    right = {2, 3, 4}
    lines = [title]
    for line in cells:
        texts = [line[k].rjust(widths[k]) if k in right else line[k].ljust(widths[k]) for k in kept]
        lines.append(("  " + "  ".join(texts)).rstrip())
    return "\n".join(lines)


def bars(flow: Flow) -> str:
    """The figure: one bar a row, on a logarithmic scale."""
    groups = [("on the way back", flow.lines), ("parameters", flow.parameters)]
    shown = [r.rms for _, rows in groups for r in rows if usable(r)]
    low = min(map(log10, shown), default=-1.0) - 0.5
    span = max(max(map(log10, shown), default=1.0) - low, 1.0)
    left, wide, step = 230, 420, 20
    parts: list[str] = []
    y = 10
    for title, rows in groups:
        y += 22
        parts.append(f'<text x="10" y="{y}" font-weight="bold">gradient, root mean square: {title}</text>')
        for r in rows:
            y += step
            length = (log10(r.rms) - low) / span * wide if usable(r) else wide if r.mark == "not finite" else 0
            name = r.name if len(r.name) <= 20 else r.name[:19] + "…"
            label = f"{name}  {r.source}" if r.source is not None else f"{name}  {r.type}"
            parts.append(f'<text x="{left - 8}" y="{y}" text-anchor="end">{escape(label)}</text>')
            parts.append(
                f'<rect x="{left}" y="{y - 11}" width="{max(length, 1):.1f}" height="13" fill="{COLOURS[r.mark]}"/>'
            )
            note = f"{r.rms:.2g} {r.mark}".strip()
            parts.append(f'<text x="{left + max(length, 1) + 6:.1f}" y="{y}">{note}</text>')
    size = f'width="{left + wide + 150}" height="{y + 20}"'
    paper = f'<rect {size} fill="white"/>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">'
    return f"{head}{paper}{''.join(parts)}</svg>\n"
