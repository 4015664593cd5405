"""Complex values as pairs of real ones, for programs whose registers hold real numbers.

Shape: a walk over all levels that writes a new graph. Assumes: nothing.
Guarantees: inputs and outputs stay, derivatives are settled (nothing is differentiated after this). No loop, branch or
call takes complex values any more; complex edges are left at the inputs, the outputs, and around operations without a
rule (`complex_rules`), between `complex`, which joins parts, and `real` and `imag`. Finite results agree to a few units
in the last place. Where infinities meet, a part may be NaN here and infinite there, since a part that is known to be
zero is left out of products.
Cost: linear in the nodes; a graph without complex values is only looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError
from ..graph.graph import Graph
from ..graph.interpreter import bind, type_of_value
from ..graph.nodes import Node, Var
from ..graph.stage import Stage, live_nodes
from ..graph.types import ArrayType, Dim
from ..ops.arithmetic import complex_of, imag, real
from ..ops.control_flow import Loop
from ..ops.families import Linear
from ..ops.scan import Scan
from ..ops.shape import BroadcastTo, broadcast_to, convert
from .complex_rules import ELEMENTWISE, PARTS, TRUTH, Pair, as_part, choose, nonzero, product
from .cse import cse
from .dce import dce
from .simplify import simplify


def complex_parts(graph: Graph) -> Graph:
    """The graph on real and imaginary parts; the same graph if it computes nothing complex."""
    if not has_complex(graph, {}):
        return graph
    return dce(cse(simplify(Splitter({}).whole(graph))))


def is_complex(atom: Any) -> bool:
    return atom.dtype in PARTS


def has_complex(graph: Graph, seen: dict[int, bool]) -> bool:
    """Whether a complex value occurs in a graph or in one inside it."""
    if id(graph) not in seen:
        seen[id(graph)] = False
        seen[id(graph)] = any(map(is_complex, (*graph.inputs, *graph.outputs))) or any(
            any(map(is_complex, (*n.inputs, *(n.outputs or ())))) or any(has_complex(g, seen) for _, g in n.subgraphs)
            for n in graph.nodes
        )
    return seen[id(graph)]


def part_type(t: ArrayType) -> ArrayType:
    """The type of a part of a complex value."""
    return t._replace(dtype=PARTS[t.dtype])


class Splitter:
    """The walk over one graph; `done` holds the graphs inside that were split already."""

    def __init__(self, done: dict[int, tuple[Graph, Graph]], seen: dict[int, bool] | None = None) -> None:
        self.done = done
        self.seen = {} if seen is None else seen
        self.stage = Stage()
        self.known: dict[Var, Any] = {}
        self.constants: dict[int, Any] = {}

    # Graphs ---------------------------------------------------------------------------------------------

    def whole(self, graph: Graph) -> Graph:
        """A program, with complex inputs and outputs as they are."""
        with self.stage:
            given = [self.stage.input(v.type, getattr(v, "name", None)) for v in graph.inputs]
            for var, tensor in zip(graph.inputs, given, strict=True):
                self.known[var] = self.apart(tensor) if is_complex(var) else tensor
            self.walk(graph)
            outputs = [self.stage.atom(self.joined(self.value(a), a.type)) for a in graph.outputs]
        nodes = live_nodes(self.stage.nodes, outputs)
        return graph.replace(inputs=[t.note for t in given], nodes=nodes, outputs=outputs, values=None, gradients=None)

    def inner(self, graph: Graph) -> Graph:
        """The graph of a loop, branch or call, with parts for complex inputs and outputs."""
        if not has_complex(graph, self.seen):
            return graph
        if id(graph) not in self.done:
            self.done[id(graph)] = graph, Splitter(self.done, self.seen).body(graph)
        return self.done[id(graph)][1]

    def body(self, graph: Graph) -> Graph:
        given: list[Any] = []
        with self.stage:
            for var in graph.inputs:
                types = [part_type(var.type)] * 2 if is_complex(var) else [var.type]
                tensors = [self.stage.input(t, getattr(var, "name", None)) for t in types]
                given += tensors
                self.known[var] = Pair(*tensors) if is_complex(var) else tensors[0]
            self.walk(graph)
            outputs = [self.stage.atom(x) for a in graph.outputs for x in self.expanded(a)]
        nodes = live_nodes(self.stage.nodes, outputs)
        return Graph([t.note for t in given], nodes, outputs, graph.name)

    def walk(self, graph: Graph) -> None:
        before = self.stage.backward, self.stage.place
        for node in graph.nodes:
            self.stage.place, self.stage.backward = node.source or before[1], before[0] + node.backward
            with np.errstate(all="ignore"):  # rules compute with constants
                outs = self.visit(node)
            self.known.update(zip(node.outputs or (), outs, strict=True))
        self.stage.backward, self.stage.place = before

    # Values ---------------------------------------------------------------------------------------------

    def do(self, primitive: Any, *operands: Any) -> Any:
        """The operation as a node, constants or not."""
        return self.stage.apply(primitive, operands)

    def value(self, atom: Any) -> Any:
        """What stands for an edge or constant: a value, or the parts of one."""
        if isinstance(atom, Var):
            return self.known[atom]
        if not is_complex(atom):
            return atom.value
        if id(atom) not in self.constants:
            array = np.asarray(atom.value, atom.dtype)
            re, im = array.real.copy()[()], array.imag.copy()[()]
            if atom.type.weak:
                re, im = float(re), float(im)
            self.constants[id(atom)] = Pair(*(None if np.ndim(x) == 0 and x == 0 else x for x in (re, im)), atom.value)
        return self.constants[id(atom)]

    def apart(self, tensor: Any) -> Pair:
        """A complex value in memory."""
        return Pair(self.do(real, tensor), self.do(imag, tensor), tensor)

    def joined(self, x: Any, t: ArrayType) -> Any:
        """A value as the complex one that it is."""
        if not isinstance(x, Pair):
            return x
        return x.whole if x.whole is not None else self.do(complex_of, *self.both(x, t))

    def both(self, x: Any, t: ArrayType) -> list[Any]:
        """The parts of a value of complex type `t`, with arrays of zeros where there are none."""
        return [self.zeros(x, t) if part is None else self.settled(part, part_type(t)) for part in x[:2]]

    def zeros(self, x: Any, t: ArrayType) -> Any:
        dtype = PARTS[t.dtype]
        if not any(isinstance(n, Dim) for n in t.shape):
            return np.zeros(t.shape, dtype)[()]
        return self.settled(dtype.type(0), part_type(t))

    def settled(self, x: Any, t: ArrayType) -> Any:
        """A part with the dtype and shape that it shall have."""
        if isinstance(x, (bool, int, float)) and not t.weak:
            x = t.dtype.type(x)
        if type_of_value(x).dtype != t.dtype:
            x = convert(x, t.dtype)
        return x if type_of_value(x).shape == t.shape else self.do(BroadcastTo.of(t.shape), x)

    def expanded(self, atom: Any) -> list[Any]:
        """One value, or two parts."""
        x = self.value(atom)
        return self.both(x, atom.type) if isinstance(x, Pair) else [x]

    # Operations -----------------------------------------------------------------------------------------

    def visit(self, node: Node) -> Sequence[Any]:
        """The results of a node, those of complex type as pairs."""
        primitive, atoms, outs = node.primitive, node.inputs, node.outputs or ()
        complex_here = any(map(is_complex, (*atoms, *outs)))
        if primitive.higher_order and (complex_here or any(has_complex(g, self.seen) for _, g in node.subgraphs)):
            return self.control(node)
        if not complex_here:
            found = self.do(primitive, *[self.value(a) for a in atoms])
            return found if primitive.multiple else [found]
        if len(outs) == 1:
            values = [self.value(a) for a in atoms]
            found = self.rule(node, values, outs[0].type)
            if found is not None:
                return [self.finished(found, outs[0].type)]
        found = self.do(primitive, *[self.joined(self.value(a), a.type) for a in atoms])
        results = found if primitive.multiple else [found]
        return [self.apart(x) if is_complex(v) else x for x, v in zip(results, outs, strict=True)]

    def finished(self, found: Any, t: ArrayType) -> Any:
        """A result with parts of the type that they shall have."""
        if t.dtype not in PARTS:
            return self.settled(found, t)
        pair = found if isinstance(found, Pair) else Pair(found, None)
        return Pair(*(None if x is None else self.settled(x, part_type(t)) for x in pair[:2]))

    def rule(self, node: Node, values: list[Any], t: ArrayType) -> Any:
        """The result by the operation's rule; None if it has none."""
        primitive: Any = node.primitive
        name = primitive.name
        if name in ELEMENTWISE:
            kinds = [v.dtype for v in (*node.inputs, *(node.outputs or ())) if is_complex(v)]
            dtype = PARTS[np.result_type(*kinds)]
            pairs = [x if isinstance(x, Pair) else Pair(as_part(x, dtype), None) for x in values]
            return ELEMENTWISE[name](dtype, *pairs)
        if name == "where":
            x, y = (v if isinstance(v, Pair) else Pair(v, None) for v in values[1:])
            condition = nonzero(values[0])
            return Pair(*(choose(condition, a, b) for a, b in zip(x[:2], y[:2], strict=True)))
        if name in TRUTH:
            return self.do(primitive, *map(nonzero, values))
        if name == "convert":
            return self.converted(values[0], primitive.dtype)
        if name == "zeros_like":
            return Pair(None, None)
        if name == "complex":
            return Pair(*values)
        if not self.acts_on_parts(node, t):
            return None
        if "bilinear" in primitive.facts and len(values) == 2:
            x, y = (v if isinstance(v, Pair) else Pair(as_part(v, PARTS[t.dtype]), None) for v in values)
            x, y = (self.of_shape(v, a.type) for v, a in zip((x, y), node.inputs, strict=True))
            return product(x, y, lambda a, b: None if a is None or b is None else bind(primitive, a, b))
        if isinstance(primitive, Linear) or ("linear" in primitive.facts and len(values) == 1):
            return self.linear(node, values, t)
        return None

    @staticmethod
    def acts_on_parts(node: Node, t: ArrayType) -> bool:
        """Whether a linear operation makes parts of parts; a Fourier transform makes complex numbers."""
        if "linear" not in node.primitive.facts and "bilinear" not in node.primitive.facts:
            return False
        given = [a.type._replace(dtype=PARTS[a.dtype], weak=False) if is_complex(a) else a.type for a in node.inputs]
        mixed = [x._replace(dtype=PARTS[t.dtype], weak=False) if t.dtype in PARTS and x.dtype.kind == "f" else x
                 for x in given]  # fmt: skip
        try:
            return bool(node.primitive.type(*mixed).dtype == PARTS.get(t.dtype, t.dtype))
        except DtypeError:
            return False

    @staticmethod
    def of_shape(x: Pair, t: ArrayType) -> Pair:
        """Parts with the shape of the whole, for operations that do not broadcast."""
        return Pair(*(None if part is None else broadcast_to(part, t.shape) for part in x[:2]))

    def converted(self, x: Any, dtype: np.dtype[Any]) -> Any:
        if not isinstance(x, Pair):
            return Pair(convert(x, PARTS[dtype]), None)
        if dtype in PARTS:
            return Pair(*(None if part is None else convert(part, PARTS[dtype]) for part in x[:2]))
        if dtype.kind == "b":
            return nonzero(x)
        return None if dtype.kind == "c" else dtype.type(0) if x.re is None else convert(x.re, dtype)

    def linear(self, node: Node, values: list[Any], t: ArrayType) -> Any:
        """Both parts on their own; indices and sizes are the same for both."""
        primitive: Any = node.primitive
        chosen = primitive.linear_operands(len(values)) if isinstance(primitive, Linear) else range(len(values))
        if t.dtype not in PARTS:
            if any(is_complex(node.inputs[k]) for k in chosen):
                return None
            return self.do(primitive, *[self.both(x, a.type)[0] if isinstance(x, Pair) else x
                                        for x, a in zip(values, node.inputs, strict=True)])  # fmt: skip
        rows = []
        for k, (x, atom) in enumerate(zip(values, node.inputs, strict=True)):
            if k not in chosen:
                other = self.both(x, atom.type)[0] if isinstance(x, Pair) else x
                rows.append((other, other))
            elif isinstance(x, Pair):
                rows.append(tuple(x[:2]))
            else:
                rows.append((as_part(x, PARTS[t.dtype]), None))
        found = []
        for side in (0, 1):
            given = [row[side] for row in rows]
            if all(given[k] is None for k in chosen):
                found.append(None)
                continue
            for k in chosen:
                shape = node.inputs[k].type._replace(dtype=PARTS[t.dtype], weak=False)
                complex_type = shape._replace(dtype=t.dtype)
                given[k] = self.zeros(values[k], complex_type) if given[k] is None else self.settled(given[k], shape)
            found.append(self.do(primitive, *given))
        return Pair(*found)

    def control(self, node: Node) -> Sequence[Any]:
        """A loop, branch or call on parts."""
        primitive: Any = node.primitive
        outs = node.outputs or ()
        operands = [x for a in node.inputs for x in self.expanded(a)]
        graphs = [self.inner(g) for _, g in node.subgraphs]

        def width(atoms: Sequence[Any]) -> int:
            return sum(1 + is_complex(a) for a in atoms)

        if isinstance(primitive, Scan):
            consts, carries, _ = primitive.parts(node.inputs)
            changed: Any = Scan(*graphs, width(consts), width(carries), primitive.length, primitive.reverse)
        elif isinstance(primitive, Loop):
            counts, start = [], 0
            for n in primitive.constants:
                counts.append(width(node.inputs[start : start + n]))
                start += n
            changed = primitive.with_subgraphs(*graphs, constants=counts)
        elif primitive.with_subgraphs is not None:
            changed = primitive.with_subgraphs(*graphs)
        else:
            found = self.do(primitive, *[self.joined(self.value(a), a.type) for a in node.inputs])
            return [self.apart(x) if is_complex(v) else x for x, v in zip(found, outs, strict=True)]
        results = iter(self.do(changed, *operands))
        return [Pair(next(results), next(results)) if is_complex(v) else next(results) for v in outs]
