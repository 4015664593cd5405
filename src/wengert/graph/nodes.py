"""Edges and nodes of a graph: `Var`, `Const`, `Node`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..source import Source
from .types import ArrayType, type_of

if TYPE_CHECKING:
    from types import CodeType

    from .graph import Graph
    from .primitive import Primitive


class Var:
    """An edge of a graph: the value that one output of a node, or an input of the graph, stands for.

    Compared by identity. In a dynamic graph it knows the node that made it; the values that derivative rules
    need are kept by the nodes, so that an edge costs no memory of its own. `gradient` is filled by `backward`.
    """

    __slots__ = ("cuts", "dtype", "gradient", "index", "name", "node", "shape", "used", "value", "weak")

    name: str
    weak: bool

    def __init__(
        self,
        shape: tuple[Any, ...],
        dtype: np.dtype[Any],
        node: Node | None = None,
        index: int = 0,
    ) -> None:
        self.shape = shape
        self.dtype = dtype
        self.node = node
        self.index = index

    @property
    def type(self) -> ArrayType:
        return ArrayType(self.shape, self.dtype, getattr(self, "weak", False))

    @classmethod
    def of(cls, type: ArrayType, name: str | None = None, node: Node | None = None, index: int = 0) -> Var:
        """A new edge of the given type."""
        var = cls(type.shape, type.dtype, node, index)
        if type.weak:
            var.weak = True
        if name is not None:
            var.name = name
        return var

    @property
    def label(self) -> str | None:
        """The user's name for this value: given, or the variable that the line of its node assigns to."""
        name = getattr(self, "name", None)
        if (
            name is None
            and self.node is not None
            and self.node.code is not None
            and len(self.node.outputs or (1,)) == 1
        ):
            name = Source(self.node.code, self.node.offset).target
        return name

    def __repr__(self) -> str:
        label = getattr(self, "name", None)
        return f"Var({label + ': ' if label else ''}{self.type})"


class Const:
    """A value known while the graph is made. `value` is None if no rule needed it and it was large."""

    __slots__ = ("_known", "value")

    def __init__(self, value: Any, type: ArrayType | tuple[tuple[Any, ...], np.dtype[Any]] | None = None) -> None:
        self.value = value
        self._known = type

    @property
    def type(self) -> ArrayType:
        if self._known is None:
            self._known = type_of(self.value)
        return ArrayType(*self._known)

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    def __repr__(self) -> str:
        return f"Const({self.value!r})" if self.type.shape == () else f"Const({self.type})"


Atom = Var | Const


class Node:
    """One operation: a primitive (with its parameters), what goes in, what comes out, and the user's line.

    `number` grows with creation, so sorting by it is a topological order without recursion. `backward` is
    True for nodes made while derivatives were propagated backward. A node of a dynamic graph also keeps
    `saved`, the values its reverse `rule` reads, and does not point to its outputs, so that a dynamic graph
    is freed as soon as nothing hangs on it; there `outputs` is None.
    """

    __slots__ = ("backward", "code", "inputs", "number", "offset", "outputs", "primitive", "rule", "saved")

    primitive: Primitive
    inputs: tuple[Any, ...]
    outputs: tuple[Var, ...] | None

    def __init__(
        self,
        primitive: Primitive,
        inputs: tuple[Any, ...],
        outputs: tuple[Var, ...] | None,
        code: CodeType | None,
        offset: int,
        number: int,
        saved: Any = None,
        rule: Any = None,
        backward: bool = False,
    ) -> None:
        self.primitive = primitive
        self.inputs = inputs
        self.outputs = outputs
        self.code = code
        self.offset = offset
        self.number = number
        self.saved = saved
        self.rule = rule
        self.backward = backward

    @property
    def source(self) -> Source | None:
        """The user's line that made this node."""
        return None if self.code is None else Source(self.code, self.offset)

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        """The closed graphs inside the primitive (loop bodies, branches), with their names."""
        return self.primitive.subgraphs

    def replace(self, inputs: tuple[Any, ...], outputs: tuple[Var, ...], primitive: Primitive | None = None) -> Node:
        """The same operation and source on other edges."""
        return Node(
            self.primitive if primitive is None else primitive,
            inputs, outputs, self.code, self.offset, self.number, None, None, self.backward,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"Node({self.primitive}, {len(self.inputs)} inputs, {self.source})"
