"""Residuals: what a loop stacks for its derivative is cut down to what cannot be computed again cheaply.

Shape: analysis (a minimum cut through the body), rebuild. Assumes: the backward part of a loop is a `scan` over what
the forward part stacked (`ops.scan`). Guarantees: the same operations on the same values, so the same results, bit for
bit. Of the values that a backward step reads, those go that follow by arithmetic and rearrangements from others that
are stacked, from the loop's constants and from the arrays that it scans; stacking a state instead of the many numbers
computed of it saves the memory and the time to write and read them, and costs a few operations in registers.
Cost: that of a maximum flow for each loop that stacks anything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..graph.cost import held
from ..graph.graph import Graph
from ..graph.nodes import Const, Node, Var
from ..graph.types import ArrayType
from ..ops.scan import Scan
from .build import Builder, everywhere
from .mincut import cheapest_kept
from .rematerialise import simple

WORTHWHILE = 0.8
"""The part of the bytes of a step that a cut has to come down to."""


class Pair(NamedTuple):
    """A loop and the scan that reads what it stacks: places of the stacks among its results, and the operands."""

    loop: Node
    back: Node
    stacks: dict[int, int]
    """From the place of an output of the loop's body to that of the input of the other body that it is."""


@everywhere
def residuals(graph: Graph) -> Graph:
    """The graph with loops that stack less for their derivatives."""
    pairs = pairs_of(graph)
    if not pairs:
        return graph
    builder = Builder(graph)
    jobs: dict[Node, tuple[Pair, set[Var]]] = {}
    for pair in pairs:
        kept = cut(pair)
        if kept is not None:
            jobs[pair.loop] = jobs[pair.back] = (pair, kept)
    made: dict[Node, dict[Var, Var]] = {}
    for node in graph.nodes:
        if node not in jobs:
            builder.keep(node)
            continue
        pair, kept = jobs[node]
        if node is pair.loop:
            made[node] = forward(builder, pair, kept)
        else:
            backward(builder, pair, kept, made[pair.loop])
    return builder.finish()


def first_stack(loop: Any) -> int:
    """Results of a loop that come before the stacks and are no outputs of the body: the flags of a `while_loop`."""
    return 0 if isinstance(loop, Scan) else 1


def body_of(loop: Any) -> Graph:
    return loop.body  # type: ignore[no-any-return]


def parts_of(loop: Any) -> tuple[int, int]:
    """How many inputs of a loop's body are constants, and how many of its operands stand before those."""
    return (loop.consts, 0) if isinstance(loop, Scan) else (loop.body_consts, loop.cond_consts)


def pairs_of(graph: Graph) -> list[Pair]:
    """Loops with stacks that one later scan alone reads."""
    loops = [
        node
        for node in graph.nodes
        if "loop" in node.primitive.facts and getattr(node.primitive, "length", None) is not None
    ]
    if len(loops) < 2:
        return []
    readers: dict[Any, list[Node]] = {}
    for node in graph.nodes:
        for atom in dict.fromkeys(node.inputs):
            readers.setdefault(atom, []).append(node)
    results = set(graph.outputs)
    found = []
    taken: set[Node] = set()
    for node in loops:
        loop: Any = node.primitive
        by_reader: dict[Node, dict[int, int]] = {}
        for j in range(loop.carries, len(loop.body.outputs)):
            out = (node.outputs or ())[j + first_stack(loop)]
            back = readers.get(out, [])
            if out in results or len(back) != 1 or not isinstance(back[0].primitive, Scan):
                continue
            scan: Any = back[0].primitive
            places = [k for k, atom in enumerate(back[0].inputs) if atom is out]
            if len(places) == 1 and places[0] >= scan.consts + scan.carries and scan.length == loop.length:
                by_reader.setdefault(back[0], {})[j] = places[0]
        for back, stacks in by_reader.items():
            scan = back.primitive
            opposite = scan.reverse != getattr(loop, "reverse", False)
            if opposite and node not in taken and back not in taken:
                taken.update((node, back))
                found.append(Pair(node, back, stacks))
    return found


def cut(pair: Pair) -> set[Var] | None:
    """The values of a step to stack; None if that saves little."""
    loop: Any = pair.loop.primitive
    body = body_of(loop)
    consts, _ = parts_of(loop)
    n = loop.carries
    given = {*body.inputs[:consts], *body.inputs[consts + n :]}
    wanted = {atom for j in pair.stacks if isinstance(atom := body.outputs[j], Var)}
    values = (*body.inputs, *(var for node in body.nodes for var in node.outputs or ()))
    price = {var: held(var) + 0.01 for var in values}
    kept = cheapest_kept(body.nodes, given, wanted, price, simple)
    before = sum(held(body.outputs[j]) for j in pair.stacks)
    return kept if sum(held(var) for var in kept) <= WORTHWHILE * before else None


