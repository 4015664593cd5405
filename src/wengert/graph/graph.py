"""`Graph`: inputs, nodes in order, outputs. Frozen and closed; passes build new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .nodes import Atom, Const, Node, Var
from .printing import SHOWN, graph_text
from .python_source import PythonSource, python_source
from .trees import Structure


class Graph:
    """A program as data: every value used is an input, the output of an earlier node, or a `Const`.

    Parameters
    ----------
    inputs : the edges that a call binds, in order.
    nodes : operations in topological order.
    outputs : edges or constants.
    name : shown in print and pictures.
    in_tree, out_tree : containers of the arguments and results of the function it came from; None for the
        plain graphs inside control flow, which take and give flat tuples.
    values, gradients : what a dynamic graph knows of its edges.

    Calling a graph evaluates it (`evaluate`), on arrays or inside any transform.
    """

    __slots__ = ("_cache", "gradients", "in_tree", "inputs", "name", "nodes", "out_tree", "outputs", "values")

    def __init__(
        self,
        inputs: Sequence[Var],
        nodes: Sequence[Node],
        outputs: Sequence[Atom],
        name: str = "graph",
        in_tree: Structure | None = None,
        out_tree: Structure | None = None,
        values: Mapping[Var, Any] | None = None,
        gradients: Mapping[Var, Any] | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.nodes = tuple(nodes)
        self.outputs = tuple(outputs)
        self.name = name
        self.in_tree = in_tree
        self.out_tree = out_tree
        self.values: Mapping[Var, Any] = values or {}
        self.gradients: Mapping[Var, Any] = gradients or {}
        self._cache: dict[Any, Any] = {}

    def replace(self, **changes: Any) -> Graph:
        """A copy with some of the constructor's arguments changed."""
        names = ("inputs", "nodes", "outputs", "name", "in_tree", "out_tree", "values", "gradients")
        return type(self)(**{**{name: getattr(self, name) for name in names}, **changes})

    def uses(self) -> dict[Var, list[Node]]:
        """For each edge the nodes that read it, in order (computed: nothing is kept)."""
        found: dict[Var, list[Node]] = {}
        for node in self.nodes:
            for atom in dict.fromkeys(node.inputs):
                if isinstance(atom, Var):
                    found.setdefault(atom, []).append(node)
        return found

    def producers(self) -> dict[Var, Node]:
        """For each edge the node that makes it."""
        return {out: node for node in self.nodes for out in node.outputs or ()}

    def all_nodes(self) -> Iterator[Node]:
        """Every node, those of nested graphs included, each after the node that holds it."""
        stack: list[Iterator[Node]] = [iter(self.nodes)]
        while stack:
            node = next(stack[-1], None)
            if node is None:
                stack.pop()
                continue
            yield node
            for _, inner in reversed(node.subgraphs):
                stack.append(iter(inner.nodes))

    def cached(self, key: Any, make: Callable[[], Any]) -> Any:
        """Something derived from this (frozen) graph, made once."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def __len__(self) -> int:
        return len(self.nodes)

    def text(self, start: int = 0, stop: int | None = None, max_nodes: int | None = SHOWN) -> str:
        """The graph as typed text, one line a node with the user's line; `print(graph)` shows it too.

        Parameters
        ----------
        start, stop : positions of the nodes to show, as in a slice; all by default.
        max_nodes : of more nodes than this the middle is left out, in nested graphs as well; None shows all.

        Example
        -------
        >>> import numpy as np, wengert as wg
        >>> print(wg.trace(lambda x: np.sin(x) * 2, np.ones(3)).text())  # doctest: +ELLIPSIS
        <lambda>(x: f64[3]) -> f64[3]:
          v0: f64[3] = sin(x)           # ...
          v1: f64[3] = multiply(v0, 2)  # ...
          return v1
        """
        return graph_text(self, start, stop, max_nodes)

    def as_python(self, name: str | None = None) -> PythonSource:
        """The graph as the source of a function in plain NumPy, to read, run and step through.

        The function takes and returns the containers of the traced function. Array constants of more than 16
        elements do not stand in the text: it takes them by the keyword `constants`, and they are the attribute
        `constants` of the text.

        Parameters
        ----------
        name : of the function; by default that of the graph.

        Raises
        ------
        GraphError : a constant is not known (dynamic graphs keep only what derivatives need).

        Example
        -------
        >>> import numpy as np, wengert as wg
        >>> source = wg.trace(wg.grad(lambda x: np.sum(x * x)), np.ones(3)).as_python("slope")
        >>> scope = {}
        >>> exec(source, scope)
        >>> scope["slope"](np.array([1.0, 2.0, 3.0]))
        array([2., 4., 6.])
        """
        return python_source(self, name)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Graph {self.name}: {len(self.inputs)} inputs, {len(self.nodes)} nodes, {len(self.outputs)} outputs>"


def is_literal(atom: Atom) -> bool:
    """Whether an atom is a constant small enough to stand in the text of a program."""
    return isinstance(atom, Const) and atom.type.shape == ()
