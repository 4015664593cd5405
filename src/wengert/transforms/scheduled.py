"""Loops run by a schedule of checkpoints: `scan` as loops of checkpointed loops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import WengertError
from ..graph.interpreter import bind, type_of_value
from ..graph.stage import stage
from ..graph.types import ArrayType, Dim
from ..ops.checkpoint import Checkpoint
from ..ops.control_flow import out_types
from ..ops.families import shape_of, vocabulary
from ..ops.scan import Scan
from ..ops.shape import concatenate, reshape
from .schedule import Again, Chain, Repeat, Schedule, Steps, logarithmic, square_root, with_states


def chosen_schedule(wish: Any, steps: int) -> Schedule:
    """The schedule that a user's word or number of states stands for."""
    if wish == "sqrt":
        return square_root(steps)
    if wish == "log":
        return logarithmic(steps)
    if isinstance(wish, (Steps, Again, Repeat, Chain)):
        return wish
    if isinstance(wish, int) and not isinstance(wish, bool) and wish > 1:
        return with_states(steps, wish)
    raise WengertError(
        f"scan: checkpoint={wish!r}",
        'give "sqrt", "log", or the number of states to keep (2 or more), of which the best schedule is made',
    )


def checked_states(wish: Any) -> int:
    """A number of states for a loop of unknown length."""
    if not isinstance(wish, int) or isinstance(wish, bool) or wish < 2 or wish % 2:
        raise WengertError(f"while_loop: checkpoint={wish!r}", "give an even number of states to keep, 2 or more")
    return wish


def run_scan(loop: Any, operands: Sequence[Any], schedule: Schedule) -> list[Any]:
    """The results of a `Scan` on its operands, run by a schedule for its number of steps."""
    if isinstance(loop.length, Dim) or schedule.steps != loop.length:
        raise WengertError(f"a schedule of {schedule.steps} steps for a loop of {loop.length}")
    consts, carries, xs = loop.parts(operands)
    carry, ys = _run(loop, schedule, consts, carries, xs)
    return [*carry, *ys]


def _run(
    loop: Any, schedule: Schedule, consts: list[Any], carry: list[Any], xs: list[Any]
) -> tuple[list[Any], list[Any]]:
    n, steps = loop.carries, schedule.steps
    if isinstance(schedule, Steps):
        outs = bind(Scan(loop.body, loop.consts, n, steps, loop.reverse), *consts, *carry, *xs)
        return list(outs[:n]), list(outs[n:])
    if isinstance(schedule, Chain):
        pieces: list[list[Any]] = []
        start = steps if loop.reverse else 0
        for part in schedule.parts:
            start -= part.steps if loop.reverse else 0
            cut = [vocabulary.slice_axis(x, 0, start, start + part.steps) for x in xs]
            start += 0 if loop.reverse else part.steps
            carry, ys = _run(loop, part, consts, carry, cut)
            pieces.append(ys)
        if loop.reverse:
            pieces.reverse()
        joined = [concatenate(column, 0) if len(column) > 1 else column[0] for column in zip(*pieces, strict=True)]
        return carry, joined
    if isinstance(schedule, Again):
        outs = _again(loop, schedule.part, consts, carry, xs)
        return list(outs[:n]), list(outs[n:])
    count, size = schedule.count, schedule.part.steps
    folded = [reshape(x, (count, size, *shape_of(x)[1:])) for x in xs]
    types = [type_of_value(v)._replace(weak=False) for v in (*consts, *carry)]
    types += [ArrayType(shape_of(x)[1:], type_of_value(x).dtype) for x in folded]
    a, b = loop.consts, loop.consts + n

    def segment(*values: Any) -> list[Any]:
        return list(_again(loop, schedule.part, list(values[:a]), list(values[a:b]), list(values[b:])))

    body, _ = stage(segment, types, name=f"{size} steps of {loop.body.name}")
    outs = bind(Scan(body, loop.consts, n, count, loop.reverse), *consts, *carry, *folded)
    ys = [reshape(y, (count * size, *shape_of(y)[2:])) for y in outs[n:]]
    return list(outs[:n]), ys


def _again(loop: Any, part: Schedule, consts: list[Any], carry: list[Any], xs: list[Any]) -> Sequence[Any]:
    """A part as one checkpoint."""
    types = [type_of_value(v)._replace(weak=False) for v in (*consts, *carry, *xs)]
    a, b = loop.consts, loop.consts + loop.carries

    def run(*values: Any) -> list[Any]:
        last, ys = _run(loop, part, list(values[:a]), list(values[a:b]), list(values[b:]))
        return [*last, *ys]

    name = f"{part.steps} steps of {loop.body.name}"
    key = ("again", part, tuple(types), loop.reverse, loop.consts)
    graph = loop.body.cached(key, lambda: stage(run, types, name=name)[0])
    return bind(Checkpoint(graph, None, None), *consts, *carry, *xs)  # type: ignore[no-any-return]


def state_bytes(loop: Any) -> int:
    """Bytes of the carries of a loop."""
    return int(sum(t.size * t.dtype.itemsize for t in out_types(loop.body)[: loop.carries]))
