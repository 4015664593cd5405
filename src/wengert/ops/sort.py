"""Sorting, and searching in sorted arrays.

Sorting permutes, so its derivative gathers with the permutation. Where elements tie, every permutation of the
tied ones is as good as any other and the derivative does not exist; the one taken treats tied elements alike:
each gets the average over the places that they hold, as in the running and the plain maximum.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..graph.interpreter import bind
from ..graph.primitive import Primitive, Sample
from ..graph.types import ArrayType
from .dependence import Operand, along_axis
from .families import Linear, align_batches, shape_of, vocabulary
from .shape import canonical_axis


class Sort(Primitive):
    """In ascending order along an axis, NaN last; complex numbers by real part, then imaginary part."""

    name = "sort"
    params = ("axis",)

    def type(self, x: ArrayType) -> ArrayType:
        canonical_axis(self.axis, x.ndim, self.name)
        return x._replace(weak=False)

    def flops(self, x: ArrayType) -> float:
        return x.size * math.log2(max(2, x.shape[self.axis]))

    def numpy(self, x: Any) -> Any:
        return np.sort(x, self.axis)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return [along_axis(outs.shape, self.axis % len(outs.shape))]

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        order = argsort(primals[0], self.axis, stable=False)  # the order of ties is averaged away
        return average_ties(vocabulary.take_along_axis(tangents[0], order, self.axis), out, self.axis)

    def vjp(self, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> Sequence[Any]:
        """By hand: the transpose of gathering with a permutation is gathering with its inverse, with no scatter."""
        places = bind(InversePermutation.of(self.axis), argsort(operands[0], self.axis, stable=False))
        return (vocabulary.take_along_axis(average_ties(ct, out, self.axis), places, self.axis),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        at = axes[0] or 0
        return bind(type(self).of(self.axis + (self.axis >= at)), operands[0]), at

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(0), (rng.normal(size=5),)
        yield cls(1), (rng.normal(size=(3, 4)),)
        yield cls(0), (rng.normal(size=(4, 3)),)
        yield cls(1), (rng.normal(size=(2, 0)),)


class ArgSort(Primitive):
    """A permutation that sorts along an axis; tied elements stay in order if `stable`."""

    name = "argsort"
    params = ("axis", "stable")
    differentiable = False

    def type(self, x: ArrayType) -> ArrayType:
        canonical_axis(self.axis, x.ndim, self.name)
        return ArrayType(x.shape, np.dtype(np.intp))

    flops = Sort.flops

    def numpy(self, x: Any) -> Any:
        return np.argsort(x, self.axis, kind="stable" if self.stable else "quicksort")

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        at = axes[0] or 0
        return argsort(operands[0], self.axis + (self.axis >= at), self.stable), at

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield from ((cls(p.axis, True), operands) for p, operands in Sort.samples(rng))
        yield cls(0, True), (np.array([2, 1, 2, 0, 1]),)
        yield cls(1, False), (rng.normal(size=(3, 4)),)


class InversePermutation(Primitive):
    """Where each position went: `inverse[order[i]] = i` along an axis, for an array of permutations."""

    name = "inverse_permutation"
    params = ("axis",)
    differentiable = False

    def type(self, order: ArrayType) -> ArrayType:
        canonical_axis(self.axis, order.ndim, self.name)
        return ArrayType(order.shape, np.dtype(np.intp))

    def numpy(self, order: Any) -> Any:
        places = np.empty(order.shape, np.intp)
        shape = [1] * order.ndim
        shape[self.axis] = -1
        np.put_along_axis(places, order, np.arange(order.shape[self.axis]).reshape(shape), self.axis)
        return places

    batch = Sort.batch

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(0), (rng.permutation(5),)
        yield cls(1), (np.argsort(rng.normal(size=(3, 4))),)
        yield cls(0), (np.zeros((0, 2), np.intp),)


class RunStarts(Primitive):
    """True where a sorted element differs from the one before it, so also at the first; NaNs are equal."""

    name = "run_starts"
    params = ("axis",)
    differentiable = False

    def type(self, x: ArrayType) -> ArrayType:
        canonical_axis(self.axis, x.ndim, self.name)
        return ArrayType(x.shape, np.dtype(np.bool_))

    def numpy(self, x: Any) -> Any:
        keys = np.moveaxis(np.asarray(x), self.axis, 0)
        starts = np.ones(keys.shape, bool)
        starts[1:] = (keys[1:] != keys[:-1]) & ((keys[1:] == keys[1:]) | (keys[:-1] == keys[:-1]))
        return np.moveaxis(starts, 0, self.axis)

    batch = Sort.batch

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(0), (np.array([0.0, 1.0, 1.0, 1.0, 2.0]),)
        yield cls(1), (np.array([[1.0, 1.0, np.nan], [2.0, np.nan, np.nan]]),)
        yield cls(0), (np.zeros((0, 2)),)


class AverageRuns(Linear):
    """Every element replaced by the average over its run; the second operand is True where a run starts.

    An orthogonal projection, so it is its own transpose.
    """

    name = "average_runs"
    params = ("axis",)

    def linear_operands(self, count: int) -> Sequence[int]:
        return (0,)

    def type(self, values: ArrayType, starts: ArrayType) -> ArrayType:
        canonical_axis(self.axis, starts.ndim, self.name)
        return values._replace(weak=False)

    def numpy(self, values: Any, starts: Any) -> Any:
        if np.all(starts):
            return values
        lanes = np.moveaxis(np.asarray(values), self.axis, -1)
        first = np.flatnonzero(np.moveaxis(starts, self.axis, -1))
        counts = np.diff(first, append=lanes.size)
        means = np.add.reduceat(np.ravel(lanes), first) / counts.astype(lanes.real.dtype)
        return np.moveaxis(np.repeat(means, counts).reshape(lanes.shape), -1, self.axis)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:
        return [along_axis(outs.shape, self.axis % len(outs.shape)), None]

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return bind(self, ct, operands[1]), None

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        return bind(AverageRuns.of(self.axis + 1), *align_batches(operands, axes)), 0

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls(0), (rng.normal(size=5), np.array([True, True, False, False, True]))
        yield cls(1), (rng.normal(size=(2, 3)), np.array([[True, False, True], [True, True, False]]))
        yield cls(0), (rng.normal(size=(3, 2)), np.array([[True, True], [False, True], [True, False]]))
        yield cls(0), (rng.normal(size=(0, 2)), np.ones((0, 2), bool))


class SearchSorted(Primitive):
    """Where `v` would be inserted into the sorted last axis of `a`; `lead` leading axes of both are paired."""

    name = "searchsorted"
    params = ("side", "lead")
    differentiable = False

    def type(self, a: ArrayType, v: ArrayType) -> ArrayType:
        return ArrayType(v.shape, np.dtype(np.intp))

    def numpy(self, a: Any, v: Any) -> Any:
        if self.lead == 0:
            return np.searchsorted(a, v, self.side)
        a, v = np.asarray(a), np.asarray(v)
        found = np.empty(v.shape, np.intp)
        for row in np.ndindex(v.shape[: self.lead]):
            found[row] = np.searchsorted(a[row], v[row], self.side)
        return found

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        if axes[0] is None and self.lead == 0:
            return bind(self, *operands), axes[1]
        return bind(SearchSorted.of(self.side, self.lead + 1), *align_batches(operands, axes)), 0

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        yield cls("left", 0), (np.array([0.0, 1.0, 1.0, 2.0]), rng.normal(size=(2, 3)))
        yield cls("right", 0), (np.array([0.0, 1.0, 1.0, 2.0]), np.array(1.0))
        yield cls("right", 1), (np.sort(rng.normal(size=(2, 4))), rng.normal(size=(2, 3)))


def sort(x: Any, axis: int) -> Any:
    """In ascending order along an axis counted from the front."""
    return bind(Sort.of(axis), x)


def argsort(x: Any, axis: int, stable: bool = True) -> Any:
    """The permutation that sorts along an axis counted from the front."""
    return bind(ArgSort.of(axis, stable), x)


def average_ties(values: Any, keys: Any, axis: int) -> Any:
    """Values averaged over runs of equal sorted keys."""
    return bind(AverageRuns.of(axis), values, bind(RunStarts.of(axis), keys)) if shape_of(keys)[axis] != 1 else values


def searchsorted(a: Any, v: Any, side: str = "left") -> Any:
    """Where `v` would be inserted into the sorted one-dimensional `a`."""
    return bind(SearchSorted.of(side, 0), a, v)
