"""A graph as typed text: one line a node, with the user's line as a comment.

    f(x: f64[3], w: f64[2,3]) -> f64[]:
      h: f64[2] = matmul(w, x)              # model.py:41
      v0: f64[] = sum(h, axes=(0,))         # model.py:42
      return v0

A value has the user's name where one is known, otherwise `v0`, `v1`, ... in the forward part and `g0`, `g1`,
... in the gradient part, which the comments mark. A type with a star is that of a Python number. Nested graphs
stand indented under the node that holds them. The text is the same in every run, so that tests can hold it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..source import Source
from .nodes import Atom, Const, Node, Var
from .types import ArrayType, Dim, dtype_name

if TYPE_CHECKING:
    from .graph import Graph

SHOWN = 2000
"""Nodes of one graph that `print` writes out; of a larger one it leaves out the middle."""
SMALL = 6
"""Elements up to which an array constant is written out."""
WIDEST = 72
"""Column beyond which a long line no longer moves the comments of all lines."""


def graph_text(graph: Graph, start: int = 0, stop: int | None = None, max_nodes: int | None = SHOWN) -> str:
    """The text of a graph, or of the nodes from `start` to `stop`.

    Parameters
    ----------
    graph : any graph.
    start, stop : positions of nodes, as in a slice (negative ones count from the end).
    max_nodes : of more nodes than this the middle is left out, in nested graphs as well; None prints all.
    """
    return Printer(max_nodes).text(graph, *slice(start, stop).indices(len(graph.nodes))[:2])


def excerpt(graph: Graph, position: int, around: int = 2) -> str:
    """The lines of the nodes around one node, which an arrow marks; never fails on a broken graph."""
    printer = Printer(None)
    rows = range(max(0, position - around), min(len(graph.nodes), position + around + 1))
    named = name_edges(graph, shown=rows)
    lines = []
    for k in rows:
        printer.lines.clear()
        printer.node(graph.nodes[k], named, "", graph, nested=False)
        code, comment = printer.lines[0]
        lines.append(("-> " if k == position else "   ") + code + (f"   # {comment}" if comment else ""))
    return "\n".join(lines)


Label = tuple[Var, str | None, bool, int]
"""An edge, the user's name for it, whether it is in the gradient part, its place among the values of the graph."""


def labels(graph: Graph, shown: Collection[int] | None = None) -> Iterator[Label]:
    """Every edge that the graph makes, in order; with `shown` only those that these nodes or the results read or make.

    The other nodes are counted and searched for such edges, but no name is looked up for them.
    """
    for place, var in enumerate(graph.inputs):
        yield var, getattr(var, "name", None), False, place
    known: dict[
        tuple[int, int], str | None
    ] = {}  # reading bytecode costs more than a look-up, and loops repeat a place
    wanted = None
    if shown is not None:
        wanted = {*graph.outputs, *(atom for k in shown for atom in graph.nodes[k].inputs)}
        wanted.update(var for k in shown for var in graph.nodes[k].outputs or ())
    count = len(graph.inputs)
    for node in graph.nodes:
        outputs = node.outputs or ()
        count += len(outputs)
        if wanted is not None and wanted.isdisjoint(outputs):
            continue
        label = None
        if len(outputs) == 1 and node.code is not None and not node.backward:
            where = (id(node.code), node.offset)
            if where not in known:
                known[where] = Source(node.code, node.offset).target
            label = known[where]
        for place, var in enumerate(outputs, count - len(outputs)):
            yield var, getattr(var, "name", None) or label, node.backward, place


def name_edges(
    graph: Graph,
    make: Callable[[str], str] = str,
    taken: set[str] | frozenset[str] = frozenset(),
    shown: Collection[int] | None = None,
) -> dict[Var, str]:
    """A unique name for every edge: the user's, with `_2`, `_3`, ... where it repeats, or `v0`, `g0`, ...

    `make` fits a user's name to the language of the text; `taken` are names that must not be used. With `shown`,
    positions of nodes, only edges that these nodes or the results need have names; `v17` then is the 17th value of
    the graph, counted from 0, so that it is called so in every part.
    """
    edges = list(labels(graph, shown))
    made = {label: make(label) for label in {label for _, label, _, _ in edges if label is not None}}
    # A numbered name must not be a user's; two numbered ones differ, as the last underscore splits them alike.
    own = taken | set(made.values())
    counts = dict.fromkeys(own, 0) | dict.fromkeys(taken, 1)
    numbers = [0, 0]
    found: dict[Var, str] = {}
    for var, label, backward, place in edges:
        if label is None:
            stem, name = "g" if backward else "v", ""
            if shown is not None:
                name = f"{stem}{place}"
                while name in own:
                    name += "_"
            while not name or name in own:
                name = f"{stem}{numbers[backward]}"
                numbers[backward] += 1
        else:
            name = label = made[label]
            if counts[label]:
                while name in own:
                    counts[label] += 1
                    name = f"{label}_{counts[label]}"
            else:
                counts[label] = 1
        found[var] = name
    return found


def literal(atom: Const, kind: Callable[[np.dtype[Any]], str]) -> str | None:
    """The text of a number or a small array, `2.0`, `f32(2.0)`, `f64([1.0, 2.0])`; None if it has to be named."""
    value = atom.value
    if not isinstance(value, (bool, int, float, complex, np.generic, np.ndarray)) or atom.type.size > SMALL:
        return None
    if atom.type.weak:
        return repr(value)
    return f"{kind(atom.dtype)}({np.asarray(value).tolist()!r})" if atom.type.size else None


