"""Jacobian of bundle-adjustment residuals: points seen by cameras with radial distortion.

A camera has a rotation vector, a translation, a focal length and two coefficients of distortion. A point is rotated
(Rodrigues), moved, projected and distorted; the residual is the distance to where it was seen. (The model of
S. Agarwal, N. Snavely, S. M. Seitz, R. Szeliski, Bundle adjustment in the large, ECCV 2010.)
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import numpy
from scipy.optimize._numdiff import approx_derivative, group_columns

import wengert as wg
import wengert.numpy as wnp

from .brusselator import casadi_values
from .harness import Effort, Report, Run, Target, main, milli, peer, race, ratio


class Scene(NamedTuple):
    """Unknowns, and for each observation its camera, its point and where it was seen."""

    cameras: Any
    points: Any
    camera: Any
    point: Any
    seen: Any


def scene(observations: int, cameras: int = 50, points: int = 3000) -> Scene:
    rng = numpy.random.default_rng(0)
    parameters = numpy.concatenate(
        [
            rng.normal(size=(cameras, 3)) * 0.1,
            rng.normal(size=(cameras, 3)) * 0.1 + [0, 0, -5],
            rng.uniform(400, 600, (cameras, 1)),
            rng.normal(size=(cameras, 2)) * 0.01,
        ],
        1,
    )
    seen_by, which = rng.integers(0, cameras, observations), rng.integers(0, points, observations)
    return Scene(parameters, rng.normal(size=(points, 3)), seen_by, which, rng.normal(size=(observations, 2)))


def residuals(np: Any, cameras: Any, points: Any, scene: Scene) -> Any:
    """All residuals at once, of shape (observations, 2), with the array library passed in."""
    c, p = cameras[scene.camera], points[scene.point]
    angle = np.sqrt(np.sum(c[:, :3] ** 2, 1))[:, None]
    axis = c[:, :3] / angle
    cross = np.stack(
        [
            axis[:, 1] * p[:, 2] - axis[:, 2] * p[:, 1],
            axis[:, 2] * p[:, 0] - axis[:, 0] * p[:, 2],
            axis[:, 0] * p[:, 1] - axis[:, 1] * p[:, 0],
        ],
        1,
    )
    along = np.sum(axis * p, 1)[:, None] * axis
    q = np.cos(angle) * p + np.sin(angle) * cross + (1 - np.cos(angle)) * along + c[:, 3:6]
    xy = -q[:, :2] / q[:, 2:]
    square = np.sum(xy * xy, 1)[:, None]
    distortion = 1 + c[:, 7:8] * square + c[:, 8:9] * square * square
    return c[:, 6:7] * distortion * xy - scene.seen


def one_residual(np: Any, c: Any, p: Any, seen: Any) -> Any:
    """The residual of one observation, for the libraries that work on blocks."""
    angle = np.sqrt(np.sum(c[:3] ** 2))
    axis = c[:3] / angle
    along = np.sum(axis * p) * axis
    q = np.cos(angle) * p + np.sin(angle) * np.cross(axis, p) + (1 - np.cos(angle)) * along + c[3:6]
    xy = -q[:2] / q[2]
    square = np.sum(xy * xy)
    return c[6] * (1 + c[7] * square + c[8] * square * square) * xy - seen


def wengert_version(s: Scene, compile: bool = True) -> Run:
    jacobian = wg.sparse_jacobian(lambda unknowns: residuals(wnp, *unknowns, s), compile=compile)
    return lambda: jacobian((s.cameras, s.points))


def jax_blocks(s: Scene, mode: str) -> Run | None:
    """The dense blocks of 2 x 9 and 2 x 3 numbers of all observations, by `vmap`; not put into a matrix."""
    if (jax := peer("jax")) is None:
        return None
    transform = jax.jacfwd if mode == "forward" else jax.jacrev

    def block(c: Any, p: Any, seen: Any) -> Any:
        return transform(lambda c, p: one_residual(jax.numpy, c, p, seen), argnums=(0, 1))(c, p)

    blocks = jax.jit(lambda cameras, points, i, j, seen: jax.vmap(block)(cameras[i], points[j], seen))
    arguments = [jax.numpy.asarray(x) for x in s]
    return lambda: jax.block_until_ready(blocks(*arguments))


def casadi_version(s: Scene) -> Run | None:
    """All residuals as one scalar graph, differentiated symbolically; the values in CasADi's own memory."""
    if (casadi := peer("casadi")) is None:
        return None
    c, p, seen = casadi.SX.sym("c", 9), casadi.SX.sym("p", 3), casadi.SX.sym("seen", 2)
    angle = casadi.norm_2(c[:3])
    axis = c[:3] / angle
    along = casadi.dot(axis, p) * axis
    q = casadi.cos(angle) * p + casadi.sin(angle) * casadi.cross(axis, p) + (1 - casadi.cos(angle)) * along + c[3:6]
    xy = -q[:2] / q[2]
    square = casadi.dot(xy, xy)
    one = casadi.Function("one", [c, p, seen], [c[6] * (1 + c[7] * square + c[8] * square**2) * xy - seen])
    cameras, points = casadi.SX.sym("cameras", *s.cameras.T.shape), casadi.SX.sym("points", *s.points.T.shape)
    rows = [
        one(cameras[:, int(i)], points[:, int(j)], casadi.DM(z))
        for i, j, z in zip(s.camera, s.point, s.seen, strict=True)
    ]
    jacobian = casadi.jacobian(casadi.vertcat(*rows), casadi.veccat(cameras, points))
    function = casadi.Function("jacobian", [cameras, points], [jacobian])
    return casadi_values(casadi, function, numpy.ravel(s.cameras), numpy.ravel(s.points))


