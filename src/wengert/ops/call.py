"""`call`: a closed graph as one operation, which may stand in many places and is described once.

A jitted function inside another one, a subgraph that repeats, a part whose intermediate values reverse mode shall
compute again: each is a call, or a subclass of a few lines.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Self

import numpy as np

from ..errors import ShapeError
from ..graph.graph import Graph
from ..graph.interpreter import bind
from ..graph.nodes import Var
from ..graph.primitive import Sample
from ..graph.run import runner
from ..graph.types import PYTHON_NUMBERS, ArrayType
from .control_flow import (
    ControlFlow,
    Flags,
    call_text,
    carries_derivative,
    live_parts,
    out_types,
    pick,
    quietly,
    sample_graph,
    spread,
    zeros_of,
)
from .families import batch_size
from .shape import move_axis


class Call(ControlFlow):
    """Runs a closed graph: the outputs of `body` for these operands.

    The derivative of a call is a call of the derivative: forward mode calls the graph of values and tangents,
    reverse mode one that also hands out what the backward part will read, and later the backward part. Each of these
    is made once for a body, however often that is called.

    A subclass sets `inline` or `again`, or answers `numpy` in another way (by a compiled program); its derivatives
    and batches are of the same class, by `like`. Further parameters come after `body`.
    """

    body: Graph
    name = "call"
    params = ("body",)
    facts = frozenset({"call"})
    inline = True
    """Whether passes may put the nodes of the body in place of the call."""
    again = False
    """Whether reverse mode computes the body again from its operands, instead of keeping values from it."""

    def like(self, body: Graph) -> Self:
        """The same kind of call of another graph."""
        return body.cached((type(self), *self.key[2:]), lambda: type(self)(body, *self.key[2:]))  # type: ignore[no-any-return]

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return (("body", self.body),)

    def subgraph_types(self, *types: ArrayType) -> tuple[Sequence[ArrayType], ...]:
        return (types,)

    def with_subgraphs(self, *graphs: Graph) -> Self:
        return self.like(*graphs)

    def needs(self, used: Flags) -> list[bool]:
        return live_parts(self.body, used, {})[0]

    def prune(self, used: Flags, clean: Any) -> tuple[Call, list[int], list[int]]:
        ins = [k for k, flag in enumerate(self.needs(used)) if flag]
        body = self.body.replace(
            inputs=[self.body.inputs[k] for k in ins],
            outputs=pick(self.body.outputs, used),
            in_tree=None,
            out_tree=None,
        )
        return self.like(clean(body)), ins, [j for j, flag in enumerate(used) if flag]

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        wanted = [var.type for var in self.body.inputs]
        if [(t.shape, t.dtype) for t in types] != [(t.shape, t.dtype) for t in wanted]:
            raise ShapeError(
                f"call of {self.body.name} with {list(types)}, but it was traced for {wanted}",
                "trace it for these types",
            )
        return out_types(self.body)

    @quietly
    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        outs = runner(self.body)(*map(as_typed, self.body.inputs, operands))
        return tuple([
            out if hasattr(out, "dtype") else np.asarray(out, atom.dtype)[()]
            for out, atom in zip(outs, self.body.outputs, strict=True)
        ])  # fmt: skip

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        return [call_text(targets, functions[0], operands)]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:
        moving = [t is not None for t in tangents]
        graph, moved = jvp_graph(self.body, moving)
        outs = bind(self.like(graph), *primals, *pick(tangents, moving))
        count = len(moved)
        return outs[:count], spread(outs[count:], moved)

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        arriving = self.body.cached(("carries", tuple(needed)), lambda: carries_derivative(self.body, needed))
        everything = [True] * len(operands)
        forward, backward, places = split_graph(self.body, needed, arriving, everything, self.again)
        results = bind(self.like(forward), *operands)
        count = len(arriving)
        return results[:count], (results[count:], backward, places, arriving)

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        kept, backward, places, arriving = saved
        rest = iter(kept)
        residuals = [next(rest) if k is None else operands[k] for k in places]
        types = out_types(self.body)
        given = [
            zeros_of(t) if ct is None else ct for ct, t, a in zip(cts, types, arriving, strict=True) if a
        ]  # fmt: skip
        return spread(bind(self.like(backward), *residuals, *given), needed)

    def rereads(self, saved: Any) -> Collection[int]:
        return {k for k in saved[2] if k is not None}

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        graph, carried = batch_graph(self.body, [a is not None for a in axes], batch_size(operands, axes))
        moved = [x if a is None else move_axis(x, a, 0) for x, a in zip(operands, axes, strict=True)]
        return bind(self.like(graph), *moved), tuple(0 if c else None for c in carried)

    def depends(self, operands: Sequence[Any], outs: Any, flow: Any) -> Any:
        return flow.graph(self.body, operands)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Sequence[ArrayType]) -> Any:
        reads: dict[Any, int] = {}
        for atom in (*(a for node in self.body.nodes for a in node.inputs), *self.body.outputs):
            if isinstance(atom, Var):
                reads[atom] = reads.get(atom, 0) + 1
        # Outside, an operand has one reader, the call; inside it may have several.
        given = [e.settled(x, reads.get(var, 0) > 1) for x, var in zip(operands, self.body.inputs, strict=True)]
        return [e.fitted(x, t.shape, t.dtype) for x, t in zip(e.graph(self.body, given), out, strict=True)]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(sample_graph(2)), (rng.normal(size=3), rng.normal(size=3), rng.normal(size=3))
        yield cls(sample_graph(0)), (rng.normal(size=3), rng.normal(size=3))


def as_typed(var: Var, value: Any) -> Any:
    """A number in the form that an input is typed for, a Python number or one of NumPy: dtypes depend on it."""
    if getattr(var, "weak", False):
        return value.item() if hasattr(value, "item") else value
    return var.dtype.type(value) if value.__class__ in PYTHON_NUMBERS else value
