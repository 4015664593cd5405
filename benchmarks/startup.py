"""`import wengert` in a fresh process, beyond NumPy's own import; the peers' imports beside it."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys

from . import import_time
from .harness import Effort, Report, Target, main, milli, ratio

PEERS = {"PyTorch": "torch", "autograd": "autograd", "JAX": "jax"}

PROGRAM = """
import sys, time
import numpy
start = time.perf_counter()
try:
    __import__(sys.argv[1])
except ImportError:
    print("nan")
else:
    print(time.perf_counter() - start)
"""


def peer_time(module: str) -> float:
    """Seconds of the import after NumPy's, in one new process; nan when it is not installed."""
    command = [sys.executable, "-c", PROGRAM, module]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure(effort: Effort) -> list[Report]:
    report = Report(
        "Import time",
        "Milliseconds of the import beyond NumPy's own, each in a fresh process.",
        ("library", "least ms", "median ms", "times wengert"),
    )
    names = {label: module for label, module in PEERS.items() if not math.isnan(peer_time(module))}
    import_time.measure()  # once for the byte code and the disk cache
    samples: dict[str, list[float]] = {"wengert": [], **{label: [] for label in names}}
    for _ in range(effort.pick(3, 9)):
        samples["wengert"].append(import_time.measure()[1])
        for label, module in names.items():
            samples[label].append(peer_time(module))
    ours = min(samples["wengert"])
    for label, found in samples.items():
        report.add(label, milli(min(found)), milli(statistics.median(found)), ratio(min(found), ours))
    median = statistics.median(samples["wengert"])
    report.targets.append(Target("at most 150 ms beyond NumPy (median)", median * 1e3, 150.0, "ms"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
