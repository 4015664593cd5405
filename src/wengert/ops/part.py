"""`part`: a stretch of a long graph as a function of its own, which the native compiler writes once.

Made by the pass `outline` only, after all others: a Python loop that was unrolled into a graph becomes parts of the
same body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..graph.nodes import Var
from ..graph.types import ArrayType
from .call import Call, as_typed


class Part(Call):
    """A call whose body is compiled as a function of its own, however often it is called.

    Unlike other calls it hands on Python numbers as such, so that any stretch of a graph can be a part.
    """

    name = "part"
    inline = False

    def type(self, *types: ArrayType) -> tuple[ArrayType, ...]:
        super().type(*types)
        return tuple(atom.type for atom in self.body.outputs)

    def numpy(self, *operands: Any) -> tuple[Any, ...]:
        pairs = zip(super().numpy(*operands), self.body.outputs, strict=True)
        return tuple([as_typed(atom, out) if isinstance(atom, Var) else out for out, atom in pairs])

    def lowering(self, e: Any, operands: Sequence[Any], types: Sequence[ArrayType], out: Sequence[ArrayType]) -> Any:
        return e.call_part(self.body, operands, out)
