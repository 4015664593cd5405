"""Eigenvalues, singular values and what is made of them.

Eigenvectors turn at the rate (V^H dA V)_ij / (w_j - w_i), which has no value where eigenvalues coincide. Yet a
function of eigenvalues and eigenvectors may well have a derivative there: the exponential V diag(exp w) V^H does.
Its derivative is the limit of derivatives at V diag(w + eps d) V^H, with d distinct among equal eigenvalues, for
eps -> 0. To take the limit exactly, `split` gives the eigenvalues an infinitesimal part eps d wherever some
coincide while a derivative is being taken; from there on numbers are Laurent series in eps (`transforms.series`),
1/(w_j - w_i) is a pole, and the result is the term of order 0. Poles cancel if the derivative exists. If one is
left, the function depends on the arbitrary choice of vectors, which gives `DegenerateWarning`. Singular values
that coincide or vanish, and eigenvalues of diagonalisable general matrices, go the same way.

Eigenvectors and singular vectors are determined up to a phase; derivatives are those for which v does not turn in its
own direction, v^H dv = 0 (for `eig`, those for which the largest component stays real).
"""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DegenerateWarning, DtypeError
from ..graph.interpreter import bind, type_of_value
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from ..settings import settings
from ..source import here
from .arithmetic import absolute, conj, divide, imag, multiply, real, subtract
from .compare import where
from .cut import stop_gradient
from .factor import hermitian
from .families import Elementwise, Linear, elementwise, reals, shape_of, vocabulary
from .index import slice_axis
from .matmul import adjoint, matmul, swap
from .reduce import Max
from .shape import concatenate, convert, reshape
from .solve import Stacked, _complex, check_matrix, diagonals, prepared, real_dtype, working_dtype
from .solve import solve as solve_system


def tolerance(dtype: np.dtype[Any]) -> float:
    """Relative distance below which two values count as equal: sqrt(eps).

    At distance d the usual formula loses eps/d to round-off. Treating two values as equal costs d^2 (`directions`
    are balanced), and values that are equal in exact arithmetic come out within a few eps.
    """
    return math.sqrt(np.finfo(dtype).eps)


def warn(text: str) -> None:
    """Give a `DegenerateWarning` that points at the user's line."""
    place = here()
    if place is None:
        warnings.warn(text, DegenerateWarning, stacklevel=2)
    else:
        warnings.warn_explicit(text, DegenerateWarning, place.file, place.line)


def _inverse_gap(x: Any, scale: Any) -> Any:
    x = np.asarray(x)
    closed = np.abs(x) <= tolerance(x.dtype) * np.asarray(scale)
    x = np.broadcast_to(x, closed.shape)
    if not closed.any():
        return np.reciprocal(x)
    if settings.degenerate == "nan":
        return np.where(closed, x.dtype.type(np.nan), 1 / np.where(closed, 1, x))
    warn(
        "equal eigenvalues or singular values in a derivative inside a loop or branch, where the limit cannot be "
        "taken: the part that depends on their difference is left out"
    )
    return np.where(closed, x.dtype.type(0), 1 / np.where(closed, 1, x))


class InverseGap(Elementwise, abstract=True):
    """1/x for a difference of eigenvalues, where a difference that is 0 stands for an infinitesimal one."""

    def series(self, gap: Sequence[Any], scale: Any, count: int) -> tuple[int, list[Any]]:
        """The Laurent series of 1/gap: lowest order, and coefficients up to order `count - 1`."""
        first = gap[0]
        closed = np.abs(first) <= tolerance(first.dtype) * scale
        zero = np.zeros(closed.shape, first.dtype)
        coefficients = [zero + c for c in gap] + [zero] * (count + 1 - len(gap))
        if not closed.any():
            return 0, _reciprocal(coefficients[:count])
        shifted = [np.where(closed, high, low) for low, high in itertools.pairwise(coefficients)]
        stuck = closed & (shifted[0] == 0)
        shifted[0] = np.where(stuck, np.nan, shifted[0])
        found = _reciprocal(shifted)
        before = [zero, *found[:-1]]
        return -1, [np.where(closed, high, low) for low, high in zip(before, found, strict=True)]


def _reciprocal(series: Sequence[Any]) -> list[Any]:
    """Coefficients of 1/series, for a leading coefficient that is not 0."""
    found = [1 / series[0]]
    for k in range(1, len(series)):
        found.append(-found[0] * sum(series[j] * found[k - j] for j in range(1, k + 1)))
    return found


def _gap_dtype(gap: ArrayType, scale: ArrayType) -> np.dtype[Any]:
    if gap.dtype.kind not in "fc":
        raise DtypeError(f"inverse_gap of {gap}: eigenvalues are floating-point numbers", "convert with .astype(float)")
    return gap.dtype


