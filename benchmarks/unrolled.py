"""Compile time of Python loops unrolled into a graph: the gradient of many rounds of a body of six operations.

The time is that of the first call of a new function: tracing, passes, lowering, LLVM; nothing comes from a cache. The
bodies: scalars, 3 elements, 100 elements, and a Runge-Kutta step on a list of two scalars (58 operations a round,
Lotka-Volterra).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Target, figures, main, milli, peer

LIMIT = 3.0
"""Seconds for 1,000 rounds of a body of six operations."""
GROWTH = 2.2
"""How much longer twice the rounds may take."""


def waves(np: Any, rounds: int) -> Callable[..., Any]:
    def f(x: Any, a: Any) -> Any:
        for _ in range(rounds):
            x = np.tanh(a * np.sin(x) + 0.5 * np.cos(x))
        return np.sum(x)

    return f


def predators(np: Any, rounds: int) -> Callable[..., Any]:
    def rate(u: list[Any], p: Any) -> list[Any]:
        return [p[0] * u[0] - p[1] * u[0] * u[1], p[2] * u[0] * u[1] - p[3] * u[1]]

    def f(u: Any, p: Any) -> Any:
        u, h = [u[0], u[1]], 0.01
        for _ in range(rounds):
            k1 = rate(u, p)
            k2 = rate([a + h / 2 * b for a, b in zip(u, k1, strict=True)], p)
            k3 = rate([a + h / 2 * b for a, b in zip(u, k2, strict=True)], p)
            k4 = rate([a + h * b for a, b in zip(u, k3, strict=True)], p)
            u = [a + h / 6 * (b + 2 * c + 2 * d + e) for a, b, c, d, e in zip(u, k1, k2, k3, k4, strict=True)]
        return u[0] + u[1]

    return f


class Body(NamedTuple):
    """A loop: the function for a number of rounds, its arguments, and what part of the rounds to run."""

    name: str
    make: Callable[[Any, int], Callable[..., Any]]
    args: tuple[Any, ...]
    part: int = 1


BODIES = (
    Body("scalars", waves, (numpy.float64(0.3), numpy.float64(0.9))),
    Body("3 elements", waves, (numpy.array([0.1, 0.2, 0.3]), numpy.float64(0.9))),
    Body("100 elements", waves, (numpy.linspace(0.1, 1.0, 100), numpy.float64(0.9))),
    Body("RK4 on a list", predators, (numpy.array([1.0, 0.5]), numpy.array([1.1, 0.4, 0.1, 0.4])), part=10),
)


class First(NamedTuple):
    """Seconds of the first call and of a later one, and what it returned, flat."""

    seconds: float
    again: float
    found: numpy.ndarray


def first(build: Callable[[], Callable[[], Any]]) -> First:
    """Time a function's first call; building it counts too."""
    start = time.perf_counter()
    run = build()
    value, gradients = run()
    seconds = time.perf_counter() - start
    again = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        again.append(time.perf_counter() - start)
    return First(seconds, min(again), numpy.concatenate([numpy.ravel(numpy.asarray(x)) for x in (value, *gradients)]))


def wengert_version(body: Body, rounds: int) -> Callable[[], Any]:
    compiled = wg.jit(wg.value_and_grad(body.make(wnp, rounds), (0, 1)))
    return lambda: compiled(*body.args)


def jax_version(body: Body, rounds: int) -> Callable[[], Any]:
    jax = peer("jax")
    compiled = jax.jit(jax.value_and_grad(body.make(jax.numpy, rounds), (0, 1)))
    return lambda: jax.block_until_ready(compiled(*body.args))


