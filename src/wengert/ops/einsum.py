"""Einstein summation: one primitive for one operand (linear) and one for two (bilinear).

A product of more operands is split into pairs in the order that `numpy.einsum_path` finds, so that no
intermediate result is larger than needed and reverse mode finds them saved. The transpose of an einsum is an
einsum in which output and operand change places; a letter that occurs in the operand alone was summed, so
its cotangent is repeated; a letter that occurs twice in the operand was a diagonal, so its cotangent stands
on a diagonal.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.interpreter import bind, is_traced
from ..graph.primitive import Primitive, Sample
from ..graph.types import ArrayType
from .dependence import Operand, product
from .families import fit, match, shape_of, vocabulary
from .shape import broadcast_to, reshape

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Einsum(Primitive):
    """Explicit subscripts without ellipsis, one or two operands: "ab,bc->ac"."""

    name = "einsum"
    params = ("subscripts",)

    def __init__(self, subscripts: str) -> None:
        super().__init__(subscripts)
        left, self.output = subscripts.split("->")
        self.inputs = tuple(left.split(","))
        self.facts = frozenset({"linear"} if len(self.inputs) == 1 else {"bilinear"})
        self.plan = product_plan(self.inputs, self.output)

    def saves(self, mask: int, count: int) -> tuple[int, ...]:
        return () if count == 1 else tuple(k for k in (0, 1) if mask >> (1 - k) & 1)

    def type(self, *types: ArrayType) -> ArrayType:
        sizes = letter_sizes(self.inputs, [t.shape for t in types], f"einsum {self.subscripts}")
        return ArrayType(tuple(sizes[c] for c in self.output), np.result_type(*(t.promotes_as for t in types)))

    def flops(self, *types: ArrayType) -> float:
        sizes = letter_sizes(self.inputs, [t.shape for t in types], "einsum")
        return len(types) * math.prod(sizes.values())

    def python(self, *operands: Any) -> str:
        return f"np.einsum({self.subscripts!r}, {', '.join(operands)})"

    def numpy(self, *values: Any) -> Any:
        if len(values) == 1:
            return np.array(np.einsum(self.subscripts, *values))[()]
        x, y = values
        if self.plan is None or x.size * y.size <= SMALL:
            return np.einsum(self.subscripts, x, y)[()]
        return self.plan(x, y)

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: ArrayType) -> Any:
        return e.einsum(self.inputs, self.output, operands, out)

    def depends(self, operands: Sequence[Operand], outs: Any) -> Any:  # type: ignore[override]
        return product(operands, self.inputs, outs.shape, self.output)

    def jvp(self, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
        total = None
        for k, tangent in enumerate(tangents):
            if tangent is not None:
                term = bind(self, *primals[:k], tangent, *primals[k + 1 :])
                total = term if total is None else vocabulary.add(total, term)
        return match(total, out)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        return [self._transpose_one(ct, operands, k) if wanted else None for k, wanted in enumerate(linear)]

    def _transpose_one(self, ct: Any, operands: Sequence[Any], k: int) -> Any:
        mine, like = self.inputs[k], operands[k]
        others = [(s, x) for j, (s, x) in enumerate(zip(self.inputs, operands, strict=True)) if j != k]
        reachable = set(self.output).union(*(s for s, _ in others))
        once = "".join(dict.fromkeys(mine))
        kept = "".join(c for c in once if c in reachable)
        found = bind(
            Einsum.of(",".join([self.output, *(s for s, _ in others)]) + "->" + kept), ct, *(x for _, x in others)
        )
        sizes = dict(zip(mine, like.shape, strict=True))
        if kept != once:
            found = reshape(found, tuple(sizes[c] if c in kept else 1 for c in once))
            found = broadcast_to(found, tuple(sizes[c] for c in once))
        if once != mine:
            found = _on_diagonal(found, once, mine, sizes)
        return fit(found, like)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        new = next(c for c in LETTERS if c not in self.subscripts)
        inputs = [s if a is None else s[:a] + new + s[a:] for s, a in zip(self.inputs, axes, strict=True)]
        return bind(Einsum.of(",".join(inputs) + "->" + new + self.output), *operands), 0

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        cases = [("ab,bc->ac", (2, 3), (3, 4)), ("aab->ba", (3, 3, 2)), ("ab->", (2, 3)), ("ab,cd->bd", (2, 3), (4, 2)),
                 ("aab,bc->ac", (2, 2, 3), (3, 2)), ("a,a->a", (3,), (3,)), ("ab,bc->ac", (0, 3), (3, 2)),
                 (",a->a", (), (3,))]  # fmt: skip
        for subscripts, *shapes in cases:
            yield cls(subscripts), tuple(rng.normal(size=shape) for shape in shapes)


SMALL = 4096
"""Product of sizes up to which NumPy's plain loop is faster than preparing a matrix product."""


