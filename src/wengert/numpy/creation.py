"""Making arrays: `array`, `zeros`, `linspace`, `meshgrid` and their relatives.

Outside of every transform the functions return plain NumPy arrays. Inside one, those that make an array to be
filled (`zeros`, `ones`, `empty`, `full`, `*_like`, and `array` of floating-point numbers) return a constant
`Tensor`, so that `x = np.zeros(3); x[0] = traced` works; it serves everywhere a plain array does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ConcretizationError
from ..graph.interpreter import innermost, is_traced, type_of_value
from ..graph.tensor import Tensor
from ..graph.types import Dim, is_inexact
from ..ops import arithmetic as a_
from ..ops.families import vocabulary
from ..ops.shape import broadcast_to, concatenate, convert, move_axis, reshape
from ..ops.shape import zeros_like as zeros_of_type
from .convert import as_operand, as_tensor_or_array, promote
from .dispatch import holds_tensor, implements, refuse, table
from .keys import settled

__all__ = [
    "array", "asarray", "asanyarray", "ascontiguousarray", "copy", "zeros", "ones", "empty", "full", "zeros_like",
    "ones_like", "empty_like", "full_like", "arange", "linspace", "logspace", "geomspace", "meshgrid", "vander",
]  # fmt: skip


def fresh(tensor: Tensor) -> Tensor:
    """Another handle on the same value: assignment to one does not change the other."""
    return Tensor(tensor.interpreter, tensor.value, tensor.note)


def made(value: Any) -> Any:
    """A new array, as a constant tensor inside a transform."""
    return value if innermost() is None else vocabulary.constant(value)


def array(
    object: Any, dtype: Any = None, *, copy: Any = True, order: Any = None, ndmin: int = 0, **options: Any
) -> Any:
    """A new array from anything array-like, lists that hold traced values included, as `numpy.array`.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: np.sum(np.array([x, 2 * x, 1.0]) ** 2))(3.0)
    np.float64(30.0)
    """
    if not holds_tensor(object):
        if copy is True and order is None and not ndmin and not options:
            plain = np.array(object, dtype)  # the usual case; passing all options on would take as long as the call
        else:
            plain = np.array(object, dtype, copy=copy, order=order, ndmin=ndmin, **options)
        if innermost() is None:
            return plain
        return made(plain) if is_inexact(plain.dtype) else plain
    result = as_operand(object)
    if dtype is not None:
        result = convert(result, dtype)
    if result.ndim < ndmin:
        result = reshape(result, (*(1,) * (ndmin - result.ndim), *result.shape))
    return fresh(result) if result is object and copy else result


def asarray(a: Any, dtype: Any = None, order: Any = None, *, copy: Any = None, **options: Any) -> Any:
    """Anything array-like as an array, a tensor as it is, as `numpy.asarray`."""
    if not holds_tensor(a):
        return np.asarray(a, dtype, order, copy=copy, **options)
    return array(a, dtype, copy=bool(copy))


asanyarray = ascontiguousarray = asarray


@implements(np.copy)
def copy(a: Any, order: Any = "K", subok: bool = False) -> Any:
    """A new handle on the same value."""
    a = as_operand(a)
    return fresh(a) if is_traced(a) else np.array(a)


def _filled(original: Callable[..., Any]) -> Callable[..., Any]:
    """`zeros`, `ones` and `empty`: NumPy's own, as a constant inside a transform."""

    @functools.wraps(original)
    def function(shape: Any, dtype: Any = float, order: str = "C", **options: Any) -> Any:
        value = original(shape, dtype, order, **options)
        return value if innermost() is None else vocabulary.constant(value)

    function.__doc__ = (
        f"As `numpy.{original.__name__}`; inside a transform a constant tensor, to be filled by assignment."
    )
    return function


zeros, ones, empty = map(_filled, (np.zeros, np.ones, np.empty))


def full(shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", **options: Any) -> Any:
    """A value repeated to a shape, as `numpy.full`; the value may be traced."""
    if not holds_tensor(fill_value):
        return made(np.full(shape, fill_value, dtype, order, **options))
    value = as_operand(fill_value)
    value = value if dtype is None else convert(value, dtype)
    return broadcast_to(value, tuple(shape) if isinstance(shape, (tuple, list)) else (int(shape),))


def _like(original: Callable[..., Any], fill: Any) -> Callable[..., Any]:
    """`zeros_like`, `ones_like`, `empty_like`."""

    @functools.wraps(original)
    def function(
        a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **options: Any
    ) -> Any:
        a = settled(as_operand(a))
        if a.__class__ is not Tensor:
            return made(original(a, dtype, order, subok, shape, **options))
        t = a.type
        if shape is None and any(isinstance(n, Dim) for n in t.shape):  # a length not known yet
            zero = convert(zeros_of_type(a), dtype or t.dtype)
            return a_.add(zero, np.dtype(dtype or t.dtype).type(fill)) if fill else zero
        return vocabulary.constant(np.full(t.shape if shape is None else shape, fill, dtype or t.dtype))

    table[original] = function
    function.__doc__ = f"As `numpy.{original.__name__}`; a constant tensor for a tensor and inside a transform."
    return function


zeros_like, ones_like, empty_like = _like(np.zeros_like, 0), _like(np.ones_like, 1), _like(np.empty_like, 0)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, **options: Any
) -> Any:
    """A value repeated to the shape of `a`, in its dtype, as `numpy.full_like`; the value may be traced."""
    a = settled(as_operand(a))
    if not is_traced(a) and not holds_tensor(fill_value):
        return made(np.full_like(a, fill_value, dtype, order, subok, shape, **options))
    t = type_of_value(a)
    return full(t.shape if shape is None else shape, as_tensor_or_array(fill_value), dtype or t.dtype)


