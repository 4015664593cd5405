"""`Picture`: what a graph looks like before it has positions. Boxes, edges, and which box lies in which.

Every drawing (`dot`, `svg`, `html`) starts from the same picture, so that what is shown, and what a fold
hides, is decided once. Boxes form a tree: a node with nested graphs holds the boxes of those graphs, and
`groups` adds boxes that stand for functions, lines or stretches of the program.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..graph.graph import Graph, is_literal
from ..graph.nodes import Const, Node, Var
from ..graph.types import is_inexact
from ..source import Source
from .text import ROW, clip, columns, long_value, number, parameters, plural, short_value

FORWARD, GRADIENT = "forward", "gradient"
MAX_PORTS = 4
"""Values of one box that are written out; the others are counted."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of the user's program, resolved to text."""

    file: str
    line: int
    function: str
    text: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"


@dataclass(frozen=True, slots=True)
class Port:
    """A value that a box gives: the user's name, its type, and what is known of it."""

    name: str | None
    type: str
    uses: int = 0
    value: str | None = None
    gradient: str | None = None
    full_value: str | None = None
    full_gradient: str | None = None


@dataclass(frozen=True, slots=True)
class Box:
    """One thing in the picture.

    kind : "input", "constant", "operation", "output"; "graph" for one of several graphs nested in a node;
        from `groups`, "group" for a function or line of the program, "stretch" for consecutive boxes.
    title : the operation with its literal operands (`multiply(·, 2)`), or a name.
    note : parameters of the operation; for a group, which lines.
    count : for a box that holds others, how many operations are inside, at any depth.
    parent : the box this one lies in.
    backward : whether it belongs to the gradient part of the graph.
    """

    id: int
    kind: str
    title: str
    note: str = ""
    ports: tuple[Port, ...] = ()
    place: Place | None = None
    parent: int | None = None
    backward: bool = False
    count: int = 0
    contents: str = ""

    def rows(self) -> list[tuple[str, str]]:
        """The lines of text in the box, each with its style, each at most `ROW` columns wide."""
        rows = [("title", clip(self.title))]
        if self.note:
            rows.append(("note", clip(self.note)))
        if self.count:
            rows.append(("contents", clip(self.contents or plural(self.count, "operation"))))
        shown = self.ports if len(self.ports) <= MAX_PORTS else self.ports[: MAX_PORTS - 1]
        for port in shown:
            rows.append(("type", port_line(port)))
            if port.value is not None:
                rows.append(("value", clip("= " + port.value)))
            if port.gradient is not None:
                rows.append(("gradient", clip("grad " + port.gradient)))
        if len(shown) < len(self.ports):
            rows.append(("note", f"and {len(self.ports) - len(shown)} more values"))
        if self.place is not None and self.kind not in {"group", "stretch"}:
            rows.append(("place", clip(str(self.place))))
        return rows

    def columns(self) -> float:
        """Width of the text; a title is bold, a little larger, and may carry a mark for folding."""
        return max(
            (columns(text) + (2 if self.count else 0)) * 1.05 if style == "title" else columns(text)
            for style, text in self.rows()
        )


def port_line(port: Port) -> str:
    """`h: f64[3] · used 3×`, with the name cut before the type."""
    tail = port.type + (f" · used {port.uses}×" if port.uses > 1 else "")
    if port.name is None:
        return clip(tail)
    return clip(clip(port.name, max(6, ROW - len(tail) - 2)) + ": " + tail)


@dataclass(frozen=True, slots=True)
class Edge:
    """A value on its way from one box to another, or a gradient on its way back.

    port : which value of the giving box; slot : which operand of the reading box (of the forward edge).
    role : "forward" or "gradient", which decides the colour.
    beside : for the backward companion of a forward edge: drawn beside it and not part of the layout.
    count : how many edges a fold has merged into this one.
    """

    tail: int
    head: int
    port: int = 0
    slot: int = 0
    role: str = FORWARD
    beside: bool = False
    label: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """Boxes in the order of the program (`boxes[i].id == i`) and the edges between them."""

    name: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    has_gradient: bool = False

    @property
    def operations(self) -> int:
        """How many operations there are, nested graphs included."""
        return sum(box.kind == "operation" for box in self.boxes)

    @property
    def subtitle(self) -> str:
        gradient = sum(edge.role == GRADIENT for edge in self.edges)
        words = [plural(self.operations, "operation"), plural(len(self.edges) - gradient, "edge")]
        return ", ".join(words + ([plural(gradient, "gradient edge")] if gradient else []))

    def children(self) -> dict[int | None, list[int]]:
        """The boxes directly inside each box; under None those of the graph itself."""
        found: dict[int | None, list[int]] = {}
        for box in self.boxes:
            found.setdefault(box.parent, []).append(box.id)
        return found


