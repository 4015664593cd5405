"""Products of vectors, matrices and stacks: `matmul`, `dot`, `einsum`, `tensordot` and their relatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import AxisError, ShapeError
from ..graph.interpreter import type_of_value
from ..graph.tensor import Tensor
from ..ops import matmul as m
from ..ops.arithmetic import conj, multiply, subtract
from ..ops.einsum import LETTERS
from ..ops.einsum import einsum as _einsum
from ..ops.index import slice_axis
from ..ops.shape import canonical_axis, concatenate, convert, move_axis, reshape
from . import methods
from .convert import _READY, as_operand, as_tensor_or_array
from .dispatch import implements, refuse, table

__all__ = [
    "cross", "dot", "einsum", "einsum_path", "inner", "kron", "matmul", "matvec", "outer", "tensordot", "vdot",
    "vecdot", "vecmat",
]  # fmt: skip


def _as_dtype(result: Any, dtype: Any) -> Any:
    return result if dtype is None else convert(result, dtype)


def _ufunc(original: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a generalised ufunc, whose further options are refused."""

    def decorate(rule: Callable[[Any, Any], Any]) -> Callable[..., Any]:
        @functools.wraps(rule)
        def implementation(x1: Any, x2: Any, /, *, dtype: Any = None, **options: Any) -> Any:
            refuse(original.__name__, **options)
            return _as_dtype(rule(as_tensor_or_array(x1), as_tensor_or_array(x2)), dtype)

        return implements(original)(implementation)

    return decorate


@_ufunc(np.matmul)
def matmul(x: Any, y: Any) -> Any:
    """Matrix product `x @ y` of vectors, matrices or stacks of matrices, as `numpy.matmul`.

    Raises `ShapeError` if the inner axes differ or an operand is a number.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.sum(np.matmul(a, a)))(np.eye(2))
    array([[2., 2.],
           [2., 2.]])
    """
    return m.matmul(x, y)


@_ufunc(np.vecdot)
def vecdot(x: Any, y: Any) -> Any:
    """Inner products along the last axis, the first operand conjugated, as `numpy.vecdot`."""
    return _einsum("...i,...i->...", conj(x), y)


if hasattr(np, "matvec"):  # NumPy 2.2

    @_ufunc(np.matvec)
    def matvec(x: Any, y: Any) -> Any:
        """Stack of matrices times stack of vectors, as `numpy.matvec`."""
        return _einsum("...ij,...j->...i", x, y)

    @_ufunc(np.vecmat)
    def vecmat(x: Any, y: Any) -> Any:
        """Stack of (conjugated) vectors times stack of matrices, as `numpy.vecmat`."""
        return _einsum("...i,...ij->...j", conj(x), y)

else:  # pragma: no cover

    def matvec(x1: Any, x2: Any, /) -> Any:
        """Stack of matrices times stack of vectors."""
        return _einsum("...ij,...j->...i", as_tensor_or_array(x1), as_tensor_or_array(x2))

    def vecmat(x1: Any, x2: Any, /) -> Any:
        """Stack of (conjugated) vectors times stack of matrices."""
        return _einsum("...i,...ij->...j", conj(as_tensor_or_array(x1)), as_tensor_or_array(x2))


@implements(np.dot)
def dot(a: Any, b: Any, out: Any = None) -> Any:
    """Product over the last axis of `a` and the last but one of `b` (or its only one), as `numpy.dot`.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.dot)(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    array([3., 4.])
    """
    refuse("dot", out=out)
    a, b = as_operand(a), as_operand(b)
    left, right = type_of_value(a).ndim, type_of_value(b).ndim
    if not left or not right:
        return multiply(a, b)
    if right == 1 or right == 2:
        return m.matmul(a, b)
    return tensordot(a, b, ((left - 1,), (right - 2,)))


@implements(np.vdot)
def vdot(a: Any, b: Any, /) -> Any:
    """Sum of conj(a) * b over all elements, as `numpy.vdot`."""
    a, b = as_tensor_or_array(a), as_tensor_or_array(b)
    if type_of_value(a).size != type_of_value(b).size:
        raise ShapeError(f"vdot of {type_of_value(a)} and {type_of_value(b)}", "both need the same number of elements")
    return m.matmul(reshape(conj(a), (type_of_value(a).size,)), reshape(b, (type_of_value(b).size,)))


