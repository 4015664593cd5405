"""`defprimitive`: operations of users, declared by what they answer, without the classes of this package."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import RegistrationError
from ..graph.interpreter import bind, type_of_value
from ..graph.primitive import Primitive, Sample
from ..graph.stage import stage
from ..graph.types import is_inexact
from ..ops.exponential import inexact_dtype
from ..ops.families import Linear, elementwise, reals
from .custom import is_number
from .custom_rules import strong
from .linear import transpose_graph


class Operation:
    """A function that applies a primitive; made by `defprimitive`. `primitive` is its class, or the declaration."""

    def __init__(self, primitive: Any, params: tuple[str, ...]) -> None:
        self.primitive = primitive
        self.params = params
        self.__name__ = primitive.name
        self.__doc__ = inspect.getdoc(primitive)

    def __call__(self, *operands: Any, **params: Any) -> Any:
        values = [x if is_number(x) else np.asarray(x) for x in operands]
        if isinstance(self.primitive, Primitive):
            return bind(self.primitive, *values)
        if set(params) != set(self.params):
            raise TypeError(f"{self.__name__} takes the parameters {self.params}, got {tuple(params)}")
        primitive = self.primitive.of(*[params[name] for name in self.params])
        primitive.type(*map(type_of_value, values))  # for the error of a misfit, before anything is computed
        return bind(primitive, *values)

    def __repr__(self) -> str:
        return f"<operation {self.__name__}>"


def defprimitive(
    name: str,
    numpy: Callable[..., Any],
    *,
    derivatives: Sequence[Any] | None = None,
    type: Callable[..., Any] | None = None,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    transpose: Callable[..., Any] | None = None,
    batch: Callable[..., Any] | None = None,
    native: Callable[..., Any] | None = None,
    not_differentiable: str | None = None,
    params: Sequence[str] = (),
    multiple: bool = False,
    complex: bool = False,
    facts: Sequence[str] = (),
    samples: Any = None,
    doc: str = "",
) -> Operation:
    """Declare an operation that derivatives, batches, graphs and compiled programs treat as a whole.

    Parameters
    ----------
    name : unique. It is shown in printed graphs.
    numpy : the reference, a function of plain arrays (and Python numbers, where such are operands).
    doc : a sentence that says what it computes.

    An elementwise operation is all said by

    derivatives : one per operand: a function of some of `x`, `y`, `z` (the operands, in order) and `out` (the result),
        by these names; a number; or None for zero. An empty tuple: the derivative is zero wherever it exists.
    samples : the interval (low, high) that tests may draw operands from, or a list with one per operand.
    complex : whether complex operands are accepted.
    native : one element in native code, see `docs/add_a_primitive.md`. Without it compiled programs call `numpy`.

    Any other operation answers, instead of `derivatives`,

    type : `type(*types)`, the `wg.ArrayType` of the result for operands of these types; raises for a misfit.
    jvp : `jvp(primals, tangents, out)`, the tangent of `out`, linear in the tangents; one that is zero is None.
    vjp : `vjp(ct, operands, out)`, a tuple of cotangents. One of the two is enough.
    transpose : `transpose(ct, operands, linear)`, for an operation that is linear in the operands marked in `linear`
        (given by type only): their cotangents, None elsewhere. Alone, without `jvp` and `vjp`, it says that the
        operation is linear in all operands; beside them, that it is where it occurs in its own rules.
    batch : `batch(operands, axes)`, the result on operands with a batch axis where `axes` is not None, and its own.
        Without it the operation runs in a loop over the batch.
    native : `native(e, operands, types, out)`, see `lowering` in `wg.Primitive`.
    not_differentiable : the reason, in place of rules. samples : `samples(rng)` yields tuples of operands, or pairs of
        such a tuple and a dictionary of parameters.
    params : names of parameters, hashable values that are given by keyword, to the operation and to every function
        above. multiple : the results are a tuple.

    Cotangents pair with tangents as Re(sum(ct * t)): rules conjugate nothing.

    Returns
    -------
    The operation: a function of arrays, numbers and traced values. `.primitive` is its declaration.

    Raises
    ------
    RegistrationError : the name is taken, or a question is open.

    Example
    -------
    >>> import numpy, wengert as wg, wengert.numpy as np
    >>> softsign = wg.defprimitive(
    ...     "doc_softsign", lambda x: x / (1 + numpy.abs(x)), derivatives=[lambda x: 1 / (1 + np.abs(x)) ** 2],
    ...     samples=(0.2, 3), doc="x / (1 + |x|)",
    ... )
    >>> wg.vmap(wg.grad(softsign))(np.array([0.0, 1.0]))
    array([1.  , 0.25])
    """
    doc = doc or inspect.getdoc(numpy) or f"The operation {name}."
    if type is None:
        if derivatives is None or jvp is not None or vjp is not None or params or multiple:
            raise RegistrationError(
                f"the operation {name!r} says neither what its results are nor that it works element by element",
                "give type=, or derivatives= for an elementwise operation",
            )
        intervals = samples if isinstance(samples, list) else [samples or (-3, 3)] * max(1, len(derivatives))
        declared = elementwise(
            name, numpy, *derivatives, arity=len(intervals), facts=facts, complex=complex, doc=doc, scalar=native,
            samples=[reals(*interval) for interval in intervals], not_differentiable=not_differentiable,
            dtypes=None if isinstance(numpy, np.ufunc) else inexact_dtype,
        )  # fmt: skip
        return Operation(declared, ())
    if derivatives is not None:
        raise RegistrationError(
            f"the operation {name!r} has type= and derivatives=", "derivatives= are for elementwise operations"
        )
    if samples is None:
        raise RegistrationError(f"the operation {name!r} has no samples", "give samples=: tests draw operands from it")
    members = {
        **_answers(type, numpy, jvp, vjp, transpose, batch, native, multiple),
        "name": name, "params": tuple(params), "multiple": multiple, "__doc__": doc, "__module__": numpy.__module__,
        "facts": frozenset(facts), "samples": classmethod(lambda cls, rng: _samples(cls, samples, rng)),
    }  # fmt: skip
    if not_differentiable is not None:
        members["not_differentiable"] = not_differentiable
    base: builtins.type[Primitive] = Primitive
    if transpose is not None and jvp is None and vjp is None:
        base = Linear
        members["facts"] = frozenset({"linear", *facts})
    return Operation(builtins.type(name, (base,), members), tuple(params))


def _answers(
    type: Any, numpy: Any, jvp: Any, vjp: Any, transpose: Any, batch: Any, native: Any, multiple: bool
) -> dict[str, Any]:
    """The methods of a primitive that ask the user's functions."""

    def reverse(self: Any, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> list[Any]:
        found = vjp(ct, operands, out, **self.arguments())
        return [c if n else None for c, n in zip(found, needed, strict=True)]

    def forward(self: Any, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        """The transpose of the reverse rule."""
        outs = out if multiple else (out,)
        smooth = [is_inexact(strong(x).dtype) for x in outs]
        needed = [t is not None for t in tangents]
        alive: list[bool] = []

        def pullback(*given: Any) -> list[Any]:
            cts = iter(given)
            full = [next(cts) if s else None for s in smooth]
            found = reverse(self, full if multiple else full[0], primals, out, needed)
            alive[:] = [ct is not None for ct in found]
            return [ct for ct in found if ct is not None]

        linear = stage(pullback, [strong(x) for x, s in zip(outs, smooth, strict=True) if s])[0]
        found = iter(transpose_graph(linear, [t for t, a in zip(tangents, alive, strict=True) if a]))
        results = tuple([next(found) if s else None for s in smooth])
        return results if multiple else results[0]

    def values(self: Any, *operands: Any) -> Any:
        """The reference, with numbers of NumPy in place of Python's."""
        outs = numpy(*operands, **self.arguments())
        return tuple(map(of_numpy, outs)) if multiple else of_numpy(outs)

    answers: dict[str, Any] = {
        "type": lambda self, *types: type(*types, **self.arguments()),
        "numpy": values,
    }
    if vjp is not None:
        answers |= {"vjp": reverse, "jvp": forward}
    if jvp is not None:
        answers["jvp"] = lambda self, primals, tangents, out: jvp(primals, tangents, out, **self.arguments())
    if transpose is not None:
        answers["transpose"] = lambda self, ct, operands, linear: transpose(ct, operands, linear, **self.arguments())
    if batch is not None:
        answers["batch"] = lambda self, operands, axes: batch(operands, axes, **self.arguments())
    if native is not None:
        answers["lowering"] = lambda self, e, operands, types, out: native(e, operands, types, out, **self.arguments())
    return answers


def _samples(cls: Any, samples: Callable[..., Any], rng: np.random.Generator) -> Iterator[Sample]:
    for item in samples(rng):
        operands, given = item if len(item) == 2 and isinstance(item[1], dict) else (item, {})
        yield cls.of(*[given[name] for name in cls.params]), tuple(operands)


def of_numpy(value: Any) -> Any:
    return value if hasattr(value, "dtype") else np.asarray(value)[()]
