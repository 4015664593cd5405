"""Array code that works row by row, as a loop over rows: what `vmap` would make of one row, undone.

A compiled loop over rows keeps the few numbers of a row in registers, where whole arrays would go through memory after
each operation. Whether an operation works row by row is asked of its own `batch` rule: an operation on one row is found
among the variants of its parameters, and it is the right one if batching it gives back the operation on all rows.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import WengertError
from ..graph.graph import Graph
from ..graph.interpreter import bind
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.types import ArrayType, Dim
from ..ops.index import FULL
from ..ops.scan import Scan

SHORTEST = 256
"""Rows from which on a loop over them is worth while."""
LARGEST = 64
"""Elements of a row up to which it is taken to stay near the processor."""


def by_rows(graph: Graph) -> Graph:
    """The graph with its row-by-row part as one `scan` without carries; the graph itself if there is no such part."""
    sizes: Counter[int] = Counter()
    for node in graph.nodes:
        for var in node.outputs or ():
            if var.shape and not isinstance(var.shape[0], Dim) and var.shape[0] >= SHORTEST:
                sizes[var.shape[0]] += 1
    for count, uses in sizes.most_common(1):
        if uses >= 8:
            return _looped(graph, count)
    return graph


def _looped(graph: Graph, count: int) -> Graph:
    rows: dict[Var, Var] = {}  # the value of all rows: that of one row
    later: set[Any] = set()  # what depends on rows and is none
    parts: dict[str, list[Node]] = {"before": [], "rows": [], "after": []}
    scanned: dict[Atom, Var] = {}
    consts: dict[Atom, Var] = {}
    for node in graph.nodes:
        part = "before"
        if any(atom in later for atom in node.inputs):
            part = "after"
        elif (found := _row_node(node, count, rows)) is not None:
            primitive, flags = found
            inputs = [_row_input(a, f, rows, scanned, consts) for a, f in zip(node.inputs, flags, strict=True)]
            outputs = tuple(Var.of(ArrayType(v.shape[1:], v.dtype)) for v in node.outputs or ())
            new = node.replace(tuple(inputs), outputs, primitive)
            for index, var in enumerate(outputs):
                var.node, var.index = new, index
            rows.update(zip(node.outputs or (), outputs, strict=True))
            parts["rows"].append(new)
            continue
        elif any(atom in rows for atom in node.inputs):
            part = "after"
        parts[part].append(node)
        if part == "after":
            later.update(node.outputs or ())
    if not any(var.shape for var in rows.values()):  # rows of one number are best left to the vectoriser
        return graph
    read = {a for node in parts["after"] for a in node.inputs} | set(graph.outputs)
    kept = [var for var in rows if var in read]
    body = Graph([*consts.values(), *scanned.values()], parts["rows"], [rows[var] for var in kept], "row")
    loop = Scan(body, len(consts), 0, count, False)

    def run(*values: Any) -> list[Any]:
        known: dict[Any, Any] = dict(zip(graph.inputs, values, strict=True))

        def value(atom: Atom) -> Any:
            return known[atom] if isinstance(atom, Var) else atom.value

        def make(part: str, nodes: Sequence[Node], wanted: Sequence[Atom]) -> None:
            piece = Graph([v for v in known if isinstance(v, Var)], nodes, wanted, part)
            known.update(zip(wanted, evaluate(piece, *[known[v] for v in piece.inputs]), strict=True))

        before = [v for node in parts["before"] for v in node.outputs or ()]
        make("before", parts["before"], before)
        known.update(zip(kept, bind(loop, *map(value, consts), *map(value, scanned)), strict=True))
        rest = [v for v in dict.fromkeys(graph.outputs) if isinstance(v, Var) and v not in known]
        make("after", parts["after"], rest)
        return [value(atom) for atom in graph.outputs]

    names = [getattr(var, "name", None) for var in graph.inputs]
    looped, _ = stage(run, [var.type for var in graph.inputs], names, name=graph.name)
    return looped.replace(in_tree=graph.in_tree, out_tree=graph.out_tree)


def _row_input(
    atom: Atom, batched: bool, rows: dict[Var, Var], scanned: dict[Atom, Var], consts: dict[Atom, Var]
) -> Atom:
    """An operand of all rows as one of a single row."""
    if not batched:
        if isinstance(atom, Const) and atom.type.size <= LARGEST:
            return atom
        return consts.setdefault(atom, Var.of(atom.type))
    if isinstance(atom, Var) and atom in rows:
        return rows[atom]
    if isinstance(atom, Const):
        values = np.asarray(atom.value)
        if (values == values[:1]).all():
            return Const(values[0])
    return scanned.setdefault(atom, Var.of(ArrayType(atom.shape[1:], atom.dtype)))


def _row_node(node: Node, count: int, rows: dict[Var, Var]) -> tuple[Primitive, list[bool]] | None:
    """The operation on one row and which operands have rows; None if the node does not work row by row."""
    outs = [var.type for var in node.outputs or ()]
    primitive = node.primitive
    if primitive.higher_order or primitive.batch is None or primitive.multiple or not outs:
        return None
    if not outs[0].shape or outs[0].shape[0] != count or outs[0].size > count * LARGEST:
        return None
    choices: list[tuple[bool, ...]] = []
    for atom in node.inputs:
        if isinstance(atom, Var) and atom in rows:
            choices.append((True,))
        elif atom.shape and atom.shape[0] == count:
            choices.append((True, False))
        else:
            choices.append((False,))
    for flags in itertools.product(*choices):
        if any(flags):
            types = [ArrayType(a.shape[1:], a.dtype) if f else a.type for a, f in zip(node.inputs, flags, strict=True)]
            for variant in _variants(primitive, count):
                if _batches_to(variant, types, flags, node, outs[0]):
                    return variant, list(flags)
    return None


def _variants(primitive: Primitive, count: int) -> Iterator[Primitive]:
    """The operation with parameters that may be those for one row: axes counted without the first one, its length and
    its place left out."""
    given = primitive.arguments()
    options: list[list[Any]] = []
    for value in given.values():
        found = [value]
        if value.__class__ is int and value > 0:
            found.append(value - 1)
        elif value.__class__ is tuple and value:
            if value[0] == FULL or value[0] == count or value[0] == (0, 0):
                found.append(value[1:])
            if all(part.__class__ is int for part in value):
                if min(value) > 0:
                    found.append(tuple(part - 1 for part in value))
                elif value[0] == 0:
                    found.append(tuple(part - 1 for part in value[1:]))
        options.append(found)
    for values in itertools.product(*options):
        yield primitive if values == tuple(given.values()) else type(primitive).of(*values)


def _batches_to(variant: Primitive, types: Sequence[ArrayType], flags: Sequence[bool], node: Node, out: Any) -> bool:
    """Whether batching an operation on rows of these types gives the node's operation on its operands, and no more."""
    try:
        own = variant.type(*types)
        if (own.shape, own.dtype) != (out.shape[1:], out.dtype):
            return False
        axes: list[Any] = []

        def run(*values: Any) -> list[Any]:
            whole = iter(values)
            given = [next(whole) if isinstance(a, Var) else a.value for a in node.inputs]
            result, axis = variant.batch(given, [0 if f else None for f in flags])  # type: ignore[misc]
            axes.append(axis)
            return [result]

        found, _ = stage(run, [a.type for a in node.inputs if isinstance(a, Var)])
    except (WengertError, ValueError, TypeError, IndexError):
        return False
    if axes != [0] or len(found.nodes) != 1 or found.nodes[0].primitive != node.primitive:
        return False
    given = iter(found.inputs)
    expected = [next(given) if isinstance(a, Var) else a for a in node.inputs]
    return all(map(_same, found.nodes[0].inputs, expected))


def _same(atom: Atom, given: Any) -> bool:
    """Whether an operand is what was given: the edge, or a constant of that value."""
    if isinstance(atom, Var) or isinstance(given, Var):
        return atom is given
    return atom.value is given.value or np.array_equal(atom.value, given.value)
