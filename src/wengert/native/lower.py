"""From graphs to loop nests.

Every operation's `lowering` rule, written against the methods of `Lowering`, turns operands (`Array`s) into results.
Results stay maps, which are computed inside the loops of whoever reads them, unless they are small (then their
elements go into registers), expensive and read several times, or needed in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Const, Node, Var
from ..graph.types import ArrayType, Dim
from ..ops.part import Part
from .arrays import (
    Array,
    Elements,
    Map,
    Memory,
    known_size,
    offset_of,
    positions,
    remembered,
    row_major,
    size_of,
)
from .control import Control
from .indexing import Indexing
from .library import Library
from .loops import NATIVE, Buffer, Value
from .mathematics import Scalars
from .parts import Parts, runs
from .rearrange import Rearranging
from .reductions import Reductions
from .windows import Sliding

SMALL = 16
"""Elements up to which an array lives in registers."""
CHEAP = 2
"""Operations up to which an element is computed again by every reader."""
LONGEST = 80
"""Operations after which a chain of maps is cut by memory."""


class Lowering(Rearranging, Reductions, Indexing, Control, Library, Parts, Sliding, Scalars):
    """One program being written. The public methods are what `lowering` rules use."""

    def __init__(self) -> None:
        super().__init__()
        self.dims: dict[Dim, Any] = {}
        self.kept: list[Any] = []
        self.depth = 0

    # Running a graph --------------------------------------------------------------------------------

    def graph(self, graph: Graph, operands: Sequence[Array], targets: dict[Var, Memory] | None = None) -> list[Array]:
        """The outputs of a graph; `targets` says where in memory some of them shall go."""
        known: dict[Var, Array] = dict(zip(graph.inputs, operands, strict=True))
        uses: dict[Var, int] = {}
        read: set[Var] = set()  # by others than parts
        for node in graph.nodes:
            for atom in node.inputs:
                if isinstance(atom, Var):
                    uses[atom] = uses.get(atom, 0) + 1
                    if not isinstance(node.primitive, Part):
                        read.add(atom)
        wanted = {atom for atom in graph.outputs if isinstance(atom, Var)}
        for node, *others in runs(graph.nodes):
            if isinstance(node.primitive, Part):
                self.parts([node, *others], known, targets or {}, read)
                continue
            given = [known[a] if isinstance(a, Var) else self.constant(a) for a in node.inputs]
            outs = self.apply(node, given)
            for var, out in zip(node.outputs or (), outs, strict=True):
                many = uses.get(var, 0) > 1 or (var in wanted and uses.get(var, 0))
                target = (targets or {}).get(var)
                if target is not None and many and isinstance(out, Map):
                    self.put(out, target)
                    out = target
                known[var] = self.settled(out, bool(many))
        return [known[a] if isinstance(a, Var) else self.constant(a) for a in graph.outputs]

    def apply(self, node: Node, operands: list[Array]) -> list[Array]:
        primitive = node.primitive
        types = tuple(var.type for var in node.outputs or ())
        self.source = node.source
        if primitive.lowering is not None and self.native(node):
            given = [atom.type for atom in node.inputs]
            out = primitive.lowering(self, operands, given, types if primitive.multiple else types[0])
            if out is not NotImplemented:
                return list(out) if primitive.multiple else [out]
        return self.call_back(node, operands, types)

    @staticmethod
    def holds(dtype: Any) -> bool:
        """Whether registers hold values of this dtype."""
        return dtype in NATIVE

    @staticmethod
    def native(node: Node) -> bool:
        """Whether registers hold all the values of a node."""
        atoms = [*node.inputs, *(node.outputs or ())]
        inside = () if "call" in node.primitive.facts else node.subgraphs  # a call's nodes are asked one by one
        return all(a.dtype in NATIVE for a in atoms) and all(Lowering.native(n) for _, g in inside for n in g.nodes)

    def settled(self, value: Array, many: bool) -> Array:
        """A result as it is kept: small ones in registers, expensive ones that are read again in memory."""
        size = known_size(value.shape)
        if size is not None and size <= SMALL and value.dtype in NATIVE:
            return self.elements(value)
        if isinstance(value, Map) and (value.weight > LONGEST or (many and value.weight > CHEAP)):
            return self.in_memory(value)
        return value

    def constant(self, atom: Const) -> Array:
        array = np.asarray(atom.value)
        if array.dtype != atom.dtype:
            array = array.astype(atom.dtype)
        if array.size <= SMALL and array.dtype in NATIVE:
            return Elements(
                array.shape, array.dtype, [self.const(x, NATIVE[array.dtype]) for x in array.ravel().tolist()]
            )
        first = array.ravel()[:1]
        if array.dtype in NATIVE and (array == first).all():
            value = self.const(first[0].item(), NATIVE[array.dtype])
            return self.map(array.shape, array.dtype, lambda index: value, flat=lambda k: value)
        buffer = next((b for owner, b in self.kept if owner is atom), None)
        if buffer is None:
            array = np.ascontiguousarray(array)
            buffer = self.buffer("constant", array.dtype, array.size, array.ctypes.data)
            self.kept.append((atom, buffer))
            self.kept.append((array, None))
        return self.whole(buffer, array.shape)

    # Making arrays ----------------------------------------------------------------------------------

    def extents(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """A shape with registers for the lengths that only the run knows."""
        return tuple(self.dims[n] if isinstance(n, Dim) else n if isinstance(n, Value) else int(n) for n in shape)

    def whole(self, buffer: Buffer, shape: Sequence[Any]) -> Memory:
        return Memory(buffer, shape, 0, row_major(self, shape), dense=True)

    def new(self, shape: Sequence[Any], dtype: Any) -> Memory:
        """Uninitialised memory."""
        size = known_size(shape)
        if size is not None:
            return self.whole(self.buffer("arena", dtype, size), shape)
        record = self.buffer("record", dtype, 0)
        self.grow(record, size_of(self, shape))
        return self.whole(record, shape)

    def map(self, shape: Sequence[Any], dtype: Any, fn: Callable[[list[Any]], Any], weight: int = 0,
            flat: Callable[[Any], Any] | None = None) -> Map:  # fmt: skip
        """An array given by a function from index to element."""
        return Map(self.extents(shape), np.dtype(dtype), fn, weight, flat)

    def elementwise(
        self, scalar: Callable[..., Any], operands: Sequence[Array], dtypes: Sequence[Any], out: ArrayType
    ) -> Any:
        """A scalar rule on broadcast operands, which are converted to `dtypes` first."""
        shape = self.extents(out.shape)
        names = [NATIVE[np.dtype(d)] for d in dtypes]
        result = NATIVE[out.dtype]

        def compute(values: Sequence[Any]) -> Any:
            lifted = [self.convert(v, d) for v, d in zip(values, names, strict=True)]
            return self.convert(scalar(self, *lifted), result)

        def element(index: list[Any]) -> Any:
            return compute([self.broadcast_at(x, index) for x in operands])

        flat = None
        if all(x.flattens and (x.shape == shape or known_size(x.shape) == 1) for x in operands):

            def flat(k: Any) -> Any:
                return compute([x.flat(self, k if x.shape == shape else 0) for x in operands])

        return Map(shape, out.dtype, element, 1 + sum(x.weight for x in operands), flat)

    def broadcast_at(self, x: Array, index: Sequence[Any]) -> Any:
        extra = x.ndim - len(index)  # an assigned value may have leading axes of length 1 more than its place
        own = [0] * extra + list(index) if extra > 0 else index[len(index) - x.ndim :]
        return x.at(self, [0 if isinstance(n, int) and n == 1 else i for i, n in zip(own, x.shape, strict=True)])

    def elements(self, value: Array) -> Elements:
        """All elements of a small array in registers."""
        if isinstance(value, Elements):
            return value
        shape = tuple(value.shape)
        return Elements(shape, value.dtype, [value.at(self, index) for index in positions(shape)])

    def in_memory(self, value: Array) -> Memory:
        """The array in contiguous memory."""
        if isinstance(value, Memory) and value.dense:
            return value
        if isinstance(value, Elements):
            return remembered(self, ("memory", id(value)), value, lambda: self._stored(value))  # type: ignore[no-any-return]
        return self._stored(value)

    def _stored(self, value: Array) -> Memory:
        target = self.new(value.shape, value.dtype)
        self.put(value, target)
        return target

    def fixed(self, value: Array) -> Array:
        """Registers or memory, so that reading it again costs nothing."""
        if isinstance(value, (Elements, Memory)):
            return value
        size = known_size(value.shape)
        return (
            self.elements(value)
            if size is not None and size <= SMALL and value.dtype in NATIVE
            else self.in_memory(value)
        )

    def put(self, value: Array, target: Memory) -> None:
        """Write an array to memory of its shape."""
        if value.dtype not in NATIVE:
            self.copy_bytes(value, target)
        elif isinstance(value, Elements) or known_size(value.shape) == 1:
            for index in positions(tuple(value.shape)):
                item = value.at(self, index)
                self.store(target.buffer, offset_of(self, target.offset, target.strides, index), item)
        elif value.flattens and target.dense:
            with self.loop(size_of(self, value.shape)) as k:
                self.store(target.buffer, self.add(target.offset, k), value.flat(self, k))
        else:
            with self.nest(value.shape) as index:
                place = offset_of(self, target.offset, target.strides, index)
                self.store(target.buffer, place, value.at(self, index))
