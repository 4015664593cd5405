"""Factorisations with triangular factors: Cholesky and QR.

Rules after Murray, Differentiation of the Cholesky decomposition (2016), and Seeger et al., Auto-differentiating
linear algebra (2017), written as forward rules; wide matrices after Roberts and Roberts, QR and LQ decomposition
matrix backpropagation algorithms for square, wide, and deep matrices (2020).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph.interpreter import bind, type_of_value
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from .arithmetic import multiply
from .families import shape_of
from .index import slice_axis
from .matmul import adjoint, matmul, swap
from .shape import concatenate
from .solve import SquareMatrix, Stacked, _complex, check_matrix, ones_below, prepared, real_dtype, triangular_solve


def hermitian(x: Any) -> Any:
    """The Hermitian part of a stack of square matrices."""
    return 0.5 * (x + adjoint(x))


class Cholesky(SquareMatrix):
    """The lower triangular L with L L^H = (A + A^H)/2, which must be positive definite.

    Taking the Hermitian part makes the gradient of a function of a Hermitian matrix Hermitian.
    dL = L Phi(L^-1 dA L^-H), Phi = lower triangle with half of the diagonal.
    """

    name = "cholesky"
    cubes = 1 / 3

    def numpy(self, a: Any) -> Any:
        return np.linalg.cholesky(0.5 * (a + np.swapaxes(a, -1, -2).conj()))

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.cholesky(*operands, out, types)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        left = triangular_solve(out, hermitian(tangents[0]))
        both = adjoint(triangular_solve(out, adjoint(left)))
        return matmul(out, multiply(both, self._half(out)))

    def _half(self, out: Any) -> Any:
        """The mask of Phi."""
        n, dtype = shape_of(out)[-1], real_dtype(type_of_value(out).dtype)
        return ones_below(n, dtype) + np.eye(n, dtype=dtype) / 2

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (1,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        inside = multiply(matmul(swap(out), ct), self._half(out))
        left = triangular_solve(swap(out), inside, lower=False)
        return (hermitian(swap(triangular_solve(adjoint(out), swap(left), lower=False))),)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for a in (rng.normal(size=(3, 3)), rng.normal(size=(2, 2, 2)), _complex(rng, 3, 3), np.zeros((0, 0))):
            yield cls(), (a @ np.swapaxes(a, -1, -2).conj() + np.eye(a.shape[-1]),)


def cholesky(a: Any, upper: bool = False) -> Any:
    """The Cholesky factor, lower triangular or upper."""
    lower = bind(Cholesky.of(), prepared(a, "cholesky"))
    return adjoint(lower) if upper else lower


class QR(Stacked):
    """A = Q R with Q^H Q = 1 and R upper triangular with a real diagonal (of any sign, as LAPACK leaves it).

    With C = Q^H dA R^-1 the rotation of Q is its antisymmetric part completed from the lower triangle. A matrix
    that is wider than high is factorised by its first square block; the rest of R is Q^H A. The parameter
    `complete` asks for a square Q; its surplus columns are determined up to a rotation among themselves only, and
    the derivative is the one without such a rotation: right for whatever depends on the space they span.
    """

    name = "qr"
    cubes = 4
    params = ("complete",)
    multiple = True

    def type(self, a: ArrayType) -> Any:
        *lead, m, n = check_matrix(a, "qr", square=False)
        dtype = prepared_dtype(a)
        inner = m if self.complete else min(m, n)
        return ArrayType((*lead, m, inner), dtype), ArrayType((*lead, inner, n), dtype)

    def numpy(self, a: Any) -> Any:
        return tuple(np.linalg.qr(a, "complete" if self.complete else "reduced"))

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a, da, (q, r) = primals[0], tangents[0], out
        m, n = shape_of(a)[-2:]
        k = min(m, n)
        rank = len(shape_of(a))
        if not k:
            return None, None
        q1, r1 = q, r
        if self.complete and m > n:
            q1, r1 = slice_axis(q, rank - 1, 0, k), slice_axis(r, rank - 2, 0, k)
        square = slice_axis(r1, rank - 1, 0, k) if n > k else r1
        first = slice_axis(da, rank - 1, 0, k) if n > k else da
        scaled = swap(triangular_solve(swap(square), swap(first), lower=True))  # dA R^-1
        inside = matmul(adjoint(q1), scaled)
        dtype = type_of_value(q).dtype
        below = multiply(inside, ones_below(k, real_dtype(dtype)))
        turn = below - adjoint(below)
        if dtype.kind == "c":
            diagonal = multiply(inside, np.eye(k, dtype=real_dtype(dtype)))
            turn = turn + multiply(diagonal - adjoint(diagonal), 0.5)
        dq = matmul(q1, turn - inside) + scaled
        dr = matmul(inside - turn, square)
        if n > k:
            rest = matmul(adjoint(dq), slice_axis(a, rank - 1, k, n)) + matmul(
                adjoint(q), slice_axis(da, rank - 1, k, n)
            )
            dr = concatenate([dr, rest], rank - 1)
        if self.complete and m > n:
            surplus = slice_axis(q, rank - 1, k, m)
            dq = concatenate([dq, -matmul(q1, matmul(adjoint(dq), surplus))], rank - 1)
            dr = concatenate([dr, np.zeros((*shape_of(r)[:-2], m - k, n), dtype)], rank - 2)
        return dq, dr

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 1)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(False), (rng.normal(size=(4, 3)),)
        yield cls(False), (rng.normal(size=(2, 2, 3)),)
        yield cls(False), (_complex(rng, 3, 3),)
        yield cls(True), (rng.normal(size=(3, 3)),)
        yield cls(False), (np.zeros((0, 2)),)


def prepared_dtype(a: ArrayType) -> Any:
    """The dtype of the factors."""
    return np.dtype(np.float64) if a.dtype.kind in "biu" else a.dtype


def qr(a: Any, mode: str = "reduced") -> Any:
    """(Q, R), or R alone for mode "r"."""
    if mode not in ("reduced", "complete", "r"):
        raise UnsupportedError(
            f"qr(..., mode={mode!r}) is not supported on traced values", "use 'reduced', 'complete' or 'r'"
        )
    q, r = bind(QR.of(mode == "complete"), prepared(a, "qr"))
    return r if mode == "r" else (q, r)
