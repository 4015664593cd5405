"""Reverse mode: record what runs, then walk the record backward.

`Record` is the define-by-run interpreter. A node keeps only the values that its reverse rule reads; the walk
goes in the order of creation numbers, so chains of any length need no recursion. The same code serves static
graphs: there the recorded values are themselves symbolic, and walking backward writes the gradient's nodes.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import isfinite
from sys import _getframe
from typing import Any

import numpy as np
from numpy import ndarray

from ..errors import NotDifferentiableError, WengertError
from ..graph.effects import effectful, effects
from ..graph.graph import Graph
from ..graph.interpreter import Interpreter, always_at_work, bind, is_traced, state, type_of_value
from ..graph.nodes import Const, Node, Var
from ..graph.primitive import Primitive
from ..graph.stage import Stage, counter, evaluate, live_nodes, stage
from ..graph.tensor import Tensor
from ..graph.types import PYTHON_NUMBERS, ArrayType, Dim, definite
from ..ops.arithmetic import strong_multiply
from ..ops.families import vocabulary
from ..ops.index import Piece, SetSlice
from ..ops.shape import zeros_like
from ..settings import settings
from ..source import here, internal_file, is_internal
from .blocks import LARGE, take_run, walk_blocks
from .complaints import explain
from .cuts import note_cut
from .linear import derived_vjp

new = object.__new__

READY = frozenset({ndarray, np.float64, np.float32, float})
"""Classes of operands that need no preparation."""

Pullback = tuple[Callable[..., Any], Callable[..., Any] | None]
"""keep(operands, out) -> saved values; apply(ct, saved, inputs, times) -> cotangents of the operands.

