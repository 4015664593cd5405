"""Complex numbers in compiled programs: every operation against NumPy, loops, gradients, memory, special values."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import WengertError
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry
from wengert.graph.stage import stage
from wengert.graph.types import type_of
from wengert.native.program import Program
from wengert.passes import PIPELINE, optimize
from wengert.passes.complex_parts import complex_parts
from wengert.passes.complex_rules import ELEMENTWISE
from wengert.testing import random_program
from wengert.testing.differential import check_compiled

REARRANGING = (
    "reshape", "transpose", "broadcast_to", "slice", "set_slice", "unslice", "gather", "scatter", "scatter_add",
    "concatenate", "pad", "windows", "zeros_like", "sum", "cumsum", "matmul", "einsum", "convolve", "where", "barrier",
    "convert", "fold",
)  # fmt: skip
NATIVE = sorted({*ELEMENTWISE, *REARRANGING, "any", "all", "logical_and", "logical_or", "logical_not", "logical_xor"})


def as_complex(x, rng, dtype):
    """A float operand with an imaginary part of the same size; others as they are."""
    x = numpy.asarray(x)
    return (x + 1j * rng.permutation(x.ravel()).reshape(x.shape)).astype(dtype) if x.dtype.kind == "f" else x


def check(primitive, operands, rtol=1e-12, atol=1e-13):
    """One operation on these operands, compiled after splitting, against NumPy; the operations called back."""
    types = [type_of(x)._replace(weak=False) for x in operands]

    def run(*values):
        out = bind(primitive, *values)
        return list(out) if primitive.multiple else [out]

    with numpy.errstate(all="ignore"):
        wanted = primitive.numpy(*operands)
    graph = complex_parts(stage(run, types)[0])
    program = Program(lambda: graph, types, [atom.type for atom in graph.outputs])
    found = program(
        [numpy.ascontiguousarray(x, t.dtype).reshape(t.shape) for x, t in zip(operands, types, strict=True)]
    )
    for a, b in zip(found, wanted if primitive.multiple else (wanted,), strict=True):
        assert numpy.shape(a) == numpy.shape(b)
        assert numpy.asarray(a).dtype == numpy.asarray(b).dtype
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    return program.callbacks


@pytest.mark.parametrize("dtype", [numpy.complex128, numpy.complex64])
@pytest.mark.parametrize("name", sorted(registry))
def test_samples(name, dtype):
    rng = numpy.random.default_rng(3)
    for primitive, operands in registry[name].samples(rng):
        given = [as_complex(x, rng, dtype) for x in operands]
        try:
            with numpy.errstate(all="ignore"):
                primitive.type(*(type_of(x)._replace(weak=False) for x in given))
                primitive.numpy(*given)
        except (TypeError, ValueError, numpy.linalg.LinAlgError, WengertError):
            continue
        if "call" in primitive.facts or "loop" in primitive.facts or "branch" in primitive.facts:
            continue
        callbacks = check(primitive, given, *((1e-12, 1e-13) if dtype is numpy.complex128 else (3e-5, 3e-5)))
        assert name not in NATIVE or callbacks == []


@pytest.mark.parametrize("name", ["add", "subtract", "multiply", "divide", "power", "equal", "where", "matmul"])
def test_real_and_complex_operands(name):
    rng = numpy.random.default_rng(4)
    for primitive, operands in registry[name].samples(rng):
        for k in range(len(operands)):
            given = [as_complex(x, rng, complex) if j == k else x for j, x in enumerate(operands)]
            assert check(primitive, given) == []


@pytest.mark.parametrize("name", sorted(ELEMENTWISE))
def test_around_the_plane(name):
    """All quadrants, the axes, large and small numbers, and the cuts from the side of +0."""
    primitive = registry[name]
    sizes = numpy.array([1e-5, 0.3, 0.999999, 1.0, 1.7, 3.0])
    turns = numpy.exp(0.25j * numpy.pi * numpy.arange(8))
    turns.imag[[0, 4]] = turns.real[[2, 6]] = 0
    z = (sizes[:, None] * turns).ravel()
    operands = [z, z[::-1][:, None]][: primitive.arity]
    check(primitive, operands, 1e-12, 1e-15 if primitive.arity == 1 else 1e-13)


def same(f, *args, rtol=1e-12):
    """Compiled equals evaluated, without callbacks."""
    compiled = wg.jit(f)
    wanted, found = f(*args), compiled(*args)
    assert compiled.lower(*args).callbacks == []
    assert numpy.asarray(found).dtype == numpy.asarray(wanted).dtype
    numpy.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-13)


rng = numpy.random.default_rng(0)
Z = rng.normal(size=(3, 4)) + 1j * rng.normal(size=(3, 4))
M = rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4))


def mandelbrot(c):
    def step(k, state):
        z, n = state
        return np.where(np.abs(z) < 2, z * z + c, z), n + (np.abs(z) < 2)

    return wg.fori_loop(0, 30, step, (c * 0, numpy.zeros(c.shape)))[1]


def escape(c):
    """Steps until |z| > 2, as a while loop of one number."""
    return wg.while_loop(
        lambda s: (np.abs(s[0]) < 2) & (s[1] < 50), lambda s: (s[0] * s[0] + c, s[1] + 1), (c * 0, numpy.int64(0))
    )[1]


def wave(psi):
    """A Schroedinger equation on a ring, step by step."""
    return wg.fori_loop(0, 40, lambda k, p: p + 0.01j * (np.roll(p, 1) + np.roll(p, -1) - 2 * p), psi)


def powers(z):
    """All steps of a scan, kept."""
    return wg.scan(lambda c, x: (c * x, c + x), z[0], z)[1]


def chosen(z):
    return wg.cond(np.sum(np.abs(z)) > 1, lambda z: z * 1j, lambda z: z - 1, z)


@pytest.mark.parametrize("f", [mandelbrot, wave, powers, chosen, wg.vmap(wave), lambda z: escape(0.1 * z[0, 0])])
def test_loops_and_branches(f):
    same(f, Z)


def test_numbers_of_python():
    same(lambda z: z * 2 + 1j, 1 + 2j)
    same(lambda z: (2 - 1j) / z, Z.astype(numpy.complex64), rtol=1e-6)
    same(lambda x: np.sum(x * 1j), numpy.arange(5.0))


def test_products():
    same(lambda z: z @ M, Z)
    same(lambda z: np.einsum("ij,kj->ik", z, np.conj(z)), Z)
    same(lambda z: np.vdot(z, z), Z[0])
    same(lambda z: numpy.ones((2, 3)) @ z, Z)


LOSSES = {
    "wave": lambda z: np.sum(np.abs(wave(z) * np.exp(1j * z)) ** 2),
    "powers": lambda z: np.sum(np.abs(powers(z))),
    "functions": lambda z: np.real(np.sum(np.log(z) * np.sqrt(z) / (z * z + 3) + np.tanh(z) ** 3)),
    "matrices": lambda z: np.sum(np.abs(z @ M @ np.conj(z.T)) ** 2),
    "indices": lambda z: np.sum(np.imag(z[[0, 2, 0]] * z[:, ::-1])),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name):
    same(wg.grad(LOSSES[name]), Z, rtol=1e-10)


def test_an_operation_without_a_rule_is_called_back_also_in_a_loop():
    def f(z):
        return wg.fori_loop(0, 3, lambda k, m: np.linalg.inv(m) + 1j, z)

    compiled = wg.jit(f)
    numpy.testing.assert_allclose(compiled(M), f(M), rtol=1e-10)
    assert compiled.lower(M).callbacks == ["inv"]


def test_a_product_with_the_imaginary_unit_takes_no_products():
    graph = complex_parts(optimize(wg.trace(lambda z: z * 1j, Z), PIPELINE))
    assert [node.primitive.name for node in graph.nodes if node.primitive.name == "multiply"] == []


def test_real_graphs_stay():
    graph = wg.trace(lambda x: np.sin(x) * 2, 1.0)
    assert complex_parts(graph) is graph


def test_division_by_zero_and_far_numbers():
    x = numpy.array([1 + 2j, -1 - 1j, 1e300 + 1e300j, 1e-300 - 1e-300j])
    with numpy.errstate(all="ignore"):
        numpy.testing.assert_array_equal(wg.jit(lambda z: z / (z * 0))(x[:1]), x[:1] / (x[:1] * 0))
        numpy.testing.assert_allclose(wg.jit(lambda z: x / z)(x[::-1].copy()), x / x[::-1], rtol=1e-14)
    numpy.testing.assert_allclose(wg.jit(np.abs)(x), numpy.abs(x), rtol=1e-15)


def test_strong_zero():
    """The masked branch of a root at 0 has derivative 0, not NaN."""

    def loss(z):
        return np.sum(np.real(np.where(np.abs(z) > 1, np.sqrt(z), z)))

    z = numpy.array([0j, 2 + 1j])
    numpy.testing.assert_allclose(wg.jit(wg.grad(loss))(z), wg.grad(loss)(z), rtol=1e-13)


def test_strided_and_empty():
    wide = rng.normal(size=(4, 6)) + 1j
    same(lambda z: np.sum(z * z, axis=0), wide[::2, ::3])
    same(lambda z: z * 2, numpy.zeros((0, 3), complex))


def test_a_long_program_in_parts():
    def f(z):
        for k in range(300):
            z = z * (1 + 0.001j * k) - 0.01 * np.conj(z)
        return z

    compiled = wg.jit(f)
    numpy.testing.assert_allclose(compiled(Z), f(Z), rtol=1e-10)
    assert "part0" in compiled.lower(Z).loops
    assert compiled.lower(Z).callbacks == []


@pytest.mark.parametrize("seed", range(200, 240))
def test_random_programs(seed):
    program = random_program(seed, lines=8)
    if any(numpy.iscomplexobj(x) for x in program.inputs):
        check_compiled(program)
