"""What the workloads share: interleaved timing, memory, optional peers, and the report as data.

Timing. All competitors are measured in one process and one run. A repeat times each of them once, in
turn, so that a slow minute of the machine hits all alike; each timing loops long enough to be well above
the clock's resolution. Reported are the least and the median time over the repeats, and ratios of least
times, which a busy machine disturbs less. The garbage collector stays on, as it is for users, but objects
that exist before timing starts (thousands from PyTorch and JAX) are frozen out of its sight, since one
library should not pay for another's objects.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib
import json
import os
import statistics
import timeit
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Run = Callable[[], Any]


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure: `repeats` rounds, each timing a competitor for about `seconds`."""

    quick: bool = False

    @property
    def repeats(self) -> int:
        return 5 if self.quick else 15

    @property
    def seconds(self) -> float:
        return 0.02 if self.quick else 0.1

    def pick(self, quick: int, full: int) -> int:
        """A problem size by effort."""
        return quick if self.quick else full


class Timing(NamedTuple):
    """Seconds per call: the samples of all repeats, in order."""

    samples: tuple[float, ...]

    @property
    def least(self) -> float:
        return min(self.samples)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


class Target(NamedTuple):
    """A limit that the project set itself, and what was measured."""

    text: str
    measured: float
    limit: float
    unit: str = ""

    @property
    def met(self) -> bool:
        return self.measured <= self.limit


@dataclasses.dataclass
class Report:
    """A table of results with its explanation; JSON in between processes, rich and Markdown at the end."""

    title: str
    about: str
    columns: Sequence[str]
    rows: list[list[str]] = dataclasses.field(default_factory=list)
    targets: list[Target] = dataclasses.field(default_factory=list)

    def add(self, *cells: str) -> None:
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for the {len(self.columns)} columns {self.columns}")
        self.rows.append(list(cells))

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"targets": [list(target) for target in self.targets]}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Report:
        return cls(**{**data, "targets": [Target(*target) for target in data["targets"]]})


def peer(name: str) -> Any:
    """A library to compare with, set to float64; None when it is not installed."""
    if name == "jax" or name.startswith("jax."):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
    try:
        module = importlib.import_module(name)
    except ImportError:
        return None
    if name == "jax":
        module.config.update("jax_enable_x64", True)
    return module


def race(contenders: Mapping[str, Run], effort: Effort, finer: int = 1) -> dict[str, Timing]:
    """Time all contenders in interleaved repeats. Each is called before, to fill caches.

    `finer` asks for that many times more repeats, each that many times shorter: among many short samples of a
    call of a microsecond some are undisturbed even on a busy machine.
    """
    seconds = effort.seconds / finer
    timers = {name: timeit.Timer(run, setup="gc.enable()", globals={"gc": gc}) for name, run in contenders.items()}
    numbers = {name: calibrate(timer, seconds) for name, timer in timers.items()}
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.freeze()
    try:
        for _ in range(effort.repeats * finer):
            for name, timer in timers.items():
                gc.collect()
                samples[name].append(timer.timeit(numbers[name]) / numbers[name])
    finally:
        gc.unfreeze()
    return {name: Timing(tuple(found)) for name, found in samples.items()}


def calibrate(timer: timeit.Timer, seconds: float) -> int:
    """How many calls take about `seconds`; at least one."""
    number = 1
    timer.timeit(1)
    while (taken := timer.timeit(number)) < seconds / 4:
        number = max(2 * number, int(number * seconds / 4 / max(taken, 1e-9)))
    return max(1, round(number * seconds / taken))


class Memory(NamedTuple):
    """Bytes allocated by a call, by Python and NumPy: what its result holds, and the most at any moment."""

    kept: int
    peak: int


def memory(run: Run) -> Memory:
    """Trace the allocations of one call. (PyTorch and JAX allocate outside Python, so this cannot see theirs.)"""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        result = run()
        kept, peak = tracemalloc.get_traced_memory()
        del result
    finally:
        tracemalloc.stop()
    return Memory(kept - before, peak - before)


def micro(seconds: float) -> str:
    """`3.21` microseconds with three figures."""
    return figures(seconds * 1e6)


def milli(seconds: float) -> str:
    return figures(seconds * 1e3)


def figures(value: float) -> str:
    """Three significant figures, without an exponent."""
    if value == 0:
        return "0"
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def ratio(other: float, ours: float) -> str:
    """`1.84` if the other takes 1.84 times as long as ours."""
    return figures(other / ours)


def main(measure: Callable[[Effort], Sequence[Report]], about: str | None) -> None:
    """Command line of one workload: print its reports, or write them as JSON for `python -m benchmarks`."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer repeats and smaller problems")
    parser.add_argument("--json", type=Path, help="write the reports to this file instead of printing them")
    options = parser.parse_args()
    reports = measure(Effort(options.quick))
    if options.json:
        options.json.write_text(json.dumps([report.as_dict() for report in reports]))
        return
    from .render import show  # rich is needed only here; workers of a full run do without

    show(reports)
