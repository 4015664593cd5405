"""What derivatives cost beside the function: Jacobians by mode, Hessian products, series of high order, Laplacians."""

from __future__ import annotations

import itertools
from typing import Any

import numpy
import scipy.linalg  # noqa: F401  (loads the BLAS of compiled programs, so that the limit below holds for it)
from threadpoolctl import threadpool_limits

import wengert as wg
import wengert.numpy as wnp

from .harness import Effort, Report, Run, Target, figures, main, micro, peer, race, ratio

SIZES = (8, 16, 32, 64, 128, 256, 512)
"""Outputs m of a function of WIDTH inputs."""
WIDTH = 64
ORDERS = (1, 2, 3, 5, 7, 10, 14, 20)
RNG = numpy.random.default_rng(0)


def layers(x: Any, first: Any, second: Any, last: Any) -> Any:
    """m outputs of n inputs."""
    return wnp.tanh(last @ wnp.tanh(second @ wnp.tanh(first @ x)))


def jacobians(effort: Effort) -> Report:
    """Both modes over m for fixed n: forward mode costs K n evaluations, reverse mode K m."""
    report = Report(
        f"Jacobian of a network of 3 layers, {WIDTH} inputs and m outputs, compiled",
        "Forward mode pushes one tangent for each of the n inputs, reverse mode pulls one cotangent for each of the m "
        "outputs. K n and K m are these costs in evaluations of the function at the same size; the lines cross near "
        "m = n. `auto` takes the mode with fewer columns or rows.",
        ("outputs m", "f µs", "forward µs", "reverse µs", "auto µs", "K n", "K m", "cheaper mode"),
    )
    worst = 0.0
    for m in SIZES[:: 2 if effort.quick else 1]:
        weights = [RNG.normal(size=size) / 8 for size in ((WIDTH, WIDTH), (WIDTH, WIDTH), (m, WIDTH))]
        x = RNG.normal(size=WIDTH)
        runs = {mode: wg.jit(wg.jacobian(layers, mode=mode)) for mode in ("forward", "reverse", "auto")}
        runs["f"] = wg.jit(layers)
        numpy.testing.assert_allclose(runs["forward"](x, *weights), runs["reverse"](x, *weights), rtol=1e-9, atol=1e-12)
        calls = {name: lambda g=g, x=x, weights=weights: g(x, *weights) for name, g in runs.items()}
        least = {name: time.least for name, time in race(calls, effort).items()}
        cheaper = min(("forward", "reverse"), key=least.__getitem__)
        worst = max(worst, least["auto"] / least[cheaper])
        report.add(
            str(m), *[micro(least[name]) for name in ("f", "forward", "reverse", "auto")],
            ratio(least["forward"], least["f"]), ratio(least["reverse"], least["f"]), cheaper,
        )  # fmt: skip
    report.targets.append(Target("the chosen mode beside the cheaper one, at most", worst, 2.0, "times"))
    return report


WIDTHS = [64, 128, 128, 10]


def network(np: Any, weights: Any, batch: Any) -> Any:
    """Mean square of the outputs of a tanh network on a batch."""
    hidden = batch
    for w in weights:
        hidden = np.tanh(hidden @ w)
    return np.mean(hidden * hidden)


def rosenbrock(np: Any, x: Any) -> Any:
    return np.sum(100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2)


def products(effort: Effort) -> Report:
    """Hessian-vector products beside gradients."""
    report = Report(
        "Hessian-vector product and gradient",
        "Forward mode over reverse mode. The last column is the ratio of the two for JAX, jitted.",
        ("function", "way", "gradient µs", "product µs", "ratio", "JAX ratio"),
    )
    weights = [RNG.normal(size=(m, n)) / numpy.sqrt(m) for m, n in itertools.pairwise(WIDTHS)]
    along = [RNG.normal(size=w.shape) for w in weights]
    batch = RNG.normal(size=(256, WIDTHS[0]))
    point, way = RNG.normal(size=10_000), RNG.normal(size=10_000)
    cases: dict[str, tuple[Any, Any, Any]] = {
        "tanh network, batch 256, weights": (lambda np, w: network(np, w, batch), weights, along),
        "Rosenbrock, 10,000 variables": (rosenbrock, point, way),
    }
    for name, (function, x, v) in cases.items():
        f = lambda x, function=function: function(wnp, x)
        gradient, product = wg.grad(f), lambda x, v, f=f: wg.hvp(f, (x,), (v,))
        theirs = jax_ratio(function, x, v, effort)
        for style, wrap in (("eager", lambda g: g), ("compiled", wg.jit)):
            g, h = wrap(gradient), wrap(product)
            times = race({"g": lambda g=g, x=x: g(x), "h": lambda h=h, x=x, v=v: h(x, v)}, effort)
            cost = times["h"].least / times["g"].least
            report.add(name, style, micro(times["g"].least), micro(times["h"].least), figures(cost), theirs)
            report.targets.append(Target(f"{name}, {style}: at most 4 gradients", cost, 4.0, "times"))
    return report


def jax_ratio(function: Any, x: Any, v: Any, effort: Effort) -> str:
    if (jax := peer("jax")) is None:
        return "-"
    x, v = (jax.tree_util.tree_map(jax.numpy.asarray, z) for z in (x, v))
    gradient = jax.grad(lambda x: function(jax.numpy, x))
    g, h = jax.jit(gradient), jax.jit(lambda x, v: jax.jvp(gradient, (x,), (v,))[1])
    times = race({"g": lambda: jax.block_until_ready(g(x)), "h": lambda: jax.block_until_ready(h(x, v))}, effort)
    return ratio(times["h"].least, times["g"].least)


