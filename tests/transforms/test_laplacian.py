"""Laplacians and Hessian diagonals: every operation against forward mode twice, containers, loops, cost, errors."""

from __future__ import annotations

import importlib
import pkgutil

import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors
import wengert.numpy as wnp
import wengert.ops
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry

for module in pkgutil.walk_packages(wengert.ops.__path__, "wengert.ops."):
    importlib.import_module(module.name)

RNG = np.random.default_rng(11)


def real_samples(name):
    """Samples whose operands to move are real doubles, with two directions for each."""
    if registry[name].not_differentiable is not None:
        return
    for primitive, operands in registry[name].samples(np.random.default_rng(0)):
        moving = [k for k, x in enumerate(operands) if np.asarray(x).dtype.kind in "fc"]
        if moving and all(np.asarray(operands[k]).dtype == np.float64 for k in moving):
            yield primitive, operands, moving


@pytest.mark.parametrize("name", [n for n in registry if next(real_samples(n), None) is not None])
def test_every_operation_agrees_with_forward_mode_twice(name):
    """On a plane through the sample: f(x + s u + t v), whose Laplacian in (s, t) is f_uu + f_vv."""
    for primitive, operands, moving in real_samples(name):
        rng = np.random.default_rng(2)
        ways = [{k: 0.3 * rng.normal(size=np.shape(operands[k])) for k in moving} for _ in range(2)]

        def plane(z, primitive=primitive, operands=operands, moving=moving, ways=ways):
            full = list(operands)
            for k in moving:
                full[k] = operands[k] + z[0] * ways[0][k] + z[1] * ways[1][k] + z[0] * z[1] * ways[0][k]
            outs = bind(primitive, *full)
            return [o for o in (outs if primitive.multiple else [outs]) if o.dtype.kind in "fc"]

        origin = np.zeros(2)
        seconds = []
        for e in np.eye(2):
            slope = lambda z, e=e: wg.jvp(plane, (z,), (e,))[1]
            seconds.append(wg.jvp(slope, (origin,), (e,))[1])
        found = wg.laplacian(plane)(origin)
        diagonal = wg.hessian_diagonal(plane)(origin)
        for mine, own, uu, vv in zip(found, diagonal, *seconds, strict=True):
            scale = max(1.0, float(np.max(np.abs(uu) + np.abs(vv), initial=0.0)))
            np.testing.assert_allclose(mine, uu + vv, rtol=1e-8, atol=1e-9 * scale)
            np.testing.assert_allclose(own[..., 0], uu, rtol=1e-8, atol=1e-9 * scale)
            np.testing.assert_allclose(own[..., 1], vv, rtol=1e-8, atol=1e-9 * scale)
        if not found:
            continue
        weights = [np.random.default_rng(k).normal(size=np.shape(uu)) for k, uu in enumerate(seconds[0])]

        def number(z, plane=plane, weights=weights):
            parts = [np.sum(np.real(o) * w) for o, w in zip(plane(z), weights, strict=True)]
            return sum(parts[1:], parts[0])

        expected = [sum(np.sum(np.real(o) * w) for o, w in zip(s, weights, strict=True)) for s in seconds]
        scale = max(1.0, *(abs(e) for e in expected))
        np.testing.assert_allclose(wg.hessian_diagonal(number)(origin), expected, rtol=1e-7, atol=1e-8 * scale)


def orbitals(p):
    return {
        "u": np.sum(np.tanh(p["a"] @ p["a"].T) * p["b"][0] ** 2),
        "v": np.exp(p["b"]) / np.sqrt(np.sum(p["a"] ** 2)),
        "w": p["b"] * 2,
    }


P = {"a": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2)}


def trace_of_hessian(f, p):
    second = wg.jacobian(wg.jacobian(f))(p)
    total = 0.0
    for key in p:
        own = second[key][key]
        size = p[key].size
        flat = own.reshape(*own.shape[: own.ndim - 2 * p[key].ndim], size, size)
        total = total + np.trace(flat, axis1=-2, axis2=-1)
    return total


@pytest.mark.parametrize("run", [lambda f: f, wg.jit, lambda f: lambda p: wg.trace(f, p)(p)])
def test_containers_of_inputs_and_outputs(run):
    found = run(wg.laplacian(orbitals))(P)
    diagonal = run(wg.hessian_diagonal(orbitals))(P)
    for key in ("u", "v", "w"):
        expected = trace_of_hessian(lambda p, key=key: orbitals(p)[key], P)
        np.testing.assert_allclose(found[key], expected, rtol=1e-10, atol=1e-12)
        summed = np.sum(diagonal[key]["a"], (-2, -1)) + np.sum(diagonal[key]["b"], -1)
        np.testing.assert_allclose(summed, expected, rtol=1e-10, atol=1e-12)
    assert diagonal["v"]["a"].shape == (2, 3, 2) and found["w"].tolist() == [0.0, 0.0]


