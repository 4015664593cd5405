"""How NumPy's functions reach wengert: one table from NumPy's function to ours, and the protocols that read it.

`@implements(np.sum)` registers an implementation for traced values and returns the public function of
`wengert.numpy`, which hands plain arrays straight to NumPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..graph.tensor import Tensor

table: dict[Any, Callable[..., Any]] = {}
"""NumPy function or ufunc -> implementation for traced values."""


def holds_tensor(value: Any) -> bool:
    """Whether a value is a tensor or a list or tuple that holds one."""
    if value.__class__ is Tensor:
        return True
    if value.__class__ is list or value.__class__ is tuple:
        return any(holds_tensor(item) for item in value)
    return False


def implements(original: Callable[..., Any], *also: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an implementation for a NumPy function (and its aliases); the result is the public function.

    The public function calls NumPy's own unless an argument is, or a list among the arguments holds, a tensor.
    """

    def decorate(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for function in (original, *also):
            table[function] = implementation

        def public(*args: Any, **kwargs: Any) -> Any:
            for arg in args:
                kind = arg.__class__
                if kind is Tensor or ((kind is list or kind is tuple) and holds_tensor(arg)):
                    return implementation(*args, **kwargs)
            if kwargs:
                for arg in kwargs.values():
                    if holds_tensor(arg):
                        return implementation(*args, **kwargs)
            return original(*args, **kwargs)

        functools.update_wrapper(public, implementation)
        public.__doc__ = implementation.__doc__ or f"As `numpy.{original.__name__}`, on traced values as well."
        return public

    return decorate


def refuse(what: str, **options: Any) -> None:
    """Raise for options that are given (not None) and that wengert does not trace."""
    for name, value in options.items():
        if value is not None and value is not np._NoValue:
            raise UnsupportedError(
                f"{what}(..., {name}=...) is not supported on traced values",
                "leave the option out" + ("; assign the result instead of writing into out=" if name == "out" else ""),
            )


def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18: `numpy.sum(tensor)` arrives here."""
    implementation = table.get(func)
    if implementation is None:
        name = f"{func.__module__}.{func.__name__}"
        raise UnsupportedError(
            f"{name} is not implemented for traced values",
            "write it with the functions of wengert.numpy, or declare a primitive (docs/add_a_primitive.md)",
        )
    return implementation(*args, **kwargs)


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, out: Any = None, **kwargs: Any) -> Any:
    """NEP 13: `numpy.sin(tensor)`, `array * tensor` and `numpy.add.reduce(tensor)` arrive here."""
    if out is not None:
        raise UnsupportedError(
            f"numpy.{ufunc.__name__}(..., out=...) would write a traced value into a plain array (also written `a += t`)",
            "write a = a + t, or make the array with wengert.numpy.zeros inside the function, or with wg.constant(a)",
        )
    implementation = table.get(ufunc if method == "__call__" else (ufunc, method))
    if implementation is None:
        how = "" if method == "__call__" else f".{method}"
        raise UnsupportedError(
            f"numpy.{ufunc.__name__}{how} is not implemented for traced values",
            "write it with the functions of wengert.numpy, or declare a primitive (docs/add_a_primitive.md)",
        )
    return implementation(*inputs, **kwargs)
