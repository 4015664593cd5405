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
from ..passes.complex_rules import PARTS
from ..passes.half_precision import moves
from .arrays import (
    Array,
    Elements,
    Joined,
    Map,
    Memory,
    known_size,
    offset_of,
    parts_of,
    positions,
    remembered,
    row_major,
    size_of,
)
from .constants import Diagonal, Spaced, formula, repeated, uniform
from .control import Control
from .dense import Dense
from .indexing import Indexing
from .library import Library
from .loops import NATIVE, Buffer, Value
from .mathematics import Scalars
from .nests import CHEAP, Nests
from .parts import Parts, runs
from .plain import Carefully
from .products import Products
from .rearrange import Rearranging
from .reductions import Reductions
from .stages import Probing, Stage
from .summation import Summation
from .windows import Sliding

SMALL = 16
"""Elements up to which an array lives in registers."""
SIMPLE = 4
"""Operations of a scalar rule that is an arithmetic operation and not a function made of several."""
LONGEST = 80
"""Operations after which a chain of maps is cut."""


class Lowering(
    Nests, Probing, Carefully, Rearranging, Reductions, Indexing, Control, Library, Products, Parts, Sliding, Dense,
    Summation, Scalars,
):  # fmt: skip
    """One program being written. The public methods are what `lowering` rules use."""

    def __init__(self) -> None:
        super().__init__()
        self.dims: dict[Dim, Any] = {}
        self.kept: list[Any] = []
        self.source: Any = None
        self.backward = False

    # Running a graph --------------------------------------------------------------------------------

    def graph(self, graph: Graph, operands: Sequence[Array], targets: dict[Var, Memory] | None = None) -> list[Array]:
        """The outputs of a graph; `targets` says where in memory some of them shall go."""
        known: dict[Var, Array] = dict(zip(graph.inputs, operands, strict=True))
        uses: dict[Var, int] = {}
        read: set[Var] = set()  # by others than parts
        for atom in graph.outputs:
            if isinstance(atom, Var):
                uses[atom] = uses.get(atom, 0) + 1
        for node in graph.nodes:
            for atom in node.inputs:
                if isinstance(atom, Var):
                    uses[atom] = uses.get(atom, 0) + 1
                    if not isinstance(node.primitive, Part):
                        read.add(atom)
        self.frames.append(known)
        for node, *others in runs(graph.nodes):
            if isinstance(node.primitive, Part):
                self.parts([node, *others], known, targets or {}, read)
                self.leave([node, *others], known, uses)
                continue
            given = [known[a] if isinstance(a, Var) else self.constant(a) for a in node.inputs]
            outs = self.apply(node, given)
            for var, out in zip(node.outputs or (), outs, strict=True):
                if out.__class__ is Map and out.origin is None:
                    out.origin = node.source
                target = (targets or {}).get(var)
                known[var] = self.settled(out, uses.get(var, 0) > 1, target)
            self.leave([node], known, uses)
        results = [known[a] if isinstance(a, Var) else self.constant(a) for a in graph.outputs]
        self.frames.pop()
        return results

    @staticmethod
    def leave(nodes: Sequence[Node], known: dict[Var, Array], uses: dict[Var, int]) -> None:
        """Forget values after their last use."""
        for node in nodes:
            for atom in node.inputs:
                if isinstance(atom, Var):
                    uses[atom] -= 1
                    if not uses[atom]:
                        del known[atom]

    def apply(self, node: Node, operands: list[Array]) -> list[Array]:
        primitive = node.primitive
        types = tuple(var.type for var in node.outputs or ())
        self.source, self.backward = node.source, node.backward
        if primitive.lowering is not None and self.native(node):
            given = [atom.type for atom in node.inputs]
            out = primitive.lowering(self, operands, given, types if primitive.multiple else types[0])
            if out is not NotImplemented:
                return list(out) if primitive.multiple else [out]
        self.fix([x for x in operands if x.dtype in NATIVE], memory=True)
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
        mine = "parts" in node.primitive.facts or (all(a.dtype in NATIVE for a in atoms) and moves(node))
        return mine and all(Lowering.writable(n) for _, g in inside for n in g.nodes)

    @staticmethod
    def writable(node: Node) -> bool:
        """Whether a node inside a loop can be written there: natively, or as a callback on complex numbers."""
        atoms = [*node.inputs, *(node.outputs or ())]
        return all(a.dtype in NATIVE or a.dtype in PARTS for a in atoms) and all(
            Lowering.writable(n) for _, g in node.subgraphs for n in g.nodes
        )

    def settled(self, value: Array, many: bool, target: Memory | None = None) -> Array:
        """A result as it is kept: small ones in registers, expensive ones that are read again as stages."""
        size = known_size(value.shape)
        small = size is not None and size <= SMALL and value.dtype in NATIVE
        if isinstance(value, (Map, Stage)) and value.dtype in NATIVE and self.waits(value):
            costly = isinstance(value, Map) and (value.weight > LONGEST or (many and value.weight > CHEAP))
            if small or costly or (many and target is not None):
                value = self.stage(value)
        elif small:
            return self.elements(value)
        elif isinstance(value, Map) and (value.weight > LONGEST or (many and (value.weight > CHEAP or target))):
            value = self.stage(value)
        if target is not None and isinstance(value, Stage):
            value.aim(target)
        return value

    def constant(self, atom: Const) -> Array:
        """A constant: in registers if it is small, by its formula if it has one, otherwise in memory."""
        array = np.asarray(atom.value)
        if array.dtype != atom.dtype:
            array = array.astype(atom.dtype)
        found = self._constant(atom, array)
        found.host = array
        return found

    def _constant(self, atom: Const, array: np.ndarray[Any, Any]) -> Array:
        name = NATIVE.get(array.dtype)
        if array.size <= SMALL and name is not None:
            return Elements(array.shape, array.dtype, [self.const(x, name) for x in array.ravel().tolist()])
        found = next((b for owner, b in self.kept if owner is atom and b is not None), None)
        if found is not None:
            return self.whole(found, array.shape) if isinstance(found, Buffer) else found(self)
        if name is not None and (given := self.by_formula(array, name)) is not None:
            self.kept.append((atom, given))
            return given(self)
        array = np.ascontiguousarray(array)
        buffer = self.buffer("constant", array.dtype, array.size, array.ctypes.data)
        self.kept.append((atom, buffer))
        self.kept.append((array, None))
        return self.whole(buffer, array.shape)

    @staticmethod
    def by_formula(array: np.ndarray[Any, Any], name: str) -> Callable[[Any], Array] | None:
        """What makes a constant array as a map, if a formula gives it; each loop body makes its own."""
        shape, dtype = array.shape, array.dtype
        if uniform(array):
            return lambda e: e.filled(shape, dtype, array.ravel()[0].item())
        found = formula(array)
        if isinstance(found, Spaced):
            return lambda e: e.counted(shape, dtype, found)
        if isinstance(found, Diagonal):
            return lambda e: e.on_diagonal(shape, dtype, found)
        axes = repeated(array)
        if axes:
            whole = array[tuple(slice(0, 1) if k in axes else slice(None) for k in range(array.ndim))]
            part = Const(np.ascontiguousarray(whole))
            return lambda e: e.broadcast(e.constant(part), shape)
        return None

    def counted(self, shape: Sequence[Any], dtype: Any, spaced: Spaced) -> Array:
        """Evenly spaced integers."""
        start, steps = spaced
        name = NATIVE[np.dtype(dtype)]

        def term(index: Sequence[Any]) -> Any:
            return self.convert(self.lift(offset_of(self, start, steps, index), "i64"), name)

        made = self.map(shape, dtype, term, 1, (lambda k: term([k])) if len(shape) == 1 else None, ())
        made.spaced = spaced
        return made

    def on_diagonal(self, shape: Sequence[Any], dtype: Any, diagonal: Diagonal) -> Array:
        """One number on the diagonal, another one elsewhere."""
        on, off = (self.const(x, NATIVE[np.dtype(dtype)]) for x in diagonal)
        return self.map(
            shape,
            dtype,
            lambda index: self.select(self.eq(self.lift(index[-2], "i64"), index[-1]), on, off),
            1,
            None,
            (),
        )

    # Making arrays ----------------------------------------------------------------------------------

    def extents(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        """A shape with registers for the lengths that only the run knows."""
        return tuple(self.dims[n] if isinstance(n, Dim) else n if isinstance(n, Value) else int(n) for n in shape)

    def whole(self, buffer: Buffer, shape: Sequence[Any]) -> Memory:
        found = Memory(buffer, shape, 0, row_major(self, shape), dense=True)
        found.dtype = buffer.holds
        return found

    def joined(self, re: Array, im: Array, out: ArrayType) -> Joined:
        """Complex numbers from their parts, which may have to be repeated."""
        shape = self.extents(out.shape)
        parts = [self.fitted(x, shape, PARTS[out.dtype]) for x in (re, im)]
        return Joined(shape, out.dtype, parts)

    def part_of(self, x: Array, imaginary: bool) -> Any:
        """One part of complex numbers."""
        if isinstance(x, Joined):
            return x.parts[imaginary]
        return parts_of(x)[imaginary] if isinstance(x, Memory) and x.dtype in PARTS else NotImplemented

    def new(self, shape: Sequence[Any], dtype: Any) -> Memory:
        """Uninitialised memory."""
        size = known_size(shape)
        if size is not None:
            return self.whole(self.buffer("arena", dtype, size), shape)
        record = self.buffer("record", dtype, 0)
        self.grow(record, size_of(self, shape))
        return self.whole(record, shape)

    def map(self, shape: Sequence[Any], dtype: Any, fn: Callable[[list[Any]], Any], weight: int = 0,
            flat: Callable[[Any], Any] | None = None, sources: Sequence[Array] | None = None) -> Map:  # fmt: skip
        """An array given by a function from index to element; `sources` are the arrays that it reads, if known."""
        return Map(self.extents(shape), np.dtype(dtype), fn, weight, flat, sources)

    def elementwise(
        self, scalar: Callable[..., Any], operands: Sequence[Array], dtypes: Sequence[Any], out: ArrayType
    ) -> Any:
        """A scalar rule on broadcast operands, which are converted to `dtypes` first."""
        shape = self.extents(out.shape)
        names = [NATIVE[np.dtype(d)] for d in dtypes]
        result = NATIVE[out.dtype]
        operands = [self.spread(x, shape) for x in operands]

        price = self.price(scalar, names)
        simple, backward = price <= SIMPLE, self.backward

        def compute(values: Sequence[Any]) -> Any:
            lifted = [self.convert(v, d) for v, d in zip(values, names, strict=True)]
            self.contracts, self.inverses = simple, simple and backward
            found = scalar(self, *lifted)
            self.contracts = self.inverses = False
            return self.convert(found, result)

        def element(index: list[Any]) -> Any:
            return compute([self.broadcast_at(x, index) for x in operands])

        flat = None
        if all(x.flattens and (x.shape == shape or known_size(x.shape) == 1) for x in operands):

            def flat(k: Any) -> Any:
                return compute([x.flat(self, k if x.shape == shape else 0) for x in operands])

        weight = price + sum(x.weight for x in operands)
        return Map(shape, out.dtype, element, weight, flat, operands)

    def spread(self, x: Array, shape: Sequence[Any]) -> Array:
        """An operand that is about to be repeated: worth computing once, before the loops that repeat it."""
        if isinstance(x, Map) and x.weight > CHEAP and x.dtype in NATIVE:
            size, whole = known_size(x.shape), known_size(shape)
            if size != whole and (size is None or whole is None or size < whole):
                return self.stage(x)
        return x

    def broadcast_at(self, x: Array, index: Sequence[Any]) -> Any:
        extra = x.ndim - len(index)  # an assigned value may have leading axes of length 1 more than its place
        own = [0] * extra + list(index) if extra > 0 else index[len(index) - x.ndim :]
        return x.at(self, [0 if isinstance(n, int) and n == 1 else i for i, n in zip(own, x.shape, strict=True)])

    def elements(self, value: Array) -> Elements:
        """All elements of a small array in registers."""
        if isinstance(value, Elements):
            return value
        self.force([value])
        if isinstance(value, Stage) and isinstance(value.ready, Elements):
            return value.ready
        shape = tuple(value.shape)
        return Elements(shape, value.dtype, [value.at(self, index) for index in positions(shape)])

    def in_memory(self, value: Array) -> Memory:
        """The array in contiguous memory."""
        if isinstance(value, (Map, Stage)):
            value = self.fix([value], memory=True)[0]
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
        return self.fix([value])[0]

    def fix(self, values: Sequence[Array], memory: bool = False) -> list[Array]:
        """Values in registers or memory, computed in common loops; all in memory on request."""
        asked: list[Array] = []
        for value in values:
            if isinstance(value, (Map, Stage)) and value.dtype in NATIVE:
                size = known_size(value.shape)
                if memory or size is None or size > SMALL or self.waits(value):
                    value = self.stage(value)
                    value.inline = False
                    value.required = True
            asked.append(value)
        self.force(asked)
        found: list[Array] = []
        for value in asked:
            if isinstance(value, Stage):
                assert value.ready is not None
                value = value.ready
            elif isinstance(value, Map):
                value = self.elements(value) if value.dtype in NATIVE else self._stored(value)
            found.append(value)
        return found

    def put(self, value: Array, target: Memory) -> None:
        """Write an array to memory of its shape."""
        self.deliver([(value, target)])
