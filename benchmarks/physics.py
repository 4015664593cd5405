"""A physics-informed network: the residual of Burgers' equation, and the gradient of its mean square in the weights.

u_t + u u_x = nu u_xx on a network of 4 x 64 tanh units, nu = 0.01/pi (M. Raissi, P. Perdikaris, G. E. Karniadakis,
Physics-informed neural networks, J. Comp. Phys. 378, 2019). Three orders of derivatives in all.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Target, main, milli, peer, race, ratio

VISCOSITY = 0.01 / numpy.pi
SIZES = [2, 64, 64, 64, 64, 1]
RNG = numpy.random.default_rng(0)
WEIGHTS = [(RNG.normal(size=(m, n)) / numpy.sqrt(m), 0.1 * RNG.normal(size=n)) for m, n in itertools.pairwise(SIZES)]


def network(np: Any, weights: Any, t: Any, x: Any) -> Any:
    hidden = np.stack([t, x])
    for w, b in weights[:-1]:
        hidden = np.tanh(hidden @ w + b)
    w, b = weights[-1]
    return (hidden @ w + b)[0]


def loss(np: Any, library: Any, jet: Any, how: str) -> Any:
    """The mean square residual, written once for both libraries, its derivatives in one of three ways."""
    one, zero = numpy.ones(()), numpy.zeros(())

    def residual(weights: Any, t: Any, x: Any) -> Any:
        u = lambda t, x: network(np, weights, t, x)
        if how == "gradients":
            slope = library.grad(u, 1)
            return library.grad(u)(t, x) + u(t, x) * slope(t, x) - VISCOSITY * library.grad(slope, 1)(t, x)
        value, u_t = library.jvp(lambda t: u(t, x), (t,), (one,))
        if how == "series":
            _, (u_x, u_xx) = jet(lambda x: u(t, x), (x,), ([one, zero],))
        else:
            along = lambda x: library.jvp(lambda x: u(t, x), (x,), (one,))[1]
            u_x, u_xx = library.jvp(along, (x,), (one,))
        return u_t + value * u_x - VISCOSITY * u_xx

    def mean_square(weights: Any, points: Any) -> Any:
        return np.mean(library.vmap(lambda p: residual(weights, p[0], p[1]))(points) ** 2)

    return library.value_and_grad(mean_square)


WAYS = {"gradients": "gradients of gradients", "forward": "forward mode twice", "series": "series of order 2"}


def measure(effort: Effort) -> list[Report]:
    count = 256
    points = RNG.uniform(-1, 1, size=(count, 2))
    report = Report(
        f"Loss of a physics-informed network and its gradient in the weights, {count} points, float64",
        "Burgers' equation on a tanh network of 4 x 64, derivatives in x and t in three ways. Compiled values equal "
        "eager ones to 1e-10.",
        ("derivatives by", "wengert compiled ms", "wengert eager ms", "JAX jitted ms", "JAX over wengert"),
    )
    jax = peer("jax")
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    for how, words in WAYS.items():
        eager = loss(wnp, wg, wg.jet, how)
        compiled = wg.jit(eager)
        value, gradient = compiled(WEIGHTS, points)
        expected, exact = eager(WEIGHTS, points)
        numpy.testing.assert_allclose(value, expected, rtol=1e-10)
        largest = max(numpy.max(numpy.abs(g)) for pair in exact for g in pair)
        for mine, other in zip(gradient, exact, strict=True):
            for a, b in zip(mine, other, strict=True):
                numpy.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10 * largest)
        runs = {
            "compiled": lambda compiled=compiled: compiled(WEIGHTS, points),
            "eager": lambda eager=eager: eager(WEIGHTS, points),
        }
        if jax is not None:
            jitted = jax.jit(loss(jax.numpy, jax, peer("jax.experimental.jet").jet, how))
            weights = jax.tree_util.tree_map(jax.numpy.asarray, WEIGHTS)
            numpy.testing.assert_allclose(float(jitted(weights, points)[0]), value, rtol=1e-9)
            runs["jax"] = lambda jitted=jitted, weights=weights: jax.block_until_ready(jitted(weights, points))
        times = {name: time.least for name, time in race(runs, effort).items()}
        ours[how] = times["compiled"]
        cells = ["-", "-"]
        if jax is not None:
            theirs[how] = times["jax"]
            cells = [milli(times["jax"]), ratio(times["jax"], times["compiled"])]
        report.add(words, milli(times["compiled"]), milli(times["eager"]), *cells)
    if theirs:
        best = min(ours.values()) / min(theirs.values())
        report.targets.append(Target("the quickest way beside JAX's quickest", best, 1.0, "times"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
