"""Folding by the user's program: boxes that stand for a function, a line, or a stretch of operations.

A large graph is shown closed and opened where one looks. The groups come from where the operations were
written, and where one line made hundreds of them, from their order.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from .model import Box, Picture, Place, folded
from .text import clip, plural

MODES = ("none", "function", "line", "order")
"""Ways to group: not at all, by function, by line, by stretches of consecutive operations."""

CROWD = 80
"""Boxes in one group beyond which it is divided further."""

FIRST_VIEW = 60
"""Boxes that the first view of a large graph has at most, where its structure allows it."""

FIRST_EDGES = 150
"""Edges that it has at most."""

SMALL = 150
"""Boxes up to which a graph is shown without groups."""

GROUPS = frozenset({"group", "stretch"})
"""Kinds of boxes that are made here: for a function, a line or a border; and for consecutive boxes."""

MANY_INPUTS = 20


def choose(picture: Picture) -> str:
    """The way of grouping that makes the first view of this picture readable."""
    return "none" if len(folded(picture).boxes) <= SMALL else "function"


def known(mode: str) -> str:
    """The name of a way of grouping, if it is one."""
    if mode not in MODES:
        raise ValueError(f"no way of grouping named {mode!r}; there are {', '.join(MODES)}")
    return mode


def grouped(picture: Picture, mode: str) -> Picture:
    """The picture with boxes of kind "group" added after its own, each around boxes of one function or line.

    mode : "none", "function", "line" or "order". Groups never cross the border of a nested graph, nor mix
        the gradient part with the rest. A group of more than `CROWD` boxes is divided further: by line, then
        into stretches of consecutive boxes. A group of one, or of everything there is, is not made.
    """
    if known(mode) == "none":
        return picture
    divider = _Divider(picture)
    kinds = {"function": (by_function, by_line), "line": (by_line,), "order": ()}[mode]
    for parent, members in picture.children().items():
        items = divider.program(members, kinds, parent)
        items = divider.border(divider.border(items, "input", parent), "output", parent)
        divider.stretches(items, parent)
    return Picture(picture.name, tuple(divider.boxes), picture.edges, picture.has_gradient)


def opened(picture: Picture, boxes: int = FIRST_VIEW, edges: int = FIRST_EDGES) -> frozenset[int]:
    """Which groups to open so that at most so many boxes and edges are in view: outermost first, smallest first."""
    children = picture.children()
    in_view = len(children.get(None, ()))
    levels: list[list[int]] = []
    level: list[int | None] = [None]
    while level:
        inside = [box for above in level for box in children.get(above, ()) if picture.boxes[box].kind in GROUPS]
        # What divides into mere stretches says nothing more when opened.
        groups = [box for box in inside if all(picture.boxes[child].kind != "stretch" for child in children[box])]
        chosen = []
        for box in sorted(groups, key=lambda box: (len(children[box]), box)):
            more = len(children[box]) - 1
            if in_view + more <= boxes:
                in_view += more
                chosen.append(box)
        levels.append(chosen)
        level = list(chosen)
    # What is dense stays closed: the deepest level goes first.
    while any(levels):
        found = frozenset(box for level in levels for box in level)
        if sum(not edge.beside for edge in folded(picture, found).edges) <= edges:
            return found
        levels.pop()
    return frozenset()


Key = tuple[Any, ...]


def by_function(box: Box) -> Key:
    place = box.place
    return (box.backward, "", "") if place is None else (box.backward, place.file, place.function)


def by_line(box: Box) -> Key:
    place = box.place
    return (box.backward, "", 0) if place is None else (box.backward, place.file, place.line)


class _Divider:
    """Adds group boxes to a list of boxes and moves members under them.

    An item is a box, or a group that stands for its members among the items of the same parent.
    """

    def __init__(self, picture: Picture) -> None:
        self.boxes = list(picture.boxes)
        self.starts = [box.id for box in picture.boxes]
        self.reader: dict[int, int] = {}
        for edge in picture.edges:
            if self.boxes[edge.tail].kind == "constant":
                self.reader.setdefault(edge.tail, edge.head)

    def program(self, members: Sequence[int], kinds: Sequence[Callable[[Box], Key]], parent: int | None) -> list[int]:
        """Group operations, and the constants they read, by the first of `kinds`; what is still crowded by the rest."""
        if not kinds:
            return list(members)
        kind, finer = kinds[0], kinds[1:]
        sections: dict[Key, list[int]] = {}
        items: list[int] = []
        for box in members:
            like = self.boxes[self.reader.get(box, box)]
            if like.kind == "operation":
                sections.setdefault(kind(like), []).append(box)
            else:
                items.append(box)
        for key, section in sections.items():
            if len(sections) == 1:
                items += self.program(section, finer, parent) if len(section) > CROWD else section
            elif len(section) == 1:
                items += section
            else:
                this = self.named(kind is by_line, key, section, parent)
                if len(section) > CROWD:
                    self.stretches(self.program(section, finer, this), this)
                items.append(this)
        return items

    def border(self, items: list[int], kind: str, parent: int | None) -> list[int]:
        """Many inputs or outputs become one group."""
        found = [item for item in items if self.boxes[item].kind == kind]
        if len(found) <= MANY_INPUTS:
            return items
        this = self.make(f"{kind}s", "", found, parent, plural(len(found), kind))
        self.stretches(found, this)
        return [item for item in items if self.boxes[item].kind != kind] + [this]

    def stretches(self, items: Sequence[int], parent: int | None) -> None:
        """Divide more than `CROWD` items evenly into consecutive groups, in as many levels as needed."""
        if len(items) <= CROWD:
            return
        levels = 1
        while CROWD**levels < len(items):
            levels += 1
        length = -(-len(items) // math.ceil(len(items) ** (1 / levels)))
        ordered = sorted(items, key=self.starts.__getitem__)
        for begin in range(0, len(ordered), length):
            part = ordered[begin : begin + length]
            if len(part) > 1:
                first, last = self.boxes[part[0]].title, self.boxes[part[-1]].title
                this = self.make(f"{clip(first, 14)} … {clip(last, 14)}", "", part, parent, kind="stretch")
                self.stretches(part, this)

    def named(self, by_line: bool, key: Key, members: Sequence[int], parent: int | None) -> int:
        """A group for a function or a line."""
        backward, _, name = key
        place = next((self.boxes[box].place for box in members if self.boxes[box].place is not None), None)
        if place is None:
            return self.make("gradient part" if backward else "without a source line", "", members, parent)
        title = (place.text or f"line {name}") if by_line else place.function
        return self.make(f"gradient of {title}" if backward else title, "", members, parent)

    def make(
        self, title: str, note: str, members: Sequence[int], parent: int | None, contents: str = "",
        kind: str = "group",
    ) -> int:  # fmt: skip
        """A new group around `members`, which become its children."""
        this = len(self.boxes)
        inside = [self.boxes[box] for box in members]
        operations = sum(box.count + 1 if box.kind == "operation" else box.count for box in inside)
        backward = all(box.backward for box in inside)
        places = [box.place for box in inside if box.place is not None]
        group = Box(
            this, kind, title, note or span(places), (), places[0] if places else None, parent, backward,
            operations or len(members), contents or plural(operations, "operation"),
        )  # fmt: skip
        self.boxes.append(group)
        self.starts.append(min(self.starts[box] for box in members))
        for box in members:
            self.boxes[box] = replace(self.boxes[box], parent=this)
        return this


def span(places: Sequence[Place]) -> str:
    """The lines that places cover: `model.py:12-18`, or how many files they are from."""
    files = sorted({place.file for place in places})
    if not files:
        return ""
    if len(files) > 1:
        return plural(len(files), "file")
    lines = [place.line for place in places]
    first, last = min(lines), max(lines)
    return f"{os.path.basename(files[0])}:{first}" + (f"-{last}" if last > first else "")
