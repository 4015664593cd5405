"""Families of operations, whose rules are derived once: elementwise, linear, bilinear.

An elementwise operation is one declaration (`elementwise(...)`): name, NumPy reference, derivatives, facts.
From the derivatives follow forward mode, reverse mode, batching and sparsity. A linear operation states its
transpose; forward and reverse mode follow.

The derived rules are themselves made of a handful of operations, which enter themselves in `vocabulary`
where they are declared.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive, Sample, register
from ..graph.types import PYTHON_NUMBERS, ArrayType, broadcast_shapes
from ..source import PACKAGE
from .dependence import SAME, Operand, broadcast, dense, positions, rearranged

vocabulary: Any = SimpleNamespace()
"""add, multiply, strong_multiply, negative, broadcast_to, reshape, move_axis, sum_to, convert, zeros_like."""

Sampler = Callable[[np.random.Generator, tuple[int, ...]], Any]


def reals(low: float, high: float) -> Sampler:
    """Draw float64 uniformly from an interval where the operation is smooth."""
    return lambda rng, shape: rng.uniform(low, high, shape)


def integers(low: int, high: int) -> Sampler:
    """Draw int64 from low to high-1."""
    return lambda rng, shape: rng.integers(low, high, shape)


def booleans() -> Sampler:
    return lambda rng, shape: rng.integers(0, 2, shape).astype(bool)


def shape_of(value: Any) -> tuple[Any, ...]:
    """Shape of an array, number, tensor or edge."""
    shape = getattr(value, "shape", None)
    return () if shape is None else shape


def fit(ct: Any, like: Any) -> Any:
    """A cotangent of a broadcast operand as a cotangent of the operand: summed over the axes it was repeated along.

    `like` has the operand's shape and dtype. The cotangent of a real operand of a complex result is the real part.
    """
    if ct.shape != like.shape:
        ct = vocabulary.sum_to(ct, like.shape)
    if ct.dtype != like.dtype:
        ct = vocabulary.convert(ct, like.dtype)
    return ct


def match(tangent: Any, out: Any) -> Any:
    """A tangent with the shape and dtype of the output it belongs to."""
    if tangent.__class__ is np.float64 and out.__class__ is np.float64:
        return tangent
    if shape_of(tangent) != shape_of(out):
        tangent = vocabulary.broadcast_to(tangent, shape_of(out))
    dtype = type_of_value(out).dtype
    if type_of_value(tangent).dtype != dtype:
        tangent = vocabulary.convert(tangent, dtype)
    return tangent


def describe(types: Sequence[ArrayType]) -> str:
    """`f64[2,3] and f64[4]` for a message."""
    return " and ".join(str(t) for t in types)


# Elementwise ---------------------------------------------------------------------------------------------

_SLOTS = {"x": 0, "y": 1, "z": 2}


class Elementwise(Primitive, abstract=True):
    """An operation on corresponding elements, with NumPy's broadcasting. Made by `elementwise`."""

    facts = frozenset({"elementwise"})

    def __init__(
        self,
        name: str,
        reference: Callable[..., Any],
        derivatives: Sequence[Any] | None,
        arity: int,
        dtypes: Any,
        facts: frozenset[str],
        samplers: Sequence[Sampler],
        complex: bool,
        doc: str,
        not_differentiable: str | None,
    ) -> None:
        super().__init__()
        self.name = name  # type: ignore[misc]
        self.key = (Elementwise, name)
        self.reference = reference
        self.numpy = reference if complex else without_complex(self, reference)  # type: ignore[method-assign]
        self.arity = arity
        self.derivatives = derivatives
        self.differentiable = derivatives is not None or not_differentiable is not None
        self.not_differentiable = not_differentiable
        self.dtypes = dtypes
        self.facts = Elementwise.facts | facts
        if not any(map(callable, derivatives or ())):
            self.facts |= {"tame"}  # only signs and zeros: nothing can be singular
        self.samplers = samplers
        self.complex = complex
        self.__doc__ = doc
        self.scalar: Callable[..., Any] | None = None
        self.scalar_kinds = "biuf"
        self._type_cache: dict[tuple[ArrayType, ...], ArrayType] = {}
        self._saves: dict[int, tuple[int, ...]] = {}
        self.pushes = {}
        self._arguments = [_argument_slots(d, arity) if callable(d) else () for d in derivatives or ()]

    def __call__(self, *operands: Any) -> Any:
        return bind(self, *operands)

    def type(self, *types: ArrayType) -> ArrayType:
        known = self._type_cache.get(types)
        if known is not None:
            return known
        shape = broadcast_shapes(*(t.shape for t in types))
        if shape is None:
            raise ShapeError(
                f"{self.name}: shapes do not broadcast: {describe(types)}",
                "make trailing axes equal or 1, for instance with x[:, None] or np.reshape",
            )
        if len(self._type_cache) > 4096:
            self._type_cache.clear()
        result = self._type_cache[types] = ArrayType(shape, self._result_dtype(types))
        return result

    def _result_dtype(self, types: Sequence[ArrayType]) -> np.dtype[Any]:
        if not self.complex and any(t.dtype.kind == "c" for t in types):
            raise complex_refused(self.name, types)
        if callable(self.dtypes):
            return np.dtype(self.dtypes(*types))
        asked: list[Any] = [type(t.promotes_as) if t.weak and t.dtype.kind != "b" else t.dtype for t in types]
        try:
            if isinstance(self.reference, np.ufunc):
                if all(t.weak for t in types):  # NumPy resolves Python numbers only beside an array
                    asked[0] = types[0].dtype
                return self.reference.resolve_dtypes((*asked, None))[-1]
            return np.dtype(np.result_type(*(t.promotes_as for t in types)))
        except TypeError as error:
            raise DtypeError(f"{self.name} does not accept {describe(types)}", "convert with .astype first") from error

    def operand_dtypes(self, types: Sequence[ArrayType], out: ArrayType) -> list[np.dtype[Any]]:
        """The dtypes that operands are converted to before the operation."""
        if not isinstance(self.reference, np.ufunc):
            return [out.dtype] * len(types)
        asked: list[Any] = [type(t.promotes_as) if t.weak and t.dtype.kind != "b" else t.dtype for t in types]
        if all(t.weak for t in types):
            asked[0] = types[0].dtype
        return list(self.reference.resolve_dtypes((*asked, None))[:-1])

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:  # type: ignore[override]
        if self.scalar is None:
            return NotImplemented
        dtypes = self.operand_dtypes(types, out)
        if not all(e.holds(d) and d.kind in self.scalar_kinds for d in dtypes):
            return NotImplemented
        return e.elementwise(self.scalar, operands, dtypes, out)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        total = None
        values = (*primals, out)
        for tangent, derivative, slots in zip(tangents, self.derivatives or (), self._arguments, strict=True):
            if tangent is None or derivative is None:
                continue
            if callable(derivative):
                term = vocabulary.strong_multiply(tangent, derivative(*[values[k] for k in slots]))
            else:
                term = tangent if derivative == 1 else vocabulary.multiply(tangent, derivative)
            total = term if total is None else vocabulary.add(total, term)
        return None if total is None else match(total, out)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        known = self._saves.get(mask)
        if known is None:
            wanted = [k for k in range(self.arity) if mask >> k & 1]
            known = self._saves[mask] = tuple(sorted({slot for k in wanted for slot in self._arguments[k]}))
        return known

    def pullback(self, mask: int) -> tuple[Any, Any]:
        """(keep, apply) for the operands in the bit mask: what to save, and the cotangents from it.

        Written out as source once per mask, since this is the inner loop of define-by-run.
        """
        wanted = [k for k in range(self.arity) if mask >> k & 1 and (self.derivatives or ())[k] is not None]
        saved = self.saves(mask, self.arity)
        lines = [f"{''.join(f'v{slot}, ' for slot in saved)}= saved"] if saved else []
        scope: dict[str, Any] = {"fit": fit}
        for k in wanted:
            derivative = (self.derivatives or ())[k]
            if callable(derivative):
                factor = self._same_as(derivative, self._arguments[k])
                if factor is None:
                    scope[f"d{k}"] = derivative
                    factor = f"d{k}({', '.join(f'v{slot}' for slot in self._arguments[k])})"
                lines.append(f"g{k} = ct * {factor} if times is None else times(ct, {factor})")
            else:
                lines.append(f"g{k} = ct" if derivative == 1 else f"g{k} = ct * {derivative!r}")
            lines.append(f"a{k} = inputs[{k}]")
            lines.append(f"if g{k}.shape != a{k}.shape or g{k}.dtype is not a{k}.dtype: g{k} = fit(g{k}, a{k})")
        values = ", ".join("out" if slot == self.arity else f"operands[{slot}]" for slot in saved)
        results = ", ".join(f"g{k}" if k in wanted else "None" for k in range(self.arity))
        body = "".join(f"    {line}\n" for line in lines)
        text = (
            f"def keep(operands, out):\n    return ({values}{',' if saved else ''})\n"
            f"def apply(ct, saved, inputs, times):\n{body}    return ({results},)\n"
        )
        exec(compile(text, f"{PACKAGE}<pullback of {self.name}>", "exec"), scope)
        return scope["keep"], scope["apply"]

    @staticmethod
    def _same_as(derivative: Callable[..., Any], slots: Sequence[int]) -> str | None:
        """The value that a derivative just hands out (`lambda y: y`), so that it need not be called."""
        probes = [object() for _ in slots]
        try:
            found = derivative(*probes)
        except Exception:
            return None
        return next((f"v{slot}" for slot, probe in zip(slots, probes, strict=True) if probe is found), None)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:  # type: ignore[override]
        # Where an elementwise operation is linear in an operand, its derivative does not read that operand.
        cts: list[Any] = []
        for k, (operand, wanted) in enumerate(zip(operands, linear, strict=True)):
            derivative = (self.derivatives or ())[k]
            if not wanted or derivative is None:
                cts.append(None)
            elif callable(derivative):
                factor = derivative(*[operands[slot] for slot in self._arguments[k]])
                cts.append(fit(vocabulary.strong_multiply(ct, factor), operand))
            else:
                cts.append(fit(ct if derivative == 1 else vocabulary.multiply(ct, derivative), operand))
        return cts

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        """The elements at the same place; not where the derivative is a known zero, as in a product with a mask."""
        found: list[Any] = []
        for x, derivative, slots in zip(operands, self.derivatives or (), self._arguments, strict=True):
            path = None if derivative is None or derivative == 0 else broadcast(x.shape, outs.shape)
            if path is not None and callable(derivative) and self.arity not in slots:
                given = [operands[slot].value for slot in slots if not operands[slot].moves]
                if len(given) == len(slots) and all(value is not None for value in given):
                    with np.errstate(all="ignore"):
                        zero = np.broadcast_to(np.equal(derivative(*given), 0), outs.shape)
                    if zero.any():
                        path = np.where(zero, -1, np.broadcast_to(positions(x.shape), outs.shape))
            found.append(path)
        return found

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        batched = [(x, a) for x, a in zip(operands, axes, strict=True) if a is not None]
        ranks = [len(shape_of(x)) - (a is not None) for x, a in zip(operands, axes, strict=True)]
        rank = max(ranks)
        first = batched[0][1]
        if all(a == first and len(shape_of(x)) - 1 == rank for x, a in batched) and all(
            len(shape_of(x)) == 0 for x, a in zip(operands, axes, strict=True) if a is None
        ):
            return bind(self, *operands), first
        aligned = []
        for x, a, own in zip(operands, axes, ranks, strict=True):
            if a is not None:
                x = vocabulary.move_axis(x, a, 0)
                if own < rank:
                    shape = shape_of(x)
                    x = vocabulary.reshape(x, (shape[0], *(1,) * (rank - own), *shape[1:]))
            aligned.append(x)
        return bind(self, *aligned), 0

    def samples(self, rng: np.random.Generator) -> Iterator[Sample]:  # type: ignore[override]
        shapes = (
            [((2, 3),), ((),), ((0, 3),)]
            if self.arity == 1
            else [((2, 3), (3,), (2, 1)), ((), (4,), ()), ((0, 2), (1, 2), ())]
        )
        for group in shapes:
            yield self, tuple(sampler(rng, shape) for sampler, shape in zip(self.samplers, group, strict=False))

    def __repr__(self) -> str:
        return self.name


