"""`jet`: derivatives of any order along a curve, in one forward pass on truncated power series (Taylor mode)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..errors import ShapeError, TreeMismatchError, WengertError
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.tensor import Tensor
from ..graph.trees import flatten, paths, unflatten
from ..graph.types import PYTHON_NUMBERS
from ..ops.control_flow import ControlFlow
from ..ops.families import vocabulary
from ..ops.shape import zeros_like
from .complaints import explain
from .forward import check_tangent, scalar
from .packed import Packed
from .power_series import Terms, given, recurrence


class Jet(Packed):
    """Tensors are truncated power series: the value and the `Terms` up to `order`."""

    noun = "power series"

    def __init__(self, order: int) -> None:
        super().__init__(order)
        self.order = order
        self.orders = order
        self._lazy = 0
        self._made: list[Terms] = []
        self._results: list[dict[Any, Any]] = []

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)
        # A recurrence refers to its own series: cut, so that arrays are freed without waiting for the collector.
        for terms in self._made:
            terms.close()
        for results in self._results:
            results.clear()
        self._made.clear()
        self._results.clear()

    def again(self) -> Jet:
        return Jet(self.order)

    def pack(self, value: Any, note: Terms) -> Any:
        zero = zeros_like(value)
        return vocabulary.stack_rows([zero if note[k] is None else note[k] for k in range(1, self.order + 1)])

    def unpack(self, value: Any, packed: Any) -> Terms:
        return given(value, [vocabulary.take_row(packed, k) for k in range(self.order)])

    @contextmanager
    def lazily(self) -> Iterator[None]:
        """Inside, results get their coefficients when they are asked for, as in derivatives of operations."""
        self._lazy += 1
        try:
            yield
        finally:
            self._lazy -= 1

    def tensor(self, value: Any, terms: Terms | None) -> Any:
        return value if terms is None else Tensor(self, value, terms)

    def terms(self, value: Any) -> Terms | None:
        """The series of a result of this interpreter, None for a constant."""
        return value.note if is_traced(value) and value.interpreter is self else None

    @staticmethod
    def concrete_value(value: Any) -> Any:
        return value.interpreter.concrete(value) if is_traced(value) else value

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        values, series = zip(*map(self.opened, operands), strict=True)
        if isinstance(primitive, ControlFlow) and "custom" not in primitive.facts:
            return self.through_graphs(primitive, values, series)
        # The same operation on the same operands is the same series: this is what closes the recurrences.
        holder = next(t for t in series if t is not None).made
        key = (primitive, *map(identity, values, series))
        entry = holder.get(key)
        if entry is None:
            self._results.append(holder)
            entry = holder[key] = (self._series(primitive, values, series), values, series)
        outs = entry[0]
        if not self._lazy:
            for out in outs if isinstance(outs, tuple) else (outs,):
                terms = self.terms(out)
                if terms is not None:
                    with np.errstate(all="ignore"):
                        terms[self.order]
        return outs

    def _series(self, primitive: Primitive, values: Sequence[Any], series: Sequence[Terms | None]) -> Any:
        """The results of an operation, with series where they can move."""
        try:
            out = bind(primitive, *values)
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, values, error) from error
        if not primitive.differentiable:
            return out
        if "custom" in primitive.facts:
            self.check_captured(out)
        if primitive.split is not None:  # equal eigenvalues: see ops.spectral
            out = primitive.split(out, None)
        found = recurrence(self, primitive, values, series, out)
        self._made += found
        if not primitive.multiple:
            return Tensor(self, out, found[0])
        return tuple(
            Tensor(self, o, t) if type_of_value(o).dtype.kind in "fc" else o for o, t in zip(out, found, strict=True)
        )


def identity(value: Any, terms: Terms | None) -> Any:
    """What tells operands apart; the entry it leads to keeps them alive."""
    if terms is not None:
        return id(terms)
    return (type(value), value) if isinstance(value, PYTHON_NUMBERS) else id(value)


def separate(jet: Jet, value: Any) -> tuple[Any, Terms | None]:
    """Value and series (None for a constant) of a result at one level."""
    terms = jet.terms(value)
    if terms is None:
        return vocabulary.settle(jet.lower(value)), None
    settled = given(vocabulary.settle(value.value), [_settled(terms[k]) for k in range(1, jet.order + 1)])
    return settled[0], None if all(settled[k] is None for k in range(1, jet.order + 1)) else settled


def _settled(term: Any) -> Any:
    return None if term is None else vocabulary.settle(term)


def jet(fn: Callable[..., Any], primals: Sequence[Any], series: Sequence[Any], taylor: bool = False) -> Any:
    """Value and derivatives of every order along a curve: `f(x(t))` as a series in t, at t = 0.

    Parameters
    ----------
    fn : a function of arrays in any containers.
    primals : tuple of its arguments, x(0).
    series : one entry per argument, in the argument's containers with a list of K arrays for each leaf: the derivatives
        x'(0), x''(0), ... of the curve, of the leaf's shape; None for a zero. For a straight line in direction v give
        [v] and zeros, or just `[v, None, None]`. All lists have the same length K.
    taylor : take and give Taylor coefficients, x^(k)(0) / k!, in place of derivatives.

    Returns
    -------
    (out, out_series), both in the containers of the output, with a list of K derivatives for each leaf of the second.
    The conventions are those of `jax.experimental.jet`.

    The cost grows with K^2 for operations whose recurrence closes, which are all elementwise ones but sinc, products,
    linear algebra and rearrangements; with K^3 for those that come to ever new functions. Loops and branches run on
    series as well. At points where an operation has fewer than K derivatives, those that do not exist are infinite or
    NaN. At equal eigenvalues only derivatives that exist whatever eigenvectors are chosen are given.

    Raises
    ------
    TreeMismatchError : `series` does not fit the arguments. ShapeError : a coefficient has another shape than its leaf,
        or lists differ in length (the leaf is named).

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.jet(np.sin, (0.0,), ([1.0, 0.0, 0.0],))
    (np.float64(0.0), [np.float64(1.0), np.float64(0.0), np.float64(-1.0)])
    >>> wg.jet(np.exp, (0.0,), ([1.0, None, None, None],), taylor=True)[1][3]
    np.float64(0.041666666666666664)
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(series, (tuple, list)):
        raise TreeMismatchError("jet takes tuples of primals and series", "write wg.jet(f, (x,), ([v, None],))")
    if len(primals) != len(series):
        raise TreeMismatchError(f"jet: {len(series)} series for {len(primals)} arguments", "give one per argument")
    leaves, structure = flatten(tuple(primals))
    names = paths(structure, "series")
    lists = coefficient_lists(structure, tuple(series), names)
    order = max((len(own) for own in lists), default=0)
    for own, name in zip(lists, names, strict=True):
        if len(own) != order:
            raise ShapeError(
                f"jet: {name} has {len(own)} coefficients, another leaf has {order}", "fill up with None for zeros"
            )
    leaves = [leaf if is_traced(leaf) or isinstance(leaf, np.ndarray) else np.asarray(leaf)[()] for leaf in leaves]
    weights = [1.0 if taylor else 1.0 / math.factorial(k) for k in range(1, order + 1)]
    with Jet(order) as level:
        tensors = []
        for leaf, own, name in zip(leaves, lists, names, strict=True):
            terms = [
                None if c is None else check_tangent(leaf, c, f"{name}[{k}]", "coefficient ") for k, c in enumerate(own)
            ]
            terms = [c if c is None or w == 1.0 else c * w for c, w in zip(terms, weights, strict=True)]
            moves = any(c is not None for c in terms)
            tensors.append(Tensor(level, leaf, given(leaf, terms)) if moves else leaf)
        result = fn(*unflatten(structure, tensors))
    outs, out_structure = flatten(result)
    pairs = [separate(level, out) for out in outs]
    columns = []
    for value, terms in pairs:
        zero = zeros_like(value)
        row = [terms[k] if terms is not None else None for k in range(1, order + 1)]
        scaled = [c if c is None or w == 1.0 else c * (1.0 / w) for c, w in zip(row, weights, strict=True)]
        columns.append([scalar(zero if c is None else c) for c in scaled])
    return unflatten(out_structure, [scalar(v) for v, _ in pairs]), unflatten(out_structure, columns)


def coefficient_lists(structure: Any, series: Any, names: Sequence[str]) -> list[list[Any]]:
    """For each leaf of the arguments its list of coefficients."""
    try:
        lists = structure.flatten_up_to(series)
    except (ValueError, TypeError) as error:
        raise TreeMismatchError(
            f"jet: the series do not have the containers of the arguments: {error}",
            "give a list of coefficients in the place of every leaf",
        ) from error
    for own, name in zip(lists, names, strict=True):
        if not isinstance(own, (list, tuple)):
            raise TreeMismatchError(
                f"jet: {name} is a {type(own).__name__}", "give a list of coefficients, [v] or [v, None, None]"
            )
    return [list(own) for own in lists]
