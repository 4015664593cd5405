"""One-dimensional convolution and correlation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import type_of_value
from ..ops import arithmetic as a_
from ..ops import shape as s
from ..ops.families import vocabulary
from ..ops.gather import gather
from .convert import as_tensor_or_array, promote
from .dispatch import implements

__all__ = ["convolve", "correlate"]

_MODES = ("full", "same", "valid")


@implements(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Any:
    """Convolution of two vectors, sum over j of a[k - j] v[j], as `numpy.convolve`.

    Made of the windows of the longer vector, which takes memory for the product of the lengths.

    Raises
    ------
    ShapeError : an operand is empty or no vector, or the mode is unknown.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.convolve(x, [1.0, 2.0])[1])(np.array([1.0, 0.0, 0.0]))
    array([2., 1., 0.])
    """
    a, v = (s.reshape(x, (1,)) if x.ndim == 0 else x for x in map(as_tensor_or_array, (a, v)))
    if a.ndim != 1 or v.ndim != 1 or a.size == 0 or v.size == 0 or mode not in _MODES:
        raise ShapeError(
            f"convolve of {type_of_value(a)} and {type_of_value(v)} in mode {mode!r}",
            f"give two vectors that are not empty, and one of the modes {_MODES}",
        )
    a, v = promote([a, v] if a.size >= v.size else [v, a])
    n, m = a.size, v.size
    first, count = {"full": (0, n + m - 1), "same": ((m - 1) // 2, n), "valid": (m - 1, n - m + 1)}[mode]
    padded = s.pad(a, ((m - 1, m - 1),))
    positions = np.arange(first + m - 1, first + m - 1 + count)[:, None] - np.arange(m)
    return vocabulary.sum_axes(a_.multiply(gather(padded, (0,), 0, (positions,)), v), (1,))


@implements(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Any:
    """Correlation of two vectors, sum over n of a[n + k] conj(v[n]), as `numpy.correlate`."""
    a, v = as_tensor_or_array(a), as_tensor_or_array(v)
    if v.ndim == a.ndim == 1 and v.size > a.size:
        return a_.conj(vocabulary.flip(correlate(v, a, mode), 0))
    return convolve(a, vocabulary.flip(a_.conj(v), 0) if v.ndim else v, mode)
