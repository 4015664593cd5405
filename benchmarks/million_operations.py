"""A graph of 1,000,000 operations on 3 elements: recorded, differentiated, looked at, and freed."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg

from .harness import Effort, Report, figures, main, memory, peer

START = numpy.array([0.5, 1.0, 1.5])
FACTOR, TERM = 0.999999, 1e-6
OPERATIONS_A_STEP = 2


def affine(x: Any, operations: int) -> Any:
    """`operations` multiplications and additions in a chain; the sum comes on top."""
    for _ in range(operations // OPERATIONS_A_STEP):
        x = x * FACTOR + TERM
    return x.sum()


class Stages:
    """Seconds of each stage, in the order in which they were run."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def run(self, stage: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        self.seconds[stage] = time.perf_counter() - start
        return result


def check(gradient: Any, operations: int) -> None:
    numpy.testing.assert_allclose(gradient, FACTOR ** (operations // OPERATIONS_A_STEP), rtol=1e-9)


def wengert_stages(operations: int) -> Stages:
    stages = Stages()
    x = wg.variable(START, name="x")
    held = [stages.run("record", lambda: affine(x, operations))]
    stages.run("differentiate", lambda: held[0].backward())
    check(x.grad, operations)
    held.append(stages.run("as a Graph", lambda: wg.graph(held[0])))
    if len(held[1]) <= operations:
        raise AssertionError(f"{len(held[1])} nodes in the graph of {operations} operations")
    text = stages.run("print in part", lambda: str(held[1]))
    lines = text.count("\n")
    if "multiply" not in text or lines > operations / 10:
        raise AssertionError(f"the text of the graph in part has {lines} lines and {len(text)} characters")
    stages.run("free", held.clear)
    return stages


def torch_stages(operations: int) -> Stages | None:
    if (torch := peer("torch")) is None:
        return None
    stages = Stages()
    x = torch.tensor(START, requires_grad=True)
    held = [stages.run("record", lambda: affine(x, operations))]
    stages.run("differentiate", lambda: held[0].backward())
    check(x.grad.numpy(), operations)
    stages.run("free", held.clear)
    return stages


def autograd_stages(operations: int) -> Stages | None:
    if (autograd := peer("autograd")) is None:
        return None
    anp = peer("autograd.numpy")

    def chain(x: Any) -> Any:
        for _ in range(operations // OPERATIONS_A_STEP):
            x = x * FACTOR + TERM
        return anp.sum(x)

    stages = Stages()
    held = list(stages.run("record", lambda: autograd.make_vjp(chain)(START)))
    gradient = stages.run("differentiate", lambda: held[0](1.0))
    check(gradient, operations)
    stages.run("free", held.clear)
    return stages


STAGES = ("record", "differentiate", "as a Graph", "print in part", "free")


def measure(effort: Effort) -> list[Report]:
    operations = effort.pick(100_000, 1_000_000)
    report = Report(
        f"A graph of {operations:,} operations",
        f"Seconds, once each; the recursion limit stays at {sys.getrecursionlimit()}. autograd records inside "
        "make_vjp. Un-jitted JAX is left out: by its time per operation (first table) it would take minutes.",
        ("library", *STAGES, "record + differentiate, µs/op"),
    )
    for name, run in {"wengert": wengert_stages, "PyTorch eager": torch_stages, "autograd": autograd_stages}.items():
        gc.collect()
        gc.freeze()
        stages = run(operations)
        gc.unfreeze()
        if stages is not None:
            seconds = stages.seconds
            each = (seconds["record"] + seconds["differentiate"]) / operations * 1e6
            cells = [figures(seconds[stage]) if stage in seconds else "-" for stage in STAGES]
            report.add(name, *cells, figures(each))
    traced = 100_000
    kept = memory(lambda: affine(wg.variable(START), traced)).kept / traced
    report.about += f" A recorded operation of this chain keeps {kept:.0f} bytes alive in wengert."
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
