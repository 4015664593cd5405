"""A million-step loop under eager forward mode: the memory stays constant, since no tape is kept.

The loop is Euler's method for the pendulum (angle, speed) with the derivative in its starting state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, figures, main, memory, micro, peer, race, ratio

STEP = 1e-3
ANGLE, SPEED = 0.3, 0.1
SHORT = 10_000
TIMED = 200


def pendulum(sin: Callable[[Any], Any], steps: int, angle: Any, speed: Any) -> Any:
    for _ in range(steps):
        angle, speed = angle + STEP * speed, speed - STEP * sin(angle)
    return angle


def exact_tangent(steps: int) -> tuple[float, float]:
    """Value and tangent by the linearised equations, in Python numbers."""
    angle, speed, d_angle, d_speed = ANGLE, SPEED, 1.0, 0.0
    for _ in range(steps):
        d_angle, d_speed = d_angle + STEP * d_speed, d_speed - STEP * numpy.cos(angle) * d_angle
        angle, speed = angle + STEP * speed, speed - STEP * numpy.sin(angle)
    return angle, d_angle


def wengert_jvp(steps: int) -> Run:
    function = functools.partial(pendulum, wnp.sin, steps)
    primals, tangents = (numpy.array(ANGLE), numpy.array(SPEED)), (numpy.array(1.0), numpy.array(0.0))
    return lambda: wg.jvp(function, primals, tangents)


def torch_jvp(steps: int) -> Run | None:
    if (torch := peer("torch")) is None:
        return None
    forward = peer("torch.autograd.forward_ad")  # somewhat faster than torch.func.jvp
    angle, speed, d_angle, d_speed = [torch.tensor(v, dtype=torch.float64) for v in (ANGLE, SPEED, 1.0, 0.0)]

    def run() -> Any:
        with forward.dual_level():
            start = forward.make_dual(angle, d_angle), forward.make_dual(speed, d_speed)
            return forward.unpack_dual(pendulum(torch.sin, steps, *start))

    return run


def autograd_jvp(steps: int) -> Run | None:
    if (autograd := peer("autograd")) is None:
        return None
    sin = peer("autograd.numpy").sin
    push = autograd.make_jvp(lambda state: pendulum(sin, steps, state[0], state[1]))
    return lambda: push((ANGLE, SPEED))((1.0, 0.0))


def jax_jvp(steps: int) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    function = functools.partial(pendulum, jax.numpy.sin, steps)
    primals, tangents = [tuple(map(jax.numpy.asarray, pair)) for pair in ((ANGLE, SPEED), (1.0, 0.0))]
    return lambda: jax.block_until_ready(jax.jvp(function, primals, tangents))


VERSIONS = {
    "wengert": wengert_jvp,
    "PyTorch eager": torch_jvp,
    "autograd": autograd_jvp,
    "JAX, not jitted": jax_jvp,
}


def time_report(effort: Effort) -> Report:
    report = Report(
        "Eager forward mode: time",
        f"µs per step of the pendulum (5 operations on scalars), value and directional derivative, {TIMED} steps.",
        ("library", "least µs/step", "median µs/step", "times wengert"),
    )
    contenders = {name: run for name, make in VERSIONS.items() if (run := make(TIMED)) is not None}
    for run in contenders.values():
        numpy.testing.assert_allclose(numpy.array([float(part) for part in run()]), exact_tangent(TIMED), rtol=1e-12)
    times = race(contenders, effort)
    for name, time in times.items():
        least, median = micro(time.least / TIMED), micro(time.median / TIMED)
        report.add(name, least, median, ratio(time.least, times["wengert"].least))
    return report


def memory_report(effort: Effort) -> Report:
    long = effort.pick(100_000, 1_000_000)
    report = Report(
        "Eager forward mode: memory",
        "Most bytes allocated at any moment, by tracemalloc.",
        ("library", f"{SHORT:,} steps, KiB", f"{long:,} steps, KiB", "bytes per further step"),
    )
    wengert_jvp(SHORT)()  # fills caches that outlive the call
    short_peak, long_peak = memory(wengert_jvp(SHORT)).peak, memory(wengert_jvp(long)).peak
    growth = (long_peak - short_peak) / (long - SHORT)
    report.add("wengert", figures(short_peak / 1024), figures(long_peak / 1024), f"{growth:.4f}")
    # A single object left behind at each step would be at least 16 bytes.
    report.targets.append(Target(f"no growth from {SHORT:,} to {long:,} steps", growth, 0.1, "bytes a step"))
    return report


def measure(effort: Effort) -> list[Report]:
    return [time_report(effort), memory_report(effort)]


if __name__ == "__main__":
    main(measure, __doc__)
