"""Mathematical functions in compiled code: throughput on 10^6 elements in one thread.

Each function alone: read an array, compute, write an array. The process is bound to one processor, which JAX and
wengert keep to.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, figures, main, milli, peer, race

SIZE = 1_000_000


class Case(NamedTuple):
    name: str
    low: float
    high: float
    operands: int = 1


CASES = [
    Case("exp", -10, 10),
    Case("exp2", -10, 10),
    Case("expm1", -5, 5),
    Case("log", 0.01, 10),
    Case("log2", 0.01, 10),
    Case("log10", 0.01, 10),
    Case("log1p", -0.9, 10),
    Case("sin", -10, 10),
    Case("cos", -10, 10),
    Case("tan", -10, 10),
    Case("arcsin", -1, 1),
    Case("arccos", -1, 1),
    Case("arctan", -10, 10),
    Case("sinh", -5, 5),
    Case("cosh", -5, 5),
    Case("tanh", -5, 5),
    Case("arcsinh", -10, 10),
    Case("arccosh", 1, 10),
    Case("arctanh", -1, 1),
    Case("cbrt", -10, 10),
    Case("arctan2", -10, 10, 2),
    Case("hypot", -10, 10, 2),
    Case("power", 0.1, 10, 2),
    Case("logaddexp", -10, 10, 2),
]


def bell(np: Any) -> Callable[[Any, Any], Any]:
    return lambda x, y: np.tanh(x) * np.exp(-y)


BELL = Case("tanh(x) * exp(-y)", -3, 3, 2)


def function(case: Case, np: Any) -> Callable[..., Any]:
    return bell(np) if case is BELL else getattr(np, case.name)  # type: ignore[no-any-return]


def operands(case: Case, dtype: str) -> list[Any]:
    rng = numpy.random.default_rng(1)
    return [rng.uniform(case.low, case.high, SIZE).astype(dtype) for _ in range(case.operands)]


def wengert_run(case: Case, dtype: str) -> Run:
    given, own = operands(case, dtype), function(case, wnp)
    compiled = wg.jit(lambda *xs: own(*xs))
    return lambda: compiled(*given)


def numpy_run(case: Case, dtype: str) -> Run:
    given, own = operands(case, dtype), function(case, numpy)
    return lambda: own(*given)


def jax_run(case: Case, dtype: str) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    given, compiled = [jax.numpy.asarray(x) for x in operands(case, dtype)], jax.jit(function(case, jax.numpy))
    return lambda: compiled(*given).block_until_ready()


VERSIONS = {"wengert": wengert_run, "NumPy": numpy_run, "JAX": jax_run}


def measure(effort: Effort) -> list[Report]:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # before any peer starts its threads
    names = [name for name in VERSIONS if name != "JAX" or peer("jax") is not None]
    report = Report(
        f"Mathematical functions on {SIZE:,} elements, one thread",
        "Least milliseconds, results written to memory; in brackets the ratio to wengert's.",
        ("function", "dtype", *(f"{name} ms" for name in names)),
    )
    for case in (*CASES, BELL):
        for dtype in ("float64", "float32"):
            contenders = {name: run for name in names if (run := VERSIONS[name](case, dtype)) is not None}
            exact = function(case, numpy)(*(x.astype("float64") for x in operands(case, dtype)))
            for run in contenders.values():
                numpy.testing.assert_allclose(numpy.asarray(run()), exact, rtol=1e3 * numpy.finfo(dtype).eps, atol=1e-6)
            times = race(contenders, effort, 3)
            ours = times["wengert"].least
            cells = [milli(ours), *(f"{milli(times[n].least)} ({figures(times[n].least / ours)})" for n in names[1:])]
            report.add(case.name, dtype, *cells)
            if case is BELL and "JAX" in times:
                text = f"{case.name}, {dtype}: not slower than JAX"
                report.targets.append(Target(text, ours / times["JAX"].least, 1.0, "times"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
