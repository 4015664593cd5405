"""`scan`: a loop of known length that carries values and maps over leading axes.

Reverse mode splits the body into a forward part, which also hands out what the backward part will read (the
residuals, stacked over the steps), and a backward part, which runs as a `scan` in the opposite direction.
Both are ordinary scans, so that derivatives of any order need nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import ShapeError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Sample
from ..graph.reference_source import dtype_text, parameter_text
from ..graph.run import runner
from ..graph.stage import evaluate, stage
from ..graph.types import ArrayType, Dim
from .arithmetic import add
from .branch import Switch
from .compare import where
from .control_flow import (
    Flags,
    Loop,
    call_text,
    carries_derivative,
    fixed_point,
    live_parts,
    out_types,
    pick,
    pruned,
    quietly,
    rearranged,
    sample_graph,
    slice_type,
    spread,
    start_texts,
    var_type,
    zeros_of,
)
from .families import batch_size, shape_of
from .shape import broadcast_to, move_axis, zeros_like


class Scan(Loop):
    """A loop of known length that carries values and maps over leading axes.

    Operands: constants, initial carries, arrays to scan over. The body maps (constants, carries, slices) to
    (carries, outputs); results are the last carries and the stacked outputs. `length` may be a `Dim`.
    """

    name = "scan"
    params = ("body", "consts", "carries", "length", "reverse")

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return (("body", self.body),)

    @property
    def constants(self) -> tuple[int, ...]:
        return (self.consts,)

    @property
    def enters(self) -> tuple[bool, ...]:
        return (not isinstance(self.length, Dim) and self.length > 0,)

    def with_subgraphs(self, *graphs: Graph, constants: Sequence[int] | None = None) -> Scan:
        (consts,) = self.constants if constants is None else constants
        return Scan(*graphs, consts, self.carries, self.length, self.reverse)

    def needs(self, used: Flags) -> list[bool]:
        return live_parts(self.body, used, {self.consts + k: k for k in range(self.carries)})[0]

    def prune(self, used: Flags, clean: Any) -> tuple[Scan, list[int], list[int]]:
        a, b = self.consts, self.consts + self.carries
        # Of a length that only the run knows, a scanned array tells it.
        keep = [b] if isinstance(self.length, Dim) else []
        body, ins, outs = pruned(self.body, used, {a + k: k for k in range(self.carries)}, clean, keep)
        consts, carries = sum(k < a for k in ins), sum(a <= k < b for k in ins)
        return Scan(body, consts, carries, self.length, self.reverse), ins, outs

    def parts(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Operands (or anything in their order) as constants, carries, scanned."""
        a, b = self.consts, self.consts + self.carries
        return list(values[:a]), list(values[a:b]), list(values[b:])

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        _, carries, xs = self.parts(types)
        results = out_types(self.body)
        for k, (given, made) in enumerate(zip(carries, results, strict=False)):
            if given._replace(weak=False) != made:
                raise ShapeError(
                    f"scan: carry {k} is {given} going in and {made} coming out of the body",
                    "make the body return carries of the same shape and dtype",
                )
        for t in xs:
            if t.ndim == 0 or t.shape[0] != self.length:
                raise ShapeError(f"scan over {self.length} steps: {t} has another leading axis")
        stacked = tuple(ArrayType((self.length, *t.shape), t.dtype) for t in results[self.carries :])
        return (*results[: self.carries], *stacked)

    def subgraph_types(self, *types: ArrayType) -> tuple[Sequence[ArrayType], ...]:
        consts, carries, xs = self.parts(types)
        return ([*consts, *carries, *(ArrayType(t.shape[1:], t.dtype) for t in xs)],)

    @quietly
    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        consts, carry, xs = self.parts(operands)
        step = runner(self.body)
        length = self.length if not isinstance(self.length, Dim) else len(xs[0])
        ys = [np.empty((length, *t.shape), t.dtype) for t in out_types(self.body)[self.carries :]]
        n = self.carries
        for k in range(length - 1, -1, -1) if self.reverse else range(length):
            out = step(*consts, *carry, *[x[k] for x in xs])
            carry = out[:n]
            for y, value in zip(ys, out[n:], strict=True):
                y[k] = value
        types = out_types(self.body)
        return (*[np.asarray(c, t.dtype)[()] for c, t in zip(carry, types, strict=False)], *ys)

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        consts, init, xs = self.parts(operands)
        carries, ys = targets[: self.carries], targets[self.carries :]
        step = fresh("step")
        lines = start_texts(carries, init)
        for y in ys:
            lines.append(f"{y} = np.empty({parameter_text(y.type.shape)}, {dtype_text(y.type.dtype)})")
        steps = f"range({parameter_text(self.length)})"
        lines.append(f"for {step} in {f'reversed({steps})' if self.reverse else steps}:")
        made = [*carries, *(f"{y}[{step}]" for y in ys)]
        given = [*consts, *carries, *(f"{x}[{step}]" for x in xs)]
        return [*lines, f"    {call_text(made, functions[0], given)}"]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:  # type: ignore[override]
        moving_consts, moving_init, moving_xs = self.parts([t is not None for t in tangents])
        n = self.carries

        def step(flags: list[bool]) -> Sequence[bool]:
            return jvp_graph(self.body, [*moving_consts, *flags, *moving_xs])[1][:n]  # type: ignore[no-any-return]

        moving = fixed_point(step, moving_init)
        flags = [*moving_consts, *moving, *moving_xs]
        outs = len(self.body.outputs)
        graph, moved = jvp_graph(self.body, flags, [*moving, *[False] * (outs - n)])
        count = len(flags)
        tangent_names = iter(range(count, count + sum(flags)))
        position = [next(tangent_names) if f else None for f in flags]
        c, k, x = self.parts(range(count))
        tc, tk, tx = ([p for p in part if p is not None] for part in self.parts(position))
        order = [*c, *tc, *k, *tk, *x, *tx]
        out_tangents = iter(range(outs, outs + sum(moved)))
        place = [next(out_tangents) if m else None for m in moved]
        out_order = [
            *range(n),
            *[p for p in place[:n] if p is not None],
            *range(n, outs),
            *[p for p in place[n:] if p is not None],
        ]
        body = rearranged(graph, order, out_order)
        init = self.parts(tangents)[1]
        zeros = getattr(jvp_graph, "zeros", zeros_like)
        full = list(tangents)
        full[self.consts : self.consts + n] = [
            zeros(p) if m and t is None else t for p, t, m in zip(self.parts(primals)[1], init, moving, strict=True)
        ]
        everything = [*primals, *[t for t, f in zip(full, flags, strict=True) if f]]
        instance = Scan(body, len(c) + len(tc), n + sum(moving), self.length, self.reverse)
        results = bind(instance, *[everything[j] for j in order])
        found: dict[int, Any] = dict(zip(out_order, results, strict=True))
        return tuple(found[j] for j in range(outs)), [None if p is None else found[p] for p in place]

    def active_carries(self, needed: Flags) -> list[bool]:
        """Carries that depend on something the derivative is wanted for."""
        consts, init, xs = self.parts(needed)
        return fixed_point(lambda flags: carries_derivative(self.body, [*consts, *flags, *xs])[: self.carries], init)

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        consts, _, xs = self.parts(needed)
        n = self.carries
        active = self.active_carries(needed)
        flags = [*consts, *active, *xs]
        arriving = [*active, *carries_derivative(self.body, flags)[n:]]
        available = [True] * self.consts + [False] * n + [True] * len(xs)
        forward, backward, residuals = split_graph(self.body, flags, arriving, available)
        results = bind(Scan(forward, self.consts, n, self.length, self.reverse), *operands)
        outs = len(self.body.outputs)
        return results[:outs], (results[outs:], None, Backward(backward, residuals, active, arriving))

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        stacks, _, backward = saved
        consts, _, xs = self.parts(operands)
        n = self.carries
        types = out_types(self.body)
        need_consts, need_init, need_xs = self.parts(needed)
        found = backward_sweep(
            backward,
            cts[:n],
            cts[n:],
            types,
            consts,
            xs,
            stacks,
            None,
            self.length,
            not self.reverse,
            need_consts,
            need_xs,
        )
        return [*found[0], *[ct if wanted else None for ct, wanted in zip(found[1], need_init, strict=True)], *found[2]]

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        size = batch_size(operands, axes)
        consts, init, xs = self.parts([a is not None for a in axes])
        n = self.carries
        batched = fixed_point(lambda flags: batch_graph(self.body, [*consts, *flags, *xs], size)[1][:n], init)
        graph, carried = batch_graph(
            self.body, [*consts, *batched, *xs], size, [*batched, *[False] * (len(self.body.outputs) - n)]
        )
        values = []
        for k, (x, axis) in enumerate(zip(operands, axes, strict=True)):
            scanned = k >= self.consts + n
            if axis is None:
                lane = self.consts <= k < self.consts + n and batched[k - self.consts]
                values.append(broadcast_to(x if is_traced(x) else np.asarray(x), (size, *shape_of(x))) if lane else x)
            else:
                values.append(move_axis(x, axis, 1 if scanned else 0))
        outs = bind(Scan(graph, self.consts, n, self.length, self.reverse), *values)
        return outs, tuple(None if not c else (0 if k < n else 1) for k, c in enumerate(carried))

    def depends(self, operands: Sequence[Any], outs: Any, flow: Any) -> Any:  # type: ignore[override]
        length = None if isinstance(self.length, Dim) else self.length
        carries, stacked = flow.steps(self.body, *self.parts(operands), length, self.reverse)
        return [*carries, *stacked]

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.scan(self, operands, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        body = sample_graph(2)
        for length in (4, 0):
            yield (
                cls(body, 1, 1, length, length == 4),
                (rng.normal(size=3), rng.normal(size=3), rng.normal(size=(length, 3))),
            )


class Backward(NamedTuple):
    """The backward part of a loop's body, from (residuals, cotangents) to cotangents; see `split_graph`."""

    graph: Graph
    residuals: Sequence[int | None]
    """For each residual the position of the body's input that it is, or None if the forward sweep stacked it."""
    active: Flags
    """Carries that have cotangents."""
    arriving: Flags
    """Outputs of the body whose cotangents the graph takes."""


def backward_sweep(
    backward: Backward,
    carry_cts: Sequence[Any],
    y_cts: Sequence[Any],
    types: Sequence[ArrayType],
    consts: Sequence[Any],
    xs: Sequence[Any],
    stacks: Sequence[Any],
    alive: Any,
    length: Any,
    reverse: bool,
    need_consts: Flags,
    need_xs: Flags,
) -> tuple[list[Any], list[Any], list[Any]]:
    """The reverse of a loop, as a scan in the opposite direction: cotangents of constants, carries, scanned arrays.

    Its constants are the loop's constants that the rules read; it carries the sums for the loop's constants and
    the cotangents of the carries; it scans over `alive` (for a while loop), the stacked residuals, the loop's
    scanned arrays that the rules read, and the cotangents of the stacked outputs.
    """
    graph, residuals, active, arriving = backward
    n, first_x = len(active), len(consts) + len(active)
    kinds = [
        "const" if r is not None and r < len(consts) else "x" if r is not None and r >= first_x else "stack"
        for r in residuals
    ]
    carry_types = pick(types[:n], active)
    carries = [zeros_of(t) if ct is None else ct for ct, t in zip(pick(carry_cts, active), carry_types, strict=True)]
    sums = [zeros_like(c) for c in pick(consts, need_consts)]
    possible_ys = pick(y_cts, arriving[n:])
    given_ys = [ct is not None for ct in possible_ys]
    flag = [] if alive is None else [alive]
    scanned = [
        *flag,
        *stacks,
        *[xs[r - first_x] for r, k in zip(residuals, kinds, strict=True) if k == "x"],
        *pick(possible_ys, given_ys),
    ]  # type: ignore[operator]
    used_consts = [consts[r] for r, k in zip(residuals, kinds, strict=True) if k == "const"]  # type: ignore[index]
    counts = [
        kinds.count("const"),
        len(sums),
        len(carries),
        len(flag),
        kinds.count("stack"),
        kinds.count("x"),
        sum(given_ys),
    ]

    def step(*values: Any) -> list[Any]:
        feed = iter(values)
        const_in, sums_in, carries_in, flag_in, stack_in, x_in, y_in = ([next(feed) for _ in range(c)] for c in counts)
        pools = {"const": iter(const_in), "stack": iter(stack_in), "x": iter(x_in)}
        y_given = iter(y_in)
        ys = [next(y_given) if g else zeros_of(t) for g, t in zip(given_ys, pick(types[n:], arriving[n:]), strict=True)]
        given = [*[next(pools[k]) for k in kinds], *carries_in, *ys]
        k, m = len(sums_in), len(sums_in) + len(carries_in)
        risky = flag_in and any("loop" in node.primitive.facts for node in graph.all_nodes())
        found = only_if(flag_in[0], graph, given, len(kinds), range(k, m)) if risky else evaluate(graph, *given)
        parts, moved, x_cts = found[:k], found[k:m], found[m:]
        if flag_in:
            parts = [where(flag_in[0], c, zeros_of(type_of_value(c))) for c in parts]
            moved = [where(flag_in[0], new, old) for new, old in zip(moved, carries_in, strict=True)]
        return [*[add(a, c) for a, c in zip(sums_in, parts, strict=True)], *moved, *x_cts]

    operands = [*used_consts, *sums, *carries, *scanned]
    step_types = [var_type(v) for v in (*used_consts, *sums, *carries)] + [slice_type(v) for v in scanned]
    body = graph.cached(
        ("backward body", tuple(step_types), tuple(given_ys)), lambda: stage(step, step_types, name="backward")[0]
    )
    results = bind(Scan(body, len(used_consts), len(sums) + len(carries), length, reverse), *operands)
    k, m = len(sums), len(sums) + len(carries)
    return spread(results[:k], need_consts), spread(results[k:m], active), spread(results[m:], need_xs)


def only_if(flag: Any, graph: Graph, values: Sequence[Any], first: int, carries: range) -> Any:
    """The backward part of a step if it was one, by a real branch; otherwise zeros, and the carries as they are.

    A loop in it would run on the record of a lane that had finished, where it need not end. The carries are the
    results at the positions `carries` and the values from `first` on.
    """

    def stay(*given: Any) -> list[Any]:
        kept = {j: given[first + k] for k, j in enumerate(carries)}
        return [kept[j] if j in kept else zeros_of(t) for j, t in enumerate(out_types(graph))]

    other, _ = stage(stay, [var_type(v) for v in values], name="no step")
    return bind(Switch((other, graph)), flag, *values)
