"""Every exception and warning that a user can meet, each with a failing and a repaired example.

The examples in the docstrings are the ones in `docs/errors.md`; both run as tests. A message says what was
asked, what was found, the user's line, and what to do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .source import Source, describe, here


class WengertError(Exception):
    """Base of all exceptions raised by wengert.

    Parameters
    ----------
    message : what was asked and what was found.
    repair : what to do about it.
    source : the user's line; by default the innermost frame outside the package.
    """

    def __init__(self, message: str, repair: str = "", source: Source | None = None) -> None:
        self.message = message
        self.repair = repair
        self.source = source if source is not None else here(2)
        super().__init__(message, repair)

    def __str__(self) -> str:
        parts = [self.message]
        if self.source is not None:
            parts.append(f"  where:  {describe(self.source)}")
        if self.repair:
            parts.append(f"  repair: {self.repair}")
        return "\n".join(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process, where the line cannot be looked up any more: it goes along as text."""
        where = f"\n  where:  {describe(self.source)}" if self.source is not None else ""
        return _restored, (type(self), self.message + where, self.repair)


def _restored(kind: type[WengertError], message: str, repair: str) -> WengertError:
    error = kind(message, repair)
    error.source = None
    return error


class ShapeError(WengertError, ValueError):
    """Shapes that do not fit the operation.

    Failing::

        wg.grad(lambda x: np.sum(x @ x))(np.ones((2, 3)))

    Repaired::

        wg.grad(lambda x: np.sum(x @ x.T))(np.ones((2, 3)))
    """


class DtypeError(WengertError, TypeError):
    """A data type that the operation does not accept.

    Failing::

        wg.grad(lambda x: np.arctan2(x, 1j).real)(1.0)

    Repaired::

        wg.grad(lambda x: np.arctan2(x, 1.0))(1.0)
    """


class AxisError(WengertError, np.exceptions.AxisError):
    """An axis that the array does not have.

    Failing::

        wg.grad(lambda x: np.sum(x, axis=2).sum())(np.ones((2, 3)))

    Repaired::

        wg.grad(lambda x: np.sum(x, axis=1).sum())(np.ones((2, 3)))
    """

    def __init__(self, message: str, repair: str = "", source: Source | None = None) -> None:
        WengertError.__init__(self, message, repair, source if source is not None else here(2))

    __str__ = WengertError.__str__


class IndexOutOfBoundsError(WengertError, IndexError):
    """An index beyond the end of an axis.

    Failing::

        wg.grad(lambda x: x[3])(np.ones(3))

    Repaired::

        wg.grad(lambda x: x[2])(np.ones(3))
    """


class NonScalarOutputError(WengertError, TypeError):
    """`grad` of a function whose output is not one real number.

    Failing::

        wg.grad(lambda x: x**2)(np.ones(3))

    Repaired::

        wg.grad(lambda x: np.sum(x**2))(np.ones(3))
    """


class IntegerInputError(WengertError, TypeError):
    """A derivative with respect to integers or booleans, which have none.

    Failing::

        wg.grad(lambda x: x**2)(3)

    Repaired::

        wg.grad(lambda x: x**2)(3.0)
    """


class ConcretizationError(WengertError, TypeError):
    """A traced value without a number used where Python needs one (`if`, `while`, `int()`, `range()`).

    Failing::

        wg.trace(lambda x: x if x > 0 else -x, 1.0)

    Repaired::

        wg.trace(lambda x: np.where(x > 0, x, -x), 1.0)
    """


class StaticArgumentError(WengertError, TypeError):
    """A static argument of `jit` that the function does not have, or whose value cannot be hashed.

    Failing::

        power = wg.jit(lambda x, n: sum(x**k for k in n), static_argnames="n")
        power(2.0, [1, 2])

    Repaired::

        power = wg.jit(lambda x, n: sum(x**k for k in n), static_argnames="n")
        power(2.0, (1, 2))
    """


class DonationError(WengertError, ValueError):
    """A donated argument of `jit` that the function does not have, or whose memory cannot be written over.

    Failing::

        step = wg.jit(lambda x: x + 1.0, donate="x")
        step(np.ones((2, 3)).T)

    Repaired::

        step = wg.jit(lambda x: x + 1.0, donate="x")
        step(np.ones((2, 3)).T.copy())
    """


class LeakedTensorError(WengertError, RuntimeError):
    """A traced value used after the trace that made it has ended.

    Failing::

        kept = []
        wg.trace(lambda x: kept.append(x) or x, 1.0)
        kept[0] + 1

    Repaired::

        y = wg.trace(lambda x: (x, x + 1), 1.0)(1.0)
    """


class ArrayConversionError(WengertError, TypeError):
    """A traced value silently turned into a NumPy array, which would cut it out of the graph.

    Failing::

        import numpy

        wg.grad(lambda x: numpy.sum(numpy.array([x, 2 * x], dtype=float)))(1.0)

    Repaired::

        wg.grad(lambda x: np.sum(np.stack([x, 2 * x])))(1.0)
    """


