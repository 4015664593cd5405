"""First compilation of small functions: from a Python function to its first result, nothing from a cache.

Each attempt compiles a function that is new to the library; the least of several counts. What a library does only
once in a process, like importing its compiler, is done before.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Target, figures, main, peer, ratio
from .rosenbrock import POINT, rosenbrock

HALF = 0.5
SIZES = (784, 256, 128, 10)
RNG = numpy.random.default_rng(0)


def chain(np: Any) -> Callable[..., Any]:
    return lambda x, y: np.tanh(x) * np.exp(-y)


def step(np: Any, grad: Callable[..., Any]) -> Callable[..., Any]:
    """A step of gradient descent of a network with two hidden layers and a softmax."""

    def loss(layers: Any, x: Any, y: Any) -> Any:
        for w, b in layers[:-1]:
            x = np.maximum(x @ w + b, 0)
        w, b = layers[-1]
        z = x @ w + b
        z = z - np.max(z, axis=1, keepdims=True)
        return -np.mean(np.sum(y * (z - np.log(np.sum(np.exp(z), axis=1, keepdims=True))), axis=1))

    def run(layers: Any, x: Any, y: Any) -> Any:
        slopes = grad(loss)(layers, x, y)
        return [(w - 0.1 * gw, b - 0.1 * gb) for (w, b), (gw, gb) in zip(layers, slopes, strict=True)]

    return run


def network() -> tuple[Any, Any, Any]:
    single = numpy.float32
    layers = [
        (RNG.normal(size=(a, b)).astype(single) * single(0.05), numpy.zeros(b, single))
        for a, b in itertools.pairwise(SIZES)
    ]
    labels = numpy.eye(10, dtype=single)[RNG.integers(0, 10, 64)]
    return layers, RNG.normal(size=(64, 784)).astype(single), labels


X, Y = RNG.normal(size=(2, 1_000_000))
WORK: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "tanh(x) exp(-y), float64": (lambda np, grad, both: chain(np), (X, Y)),
    "tanh(x) exp(-y), float32": (lambda np, grad, both: chain(np), (X.astype(numpy.float32), Y.astype(numpy.float32))),
    "Rosenbrock, 10 dimensions, value and gradient": (
        lambda np, grad, both: both(lambda x: rosenbrock(np, x)), (POINT,)
    ),
    "network 784-256-128-10, a step": (lambda np, grad, both: step(np, grad), network()),
}  # fmt: skip


def compile_wengert(make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    wg.jit(make(wnp, wg.grad, wg.value_and_grad)).lower(*args).program  # noqa: B018


def compile_jax(make: Callable[..., Any], args: tuple[Any, ...]) -> None:
    jax = peer("jax")
    jax.jit(make(jax.numpy, jax.grad, jax.value_and_grad)).lower(*args).compile()


def measure(effort: Effort) -> list[Report]:
    os.environ["WENGERT_CACHE"] = ""
    report = Report(
        "First compilation of small functions",
        "Milliseconds from a new Python function to machine code: tracing, passes, code generation.",
        ("function", "library", "least ms", "times wengert"),
    )
    compilers = {"wengert": compile_wengert}
    if peer("jax") is not None:
        compilers["JAX"] = compile_jax
    for compile in compilers.values():
        compile(lambda np, grad, both: grad(lambda x: np.sum(np.sin(x))), (POINT,))
    for name, (make, args) in WORK.items():
        least = dict.fromkeys(compilers, float("inf"))
        for _ in range(effort.pick(3, 8)):
            for library, compile in compilers.items():
                start = time.perf_counter()
                compile(make, args)
                least[library] = min(least[library], time.perf_counter() - start)
        for library, seconds in least.items():
            report.add(name, library, figures(seconds * 1e3), ratio(seconds, least["wengert"]))
        if "JAX" in least:
            share = least["wengert"] / least["JAX"]
            report.targets.append(Target(f"{name}: at most half of JAX's time", share, HALF, "times"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