PROGRAMS = {
    "scan": lambda x: np.sum(wg.scan(lambda c, t: (np.sin(c) * t + x, c * x), x, np.arange(3.0))[1]),
    "scan over x": lambda x: wg.scan(lambda c, t: (c * t + 1, c), 0.5, x)[0],
    "while": lambda x: np.sum(wg.while_loop(lambda v: np.sum(v * v) > 0.1, lambda v: np.sin(v) * 0.8 * x, x)),
    "cond": lambda x: wg.cond(x[0] > 0, lambda v: np.sum(np.sin(v) * v), lambda v: v[1], x),
    "gradient inside": lambda x: np.sum(wg.grad(lambda y: np.sum(np.sin(y * x) * y))(x)),
    "wave function": lambda x: np.linalg.slogdet(np.exp(-((x[:, None] - np.arange(3.0)) ** 2)))[1],
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_branches_and_linear_algebra(name):
    f = PROGRAMS[name]
    x = np.array([0.6, 0.9, 0.4])
    h = wg.hessian(f)(x)
    for run in (lambda f: f, wg.jit):
        np.testing.assert_allclose(run(wg.laplacian(f))(x), np.trace(h), rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(run(wg.hessian_diagonal(f))(x), np.diag(h), rtol=1e-9, atol=1e-11)
    batch = np.stack([x, x + 0.05])
    expected = [np.trace(wg.hessian(f)(row)) for row in batch]
    np.testing.assert_allclose(wg.vmap(wg.laplacian(f))(batch), expected, rtol=1e-9, atol=1e-11)


def test_derivatives_of_the_laplacian():
    f = lambda x: np.sum(np.sin(x) * x[0])
    x = np.array([0.3, 0.8, -0.4])
    found = wg.grad(wg.laplacian(f))(x)
    expected = wg.grad(lambda x: np.sum(wnp.diag(wg.hessian(f)(x))))(x)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    twice = wg.laplacian(wg.laplacian(lambda x: np.sum(x**4) * x[0]))(x)  # the biharmonic operator
    np.testing.assert_allclose(twice, 168 * x[0], rtol=1e-10)


def test_several_arguments_scalars_and_nothing_to_differentiate():
    f = lambda x, y: x**2 * y**3
    np.testing.assert_allclose(wg.laplacian(f, (0, 1))(2.0, 3.0), 2 * 27 + 4 * 18)
    np.testing.assert_allclose(wg.laplacian(f, 1)(2.0, 3.0), 4 * 18)
    found = wg.hessian_diagonal(f, (0, 1))(2.0, 3.0)
    np.testing.assert_allclose(found, [2 * 27, 4 * 18])
    assert wg.laplacian(lambda x: np.floor(x))(0.5) == 0.0 and wg.laplacian(lambda x: 3.0)(0.5) == 0.0
    assert wg.laplacian(np.sum)(np.zeros(0)) == 0.0
    assert wg.laplacian(np.tanh)(np.float32(0.5)).dtype == np.float32


def work(f, x):
    """Multiplications in the matrix products of a graph."""
    total = 0
    for node in wg.optimize(wg.trace(f, x)).all_nodes():
        if node.primitive.name == "matmul":
            total += int(np.prod(node.outputs[0].shape)) * node.inputs[0].shape[-1]
    return total


def test_it_does_half_the_work_of_nested_products_with_unit_vectors():
    weights = [RNG.normal(size=(64, 64)) / 8 for _ in range(3)]

    def network(x):
        for w in weights:
            x = np.tanh(w @ x)
        return np.sum(x)

    def by_products(x):
        columns = wg.vmap(lambda v: wg.hvp(network, (x,), (v,)) @ v)
        return np.sum(columns(np.eye(64)))

    x = RNG.normal(size=64)
    each = wg.vmap(lambda v: wg.hvp(network, (x,), (v,)) @ v)(np.eye(64))
    np.testing.assert_allclose(wg.laplacian(network)(x), np.sum(each), rtol=1e-10)
    np.testing.assert_allclose(wg.hessian_diagonal(network)(x), each, rtol=1e-9, atol=1e-12)
    assert work(wg.laplacian(network), x) <= 0.5 * work(by_products, x)
    assert work(wg.hessian_diagonal(network), x) <= 0.5 * work(by_products, x)


@pytest.mark.parametrize("transform", [wg.laplacian, wg.hessian_diagonal])
@pytest.mark.parametrize(
    ("x", "error", "text"),
    [
        (3, errors.IntegerInputError, "i64"),
        (1j, errors.DtypeError, "c128"),
        ({"a": 1.0, "n": 2}, errors.IntegerInputError, r"\['n'\]"),
    ],
)
def test_misuse_is_named(transform, x, error, text):
    with pytest.raises(error, match=text) as caught:
        transform(lambda x: x)(x)
    assert "test_laplacian.py" in str(caught.value)
