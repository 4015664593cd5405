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
by_name: dict[str, Callable[..., Any]] = {}
"""The same for ufuncs of other libraries (SciPy's special functions), by name, so that they need not be imported."""


PLAIN = frozenset({np.ndarray, float, int, bool, complex, str, type(None), *np.sctypeDict.values()})
"""Classes of arguments that hold no tensor and have nothing to dispatch."""


def holds_tensor(value: Any) -> bool:
    """Whether a value is a tensor or a list or tuple that holds one."""
    kind = value.__class__
    if kind is Tensor:
        return True
    if kind is list or kind is tuple:
        for item in value:  # a loop, since `any(...)` of a generator costs 0.5 µs
            if item.__class__ not in PLAIN and holds_tensor(item):
                return True
    return False


def implements(
    original: Callable[..., Any], *also: Callable[..., Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register an implementation for a NumPy function (and its aliases); the result is the public function.

    The public function calls NumPy's own unless an argument is, or a list among the arguments holds, a tensor.
    """
    # Where every argument is plain, NumPy would look in vain for `__array_function__`: the function inside its
    # dispatcher is called at once, which makes up for most of what looking for tensors costs.
    inner = getattr(original, "__wrapped__", original)

    def decorate(implementation: Callable[..., Any]) -> Callable[..., Any]:
        for function in (original, *also):
            table[function] = implementation

        def public(*args: Any, **kwargs: Any) -> Any:
            for arg in args:
                kind = arg.__class__
                if kind in PLAIN:
                    continue
                if kind is tuple or kind is list:
                    for item in arg:
                        if item.__class__ not in PLAIN:
                            break
                    else:
                        continue
                return implementation(*args, **kwargs) if kind is Tensor else choose(args, kwargs)
            if not kwargs:
                return inner(*args)
            for arg in kwargs.values():
                if arg.__class__ not in PLAIN:
                    return choose(args, kwargs)
            return inner(*args, **kwargs)

        def choose(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if holds_tensor(args) or (kwargs and holds_tensor(list(kwargs.values()))):
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


def without_constants(value: Any) -> Any:
    """A value (nested in containers) with constant tensors as plain arrays; None if another tensor is in it."""
    if value.__class__ is Tensor:
        while value.__class__ is Tensor and value.note is None:
            value = value.value
        return None if value.__class__ is Tensor else value
    if value.__class__ is dict:
        parts = without_constants(list(value.values()))
        return None if parts is None else dict(zip(value, parts, strict=True))
    if value.__class__ in (list, tuple):
        parts = [item if item is None else without_constants(item) for item in value]
        if any(part is None and item is not None for part, item in zip(parts, value, strict=True)):
            return None
        return value.__class__(parts)
    return value


def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NEP 18: `numpy.sum(tensor)` arrives here."""
    implementation = table.get(func)
    if implementation is None:
        plain = without_constants((args, kwargs))
        if plain is not None:
            return func(*plain[0], **plain[1])
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
            f"numpy.{ufunc.__name__}(..., out=...) would write a traced value into a plain array (so would `a += t`)",
            "write a = a + t, or make the array with wengert.numpy.zeros inside the function, or with wg.constant(a)",
        )
    implementation = table.get(ufunc if method == "__call__" else (ufunc, method))
    foreign = getattr(np, ufunc.__name__, None) is not ufunc
    if implementation is None and method == "__call__" and foreign:
        implementation = by_name.get(ufunc.__name__)
    if implementation is None:
        plain = without_constants(inputs)
        if plain is not None and method != "at":
            return getattr(ufunc, method)(*plain, **kwargs)
        how = "" if method == "__call__" else f".{method}"
        raise UnsupportedError(
            f"{'scipy.special' if foreign else 'numpy'}.{ufunc.__name__}{how} is not implemented for traced values",
            "write it with the functions of wengert.numpy, or declare a primitive (docs/add_a_primitive.md)",
        )
    return implementation(*inputs, **kwargs)
