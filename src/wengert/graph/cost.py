"""What a node costs: arithmetic operations, bytes moved, an estimate of time. Derived from what operations say.

An arithmetic operation or elementary function on one element counts as one operation. What only looks at an array in
another way (reshape, transpose, slice) costs nothing; what copies costs bytes. A primitive states `flops` where its
family's rule is wrong: products by their inner extent, factorisations by n**3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

from .graph import Graph
from .lifetimes import ufunc_of
from .nodes import Node, Var
from .types import ArrayType, Dim

CALL = 1e-6
"""Seconds that NumPy takes to be called at all."""
BANDWIDTH = 1e10
"""Bytes a second through an elementwise operation."""
SIMPLE, ELEMENTARY = 3e-10, 6e-9
"""Seconds per element of an arithmetic operation and of an elementary function."""
PRODUCT = 2e-11
"""Seconds per operation of a matrix product."""


class Work(NamedTuple):
    """Operations, bytes read, bytes written, and seconds by the rough model above; `open` if steps are unknown."""

    operations: float = 0.0
    read: float = 0.0
    written: float = 0.0
    seconds: float = 0.0
    open: bool = False

    def __add__(self, other: Work) -> Work:  # type: ignore[override]
        a, b = self, other
        return Work(
            a.operations + b.operations, a.read + b.read, a.written + b.written, a.seconds + b.seconds, a.open or b.open
        )

    def times(self, count: float) -> Work:
        return Work(self.operations * count, self.read * count, self.written * count, self.seconds * count, self.open)

    @property
    def bytes(self) -> float:
        return self.read + self.written

    @property
    def intensity(self) -> float:
        """Operations per byte moved; 0 where nothing moves."""
        return self.operations / self.bytes if self.bytes else 0.0


def elements(type: Any) -> int:
    """Number of elements; an extent that only the run knows counts once."""
    try:
        return prod(type.shape)
    except TypeError:
        return prod(1 if isinstance(n, Dim) else int(n) for n in type.shape)


def held(type: Any) -> int:
    """Bytes of the elements; an extent that only the run knows counts once."""
    return elements(type) * int(type.dtype.itemsize)


def is_view(node: Node) -> bool:
    """Whether a node only looks at its operand in another way."""
    return "view" in node.primitive.facts


def steps_of(node: Node) -> tuple[float, bool]:
    """How often the graphs inside a node run, and whether only the run knows."""
    length = getattr(node.primitive, "length", 1)
    if "loop" not in node.primitive.facts:
        return 1, False
    if length is None or isinstance(length, Dim):
        return 1, True
    return int(length), False


def graph_work(graph: Graph) -> Work:
    """Everything that a graph does, loops included."""
    return graph.cached("work", lambda: sum((node_work(node) for node in graph.nodes), Work()))  # type: ignore[no-any-return]


def node_work(node: Node) -> Work:
    """What one node does. Of a branch the dearest counts; of a loop without known length one step."""
    inner = [graph_work(graph) for _, graph in node.subgraphs]
    if inner:
        count, open = steps_of(node)
        if "branch" in node.primitive.facts:
            body = max(inner, key=lambda work: work.seconds)
        else:
            body = sum(inner, Work()).times(count)
        stacked = sum(held(var) for var in node.outputs or () if "loop" in node.primitive.facts)
        return body + Work(0, 0, stacked, CALL * (1 + count), open)
    types = [atom.type for atom in node.inputs]
    outs = [var.type for var in node.outputs or ()]
    if is_view(node):
        return Work(seconds=CALL)
    operations = flops(node, types, outs)
    read = sum(held(t) for t in types)
    written = sum(held(t) for t in outs)
    return Work(operations, read, written, CALL + seconds(node, operations, read + written))


def flops(node: Node, types: Sequence[ArrayType], outs: Sequence[ArrayType]) -> float:
    """Arithmetic operations of a node: what the primitive states, otherwise by its family."""
    primitive = node.primitive
    if primitive.flops is not None:
        return float(primitive.flops(*[_known(t) for t in types]))
    facts = primitive.facts
    complexity = 4 if any(t.dtype.kind == "c" for t in outs) else 1
    if "rearranging" in facts or "identity" in facts:
        return 0.0
    if "elementwise" in facts:
        return float(complexity * sum(map(elements, outs)))
    return float(complexity * max(sum(map(elements, types)), sum(map(elements, outs))))


def _known(type: ArrayType) -> ArrayType:
    return type._replace(shape=tuple([1 if isinstance(n, Dim) else n for n in type.shape]))


def elementary(node: Node) -> bool:
    """Whether an elementwise operation is an elementary function, which has no form for integers."""
    ufunc = ufunc_of(node)
    if ufunc is None:
        return "linear" not in node.primitive.facts and "bilinear" not in node.primitive.facts
    return ufunc.nin == 1 and not any(kind[0] in "bhilq" for kind in ufunc.types)


def seconds(node: Node, operations: float, moved: float) -> float:
    """Roughly how long NumPy takes, its call aside: what planning weighs recomputing with."""
    facts = node.primitive.facts
    if "matmul" in facts or ("bilinear" in facts and "elementwise" not in facts):
        return operations * PRODUCT + moved / (4 * BANDWIDTH)
    rate = ELEMENTARY if "elementwise" in facts and elementary(node) else SIMPLE
    return max(operations * rate, moved / BANDWIDTH)


def size_text(count: float) -> str:
    """Bytes for people: `3.2 MB`, in powers of 1000."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 999.5 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} B"


def atoms_of(graph: Graph) -> list[Var]:
    """Every edge of a graph's own level: inputs, then what its nodes make."""
    return [*graph.inputs, *(var for node in graph.nodes for var in node.outputs or ())]