@implements(np.inner)
def inner(a: Any, b: Any, /) -> Any:
    """Product over the last axes, as `numpy.inner`."""
    a, b = as_operand(a), as_operand(b)
    left, right = type_of_value(a).ndim, type_of_value(b).ndim
    if not left or not right:
        return multiply(a, b)
    return tensordot(a, b, ((left - 1,), (right - 1,)))


@implements(np.outer)
def outer(a: Any, b: Any, out: Any = None) -> Any:
    """All products of an element of `a` with one of `b` (both flattened), as `numpy.outer`."""
    refuse("outer", out=out)
    a, b = as_tensor_or_array(a), as_tensor_or_array(b)
    return multiply(reshape(a, (type_of_value(a).size, 1)), reshape(b, (1, type_of_value(b).size)))


@implements(np.tensordot)
def tensordot(a: Any, b: Any, axes: Any = 2) -> Any:
    """Sum of products over pairs of axes, as `numpy.tensordot`.

    Raises `ShapeError` if the paired axes differ in length, `AxisError` if one does not exist.
    """
    a, b = as_tensor_or_array(a), as_tensor_or_array(b)
    ta, tb = type_of_value(a), type_of_value(b)
    if isinstance(axes, (int, np.integer)):
        if not 0 <= axes <= min(ta.ndim, tb.ndim):
            raise AxisError(f"tensordot over {axes} axes of {ta} and {tb}", "give at most as many as both have")
        pairs = tuple(range(ta.ndim - int(axes), ta.ndim)), tuple(range(int(axes)))
    else:
        left, right = (tuple(x) if isinstance(x, (tuple, list)) else (x,) for x in axes)
        if len(left) != len(right):
            raise AxisError(
                f"tensordot: axes {axes} pair {len(left)} with {len(right)}", "give as many for both operands"
            )
        pairs = (
            tuple(canonical_axis(k, ta.ndim, "tensordot") for k in left),
            tuple(canonical_axis(k, tb.ndim, "tensordot") for k in right),
        )
    for i, j in zip(*pairs, strict=True):
        if ta.shape[i] != tb.shape[j]:
            raise ShapeError(
                f"tensordot: axis {i} of {ta} against axis {j} of {tb}", "paired axes need the same length"
            )
    if ta.ndim == tb.ndim == 2 and pairs == ((1,), (0,)):
        return m.matmul(a, b)
    letters = iter(LETTERS)
    first = [next(letters) for _ in range(ta.ndim)]
    second = [next(letters) for _ in range(tb.ndim)]
    for i, j in zip(*pairs, strict=True):
        second[j] = first[i]
    kept = [c for k, c in enumerate(first) if k not in pairs[0]] + [
        c for k, c in enumerate(second) if k not in pairs[1]
    ]
    return _einsum(f"{''.join(first)},{''.join(second)}->{''.join(kept)}", a, b)


