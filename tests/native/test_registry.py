"""Compiled = evaluated, over the samples of every primitive there is, in its dtype and in narrower ones."""

from __future__ import annotations

import numpy as np
import pytest

import wengert  # noqa: F401  (fills the registry)
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry
from wengert.graph.stage import stage
from wengert.graph.types import type_of
from wengert.native.program import Program


def check(primitive, operands, rtol=1e-12, atol=1e-13):
    """Compile one operation on these operands, and compare with NumPy."""
    types = [type_of(x)._replace(weak=False) for x in operands]

    def run(*values):
        out = bind(primitive, *values)
        return list(out) if primitive.multiple else [out]

    with np.errstate(all="ignore"):
        wanted = primitive.numpy(*operands)
    graph, _ = stage(run, types)
    program = Program(lambda: graph, types, [atom.type for atom in graph.outputs])
    found = program([np.ascontiguousarray(x, t.dtype) for x, t in zip(operands, types, strict=True)])
    for a, b in zip(found, wanted if primitive.multiple else (wanted,), strict=True):
        assert np.shape(a) == np.shape(b)
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol)
    return program


@pytest.mark.parametrize("name", sorted(registry))
def test_samples(name):
    for primitive, operands in registry[name].samples(np.random.default_rng(1)):
        check(primitive, operands)


ELEMENTWISE = sorted(n for n, p in registry.items() if getattr(p, "scalar", None) is not None)


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_])
def test_other_dtypes(name, dtype):
    for primitive, operands in registry[name].samples(np.random.default_rng(2)):
        narrow = [x if np.asarray(x).dtype == bool else np.asarray(x).astype(dtype) for x in operands]
        try:
            with np.errstate(all="ignore"):
                primitive.type(*(type_of(x) for x in narrow))
                primitive.numpy(*narrow)
        except (TypeError, ValueError):
            continue
        check(primitive, narrow, 3e-6, 1e-6)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_special_values(name):
    """Infinities, NaN, zeros of both signs, and large arrays, which run in loops."""
    special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 1e-310, 1e308, -1e308, 0.3, 710.0, -745.0])
    primitive = registry[name]
    if "f" not in primitive.scalar_kinds or name in ("bitwise_and", "bitwise_or", "bitwise_xor", "invert"):
        return
    operands = [special, special[:, None], special[::-1][:, None, None]][: primitive.arity]
    if name == "where":
        operands[0] = np.isnan(operands[0])
    check(primitive, operands, 1e-12, 0)