def complex_refused(name: str, types: Sequence[ArrayType]) -> DtypeError:
    return DtypeError(
        f"{name} takes no complex numbers, and was given {describe(types)}",
        "apply it to the real or imaginary part, or to the absolute value",
    )


def without_complex(primitive: Elementwise, reference: Callable[..., Any]) -> Callable[..., Any]:
    """The reference, made to refuse complex numbers if it does not do so itself."""
    if isinstance(reference, np.ufunc) and not any("D" in loop for loop in reference.types):
        return reference

    def run(*operands: Any) -> Any:
        if any(np.iscomplexobj(x) for x in operands):
            raise complex_refused(primitive.name, [type_of_value(x) for x in operands])
        return reference(*operands)

    return run


def _argument_slots(derivative: Callable[..., Any], arity: int) -> tuple[int, ...]:
    """Which values a derivative reads, from its parameter names x, y, z and out."""
    return tuple(arity if name == "out" else _SLOTS[name] for name in inspect.signature(derivative).parameters)


def elementwise(
    name: str,
    reference: Callable[..., Any],
    *derivatives: Any,
    arity: int | None = None,
    dtypes: Any = None,
    facts: Sequence[str] = (),
    samples: Sampler | Sequence[Sampler] | None = None,
    complex: bool = True,
    not_differentiable: str | None = None,
    doc: str = "",
    family: type[Elementwise] = Elementwise,
    scalar: Callable[..., Any] | None = None,
    scalar_kinds: str = "biuf",
) -> Elementwise:
    """Declare and register an elementwise operation.

    Parameters
    ----------
    name : unique name.
    reference : NumPy function of one, two or three arrays (a ufunc gives the dtype rule as well).
    derivatives : one per operand: a function of some of `x`, `y`, `z` (the operands) and `out` (the result),
        found by parameter name; or a number; or None for zero. What the functions read is what reverse mode
        keeps. No derivatives at all declare one that is zero wherever it exists.
    dtypes : `rule(*types) -> dtype` where the reference is no ufunc; by default NumPy's promotion.
    facts : "commutative", "increasing", "zero at zero", "odd", "even", "idempotent" ...; "tame" if the
        derivatives are finite wherever the operands are, so that forward mode need not silence NumPy's warnings.
    samples : where tests may draw inputs; one for all operands or one each. Default: reals in (-3, 3).
    complex : whether complex operands are accepted.
    family : a subclass of `Elementwise` that overrides a rule.
    scalar : native code of one element, `scalar(e, *operands)`, written with the methods of `e` (`e.add`, `e.mul`,
        `e.select`, `e.intrinsic("sqrt", x)`, `e.library("sin", x)`, ...; see `native.mathematics`). Without it
        compiled programs call `reference`. scalar_kinds : the kinds of dtypes that it is for.
    """
    count = (
        arity if arity is not None else (reference.nin if isinstance(reference, np.ufunc) else max(1, len(derivatives)))
    )
    samplers = samples if isinstance(samples, (list, tuple)) else [samples or reals(-3, 3)] * count
    primitive = family(
        name, reference, derivatives or None, count, dtypes, frozenset(facts), samplers, complex, doc,
        not_differentiable,
    )  # fmt: skip
    primitive.scalar, primitive.scalar_kinds = scalar, scalar_kinds
    register(name, primitive)
    return primitive


