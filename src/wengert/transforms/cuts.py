"""What cuts a variable off a result, noted while a program runs, so that `wg.why_zero` can tell it afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.nodes import Node, Var
from ..graph.primitive import Primitive
from ..source import Source, here

MOST = 8
"""Cuts noted for a variable."""
FAR, NEAR, OFTEN = 10_000, 32, 3
"""Nodes looked at on the way to the variables: the first three times that a line cuts, and after that."""

_met: dict[tuple[str, int], int] = {}


def note_cut(primitive: Primitive, inputs: Sequence[Any]) -> None:
    """Tell the variables that lead to `inputs` that an operation without a derivative has read them.

    Small, and bounded: a comparison in a long simulation does not walk the whole simulation again.
    """
    place = here(3)
    key = ("", 0) if place is None else (place.file, place.offset)
    times = _met[key] = _met.get(key, 0) + 1
    left = FAR if times <= OFTEN else NEAR
    stack = [atom for atom in inputs if atom.__class__ is Var]
    seen: set[Node] = set()
    while stack and left:
        var = stack.pop()
        node = var.node
        if node is None:
            leave(var, primitive.name, place)
        elif node not in seen:
            seen.add(node)
            left -= 1
            stack += [atom for atom in node.inputs if atom.__class__ is Var]


def leave(var: Var, name: str, place: Source | None) -> None:
    """Write a cut down at a variable, once."""
    cuts = getattr(var, "cuts", ())
    if len(cuts) < MOST and (name, place) not in cuts:
        var.cuts = (*cuts, (name, place))
