"""Convolution and correlation of vectors."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from tests.numpy.modes import check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import ShapeError

RNG = numpy.random.default_rng(8)


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize(("n", "m"), [(5, 3), (3, 5), (6, 4), (4, 6), (4, 4), (1, 3), (1, 1)])
def test_against_numpy(n: int, m: int, mode: Any) -> None:
    a, v = RNG.normal(size=n), RNG.normal(size=m)
    for function in (np.convolve, np.correlate):
        check_values(lambda a, v, f=function: f(a, v, mode), a, v)
        check_values(lambda a, f=function: f(a, numpy.arange(m), mode), a)
        check_derivatives(lambda a, f=function: f(a, v, mode) * a[0], a)
        check_derivatives(lambda v, f=function: f(a, v, mode) ** 2, v)


def test_complex_numbers() -> None:
    a, v = RNG.normal(size=(2, 4)) + 1j * RNG.normal(size=(2, 4))
    for function in (np.convolve, np.correlate):
        for x, y in ((a, v[:3]), (v[:3], a)):
            check_values(lambda x, y, f=function: f(x, y, "full"), x, y)
            check_derivatives(lambda y, x=x, f=function: f(x, y, "full"), y)


def test_errors() -> None:
    x = wg.variable(numpy.ones(3))
    for bad in (
        lambda: np.convolve(x, numpy.ones((2, 2))),
        lambda: np.convolve(x, []),
        lambda: np.convolve(x, x, "some"),
    ):
        with pytest.raises(ShapeError):
            bad()
