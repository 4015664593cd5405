"""What branches and loops share: flags for what moves, and closed graphs in another order of inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph.effects import effects
from ..graph.graph import Graph
from ..graph.interpreter import type_of_value
from ..graph.primitive import Primitive
from ..graph.reference_source import dtype_text
from ..graph.stage import stage
from ..graph.types import ArrayType, is_inexact
from .families import vocabulary
from .reduce import sum_axes
from .trigonometric import sin

Flags = Sequence[bool]

quietly = np.errstate(all="ignore")
"""Graphs run without NumPy's floating-point warnings, as compiled code does: the nodes of a derivative divide by
zero where `strong_multiply` then masks the result."""


def call_text(targets: Sequence[str], function: str, operands: Sequence[str]) -> str:
    """`a, b = step(x, y)`, as source."""
    left = f"{', '.join(targets)} = " if targets else ""
    return f"{left}{function}({', '.join(operands)})"


def start_texts(targets: Sequence[Any], operands: Sequence[Any]) -> list[str]:
    """The first values of a loop's carries, as source; Python numbers become those of NumPy that the loop makes."""
    return [
        f"{target} = {dtype_text(target.type.dtype)}({operand})" if operand.type.weak else f"{target} = {operand}"
        for target, operand in zip(targets, operands, strict=True)
    ]


def strong(types: Sequence[ArrayType]) -> tuple[ArrayType, ...]:
    return tuple(t._replace(weak=False) for t in types)


def out_types(graph: Graph) -> tuple[ArrayType, ...]:
    return strong([atom.type for atom in graph.outputs])


def carries_derivative(graph: Graph, active: Flags) -> list[bool]:
    """Which outputs have a derivative with respect to the inputs that are active."""
    moving = {var for var, a in zip(graph.inputs, active, strict=True) if a and is_inexact(var.dtype)}
    for node in graph.nodes:
        if node.primitive.differentiable and any(atom in moving for atom in node.inputs):
            moving.update(out for out in node.outputs or () if is_inexact(out.dtype))
    return [atom in moving for atom in graph.outputs]


def fixed_point(step: Callable[[list[bool]], Sequence[bool]], start: Flags) -> list[bool]:
    """The least set of flags that contains `start` and that `step` adds nothing to."""
    flags = list(start)
    while True:
        grown = [a or b for a, b in zip(flags, step(flags), strict=True)]
        if grown == flags:
            return flags
        flags = grown


def pick(values: Sequence[Any], flags: Flags) -> list[Any]:
    return [value for value, flag in zip(values, flags, strict=True) if flag]


def spread(values: Sequence[Any], flags: Flags) -> list[Any]:
    """The inverse of `pick`, with None elsewhere."""
    given = iter(values)
    return [next(given) if flag else None for flag in flags]


class ControlFlow(Primitive, abstract=True):
    """Base: several outputs, graphs among the parameters."""

    multiple = True
    higher_order = True

    rereads: Callable[[Any], Collection[int]] | None = None
    """`rereads(saved)`: positions of the operands that `backward_pass` reads; all, without it."""

    def needs(self, used: Flags) -> list[bool]:
        """Which operands the outputs in use depend on."""
        raise NotImplementedError


class Loop(ControlFlow, abstract=True):
    """Base of loops: each graph starts with inputs that stay the same in every step.

    The operands start with those constants, in the order of the graphs.
    """

    facts = frozenset({"loop"})

    @property
    def constants(self) -> tuple[int, ...]:
        """How many constants each graph takes."""
        raise NotImplementedError

    @property
    def enters(self) -> tuple[bool, ...]:
        """Whether each graph surely runs at least once."""
        raise NotImplementedError


