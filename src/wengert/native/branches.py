"""Functions whose Python `if`s and `while`s ask for traced values, as trees of compiled pieces.

The function runs on symbolic values. Where Python asks one of them whether it is true, what was traced so far is
compiled and run on the numbers of the call at hand, which gives the answer, and the trace goes on along the branch
that it chooses. A piece keeps what its successors may need: the values that Python still holds at that moment, which
reference counting tells. So the pieces form a tree; a later call runs from piece to piece, and where it comes to an
answer that no call has had before, the function is traced again, with the known answers, and grows a branch. Once
calls stay within what is known, the tree is compiled as a whole (`combine.py`).

Assumed is that the function does the same operations for the same answers; where it does not, it is evaluated without
compiling, as it is when it needs more pieces than allowed.
"""

from __future__ import annotations

import time
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import BranchLimitWarning, WengertError
from ..graph.graph import Graph
from ..graph.interpreter import bind, state
from ..graph.nodes import Const, Var
from ..graph.primitive import Primitive
from ..graph.stage import Stage, evaluate
from ..graph.tensor import Tensor
from ..graph.trees import Structure, flatten, unflatten
from ..graph.types import ArrayType, Dim
from ..source import Source, here
from . import entry
from .calls import as_call, compiled
from .combine import whole
from .digest import digest_of
from .locks import Lock
from .lowered import Lowered, Stopwatch

SETTLED = 8
"""Calls within known pieces after which these become one program."""


class GiveUp(BaseException):
    """Ends a trace that is not worth going on with; no `except Exception` of the user's may catch it."""

    def __init__(self, why: str, source: Source | None) -> None:
        super().__init__(why)
        self.why = why
        self.source = source


class Piece:
    """What runs between two answers.

    nodes : the operations of this stretch of the trace, by name and types, to recognise it by.
    graph : from the values that it reads to the condition and the values that are kept, or to the results.
    reads : places of the former among the values of a call (arguments first). kept : which outputs of which nodes the
    latter are. next : the pieces that follow an answer. structure : containers of the results, of a last piece.
    """

    def __init__(
        self, nodes: list[Any], graph: Graph, reads: list[int], kept: list[tuple[int, int]], source: Source | None,
        structure: Structure | None,
    ) -> None:  # fmt: skip
        self.nodes = nodes
        self.graph = graph
        self.reads = reads
        self.kept = kept
        self.source = source
        self.structure = structure
        self.next: dict[bool, Piece] = {}

    def run(self, values: Sequence[Any], traced: bool) -> Sequence[Any]:
        """The outputs for the values of a call."""
        given = [values[k] for k in self.reads]
        if state.watch is not None:  # a watch wants to see every operation
            return evaluate(self.graph, *given)
        return bind(as_call(self.graph), *given) if traced else compiled(self.graph)(*given)


