"""Which elements of a result depend on which elements of an operand: what `depends` rules return.

A rule `depends(operands, outs)` gives, for each operand, one of

- None: no path with a derivative,
- `SAME`: each element on the element at the same place (the shapes are equal),
- an integer array of the result's shape: each element on the one at that flat position, on none where it is -1,
- `Groups`: each element on all elements of one group,
- `Pairs`: the pairs of flat positions, one by one;

or `Joint`, for all operands together. An operation with several outputs gives one such list for each. `operands` are
`Operand`s, `outs` the types of the results. Axes of unknown length count as one element, which stands for all.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph.types import ArrayType


class Same:
    """Each element depends on the element at the same place."""

    def __repr__(self) -> str:
        return "SAME"


SAME = Same()


@dataclass(frozen=True, eq=False)
class Groups:
    """An element of the result depends on every element of the operand with the same group number."""

    ins: np.ndarray[Any, Any]
    outs: np.ndarray[Any, Any]
    count: int


@dataclass(frozen=True, eq=False)
class Pairs:
    """Element `outs[k]` of the result depends on element `ins[k]` of the operand (flat positions)."""

    outs: np.ndarray[Any, Any]
    ins: np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Joint:
    """Each element of the result depends on one element of the operands laid end to end, on none where it is -1."""

    operands: tuple[int, ...]
    index: np.ndarray[Any, Any]


Dependence = None | Same | np.ndarray[Any, Any] | Groups | Pairs


class Operand:
    """What a rule may know of an operand: its type, and its value where that does not depend on any argument."""

    __slots__ = ("missed", "moves", "type", "value")

    def __init__(self, type: ArrayType, value: Any = None, moves: bool = True) -> None:
        self.type = type
        self.value = value  # None if it is not known
        self.moves = moves  # whether it depends on what the derivative is taken in
        self.missed = False

    @property
    def index(self) -> Any:
        """The value of an operand that decides the structure. If it is not known that is remembered in `missed`:
        stepping through a loop, or the values of integer arguments, may make it known.
        """
        if self.value is None:
            self.missed = True
        return self.value

    @property
    def shape(self) -> tuple[Any, ...]:
        return self.type.shape

    @property
    def size(self) -> int:
        return math.prod(self.type.shape)


def positions(shape: Sequence[int], start: int = 0) -> np.ndarray[Any, Any]:
    """The flat positions of an array's elements, in its shape."""
    return np.arange(start, start + math.prod(shape)).reshape(shape)


def broadcast(shape: Sequence[int], to: Sequence[int]) -> Any:
    """The dependence of an array repeated to a larger shape."""
    return SAME if tuple(shape) == tuple(to) else np.broadcast_to(positions(shape), to)


def dense(operands: Sequence[Operand], out: ArrayType) -> list[Any]:
    """Everything depends on everything: right for any operation, and sharp for few."""
    size = math.prod(out.shape)
    return [Groups(np.zeros(x.size, int), np.zeros(size, int), 1) for x in operands]


def rearranged(primitive: Any, operands: Sequence[Operand], linear: Sequence[int]) -> Any:
    """Of an operation that only moves elements: found by moving their positions instead of their values."""
    start = 1
    values: list[Any] = []
    for k, x in enumerate(operands):
        if k in linear:
            values.append(positions(x.shape, start)[()])
            start += x.size
        else:
            values.append(x.index)
    return Joint(tuple(linear), np.asarray(primitive.numpy(*values)) - 1)


def by_labels(
    ins: Sequence[Hashable], in_shape: Sequence[int], outs: Sequence[Hashable], out_shape: Sequence[int]
) -> Groups:
    """As in Einstein's notation: an element depends on all elements that agree with it in the shared labels.

    >>> groups = by_labels("ik", (2, 3), "ij", (2, 4))  # x of x @ y
    >>> groups.ins.reshape(2, 3)
    array([[0, 0, 0],
           [1, 1, 1]])
    """
    # Where an operand of length 1 is repeated, all elements depend on the same one: that axis tells no group.
    extent = dict(zip(ins, in_shape, strict=True))
    shared = [a for a in dict.fromkeys(outs) if a in extent and extent[a] == dict(zip(outs, out_shape, strict=True))[a]]
    steps, count = {}, 1
    for label in shared:
        steps[label] = count
        count *= extent[label]
    return Groups(_numbers(ins, in_shape, steps), _numbers(outs, out_shape, steps), count)


def _numbers(labels: Sequence[Hashable], shape: Sequence[int], steps: dict[Hashable, int]) -> np.ndarray[Any, Any]:
    """For each element of an array the sum of its positions along labelled axes times the labels' steps."""
    total = np.zeros(shape, int)
    for axis, label in enumerate(labels):
        if label in steps:
            line = np.arange(shape[axis]) * steps[label]
            total += line.reshape([-1 if k == axis else 1 for k in range(len(shape))])
    return total.ravel()


