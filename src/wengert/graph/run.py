"""A graph as a Python function on plain arrays: one line a node, values dropped after their last use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..source import PACKAGE
from .graph import Graph
from .nodes import Var

LONGEST = 5000
"""Nodes beyond which writing out a function costs more than it saves."""


def runner(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    """The function from flat input values to a tuple of outputs (made once for a graph)."""
    return graph.cached("run", lambda: _write(graph))  # type: ignore[no-any-return]


def _write(graph: Graph) -> Callable[..., tuple[Any, ...]]:
    names: dict[Var, str] = {}
    scope: dict[str, Any] = {}

    def name(atom: Any) -> str:
        if isinstance(atom, Var):
            return names.setdefault(atom, f"v{len(names)}")
        key = f"c{len(scope)}"
        scope[key] = atom.value
        return key

    last: dict[Var, int] = {}
    for position, node in enumerate(graph.nodes):
        for atom in node.inputs:
            if isinstance(atom, Var):
                last[atom] = position
    outputs = {atom for atom in graph.outputs if isinstance(atom, Var)}
    head = ", ".join(name(var) for var in graph.inputs)
    lines = []
    for position, node in enumerate(graph.nodes):
        key = f"p{len(scope)}"
        scope[key] = node.primitive.numpy
        operands = ", ".join(name(atom) for atom in node.inputs)
        targets = ", ".join(name(var) for var in node.outputs or ())
        lines.append(f"    {targets}{',' if node.primitive.multiple else ''} = {key}({operands})")
        dead = [v for v in dict.fromkeys((*node.inputs, *(node.outputs or ())))
                if isinstance(v, Var) and last.get(v, position) == position and v not in outputs]  # fmt: skip
        if dead:
            lines.append(f"    del {', '.join(names[v] for v in dead)}")
    results = "".join(f"{name(atom)}, " for atom in graph.outputs)
    text = f"def run({head}):\n" + "\n".join(lines) + f"\n    return ({results})\n"
    exec(compile(text, f"{PACKAGE}<graph {graph.name}>", "exec"), scope)
    return scope["run"]  # type: ignore[no-any-return]
