"""Functions with a derivative of their own: `custom` while values are at hand, `custom_call` in a static graph.

A `Rule` knows a function and its derivative; what it is made of (Python functions of the user, a batch of another
rule) stands in `transforms.custom_rules`. While a program runs, `custom` hands values to the rule, so that its Python
code sees numbers. When it meets a trace, the function becomes the body of a `custom_call`, and the rule goes along for
derivatives that are asked of the graph later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ..errors import CapturedValueError
from ..graph.graph import Graph
from ..graph.interpreter import bind, type_of_value
from ..graph.primitive import Sample
from ..graph.stage import stage
from ..graph.types import ArrayType
from .call import Call
from .control_flow import ControlFlow, Flags, out_types
from .families import batch_size, vocabulary
from .shape import move_axis


class Rule(Protocol):
    """A function of flat values with its derivative. None stands for a tangent or cotangent that is zero."""

    def run(self, *values: Any) -> list[Any]:
        """The results."""

    def push(self, values: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """The results and their tangents."""

    def pull(self, values: Sequence[Any], needed: Flags) -> tuple[list[Any], list[Any], Any]:
        """The results, the values that `back` will read, and anything else it needs."""

    def back(self, kept: Sequence[Any], rest: Any, cts: Sequence[Any], needed: Flags) -> list[Any]:
        """The cotangents of the values."""

    def batched(self, flags: Flags, size: Any) -> Rule:
        """The rule of the function on values with a leading batch axis where marked; all results have one."""

    def graph(self, types: Sequence[ArrayType]) -> tuple[Graph, list[Any]]:
        """The function as a closed graph, and what it captured, its leading inputs."""


def leading(operands: Sequence[Any], axes: Sequence[int | None]) -> list[Any]:
    """Operands with their batch axes in front."""
    return [x if a is None else move_axis(x, a, 0) for x, a in zip(operands, axes, strict=True)]


class Custom(ControlFlow):
    """Runs a function that has a derivative of its own, on values; in a static graph it becomes a `custom_call`."""

    rule: Rule
    name = "custom"
    params = ("rule",)
    facts = frozenset({"custom"})

    def traced(self, *operands: Any) -> tuple[Any, ...]:
        graph, captured = self.rule.graph([type_of_value(x) for x in operands])
        return bind(CustomCall(graph, self.rule, len(captured)), *captured, *operands)  # type: ignore[no-any-return]

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        return out_types(self.rule.graph(types)[0])

    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        return tuple(self.rule.run(*operands))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:
        return self.rule.push(primals, tangents)

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        outs, kept, rest = self.rule.pull(operands, needed)
        return outs, (kept, rest)

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        kept, rest = saved
        return self.rule.back(kept, rest, cts, needed)

    def rereads(self, saved: Any) -> Collection[int]:
        return ()

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        rule = self.rule.batched([a is not None for a in axes], batch_size(operands, axes))
        outs = bind(Custom(rule), *leading(operands, axes))
        return outs, (0,) * len(outs)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for rule, operands in vocabulary.custom_samples(rng):
            yield cls(rule), operands


class CustomCall(Call):
    """Runs a closed graph that has a derivative of its own.

    The leading `captured` operands are what the function used of its surroundings; for them there is no rule.
    """

    rule: Rule
    captured: int
    name = "custom_call"
    params = ("body", "rule", "captured")  # type: ignore[assignment]
    facts = frozenset({"call", "custom"})
    inline = False
    prune = None  # type: ignore[assignment]

    def needs(self, used: Flags) -> list[bool]:
        return [True] * len(self.body.inputs)

    def refuse_captured(self) -> None:
        """Refuse a derivative if anything was captured, which a rule knows nothing of."""
        if self.captured:
            raise CapturedValueError(
                f"{self.body.name} has a derivative of its own, which knows of its arguments only, but it also uses "
                f"{[str(var.type) for var in self.body.inputs[: self.captured]]} from outside",
                "pass these values as arguments",
            )

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:
        self.refuse_captured()
        return self.rule.push(primals, tangents)

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        self.refuse_captured()
        outs, kept, rest = self.rule.pull(operands, needed)
        return outs, (kept, rest)

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        kept, rest = saved
        return self.rule.back(kept, rest, cts, needed)

    def rereads(self, saved: Any) -> Collection[int]:
        return ()

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        flags, size = [a is not None for a in axes], batch_size(operands, axes)
        body = batch_graph(self.body, flags, size, True)[0]
        outs = bind(
            CustomCall(body, self.rule.batched(flags[self.captured :], size), self.captured), *leading(operands, axes)
        )
        return outs, (0,) * len(outs)

    def depends(self, operands: Sequence[Any], outs: Any, flow: Any) -> Any:
        """The pattern of the derivative that the rule gives, in the tangents; not that of the function."""
        moving = [x.pattern is not None for x in operands]
        if not any(moving):
            return [flow.blank(t) for t in outs]
        self.refuse_captured()
        types = [var.type for var in self.body.inputs]
        count = len(types)
        found: list[bool] = []

        def tangents(*given: Any) -> list[Any]:
            rest = iter(given[count:])
            moved = self.rule.push(given[:count], [next(rest) if m else None for m in moving])[1]
            found[:] = [t is not None for t in moved]
            return [t for t in moved if t is not None]

        graph = stage(tangents, [*types, *(t._replace(weak=False) for t, m in zip(types, moving, strict=True) if m)])[0]
        values = [x._replace(pattern=None) for x in operands]
        flows = iter(
            flow.graph(graph, [*values, *(x._replace(value=None) for x, m in zip(operands, moving, strict=True) if m)])
        )
        return [next(flows) if f else flow.blank(t) for f, t in zip(found, outs, strict=True)]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for rule, operands in vocabulary.custom_samples(rng):
            yield cls(rule.graph([type_of_value(x) for x in operands])[0], rule, 0), operands
