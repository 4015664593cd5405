"""Linear systems and functions of square matrices: solve, triangular solve, inverse, exponential.

All take stacks of matrices in the leading axes. Derivatives (Giles, Collected matrix derivative results for
forward and reverse mode algorithmic differentiation, 2008; Higham, Functions of matrices, 2008) are written
with products, solves and masks, which declare transposes, so that reverse mode and every order follow.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.types import ArrayType, broadcast_shapes
from .arithmetic import multiply
from .dependence import Operand, stacked
from .einsum import Einsum
from .families import align_batches, fit, shape_of
from .matmul import matmul, swap
from .shape import broadcast_to, convert, reshape

scipy_linalg = functools.cache(lambda: importlib.import_module("scipy.linalg"))
"""SciPy's linear algebra, imported when first used (it takes longer than wengert itself)."""

_PREFIX = {"f": "s", "d": "d", "F": "c", "D": "z"}
_DTYPES = {
    "f": np.dtype(np.float32),
    "d": np.dtype(np.float64),
    "F": np.dtype(np.complex64),
    "D": np.dtype(np.complex128),
}


def working_dtype(t: ArrayType, what: str) -> np.dtype[Any]:
    """The dtype that LAPACK works in: integers go to float64."""
    if t.dtype.kind in "biu":
        return np.dtype(np.float64)
    if t.dtype.char not in _DTYPES:
        raise DtypeError(f"{what} of {t}: LAPACK has no such precision", "convert with .astype(float)")
    return t.dtype


def real_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.empty(0, dtype).real.dtype


def check_matrix(t: ArrayType, what: str, square: bool = True) -> tuple[Any, ...]:
    """The shape of a matrix or stack of matrices, or `ShapeError`."""
    if t.ndim < 2:
        raise ShapeError(f"{what} of {t}: a matrix has two axes", "add axes with x[None, :] or np.reshape")
    if square and t.shape[-1] != t.shape[-2]:
        raise ShapeError(f"{what} of {t}: the matrix is not square", "the last two axes must have the same length")
    return t.shape


def prepared(x: Any, what: str) -> Any:
    """An operand in LAPACK's precision."""
    t = type_of_value(x)
    dtype = working_dtype(t, what)
    return convert(x, dtype) if t.dtype != dtype or not hasattr(x, "dtype") else x


def ones_below(n: int, dtype: Any, k: int = -1) -> Any:
    """The mask of the lower triangle."""
    return np.tri(n, n, k, dtype=dtype)


def trace(x: Any) -> Any:
    """Sum of the diagonals of a stack of matrices."""
    letters = "abcdefghijklmnopqrstuvwx"[: len(shape_of(x)) - 2]
    return bind(Einsum.of(f"{letters}yy->{letters}"), x)


def diagonals(x: Any) -> Any:
    """The diagonals of a stack of matrices."""
    letters = "abcdefghijklmnopqrstuvwx"[: len(shape_of(x)) - 2]
    return bind(Einsum.of(f"{letters}yy->{letters}y"), x)


class Stacked(Primitive, abstract=True):
    """Works on matrices in the last two axes, whatever leads: a batch axis is one more leading axis."""

    cubes: float = 2
    """Operations for a square matrix of n rows, in units of n**3."""

    def flops(self, *types: ArrayType) -> float:
        rows, columns = types[0].shape[-2:]
        return self.cubes * math.prod(types[0].shape[:-2]) * rows * columns * min(rows, columns)

    def workspace(self, *types: ArrayType) -> float:
        return 2 * max(t.size for t in types) * types[0].dtype.itemsize

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        outs = bind(self, *align_batches(operands, axes))
        return outs, (0,) * len(outs) if self.multiple else 0

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return [stacked(operands, out) for out in outs] if self.multiple else stacked(operands, outs)


