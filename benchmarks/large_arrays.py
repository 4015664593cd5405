"""Reverse mode on 10^6 elements: gradient time over the NumPy forward pass, and memory against need.

Here arithmetic and memory traffic are measured, not calls. Each chain states how many arrays its derivative
rules need by hand: for every operation the smallest choice among its operands and result, the user's own
input not counted.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, figures, main, memory, milli, peer, race

SIZE = 1_000_000
POINT = numpy.random.default_rng(1).uniform(-2, 2, SIZE)
ARRAY = POINT.nbytes


class Chain(NamedTuple):
    text: str
    function: Callable[[Any, Any], Any]
    derivative: Callable[[Any], Any]
    needed: float
    """Arrays of the input's size that the rules need; a mask of booleans counts 1/8."""


def polynomial(np: Any, x: Any) -> Any:
    return np.sum(((0.3 * x + 1.0) * x - 2.0) * x + 0.5)  # keeps both factors 0.3x+1 and (...)x-2


def logistic(np: Any, x: Any) -> Any:
    return np.sum(1.0 / (1.0 + np.exp(-x)))  # keeps exp(-x), the denominator


def bell(np: Any, x: Any) -> Any:
    return np.sum(np.tanh(x) * np.exp(-x * x))  # keeps the tanh, the exp, and -x as a factor


def rational(np: Any, x: Any) -> Any:
    u = 1.0 + x * x
    return np.sum(np.log(u) / np.sqrt(u))  # keeps u, the logarithm (or the quotient), the root


def kinked(np: Any, x: Any) -> Any:
    return np.sum(np.where(x > 0.0, x * x, -x))  # keeps the mask


def waves(np: Any, x: Any) -> Any:
    for _ in range(10):
        x = np.sin(x)  # keeps its argument; the first is the user's
    return np.sum(x)


def waves_derivative(x: Any) -> Any:
    product = numpy.ones_like(x)
    for _ in range(10):
        product, x = product * numpy.cos(x), numpy.sin(x)
    return product


def rational_derivative(x: Any) -> Any:
    u = 1 + x * x
    return x * (2 - numpy.log(u)) / u**1.5


CHAINS = [
    Chain("((0.3x + 1)x - 2)x + 0.5", polynomial, lambda x: 0.9 * x**2 + 2 * x - 2, 2),
    Chain("1 / (1 + exp(-x))", logistic, lambda x: numpy.exp(-x) / (1 + numpy.exp(-x)) ** 2, 2),
    Chain(
        "tanh(x) * exp(-x * x)",
        bell,
        lambda x: numpy.exp(-x * x) * (1 / numpy.cosh(x) ** 2 - 2 * x * numpy.tanh(x)),
        3,
    ),
    Chain("log(u) / sqrt(u), u = 1 + x * x", rational, rational_derivative, 3),
    Chain("where(x > 0, x * x, -x)", kinked, lambda x: numpy.where(x > 0, 2 * x, -1.0), 0.125),
    Chain("sin, 10 times", waves, waves_derivative, 9),
]


def numpy_forward(chain: Chain) -> Run:
    return lambda: chain.function(numpy, POINT)


def wengert_gradient(chain: Chain) -> Run:
    gradient = wg.grad(functools.partial(chain.function, wnp))
    return lambda: gradient(POINT)


def torch_gradient(chain: Chain, threads: int | None = None) -> Run | None:
    """With PyTorch's own number of threads, which suffers on a busy machine, or a given one."""
    if (torch := peer("torch")) is None:
        return None
    x = torch.tensor(POINT, requires_grad=True)
    threads = threads or os.cpu_count()

    def run() -> Any:
        torch.set_num_threads(threads)  # costs nothing beside the milliseconds of the gradient
        return torch.autograd.grad(chain.function(torch, x), x)[0]

    return run


def autograd_gradient(chain: Chain) -> Run | None:
    if (autograd := peer("autograd")) is None:
        return None
    gradient = autograd.grad(functools.partial(chain.function, peer("autograd.numpy")))
    return lambda: gradient(POINT)


def jax_gradient(chain: Chain) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    gradient, x = jax.grad(functools.partial(chain.function, jax.numpy)), jax.numpy.asarray(POINT)
    return lambda: gradient(x).block_until_ready()


GRADIENTS = {
    "wengert": wengert_gradient,
    "PyTorch, all threads": torch_gradient,
    "PyTorch, 1 thread": functools.partial(torch_gradient, threads=1),
    "autograd": autograd_gradient,
    "JAX, not jitted": jax_gradient,
}


def wengert_record(chain: Chain) -> Any:
    """What is alive after the forward pass, the result and its graph."""
    x = wg.variable(POINT)
    return chain.function(wnp, x)


def autograd_record(chain: Chain) -> Any:
    return peer("autograd").make_vjp(functools.partial(chain.function, peer("autograd.numpy")))(POINT)


def time_report(effort: Effort) -> Report:
    names = [name for name, make in GRADIENTS.items() if make(CHAINS[0]) is not None]
    report = Report(
        f"Reverse mode on {SIZE:,} elements: time",
        "Least milliseconds of the gradient of the sum, and in brackets its ratio to the least time of NumPy's "
        "forward pass. NumPy, wengert and autograd use one thread; JAX uses all cores.",
        ("chain", "NumPy forward ms", *(f"{name} ms" for name in names)),
    )
    for chain in CHAINS:
        contenders = {name: run for name in names if (run := GRADIENTS[name](chain)) is not None}
        exact = chain.derivative(POINT)
        for run in contenders.values():
            numpy.testing.assert_allclose(numpy.asarray(run()), exact, rtol=1e-9, atol=1e-12)
        times = race({"forward": numpy_forward(chain), **contenders}, effort)
        forward = times["forward"].least
        cells = [f"{milli(times[name].least)} ({figures(times[name].least / forward)})" for name in names]
        report.add(chain.text, milli(forward), *cells)
        ratio = times["wengert"].least / forward
        report.targets.append(Target(f"{chain.text}: at most 3 times the NumPy forward pass", ratio, 3.0, "times"))
    return report


def memory_report() -> Report:
    with_autograd = peer("autograd") is not None
    columns = ["chain", "needed", "wengert keeps", "wengert peak"]
    report = Report(
        f"Reverse mode on {SIZE:,} elements: memory",
        "In arrays of the input's size, by tracemalloc. `needed` is the fewest that the rules of the chain can do "
        "with; `keeps` is what is alive after the forward pass, `peak` the most at any moment of the gradient, its "
        "result included.",
        (*columns, "autograd keeps", "autograd peak") if with_autograd else columns,
    )
    for chain in CHAINS:
        kept = memory(functools.partial(wengert_record, chain)).kept
        cells = [figures(chain.needed), arrays(kept), arrays(memory(wengert_gradient(chain)).peak)]
        if with_autograd:
            record, gradient = functools.partial(autograd_record, chain), autograd_gradient(chain)
            cells += [arrays(memory(record).kept), arrays(memory(gradient).peak)]
        report.add(chain.text, *cells)
        # The nodes themselves take a few kilobytes.
        report.targets.append(
            Target(f"{chain.text}: keeps no more than the rules need", kept / ARRAY, chain.needed + 0.01, "arrays")
        )
    return report


def arrays(count: int) -> str:
    """Bytes as a number of arrays of the input's size."""
    return f"{count / ARRAY:.2f}"


def measure(effort: Effort) -> list[Report]:
    return [time_report(effort), memory_report()]


if __name__ == "__main__":
    main(measure, __doc__)
