"""Products: transposes, reshapes, broadcasts and conversions joined or moved out of the way of matrix products.

Shape: local rules. Assumes: operations with the fact "elementwise" follow NumPy's broadcasting.
Guarantees: types and derivatives stay, values as well, bit for bit, but for transposed matrix products, whose sums
may be added in another order (BLAS takes transposed operands at no cost; transposing the result is a copy).
Cost: linear in the nodes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Node
from .build import Builder, everywhere
from .rewrite import rewrite
from .rules import Match, Uses, rule, used_once


def compose(first: tuple[int, ...], then: tuple[int, ...]) -> tuple[int, ...]:
    """The permutation that does one transposition after the other."""
    return tuple(first[k] for k in then)


def swap_of(t: Any) -> tuple[int, ...]:
    """The permutation that exchanges the last two axes of a value of type `t`."""
    return (*range(t.ndim - 2), t.ndim - 1, t.ndim - 2)


def same_type(match: Match, uses: Uses) -> bool:
    """The operand has the type of the result already."""
    return match.type("x") == match.out


def keeps_order(match: Match, uses: Uses) -> bool:
    return bool(match.params["p"] == tuple(range(len(match.params["p"]))))


def matrices_swapped(match: Match, uses: Uses) -> bool:
    """Two matrices or stacks of matrices, and a transposition of their last two axes."""
    return match.type("x").ndim >= 2 and match.type("y").ndim >= 2 and match.params["p"] == swap_of(match.out)


def through_wider(match: Match, uses: Uses) -> bool:
    """Every value of x is a value of the dtype in between, and from there the last step is that from x."""
    x, between, last = match.type("x").dtype, match.params["p"], match.params["q"]
    return holds(x, between) and (last.kind not in "biu" or between.kind in "biu" or holds(x, last))


def holds(small: np.dtype[Any], large: np.dtype[Any]) -> bool:
    """Whether every value of one dtype is one of another (NumPy's "safe" lets int64 become float64)."""
    if not np.can_cast(small, large, "safe"):
        return False
    if small.kind in "iu" and large.kind in "fc":
        return bool(small.itemsize * 8 <= np.finfo(large).nmant + 1)
    return True


PRODUCTS = (
    rule("transpose(x, permutation=p) -> x", [keeps_order]),
    rule("transpose(transpose(x, permutation=p), permutation=q) -> transpose(x, permutation=compose(p, q))",
         helpers={"compose": compose}),
    rule("transpose(matmul(x, y), permutation=p) -> "
         "matmul(transpose(y, permutation=swap(y)), transpose(x, permutation=swap(x)))",
         [matrices_swapped, used_once], ["order"], helpers={"swap": swap_of}),
    rule("reshape(x, shape=s) -> x", [same_type]),
    rule("reshape(reshape(x, shape=s), shape=t) -> reshape(x, shape=t)"),
    rule("broadcast_to(x, shape=s) -> x", [same_type]),
    rule("broadcast_to(broadcast_to(x, shape=s), shape=t) -> broadcast_to(x, shape=t)"),
    rule("convert(x, dtype=d) -> x", [same_type]),
    rule("convert(convert(x, dtype=p), dtype=q) -> convert(x, dtype=q)", [through_wider]),
    rule("concatenate(x, axis=k) -> x", [same_type]),
    rule("f(broadcast_to(x, shape=s)) -> broadcast_to(f(x), shape=s)", f="elementwise"),
)  # fmt: skip


@everywhere
def products(graph: Graph, allow: Collection[str] = ()) -> Graph:
    """The graph with rearrangements joined; matrix products may add in another order."""
    return unbroadcast(rewrite(graph, PRODUCTS, {"order", *allow}))


def unbroadcast(graph: Graph) -> Graph:
    """Elementwise operations read small operands directly, where the others have the shape of the result anyway."""
    if not any(node.primitive.name == "broadcast_to" for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        inputs = builder.atoms(node.inputs)
        if len(inputs) > 1 and "elementwise" in node.primitive.facts:
            inputs = slimmer(node, inputs, builder)
        builder.rewire(node, inputs)
    return builder.finish()


def slimmer(node: Node, inputs: Any, builder: Builder) -> Any:
    """The operands without broadcasts that the operation does by itself; the same tuple if there are none."""
    (out,) = node.outputs or ()
    for k, atom in enumerate(inputs):
        maker = builder.producer.get(atom)
        if maker is not None and maker.primitive.name == "broadcast_to":
            tried = (*inputs[:k], maker.inputs[0], *inputs[k + 1 :])
            if node.primitive.type(*[a.type for a in tried]) == out.type:
                inputs = tried
    return inputs
