"""`linearize`: the derivative at a point as a linear graph to run again; `linear_transpose` of linear functions.

Forward mode with the numbers of the point and tangents without numbers: the values are computed as the function runs,
and only what is done to tangents is written down. (Radul, Paszke, Frostig, Johnson, Maclaurin: You only linearize once,
POPL 2023.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import NotLinearError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.nodes import Var
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import Structure, flatten, flatten_as, paths, sealed, unflatten
from ..graph.types import ArrayType, is_inexact
from ..ops.control_flow import live_parts
from ..ops.families import vocabulary
from ..ops.shape import zeros_like
from .forward import Forward, check_tangent, jvp_graph, scalar, split
from .reverse import vjp_graph
from .trace import TypeLeaf, argument_names, shape_only


class Linearizing(Forward):
    """Forward mode in which loops and branches give values and tangents apart, so that values keep their numbers."""

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        if not primitive.higher_order:
            return super().apply(primitive, operands)
        pairs = [
            (x.value, x.note) if is_traced(x) and x.interpreter is self else (self.lower(x), None) for x in operands
        ]
        outs = bind(primitive, *[value for value, _ in pairs])
        tangents = primitive.jvp([v for v, _ in pairs], [t for _, t in pairs], jvp_graph)[1]  # type: ignore[call-arg]
        if "custom" in primitive.facts:
            self.check_captured((*outs, *tangents))
        return tuple(o if t is None else Tensor(self, o, t) for o, t in zip(outs, tangents, strict=True))


class Linearized:
    """The derivative of a function at a point: a linear function of tangents, as a graph.

    graph : from the values that it captured of transforms around it and the tangents to the tangents of the outputs.
    """

    def __init__(
        self, name: str, graph: Graph, captured: Sequence[Any], primals: Any, outs: Sequence[Any],
        moved: Sequence[bool], out_tree: Structure,
    ) -> None:  # fmt: skip
        self.__name__ = f"derivative of {name}"
        self.graph = graph
        self._captured = captured
        self._primals, self._in_tree = flatten(primals)
        self._outs = outs
        self._moved = moved
        self._out_tree = out_tree

    def __call__(self, *tangents: Any) -> Any:
        leaves = flatten_as(self._in_tree, tangents, "linearize: tangents against primals", "tangents")
        names = paths(self._in_tree)
        checked = [check_tangent(p, t, n) for p, t, n in zip(self._primals, leaves, names, strict=True)]
        given = [t for p, t in zip(self._primals, checked, strict=True) if is_inexact(type_of_value(p).dtype)]
        found = iter(evaluate(self.graph, *self._captured, *given))
        results = [
            scalar(vocabulary.settle(next(found)) if moved else zeros_like(out))
            for out, moved in zip(self._outs, self._moved, strict=True)
        ]
        return unflatten(self._out_tree, results)

    def __repr__(self) -> str:
        return f"<{self.__name__}: {len(self.graph)} nodes>"


def linearize(fn: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Value of `fn` and its derivative there, to apply to any number of tangents without running `fn` again.

    Parameters
    ----------
    fn : a function of arrays in any containers. It runs once, on numbers, so that it may branch on them.
    primals : its arguments.
    has_aux : `fn` returns (output, anything else); the second is handed through as a third result.

    Returns
    -------
    (out, f_jvp), or (out, f_jvp, aux). `f_jvp(*tangents)` takes one tangent per argument (containers, shapes and dtypes
    of the primals) and returns the tangent of the output: what `wg.jvp` returns second. It is linear, its operations
    are the graph `f_jvp.graph`, and it can be compiled (`wg.jit(f_jvp)`), batched (`wg.vmap(f_jvp)`, a Jacobian on unit
    vectors) and transposed. Loops in `fn` run again in `f_jvp` as a whole, all else keeps its factors.

    Raises
    ------
    TreeMismatchError, ShapeError, DtypeError : `f_jvp` is given a tangent that does not fit (the leaf is named).

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> out, derivative = wg.linearize(lambda x: np.sin(x) * x, 0.0)
    >>> derivative(1.0), derivative(2.0)
    (np.float64(0.0), np.float64(0.0))
    >>> wg.vmap(wg.linearize(np.square, np.array([1.0, 2.0]))[1])(np.eye(2))
    array([[2., 0.],
           [0., 4.]])
    """
    leaves, structure = flatten(primals)
    leaves = [x if is_traced(x) else np.array(x)[()] for x in leaves]  # copies: the owner may write into his
    moving = [is_inexact(type_of_value(x).dtype) for x in leaves]
    types = [type_of_value(x)._replace(weak=False) for x, m in zip(leaves, moving, strict=True) if m]
    names = [n for n, m in zip(argument_names(fn, primals), moving, strict=True) if m]
    found: list[Any] = []

    def push(*tangents: Any) -> list[Any]:
        given = iter(tangents)
        with Linearizing() as forward:
            duals = [Tensor(forward, x, next(given)) if m else x for x, m in zip(leaves, moving, strict=True)]
            result = fn(*unflatten(structure, duals))
            aux = None
            if has_aux:
                result, aux = result
        outs, out_tree = flatten(result)
        aux_leaves, aux_tree = flatten(aux)
        pairs = [split(forward, out) for out in outs]
        found[:] = [
            [scalar(value) for value, _ in pairs], out_tree, [tangent is not None for _, tangent in pairs],
            unflatten(aux_tree, [split(forward, leaf)[0] for leaf in aux_leaves]),
        ]  # fmt: skip
        return [tangent for _, tangent in pairs if tangent is not None]

    name = getattr(fn, "__name__", "function")
    graph, captured = stage(push, types, names, close=True, name=f"derivative of {name}")
    outs, out_tree, moved, aux = found
    derivative = Linearized(name, graph, captured, unflatten(structure, leaves), outs, moved, out_tree)
    out = unflatten(out_tree, outs)
    return (out, derivative, aux) if has_aux else (out, derivative)


