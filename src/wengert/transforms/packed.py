"""What forward passes with more than one tangent share: loops and branches take all of them packed into one array."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.interpreter import is_traced, type_of_value
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.types import ArrayType
from ..ops.families import vocabulary
from ..ops.scan import Scan
from ..ops.shape import move_axis
from ..ops.while_loop import While
from .forward import Forward


class Packed(Forward):
    """Forward mode whose tensors note `rows` arrays of the shape of the value.

    A subclass says how to `pack` a note into one array with a leading axis, how to `unpack` it, and what `kind` of
    pass it is: passes of one kind share the transformed graphs of loops.
    """

    def __init__(self, rows: int) -> None:
        super().__init__()
        self.rows = rows

    @property
    def kind(self) -> tuple[Any, ...]:
        return type(self).__name__, self.rows

    def again(self) -> Packed:
        """Another pass of the same kind, for the body of a loop."""
        raise NotImplementedError

    def pack(self, value: Any, note: Any) -> Any:
        raise NotImplementedError

    def unpack(self, value: Any, packed: Any) -> Any:
        raise NotImplementedError

    def opened(self, operand: Any) -> tuple[Any, Any]:
        """Value and note (None for a constant) of an operand."""
        if is_traced(operand) and operand.interpreter is self:
            return operand.value, operand.note
        return self.lower(operand), None

    def through_graphs(self, primitive: Any, values: Sequence[Any], notes: Sequence[Any]) -> Any:
        """Loops, branches and calls: their forward rule on packed tangents."""
        pairs = zip(values, notes, strict=True)
        tangents: list[Any] = [None if note is None else self.pack(value, note) for value, note in pairs]
        by_step, out_by_step = step_axes(primitive, len(values))
        for k in by_step:
            if tangents[k] is not None:
                tangents[k] = move_axis(tangents[k], 0, 1)
        outs, slopes = primitive.jvp(values, tangents, PackedGraphs(self))
        results = []
        for k, (out, slope) in enumerate(zip(outs, slopes, strict=True)):
            if slope is None:
                results.append(out)
            else:
                packed = move_axis(slope, 1, 0) if out_by_step(k) else slope
                results.append(Tensor(self, out, self.unpack(out, packed)))
        return tuple(results)


def step_axes(primitive: Any, count: int) -> tuple[Sequence[int], Callable[[int], bool]]:
    """The operands and the results of a loop that have a leading axis over its steps."""
    if isinstance(primitive, Scan):
        return primitive.parts(range(count))[2], lambda k: k >= primitive.carries
    if isinstance(primitive, While):
        return (), lambda k: k > primitive.carries
    return (), lambda k: False


class PackedGraphs:
    """What the forward rules of loops and branches get in place of `jvp_graph`."""

    def __init__(self, level: Packed) -> None:
        self.level = level

    def zeros(self, primal: Any) -> Any:
        """The tangent of a value that does not move."""
        t = type_of_value(primal)
        return np.zeros((self.level.rows, *t.shape), t.dtype)

    def __call__(
        self, graph: Graph, moving: Sequence[bool], instantiate: bool | Sequence[bool] = False
    ) -> tuple[Graph, list[bool]]:
        """As `forward.jvp_graph`, with packed tangents."""
        wanted = [instantiate] * len(graph.outputs) if isinstance(instantiate, bool) else list(instantiate)

        def make() -> tuple[Graph, list[bool]]:
            types = [var.type for var in graph.inputs]
            packed = [ArrayType((self.level.rows, *t.shape), t.dtype) for t, m in zip(types, moving, strict=True) if m]
            moved: list[bool] = []

            def both(*values: Any) -> list[Any]:
                primals = values[: len(types)]
                rest = iter(values[len(types) :])
                with self.level.again() as level:
                    pairs = zip(primals, moving, strict=True)
                    duals = [Tensor(level, p, level.unpack(p, next(rest))) if m else p for p, m in pairs]
                    outs = evaluate(graph, *duals)
                    found = [level.opened(out) for out in outs]
                    slopes = [None if note is None else level.pack(value, note) for value, note in found]
                moved.extend(s is not None or w for s, w in zip(slopes, wanted, strict=True))
                settled = [vocabulary.settle(value) for value, _ in found]
                tangents = [
                    self.zeros(v) if s is None else vocabulary.settle(s)
                    for v, s, m in zip(settled, slopes, moved, strict=True)
                    if m
                ]
                return settled + tangents

            names = [getattr(var, "name", None) for var in graph.inputs]
            result, _ = stage(
                both, [*types, *packed], names, name=f"{type(self.level).__name__.lower()} of {graph.name}"
            )
            return result, moved

        return graph.cached((*self.level.kind, tuple(moving), tuple(wanted)), make)
