"""Operands of the NumPy functions: anything array-like becomes an array or a tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph.interpreter import type_of_value
from ..graph.tensor import Tensor
from ..graph.types import PYTHON_NUMBERS
from ..ops.shape import broadcast_to, concatenate, convert, reshape
from .dispatch import holds_tensor

_READY = {Tensor, np.ndarray, *PYTHON_NUMBERS, *(t for t in np.sctypeDict.values())}


def as_operand(value: Any) -> Any:
    """An array, NumPy scalar, Python number or tensor as it is; lists (of tensors too) as one array or tensor."""
    if value.__class__ in _READY:
        return value
    if holds_tensor(value):
        return stack_operands([as_operand(item) for item in value])
    return np.asarray(value)


def as_tensor_or_array(value: Any) -> Any:
    """Like `as_operand`, with Python numbers as 0-dimensional arrays."""
    value = as_operand(value)
    return value if isinstance(value, (Tensor, np.ndarray)) else np.asarray(value)


def stack_operands(values: list[Any]) -> Any:
    """Operands of one shape joined along a new first axis, in their common dtype."""
    types = [type_of_value(value) for value in values]
    dtype = np.result_type(*(t.promotes_as for t in types))
    rows = []
    for value, t in zip(values, types, strict=True):
        value = value if isinstance(value, Tensor) else np.asarray(value)
        value = convert(value, dtype) if t.dtype != dtype else value
        rows.append(reshape(value, (1, *t.shape)))
    return concatenate(rows, 0)


def promote(values: list[Any]) -> list[Any]:
    """Operands converted to their common dtype."""
    types = [type_of_value(value) for value in values]
    dtype = np.result_type(*(t.promotes_as for t in types))
    return [
        v if t.dtype == dtype and not t.weak else convert(v if isinstance(v, Tensor) else np.asarray(v), dtype)
        for v, t in zip(values, types, strict=True)
    ]


def broadcast_operands(values: list[Any]) -> list[Any]:
    """Operands repeated to their common shape."""
    shape = np.broadcast_shapes(*(type_of_value(value).shape for value in values))
    return [broadcast_to(v if isinstance(v, Tensor) else np.asarray(v), shape) for v in values]
