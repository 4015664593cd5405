"""Graphviz's language, for those who have Graphviz or a viewer of it. Nothing here needs it."""

from __future__ import annotations

import os

from ..graph.graph import Graph
from .colours import LIGHT
from .model import GRADIENT, Box, Picture, folded, picture
from .save import saved


def to_dot(graph: Graph, path: str | os.PathLike[str] | None = None, *, nested: bool = False) -> str:
    """The graph in Graphviz's DOT language.

    path : a file to write the text to.
    nested : draw the graphs inside control flow as clusters; otherwise a box names how many operations it holds.

    The text, written as UTF-8, can be given to `dot -Tsvg` as it is. Gradient edges are `color`ed, and
    those that run beside forward edges carry `constraint=false`, so that they do not bend the layout.
    """
    whole = picture(graph)
    view = whole if nested else folded(whole)
    lines = [
        f"digraph {quote(graph.name)} {{",
        f"  graph [label={quote(graph.name + ' - ' + whole.subtitle)}, labelloc=t, fontname=monospace, compound=true]",
        f'  node [shape=box, style="rounded,filled", fontname=monospace, fontsize=10, color={quote(LIGHT["line"])}]',
        f"  edge [fontname=monospace, fontsize=9, color={quote(LIGHT['forward'])}]",
    ]
    children: dict[int | None, list[Box]] = {}
    for shown in view.boxes:
        children.setdefault(shown.parent, []).append(shown)
    stack: list[tuple[Box | None, int]] = [(box, 1) for box in reversed(children.get(None, []))]
    while stack:
        box, depth = stack.pop()
        if box is None:
            lines.append("  " * depth + "}")
            continue
        inner = children.get(box.id, [])
        if inner:
            lines.append("  " * depth + f"subgraph cluster_{box.id} {{")
            lines.append("  " * (depth + 1) + f"graph [label={quote(box.title)}, style=rounded]")
            lines.append("  " * (depth + 1) + node_line(box))
            stack.append((None, depth))
            stack.extend((child, depth + 1) for child in reversed(inner))
        else:
            lines.append("  " * depth + node_line(box))
    lines += edge_lines(view)
    lines.append("}")
    return saved("\n".join(lines) + "\n", path)


def node_line(box: Box) -> str:
    """One `node` statement."""
    label = "\\n".join(escape(text) for _, text in box.rows())
    shape = ", peripheries=2" if box.count else ""
    return f'n{box.id} [label="{label}", fillcolor={quote(LIGHT[fill(box)])}{shape}]'


def fill(box: Box) -> str:
    """The name of the box's colour."""
    if box.backward and box.kind not in {"input", "output"}:
        return "backward"
    return "graph" if box.count else box.kind


def edge_lines(view: Picture) -> list[str]:
    """The `edge` statements."""
    lines = []
    for edge in view.edges:
        label = f"{edge.count} values" if edge.count > 1 else edge.label
        facts = [f"label={quote(label)}"]
        if edge.role == GRADIENT:
            facts += [f"color={quote(LIGHT['gradient'])}", f"fontcolor={quote(LIGHT['gradient'])}"]
        if edge.beside:
            facts.append("constraint=false")
        lines.append(f"  n{edge.tail} -> n{edge.head} [{', '.join(facts)}]")
    return lines


def escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def quote(text: str) -> str:
    """A DOT string."""
    return f'"{escape(text)}"'
