"""Loops in a fast version that multiplies plainly, and a careful one for when that made a NaN.

The strong product, in which an exact zero wins over an infinity, costs several comparisons beside its multiplication,
and differs from the plain product only where this is NaN. A NaN stays one through sums and products. So a nest with
strong products is written twice: first with plain products, and while it runs it notes whether anything that it leaves
behind is NaN; only then the second version, with strong products, runs over the same results. Where a NaN could get
lost on the way, in a comparison or an integer, there is only the second version.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from .loops import COMPARISONS, Buffer, Cell, Value

LONGEST = 3000
"""Registers of a version beyond which code is not written twice."""
PROPAGATING = frozenset({"sqrt", "fabs", "fma", "floor", "ceil", "trunc", "rint"})
"""Intrinsics that are NaN if an operand is."""


class Plain:
    """The fast version while it is written: what depends on a plain product in place of a strong one."""

    def __init__(self, e: Any, own: Collection[Buffer]) -> None:
        self.e = e
        self.own = own
        self.first = len(e.buffers)
        self.bad = e.cell("bool", False)
        self.open: set[Any] = set()
        self.failed = False

    def product(self, value: Value) -> None:
        self.open.add(value)

    def see(self, v: Value) -> None:
        """A new register."""
        if not self.open or self.open.isdisjoint(v.args):
            return
        self.open.add(v)
        lossy = v.op in COMPARISONS or v.op in ("bits", "library", "max", "min") or v.dtype[0] != "f"
        if lossy or (v.op == "intrinsic" and v.args[0] not in PROPAGATING):
            self.failed = True

    def write(self, cell: Cell, v: Value) -> None:
        if v in self.open:
            self.open.add(cell)

    def store(self, buffer: Buffer, v: Value) -> None:
        if v not in self.open:
            return
        self.open.add(buffer)
        if buffer.number < self.first and buffer not in self.own:
            self.note(v)

    def note(self, v: Value) -> None:
        """Remember if it is NaN."""
        e = self.e
        e.plain = None
        e.write(self.bad, e.either(e.read(self.bad), e.ne(v, v)))
        e.plain = self


class Carefully:
    """Part of `Lowering`."""

    plain: Any = None
    rare = False

    def carefully(
        self: Any, write: Callable[[], None], again: Callable[[], None],
        cells: Callable[[], Collection[Cell]], own: Collection[Buffer] = (),
    ) -> None:  # fmt: skip
        """Loops in both versions where that is of use.

        Parameters
        ----------
        write : writes them; called again for the second version, after `again`, which sets them back to the start.
        cells : what they leave behind in registers. own : memory that only they use.
        """
        if self.plain is not None or self.rare:
            write()
            return
        statements, buffers, calls, sites = self.block.statements, self.buffers, self.calls, self.sites
        before = len(statements), len(buffers), len(calls), len(sites)
        memo, count, first = dict(self.memos[-1]), self.count, len(self.functions)
        self.plain = plain = Plain(self, own)
        try:
            write()
        finally:
            self.plain = None
        fine = not plain.failed and self.count - count <= LONGEST
        if plain.open and fine and len(self.functions) == first and len(calls) == before[2]:
            bad = self.read(plain.bad)
            for cell in cells():
                if cell in plain.open:
                    value = self.read(cell)
                    bad = self.either(bad, self.ne(value, value))

            def second() -> None:
                self.rare = True
                again()
                write()
                self.rare = False

            self.branch(self.convert(bad, "i64"), [lambda: None, second])
            self.block.statements[-1].note = "again, with strong products"
            return
        if not plain.open:  # nothing to be careful about: take the note back
            for k in range(before[0], len(statements)):
                if getattr(statements[k], "cell", None) is plain.bad:
                    del statements[k]
                    break
            return
        for what, size in zip((statements, buffers, calls, sites), before, strict=True):
            del what[size:]
        self.memos[-1].clear()
        self.memos[-1].update(memo)
        again()
        write()
