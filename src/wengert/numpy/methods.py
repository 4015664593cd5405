"""The one place where `Tensor` gets its operators, methods and protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numpy import ndarray

from ..graph.interpreter import bind
from ..graph.tensor import Tensor
from ..ops import arithmetic as a
from ..ops import compare as c
from ..ops.families import Elementwise
from .convert import _READY, as_operand
from .dispatch import array_function, array_ufunc


def operand_or_none(value: Any) -> Any:
    """What an operator accepts as its other side; None makes the operator answer NotImplemented."""
    if isinstance(value, (list, tuple)) or hasattr(value, "__array__") or hasattr(value, "dtype"):
        return as_operand(value)
    return None


def binary(primitive: Elementwise) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`self op other` and `other op self`."""

    def forward(self: Tensor, other: Any) -> Any:
        interpreter = self.interpreter
        kind = other.__class__
        if (
            kind is float or kind is ndarray or (kind is Tensor and other.interpreter is interpreter)
        ) and not interpreter.done:
            return interpreter.apply(primitive, (self, other))  # what `bind` would find, at once
        if kind not in _READY:
            other = operand_or_none(other)
            if other is None:
                return NotImplemented
        return bind(primitive, self, other)

    def reflected(self: Tensor, other: Any) -> Any:
        if other.__class__ is float and not self.interpreter.done:
            return self.interpreter.apply(primitive, (other, self))
        if other.__class__ not in _READY:
            other = operand_or_none(other)
            if other is None:
                return NotImplemented
        return bind(primitive, other, self)

    return forward, reflected


def rebind(self: Tensor, result: Any) -> Tensor:
    """`x op= v`: the handle now stands for the result; nothing made from `x` before changes."""
    self.interpreter, self.value, self.note = result.interpreter, result.value, result.note
    return self


def in_place(operator: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        result = operator(self, other)
        if result is NotImplemented:
            return result
        return rebind(self, result) if result.__class__ is Tensor else result

    return method


def power(self: Tensor, other: Any) -> Any:
    if other.__class__ is int and other == 2:  # as in NumPy, and the most frequent power
        return bind(a.square, self)
    return a.power(self, as_operand(other))


def reflected_power(self: Tensor, other: Any) -> Any:
    return a.power(as_operand(other), self)


OPERATORS = {
    "add": a.add, "sub": a.subtract, "mul": a.multiply, "truediv": a.divide, "floordiv": a.floor_divide,
    "mod": a.remainder, "and": c.bitwise_and, "or": c.bitwise_or, "xor": c.bitwise_xor, "lshift": c.left_shift,
    "rshift": c.right_shift,
}  # fmt: skip
COMPARISONS = {
    "eq": c.equal, "ne": c.not_equal, "lt": c.less, "le": c.less_equal, "gt": c.greater, "ge": c.greater_equal,
}  # fmt: skip
UNARY = {"neg": a.negative, "pos": a.positive, "abs": a.absolute, "invert": c.invert}


def attach_operators() -> None:
    for name, primitive in OPERATORS.items():
        forward, reflected = binary(primitive)
        setattr(Tensor, f"__{name}__", forward)
        setattr(Tensor, f"__r{name}__", reflected)
        setattr(Tensor, f"__i{name}__", in_place(forward))
    for name, primitive in COMPARISONS.items():
        setattr(Tensor, f"__{name}__", binary(primitive)[0])
    for name, primitive in UNARY.items():
        setattr(Tensor, f"__{name}__", lambda self, primitive=primitive: bind(primitive, self))
    Tensor.__pow__ = power  # type: ignore[attr-defined]
    Tensor.__rpow__ = reflected_power  # type: ignore[attr-defined]
    Tensor.__ipow__ = in_place(power)  # type: ignore[attr-defined]
    Tensor.__divmod__ = lambda self, other: (self // other, self % other)  # type: ignore[attr-defined]
    Tensor.__rdivmod__ = lambda self, other: (other // self, other % self)  # type: ignore[attr-defined]
    Tensor.__array_function__ = array_function  # type: ignore[attr-defined]
    Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]


def attach(**methods: Any) -> None:
    """Give `Tensor` methods and properties."""
    for name, method in methods.items():
        setattr(Tensor, name, method)


attach_operators()