`times` is the product of a cotangent and a local derivative, None for the plain one."""


class Record(Interpreter):
    """Runs operations on values and keeps a record of those that lead from a leaf.

    A tensor's note is its `Var`, or None for a constant.
    """

    noun = "recorded value"
    transparent = True

    def type(self, tensor: Tensor) -> ArrayType:
        return type_of_value(tensor.value)

    def leaf(self, value: Any, name: str | None = None) -> Tensor:
        """A tensor to differentiate with respect to."""
        return Tensor(self, value, Var.of(type_of_value(value), name))

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        # The innermost loop of define-by-run. Two plain operands are opened here, all else by `opened`; and at the
        # end the slots of the new objects are filled by hand, since `__init__` would add 0.15 µs for each.
        inputs: Any = None
        if len(operands) == 2:
            x, y = operands
            u = v = None
            mask = 0
            if x.__class__ is Tensor and x.interpreter is self:
                u = x.note
                x = x.value
            if y.__class__ is Tensor and y.interpreter is self:
                v = y.note
                y = y.value
            if x.__class__ in READY and y.__class__ in READY:
                if u is None:
                    u = constant_atom(x)
                    if x.__class__ is ndarray and x.size <= COPIED:
                        x = x.copy("K")
                else:
                    u.used = True
                    mask = 1
                if v is None:
                    v = constant_atom(y)
                    if y.__class__ is ndarray and y.size <= COPIED:
                        y = y.copy("K")
                else:
                    v.used = True
                    mask += 2
                values: Any = (x, y)
                inputs = (u, v)
                literal = x.__class__ is float or y.__class__ is float
                nested = False
        if inputs is None:
            values, inputs, mask, literal, nested = self.opened(operands)
        pullback = primitive.pullbacks.get(mask)
        if pullback is None:  # nothing to record, or the first time
            if not mask or not primitive.differentiable:
                try:
                    out = bind(primitive, *values)
                except WengertError:
                    raise
                except (ValueError, TypeError, IndexError) as error:
                    raise explain(primitive, values, error) from error
                if not mask:
                    return self.constant(out)
                if self.level == 0 and "effect" not in primitive.facts:
                    note_cut(primitive, inputs)
                return out
            if primitive.higher_order:
                return self.apply_higher_order(primitive, values, inputs, mask)
            pullback = primitive.pullbacks[mask] = pullback_of(primitive, mask)
        try:
            out = bind(primitive, *values) if nested else primitive.numpy(*values)  # type: ignore[misc]
            kind = out.__class__
            if kind is float or kind is complex:
                out = primitive.reference(*values)  # type: ignore[attr-defined]
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, values, error) from error
        frame = _getframe(2)
        while frame is not None:
            internal = internal_file(frame.f_code.co_filename)
            if internal is False:
                break
            if internal or is_internal(frame.f_code.co_filename):
                frame = frame.f_back
        code, offset = (None, 0) if frame is None else (frame.f_code, frame.f_lasti)
        if primitive.multiple:
            if primitive.split is not None:  # equal eigenvalues: see ops.spectral
                out = primitive.split(out, None)
            types = tuple([type_of_value(value) for value in out])
            saved = pullback[0](values, out)
            node = Node(primitive, inputs, types, code, offset, next(counter), saved, pullback[1])
            return self.outputs_of(node, out, types)
        dtype = out.dtype
        if dtype.kind not in "fc":
            if self.level == 0:
                note_cut(primitive, inputs)
            return out
        saved = pullback[0](values, out)
        if literal and saved:
            saved = tuple([definite(value, dtype) for value in saved])
        node = new(Node)
        node.primitive = primitive
        node.inputs = inputs
        node.outputs = None
        node.code = code
        node.offset = offset
        node.number = next(counter)
        node.saved = saved
        node.rule = pullback[1]
        node.backward = False
        edge = new(Var)
        edge.shape = out.shape
        edge.dtype = dtype
        edge.node = node
        edge.index = 0
        tensor = new(Tensor)
        tensor.interpreter = self
        tensor.value = out
        tensor.note = edge
        return tensor

    def opened(self, operands: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...], int, bool, bool]:
        """Values and atoms of the operands, the bit mask of those to differentiate, and what is special in them.

        The flags: a Python number is among the values; a tensor is, so that `bind` has to find its interpreter.
        """
        mask = 0
        bit = 1
        nested = literal = False
        values: list[Any] = []
        inputs: list[Any] = []
        for operand in operands:
            if operand.__class__ is not Tensor:
                inputs.append(constant_atom(operand))
                if operand.__class__ is ndarray and operand.size <= COPIED:
                    operand = operand.copy("K")
            elif operand.interpreter is self and operand.note is not None:
                var = operand.note
                operand = operand.value
                mask |= bit
                var.used = True
                inputs.append(var)
            else:
                operand = self.lower(operand)
                inputs.append(constant_atom(operand))
            kind = operand.__class__
            if kind is Tensor:
                nested = True
            elif kind is float or kind not in READY:
                literal = True
            values.append(operand)
            bit += bit
        return tuple(values), tuple(inputs), mask, literal, nested

    def apply_higher_order(self, primitive: Any, values: tuple[Any, ...], inputs: Sequence[Any], mask: int) -> Any:
        """Loops and branches: run the forward part, which hands out what the backward part will read."""
        needed = [bool(mask >> k & 1) for k in range(len(values))]
        outs, residuals = primitive.forward_pass(values, needed, split_graph)
        if "custom" in primitive.facts:
            self.check_captured(outs)
        types = tuple([type_of_value(value) for value in outs])
        code, offset = here(3) or (None, 0)
        rule = higher_order_pullback(primitive, needed)
        if self.level and primitive.rereads is not None:  # define-by-run may differentiate again, from all operands
            read = primitive.rereads(residuals)
            values = tuple([value if k in read else None for k, value in enumerate(values)])
        node = Node(primitive, tuple(inputs), types, code, offset, next(counter), (values, residuals), rule)
        return self.outputs_of(node, outs, types)

    def outputs_of(self, node: Node, values: Sequence[Any], types: Sequence[ArrayType]) -> tuple[Any, ...]:
        """The results of a node with several; those that are not differentiated stay plain."""
        return tuple(
            [
                Tensor(self, value, Var(t.shape, t.dtype, node, index)) if t.dtype.kind in "fc" else value
                for index, (value, t) in enumerate(zip(values, types, strict=True))
            ]
        )

    def constant(self, out: Any) -> Any:
        """The result of an operation on constants: a handle, so that `x[i] = v` works on it."""
        if isinstance(out, tuple):
            return tuple(Tensor(self, value, None) for value in out)
        return Tensor(self, out, None)

    def backward(
        self, seeds: Sequence[tuple[Var, Any]], keep: bool = False, create_graph: bool = False
    ) -> dict[Var, Any]:
        """Cotangents of the leaves that the seeds (edges and their cotangents) lead to.

        On numbers the products are plain at first; if that leaves a NaN in a result, the walk is repeated with
        the strong zero (`strong_multiply`), which costs nothing where no derivative is singular. `keep` leaves
        gradients on the edges in between; `create_graph` computes with recorded tensors.
        """
        symbolic = [i for i in state.stack if isinstance(i, Stage)]
        times: Any = strong_multiply if (symbolic or state.watch) and settings.strong_zero else None
        record = self if create_graph else None
        watched = [] if state.watch is None else [state.watch]
        for interpreter in (*symbolic, *watched):
            interpreter.backward += 1
        try:
            with np.errstate(all="ignore"):
                found = walk_back(seeds, times, symbolic, keep, record)
                if times is None and settings.strong_zero and any(map(has_nan, found.values())):
                    found = walk_back(seeds, strong_multiply, symbolic, keep, record)
        finally:
            for interpreter in (*symbolic, *watched):
                interpreter.backward -= 1
                interpreter.place = None
            for watch in watched:
                watch.rule = ""
        return found


class Ground(Record):
    """The record of `wg.variable`: always at work, below every transform."""

    def __init__(self) -> None:
        self.level = 0
        self.done = 0
        always_at_work.append(self)


ground = Ground()
vocabulary.constant = lambda value: Tensor(ground, value, None)


COPIED = 1024
"""Elements up to which a constant array is copied when it enters a record, since its owner may write into it."""


def constant_atom(value: Any) -> Const:
    """A constant operand in a dynamic graph: its number if it is one, otherwise only its type."""
    kind = value.__class__
    if kind is ndarray:
        return Const(None if value.ndim else value, (value.shape, value.dtype))
    if kind in PYTHON_NUMBERS:
        return Const(value)
    t = type_of_value(value)
    return Const(value if t.shape == () and not is_traced(value) else None, t)


def pullback_of(primitive: Primitive, mask: int) -> Pullback:
    """The reverse rule of an operation for the operands in a bit mask."""
    if primitive.not_differentiable is not None:
        return (lambda operands, out: ()), None
    own = getattr(primitive, "pullback", None)
    if own is not None:
        return own(mask)  # type: ignore[no-any-return]

    saves: dict[int, tuple[int, ...]] = {}  # by the number of operands, which `concatenate` leaves open

    def keep(operands: tuple[Any, ...], out: Any) -> Any:
        count = len(operands)
        places = saves.get(count)
        if places is None:
            places = saves[count] = primitive.saves(mask, count)
        return tuple([out if k == count else operands[k] for k in places]) if places else ()

    def apply(ct: Any, saved: Any, inputs: Any, times: Any) -> Any:
        # Operands that were not kept are given as edges, which have shape and dtype.
        values = [*inputs, None]
        for k, value in zip(primitive.saves(mask, len(inputs)), saved, strict=True):
            values[k] = value
        *operands, out = values
        needed = [bool(mask >> k & 1) for k in range(len(operands))]
        if primitive.vjp is not None:
            return primitive.vjp(ct, operands, out, needed)
        if "linear" in primitive.facts and primitive.transpose is not None:
            return primitive.transpose(
                ct, [i if n else v for i, v, n in zip(inputs, operands, needed, strict=True)], needed
            )
        if "bilinear" in primitive.facts and primitive.transpose is not None:
            cts: list[Any] = [None] * len(needed)
            for k, wanted in enumerate(needed):
                if wanted:
                    only = [j == k for j in range(len(needed))]
                    given = [i if o else v for i, v, o in zip(inputs, operands, only, strict=True)]
                    cts[k] = primitive.transpose(ct, given, only)[k]
            return cts
        return derived_vjp(primitive, ct, operands, out, needed)

    return keep, apply


def walk_back(
    seeds: Sequence[tuple[Var, Any]], times: Any, stages: Sequence[Stage], keep: bool, record: Record | None
) -> dict[Var, Any]:
    """Cotangents of every leaf that the seeds lead to."""
    pending: dict[Node, Any] = {}  # node -> cotangent of its output (a list for several)
    leaves: dict[Var, Any] = {}
    between: dict[tuple[Node, int], Var] = {}
    heap: list[tuple[int, Node]] = []  # pending nodes by negative creation number: the latest comes first
    watch = state.watch
    plain = record is None and not keep and not stages and watch is None
    arrivals: Any = seeds
    while True:
        for var, ct in arrivals:
            if ct is None or var.__class__ is not Var:
                continue
            producer = var.node
            if producer is None:
                old = leaves.get(var)
                leaves[var] = ct if old is None else old + ct
                continue
            if keep:
                between[producer, var.index] = var
            if producer in pending:
                if producer.outputs is None:
                    pending[producer] = pending[producer] + ct
                else:
                    cts = pending[producer]
                    cts[var.index] = ct if cts[var.index] is None else cts[var.index] + ct
                continue
            if producer.outputs is None:
                pending[producer] = ct
            else:
                pending[producer] = [ct if k == var.index else None for k in range(len(producer.outputs))]
            heappush(heap, (-producer.number, producer))
        if not heap:
            return {var: ct.dense() if ct.__class__ is Piece else ct for var, ct in leaves.items()}
        node = heappop(heap)[1]
        ct = pending.pop(node)
        if ct.__class__ is ndarray:
            if ct.size >= LARGE and plain:
                run = take_run(node, ct, pending, heap)
                if len(run) > 1:
                    arrivals = walk_blocks(run, times)
                    continue
        elif ct.__class__ is Piece:
            if keep or node.primitive.__class__ is not SetSlice:  # which goes on with the piece
                ct = ct.dense()
        elif ct.__class__ is list:
            ct = [part.dense() if part.__class__ is Piece else part for part in ct]
        if keep or stages or node.rule is None:
            prepare(node, ct, keep, between, stages)
        saved = node.saved if record is None else rebuilt(record, node)
        if watch is not None:
            watch.place, watch.rule = node.source, node.primitive.name
        inputs = node.inputs
        arrivals = zip(inputs, node.rule(ct, saved, inputs, times))  # noqa: B905
        if watch is not None:
            arrivals = watch.pulled(node, ct, saved, list(arrivals))


def prepare(node: Node, ct: Any, keep: bool, between: dict[tuple[Node, int], Var], stages: Sequence[Stage]) -> None:
    """What a step of the walk does only sometimes: keep gradients, attribute new nodes, refuse."""
    if keep:
        for index, part in enumerate(ct if node.outputs is not None else (ct,)):
            if part is not None:
                between[node, index].gradient = part
    for interpreter in stages:
        interpreter.place = node.source
    if node.rule is None:
        raise NotDifferentiableError(
            f"{node.primitive.name} has no derivative: {node.primitive.not_differentiable}",
            "cut it out of the derivative with wg.stop_gradient on its operand",
            node.source,
        )


def rebuilt(record: Record, node: Node) -> tuple[Any, ...]:
    """The saved values of a node as tensors of the record again, so that a rule's work is recorded."""
    count = len(node.inputs)
    mask = sum(1 << k for k, atom in enumerate(node.inputs) if isinstance(atom, Var))
    if node.primitive.higher_order:
        operands = [
            Tensor(record, v, a) if isinstance(a, Var) else v for v, a in zip(node.saved[0], node.inputs, strict=True)
        ]
        needed = [bool(mask >> k & 1) for k in range(count)]
        return operands, node.primitive.forward_pass(operands, needed, split_graph)[1]  # type: ignore[attr-defined]

    def tensor(position: int, value: Any) -> Any:
        if position < count:
            atom = node.inputs[position]
            return Tensor(record, value, atom) if isinstance(atom, Var) else value
        if node.outputs is None:
            return Tensor(record, value, Var(value.shape, value.dtype, node))
        return tuple(Tensor(record, v, Var(v.shape, v.dtype, node, k)) for k, v in enumerate(value))

    return tuple(tensor(k, v) for k, v in zip(node.primitive.saves(mask, count), node.saved, strict=True))


