"""What passes ask of constants: values computed ahead, whether all elements are one number, a key to compare by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.nodes import Const
from ..graph.primitive import Primitive
from ..graph.types import PYTHON_NUMBERS, ArrayType, Dim

LARGEST = 10_000
"""Elements of a computed constant that is kept in the graph even if it is larger than what it is computed from."""
COMPARED = 10_000
"""Elements up to which arrays are compared by content; larger ones are equal if they are the same object."""


def size(t: ArrayType) -> int | None:
    """Number of elements; None if only the run knows it."""
    return None if any(isinstance(n, Dim) for n in t.shape) else t.size


def worth_keeping(primitive: Primitive, inputs: Sequence[Const], outputs: Sequence[ArrayType]) -> bool:
    """Whether the result of an operation on constants is small enough to stand in the graph.

    Rearrangements cost nothing when they run, so that only small ones are computed ahead; other results may be as
    large as what they are made of.
    """
    total = 0
    for t in outputs:
        count = size(t)
        if count is None:
            return False
        total += count
    free = "rearranging" in primitive.facts and "elementwise" not in primitive.facts
    return total <= (LARGEST if free else max(LARGEST, sum(c.type.size for c in inputs)))


def computed(primitive: Primitive, inputs: Sequence[Const], outputs: Sequence[ArrayType]) -> list[Const] | None:
    """The outputs of an operation on constants, of exactly these types; None if it fails, as it will when run."""
    with np.errstate(all="ignore"):
        try:
            found = primitive.numpy(*[c.value for c in inputs])
        except Exception:  # the error belongs to the run, with the user's line
            return None
    results = found if primitive.multiple else (found,)
    constants = []
    for value, t in zip(results, outputs, strict=True):
        array = np.asarray(value)
        if array.shape != t.shape or t.weak:
            return None
        array = array.astype(t.dtype, copy=False)
        constants.append(Const(array if t.shape else array[()], t))
    return constants


def uniform(atom: Const) -> Any:
    """The number that all elements of a constant are, signs of zero included; None if they differ or there are none."""
    if isinstance(atom.value, (*PYTHON_NUMBERS, np.generic)):
        return atom.value
    value = np.asarray(atom.value)
    if value.size == 0 or value.dtype.kind not in "biufc":
        return None
    first = value[(0,) * value.ndim]
    if any(value.strides) and value.size > 1:
        if first != first or not (value == first).all():
            return None
        if first == 0 and value.dtype.kind in "fc" and not same_signs(value):
            return None
    return first


def same_signs(zeros: np.ndarray) -> bool:
    """Whether zeros have one sign (of real and of imaginary parts)."""
    parts = (zeros.real, zeros.imag) if zeros.dtype.kind == "c" else (zeros,)
    return all(np.signbit(part).all() or not np.signbit(part).any() for part in parts)


def const_key(atom: Const) -> Any:
    """A hashable value that is equal for constants with the same bits and type."""
    value = atom.value
    if isinstance(value, PYTHON_NUMBERS) and not isinstance(value, np.generic):
        return type(value).__name__, repr(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        return "object", id(atom) if value is None else id(value)
    array = np.asarray(value)
    if array.size > 1 and not any(array.strides):
        return "uniform", str(array.dtype), array.shape, array[(0,) * array.ndim].tobytes()
    if array.size > COMPARED:
        return "object", id(value)
    return "bits", str(array.dtype), array.shape, array.tobytes()
