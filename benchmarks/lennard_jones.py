"""Lennard-Jones energy and forces of 1000 particles, all pairs, in plain NumPy with broadcasting.

V = sum over i < j of 4 (r^-12 - r^-6). (J. E. Lennard-Jones, Cohesion, 1931.) The forces are the gradient. An array of
all pairs would take 8 MB; compiled, none is ever stored.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import compiled, one_processor, pointer
from .contest import Bar, contest
from .harness import Effort, Report, Run, Target, main, peer

SOURCE = """
double energy(const double *x, double *f, int n) {
  double e = 0;
  for (int i = 0; i < n; i++) {
    double fx = 0, fy = 0, fz = 0, xi = x[3 * i], yi = x[3 * i + 1], zi = x[3 * i + 2];
    for (int j = 0; j < n; j++) {
      double dx = xi - x[3 * j], dy = yi - x[3 * j + 1], dz = zi - x[3 * j + 2];
      double r2 = dx * dx + dy * dy + dz * dz + (i == j), other = i != j;
      double i2 = 1 / r2, i6 = i2 * i2 * i2;
      e += other * 4 * (i6 * i6 - i6);
      double g = other * 4 * (6 * i6 - 12 * i6 * i6) * i2;
      fx += g * dx; fy += g * dy; fz += g * dz;
    }
    f[3 * i] = fx; f[3 * i + 1] = fy; f[3 * i + 2] = fz;
  }
  return 0.5 * e;
}
"""


def energy(np: Any, x: Any) -> Any:
    d = x[:, None, :] - x[None, :, :]
    itself = np.eye(x.shape[0])
    r6 = (np.sum(d**2, axis=-1) + itself) ** 3
    return 0.5 * np.sum((1 - itself) * 4 * (1 / r6**2 - 1 / r6))


def positions(side: int) -> Any:
    grid = numpy.mgrid[0:side, 0:side, 0:side].reshape(3, -1).T * 1.1
    return numpy.ascontiguousarray(grid + numpy.random.default_rng(0).normal(size=grid.shape) * 0.05)


def ours(x: Any) -> Any:
    return wg.jit(wg.value_and_grad(lambda x: energy(wnp, x)))


def wengert_version(x: Any) -> Run:
    both = ours(x)
    return lambda: both(x)


def c_version(x: Any) -> Run | None:
    if (library := compiled(SOURCE)) is None:
        return None
    library.energy.restype = ctypes.c_double

    def run() -> Any:
        forces = numpy.empty_like(x)
        return library.energy(pointer(x), pointer(forces), len(x)), forces

    return run


def jax_version(x: Any) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    both, given = jax.jit(jax.value_and_grad(lambda x: energy(jax.numpy, x))), jax.numpy.asarray(x)
    return lambda: jax.block_until_ready(both(given))


def torch_version(x: Any) -> Run | None:
    if (torch := peer("torch")) is None:
        return None
    own = torch.tensor(x, requires_grad=True)

    def run() -> Any:
        d = own[:, None, :] - own[None, :, :]
        itself = torch.eye(len(own), dtype=own.dtype)
        r6 = ((d**2).sum(-1) + itself) ** 3
        value = 0.5 * ((1 - itself) * 4 * (1 / r6**2 - 1 / r6)).sum()
        return value, torch.autograd.grad(value, own)[0]

    return run


def measure(effort: Effort) -> list[Report]:
    one_processor()
    x = positions(effort.pick(6, 10))
    report = contest(
        f"Lennard-Jones, {len(x)} particles, all pairs: energy and forces, one thread",
        "The energy is written with broadcasting; its gradient gives the forces. The C version computes both by hand.",
        {
            "wengert": lambda: wengert_version(x),
            "C": lambda: c_version(x),
            "JAX": lambda: jax_version(x),
            "PyTorch": lambda: torch_version(x),
        },
        effort, [Bar("C", 2.0), Bar("JAX", 0.1), Bar("JAX", 0.5, "first")],
    )  # fmt: skip
    arena = ours(x).lower(x).program.memory
    report.targets.append(Target("working memory under 1 MB", arena / 1e6, 1.0, "MB"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
