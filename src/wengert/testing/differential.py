"""Compiled against evaluated: values, gradients, and a batch of both, of one random program."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy

from .. import numpy as np
from ..native.jit import jit
from ..transforms.grad import value_and_grad
from ..transforms.vmap import vmap
from .programs import Program


def total(outputs: Sequence[Any]) -> Any:
    """A real number of all outputs."""
    parts = [np.sum(np.real(out) + 0.5 * np.imag(out) if out.dtype.kind == "c" else out) for out in outputs]
    return sum(parts, 0.0)


def check_compiled(program: Program, batch: bool = False) -> None:
    """Raise AssertionError unless the compiled program gives what evaluation gives: shapes, dtypes, values, gradients.

    batch : also check `vmap` of the gradient, over two copies of the inputs of which one is scaled.
    """
    args = program.inputs
    moving = [k for k, x in enumerate(args) if numpy.asarray(x).dtype.kind in "fc"]
    tolerance = 3e-4 if program.single else 1e-9
    with numpy.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(jit(program.function)(*args), program(*args), tolerance)
        if not moving:
            return
        both = value_and_grad(lambda *a: total(program(*a)), argnums=tuple(moving))
        same(jit(both)(*args), both(*args), 10 * tolerance)
        if batch:
            axes = tuple(0 if k in moving else None for k in range(len(args)))
            stacked = [numpy.stack([x, 0.9 * x]).astype(x.dtype) if k in moving else x for k, x in enumerate(args)]
            mapped = vmap(both, in_axes=axes)
            same(jit(mapped)(*stacked), mapped(*stacked), 10 * tolerance)


def same(found: Any, wanted: Any, tolerance: float) -> None:
    """Nested results that agree to a tolerance relative to their largest element."""
    if isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted)
        for a, b in zip(found, wanted, strict=True):
            same(a, b, tolerance)
        return
    if wanted is None:  # took no part when it was evaluated; compiled programs say 0
        assert not numpy.any(found)
        return
    found, wanted = numpy.asarray(found), numpy.asarray(wanted)
    types = (found.shape, found.dtype), (wanted.shape, wanted.dtype)
    assert types[0] == types[1], types
    scale = max(1.0, float(numpy.max(numpy.abs(wanted), initial=0.0)))
    numpy.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance * scale)
