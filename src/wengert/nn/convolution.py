"""Convolution and pooling in 1, 2 or 3 dimensions, with PyTorch's arguments and layout (batch, channels, lengths)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import type_of_value
from ..ops.arithmetic import add, divide
from ..ops.convolve import convolve
from ..ops.index import flip
from ..ops.reduce import max_axes, sum_axes
from ..ops.shape import pad, reshape, transpose
from ..ops.windows import window_lengths, windows

Number = int | Sequence[int]


def conv(x: Any, w: Any, bias: Any = None, stride: Number = 1, padding: Number | str = 0, dilation: Number = 1,
         groups: int = 1) -> Any:  # fmt: skip
    """Convolution without turning the kernel round, as in every deep-learning library.

    Parameters
    ----------
    x : (batch, channels, *lengths), with one to three lengths (more work as well).
    w : (channels out, channels in / groups, *kernel lengths).
    bias : (channels out,) or None.
    stride, dilation : an integer, or one for each length.
    padding : zeros on both sides, an integer or one for each length; a pair of integers for each length; "valid" for
        none; "same" for as many lengths out as in (with stride 1), the odd zero behind.
    groups : channels are divided into this many groups that do not mix.

    Returns
    -------
    (batch, channels out, *lengths), floor((n + padding - dilation (k - 1) - 1) / stride) + 1 long; the dtype is that
    of a product.

    Raises
    ------
    ShapeError : ranks or channels that do not fit.
    ValueError : strides, dilations or groups below 1, an unknown name of padding, "same" with a stride.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.nn.conv(np.arange(5.0).reshape(1, 1, 5), np.array([[[1.0, 0.0, -1.0]]]))
    array([[[-2., -2., -2.]]])
    """
    d = spatial(x, w, "conv")
    kernel = type_of_value(w).shape[2:]
    strides, dilations = many(stride, d, "stride"), many(dilation, d, "dilation")
    pairs = widths(padding, kernel, strides, dilations)
    if groups < 1:
        raise ValueError(f"conv: {groups} groups; there is at least 1")
    return with_bias(convolve(x, w, strides, pairs, (1,) * d, dilations, groups), bias)


def conv_transpose(x: Any, w: Any, bias: Any = None, stride: Number = 1, padding: Number = 0,
                   output_padding: Number = 0, dilation: Number = 1, groups: int = 1) -> Any:  # fmt: skip
    """The transpose of `conv` in its first argument (also called deconvolution), as in PyTorch.

    Parameters
    ----------
    x : (batch, channels, *lengths).
    w : (channels, channels out / groups, *kernel lengths): the kernel of the convolution that this transposes.
    stride, padding, dilation, groups : of that convolution.
    output_padding : added to the lengths on one side, where several lengths have the same convolution.

    Returns
    -------
    (batch, channels out, *lengths), (n - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1 long.

    Raises
    ------
    ShapeError, ValueError : as `conv`.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.nn.conv_transpose(np.ones((1, 1, 2)), np.array([[[1.0, 2.0, 3.0]]]), stride=2)
    array([[[1., 2., 4., 2., 3.]]])
    """
    d = spatial(x, w, "conv_transpose")
    channels, out, *kernel = type_of_value(w).shape
    strides, dilations = many(stride, d, "stride"), many(dilation, d, "dilation")
    pads, extra = many(padding, d, "padding", 0), many(output_padding, d, "output_padding", 0)
    if groups < 1 or channels % groups:
        raise ValueError(f"conv_transpose: {groups} groups of {channels} channels")
    turned = reshape(w, (groups, channels // groups, out, *kernel))
    turned = reshape(transpose(turned, (0, 2, 1, *range(3, 3 + d))), (groups * out, channels // groups, *kernel))
    for axis in range(2, 2 + d):
        turned = flip(turned, axis)
    spans = [(k - 1) * a for k, a in zip(kernel, dilations, strict=True)]
    pairs = tuple((s - p, s - p + o) for s, p, o in zip(spans, pads, extra, strict=True))
    return with_bias(convolve(x, turned, (1,) * d, pairs, strides, dilations, groups), bias)


def max_pool(
    x: Any, size: Number, stride: Number | None = None, padding: Number | str = 0, dilation: Number = 1
) -> Any:
    """The largest element of every window; elements that tie share the derivative.

    Parameters
    ----------
    x : (batch, channels, *lengths). size : of the window, an integer or one for each length.
    stride : by default `size`. padding : as in `conv`, with minus infinity (the least integer for integers).

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.nn.max_pool(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[3., 2.]]])
    """
    dtype = type_of_value(x).dtype
    least = -np.inf if dtype.kind == "f" else np.iinfo(dtype).min if dtype.kind in "iu" else None
    if least is None:
        raise ShapeError(f"max_pool of {type_of_value(x)}", "give real numbers, which have an order")
    patches, d = pooled(x, size, stride, padding, dilation, dtype.type(least))
    return max_axes(patches, tuple(range(2 + d, 2 + 2 * d)))


def avg_pool(x: Any, size: Number, stride: Number | None = None, padding: Number | str = 0,
             count_padding: bool = True) -> Any:  # fmt: skip
    """The mean of every window.

    Parameters
    ----------
    x, size, stride, padding : as in `max_pool`; padding is with zeros.
    count_padding : whether those zeros count in the mean (PyTorch's `count_include_pad`).

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.nn.avg_pool(np.array([[[1.0, 3.0, 2.0, 0.0]]]), 2)
    array([[[2., 1.]]])
    """
    t = type_of_value(x)
    patches, d = pooled(x, size, stride, padding, 1, t.dtype.type(0))
    axes = tuple(range(2 + d, 2 + 2 * d))
    if count_padding:
        count: Any = int(np.prod(many(size, d, "size")))
    else:
        ones, _ = pooled(np.ones((1, 1, *t.shape[2:])), size, stride, padding, 1, 0.0)
        count = np.sum(ones, axis=axes).astype(t.dtype if t.dtype.kind == "f" else np.float64)
    return divide(sum_axes(patches, axes), count)


def pooled(x: Any, size: Number, stride: Number | None, padding: Number | str, dilation: Number, value: Any) -> Any:
    """The windows of a pooling, and the number of dimensions."""
    shape = type_of_value(x).shape
    d = len(shape) - 2
    if d < 1:
        raise ShapeError(f"pooling of {type_of_value(x)}", "give x as (batch, channels, lengths)")
    sizes, dilations = many(size, d, "size"), many(dilation, d, "dilation")
    strides = sizes if stride is None else many(stride, d, "stride")
    pairs = widths(padding, sizes, strides, dilations)
    if any(lo or hi for lo, hi in pairs):
        x = pad(x, ((0, 0), (0, 0), *pairs), value)
    lengths = window_lengths(type_of_value(x).shape[2:], sizes, strides, dilations)
    if 0 in lengths:
        raise ShapeError(f"pooling: no window of {sizes} fits into {shape[2:]}", "make the window smaller, or pad")
    return windows(x, sizes, strides, dilations), d


def spatial(x: Any, w: Any, what: str) -> int:
    """The number of dimensions that a kernel slides in."""
    t, k = type_of_value(x), type_of_value(w)
    if t.ndim < 3 or k.ndim != t.ndim:
        raise ShapeError(
            f"{what}: {t} with a kernel {k}",
            "give x as (batch, channels, lengths) and the kernel with as many lengths; x[None] adds a batch axis",
        )
    return t.ndim - 2


def many(value: Number, d: int, what: str, least: int = 1) -> tuple[int, ...]:
    """One integer for each dimension."""
    found = (int(value),) * d if isinstance(value, (int, np.integer)) else tuple(int(v) for v in value)
    if len(found) != d or min(found) < least:
        raise ValueError(f"{what} {value!r}: give an integer of at least {least}, or {d} of them")
    return found


def widths(padding: Any, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Any:
    """Zeros before and behind, for each dimension."""
    d = len(kernel)
    if padding == "valid":
        return ((0, 0),) * d
    if padding == "same":
        if set(strides) != {1}:
            raise ValueError('padding "same" needs stride 1; give the zeros as numbers')
        spans = [(k - 1) * a for k, a in zip(kernel, dilation, strict=True)]
        return tuple((s // 2, s - s // 2) for s in spans)
    if isinstance(padding, str):
        raise ValueError(f'padding {padding!r}: give numbers, "valid" or "same"')
    if not isinstance(padding, (int, np.integer)) and len(padding) == d and all(np.ndim(p) == 1 for p in padding):
        return tuple((int(a), int(b)) for a, b in padding)
    return tuple((p, p) for p in many(padding, d, "padding", 0))


def with_bias(out: Any, bias: Any) -> Any:
    """A number added to every channel."""
    if bias is None:
        return out
    t, b = type_of_value(out), type_of_value(bias)
    if b.shape != (t.shape[1],):
        raise ShapeError(f"a bias {b} for {t.shape[1]} channels", f"give a vector of {t.shape[1]} numbers")
    return add(out, reshape(bias, (t.shape[1], *(1,) * (t.ndim - 2))))