def product_plan(inputs: Sequence[str], output: str) -> Callable[[Any, Any], Any] | None:
    """Two operands as one (stacked) matrix product, if letters are shared, summed and kept as in one."""
    if len(inputs) != 2 or any(len(set(s)) != len(s) for s in inputs):
        return None
    left, right = inputs
    stack = [c for c in output if c in left and c in right]
    inner = [c for c in left if c in right and c not in output]
    rows, columns = [c for c in left if c not in right], [c for c in right if c not in left]
    if not inner or not set(rows + columns) <= set(output):
        return None
    first = tuple(left.index(c) for c in stack + rows + inner)
    second = tuple(right.index(c) for c in stack + inner + columns)
    made = stack + rows + columns
    back = tuple(made.index(c) for c in output)

    def run(x: Any, y: Any) -> Any:
        x, y = np.transpose(x, first), np.transpose(y, second)
        s, r, k = len(stack), len(rows), len(inner)
        lead, outer, summed, last = x.shape[:s], x.shape[s : s + r], x.shape[s + r :], y.shape[s + k :]
        size = math.prod(summed)
        flat = np.matmul(x.reshape((*lead, math.prod(outer), size)), y.reshape((*lead, size, math.prod(last))))
        return np.transpose(flat.reshape((*lead, *outer, *last)), back)[()]

    return run


def _on_diagonal(x: Any, once: str, mine: str, sizes: dict[str, Any]) -> Any:
    """`x` with axes `once` as an array with axes `mine`, zero where repeated letters differ."""
    target = list(mine)
    seen: set[str] = set()
    for position, letter in enumerate(mine):
        if letter in seen:
            fresh = next(c for c in LETTERS if c not in once and c not in target)
            target[position] = fresh
            now = once + fresh
            x = bind(Einsum.of(f"{once},{letter}{fresh}->{now}"), x, np.eye(sizes[letter], dtype=np.dtype(x.dtype)))
            once = now
        seen.add(letter)
    return x if once == "".join(target) else bind(Einsum.of(f"{once}->{''.join(target)}"), x)


def letter_sizes(inputs: Sequence[str], shapes: Sequence[tuple[Any, ...]], what: str) -> dict[str, Any]:
    """The extent of every letter, or `ShapeError`."""
    sizes: dict[str, Any] = {}
    if len(inputs) != len(shapes):
        raise ShapeError(
            f"{what}: {len(inputs)} groups of subscripts for {len(shapes)} operands", "give one group per operand"
        )
    for letters, shape in zip(inputs, shapes, strict=True):
        if len(letters) != len(shape):
            raise ShapeError(
                f"{what}: subscripts {letters!r} for an operand of shape {shape}", "give one letter per axis"
            )
        for letter, extent in zip(letters, shape, strict=True):
            if sizes.setdefault(letter, extent) != extent:
                raise ShapeError(
                    f"{what}: axis {letter!r} has {sizes[letter]} elements in one place and {extent} in another",
                    "axes with the same letter must have the same length",
                )
    return sizes


