"""Outline: stretches of a long graph become parts, functions of their own; what repeats becomes parts of one body.

Shape: analysis, then rebuild. Assumes: nothing; meant to run last, since passes do not look through parts.
Guarantees: the same values, bit for bit, errors and lines. A Python loop unrolled into thousands of nodes becomes as
many parts as it had rounds (or a few rounds each), of one body, in the forward and in the backward half; what
does not repeat is cut into stretches of bounded length where few values cross the cut. Graphs of fewer than `LEAST`
nodes stay as they are.
Cost: n log n in the nodes, most of it in array operations (`repeats.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph.graph import Graph
from ..graph.nodes import Atom, Const, Node, Var
from ..graph.types import Dim
from ..ops.part import Part
from .build import everywhere
from .constants import const_key
from .cse import primitive_key
from .repeats import Array, Stretch, recurring, stretches

LEAST = 200
"""Nodes of a graph below which the compiler does as well with the whole."""
SAVED = 96
"""Nodes that a repetition has to save."""
BODY = 24
"""Nodes that a body should have: several rounds of a short loop are joined to one part."""
AGAIN = 64
"""Nodes from which on a string that occurs again elsewhere becomes a body."""
LONGEST = 600
"""Nodes of straight-line code that are compiled as one function; longer stretches are cut."""
CHUNK = 300
"""Nodes of the stretches that result."""
WIDTH = 1 << 20
"""More than the outputs of any node."""


@everywhere
def outline(graph: Graph) -> Graph:
    """The graph with its repetitions and long stretches as parts."""
    if len(graph.nodes) < LEAST:
        return graph
    numbers = Numbers()
    nodes: Sequence[Node] = graph.nodes
    while True:
        line = Line(nodes, graph.outputs, numbers)
        groups = [group for stretch in stretches(line.tokens, line.places, SAVED) for group in line.rounds(stretch)]
        if not groups:
            strings = recurring(line.tokens, line.places, AGAIN)
            groups = [group for length, starts in strings for group in line.alike(np.array(starts), length)]
        if not groups:
            break
        nodes = line.replaced(groups)
    if len(nodes) > LONGEST:
        nodes = line.replaced([Group(start, [start], stop - start) for start, stop in line.pieces()])
    return graph if len(nodes) == len(graph.nodes) else graph.replace(nodes=nodes)


class Group(NamedTuple):
    """Windows of one wiring: `length` nodes from each of `starts` on; `model` is the one that the body is made of."""

    model: int
    starts: list[int]
    length: int


class Numbers:
    """Small numbers for equal things: types, operations, and nodes apart from what their operands are."""

    def __init__(self) -> None:
        self.types: dict[Any, int] = {}
        self.ragged: set[int] = set()
        self.operations: dict[Any, int] = {}
        self.known: dict[int, tuple[Any, int]] = {}
        self.nodes: dict[Any, int] = {}

    def type(self, shape: tuple[Any, ...], dtype: Any, weak: bool) -> int:
        key = (shape, dtype, weak)
        number = self.types.get(key)
        if number is None:
            number = self.types[key] = len(self.types)
            if any(isinstance(n, Dim) for n in shape):
                self.ragged.add(number)
        return number

    def operation(self, primitive: Any) -> int:
        known = self.known.get(id(primitive))
        if known is None:
            number = self.operations.setdefault(primitive_key(primitive), len(self.operations))
            known = self.known[id(primitive)] = primitive, number  # kept, so that its identity is not used again
        return known[1]


class Line:
    """The nodes in a row, as arrays.

    tokens : numbers that are equal for the same operation of the same line on the same types; parts of one body that
    follow each other have one together. places : the positions of the nodes that the tokens begin with, and the end.
    made : for each operand, position * WIDTH + output of the node that makes it, or -1. first : where the operands of
    a node begin in it. reader : the position of the node that reads an operand.
    """

    def __init__(self, nodes: Sequence[Node], outputs: Iterable[Atom], numbers: Numbers) -> None:
        self.nodes = nodes
        types: dict[Any, int] = {}
        place: dict[Any, int] = {}
        tokens: list[int] = []
        places: list[int] = []
        made: list[int] = []
        before: Any = None
        run = 0
        first = [0]
        for position, node in enumerate(nodes):
            key: list[Any] = [numbers.operation(node.primitive), id(node.code), node.offset, node.backward]
            for atom in node.inputs:
                number = types.get(atom)
                if number is None:
                    number = types[atom] = numbers.type(*atom.type)
                key.append(number)
                made.append(place.get(atom, -1))
            for k, var in enumerate(node.outputs or ()):
                number = types[var] = numbers.type(var.shape, var.dtype, getattr(var, "weak", False))
                key.append(number)
                place[var] = position * WIDTH + k
            # What has lengths that only the run knows stays as it is: its number occurs once.
            loose = not numbers.ragged.isdisjoint(key[4:]) if numbers.ragged else False
            first.append(len(made))
            if node.primitive is before and isinstance(before, Part):
                run += 1
                tokens[-1] = numbers.nodes.setdefault((*key, run), len(numbers.nodes))
                continue
            before, run = node.primitive, 1
            tokens.append(-1 - position if loose else numbers.nodes.setdefault(tuple(key), len(numbers.nodes)))
            places.append(position)
        self.tokens: Array = np.array(tokens, np.int64)
        self.places: Array = np.array([*places, len(nodes)], np.int64)
        self.first: Array = np.array(first, np.int64)
        self.made: Array = np.array(made, np.int64)
        self.reader: Array = np.repeat(np.arange(len(nodes)), np.diff(self.first))
        self.results: Array = np.array([place[atom] for atom in outputs if atom in place], np.int64)

    def rounds(self, stretch: Stretch) -> list[Group]:
        """The rounds of an unrolled loop as groups of windows."""
        period = stretch.period * max(1, round(BODY / stretch.period))
        if (stretch.stop - stretch.start) < 2 * period:
            period = stretch.period
        start = stretch.start + self.best_cut(stretch)
        count = (stretch.stop - start) // period
        return self.alike(start + period * np.arange(count), period) if count > 1 else []

    def best_cut(self, stretch: Stretch) -> int:
        """Where in a period the fewest values are carried over, of those with short lives."""
        start, _, period = stretch
        low, high = self.first[start + period], self.first[min(start + 2 * period, len(self.nodes))]
        reader, made = self.reader[low:high], self.made[low:high] // WIDTH
        near = (made >= 0) & (reader - made < period)
        alive = np.zeros(2 * period + 1, np.int64)
        born, used = made[near] - start, reader[near] - start
        _, which = np.unique(self.made[low:high][near], return_index=True)
        last = np.zeros(len(near[near]), np.int64)
        np.maximum.at(last, np.searchsorted(np.unique(self.made[low:high][near]), self.made[low:high][near]), used)
        for b, u in zip(born[which].tolist(), last[: len(which)].tolist(), strict=True):
            alive[b + 1] += 1  # a value crosses the cuts behind its node up to that before its last reader
            if u + 1 <= 2 * period:
                alive[u + 1] -= 1
        crossing = np.cumsum(alive)
        around = crossing[:period] + crossing[period : 2 * period]
        return int(np.argmin(around))

    def alike(self, starts: Array, length: int) -> list[Group]:
        """Windows of the same tokens as groups of the same wiring, of two and more."""
        span = int(self.first[starts[0] + length] - self.first[starts[0]])
        made = self.made[self.first[starts][:, None] + np.arange(span)[None, :]]
        inner = made - starts[:, None] * WIDTH
        inner[inner < 0] = -1
        groups: dict[bytes, list[int]] = {}
        for row, start in zip(inner, starts.tolist(), strict=True):
            groups.setdefault(row.tobytes(), []).append(start)
        worthy = [some for some in groups.values() if (len(some) - 1) * length >= SAVED // 2]
        return [Group(some[len(some) // 2], some, length) for some in worthy]

    def pieces(self) -> list[tuple[int, int]]:
        """The line cut into pieces of about `CHUNK` nodes, where few values cross."""
        count = len(self.nodes)
        last = np.arange(count)  # the last reader of anything that a node makes
        inside = self.made >= 0
        np.maximum.at(last, self.made[inside] // WIDTH, self.reader[inside])
        alive = np.zeros(count + 1, np.int64)
        np.add.at(alive, np.arange(count) + 1, 1)
        np.add.at(alive, last + 1, -1)
        crossing = np.cumsum(alive)
        # A node that cannot be in a part, or is one, ends a piece.
        fixed = {k for k, node in enumerate(self.nodes) if isinstance(node.primitive, Part)}
        fixed.update(self.places[:-1][self.tokens < 0].tolist())
        found = []
        start = 0
        for stop in (*sorted(fixed), count):
            while stop - start > LONGEST:
                low, high = start + CHUNK // 2, start + CHUNK + CHUNK // 2
                middle = low + int(np.argmin(crossing[low:high]))
                found.append((start, middle))
                start = middle
            if stop - start > CHUNK // 2:
                found.append((start, stop))
            start = stop + 1
        return found

    def replaced(self, groups: Sequence[Group]) -> list[Node]:
        """The nodes with parts in place of the windows."""
        owner = np.full(len(self.nodes), -1, np.int64)
        for group in groups:
            for start in group.starts:
                owner[start : start + group.length] = start
        # What a window makes and others read.
        inside = self.made >= 0
        makers = self.made[inside]
        homes = owner[makers // WIDTH]
        leaving = makers[(homes >= 0) & (homes != owner[self.reader[inside]])]
        leaving = np.unique(np.concatenate((leaving, self.results[owner[self.results // WIDTH] >= 0])))
        by_home: dict[int, list[int]] = {}
        for home, code in zip(owner[leaving // WIDTH].tolist(), leaving.tolist(), strict=True):
            by_home.setdefault(home, []).append(code - home * WIDTH)
        new: dict[int, tuple[Node, int]] = {}
        for group in groups:
            wanted = sorted({code for start in group.starts for code in by_home.get(start, ())})
            for start, part in zip(group.starts, self.parts(group, wanted), strict=True):
                new[start] = part, group.length
        nodes: list[Node] = []
        position = 0
        while position < len(self.nodes):
            found = new.get(position)
            nodes.append(self.nodes[position] if found is None else found[0])
            position += 1 if found is None else found[1]
        return nodes

    def parts(self, group: Group, wanted: Sequence[int]) -> list[Node]:
        """The windows of a group as parts of one body, whose outputs are the places in `wanted`."""
        windows = [self.nodes[start : start + group.length] for start in group.starts]
        model = self.nodes[group.model : group.model + group.length]
        now: dict[Any, Atom] = {}
        inputs: dict[Any, Var] = {}
        operands: list[Sequence[Atom]] = []
        nodes = []
        for k, node in enumerate(model):
            given: list[Atom] = []
            for j, atom in enumerate(node.inputs):
                own = now.get(atom)
                if own is None:
                    column = [window[k].inputs[j] for window in windows]
                    if isinstance(atom, Const) and same_constant(column):
                        own = atom
                    else:
                        # Places that hold the same values in every window are one input.
                        key = tuple([id(a) for a in column])
                        own = inputs.get(key)
                        if own is None:
                            own = inputs[key] = Var.of(atom.type, getattr(atom, "name", None))
                            operands.append(column)
                given.append(own)
            made = tuple([Var.of(v.type, getattr(v, "name", None), None, i) for i, v in enumerate(node.outputs or ())])
            copy = node.replace(tuple(given), made)
            for var in made:
                var.node = copy
            now.update(zip(node.outputs or (), made, strict=True))
            nodes.append(copy)
        places = [divmod(code, WIDTH) for code in wanted]
        results = [nodes[k].outputs[i] for k, i in places]  # type: ignore[index]
        part = Part(outline(Graph(list(inputs.values()), nodes, results, "part")))
        found = []
        for n, window in enumerate(windows):
            outputs = tuple([window[k].outputs[i] for k, i in places])  # type: ignore[index]
            found.append(window[-1].replace(tuple([column[n] for column in operands]), outputs, part))
        return found


def same_constant(atoms: Sequence[Atom]) -> bool:
    """Whether all atoms are one constant."""
    first = atoms[0]
    if all(atom is first for atom in atoms):
        return True
    if not all(isinstance(atom, Const) for atom in atoms):
        return False
    key = const_key(first)  # type: ignore[arg-type]
    return all(const_key(atom) == key for atom in atoms)  # type: ignore[arg-type]