inverse_gap = elementwise(
    "inverse_gap", _inverse_gap, lambda out: -out * out, 0, samples=[reals(0.5, 3), reals(0.5, 1)], family=InverseGap,
    dtypes=_gap_dtype,
    doc="1/x for a difference x of eigenvalues of size `scale`; the setting `degenerate` says what happens at 0.",
)  # fmt: skip


def gaps(w: Any) -> tuple[Any, Any, Any]:
    """w_j - w_i with 1 on the diagonal, the scale of w, and the mask of what is off the diagonal."""
    shape = shape_of(w)
    n = shape[-1]
    scale = largest(w)
    across = subtract(reshape(w, (*shape[:-1], 1, n)), reshape(w, (*shape, 1)))
    return across + np.eye(n, dtype=type_of_value(w).dtype), scale, ~np.eye(n, dtype=bool)


def largest(w: Any) -> Any:
    """The largest absolute value, as a 1-by-1 matrix, cut from the derivative; 1 where all are 0."""
    shape = shape_of(w)
    if not shape[-1]:
        return np.ones((*shape[:-1], 1, 1))
    size = absolute(stop_gradient(w))
    top = bind(Max.of((len(shape) - 1,)), size)
    return reshape(where(vocabulary.equal(top, 0), 1.0, top), (*shape[:-1], 1, 1))


def rotation_rates(w: Any) -> Any:
    """K_ij = 1/(w_j - w_i), 0 on the diagonal."""
    gap, scale, apart = gaps(w)
    return where(apart, inverse_gap(gap, scale), type_of_value(w).dtype.type(0))


def directions(w: Any, with_zero: bool = False) -> Any:
    """Distinct numbers for those of the values w that coincide (or vanish, if that counts); None if none do.

    In a group of equal values they add up to 0: for a pair that are only nearly equal, the limit is then the mean of
    what holds at either, good to second order in their distance. In a group of zeros they are positive.
    """
    n = w.shape[-1]
    if not w.size:
        return None
    top = np.abs(w).max(-1, keepdims=True)
    top = np.where(top == 0, 1, top)
    limit = tolerance(w.dtype) * top
    vanishing = w <= limit if with_zero else np.zeros(w.shape, bool)
    if w.dtype.kind == "f":  # in order: neighbours tell
        if not (np.abs(np.diff(w, axis=-1)) <= limit).any() and not vanishing.any():
            return None
    same = np.abs(w[..., None, :] - w[..., :, None]) <= limit[..., None]
    chosen = (same.sum(-1) > 1) | vanishing
    if not chosen.any():
        return None
    for _ in range(n.bit_length()):  # equal to an equal one
        same = np.matmul(same, same)
    place = np.arange(n, 0, -1.0) if with_zero else np.arange(1.0, n + 1)
    centred = place - np.matmul(same, place) / same.sum(-1)
    zeros = np.matmul(same, vanishing[..., None])[..., 0]
    return (np.where(zeros, place, np.where(chosen, centred, 0)) * top / n).astype(w.dtype)


class Limit(Linear):
    """The identity, which marks a whole derivative of or by a matrix that a decomposition takes.

    Such a derivative has no pole of its own, so its limit may be taken there and then; decompositions that follow
    each other do not use up each other's terms.
    """

    name = "limit"
    facts = Linear.facts | {"elementwise", "identity"}

    def type(self, x: ArrayType) -> ArrayType:
        return ArrayType(x.shape, x.dtype)

    def numpy(self, x: Any) -> Any:
        return x

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return (limit(ct),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return limit(operands[0]), axes[0]

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(2, 3)),)


def limit(x: Any) -> Any:
    """`x`, which has a limit."""
    return bind(_limit, x)


_limit = Limit.of()


class Spectral(Stacked, abstract=True):
    """A decomposition whose values may coincide; `values_at` is their place among the outputs."""

    multiple = True
    values_at = 0
    with_zero = False

    def split(self, outs: Any, order: int) -> Any:
        """The outputs with an infinitesimal part for values that coincide, good for `order` derivatives."""
        if settings.degenerate != "limit":
            return outs
        return vocabulary.split_values(outs, self.values_at, lambda w: directions(w, self.with_zero), order)


