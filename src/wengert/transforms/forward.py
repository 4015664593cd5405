"""Forward mode: push tangents along with values. Works on running programs without keeping anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import (
    DtypeError,
    IntegerInputError,
    NotDifferentiableError,
    ShapeError,
    TreeMismatchError,
    WengertError,
)
from ..graph.graph import Graph
from ..graph.interpreter import Interpreter, bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import flatten, flatten_as, paths, unflatten
from ..graph.types import ArrayType, definite, is_inexact
from ..ops.families import vocabulary
from ..ops.shape import convert, zeros_like
from .complaints import explain
from .push import push_of

MISSING: Any = object()


class Forward(Interpreter):
    """Tensors are pairs of a value and a tangent of the same shape and dtype."""

    noun = "value with a tangent"
    transparent = True

    def type(self, tensor: Tensor) -> ArrayType:
        return type_of_value(tensor.value)

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        primals: list[Any] = []
        tangents: list[Any] = []
        mask, bit = 0, 1
        for operand in operands:
            tangent = None
            if operand.__class__ is Tensor:
                if operand.interpreter is self:
                    tangent = operand.note
                    operand = operand.value
                    mask += bit
                else:
                    operand = self.lower(operand)
            primals.append(operand)
            tangents.append(tangent)
            bit += bit
        if primitive.higher_order:
            out, result = primitive.jvp(primals, tangents, jvp_graph)
            if "custom" in primitive.facts:
                self.check_captured((*out, *result))
            return tuple(o if t is None else Tensor(self, o, t) for o, t in zip(out, result, strict=True))
        try:
            out = bind(primitive, *primals)
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, primals, error) from error
        if not primitive.differentiable:
            return out
        if primitive.split is not None:  # equal eigenvalues: see ops.spectral
            out = primitive.split(out, None)
        push = None
        if primitive.pushes is not None and hasattr(out, "dtype"):
            push = primitive.pushes.get(mask, MISSING)
            if push is MISSING:
                push = primitive.pushes[mask] = push_of(primitive, mask)
        if "tame" in primitive.facts:
            result = jvp_rule(primitive, primals, tangents, out) if push is None else push(primals, tangents, out)
        else:
            with np.errstate(all="ignore"):  # a warning belongs to the value, which has given it
                result = jvp_rule(primitive, primals, tangents, out) if push is None else push(primals, tangents, out)
        if not primitive.multiple:
            return out if result is None else Tensor(self, out, result)
        return tuple(o if t is None else Tensor(self, o, t) for o, t in zip(out, result, strict=True))


def jvp_rule(primitive: Primitive, primals: Sequence[Any], tangents: Sequence[Any], out: Any) -> Any:
    """The tangent of an operation's output, by its own rule; None (one per output) stands for zero."""
    if primitive.not_differentiable is not None:
        raise NotDifferentiableError(
            f"{primitive.name} has no derivative: {primitive.not_differentiable}",
            "cut it out of the derivative with wg.stop_gradient on its operand",
        )
    if not primitive.differentiable:
        return tuple(None for _ in out) if primitive.multiple else None
    if primitive.higher_order:
        return primitive.jvp(primals, tangents, jvp_graph)[1]
    if not primitive.multiple:
        dtype = out.dtype if hasattr(out, "dtype") else type_of_value(out).dtype
        primals = [definite(primal, dtype) for primal in primals]
    return primitive.jvp(primals, tangents, out)