def casadi_version(body: Body, rounds: int) -> Callable[[], Any]:
    casadi = peer("casadi")

    class np:
        sin, cos, tanh, sum = casadi.sin, casadi.cos, casadi.tanh, casadi.sum1

    symbols = [casadi.MX.sym(f"x{k}", max(numpy.size(x), 1)) for k, x in enumerate(body.args)]
    value = body.make(np, rounds)(*symbols)
    function = casadi.Function("f", symbols, [value, *[casadi.gradient(value, x) for x in symbols]])

    def run() -> Any:
        found = [numpy.array(x) for x in function(*body.args)]
        return found[0], found[1:]

    return run


def torch_version(body: Body, rounds: int) -> Callable[[], Any]:
    torch = peer("torch")
    torch._dynamo.reset()
    compiled = torch.compile(body.make(torch, rounds))
    args = [torch.tensor(x, requires_grad=True) for x in body.args]

    def run() -> Any:
        value = compiled(*args)
        return value.detach().numpy(), [g.numpy() for g in torch.autograd.grad(value, args)]

    return run


VERSIONS = {"wengert": wengert_version, "JAX": jax_version, "CasADi": casadi_version, "torch.compile": torch_version}
MODULES = {"JAX": "jax", "CasADi": "casadi", "torch.compile": "torch"}
SHORTER = {"JAX": 10, "torch.compile": 100}
"""By which part of the rounds a library is measured, so that a run takes minutes and not hours."""
REPEATS = {"wengert": 3}


def measure(effort: Effort) -> list[Report]:
    os.environ["WENGERT_CACHE"] = ""
    whole = effort.pick(100, 1000)
    report = Report(
        "Compile time of unrolled Python loops, value and gradient",
        "Seconds of the first call of a new function, for a number of rounds and for twice as many, and of a later "
        "call. Other libraries are measured on fewer rounds, as their times grow faster than in proportion.",
        ("body", "library", "rounds", "first call s", "of twice as many s", "growth", "later call ms"),
    )
    versions = {
        name: version
        for name, version in VERSIONS.items()
        if name == "wengert" or (peer(MODULES[name]) is not None and not (effort.quick and name == "torch.compile"))
    }
    for version in versions.values():  # what a library does once only is no part of this
        attempt(version, BODIES[0], 2)
    for body in BODIES:
        for name, version in versions.items():
            rounds = max(whole // body.part // SHORTER.get(name, 1), 2)
            repeats = range(REPEATS.get(name, 1))
            once = least([attempt(version, body, rounds) for _ in repeats])
            twice = least([attempt(version, body, 2 * rounds) for _ in repeats])
            if once is None or twice is None:
                report.add(body.name, name, f"{rounds:,}", "fails", "", "", "")
                continue
            if name == "wengert":
                reference, growth = once.found, twice.seconds / once.seconds
                if whole == 1000:
                    report.targets += [
                        Target(f"{body.name}: {rounds:,} rounds in at most {LIMIT:g} s", once.seconds, LIMIT, "s"),
                        Target(f"{body.name}: twice the rounds at most {GROWTH:g} times", growth, GROWTH, "times"),
                    ]
            elif SHORTER.get(name, 1) == 1:
                numpy.testing.assert_allclose(once.found, reference, rtol=1e-6, atol=1e-12)
            report.add(
                body.name, name, f"{rounds:,}", figures(once.seconds), figures(twice.seconds),
                figures(twice.seconds / once.seconds), milli(once.again),
            )  # fmt: skip
    return [report]


def least(found: list[First | None]) -> First | None:
    """The quickest of some attempts; None if one failed."""
    done = [one for one in found if one is not None]
    return min(done, key=lambda one: one.seconds) if len(done) == len(found) else None


def attempt(version: Callable[..., Any], body: Body, rounds: int) -> First | None:
    """A first call; None if the library cannot do it (torch.compile needs a C++ compiler)."""
    try:
        return first(lambda: version(body, rounds))
    except Exception as error:
        if version is wengert_version:
            raise
        print(f"{version.__name__} on {body.name}: {type(error).__name__}: {str(error)[:100]}")
        return None


if __name__ == "__main__":
    main(measure, __doc__)
