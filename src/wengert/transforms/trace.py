"""Static graphs: run a Python function on values that have only a type, and write down what it does."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..graph.graph import Graph
from ..graph.interpreter import is_traced, state, type_of_value
from ..graph.nodes import Var
from ..graph.run import runner
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import flatten, flatten_as, paths, sealed, unflatten
from ..graph.types import PYTHON_NUMBERS, ArrayType, type_of
from ..ops.families import vocabulary


@np.errstate(all="ignore")
def call(graph: Graph, *args: Any, **kwargs: Any) -> Any:
    """`graph(*args)`: run it on arguments in the containers of the function it was traced from.

    Without NumPy's floating-point warnings, as compiled code runs: the nodes of a derivative may divide by zero
    where `strong_multiply` then masks the result.
    """
    if graph.in_tree is None:
        results = evaluate(graph, *args)
        return results[0] if len(results) == 1 else tuple(results)
    leaves = flatten_as(graph.in_tree, (args, kwargs), f"call of graph {graph.name}", "argument")
    for var, leaf in zip(graph.inputs, leaves, strict=True):
        found = type_of_value(leaf)
        if found.shape != var.shape or np.result_type(found.promotes_as, var.dtype) != var.dtype:
            raise ShapeError(
                f"graph {graph.name}: argument {var.name} is {found}, traced as {var.type}",
                "trace it again for this type",
            )
    found = vocabulary.run_limit(graph, *leaves)
    if found is None:
        plain = getattr(state, "watch", None) is None and not any(map(is_traced, leaves))
        found = runner(graph)(*map(typed, graph.inputs, leaves)) if plain else evaluate(graph, *leaves)
    return unflatten(graph.out_tree, found)


def typed(var: Var, value: Any) -> Any:
    """An argument in the dtype that its input is typed for; where Python numbers were traced, one of them."""
    if getattr(var, "weak", False):
        return value.item() if hasattr(value, "item") else value
    if value.__class__ in PYTHON_NUMBERS:
        return var.dtype.type(value)
    value = value if hasattr(value, "dtype") else np.asarray(value)
    return value if value.dtype == var.dtype else value.astype(var.dtype)


def parameter_names(fn: Callable[..., Any]) -> list[str]:
    """Names of the parameters that can be given by position; empty for what has no signature."""
    try:
        parameters = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return []
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in positional]


def leaf_names(roots: Sequence[str], position: int, arg: Any) -> list[str]:
    """A name for every leaf of an argument: the parameter's, with the path inside containers."""
    return paths(flatten(arg)[1], roots[position] if position < len(roots) else f"arg{position}")


def argument_names(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any] | None = None) -> list[str]:
    """A name for every leaf of the arguments."""
    roots = parameter_names(fn)
    names = [name for k, arg in enumerate(args) for name in leaf_names(roots, k, arg)]
    for key in sorted(kwargs or {}):
        names += paths(flatten(kwargs[key])[1], key)  # type: ignore[index]
    return names


class TypeLeaf:
    """An `ArrayType` as a leaf (it is a named tuple, which counts as a container)."""

    def __init__(self, type: ArrayType) -> None:
        self.type = type


def shape_only(value: Any) -> ArrayType:
    """The type of an argument: of an array or number, or the type itself."""
    if isinstance(value, TypeLeaf):
        return value.type
    return type_of_value(value) if isinstance(value, Tensor) else type_of(value)


def trace(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Graph:
    """The static graph of `fn` for arguments of these shapes and dtypes.

    Parameters
    ----------
    fn : a function of arrays in any containers, written in NumPy.
    args, kwargs : arrays, numbers, or `wg.ArrayType`s; only shapes and dtypes are used. Python numbers are weak
        (they do not raise the dtype of arrays they meet).

    Returns
    -------
    A `Graph`: print it, draw it (`.show()`), turn it into NumPy source (`.as_python()`), call it.

    Raises
    ------
    ConcretizationError : the function asks for a number (`if x > 0`), which a static trace does not have.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> g = wg.trace(lambda x: np.sin(x) * 2, np.ones(3))
    >>> g(np.zeros(3))
    array([0., 0., 0.])
    """
    args, kwargs = sealed((args, kwargs), ArrayType, TypeLeaf)
    leaves, in_tree = flatten((args, kwargs))
    names = argument_names(fn, args, kwargs)
    out_tree = None

    def flat(*tensors: Any) -> list[Any]:
        nonlocal out_tree
        new_args, new_kwargs = unflatten(in_tree, tensors)
        outputs, out_tree = flatten(fn(*new_args, **new_kwargs))
        return outputs

    graph, _ = stage(flat, [shape_only(leaf) for leaf in leaves], names, name=getattr(fn, "__name__", "graph"))
    return graph.replace(in_tree=in_tree, out_tree=out_tree)
