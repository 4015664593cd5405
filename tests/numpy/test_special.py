"""SciPy's special functions on traced values."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.special

import wengert as wg
from wengert.errors import UnsupportedError
from wengert.numpy.dispatch import by_name

X = np.linspace(-2.5, 2.5, 11)


@pytest.mark.parametrize("name", by_name)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_values_are_scipys(name, dtype):
    function = getattr(scipy.special, name)
    x = (np.abs(X) if name == "log1p" else X).astype(dtype)
    tolerance = 20 * np.finfo(dtype).eps
    for run in (wg.jit(function), lambda v: wg.trace(function, v)(v)):
        found = run(x)
        assert found.dtype == dtype
        np.testing.assert_allclose(found, function(x), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", by_name)
def test_derivatives(name):
    function = getattr(scipy.special, name)
    wg.testing.check_grads(lambda x: function(x), (np.array([0.3, 0.9, 2.0]),))


def test_the_graph_shows_scipys_name():
    assert "scipy.special.erf(" in wg.trace(scipy.special.erf, X).as_python()


def test_a_function_that_is_not_known_names_its_library():
    with pytest.raises(UnsupportedError, match=r"scipy\.special\.gamma is not implemented"):
        wg.grad(lambda x: scipy.special.gamma(x))(1.5)


def test_importing_wengert_does_not_import_scipy():
    code = "import sys, wengert; sys.exit('scipy.special' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
