"""Exponentials, logarithms, and the functions built of them: logaddexp, sigmoid, softplus."""

from __future__ import annotations

import numpy as np

from ..graph.types import ArrayType, is_inexact
from .families import elementwise, reals, vocabulary

LN2 = float(np.log(2.0))
LN10 = float(np.log(10.0))


def inexact_dtype(*types: ArrayType) -> np.dtype:
    """NumPy's promotion, with integers and booleans going to float64."""
    dtype = np.result_type(*(t.promotes_as for t in types))
    return dtype if is_inexact(dtype) else np.dtype(np.float64)


exp = elementwise(
    "exp", np.exp, lambda out: out, facts=("tame", "increasing",), scalar=lambda e, x: e.exp(x),
    doc="e**x",
)  # fmt: skip
exp2 = elementwise(
    "exp2", np.exp2, lambda out: out * LN2, facts=("increasing",), scalar=lambda e, x: e.exp2(x), doc="2**x"
)
expm1 = elementwise(
    "expm1",
    np.expm1,
    lambda out: out + 1,
    facts=("increasing", "zero at zero"),
    scalar=lambda e, x: e.expm1(x),
    doc="e**x - 1, accurate near 0",
)
log = elementwise(
    "log", np.log, lambda x: 1 / x, facts=("increasing",), samples=reals(0.5, 3), scalar=lambda e, x: e.log(x),
    doc="Natural logarithm",
)  # fmt: skip
log2 = elementwise(
    "log2", np.log2, lambda x: 1 / (x * LN2), facts=("increasing",), samples=reals(0.5, 3),
    scalar=lambda e, x: e.log2(x),
    doc="Logarithm to base 2",
)  # fmt: skip
log10 = elementwise(
    "log10",
    np.log10,
    lambda x: 1 / (x * LN10),
    facts=("increasing",),
    samples=reals(0.5, 3),
    scalar=lambda e, x: e.log10(x),
    doc="Logarithm to base 10",
)
log1p = elementwise(
    "log1p", np.log1p, lambda x: 1 / (1 + x), facts=("increasing", "zero at zero"), samples=reals(-0.5, 3),
    scalar=lambda e, x: e.log1p(x),
    doc="log(1 + x), accurate near 0",
)  # fmt: skip


def _weight(x, out):  # type: ignore[no-untyped-def]
    """exp(x - out), with 0 where both are -inf (out is -inf only if every operand is)."""
    return exp(vocabulary.where(vocabulary.equal(x, out), 0.0, x - out))


logaddexp = elementwise(
    "logaddexp", np.logaddexp, lambda x, out: _weight(x, out), lambda y, out: _weight(y, out),
    facts=("commutative", "associative"), complex=False, scalar=lambda e, x, y: e.logaddexp(x, y),
    doc="log(e**x + e**y) without overflow",
)  # fmt: skip
logaddexp2 = elementwise(
    "logaddexp2", np.logaddexp2, lambda x, out: exp2(x - out), lambda y, out: exp2(y - out),
    facts=("commutative", "associative"), complex=False, scalar=lambda e, x, y: e.logaddexp2(x, y),
    doc="log2(2**x + 2**y) without overflow",
)  # fmt: skip


def _sigmoid(x):  # type: ignore[no-untyped-def]
    x = np.asarray(x)
    x = x if is_inexact(x.dtype) else x.astype(np.float64)
    small = np.exp(-np.abs(x))  # never overflows
    return (np.where(x >= 0, 1, small) / (1 + small)).astype(x.dtype, copy=False)[()]


def _softplus(x):  # type: ignore[no-untyped-def]
    return np.logaddexp(x, 0)


sigmoid = elementwise(
    "sigmoid", _sigmoid, lambda out: out * (1 - out), dtypes=inexact_dtype, facts=("increasing",), complex=False,
    scalar=lambda e, x: e.sigmoid(x),
    doc="1 / (1 + e**-x), without overflow",
)  # fmt: skip
softplus = elementwise(
    "softplus", _softplus, lambda x: sigmoid(x), dtypes=inexact_dtype, facts=("increasing",),
    complex=False, scalar=lambda e, x: e.softplus(x),
    doc="log(1 + e**x), without overflow",
)  # fmt: skip

vocabulary.log = log
