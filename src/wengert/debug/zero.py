"""Why a gradient is zero: what cut the path from a parameter to the result, or where the cotangent died."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import BackwardError
from ..graph.graph import Graph
from ..graph.interpreter import is_traced, watching
from ..graph.nodes import Node, Var
from ..graph.tensor import Tensor
from ..graph.trees import flatten
from ..graph.types import is_inexact
from ..source import Source, describe
from ..transforms.grad import one_like
from ..transforms.reverse import Record
from ..transforms.trace import trace
from .finite import plain, summary


class Reason:
    """Why the gradient of one parameter is zero; `str` is the text. `kind`: "unused", "cut", "zero" or "alive"."""

    def __init__(self, name: str, kind: str, places: Sequence[tuple[str, Source | None, str]] = ()) -> None:
        self.name = name
        self.kind = kind
        self.places = tuple(places)

    def __str__(self) -> str:
        head = {
            "unused": f"{self.name}: the result does not depend on it",
            "cut": f"{self.name}: every path to the result is cut by an operation without a derivative",
            "zero": f"{self.name}: a path leads to the result, but its derivative is zero here",
            "alive": f"{self.name}: its gradient is not zero",
            "unknown": f"{self.name}: used, but no path with a derivative leads to this result",
        }[self.kind]
        return "\n".join([head, *[f"  {what}: {why}  ({describe(place)})" for what, place, why in self.places]])

    def __repr__(self) -> str:
        return f"<Reason {self.kind} for {self.name}>"


def why_zero(loss: Any, *parameters: Any) -> list[Reason]:
    """Print, and return, what makes gradients zero: operations that cut the path, or a derivative that is zero.

    Parameters
    ----------
    loss : a scalar computed define-by-run, followed by the `wg.variable`s to ask about; or a function (compiled ones
        too), followed by its arguments, all of whose floating-point leaves are asked about.

    Raises
    ------
    BackwardError : `loss` is a value that no variable leads to.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> found = wg.why_zero(lambda x, y: np.round(x) * 2.0, 1.3, 2.0)  # doctest: +ELLIPSIS
    x: every path to the result is cut by an operation without a derivative
      rint: derivative 0 wherever it exists  (...)
    y: the result does not depend on it
    """
    if is_traced(loss):
        reasons = [of_tensor(loss, p, k) for k, p in enumerate(parameters)]
    elif callable(loss):
        reasons = of_function(loss, parameters)
    else:
        raise BackwardError(
            f"why_zero on a plain value of type {type(loss).__name__}: no variable leads to it, everything is cut",
            "give a value computed of wg.variable(...), or the function: wg.why_zero(f, *args)",
        )
    print("\n".join(map(str, reasons)))
    return reasons


# Define by run --------------------------------------------------------------------------------------


def of_tensor(loss: Tensor, parameter: Any, position: int) -> Reason:
    """The reason for one variable of a dynamic graph."""
    if not is_traced(parameter) or parameter.edge is None:
        raise BackwardError(
            f"why_zero: parameter {position} is not in any graph", "give what was made with wg.variable(...)"
        )
    edge = parameter.edge
    name = edge.label or f"parameter {position}"
    if loss.edge is None or not isinstance(loss.interpreter, Record):
        return Reason(name, *cut_or_unused(edge))
    if not ancestors(loss.edge) & {edge}:
        return Reason(name, *cut_or_unused(edge))
    return of_walk(name, loss, edge)


def cut_or_unused(edge: Var) -> tuple[str, list[tuple[str, Source | None, str]]]:
    """What was noted at a variable that no derivative reaches."""
    cuts = [(what, place, NO_DERIVATIVE) for what, place in getattr(edge, "cuts", ())]
    if cuts:
        return "cut", cuts
    return ("unknown" if getattr(edge, "used", False) else "unused"), []


FLAT = frozenset({"sign"})
"""Operations that have a derivative (for complex numbers), which is 0 for real ones."""
NO_DERIVATIVE = "derivative 0 wherever it exists"


def ancestors(edge: Var) -> set[Var]:
    """The edges that lead to an edge, itself included."""
    found = {edge}
    stack = [edge]
    while stack:
        node = stack.pop().node
        for atom in () if node is None else node.inputs:
            if isinstance(atom, Var) and atom not in found:
                found.add(atom)
                stack.append(atom)
    return found


class Deaths:
    """A watch of the backward walk: where a cotangent that was not zero gives zeros only."""

    place: Source | None = None
    rule = ""
    backward = 0

    def __init__(self, between: set[Var]) -> None:
        self.between = between
        self.found: list[tuple[str, Source | None, str]] = []

    def around(self, interpreter: Any, primitive: Any, operands: Sequence[Any]) -> Any:
        return interpreter.apply(primitive, operands)

    def run(self, node: Node, operands: Sequence[Any]) -> Any:
        return node.primitive.numpy(*operands)

    def pulled(self, node: Node, ct: Any, saved: Any, arriving: Sequence[Any]) -> Sequence[Any]:
        cts = [c for c in (ct if isinstance(ct, list) else [ct]) if c is not None]
        mine = [part for var, part in arriving if var in self.between]
        if mine and any(np.any(plain(c)) for c in cts) and not any(alive(part) for part in mine):
            held = [v for v in map(plain, () if node.primitive.higher_order else saved) if hasattr(v, "dtype")]
            near = f" where it holds {', '.join(map(summary, held))}" if held else ""
            self.found.append((node.primitive.name, node.source, f"derivative 0{near}"))
        return arriving


def alive(part: Any) -> bool:
    return part is not None and bool(np.any(plain(part.dense() if hasattr(part, "dense") else part)))


def descendants(edge: Var, loss: Var) -> set[Var]:
    """The edges between a parameter and the loss."""
    order = sorted((v for v in ancestors(loss) if v.node is not None), key=lambda v: v.node.number)  # type: ignore[union-attr]
    found = {edge}
    made = {edge.node}
    for var in order:
        if any(a in found or (a.node is not None and a.node in made) for a in var.node.inputs if isinstance(a, Var)):  # type: ignore[union-attr]
            found.add(var)
            made.add(var.node)
    made.discard(None)
    return found


def of_walk(name: str, loss: Tensor, edge: Var) -> Reason:
    """Walk back and see where the cotangent dies on the way to an edge."""
    deaths = Deaths(descendants(edge, loss.edge))  # type: ignore[arg-type]
    with watching(deaths):
        gradient = loss.interpreter.backward([(loss.edge, one_like(loss))]).get(edge)  # type: ignore[attr-defined]
    return Reason(name, "alive") if alive(gradient) else Reason(name, "zero", deaths.found)


# Functions ------------------------------------------------------------------------------------------


def of_function(fn: Callable[..., Any], args: Sequence[Any]) -> list[Reason]:
    """The reasons for all floating-point leaves of the arguments."""
    graph = trace(fn, *args)
    leaves = flatten(tuple(args))[0]
    reasons = []
    for k, var in enumerate(graph.inputs):
        if not is_inexact(var.dtype):
            continue
        name = var.label or f"argument {k}"
        outputs = [a for a in graph.outputs if isinstance(a, Var)]
        reached = flow(graph, {var}, smooth=False)
        if not reached & set(outputs):
            reasons.append(Reason(name, "unused"))
        elif not flow(graph, {var}, smooth=True) & set(outputs):
            reasons.append(Reason(name, "cut", list(dict.fromkeys(cuts(graph, {var}, outputs)))))
        else:
            reasons.append(by_running(name, fn, args, leaves, k))
    return reasons


def by_running(name: str, fn: Callable[..., Any], args: Sequence[Any], leaves: Sequence[Any], k: int) -> Reason:
    """Run the function define-by-run and see where the cotangent dies."""
    structure = flatten(tuple(args))[1]
    with Record() as record:
        given = list(leaves)
        given[k] = record.leaf(np.asarray(leaves[k], dtype=None), name)
        outs = [o for o in flatten(getattr(fn, "fn", fn)(*structure.unflatten(given)))[0] if is_traced(o) and o.edge]
        total: Any = 0.0
        for out in outs:
            total = total + out.sum() if is_inexact(out.dtype) else total
    if not is_traced(total):
        return Reason(name, "zero")
    return of_walk(name, total, given[k].edge)


def smooth_outputs(node: Node) -> list[bool]:
    """Which outputs of an operation have a derivative."""
    smooth = node.primitive.differentiable and node.primitive.name not in FLAT
    return [smooth and is_inexact(v.dtype) for v in node.outputs or ()]


def flow(graph: Graph, sources: set[Var], smooth: bool) -> set[Var]:
    """The edges that depend on the sources; with `smooth`, only through operations that have a derivative."""
    found = set(sources)
    for node in graph.nodes:
        if not found.isdisjoint(node.inputs):
            outs = inner_flow(node, found, smooth) if node.subgraphs else None
            for k, (var, passes) in enumerate(zip(node.outputs or (), smooth_outputs(node), strict=True)):
                if (passes or not smooth) and (outs is None or k in outs):
                    found.add(var)
    return found


def links(node: Node) -> Iterator[tuple[Graph, list[int], list[int], bool]]:
    """Graphs inside an operation, the operand behind each input, the output behind each output, whether it repeats."""
    count = len(node.inputs)
    primitive: Any = node.primitive
    for name, graph in node.subgraphs:
        places = list(range(count - len(graph.inputs), count))
        if node.primitive.name == "while_loop":
            a, b, _ = primitive.parts(range(count))
            if name == "cond":
                continue  # how often, not what
            places = [*b, *range(len(a) + len(b), count)]
        repeats = "loop" in primitive.facts
        yield graph, places, list(range(len(graph.outputs))), repeats


def inner_flow(node: Node, found: set[Var], smooth: bool) -> set[int] | None:
    """Positions of the outputs of a loop, branch or call that what is found leads to."""
    outs: set[int] = set()
    for graph, places, _, repeats in links(node):
        inputs = {v for v, p in zip(graph.inputs, places, strict=True) if node.inputs[p] in found}
        while True:
            inside = flow(graph, inputs, smooth)
            outs |= {k for k, atom in enumerate(graph.outputs) if atom in inside}
            more = carried(node, graph, outs) - inputs if repeats else set()
            if not more:
                break
            inputs |= more
    return outs


def carried(node: Node, graph: Graph, outs: set[int]) -> set[Var]:
    """Inputs of a loop's body that get an output of the step before."""
    primitive: Any = node.primitive
    parts = primitive.parts(range(len(node.inputs)))
    consts, carries = (parts[1], parts[2]) if primitive.name == "while_loop" else (parts[0], parts[1])
    return {graph.inputs[len(consts) + k] for k in range(len(carries)) if k in outs}