table[np.full_like] = full_like


def arange(*args: Any, dtype: Any = None, **options: Any) -> Any:
    """Numbers in equal steps, as `numpy.arange`. Start and step may be traced where the number of steps is known."""
    limits = [settled(arg) for arg in args] + [settled(options[k]) for k in ("start", "stop", "step") if k in options]
    if not any(map(is_traced, limits)):
        plain = {k: settled(v) for k, v in options.items()}
        return np.arange(*[settled(arg) for arg in args], dtype=dtype, **plain)
    if options:
        refuse("arange", **options)
    start, stop, step = (0, limits[0], 1) if len(limits) == 1 else (*limits, 1)[:3]
    numbers = [value.interpreter.concrete(value) if is_traced(value) else value for value in (start, stop, step)]
    if any(number is None for number in numbers):
        raise ConcretizationError(
            "np.arange of a traced limit: the length of the result is not known",
            "pass the length as a plain Python integer, or use np.linspace with a fixed number of points",
        )
    count = np.arange(*numbers).size
    line = a_.add(start, a_.multiply(step, np.arange(count)))
    return line if dtype is None else convert(line, dtype)


@implements(np.linspace)
def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    """`num` evenly spaced numbers, as `numpy.linspace`; the limits may be traced arrays."""
    start, stop = promote([a_.multiply(as_operand(v), 1.0) for v in (start, stop)])
    num = int(num)
    steps = num - 1 if endpoint else num
    width = a_.subtract(stop, start)
    rank = len(type_of_value(width).shape)
    part = (np.arange(num) / steps if steps > 0 else np.arange(num) * 1.0).reshape(-1, *(1,) * rank)
    line = a_.add(start, a_.multiply(part.astype(np.finfo(type_of_value(width).dtype).dtype), width))
    if endpoint and num > 1:  # the last number is exact
        last = broadcast_to(stop, type_of_value(width).shape)
        line = concatenate([vocabulary.slice_axis(line, 0, 0, num - 1), reshape(last, (1, *last.shape))], 0)
    if axis:
        line = move_axis(line, 0, axis % (rank + 1))
    if dtype is not None:
        line = convert(line, dtype)
    return (line, a_.divide(width, steps) if steps > 0 else np.nan) if retstep else line


@implements(np.logspace)
def logspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0
) -> Any:
    """Powers of the base with evenly spaced exponents, as `numpy.logspace`."""
    line = a_.power(as_operand(base), linspace(start, stop, num, endpoint, axis=axis))
    return line if dtype is None else convert(line, dtype)


@implements(np.geomspace)
def geomspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, dtype: Any = None, axis: int = 0) -> Any:
    """Numbers with one ratio between neighbours, as `numpy.geomspace`."""
    start, stop = promote([a_.multiply(as_operand(v), 1.0) for v in (start, stop)])
    ratio = a_.divide(stop, start)
    exponents = linspace(np.zeros(type_of_value(ratio).shape), 1.0, num, endpoint)
    line = a_.multiply(start, a_.power(ratio, exponents))
    if axis:
        line = move_axis(line, 0, axis % len(type_of_value(line).shape))
    return line if dtype is None else convert(line, dtype)


@implements(np.meshgrid)
def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> Any:
    """Coordinates of a grid from those of its axes, as `numpy.meshgrid`."""
    lines = [as_tensor_or_array(x) for x in xi]
    rank = len(lines)
    order = list(range(rank))
    if indexing == "xy" and rank > 1:
        order[:2] = 1, 0
    shape = [0] * rank
    for line, at in zip(lines, order, strict=True):
        shape[at] = line.size
    parts = [
        reshape(line, tuple(line.size if k == at else 1 for k in range(rank)))
        for line, at in zip(lines, order, strict=True)
    ]
    return tuple(parts if sparse else [broadcast_to(part, tuple(shape)) for part in parts])


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    """Powers of the elements of a vector, one row each, as `numpy.vander`."""
    x = as_tensor_or_array(x)
    count = x.shape[0] if N is None else N
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return a_.power(reshape(x, (x.shape[0], 1)), powers)
