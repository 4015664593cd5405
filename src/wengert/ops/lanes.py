"""Loops and branches whose decision differs between the lanes of a batch: every lane goes its own way.

A branch that a lane does not take, and steps beyond those that it needs, need not end and may be errors (an index
that has run out of the array), so they are not run at all for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.graph import Graph
from ..graph.interpreter import bind
from ..graph.primitive import Primitive
from ..graph.stage import stage
from .control_flow import Flags, out_types, quietly, slice_type, var_type
from .families import vocabulary
from .scan import Scan


def lane_by_lane(
    primitive: Primitive, operands: Sequence[Any], batched: Flags, size: Any, holder: Graph
) -> tuple[Any, ...]:
    """An operation with several results, once for each lane: a scan over the operands with a leading batch axis.

    The body is kept with the graph `holder`.
    """
    types = [slice_type(x) if b else var_type(x) for x, b in zip(operands, batched, strict=True)]
    consts = [k for k, b in enumerate(batched) if not b]
    order = [*consts, *(k for k, b in enumerate(batched) if b)]

    def make() -> Graph:
        def lane(*values: Any) -> Any:
            given = dict(zip(order, values, strict=True))
            return bind(primitive, *[given[k] for k in range(len(order))])

        return stage(lane, [types[k] for k in order], name=f"lane of {primitive.name}")[0]

    body = holder.cached(("lane", primitive, tuple(batched), tuple(types)), make)
    return bind(Scan(body, len(consts), 0, size, False), *[operands[k] for k in order])  # type: ignore[no-any-return]


@quietly
def run_lanes(
    cond: Graph, body: Graph, consts: tuple[Sequence[Any], Sequence[Any]], flags: tuple[Flags, Flags],
    carry: Sequence[Any], size: int, batching: Any, recording: bool,
) -> tuple[Any, ...]:  # fmt: skip
    """A while loop on plain arrays with leading batch axes, in which a lane leaves when its condition fails.

    Parameters
    ----------
    consts, flags : of the condition and of the body, and which of them have a batch axis; all carries have.

    Returns
    -------
    The last carries; if `recording` also the flags of shape (steps, size) of the lanes that were at work in a step, and
    the further outputs of the body stacked to (steps, size, ...), zero for the others.
    """
    n = len(carry)
    types = out_types(body)
    last = [np.array(x) for x in carry]
    lanes = np.arange(size)
    given = [list(part) for part in consts]
    now = [np.asarray(x) for x in carry]
    steps: list[list[Any]] = [[] for _ in types[n:]]
    alive: list[Any] = []

    def narrowed(keep: Any) -> None:
        nonlocal lanes, now
        lanes = lanes[keep]
        now = [x[keep] for x in now]
        for k, own in enumerate(flags):
            given[k] = [x[keep] if f else x for x, f in zip(given[k], own, strict=True)]

    while True:
        going = batching.run(cond, [*flags[0], *[True] * n], len(lanes), [*given[0], *now])[0] if len(lanes) else lanes
        going = np.asarray(going) != 0
        if not going.all():
            for x, new in zip(last, now, strict=True):
                x[lanes[~going]] = new[~going]
            narrowed(going)
        if not len(lanes):
            break
        outs = batching.run(body, [*flags[1], *[True] * n], len(lanes), [*given[1], *now])
        now = [np.asarray(x, t.dtype) for x, t in zip(outs, types[:n], strict=False)]
        if recording:
            alive.append(np.isin(np.arange(size), lanes))
            for stack, out, t in zip(steps, outs[n:], types[n:], strict=True):
                row = np.zeros((size, *t.shape), t.dtype)
                row[lanes] = out
                stack.append(row)
    if not recording:
        return tuple(last)
    stacked = [
        np.array(rows, t.dtype).reshape((len(rows), size, *t.shape)) for rows, t in zip(steps, types[n:], strict=True)
    ]
    return (*last, np.array(alive, bool).reshape(len(alive), size), *stacked)


vocabulary.lane_by_lane = lane_by_lane
