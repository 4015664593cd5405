"""`verify`: whether a graph keeps the rules that everything else relies on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..errors import GraphError, WengertError
from .nodes import Const, Node, Var
from .primitive import Primitive
from .printing import excerpt
from .types import ArrayType, Dim

if TYPE_CHECKING:
    from .graph import Graph


def verify(graph: Graph) -> Graph:
    """Check a graph, those inside its loops and branches included, and return it.

    Parameters
    ----------
    graph : a static or dynamic graph; its numbers are not looked at.

    Raises
    ------
    GraphError : a value is used that is no input and that no earlier node makes, or is made twice; a node's results
        are not what its operation gives for its operands; a container does not fit. The message names the node and
        shows the nodes around it.

    Linear in the number of nodes. Passes of the compiler are checked with it between each other in the tests.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.verify(wg.trace(lambda x: np.sin(x) * 2, 1.0))
    <Graph <lambda>: 1 inputs, 2 nodes, 1 outputs>
    """
    _Check(graph, f"graph {graph.name}", set()).run()
    return graph


class _Check:
    """The check of one graph; `path` says where it is, `done` holds the graphs that have been checked."""

    def __init__(self, graph: Graph, path: str, done: set[int]) -> None:
        self.graph = graph
        self.path = path
        self.done = done
        self.known: set[Var] = set()
        self.lengths: dict[Dim, Dim] = {}

    def run(self) -> None:
        graph = self.graph
        self.done.add(id(graph))
        for k, var in enumerate(graph.inputs):
            if not isinstance(var, Var):
                self.fail(None, f"input {k} is a {type(var).__name__}", "inputs are edges (Var)")
            self.define(var, None, f"input {k}")
        for k, node in enumerate(graph.nodes):
            self.node(k, node)
        for k, atom in enumerate(graph.outputs):
            self.use(atom, None, f"output {k}")
        for what, tree, count in (("inputs", graph.in_tree, graph.inputs), ("outputs", graph.out_tree, graph.outputs)):
            if tree is not None and tree.num_leaves != len(count):
                self.fail(
                    None, f"{len(count)} {what} for containers with {tree.num_leaves} values: {tree}", "keep them equal"
                )
        for what, numbers in (("value", graph.values), ("gradient", graph.gradients)):
            for var, number in numbers.items():
                shape = tuple(n for n in np.shape(number))
                known = tuple(m if isinstance(n, Dim) else n for n, m in zip(var.shape, shape, strict=False))
                if var in self.known and (len(shape) != len(var.shape) or shape != known):
                    self.fail(None, f"a {what} of shape {shape} is kept for a {var.type}", "drop it")

    def node(self, k: int, node: Any) -> None:
        """Operands known, results new and of the right types, inner graphs valid."""
        if not isinstance(node, Node) or not isinstance(node.primitive, Primitive):
            self.fail(None, f"node {k} is a {type(node).__name__}", "nodes are Node objects with a Primitive")
        for j, atom in enumerate(node.inputs):
            self.use(atom, k, f"operand {j}")
        subgraphs = node.subgraphs
        for label, inner in subgraphs:
            if id(inner) not in self.done:
                _Check(inner, f"{self.path}, {self.name(k)}, {label}", self.done).run()
        if subgraphs:
            self.interfaces(k, node)
        if node.outputs is None:
            self.fail(k, "the node does not know its results", "take the graph with wg.graph(...)")
        try:
            types = node.primitive.type(*[atom.type for atom in node.inputs])
        except (WengertError, TypeError, ValueError, IndexError) as error:
            reason = error.message if isinstance(error, WengertError) else str(error)
            self.fail(k, f"the operation does not accept its operands: {reason}", "insert the conversion it needs")
        expected: Sequence[ArrayType] = types if node.primitive.multiple else (types,)
        if len(expected) != len(node.outputs):
            self.fail(k, f"{len(node.outputs)} results, but the operation gives {len(expected)}", "give one edge each")
        for j, (var, right) in enumerate(zip(node.outputs, expected, strict=True)):
            if not isinstance(var, Var):
                self.fail(k, f"result {j} is a {type(var).__name__}", "results are edges (Var)")
            if var.dtype != right.dtype or var.type.weak != right.weak or not self.fits(right.shape, var.shape):
                self.fail(k, f"result {j} is {var.type}, but the operation gives {right}", "make the edge of that type")
            self.define(var, k, f"result {j}")

    def interfaces(self, k: int, node: Node) -> None:
        """What the operation hands to its inner graphs is what they take (Python numbers become NumPy's there)."""
        given = node.primitive.subgraph_types(*[atom.type for atom in node.inputs])
        for (label, inner), types in zip(node.subgraphs, given, strict=False):
            if len(types) != len(inner.inputs):
                self.fail(k, f"{label} takes {len(inner.inputs)} values and gets {len(types)}", "give one per input")
            for j, (var, type_) in enumerate(zip(inner.inputs, types, strict=True)):
                if var.dtype != type_.dtype or not self.fits(type_.shape, var.shape):
                    self.fail(k, f"input {j} of {label} is {var.type} and gets {type_}", "convert what it gets")

    def fits(self, given: tuple[Any, ...], written: tuple[Any, ...]) -> bool:
        return matches(given, written, self.lengths)

    def define(self, var: Var, k: int | None, what: str) -> None:
        if var in self.known:
            self.fail(k, f"{what} is an edge that an input or an earlier node makes already", "make every edge once")
        self.known.add(var)

    def use(self, atom: Any, k: int | None, what: str) -> None:
        if isinstance(atom, Const):
            return
        if not isinstance(atom, Var):
            self.fail(k, f"{what} is a {type(atom).__name__}", "use a Var, or a Const for a number")
        if atom not in self.known:
            maker = next((j for j, node in enumerate(self.graph.nodes) if atom in (node.outputs or ())), None)
            if maker is None:
                where, repair = "which no input or node of this graph makes", "make it an input, or a Const"
            elif maker == k:
                where, repair = "which the node itself makes", "a node cannot read its own result"
            else:
                where, repair = f"which {self.name(maker)} makes only later", "sort the nodes"
            self.fail(k, f"{what} is a {atom.type} {where}", repair)

    def name(self, k: int) -> str:
        return f"node {k} ({self.graph.nodes[k].primitive.name})"

    def fail(self, k: int | None, message: str, repair: str) -> NoReturn:
        """Raise, with the user's line and the nodes around the place."""
        if k is None:
            raise GraphError(f"{self.path}: {message}", repair)
        shown = "\n".join(f"    {line}" for line in excerpt(self.graph, k).splitlines())
        raise GraphError(f"{self.path}, {self.name(k)}: {message}\n{shown}", repair, self.graph.nodes[k].source)


def matches(given: tuple[Any, ...], written: tuple[Any, ...], lengths: dict[Dim, Dim]) -> bool:
    """Whether shapes agree, up to the names of unknown lengths, which `lengths` records."""
    return len(given) == len(written) and all(
        lengths.setdefault(a, b) is b if isinstance(a, Dim) and isinstance(b, Dim) else a == b
        for a, b in zip(given, written, strict=True)
    )