class Solve(Stacked):
    """X with A X = B, for a stack of matrices A and one of matrices B with the same leading axes.

    dX = A^-1 (dB - dA X); transposed, B receives A^-T ct and A receives minus that times X^T.
    """

    name = "solve"
    linear_at = (1,)

    def flops(self, a: ArrayType, b: ArrayType) -> float:
        rows = a.shape[-1]
        return math.prod(a.shape[:-2]) * rows**2 * (2 / 3 * rows + 2 * b.shape[-1])

    def type(self, a: ArrayType, b: ArrayType) -> ArrayType:
        shape = check_matrix(a, "solve")
        if b.ndim != a.ndim or b.shape[:-1] != shape[:-1]:
            raise ShapeError(f"solve: {a} against the right-hand side {b}", "rows of both must agree")
        return ArrayType(b.shape, np.result_type(working_dtype(a, "solve"), working_dtype(b, "solve")))

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        return stacked(operands, outs, column=1)

    def numpy(self, a: Any, b: Any) -> Any:
        return np.linalg.solve(a, b)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.solve(*operands, out, types)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a, _ = primals
        da, db = tangents
        right = None if da is None else -matmul(da, out)
        if db is not None:
            right = db if right is None else right + db
        return bind(self, a, right)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 2) if mask & 1 else (0,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        a, b = operands
        back = bind(self, swap(a), ct)
        return (fit(-matmul(back, swap(out)), a) if needed[0] else None), (fit(back, b) if needed[1] else None)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        a, b = operands
        return None, fit(bind(self, swap(a), ct), b)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for lead, n, k in [((), 3, 2), ((2,), 3, 1), ((), 0, 2)]:
            yield cls(), (rng.normal(size=(*lead, n, n)) + 3 * np.eye(n), rng.normal(size=(*lead, n, k)))
        yield cls(), (_complex(rng, 3, 3) + 3 * np.eye(3), _complex(rng, 3, 2))


def _complex(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def align_stacks(what: str, *matrices: Any) -> list[Any]:
    """Stacks of matrices repeated to common leading axes."""
    shapes = [shape_of(x) for x in matrices]
    lead = broadcast_shapes(*(s[:-2] for s in shapes))
    if lead is None:
        raise ShapeError(f"{what}: the stacks {' and '.join(str(s[:-2]) for s in shapes)} do not broadcast")
    return [
        x if s[:-2] == lead else broadcast_to(x if is_traced(x) else np.asarray(x), (*lead, *s[-2:]))
        for x, s in zip(matrices, shapes, strict=True)
    ]


def solve(a: Any, b: Any) -> Any:
    """X with A X = B; as in NumPy 2 a one-dimensional B is a vector, everything else a stack of matrices."""
    a, b = prepared(a, "solve"), prepared(b, "solve")
    check_matrix(type_of_value(a), "solve")
    return with_columns(lambda left, right: bind(_solve, left, right), "solve", a, b)


def with_columns(rule: Any, what: str, a: Any, b: Any) -> Any:
    """A rule for stacks of matrices on a right-hand side that may be a vector."""
    shape = shape_of(b)
    if not shape:
        raise ShapeError(f"{what}: the right-hand side is a number", "give a vector or a matrix")
    if len(shape) > 1:
        return rule(*align_stacks(what, a, b))
    b = reshape(b, (*shape, 1))
    a, b = align_stacks(what, a, b)
    out = rule(a, b)
    return reshape(out, shape_of(out)[:-1])


_solve = Solve.of()


class TriangularSolve(Stacked):
    """X with T X = B; only the lower (or upper) triangle of T is read.

    Parameters: lower; unit (the diagonal counts as 1 and is not read).
    """

    name = "triangular_solve"
    params = ("lower", "unit")
    linear_at = (1,)

    def flops(self, t: ArrayType, b: ArrayType) -> float:
        return b.size * t.shape[-1]  # type: ignore[no-any-return]

    def type(self, t: ArrayType, b: ArrayType) -> ArrayType:
        shape = check_matrix(t, "triangular_solve")
        if b.ndim != t.ndim or b.shape[:-1] != shape[:-1]:
            raise ShapeError(f"triangular_solve: {t} against the right-hand side {b}", "rows of both must agree")
        dtypes = working_dtype(t, "triangular_solve"), working_dtype(b, "triangular_solve")
        return ArrayType(b.shape, np.result_type(*dtypes))

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        return stacked(operands, outs, column=1)

    def numpy(self, t: Any, b: Any) -> Any:
        dtype = np.result_type(t.dtype, b.dtype)
        if not b.size:
            return np.zeros(b.shape, dtype)
        if not self.unit and (np.diagonal(t, axis1=-2, axis2=-1) == 0).any():
            raise np.linalg.LinAlgError("a diagonal element of the triangular matrix is zero")
        # BLAS's trsm, since LAPACK's trtrs wakes threads for 5-by-5 matrices (a zero diagonal was ruled out above).
        # It reads columns: the transpose of a transpose costs no copy.
        solver = getattr(scipy_linalg().blas, _PREFIX[dtype.char] + "trsm")
        if t.ndim == 2:
            return solver(1.0, t.T, b, lower=not self.lower, trans_a=1, diag=self.unit)
        out = np.empty(b.shape, dtype)
        for k in np.ndindex(b.shape[:-2]):
            out[k] = solver(1.0, t[k].T, b[k], lower=not self.lower, trans_a=1, diag=self.unit)
        return out

    def python(self, t: Any, b: Any) -> str | None:
        if t.type.ndim != 2 or 0 in b.type.shape:
            return None
        return f"scipy.linalg.solve_triangular({t}, {b}, lower={self.lower}, unit_diagonal={self.unit})"

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.triangular(*operands, out, self.lower, self.unit, types)

    def _mask(self, n: int, dtype: Any) -> Any:
        strict = ones_below(n, dtype, -1 if self.unit else 0)
        return strict if self.lower else strict.T

    def _swapped(self) -> TriangularSolve:
        return TriangularSolve.of(not self.lower, self.unit)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        t, _ = primals
        dt, db = tangents
        right = None
        if dt is not None:
            right = -matmul(multiply(dt, self._mask(shape_of(t)[-1], real_dtype(type_of_value(t).dtype))), out)
        if db is not None:
            right = db if right is None else right + db
        return bind(self, t, right)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0, 2) if mask & 1 else (0,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        t, b = operands
        back = bind(self._swapped(), swap(t), ct)
        dt = None
        if needed[0]:
            dt = fit(-matmul(back, swap(out)), t)
            dt = multiply(dt, self._mask(shape_of(t)[-1], real_dtype(type_of_value(dt).dtype)))
        return dt, (fit(back, b) if needed[1] else None)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        t, b = operands
        return None, fit(bind(self._swapped(), swap(t), ct), b)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for lead, n, k, lower, unit in [
            ((), 3, 2, True, False),
            ((2,), 3, 1, False, False),
            ((), 3, 2, True, True),
            ((), 0, 1, True, False),
        ]:
            yield cls(lower, unit), (rng.normal(size=(*lead, n, n)) + 3 * np.eye(n), rng.normal(size=(*lead, n, k)))
        yield cls(False, False), (_complex(rng, 3, 3) + 3 * np.eye(3), _complex(rng, 3, 2))


def triangular_solve(t: Any, b: Any, lower: bool = True, unit: bool = False) -> Any:
    """X with T X = B for a triangular T (a stack; B a stack of matrices, or one vector)."""
    t, b = prepared(t, "triangular_solve"), prepared(b, "triangular_solve")
    check_matrix(type_of_value(t), "triangular_solve")
    primitive = TriangularSolve.of(bool(lower), bool(unit))
    return with_columns(lambda left, right: bind(primitive, left, right), "triangular_solve", t, b)


class SquareMatrix(Stacked, abstract=True):
    """Functions of one square matrix, or of each in a stack."""

    def type(self, a: ArrayType) -> Any:
        return ArrayType(check_matrix(a, self.name), working_dtype(a, self.name))

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(3, 3)) + 2 * np.eye(3),)
        yield cls(), (rng.normal(size=(2, 2, 2)) + 2 * np.eye(2),)
        yield cls(), (_complex(rng, 3, 3) + 2 * np.eye(3),)
        yield cls(), (np.zeros((0, 0)),)


