"""Mathematics in compiled code against mpmath: units in the last place over the whole range, and special values.

The functions, what mpmath calls them and where arguments are drawn stand in scripts/worst_errors.py.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp
from wengert.native import mathematics_coefficients as coefficients
from wengert.native import mathematics_rescue as rescue
from wengert.native.mathematics_trigonometric import LIMIT

SCRIPTS = Path(__file__).parents[2] / "scripts"
BOUND = 2.0
DTYPES = (np.float64, np.float32)


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


worst_errors = script("worst_errors")
FUNCTIONS = worst_errors.FUNCTIONS
UNARY = [name for name, f in FUNCTIONS.items() if not isinstance(f.spans[0][0], tuple)]
BINARY = [name for name in FUNCTIONS if name not in UNARY]


def draws(name, dtype, count, seed):
    with np.errstate(all="ignore"):  # draws beyond float32
        return worst_errors.arguments(name, dtype, count, seed)


def largest(name, dtype, count, seed):
    operands = draws(name, dtype, count, seed)
    assert len(operands[0]) > count // 2
    found = worst_errors.errors(name, operands, dtype)
    k = int(np.argmax(found))
    return found[k], [float(c[k]) for c in operands]


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_units_in_the_last_place(name, dtype):
    error, where = largest(name, dtype, 700, 5)
    assert error <= BOUND, where


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_units_in_the_last_place_of_many(name, dtype):
    with np.errstate(all="ignore"):
        error, where = worst_errors.worst(name, dtype, 20_000, 11)
    assert error <= BOUND, where


def same(found, wanted, atol=0.0):
    """Equal but for round-off, with the signs of zeros, infinities and NaN."""
    np.testing.assert_allclose(found, wanted, rtol=4 * np.finfo(wanted.dtype).eps, atol=atol)
    fine = (wanted == 0) & (found == 0) | (np.abs(wanted) > atol)
    np.testing.assert_array_equal(np.signbit(found[fine]), np.signbit(wanted[fine]))


def extremes(dtype):
    info = np.finfo(dtype)
    sizes = [0.0, info.smallest_subnormal, info.tiny, 0.5, 1.0, 1.0 + info.eps, 1.0 - info.epsneg, 1.5, 2.0, 3.0, 4.5]
    sizes += [90.0, 800.0, 1e30, info.max, np.inf]
    return np.array([*sizes, *(-x for x in sizes), np.nan], dtype)


@pytest.mark.parametrize("name", [name for name in UNARY if FUNCTIONS[name].reference])
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values(name, dtype):
    x = extremes(dtype)
    with np.errstate(all="ignore"):
        wanted = FUNCTIONS[name].reference(x)
    same(worst_errors.compiled(name)(np.tile(x, 3)), np.tile(wanted, 3))


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_pairs(name, dtype):
    x, y = (c.ravel() for c in np.meshgrid(extremes(dtype), extremes(dtype)))
    with np.errstate(all="ignore"):
        wanted = FUNCTIONS[name].reference(x, y)
    # Two terms of up to log(2) cancel in logaddexp(-1, -0.5), here and in NumPy.
    same(worst_errors.compiled(name)(x, y), wanted, np.finfo(dtype).eps if name == "logaddexp" else 0.0)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("sigmoid", [(0.0, 0.5), (np.inf, 1.0), (-np.inf, 0.0), (np.nan, np.nan), (-800.0, 0.0), (800.0, 1.0)]),
        ("softplus", [(0.0, np.log(2)), (np.inf, np.inf), (-np.inf, 0.0), (np.nan, np.nan), (800.0, 800.0)]),
        ("erf", [(0.0, 0.0), (-0.0, -0.0), (np.inf, 1.0), (-np.inf, -1.0), (np.nan, np.nan), (7.0, 1.0)]),
        ("erfc", [(0.0, 1.0), (np.inf, 0.0), (-np.inf, 2.0), (np.nan, np.nan), (30.0, 0.0), (-30.0, 2.0)]),
    ],
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_special_values_without_a_reference(name, values, dtype):
    x, wanted = np.array(values, dtype).T
    same(worst_errors.compiled(name)(x), wanted)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exact_results(dtype):
    """What users expect to the last digit."""
    k = np.arange(-30, 31).astype(dtype)
    for function, x, wanted in [
        (wnp.exp2, k, 2.0 ** k.astype(float)),
        (wnp.log2, (2.0 ** k.astype(float)).astype(dtype), k),
        (wnp.exp, np.zeros(3, dtype), np.ones(3)),
        (wnp.cos, np.zeros(3, dtype), np.ones(3)),
        (wnp.cbrt, np.arange(-20.0, 20.0).astype(dtype) ** 3, np.arange(-20.0, 20.0)),
        (wnp.log10, (10.0 ** np.arange(11)).astype(dtype), np.arange(11)),
    ]:
        np.testing.assert_array_equal(wg.jit(lambda v, f=function: f(v))(x), wanted.astype(dtype))
    ten = np.arange(10.0).astype(dtype)
    np.testing.assert_array_equal(wg.jit(lambda v, w: v**w)(ten, ten[::-1].copy()), ten ** ten[::-1])


@pytest.mark.parametrize("exponent", [-2.5, -1.0, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0])
@pytest.mark.parametrize("dtype", DTYPES)
def test_powers_with_a_constant_exponent(exponent, dtype):
    x = np.abs(draws("cbrt", dtype, 500, 2)[0])
    with mpmath.workprec(200):
        wanted = [mpmath.power(mpmath.mpf(v), exponent) if v else None for v in x.tolist()]
    found = wg.jit(lambda v: v**exponent)(x)
    pairs = zip(found.tolist(), wanted, strict=True)
    assert max(worst_errors.ulps(got, w, dtype) for got, w in pairs if w is not None) <= BOUND


# Arguments that the fast code cannot do ------------------------------------------------------------------


@pytest.mark.parametrize("name", rescue.NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_huge_angles_among_small_ones(name, dtype):
    """Every lane of a vector, and the ends of loops, may be the one that asks for the C library."""
    rng = np.random.default_rng(3)
    x = rng.uniform(-4, 4, 71).astype(dtype)
    limit = LIMIT["f64" if dtype is np.float64 else "f32"]
    x[::7] = limit * rng.uniform(1, 1e12, len(x[::7]))
    x[-1] = np.finfo(dtype).max
    assert max(worst_errors.errors(name, (x,), dtype)) <= BOUND
    one = np.array([x[0]])
    assert max(worst_errors.errors(name, (one,), dtype)) <= BOUND


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_loops_are_vectorised(name, dtype):
    """LLVM's own text after its passes works on vectors: no call per element is left, nor a scalar loop only."""
    operands = [np.ones(4096, dtype)] * (2 if name in BINARY else 1)
    assembly = worst_errors.compiled(name).lower(*operands).assembly
    if "zmm" not in assembly and "ymm" not in assembly:
        pytest.skip("a processor without vectors of 32 bytes")
    packed = "pd" if dtype is np.float64 or name == "erfc" else "ps"
    assert any(line.split()[0].endswith(packed) for line in assembly.splitlines() if "mm" in line and line.split())
    for line in assembly.splitlines():
        assert not ("call" in line and "pow" in line), line


