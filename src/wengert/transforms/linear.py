"""Linear graphs and their transposes, and the reverse rules derived from them.

The reverse rule of an operation is its forward rule, linearised and transposed: the forward rule is run on
symbolic tangents with the actual operands as constants, which gives a linear graph, and the graph is walked
backward with each operation's `transpose`. (Radul, Paszke, Frostig, Johnson, Maclaurin: You only linearize
once, POPL 2023.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import NotDifferentiableError
from ..graph.graph import Graph
from ..graph.interpreter import type_of_value
from ..graph.nodes import Var
from ..graph.primitive import Primitive
from ..graph.stage import stage
from ..graph.types import definite
from ..ops.arithmetic import add
from ..ops.families import vocabulary
from .forward import jvp_rule


def transpose_graph(graph: Graph, cts: Sequence[Any], fixed: Sequence[Any] = ()) -> list[Any]:
    """Cotangents of the inputs of a linear graph, whose constants may be arrays or tensors. None is zero.

    `fixed` are values of its leading inputs, in which it need not be linear, and which get no cotangents.
    """
    known: dict[Var, Any] = {}
    values = dict(zip(graph.inputs, fixed, strict=False))

    def accumulate(var: Any, ct: Any) -> None:
        if ct is not None and isinstance(var, Var) and var not in values:
            known[var] = ct if var not in known else add(known[var], ct)

    for var, ct in zip(graph.outputs, cts, strict=True):
        accumulate(var, ct)
    for node in reversed(graph.nodes):
        outs = [known.pop(out, None) for out in node.outputs or ()]
        if all(ct is None for ct in outs):
            continue
        rule = node.primitive.transpose
        linear = [isinstance(atom, Var) and atom not in values for atom in node.inputs]
        given = [values.get(atom, atom) if isinstance(atom, Var) else atom.value for atom in node.inputs]
        if node.primitive.higher_order:
            found = vocabulary.reversed(node.primitive, given, linear, outs)
        elif rule is None:
            raise NotDifferentiableError(
                f"{node.primitive.name} takes part in a linear function but declares no transpose", "define `transpose`"
            )
        else:
            dtype = (node.outputs or ())[0].dtype
            operands = [x if flag else definite(x, dtype) for x, flag in zip(given, linear, strict=True)]
            found = rule(outs if node.primitive.multiple else outs[0], operands, linear)
        for atom, ct in zip(node.inputs, found, strict=True):
            accumulate(atom, ct)
    return [known.get(var) for var in graph.inputs[len(fixed) :]]


def derived_vjp(primitive: Primitive, ct: Any, operands: Sequence[Any], out: Any, needed: Sequence[bool]) -> list[Any]:
    """Cotangents of the needed operands, by linearising the forward rule and transposing it."""
    positions = [k for k, wanted in enumerate(needed) if wanted]

    def push(*given: Any) -> list[Any]:
        tangents: list[Any] = [None] * len(operands)
        for k, tangent in zip(positions, given, strict=True):
            tangents[k] = tangent
        result = jvp_rule(primitive, operands, tangents, out)
        result = result if primitive.multiple else (result,)
        alive.extend(t is not None for t in result)
        return [t for t in result if t is not None]

    alive: list[bool] = []
    linear, _ = stage(push, [type_of_value(operands[k])._replace(weak=False) for k in positions])
    cts = [c for c, live in zip(ct if primitive.multiple else (ct,), alive, strict=True) if live]
    found = iter(transpose_graph(linear, cts))
    return [next(found) if wanted else None for wanted in needed]
