"""What a graph costs, told to people: `graph.cost()` and `graph.memory_report()`.

Figures come from `graph.cost` (operations, bytes) and `graph.live` (memory); derivatives are built, optimised and
counted like any other graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ..graph.cost import Work, graph_work, held, node_work, size_text, steps_of
from ..graph.graph import Graph
from ..graph.live import live
from ..graph.nodes import Node, Var
from ..graph.printing import name_edges
from ..graph.types import is_inexact
from ..source import Source
from ..transforms.forward import jvp_graph
from ..transforms.reverse import joint_graph
from . import optimize
from .dce import dce


class Row(NamedTuple):
    """The cost of one node. `depth` counts the loops, branches and calls around it, whose runs are in `times`."""

    name: str
    operation: str
    type: str
    times: float
    work: Work
    line: str
    backward: bool
    depth: int
    node: Node


class Cached(NamedTuple):
    """A value that reverse mode has to keep: its name, bytes, and edge."""

    name: str
    bytes: int
    edge: Var


class Cost:
    """What a graph costs; made by `graph.cost()`. Print it for a table.

    Attributes
    ----------
    rows : a `Row` for each node, those of loops and branches after the node that holds them.
    total, forward, backward : `Work` (operations, read, written, bytes, intensity) of everything, of the nodes that
        compute the value, of those in the gradient part.
    operations, bytes, intensity : those of `total`.
    cached : the values of the forward part that reverse mode reads, the least it has to keep if nothing is computed
        again.
    ratios : operations of each derivative of the graph as multiples of its own, by name: "jvp" (one directional
        derivative), "vjp" (one gradient), "hvp" (one Hessian-vector product), each with the value. Optimised graphs
        are compared.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows = tuple(rows_of(graph))
        own = [(node, node_work(node)) for node in graph.nodes]
        self.forward = sum((work for node, work in own if not node.backward), Work())
        self.backward = sum((work for node, work in own if node.backward), Work())
        self.total = graph_work(graph)

    @property
    def operations(self) -> float:
        return self.total.operations

    @property
    def bytes(self) -> float:
        return self.total.bytes

    @property
    def intensity(self) -> float:
        return self.total.intensity

    @property
    def cached(self) -> tuple[Cached, ...]:
        return self.graph.cached("kept for reverse mode", lambda: kept_values(self.graph))  # type: ignore[no-any-return]

    @property
    def ratios(self) -> dict[str, float]:
        return self.graph.cached("cost ratios", lambda: derivative_ratios(self.graph))  # type: ignore[no-any-return]

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain numbers and texts."""
        keys = ("name", "operation", "type", "times", "line", "backward", "depth")
        return {
            "nodes": [{**{k: getattr(r, k) for k in keys}, **_figures(r.work)} for r in self.rows],
            "total": _figures(self.total),
            "forward": _figures(self.forward),
            "backward": _figures(self.backward),
            "cached": {value.name: value.bytes for value in self.cached},
            "ratios": dict(self.ratios),
        }

    def __str__(self) -> str:
        head = ("value", "operation", "times", "operations", "bytes", "per byte", "line")
        lines = [
            (
                "  " * r.depth + r.name, r.operation, f"{r.times:,g}", f"{r.work.operations:,.0f}",
                f"{r.work.bytes:,.0f}", f"{r.work.intensity:.3g}", ("gradient of " if r.backward else "") + r.line,
            )
            for r in self.rows
        ]  # fmt: skip
        for name, work in (("forward", self.forward), ("gradient", self.backward), ("total", self.total)):
            if name == "total" or self.backward.seconds:
                lines.append(
                    (name, "", "", f"{work.operations:,.0f}", f"{work.bytes:,.0f}", f"{work.intensity:.3g}", "")
                )
        text = [f"cost of {self.graph.name}", *table(head, lines, left=(0, 1, 6))]
        if self.total.open:
            text.append("a loop's number of steps is known only by the run: one step is counted")
        if self.cached:
            values = ", ".join(f"{value.name} ({size_text(value.bytes)})" for value in self.cached)
            total = size_text(sum(value.bytes for value in self.cached))
            text.append(f"kept for reverse mode: {values}; {total} in all")
        if self.ratios:
            text.append("cost of derivatives, as multiples of this graph's operations, the value included: "
                        + ", ".join(f"{name} {ratio:.2f}" for name, ratio in self.ratios.items()))  # fmt: skip
        return "\n".join(text)

    def __repr__(self) -> str:
        return f"<Cost of {self.graph.name}: {self.operations:,.0f} operations, {size_text(self.bytes)} moved>"


def _figures(work: Work) -> dict[str, float]:
    return {"operations": work.operations, "bytes": work.bytes, "intensity": work.intensity}


def cost(graph: Graph) -> Cost:
    """Operations, bytes moved and arithmetic intensity, node by node and in total.

    An arithmetic operation or elementary function on one element counts as one operation. Bytes are those of operands
    read and results written by NumPy node by node; a compiled program, which fuses, moves fewer.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> c = cost(wg.trace(lambda a, x: np.tanh(a @ x), np.ones((20, 10)), np.ones(10)))
    >>> c.operations, [value.name for value in c.cached], round(c.ratios["vjp"], 2)
    (420.0, ['a', 'x', 'v1'], 2.57)
    """
    return Cost(graph)


def rows_of(graph: Graph, times: float = 1, depth: int = 0) -> Iterator[Row]:
    names = name_edges(graph)
    for node in graph.nodes:
        outs = node.outputs or ()
        yield Row(
            ", ".join(names[var] for var in outs), node.primitive.name, ", ".join(str(var.type) for var in outs), times,
            node_work(node).times(times), str(node.source or ""), node.backward, depth, node,
        )  # fmt: skip
        count, _ = steps_of(node)
        for _, inner in node.subgraphs:
            yield from rows_of(inner, times * count, depth + 1)


def table(head: Sequence[str], lines: Sequence[Sequence[str]], left: Sequence[int]) -> list[str]:
    """Columns of text, those in `left` aligned at their left edge."""
    rows = [head, *lines]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    padded = [
        [cell.ljust(widths[k]) if k in left else cell.rjust(widths[k]) for k, cell in enumerate(row)] for row in rows
    ]
    return ["  ".join(row).rstrip() for row in padded]


def gradient_graph(graph: Graph) -> Graph | None:
    """The graph with its reverse mode; itself if it has one, None if nothing in it can be differentiated."""
    if any(node.backward for node in graph.nodes):
        return graph
    needed = [is_inexact(var.dtype) for var in graph.inputs]
    arriving = [isinstance(a, Var) and is_inexact(a.dtype) for a in graph.outputs]
    if not any(needed) or not any(arriving):
        return None
    return graph.cached("its gradient", lambda: dce(joint_graph(graph, needed, arriving)))  # type: ignore[no-any-return]


def kept_values(graph: Graph) -> tuple[Cached, ...]:
    """What the gradient part reads of the forward part, rearrangements counted as what they rearrange."""
    joint = gradient_graph(graph)
    if joint is None:
        return ()
    producers = joint.producers()
    cotangents = set(joint.inputs[len(graph.inputs) :])
    names = name_edges(joint.replace(inputs=joint.inputs[: len(graph.inputs)]))
    found: dict[Var, None] = {}
    for node in joint.nodes:
        for atom in node.inputs if node.backward else ():
            while True:
                made = producers.get(atom)
                if made is None or made.backward or not {"view"} & made.primitive.facts:
                    break
                atom = made.inputs[0]
            if isinstance(atom, Var) and atom not in cotangents and (made is None or not made.backward):
                found[atom] = None
    order = {var: k for k, var in enumerate((*joint.inputs, *(v for n in joint.nodes for v in n.outputs or ())))}
    return tuple(Cached(names[var], held(var), var) for var in sorted(found, key=order.__getitem__))


def derivative_ratios(graph: Graph) -> dict[str, float]:
    """Operations of derivatives as multiples of the graph's own, all optimised."""
    joint = gradient_graph(graph)
    own = graph_work(optimize(graph)).operations
    if joint is None or joint is graph or not own:
        return {}
    moving = [is_inexact(var.dtype) for var in graph.inputs]
    tangents = moving + [False] * (len(joint.inputs) - len(graph.inputs))
    graphs = {"jvp": jvp_graph(graph, moving)[0], "vjp": joint, "hvp": jvp_graph(joint, tangents)[0]}
    return {name: graph_work(optimize(g)).operations / own for name, g in graphs.items()}