def jvp_graph(
    graph: Graph, moving: Sequence[bool], instantiate: bool | Sequence[bool] = False
) -> tuple[Graph, list[bool]]:
    """The graph that computes values and tangents: inputs are all values, then a tangent for each moving input.

    Outputs are all values, then a tangent for each output that moves; the list says which do. `instantiate`
    asks for a (zero) tangent even where nothing moves.
    """
    wanted = [instantiate] * len(graph.outputs) if isinstance(instantiate, bool) else list(instantiate)

    def make() -> tuple[Graph, list[bool]]:
        types = [var.type for var in graph.inputs]
        tangent_types = [t._replace(weak=False) for t, m in zip(types, moving, strict=True) if m]
        moved: list[bool] = []

        def both(*values: Any) -> list[Any]:
            primals = values[: len(types)]
            given = iter(values[len(types) :])
            with Forward() as forward:
                duals = [Tensor(forward, p, next(given)) if m else p for p, m in zip(primals, moving, strict=True)]
                outs = evaluate(graph, *duals)
            pairs = [split(forward, out) for out in outs]
            moved.extend(t is not None or w for (_, t), w in zip(pairs, wanted, strict=True))
            tangents = [zeros_like(v) if t is None else t for (v, t), m in zip(pairs, moved, strict=True) if m]
            return [v for v, _ in pairs] + tangents

        names = [getattr(var, "name", None) for var in graph.inputs]
        result, _ = stage(both, [*types, *tangent_types], names, name=f"jvp of {graph.name}")
        return result, moved

    return graph.cached(("jvp", tuple(moving), tuple(wanted)), make)


def split(forward: Forward, value: Any) -> tuple[Any, Any]:
    """Value and tangent (None for zero) of a result at one level of forward mode."""
    if is_traced(value) and value.interpreter is forward:
        return vocabulary.settle(value.value), vocabulary.settle(value.note)
    return vocabulary.settle(forward.lower(value)), None


def check_tangent(primal: Any, tangent: Any, path: str, what: str = "tangent", like: str = "primal") -> Any:
    """A tangent fit for a primal: same shape, converted to its dtype; None for integers."""
    t = type_of_value(primal)
    if not is_inexact(t.dtype):
        if tangent is None or not np.any(np.asarray(tangent)):
            return None
        raise IntegerInputError(
            f"{what}{path} is not zero, but the {like} is {t}: integers have no derivative", "pass the input as a float"
        )
    found, name = type_of_value(tangent), what.strip()
    if found.shape != t.shape:
        raise ShapeError(f"{what}{path} is {found}, but the {like} is {t}", f"give the {name} the shape {t.shape}")
    if found.dtype.kind not in "biufc" or (found.dtype.kind == "c" and t.dtype.kind == "f"):
        raise DtypeError(f"{what}{path} is {found}, but the {like} is {t}", f"give the {name} the dtype {t.dtype}")
    return convert(tangent, t.dtype) if found.dtype != t.dtype or not hasattr(tangent, "dtype") else tangent


def jvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], has_aux: bool = False) -> Any:
    """Value and directional derivative: `(f(x), J(x) t)`, in one forward pass that keeps nothing.

    Parameters
    ----------
    fn : a function of arrays in any containers.
    primals : tuple of its arguments.
    tangents : tuple of directions with the same containers, shapes and dtypes.
    has_aux : `fn` returns (output, anything else); the second is handed through as a third result.

    Returns
    -------
    (out, tangent_out), or (out, tangent_out, aux).

    Raises
    ------
    TreeMismatchError, ShapeError, DtypeError : a tangent does not fit its primal (the leaf is named).

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.jvp(lambda x: x**3, (2.0,), (1.0,))
    (np.float64(8.0), np.float64(12.0))
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)):
        raise TreeMismatchError("jvp takes tuples of primals and tangents", "write wg.jvp(f, (x,), (t,))")
    leaves, structure = flatten(tuple(primals))
    directions = flatten_as(structure, tuple(tangents), "jvp: tangents against primals", "tangents")
    names = paths(structure)
    with Forward() as forward:
        duals = []
        for primal, direction, path in zip(leaves, directions, names, strict=True):
            tangent = check_tangent(primal, direction, path)
            duals.append(primal if tangent is None else Tensor(forward, primal, tangent))
        result = fn(*unflatten(structure, duals))
    aux = None
    if has_aux:
        result, aux = result
    outs, out_structure = flatten(result)
    pairs = [split(forward, out) for out in outs]
    values = unflatten(out_structure, [v for v, _ in pairs])
    moved = unflatten(out_structure, [scalar(zeros_like(v) if t is None else t) for v, t in pairs])
    if not has_aux:
        return values, moved
    aux_leaves, aux_structure = flatten(aux)
    return values, moved, unflatten(aux_structure, [split(forward, leaf)[0] for leaf in aux_leaves])


def scalar(value: Any) -> Any:
    """A 0-dimensional array as a scalar, as NumPy's own functions return it."""
    return value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
