"""Compressed derivatives: all sweeps of a colouring as one graph, and the entries of the pattern picked from them.

The sum of the columns of one colour is the derivative along a direction of zeros and ones, which is known when the
plan is made. So the sweeps are pushed forward together, while the graph is written: `Seeded` carries a tangent for each
colour, and a tangent that is a plain array is computed there and then, with the strong zero: what does not move in a
sweep costs nothing in it, and the derivatives of linear parts become constants. With many colours, or with loops in the
function, the sweeps are a batch instead, cut into blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.interpreter import Interpreter, bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.stage import evaluate
from ..graph.tensor import Tensor
from ..graph.types import ArrayType, is_inexact
from ..ops.arithmetic import conj
from ..ops.families import shape_of
from ..ops.gather import gather, scatter, scatter_add
from ..ops.shape import concatenate, convert, reshape
from .coloring import Coloring
from .forward import jvp, jvp_graph, jvp_rule
from .grad import vjp
from .locality import Merge
from .vmap import vmap

UNROLLED = 32
"""Colours up to which each sweep is written out."""
BLOCK = 16
"""Sweeps in a batch."""


class Seeded(Interpreter):
    """Forward mode in several directions at once: a tensor's note has a tangent for each, None where it is zero."""

    noun = "value with tangents"

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def type(self, tensor: Tensor) -> ArrayType:
        return type_of_value(tensor.value)

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        primals: list[Any] = []
        notes: list[Any] = []
        for operand in operands:
            mine = operand.__class__ is Tensor and operand.interpreter is self
            primals.append(operand.value if mine else self.lower(operand))
            notes.append(operand.note if mine else None)
        out = None if primitive.higher_order else bind(primitive, *primals)
        sweeps: list[Any] = []
        for k in range(self.count):
            tangents = [None if note is None else note[k] for note in notes]
            if all(t is None for t in tangents) or not primitive.differentiable:
                sweeps.append(None)
            elif primitive.higher_order:
                out, found = primitive.jvp(primals, tangents, jvp_graph)
                sweeps.append(found)
            else:
                with np.errstate(all="ignore"):
                    sweeps.append(jvp_rule(primitive, primals, tangents, out))
        if out is None:
            out = bind(primitive, *primals)
        if not primitive.multiple:
            return self.pair(out, [moving(t) for t in sweeps])
        columns = [[None if s is None else moving(s[k]) for s in sweeps] for k in range(len(out))]
        return tuple(self.pair(o, column) for o, column in zip(out, columns, strict=True))

    def pair(self, value: Any, tangents: list[Any]) -> Any:
        return value if all(t is None for t in tangents) else Tensor(self, value, tuple(tangents))


def moving(tangent: Any) -> Any:
    """A tangent, or None if it is known to be zero."""
    return tangent if tangent is None or is_traced(tangent) or np.any(tangent) else None