def by_operator(primitive: Elementwise, operate: Callable[..., Any]) -> Elementwise:
    """Evaluate with Python's operator, which on NumPy scalars is several times faster than the ufunc.

    Two Python numbers go to the ufunc, which knows infinities and returns NumPy's types.
    """
    ufunc = primitive.numpy

    def run(*operands: Any) -> Any:
        try:
            out = operate(*operands)
        except ZeroDivisionError:
            return ufunc(*operands)
        return ufunc(*operands) if out.__class__ in _PYTHON else out

    primitive.numpy = run  # type: ignore[method-assign]
    return primitive


_PYTHON = frozenset(PYTHON_NUMBERS)


# Linear --------------------------------------------------------------------------------------------------


class Linear(Primitive, abstract=True):
    """Linear in the operands at `linear_operands` jointly; the others are indices, sizes or masks.

    A subclass defines `transpose(ct, operands, linear)`, in which the linear operands are given by type.
    """

    facts = frozenset({"linear"})

    def linear_operands(self, count: int) -> Sequence[int]:
        return range(count)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        linear = self.linear_operands(count)
        return tuple(k for k in range(count) if k not in linear)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        linear = self.linear_operands(len(operands))
        if "elementwise" in self.facts:
            return [SAME if k in linear else None for k in range(len(operands))]
        if "rearranging" in self.facts:
            return rearranged(self, operands, linear)
        return [path if k in linear else None for k, path in enumerate(dense(operands, outs))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        linear = self.linear_operands(len(primals))
        operands = [
            (vocabulary.zeros_like(p) if t is None else t) if k in linear else p
            for k, (p, t) in enumerate(zip(primals, tangents, strict=True))
        ]
        return bind(self, *operands)


class Bilinear(Primitive, abstract=True):
    """Linear in each of two operands. A subclass defines `transpose` with one of them marked in `linear`."""

    facts = frozenset({"bilinear"})

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return tuple(k for k in (0, 1) if mask >> (1 - k) & 1)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        x, y = primals
        dx, dy = tangents
        if dy is None:
            return match(bind(self, dx, y), out)
        if dx is None:
            return match(bind(self, x, dy), out)
        return match(vocabulary.add(bind(self, dx, y), bind(self, x, dy)), out)


def align_batches(operands: Sequence[Any], axes: Sequence[int | None], to: int = 0) -> list[Any]:
    """Every operand with its batch axis moved to `to`; those without one repeated along it (a 0-stride view)."""
    size = batch_size(operands, axes)
    aligned = []
    for x, axis in zip(operands, axes, strict=True):
        if axis is None:
            shape = shape_of(x)
            x = vocabulary.broadcast_to(x if is_traced(x) else np.asarray(x), (size, *shape))
            axis = 0
        aligned.append(vocabulary.move_axis(x, axis, to))
    return aligned


def batch_size(operands: Sequence[Any], axes: Sequence[int | None]) -> Any:
    """The length of the batch axis."""
    return next(shape_of(x)[a] for x, a in zip(operands, axes, strict=True) if a is not None)
