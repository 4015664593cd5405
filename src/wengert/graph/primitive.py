"""`Primitive`: everything about one operation in one class, and the registry that tests walk."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import RegistrationError
from .types import ArrayType

if TYPE_CHECKING:
    from .graph import Graph

registry: dict[str, type[Primitive] | Primitive] = {}
"""Every operation by name: a class, or for families of one-line declarations an instance."""

Sample = tuple["Primitive", tuple[Any, ...]]
"""An instance of the primitive and operands to try it on."""


class Primitive:
    """An operation. A subclass answers the questions below; an instance carries the parameters, frozen.

    Class attributes
    ----------------
    name : unique, the field's own word.
    params : names of the parameters, in the order of the constructor. Values must be hashable.
    multiple : True if there are several outputs; `numpy`, `type`, `jvp` then deal in tuples.
    differentiable : False if the derivative is zero wherever it exists (rounding, comparisons, integers).
    not_differentiable : the reason, if the operation has a derivative that nobody has declared.
    facts : what passes may ask, for instance "commutative", "elementwise", "linear".
    reference : a function of NumPy (or made of such) that computes the same, if `numpy` is not to be read.

    Rules (values are NumPy arrays, Python numbers or Tensors; rules are written in traceable operations)
    -----
    type(*types) : types of the outputs, raising the error that a user sees for a misfit.
    numpy(*values) : the reference value.
    jvp(primals, tangents, out) : tangent of the output; a tangent that is None is zero.
    transpose(ct, operands, linear) : for linear operations, cotangents of the operands marked in `linear`
        (those operands are given as `ArrayType`s), None elsewhere.
    vjp(ct, operands, out, needed) : only where measured to matter; otherwise derived from `jvp` by
        linearising it and transposing the result.
    batch(operands, axes) : the operation on operands that carry a batch axis where `axes` is not None;
        returns the output and its batch axis (tuples of both for several outputs).
    flops(*types) : arithmetic operations, where the family's rule (one an element) is wrong; see `graph.cost`.
    workspace(*types) : bytes that `numpy` needs beside operands and results; see `graph.live`.
    depends(operands, outs) : which elements of the result depend on which of the operands (see `ops.dependence`),
        derived for the families; by default all on all, which is right but not sharp.
    lowering(e, operands, types, out) : native code, written with the methods of `e` (`native.lower.Lowering`) on
        arrays that have `shape`, `dtype` and `at(e, index)`; `types` are those of the operands, `out` that of the
        result (a tuple of them for `multiple`). Without it, or where it returns NotImplemented, compiled programs
        call `numpy`.
    traced(*operands) : only for what is no operation of a static graph: the results on traced values, by others.
    split(outs, order) : only for decompositions: the outputs with an infinitesimal part where values coincide.
    samples(rng) : instances and operands for the tests.
    python(*operands) : the operation as an expression of NumPy, from the operands' texts (which have a `type`);
        taken from `reference` or from the code of `numpy` where it is not given. python_lines(targets, operands,
        functions, fresh) gives whole statements instead: `targets` are the names to assign to, `functions` those
        of the graphs inside, and `fresh(name)` makes a name that nothing else has.

    An operation whose parameters hold graphs sets `higher_order`. Its rules receive the transform to apply to
    those graphs, so that operations need not know transforms: `jvp(primals, tangents, jvp_graph)` returns
    values and tangents, `batch(operands, axes, batch_graph)`, `depends(operands, outs, flow)`, which returns what
    a method of `flow` (`transforms.sparsity.Walker`) gives, and in place of `vjp` a pair:
    `forward_pass(operands, needed, split_graph) -> outs, saved` and
    `backward_pass(cts, operands, saved, needed, vjp_graph) -> cts`. Passes ask it for
    `with_subgraphs(*graphs)`, the same operation on other graphs, and `prune(used, clean)`, the operation that
    computes only the outputs in use: (primitive, positions of its operands, positions of its outputs).
    """

    name: ClassVar[str]
    params: ClassVar[tuple[str, ...]] = ()
    multiple: ClassVar[bool] = False
    higher_order: ClassVar[bool] = False
    abstract: ClassVar[bool] = True
    differentiable: bool = True
    not_differentiable: str | None = None
    facts: frozenset[str] = frozenset()
    reference: Callable[..., Any] | None = None
    pushes: dict[int, Any] | None = None
    """Forward rules that have been written out, by the mask of operands that move; None if there are none."""

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = abstract
        cls.of = functools.lru_cache(maxsize=4096, typed=True)(cls)
        if not abstract:
            cls.check_declaration(cls)
            register(cls.name, cls)

    def __init__(self, *values: Any, **named: Any) -> None:
        if len(values) > len(self.params) or not set(named) <= set(self.params[len(values) :]):
            raise TypeError(f"{type(self).__name__} takes the parameters {self.params}, got {values} {named}")
        for param, value in zip(self.params, values, strict=False):
            setattr(self, param, value)
        for param, value in named.items():
            setattr(self, param, value)
        self.key = (type(self), *(getattr(self, param) for param in self.params))
        self.pullbacks: dict[int, Any] = {}

    of: ClassVar[Callable[..., Any]]
    """The same instance for the same parameters: `Sum.of((0,), False)` costs a dictionary look-up."""

    @staticmethod
    def check_declaration(cls: Any) -> None:
        """Refuse a declaration that leaves a required question open."""
        name = getattr(cls, "name", None)
        if not isinstance(name, str):
            raise RegistrationError(f"{cls!r} declares no name", "set `name`")
        for question in ("type", "numpy", "samples"):
            if getattr(cls, question) is getattr(Primitive, question):
                raise RegistrationError(f"primitive {name!r} does not answer {question!r}", f"define `{question}`")
        if cls.differentiable and cls.not_differentiable is None and cls.jvp is Primitive.jvp:
            raise RegistrationError(
                f"primitive {name!r} has no derivative and does not say why",
                "define `jvp`, derive from a family, or set `differentiable = False` or `not_differentiable`",
            )

    # The questions. --------------------------------------------------------------------------------

    def type(self, *types: ArrayType) -> Any:
        raise NotImplementedError

    def numpy(self, *values: Any) -> Any:
        raise NotImplementedError

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        raise NotImplementedError

    transpose: Callable[..., Sequence[Any]] | None = None
    vjp: Callable[..., Sequence[Any]] | None = None
    batch: Callable[..., tuple[Any, Any]] | None = None
    depends: Callable[..., Any] | None = None
    flops: Callable[..., float] | None = None
    workspace: Callable[..., float] | None = None
    lowering: Callable[..., Any] | None = None
    split: Callable[..., Any] | None = None
    traced: Callable[..., Any] | None = None
    with_subgraphs: Callable[..., Primitive] | None = None
    prune: Callable[..., tuple[Primitive, list[int], list[int]]] | None = None

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        raise NotImplementedError

    def python(self, *operands: Any) -> str | None:
        return None

    def python_lines(
        self, targets: Sequence[Any], operands: Sequence[Any], functions: Sequence[str], fresh: Callable[[str], str]
    ) -> list[str] | None:
        return None

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        """Which values the reverse rule needs when the operands in the bit mask are differentiated.

        Positions 0 to count-1 are operands, position `count` is the output. All by default.
        """
        return tuple(range(count + 1))

    # What every instance can tell. -----------------------------------------------------------------

    @property
    def subgraphs(self) -> tuple[tuple[str, Graph], ...]:
        """The graphs among the parameters, with the parameters' names."""
        return ()

    def subgraph_types(self, *types: ArrayType) -> tuple[Sequence[ArrayType], ...]:
        """What each of those graphs gets, for operands of these types; nothing if the operation does not say."""
        return ()

    def arguments(self) -> dict[str, Any]:
        """The parameters by name."""
        return {param: getattr(self, param) for param in self.params}

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Primitive) and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        inner = ", ".join(f"{k}={v!r}" for k, v in self.arguments().items())
        return f"{self.name}({inner})" if inner else self.name


def register(name: str, primitive: type[Primitive] | Primitive) -> None:
    """Enter a primitive; a name may be taken once."""
    if name in registry:
        raise RegistrationError(f"a primitive named {name!r} exists already: {registry[name]!r}", "choose another name")
    registry[name] = primitive
