"""An elementwise chain on 10^7 float64 numbers against a copy of them: both are bound by memory, one thread."""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import one_processor
from .harness import Effort, Report, Target, figures, main, milli, peer, race


def chain(np: Any, x: Any) -> Any:
    return np.where(x > 0.0, np.sqrt(x * x + 1.0) - 0.5 * x, 2.0 - x) * 0.25


def measure(effort: Effort) -> list[Report]:
    one_processor()
    x = numpy.random.default_rng(0).normal(size=effort.pick(1_000_000, 10_000_000))
    compiled = wg.jit(lambda x: chain(wnp, x))
    numpy.testing.assert_allclose(compiled(x), chain(numpy, x), rtol=1e-14)
    contenders = {"copy": lambda: x.copy(), "wengert": lambda: compiled(x), "NumPy": lambda: chain(numpy, x)}
    if (jax := peer("jax")) is not None:
        own, given = jax.jit(lambda x: chain(jax.numpy, x)), jax.numpy.asarray(x)
        contenders["JAX"] = lambda: own(given).block_until_ready()
    times = race(contenders, effort)
    report = Report(
        f"Seven elementwise operations on {len(x):,} float64",
        "Bytes read and written by the time, new memory for the result included, as in the copy.",
        ("library", "least ms", "GB/s", "of the copy's bandwidth"),
    )
    for name, time in times.items():
        share = times["copy"].least / time.least
        report.add(name, milli(time.least), figures(2 * x.nbytes / time.least / 1e9), f"{100 * share:.0f} %")
    share = times["wengert"].least / times["copy"].least
    report.targets.append(Target("at least 80 % of the bandwidth of a copy", share, 1.25, "times the copy"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