# Memory ----------------------------------------------------------------------------------------------------


class Owner(NamedTuple):
    """A line of the user's, and the bytes of values made there that are alive at the peak."""

    line: str
    text: str
    bytes: int
    values: tuple[str, ...]


class MemoryReport:
    """Who owns the memory of a graph at its peak; made by `graph.memory_report()`. Print it.

    Attributes
    ----------
    peak : bytes allocated at the moment with most of them, arguments not counted.
    node : the operation at work then. owners : the user's lines, the one with most bytes first.
    workspace : bytes that the operation itself needs then.
    """

    def __init__(self, graph: Graph) -> None:
        found = live(graph)
        names = name_edges(graph)
        self.graph = graph
        self.peak = found.peak
        self.workspace = found.work
        self.node = graph.nodes[found.at] if found.at >= 0 else None
        groups: dict[str, list[tuple[Var, int]]] = {}
        sources: dict[str, Source | None] = {}
        for var, size in found.held:
            source = maker(var)
            line = str(source) if source is not None else "(no line)"
            groups.setdefault(line, []).append((var, size))
            sources[line] = source
        self.owners = tuple(
            sorted(
                (
                    Owner(line, source.text if (source := sources[line]) is not None else "", sum(b for _, b in held),
                          tuple(names.get(var, "") for var, _ in held))
                    for line, held in groups.items()
                ),
                key=lambda owner: -owner.bytes,
            )
        )  # fmt: skip

    def __str__(self) -> str:
        lines = [f"memory of {self.graph.name}: {size_text(self.peak)} at the peak"]
        if self.node is not None:
            gradient = "the gradient of " if self.node.backward else ""
            lines[0] += f", in {self.node.primitive.name} ({gradient}{self.node.source})"
        shares = [
            (f"{owner.bytes / max(self.peak, 1):.0%}", size_text(owner.bytes), owner.line,
             f"{len(owner.values)} value{'s' * (len(owner.values) != 1)}", owner.text)
            for owner in self.owners
        ]  # fmt: skip
        if self.workspace:
            shares.append(
                (f"{self.workspace / max(self.peak, 1):.0%}", size_text(self.workspace), "", "", "working memory")
            )
        shown = table(("share", "bytes", "line", "", ""), shares, left=(2, 3, 4))
        return "\n".join([*lines, *shown])

    def __repr__(self) -> str:
        return f"<MemoryReport: {size_text(self.peak)} at the peak, {len(self.owners)} lines>"