def linear_transpose(fn: Callable[..., Any], *primals: Any) -> Callable[[Any], tuple[Any, ...]]:
    """The transpose of a linear function: `sum(ct * fn(x)) == sum(transposed(ct)[0] * x)` for all x and ct.

    Parameters
    ----------
    fn : a function of arrays in any containers, linear in all of them together (jointly, not in each).
    primals : arrays, or `wg.ArrayType`s: only shapes and dtypes are used.

    Returns
    -------
    A function from a cotangent (containers of the output) to a tuple with one entry per argument. It is the plain
    transpose, without conjugation; `wg.vjp` gives the adjoint.

    Raises
    ------
    NotLinearError : `fn` is not linear. The line of a product or function of the arguments is named.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> transposed = wg.linear_transpose(lambda x: np.array([[1.0, 2.0], [3.0, 4.0]]) @ x, np.zeros(2))
    >>> transposed(np.array([1.0, 0.0]))
    (array([1., 2.]),)
    """
    primals = sealed(primals, ArrayType, TypeLeaf)
    leaves, structure = flatten(primals)
    types = [shape_only(leaf)._replace(weak=False) for leaf in leaves]
    names = argument_names(fn, primals)
    for t, name in zip(types, names, strict=True):
        if not is_inexact(t.dtype):
            raise NotLinearError(f"linear_transpose: argument {name} is {t}", "give floating-point arguments")
    found: list[Structure] = []

    def flat(*tensors: Any) -> list[Any]:
        outs, out_tree = flatten(fn(*unflatten(structure, tensors)))
        found.append(out_tree)
        return outs

    name = getattr(fn, "__name__", "function")
    graph, captured = stage(flat, types, names, close=True, name=name)
    linear = [*[False] * len(captured), *[True] * len(types)]
    check_linear(graph, linear, captured, name)
    out_tree = found[-1]

    def transposed(cotangent: Any) -> tuple[Any, ...]:
        cts = flatten_as(out_tree, cotangent, "linear_transpose: cotangents against outputs", "cotangent")
        given = [
            check_tangent(np.zeros(a.shape, a.dtype), ct, path, "cotangent", "output")
            for a, ct, path in zip(graph.outputs, cts, paths(out_tree), strict=True)
        ]
        arriving = [ct is not None for ct in given]
        backward = vjp_graph(graph, linear, arriving)
        zeros = [np.zeros(t.shape, t.dtype) for t in types]
        results = evaluate(backward, *captured, *zeros, *[ct for ct in given if ct is not None])
        return unflatten(structure, [scalar(vocabulary.settle(r)) for r in results])  # type: ignore[no-any-return]

    transposed.__name__ = f"transpose of {name}"
    return transposed


def check_linear(graph: Graph, linear: Sequence[bool], captured: Sequence[Any], name: str) -> None:
    """Raise unless the outputs are linear in the marked inputs.

    First by structure: the tangents of a linear function do not depend on where they are taken, which gives the line
    that breaks it. What that leaves, constants added and steps, is found by trying: f(-2 u) = -2 f(u).
    """
    pushed, moved = jvp_graph(graph, linear)
    count = len(graph.outputs)
    wanted = [*[False] * count, *[True] * sum(moved)]
    needed = live_parts(pushed, wanted, {})[0]
    if any(n and m for n, m in zip(needed, linear, strict=False)):
        primal = {v for v, m in zip(pushed.inputs, linear, strict=False) if m}
        tangent = set(pushed.inputs[len(linear) :])
        for node in pushed.nodes:
            reads = {atom for atom in node.inputs if isinstance(atom, Var)}
            if not reads.isdisjoint(primal) and not reads.isdisjoint(tangent):
                raise NotLinearError(
                    f"linear_transpose: {name} is not linear: its derivative depends on its arguments",
                    "transpose the derivative at a point instead: wg.vjp(f, x)[1], or wg.linearize(f, x)[1]",
                    node.source,
                )
            if not reads.isdisjoint(tangent):
                tangent.update(node.outputs or ())
            elif not reads.isdisjoint(primal):
                primal.update(node.outputs or ())
    if any(map(is_traced, captured)):
        return
    rng = np.random.default_rng(0)
    point = [
        np.asarray(rng.normal(size=var.shape), var.dtype) for var, m in zip(graph.inputs, linear, strict=True) if m
    ]
    with np.errstate(all="ignore"):
        once = evaluate(graph, *captured, *point)
        twice = evaluate(graph, *captured, *[-2 * x for x in point])
    for k, (a, b) in enumerate(zip(once, twice, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        known = np.isfinite(a) & np.isfinite(b)
        scale = np.max(np.abs(a), initial=0.0, where=known)
        eps = np.finfo(b.dtype).eps if is_inexact(b.dtype) else 0.0
        if np.any(np.abs(b + 2 * a) > 1e4 * eps * scale, where=known):
            raise NotLinearError(
                f"linear_transpose: {name} is not linear: output {k} at -2 u is not -2 times that at u",
                "take out constants that are added, comparisons and rounding",
            )
