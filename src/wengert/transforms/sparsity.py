"""Sparsity of derivatives from the graph alone: every edge gets the pattern of its Jacobian.

A pattern is a boolean CSR matrix with a row for each element of the value and a column for each element that the
derivative is taken in; None stands for no entry at all. Each operation says which elements of its result depend on
which elements of its operands (`depends`, see `ops.dependence`), so a pattern is pushed through it like a tangent:
rows are taken, united, and summed over groups. (Forward propagation of index sets: Griewank and Walther, Evaluating
Derivatives, 2nd ed., SIAM 2008, section 7.1.) Values that depend on no argument are computed on the way, since
constant indices and the zeros of constant factors make patterns sharp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, vstack

from ..errors import SparsityError
from ..graph.graph import Graph
from ..graph.nodes import Node, Var
from ..graph.primitive import Primitive
from ..graph.types import ArrayType, Dim, is_inexact
from ..ops.dependence import SAME, Groups, Joint, Operand, Pairs, dense

LARGEST = 2**28
"""Entries (a gigabyte and a half) beyond which a pattern is called dense and refused."""


class Flow(NamedTuple):
    """What is known of a value: its type, with one element along axes of unknown length; pattern; the value itself."""

    type: ArrayType
    pattern: Any = None
    value: Any = None

    @property
    def size(self) -> int:
        return self.type.size


# Patterns -----------------------------------------------------------------------------------------------------


def from_index(indices: Any, indptr: Any, columns: int) -> Any:
    """A pattern from the arrays of CSR."""
    return csr_array((np.ones(len(indices), bool), indices, indptr), shape=(len(indptr) - 1, columns))


def unit(size: int, columns: int, start: int = 0) -> Any:
    """The pattern of the elements that the derivative is taken in, from column `start` on."""
    return from_index(np.arange(start, start + size, dtype=np.int32), np.arange(size + 1, dtype=np.int32), columns)


def none(size: int, columns: int) -> Any:
    """The pattern without entries, as a matrix."""
    return from_index(np.zeros(0, np.int32), np.zeros(size + 1, np.int32), columns)


def full(pattern: Any, size: int, columns: int) -> Any:
    """A pattern as a matrix, even without entries."""
    return none(size, columns) if pattern is None else pattern


def check_size(count: int) -> None:
    if count > LARGEST:
        raise SparsityError(
            f"a pattern in this function has {count:,} entries: there is no sparsity to make use of",
            "use wg.jacobian, wg.hvp or wg.jvp, or look for the operation that makes everything depend on everything",
        )


def take(pattern: Any, index: Any) -> Any:
    """Rows of a pattern in any order, none where the index is -1."""
    if pattern is None:
        return None
    index = np.ravel(index)
    starts, lengths = pattern.indptr[:-1], np.diff(pattern.indptr)
    counts = lengths[index].astype(np.int64) if len(lengths) else np.zeros(len(index), np.int64)
    counts[index < 0] = 0
    total = int(counts.sum())
    check_size(total)
    if total == 0:
        return None
    ends = np.cumsum(counts)
    indptr = np.concatenate(([0], ends)).astype(np.int32)
    from_there = np.repeat(starts[index] - indptr[:-1], counts)
    from_there += np.arange(total, dtype=from_there.dtype)
    return from_index(pattern.indices[from_there], indptr, pattern.shape[1])


def unite(first: Any, second: Any) -> Any:
    """The entries of either."""
    if first is None or first is second:
        return second
    if second is None:
        return first
    if np.array_equal(first.indptr, second.indptr) and np.array_equal(first.indices, second.indices):
        return first
    check_size(first.nnz + second.nnz)
    return first + second


def multiply(paths: Any, pattern: Any) -> Any:
    """The pattern of a value whose elements depend on those of another by the pattern `paths`."""
    if pattern is None or paths is None or not paths.nnz or not pattern.nnz:
        return None
    lengths = np.diff(pattern.indptr).astype(np.int64)
    check_size(int(lengths[paths.indices].sum()))
    found = paths @ pattern
    found.sort_indices()
    return found if found.nnz else None


def same(first: Any, second: Any) -> bool:
    """Whether two patterns have the same entries."""
    if first is None or second is None:
        return first is second
    return np.array_equal(first.indptr, second.indptr) and np.array_equal(first.indices, second.indices)


def stack(patterns: Sequence[Any], sizes: Sequence[int], columns: int) -> Any:
    """Patterns one below the other."""
    if all(pattern is None for pattern in patterns):
        return None
    if len(patterns) == 1:
        return patterns[0]
    whole = [full(p, n, columns) for p, n in zip(patterns, sizes, strict=True)]
    check_size(sum(p.nnz for p in whole))
    return vstack(whole, "csr")


def cut(pattern: Any, sizes: Sequence[int]) -> list[Any]:
    """The inverse of `stack`."""
    if pattern is None:
        return [None] * len(sizes)
    found = []
    at = 0
    for size in sizes:
        part = pattern[at : at + size]
        found.append(part if part.nnz else None)
        at += size
    return found


def incidence(ins: Any, count: int) -> Any:
    """The matrix that sums over groups."""
    order = np.argsort(ins, kind="stable")
    indptr = np.concatenate(([0], np.cumsum(np.bincount(ins, minlength=count))))
    return from_index(order.astype(np.int32), indptr.astype(np.int32), len(ins))


# Operations -----------------------------------------------------------------------------------------------------


def through(path: Any, pattern: Any, size: int) -> Any:
    """The pattern of a result of `size` elements, from that of an operand."""
    if path is None or pattern is None:
        return None
    if path is SAME:
        return pattern
    if isinstance(path, Groups):
        sums = multiply(incidence(np.ravel(path.ins), path.count), pattern)
        return take(sums, path.outs)
    if isinstance(path, Pairs):
        ones = np.ones(len(path.outs), bool)
        paths = csr_array((ones, (path.outs, path.ins)), shape=(size, pattern.shape[0]))
        return multiply(paths, pattern)
    return take(pattern, path)


def push(node: Node, flows: Sequence[Flow], outs: Sequence[ArrayType], columns: int, asked: list[bool]) -> list[Flow]:
    """What is known of the results of a node. `asked[0]` is set if a value was wanted that is not known."""
    primitive: Any = node.primitive
    if primitive.higher_order and primitive.depends is not None:
        return primitive.depends(flows, outs, Walker(columns, asked))  # type: ignore[no-any-return]
    value: Any = None
    if all(flow.value is not None for flow in flows) and not primitive.higher_order:
        value = primitive.numpy(*[flow.value for flow in flows])
        return [Flow(t, None, v) for t, v in zip(outs, value if primitive.multiple else (value,), strict=True)]
    moving = [flow.pattern is not None for flow in flows]
    if not any(moving) or not primitive.differentiable or not any(is_inexact(t.dtype) for t in outs):
        return [Flow(t) for t in outs]
    operands = [Operand(flow.type, flow.value, m) for flow, m in zip(flows, moving, strict=True)]
    if primitive.depends is None:
        table: Any = [dense(operands, out) for out in outs]
    else:
        found = primitive.depends(operands, tuple(outs) if primitive.multiple else outs[0])
        table = found if primitive.multiple else [found]
    asked[0] |= any(operand.missed for operand in operands)
    results = []
    for out, paths in zip(outs, table, strict=True):
        pattern = None
        if not is_inexact(out.dtype):
            pass
        elif isinstance(paths, Joint):
            whole = [flows[k] for k in paths.operands]
            pattern = take(stack([f.pattern for f in whole], [f.size for f in whole], columns), paths.index)
        else:
            for path, flow in zip(paths, flows, strict=True):
                pattern = unite(pattern, through(path, flow.pattern, out.size))
        results.append(Flow(out, pattern))
    return results


def settled(type: ArrayType) -> ArrayType:
    """A type with one element along axes of unknown length."""
    if any(isinstance(n, Dim) for n in type.shape):
        return ArrayType(tuple(1 if isinstance(n, Dim) else n for n in type.shape), type.dtype, type.weak)
    return type


def _plain(parameter: Any) -> Any:
    if isinstance(parameter, Dim):
        return 1
    if parameter.__class__ is tuple:
        return tuple(_plain(p) for p in parameter)
    return parameter


def settled_primitive(primitive: Primitive) -> Primitive:
    """An operation with one element along axes of unknown length."""
    given = primitive.arguments()
    plain = {name: _plain(value) for name, value in given.items()}
    return primitive if plain == given else type(primitive)(**plain)


def walk(graph: Graph, flows: Sequence[Flow], columns: int, asked: list[bool]) -> list[Flow]:
    """What is known of the outputs of a graph, from what is known of its inputs."""
    known: dict[Var, Flow] = dict(zip(graph.inputs, flows, strict=True))
    last: dict[Any, int] = {atom: k for k, node in enumerate(graph.nodes) for atom in node.inputs}
    outputs = set(graph.outputs)
    for k, node in enumerate(graph.nodes):
        given = [known[a] if isinstance(a, Var) else Flow(settled(a.type), None, a.value) for a in node.inputs]
        outs = [settled(var.type) for var in node.outputs or ()]
        if any(isinstance(n, Dim) for a in (*node.inputs, *(node.outputs or ())) for n in a.shape):
            if not node.primitive.higher_order:
                node = node.replace(node.inputs, node.outputs or (), settled_primitive(node.primitive))
        known.update(zip(node.outputs or (), push(node, given, outs, columns, asked), strict=True))
        for atom in node.inputs:
            if isinstance(atom, Var) and last[atom] == k and atom not in outputs:
                known.pop(atom, None)
    return [known[a] if isinstance(a, Var) else Flow(settled(a.type), None, a.value) for a in graph.outputs]


def graph_pattern(graph: Graph, wanted: Sequence[bool]) -> tuple[Any, bool]:
    """The pattern of the Jacobian of all outputs, one below the other, in the inputs that are wanted.

    Parameters
    ----------
    graph : a static graph of known shapes. wanted : one flag for each input; columns are in the order of inputs.

    Returns
    -------
    A boolean `scipy.sparse.csr_array` with sorted indices, and whether an index was not known, so that the values of
    integer arguments might make the pattern sharper.

    Raises
    ------
    SparsityError : the pattern, or that of a value inside, is too dense to be held.
    """
    columns = sum(var.type.size for var, w in zip(graph.inputs, wanted, strict=True) if w)
    flows, at = [], 0
    for var, w in zip(graph.inputs, wanted, strict=True):
        flows.append(Flow(var.type, unit(var.type.size, columns, at) if w and var.type.size else None))
        at += var.type.size if w else 0
    asked = [False]
    outs = walk(graph, flows, columns, asked)
    sizes = [out.size for out in outs]
    return full(stack([out.pattern for out in outs], sizes, columns), sum(sizes), columns), asked[0]


class Walker:
    """What rules of loops and branches are given: patterns through the graphs inside them.

    The methods take the operands' flows in order and return those of the results.
    """

    def __init__(self, columns: int, asked: list[bool]) -> None:
        self.columns = columns
        self.asked = asked

    def blank(self, type: ArrayType) -> Flow:
        """A result that has no derivative."""
        return Flow(settled(type))

    def graph(self, graph: Graph, flows: Sequence[Flow]) -> list[Flow]:
        """A graph that runs once."""
        return walk(graph, flows, self.columns, self.asked)

    def paths(self, graph: Graph, flows: Sequence[Flow]) -> tuple[Any, bool]:
        """The pattern of a graph's outputs in all its inputs; whether more known values might make it sharper."""
        moving = [is_inexact(var.dtype) for var in graph.inputs]
        sizes = [flow.size for flow in flows]
        columns = sum(sizes)
        asked = [False]
        start, given = 0, []
        for flow, size, m in zip(flows, sizes, moving, strict=True):
            fixed = flow.value is not None
            given.append(Flow(flow.type, unit(size, columns, start) if m and size and not fixed else None, flow.value))
            start += size
        outs = walk(graph, given, columns, asked)
        return stack([o.pattern for o in outs], [o.size for o in outs], columns), asked[0]

    def either(self, choices: Sequence[Sequence[Flow]]) -> list[Flow]:
        """Of results that are one or the other."""
        united = []
        for flows in zip(*choices, strict=True):
            pattern = None
            for flow in flows:
                pattern = unite(pattern, flow.pattern)
            united.append(Flow(flows[0].type, pattern))
        return united

    def steps(
        self,
        body: Graph,
        consts: Sequence[Flow],
        carries: Sequence[Flow],
        xs: Sequence[Flow],
        length: int | None,
        reverse: bool,
    ) -> tuple[list[Flow], list[Flow]]:
        """A loop: last carries and stacked outputs. Of a length that is not known, everything after any number of
        steps together, and the outputs of all steps as one."""
        if length is not None and self.stepwise(body, consts, carries, xs, length):
            return self.one_by_one(body, consts, carries, xs, length, reverse)
        slices = [Flow(f.type._replace(shape=f.type.shape[1:])) for f in xs]
        paths, _ = self.paths(body, [*consts, *(f._replace(value=None) for f in carries), *slices])
        ins = [f.size for f in (*consts, *carries, *slices)]
        types = [settled(atom.type)._replace(weak=False) for atom in body.outputs]
        outs = [t.size for t in types]
        n = len(carries)
        fixed = [f.pattern for f in consts]
        carry = stack([f.pattern for f in carries], [f.size for f in carries], self.columns)
        carried = sum(outs[:n])

        def step(carry: Any, rows: Sequence[Any]) -> tuple[Any, Any]:
            parts = [*fixed, *cut(carry, outs[:n]), *rows]
            found = multiply(paths, stack(parts, ins, self.columns))
            first, second = cut(found, [carried, sum(outs[n:])])
            return first, second

        if length is None:
            rows = [f.pattern for f in xs]
            while True:
                moved, ys = step(carry, rows)
                grown = unite(carry, moved)
                if same(grown, carry):
                    break
                carry = grown
            results = cut(ys, outs[n:])
        else:
            stacks: list[Any] = []
            still = all(f.pattern is None for f in xs)
            for k in range(length):
                at = length - 1 - k if reverse else k
                rows = [None if f.pattern is None else cut_row(f, at) for f in xs]
                moved, ys = step(carry, rows)
                stacks.append(ys)
                if still and same(moved, carry):
                    stacks += [ys] * (length - 1 - k)
                    break
                carry = moved
            results = self.interleaved(stacks[::-1] if reverse else stacks, outs[n:])
        lasts = [Flow(t, p) for t, p in zip(types, cut(carry, outs[:n]), strict=False)]
        extent = 1 if length is None else length
        stacked = [Flow(ArrayType((extent, *t.shape), t.dtype), p) for t, p in zip(types[n:], results, strict=True)]
        return lasts, stacked

    def interleaved(self, steps: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
        """The outputs of all steps, for each output the steps one below the other."""
        pieces = [cut(step, sizes) for step in steps]
        return [
            stack([piece[k] for piece in pieces], [size] * len(pieces), self.columns) if pieces else None
            for k, size in enumerate(sizes)
        ]

    def stepwise(
        self, body: Graph, consts: Sequence[Flow], carries: Sequence[Flow], xs: Sequence[Flow], length: int
    ) -> bool:
        """Whether to look at each step by itself: where indices become known that way, and it is not too long."""
        if length * len(body.nodes) > STEPS or not any(f.value is not None for f in (*carries, *xs)):
            return False
        flows = [*consts, *(f._replace(value=None) for f in carries)]
        flows += [Flow(f.type._replace(shape=f.type.shape[1:])) for f in xs]
        return self.paths(body, flows)[1]

    def one_by_one(
        self,
        body: Graph,
        consts: Sequence[Flow],
        carries: Sequence[Flow],
        xs: Sequence[Flow],
        length: int,
        reverse: bool,
    ) -> tuple[list[Flow], list[Flow]]:
        """A loop as the sequence of its steps, with values that are known in each."""
        n = len(carries)
        carry = list(carries)
        rows: list[list[Flow]] = []
        for k in range(length):
            at = length - 1 - k if reverse else k
            slices = [
                Flow(
                    f.type._replace(shape=f.type.shape[1:]),
                    None if f.pattern is None else cut_row(f, at),
                    None if f.value is None else np.asarray(f.value)[at],
                )
                for f in xs
            ]
            outs = walk(body, [*consts, *carry, *slices], self.columns, self.asked)
            carry = outs[:n]
            rows.append(outs[n:])
        if reverse:
            rows.reverse()
        stacked = []
        for k, atom in enumerate(body.outputs[n:]):
            t = settled(atom.type)
            column = [row[k] for row in rows]
            value = None
            if column and all(f.value is not None for f in column):
                value = np.stack([np.asarray(f.value) for f in column])
            pattern = stack([f.pattern for f in column], [t.size] * len(column), self.columns) if column else None
            stacked.append(Flow(ArrayType((length, *t.shape), t.dtype), pattern, value))
        return carry, stacked


STEPS = 20_000
"""Operations up to which the steps of a loop are looked at one by one, where indices become known that way."""


def cut_row(flow: Flow, at: int) -> Any:
    """The pattern of one step's slice of a scanned array."""
    size = ArrayType(flow.type.shape[1:], flow.type.dtype).size
    part = flow.pattern[at * size : (at + 1) * size]
    return part if part.nnz else None