class Splitting(Stage):
    """Traces a function piece by piece, along a call whose `values` are known."""

    def __init__(self, tree: Tree, values: list[Any], path: list[Piece], answers: list[bool], traced: bool) -> None:
        super().__init__()
        self.tree = tree
        self.values = values
        self.path = path
        self.answers = answers
        self.traced = traced
        self.place_of: dict[Var, int] = {}
        """Where among the values of the call those of edges are."""
        self.top = len(tree.types)
        """How many values of the call stand for edges of this trace so far."""
        self.start = 0
        self.passed = 0
        self.held: list[weakref.ref[Tensor]] = []

    def input(self, type: ArrayType, name: str | None = None) -> Tensor:
        tensor = super().input(type, name)
        self.place_of[tensor.note] = len(self.place_of)
        return tensor

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        result = super().apply(primitive, operands)
        for tensor in result if primitive.multiple else (result,):
            self.held.append(weakref.ref(tensor))
        return result

    def decide(self, tensor: Tensor) -> bool | None:
        if tensor.interpreter.done & 1:
            return None
        if tensor.type.size != 1:
            raise ValueError(f"the truth value of a {tensor.type} is ambiguous: use np.any or np.all")
        known = self.passed < len(self.answers)
        if known:
            self.pass_by(self.path[self.passed])
        else:
            self.cut([tensor.note], here(2), None)
        self.passed += 1
        return self.answers[self.passed - 1]

    def stretch(self) -> list[Any]:
        """The operations since the last answer, to recognise them by."""
        return [(node.primitive.name, [v.type for v in node.outputs or ()]) for node in self.nodes[self.start :]]

    def pass_by(self, piece: Piece) -> None:
        """Go on behind a piece that has run already."""
        if self.stretch() != piece.nodes:
            raise GiveUp("did other operations than before where the same branches were taken", piece.source)
        nodes = self.nodes[self.start :]
        for place, (k, j) in enumerate(piece.kept):
            self.place_of[(nodes[k].outputs or ())[j]] = self.top + place
        self.top += len(piece.kept)
        self.start = len(self.nodes)

    def cut(self, wanted: list[Any], source: Source | None, structure: Structure | None) -> Sequence[Any]:
        """Make a piece of what came since the last answer, and run it."""
        tree = self.tree
        if tree.count >= tree.most:
            raise GiveUp(f"needs more than the {tree.most} pieces that `branches` allows", source)
        kept: list[Var] = []
        places: list[tuple[int, int]] = []
        if structure is None:
            tensors = [ref() for ref in self.held]
            self.held = [ref for ref, tensor in zip(self.held, tensors, strict=True) if tensor is not None]
            alive = {tensor.note for tensor in tensors if tensor is not None}
            for k, node in enumerate(self.nodes[self.start :]):
                for j, var in enumerate(node.outputs or ()):
                    if var in alive and not any(isinstance(n, Dim) for n in var.shape):
                        kept.append(var)
                        places.append((k, j))
        graph = self.leading_to([*wanted, *kept], whole=structure is not None and not self.path)
        reads = [self.place_of[var] for var in graph.inputs]
        piece = Piece(self.stretch(), tree.shared(graph), reads, places, source, structure)
        with self.aside(), Stopwatch(tree.elsewhere, "running"):
            outs = piece.run(self.values, self.traced)
        tree.attach(piece, self.path, self.answers)
        self.path.append(piece)
        if structure is None:
            self.answers.append(bool(outs[0]))
            self.values.extend(outs[1:])
            for place, var in enumerate(kept):
                self.place_of[var] = self.top + place
            self.top += len(kept)
            self.start = len(self.nodes)
        return outs

    def leading_to(self, outputs: Sequence[Any], whole: bool) -> Graph:
        """The graph from the values that are there to these: what earlier pieces did not keep is computed again.

        `whole`: its inputs are all values that are there, and not only those that it reads.
        """
        chosen: dict[Any, None] = {}
        reads: dict[Var, None] = {}
        wanted = list(outputs)
        while wanted:
            atom = wanted.pop()
            if isinstance(atom, Const):
                if isinstance(atom.value, Tensor):
                    raise GiveUp("captures values of a transform around it", None)
            elif atom in self.place_of:
                reads[atom] = None
            elif atom.node not in chosen:
                chosen[atom.node] = None
                wanted.extend(atom.node.inputs)
        nodes = sorted(chosen, key=lambda node: node.number)
        inputs = list(self.place_of) if whole else sorted(reads, key=self.place_of.__getitem__)
        return Graph(inputs, nodes, outputs, f"{self.tree.name}, piece {self.tree.count + 1}")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Takes this interpreter, and those on it, off the stack."""
        place = state.stack.index(self)
        mine = state.stack[place:]
        del state.stack[place:]
        try:
            yield
        finally:
            state.stack[place:] = mine


class Tree:
    """A function for one combination of argument types: its pieces so far, and how they follow each other.

    Parameters
    ----------
    fn : the function. structure : containers of its arguments. types, names : of their leaves.
    most : how many pieces there may be.
    """

    cached = False
    compiled = True

    def __init__(
        self, fn: Callable[..., Any], structure: Structure, types: Sequence[ArrayType], names: Sequence[str], most: int
    ) -> None:
        self.fn = fn
        self.name = getattr(fn, "__name__", "graph")
        self.structure = structure
        self.types = list(types)
        self.names = list(names)
        self.most = most
        self.first: Piece | None = None
        self.count = 0
        self.pieces: list[Piece] = []
        self.graphs: dict[str, Graph] = {}
        self.given_up: str | None = None
        self.straight: Lowered | None = None
        """The program that holds all pieces so far, once calls have come to stay within them."""
        self.walks = 0
        self.elsewhere: dict[str, float] = {"running": 0.0}
        self.tracing = 0.0
        self.growing = Lock()

    def __call__(self, leaves: Sequence[Any], traced: bool) -> Any:
        """The result for the leaves of the arguments."""
        if self.given_up is not None:
            return self.evaluated(leaves)
        values = list(leaves)
        path: list[Piece] = []
        answers: list[bool] = []
        piece = self.first
        while piece is not None:
            outs = piece.run(values, traced)
            if piece.structure is not None:
                self.walked()
                return unflatten(piece.structure, outs)
            path.append(piece)
            answers.append(bool(outs[0]))
            values.extend(outs[1:])
            piece = piece.next.get(answers[-1])
        with self.growing:
            return self.grow(leaves, values, path, answers, traced)

    def walked(self) -> None:
        """Another call has stayed within the known pieces: after some of these they are made one program."""
        self.walks += 1
        if self.walks == SETTLED and self.straight is None and entry.available:
            with self.growing, Stopwatch(self.elsewhere, "combining"):
                try:
                    graph = whole(self)
                except WengertError:  # what is fine piece by piece need not be as branches of one graph
                    return
                if graph is not None:
                    ends = (piece.structure for piece in self.pieces if piece.structure is not None)
                    self.straight = Lowered.of(graph, next(ends))

    def grow(
        self, leaves: Sequence[Any], values: list[Any], path: list[Piece], answers: list[bool], traced: bool
    ) -> Any:
        """Trace on from where the known pieces end."""
        start, running = time.perf_counter(), self.elsewhere["running"]
        self.straight, self.walks = None, 0
        try:
            trace = Splitting(self, values, path, answers, traced)
            with trace:
                tensors = [trace.input(t, n) for t, n in zip(self.types, self.names, strict=True)]
                args, kwargs = unflatten(self.structure, tensors)
                outputs, structure = flatten(self.fn(*args, **kwargs))
                del args, kwargs, tensors
                outs = trace.cut([trace.atom(out) for out in outputs], None, structure)
            if len(path) == 1:  # nothing was asked
                self.straight = Lowered.of(path[0].graph, structure)
            return unflatten(structure, outs)
        except GiveUp as problem:
            self.given_up = problem.why
            place = f" at {problem.source}" if problem.source is not None else ""
            text = (
                f"jit: {self.name} {problem.why}{place}, and is evaluated without compiling from now on; use wg.cond "
                "and wg.while_loop there, or allow more pieces with jit(f, branches=number)"
            )
            if (caller := here()) is not None:
                warnings.warn_explicit(text, BranchLimitWarning, caller.file, caller.line)
            else:
                warnings.warn(text, BranchLimitWarning, stacklevel=2)
            return self.evaluated(leaves)
        finally:
            self.tracing += time.perf_counter() - start - (self.elsewhere["running"] - running)

    def evaluated(self, leaves: Sequence[Any]) -> Any:
        """The function itself, on these leaves."""
        args, kwargs = unflatten(self.structure, leaves)
        outputs, structure = flatten(self.fn(*args, **kwargs))
        return unflatten(structure, [out if isinstance(out, Tensor) else np.asarray(out)[()] for out in outputs])

    def attach(self, piece: Piece, path: Sequence[Piece], answers: Sequence[bool]) -> None:
        """Put a piece behind those of a path."""
        if path:
            path[-1].next[answers[-1]] = piece
        else:
            self.first = piece
        self.pieces.append(piece)
        self.count += 1

    def shared(self, graph: Graph) -> Graph:
        """An earlier graph that does the same: the turns of a `while` loop are compiled once."""
        found = digest_of(graph)
        return graph if found is None else self.graphs.setdefault(found[0], graph)

    @property
    def lowered(self) -> list[Lowered]:
        """What was compiled."""
        graphs = {id(piece.graph): piece.graph for piece in self.pieces}
        found = [Lowered.of(graph) for graph in graphs.values()]
        if self.straight is not None and self.straight not in found:
            found.append(self.straight)
        return [lowered for lowered in found if lowered.compiled]

    @property
    def times(self) -> dict[str, float]:
        """Seconds by stage."""
        total: dict[str, float] = {"trace": self.tracing}
        for lowered in self.lowered:
            for stage, seconds in lowered.times.items():
                total[stage] = total.get(stage, 0.0) + seconds
        return total

    @property
    def note(self) -> str:
        """What became of it, for `explain`."""
        lines = dict.fromkeys(str(piece.source) for piece in self.pieces if piece.source is not None)
        split = f", split at {', '.join(lines)}" if lines else ""
        together = ", now one program" if self.straight is not None and self.count > 1 else ""
        text = f"{self.count} piece{'' if self.count == 1 else 's'}{split}{together}"
        return f"evaluated without compiling, because it {self.given_up}" if self.given_up is not None else text
