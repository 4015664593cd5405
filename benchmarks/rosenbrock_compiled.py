"""Value and gradient of the 10-dimensional Rosenbrock function, compiled, and what SciPy's minimiser makes of it.

f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2        (H. H. Rosenbrock, Computer Journal 3, 1960)
"""

from __future__ import annotations

import time
from typing import Any

import numpy
import scipy.optimize

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, figures, main, milli, peer, race, ratio
from .rosenbrock import POINT, rosenbrock


def wengert_version() -> Run:
    wg.jit(lambda x: x + 1)(1.0)  # loads the compiler, as JAX's import does
    both = wg.jit(wg.value_and_grad(lambda x: rosenbrock(wnp, x)))
    return lambda: both(POINT)


def wengert_gradient_of_compiled() -> Run:
    both = wg.value_and_grad(wg.jit(lambda x: rosenbrock(wnp, x)))
    return lambda: both(POINT)


def jax_versions() -> dict[str, Run]:
    if (jax := peer("jax")) is None:
        return {}
    both = jax.jit(jax.value_and_grad(lambda x: rosenbrock(jax.numpy, x)))
    point = jax.numpy.asarray(POINT)
    jax.jit(lambda x: x + 1)(1.0)

    def arrays() -> Any:
        value, gradient = both(POINT)
        return float(value), numpy.asarray(gradient)

    return {"JAX, NumPy in and out": arrays, "JAX, its own arrays": lambda: jax.block_until_ready(both(point))}


def casadi_versions() -> dict[str, Run]:
    if (casadi := peer("casadi")) is None:
        return {}
    x = casadi.SX.sym("x", 10)
    value = casadi.sum1(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    function = casadi.Function("f", [x], [value, casadi.gradient(value, x)])
    buffer, run = function.buffer()
    out, gradient = numpy.empty(()), numpy.empty(10)
    buffer.set_arg(0, memoryview(POINT))
    buffer.set_res(0, memoryview(out))
    buffer.set_res(1, memoryview(gradient))

    def plain() -> Any:
        found = function(POINT)
        return float(found[0]), numpy.asarray(found[1]).ravel()

    given_once = lambda kept=(buffer, function): (run(), (out, gradient))[1]  # the buffer must live as long as `run`
    return {"CasADi": plain, "CasADi, buffers given once": given_once}


def torch_version() -> Run | None:
    if (torch := peer("torch")) is None:
        return None

    def run() -> Any:
        x = torch.tensor(POINT, requires_grad=True)
        value = rosenbrock(torch, x)
        return value.item(), torch.autograd.grad(value, x)[0]

    return run


def minimised(run: Any) -> float:
    """Seconds that BFGS takes from a standard start; the value and gradient are the inner loop."""
    start = time.perf_counter()
    found = scipy.optimize.minimize(run, POINT, jac=True, method="BFGS")
    assert found.fun < 10
    return time.perf_counter() - start


def measure(effort: Effort) -> list[Report]:
    versions: dict[str, Run | None] = {
        "wengert": wengert_version(),
        "wengert, gradient of the compiled function": wengert_gradient_of_compiled(),
        **jax_versions(), **casadi_versions(),
        "PyTorch eager": torch_version(),
    }  # fmt: skip
    contenders = {name: run for name, run in versions.items() if run is not None}
    first: dict[str, float] = {}
    for name, run in contenders.items():
        start = time.perf_counter()
        value, gradient = run()
        first[name] = time.perf_counter() - start
        numpy.testing.assert_allclose(float(value), scipy.optimize.rosen(POINT), rtol=1e-12)
        numpy.testing.assert_allclose(numpy.asarray(gradient), scipy.optimize.rosen_der(POINT), rtol=1e-9)
    times = race(contenders, effort, finer=4)
    ours = times["wengert"].least
    report = Report(
        "Value and gradient of the 10-dimensional Rosenbrock function, compiled",
        "Microseconds a call; the first call traces and compiles, after something else was compiled (with CasADi, "
        "building the function is not counted).",
        ("version", "first call ms", "least µs", "median µs", "times wengert"),
    )
    for name, found in times.items():
        report.add(
            name, milli(first[name]), figures(found.least * 1e6), figures(found.median * 1e6), ratio(found.least, ours)
        )
    report.targets.append(Target("a call in at most 1 µs", ours * 1e6, 1.0, "µs"))
    jax = "JAX, NumPy in and out"
    if jax in times:
        report.targets.append(Target("first call in half of JAX's time", first["wengert"] / first[jax], 0.5, "of it"))
    both = wg.jit(wg.value_and_grad(lambda x: rosenbrock(wnp, x)))
    both(POINT)
    minimised(both)
    seconds = min(minimised(both) for _ in range(effort.pick(3, 10)))
    report.about += f" SciPy's BFGS with wengert's function takes {milli(seconds)} ms."
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
