"""Writing graphs: `Stage` turns operations on symbolic values into nodes; `evaluate` runs a graph again.

Loops and branches are built of staged functions too, so this stands below the operations.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import source
from ..errors import WengertError
from ..source import Source
from .collector import Paused
from .effects import effectful
from .graph import Graph
from .interpreter import Interpreter, always_at_work, bind, is_traced, shadowing, state, type_of_value
from .lifetimes import last_uses
from .nodes import Atom, Const, Node, Var
from .primitive import Primitive
from .tensor import Tensor
from .types import ArrayType

counter = itertools.count()
"""Creation numbers of nodes, shared by all interpreters, so that sorting by them is a topological order."""


class Stage(Interpreter):
    """Writes every operation on its tensors as a node of a graph.

    A value from outside becomes a `Const`; with `close=True` a tensor of an outer transform becomes an
    additional, leading input of the graph, so that the graph is closed and the caller passes the tensor. With
    `inside=True` operations on outer tensors alone belong to the graph as well: they run only if it runs, as in
    the branch that is not taken, or a loop body that has no step.
    """

    symbolic = True
    noun = "traced value"

    def __init__(self, close: bool = False, inside: bool = False) -> None:
        super().__init__()
        self.close = close
        self.inside = inside
        self.nodes: list[Node] = []
        self.captured: list[Any] = []
        self.captured_vars: list[Var] = []
        self._atoms: dict[int, tuple[Any, Atom]] = {}
        self._types: dict[Any, ArrayType] = {}
        self.backward = 0
        self.place: Source | None = None
        """The user's line that nodes are attributed to, while a derivative is propagated backward."""

    def __enter__(self) -> Stage:
        around = next((interpreter for interpreter in reversed(state.stack) if isinstance(interpreter, Stage)), None)
        if around is not None and around.backward:  # the body of a backward loop is in the gradient part as well
            self.backward, self.place = around.backward, around.place
        super().__enter__()
        self._shadow(2)
        return self

    def __exit__(self, *failure: Any) -> None:
        self._shadow(-2)
        super().__exit__(*failure)

    def _shadow(self, change: int) -> None:
        """Send operations on tensors of lower levels through `bind`, which hands them to this stage."""
        if self.inside:
            with shadowing:
                for interpreter in (*always_at_work, *state.stack):
                    if interpreter is not self:
                        interpreter.done += change

    def type(self, tensor: Tensor) -> ArrayType:
        return self._types.get(tensor.note) or tensor.note.type

    def concrete(self, tensor: Tensor) -> Any:
        return None

    def input(self, type: ArrayType, name: str | None = None) -> Tensor:
        """A new symbolic value."""
        return Tensor(self, None, Var.of(type, name))

    def atom(self, value: Any) -> Atom:
        """The edge or constant that stands for a value in this graph."""
        if value.__class__ is Tensor:
            if value.interpreter is self:
                return value.note  # type: ignore[no-any-return]
            value = self.lower(value)
        if not isinstance(value, Tensor):
            if isinstance(value, (np.ndarray, np.generic, bool, int, float, complex)):
                if np.ndim(value) == 0:
                    return Const(value)
            else:
                value = np.asarray(value)
            key: Any = id(value)
        else:
            value = Tensor(value.interpreter, value.value, value.note)  # as it is now: `x[i] = v` rebinds the handle
            key = (id(value.interpreter), id(value.value), id(value.note))
        if key not in self._atoms:
            if isinstance(value, Tensor) and self.close:
                var = Var.of(value.type, value.name)
                self.captured.append(value)
                self.captured_vars.append(var)
                self._atoms[key] = (value, var)
            else:
                self._atoms[key] = (value, Const(value, type_of_value(value)))
        return self._atoms[key][1]

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        if primitive.traced is not None:
            return primitive.traced(*operands)
        # The inner loop of a trace: types are remembered, since making one takes longer than to look it up.
        known = self._types
        inputs: list[Atom] = []
        types: list[ArrayType] = []
        for operand in operands:
            atom = operand.note if operand.__class__ is Tensor and operand.interpreter is self else self.atom(operand)
            inputs.append(atom)
            types.append(known.get(atom) or atom.type)
        found = primitive.type(*types)
        code, offset = self.place or source.here(3) or (None, 0)
        made = found if primitive.multiple else (found,)
        outputs = tuple([Var.of(t) for t in made])
        node = Node(primitive, tuple(inputs), outputs, code, offset, next(counter), None, None, self.backward > 0)
        self.nodes.append(node)
        index = 0
        for var, t in zip(outputs, made, strict=True):
            var.node, var.index = node, index
            known[var] = t
            index += 1
        if primitive.multiple:
            return tuple([Tensor(self, None, var) for var in outputs])
        return Tensor(self, None, outputs[0])