class Compressed:
    """The values of a pattern's entries as a function of flat arguments, to be compiled or evaluated.

    Parameters
    ----------
    graph : of the function. wanted : flags of the inputs that the derivative is taken in.
    coloring : of the pattern of the outputs, one below the other, in those inputs.
    outer, merge : if `graph` is the inner part of a cut (see `locality`), the outer part and where entries go.

    Attributes
    ----------
    blocks : None if `entries` gives all values at once; otherwise the number of batches of sweeps, which `sweeps`
        computes one after the other.
    """

    def __init__(
        self,
        graph: Graph,
        wanted: Sequence[bool],
        coloring: Coloring,
        outer: Graph | None = None,
        merge: Merge | None = None,
    ) -> None:
        self.graph = graph
        self.wanted = list(wanted)
        self.outer = outer
        self.merge = merge
        if merge is not None and merge.order is not None:  # the entries are read in another order, and that is all
            coloring = replace(coloring, sweep=coloring.sweep[merge.order], place=coloring.place[merge.order])
            self.merge = None
        self.coloring = coloring
        self.forward = coloring.mode != "row"
        self.ins = [var.type._replace(weak=False) for var, w in zip(graph.inputs, wanted, strict=True) if w]
        self.outs = [atom.type._replace(weak=False) for atom in graph.outputs]
        self.dtype = np.result_type(*(t.dtype for t in (*self.ins, *self.outs) if is_inexact(t.dtype)))
        loops = any(node.primitive.higher_order for node in graph.nodes)
        self.unrolled = coloring.count <= (1 if loops else UNROLLED)
        self.blocks = None if self.unrolled else -(-coloring.count // BLOCK)

    @property
    def seeded(self) -> list[ArrayType]:
        """The types of what directions belong to: inputs, or outputs if rows are computed."""
        return self.ins if self.forward else self.outs

    @property
    def swept(self) -> list[ArrayType]:
        """The types of the results of a sweep."""
        return self.outs if self.forward else self.ins

    def seeds(self, colors: Sequence[int]) -> list[np.ndarray[Any, Any]]:
        """The directions of some colours, for each seeded value stacked along a leading axis."""
        own = np.asarray(self.coloring.colors)
        found, at = [], 0
        for t in self.seeded:
            part = own[at : at + t.size].reshape(t.shape)
            dtype = t.dtype if t.dtype.kind in "fc" else np.dtype(float)
            found.append(np.stack([part == c for c in colors]).astype(dtype))
            at += t.size
        return found

    def arguments(self, values: Sequence[Any]) -> tuple[list[Any], Callable[..., list[Any]]]:
        """The values that the derivative is taken in, and the graph as a function of them."""
        if self.outer is not None:
            values = evaluate(self.outer, *values)
        own = [v for v, w in zip(values, self.wanted, strict=True) if w]

        def function(*moved: Any) -> list[Any]:
            given = iter(moved)
            return evaluate(self.graph, *[next(given) if w else v for v, w in zip(values, self.wanted, strict=True)])

        return own, function

    def entries(self, *values: Any) -> Any:
        """The values of the entries, in the order of the pattern."""
        count, size = self.coloring.count, sum(t.size for t in self.swept)
        sweeps = self.forward_sweeps(values) if self.forward else self.reverse_sweeps(values)
        bounds = np.cumsum([0, *(t.size for t in self.swept)])
        sweep, place = self.coloring.sweep, self.coloring.place
        owner = np.searchsorted(bounds, place, side="right") - 1
        known = np.zeros(len(sweep), self.dtype)
        starts = np.full((max(count, 1), len(self.swept)), -1)
        pieces: list[Any] = []
        at = 0
        for k, parts in enumerate(sweeps):
            for j, part in enumerate(parts):
                if is_traced(part) and self.swept[j].size:
                    starts[k, j] = at
                    at += self.swept[j].size
                    pieces.append(reshape(convert(part, self.dtype), (self.swept[j].size,)))
                elif part is not None:
                    mine = (sweep == k) & (owner == j)
                    known[mine] = np.ravel(part)[place[mine] - bounds[j]]
        first = starts[sweep, owner] if size else np.zeros(0, int)
        varies = np.flatnonzero(first >= 0)
        found: Any = known
        if len(varies):
            index = (first + place - bounds[owner])[varies]
            found = gather(concatenate(pieces, 0), (0,), 0, (index,))
            if len(varies) < len(known):  # the others are the same for all values
                found = scatter(known, (0,), 0, found, (varies,))
        return self.added(found)

    def added(self, found: Any) -> Any:
        """The entries of the whole Jacobian from those of the inner one."""
        if self.merge is None:
            return found
        kept = self.merge.target >= 0
        if not kept.all():
            found = gather(found, (0,), 0, (np.flatnonzero(kept),))
        return scatter_add(found, (0,), 0, (self.merge.count,), (self.merge.target[kept],))

    def forward_sweeps(self, values: Sequence[Any]) -> list[list[Any]]:
        own, function = self.arguments(values)
        count = self.coloring.count
        stacks = self.seeds(range(count)) if count else []
        with Seeded(count) as seeded:
            tensors = [
                seeded.pair(x, [moving(stack[k]) for k in range(count)]) if count else x
                for x, stack in zip(own, stacks or own, strict=True)
            ]
            outs = function(*tensors)
        notes = [out.note if is_traced(out) and out.interpreter is seeded else (None,) * count for out in outs]
        return [[note[k] for note in notes] for k in range(count)]

    def reverse_sweeps(self, values: Sequence[Any]) -> list[list[Any]]:
        own, function = self.arguments(values)
        count = self.coloring.count
        outs, pullback = vjp(function, *own)
        stacks = self.seeds(range(count)) if count else []
        found = []
        for k in range(count):
            cts = [fitted(stack[k], out) for stack, out in zip(stacks, outs, strict=True)]
            found.append([_conjugate(ct) for ct in pullback(cts)])
        return found

    def sweeps(self, values: Sequence[Any], seeds: Sequence[Any]) -> Any:
        """The results of a batch of sweeps, an array of (sweeps, size)."""
        own, function = self.arguments(values)
        if self.forward:
            parts = vmap(lambda *ts: jvp(function, tuple(own), ts)[1])(*seeds)
        else:
            pullback = vjp(function, *own)[1]
            parts = vmap(lambda *cts: [_conjugate(ct) for ct in pullback(list(cts))])(*seeds)
        rows = [reshape(convert(p, self.dtype), (BLOCK, t.size)) for p, t in zip(parts, self.swept, strict=True)]
        return concatenate(rows, 1)

    def collect(self, run: Callable[..., Any], values: Sequence[Any]) -> Any:
        """The values of the entries from batches of sweeps, of which `run(values, seeds)` computes one."""
        results = np.empty((self.blocks or 0, BLOCK, sum(t.size for t in self.swept)), self.dtype)
        for k in range(self.blocks or 0):
            results[k] = run(values, self.seeds(range(k * BLOCK, (k + 1) * BLOCK)))
        return self.added(results.reshape(-1, results.shape[-1])[self.coloring.sweep, self.coloring.place])


def fitted(ct: Any, out: Any) -> Any:
    """A direction as a cotangent of an output."""
    dtype = type_of_value(out).dtype
    return ct.astype(dtype).reshape(shape_of(out))


def _conjugate(x: Any) -> Any:
    """`vjp` gives the adjoint; a row of the Jacobian is its conjugate."""
    return conj(x) if type_of_value(x).dtype.kind == "c" else x
