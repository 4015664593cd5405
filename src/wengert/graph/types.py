"""What is known of a value without having it: shape and dtype."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np

_dim_numbers = itertools.count()


class Dim:
    """An axis length that is known only when the program runs: the number of steps of a `while_loop`.

    Two axes have the same length exactly when they carry the same `Dim` object.
    """

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = next(_dim_numbers)

    def __repr__(self) -> str:
        return f"n{self.number}"


class ArrayType(NamedTuple):
    """Shape, dtype, and whether the value is a Python number (whose dtype yields to arrays', NEP 50).

    >>> ArrayType((2, 3), np.dtype("float64"))
    f64[2,3]
    """

    shape: tuple[Any, ...]
    dtype: np.dtype[Any]
    weak: bool = False

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements (a `Dim` has none: TypeError)."""
        count = 1
        for extent in self.shape:
            count *= int(extent)
        return count

    @property
    def promotes_as(self) -> Any:
        """What to hand to `numpy.result_type`: the dtype, or for a weak value a Python number of its kind."""
        return WEAK_SAMPLES[self.dtype.kind] if self.weak else self.dtype

    def __repr__(self) -> str:
        return f"{dtype_name(self.dtype)}[{','.join(str(n) for n in self.shape)}]" + ("*" if self.weak else "")


WEAK_SAMPLES: dict[str, Any] = {"b": True, "i": 1, "f": 1.0, "c": 1.0j}

PYTHON_NUMBERS = (bool, int, float, complex)
_WEAK_DTYPES = {
    bool: np.dtype(np.bool_),
    int: np.dtype(np.int64),
    float: np.dtype(np.float64),
    complex: np.dtype(np.complex128),
}
_SHORT = {"float": "f", "int": "i", "uint": "u", "complex": "c"}


def dtype_name(dtype: np.dtype[Any]) -> str:
    """`f64`, `i32`, `c128`, `bool`: the short name used in printed graphs."""
    name = dtype.name
    stem = name.rstrip("0123456789")
    return _SHORT.get(stem, stem) + name[len(stem) :]


def type_of(value: Any) -> ArrayType:
    """The type of a NumPy array, NumPy scalar, Python number or anything with `shape` and `dtype`.

    >>> type_of(2.0), type_of(np.zeros((2, 3), np.float32))
    (f64[]*, f32[2,3])
    """
    if type(value) in _WEAK_DTYPES:
        return ArrayType((), _WEAK_DTYPES[type(value)], True)
    if not hasattr(value, "dtype"):
        value = np.asarray(value)
    return ArrayType(tuple(value.shape), value.dtype)


def definite(value: Any, dtype: np.dtype[Any]) -> Any:
    """A Python number as a NumPy scalar of an inexact dtype; anything else as it is.

    Derivative rules get these: with Python numbers 1 / 0 would raise instead of being infinite.
    """
    kind = value.__class__
    if (kind is float or kind is int or kind is complex) and dtype.kind in "fc":
        return dtype.type(value) if kind is not complex or dtype.kind == "c" else value
    return value


def is_inexact(dtype: np.dtype[Any]) -> bool:
    """Whether derivatives with respect to this dtype make sense: real or complex floating point."""
    return dtype.kind in "fc"


def broadcast_shapes(*shapes: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """NumPy's broadcasting of shapes that may hold `Dim`s; None if they do not fit.

    >>> broadcast_shapes((3, 1), (4,)), broadcast_shapes((3,), (4,))
    ((3, 4), None)
    """
    rank = max((len(shape) for shape in shapes), default=0)
    result: list[Any] = []
    for position in range(-rank, 0):
        extent: Any = 1
        for shape in shapes:
            if len(shape) >= -position:
                other = shape[position]
                if other is extent or other == extent or other == 1:
                    continue
                if extent != 1:
                    return None
                extent = other
        result.append(extent)
    return tuple(result)
