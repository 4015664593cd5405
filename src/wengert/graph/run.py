"""A graph as a Python function on plain arrays: values are dropped after their last use, or written over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..source import PACKAGE
from .graph import Graph
from .interpreter import state
from .lifetimes import last_uses, overwritten
from .nodes import Var
from .stage import evaluate

LONGEST = 5000
"""Nodes beyond which compiling a written-out function costs more than it saves."""


def runner(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    """The function from flat input values, of the graph's types, to a tuple of outputs (made once for a graph)."""
    if state.watch is not None:
        return lambda *values: tuple(evaluate(graph, *values))
    return graph.cached("run", lambda: (_write if len(graph.nodes) <= LONGEST else _walk)(graph))  # type: ignore[no-any-return]


def _write(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    """The function written out as source, a line a node."""
    names: dict[Var, str] = {}
    scope: dict[str, Any] = {}

    def name(atom: Any) -> str:
        if isinstance(atom, Var):
            return names.setdefault(atom, f"v{len(names)}")
        key = f"c{len(scope)}"
        scope[key] = atom.value
        return key

    over = overwritten(graph)
    head = ", ".join(name(var) for var in graph.inputs)
    lines = []
    for node, dead in zip(graph.nodes, last_uses(graph), strict=True):
        key = f"p{len(scope)}"
        target = over.get(node)
        scope[key] = node.primitive.numpy if target is None else node.primitive.reference
        operands = ", ".join(name(atom) for atom in node.inputs)
        if target is not None:
            operands += f", out={names[target]}"
        targets = ", ".join(name(var) for var in node.outputs or ())
        left = f"{targets}{',' if node.primitive.multiple else ''} = " if targets else ""
        lines.append(f"    {left}{key}({operands})")
        if dead:
            lines.append(f"    del {', '.join(names[v] for v in dead)}")
    results = "".join(f"{name(atom)}, " for atom in graph.outputs)
    text = f"def run({head}):\n" + "\n".join(lines) + f"\n    return ({results})\n"
    exec(compile(text, f"{PACKAGE}<graph {graph.name}>", "exec"), scope)
    return scope["run"]  # type: ignore[no-any-return]


def _walk(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    """The function as a loop over the nodes, with a slot for every value; slots of the dead are used again."""
    slots: dict[Var, int] = {var: k for k, var in enumerate(graph.inputs)}
    fixed: list[tuple[int, Any]] = []
    free: list[int] = []
    size = len(slots)

    def new() -> int:
        nonlocal size
        if free:
            return free.pop()
        size += 1
        return size - 1

    def slot(atom: Any) -> int:
        nonlocal size
        if isinstance(atom, Var):
            return slots[atom]
        fixed.append((size, atom.value))
        size += 1
        return size - 1

    over = overwritten(graph)
    steps = []
    for node, dead in zip(graph.nodes, last_uses(graph), strict=True):
        operands = tuple([slot(atom) for atom in node.inputs])
        target = over.get(node)
        function: Any = node.primitive.numpy if target is None else node.primitive.reference
        place = None if target is None else slots[target]
        for var in node.outputs or ():
            slots[var] = new()
        outs = tuple([slots[var] for var in node.outputs or ()])
        gone = tuple([slots[v] for v in dead])
        free.extend(gone)
        steps.append((function, operands, place, outs, gone, node.primitive.multiple))
    results = tuple([slot(atom) for atom in graph.outputs])
    count = len(graph.inputs)

    def run(*values: Any) -> tuple[Any, ...]:
        known: list[Any] = [None] * size
        known[:count] = values
        for place, value in fixed:
            known[place] = value
        for function, operands, target, outs, gone, multiple in steps:
            given = [known[k] for k in operands]
            found = function(*given) if target is None else function(*given, out=known[target])
            if multiple:
                for position, k in enumerate(outs):
                    known[k] = found[position]
            else:
                known[outs[0]] = found
            del given, found
            for k in gone:
                known[k] = None
        return tuple([known[k] for k in results])

    return run
