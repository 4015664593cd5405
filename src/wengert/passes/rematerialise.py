"""Rematerialise: values that are cheap to compute are computed again in the gradient part instead of being kept.

Shape: analysis (a minimum cut), rebuild. Assumes: nodes of the gradient part are marked `backward`.
Guarantees: the same operations on the same values, so the same results, bit for bit; what the forward part hands to the
gradient part has the least bytes possible if elementwise operations, rearrangements and copies may be done again (not
products, reductions, look-ups by index, loops). The gradient part computes a value again right before its first use
there. Of a loop the stacks of what its derivative reads are cut in the same way (`rematerialise_loops`).
Cost: that of a maximum flow, in practice near linear in the nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..graph.cost import elementary, is_view
from ..graph.graph import Graph
from ..graph.live import footprint
from ..graph.nodes import Const, Node, Var
from ..graph.types import Dim
from ..ops.checkpoint import Barrier
from .mincut import cheapest_kept


def cheap(node: Node) -> bool:
    """Whether a node may be done again: elementwise operations and rearrangements."""
    facts = node.primitive.facts
    return (
        not node.primitive.higher_order
        and "effect" not in facts
        and ("elementwise" in facts or "rearranging" in facts)
        and not any(isinstance(n, Dim) for var in node.outputs or () for n in var.shape)
    )


def simple(node: Node) -> bool:
    """Whether a node is cheap and no elementary function: doing it again takes no longer than reading its result."""
    return cheap(node) and ("rearranging" in node.primitive.facts or not elementary(node))


def rematerialise(graph: Graph, again: Callable[[Node], bool] = cheap) -> Graph:
    """The graph with a gradient part that computes again what need not be kept; the same graph if all need.

    again : which nodes may be done again.
    """
    late = [node for node in graph.nodes if node.backward]
    early = [node for node in graph.nodes if not node.backward]
    made_late = {var for node in late for var in node.outputs or ()}
    if not late or any(atom in made_late for node in early for atom in node.inputs):
        return graph
    made = {var for node in early for var in node.outputs or ()}
    wanted = {atom for node in late for atom in node.inputs if atom in made}
    results = {atom for atom in graph.outputs if atom in made}
    price = {var: 0.0 if var in results else float(footprint(var)) for var in made}
    given = set(graph.inputs)
    kept = cheapest_kept(early, given, wanted, price, lambda node: is_view(node) or again(node))
    if kept >= {var for node in early if not is_view(node) for var in node.outputs or () if var in wanted}:
        return graph
    producer = {var: node for node in early for var in node.outputs or ()}
    nodes = list(early)
    now: dict[Any, Any] = {}
    after: Var | None = None
    apart: dict[Any, Any] = {}

    def behind(atom: Any) -> Any:
        """A kept value or argument, behind a barrier, so that what is computed of it is not known already."""
        if after is None or isinstance(atom, Const) or atom.type.weak:
            return atom
        if atom not in apart:
            out = Var.of(atom.type, getattr(atom, "name", None))
            node = Node(Barrier.of(), (atom, after), (out,), None, 0, nodes[-1].number, None, None, True)
            out.node = node
            nodes.append(node)
            apart[atom] = out
        return apart[atom]

    def found(var: Any) -> Any:
        """What stands for a value in the gradient part, without recursion: chains may be long."""
        stack = [var]
        while stack:
            top = stack[-1]
            if top in now or top in kept or top not in producer:
                stack.pop()
                continue
            node = producer[top]
            missing = [a for a in node.inputs if a in producer and a not in kept and a not in now]
            if missing:
                stack.extend(missing)
                continue
            inputs = tuple([now[a] if a in now else behind(a) for a in node.inputs])
            outs = tuple([Var.of(v.type, getattr(v, "name", None), None, k) for k, v in enumerate(node.outputs or ())])
            copy = node.replace(inputs, outs)
            copy.backward = True
            for old, new in zip(node.outputs or (), outs, strict=True):
                new.node = copy
                now[old] = new
            nodes.append(copy)
            stack.pop()
        return now.get(var, var)

    for node in late:
        inputs = tuple([found(a) if a in producer else a for a in node.inputs])
        if all(a is b for a, b in zip(inputs, node.inputs, strict=True)):
            nodes.append(node)
        else:
            nodes.append(node.replace(inputs, node.outputs or ()))
        outs = [var for var in node.outputs or () if var.shape is not None]
        after = min(outs, key=footprint) if outs and after is None else after
    return graph.replace(nodes=nodes)