def live_parts(graph: Graph, wanted: Flags, loops: Mapping[int, int]) -> tuple[list[bool], list[bool]]:
    """Which inputs and outputs of a graph are needed for the outputs that are wanted.

    `loops` maps an input to the output that it was in the step before; both are needed or neither.
    """
    producers = graph.producers()
    fed = {graph.inputs[k]: j for k, j in loops.items()}
    outputs = [False] * len(graph.outputs)
    seen: set[Any] = set()
    read: dict[Any, list[bool]] = {}
    stack: list[Any] = []

    def want(j: int) -> None:
        if not outputs[j]:
            outputs[j] = True
            stack.append(graph.outputs[j])

    for j, flag in enumerate(wanted):
        if flag:
            want(j)
    for node in effects(graph):
        stack.extend(node.inputs)
    while stack:
        atom = stack.pop()
        if atom in seen:
            continue
        seen.add(atom)
        if atom in fed:
            want(fed[atom])
        node = producers.get(atom)
        if node is not None and isinstance(node.primitive, ControlFlow):
            used = read.setdefault(node, [False] * len(node.outputs or ()))
            used[atom.index] = True
            stack.extend(pick(node.inputs, node.primitive.needs(used)))
        elif node is not None:
            stack.extend(node.inputs)
    inputs = [var in seen or (k in loops and outputs[loops[k]]) for k, var in enumerate(graph.inputs)]
    return inputs, outputs


def pruned(
    graph: Graph, wanted: Flags, loops: Mapping[int, int], clean: Callable[[Graph], Graph], keep: Sequence[int] = ()
) -> tuple[Graph, list[int], list[int]]:
    """The part of a loop's body that the wanted outputs need, with the positions of its inputs and outputs.

    `clean` removes dead nodes, which may leave more inputs without use: repeated until none is. `keep` are inputs
    that stay in any case.
    """
    ins, outs = list(range(len(graph.inputs))), list(range(len(graph.outputs)))
    cleaned = False
    while True:
        at_in, at_out = {k: p for p, k in enumerate(ins)}, {j: p for p, j in enumerate(outs)}
        here = {at_in[k]: at_out[j] for k, j in loops.items() if k in at_in}
        in_flags, out_flags = live_parts(graph, [wanted[j] for j in outs], here)
        in_flags = [flag or k in keep for flag, k in zip(in_flags, ins, strict=True)]
        if cleaned and all(in_flags) and all(out_flags):
            return graph, ins, outs
        ins, outs = pick(ins, in_flags), pick(outs, out_flags)
        graph = clean(graph.replace(inputs=pick(graph.inputs, in_flags), outputs=pick(graph.outputs, out_flags)))
        cleaned = True


def rearranged(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    """The same graph with inputs and outputs in another order."""

    def make() -> Graph:
        return graph.replace(inputs=[graph.inputs[k] for k in inputs], outputs=[graph.outputs[k] for k in outputs])

    return graph.cached(("rearranged", tuple(inputs), tuple(outputs)), make)  # type: ignore[no-any-return]


def compact(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def zeros_of(t: ArrayType) -> Any:
    return np.zeros(t.shape, t.dtype)[()]


def var_type(value: Any) -> ArrayType:
    return type_of_value(value)._replace(weak=False)


def slice_type(value: Any) -> ArrayType:
    t = type_of_value(value)
    return ArrayType(t.shape[1:], t.dtype)


def sample_graph(kind: int) -> Graph:
    """Small graphs for the tests: two branches, a body to scan, the body and condition of a while loop."""
    vector = ArrayType((3,), np.dtype(np.float64))
    scalar = ArrayType((), np.dtype(np.float64))
    programs: list[tuple[Callable[..., Any], list[ArrayType]]] = [
        (lambda x, y: [x * sin(y), x], [vector, vector]),
        (lambda x, y: [x + y, y * y], [vector, vector]),
        (lambda w, c, x: [sin(c * w) + x, c * x], [vector, vector, vector]),
        (lambda w, c: [sin(c) * w + 0.1 * c], [scalar, vector]),
        (lambda c: [vocabulary.less(0.01, sum_axes(c * c, (0,)))], [vector]),
    ]
    return stage(programs[kind][0], programs[kind][1])[0]
