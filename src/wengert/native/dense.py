"""Linear systems, inverses, determinants and Cholesky factors: tiny ones written out in registers, others by LAPACK.

LAPACK reads columns first: a matrix in row-major order is its transpose there. Stacks are loops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import SingularMatrixError
from ..graph.types import ArrayType
from .arrays import Array, Elements, Memory, known_size, offset_of
from .loops import NATIVE, Call

WRITTEN = 4
"""Rows up to which elimination is written out."""
LOOPED = 32
"""Rows up to which a triangular system is a loop nest; larger ones go to BLAS."""

Rows = list[list[Any]]


class Dense:
    """Part of `Lowering`."""

    def solve(self: Any, a: Array, b: Array, out: ArrayType, shown: Sequence[ArrayType], name: str = "solve") -> Any:
        """X with A X = B, for stacks of matrices."""
        if not fits(a, b, out):
            return NotImplemented
        n, columns = out.shape[-2:]
        if not math.prod(out.shape):
            return self.zeros(out.shape, out.dtype)
        if n <= WRITTEN and columns <= 2 * WRITTEN:

            def one(matrix: Rows, right: Rows) -> list[Any]:
                fine, _ = eliminate(self, matrix, right)
                self.regular(fine, name, shown)
                substitute(self, matrix, right)
                return [x for row in right for x in row]

            return self.each_matrix(one, (a, b), out)
        return self.by_lapack(a, b, out, shown, name)

    def inverse(self: Any, a: Array, out: ArrayType, shown: Sequence[ArrayType]) -> Any:
        """The inverse: the solution for the identity."""
        if not fits(a, a, out):
            return NotImplemented
        one, zero = (self.const(x, NATIVE[out.dtype]) for x in (1, 0))
        same = lambda index: self.select(self.eq(self.lift(index[-2], "i64"), index[-1]), one, zero)
        n = out.shape[-1]
        eye = Elements((n, n), out.dtype, [one if i == j else zero for i in range(n) for j in range(n)])
        return self.solve(
            a, eye if n <= WRITTEN and len(out.shape) == 2 else self.map(out.shape, out.dtype, same), out, shown, "inv"
        )

    def determinant(self: Any, a: Array, out: ArrayType, logarithm: bool) -> Any:
        """The determinant, or its sign and the logarithm of its absolute value, by elimination."""
        n = a.shape[-1]
        shape = (*out.shape, 2 if logarithm else 1)
        if not fits(a, a, out) or not n or (n > WRITTEN and not out.size):
            return NotImplemented
        name = NATIVE[out.dtype]

        def found(diagonal: Sequence[Any], sign: Any) -> list[Any]:
            if not logarithm:
                total = sign
                for x in diagonal:
                    total = self.mul(total, x)
                return [total]
            size = self.const(0, name)
            for x in diagonal:
                size = self.add(size, self.log(self.intrinsic("fabs", x)))
                flip = self.select(self.lt(x, 0), self.neg(sign), sign)
                sign = self.select(self.eq(x, 0), self.const(0, name), flip)
            return [sign, size]

        if n <= WRITTEN:

            def one(matrix: Rows) -> list[Any]:
                _, sign = eliminate(self, matrix, [])
                return found([matrix[k][k] for k in range(n)], sign)

            both = self.each_matrix(one, (a,), ArrayType((*shape, 1), out.dtype))
        else:
            both = self.factored_determinant(a, found, ArrayType((*shape, 1), out.dtype))
        parts = [self.part(both, [*[(None, None, None)] * len(out.shape), k, 0]) for k in range(shape[-1])]
        return parts if logarithm else parts[0]

    def factored_determinant(self: Any, a: Array, found: Callable[..., Any], out: ArrayType) -> Array:
        """The same from LAPACK's factors: the product of the diagonal goes through a loop."""
        n = a.shape[-1]
        target = self.new(out.shape, out.dtype)
        factor, pivots, info = self.new((n, n), out.dtype), self.new((n,), np.int32), self.new((1,), np.int32)
        name = NATIVE[out.dtype]
        a = self.fixed(self.fitted(a, a.shape, out.dtype))
        with self.nest(a.shape[:-2]) as stack:
            self.put(slab(self, a, stack), factor)
            self.factorise(factor, pivots, info, n)
            parts = out.shape[-2]
            cells = [self.cell(name, 1), self.cell(name, 0)][:parts]
            with self.loop(n) as k:
                swapped = self.ne(pivots.at(self, [k]), self.convert(self.add(k, 1), "i32"))
                sign = self.select(swapped, self.neg(self.read(cells[0])), self.read(cells[0]))
                values = found([factor.at(self, [k, k])], sign)
                self.write(cells[0], values[0])
                if parts == 2:
                    self.write(cells[1], self.add(self.read(cells[1]), values[1]))
            for k, cell in enumerate(cells):
                self.store(target.buffer, offset_of(self, 0, target.strides, [*stack, k, 0]), self.read(cell))
        return target  # type: ignore[no-any-return]

    def cholesky(self: Any, a: Array, out: ArrayType, shown: Sequence[ArrayType]) -> Any:
        """The lower triangular factor of the symmetric part."""
        if not fits(a, a, out):
            return NotImplemented
        n, name = out.shape[-1], NATIVE[out.dtype]
        if not math.prod(out.shape):
            return self.zeros(out.shape, out.dtype)
        zero = self.const(0, name)
        if n <= WRITTEN:

            def one(matrix: Rows) -> list[Any]:
                lower: Rows = [[zero] * n for _ in range(n)]
                fine: Any = None
                for j in range(n):
                    for i in range(j, n):
                        left = matrix[i][i] if i == j else self.mul(0.5, self.add(matrix[i][j], matrix[j][i]))
                        for k in range(j):
                            left = self.sub(left, self.mul(lower[i][k], lower[j][k]))
                        if i == j:
                            good = self.gt(left, 0)
                            fine = good if fine is None else self.both(fine, good)
                            lower[j][j] = self.intrinsic("sqrt", left)
                        else:
                            lower[i][j] = self.div(left, lower[j][j])
                self.positive(fine, shown)
                return [x for row in lower for x in row]

            return self.each_matrix(one, (a,), out)
        a = self.fixed(self.fitted(a, a.shape, out.dtype))
        target = self.new(out.shape, out.dtype)
        info = self.new((1,), np.int32)
        with self.nest(out.shape[:-2]) as stack:
            matrix = slab(self, a, stack)
            place = slab(self, target, stack)
            half = self.map(
                (n, n), out.dtype,
                lambda ij: self.mul(0.5, self.add(matrix.at(self, ij), matrix.at(self, [ij[1], ij[0]]))),
            )  # fmt: skip
            self.put(half, place)
            self.routine("potrf", out.dtype, ("letter", "U"), ("integer", n), place, ("integer", n), info)
            self.positive(self.eq(info.at(self, [0]), 0), shown)
            lower = self.map(
                (n, n), out.dtype,
                lambda ij: self.select(self.le(self.lift(ij[1], "i64"), ij[0]), place.at(self, ij), zero),
            )  # fmt: skip
            with self.nest((n, n)) as index:
                self.store(place.buffer, offset_of(self, place.offset, place.strides, index), lower.at(self, index))
        return target

    def triangular(self: Any, t: Array, b: Array, out: ArrayType, lower: bool, unit: bool,
                   shown: Sequence[ArrayType]) -> Any:  # fmt: skip
        """X with T X = B for triangular T: forward or backward substitution, all columns of B beside each other."""
        if not fits(t, b, out):
            return NotImplemented
        n, columns = out.shape[-2:]
        if not math.prod(out.shape):
            return self.zeros(out.shape, out.dtype)
        order = list(range(n)) if lower else list(range(n - 1, -1, -1))
        if n <= WRITTEN and columns <= 2 * WRITTEN:

            def one(matrix: Rows, right: Rows) -> list[Any]:
                fine: Any = None
                for place, i in enumerate(order):
                    if not unit:
                        good = self.ne(matrix[i][i], 0)
                        fine = good if fine is None else self.both(fine, good)
                    for c in range(columns):
                        left = right[i][c]
                        for j in order[:place]:
                            left = self.sub(left, self.mul(matrix[i][j], right[j][c]))
                        right[i][c] = left if unit else self.div(left, matrix[i][i])
                if not unit:
                    self.regular(fine, "triangular_solve", shown, "a diagonal element is zero")
                return [x for row in right for x in row]

            return self.each_matrix(one, (t, b), out)
        t, b = (self.fixed(self.fitted(x, x.shape, out.dtype)) for x in (t, b))
        target = self.new(out.shape, out.dtype)
        dense = None if n <= LOOPED else self.new((n, n), out.dtype)
        with self.nest(out.shape[:-2]) as stack:
            matrix, place = slab(self, t, stack), slab(self, target, stack)
            self.put(slab(self, b, stack), place)
            if not unit:
                fine = self.cell("bool", True)
                with self.loop(n) as k:
                    self.write(fine, self.both(self.read(fine), self.ne(matrix.at(self, [k, k]), 0)))
                self.regular(self.read(fine), "triangular_solve", shown, "a diagonal element is zero")
            if dense is not None:
                # Row-major, X^T T^T = B^T is what BLAS sees.
                self.put(matrix, dense)
                self.routine(
                    "trsm", out.dtype, ("letter", "R"), ("letter", "U" if lower else "L"), ("letter", "N"),
                    ("letter", "U" if unit else "N"), ("integer", columns), ("integer", n), ("real", 1.0), dense,
                    ("integer", n), place, ("integer", columns),
                )  # fmt: skip
            else:
                self.substitution(matrix, place, lower, unit)
        return target

    def substitution(self: Any, matrix: Array, place: Memory, lower: bool, unit: bool) -> None:
        """Forward or backward substitution in place, row by row."""
        n, columns = place.shape
        with self.loop(n) as step:
            i = step if lower else self.sub(n - 1, step)
            with self.loop(step) as earlier:
                j = earlier if lower else self.sub(n - 1, earlier)
                factor = matrix.at(self, [i, j])
                with self.loop(columns) as c:
                    here = offset_of(self, place.offset, place.strides, [i, c])
                    taken = self.mul(factor, place.at(self, [j, c]))
                    self.store(place.buffer, here, self.sub(self.load(place.buffer, here), taken))
            if not unit:
                pivot = matrix.at(self, [i, i])
                with self.loop(columns) as c:
                    here = offset_of(self, place.offset, place.strides, [i, c])
                    self.store(place.buffer, here, self.div(self.load(place.buffer, here), pivot))

    # Shared ------------------------------------------------------------------------------------------

    def each_matrix(self: Any, rule: Callable[..., list[Any]], operands: Sequence[Array], out: ArrayType) -> Array:
        """A rule from matrices of registers to the registers of a matrix, for every matrix of a stack."""
        operands = [self.fixed(self.fitted(x, x.shape, out.dtype)) for x in operands]

        def read(x: Array, stack: Sequence[Any]) -> Rows:
            n, m = x.shape[-2:]
            return [[x.at(self, [*stack, i, j]) for j in range(m)] for i in range(n)]

        if len(out.shape) == 2:
            return Elements(out.shape, out.dtype, rule(*(read(x, ()) for x in operands)))
        target = self.new(out.shape, out.dtype)
        count = len(operands[0].shape) - 2
        with self.nest(operands[0].shape[:-2]) as stack:
            items = iter(rule(*(read(x, stack) for x in operands)))
            for index in np.ndindex(*out.shape[count:]):
                self.store(target.buffer, offset_of(self, 0, target.strides, [*stack, *index]), next(items))
        return target  # type: ignore[no-any-return]

    def by_lapack(self: Any, a: Array, b: Array, out: ArrayType, shown: Sequence[ArrayType], name: str) -> Array:
        n, columns = out.shape[-2:]
        a, b = (self.fixed(self.fitted(x, x.shape, out.dtype)) if x.weight else x for x in (a, b))
        target = self.new(out.shape, out.dtype)
        factor, pivots, info = self.new((n, n), out.dtype), self.new((n,), np.int32), self.new((1,), np.int32)
        right = self.new((columns, n), out.dtype)
        with self.nest(out.shape[:-2]) as stack:
            self.put(slab(self, a, stack), factor)
            self.factorise(factor, pivots, info, n)
            self.regular(self.eq(info.at(self, [0]), 0), name, shown)
            self.put(self.transpose(slab(self, b, stack), (1, 0)), right)
            self.routine(
                "getrs", out.dtype, ("letter", "T"), ("integer", n), ("integer", columns), factor, ("integer", n),
                pivots, right, ("integer", n), info,
            )  # fmt: skip
            self.put(self.transpose(right, (1, 0)), slab(self, target, stack))
        return target  # type: ignore[no-any-return]

    def factorise(self: Any, factor: Memory, pivots: Memory, info: Memory, n: int) -> None:
        self.routine("getrf", factor.dtype, ("integer", n), ("integer", n), factor, ("integer", n), pivots, info)

    def routine(self: Any, name: str, dtype: Any, *arguments: Any) -> None:
        """A call of BLAS or LAPACK; memory is passed by its first element, everything else as (kind, value)."""
        given: list[Any] = []
        for x in arguments:
            if isinstance(x, Memory):
                self.touch(x.buffer)
                given.append(("pointer", x.buffer, self.lift(x.offset, "i64")))
            elif x[0] == "integer":
                given.append(("integer", self.lift(x[1], "i64")))
            else:
                given.append(x)
        self.block.statements.append(Call(("d" if dtype == np.float64 else "s") + name, given))

    def regular(self: Any, fine: Any, name: str, shown: Sequence[ArrayType], why: str = "Singular matrix") -> None:
        """Leave with an error unless a matrix could be inverted."""
        text, source = f"{name} of {', '.join(map(str, shown))}: {why}", self.source
        self.check(fine, lambda details: SingularMatrixError(text, "check the operands on this line", source))

    def positive(self: Any, fine: Any, shown: Sequence[ArrayType]) -> None:
        self.regular(fine, "cholesky", shown, "Matrix is not positive definite")


