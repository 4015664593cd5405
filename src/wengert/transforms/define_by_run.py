"""Define-by-run: `variable`, `backward`, and the graph that hangs on a value."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import BackwardError
from ..graph.graph import Graph
from ..graph.interpreter import is_traced
from ..graph.nodes import Const, Node, Var
from ..graph.tensor import Tensor
from ..graph.trees import flatten
from ..ops.arithmetic import conj
from .forward import check_tangent
from .grad import check_differentiable, check_scalar, descent, one_like
from .reverse import Record, ground
from .series import number


def variable(value: Any, name: str | None = None) -> Tensor:
    """A leaf of a dynamic graph: a value to differentiate with respect to, define-by-run.

    Parameters
    ----------
    value : floating-point or complex array or number; the array is not copied.
    name : shown in printed graphs and pictures.

    Raises
    ------
    IntegerInputError : the value is integer or boolean.

    Example
    -------
    >>> import wengert as wg
    >>> x, w = wg.variable(2.0), wg.variable(-3.0)
    >>> y = w * x
    >>> y.backward()
    >>> w.grad, x.grad
    (np.float64(2.0), np.float64(-3.0))
    """
    if is_traced(value):
        value = value.numpy()
    if not isinstance(value, (float, complex, np.ndarray, np.generic)) or isinstance(value, (bool, np.bool_)):
        value = np.asarray(value)
    check_differentiable([value], flatten(value)[1], "variable")
    leaf = ground.leaf(value, name)
    leaf.note.value = value
    return leaf


def constant(value: Any) -> Tensor:
    """A value with tensor semantics (`x[i] = v` accepts recorded values) that is not differentiated.

    >>> import wengert as wg, numpy as np
    >>> x = wg.constant(np.zeros(2))
    >>> x[0] = wg.variable(3.0)
    >>> x.numpy()
    array([3., 0.])
    """
    return Tensor(ground, np.asarray(value) if not is_traced(value) else value.numpy(), None)


def backward(tensor: Tensor, gradient: Any = None, create_graph: bool = False, keep: bool = False) -> None:
    """Walk the graph back from this tensor and add to `.grad` of every variable that leads to it.

    Parameters
    ----------
    gradient : cotangent of this tensor; 1 by default, which needs a real scalar.
    create_graph : leave gradients that are themselves parts of the graph, to differentiate again.
    keep : leave gradients on every value in between as well (for `graph(...).show()`).

    A variable that took no part keeps `grad` None. Gradients add up over calls, as in PyTorch: set `x.grad = None`
    to begin anew.

    Raises
    ------
    BackwardError : no variable leads to this tensor.
    NonScalarOutputError : `gradient` is missing and the tensor is not a real scalar.
    """
    if tensor.edge is None or not isinstance(tensor.interpreter, Record):
        raise BackwardError(
            f"backward() on a {tensor.interpreter.noun} of type {tensor.type} that no variable leads to",
            "make the inputs with wg.variable(...), or use wg.grad(f)",
        )
    record = tensor.interpreter
    if gradient is None:
        check_scalar(record, tensor)
        gradient = one_like(tensor)
    else:
        gradient = conj(check_tangent(tensor, gradient, "", "gradient", "tensor"))
    if create_graph:
        gradient = Tensor(record, gradient, None)
    found = record.backward([(tensor.edge, gradient)], keep, create_graph)
    for var, ct in found.items():
        ct = descent(ct)
        var.gradient = ct if getattr(var, "gradient", None) is None else var.gradient + ct


def saved_values(node: Node, mask: int) -> list[tuple[int, Any]]:
    """What a node of a dynamic graph keeps, as pairs of position (operands, then output) and value."""
    if node.primitive.higher_order:
        return [(k, value) for k, value in enumerate(node.saved[0]) if value is not None]
    if node.rule is None:
        return []
    return list(zip(node.primitive.saves(mask, len(node.inputs)), node.saved, strict=True))


def graph_of(output: Any, name: str = "graph") -> Graph:
    """The dynamic graph that hangs on a tensor (or on a container of tensors), with what is known of its values.

    Values are those that derivative rules keep and those of variables and outputs; gradients those that
    `backward` left.

    Raises
    ------
    BackwardError : no recorded operation or variable leads to it.

    Example
    -------
    >>> import wengert as wg
    >>> x = wg.variable(2.0, name="x")
    >>> print(wg.graph(x * x))  # doctest: +ELLIPSIS
    graph(x: f64[]*) -> f64[]:
    ...
    """
    leaves, out_tree = flatten(output)
    tensors = [leaf for leaf in leaves if is_traced(leaf) and leaf.edge is not None]
    if not tensors:
        raise BackwardError("this value has no graph: no variable leads to it", "make the inputs with wg.variable(...)")
    seen: set[Node] = set()
    stack = [t.node for t in tensors if t.node is not None]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack += [a.node for a in node.inputs if isinstance(a, Var) and a.node is not None]
    nodes = sorted(seen, key=lambda node: node.number)
    edges: dict[tuple[Node, int], Var] = {}
    inputs: dict[Var, None] = {}
    values: dict[Var, Any] = {}
    for var in [a for node in nodes for a in node.inputs if isinstance(a, Var)] + [t.note for t in tensors]:
        if var.node is None:
            inputs[var] = None
        else:
            edges[var.node, var.index] = var
    frozen = []
    for node in nodes:
        types = node.outputs
        if types is None:
            edge = edges.get((node, 0))
            outputs: tuple[Var, ...] = (
                edge or Var.of(node.primitive.type(*[a.type for a in node.inputs]), None, node),
            )
        else:
            outputs = tuple([edges.get((node, k)) or Var.of(t, None, node, k) for k, t in enumerate(types)])
        frozen.append(Node(node.primitive, node.inputs, outputs, node.code, node.offset, node.number))
        mask = sum([1 << k for k, atom in enumerate(node.inputs) if atom.__class__ is Var])
        for position, value in saved_values(node, mask):
            if position == len(node.inputs):
                values.update(zip(outputs, value if types else (value,), strict=True))
            elif isinstance(node.inputs[position], Var):
                values[node.inputs[position]] = value
    values.update((var, var.value) for var in inputs if getattr(var, "value", None) is not None)
    values.update((tensor.note, tensor.value) for tensor in tensors)
    values = {var: number(value) for var, value in values.items()}
    gradients = {v: number(v.gradient) for v in (*inputs, *edges.values()) if getattr(v, "gradient", None) is not None}
    outs = [leaf.note if is_traced(leaf) and leaf.edge is not None else Const(leaf) for leaf in leaves]
    return Graph(tuple(inputs), frozen, outs, name, None, out_tree, values, gradients)
