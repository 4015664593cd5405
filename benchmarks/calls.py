"""What a call of a compiled function costs beyond its arithmetic: `x * y + 1` on 3 elements, and what is like it.

NumPy arrays go in and NumPy arrays come out; JAX is measured with its own arrays as well, which spares it the way from
NumPy and back. CasADi's buffer call writes into arrays that were given to it once.
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg

from .harness import Effort, Report, Run, Target, figures, main, peer, race, ratio

X, Y = numpy.arange(3.0), numpy.linspace(1, 2, 3)
PARAMETERS = {"w": numpy.eye(3), "b": numpy.ones(3)}


def product(x: Any, y: Any) -> Any:
    return x * y + 1


def layer(p: Any, x: Any) -> Any:
    return {"out": p["w"] @ x + p["b"]}


def wengert_versions() -> dict[str, Run]:
    arrays, numbers, containers = wg.jit(product), wg.jit(product), wg.jit(layer)
    keywords = wg.jit(product)
    return {
        "wengert": lambda: arrays(X, Y),
        "wengert, a Python number": lambda: numbers(X, 2.5),
        "wengert, by keyword": lambda: keywords(X, y=Y),
        "wengert, dictionaries": lambda: containers(PARAMETERS, X),
    }


def jax_versions() -> dict[str, Run]:
    if (jax := peer("jax")) is None:
        return {}
    jitted, containers = jax.jit(product), jax.jit(layer)
    x, y = jax.numpy.asarray(X), jax.numpy.asarray(Y)
    return {
        "JAX, NumPy in and out": lambda: numpy.asarray(jitted(X, Y)),
        "JAX, its own arrays": lambda: jitted(x, y).block_until_ready(),
        "JAX, dictionaries, NumPy in and out": lambda: numpy.asarray(containers(PARAMETERS, X)["out"]),
    }


def casadi_versions() -> dict[str, Run]:
    if (casadi := peer("casadi")) is None:
        return {}
    x, y = casadi.SX.sym("x", 3), casadi.SX.sym("y", 3)
    function = casadi.Function("f", [x, y], [x * y + 1])
    buffer, run = function.buffer()
    out = numpy.empty(3)
    buffer.set_arg(0, memoryview(X))
    buffer.set_arg(1, memoryview(Y))
    buffer.set_res(0, memoryview(out))
    given_once = lambda kept=(buffer, function): (run(), out)[1]  # the buffer must live as long as `run`
    return {"CasADi": lambda: numpy.asarray(function(X, Y)), "CasADi, buffers given once": given_once}


def torch_versions() -> dict[str, Run]:
    if (torch := peer("torch")) is None:
        return {}
    x, y = torch.tensor(X), torch.tensor(Y)
    return {"PyTorch eager, its own arrays": lambda: product(x, y)}


def measure(effort: Effort) -> list[Report]:
    contenders = {
        **wengert_versions(), **jax_versions(), **casadi_versions(), **torch_versions(),
        "NumPy, not compiled": lambda: product(X, Y),
    }  # fmt: skip
    for name, run in contenders.items():
        found = run()
        found = found["out"] if isinstance(found, dict) else found
        wanted = X + 1 if "dictionaries" in name else product(X, 2.5) if "number" in name else product(X, Y)
        numpy.testing.assert_allclose(numpy.asarray(found).ravel(), wanted)
    times = race(contenders, effort, finer=4)
    ours = times["wengert"].least
    report = Report(
        "Call of a compiled function of two arrays of 3 elements",
        "Microseconds a call, the arithmetic included.",
        ("version", "least µs", "median µs", "times wengert"),
    )
    for name, time in times.items():
        report.add(name, figures(time.least * 1e6), figures(time.median * 1e6), ratio(time.least, ours))
    report.targets.append(Target("a call in at most 0.5 µs", ours * 1e6, 0.5, "µs"))
    if "JAX, NumPy in and out" in times:
        share = ours / times["JAX, NumPy in and out"].least
        report.targets.append(Target("a fifth of JAX's time, NumPy in and out", share, 0.2, "of it"))
        share = ours / times["JAX, its own arrays"].least
        report.targets.append(Target("a fifth of JAX's time with its own arrays", share, 0.2, "of it"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
