"""The Lorenz system by RK4, 100,000 steps: a loss at the end and its gradient in the three parameters.

(E. N. Lorenz, Deterministic nonperiodic flow, 1963.) The parameters are such that the flow settles, so that the
gradient is a number and not chaos. Once with a fixed number of steps, once in a `while` that stops when the state has
stopped moving, with no bound given: reverse mode of such a loop is what others lack.
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .contest import Bar, contest
from .harness import Effort, Report, Run, Target, main, peer

POINT = numpy.array([10.0, 10.0, 8.0 / 3.0])
START = numpy.array([1.0, 1.0, 1.0])
STEP = 0.001
TOLERANCE = 1e-10


def flow(np: Any, s: Any, p: Any) -> Any:
    x, y, z = s[0], s[1], s[2]
    return np.stack([p[0] * (y - x), x * (p[1] - z) - y, x * y - p[2] * z])


def rk4(np: Any, s: Any, p: Any) -> Any:
    a = flow(np, s, p)
    b = flow(np, s + 0.5 * STEP * a, p)
    c = flow(np, s + 0.5 * STEP * b, p)
    d = flow(np, s + STEP * c, p)
    return s + STEP / 6 * (a + 2 * b + 2 * c + d)


def fixed(np: Any, scan: Any, p: Any, steps: int) -> Any:
    s, _ = scan(lambda s, _: (rk4(np, s, p), None), START, None, length=steps)
    return np.sum(s * s)


def settled(np: Any, while_loop: Any, p: Any) -> Any:
    """The squared state when a step moves no component by more than the tolerance."""

    def going(state: Any) -> Any:
        s, before = state
        return np.max(np.abs(s - before)) > TOLERANCE

    s, _ = while_loop(going, lambda state: (rk4(np, state[0], p), state[0]), (START, START + 1.0))
    return np.sum(s * s)


def wengert_version(steps: int) -> Run:
    both = wg.jit(wg.value_and_grad(lambda p: fixed(wnp, wg.scan, p, steps)))
    return lambda: both(POINT)


def jax_version(steps: int) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    both = jax.jit(jax.value_and_grad(lambda p: fixed(jax.numpy, jax.lax.scan, p, steps)))
    point = jax.numpy.asarray(POINT)
    return lambda: jax.block_until_ready(both(point))


def casadi_version(steps: int) -> Run | None:
    """CasADi's map over time, whose reverse mode keeps every state."""
    if (casadi := peer("casadi")) is None:
        return None
    s, p = casadi.SX.sym("s", 3), casadi.SX.sym("p", 3)

    def flow(s: Any) -> Any:
        return casadi.vertcat(p[0] * (s[1] - s[0]), s[0] * (p[1] - s[2]) - s[1], s[0] * s[1] - p[2] * s[2])

    a = flow(s)
    b = flow(s + 0.5 * STEP * a)
    c = flow(s + 0.5 * STEP * b)
    d = flow(s + STEP * c)
    step = casadi.Function("step", [s, p], [s + STEP / 6 * (a + 2 * b + 2 * c + d)])
    q = casadi.MX.sym("q", 3)
    last = step.mapaccum("all", steps)(START, casadi.repmat(q, 1, steps))[:, -1]
    value = casadi.dot(last, last)
    both = casadi.Function("both", [q], [value, casadi.gradient(value, q)])

    def run() -> Any:
        value, gradient = both(POINT)
        return float(value), numpy.asarray(gradient).ravel()

    return run


def wengert_while() -> Run:
    both = wg.jit(wg.value_and_grad(lambda p: settled(wnp, wg.while_loop, p)))
    return lambda: both(POINT)


def steps_to_settle() -> int:
    """Counted in NumPy."""
    s, before, count = START, START + 1.0, 0
    while numpy.max(numpy.abs(s - before)) > TOLERANCE:
        s, before = rk4(numpy, s, POINT), s
        count += 1
    return count


def measure(effort: Effort) -> list[Report]:
    steps = effort.pick(10_000, 100_000)
    first = contest(
        f"Lorenz RK4, {steps:,} steps: loss and gradient in 3 parameters",
        "wengert and JAX run the same step in a `scan`, CasADi maps its own over time.",
        {
            "wengert": lambda: wengert_version(steps),
            "JAX": lambda: jax_version(steps),
            "CasADi": lambda: casadi_version(steps),
        },
        effort, [Bar("JAX", 1.0), Bar("JAX", 0.5, "first")], per=("step", steps),
    )  # fmt: skip
    first.targets.append(Target("a step in at most 0.2 µs", float(first.rows[0][3]), 0.2, "µs"))
    count = steps_to_settle()
    second = contest(
        f"The same until nothing moves by more than {TOLERANCE:g} ({count:,} steps), no bound given",
        "A `while_loop` in reverse mode; JAX refuses it, so there is no competitor.",
        {"wengert": wengert_while}, effort, per=("step", count),
    )  # fmt: skip
    second.targets.append(Target("a step in at most 0.2 µs", float(second.rows[0][3]), 0.2, "µs"))
    return [first, second]


if __name__ == "__main__":
    main(measure, __doc__)
