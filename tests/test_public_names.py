"""The public names: all there, all documented, hidden by nothing, and NumPy's own under `wengert.numpy`."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType

import numpy
import pytest
import scipy.linalg

import wengert as wg
import wengert.errors
import wengert.numpy as wnp

DERIVATIVES = "grad value_and_grad jvp vjp vmap jacobian hessian stop_gradient"
GRAPHS = "variable graph trace verify"
CONTROL_FLOW = "cond switch while_loop fori_loop scan map associative_scan"
OTHERS = "errors numpy settings"
PROMISED = f"{DERIVATIVES} {GRAPHS} {CONTROL_FLOW} {OTHERS}".split()

ERRORS = [
    name
    for name, value in vars(wengert.errors).items()
    if inspect.isclass(value) and value.__module__ == "wengert.errors"
]


@pytest.mark.parametrize("name", PROMISED)
def test_promised_names_are_public(name: str) -> None:
    assert name in wg.__all__


@pytest.mark.parametrize("name", wg.__all__)
def test_every_public_name_is_documented(name: str) -> None:
    value = getattr(wg, name)
    assert name.startswith("__") or inspect.getdoc(value)


def test_nothing_else_is_public() -> None:
    public = {name for name, value in vars(wg).items() if name[0] != "_" and not isinstance(value, ModuleType)}
    assert public - {"annotations"} <= set(wg.__all__)
    assert len(set(wg.__all__)) == len(wg.__all__)


def test_modules_of_the_same_name_hide_no_function() -> None:
    """`wg.graph` is a function and `wengert.graph` a folder; importing the folder must not hide the function."""
    before = {name: getattr(wg, name) for name in wg.__all__}
    modules = [found.name for found in pkgutil.walk_packages(wg.__path__, "wengert.")]
    assert "wengert.graph.nodes" in modules
    for module in modules:
        if not module.endswith("__main__"):
            importlib.import_module(module)
    assert {name: getattr(wg, name) for name in wg.__all__} == before
    assert callable(wg.graph)
    assert callable(wg.settings)


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_has_a_failing_and_a_repaired_example(name: str) -> None:
    if name in {"WengertError", "WengertWarning"}:  # the bases, which nobody meets
        return
    text = inspect.getdoc(getattr(wengert.errors, name)) or ""
    assert "Failing::" in text
    assert "Repaired::" in text


@pytest.mark.parametrize("name", wnp.__all__)
def test_numpy_names_are_those_of_numpy(name: str) -> None:
    """What stands under `wengert.numpy` is what NumPy calls so, a function where it is one there."""
    assert callable(getattr(wnp, name)) == callable(getattr(numpy, name))


@pytest.mark.parametrize("name", wnp.linalg.__all__)
def test_linalg_names_are_those_of_numpy_or_scipy(name: str) -> None:
    original = getattr(numpy.linalg, name, None) or getattr(scipy.linalg, name)
    assert callable(getattr(wnp.linalg, name)) == callable(original)
