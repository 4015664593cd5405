"""Elementwise functions of NumPy that are made of several operations: the values and dtypes are NumPy's."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
from wengert.errors import DtypeError

POINTS = numpy.array([-numpy.inf, -1.5, -0.0, 0.0, 2.0, numpy.inf, numpy.nan])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_heaviside_is_numpys_and_nan_where_the_operand_is(dtype):
    x, y = POINTS.astype(dtype), numpy.linspace(0, 1, 7).astype(dtype)
    wanted = numpy.heaviside(x, y)
    for found in (wg.jit(numpy.heaviside)(x, y), wg.vjp(lambda x: numpy.heaviside(x, y), x)[0]):
        numpy.testing.assert_array_equal(found, wanted)
        assert found.dtype == wanted.dtype
    at_zero = wg.grad(lambda y: numpy.sum(numpy.heaviside(x, y)))(y)
    numpy.testing.assert_array_equal(at_zero, [0, 0, 1, 1, 0, 0, 0])


@pytest.mark.parametrize("x", [POINTS, POINTS.astype("f4"), numpy.array([-3, 0, 5])])
def test_fabs_is_a_float(x):
    found = wg.jit(numpy.fabs)(x)
    numpy.testing.assert_array_equal(found, numpy.fabs(x))
    assert found.dtype == numpy.fabs(x).dtype


def test_fabs_refuses_complex_numbers():
    with pytest.raises(DtypeError, match="fabs"):
        wg.jit(numpy.fabs)(1j)


def test_divmod():
    x, y = numpy.array([-7.5, 7.5, 4.0]), numpy.array([2.0, -2.0, 2.0])
    for found, wanted in zip(wg.jit(divmod)(x, y), divmod(x, y), strict=True):
        numpy.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(wg.jit(lambda y: divmod(7, y))(y), divmod(7, y), strict=True):
        numpy.testing.assert_array_equal(found, wanted)
    assert wg.grad(lambda y: divmod(7.5, y)[1])(2.0) == -3
