"""Softmax cross-entropy and layer normalisation on 1024 x 1024 numbers, forward and backward, one thread.

Compiled, each row goes through all its loops while it is in the cache: largest element, exponentials, their sum, the
gradient. (J. L. Ba, J. R. Kiros, G. E. Hinton, Layer normalization, 2016.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import one_processor
from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer


def cross_entropy(np: Any, x: Any, labels: Any) -> Any:
    shifted = x - np.max(x, axis=1, keepdims=True)
    logits = shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))
    return -np.mean(logits[np.arange(x.shape[0]), labels])


def layer_norm(np: Any, x: Any, scale: Any, shift: Any, weight: Any) -> Any:
    centred = x - np.mean(x, axis=-1, keepdims=True)
    spread = np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + 1e-5)
    return np.sum((centred / spread * scale + shift) * weight)


def torch_loss(name: str, torch: Any) -> Callable[..., Any]:
    functional = torch.nn.functional
    if name == "softmax cross-entropy":
        return functional.cross_entropy  # type: ignore[no-any-return]
    return lambda x, a, b, w: (functional.layer_norm(x, x.shape[-1:], a, b) * w).sum()


CASES: dict[str, tuple[Callable[..., Any], int]] = {
    "softmax cross-entropy": (cross_entropy, 1),
    "layer normalisation": (layer_norm, 3),
}
"""The loss, and how many of its arguments are differentiated."""


def operands(name: str, n: int, dtype: str) -> list[Any]:
    rng = numpy.random.default_rng(0)
    x = rng.normal(size=(n, n)).astype(dtype)
    if name == "softmax cross-entropy":
        return [x, rng.integers(0, n, n)]
    return [x, *rng.normal(size=(2, n)).astype(dtype), rng.normal(size=(n, n)).astype(dtype)]


def wengert_version(name: str, given: list[Any]) -> Run:
    loss, count = CASES[name]
    both = wg.jit(wg.value_and_grad(lambda *xs: loss(wnp, *xs), argnums=tuple(range(count))))
    return lambda: both(*given)


def jax_version(name: str, given: list[Any]) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    loss, count = CASES[name]
    both = jax.jit(jax.value_and_grad(lambda *xs: loss(jax.numpy, *xs), argnums=tuple(range(count))))
    own = [jax.numpy.asarray(x) for x in given]
    return lambda: jax.block_until_ready(both(*own))


def torch_version(name: str, given: list[Any]) -> Run | None:
    if (torch := peer("torch")) is None:
        return None
    loss, count = torch_loss(name, torch), CASES[name][1]
    own = [torch.tensor(x, requires_grad=k < count) for k, x in enumerate(given)]

    def run() -> Any:
        value = loss(*own)
        return value, torch.autograd.grad(value, own[:count])

    return run


def measure(effort: Effort) -> list[Report]:
    one_processor()
    n = effort.pick(256, 1024)
    reports = []
    for name in CASES:
        for dtype in ("float32", "float64"):
            given = operands(name, n, dtype)
            reports.append(contest(
                f"{name.capitalize()}, {n} x {n} {dtype}: value and gradients",
                "PyTorch calls its own kernel for each direction; the others see the formula.",
                {
                    "wengert": lambda name=name, given=given: wengert_version(name, given),
                    "JAX": lambda name=name, given=given: jax_version(name, given),
                    "PyTorch": lambda name=name, given=given: torch_version(name, given),
                },
                effort, [Bar("JAX", 1.0), Bar("PyTorch", 1.0), Bar("JAX", 0.5, "first")],
                rtol=1e-6 if dtype == "float64" else 1e-3,
            ))  # fmt: skip
    return reports


if __name__ == "__main__":
    main(measure, __doc__)