def picture(graph: Graph) -> Picture:
    """The picture of a graph, everything in it, nested graphs included.

    Each node, input, output and array constant is one box; each use of a value is one edge, so that a value
    used three times is one box with three edges going out. Scalar constants stand in the title of the
    operation that uses them. If the graph knows gradients (a dynamic graph after `backward`), every forward
    edge on a way from a leaf that has one gets a companion in the opposite direction. In the static graph of
    a derivative, the edges from and to nodes of its gradient part are gradient edges.
    """
    maker = _Maker(graph)
    maker.lay(graph, None)
    has_gradient = any(edge.role == GRADIENT for edge in maker.edges)
    return Picture(graph.name, tuple(maker.boxes), tuple(maker.edges), has_gradient)


class _Maker:
    """Collects boxes and edges; `lay` is called once a graph."""

    def __init__(self, graph: Graph) -> None:
        self.boxes: list[Box] = []
        self.edges: list[Edge] = []
        self.values = graph.values
        self.gradients = graph.gradients
        self.places: dict[Any, tuple[Place, str | None]] = {}

    def place(self, node: Node) -> tuple[Place | None, str | None]:
        """The node's line, and the name that its result is assigned to; one look-up a line of the program."""
        if node.code is None:
            return None, None
        key = (node.code, node.offset)
        if key not in self.places:
            source = Source(node.code, node.offset)
            self.places[key] = Place(source.file, source.line, source.function, clip(source.text, 160)), source.target
        return self.places[key]

    def add(self, kind: str, title: str, **rest: Any) -> int:
        self.boxes.append(Box(len(self.boxes), kind, title, **rest))
        return len(self.boxes) - 1

    def port(self, var: Var, name: str | None, uses: Mapping[Var, int]) -> Port:
        value = self.values.get(var)
        gradient = self.gradients.get(var)
        return Port(
            name, str(var.type), uses.get(var, 0),
            short_value(value), short_value(gradient), long_value(value), long_value(gradient),
        )  # fmt: skip

    def lay(self, graph: Graph, parent: int | None) -> int:
        """Boxes and edges of one graph; returns how many operations it holds at any depth."""
        uses: dict[Var, int] = {}
        for atoms in (*(node.inputs for node in graph.nodes), graph.outputs):
            for atom in atoms:
                if isinstance(atom, Var):
                    uses[atom] = uses.get(atom, 0) + 1
        active = differentiated(graph) if self.gradients else set()
        made: dict[Any, tuple[int, int]] = {}
        arrays: dict[int, int] = {}
        backward_boxes: set[int] = set()
        count = 0

        for position, var in enumerate(graph.inputs):
            name = getattr(var, "name", None)
            port = self.port(var, None, uses)
            made[var] = self.add("input", name or f"input {position}", ports=(port,), parent=parent), 0

        for node in graph.nodes:
            place, target = self.place(node)
            for atom in node.inputs:
                if isinstance(atom, Const) and not is_literal(atom) and same_array(atom) not in arrays:
                    port = Port(None, str(atom.type), 0, short_value(atom.value), None, long_value(atom.value))
                    box = self.add("constant", "constant", ports=(port,), parent=parent, backward=node.backward)
                    arrays[same_array(atom)] = box
            outputs = node.outputs or ()
            names = [getattr(var, "name", None) for var in outputs]
            if len(names) == 1 and names[0] is None:
                names = [target]
            this = self.add(
                "operation", call_text(node), note=parameters(node.primitive.arguments()), parent=parent, place=place,
                ports=tuple(self.port(var, name, uses) for var, name in zip(outputs, names, strict=True)),
                backward=node.backward,
            )  # fmt: skip
            if node.backward:
                backward_boxes.add(this)
            for slot, atom in enumerate(node.inputs):
                if isinstance(atom, Const):
                    if not is_literal(atom):
                        role = GRADIENT if node.backward else FORWARD
                        self.edges.append(Edge(arrays[same_array(atom)], this, 0, slot, role, label=str(atom.type)))
                    continue
                tail, port_index = made[atom]
                gradient = node.backward or tail in backward_boxes
                self.edges.append(
                    Edge(tail, this, port_index, slot, GRADIENT if gradient else FORWARD, label=str(atom.type))
                )
                if atom in active and flows(node, atom):
                    self.companion(atom, this, tail, port_index, slot, uses)
            for index, var in enumerate(outputs):
                made[var] = this, index
            inside = self.nested(node, this)
            count += 1 + inside

        for position, out in enumerate(graph.outputs):
            title = "output" if len(graph.outputs) == 1 else f"output {position}"
            if isinstance(out, Const):
                text = number(out.value) if is_literal(out) and out.value is not None else short_value(out.value)
                port = Port(None, str(out.type), 0, text, None, long_value(out.value))
                self.add("output", title, ports=(port,), parent=parent)
                continue
            tail, port_index = made[out]
            gradient = tail in backward_boxes
            this = self.add("output", title, ports=(Port(None, str(out.type)),), parent=parent, backward=gradient)
            self.edges.append(Edge(tail, this, port_index, 0, GRADIENT if gradient else FORWARD, label=str(out.type)))
            if out in active:
                self.companion(out, this, tail, port_index, 0, uses)
        return count

    def companion(self, var: Var, reader: int, giver: int, port: int, slot: int, uses: Mapping[Var, int]) -> None:
        """The gradient edge beside a forward edge. A value used once receives along it all its gradient."""
        gradient = short_value(self.gradients.get(var))
        label = str(var.type)
        if gradient is not None:
            label = f"{gradient}" if uses.get(var, 0) <= 1 else f"part of {gradient}"
        self.edges.append(Edge(reader, giver, port, slot, GRADIENT, True, label))

    def nested(self, node: Node, this: int) -> int:
        """The graphs inside a node, as boxes inside its box; one graph alone needs no box of its own."""
        graphs = node.subgraphs
        if not graphs:
            return 0
        total, words = 0, []
        for name, inner in graphs:
            holder = this
            if len(graphs) > 1:
                holder = self.add("graph", name, parent=this, backward=node.backward)
            count = self.lay(inner, holder)
            words.append(f"{name}: {plural(count, 'operation')}")
            if holder != this:
                self.fill(holder, max(count, 1), plural(count, "operation"))
            total += count
        contents = words[0] if len(words) == 1 else f"{len(words)} graphs: {plural(total, 'operation')}"
        self.fill(this, max(total, 1), contents)
        return total

    def fill(self, this: int, count: int, contents: str) -> None:
        self.boxes[this] = replace(self.boxes[this], count=count, contents=contents)


