"""Hessian of the chained Rosenbrock function with 100,000 variables: tridiagonal, three colours.

f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2        (H. H. Rosenbrock, Computer Journal 3, 1960)
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy
import scipy.optimize
from scipy.optimize._numdiff import approx_derivative, group_columns

import wengert as wg
import wengert.numpy as wnp

from .brusselator import casadi_values
from .harness import Effort, Report, Run, Target, main, milli, peer, race, ratio
from .rosenbrock import rosenbrock

DENSE = 1000
"""Variables of JAX's dense Hessian: with 100,000 it would take 80 gigabytes."""


def wengert_version(x: Any, compile: bool = True) -> Run:
    hessian = wg.sparse_hessian(functools.partial(rosenbrock, wnp), compile=compile)
    return lambda: hessian(x)


def casadi_version(x: Any) -> Run | None:
    if (casadi := peer("casadi")) is None:
        return None
    s = casadi.SX.sym("x", x.size)
    value = casadi.sum1(100 * (s[1:] - s[:-1] ** 2) ** 2 + (1 - s[:-1]) ** 2)
    return casadi_values(casadi, casadi.Function("hessian", [s], [casadi.hessian(value, s)[0]]), x)


def scipy_version(x: Any) -> Run:
    """Grouped finite differences of SciPy's gradient, with the pattern and the groups given."""
    pattern = wg.sparsity(wg.grad(functools.partial(rosenbrock, wnp)), x)
    structure = (pattern, group_columns(pattern))
    return lambda: approx_derivative(scipy.optimize.rosen_der, x, method="2-point", sparsity=structure)


def jax_dense(x: Any) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    hessian = jax.jit(jax.hessian(functools.partial(rosenbrock, jax.numpy)))
    point = jax.numpy.asarray(x[:DENSE])
    return lambda: jax.block_until_ready(hessian(point))


def measure(effort: Effort) -> list[Report]:
    n = effort.pick(10_000, 100_000)
    x = numpy.random.default_rng(0).normal(size=n)
    started = time.perf_counter()
    ours = wengert_version(x)
    exact = ours()
    first = time.perf_counter() - started
    numpy.testing.assert_allclose(exact.diagonal()[:5], numpy.diag(scipy.optimize.rosen_hess(x[:6]))[:5], rtol=1e-9)
    report = Report(
        f"Hessian of the chained Rosenbrock function, {n:,} variables",
        "As a SciPy matrix (CasADi: the values alone, in fixed memory). wengert's first call, with pattern, colouring "
        f"and compiling, took {first:.2f} s. JAX's dense Hessian is of {DENSE:,} variables only.",
        ("library", "least ms", "median ms", "times wengert"),
    )
    versions: dict[str, Run | None] = {
        "wengert": ours,
        "wengert, not compiled": wengert_version(x, False),
        "CasADi": casadi_version(x),
        "SciPy, grouped finite differences of its gradient": scipy_version(x),
        f"JAX, dense, {DENSE:,} variables": jax_dense(x),
    }
    contenders = {name: run for name, run in versions.items() if run is not None}
    times = race(contenders, effort)
    least = times["wengert"].least
    for name, taken in times.items():
        report.add(name, milli(taken.least), milli(taken.median), ratio(taken.least, least))
    report.targets.append(Target("in under 0.1 s after compilation", least, 0.1, "s"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
