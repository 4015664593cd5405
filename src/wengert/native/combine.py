"""A whole tree of pieces as one program, so that no Python runs between them.

The answers become native branches. Where no call has had an answer yet, the program leaves without a result, and the
call goes to Python, which traces that branch and makes the program anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.graph import Graph
from ..graph.interpreter import bind
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.types import ArrayType, Dim
from ..ops.shape import convert, reshape
from ..transforms.control import cond

MOST = 24
"""Pieces of a tree that is compiled as a whole; a longer one would be compiled for long."""


class NotKnown(Primitive, abstract=True):
    """Stands where a branch has not been traced: leaves the program without a result."""

    name = "not_known"
    params = ("types",)
    multiple = True
    differentiable = False
    facts = frozenset({"effect"})

    types: tuple[ArrayType, ...]

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return self.types

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Sequence[ArrayType]) -> Any:
        e.check(e.const(False, "bool"), lambda details: NotImplemented)
        return [e.zeros(t.shape, t.dtype) for t in out]


def whole(tree: Any) -> Graph | None:
    """The graph of a tree; None if its results differ in type from branch to branch, or it is too large."""
    ends = [piece for piece in tree.pieces if piece.structure is not None]
    if not ends or tree.count > MOST or any(piece.structure != ends[0].structure for piece in ends):
        return None
    kinds = {tuple((a.shape, a.dtype) for a in piece.graph.outputs) for piece in ends}
    if len(kinds) > 1 or any(isinstance(n, Dim) for kind in kinds for shape, _ in kind for n in shape):
        return None
    types = tuple(ArrayType(shape, dtype) for shape, dtype in kinds.pop())

    def follow(piece: Any, values: list[Any]) -> tuple[Any, ...]:
        outs = evaluate(piece.graph, *[values[k] for k in piece.reads])
        if piece.structure is not None:
            return tuple([convert(out, t.dtype) for out, t in zip(outs, types, strict=True)])
        answer = reshape(outs[0], ()) != 0
        values = [*values, *outs[1:]]

        def branch(given: bool) -> tuple[Any, ...]:
            after = piece.next.get(given)
            return bind(NotKnown(types), answer) if after is None else follow(after, values)

        return cond(answer, lambda: branch(True), lambda: branch(False))  # type: ignore[no-any-return]

    graph, _ = stage(lambda *leaves: list(follow(tree.first, list(leaves))), tree.types, tree.names, name=tree.name)
    return graph
