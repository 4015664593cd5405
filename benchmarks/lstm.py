"""An LSTM of 128 units over 100 steps, batch 32, float32: loss and gradient in all weights.

(S. Hochreiter and J. Schmidhuber, Long short-term memory, 1997; gates in the order input, forget, cell, output.)
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

STEPS, BATCH, INPUTS, UNITS = 100, 32, 64, 128


def problem() -> tuple[tuple[Any, ...], Any]:
    rng = numpy.random.default_rng(0)
    scale = UNITS**-0.5
    weights = tuple(
        (scale * rng.uniform(-1, 1, shape)).astype(numpy.float32)
        for shape in ((INPUTS, 4 * UNITS), (UNITS, 4 * UNITS), (4 * UNITS,))
    )
    return weights, rng.normal(size=(STEPS, BATCH, INPUTS)).astype(numpy.float32)


def loss_of(np: Any, scan: Any, weights: Any, xs: Any) -> Any:
    """Mean square of the last hidden state; the inputs' products are one large product before the loop."""
    w, u, b = weights
    into = xs @ w + b
    logistic = lambda z: 0.5 * (1 + np.tanh(0.5 * z))

    def step(state: Any, z: Any) -> Any:
        h, c = state
        z = z + h @ u
        i, f, g, o = (z[:, k * UNITS : (k + 1) * UNITS] for k in range(4))
        c = logistic(f) * c + logistic(i) * np.tanh(g)
        return (logistic(o) * np.tanh(c), c), None

    zeros = np.zeros((BATCH, UNITS), numpy.float32)
    (h, _), _ = scan(step, (zeros, zeros), into)
    return np.mean(h * h)


def wengert_version() -> Run:
    weights, xs = problem()
    both = wg.jit(wg.value_and_grad(lambda p, x: loss_of(wnp, wg.scan, p, x)))
    return lambda: both(weights, xs)


def jax_version() -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    given = jax.device_put(problem())
    both = jax.jit(jax.value_and_grad(lambda p, x: loss_of(jax.numpy, jax.lax.scan, p, x)))
    return lambda: jax.block_until_ready(both(*given))


def torch_version() -> Run | None:
    """PyTorch's own LSTM, whose loop is in C++."""
    if (torch := peer("torch")) is None:
        return None
    (w, u, b), xs = problem()
    layer = torch.nn.LSTM(INPUTS, UNITS)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor(w.T))
        layer.weight_hh_l0.copy_(torch.tensor(u.T))
        layer.bias_ih_l0.copy_(torch.tensor(b))
        layer.bias_hh_l0.zero_()
    x = torch.tensor(xs)

    def run() -> Any:
        layer.zero_grad(set_to_none=True)
        _, (h, _) = layer(x)
        value = (h * h).mean()
        value.backward()
        return value, (layer.weight_ih_l0.grad.T, layer.weight_hh_l0.grad.T, layer.bias_ih_l0.grad)

    return run


def measure(effort: Effort) -> list[Report]:
    makers = {"wengert": wengert_version, "JAX": jax_version, "PyTorch eager": torch_version}
    return [
        contest(
            "LSTM, 128 units, 100 steps, batch 32, float32: loss and gradient",
            "wengert and JAX run the same cell in a `scan`; PyTorch its own layer.",
            makers, effort, [Bar("JAX", 1.0), Bar("PyTorch eager", 1.0), Bar("JAX", 0.5, "first")], 1e-3, 1e-6,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