def same_array(atom: Const) -> int:
    """Equal for constants that are one array, which a picture shows once."""
    return id(atom if atom.value is None else atom.value)


def call_text(node: Node) -> str:
    """The operation's name, with its literal operands: `power(·, 2)`."""
    if not any(is_literal(atom) for atom in node.inputs):
        return node.primitive.name
    words = []
    for atom in node.inputs:
        literal = isinstance(atom, Const) and is_literal(atom)
        words.append("·" if not literal else "?" if atom.value is None else number(atom.value))
    return f"{node.primitive.name}({', '.join(words)})"


def differentiated(graph: Graph) -> set[Var]:
    """The values of a dynamic graph that gradients flowed through: those that a leaf with a gradient leads to."""
    active = {var for var in graph.inputs if graph.gradients.get(var) is not None}
    for node in graph.nodes:
        if node.primitive.differentiable and any(isinstance(a, Var) and a in active for a in node.inputs):
            active.update(var for var in node.outputs or () if is_inexact(var.dtype))
    return active


def flows(node: Node, var: Var) -> bool:
    """Whether a gradient came back from this node to that operand."""
    return bool(node.primitive.differentiable) and is_inexact(var.dtype)


def ancestors(picture: Picture, box: int) -> list[int]:
    """The boxes that a box lies in, innermost first."""
    found = []
    parent = picture.boxes[box].parent
    while parent is not None:
        found.append(parent)
        parent = picture.boxes[parent].parent
    return found


def folded(picture: Picture, unfolded: Iterable[int] = ()) -> Picture:
    """The picture with every box that holds others closed, except those in `unfolded`.

    Boxes keep their ids, so the result is a list of boxes whose ids are no longer their positions. Edges
    from and to hidden boxes end at the closed box that hides them; several between the same two boxes, one
    of them closed, become one edge with a count; those inside a closed box are hidden with it.
    """
    opened = set(unfolded)
    face: list[int] = []
    for box in picture.boxes:
        # A parent comes later than its children only for groups, hence the walk instead of a look-up.
        shown = box.id
        for above in ancestors(picture, box.id):
            if above not in opened:
                shown = above
        face.append(shown)
    boxes = tuple(box for box in picture.boxes if face[box.id] == box.id)
    merged: dict[Any, Edge] = {}
    for position, edge in enumerate(picture.edges):
        tail, head = face[edge.tail], face[edge.head]
        if tail == head:
            continue
        hidden = (tail, head) != (edge.tail, edge.head)
        key = (tail, head, edge.role, edge.beside) if hidden else position
        if key in merged:
            before = merged[key]
            merged[key] = Edge(tail, head, 0, 0, edge.role, edge.beside, f"{before.count + 1} values", before.count + 1)
        else:
            port = edge.port if tail == edge.tail else 0
            slot = edge.slot if head == edge.head else 0
            merged[key] = Edge(tail, head, port, slot, edge.role, edge.beside, edge.label)
    return Picture(picture.name, boxes, tuple(merged.values()), picture.has_gradient)
