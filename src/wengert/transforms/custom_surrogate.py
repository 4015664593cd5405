"""Derivatives that are meant to differ from the slope: straight-through estimators, gradient reversal."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..graph.interpreter import type_of_value
from ..graph.trees import flatten, tree_map, unflatten
from ..ops.arithmetic import absolute, multiply, negative
from ..ops.compare import where
from ..ops.cut import stop_gradient
from ..ops.exponential import sigmoid
from ..ops.families import vocabulary
from .custom import CustomFunction
from .forward import jvp


def identity(x: Any) -> Any:
    return x


def clipped(x: Any) -> Any:
    """x where |x| <= 1, constant outside."""
    return where(vocabulary.less(1, absolute(x)), stop_gradient(x), x)


SURROGATES: dict[str, Callable[[Any], Any]] = {"identity": identity, "clipped": clipped, "sigmoid": sigmoid}


def straight_through(
    forward: Callable[[Any], Any], surrogate: str | Callable[[Any], Any] = "identity"
) -> Callable[[Any], Any]:
    """`forward` with the derivative of another function, for steps and roundings, whose own is zero almost everywhere.

    Parameters
    ----------
    forward : a function of one array (or container of arrays), such as `np.round`, or 1 where x > 0 and 0 elsewhere.
    surrogate : the function whose derivative is taken: "identity" (the gradient passes unchanged), "clipped" (only
        where |x| <= 1, which keeps values from drifting away), "sigmoid" (that of the logistic function), or any
        function of the same argument with a result like that of `forward`.

    Returns
    -------
    A function with the values of `forward` and, in every mode and order, the derivatives of the surrogate.

    Raises
    ------
    RuleShapeError, RuleStructureError : (when differentiated) the surrogate's result is not like that of `forward`.
    ValueError : the surrogate has an unknown name.

    Source: Y. Bengio, N. Leonard, A. Courville, Estimating or propagating gradients through stochastic neurons, 2013.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> quantize = wg.straight_through(np.round)
    >>> wg.value_and_grad(lambda x: quantize(x) ** 2)(1.4)
    (np.float64(1.0), np.float64(2.0))
    >>> step = wg.straight_through(lambda x: np.where(x > 0, 1.0, 0.0), "sigmoid")
    >>> wg.grad(step)(0.0)
    np.float64(0.25)
    """
    if isinstance(surrogate, str):
        if surrogate not in SURROGATES:
            raise ValueError(f"surrogate {surrogate!r}: give one of {', '.join(SURROGATES)}, or a function")
        smooth: Callable[[Any], Any] = functools.partial(tree_map, SURROGATES[surrogate])
    else:
        smooth = surrogate
    function = CustomFunction(lambda x: forward(x), check=False)  # of x alone, whatever other parameters it has
    function.label = getattr(forward, "__name__", "straight_through")

    def rule(primals: Any, tangents: Any) -> Any:
        outs, structure = flatten(forward(*primals))
        moved, found = flatten(jvp(smooth, primals, tangents)[1])
        if found == structure:  # a step may give float64 for float32
            moved = [like(t, out) for t, out in zip(moved, outs, strict=True)]
        return unflatten(structure, outs), unflatten(found, moved)

    function.defjvp(rule)
    return function


def gradient_reversal(x: Any, scale: Any = 1.0) -> Any:
    """`x` itself, with the derivative times `-scale`: what follows is minimised, what comes before works against it.

    Parameters
    ----------
    x : an array, or a container of arrays.
    scale : a number, traced or not, which is not differentiated.

    Source: Y. Ganin, V. Lempitsky, Unsupervised domain adaptation by backpropagation, ICML 2015.

    Example
    -------
    >>> import wengert as wg
    >>> wg.value_and_grad(lambda x: wg.gradient_reversal(x, 0.5) ** 2)(3.0)
    (np.float64(9.0), np.float64(-3.0))
    """
    return _reversed(x, scale)


def _reverse(primals: Any, tangents: Any) -> Any:
    (x, scale), (moved, _) = primals, tangents

    leaves, structure = flatten(moved)
    return x, unflatten(structure, [like(multiply(negative(scale), t), t) for t in leaves])


def like(value: Any, other: Any) -> Any:
    """The value in the other's dtype."""
    dtype = type_of_value(other).dtype
    return value if type_of_value(value).dtype == dtype else vocabulary.convert(value, dtype)


_reversed = CustomFunction(lambda x, scale: x, check=False)
_reversed.label = "gradient_reversal"
_reversed.defjvp(_reverse)