def stage(fn: Callable[..., Any], types: Sequence[ArrayType], names: Sequence[str | None] = (), close: bool = False,
          name: str = "graph", inside: bool = False) -> tuple[Graph, list[Any]]:  # fmt: skip
    """The graph of a function from flat values to a list of flat values, and the outer tensors it captured.

    The captured tensors are the leading inputs of the graph if `close` is set; otherwise they are constants in it.
    """
    with Paused(), Stage(close, inside) as interpreter:
        given = [interpreter.input(t, n) for t, n in itertools.zip_longest(types, names)]
        vars = [tensor.note for tensor in given]
        outputs = [interpreter.atom(out) for out in fn(*given)]
    nodes = live_nodes(interpreter.nodes, outputs)
    return Graph((*interpreter.captured_vars, *vars), nodes, outputs, name), interpreter.captured


def live_nodes(nodes: Sequence[Node], outputs: Sequence[Atom]) -> list[Node]:
    """The nodes that the outputs depend on, in order, with those that have effects."""
    needed = set(outputs)
    live = []
    for node in reversed(nodes):
        if not needed.isdisjoint(node.outputs or ()) or effectful(node):
            live.append(node)
            needed.update(node.inputs)
    return live[::-1]


def attribute(tensor: Any, node: Node) -> None:
    """Let what was recorded for a node of a graph carry the user's line of that node."""
    while tensor.__class__ is Tensor:
        made = getattr(tensor.note, "node", None)
        if made is not None and made.primitive is node.primitive and node.code is not None:
            made.code, made.offset = node.code, node.offset
        tensor = tensor.value


def evaluate(graph: Graph, *values: Any) -> list[Any]:
    """Run a graph node by node on flat values: arrays, or tensors of any transform.

    Nodes that this writes into other graphs keep the user's line and stay in the gradient part if they were in it.
    A value is dropped after its last use.
    """
    if len(values) != len(graph.inputs):
        raise WengertError(f"{graph!r} was called with {len(values)} values", "give one value per input")
    known: dict[Var, Any] = dict(zip(graph.inputs, values, strict=True))
    watch = state.watch
    writers = [interpreter for interpreter in state.stack if isinstance(interpreter, Stage)]
    before = [(writer.place, writer.backward) for writer in writers]
    try:
        for node, dead in zip(graph.nodes, last_uses(graph), strict=True):
            for writer, (place, backward) in zip(writers, before, strict=True):
                writer.place, writer.backward = node.source or place, backward + node.backward
            operands = [known[atom] if isinstance(atom, Var) else atom.value for atom in node.inputs]
            if writers and "effect" in node.primitive.facts and not any(map(is_traced, operands)):  # not now
                outs = writers[-1].apply(node.primitive, tuple(operands))
            elif watch is None:
                outs = bind(node.primitive, *operands)
            else:
                outs = watch.run(node, operands)
            for var, out in zip(node.outputs or (), outs if node.primitive.multiple else (outs,), strict=True):
                known[var] = out
                if out.__class__ is Tensor:
                    attribute(out, node)
            del operands, outs
            for var in dead:
                known.pop(var)
    finally:
        for writer, (place, backward) in zip(writers, before, strict=True):
            writer.place, writer.backward = place, backward
    return [known[atom] if isinstance(atom, Var) else atom.value for atom in graph.outputs]
