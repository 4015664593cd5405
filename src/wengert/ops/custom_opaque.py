"""`opaque`: code that cannot be traced (SciPy, Numba, ctypes) as one operation, by pointer where it is a C function."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import OpaqueCallError, OpaqueResultError
from ..graph.interpreter import bind
from ..graph.primitive import Primitive, Sample
from ..graph.trees import Structure, flatten, sealed
from ..graph.types import ArrayType, broadcast_shapes, type_of
from ..source import Source
from .families import align_batches, batch_size, shape_of
from .shape import move_axis, reshape

UNKNOWN = (
    "give result=: an array, a wg.ArrayType, a container of these, or a function from the arguments (which have shape "
    "and dtype) to that"
)


class CFunction(NamedTuple):
    """A C function: where it is, and what it takes and returns.

    `takes`: dtypes of its parameters; `pointers`: which of them are pointers to arrays. `returns`: the dtype of its
    value, None for a function that writes its results through its last parameters.
    """

    address: int
    takes: tuple[np.dtype[Any], ...]
    pointers: tuple[bool, ...]
    returns: np.dtype[Any] | None
    owner: Any

    @classmethod
    def of(cls, fn: Any) -> CFunction | None:
        """The C function that an object of ctypes or a Numba `cfunc` stands for; None if it is something else."""
        fn = getattr(fn, "ctypes", fn) if hasattr(fn, "address") else fn
        if not isinstance(fn, ctypes._CFuncPtr):  # type: ignore[attr-defined]
            return None
        if fn.argtypes is None:
            name = getattr(fn, "__name__", "that was given")
            raise OpaqueCallError(f"the C function {name} does not say what it takes", "set its argtypes and restype")
        parameters = [_parameter(t) for t in fn.argtypes]
        returns = None if fn.restype is None else _number(fn.restype)
        address = ctypes.cast(fn, ctypes.c_void_p).value or 0
        return cls(address, tuple([d for d, _ in parameters]), tuple([p for _, p in parameters]), returns, fn)

    @property
    def elementwise(self) -> bool:
        """Whether it maps numbers to a number."""
        return self.returns is not None and not any(self.pointers)


def _number(kind: Any) -> np.dtype[Any]:
    letter = getattr(kind, "_type_", None)
    dtype: np.dtype[Any] | None = np.dtype(kind) if isinstance(letter, str) and letter in "fdiIlLqQ" else None
    if dtype is None or dtype.itemsize not in (4, 8):
        raise OpaqueCallError(
            f"a C function with a parameter or result {kind!r}", "pass numbers of 4 or 8 bytes, or pointers to them"
        )
    return dtype


def _parameter(kind: Any) -> tuple[np.dtype[Any], bool]:
    """The dtype of a parameter, and whether it is a pointer (of ctypes, or `numpy.ctypeslib.ndpointer`)."""
    if isinstance(kind, type) and issubclass(kind, ctypes._Pointer):
        return _number(kind._type_), True
    if getattr(kind, "_dtype_", None) is not None:
        return np.dtype(kind._dtype_), True
    return _number(kind), False


class Code:
    """Opaque code with what is known of its result. Compared by identity."""

    def __init__(
        self, fn: Callable[..., Any], result: Any = None, vectorized: bool | None = None, line: Source | None = None
    ) -> None:
        self.fn = fn
        self.label = getattr(fn, "__name__", type(fn).__name__)
        self.c = CFunction.of(fn)
        self.result = result
        self.line = line
        ufunc = isinstance(fn, np.ufunc) or type(fn).__name__ == "DUFunc"  # of NumPy, SciPy, Numba
        self.vectorized = ufunc if vectorized is None else vectorized
        self.elementwise = result is None and (ufunc or (self.c is not None and self.c.elementwise))
        self.structure: Structure | None = None
        if self.c is not None and not self.c.elementwise and (result is None or self.c.returns is not None):
            raise OpaqueCallError(
                f"{self.label} is a C function that takes pointers",
                "let it write its results through its last parameters, set restype to None, and give result=",
            )

    def __repr__(self) -> str:
        return self.label

    def types(self, types: Sequence[ArrayType]) -> list[ArrayType]:
        """What comes out for operands of these types; without `result` that is taken to be elementwise."""
        if self.c is not None:
            self.check_parameters(types)
        if self.result is None:
            shape = broadcast_shapes(*[t.shape for t in types])
            if shape is None:
                raise OpaqueResultError(
                    f"the result of {self.label} for {list(types)} is not known: these shapes do not broadcast",
                    UNKNOWN, self.line,
                )  # fmt: skip
            dtypes = self.dtypes(types)
            self.structure = flatten(0 if len(dtypes) == 1 else (0,) * len(dtypes))[1]
            return [ArrayType(shape, dtype) for dtype in dtypes]
        given = self.result
        if callable(given) and not isinstance(given, (ArrayType, np.generic)):
            given = given(*types)
        leaves, self.structure = flatten(sealed(given, ArrayType, _Leaf))
        found = [x.type if isinstance(x, _Leaf) else type_of(x)._replace(weak=False) for x in leaves]
        if not all(t.dtype.kind in "biufc" for t in found):
            raise OpaqueResultError(
                f"result= of {self.label} is {given!r}, which is no array of numbers", UNKNOWN, self.line
            )
        return found

    def dtypes(self, types: Sequence[ArrayType]) -> list[np.dtype[Any]]:
        """The dtypes of elementwise results: the C function's, the ufunc's, or else the common inexact one."""
        if self.c is not None and self.c.returns is not None:
            return [self.c.returns]
        if isinstance(self.fn, np.ufunc):
            given = [type(t.promotes_as) if t.weak and t.dtype.kind != "b" else t.dtype for t in types]
            try:
                return list(self.fn.resolve_dtypes((*given, *[None] * self.fn.nout))[self.fn.nin :])
            except TypeError as error:
                raise OpaqueCallError(f"{self.label} of {list(types)}: {error}", "convert its arguments") from error
        dtype = np.result_type(*[t.promotes_as for t in types]) if types else np.dtype(float)
        return [np.dtype(float) if dtype.kind in "biu" else dtype]

    def check_parameters(self, types: Sequence[ArrayType]) -> None:
        c = self.c
        assert c is not None
        operands = len(types)
        results = 0 if c.elementwise else len(c.takes) - operands
        if (c.elementwise and operands != len(c.takes)) or results < 0:
            raise OpaqueCallError(
                f"{self.label} takes {len(c.takes)} parameters, and was given {operands} operands",
                "give it what it takes",
            )
        for t, dtype, pointer in zip(types, c.takes, c.pointers, strict=False):
            fits = np.can_cast(t.dtype, dtype, "same_kind") or (t.weak and np.can_cast(t.dtype, dtype, "unsafe"))
            if not fits or (pointer and t.dtype != dtype):
                raise OpaqueCallError(f"{self.label} takes {dtype}, and was given {t}", f"convert it to {dtype}")
            if not c.elementwise and not pointer and t.shape:
                raise OpaqueCallError(f"{self.label} takes a number, and was given {t}", "pass a scalar")

    def run(self, values: Sequence[Any]) -> list[Any]:
        """The results on arrays, checked against what is known of them."""
        if self.c is not None:
            wanted = self.types([type_of(v) for v in values])
            return self.run_c(values, wanted)
        # Copies: a compiled program hands out its own memory, which the code may keep or write to.
        outs, structure = flatten(self.fn(*[np.array(v) if isinstance(v, np.ndarray) else v for v in values]))
        found = [type_of(out)._replace(weak=False) for out in outs]
        wanted = self.types([type_of(v) for v in values])
        if found != wanted or structure != self.structure:
            declared = "is expected, one value like the broadcast arguments" if self.result is None else "result= says"
            raise OpaqueResultError(
                f"{self.label} returned {shown(found)} where {shown(wanted)} {declared}", UNKNOWN, self.line
            )
        return [np.asarray(out)[()] for out in outs]

    def run_c(self, values: Sequence[Any], wanted: Sequence[ArrayType]) -> list[Any]:
        c = self.c
        assert c is not None
        if c.elementwise:
            arrays = np.broadcast_arrays(*[np.asarray(v, d) for v, d in zip(values, c.takes, strict=True)])
            out = np.empty(wanted[0].shape, c.returns)
            flat = out.reshape(-1)
            for k, items in enumerate(zip(*[a.ravel().tolist() for a in arrays], strict=True)):
                flat[k] = c.owner(*items)
            return [out[()]]
        outs = [np.empty(t.shape, t.dtype) for t in wanted]
        given: list[Any] = [np.require(v, d, ("C", "A")) for v, d in zip(values, c.takes, strict=False)]
        arguments = [
            pointer_to(x, kind) if p else x.item()
            for x, p, kind in zip((*given, *outs), c.pointers, c.owner.argtypes, strict=True)
        ]
        c.owner(*arguments)
        return [out[()] for out in outs]


class _Leaf:
    """An `ArrayType` as a leaf (it is a named tuple, which counts as a container)."""

    def __init__(self, type: ArrayType) -> None:
        self.type = type


def pointer_to(array: Any, kind: Any) -> Any:
    """An array as a parameter of a C function."""
    return array if getattr(kind, "_dtype_", None) is not None else array.ctypes.data_as(kind)


def shown(types: Sequence[ArrayType]) -> str:
    return str(types[0]) if len(types) == 1 else str(list(types))


class Opaque(Primitive):
    """Runs code that cannot be traced. `lead` counts the batch axes in front, over which it is run item by item."""

    name = "opaque"
    params = ("code", "lead")
    multiple = True
    not_differentiable = "it is opaque code without a rule: give wg.opaque jvp= or vjp="
    code: Code
    lead: int

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        front = types[0].shape[: self.lead] if self.lead else ()
        inner = self.code.types([t._replace(shape=t.shape[self.lead :]) for t in types])
        return tuple([t._replace(shape=(*front, *t.shape)) for t in inner])

    def numpy(self, *values: Any) -> tuple[Any, ...]:
        if not self.lead:
            return tuple(self.code.run(values))
        types = self.type(*map(type_of, values))
        if self.code.vectorized and self.code.c is None:
            outs = flatten(self.code.fn(*map(np.array, values)))[0]
            found = [type_of(out)._replace(weak=False) for out in outs]
            if found != list(types):
                raise OpaqueResultError(
                    f"{self.code} with vectorized=True returned {shown(found)} for a batch, not {shown(types)}",
                    "let it take and return arrays with axes in front, or leave vectorized out", self.code.line,
                )  # fmt: skip
            return tuple(map(np.asarray, outs))
        results = [np.empty(t.shape, t.dtype) for t in types]
        for index in np.ndindex(*types[0].shape[: self.lead] if types else ()):
            for result, out in zip(results, self.code.run([v[index] for v in values]), strict=True):
                result[index] = out
        return tuple(results)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        if not self.code.elementwise:
            outs = bind(Opaque(self.code, self.lead + 1), *align_batches(operands, axes))
            return outs, (0,) * len(outs)
        size = batch_size(operands, axes)
        rank = max(len(shape_of(x)) - (a is not None) for x, a in zip(operands, axes, strict=True))

        def lane(x: Any, axis: int | None) -> Any:
            if axis is None:
                return x
            own = shape_of(x := move_axis(x, axis, 0))[1:]
            return reshape(x, (size, *(1,) * (rank - len(own)), *own))

        return bind(self, *map(lane, operands, axes)), (0,)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Sequence[ArrayType]) -> Any:
        c = self.code.c
        if c is None:
            return NotImplemented
        if c.elementwise:
            return [e.outside_elements(c, operands, c.takes, out[0])]
        return e.outside_arrays(c, operands, out, self.lead)

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        both = Code(
            lambda x, y: (np.sort(x), np.sum(y)),
            lambda x, y: (x, ArrayType((), np.sum(np.zeros(0, y.dtype)).dtype)),
        )
        yield cls(both, 0), (rng.normal(size=3), np.float64(2))
        yield cls(Code(np.hypot), 0), (rng.normal(size=(2, 3)), rng.normal(size=3))
        yield cls(both, 1), (rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))
