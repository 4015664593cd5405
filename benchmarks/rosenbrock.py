"""Value and gradient of the 10-dimensional Rosenbrock function, eager: slices, powers and sums of 9 elements.

f(x) = sum_i 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2        (H. H. Rosenbrock, Computer Journal 3, 1960)
"""

from __future__ import annotations

from typing import Any

import numpy
import scipy.optimize

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, main, micro, peer, race, ratio

POINT = numpy.linspace(-1.2, 1.3, 10)


def rosenbrock(np: Any, x: Any) -> Any:
    """The function as one writes it, with the array library passed in."""
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def numpy_version() -> Run:
    """The value alone: what the bare arithmetic costs."""
    return lambda: (rosenbrock(numpy, POINT), scipy.optimize.rosen_der(POINT))


def wengert_version() -> Run:
    both = wg.value_and_grad(lambda x: rosenbrock(wnp, x))
    return lambda: both(POINT)


def wengert_plain_numpy() -> Run:
    """The same with NumPy's own functions, which dispatch to wengert."""
    both = wg.value_and_grad(lambda x: rosenbrock(numpy, x))
    return lambda: both(POINT)


def torch_version() -> Run | None:
    if (torch := peer("torch")) is None:
        return None

    def run() -> Any:
        x = torch.tensor(POINT, requires_grad=True)
        value = rosenbrock(torch, x)
        return value.item(), torch.autograd.grad(value, x)[0]

    return run


def autograd_version() -> Run | None:
    if (autograd := peer("autograd")) is None:
        return None
    anp = peer("autograd.numpy")
    both = autograd.value_and_grad(lambda x: rosenbrock(anp, x))
    return lambda: both(POINT)


def jax_version(jitted: bool = False) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    both = jax.value_and_grad(lambda x: rosenbrock(jax.numpy, x))
    if jitted:
        both = jax.jit(both)
    point = jax.numpy.asarray(POINT)
    return lambda: jax.block_until_ready(both(point))


def measure(effort: Effort) -> list[Report]:
    report = Report(
        "Value and gradient of the 10-dimensional Rosenbrock function",
        "Eager: each call runs the Python function. Two rows are not competitors but marks to measure by: "
        "SciPy's hand-written gradient with the NumPy value, and JAX's compiled program.",
        ("library", "least µs", "median µs", "times wengert"),
    )
    versions = {
        "wengert": wengert_version(),
        "wengert, plain numpy functions": wengert_plain_numpy(),
        "PyTorch eager": torch_version(),
        "autograd": autograd_version(),
        "JAX, not jitted": jax_version(),
        "(JAX, jitted)": jax_version(jitted=True),
        "(NumPy and SciPy's rosen_der)": numpy_version(),
    }
    contenders = {name: run for name, run in versions.items() if run is not None}
    for run in contenders.values():
        value, gradient = run()
        numpy.testing.assert_allclose(float(value), scipy.optimize.rosen(POINT), rtol=1e-12)
        numpy.testing.assert_allclose(numpy.asarray(gradient), scipy.optimize.rosen_der(POINT), rtol=1e-9)
    times = race(contenders, effort)
    ours = times["wengert"].least
    for name, time in times.items():
        report.add(name, micro(time.least), micro(time.median), ratio(time.least, ours))
    report.targets.append(Target("value and gradient in at most 100 µs", ours * 1e6, 100.0, "µs"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
