"""A small convolutional network on 28 x 28 images, batch 64, float32: loss and gradient in all weights.

Two convolutions 3 x 3 (16 and 32 channels), each with a rectifier and a maximum over 2 x 2, and a linear layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as np

from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

BATCH = 64
SHAPES = ((16, 1, 3, 3), (16,), (32, 16, 3, 3), (32,), (32 * 7 * 7, 10), (10,))


def problem() -> tuple[list[Any], Any, Any]:
    rng = numpy.random.default_rng(0)
    weights = [(0.1 * rng.normal(size=shape)).astype(numpy.float32) for shape in SHAPES]
    images = rng.random((BATCH, 1, 28, 28)).astype(numpy.float32)
    return weights, images, numpy.eye(10, dtype=numpy.float32)[rng.integers(0, 10, BATCH)]


def entropy(np: Any, z: Any, y: Any) -> Any:
    """Mean cross-entropy against one-hot labels."""
    z = z - np.max(z, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - np.sum(z * y, axis=1))


def wengert_version() -> Run:
    given = problem()

    @wg.jit
    @wg.value_and_grad
    def both(p: Sequence[Any], x: Any, y: Any) -> Any:
        h = wg.nn.max_pool(np.maximum(wg.nn.conv(x, p[0], p[1], padding=1), 0), 2)
        h = wg.nn.max_pool(np.maximum(wg.nn.conv(h, p[2], p[3], padding=1), 0), 2)
        return entropy(np, h.reshape(BATCH, -1) @ p[4] + p[5], y)

    return lambda: both(*given)


def jax_version() -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    lax, jnp = jax.lax, jax.numpy
    given = jax.device_put(problem())

    def layer(x: Any, w: Any, b: Any) -> Any:
        h = lax.conv_general_dilated(x, w, (1, 1), "SAME") + b[:, None, None]
        return lax.reduce_window(jnp.maximum(h, 0), -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")

    def loss(p: Any, x: Any, y: Any) -> Any:
        h = layer(layer(x, p[0], p[1]), p[2], p[3])
        return entropy(jnp, h.reshape(BATCH, -1) @ p[4] + p[5], y)

    both = jax.jit(jax.value_and_grad(loss))
    return lambda: jax.block_until_ready(both(*given))


def torch_version() -> Run | None:
    if (torch := peer("torch")) is None:
        return None
    weights, images, onehot = problem()
    p = [torch.tensor(w, requires_grad=True) for w in weights]
    x, y = torch.tensor(images), torch.tensor(onehot)
    functional = torch.nn.functional

    def run() -> Any:
        for w in p:
            w.grad = None
        h = functional.max_pool2d(torch.relu(functional.conv2d(x, p[0], p[1], padding=1)), 2)
        h = functional.max_pool2d(torch.relu(functional.conv2d(h, p[2], p[3], padding=1)), 2)
        value = functional.cross_entropy(torch.addmm(p[5], h.reshape(BATCH, -1), p[4]), y)
        value.backward()
        return value, [w.grad for w in p]

    return run


def measure(effort: Effort) -> list[Report]:
    makers = {"wengert": wengert_version, "JAX": jax_version, "PyTorch eager": torch_version}
    return [
        contest(
            "Convolutional network on 28 x 28 images, batch 64, float32: loss and gradient",
            "Each library with its own convolution and pooling.",
            makers, effort, [Bar("JAX", 1.0), Bar("PyTorch eager", 1.3), Bar("JAX", 0.5, "first")], 1e-3, 1e-6,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
