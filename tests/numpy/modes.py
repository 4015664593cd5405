"""One function in every mode: on numbers, recorded, traced and called, batched, and differentiated in each way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

import wengert as wg
import wengert.numpy as np
from wengert.ops.arithmetic import imag, real


def agree(found: Any, expected: Any, **tolerance: Any) -> None:
    """Equal shapes and dtypes, and values within rounding (equal NaNs and infinities)."""
    found, expected = numpy.asarray(found), numpy.asarray(expected)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    numpy.testing.assert_allclose(found, expected, **{"rtol": 1e-12, "atol": 1e-12, **tolerance})


def check_values(f: Callable[..., Any], *args: Any, **tolerance: Any) -> None:
    """`f` on plain arrays (which is NumPy) against `f` recorded, traced and called, and batched."""
    expected = f(*args)
    recorded = f(*[wg.variable(x) if numpy.asarray(x).dtype.kind in "fc" else wg.constant(x) for x in args])
    agree(recorded.numpy() if isinstance(recorded, wg.Tensor) else recorded, expected, **tolerance)
    agree(wg.trace(f, *args)(*args), expected, **tolerance)
    stacked = [numpy.stack([numpy.asarray(x), numpy.asarray(x)[::-1] if numpy.ndim(x) else x]) for x in args]
    rows = [f(*[x[k] for x in stacked]) for k in (0, 1)]
    agree(wg.vmap(f)(*stacked), numpy.stack(rows), **tolerance)
    swapped = [numpy.moveaxis(x, 0, -1) for x in stacked]
    agree(wg.vmap(f, in_axes=-1)(*swapped), numpy.stack(rows), **tolerance)


def scalar(f: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """A real number made of all elements of the result, each with a weight of its own."""
    shape = numpy.shape(f(*args))
    weights = numpy.random.default_rng(0).normal(size=(2, *shape))

    def loss(*values: Any) -> Any:
        out = f(*values)
        if numpy.iscomplexobj(args[0]):
            return np.sum(real(out) * weights[0] + imag(out) * weights[1])
        return np.sum(out * weights[0])

    return loss


def inner(gradient: Any, direction: Any) -> Any:
    """The directional derivative from a gradient."""
    return numpy.sum(numpy.real(numpy.conj(gradient) * direction))


def check_derivatives(f: Callable[..., Any], *args: Any, step: float = 1e-6, second: bool = True) -> None:
    """Derivatives of `f` in its first argument at a point where it is smooth, by every route to second order."""
    x, *rest = (numpy.asarray(x) for x in args)
    rng = numpy.random.default_rng(1)
    direction, other = (rng.normal(size=x.shape) for _ in range(2))
    if x.dtype.kind == "c":
        direction, other = (d + 1j * rng.normal(size=x.shape) for d in (direction, other))
    loss = scalar(f, x, *rest)

    def along(x: Any) -> Any:
        return loss(x, *rest)

    slope = (along(x + step * direction) - along(x - step * direction)) / (2 * step)
    gradient = wg.grad(along)(x)
    assert gradient.shape == x.shape and gradient.dtype == x.dtype
    close = {"rtol": 1e-6, "atol": 1e-6}
    numpy.testing.assert_allclose(inner(gradient, direction), slope, **close)
    numpy.testing.assert_allclose(
        wg.jvp(along, (x,), (direction,))[1], inner(gradient, direction), rtol=1e-9, atol=1e-9
    )
    numpy.testing.assert_allclose(wg.trace(wg.grad(along), x)(x), gradient, rtol=1e-11, atol=1e-11)
    forward = wg.trace(lambda x: wg.jvp(along, (x,), (direction,))[1], x)(x)
    numpy.testing.assert_allclose(forward, inner(gradient, direction), rtol=1e-9, atol=1e-9)
    both = numpy.stack([x, x + 0.01 * direction])
    rows = [gradient, wg.grad(along)(both[1])]
    numpy.testing.assert_allclose(wg.vmap(wg.grad(along))(both), rows, rtol=1e-10, atol=1e-10)
    if not second:
        return
    step *= 10
    bend = (wg.grad(along)(x + step * direction) - wg.grad(along)(x - step * direction)) / (2 * step)
    found = wg.jvp(wg.grad(along), (x,), (direction,))[1]
    numpy.testing.assert_allclose(found, bend, rtol=1e-5, atol=1e-5)

    def slope_along_other(x: Any) -> Any:
        return real(np.sum(np.conj(wg.grad(along)(x)) * other))

    def slope_forward(x: Any) -> Any:
        return wg.jvp(along, (x,), (other,))[1]

    for route in (slope_along_other, slope_forward):
        twice = wg.grad(route)(x)
        twice = 0 if twice is None else twice
        numpy.testing.assert_allclose(inner(twice, direction), inner(found, other), rtol=1e-8, atol=1e-8)
