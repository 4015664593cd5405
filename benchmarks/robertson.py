"""A stiff reaction network by the implicit midpoint rule with Newton's method inside, 500 steps: loss and gradient.

(H. H. Robertson, The solution of a set of reaction rate equations, 1966: A -> B slowly, B + B -> C + B fast,
B + C -> A + C faster.) The steps grow geometrically; each takes four Newton steps, each of which solves a 3 x 3 system.
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

RATES = numpy.array([0.04, 3e7, 1e4])
START = numpy.array([1.0, 0.0, 0.0])
STEPS, NEWTON = 500, 4
LENGTHS = 1e-5 * 1.035 ** numpy.arange(STEPS)


def rates_of_change(np: Any, y: Any, k: Any) -> Any:
    slow, fast, faster = k[0] * y[0], k[1] * y[1] * y[1], k[2] * y[1] * y[2]
    return np.stack([faster - slow, slow - faster - fast, fast])


def slopes(np: Any, y: Any, k: Any) -> Any:
    """The Jacobian of the rates, written out."""
    zero = 0.0 * k[0]
    return np.stack([
        np.stack([-k[0], k[2] * y[2], k[2] * y[1]]),
        np.stack([k[0], -k[2] * y[2] - 2 * k[1] * y[1], -k[2] * y[1]]),
        np.stack([zero, 2 * k[1] * y[1], zero]),
    ])  # fmt: skip


def loss_of(np: Any, scan: Any, k: Any) -> Any:
    """Squared amounts at the end of implicit midpoint steps y' = y + h f((y + y') / 2)."""
    eye = numpy.eye(3)

    def step(y: Any, h: Any) -> Any:
        z = y
        for _ in range(NEWTON):
            middle = 0.5 * (y + z)
            residual = z - y - h * rates_of_change(np, middle, k)
            z = z - np.linalg.solve(eye - 0.5 * h * slopes(np, middle, k), residual)
        return z, None

    y, _ = scan(step, START, LENGTHS)
    return np.sum(y * y)


def wengert_version() -> Run:
    both = wg.jit(wg.value_and_grad(lambda k: loss_of(wnp, wg.scan, k)))
    return lambda: both(RATES)


def jax_version() -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    both = jax.jit(jax.value_and_grad(lambda k: loss_of(jax.numpy, jax.lax.scan, k)))
    rates = jax.numpy.asarray(RATES)
    return lambda: jax.block_until_ready(both(rates))


def measure(effort: Effort) -> list[Report]:
    return [
        contest(
            "Robertson's reactions, implicit midpoint with Newton inside, 500 steps: loss and gradient in 3 rates",
            "The same code in a `scan`.",
            {"wengert": wengert_version, "JAX": jax_version},
            effort, [Bar("JAX", 0.2), Bar("JAX", 0.5, "first")], per=("step", STEPS),
        )
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
