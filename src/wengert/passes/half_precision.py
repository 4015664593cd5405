"""Arithmetic on float16 in float32, for programs whose registers hold float16 only to be moved.

Shape: local. Assumes: nothing. Guarantees: inputs and outputs stay; every elementwise result is rounded to float16 as
NumPy does it (float32 has more than twice the digits, so that rounding twice is rounding once for +, -, *, / and
roots). Sums and products of many elements are added in float32 and rounded once, which loses less than NumPy does.
Cost: linear in the nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Atom, Const, Node
from ..ops.families import Elementwise
from ..ops.shape import Convert
from .build import Builder, everywhere, known

HALF, SINGLE = np.dtype(np.float16), np.dtype(np.float32)
MOVED = frozenset({"where", "zeros_like", "stop_gradient", "barrier"})
"""Operations that move elements, beside the rearranging ones."""
COMPUTED = frozenset({"scatter_add", "nextafter"})
"""Operations that do not; of these the last one is about the dtype itself, and stays as it is."""


@everywhere
def half_precision(graph: Graph) -> Graph:
    """The graph with float16 converted around whatever computes."""
    if not any(atom.dtype == HALF for node in graph.nodes for atom in (*node.inputs, *(node.outputs or ()))):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        if moves(node):
            builder.keep(node)
        else:
            computed(builder, node)
    return builder.finish()


def moves(node: Node) -> bool:
    """Whether a node has no float16, or only moves it."""
    primitive = node.primitive
    if not any(atom.dtype == HALF for atom in (*node.inputs, *(node.outputs or ()))):
        return True
    if primitive.name in COMPUTED:
        return primitive.name == "nextafter"
    return primitive.higher_order or "rearranging" in primitive.facts or primitive.name in MOVED


def computed(builder: Builder, node: Node) -> None:
    """The node in float32, its results in the dtypes that they had."""
    inputs = list(builder.atoms(node.inputs))
    types, outs = [a.type for a in inputs], node.outputs or ()
    wanted = [t.dtype for t in types]
    if isinstance(node.primitive, Elementwise):
        wanted = node.primitive.operand_dtypes(types, outs[0].type)
    given = [single(builder, atom, node) if d == HALF else atom for atom, d in zip(inputs, wanted, strict=True)]
    made = builder.emit(node.primitive, given, node)
    for old, var in zip(outs, made, strict=True):
        fitted = builder.fit(var, old.type, node)
        assert fitted is not None, "a result of an operation is not weak"
        builder.substitute(old, fitted)


def single(builder: Builder, atom: Atom, like: Node) -> Atom:
    """A value as float32, rounded to float16 before if it is none."""
    if known(atom) and atom.shape == ():
        value: Any = atom.value  # type: ignore[union-attr]
        with np.errstate(all="ignore"):
            return Const(np.asarray(value).astype(HALF).astype(SINGLE)[()])
    if atom.dtype != HALF:
        (atom,) = builder.emit(Convert.of(HALF), (atom,), like)
    return builder.emit(Convert.of(SINGLE), (atom,), like)[0]