def fits(a: Array, b: Array, out: ArrayType) -> bool:
    """Whether shapes are known and the dtype is one of LAPACK's real ones."""
    return NATIVE.get(out.dtype) in ("f32", "f64") and None not in map(known_size, (a.shape, b.shape, out.shape))


def slab(e: Any, x: Array, stack: Sequence[Any]) -> Any:
    """One matrix of a stack."""
    if isinstance(x, Memory):
        start = offset_of(e, x.offset, x.strides[: len(stack)], stack)
        dense = x.dense or x.strides[-2:] == (x.shape[-1], 1)
        return Memory(x.buffer, x.shape[-2:], start, x.strides[-2:], dense)
    return e.map(x.shape[-2:], x.dtype, lambda ij: x.at(e, [*stack, *ij]), x.weight)


def eliminate(e: Any, rows: Rows, right: Rows) -> tuple[Any, Any]:
    """Gaussian elimination with the largest pivots, in place; whether all pivots are there, and the sign of the swaps.

    Rows change places by selects, so that there is no branch.
    """
    n = len(rows)
    fine: Any = None
    sign = e.const(1, rows[0][0].dtype)
    for k in range(n):
        for i in range(k + 1, n):
            larger = e.gt(e.intrinsic("fabs", rows[i][k]), e.intrinsic("fabs", rows[k][k]))
            sign = e.select(larger, e.neg(sign), sign)
            for table in (rows, right):
                for j in range(k if table is rows else 0, len(table[0]) if table else 0):
                    x, y = table[k][j], table[i][j]
                    table[k][j], table[i][j] = e.select(larger, y, x), e.select(larger, x, y)
        good = e.ne(rows[k][k], 0)
        fine = good if fine is None else e.both(fine, good)
        for i in range(k + 1, n):
            factor = e.div(rows[i][k], rows[k][k])
            # A column of zeros leaves nothing to subtract: no NaN of 0/0 in a determinant.
            factor = e.select(e.eq(rows[i][k], 0), e.const(0, factor.dtype), factor)
            for j in range(k + 1, n):
                rows[i][j] = e.sub(rows[i][j], e.mul(factor, rows[k][j]))
            for c in range(len(right[0]) if right else 0):
                right[i][c] = e.sub(right[i][c], e.mul(factor, right[k][c]))
    return fine, sign


def substitute(e: Any, rows: Rows, right: Rows) -> None:
    """Back substitution, in place."""
    n = len(rows)
    for i in range(n - 1, -1, -1):
        for c in range(len(right[0])):
            left = right[i][c]
            for j in range(i + 1, n):
                left = e.sub(left, e.mul(rows[i][j], right[j][c]))
            right[i][c] = e.div(left, rows[i][i])
