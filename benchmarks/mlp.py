"""A training step of a perceptron 784-256-128-10, float32: loss, gradient and update by SGD and by Adam.

(D. P. Kingma and J. Ba, Adam: a method for stochastic optimization, 2015.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .contest import Bar, Maker, contest
from .harness import Effort, Report, Run, main, peer

SIZES = (784, 256, 128, 10)
RATE = 1e-3


def problem(batch: int) -> tuple[list[Any], Any, Any]:
    rng = numpy.random.default_rng(0)
    parameters: list[Any] = []
    for n, m in itertools.pairwise(SIZES):
        parameters += [(rng.normal(size=(n, m)) / n**0.5).astype(numpy.float32), numpy.zeros(m, numpy.float32)]
    images = rng.random((batch, SIZES[0])).astype(numpy.float32)
    return parameters, images, numpy.eye(10, dtype=numpy.float32)[rng.integers(0, 10, batch)]


def loss_of(np: Any, parameters: Sequence[Any], x: Any, y: Any) -> Any:
    """Mean cross-entropy against one-hot labels, with the array library passed in."""
    for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        x = np.maximum(x @ w + b, 0)
    z = x @ parameters[-2] + parameters[-1]
    z = z - np.max(z, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(z * y, axis=1))


def sgd(np: Any, value_and_grad: Any) -> Any:
    def step(parameters: Any, state: Any, x: Any, y: Any) -> Any:
        value, gradient = value_and_grad(lambda p: loss_of(np, p, x, y))(parameters)
        return value, [p - RATE * g for p, g in zip(parameters, gradient, strict=True)], state

    return step


def adam(np: Any, value_and_grad: Any) -> Any:
    def step(parameters: Any, state: Any, x: Any, y: Any) -> Any:
        value, gradient = value_and_grad(lambda p: loss_of(np, p, x, y))(parameters)
        first = [0.9 * m + 0.1 * g for m, g in zip(state[0], gradient, strict=True)]
        second = [0.999 * v + 0.001 * g * g for v, g in zip(state[1], gradient, strict=True)]
        moved = [
            p - RATE * (m / 0.1) / (np.sqrt(v / 0.001) + 1e-8)
            for p, m, v in zip(parameters, first, second, strict=True)
        ]
        return value, moved, (first, second)

    return step


def start(parameters: Sequence[Any], rule: Any) -> Any:
    zeros = [numpy.zeros_like(p) for p in parameters]
    return () if rule is sgd else (zeros, zeros)


def wengert_version(rule: Any, batch: int) -> Maker:
    def make() -> Run:
        parameters, x, y = problem(batch)
        state = start(parameters, rule)
        step = wg.jit(rule(wnp, wg.value_and_grad))
        return lambda: step(parameters, state, x, y)

    return make


def jax_version(rule: Any, batch: int) -> Maker:
    def make() -> Run | None:
        if (jax := peer("jax")) is None:
            return None
        parameters, x, y = problem(batch)
        given = jax.device_put((parameters, start(parameters, rule), x, y))
        step = jax.jit(rule(jax.numpy, jax.value_and_grad))
        return lambda: jax.block_until_ready(step(*given))

    return make


def torch_version(rule: Any, batch: int) -> Maker:
    """PyTorch with its own layers and its own optimizers, fused where it has that."""

    def make() -> Run | None:
        if (torch := peer("torch")) is None:
            return None
        values, images, onehot = problem(batch)
        parameters = [torch.tensor(p, requires_grad=True) for p in values]
        x, y = torch.tensor(images), torch.tensor(onehot)
        if rule is sgd:
            optimizer = torch.optim.SGD(parameters, RATE, fused=True)
        else:
            optimizer = torch.optim.Adam(parameters, RATE, fused=True)
        originals = [p.detach().clone() for p in parameters]

        def run() -> Any:
            with torch.no_grad():
                torch._foreach_copy_(parameters, originals)
            optimizer.zero_grad(set_to_none=True)
            h = x
            for w, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
                h = torch.relu(torch.addmm(b, h, w))
            z = torch.addmm(parameters[-1], h, parameters[-2])
            value = torch.nn.functional.cross_entropy(z, y)
            value.backward()
            if rule is adam:
                optimizer.state.clear()
            optimizer.step()
            moved = [p.detach().clone() for p in parameters]
            if rule is sgd:
                return value, moved
            return (
                value,
                moved,
                [
                    [optimizer.state[p]["exp_avg"] for p in parameters],
                    [optimizer.state[p]["exp_avg_sq"] for p in parameters],
                ],
            )

        return run

    return make


def measure(effort: Effort) -> list[Report]:
    reports = []
    for batch in (64, 1024):
        for rule in (sgd, adam):
            # The first step of Adam is 1e-3 times the sign of the gradient, also where that is but rounding.
            tolerance = 1e-6 if rule is sgd else 2e-4
            makers = {
                "wengert": wengert_version(rule, batch),
                "JAX": jax_version(rule, batch),
                "PyTorch eager": torch_version(rule, batch),
            }
            reports.append(
                contest(
                    f"Perceptron 784-256-128-10, batch {batch}, float32: step of {'SGD' if rule is sgd else 'Adam'}",
                    "Loss, gradient and new parameters. PyTorch copies the parameters back before every step.",
                    makers, effort, [Bar("JAX", 1.0), Bar("PyTorch eager", 1.0), Bar("JAX", 0.5, "first")],
                    1e-4, tolerance,
                )
            )  # fmt: skip
    return reports


if __name__ == "__main__":
    main(measure, __doc__)
