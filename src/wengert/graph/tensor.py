"""`Tensor`: the user's handle on a value inside a transform or on `wg.variable(...)`.

It knows no operation: the NumPy layer attaches operators and methods in one place (`wengert.numpy.methods`).
"""

from __future__ import annotations

from opcode import opmap
from sys import _getframe
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArrayConversionError, BackwardError, ConcretizationError
from .nodes import Node, Var
from .types import ArrayType

if TYPE_CHECKING:
    from .interpreter import Interpreter

_STORE = opmap["STORE_SUBSCR"]


class Tensor:
    """A value that the graph knows.

    interpreter : what runs operations on this tensor (see `graph.interpreter`).
    value : the number, an array or a tensor of the next level down; None in a static trace.
    note : what the interpreter knows beyond the value: the `Var` in a dynamic or static graph (None for a
        constant), the tangent in forward mode, the batch axis under `vmap`.

    `x[i] = v` and `x += v` rebind the handle to a new graph value; other handles made from it before do
    not change (views do not alias).
    """

    __slots__ = ("__weakref__", "interpreter", "note", "value")
    __array_priority__ = 1000
    __hash__ = object.__hash__

    def __init__(self, interpreter: Interpreter, value: Any, note: Any) -> None:
        self.interpreter = interpreter
        self.value = value
        self.note = note

    @property
    def type(self) -> ArrayType:
        """Shape and dtype, `f64[2,3]`."""
        return self.interpreter.type(self)

    @property
    def shape(self) -> tuple[int, ...]:
        value = self.value
        if self.interpreter.transparent and hasattr(value, "shape"):
            return value.shape  # type: ignore[no-any-return]
        return self.interpreter.type(self).shape

    @property
    def dtype(self) -> np.dtype[Any]:
        value = self.value
        if self.interpreter.transparent and hasattr(value, "dtype"):
            return value.dtype  # type: ignore[no-any-return]
        return self.interpreter.type(self).dtype

    @property
    def ndim(self) -> int:
        return len(self.interpreter.type(self).shape)

    @property
    def size(self) -> int:
        return self.interpreter.type(self).size

    @property
    def edge(self) -> Var | None:
        """The edge of the graph that this handle stands for; None if it is no part of a graph."""
        return self.note if isinstance(self.note, Var) else None

    @property
    def node(self) -> Node | None:
        """The operation that made this value; None for a leaf."""
        return None if self.edge is None else self.edge.node

    @property
    def name(self) -> str | None:
        return None if self.edge is None else self.edge.label

    @property
    def grad(self) -> Any:
        """The gradient that `backward` left here; None if this value took no part."""
        return getattr(self.note, "gradient", None)

    @grad.setter
    def grad(self, gradient: Any) -> None:
        if self.edge is None:
            raise BackwardError("a constant has no gradient to set", "make it with wg.variable(...)")
        self.note.gradient = gradient

    def numpy(self) -> Any:
        """The plain array or scalar inside, cut from the graph.

        Raises `ConcretizationError` in a static trace, where there is no number.
        """
        return self._concrete("a NumPy array", "numpy()")

    def item(self) -> Any:
        """The single element as a Python number."""
        return self._concrete("a Python number", "item()").item()

    def tolist(self) -> Any:
        return np.asarray(self._concrete("a Python list", "tolist()")).tolist()

    def _concrete(self, what: str, how: str) -> Any:
        self.interpreter.check_alive(self)
        value = self.interpreter.concrete(self)
        if value is None:
            raise ConcretizationError(
                f"a {self.interpreter.noun} of type {self.type} has no number yet, but {how} needs {what}",
                "use np.where or wg.cond for `if`, wg.while_loop for `while`, wg.fori_loop or wg.scan for `range`; "
                "or pass the value as a plain Python argument that is not traced",
            )
        return np.asarray(value) if isinstance(value, (bool, int, float, complex)) else value

    def __bool__(self) -> bool:
        if self.interpreter.concrete(self) is None and (answer := self.interpreter.decide(self)) is not None:
            return answer
        return bool(self._concrete("True or False", "`if`, `while`, `and`, `or` or bool()"))

    def __int__(self) -> int:
        self._refuse_store()
        return int(self._concrete("an integer", "int()"))

    def __index__(self) -> int:
        return self._concrete("an integer", "an index, range() or a shape").__index__()  # type: ignore[no-any-return]

    def __float__(self) -> float:
        self._refuse_store()
        return float(self._concrete("a number", "float()"))

    def __complex__(self) -> complex:
        self._refuse_store()
        return complex(self._concrete("a number", "complex()"))

    def _refuse_store(self) -> None:
        """Raise where NumPy asks for a number in order to store it: `array[0] = tensor` on a plain array."""
        frame = _getframe(2)
        if self.note is not None and frame.f_code.co_code[frame.f_lasti] == _STORE:
            raise ArrayConversionError(
                f"a {self.interpreter.noun} of type {self.type} would be stored in a plain array and leave the graph",
                "make the array with wengert.numpy.zeros inside the function or with wg.constant(a), or store x.item()",
            )

    def __len__(self) -> int:
        shape = self.shape
        if not shape:
            raise TypeError("len() of a 0-dimensional value")
        return shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if self.note is None and self.interpreter.concrete(self) is not None:
            return np.array(self.interpreter.concrete(self), dtype=dtype)
        if self.dtype.kind in "iub":
            raise ArrayConversionError(
                f"a {self.interpreter.noun} of type {self.type} would become a plain NumPy array and leave the graph",
                "to index a plain array a by it write np.take(a, i, axis=0), or wg.constant(a)[i]; otherwise use "
                "wengert.numpy instead of NumPy's constructor",
            )
        raise ArrayConversionError(
            f"a {self.interpreter.noun} of type {self.type} would become a plain NumPy array and leave the graph",
            "use wengert.numpy (np.stack, np.array, np.zeros) instead of NumPy's constructor or an array that was "
            "made outside the trace; or cut it on purpose with wg.stop_gradient(x) or x.numpy()",
        )

    def __repr__(self) -> str:
        return self.interpreter.show(self)

    def __format__(self, spec: str) -> str:
        if not spec:
            return str(self)
        return format(self._concrete("a number", "format()"), spec)
