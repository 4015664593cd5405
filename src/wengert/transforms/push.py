"""The forward rules of elementwise operations, written out once for each combination of operands that move.

What `Elementwise.jvp` says, without its loops and look-ups: this is the inner loop of forward mode in define-by-run.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
from numpy import ndarray

from ..graph.types import definite
from ..ops.arithmetic import strong_multiply
from ..ops.families import Elementwise, match
from ..source import PACKAGE

SMALL = 4096
"""Elements up to which a dot product with itself is the quickest look for NaN."""

Push = Callable[[Any, Any, Any], Any]
"""push(primals, tangents, out) -> the tangent of the result."""


def times(tangent: Any, slope: Any) -> Any:
    """`strong_multiply`; small arrays whose plain product has no NaN take a short way."""
    if tangent.__class__ is ndarray and tangent.size <= SMALL and slope.__class__ in _PLAIN:
        product = tangent * slope
        if product.__class__ is ndarray and product.dtype.char == "d":
            flat = product if product.ndim == 1 else product.reshape(-1)
            if isfinite(flat.dot(flat)):
                return product
    return strong_multiply(tangent, slope)


_PLAIN = frozenset({ndarray, np.float64, float})


def fitted(tangent: Any, out: Any) -> Any:
    if (
        tangent.__class__ is ndarray
        and out.__class__ is ndarray
        and tangent.shape == out.shape
        and tangent.dtype is out.dtype
    ):
        return tangent
    return match(tangent, out)


def push_of(primitive: Any, mask: int) -> Push | None:
    """The rule for the operands in a bit mask; None for operations whose rule is not made of slopes."""
    if not isinstance(primitive, Elementwise) or type(primitive).jvp is not Elementwise.jvp:
        return None
    if primitive.not_differentiable is not None or not primitive.differentiable:
        return None
    slopes = primitive.derivatives or ()
    wanted = [k for k in range(primitive.arity) if mask >> k & 1 and slopes[k] is not None]
    if not wanted:
        return None
    read = sorted({slot for k in wanted for slot in primitive._arguments[k]})
    scope: dict[str, Any] = {"times": times, "fitted": fitted, "definite": definite}
    lines = [f"v{slot} = {'out' if slot == primitive.arity else f'definite(primals[{slot}], dtype)'}" for slot in read]
    if any(slot != primitive.arity for slot in read):
        lines.insert(0, "dtype = out.dtype")
    for k in wanted:
        slope = slopes[k]
        if not callable(slope):
            lines.append(f"g{k} = tangents[{k}]" + ("" if slope == 1 else f" * {slope!r}"))
            continue
        factor = primitive._same_as(slope, primitive._arguments[k])
        if factor is None:
            scope[f"d{k}"] = slope
            factor = f"d{k}({', '.join(f'v{slot}' for slot in primitive._arguments[k])})"
        product = f"times(tangents[{k}], {factor})"
        if k == 1 and wanted == [0, 1] and primitive.arity == 2 and "commutative" in primitive.facts:
            # Of x * x both halves are the same.
            product = f"g0 if tangents[0] is tangents[1] and primals[0] is primals[1] else {product}"
        lines.append(f"g{k} = {product}")
    lines.append(f"return fitted({' + '.join(f'g{k}' for k in wanted)}, out)")
    text = "def push(primals, tangents, out):\n" + "".join(f"    {line}\n" for line in lines)
    exec(compile(text, f"{PACKAGE}<push of {primitive.name}>", "exec"), scope)
    return scope["push"]  # type: ignore[no-any-return]
