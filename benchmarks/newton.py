"""Newton's iteration for each of 10^5 numbers until it has converged, value and gradient.

Kepler's equation E - e sin E = M, solved for E; every element takes as many steps as it needs (`vmap` of a
`while_loop`). wengert differentiates the loop itself. JAX has no reverse mode of `while_loop`, so its version states
the derivative by the implicit function theorem, which is less work.
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import one_processor
from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

TOLERANCE = 1e-12


def step(np: Any, x: Any, e: Any, m: Any) -> Any:
    return (x - e * np.sin(x) - m) / (1 - e * np.cos(x))


def anomaly(np: Any, while_loop: Any, e: Any, m: Any) -> Any:
    def body(state: Any) -> Any:
        x, _ = state
        d = step(np, x, e, m)
        return x - d, d

    return while_loop(lambda state: np.abs(state[1]) > TOLERANCE, body, (m + 0.0 * e, 1.0 + 0.0 * m))[0]


def problem(n: int) -> tuple[Any, Any]:
    rng = numpy.random.default_rng(0)
    return rng.uniform(0, 0.8, n), rng.uniform(0, numpy.pi, n)


def wengert_version(e: Any, m: Any) -> Run:
    each = wg.vmap(lambda e, m: anomaly(wnp, wg.while_loop, e, m))
    both = wg.jit(wg.value_and_grad(lambda e, m: wnp.sum(each(e, m) ** 2), argnums=(0, 1)))
    return lambda: both(e, m)


def jax_version(e: Any, m: Any) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    np = jax.numpy

    @jax.custom_vjp
    def solve(e: Any, m: Any) -> Any:
        return anomaly(np, jax.lax.while_loop, e, m)

    def forward(e: Any, m: Any) -> Any:
        x = solve(e, m)
        return x, (x, e)

    def backward(kept: Any, ct: Any) -> Any:
        x, e = kept
        slope = ct / (1 - e * np.cos(x))
        return slope * np.sin(x), slope

    solve.defvjp(forward, backward)
    both = jax.jit(jax.value_and_grad(lambda e, m: np.sum(jax.vmap(solve)(e, m) ** 2), argnums=(0, 1)))
    given = np.asarray(e), np.asarray(m)
    return lambda: jax.block_until_ready(both(*given))


def measure(effort: Effort) -> list[Report]:
    one_processor()
    e, m = problem(effort.pick(10_000, 100_000))
    return [contest(
        f"Newton's iteration on each of {len(e):,} numbers: value and gradient",
        "wengert records the iteration and goes back through it; JAX is given the derivative.",
        {"wengert": lambda: wengert_version(e, m), "JAX, custom rule": lambda: jax_version(e, m)},
        effort, [Bar("JAX, custom rule", 1.0), Bar("JAX, custom rule", 0.5, "first")], rtol=1e-9,
    )]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