def cuts(graph: Graph, sources: set[Var], outputs: Sequence[Any]) -> Iterator[tuple[str, Source | None, str]]:
    """The operations that what depends smoothly on the sources ends at, on the way to the outputs."""
    reached = flow(graph, sources, smooth=True)
    needed = set(outputs)
    wanted = set()
    for node in reversed(graph.nodes):
        if not needed.isdisjoint(node.outputs or ()):
            needed.update(node.inputs)
            wanted.add(node)
    for node in graph.nodes:
        if node in wanted and not reached.isdisjoint(node.inputs) and reached.isdisjoint(node.outputs or ()):
            inner = list(inner_cuts(node, reached)) if node.subgraphs else []
            yield from inner or [(node.primitive.name, node.source, reason(node))]


def inner_cuts(node: Node, reached: set[Var]) -> Iterator[tuple[str, Source | None, str]]:
    for graph, places, _, _ in links(node):
        inputs = {v for v, p in zip(graph.inputs, places, strict=True) if node.inputs[p] in reached}
        yield from cuts(graph, inputs, [a for a in graph.outputs if isinstance(a, Var)])


def reason(node: Node) -> str:
    if node.primitive.name == "stop_gradient":
        return "cut on purpose"
    if node.primitive.not_differentiable:
        return node.primitive.not_differentiable
    kinds = {v.dtype.kind for v in node.outputs or ()}
    if not kinds & set("fc"):
        return f"gives {', '.join(str(v.type) for v in node.outputs or ())}, which has no derivative"
    return NO_DERIVATIVE