def has_nan(value: Any) -> bool:
    """Whether a concrete value holds a NaN anywhere (a tangent under it included)."""
    if isinstance(value, Tensor):
        note = value.note
        inner = has_nan(note) if not isinstance(note, (Var, int)) and note is not None else False
        return inner or has_nan(value.value)
    if value.__class__ is np.float64:
        return bool(value != value)
    if not hasattr(value, "dtype") or value.dtype.kind not in "fc":  # None, or the terms of a series
        return False
    flat = value if value.ndim == 1 else np.ravel(value)
    # One pass; NaN and infinity both make the sum of squares non-finite.
    return not isfinite(abs(flat.dot(flat))) and bool(np.isnan(flat).any())


def higher_order_pullback(primitive: Any, needed: Sequence[bool]) -> Callable[..., Any]:
    def apply(cts: Any, saved: Any, inputs: Any, times: Any) -> Any:
        operands, residuals = saved
        return primitive.backward_pass(cts, operands, residuals, needed, vjp_graph)

    return apply


def reversed_at_zero(primitive: Any, operands: Sequence[Any], linear: Sequence[bool], cts: Sequence[Any]) -> Any:
    """The transpose of a loop, branch or call that is linear in some operands (given as edges): its derivative at 0."""
    values = [np.zeros(x.shape, x.dtype) if flag else x for x, flag in zip(operands, linear, strict=True)]
    saved = primitive.forward_pass(values, linear, split_graph)[1]
    return primitive.backward_pass(cts, values, saved, linear, vjp_graph)