def test_definitions_only_of_what_is_called():
    text = "  %v1 = call double @wengert.sin.f64(double %x, double %y)"
    found = rescue.definitions(text)
    assert found.count("define available_externally") == 1 + len(rescue.LANES)
    assert "@wengert.cos" not in found
    assert rescue.definitions("  %v1 = call double @sin(double %x)") == ""


# Where the coefficients come from ------------------------------------------------------------------------


def test_coefficients_are_those_of_the_script():
    minimax = script("minimax")
    for table in minimax.TABLES:
        assert set(getattr(coefficients, table.name)) == set(table.degrees), table.name
    table = next(t for t in minimax.TABLES if t.name == "EXP")
    found, error = minimax.fit(table, "f32")
    assert tuple(found) == coefficients.EXP["f32"]
    assert error < 2.0**-28


# What NumPy computes exactly, or in the same steps -------------------------------------------------------


def pairs(values, dtype):
    return [c.ravel() for c in np.meshgrid(np.array(values, dtype), np.array(values, dtype))]


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint8, np.uint64])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "left_shift", "right_shift"])
def test_integers_are_numpys(name, dtype):
    info = np.iinfo(dtype)
    values = [0, 1, 2, 3, 7, 8, 31, 63, 64, 100, info.max, info.max - 1]
    values += [-1, -2, -3, -7, -64, info.min, info.min + 1] if info.min else []
    x, y = pairs(values, dtype)
    with np.errstate(all="ignore"):
        wanted = getattr(np, name)(x, y)
    found = wg.jit(lambda v, w: getattr(wnp, name)(v, w))(x, y)
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    assert not wg.jit(lambda v, w: getattr(wnp, name)(v, w)).lower(x, y).callbacks


@pytest.mark.parametrize("dtype", DTYPES)
def test_floored_quotients_are_numpys(dtype):
    x, y = pairs(
        [0.0, -0.0, 0.1, 0.3, 1.0, 1.5, 3.0, 7.0, -0.1, -1.0, -7.0, np.inf, -np.inf, np.nan, 1e30, 5e-39], dtype
    )
    with np.errstate(all="ignore"):
        wanted = np.floor_divide(x, y)
    found = wg.jit(lambda v, w: v // w)(x, y)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(np.signbit(found)[wanted == 0], np.signbit(wanted)[wanted == 0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_signbit_sinc_and_logaddexp2(dtype):
    x = extremes(dtype)
    eps = np.finfo(dtype).eps
    np.testing.assert_array_equal(wg.jit(lambda v: wnp.signbit(v))(x), np.signbit(x))
    near = np.linspace(-30, 30, 601).astype(dtype)
    np.testing.assert_allclose(wg.jit(lambda v: wnp.sinc(v))(near), np.sinc(near), rtol=4 * eps, atol=4 * eps)
    a, b = (c.ravel() for c in np.meshgrid(x, x))
    with np.errstate(all="ignore"):
        wanted = np.logaddexp2(a, b)
    same(wg.jit(lambda v, w: wnp.logaddexp2(v, w))(a, b), wanted, 2 * eps)
