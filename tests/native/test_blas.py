"""Where BLAS routines are found: in the library that SciPy brings, or through what SciPy exports."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
from wengert.native import library


@pytest.mark.parametrize("exported", [False, True])
def test_products_either_way(monkeypatch, exported):
    if exported:
        monkeypatch.setattr(library, "openblas", lambda: None)
    library.blas_address.cache_clear()
    try:
        a = numpy.random.default_rng(0).normal(size=(40, 50))
        for x in (a, a.astype(numpy.float32)):
            found = wg.jit(lambda x: x @ x.T)(x)
            numpy.testing.assert_allclose(found, x @ x.T, rtol=1e-4 if x.dtype == numpy.float32 else 1e-12)
        assert library.blas_address("dgemm") != library.blas_address("sgemm")
        assert library.blas_address("dgetrf")
        with pytest.raises(KeyError):
            library.blas_address("no_such_routine")
    finally:
        library.blas_address.cache_clear()