vocabulary.reversed = reversed_at_zero


def joint_graph(graph: Graph, needed: Sequence[bool], arriving: Sequence[bool]) -> Graph:
    """From inputs and the cotangents of the arriving outputs to all outputs and the cotangents of the needed inputs."""
    types = [var.type for var in graph.inputs]
    out_types = [atom.type._replace(weak=False) for atom in graph.outputs]
    count = len(types)

    def run(*values: Any) -> list[Any]:
        cts = iter(values[count:])
        with Record() as record:
            leaves = [record.leaf(v) if n else v for v, n in zip(values[:count], needed, strict=True)]
            notes = [leaf.note for leaf, n in zip(leaves, needed, strict=True) if n]
            outs = evaluate(graph, *leaves)
        seeds = []
        results = []
        for out, arrives in zip(outs, arriving, strict=True):
            ct = next(cts) if arrives else None
            mine = is_traced(out) and out.interpreter is record
            if mine and arrives and out.note is not None:
                seeds.append((out.note, ct))
            results.append(out.value if mine else record.lower(out))
        found = record.backward(seeds)
        zeros = [zeros_like(v) for v, n in zip(values[:count], needed, strict=True) if n]
        return results + [found.get(note, zero) for note, zero in zip(notes, zeros, strict=True)]

    names = [getattr(var, "name", None) for var in graph.inputs]
    ct_types = [t for t, a in zip(out_types, arriving, strict=True) if a]
    return stage(run, [*types, *ct_types], names, name=f"gradient of {graph.name}")[0]


