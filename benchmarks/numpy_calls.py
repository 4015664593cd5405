"""`wengert.numpy` on plain NumPy arrays: what a call costs beyond NumPy's own.

Small arrays, so that the call and not the arithmetic is measured. autograd's wrapped NumPy, which does the
same job, stands beside it.
"""

from __future__ import annotations

import functools
import statistics
from typing import Any

import numpy

import wengert.numpy as wnp

from .harness import Effort, Report, Target, main, micro, peer, race

X = numpy.array([0.25, 0.5, 0.75])
Y = numpy.array([0.75, 0.5, 0.25])
MASK = numpy.array([True, False, True])
A = numpy.arange(9.0).reshape(3, 3)
SPD = A @ A.T + 10 * numpy.eye(3)
INDICES = numpy.array([2, 0])
LIMIT = 0.3e-6

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("sin", (X,), {}),
    ("exp", (X,), {}),
    ("sqrt", (X,), {}),
    ("negative", (X,), {}),
    ("absolute", (X,), {}),
    ("add", (X, Y), {}),
    ("multiply", (X, 2.0), {}),
    ("power", (X, 2), {}),
    ("maximum", (X, Y), {}),
    ("less", (X, Y), {}),
    ("where", (MASK, X, Y), {}),
    ("clip", (X, 0.3, 0.6), {}),
    ("sum", (X,), {}),
    ("sum", (A,), {"axis": 0}),
    ("mean", (A,), {"axis": 1}),
    ("max", (X,), {}),
    ("argmax", (X,), {}),
    ("cumsum", (X,), {}),
    ("reshape", (A, (9,)), {}),
    ("transpose", (A,), {}),
    ("expand_dims", (X, 0), {}),
    ("concatenate", ((X, Y),), {}),
    ("stack", ((X, Y),), {}),
    ("take", (X, INDICES), {}),
    ("sort", (X,), {}),
    ("matmul", (A, A), {}),
    ("dot", (X, Y), {}),
    ("outer", (X, Y), {}),
    ("einsum", ("ij,j->i", A, X), {}),
    ("zeros", (3,), {}),
    ("array", ((1.0, 2.0),), {}),
    ("linalg.norm", (X,), {}),
    ("linalg.solve", (SPD, X), {}),
    ("linalg.cholesky", (SPD,), {}),
]


def lookup(module: Any, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), module)


def describe(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    def text(value: Any) -> str:
        if isinstance(value, numpy.ndarray):
            return "f[" + ",".join(map(str, value.shape)) + "]" if value.dtype.kind == "f" else f"{value.dtype.kind}[3]"
        return "(" + ", ".join(map(text, value)) + ")" if isinstance(value, tuple) else repr(value)

    inner = [text(value) for value in args] + [f"{key}={value}" for key, value in kwargs.items()]
    return f"{name}({', '.join(inner)})"


def measure(effort: Effort) -> list[Report]:
    report = Report(
        "wengert.numpy on plain NumPy arrays",
        "µs per call on 3 elements or 3x3 matrices. `beyond NumPy` is the difference of the least times, "
        "`median difference` the median over the repeats of the difference within a repeat.",
        ("call", "NumPy µs", "wengert µs", "beyond NumPy", "median difference", "autograd beyond NumPy"),
    )
    anp = peer("autograd.numpy")
    worst, worst_call, extras = -1.0, "", []
    for name, args, kwargs in CALLS:
        modules = {"numpy": numpy, "wengert": wnp} | ({"autograd": anp} if anp is not None else {})
        contenders = {
            label: functools.partial(lookup(module, name), *args, **kwargs) for label, module in modules.items()
        }
        numpy.testing.assert_array_equal(contenders["wengert"](), contenders["numpy"]())
        times = race(contenders, effort, finer=10)
        plain, ours = times["numpy"], times["wengert"]
        beyond = ours.least - plain.least
        extras.append(beyond)
        middle = statistics.median(b - a for a, b in zip(plain.samples, ours.samples, strict=True))
        other = micro(times["autograd"].least - plain.least) if "autograd" in times else "-"
        call = describe(name, args, kwargs)
        report.add(call, micro(plain.least), micro(ours.least), micro(beyond), micro(middle), other)
        if beyond > worst:
            worst, worst_call = beyond, call
    slow = sum(extra > LIMIT for extra in extras)
    middle = statistics.median(extras)
    report.about += (
        f" Median of the {len(extras)} calls: {micro(middle)} µs beyond NumPy; {slow} above {micro(LIMIT)} µs."
    )
    report.targets.append(
        Target(f"each call within 0.3 µs of NumPy (worst: {worst_call})", worst * 1e6, LIMIT * 1e6, "µs")
    )
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
