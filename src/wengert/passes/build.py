"""Rebuilding a graph: the one mutable thing that passes use, and how a pass reaches nested graphs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.primitive import Primitive
from ..graph.types import ArrayType, Dim
from ..ops.shape import BroadcastTo, Convert


class Pass(Protocol):
    """A function from a valid graph to a valid graph with the same inputs and types of outputs."""

    def __call__(self, graph: Graph, /) -> Graph: ...


class Builder:
    """A new list of nodes, made while walking the old one.

    `now` says which atom stands for an old edge, `producer` which new node makes an edge. A node whose operands
    have not changed is taken over as it is. The old and the new graph share edges: of a value that is computed in
    another way now, `var.node` is still the node that it had first.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self.now: dict[Any, Atom] = {}
        self.producer: dict[Any, Node] = {}
        self.values = dict(graph.values)
        self.changed = False

    def atom(self, atom: Atom) -> Atom:
        """What stands for an old atom."""
        return self.now.get(atom, atom)

    def atoms(self, atoms: Sequence[Atom]) -> tuple[Atom, ...]:
        """What stands for old atoms; the same tuple if they all stand for themselves."""
        now = self.now
        for atom in atoms:
            if atom in now:
                return tuple([now.get(a, a) for a in atoms])
        return tuple(atoms)

    def add(self, node: Node) -> None:
        self.nodes.append(node)
        for var in node.outputs or ():
            self.producer[var] = node

    def keep(self, node: Node, primitive: Primitive | None = None) -> None:
        """The node itself if nothing about it has changed, otherwise a copy with the same source and edges.

        The edges are those of the old graph, so that what reads them need not be copied in turn.
        """
        self.rewire(node, self.atoms(node.inputs), primitive)

    def rewire(self, node: Node, inputs: tuple[Atom, ...], primitive: Primitive | None = None) -> None:
        """The node on other operands, making the same edges."""
        if primitive is not None or inputs is not node.inputs:
            node = node.replace(inputs, node.outputs or (), primitive)
            self.changed = True
        self.nodes.append(node)
        producer = self.producer
        for var in node.outputs or ():
            producer[var] = node

    def copy(self, node: Node, inputs: tuple[Atom, ...], primitive: Primitive | None = None,
             outputs: Sequence[Var] | None = None) -> Node:  # fmt: skip
        """The node on other operands, with new edges for those in `outputs` (all by default)."""
        old = node.outputs or () if outputs is None else outputs
        made = tuple([Var.of(var.type, getattr(var, "name", None), None, k) for k, var in enumerate(old)])
        new = node.replace(inputs, made, primitive)
        for before, var in zip(old, made, strict=True):
            var.node = new
            self.now[before] = var
            if before in self.values:
                self.values[var] = self.values[before]
        self.add(new)
        self.changed = True
        return new

    def emit(self, primitive: Primitive, inputs: Sequence[Atom], like: Node) -> tuple[Var, ...]:
        """A new node, attributed to the line of `like`."""
        types = primitive.type(*[atom.type for atom in inputs])
        outputs = tuple([Var.of(t, None, None, k) for k, t in enumerate(types if primitive.multiple else (types,))])
        node = like.replace(tuple(inputs), outputs, primitive)
        for var in outputs:
            var.node = node
        self.add(node)
        self.changed = True
        return outputs

    def substitute(self, old: Var, atom: Atom) -> None:
        """Let `atom`, of the same type, stand for an old edge."""
        self.now[old] = atom
        self.changed = True

    def fit(self, atom: Atom, wanted: ArrayType, like: Node) -> Atom | None:
        """An atom as one of the wanted type, through `convert` and `broadcast_to`; None if that cannot be written."""
        if atom.type == wanted:
            return atom
        if wanted.weak or any(isinstance(n, Dim) for n in wanted.shape):
            return None
        if isinstance(atom, Const):
            value = np.broadcast_to(np.asarray(atom.value).astype(wanted.dtype), wanted.shape)
            return Const(value if wanted.shape else value[()], wanted)
        if atom.dtype != wanted.dtype or atom.type.weak:
            (atom,) = self.emit(Convert.of(wanted.dtype), (atom,), like)
        if atom.shape != wanted.shape:
            (atom,) = self.emit(BroadcastTo.of(wanted.shape), (atom,), like)
        return atom

    def finish(self) -> Graph:
        """The new graph; the old one if nothing has changed."""
        if not self.changed:
            return self.graph
        return self.graph.replace(nodes=self.nodes, outputs=self.atoms(self.graph.outputs), values=self.values)


def known(atom: Any) -> bool:
    """Whether an atom is a constant whose plain value is at hand (dynamic graphs drop large ones)."""
    return isinstance(atom, Const) and isinstance(atom.value, (np.ndarray, np.generic, bool, int, float, complex))


def map_subgraphs(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with `change` applied to the graphs directly inside its nodes."""
    if not any(node.primitive.higher_order for node in graph.nodes):
        return graph
    builder = Builder(graph)
    for node in graph.nodes:
        inner = [g for _, g in node.subgraphs]
        changed = [change(g) for g in inner] if node.primitive.with_subgraphs is not None else inner
        if all(new is old for new, old in zip(changed, inner, strict=True)):
            builder.keep(node)
        else:
            builder.keep(node, node.primitive.with_subgraphs(*changed))  # type: ignore[misc]
    return builder.finish()


def everywhere(level: Callable[..., Graph]) -> Callable[..., Graph]:
    """A pass over one level as one over nested graphs too, innermost first; a graph that occurs twice changes once."""

    @functools.wraps(level)
    def run(graph: Graph, *args: Any, **options: Any) -> Graph:
        done: dict[int, tuple[Graph, Graph]] = {}

        def visit(inner: Graph) -> Graph:
            if id(inner) not in done:
                done[id(inner)] = inner, level(map_subgraphs(inner, visit), *args, **options)
            return done[id(inner)][1]

        return visit(graph)

    return run