def maker(var: Var) -> Source | None:
    """The user's line that made a value; for what a loop stacked the line in its body."""
    node = var.node
    while node is not None:
        count = getattr(node.primitive, "carries", None)
        body = node.subgraphs[-1][1] if node.subgraphs else None
        if body is None or not isinstance(count, int) or not count <= var.index < len(body.outputs):
            return node.source
        inner = body.outputs[var.index]
        if inner in body.inputs:  # a carry as it comes in was made by the step before
            place = body.inputs.index(inner) - _constants(node)
            inner = body.outputs[place] if 0 <= place < count else inner
        if not isinstance(inner, Var) or inner.node is None:
            return node.source
        var, node = inner, inner.node
    return None


def _constants(node: Node) -> int:
    counts = getattr(node.primitive, "constants", (0,))
    return int(counts[-1])


def memory_report(graph: Graph) -> MemoryReport:
    """Which of the user's lines own the memory at the peak, found without running anything.

    The peak is that of running the graph with NumPy (`graph(*args)`): what is allocated beyond the arguments.
    Of a graph without a gradient part that of its reverse mode is reported where it has one: trace
    `wg.value_and_grad(f)` to see both.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> report = memory_report(wg.trace(lambda x: np.sum(np.sin(x) * np.exp(x)), np.ones((1000, 1000))))
    >>> round(report.peak / 8e6)
    2
    """
    return MemoryReport(graph)