def curve(np: Any, x: Any) -> Any:
    return np.tanh(np.sin(x) * x) / (1 + x * x) + np.exp(-x) * np.sqrt(1 + x)


def series(effort: Effort) -> Report:
    """Derivatives up to order K: one pass on series, and forward mode K times."""
    size = effort.pick(1_000, 10_000)
    report = Report(
        f"Derivatives of tanh(sin(x) x)/(1 + x^2) + exp(-x) sqrt(1 + x) up to order K, {size:,} points",
        "`jet` carries a truncated series, at a cost that is quadratic in K; forward mode nested K times doubles with "
        "every order (shown up to 7). The growth column is the time over that of order 10, divided by (K/10)^2.",
        ("order K", "jet, eager µs", "growth", "jet, compiled µs", "nested jvp, eager µs", "jax.experimental.jet µs"),
    )
    x, one = numpy.linspace(0.1, 0.9, size), numpy.ones(size)
    f = lambda x: curve(wnp, x)
    rows: dict[int, dict[str, float]] = {}
    jax = peer("jax")
    taylor = peer("jax.experimental.jet").jet if jax is not None else None
    for order in (1, 3, 5, 10) if effort.quick else ORDERS:
        given = [one, *[None] * (order - 1)]
        runs: dict[str, Run] = {"jet": lambda given=given: wg.jet(f, (x,), (given,))[1]}
        compiled = wg.jit(lambda x, given=given: wg.jet(f, (x,), (given,))[1])
        runs["compiled"] = lambda compiled=compiled: compiled(x)
        if order <= 7:
            nested = f
            for _ in range(order):
                nested = lambda x, g=nested: wg.jvp(g, (x,), (one,))[1]
            runs["nested"] = lambda nested=nested: nested(x)
            numpy.testing.assert_allclose(nested(x), runs["jet"]()[-1], rtol=1e-6, atol=1e-6)
        if jax is not None:
            zeros = [jax.numpy.zeros(size)] * (order - 1)
            given = ([one, *zeros],)
            jitted = jax.jit(lambda x, given=given: taylor(lambda x: curve(jax.numpy, x), (x,), given)[1])
            runs["jax"] = lambda jitted=jitted: jax.block_until_ready(jitted(x))
        numpy.testing.assert_allclose(runs["compiled"]()[-1], runs["jet"]()[-1], rtol=1e-6, atol=1e-6)
        rows[order] = {name: time.least for name, time in race(runs, effort).items()}
    for order, row in rows.items():
        growth = row["jet"] / rows[10]["jet"] / (order / 10) ** 2
        cells = [micro(row[name]) if name in row else "-" for name in ("compiled", "nested", "jax")]
        report.add(str(order), micro(row["jet"]), figures(growth), *cells)
    lower = 5 if 5 in rows else 3
    growth = rows[10]["jet"] / rows[lower]["jet"] / (10 / lower) ** 2
    text = f"from order {lower} to order 10: at most quadratic"
    report.targets.append(Target(text, growth, 1.0, "times (10 / K)^2"))
    return report


def laplacians(effort: Effort) -> Report:
    """The forward Laplacian and the Hessian diagonal beside Hessian-vector products with every unit vector."""
    report = Report(
        "Laplacian and Hessian diagonal of a tanh network, R^64 -> R",
        "Beside v.Hv for all unit vectors v, batched, forward mode over reverse mode. A ratio is that to the products.",
        ("points", "way", "laplacian µs", "ratio", "diagonal µs", "ratio", "Hessian products µs"),
    )
    weights = [RNG.normal(size=(64, 64)) / 8 for _ in range(3)]

    def f(x: Any) -> Any:
        for w in weights:
            x = wnp.tanh(w @ x)
        return wnp.sum(x * x)

    def by_products(x: Any) -> Any:
        return wg.vmap(lambda v: wg.hvp(f, (x,), (v,)) @ v)(numpy.eye(64))

    for count in (1, 64):
        x = RNG.normal(size=(count, 64)) if count > 1 else RNG.normal(size=64)
        ways = {"laplacian": wg.laplacian(f), "diagonal": wg.hessian_diagonal(f), "products": by_products}
        for style in ("eager", "compiled"):
            runs = {name: wg.vmap(g) if count > 1 else g for name, g in ways.items()}
            if style == "compiled":
                runs = {name: wg.jit(g) for name, g in runs.items()}
            exact = runs["products"](x)
            numpy.testing.assert_allclose(runs["diagonal"](x), exact, rtol=1e-8, atol=1e-10)
            numpy.testing.assert_allclose(runs["laplacian"](x), numpy.sum(exact, -1), rtol=1e-8, atol=1e-10)
            times = race({name: lambda g=g, x=x: g(x) for name, g in runs.items()}, effort)
            least = {name: time.least for name, time in times.items()}
            cells = [
                text
                for name in ("laplacian", "diagonal")
                for text in (micro(least[name]), ratio(least[name], least["products"]))
            ]
            report.add(str(count), style, *cells, micro(least["products"]))
            if style == "compiled":
                for name in ("laplacian", "diagonal"):
                    text = f"{name}, {count} points, compiled: at most half of the products"
                    report.targets.append(Target(text, least[name] / least["products"], 0.5, "of them"))
    return report


def measure(effort: Effort) -> list[Report]:
    # On one thread: matrices are small, and threads that wait for each other would be what is measured.
    with threadpool_limits(1):
        return [jacobians(effort), products(effort), series(effort), laplacians(effort)]


if __name__ == "__main__":
    main(measure, __doc__)
