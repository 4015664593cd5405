"""Memory against time: a deep chain within a tenth of its memory, a long scan within 8 MB.

Memory is what a call allocates at its peak (tracemalloc, which sees NumPy's arrays), results included, arguments not.
The chain has one weight matrix, tied over the layers: its gradient, and each layer's part of it, count too.
JAX is shown for the scan: its own accounting (`memory_analysis`) of the compiled gradient, also with its checkpoint
wrapper around the scan's body, since its arrays are invisible to tracemalloc.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as np

from .harness import Effort, Report, Target, figures, main, memory, peer

LAYERS, BATCH = 1000, 32
STEPS, STATE = 200_000, 100
BUDGET = 8_000_000


def deep(w: Any, x: Any) -> Any:
    for _ in range(LAYERS):
        x = np.tanh(x @ w)
    return np.sum(x**2)


def looped(a: Any, x: Any) -> Any:
    return np.sum(wg.scan(lambda c, _: (np.tanh(c * a), None), x, None, length=STEPS)[0])


def fastest(runs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Least seconds of each, in turns."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def chain(effort: Effort) -> Report:
    width = effort.pick(300, 1000)
    rng = numpy.random.default_rng(0)
    w = (rng.normal(size=(width, width)) / numpy.sqrt(width)).astype(numpy.float32)
    x = rng.normal(size=(BATCH, width)).astype(numpy.float32)

    plain = wg.grad(deep)
    report = Report(
        f"Chain of {LAYERS:,} layers of width {width:,}, batch {BATCH}, float32: gradient in the (tied) weights",
        "`memory=` plans what to keep and what to compute again for the whole graph. Unlimited is the same graph "
        "without a limit; define by run is `wg.grad(f)`.",
        ("version", "peak MB", "of unlimited", "s", "times unlimited"),
    )
    unlimited = wg.grad(deep, memory="100GB")
    wanted = unlimited(w, x)
    numpy.testing.assert_allclose(plain(w, x), wanted, rtol=1e-3, atol=1e-4)
    full = memory(lambda: unlimited(w, x)).peak
    versions: dict[str, Callable[..., Any]] = {"unlimited": unlimited, "define by run": plain}
    for share in (0.5, 0.2, 0.1):
        versions[f"{share:.0%}"] = wg.grad(deep, memory=int(share * full))
    for run in versions.values():
        numpy.testing.assert_allclose(run(w, x), wanted, rtol=1e-3, atol=1e-4)
    peaks = {name: memory(lambda run=run: run(w, x)).peak for name, run in versions.items()}
    seconds = fastest({name: (lambda run=run: run(w, x)) for name, run in versions.items()}, effort.pick(2, 3))
    for name in versions:
        report.add(name, figures(peaks[name] / 1e6), f"{peaks[name] / full:.3f}", figures(seconds[name]),
                   figures(seconds[name] / seconds["unlimited"]))  # fmt: skip
    report.targets.append(Target("chain: memory within a tenth", peaks["10%"] / full, 0.1, "of unlimited"))
    slower = seconds["10%"] / seconds["unlimited"]
    report.targets.append(Target("chain: time within a tenth of the memory", slower, 1.35, "times unlimited"))
    return report


def long_scan(effort: Effort) -> Report:
    rng = numpy.random.default_rng(0)
    a, x = 1 + 0.01 * rng.normal(size=STATE), rng.normal(size=STATE)
    versions = {"unlimited": wg.grad(looped), "memory='8MB'": wg.grad(looped, memory=BUDGET)}
    compiled = {"compiled": wg.jit(wg.grad(looped)), "compiled, memory='8MB'": wg.jit(wg.grad(looped, memory=BUDGET))}
    report = Report(
        f"Gradient of a scan of {STEPS:,} steps over {STATE} numbers, float64",
        "The state of every step would be 160 MB. Compiled programs allocate outside of Python; their figure is the "
        "memory that they plan.",
        ("version", "peak MB", "s", "times unlimited"),
    )
    wanted = versions["unlimited"](a, x)
    runs = {}
    for name, run in {**versions, **compiled}.items():
        numpy.testing.assert_allclose(run(a, x), wanted, rtol=1e-9)
        runs[name] = lambda run=run: run(a, x)
    seconds = fastest(runs, effort.pick(1, 3))
    for name in versions:
        peak = memory(runs[name]).peak
        report.add(name, figures(peak / 1e6), figures(seconds[name]), figures(seconds[name] / seconds["unlimited"]))
        if name != "unlimited":
            report.targets.append(Target("scan: peak", peak / 1e6, 8.0, "MB"))
            slower = seconds[name] / seconds["unlimited"]
            report.targets.append(Target("scan: time within 8 MB", slower, 3.0, "times unlimited"))
    for name, run in compiled.items():
        planned = run.lower(a, x).program.memory
        base = seconds["compiled"]
        report.add(name, figures(planned / 1e6), figures(seconds[name]), figures(seconds[name] / base))
        if name != "compiled":
            slower = seconds[name] / base
            report.targets.append(Target("compiled scan: time within 8 MB", slower, 3.0, "times unlimited"))
    for name, size in jax_bytes(a, x).items():
        report.add(name, figures(size / 1e6), "", "")
    return report


def jax_bytes(a: Any, x: Any) -> dict[str, float]:
    """What JAX says its compiled gradients need in working memory."""
    if (jax := peer("jax")) is None:
        return {}

    def step(c: Any, a: Any) -> Any:
        return jax.numpy.tanh(c * a)

    def loss(step: Any) -> Any:
        def run(a: Any, x: Any) -> Any:
            return jax.lax.scan(lambda c, _: (step(c, a), None), x, None, length=STEPS)[0].sum()

        return jax.jit(jax.grad(run))

    found = {}
    for name, part in (("JAX", step), ("JAX, checkpoint around the body", jax.checkpoint(step))):
        found[name] = loss(part).lower(a, x).compile().memory_analysis().temp_size_in_bytes
    return found


def measure(effort: Effort) -> list[Report]:
    return [chain(effort), long_scan(effort)]


if __name__ == "__main__":
    main(measure, __doc__)
