"""A causal transformer block, batch 8, 128 tokens, width 256, 8 heads, float32: loss and gradient in all weights.

Layer norm before attention and before the perceptron. (A. Vaswani et al., Attention is all you need, 2017; R. Xiong
et al., On layer normalization in the transformer architecture, 2020.)
"""

from __future__ import annotations

from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

BATCH, TOKENS, WIDTH, HEADS = 8, 128, 256, 8
MASK = numpy.where(numpy.tril(numpy.ones((TOKENS, TOKENS), bool)), 0, -1e9).astype(numpy.float32)


def problem() -> tuple[dict[str, Any], Any]:
    rng = numpy.random.default_rng(0)
    dense = lambda n, m: (rng.normal(size=(n, m)) / n**0.5).astype(numpy.float32)
    weights: dict[str, Any] = {
        "query": dense(WIDTH, WIDTH), "key": dense(WIDTH, WIDTH), "value": dense(WIDTH, WIDTH),
        "out": dense(WIDTH, WIDTH), "up": dense(WIDTH, 4 * WIDTH), "down": dense(4 * WIDTH, WIDTH),
        "gain1": numpy.ones(WIDTH, numpy.float32), "shift1": numpy.zeros(WIDTH, numpy.float32),
        "gain2": numpy.ones(WIDTH, numpy.float32), "shift2": numpy.zeros(WIDTH, numpy.float32),
    }  # fmt: skip
    return weights, rng.normal(size=(BATCH, TOKENS, WIDTH)).astype(numpy.float32)


def loss_of(np: Any, p: Any, x: Any) -> Any:
    """Mean square of the block's result, with the array library passed in."""

    def norm(x: Any, gain: Any, shift: Any) -> Any:
        centred = x - np.mean(x, axis=-1, keepdims=True)
        return centred / np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * gain + shift

    def heads(z: Any) -> Any:
        return np.transpose(np.reshape(z, (BATCH, TOKENS, HEADS, WIDTH // HEADS)), (0, 2, 1, 3))

    h = norm(x, p["gain1"], p["shift1"])
    q, k, v = (heads(h @ p[name]) for name in ("query", "key", "value"))
    scores = q @ np.transpose(k, (0, 1, 3, 2)) * numpy.float32((WIDTH / HEADS) ** -0.5) + MASK
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    mixed = np.reshape(np.transpose(weights @ v, (0, 2, 1, 3)), (BATCH, TOKENS, WIDTH))
    x = x + mixed @ p["out"]
    h = norm(x, p["gain2"], p["shift2"]) @ p["up"]
    x = x + np.maximum(h, 0) @ p["down"]
    return np.mean(x * x)


def wengert_version() -> Run:
    given = problem()
    both = wg.jit(wg.value_and_grad(lambda p, x: loss_of(wnp, p, x)))
    return lambda: both(*given)


def jax_version() -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    given = jax.device_put(problem())
    both = jax.jit(jax.value_and_grad(lambda p, x: loss_of(jax.numpy, p, x)))
    return lambda: jax.block_until_ready(both(*given))


def torch_version() -> Run | None:
    """PyTorch with its fused attention and layer norm."""
    if (torch := peer("torch")) is None:
        return None
    weights, x = problem()
    p = {name: torch.tensor(w, requires_grad=True) for name, w in weights.items()}
    x0 = torch.tensor(x)
    functional = torch.nn.functional

    def run() -> Any:
        for w in p.values():
            w.grad = None
        x = x0
        h = functional.layer_norm(x, (WIDTH,), p["gain1"], p["shift1"])
        q, k, v = (
            (h @ p[name]).view(BATCH, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + mixed.transpose(1, 2).reshape(BATCH, TOKENS, WIDTH) @ p["out"]
        h = functional.layer_norm(x, (WIDTH,), p["gain2"], p["shift2"]) @ p["up"]
        x = x + torch.relu(h) @ p["down"]
        value = (x * x).mean()
        value.backward()
        return value, {name: w.grad for name, w in p.items()}

    return run


def measure(effort: Effort) -> list[Report]:
    makers = {"wengert": wengert_version, "JAX": jax_version, "PyTorch eager": torch_version}
    return [
        contest(
            "Causal transformer block, batch 8, 128 tokens, width 256, 8 heads, float32: loss and gradient",
            "wengert and JAX run the same code; PyTorch its fused attention and layer norm.",
            makers, effort, [Bar("JAX", 1.0), Bar("PyTorch eager", 1.0), Bar("JAX", 0.5, "first")], 1e-3, 1e-6,
        )
    ]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