class NotDifferentiableError(WengertError, TypeError):
    """A derivative was asked of an operation that has none.

    Failing::

        wg.jvp(lambda x: np.nextafter(x, 2.0), (1.0,), (1.0,))

    Repaired::

        wg.jvp(lambda x: np.nextafter(wg.stop_gradient(x), 2.0), (1.0,), (1.0,))
    """


class NotLinearError(WengertError, TypeError):
    """A function that was to be transposed is not linear.

    Failing::

        wg.linear_transpose(lambda x: x * x, 1.0)

    Repaired::

        wg.linear_transpose(lambda x: 3.0 * x, 1.0)
    """


class TreeMismatchError(WengertError, ValueError):
    """Containers that should have the same structure and do not.

    Failing::

        wg.jvp(lambda p: p["a"], ({"a": 1.0},), ({"b": 1.0},))

    Repaired::

        wg.jvp(lambda p: p["a"], ({"a": 1.0},), ({"a": 1.0},))
    """


class BatchAxisError(WengertError, ValueError):
    """`vmap` axes that do not exist or whose sizes disagree.

    Failing::

        wg.vmap(lambda x, y: x + y)(np.ones(3), np.ones(4))

    Repaired::

        wg.vmap(lambda x, y: x + y)(np.ones(3), np.ones(3))
    """


class SingularMatrixError(WengertError, np.linalg.LinAlgError):
    """A factorisation or solve that met a matrix it cannot treat.

    Failing::

        wg.grad(lambda a: np.sum(np.linalg.inv(a)))(np.zeros((2, 2)))

    Repaired::

        wg.grad(lambda a: np.sum(np.linalg.inv(a + np.eye(2))))(np.zeros((2, 2)))
    """


class GraphError(WengertError, ValueError):
    """A graph that breaks the rules of graphs: an undefined value, a wrong type, nodes out of order.

    Failing::

        g = wg.trace(lambda x: np.sin(x) * 2, 1.0)
        wg.verify(g.replace(nodes=g.nodes[::-1]))

    Repaired::

        g = wg.trace(lambda x: np.sin(x) * 2, 1.0)
        wg.verify(g)
    """


class BackwardError(WengertError, RuntimeError):
    """`backward()` on a value that no variable leads to.

    Failing::

        y = wg.constant(2.0) * 3.0
        y.backward()

    Repaired::

        y = wg.variable(2.0) * 3.0
        y.backward()
    """


class UnsupportedError(WengertError, NotImplementedError):
    """A NumPy function or option that wengert does not trace.

    Failing::

        import numpy

        wg.grad(lambda x: numpy.unwrap(x).sum())(np.ones(3))

    Repaired::

        wg.grad(lambda x: np.diff(x).sum())(np.ones(3))
    """


class MissingExtraError(WengertError, ImportError):
    """An optional package is not installed.

    Failing::

        import sys
        from unittest.mock import patch

        with patch.dict(sys.modules, fast_sugiyama=None):  # as where fast-sugiyama is not installed
            wg.trace(np.sin, 1.0).to_svg()

    Repaired::

        wg.trace(np.sin, 1.0).to_html()  # needs nothing more; or: pip install "wengert[pictures]"
    """


class RegistrationError(WengertError, TypeError):
    """A primitive whose declaration leaves a required question open.

    Failing::

        class Half(wg.Primitive):
            name = "half"

    Repaired::

        class Half(wg.Primitive, abstract=True):
            name = "half"
    """


class MemoryBudgetError(WengertError, MemoryError):
    """A gradient does not fit into the memory that it was given, or its memory cannot be planned.

    Failing::

        wg.grad(lambda x: np.sum(np.sin(x) * np.exp(x)), memory="1kB")(np.ones(1000))

    Repaired::

        wg.grad(lambda x: np.sum(np.sin(x) * np.exp(x)), memory="100kB")(np.ones(1000))
    """


class SparsityError(WengertError, ValueError):
    """A sparse derivative of a function that has no fixed pattern, or none with zeros enough.

    Failing::

        wg.sparse_jacobian(lambda x: x[x > 0] ** 2)(np.array([1.0, -1.0]))

    Repaired::

        wg.sparse_jacobian(lambda x: np.where(x > 0, x, 0) ** 2)(np.array([1.0, -1.0]))
    """


class NonFiniteError(WengertError, FloatingPointError):
    """A NaN or an infinity was made, in a value or in a derivative, while `wg.debug.nans()` was looking.

    Failing::

        with wg.debug.nans():
            wg.grad(lambda x: np.sum(np.log(x)))(np.array([1.0, 0.0]))

    Repaired::

        with wg.debug.nans():
            wg.grad(lambda x: np.sum(np.log(np.maximum(x, 1e-9))))(np.array([1.0, 0.0]))
    """


class RuleMissingError(WengertError, TypeError):
    """A derivative of a `custom_jvp` or `custom_vjp` function for which no rule was defined.

    Failing::

        soft = wg.custom_jvp(lambda x: np.log(1 + np.exp(x)))
        wg.grad(soft)(1.0)

    Repaired::

        soft = wg.custom_jvp(lambda x: np.log(1 + np.exp(x)))
        soft.defjvp(lambda x, t: (soft(*x), t[0] / (1 + np.exp(-x[0]))))
        wg.grad(soft)(1.0)
    """


