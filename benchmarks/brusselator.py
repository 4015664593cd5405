"""Jacobian of the two-dimensional Brusselator on a grid, 2 n^2 equations: stencils and a local reaction.

u' = 1 + u^2 v - 4.4 u + a Lap u,  v' = 3.4 u - u^2 v + a Lap v, periodic, five points
(E. Hairer, G. Wanner, Solving Ordinary Differential Equations II, 2nd ed., Springer 1996, IV.10.)
"""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy
from scipy.optimize._numdiff import approx_derivative, group_columns

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, main, milli, peer, race, ratio

DIFFUSION = 1 / 50


def brusselator(np: Any, y: Any, n: int) -> Any:
    """The right-hand side, with the array library passed in; `y` has shape (2, n, n)."""
    u, v = y[0], y[1]

    def laplacian(a: Any) -> Any:
        around = np.roll(a, 1, 0) + np.roll(a, -1, 0) + np.roll(a, 1, 1) + np.roll(a, -1, 1)
        return (around - 4 * a) * (n - 1) ** 2

    reaction = u * u * v
    return np.stack([
        1 + reaction - 4.4 * u + DIFFUSION * laplacian(u),
        3.4 * u - reaction + DIFFUSION * laplacian(v),
    ])  # fmt: skip


def wengert_version(y: Any, compile: bool = True) -> Run:
    jacobian = wg.sparse_jacobian(lambda y: brusselator(wnp, y, y.shape[1]), compile=compile)
    return lambda: jacobian(y)


def wengert_column(y: Any) -> Run:
    """One of the 2 n^2 columns of the dense Jacobian by forward mode, compiled."""
    unit = numpy.zeros(y.shape)
    unit[0, 0, 0] = 1
    column = wg.jit(lambda y, unit: wg.jvp(lambda y: brusselator(wnp, y, y.shape[1]), (y,), (unit,))[1])
    return lambda: column(y, unit)


def jax_column(y: Any) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    n = y.shape[1]
    point = jax.numpy.asarray(y)
    unit = jax.numpy.zeros(y.shape).at[0, 0, 0].set(1)
    fn = functools.partial(brusselator, jax.numpy, n=n)
    column = jax.jit(lambda y, unit: jax.jvp(fn, (y,), (unit,))[1])
    return lambda: jax.block_until_ready(column(point, unit))


def casadi_version(y: Any) -> Run | None:
    """The scalar graph, differentiated symbolically by CasADi's own colouring; the values in its own memory."""
    if (casadi := peer("casadi")) is None:
        return None
    n = y.shape[1]
    x = casadi.SX.sym("x", y.size)
    rolled = {
        (shift, axis): numpy.roll(numpy.arange(n * n).reshape(n, n), shift, axis).ravel().tolist()
        for shift in (1, -1)
        for axis in (0, 1)
    }
    u, v = x[: n * n], x[n * n :]

    def laplacian(a: Any) -> Any:
        return (sum(a[index] for index in rolled.values()) - 4 * a) * (n - 1) ** 2

    reaction = u * u * v
    out = casadi.vertcat(
        1 + reaction - 4.4 * u + DIFFUSION * laplacian(u), 3.4 * u - reaction + DIFFUSION * laplacian(v)
    )
    return casadi_values(casadi, casadi.Function("jacobian", [x], [casadi.jacobian(out, x)]), numpy.ravel(y))


def casadi_values(casadi: Any, function: Any, *points: Any) -> Run:
    """The quickest way to call a CasADi function: arguments and results as plain memory."""
    buffer, trigger = function.buffer()
    values = numpy.zeros(function.nnz_out(0))
    points = tuple(numpy.ascontiguousarray(point, float) for point in points)
    for k, point in enumerate(points):
        buffer.set_arg(k, memoryview(point))
    buffer.set_res(0, memoryview(values))

    def run() -> Any:
        trigger()
        return values

    run.keep = (buffer, points)  # type: ignore[attr-defined]
    return run


def scipy_version(y: Any) -> Run:
    """Grouped finite differences, with the pattern and the groups given."""
    pattern = wg.sparsity(lambda y: brusselator(wnp, y, y.shape[1]), y)
    structure = (pattern, group_columns(pattern))
    n = y.shape[1]

    def flat(x: Any) -> Any:
        return brusselator(numpy, x.reshape(2, n, n), n).ravel()

    return lambda: approx_derivative(flat, y.ravel(), method="2-point", sparsity=structure)


def measure(effort: Effort) -> list[Report]:
    n = effort.pick(60, 100)
    y = numpy.random.default_rng(0).uniform(1, 2, (2, n, n))
    started = time.perf_counter()
    ours = wengert_version(y)
    exact = ours()
    first = time.perf_counter() - started
    column = wengert_column(y)
    numpy.testing.assert_allclose(column().ravel(), exact[:, [0]].toarray().ravel(), rtol=1e-9)
    report = Report(
        f"Jacobian of the Brusselator on a {n} x {n} grid",
        f"{y.size:,} equations, {exact.nnz:,} entries, as a SciPy matrix (CasADi: the values alone, in fixed memory). "
        f"wengert's first call, with pattern, colouring and compiling, took {first:.2f} s. The dense Jacobian is "
        f"reckoned as {y.size:,} times one of its columns.",
        ("library", "least ms", "median ms", "times wengert"),
    )
    versions: dict[str, Run | None] = {
        "wengert": ours,
        "wengert, not compiled": wengert_version(y, False),
        "CasADi": casadi_version(y),
        "SciPy, grouped finite differences": scipy_version(y),
        "column by wengert": column,
        "column by JAX": jax_column(y),
    }
    contenders = {name: run for name, run in versions.items() if run is not None}
    if "CasADi" in contenders:
        numpy.testing.assert_allclose(numpy.sort(contenders["CasADi"]()), numpy.sort(exact.data), rtol=1e-9)
    times = race(contenders, effort)
    least = times["wengert"].least
    for name, taken in times.items():
        scale = y.size if name.startswith("column") else 1
        shown = name.replace("column by", "dense forward mode,") if scale > 1 else name
        report.add(shown, milli(scale * taken.least), milli(scale * taken.median), ratio(scale * taken.least, least))
    dense = y.size * times["column by wengert"].least
    report.targets.append(Target("a hundredth of dense forward mode", 100 * least / dense, 1.0, "hundredths"))
    if "CasADi" in times:
        report.targets.append(Target("faster than CasADi", least / times["CasADi"].least, 1.0, "of its time"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
