"""Inline mathematics against mpmath: errors in units in the last place, over the whole range, and special values."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

import wengert.numpy as wnp
from wengert.native.jit import jit

rng = np.random.default_rng(5)


def spread(low, high, count=1500):
    """Numbers of every size between limits, of both signs where the limits have them."""
    sizes = np.exp2(rng.uniform(-1070, 1023, count))
    plain = rng.uniform(max(low, -1e300), min(high, 1e300), count)
    near = rng.uniform(max(low, -3.0), min(high, 3.0), 2 * count)
    both = np.concatenate([sizes, -sizes, plain, near, 1 + rng.uniform(-1e-3, 1e-3, count)])
    return both[(both >= low) & (both <= high)]


FUNCTIONS = {
    "exp": (np.exp, wnp.exp, mpmath.exp, (-745.1, 709.7)),
    "expm1": (np.expm1, wnp.expm1, mpmath.expm1, (-60, 709.7)),
    "tanh": (np.tanh, wnp.tanh, mpmath.tanh, (-30, 30)),
    "log": (np.log, wnp.log, mpmath.log, (5e-324, 1.7e308)),
    "sin": (np.sin, wnp.sin, mpmath.sin, (-1e6, 1e6)),
    "cos": (np.cos, wnp.cos, mpmath.cos, (-1e6, 1e6)),
    "log1p": (np.log1p, wnp.log1p, mpmath.log1p, (-0.9999, 1e300)),
    "cbrt": (np.cbrt, wnp.cbrt, mpmath.cbrt, (0, 1.7e308)),
    "arctan": (np.arctan, wnp.arctan, mpmath.atan, (-1.7e308, 1.7e308)),
}


def errors(found, wanted, dtype):
    """In units in the last place of the exact result."""
    worst = 0.0
    for got, exact in zip(found.tolist(), wanted, strict=True):
        unit = float(np.spacing(dtype(abs(float(exact))))) or math.ulp(0.0)
        worst = max(worst, float(abs(mpmath.mpf(got) - exact) / unit))
    return worst


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_two_units_in_the_last_place(name, dtype):
    _, function, exact, (low, high) = FUNCTIONS[name]
    with np.errstate(all="ignore"):
        x = spread(low, high).astype(dtype)
    x = x[np.isfinite(x) & (x.astype(float) >= low)]
    found = jit(lambda v: function(v))(x)
    assert found.dtype == dtype
    with mpmath.workprec(1200 if name in ("expm1", "log1p", "tanh") else 200):
        wanted = [exact(mpmath.mpf(v)) for v in x.tolist()]
        inside = [k for k, w in enumerate(wanted) if abs(w) < float(np.finfo(dtype).max)]
        assert len(inside) > 1000
        assert errors(found[inside], [wanted[k] for k in inside], dtype) <= 2


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name):
    reference, function, _, _ = FUNCTIONS[name]
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 800.0, -800.0, 5e-324, -5e-324, 1.0] * 3)
    with np.errstate(all="ignore"):
        wanted = reference(x)
    found = jit(lambda v: function(v))(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-15, atol=0)
    np.testing.assert_array_equal(np.signbit(found[wanted == 0]), np.signbit(wanted[wanted == 0]))