@implements(np.einsum)
def einsum(
    *operands: Any, out: Any = None, optimize: Any = False, dtype: Any = None, order: Any = None, casting: Any = None
) -> Any:
    """Einstein summation, `einsum("ij,jk->ik", a, b)`, as `numpy.einsum`.

    Ellipses, implicit output, diagonals ("ii->i") and the form `einsum(a, [0, 1], b, [1, 2], [0, 2])` are understood.
    Products of more than two operands are split into pairs in the order of `numpy.einsum_path` (greedy), whatever
    `optimize` says.

    Raises `ShapeError` if subscripts and operands do not fit.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.einsum("ii", a @ a))(np.diag([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    refuse("einsum", out=out, casting=casting)
    if not isinstance(operands[0], str):
        operands = _from_lists(operands)
    subscripts, *values = operands
    return _as_dtype(_einsum(subscripts, *[as_tensor_or_array(x) for x in values]), dtype)


def _from_lists(operands: tuple[Any, ...]) -> tuple[Any, ...]:
    """`einsum(a, [0, 1], b, [1, 2], [0, 2])` with subscripts as text."""
    values, groups = list(operands[: len(operands) - len(operands) % 2 : 2]), list(operands[1::2])

    def text(group: Any) -> str:
        return "".join("..." if k is Ellipsis else LETTERS[k] for k in group)

    left = ",".join(map(text, groups))
    if len(operands) % 2:
        return (f"{left}->{text(operands[-1])}", *values)
    return (left, *values)


@implements(np.einsum_path)
def einsum_path(*operands: Any, **options: Any) -> Any:
    """The order of contraction, as `numpy.einsum_path`; only shapes matter."""
    subscripts, *values = operands if isinstance(operands[0], str) else _from_lists(operands)
    return np.einsum_path(
        subscripts, *[np.broadcast_to(0.0, type_of_value(as_operand(x)).shape) for x in values], **options
    )


@implements(np.kron)
def kron(a: Any, b: Any) -> Any:
    """Kronecker product, as `numpy.kron`."""
    a, b = as_tensor_or_array(a), as_tensor_or_array(b)
    left, right = type_of_value(a).shape, type_of_value(b).shape
    rank = max(len(left), len(right))
    left, right = (1,) * (rank - len(left)) + left, (1,) * (rank - len(right)) + right
    spread = tuple(n for extent in left for n in (extent, 1)), tuple(n for extent in right for n in (1, extent))
    product = multiply(reshape(a, spread[0]), reshape(b, spread[1]))
    return reshape(product, tuple(i * j for i, j in zip(left, right, strict=True)))


@implements(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    """Vector product of vectors of 3 components (or 2, the third being 0), as `numpy.cross`."""
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = as_tensor_or_array(a), as_tensor_or_array(b)
    parts = []
    for x, k in ((a, axisa), (b, axisb)):
        t = type_of_value(x)
        k = canonical_axis(k, t.ndim, "cross")
        if t.shape[k] not in (2, 3):
            raise ShapeError(f"cross of {t} along axis {k}", "vectors need 2 or 3 components")
        x = move_axis(x, k, t.ndim - 1)
        last = t.ndim - 1
        components = [slice_axis(x, last, i, i + 1) for i in range(t.shape[k])]
        parts.append([reshape(c, type_of_value(c).shape[:-1]) for c in components])
    if not parts[0] or not parts[1]:
        raise ShapeError("cross of empty vectors", "vectors need 2 or 3 components")
    p, q = parts

    def part(i: int, j: int) -> Any:
        """p_i q_j - p_j q_i, where a missing third component is 0."""
        if i >= len(p) or j >= len(q):
            return -multiply(p[j], q[i])
        if j >= len(p) or i >= len(q):
            return multiply(p[i], q[j])
        return subtract(multiply(p[i], q[j]), multiply(p[j], q[i]))

    if len(p) == len(q) == 2:
        return part(0, 1)
    found = [part(1, 2), part(2, 0), part(0, 1)]
    rank = type_of_value(found[2]).ndim + 1
    joined = concatenate([reshape(f, (*type_of_value(f).shape, 1)) for f in found], rank - 1)
    return move_axis(joined, rank - 1, canonical_axis(axisc, rank, "cross"))


def _matmul(self: Tensor, other: Any) -> Any:
    interpreter = self.interpreter
    kind = other.__class__
    if (kind is np.ndarray or (kind is Tensor and other.interpreter is interpreter)) and not interpreter.done:
        return interpreter.apply(m._matmul, (self, other))  # what `bind` would find, at once
    if kind not in _READY:
        other = methods.operand_or_none(other)
        if other is None:
            return NotImplemented
    return m.matmul(self, other)


def _rmatmul(self: Tensor, other: Any) -> Any:
    if other.__class__ not in _READY:
        other = methods.operand_or_none(other)
        if other is None:
            return NotImplemented
    return m.matmul(other, self)


def _dot(self: Tensor, b: Any, out: Any = None) -> Any:
    """As `numpy.ndarray.dot`."""
    return table[np.dot](self, b, out)


methods.attach(__matmul__=_matmul, __rmatmul__=_rmatmul, __imatmul__=methods.in_place(_matmul), dot=_dot)