class Eigh(Spectral):
    """Eigenvalues (ascending) and orthonormal eigenvectors of the Hermitian part (A + A^H)/2.

    With M = V^H dA V: dw = diag M, dV = V (K * M), K_ij = 1/(w_j - w_i). A gradient with respect to A is Hermitian.
    """

    name = "eigh"
    cubes = 9

    def type(self, a: ArrayType) -> Any:
        shape, dtype = check_matrix(a, "eigh"), working_dtype(a, "eigh")
        return ArrayType(shape[:-1], real_dtype(dtype)), ArrayType(shape, dtype)

    def numpy(self, a: Any) -> Any:
        return tuple(np.linalg.eigh(0.5 * (a + np.swapaxes(a, -1, -2).conj())))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        w, v = out
        inside = matmul(matmul(adjoint(v), hermitian(limit(tangents[0]))), v)
        return real(diagonals(inside)), matmul(v, multiply(inside, rotation_rates(w)))

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (1,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        (w, v), (gw, gv) = out, ct
        inside = None
        if gv is not None:  # V^T ct, the transpose of the rule above
            inside = multiply(matmul(swap(v), gv), rotation_rates(w))
        if gw is not None:
            n = shape_of(w)[-1]
            on = multiply(reshape(gw, (*shape_of(gw), 1)), np.eye(n, dtype=type_of_value(w).dtype))
            inside = on if inside is None else inside + on
        found = matmul(matmul(conj(v), inside), swap(v))
        return (limit(hermitian(found)),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(3, 3)),)
        yield cls(), (rng.normal(size=(2, 2, 2)),)
        yield cls(), (np.zeros((0, 0)),)


def eigh(a: Any) -> Any:
    """(eigenvalues, eigenvectors) of a Hermitian matrix."""
    return bind(Eigh.of(), prepared(a, "eigh"))


class SVD(Spectral):
    """A = U diag(s) V^H with s descending; the outputs are U, s, V^H.

    With P = U^H dA V: ds = Re diag P, and U, V turn at the rates (K- * (P + P^H) +- K+ * (P - P^H)) / 2, where
    K-_ij = 1/(s_j - s_i) off the diagonal and K+_ij = 1/(s_j + s_i). With `full`, the surplus columns are
    determined up to a rotation among themselves only; their derivative is the one without such a rotation.
    """

    name = "svd"
    cubes = 20
    params = ("full",)
    values_at = 1
    with_zero = True

    def type(self, a: ArrayType) -> Any:
        *lead, m, n = check_matrix(a, "svd", square=False)
        dtype, k = working_dtype(a, "svd"), min(m, n)
        rows, columns = (m, n) if self.full else (k, k)
        return (
            ArrayType((*lead, m, rows), dtype),
            ArrayType((*lead, k), real_dtype(dtype)),
            ArrayType((*lead, columns, n), dtype),
        )

    def numpy(self, a: Any) -> Any:
        return tuple(np.linalg.svd(a, full_matrices=self.full))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        da, (u, s, vh) = limit(tangents[0]), out
        m, n = shape_of(da)[-2:]
        k, rank = min(m, n), len(shape_of(da))
        if not k:
            return None, None, None
        u1 = slice_axis(u, rank - 1, 0, k) if self.full and m > k else u
        v1h = slice_axis(vh, rank - 2, 0, k) if self.full and n > k else vh
        dtype = type_of_value(s).dtype
        right = matmul(da, adjoint(v1h))
        p = matmul(adjoint(u1), right)
        ds = real(diagonals(p))
        gap, scale, apart = gaps(s)
        shape = shape_of(s)
        total = reshape(s, (*shape[:-1], 1, k)) + reshape(s, (*shape, 1))
        zero = dtype.type(0)
        minus = multiply(p + adjoint(p), where(apart, inverse_gap(gap, scale), zero))
        if type_of_value(da).dtype.kind == "c":
            plus = inverse_gap(total, scale)
        else:  # the diagonal of P - P^H is 0
            plus = where(apart, inverse_gap(where(apart, total, scale), scale), zero)
        plus = multiply(p - adjoint(p), plus)
        du = matmul(u1, 0.5 * (minus + plus))
        dv = matmul(adjoint(v1h), 0.5 * (minus - plus))
        if m > k or n > k:
            inverse = inverse_gap(reshape(s, (*shape[:-1], 1, k)), scale)
        if m > k:
            du = du + multiply(right - matmul(u1, p), inverse)
        if n > k:
            left = matmul(adjoint(da), u1)
            dv = dv + multiply(left - matmul(adjoint(v1h), adjoint(p)), inverse)
        dvh = adjoint(dv)
        if self.full and m > k:
            surplus = slice_axis(u, rank - 1, k, m)
            du = concatenate([du, -matmul(u1, matmul(adjoint(du), surplus))], rank - 1)
        if self.full and n > k:
            surplus = slice_axis(vh, rank - 2, k, n)
            dvh = concatenate([dvh, -matmul(matmul(surplus, dv), v1h)], rank - 2)
        return du, ds, dvh

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (1,)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(False), (rng.normal(size=(3, 3)),)
        yield cls(False), (rng.normal(size=(2, 3, 2)),)
        yield cls(False), (rng.normal(size=(2, 4)),)
        yield cls(True), (rng.normal(size=(3, 3)),)
        yield cls(False), (np.zeros((0, 2)),)


