"""`checkpoint`: a call whose inner values reverse mode computes again, and `barrier`, which keeps two runs apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import bind
from ..graph.nodes import Node
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from .call import Call
from .control_flow import Flags, sample_graph
from .families import Linear, vocabulary
from .shape import move_axis, zeros_like


class Checkpoint(Call):
    """A call of which reverse mode keeps the operands alone, and the values that a policy names.

    Parameters: body; keeps, the policy: from a node of the body to whether its results are kept, None for no node;
    memory, bytes that its backward part may allocate, None for any number.
    """

    name = "checkpoint"
    params = ("body", "keeps", "memory")
    inline = False

    @property
    def again(self) -> Any:  # type: ignore[override]
        return True if self.keeps is None else self.keeps

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        outs, (kept, backward, places, arriving) = super().forward_pass(operands, needed, split_graph)
        if self.memory is not None:
            backward = backward.cached(
                ("within", self.memory), lambda: vocabulary.within_budget(backward, self.memory, self.body.name)
            )
        return outs, (kept, backward, places, arriving)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        operands = rng.normal(size=3), rng.normal(size=3), rng.normal(size=3)
        yield cls(sample_graph(2), None, None), operands
        yield cls(sample_graph(2), keep_products, None), operands


class Barrier(Linear):
    """Its first operand, as it is; the second one only says after what.

    What is computed of the result is not the same expression as what was computed of the operand, so that a value
    that is to be computed again is not found to be known.
    """

    name = "barrier"
    facts = Linear.facts | {"identity"}

    def linear_operands(self, count: int) -> Sequence[int]:
        return (0,)

    def type(self, x: ArrayType, after: ArrayType) -> ArrayType:
        return x._replace(weak=False)

    def numpy(self, x: Any, after: Any) -> Any:
        return x

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return ct, None

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return ()

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        return ct, (zeros_like(operands[1]) if needed[1] else None)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        x, after = operands
        if axes[0] is None:
            return x, None
        return bind(self, move_axis(x, axes[0], 0), after), 0

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return operands[0]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(2, 3)), rng.normal(size=4))
        yield cls(), (rng.normal(size=()), rng.normal(size=()))
        yield cls(), (rng.normal(size=(0, 3)), rng.normal(size=2))


def keep_products(node: Node) -> bool:
    """Products of matrices and other contractions, which are dear to do again."""
    facts = node.primitive.facts
    return "matmul" in facts or ("bilinear" in facts and "elementwise" not in facts)


def keep_plain_products(node: Node) -> bool:
    """Products of matrices without a stack in front: those of a layer with its weights, not those of attention."""
    return keep_products(node) and all(len(var.shape) <= 2 for var in node.outputs or ())


def keep_everything(node: Node) -> bool:
    return True


POLICIES: dict[str, Callable[[Node], bool] | None] = {
    "nothing": None,
    "everything": keep_everything,
    "products": keep_products,
    "plain products": keep_plain_products,
    "nothing_saveable": None,
    "everything_saveable": keep_everything,
    "dots_saveable": keep_products,
    "dots_with_no_batch_dims_saveable": keep_plain_products,
}
"""What reverse mode keeps, by name; the last four are JAX's names."""


class Named:
    """The policy that keeps values by the names that the user's lines give them."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names

    def __call__(self, node: Node) -> bool:
        return any(var.label in self.names for var in node.outputs or ())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Named) and other.names == self.names

    def __hash__(self) -> int:
        return hash(self.names)

    def __repr__(self) -> str:
        return f"values named {', '.join(sorted(self.names))}"
