"""`bind` applies an operation under whichever interpreter its operands belong to.

An interpreter is one way to run operations: keep a record for reverse mode, push tangents, carry a batch
axis, write nodes into a graph. Interpreters nest; each has a level, and the operand of the highest level
decides. An interpreter computes with the values inside its tensors by calling `bind` again, which reaches
the next level down, until plain arrays are left and NumPy computes. Nothing of a level is visible to
another, which keeps the perturbations of nested derivatives apart.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import numpy as np

from ..errors import CapturedValueError, LeakedTensorError
from ..settings import unusual
from .primitive import Primitive
from .tensor import Tensor
from .types import ArrayType, type_of


class _State(threading.local):
    """Per thread: the interpreters at work, outermost first, and what looks at every result (`wengert.debug`)."""

    def __init__(self) -> None:
        self.stack: list[Interpreter] = []
        self.watch: Any = None


state = _State()
always_at_work: list[Interpreter] = []
"""Interpreters that stand on no stack: that of `wg.variable`."""
shadowing = threading.Lock()


class Interpreter:
    """Base of all interpreters; also the context manager that puts one to work.

    `symbolic` interpreters have no numbers, so that `bool(t)` is an error. `done` is 0 while an operation may go
    straight to `apply`; its lowest bit is set on leaving (a tensor met afterwards has leaked), and 2 is added for
    each branch or loop body being traced above (see `Stage`), and for a watch.
    """

    symbolic = False
    noun = "traced value"
    inside = False
    transparent = False
    """Whether a tensor has the shape and dtype of the value in it."""
    level: int
    done: int

    def __init__(self) -> None:
        self.level = state.stack[-1].level + 1 if state.stack else 1
        self.done = 0 if state.watch is None else 2

    def __enter__(self) -> Any:
        self.level = state.stack[-1].level + 1 if state.stack else 1
        state.stack.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        state.stack.remove(self)
        self.done |= 1

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        """The operation on operands of which at least one belongs to this interpreter."""
        raise NotImplementedError

    def type(self, tensor: Tensor) -> ArrayType:
        """Shape and dtype as the user sees them."""
        return type_of(tensor.value)

    def show(self, tensor: Tensor) -> str:
        """Text of a tensor, `Tensor(2.0)`, or its type where there is no number."""
        value = self.concrete(tensor)
        return (
            f"Tensor({tensor.type})"
            if value is None
            else f"Tensor({np.array2string(np.asarray(value), separator=', ')})"
        )

    def concrete(self, tensor: Tensor) -> Any:
        """The number inside, for `bool`, `float`, `print`; None if there is none."""
        value = tensor.value
        return value.interpreter.concrete(value) if isinstance(value, Tensor) else value

    def decide(self, tensor: Tensor) -> bool | None:
        """The answer to `if tensor:` where there is no number: of an interpreter that finds it out, None of others."""
        value = tensor.value
        return value.interpreter.decide(value) if isinstance(value, Tensor) else None

    def lower(self, value: Any) -> Any:
        """A tensor of another interpreter as a value of a level below this one.

        Values of lower levels are constants here. One of the same or a higher level comes from a trace that
        has ended: if it still has a number that is used as a constant, otherwise it has leaked.
        """
        while isinstance(value, Tensor) and (value.note is None or value.interpreter.level >= self.level):
            if value.note is not None:  # None marks a constant, which is its value at every level
                value.interpreter.check_alive(value)
            value = value.value
        return value

    def check_captured(self, outs: Any) -> None:
        """Raise if results of a function with its own derivative hang on values of this level or above.

        The function gets values of lower levels; these it must have taken from its surroundings, and no rule tells
        how it depends on them.
        """
        for out in outs:
            if out.__class__ is Tensor and out.note is not None and out.interpreter.level >= self.level:
                raise CapturedValueError(
                    f"a function with a derivative of its own uses a {out.interpreter.noun} from its surroundings, on "
                    f"which its result of type {out.type} depends",
                    "pass that value as an argument",
                )

    def check_alive(self, tensor: Tensor) -> None:
        """Raise for a tensor whose trace has ended and which has no value of its own."""
        if self.done & 1 and self.concrete(tensor) is None:
            raise leaked(tensor)


def leaked(tensor: Tensor) -> LeakedTensorError:
    """The error for a traced value that outlived its trace, naming the line that made it."""
    node = getattr(tensor.note, "node", None)
    made = f", made at {node.source}" if node is not None and node.source is not None else ""
    return LeakedTensorError(
        f"a traced value of type {tensor.type}{made} was used after its trace had ended",
        "return it from the traced function instead of storing it in a variable outside",
    )


def bind(primitive: Primitive, *operands: Any) -> Any:
    """Apply an operation to arrays, Python numbers and tensors."""
    top = None
    for operand in operands:
        if operand.__class__ is Tensor:
            interpreter = operand.interpreter
            if top is None or interpreter.level > top.level:
                top = interpreter
    if top is None:
        return primitive.numpy(*operands)
    if top.done:
        if top.done & 1:
            return bind(primitive, *(_settle(operand) for operand in operands))
        body = next((i for i in reversed(state.stack) if i.inside), None)
        if body is not None and body.level > top.level:
            return body.apply(primitive, operands)
        if state.watch is not None:
            return state.watch.around(top, primitive, operands)
    return top.apply(primitive, operands)


def _settle(value: Any) -> Any:
    """A tensor of an ended trace as the constant it stands for."""
    while isinstance(value, Tensor) and value.interpreter.done & 1:
        value.interpreter.check_alive(value)
        value = value.value
    return value


@contextmanager
def watching(watch: Any) -> Iterator[None]:
    """Have `watch` look at every result of this thread. Without a watch nothing asks for one."""
    before, state.watch = state.watch, watch
    watched = (*always_at_work, *state.stack)
    with shadowing:
        for interpreter in watched:
            interpreter.done += 2
        unusual.value += 1
    try:
        yield
    finally:
        state.watch = before
        with shadowing:
            for interpreter in watched:
                interpreter.done -= 2
            unusual.value -= 1


def is_traced(value: Any) -> bool:
    """Whether a value is a tensor (and not a plain array or number)."""
    return value.__class__ is Tensor


def type_of_value(value: Any) -> ArrayType:
    """The type of an array, a Python number or a tensor."""
    return value.interpreter.type(value) if value.__class__ is Tensor else type_of(value)


def innermost() -> Interpreter | None:
    """The interpreter at work in this thread, None outside every transform."""
    return state.stack[-1] if state.stack else None


def symbolic_active() -> bool:
    """Whether any interpreter at work in this thread has no numbers."""
    return any(interpreter.symbolic for interpreter in state.stack)


def strip(value: Any) -> Any:
    """The plain NumPy value inside any nesting of concrete tensors; raises `LeakedTensorError` if there is none."""
    if isinstance(value, Tensor):
        found = value.interpreter.concrete(value)
        if found is None:
            raise leaked(value)
        return found
    return value


def as_array(value: Any) -> Any:
    """A tensor as it is, anything else through `numpy.asarray`."""
    return value if value.__class__ is Tensor else np.asarray(value)