def aligned(lines: Iterable[tuple[str, str]], column: int) -> str:
    """Lines of code with their comments from a column on, those of longer lines further right."""
    return "\n".join(f"{code + '   ':<{column}}# {comment}" if comment else code for code, comment in lines)


class Printer:
    """Collects (code, comment) lines. Unknown axis lengths are renumbered from 0 in order of appearance."""

    def __init__(self, max_nodes: int | None) -> None:
        self.max_nodes = max_nodes
        self.lines: list[tuple[str, str]] = []
        self.dims: dict[Dim, str] = {}

    def text(self, graph: Graph, start: int, stop: int) -> str:
        self.graph(graph, "", start, stop)
        widths = [len(code) for code, comment in self.lines if comment and len(code) <= WIDEST]
        column = max(widths, default=0) + 3
        return aligned(self.lines, column)

    def add(self, code: str, comment: str = "") -> None:
        self.lines.append((code, comment))

    def graph(self, graph: Graph, indent: str, start: int, stop: int) -> None:
        """Header, nodes from `start` to `stop`, results."""
        pieces = [range(start, stop)]
        if self.max_nodes is not None and stop - start > self.max_nodes:
            head = (self.max_nodes + 1) // 2
            pieces = [range(start, start + head), range(stop - (self.max_nodes - head), stop)]
        shown = [k for piece in pieces for k in piece]
        names = name_edges(graph, shown=shown if len(shown) < len(graph.nodes) else None)
        inputs = ", ".join(f"{names[var]}: {self.type(var.type)}" for var in graph.inputs)
        types = [self.type(atom.type) for atom in graph.outputs]
        self.add(f"{indent}{graph.name}({inputs}) -> {types[0] if len(types) == 1 else '(' + ', '.join(types) + ')'}:")
        inner = indent + "  "
        if start > 0:
            self.add(f"{inner}... {start:,} nodes before")
        for number, piece in enumerate(pieces):
            if number:
                left_out = piece.start - pieces[0].stop
                self.add(f"{inner}... {left_out:,} nodes not shown: text(start={pieces[0].stop}, stop={piece.start})")
            for k in piece:
                self.node(graph.nodes[k], names, inner, graph)
        if stop < len(graph.nodes):
            self.add(f"{inner}... {len(graph.nodes) - stop:,} nodes after")
        self.add(f"{inner}return {', '.join(self.atom(atom, names) for atom in graph.outputs)}".rstrip())

    def node(self, node: Node, names: dict[Var, str], indent: str, graph: Graph, nested: bool = True) -> None:
        """`v3: f64[2,3] = matmul(x, w)`, and the nested graphs."""
        targets = ", ".join(f"{names.get(var, '?')}: {self.type(var.type)}" for var in node.outputs or ())
        arguments = [self.atom(atom, names) for atom in node.inputs]
        arguments += [
            f"{name}={self.value(value)}"
            for name, value in node.primitive.arguments().items()
            if not holds(value, type(graph))
        ]
        comment = "" if node.source is None else ("gradient of " if node.backward else "") + str(node.source)
        if node.backward and node.source is None:
            comment = "gradient"
        left = f"{targets} = " if targets else ""
        self.add(f"{indent}{left}{node.primitive.name}({', '.join(arguments)})", comment)
        if nested:
            for label, inner in node.subgraphs:
                self.add(f"{indent}  {label}:")
                self.graph(inner, indent + "    ", 0, len(inner.nodes))

    def atom(self, atom: Atom, names: dict[Var, str]) -> str:
        """A name, a literal, or `const(f64[100])`."""
        if isinstance(atom, Var):
            return names.get(atom, "?")
        if not isinstance(atom, Const):
            return f"<{type(atom).__name__}>"
        return literal(atom, dtype_name) or f"const({self.type(atom.type)})"

    def type(self, type: ArrayType) -> str:
        return str(type._replace(shape=tuple(self.dim(n) for n in type.shape)))

    def dim(self, extent: Any) -> Any:
        if not isinstance(extent, Dim):
            return extent
        return self.dims.setdefault(extent, f"n{len(self.dims)}")

    def value(self, value: Any) -> str:
        """A parameter, without memory addresses or numbers that differ from run to run."""
        if isinstance(value, Dim):
            return str(self.dim(value))
        if isinstance(value, np.dtype):
            return dtype_name(value)
        if type(value) in (tuple, list):
            inner = ", ".join(self.value(item) for item in value)
            left, right = "()" if isinstance(value, tuple) else "[]"
            return f"{left}{inner}{',' if isinstance(value, tuple) and len(value) == 1 else ''}{right}"
        if isinstance(value, np.generic):
            return repr(value.item())
        if isinstance(value, np.ndarray):
            return f"const({ArrayType(value.shape, value.dtype)})"
        if callable(value):
            return str(getattr(value, "__qualname__", type(value).__name__))
        text = repr(value)
        return text if " at 0x" not in text else f"<{type(value).__name__}>"


def holds(value: Any, kind: type) -> bool:
    """Whether a parameter is a graph or a sequence of graphs, which are printed below the node."""
    return isinstance(value, kind) or (
        isinstance(value, Sequence) and not isinstance(value, str) and any(isinstance(item, kind) for item in value)
    )