def parse(subscripts: str, shapes: Sequence[tuple[Any, ...]]) -> tuple[list[str], str]:
    """Groups of letters for every operand and for the output: ellipses written out, the output made explicit."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    groups = left.split(",")
    if len(groups) != len(shapes):
        raise ShapeError(
            f"einsum {subscripts!r}: {len(groups)} groups of subscripts for {len(shapes)} operands",
            "give one group per operand",
        )
    spare = [c for c in LETTERS if c not in text]
    hidden = [
        len(shape) - len(group.replace("...", "")) if "..." in group else 0
        for group, shape in zip(groups, shapes, strict=True)
    ]
    for group, shape, count in zip(groups, shapes, hidden, strict=True):
        plain = group.replace("...", "")
        if count < 0 or ("..." not in group and len(plain) != len(shape)) or not all(c in LETTERS for c in plain):
            raise ShapeError(
                f"einsum {subscripts!r}: subscripts {group!r} for an operand of shape {shape}",
                "give one letter per axis",
            )
    # Axes under an ellipsis are matched from the right.
    most = max(hidden, default=0)
    names = "".join(spare[:most])
    groups = [g.replace("...", names[most - n :] if n else "") for g, n in zip(groups, hidden, strict=True)]
    if arrow:
        output = right.replace("...", names)
        if "..." not in right and most:
            raise ShapeError(
                f"einsum {subscripts!r}: the output has no ellipsis", "write '...' into the output as well"
            )
    else:
        flat = "".join(groups)
        output = names + "".join(sorted(c for c in set(flat) if flat.count(c) == 1 and c not in names))
    if len(set(output)) != len(output) or not set(output) <= set("".join(groups)):
        raise ShapeError(
            f"einsum {subscripts!r}: the output {output!r} repeats a letter or has one that no operand has",
            "name each axis once",
        )
    return groups, output


@functools.lru_cache(maxsize=1024)
def contraction_path(
    groups: tuple[str, ...], output: str, shapes: tuple[tuple[int, ...], ...]
) -> tuple[tuple[int, ...], ...]:
    """The order of pairwise products, from `numpy.einsum_path`."""
    fakes = [np.broadcast_to(np.float64(0), shape) for shape in shapes]
    return tuple(
        tuple(step) for step in np.einsum_path(",".join(groups) + "->" + output, *fakes, optimize="greedy")[0][1:]
    )


def einsum(subscripts: str, *operands: Any) -> Any:
    """Einstein summation of any number of operands, ellipsis and repeated letters included."""
    shapes = [shape_of(x) for x in operands]
    groups, output = parse(subscripts, shapes)
    operands, groups = _drop_ones(operands, groups)
    letter_sizes(groups, [shape_of(x) for x in operands], f"einsum {subscripts!r}")
    items = list(zip(groups, operands, strict=True))
    steps: Sequence[tuple[int, ...]] = [tuple(range(len(items)))]
    if len(items) > 2:
        sizes = tuple(tuple(int(n) for n in shape_of(x)) for x in operands)
        steps = contraction_path(tuple(groups), output, sizes)
    for step in steps:
        chosen = [items[k] for k in step]
        items = [item for k, item in enumerate(items) if k not in step]
        while chosen:
            pair, chosen = chosen[:2], chosen[2:]
            later = set(output).union(*(g for g, _ in items + chosen))
            if not items and not chosen:
                target = output
            else:
                target = "".join(c for c in dict.fromkeys("".join(g for g, _ in pair)) if c in later)
            result = bind(Einsum.of(",".join(g for g, _ in pair) + "->" + target), *(x for _, x in pair))
            if chosen:
                chosen = [(target, result), *chosen]
            else:
                items.append((target, result))
    return items[0][1]


def _drop_ones(operands: Sequence[Any], groups: Sequence[str]) -> tuple[list[Any], list[str]]:
    """Axes of length 1 taken away, since they broadcast against any length."""
    sizes: dict[str, Any] = {}
    for group, x in zip(groups, operands, strict=True):
        for letter, n in zip(group, shape_of(x), strict=True):
            if sizes.get(letter, 1) == 1:
                sizes[letter] = n
    new_operands, new_groups = [], []
    for group, x in zip(groups, operands, strict=True):
        shape = shape_of(x)
        drop = [k for k, letter in enumerate(group) if shape[k] == 1 and sizes[letter] != 1]
        if drop:
            x = reshape(x if is_traced(x) else np.asarray(x), tuple(n for k, n in enumerate(shape) if k not in drop))
            group = "".join(c for k, c in enumerate(group) if k not in drop)
        new_operands.append(x)
        new_groups.append(group)
    return new_operands, new_groups