def scipy_version(s: Scene) -> Run:
    """Grouped finite differences, with the pattern and the groups given."""
    pattern = wg.sparsity(lambda unknowns: residuals(wnp, *unknowns, s), (s.cameras, s.points))
    structure = (pattern, group_columns(pattern))
    split = s.cameras.size

    def flat(x: Any) -> Any:
        return residuals(numpy, x[:split].reshape(s.cameras.shape), x[split:].reshape(s.points.shape), s).ravel()

    x = numpy.concatenate([s.cameras.ravel(), s.points.ravel()])
    return lambda: approx_derivative(flat, x, method="2-point", sparsity=structure)


def measure(effort: Effort) -> list[Report]:
    s = scene(effort.pick(2_000, 20_000))
    started = time.perf_counter()
    ours = wengert_version(s)
    exact = ours()
    first = time.perf_counter() - started
    report = Report(
        f"Jacobian of bundle adjustment, 2 x {len(s.seen):,} observations",
        f"{len(s.cameras)} cameras, {len(s.points):,} points, {exact.nnz:,} entries. wengert gives a SciPy matrix, JAX "
        "dense blocks for each observation, CasADi the values alone, in its own memory. wengert's first call, with "
        f"pattern, colouring and compiling, took {first:.2f} s. wengert and CasADi use one thread, JAX all cores.",
        ("library", "least ms", "median ms", "times wengert"),
    )
    versions: dict[str, Run | None] = {
        "wengert": ours,
        "wengert, not compiled": wengert_version(s, False),
        "CasADi": casadi_version(s),
        "JAX, vmap of jacrev": jax_blocks(s, "reverse"),
        "JAX, vmap of jacfwd": jax_blocks(s, "forward"),
        "SciPy, grouped finite differences": scipy_version(s),
    }
    contenders = {name: run for name, run in versions.items() if run is not None}
    if "JAX, vmap of jacrev" in contenders:
        blocks = numpy.concatenate([numpy.ravel(block) for block in contenders["JAX, vmap of jacrev"]()])
        numpy.testing.assert_allclose(
            numpy.sort(blocks[blocks != 0]), numpy.sort(exact.data[exact.data != 0]), rtol=1e-6
        )
    times = race(contenders, effort)
    least = times["wengert"].least
    for name, taken in times.items():
        report.add(name, milli(taken.least), milli(taken.median), ratio(taken.least, least))
    if "CasADi" in times:
        report.targets.append(Target("faster than CasADi", least / times["CasADi"].least, 1.0, "of its time"))
    jax_times = [taken.least for name, taken in times.items() if name.startswith("JAX")]
    if jax_times:
        report.targets.append(Target("faster than JAX's blocks", least / min(jax_times), 1.0, "of its time"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
