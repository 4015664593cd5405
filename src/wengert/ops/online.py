"""`online_while_loop`: a loop of unknown length whose reverse mode keeps a fixed number of states.

States are kept at equal distances. When the room for them is used up every other one is dropped and the distance is
doubled, so that after T steps with room for s states the distance is between T/s and 2T/s. Reverse mode takes the last
state, runs the stretch behind it again with a record, goes back through it, and so on to the first: every step runs
twice, and memory is that of s states and a record of at most 2T/s steps. (Online checkpointing: V. Heuveline and
A. Walther, *Online checkpointing for parallel adjoint computation in PDEs*, 2006; thinning by halves is its simplest
form.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.interpreter import bind
from ..graph.primitive import Sample
from ..graph.stage import evaluate, stage
from ..graph.types import ArrayType
from .arithmetic import add, minimum, multiply, remainder, subtract
from .branch import Switch
from .compare import equal, less
from .control_flow import Flags, carries_derivative, fixed_point, out_types, pick, sample_graph, spread, zeros_of
from .families import vocabulary
from .gather import scatter, take_row
from .shape import concatenate, zeros_like
from .while_loop import While

COUNT = ArrayType((), np.dtype(np.int64))


class Online(While):
    """A `while_loop` of which reverse mode keeps `states` states (an even number), and a record of one stretch."""

    name = "online_while_loop"
    params = ("cond", "body", "cond_consts", "body_consts", "length", "states")

    def with_subgraphs(self, *graphs: Graph, constants: Sequence[int] | None = None) -> Online:
        return Online(*graphs, *(self.constants if constants is None else constants), self.length, self.states)

    def prune(self, used: Flags, clean: Any) -> tuple[While, list[int], list[int]]:
        loop, operands, results = super().prune(used, clean)
        return Online(*loop.key[1:6], self.states), operands, results

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split_graph: Any) -> tuple[Any, Any]:
        _, need_consts, init = self.parts(needed)
        n = self.carries
        active = fixed_point(lambda flags: carries_derivative(self.body, [*need_consts, *flags])[:n], init)
        cond_consts, body_consts, carry = self.parts(operands)
        types = out_types(self.body)
        cond, body = self.body.cached(("keeping states", self.cond, self.states), self.keeping)
        slots = [np.zeros((self.states, *t.shape), t.dtype) for t in types]
        loop = While(cond, body, self.cond_consts, self.body_consts, None)
        start = (np.int64(0), np.int64(1), np.int64(0))
        steps, distance, kept, *rest = bind(loop, *cond_consts, *body_consts, *start, *slots, *carry)
        return rest[n:], (steps, distance, kept, rest[:n], active)

    def keeping(self) -> tuple[Graph, Graph]:
        """Condition and body of the loop that keeps states as it goes.

        It carries the number of steps done, the distance between states, how many are kept, the states, the carries.
        """
        n, room = self.carries, self.states
        types = out_types(self.body)
        slot_types = [ArrayType((room, *t.shape), t.dtype) for t in types]
        half = room // 2

        def thin(distance: Any, kept: Any, *slots: Any) -> list[Any]:
            even = [vocabulary.slice_axis(slot, 0, None, None, 2) for slot in slots]
            filled = [
                concatenate([e, vocabulary.slice_axis(slot, 0, 0, half)], 0)
                for e, slot in zip(even, slots, strict=True)
            ]
            return [multiply(distance, 2), subtract(kept, half), *filled]

        def same(*values: Any) -> list[Any]:
            return list(values)

        record = [COUNT, COUNT, *slot_types]
        thinned = Switch((stage(same, record)[0], stage(thin, record, name="every other state")[0]))

        def put(distance: Any, kept: Any, *values: Any) -> list[Any]:
            slots, carry = values[:n], values[n:]
            distance, kept, *slots = bind(thinned, equal(kept, room), distance, kept, *slots)
            slots = [scatter(slot, (0,), 0, x, (kept,)) for slot, x in zip(slots, carry, strict=True)]
            return [distance, add(kept, 1), *slots]

        def leave(*values: Any) -> list[Any]:
            return list(values[: 2 + n])

        given = [*record, *types]
        keep = Switch((stage(leave, given)[0], stage(put, given, name="keep the state")[0]))

        def step(*values: Any) -> list[Any]:
            consts, (done, distance, kept, *rest) = values[: self.body_consts], values[self.body_consts :]
            slots, carry = rest[:n], rest[n:]
            due = equal(remainder(done, distance), 0)
            distance, kept, *slots = bind(keep, due, distance, kept, *slots, *carry)
            return [add(done, 1), distance, kept, *slots, *evaluate(self.body, *consts, *carry)]

        counts = [COUNT, COUNT, COUNT]
        before = [var.type for var in self.cond.inputs[: self.cond_consts]]
        cond, _ = stage(
            lambda *v: evaluate(self.cond, *v[: self.cond_consts], *v[self.cond_consts + 3 + n :]),
            [*before, *counts, *slot_types, *types],
            name=self.cond.name,
        )
        const_types = [var.type for var in self.body.inputs[: self.body_consts]]
        return cond, stage(step, [*const_types, *counts, *slot_types, *types], name=self.body.name)[0]

    def stretch(self) -> Graph:
        """So many steps of the body: from its constants, the carries and the number of steps to the carries."""
        types = out_types(self.body)
        const_types = [var.type for var in self.body.inputs[: self.body_consts]]
        b = self.body_consts
        cond, _ = stage(lambda steps, done, *carry: [less(done, steps)], [COUNT, COUNT, *types], name="steps left")

        def step(*values: Any) -> list[Any]:
            return [add(values[b], 1), *evaluate(self.body, *values[:b], *values[b + 1 :])]

        body, _ = stage(step, [*const_types, COUNT, *types], name=self.body.name)
        loop = While(cond, body, 1, b, None)

        def run(*values: Any) -> list[Any]:
            return list(bind(loop, values[-1], *values[:b], np.int64(0), *values[b:-1]))[1:]

        return stage(run, [*const_types, *types, COUNT], name=f"stretch of {self.body.name}")[0]

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        steps, distance, kept, slots, active = saved
        _, need_consts, need_init = self.parts(needed)
        _, consts, _ = self.parts(operands)
        types = out_types(self.body)
        n, b = self.carries, self.body_consts
        segment = self.body.cached("stretch", self.stretch)
        back = vjp_graph(segment, [*need_consts, *active, False], active)
        moving = pick(types, active)
        carried = [zeros_of(t) if ct is None else ct for ct, t in zip(pick(cts, active), moving, strict=True)]
        sums = [zeros_like(c) for c in pick(consts, need_consts)]
        sum_types = [var.type for var in pick(self.body.inputs[:b], need_consts)]
        const_types = [var.type for var in self.body.inputs[:b]]
        slot_types = [ArrayType((self.states, *t.shape), t.dtype) for t in types]

        def step(*values: Any) -> list[Any]:
            given = iter(values)
            own, stored = [next(given) for _ in range(b)], [next(given) for _ in range(n)]
            total, gap, place = next(given), next(given), next(given)
            arriving, so_far = [next(given) for _ in moving], list(given)
            length = minimum(subtract(total, multiply(place, gap)), gap)
            found = evaluate(back, *own, *[take_row(slot, place) for slot in stored], length, *arriving)
            parts, moved = found[: len(so_far)], found[len(so_far) :]
            return [subtract(place, 1), *moved, *[add(a, c) for a, c in zip(so_far, parts, strict=True)]]

        body, _ = stage(
            step,
            [*const_types, *slot_types, COUNT, COUNT, COUNT, *moving, *sum_types],
            name=f"stretches of {self.body.name}",
        )
        cond, _ = stage(lambda place, *rest: [less(-1, place)], [COUNT, *moving, *sum_types], name="stretches left")
        loop = While(cond, body, 0, b + n + 2, None)
        last = subtract(kept, 1)
        _, *results = bind(loop, *consts, *slots, steps, distance, last, *carried, *sums)
        const_cts = spread(results[len(moving) :], need_consts)
        init_cts = [
            ct if wanted else None for ct, wanted in zip(spread(results[: len(moving)], active), need_init, strict=True)
        ]
        return [*[None] * self.cond_consts, *const_cts, *init_cts]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        body, cond = sample_graph(3), sample_graph(4)
        yield cls(cond, body, 0, 1, None, 4), (np.float64(0.3), rng.normal(size=3))
