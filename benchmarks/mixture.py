"""Log-likelihood of a Gaussian mixture with full covariances, and its gradient in all parameters.

10,000 points in 20 dimensions, 25 components. The covariances are given by their inverse Cholesky factors, as in the
benchmark of F. Srajer, Z. Kukelova, A. Fitzgibbon, A benchmark of selected algorithmic differentiation tools, 2018.
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import one_processor
from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer


def log_likelihood(np: Any, logsumexp: Any, weights: Any, means: Any, logs: Any, lower: Any, x: Any) -> Any:
    """`logs`: logarithms of the diagonals of the factors; `lower`: what is below these."""
    d = x.shape[1]
    factors = np.exp(logs)[:, :, None] * np.eye(d) + lower * np.tri(d, k=-1)
    turned = np.einsum("kij,nj->kni", factors, x) - np.einsum("kij,kj->ki", factors, means)[:, None, :]
    inner = weights + np.sum(logs, axis=1) - 0.5 * np.sum(turned**2, axis=2).T
    return np.sum(logsumexp(inner)) - x.shape[0] * logsumexp(weights[None])[0]


def shifted(np: Any) -> Any:
    def logsumexp(x: Any) -> Any:
        top = np.max(x, axis=1, keepdims=True)
        return np.log(np.sum(np.exp(x - top), axis=1)) + top[:, 0]

    return logsumexp


def problem(n: int, d: int, k: int) -> list[Any]:
    rng = numpy.random.default_rng(0)
    return [rng.normal(size=k), rng.normal(size=(k, d)), 0.1 * rng.normal(size=(k, d)),
            0.1 * rng.normal(size=(k, d, d)), rng.normal(size=(n, d))]  # fmt: skip


def wengert_version(given: list[Any]) -> Run:
    f = lambda *xs: log_likelihood(wnp, shifted(wnp), *xs)
    both = wg.jit(wg.value_and_grad(f, argnums=(0, 1, 2, 3)))
    return lambda: both(*given)


def jax_version(given: list[Any]) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    f = lambda *xs: log_likelihood(jax.numpy, shifted(jax.numpy), *xs)
    both = jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2, 3)))
    own = [jax.numpy.asarray(x) for x in given]
    return lambda: jax.block_until_ready(both(*own))


def measure(effort: Effort) -> list[Report]:
    one_processor()
    n, d, k = effort.pick(1000, 10_000), 20, 25
    given = problem(n, d, k)
    return [contest(
        f"Gaussian mixture, {n:,} points, {d} dimensions, {k} components: log-likelihood and gradient",
        "The same NumPy code for both.",
        {"wengert": lambda: wengert_version(given), "JAX": lambda: jax_version(given)},
        effort, [Bar("JAX", 1.0), Bar("JAX", 0.5, "first")], rtol=1e-8,
    )]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