def by_coefficients(
    ins: Sequence[Hashable],
    in_shape: Sequence[int],
    others: Sequence[Hashable],
    coefficients: Any,
    outs: Sequence[Hashable],
    out_shape: Sequence[int],
) -> Pairs:
    """Of a product with a known factor, whose zeros cut the paths: `by_labels` where a coefficient is not zero.

    Labels may be repeated (a diagonal); a number as `coefficients` says nothing about zeros.
    """
    coefficients = np.asarray(coefficients)
    places = np.nonzero(coefficients) if coefficients.ndim else ()
    given: dict[Hashable, Any] = {}
    keep = np.ones(len(places[0]) if places else 1, bool)
    for label, place, n in zip(others, places, coefficients.shape, strict=True):
        if label in given:
            keep &= given[label] == place
        elif n != 1 or label not in (*ins, *outs):
            given[label] = place
    given = {label: place[keep] for label, place in given.items()}
    extents: dict[Hashable, int] = {}
    for label, n in (*zip(ins, in_shape, strict=True), *zip(outs, out_shape, strict=True)):
        extents[label] = max(extents.get(label, 1), n)
    rest = [label for label in extents if label not in given]
    grid = np.indices([extents[label] for label in rest], sparse=True) if rest else ()
    axes = {label: place.reshape(-1, *(1,) * len(rest)) for label, place in given.items()}
    axes |= {label: line[None] for label, line in zip(rest, grid, strict=True)}
    shape = (int(keep.sum()), *(extents[label] for label in rest))

    def flat(labels: Sequence[Hashable], own: Sequence[int]) -> np.ndarray[Any, Any]:
        total: Any = np.zeros((1,) * len(shape), int)
        for label, n in zip(labels, own, strict=True):
            total = total * n + (axes[label] if n != 1 else 0)
        return np.broadcast_to(total, shape).ravel()

    return Pairs(flat(outs, out_shape), flat(ins, in_shape))


def product(
    operands: Sequence[Operand], ins: Sequence[Sequence[Hashable]], out_shape: Sequence[int], outs: Sequence[Hashable]
) -> list[Any]:
    """Of a sum of products of one or two operands; zeros of a factor that is known cut the paths through the other."""
    found: list[Any] = []
    for k, (x, mine) in enumerate(zip(operands, ins, strict=True)):
        other = 1 - k
        factor = None
        if x.moves and len(operands) == 2 and not operands[other].moves:
            factor = operands[other].value
        if factor is not None:
            found.append(by_coefficients(mine, x.shape, ins[other], factor, outs, out_shape))
        elif len(set(mine)) < len(mine):
            found.append(by_coefficients(mine, x.shape, (), 1, outs, out_shape))
        else:
            found.append(by_labels(mine, x.shape, outs, out_shape))
    return found


def along_axis(shape: Sequence[int], axis: int) -> Groups:
    """Each element on all elements of its line along an axis."""
    labels = list(range(len(shape)))
    return by_labels(labels, shape, [*labels[:axis], "new", *labels[axis + 1 :]], shape)


LONGEST_TRIANGLE = 2048
"""Length of a line beyond which the order of its elements is not looked at: pairs grow with its square."""


def running(shape: Sequence[int], axis: int, reverse: bool) -> Pairs | Groups:
    """Each element on those before it in its line along an axis, itself included; on those after it if `reverse`."""
    labels = list(range(len(shape)))
    n = shape[axis]
    if n > LONGEST_TRIANGLE:
        return along_axis(shape, axis)
    triangle = np.tri(n, dtype=bool)
    outs = [*labels[:axis], "new", *labels[axis + 1 :]]
    return by_coefficients(labels, shape, ["new", axis], triangle.T if reverse else triangle, outs, shape)


def stacked(operands: Sequence[Operand], out: ArrayType, column: int | None = None) -> list[Any]:
    """Of an operation on stacks of matrices: everything on everything that belongs to the same place in the stack.

    The operands end in two axes of a matrix, and all operands and results have the same axes in front. Columns of
    operand number `column` and of the result do not mix.
    """
    lead = len(operands[0].shape) - 2
    row = []
    for k, x in enumerate(operands):
        mine: list[Hashable] = [*range(lead), "row", "in column"]
        theirs: list[Hashable] = [*range(lead), *(("out", axis) for axis in range(lead, len(out.shape)))]
        if k == column:
            mine[-1] = theirs[-1] = "column"
        row.append(by_labels(mine, x.shape, theirs, out.shape))
    return row
