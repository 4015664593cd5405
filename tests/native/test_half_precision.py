"""float16 in compiled programs: bits of NumPy's elementwise results, sums within its rounding, loops, gradients."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry
from wengert.graph.stage import stage
from wengert.graph.types import type_of
from wengert.native.program import Program
from wengert.ops.families import Elementwise
from wengert.passes.half_precision import half_precision

HALF = numpy.float16
NAMES = sorted(n for n, p in registry.items() if isinstance(p, Elementwise) and p.scalar is not None)
CALLED = {"nextafter"}
REARRANGING = (
    "reshape", "transpose", "broadcast_to", "slice", "set_slice", "gather", "scatter", "concatenate", "pad", "where",
    "zeros_like", "unslice",
)  # fmt: skip


def check(primitive, operands, rtol):
    types = [type_of(x)._replace(weak=False) for x in operands]
    exact = [x.astype(float) if x.dtype == HALF and primitive.name != "nextafter" else x for x in operands]
    with numpy.errstate(all="ignore"):
        wanted = primitive.numpy(*operands)
        wanted = numpy.asarray(primitive.numpy(*exact)).astype(wanted.dtype)
    graph = half_precision(stage(lambda *values: [bind(primitive, *values)], types)[0])
    program = Program(lambda: graph, types, [atom.type for atom in graph.outputs])
    (found,) = program(
        [numpy.ascontiguousarray(x, t.dtype).reshape(t.shape) for x, t in zip(operands, types, strict=True)]
    )
    assert numpy.asarray(found).dtype == numpy.asarray(wanted).dtype
    numpy.testing.assert_allclose(found, wanted, rtol=rtol, atol=1e-7)
    return program.callbacks


def narrowed(x):
    x = numpy.asarray(x)
    return x.astype(HALF) if x.dtype.kind == "f" else x


@pytest.mark.parametrize("name", NAMES)
def test_elementwise(name):
    """Within a unit in the last place of the exact value (NumPy's own are worse where it composes functions)."""
    for primitive, operands in registry[name].samples(numpy.random.default_rng(0)):
        given = [narrowed(x) for x in operands]
        try:
            with numpy.errstate(all="ignore"):
                primitive.type(*map(type_of, given))
                primitive.numpy(*given)
        except (TypeError, ValueError):
            continue
        callbacks = check(primitive, given, 1e-3)
        assert name in CALLED or callbacks == []


@pytest.mark.parametrize("name", REARRANGING)
def test_rearranging_moves_bits(name):
    for primitive, operands in registry[name].samples(numpy.random.default_rng(0)):
        assert check(primitive, [narrowed(x) for x in operands], 0) == []


ALL = numpy.arange(1 << 16, dtype=numpy.uint16).view(HALF)


@pytest.mark.parametrize("f", [
    lambda x: x + HALF(0.3), lambda x: x * 0.1, lambda x: 3 / x, np.sqrt, lambda x: x - 1, lambda x: -x, np.abs,
    lambda x: x.astype(numpy.float64) * 1.5, lambda x: x > 0.1,
])  # fmt: skip
def test_every_number(f):
    """The same bits as NumPy for all 65536 numbers, subnormal ones, infinities and zeros of both signs included."""
    with numpy.errstate(all="ignore"):
        wanted = f(ALL)
    found = wg.jit(f)(ALL)
    assert found.dtype == wanted.dtype
    numpy.testing.assert_array_equal(found, wanted)
    if wanted.dtype.kind == "f":
        numpy.testing.assert_array_equal(numpy.signbit(found[wanted == 0]), numpy.signbit(wanted[wanted == 0]))


def test_conversions_round_once():
    rng = numpy.random.default_rng(0)
    middle = (ALL[:0x7BFF].astype(float) + ALL[1:0x7C00].astype(float)) / 2
    x = numpy.concatenate([
        middle, -middle, middle * (1 + 2.0**-40), middle * (1 - 2.0**-40), rng.normal(size=1000) * 1e5,
        [0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan, 65519.99, 65520.0, 1e300, 5e-324],
    ])  # fmt: skip
    with numpy.errstate(all="ignore"):
        wanted = x.astype(HALF)
    numpy.testing.assert_array_equal(wg.jit(lambda x: x.astype(HALF))(x), wanted)
    whole = numpy.array([0, 1, -3, 2049, 2051, 65519, 70000, -(10**12)])
    with numpy.errstate(all="ignore"):
        wanted = whole.astype(HALF)
    numpy.testing.assert_array_equal(wg.jit(lambda n: n.astype(HALF))(whole), wanted)


def test_sums_and_products_of_matrices():
    rng = numpy.random.default_rng(0)
    x, y = rng.normal(size=(40, 50)).astype(HALF), rng.normal(size=(50, 30)).astype(HALF)
    for f in (lambda x, y: x @ y, lambda x, y: np.sum(x, axis=0), lambda x, y: np.max(x, axis=1),
              lambda x, y: np.mean(y), lambda x, y: np.einsum("ij,jk->k", x, y),
              lambda x, y: np.argmax(x, axis=0)):  # fmt: skip
        compiled = wg.jit(f)
        found, exact = compiled(x, y), f(x.astype(float), y.astype(float))
        assert found.dtype == f(x, y).dtype
        assert compiled.lower(x, y).callbacks == []
        numpy.testing.assert_allclose(found, exact, rtol=2e-3, atol=2e-3)


def test_loops_and_gradients():
    def f(x):
        y = wg.fori_loop(0, 5, lambda k, y: np.sin(y) * x + y * 0.5, x)
        return np.sum(np.where(y > 0, y * y, y))

    x = numpy.linspace(-1, 1, 40).astype(HALF)
    gradient = wg.jit(wg.grad(f))
    assert gradient(x).dtype == HALF
    assert gradient.lower(x).callbacks == []
    numpy.testing.assert_allclose(gradient(x), wg.grad(f)(x.astype(float)), rtol=2e-2, atol=2e-2)