class Inv(SquareMatrix):
    """The inverse X of A: dX = -X dA X."""

    name = "inv"

    def numpy(self, a: Any) -> Any:
        return np.linalg.inv(a)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.inverse(*operands, out, types)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return -matmul(matmul(out, tangents[0]), out)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (1,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        turned = swap(out)
        return (fit(-matmul(matmul(turned, ct), turned), operands[0]),)


def inv(a: Any) -> Any:
    """The inverse."""
    return bind(Inv.of(), prepared(a, "inv"))


class Expm(SquareMatrix):
    """The matrix exponential; its derivative in direction E is `ExpmFrechet`."""

    name = "expm"
    cubes = 30

    def numpy(self, a: Any) -> Any:
        return scipy_linalg().expm(a) if a.size else a.copy()

    def python(self, a: Any) -> str | None:
        return f"scipy.linalg.expm({a})" if 0 not in a.type.shape else None

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        return bind(_frechet, primals[0], tangents[0])

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return (0,)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        return (fit(bind(_frechet, *same_dtype(swap(operands[0]), ct)), operands[0]),)


class ExpmFrechet(Stacked):
    """L(A, E), the derivative of the exponential of A in direction E: linear in E, and L(A, .)^T = L(A^T, .).

    It is the upper right block of exp([[A, E], [0, A]]) (Van Loan; Higham, Functions of matrices, 10.6), from
    which its own derivative follows, and every order.
    """

    name = "expm_frechet"
    cubes = 60
    linear_at = (1,)

    def type(self, a: ArrayType, e: ArrayType) -> ArrayType:
        shape = check_matrix(a, "expm_frechet")
        if shape != e.shape:
            raise ShapeError(f"expm_frechet: {a} and direction {e}", "give both the same shape")
        return ArrayType(shape, np.result_type(a.dtype, e.dtype))

    def numpy(self, a: Any, e: Any) -> Any:
        out = np.empty(a.shape, np.result_type(a, e))
        if out.size:
            for k in np.ndindex(a.shape[:-2]):
                out[k] = scipy_linalg().expm_frechet(a[k], e[k], compute_expm=False, check_finite=False)
        return out

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        a, e = primals
        da, de = tangents
        total = None
        if da is not None:
            n = shape_of(a)[-1]
            first, last = np.eye(2 * n, n), np.eye(2 * n, n, -n)
            moved = matmul(matmul(first, da), first.T) + matmul(matmul(last, da), last.T)
            bent = bind(self, *same_dtype(block_upper(a, e), moved))
            total = matmul(matmul(first.T, bent), last)
        if de is not None:
            term = bind(self, a, de)
            total = term if total is None else total + term
        dtype = type_of_value(out).dtype
        return convert(total, dtype) if type_of_value(total).dtype != dtype else total

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        a, e = operands
        return None, fit(bind(self, *same_dtype(swap(a), ct)), e)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(), (rng.normal(size=(3, 3)), rng.normal(size=(3, 3)))
        yield cls(), (rng.normal(size=(2, 2, 2)), rng.normal(size=(2, 2, 2)))


def block_upper(a: Any, e: Any) -> Any:
    """[[A, E], [0, A]]."""
    n = shape_of(a)[-1]
    first, last = np.eye(2 * n, n), np.eye(2 * n, n, -n)
    diagonal = matmul(matmul(first, a), first.T) + matmul(matmul(last, a), last.T)
    return diagonal + matmul(matmul(first, e), last.T)


def same_dtype(*values: Any) -> list[Any]:
    """Operands in their common dtype."""
    types = [type_of_value(value) for value in values]
    dtype = np.result_type(*(t.dtype for t in types))
    return [value if t.dtype == dtype else convert(value, dtype) for value, t in zip(values, types, strict=True)]


_frechet = ExpmFrechet.of()


def expm(a: Any) -> Any:
    """The matrix exponential."""
    return bind(Expm.of(), prepared(a, "expm"))
