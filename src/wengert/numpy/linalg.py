"""`numpy.linalg` on traced values (and on plain arrays, by NumPy itself).

Functions of symmetric or Hermitian matrices (`cholesky`, `eigh`, `eigvalsh`) take the Hermitian part (A + A^H)/2 of a
traced matrix, so that the gradient of a function of a Hermitian matrix is Hermitian; NumPy reads one triangle,
which is the same for a matrix that is Hermitian. Where eigenvalues or singular values coincide, derivatives that
exist are found as limits, see `wengert.ops.spectral`. `eig` and `eigvals` of traced matrices are always complex.

`expm` and `solve_triangular` have SciPy's names and are here since NumPy lacks them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from ..errors import ShapeError, UnsupportedError
from ..graph.interpreter import is_traced, type_of_value
from ..ops import determinant, factor, spectral
from ..ops import solve as systems
from ..ops.arithmetic import imag, multiply, real, square
from ..ops.compare import greater, not_equal
from ..ops.families import shape_of
from ..ops.matmul import adjoint, swap
from ..ops.matmul import matmul as product
from ..ops.reduce import sum_axes
from ..ops.shape import canonical_axis, convert, move_axis, reshape
from . import products
from .convert import as_tensor_or_array
from .dispatch import implements, refuse
from .indexing import diagonal as _diagonal
from .indexing import trace as _trace
from .norms import as_inexact, cond, matrix_norm, norm, vector_norm
from .reductions import max as _max
from .shaping import matrix_transpose as _matrix_transpose

__all__ = [
    "LinAlgError", "cholesky", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "expm", "inv",
    "lstsq", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "multi_dot", "norm", "outer",
    "pinv", "qr", "slogdet", "solve", "solve_triangular", "svd", "svdvals", "tensordot", "tensorinv", "tensorsolve",
    "trace", "vecdot", "vector_norm",
]  # fmt: skip

# NumPy's own classes for several results, by which they stay containers that derivatives understand.
_one = np.ones((1, 1))
EigResult, EighResult = type(np.linalg.eig(_one)), type(np.linalg.eigh(_one))
QRResult, SlogdetResult, SVDResult = type(np.linalg.qr(_one)), type(np.linalg.slogdet(_one)), type(np.linalg.svd(_one))


def _matrix(x: Any) -> Any:
    return as_tensor_or_array(x)


# Systems -------------------------------------------------------------------------------------------------


@implements(np.linalg.solve)
def solve(a: Any, b: Any) -> Any:
    """X with A X = B for square A, or stacks of them, as `numpy.linalg.solve`.

    Raises `ShapeError` if A is not square or B does not fit, `SingularMatrixError` if A is singular.
    Derivative: dX = A^-1 (dB - dA X).

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda b: np.sum(np.linalg.solve(np.diag([2.0, 4.0]), b)))(np.ones(2))
    array([0.5 , 0.25])
    """
    return systems.solve(_matrix(a), _matrix(b))


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """X with T X = B for triangular T, or stacks of them, as `scipy.linalg.solve_triangular`.

    `trans` 0, 1 or 2 (or "N", "T", "C") asks for T, its transpose or its conjugate transpose. Only the triangle that
    `lower` names is read. The last two options are accepted for SciPy's sake and change nothing.

    Raises `ShapeError` for shapes that do not fit, `SingularMatrixError` (`LinAlgError` on plain arrays) for a zero
    on the diagonal.

    >>> import wengert.numpy as np
    >>> np.linalg.solve_triangular(np.array([[2.0, 0.0], [1.0, 1.0]]), np.array([2.0, 3.0]), lower=True)
    array([1., 2.])
    """
    a = _matrix(a)
    if trans not in (0, "N"):
        a = swap(a) if trans in (1, "T") else adjoint(a)
        lower = not lower
    return systems.triangular_solve(a, _matrix(b), lower, unit_diagonal)


@implements(np.linalg.inv)
def inv(a: Any) -> Any:
    """Inverse, as `numpy.linalg.inv`. Derivative: -X dA X. Raises `SingularMatrixError` for a singular matrix.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.linalg.inv(a)[0, 0])(np.eye(2))
    array([[-1., -0.],
           [-0., -0.]])
    """
    return systems.inv(_matrix(a))


@implements(np.linalg.det)
def det(a: Any) -> Any:
    """Determinant, as `numpy.linalg.det`. Its gradient is the matrix of cofactors, at singular matrices too.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.linalg.det)(np.array([[1.0, 2.0], [2.0, 4.0]])).round(12)
    array([[ 4., -2.],
           [-2.,  1.]])
    """
    return determinant.det(_matrix(a))


@implements(np.linalg.slogdet)
def slogdet(a: Any) -> Any:
    """(sign, logarithm of the absolute value) of the determinant, as `numpy.linalg.slogdet`.

    Its derivative at a singular matrix raises `SingularMatrixError`.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.linalg.slogdet(a).logabsdet)(np.diag([2.0, 4.0]))
    array([[0.5 , 0.  ],
           [0.  , 0.25]])
    """
    return SlogdetResult(*determinant.slogdet(_matrix(a)))


def expm(a: Any) -> Any:
    """Matrix exponential of a square matrix or a stack, as `scipy.linalg.expm`; differentiable to any order.

    Raises `ShapeError` if the matrix is not square.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda t: np.linalg.expm(t * np.array([[0.0, 1.0], [-1.0, 0.0]]))[0, 1])(0.0)
    np.float64(1.0)
    """
    return systems.expm(_matrix(a))


@implements(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Any:
    """Least squares, as `numpy.linalg.lstsq`: (solution, residuals, rank, singular values of A).

    The solution is that of least norm, pinv(A) B; its derivative is the one among matrices of the same rank. In a
    static trace, where the rank is not known, A counts as of full rank.

    >>> import wengert as wg, wengert.numpy as np
    >>> a = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> wg.grad(lambda b: np.linalg.lstsq(a, b)[0][1])(np.array([1.0, 2.0, 2.0])).round(12) + 0.0
    array([-0.5,  0. ,  0.5])
    """
    a, b = as_inexact(a), as_inexact(b)
    m, n = systems.check_matrix(type_of_value(a), "lstsq", square=False)[-2:]
    if len(shape_of(a)) != 2 or not 1 <= len(shape_of(b)) <= 2 or shape_of(b)[0] != m:
        raise ShapeError(
            f"lstsq: {type_of_value(a)} against {type_of_value(b)}",
            "give a matrix and a vector or matrix with as many rows",
        )
    dtype = systems.real_dtype(np.result_type(type_of_value(a).dtype, type_of_value(b).dtype))
    rcond = float(np.finfo(type_of_value(a).dtype).eps) * max(m, n) if rcond is None else max(float(rcond), 0.0)
    x = product(spectral.pinv(a, rcond), b)
    s = spectral.svd(a)[1]
    values = s.interpreter.concrete(s) if is_traced(s) else s
    rank = min(m, n) if values is None else int(np.sum(values > rcond * np.max(values, initial=0)))
    if rank != n or m <= n:
        return x, np.array([], dtype), rank, s
    left = product(a, x) - b
    residuals = sum_axes(
        square(real(left)) + square(imag(left)) if type_of_value(left).dtype.kind == "c" else square(left), (0,)
    )
    return x, residuals if len(shape_of(b)) > 1 else reshape(residuals, (1,)), rank, s


# Factorisations ------------------------------------------------------------------------------------------


@implements(np.linalg.cholesky)
def cholesky(a: Any, /, *, upper: bool = False) -> Any:
    """Triangular L with L L^H = (A + A^H)/2 (or U with U^H U), as `numpy.linalg.cholesky` for Hermitian A.

    Raises `SingularMatrixError` if the matrix is not positive definite.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.linalg.cholesky(a)[1, 1])(np.diag([1.0, 4.0]))
    array([[0.  , 0.  ],
           [0.  , 0.25]])
    """
    return factor.cholesky(_matrix(a), upper)


@implements(np.linalg.qr)
def qr(a: Any, mode: str = "reduced") -> Any:
    """A = Q R, as `numpy.linalg.qr` with mode "reduced", "complete" or "r".

    The derivative exists where the leading square block of R is regular. The surplus columns of a complete Q have the
    derivative without a rotation among themselves. Raises `UnsupportedError` for mode "raw".

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.linalg.qr(a).R[0, 0] ** 2)(np.eye(2))
    array([[2., 0.],
           [0., 0.]])
    """
    found = factor.qr(_matrix(a), mode)
    return found if mode == "r" else QRResult(*found)


# Spectra -------------------------------------------------------------------------------------------------


@implements(np.linalg.eigh)
def eigh(a: Any, UPLO: str = "L") -> Any:
    """(eigenvalues, eigenvectors) of the Hermitian part (A + A^H)/2, as `numpy.linalg.eigh` for Hermitian A.

    Since both triangles are read, `UPLO` changes nothing. At equal eigenvalues a function of the result that has a
    derivative gets it; one that depends on the arbitrary choice of eigenvectors gives `DegenerateWarning`, or NaN with
    `wg.settings(degenerate="nan")`.

    >>> import wengert as wg, wengert.numpy as np
    >>> def square(a):
    ...     w, v = np.linalg.eigh(a)
    ...     return (v * w**2 @ v.T)[0, 1]
    >>> wg.grad(square)(np.eye(2)).round(12)
    array([[0., 1.],
           [1., 0.]])
    """
    return EighResult(*spectral.eigh(_matrix(a)))


@implements(np.linalg.eigvalsh)
def eigvalsh(a: Any, UPLO: str = "L") -> Any:
    """Eigenvalues of the Hermitian part, ascending, as `numpy.linalg.eigvalsh`.

    One eigenvalue among equal ones has no derivative; it gets the one along the eigenvector that `eigh` found.
    """
    return spectral.eigh(_matrix(a))[0]


@implements(np.linalg.eig)
def eig(a: Any) -> Any:
    """(eigenvalues, eigenvectors) of a general matrix, as `numpy.linalg.eig` but always complex.

    Needs a diagonalisable matrix. Derivatives keep eigenvectors as LAPACK scales them: of length 1, the largest
    component real.
    """
    return EigResult(*spectral.eig(_matrix(a)))


@implements(np.linalg.eigvals)
def eigvals(a: Any) -> Any:
    """Eigenvalues of a general matrix, as `numpy.linalg.eigvals` but always complex."""
    return spectral.eig(_matrix(a))[0]


@implements(np.linalg.svd)
def svd(a: Any, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    """Singular value decomposition (U, S, Vh), or S alone, as `numpy.linalg.svd`.

    Equal and vanishing singular values are treated as equal eigenvalues are by `eigh`. With `full_matrices` the
    surplus columns have the derivative without a rotation among themselves.

    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda a: np.sum(np.linalg.svd(a, compute_uv=False)))(np.diag([3.0, 3.0])).round(12) + 0.0
    array([[1., 0.],
           [0., 1.]])
    """
    a = _matrix(a)
    if hermitian:
        a = factor.hermitian(as_inexact(a))
    found = spectral.svd(a, compute_uv and full_matrices)
    return SVDResult(*found) if compute_uv else found[1]


@implements(np.linalg.svdvals)
def svdvals(x: Any, /) -> Any:
    """Singular values, descending, as `numpy.linalg.svdvals`."""
    return spectral.svd(_matrix(x))[1]


@implements(np.linalg.pinv)
def pinv(a: Any, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    """Pseudo-inverse, as `numpy.linalg.pinv`; the derivative is the one among matrices of the same rank.

    `rcond` (or `rtol`) is one number, not traced.
    """
    if rcond is not None and rtol is not np._NoValue:
        raise ValueError("`rtol` and `rcond` can't be both set.")
    a = as_inexact(a)
    if rcond is None:
        rcond = 1e-15 if rtol is np._NoValue else rtol
    if rcond is None:
        rcond = (
            max(systems.check_matrix(type_of_value(a), "pinv", square=False)[-2:])
            * np.finfo(type_of_value(a).dtype).eps
        )
    if np.ndim(rcond):
        raise UnsupportedError("pinv with one rcond per matrix is not supported on traced values", "give one number")
    return spectral.pinv(factor.hermitian(a) if hermitian else a, float(rcond))


@implements(np.linalg.matrix_rank)
def matrix_rank(A: Any, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Any:
    """Number of singular values above the tolerance, as `numpy.linalg.matrix_rank`; an integer without derivative."""
    if tol is not None and rtol is not None:
        raise ValueError("`tol` and `rtol` can't be both set.")
    a = as_inexact(A)
    if len(shape_of(a)) < 2:
        return convert(_max(not_equal(a, 0)), np.int64)
    s = spectral.svd(factor.hermitian(a) if hermitian else a)[1]
    if tol is None:
        relative = (
            max(shape_of(a)[-2:]) * np.finfo(type_of_value(s).dtype).eps
            if rtol is None
            else np.asarray(rtol)[..., None]
        )
        tol = multiply(_max(s, axis=-1, keepdims=True, initial=0), relative)
    else:
        tol = np.asarray(tol)[..., None]
    return sum_axes(convert(greater(s, tol), np.int64), (len(shape_of(s)) - 1,))


# Products and shapes -------------------------------------------------------------------------------------


@implements(np.linalg.matrix_power)
def matrix_power(a: Any, n: Any) -> Any:
    """A @ A @ ... (n times; the inverse for negative n), as `numpy.linalg.matrix_power`, by repeated squaring."""
    n = n.__index__()
    a = _matrix(a)
    shape = systems.check_matrix(type_of_value(a), "matrix_power")
    if n < 0:
        a, n = systems.inv(a), -n
    result = None
    while n:
        if n & 1:
            result = a if result is None else product(result, a)
        n >>= 1
        if n:
            a = product(a, a)
    return np.broadcast_to(np.eye(shape[-1], dtype=type_of_value(a).dtype), shape).copy() if result is None else result


@implements(np.linalg.multi_dot)
def multi_dot(arrays: Any, *, out: Any = None) -> Any:
    """Product of several matrices in the cheapest order, as `numpy.linalg.multi_dot`; the ends may be vectors."""
    refuse("multi_dot", out=out)
    arrays = [_matrix(x) for x in arrays]
    if len(arrays) < 2:
        raise ValueError("Expecting at least two arrays.")
    first, last = shape_of(arrays[0]), shape_of(arrays[-1])
    if any(len(shape_of(x)) != 2 for x in arrays[1:-1]) or not {len(first), len(last)} <= {1, 2}:
        raise ShapeError(
            "multi_dot takes matrices, of which the first and the last may be vectors", "reshape the others"
        )
    arrays[0] = reshape(arrays[0], (1, *first)) if len(first) == 1 else arrays[0]
    arrays[-1] = reshape(arrays[-1], (*last, 1)) if len(last) == 1 else arrays[-1]
    extents = [shape_of(x)[0] for x in arrays] + [shape_of(arrays[-1])[1]]
    result = _chain(arrays, _cheapest(extents), 0, len(arrays) - 1)
    return reshape(result, (*first[:-1], *last[1:]))


def _cheapest(extents: list[int]) -> dict[tuple[int, int], int]:
    """Where to cut the product of matrices i to j, of shapes (extents[k], extents[k + 1]): dynamic programming."""
    count = len(extents) - 1
    cost = {(i, i): 0 for i in range(count)}
    cut: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            prices = [cost[i, k] + cost[k + 1, j] + extents[i] * extents[k + 1] * extents[j + 1] for k in range(i, j)]
            cost[i, j] = min(prices)
            cut[i, j] = i + prices.index(cost[i, j])
    return cut


def _chain(arrays: list[Any], cut: dict[tuple[int, int], int], i: int, j: int) -> Any:
    if i == j:
        return arrays[i]
    return product(_chain(arrays, cut, i, cut[i, j]), _chain(arrays, cut, cut[i, j] + 1, j))


@implements(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Any:
    """X with tensordot(a, X, X.ndim) = b, as `numpy.linalg.tensorsolve`."""
    a, b = _matrix(a), _matrix(b)
    rank = len(shape_of(a))
    if axes is not None:
        for k in axes:
            a = move_axis(a, canonical_axis(k, rank, "tensorsolve"), rank - 1)
    shape = shape_of(a)[len(shape_of(b)) :]
    size = math.prod(shape)
    if math.prod(shape_of(a)) != size * size:
        raise ShapeError(
            f"tensorsolve: {type_of_value(a)} is not square for {type_of_value(b)}",
            "prod(b.shape) must equal the product of the rest",
        )
    return reshape(systems.solve(reshape(a, (size, size)), reshape(b, (size,))), shape)


@implements(np.linalg.tensorinv)
def tensorinv(a: Any, ind: int = 2) -> Any:
    """Inverse under tensordot over `ind` axes, as `numpy.linalg.tensorinv`."""
    a = _matrix(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    shape = shape_of(a)
    size = math.prod(shape[ind:])
    if math.prod(shape) != size * size:
        raise ShapeError(f"tensorinv: {type_of_value(a)} is not square when cut at axis {ind}", "choose another ind")
    return reshape(systems.inv(reshape(a, (size, size))), (*shape[ind:], *shape[:ind]))


@implements(np.linalg.matmul)
def matmul(x1: Any, x2: Any, /) -> Any:
    """As `numpy.matmul`."""
    return product(_matrix(x1), _matrix(x2))


@implements(np.linalg.outer)
def outer(x1: Any, x2: Any, /) -> Any:
    """Products of all elements of two vectors, as `numpy.linalg.outer`."""
    x1, x2 = _matrix(x1), _matrix(x2)
    if len(shape_of(x1)) != 1 or len(shape_of(x2)) != 1:
        raise ShapeError(
            f"outer of {type_of_value(x1)} and {type_of_value(x2)}", "give vectors, or use np.outer, which flattens"
        )
    return products.outer(x1, x2)


@implements(np.linalg.cross)
def cross(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Vector product of vectors of 3 components, as `numpy.linalg.cross`."""
    x1, x2 = _matrix(x1), _matrix(x2)
    if shape_of(x1)[axis] != 3 or shape_of(x2)[axis] != 3:
        raise ShapeError(f"cross of {type_of_value(x1)} and {type_of_value(x2)}", "vectors need 3 components")
    return products.cross(x1, x2, axis=axis)


@implements(np.linalg.tensordot)
def tensordot(x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """As `numpy.tensordot`."""
    return products.tensordot(x1, x2, axes)


@implements(np.linalg.vecdot)
def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Inner products along an axis, the first operand conjugated, as `numpy.linalg.vecdot`."""
    x1, x2 = _matrix(x1), _matrix(x2)
    moved = [move_axis(x, canonical_axis(axis, len(shape_of(x)), "vecdot"), len(shape_of(x)) - 1) for x in (x1, x2)]
    return products.vecdot(*moved)


@implements(np.linalg.matrix_transpose)
def matrix_transpose(x: Any, /) -> Any:
    """The last two axes exchanged, as `numpy.linalg.matrix_transpose`."""
    return _matrix_transpose(x)


@implements(np.linalg.diagonal)
def diagonal(x: Any, /, *, offset: int = 0) -> Any:
    """Diagonals of the last two axes, as `numpy.linalg.diagonal`."""
    return _diagonal(x, offset, -2, -1)


@implements(np.linalg.trace)
def trace(x: Any, /, *, offset: int = 0, dtype: Any = None) -> Any:
    """Sums of the diagonals of the last two axes, as `numpy.linalg.trace`."""
    return _trace(x, offset, -2, -1, dtype)