def svd(a: Any, full: bool = False) -> Any:
    """(U, s, V^H)."""
    return bind(SVD.of(bool(full)), prepared(a, "svd"))


class Eig(Spectral):
    """Eigenvalues and eigenvectors of a general matrix, always complex (so that the dtype does not depend on numbers).

    With M = V^-1 dA V: dw = diag M, dV = V (K * M), less a part along V itself, since LAPACK scales eigenvectors to
    length 1 and turns the largest component real.
    """

    name = "eig"
    cubes = 25

    def type(self, a: ArrayType) -> Any:
        shape, dtype = check_matrix(a, "eig"), np.result_type(working_dtype(a, "eig"), np.complex64)
        return ArrayType(shape[:-1], dtype), ArrayType(shape, dtype)

    def numpy(self, a: Any) -> Any:
        w, v = np.linalg.eig(a)
        dtype = np.result_type(w.dtype, np.complex64)
        return w.astype(dtype), v.astype(dtype)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        w, v = out
        if not shape_of(w)[-1]:
            return None, None
        da = convert(limit(tangents[0]), type_of_value(v).dtype)
        inside = solve_system(v, matmul(da, v))
        dv = matmul(v, multiply(inside, rotation_rates(w)))
        dv = dv - multiply(v, real(_column_sums(multiply(conj(v), dv))))
        length = absolute(stop_gradient(v))
        highest = reshape(bind(Max.of((len(shape_of(v)) - 2,)), length), (*shape_of(v)[:-2], 1, shape_of(v)[-1]))
        chosen = where(vocabulary.equal(length, highest), conj(v), type_of_value(v).dtype.type(0))
        turn = divide(imag(_column_sums(multiply(chosen, dv))), real(_column_sums(multiply(chosen, v))))
        return diagonals(inside), dv - multiply(v, multiply(turn, 1j))

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (1,)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (np.triu(rng.normal(size=(3, 3)), 1) + np.diag([1.0, 2.5, 4.0]) + 0.1 * rng.normal(size=(3, 3)),)
        yield cls(), (np.zeros((0, 0)),)


def _column_sums(x: Any) -> Any:
    """Sums over the last axis but one, which stays with length 1."""
    shape = shape_of(x)
    return reshape(vocabulary.sum_axes(x, (len(shape) - 2,)), (*shape[:-2], 1, shape[-1]))


def eig(a: Any) -> Any:
    """(eigenvalues, eigenvectors) of a general matrix, complex."""
    return bind(Eig.of(), prepared(a, "eig"))


class Pinv(Stacked):
    """The pseudo-inverse X of A, singular values up to `rcond` times the largest taken as 0.

    dX = -X dA X + X X^H dA^H (1 - A X) + (1 - X A) dA^H X^H X (Golub and Pereyra 1973): the derivative among
    matrices of the same rank, the only ones among which the pseudo-inverse is continuous.
    """

    name = "pinv"
    cubes = 22
    params = ("rcond",)

    def type(self, a: ArrayType) -> ArrayType:
        *lead, m, n = check_matrix(a, "pinv", square=False)
        return ArrayType((*lead, n, m), working_dtype(a, "pinv"))

    def numpy(self, a: Any) -> Any:
        return np.linalg.pinv(a, self.rcond)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a, da, x = primals[0], tangents[0], out
        m, n = shape_of(a)[-2:]
        dah, xh = adjoint(da), adjoint(x)
        dtype = real_dtype(type_of_value(x).dtype)
        total = -matmul(matmul(x, da), x)
        total = total + matmul(matmul(matmul(x, xh), dah), np.eye(m, dtype=dtype) - matmul(a, x))
        return total + matmul(matmul(np.eye(n, dtype=dtype) - matmul(x, a), dah), matmul(xh, x))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(1e-15), (rng.normal(size=(3, 2)),)
        yield cls(1e-15), (rng.normal(size=(2, 2, 3)),)
        yield cls(1e-15), (_complex(rng, 3, 2),)
        yield cls(1e-15), (np.zeros((0, 2)),)


def pinv(a: Any, rcond: float | None = None) -> Any:
    """The pseudo-inverse."""
    a = prepared(a, "pinv")
    if rcond is None:
        rcond = 1e-15
    return bind(Pinv.of(float(rcond)), a)
