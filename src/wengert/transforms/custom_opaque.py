"""`opaque` and `callback`: code that cannot be traced takes part, with a derivative that is given."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import bind, is_traced
from ..graph.trees import flatten, unflatten
from ..ops.custom_opaque import Code, Opaque
from ..source import Source, here
from .custom import apply_rule, is_number
from .custom_rules import Definition, FunctionRule, Static, definition_line
from .trace import parameter_names


class OpaqueFunction(Definition):
    """Opaque code with rules; made by `opaque`. Call it on arrays, numbers and traced values."""

    invent = False  # what the code does with made-up numbers is not ours to find out

    def __init__(self, code: Code, jvp: Callable[..., Any] | None, vjp: Callable[..., Any] | None, check: bool) -> None:
        super().__init__()
        self.code = code
        self.label = self.__name__ = code.label
        self.rules = {"jvp": jvp, "backward": vjp}
        self.has_jvp, self.has_vjp = jvp is not None, vjp is not None
        self.check = check

    def value(self, *args: Any) -> Any:
        outs = bind(Opaque(self.code, 0), *args)
        assert self.code.structure is not None
        return unflatten(self.code.structure, list(outs))

    def jvp(self, args: Sequence[Any], static: Static, tangents: Sequence[Any]) -> Any:
        out = self.value(*args)
        return out, self.rules["jvp"](tuple(args), tuple(tangents), out)  # type: ignore[misc]

    def forward(self, args: Sequence[Any], static: Static, needed: Sequence[Any]) -> Any:
        out = self.value(*args)
        return out, (tuple(args), out)

    def backward(self, args: int, static: Static, residuals: Any, ct: Any) -> Any:
        return self.rules["backward"](*residuals, ct)  # type: ignore[misc]

    def line(self, which: str) -> Source | None:
        return definition_line(self.rules.get(which) or self.code.fn)

    def names(self) -> list[str]:
        return parameter_names(self.code.fn)

    def __call__(self, *args: Any) -> Any:
        given = [x if is_number(x) else np.asarray(x) for x in args]
        if not any(map(is_traced, given)):
            return (
                self.value(*given) if self.code.c is not None or self.code.result is not None else self.code.fn(*args)
            )
        if not self.has_jvp and not self.has_vjp:  # an error if a derivative is taken, which says what to give
            return self.value(*given)
        return apply_rule(FunctionRule(self, len(given), {}, flatten(tuple(given))[1]), given)

    def __repr__(self) -> str:
        return f"<opaque {self.label}>"


def opaque(
    fn: Callable[..., Any],
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    result: Any = None,
    vectorized: bool | None = None,
    check: bool = True,
) -> OpaqueFunction:
    """Code that cannot be traced (SciPy, Numba, ctypes, a simulator) as an operation with a derivative.

    Parameters
    ----------
    fn : a function of plain arrays and numbers, without effects. A C function (of `ctypes`, with `argtypes` and
        `restype`, or a Numba `cfunc`) is called by its pointer in compiled programs, without Python: one from numbers
        to a number is applied to every element; one that takes pointers gets those of its operands (contiguous) and,
        after these, of its results.
    jvp : forward rule `jvp(primals, tangents, out)`, returns the tangent of `out`, which is the result.
    vjp : reverse rule `vjp(primals, out, ct)`, returns a tuple with a cotangent per argument (None for zero). One of
        the two is enough. Rules are ordinary traced code, in which `fn` and other opaque functions may be used.
    result : what comes out: an array, a `wg.ArrayType`, a container of these, or a function from the arguments' types
        (with `shape` and `dtype`) to that. Left out, the result is taken to be elementwise: one array of the broadcast
        shape, with the dtype of a ufunc or the common floating dtype.
    vectorized : whether `fn` may be called with further axes in front of all its arguments, as under `vmap`. Left out,
        true of ufuncs; other code runs once for each element of the batch.
    check : whether the rules are compared with differences of `fn` when they are first used on numbers.

    Raises
    ------
    OpaqueResultError : `fn` returned something else than `result` says.
    OpaqueCallError : a C function does not take what it was given.
    NotDifferentiableError : a derivative was asked for, and there is neither `jvp` nor `vjp`.
    WrongRuleError and the other errors of `wg.custom_jvp` : the rules do not fit.

    Example
    -------
    >>> import scipy.special, wengert as wg, wengert.numpy as np
    >>> j1 = wg.opaque(scipy.special.j1)
    >>> j0 = wg.opaque(scipy.special.j0, jvp=lambda x, t, out: -j1(x[0]) * t[0])
    >>> wg.grad(j0)(1.0) == -scipy.special.j1(1.0)
    np.True_
    >>> wg.jit(wg.vmap(wg.grad(j0)))(np.array([0.0, 1.0]))
    array([-0.        , -0.44005059])
    """
    code = Code(fn, result, vectorized, definition_line(fn) or here(2))
    return OpaqueFunction(code, jvp, vjp, check)


@functools.lru_cache(maxsize=256)
def _remembered(fn: Any, result: Any, jvp: Any, vjp: Any, vectorized: Any, check: bool) -> OpaqueFunction:
    return opaque(fn, jvp=jvp, vjp=vjp, result=result, vectorized=vectorized, check=check)


def callback(
    fn: Callable[..., Any],
    *args: Any,
    result: Any = None,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    vectorized: bool | None = None,
    check: bool = True,
) -> Any:
    """`fn(*args)` computed by host Python in the midst of a traced, batched or compiled program.

    Parameters are those of `wg.opaque`, which see. An exception that `fn` raises comes out of the program.

    Example
    -------
    >>> import numpy, wengert as wg, wengert.numpy as np
    >>> def lookup(x):  # an ordinary function of NumPy arrays
    ...     return numpy.interp(x, [0.0, 1.0, 2.0], [0.0, 10.0, 40.0])
    >>> f = wg.jit(lambda x: 2 * wg.callback(lookup, x, jvp=lambda x, t, out: np.where(x[0] < 1, 10.0, 30.0) * t[0]))
    >>> f(1.5), wg.grad(f)(1.5)
    (np.float64(50.0), np.float64(60.0))
    """
    try:
        function = _remembered(fn, result, jvp, vjp, vectorized, check)
    except TypeError:  # an array as the result's description
        function = opaque(fn, jvp=jvp, vjp=vjp, result=result, vectorized=vectorized, check=check)
    return function(*args)
