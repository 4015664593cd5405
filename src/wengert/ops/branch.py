"""`switch` (and cond): one of several closed graphs runs, chosen by an integer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, IndexOutOfBoundsError, ShapeError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced
from ..graph.primitive import Sample
from ..graph.run import runner
from ..graph.stage import evaluate
from ..graph.types import ArrayType
from .compare import where
from .control_flow import ControlFlow, Flags, call_text, live_parts, out_types, pick, quietly, sample_graph, spread
from .families import batch_size, shape_of, vocabulary
from .shape import concatenate, move_axis, reshape


class Switch(ControlFlow):
    """Runs the branch that an integer selects: `branches[index](*operands)`."""

    name = "switch"
    params = ("branches",)
    facts = frozenset({"branch"})

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        return tuple((f"branch {k}", graph) for k, graph in enumerate(self.branches))

    def subgraph_types(self, *types: ArrayType) -> tuple[Sequence[ArrayType], ...]:
        return (types[1:],) * len(self.branches)

    def with_subgraphs(self, *graphs: Graph) -> Switch:
        return Switch(graphs)

    def needs(self, used: Flags) -> list[bool]:
        reads = [live_parts(b, used, {})[0] for b in self.branches]
        return [True, *(any(flags) for flags in zip(*reads, strict=True))]

    def prune(self, used: Flags, clean: Any) -> tuple[Switch, list[int], list[int]]:
        branches = [clean(b.replace(outputs=pick(b.outputs, used))) for b in self.branches]
        ins = [k for k, flag in enumerate(self.needs(used)[1:]) if flag]
        kept = tuple(b.replace(inputs=[b.inputs[k] for k in ins]) for b in branches)
        return Switch(kept), [0, *(1 + k for k in ins)], [j for j, flag in enumerate(used) if flag]

    def choose(self, index: Any) -> Graph | None:
        """The branch for a number; None out of bounds, which is left to the run to complain about."""
        return self.branches[int(index)] if 0 <= int(index) < len(self.branches) else None

    def type(self, index: ArrayType, *types: ArrayType) -> tuple[ArrayType, ...]:
        if index.shape != () or index.dtype.kind not in "iub":
            raise DtypeError(f"switch: the index is {index}", "give an integer or boolean scalar")
        first = out_types(self.branches[0])
        for k, branch in enumerate(self.branches):
            if out_types(branch) != first:
                raise ShapeError(
                    f"switch: branch 0 returns {list(first)}, branch {k} returns {list(out_types(branch))}",
                    "make all branches return the same shapes and dtypes",
                )
        return first

    @quietly
    def numpy(self, index: Any, *operands: Any) -> tuple[Any, ...]:
        return runner(self.branch(int(index)))(*operands)

    def branch(self, k: int) -> Graph:
        """The branch with a number, or the error that there is none."""
        if not 0 <= k < len(self.branches):
            raise IndexOutOfBoundsError(
                f"switch: index {k} with {len(self.branches)} branches", "give 0 <= index < branches"
            )
        return self.branches[k]  # type: ignore[no-any-return]

    def python_lines(self, targets: Any, operands: Any, functions: Any, fresh: Any) -> list[str]:
        index, *rest = operands
        calls = [f"    {call_text(targets, function, rest)}" for function in functions]
        if index.type.dtype.kind == "b" and len(calls) == 2:
            return [f"if {index}:", calls[1], "else:", calls[0]]
        lines = []
        for k, call in enumerate(calls):
            lines += [f"{'elif' if k else 'if'} {index} == {k}:", call]
        return [*lines, "else:", f'    raise IndexError(f"branch {{{index}}} of {len(calls)}")']

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], jvp_graph: Any) -> Any:  # type: ignore[override]
        moving = [t is not None for t in tangents[1:]]
        moved = [any(flags) for flags in zip(*(jvp_graph(b, moving)[1] for b in self.branches), strict=True)]
        branches = tuple(jvp_graph(b, moving, moved)[0] for b in self.branches)
        outs = bind(Switch(branches), *primals, *pick(tangents[1:], moving))
        count = len(moved)
        return outs[:count], spread(outs[count:], moved)

    def forward_pass(self, operands: Sequence[Any], needed: Flags, split: Any) -> tuple[Any, Any]:
        return bind(self, *operands), ()

    def backward_pass(
        self, cts: Sequence[Any], operands: Sequence[Any], saved: Any, needed: Flags, vjp_graph: Any
    ) -> list[Any]:
        arriving = [ct is not None for ct in cts]
        branches = tuple(vjp_graph(b, needed[1:], arriving) for b in self.branches)
        found = bind(Switch(branches), *operands, *pick(cts, arriving))
        return [None, *spread(found, needed[1:])]

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None], batch_graph: Any) -> tuple[Any, Any]:
        size = batch_size(operands, axes)
        index, *rest = operands
        batched = [a is not None for a in axes[1:]]
        moved = [x if a is None else move_axis(x, a, 0) for x, a in zip(rest, axes[1:], strict=True)]
        carried = [any(flags) for flags in zip(*(batch_graph(b, batched, size)[1] for b in self.branches), strict=True)]
        if axes[0] is None:
            branches = tuple(batch_graph(b, batched, size, carried)[0] for b in self.branches)
            outs = bind(Switch(branches), index, *moved)
            return outs, tuple(0 if c else None for c in carried)
        lane = move_axis(index, axes[0], 0)
        if batch_graph.mode == "lanes":
            choice = lane.interpreter.concrete(lane) if is_traced(lane) else lane
            if choice is None:
                outs = vocabulary.lane_by_lane(self, [lane, *moved], [True, *batched], size, self.branches[0])
            else:
                outs = grouped(self, choice, moved, batched, batch_graph)
            return outs, (0,) * len(outs)
        # "mask": every branch runs on all lanes, and each lane takes its own result.
        results = [evaluate(batch_graph(b, batched, size, True)[0], *moved) for b in self.branches]
        chosen = []
        for outs in zip(*results, strict=True):
            total = outs[-1]
            column = reshape(lane, (size, *(1,) * (len(shape_of(total)) - 1)))
            for k in range(len(outs) - 2, -1, -1):
                total = where(vocabulary.equal(column, k), outs[k], total)
            chosen.append(total)
        return tuple(chosen), (0,) * len(chosen)

    def depends(self, operands: Sequence[Any], outs: Any, flow: Any) -> Any:  # type: ignore[override]
        index, *rest = operands
        chosen = None if index.value is None else self.choose(index.value)
        return flow.either([flow.graph(b, rest) for b in ([chosen] if chosen else self.branches)])

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.switch(self, operands, out)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        graphs = tuple(sample_graph(k) for k in range(2))
        yield cls(graphs), (np.int64(1), rng.normal(size=3), rng.normal(size=3))
        yield cls(graphs), (np.bool_(False), rng.normal(size=3), rng.normal(size=3))


@quietly
def grouped(switch: Switch, choice: Any, operands: Sequence[Any], batched: Flags, batching: Any) -> Any:
    """The results of lanes whose branches are known: each branch runs once, on the lanes that chose it."""
    choice = np.asarray(choice, np.int64)
    size = len(choice)
    if not size:
        return tuple(np.zeros((0, *t.shape), t.dtype) for t in out_types(switch.branches[0]))
    parts: list[list[Any]] = []
    places: list[Any] = []
    for k in np.unique(choice):
        lanes = np.flatnonzero(choice == k)
        own = operands
        if len(lanes) < size:
            own = [vocabulary.take_row(x, lanes) if b else x for x, b in zip(operands, batched, strict=True)]
        parts.append(batching.run(switch.branch(int(k)), batched, len(lanes), own))
        places.append(lanes)
    if len(parts) == 1:
        return tuple(parts[0])
    back = np.argsort(np.concatenate(places))
    return tuple(vocabulary.take_row(concatenate(column, 0), back) for column in zip(*parts, strict=True))
