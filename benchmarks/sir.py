"""The SIR epidemic model by RK4, 1000 steps: a loss over the whole course and its gradient in both rates.

s' = -b s i, i' = b s i - g i, r' = g i. (W. O. Kermack, A. G. McKendrick, 1927.) The C version integrates the
sensitivities of the state in both parameters along with it.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .c_reference import compiled, one_processor, pointer
from .contest import Bar, contest
from .harness import Effort, Report, Run, main, peer

RATES = numpy.array([0.5, 0.1])
START = numpy.array([0.99, 0.01, 0.0])
STEP, LEVEL = 0.1, 0.1
SOURCE = """
static void flow(const double *u, const double *p, double *d) {
  /* u: s, i, r and their derivatives in p[0] and p[1] */
  double s = u[0], i = u[1], si = s * i;
  d[0] = -p[0] * si; d[1] = p[0] * si - p[1] * i; d[2] = p[1] * i;
  for (int k = 0; k < 2; k++) {
    const double *v = u + 3 + 3 * k;
    double *w = d + 3 + 3 * k;
    double x = p[0] * (v[0] * i + s * v[1]) + (k == 0 ? si : 0), y = p[1] * v[1] + (k == 1 ? i : 0);
    w[0] = -x; w[1] = x - y; w[2] = y;
  }
}
double loss(const double *p, double *g, int steps, double h, double level) {
  double u[9] = {0.99, 0.01, 0, 0, 0, 0, 0, 0, 0}, total = 0;
  g[0] = g[1] = 0;
  for (int n = 0; n < steps; n++) {
    double a[9], b[9], c[9], d[9], v[9];
    flow(u, p, a);
    for (int k = 0; k < 9; k++) v[k] = u[k] + h / 2 * a[k];
    flow(v, p, b);
    for (int k = 0; k < 9; k++) v[k] = u[k] + h / 2 * b[k];
    flow(v, p, c);
    for (int k = 0; k < 9; k++) v[k] = u[k] + h * c[k];
    flow(v, p, d);
    for (int k = 0; k < 9; k++) u[k] += h / 6 * (a[k] + 2 * b[k] + 2 * c[k] + d[k]);
    double e = u[1] - level;
    total += e * e; g[0] += 2 * e * u[4]; g[1] += 2 * e * u[7];
  }
  return total;
}
"""


def flow(np: Any, u: Any, p: Any) -> Any:
    s, i = u[0], u[1]
    return np.stack([-p[0] * s * i, p[0] * s * i - p[1] * i, p[1] * i])


def loss(np: Any, scan: Any, p: Any, steps: int) -> Any:
    def step(u: Any, _: Any) -> Any:
        a = flow(np, u, p)
        b = flow(np, u + STEP / 2 * a, p)
        c = flow(np, u + STEP / 2 * b, p)
        d = flow(np, u + STEP * c, p)
        u = u + STEP / 6 * (a + 2 * b + 2 * c + d)
        return u, u[1]

    _, infected = scan(step, START, None, length=steps)
    return np.sum((infected - LEVEL) ** 2)


def wengert_version(steps: int) -> Run:
    both = wg.jit(wg.value_and_grad(lambda p: loss(wnp, wg.scan, p, steps)))
    return lambda: both(RATES)


def c_version(steps: int) -> Run | None:
    if (library := compiled(SOURCE)) is None:
        return None
    library.loss.restype = ctypes.c_double
    step, level = ctypes.c_double(STEP), ctypes.c_double(LEVEL)

    def run() -> Any:
        gradient = numpy.empty(2)
        return library.loss(pointer(RATES), pointer(gradient), steps, step, level), gradient

    return run


def jax_version(steps: int) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    both = jax.jit(jax.value_and_grad(lambda p: loss(jax.numpy, jax.lax.scan, p, steps)))
    given = jax.numpy.asarray(RATES)
    return lambda: jax.block_until_ready(both(given))


def measure(effort: Effort) -> list[Report]:
    one_processor()
    return [contest(
        "SIR by RK4, 1000 steps: loss and gradient in 2 parameters",
        "wengert and JAX run one step in a `scan` and go backward through it; C carries sensitivities forward.",
        {
            "wengert": lambda: wengert_version(1000),
            "C": lambda: c_version(1000),
            "JAX": lambda: jax_version(1000),
        },
        effort, [Bar("C", 2.0), Bar("JAX", 0.1), Bar("JAX", 0.5, "first")],
    )]  # fmt: skip


if __name__ == "__main__":
    main(measure, __doc__)
