"""Determinants: `det`, its gradient the matrix of cofactors, and `slogdet`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import SingularMatrixError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.types import ArrayType
from .arithmetic import conj, imag, multiply, real
from .compare import where
from .einsum import Einsum
from .families import shape_of
from .matmul import adjoint, matmul, swap
from .reduce import Prod
from .shape import reshape
from .solve import Inv, SquareMatrix, check_matrix, diagonals, prepared, real_dtype, trace, working_dtype
from .spectral import svd


def column(x: Any) -> Any:
    """A stack of numbers as a stack of 1-by-1 matrices."""
    return reshape(x, (*shape_of(x), 1, 1))


class Det(SquareMatrix):
    """The determinant. d det(A) = sum(C * dA) with the cofactor matrix C, which exists at singular A too."""

    name = "det"
    cubes = 2 / 3

    def type(self, a: ArrayType) -> ArrayType:
        return ArrayType(check_matrix(a, "det")[:-2], working_dtype(a, "det"))

    def numpy(self, a: Any) -> Any:
        return np.linalg.det(a)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.determinant(*operands, out, logarithm=False)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        letters = "abcdefghijklmnopqrstuvwx"[: len(shape_of(primals[0])) - 2]
        return bind(Einsum.of(f"{letters}yz,{letters}yz->{letters}"), cofactors(primals[0]), tangents[0])

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0,)


def is_regular(a: Any) -> bool:
    """Whether a matrix (each of a stack) can be inverted without losing half of the digits."""
    try:
        inverse = np.linalg.inv(a)
    except np.linalg.LinAlgError:
        return False
    condition = np.abs(a).sum(-1).max(-1, initial=0) * np.abs(inverse).sum(-1).max(-1, initial=0)
    return bool((condition < 1e3 / np.sqrt(np.finfo(a.dtype).eps)).all())


class Cofactors(SquareMatrix):
    """The matrix of cofactors, det(A) A^-T; by the singular value decomposition where A is (nearly) singular.

    With A = U S V^H, d = det(U V^H) and P_i the product of the singular values but the i-th it is d conj(U P V^H).
    With E = U^H dA V and P_ij the product without two of them, its derivative is d conj(U) D^T V^T, where
    D_ij = -E_ij P_ij and D_ii = sum of E_kk P_ik over the others (the second derivatives of the determinant of a
    diagonal matrix).
    """

    name = "cofactors"
    cubes = 8 / 3

    def numpy(self, a: Any) -> Any:
        if not a.size:
            return a.copy()
        if is_regular(a):
            return np.linalg.det(a)[..., None, None] * np.swapaxes(np.linalg.inv(a), -1, -2)
        if not np.isfinite(a).all():
            return np.full_like(a, np.nan)
        u, s, vh = np.linalg.svd(a)
        others = np.where(np.eye(a.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
        return np.linalg.det(u @ vh)[..., None, None] * np.conj((u * others[..., None, :]) @ vh)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a, da = primals[0], tangents[0]
        n = shape_of(a)[-1]
        number = a.interpreter.concrete(a) if is_traced(a) else a
        if not n or number is None or is_regular(number) or not np.isfinite(number).all():
            turned = swap(bind(Inv.of(), a))
            letters = "abcdefghijklmnopqrstuvwx"[: len(shape_of(out)) - 2]
            growth = bind(Einsum.of(f"{letters}yz,{letters}yz->{letters}"), turned, da)
            return multiply(column(growth), out) - matmul(matmul(turned, swap(da)), out)
        u, s, vh = svd(a)
        rank, dtype = len(shape_of(a)), real_dtype(type_of_value(a).dtype)
        apart = ~np.eye(n, dtype=bool)
        kept = apart[:, None, :] & apart[None, :, :]
        pairs = bind(Prod.of((rank,)), where(kept, reshape(s, (*shape_of(s)[:-1], 1, 1, n)), dtype.type(1)))
        pairs = multiply(pairs, apart.astype(dtype))
        inside = matmul(matmul(adjoint(u), da), adjoint(vh))
        on = matmul(pairs, reshape(diagonals(inside), (*shape_of(s), 1)))
        bent = multiply(on, np.eye(n, dtype=dtype)) - multiply(inside, pairs)
        turned = matmul(matmul(conj(u), swap(bent)), conj(vh))
        return multiply(column(det(matmul(u, vh))), turned)


def cofactors(a: Any) -> Any:
    """The matrix of cofactors: the gradient of the determinant."""
    return bind(Cofactors.of(), a)


def det(a: Any) -> Any:
    """The determinant."""
    return bind(Det.of(), prepared(a, "det"))


class Slogdet(SquareMatrix):
    """Sign (phase) and logarithm of the absolute value of the determinant: d log|det A| = Re tr(A^-1 dA)."""

    name = "slogdet"
    cubes = 2 / 3
    multiple = True

    def type(self, a: ArrayType) -> Any:
        shape, dtype = check_matrix(a, "slogdet")[:-2], working_dtype(a, "slogdet")
        return ArrayType(shape, dtype), ArrayType(shape, real_dtype(dtype))

    def numpy(self, a: Any) -> Any:
        return tuple(np.linalg.slogdet(a))

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Any) -> Any:
        return e.determinant(*operands, out[0], logarithm=True)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a = primals[0]
        try:
            inverse = bind(Inv.of(), a)
        except np.linalg.LinAlgError as error:
            raise SingularMatrixError(
                f"the derivative of slogdet of {type_of_value(a)} at a singular matrix",
                "use det, or add a small multiple of the identity",
            ) from error
        growth = trace(matmul(inverse, tangents[0]))
        if type_of_value(a).dtype.kind != "c":
            return None, growth
        sign = out[0]
        return multiply(1j * sign, imag(growth)), real(growth)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 1)


def slogdet(a: Any) -> Any:
    """(sign, log|det|)."""
    return bind(Slogdet.of(), prepared(a, "slogdet"))
