"""What the passes make of a graph, as text: `print(graph.explain())`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..graph.graph import Graph
from ..graph.printing import graph_text
from .pipeline import Step, count


class Report:
    """Before, what each pass changed, after.

    before, after : graphs. steps : name, graph and seconds of each pass. `str` is the whole text, the same in
    every run; `text(seconds=True)` adds the times.
    """

    def __init__(self, before: Graph, steps: Sequence[Step]) -> None:
        self.before = before
        self.steps = tuple(steps)
        self.after = steps[-1].graph if steps else before

    def text(self, seconds: bool = False) -> str:
        """The report; with the time that each pass took, if asked for."""
        counts = [count(self.before), *(count(step.graph) for step in self.steps)]
        width = max((len(step.name) for step in self.steps), default=0)
        lines = [f"before: {operations(counts[0])}", indented(graph_text(self.before)), ""]
        for step, old, new in zip(self.steps, counts, counts[1:], strict=False):
            time = f"{step.seconds * 1e3:8.2f} ms  " if seconds else ""
            lines.append(f"{step.name:<{width}}  {time}{difference(old, new)}")
        lines += ["", f"after: {operations(counts[-1])}", indented(graph_text(self.after))]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Report: {operations(count(self.before))} before, {operations(count(self.after))} after>"


def operations(counts: Counter[str]) -> str:
    total = counts.total()
    return f"{total:,} operation{'' if total == 1 else 's'}"


def difference(old: Counter[str], new: Counter[str]) -> str:
    """`6 -> 4   add -1, sin -1`, or `-` if the numbers of operations stay."""
    changes = [f"{name} {new[name] - old[name]:+d}" for name in sorted(old | new) if new[name] != old[name]]
    return f"{old.total():,} -> {new.total():,}   {', '.join(changes)}" if changes else "-"


def indented(text: str) -> str:
    return "\n".join("  " + line for line in text.splitlines())
