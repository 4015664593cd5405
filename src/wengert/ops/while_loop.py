"""`while_loop`: a loop whose number of steps only the run knows.

Reverse mode stacks residuals along an axis of unknown length (`Dim`), together with the flag `alive`, by which
lanes that finished early under `vmap` pass their cotangents on unchanged; the backward part is a `scan` over
that axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced
from ..graph.nodes import Var
from ..graph.primitive import Sample
from ..graph.reference_source import dtype_text, parameter_text
from ..graph.run import runner
from ..graph.stage import evaluate, stage
from ..graph.types import ArrayType, Dim
from .branch import Switch
from .compare import where
from .control_flow import (
    Flags,
    Loop,
    call_text,
    carries_derivative,
    compact,
    fixed_point,
    live_parts,
    out_types,
    pick,
    pruned,
    quietly,
    rearranged,
    sample_graph,
    slice_type,
    start_texts,
    var_type,
    zeros_of,
)
from .families import batch_size, shape_of, vocabulary
from .lanes import lane_by_lane, run_lanes
from .reduce import sum_axes
from .scan import Backward, backward_sweep
from .shape import broadcast_to, convert, move_axis, reshape, zeros_like


class While(Loop):
    """A loop that runs while a condition on the carries holds.

    Operands: constants of the condition, constants of the body, carries. With a `Dim` as `length` the body has
    more outputs than carries, and the results are the last carries, the flags `alive` (True for every step),
    and those outputs stacked along an axis of that length.
    """

    name = "while_loop"
    params = ("cond", "body", "cond_consts", "body_consts", "length")

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return (("cond", self.cond), ("body", self.body))

    @property
    def carries(self) -> int:
        return len(self.body.inputs) - self.body_consts

    @property
    def constants(self) -> tuple[int, ...]:
        return self.cond_consts, self.body_consts

    @property
    def enters(self) -> tuple[bool, ...]:
        return True, False

    def with_subgraphs(self, *graphs: Graph, constants: Sequence[int] | None = None) -> While:
        return While(*graphs, *(self.constants if constants is None else constants), self.length)

    def wanted(self, used: Flags) -> tuple[list[bool], list[bool]]:
        """Which inputs the condition reads, and which outputs of the body it and the results in use need."""
        read = live_parts(self.cond, [True], {})[0]
        n, carried = self.carries, read[self.cond_consts :]
        return read, [*(u or r for u, r in zip(used[:n], carried, strict=True)), *used[n + 1 :]]

    def needs(self, used: Flags) -> list[bool]:
        read, wanted = self.wanted(used)
        loops = {self.body_consts + k: k for k in range(self.carries)}
        return [*read[: self.cond_consts], *live_parts(self.body, wanted, loops)[0]]

    def prune(self, used: Flags, clean: Any) -> tuple[While, list[int], list[int]]:
        n, a = self.carries, self.cond_consts
        stacked = self.length is not None and any(used[n:])
        read, wanted = self.wanted(used)
        cond = clean(self.cond)
        body, ins, outs = pruned(self.body, wanted, {self.body_consts + k: k for k in range(n)}, clean)
        carries = [j for j in outs if j < n]
        cond_consts = [k for k in range(a) if read[k]]
        cond = cond.replace(inputs=[cond.inputs[k] for k in (*cond_consts, *(a + j for j in carries))])
        loop = While(cond, body, len(cond_consts), len(ins) - len(carries), self.length if stacked else None)
        # The outputs of the body come after the flags `alive`, which stay as long as something is stacked.
        results = [*carries, *([n] if stacked else []), *(j + 1 for j in outs if j >= n)]
        return loop, [*cond_consts, *(a + k for k in ins)], results

    def parts(self, values: Sequence[Any]) -> tuple[list[Any], list[Any], list[Any]]:
        """Operands as constants of the condition, constants of the body, carries."""
        a, b = self.cond_consts, self.cond_consts + self.body_consts
        return list(values[:a]), list(values[a:b]), list(values[b:])

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        condition = out_types(self.cond)
        if len(condition) != 1 or condition[0].shape != () or condition[0].dtype.kind not in "biu":
            raise ShapeError(f"while_loop: the condition returns {list(condition)}", "return one boolean")
        results = out_types(self.body)
        for k, (given, made) in enumerate(zip(self.parts(types)[2], results, strict=False)):
            if given._replace(weak=False) != made:
                raise ShapeError(
                    f"while_loop: carry {k} is {given} going in and {made} coming out of the body",
                    "make the body return carries of the same shape and dtype",
                )
        if self.length is None:
            return results
        stacked = tuple(ArrayType((self.length, *t.shape), t.dtype) for t in results[self.carries :])
        return (*results[: self.carries], ArrayType((self.length,), np.dtype(bool)), *stacked)

    def subgraph_types(self, *types: ArrayType) -> tuple[Sequence[ArrayType], ...]:
        cond_consts, body_consts, carries = self.parts(types)
        return [*cond_consts, *carries], [*body_consts, *carries]

    @quietly
    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        cond_consts, body_consts, carry = self.parts(operands)
        proceed, step = runner(self.cond), runner(self.body)
        n = self.carries
        types = out_types(self.body)
        stacks: list[list[Any]] = [[] for _ in types[n:]]
        steps = 0
        while proceed(*cond_consts, *carry)[0]:
            out = step(*body_consts, *carry)
            carry = out[:n]
            for stack, value in zip(stacks, out[n:], strict=True):
                stack.append(value)
            steps += 1
        last = [np.asarray(c, t.dtype)[()] for c, t in zip(carry, types, strict=False)]
        if self.length is None:
            return tuple(last)
        ys = [
            np.array(s, t.dtype) if s else np.empty((0, *t.shape), t.dtype)
            for s, t in zip(stacks, types[n:], strict=True)
        ]
        return (*last, np.ones(steps, bool), *ys)

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        cond_consts, body_consts, init = self.parts(operands)
        carries = targets[: self.carries]
        proceed, step = functions
        lines = start_texts(carries, init)
        condition = f"while {call_text([], proceed, [*cond_consts, *carries])}:"
        given = [*body_consts, *carries]
        if self.length is None:
            return [*lines, condition, f"    {call_text(carries, step, given)}"]
        alive, *ys = targets[self.carries :]
        steps, lists, values = fresh("steps"), [fresh(f"{y}_list") for y in ys], [fresh(f"{y}_step") for y in ys]
        lines += [f"{steps} = 0", *(f"{name} = []" for name in lists), condition]
        lines.append(f"    {call_text([*carries, *values], step, given)}")
        lines += [f"    {name}.append({value})" for name, value in zip(lists, values, strict=True)]
        lines += [f"    {steps} += 1", f"{alive} = np.ones({steps}, bool)"]
        for y, name in zip(ys, lists, strict=True):
            shape = ", ".join([steps, *(str(parameter_text(n)) for n in y.type.shape[1:])])
            lines.append(f"{y} = np.reshape(np.array({name}, {dtype_text(y.type.dtype)}), ({shape},))")
        return lines

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:  # type: ignore[override]
        _, moving_consts, moving_init = self.parts([t is not None for t in tangents])
        n = self.carries
        moving = fixed_point(lambda flags: jvp_graph(self.body, [*moving_consts, *flags])[1][:n], moving_init)
        flags = [*moving_consts, *moving]
        outs = len(self.body.outputs)
        graph, moved = jvp_graph(self.body, flags, [*moving, *[False] * (outs - n)])
        count = len(flags)
        names = iter(range(count, count + sum(flags)))
        position = [next(names) if f else None for f in flags]
        b = self.body_consts
        order = [*range(b), *compact(position[:b]), *range(b, count), *compact(position[b:])]
        names = iter(range(outs, outs + sum(moved)))
        place = [next(names) if m else None for m in moved]
        out_order = [*range(n), *compact(place[:n]), *range(n, outs), *compact(place[n:])]
        body = rearranged(graph, order, out_order)
        extra = [Var.of(body.inputs[b + sum(moving_consts) + n + k].type) for k in range(sum(moving))]
        cond = self.cond.cached(
            ("with tangents", tuple(moving)), lambda: self.cond.replace(inputs=[*self.cond.inputs, *extra])
        )
        c, consts, init = self.parts(primals)
        _, const_tangents, init_tangents = self.parts(tangents)
        zeros = getattr(jvp_graph, "zeros", zeros_like)
        pushed = [zeros(p) if t is None else t for p, t, m in zip(init, init_tangents, moving, strict=True) if m]
        instance = While(cond, body, self.cond_consts, b + sum(moving_consts), self.length)
        results = list(bind(instance, *c, *consts, *pick(const_tangents, moving_consts), *init, *pushed))
        alive = [results.pop(n + sum(moving))] if self.length is not None else []
        found: dict[int, Any] = dict(zip(out_order, results, strict=True))
        values = [found[j] for j in range(outs)]
        slopes = [None if p is None else found[p] for p in place]
        return (*values[:n], *alive, *values[n:]), [*slopes[:n], *[None] * len(alive), *slopes[n:]]

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        _, consts, init = self.parts(needed)
        n = self.carries
        active = fixed_point(lambda flags: carries_derivative(self.body, [*consts, *flags])[:n], init)
        flags = [*consts, *active]
        arriving = [*active, *carries_derivative(self.body, flags)[n:]]
        forward, backward, residuals = split_graph(self.body, flags, arriving, [True] * self.body_consts + [False] * n)
        length = Dim() if self.length is None else self.length
        results = bind(While(self.cond, forward, self.cond_consts, self.body_consts, length), *operands)
        outs = len(self.body.outputs) + 1
        alive, stacks = results[n], results[outs:]
        values = results[:n] if self.length is None else results[:outs]
        return values, (stacks, alive, Backward(backward, residuals, active, arriving), length)

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        stacks, alive, backward, length = saved
        _, need_consts, need_init = self.parts(needed)
        n = self.carries
        found = backward_sweep(
            backward,
            cts[:n],
            cts[n + 1 :] if self.length is not None else [],
            out_types(self.body),
            self.parts(operands)[1],
            [],
            stacks,
            alive,
            length,
            True,
            need_consts,
            [],
        )
        init_cts = [ct if wanted else None for ct, wanted in zip(found[1], need_init, strict=True)]
        return [*[None] * self.cond_consts, *found[0], *init_cts]

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        size = batch_size(operands, axes)
        values = [x if a is None else move_axis(x, a, 0) for x, a in zip(operands, axes, strict=True)]
        cond_flags, const_flags, init = self.parts([a is not None for a in axes])
        n = self.carries

        def grow(flags: list[bool]) -> Sequence[bool]:
            if batch_graph(self.cond, [*cond_flags, *flags], size)[1][0]:
                return [True] * n
            return batch_graph(self.body, [*const_flags, *flags], size)[1][:n]  # type: ignore[no-any-return]

        batched = fixed_point(grow, init)
        cond, (by_lane,) = batch_graph(self.cond, [*cond_flags, *batched], size)
        stacked = [by_lane] * (len(self.body.outputs) - n)
        body, carried = batch_graph(self.body, [*const_flags, *batched], size, [*batched, *stacked])
        c, consts, carry = self.parts(values)
        carry = [
            broadcast_to(x if is_traced(x) else np.asarray(x), (size, *shape_of(x))) if b and not was else x
            for x, b, was in zip(carry, batched, init, strict=True)
        ]
        if not by_lane:
            outs = bind(While(cond, body, self.cond_consts, self.body_consts, self.length), *c, *consts, *carry)
            alive_axis: list[int | None] = [None] if self.length is not None else []
            return outs, (*[0 if b else None for b in batched], *alive_axis, *[1 if k else None for k in carried[n:]])
        if batch_graph.mode == "lanes":
            flags = [*cond_flags, *const_flags, *[True] * n]
            return self.each_lane([*c, *consts, *carry], flags, size, batch_graph)
        # "mask": the loop runs until all lanes have finished, and a finished lane stays put.
        types = [var_type(v) for v in (*c, *consts, *carry)]
        lanes = ArrayType((size,), np.dtype(bool))
        a, b = len(c), len(c) + len(consts)

        def step(*given: Any) -> list[Any]:
            own_c, own_consts, running, now = given[:a], given[a:b], given[b], given[b + 1 :]
            out = evaluate(body, *own_consts, *now)
            kept = [
                where(reshape(running, (size, *(1,) * (len(shape_of(new)) - 1))), new, old)
                for new, old in zip(out[:n], now, strict=True)
            ]
            still = vocabulary.logical_and(running, vocabulary.not_equal(evaluate(cond, *own_c, *kept)[0], 0))
            return [still, *kept, *([running, *out[n:]] if self.length is not None else [])]

        anyone = any_lane(lanes, types[b:])
        loop, _ = stage(step, [*types[:b], lanes, *types[b:]], name=f"lanes of {self.body.name}")
        start = vocabulary.not_equal(evaluate(cond, *c, *carry)[0], 0)
        results = bind(While(anyone, loop, 0, b, self.length), *c, *consts, start, *carry)[1:]
        if self.length is None:
            return results, (0,) * n
        return (*results[:n], *results[n + 1 :]), (*(0,) * n, *(1,) * (len(results) - n - 1))

    def each_lane(self, operands: Sequence[Any], flags: Flags, size: Any, batching: Any) -> tuple[Any, Any]:
        """Every lane runs its own number of steps; `flags` says which operands have a leading batch axis."""
        c, consts, carry = self.parts(operands)
        cond_flags, const_flags, _ = self.parts(flags)
        n, count = self.carries, len(self.body.outputs)
        axes = (*(0,) * n, *(() if self.length is None else (1,) * (count - n + 1)))
        if not any(map(is_traced, operands)):
            recording = self.length is not None
            parts = (c, consts), (cond_flags, const_flags)
            return run_lanes(self.cond, self.body, *parts, carry, size, batching, recording), axes
        if self.length is None:
            return lane_by_lane(self, operands, flags, size, self.body), axes
        # Records of different lengths do not stack: all lanes take a step together, those that are at work.
        types = [slice_type(x) if f else var_type(x) for x, f in zip(operands, flags, strict=True)]
        a, b = len(c), len(c) + len(consts)

        def go(*given: Any) -> list[Any]:
            out = evaluate(self.body, *given[a:])
            going = vocabulary.not_equal(evaluate(self.cond, *given[:a], *out[:n])[0], 0)
            return [going, *out]

        def stay(*given: Any) -> list[Any]:
            return [np.bool_(False), *given[b:], *[zeros_of(t) for t in out_types(self.body)[n:]]]

        def make() -> Switch:
            return Switch(tuple(stage(f, types, name=f.__name__)[0] for f in (stay, go)))

        step_of_lane = self.body.cached(("step of a lane", self.cond, tuple(types)), make)

        def step(*given: Any) -> list[Any]:
            running, now = given[b], given[b + 1 :]
            operands = [running, *given[:b], *now]
            out = lane_by_lane(step_of_lane, operands, [True, *flags], size, self.body)
            return [*out[: n + 1], running, *out[n + 1 :]]

        lanes = ArrayType((size,), np.dtype(bool))
        all_types = [var_type(x) for x in operands]
        anyone = any_lane(lanes, all_types[b:])
        loop, _ = stage(step, [*all_types[:b], lanes, *all_types[b:]], name=f"lanes of {self.body.name}")
        starts = batching(self.cond, [*cond_flags, *[True] * n], size, True)[0]
        start = vocabulary.not_equal(evaluate(starts, *c, *carry)[0], 0)
        results = bind(While(anyone, loop, 0, b, self.length), *c, *consts, start, *carry)[1:]
        return (*results[:n], *results[n + 1 :]), axes

    def depends(self, operands: Sequence[Any], outs: Any, flow: Any) -> Any:  # type: ignore[override]
        _, consts, carries = self.parts(operands)
        last, stacked = flow.steps(self.body, consts, carries, [], None, False)
        return [*last, *([] if self.length is None else [flow.blank(outs[len(last)])]), *stacked]

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.while_loop(self, operands, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        body, cond = sample_graph(3), sample_graph(4)
        yield cls(cond, body, 0, 1, None), (np.float64(0.3), rng.normal(size=3))


def any_lane(lanes: ArrayType, carries: Sequence[ArrayType]) -> Graph:
    """The condition of a loop over flags and carries: whether any flag is set."""

    def test(running: Any, *rest: Any) -> list[Any]:
        return [vocabulary.not_equal(sum_axes(convert(running, np.int64), (0,)), 0)]

    return stage(test, [lanes, *carries], name="any lane")[0]