def stacked_type(loop: Any, var: Var) -> ArrayType:
    return ArrayType((loop.length, *var.shape), var.dtype)


def forward(builder: Builder, pair: Pair, kept: set[Var]) -> dict[Var, Var]:
    """Write the loop that stacks the kept values; the stack of each."""
    node, loop = pair.loop, pair.loop.primitive
    body = body_of(loop)
    order = [var for var in (*body.inputs, *(v for n in body.nodes for v in n.outputs or ())) if var in kept]
    stay = [j for j in range(len(body.outputs)) if j not in pair.stacks]
    inner = body.replace(outputs=[*(body.outputs[j] for j in stay), *order])
    graphs = [inner if graph is body else graph for _, graph in node.subgraphs]
    primitive = loop.with_subgraphs(*graphs)  # type: ignore[misc]
    outs = node.outputs or ()
    skip = first_stack(loop)
    carries = loop.carries  # type: ignore[attr-defined]
    old = [*outs[: carries + skip], *(outs[j + skip] for j in stay if j >= carries)]
    new = [Var.of(var.type, getattr(var, "name", None), None, k) for k, var in enumerate(old)]
    stacks = {var: Var.of(stacked_type(loop, var), None, None, len(new) + k) for k, var in enumerate(order)}
    made = node.replace(builder.atoms(node.inputs), (*new, *stacks.values()), primitive)
    for var in made.outputs or ():
        var.node = made
    for before, after in zip(old, new, strict=True):
        builder.substitute(before, after)
    builder.add(made)
    return stacks


def backward(builder: Builder, pair: Pair, kept: set[Var], stacks: dict[Var, Var]) -> None:
    """Write the scan that computes again, in each step, what was stacked before."""
    node = pair.back
    scan: Any = node.primitive
    loop: Any = pair.loop.primitive
    source, target = body_of(loop), scan.body
    consts, skipped = parts_of(loop)
    outside = dict(zip(source.inputs, pair.loop.inputs[skipped:], strict=False))
    fixed = set(source.inputs[:consts])
    now: dict[Any, Any] = {}
    nodes: list[Node] = []
    extra_consts: dict[Var, Var] = {}
    extra_xs: dict[Var, Var] = {}
    producer = {var: n for n in source.nodes for var in n.outputs or ()}

    def fresh(atom: Any) -> Any:
        """What stands for a value of the forward step in the backward step."""
        if isinstance(atom, Const):
            return atom
        if atom not in now:
            if atom in kept or atom not in producer:
                pool = extra_consts if atom in fixed else extra_xs
                now[atom] = pool[atom] = Var.of(atom.type._replace(weak=False), getattr(atom, "name", None))
            else:
                again = producer[atom]
                inputs = tuple([fresh(a) for a in again.inputs])
                outs = tuple(
                    [Var.of(v.type, getattr(v, "name", None), None, k) for k, v in enumerate(again.outputs or ())]
                )
                copy = again.replace(inputs, outs)
                copy.backward = True
                for old, new in zip(again.outputs or (), outs, strict=True):
                    new.node = copy
                    now[old] = new
                nodes.append(copy)
        return now[atom]

    replaced = {target.inputs[place]: fresh(source.outputs[j]) for j, place in pair.stacks.items()}
    a, b = scan.consts, scan.consts + scan.carries
    for inner in target.nodes:
        inputs = tuple([replaced.get(atom, atom) for atom in inner.inputs])
        if any(x is not y for x, y in zip(inputs, inner.inputs, strict=True)):
            outs = tuple([Var.of(v.type, getattr(v, "name", None), None, k) for k, v in enumerate(inner.outputs or ())])
            inner, old = inner.replace(inputs, outs), inner
            for before, after in zip(old.outputs or (), outs, strict=True):
                after.node = inner
                replaced[before] = after
        nodes.append(inner)
    left = [k for k in range(b, len(target.inputs)) if k not in pair.stacks.values()]
    body = target.replace(
        inputs=[
            *target.inputs[:a], *extra_consts.values(), *target.inputs[a:b],
            *(target.inputs[k] for k in left), *extra_xs.values(),
        ],
        nodes=nodes,
        outputs=[replaced.get(atom, atom) for atom in target.outputs],
    )  # fmt: skip
    given = builder.atoms(node.inputs)
    operands = [
        *given[:a], *builder.atoms([outside[v] for v in extra_consts]), *given[a:b], *(given[k] for k in left),
        *(stacks[v] if v in stacks else builder.atom(outside[v]) for v in extra_xs),
    ]  # fmt: skip
    loop_back = Scan(body, a + len(extra_consts), scan.carries, scan.length, scan.reverse)
    builder.copy(node, tuple(operands), loop_back)