def quiet(joint: Graph, count: int) -> Sequence[Node]:
    """The nodes of a joint graph without the effects of its forward part, which has had them already."""
    if not effects(joint):
        return joint.nodes
    late: set[Any] = set(joint.inputs[count:])
    kept = []
    for node in joint.nodes:
        if not late.isdisjoint(node.inputs):
            late.update(node.outputs or ())
        elif effectful(node):
            continue
        kept.append(node)
    return kept


def vjp_graph(graph: Graph, needed: Sequence[bool], arriving: Sequence[bool]) -> Graph:
    """From inputs and the cotangents of the arriving outputs to the cotangents of the needed inputs."""

    def make() -> Graph:
        joint = joint_graph(graph, needed, arriving)
        outputs = joint.outputs[len(graph.outputs) :]
        return joint.replace(nodes=live_nodes(quiet(joint, len(graph.inputs)), outputs), outputs=outputs)

    return graph.cached(("vjp", tuple(needed), tuple(arriving)), make)  # type: ignore[no-any-return]


def split_graph(
    graph: Graph,
    needed: Sequence[bool],
    arriving: Sequence[bool],
    available: Sequence[bool],
    redo: bool | Callable[[Node], bool] = True,
) -> tuple[Graph, Graph, list[int | None]]:
    """A graph's reverse mode in two parts.

    What is computed of available inputs alone is computed again in the backward part, unless `redo` is False. Where
    `redo` is a policy, everything is but the results of the nodes for which it is true.

    Returns
    -------
    forward : from inputs to outputs, followed by the residuals that are not available otherwise.
    backward : from residuals and the cotangents of the arriving outputs to those of the needed inputs.
    residuals : for each, the position of the input that it is, or None. `available` marks the inputs that the
        backward part can have without stacking.
    """

    def make() -> tuple[Graph, Graph, list[int | None]]:
        joint = joint_graph(graph, needed, arriving)
        count, outs = len(graph.inputs), len(graph.outputs)
        late = set(joint.inputs[count:])
        position = {var: k for k, var in enumerate(joint.inputs[:count])}
        producer = joint.producers()
        # Inputs that are available, and what is computed of these alone.
        fixed = {var for var, k in position.items() if redo is True and available[k]}
        keeps = redo if callable(redo) else lambda node: True
        late_nodes = []
        for node in joint.nodes:
            reads = [atom for atom in node.inputs if isinstance(atom, Var)]
            if any(var in late for var in reads):
                late.update(node.outputs or ())
                late_nodes.append(node)
            elif all(var in fixed for var in reads):
                fixed.update(node.outputs or ())
        cts = joint.outputs[outs:]
        wanted = [a for node in late_nodes for a in node.inputs] + list(cts)
        residuals: dict[Var, None] = {}
        again = set()
        while wanted:
            var = wanted.pop()
            if not isinstance(var, Var) or var in late or var in residuals:
                continue
            node = producer.get(var)
            # The record of an inner while loop has another length in every step and cannot be stacked: the inner
            # loop runs again.
            ragged = any(isinstance(n, Dim) for n in var.shape)
            free = ragged or var in fixed
            if node is not None and (free or "rearranging" in node.primitive.facts or not keeps(node)):
                if node not in again:  # cheaper to do again than to keep
                    again.add(node)
                    wanted.extend(node.inputs)
            else:
                residuals[var] = None
        late_nodes = sorted({*late_nodes, *again}, key=operator.attrgetter("number"))
        places = [position.get(var) for var in residuals]
        stacked = [var for var, k in zip(residuals, places, strict=True) if k is None or not available[k]]
        results = [*joint.outputs[:outs], *stacked]
        early = live_nodes(joint.nodes, results)
        forward = Graph(joint.inputs[:count], early, results, f"forward part of {graph.name}")
        backward = Graph((*residuals, *joint.inputs[count:]), late_nodes, cts, f"backward part of {graph.name}")
        return forward, backward, places

    return graph.cached(("split", tuple(needed), tuple(arriving), tuple(available), redo), make)  # type: ignore[no-any-return]
