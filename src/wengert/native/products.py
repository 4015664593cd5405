"""Large matrix products in blocks of rows, and stacks of products, so that threads can share them.

The library's own threads wait for each other in turns of the processor, which a busy machine makes very slow; a program
keeps the library to one thread (`threads.quiet_library`) and divides the work itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .arrays import Memory, known_size
from .loops import Call

ROWS = 128
"""Rows of a block at least: what the library prepares of the other factor, it prepares for each block."""
BLOCKS = 16
WORK = 1 << 22
"""Multiplications of a block, about."""


class Products:
    """Part of `Lowering`."""

    def products(self: Any, x: Memory, y: Memory, target: Memory, lead: Sequence[Any]) -> None:
        """The products of two stacks of matrices in memory, into `target`."""
        first = len(self.block.statements)
        rows = self.row_blocks(x, y, known_size(lead))
        with self.nest(lead) as stack:
            if rows is None:
                self._product(x, y, target, list(stack))
            else:
                self.by_rows(x, y, target, list(stack), rows)
        for s in self.block.statements[first:]:
            if hasattr(s, "independent"):
                s.independent = True

    def row_blocks(self: Any, x: Memory, y: Memory, stacked: int | None) -> int | None:
        """The rows of a block; None if one product is too small, or a stack gives work enough."""
        shape = (*x.shape[-2:], y.shape[-1])
        if x.ndim < 2 or y.ndim < 2 or stacked is None or stacked > BLOCKS // 2:
            return None
        if not all(isinstance(n, int) for n in shape):
            return None
        m = shape[0]
        count = min(BLOCKS, m // ROWS, math.prod(shape) // WORK)
        return None if count < 2 else -(-m // (count * 8)) * 8

    def by_rows(self: Any, x: Memory, y: Memory, target: Memory, stack: list[Any], rows: int) -> None:
        m, n = x.shape[-2], y.shape[-1]
        first = len(self.block.statements)
        with self.loop(-(-m // rows)) as block:
            start = self.mul(block, rows)
            left = self.sub(m, start)
            count = self.select(self.lt(left, rows), left, rows)
            part = Memory(x.buffer, (*x.shape[:-2], count, x.shape[-1]),
                          self.add(x.offset, self.mul(start, x.strides[-2])), x.strides)  # fmt: skip
            place = self.add(target.offset, self.mul(start, n))
            made = Memory(target.buffer, (*target.shape[:-2], count, n), place, target.strides)
            self._product(part, y, made, stack)
        for s in self.block.statements[first:]:
            if hasattr(s, "independent"):
                s.independent = True


def work_of(s: Call) -> float:
    """Operations that a library call counts for among those of loops."""
    sizes = [a[1] for a in s.arguments if a[0] == "integer"]
    numbers = [v.args[0] if v.op == "const" else ROWS for v in sizes[:3]]
    if isinstance(s.name, str) and s.name.endswith("gemm"):
        return math.prod(numbers) / (3 if s.name[0] == "d" else 6)
    return 100.0