class RuleStructureError(TreeMismatchError):
    """A custom rule that returns other containers than its function's arguments or results need.

    Failing::

        cube = wg.custom_vjp(lambda x: x**3)
        cube.defvjp(lambda x: (x**3, x), lambda x, ct: 3 * x**2 * ct)
        wg.grad(cube)(1.0)

    Repaired::

        cube = wg.custom_vjp(lambda x: x**3)
        cube.defvjp(lambda x: (x**3, x), lambda x, ct: (3 * x**2 * ct,))
        wg.grad(cube)(1.0)
    """


class RuleShapeError(ShapeError):
    """A custom rule that returns a derivative of another shape than the value it belongs to.

    Failing::

        total = wg.custom_vjp(lambda x: np.sum(x**2))
        total.defvjp(lambda x: (np.sum(x**2), x), lambda x, ct: (2 * ct,))
        wg.grad(total)(np.ones(3))

    Repaired::

        total = wg.custom_vjp(lambda x: np.sum(x**2))
        total.defvjp(lambda x: (np.sum(x**2), x), lambda x, ct: (2 * ct * x,))
        wg.grad(total)(np.ones(3))
    """


class RuleDtypeError(DtypeError):
    """A custom rule that returns a derivative of another dtype than the value it belongs to.

    Failing::

        twice = wg.custom_jvp(lambda x: 2 * x)
        twice.defjvp(lambda x, t: (2 * x[0], np.array([2.0]) * t[0]))
        wg.jvp(twice, (np.ones(1, "float32"),), (np.ones(1, "float32"),))

    Repaired::

        twice = wg.custom_jvp(lambda x: 2 * x)
        twice.defjvp(lambda x, t: (2 * x[0], 2.0 * t[0]))
        wg.jvp(twice, (np.ones(1, "float32"),), (np.ones(1, "float32"),))
    """


class WrongRuleError(WengertError, ArithmeticError):
    """A custom rule whose derivative is not the slope of its function, or not what its other rule gives.

    Failing::

        sine = wg.custom_jvp(np.sin)
        sine.defjvp(lambda x, t: (np.sin(x[0]), -np.cos(x[0]) * t[0]))
        wg.grad(sine)(1.0)

    Repaired::

        sine = wg.custom_jvp(np.sin)
        sine.defjvp(lambda x, t: (np.sin(x[0]), np.cos(x[0]) * t[0]))
        wg.grad(sine)(1.0)
    """


class CapturedValueError(WengertError, RuntimeError):
    """A function with a derivative of its own that uses a differentiated or batched value from its surroundings.

    Failing::

        def loss(w):
            scaled = wg.custom_jvp(lambda x: w * x)
            scaled.defjvp(lambda x, t: (w * x[0], w * t[0]))
            return scaled(w)

        wg.grad(loss)(2.0)

    Repaired::

        scaled = wg.custom_jvp(lambda w, x: w * x)
        scaled.defjvp(lambda x, t: (x[0] * x[1], x[0] * t[1] + x[1] * t[0]))
        wg.grad(lambda w: scaled(w, w))(2.0)
    """


class OpaqueCallError(WengertError, TypeError):
    """A C function, or a ufunc, that was given what it does not take.

    Failing::

        import ctypes, ctypes.util

        library = ctypes.CDLL(ctypes.util.find_library("m"))
        wg.opaque(library.cbrt)

    Repaired::

        import ctypes, ctypes.util

        library = ctypes.CDLL(ctypes.util.find_library("m"))
        library.cbrt.argtypes, library.cbrt.restype = [ctypes.c_double], ctypes.c_double
        wg.opaque(library.cbrt)
    """


class OpaqueResultError(WengertError, TypeError):
    """Opaque code that returned something else than its `result=` says.

    Failing::

        import numpy

        total = wg.opaque(numpy.sum)
        wg.jit(lambda x: total(x) + 1)(np.ones(3))

    Repaired::

        import numpy

        total = wg.opaque(numpy.sum, result=lambda x: wg.ArrayType((), x.dtype))
        wg.jit(lambda x: total(x) + 1)(np.ones(3))
    """


class DegenerateWarning(UserWarning):
    """A derivative depends on an arbitrary choice of vectors for equal eigenvalues or singular values.

    Failing::

        wg.grad(lambda a: np.linalg.eigh(a)[1][0, 1])(np.eye(2))

    Repaired::

        wg.grad(lambda a: np.sum(np.linalg.eigh(a)[0] ** 2))(np.eye(2))
    """


class BranchLimitWarning(UserWarning):
    """A function with `jit(f, branches=True)` cannot be compiled piece by piece, and is evaluated instead.

    Failing::

        @wg.jit(branches=5)
        def halvings(x):
            steps = 0
            while x > 1:  # a piece for each turn
                x, steps = x / 2, steps + 1
            return steps

        halvings(1e6)

    Repaired::

        @wg.jit
        def halvings(x):
            return wg.while_loop(lambda s: s[0] > 1, lambda s: (s[0] / 2, s[1] + 1), (x, 0))[1]

        halvings(1e6)
    """
