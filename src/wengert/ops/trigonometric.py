"""Trigonometric and hyperbolic functions and their inverses."""

from __future__ import annotations

import numpy as np

from .arithmetic import sqrt
from .exponential import inexact_dtype
from .families import elementwise, reals, vocabulary

DEGREE = float(np.pi / 180)

sin = elementwise(
    "sin", np.sin, lambda x: cos(x), facts=("tame", "odd", "zero at zero"), scalar=lambda e, x: e.sin(x),
    doc="Sine of radians",
)  # fmt: skip
cos = elementwise(
    "cos", np.cos, lambda x: -sin(x), facts=("tame", "even",), scalar=lambda e, x: e.cos(x),
    doc="Cosine of radians",
)  # fmt: skip
tan = elementwise(
    "tan",
    np.tan,
    lambda out: 1 + out * out,
    facts=("odd", "zero at zero"),
    samples=reals(-1, 1),
    scalar=lambda e, x: e.tan(x),
    doc="Tangent of radians",
)
arcsin = elementwise(
    "arcsin", np.arcsin, lambda x: 1 / sqrt((1 - x) * (1 + x)), facts=("odd", "increasing", "zero at zero"),
    samples=reals(-0.9, 0.9), scalar=lambda e, x: e.arcsin(x),
    doc="Inverse sine, in radians",
)  # fmt: skip
arccos = elementwise(
    "arccos",
    np.arccos,
    lambda x: -1 / sqrt((1 - x) * (1 + x)),
    samples=reals(-0.9, 0.9),
    scalar=lambda e, x: e.arccos(x),
    doc="Inverse cosine, in radians",
)
arctan = elementwise(
    "arctan",
    np.arctan,
    lambda x: 1 / (1 + x * x),
    facts=("odd", "increasing", "zero at zero"),
    scalar=lambda e, x: e.arctan(x),
    doc="Inverse tangent, in radians",
)
arctan2 = elementwise(
    "arctan2", np.arctan2, lambda x, y: y / (x * x + y * y), lambda x, y: -x / (x * x + y * y),
    samples=reals(0.3, 3), complex=False, scalar=lambda e, x, y: e.arctan2(x, y),
    doc="Angle of the point (y, x): arctan2(y, x)",
)  # fmt: skip
hypot = elementwise(
    "hypot", np.hypot, lambda x, out: _over(x, out), lambda y, out: _over(y, out), facts=("commutative",),
    samples=reals(0.3, 3), complex=False, scalar=lambda e, x, y: e.hypot(x, y),
    doc="sqrt(x**2 + y**2) without overflow; derivative 0 at the origin",
)  # fmt: skip
sinh = elementwise(
    "sinh", np.sinh, lambda x: cosh(x), facts=("odd", "increasing", "zero at zero"),
    scalar=lambda e, x: e.sinh(x),
    doc="Hyperbolic sine",
)  # fmt: skip
cosh = elementwise(
    "cosh", np.cosh, lambda x: sinh(x), facts=("even",), scalar=lambda e, x: e.cosh(x),
    doc="Hyperbolic cosine",
)  # fmt: skip
tanh = elementwise(
    "tanh",
    np.tanh,
    lambda out: 1 - out * out,
    facts=("tame", "odd", "increasing", "zero at zero"),
    scalar=lambda e, x: e.tanh(x),
    doc="Hyperbolic tangent",
)
arcsinh = elementwise(
    "arcsinh",
    np.arcsinh,
    lambda x: 1 / sqrt(x * x + 1),
    facts=("odd", "increasing", "zero at zero"),
    scalar=lambda e, x: e.arcsinh(x),
    doc="Inverse hyperbolic sine",
)
arccosh = elementwise(
    "arccosh",
    np.arccosh,
    lambda x: 1 / (sqrt(x - 1) * sqrt(x + 1)),
    samples=reals(1.2, 3),
    scalar=lambda e, x: e.arccosh(x),
    doc="Inverse hyperbolic cosine",
)
arctanh = elementwise(
    "arctanh", np.arctanh, lambda x: 1 / ((1 - x) * (1 + x)), facts=("odd", "zero at zero"), samples=reals(-0.9, 0.9),
    scalar=lambda e, x: e.arctanh(x),
    doc="Inverse hyperbolic tangent",
)  # fmt: skip
deg2rad = elementwise(
    "deg2rad", np.deg2rad, lambda: DEGREE, facts=("linear", "zero at zero"), complex=False,
    scalar=lambda e, x: e.mul(x, DEGREE),
    doc="Degrees to radians",
)  # fmt: skip
rad2deg = elementwise(
    "rad2deg",
    np.rad2deg,
    lambda: 1 / DEGREE,
    facts=("linear", "zero at zero"),
    complex=False,
    scalar=lambda e, x: e.mul(x, 1 / DEGREE),
    doc="Radians to degrees",
)


def _sinc_slope(x):  # type: ignore[no-untyped-def]
    """d sinc(x)/dx = (cos(pi x) - sinc(x)) / x, by its series pi**2 (-x/3 + pi**2 x**3/30 - ...) near 0."""
    near = vocabulary.less(vocabulary.absolute(x), 0.02)
    safe = vocabulary.where(near, 1.0, x)
    u = np.pi * x
    u2 = u * u
    series = np.pi * u * (-1 / 3 + u2 * (1 / 30 + u2 * (-1 / 840 + u2 * (1 / 45360))))
    return vocabulary.where(near, series, (cos(np.pi * safe) - sinc(safe)) / safe)


sinc = elementwise(
    "sinc", np.sinc, lambda x: _sinc_slope(x), dtypes=inexact_dtype, facts=("even",), samples=reals(0.2, 3),
    scalar=lambda e, x: e.sinc(x), doc="sin(pi x) / (pi x), 1 at 0",
)  # fmt: skip


def _over(x, length):  # type: ignore[no-untyped-def]
    return x / vocabulary.where(vocabulary.equal(length, 0), 1.0, length)
