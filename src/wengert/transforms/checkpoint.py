"""`checkpoint`: reverse mode computes a part of a program again instead of keeping its inner values."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

from ..errors import ConcretizationError, WengertError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced, state, strip, type_of_value
from ..graph.nodes import Node
from ..graph.stage import Stage, live_nodes
from ..graph.tensor import Tensor
from ..graph.trees import flatten, unflatten
from ..ops.checkpoint import POLICIES, Checkpoint, Named
from .control import staged
from .sizes import bytes_in

Policy = str | Collection[str] | Callable[[Node], bool]


def checkpoint(
    fn: Callable[..., Any] | None = None, *, policy: Policy = "nothing", memory: int | float | str | None = None
) -> Any:
    """`fn`, of which reverse mode keeps only the arguments and computes the rest again when it needs it.

    Parameters
    ----------
    fn : a function of arrays in any containers. What it captures from outside is differentiated as well. Arguments
        that are no traced values (flags, axes, plain arrays) are handed through as they are.
    policy : what is kept all the same: "nothing"; "products" (of matrices, which are dear to do again), "plain
        products" (those without a stack in front); "everything"; a collection of names, of values as the lines of
        `fn` call them; or a predicate, from a `Node` to whether its results are kept. JAX's names are known too.
    memory : bytes that the backward part of `fn` may allocate (8e6, "8MB"); within it is planned what to keep while
        computing again, see `grad`.

    Returns
    -------
    A function of the same arguments and results. Checkpoints nest, and work in eager and static runs, in loops, under
    every transform and compiled. A function that asks for numbers (`if x > 0`) can be checkpointed in eager runs: the
    way it took is the one that is done again.

    Raises
    ------
    WengertError : no such policy. MemoryBudgetError : `memory` is less than the least possible.

    The derivative is the same to the last bit or two; a chain of n equal parts, each a checkpoint, needs memory for n
    arguments and one part (Griewank and Walther, *Evaluating Derivatives*, 2008, chapter 12).

    Example
    -------
    >>> import numpy, wengert as wg, wengert.numpy as np
    >>> layer = wg.checkpoint(lambda x, w: np.tanh(x @ w))
    >>> wg.grad(lambda w: np.sum(layer(np.ones(2), w)))(np.zeros((2, 2)))
    array([[1., 1.],
           [1., 1.]])
    """
    if fn is None:
        return functools.partial(checkpoint, policy=policy, memory=memory)
    keeps = chosen(policy)
    limit = None if memory is None else bytes_in(memory)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, tree = flatten((args, kwargs))
        places = [k for k, leaf in enumerate(leaves) if is_traced(leaf)]

        def part(*values: Any) -> Any:
            given = list(leaves)
            for k, value in zip(places, values, strict=True):
                given[k] = value
            new_args, new_kwargs = unflatten(tree, given)
            return fn(*new_args, **new_kwargs)

        operands = [leaves[k] for k in places]
        types = [type_of_value(x) for x in operands]
        structure = flatten(tuple(operands))[1]
        functools.update_wrapper(part, fn)
        try:
            graph, captured, out_tree = staged(part, structure, types, "checkpoint", inside=True)
        except ConcretizationError:
            if any(_numberless(interpreter) for interpreter in state.stack):
                raise
            graph, captured, out_tree = _followed(part, operands)
        if not captured and not operands:
            return part()
        return unflatten(out_tree, bind(Checkpoint(graph, keeps, limit), *captured, *operands))

    return wrapped


def chosen(policy: Policy) -> Callable[[Node], bool] | None:
    """The policy that a name, a collection of names of values, or a predicate stands for."""
    if isinstance(policy, str):
        if policy not in POLICIES:
            known = ", ".join(repr(name) for name in POLICIES)
            raise WengertError(
                f"checkpoint: no policy {policy!r}; there are {known}",
                "name one of them; for values by name give a collection, policy=['h']; or a predicate on nodes",
            )
        return POLICIES[policy]
    if callable(policy):
        return policy
    return Named(frozenset(policy))


def _numberless(interpreter: Any) -> bool:
    """Whether values of this interpreter have no number of the same shape: static traces and batches."""
    return bool(interpreter.symbolic) or interpreter.noun == "batched value"


class Following(Stage):
    """A stage that knows the numbers as well, so that it writes down the way that the program takes for them."""

    symbolic = False

    def __init__(self) -> None:
        super().__init__(close=True, inside=True)

    def apply(self, primitive: Any, operands: tuple[Any, ...]) -> Any:
        out = primitive.numpy(*[self._number(x) for x in operands])
        tensors = super().apply(primitive, operands)
        for tensor, value in zip(tensors, out, strict=True) if primitive.multiple else ((tensors, out),):
            tensor.value = value
        return tensors

    def _number(self, value: Any) -> Any:
        return value.value if isinstance(value, Tensor) and value.interpreter is self else strip(value)

    def concrete(self, tensor: Tensor) -> Any:
        return tensor.value


def _followed(part: Callable[..., Any], operands: list[Any]) -> tuple[Graph, list[Any], Any]:
    """The graph of the way that a program takes for these numbers; captured tensors; the containers of its result."""
    with Following() as stage:
        given = []
        for x in operands:
            tensor = stage.input(type_of_value(x), x.name)
            tensor.value = strip(x)
            given.append(tensor)
        vars = [tensor.note for tensor in given]
        outs, out_tree = flatten(part(*given))
        outputs = [stage.atom(out) for out in outs]
    nodes = live_nodes(stage.nodes, outputs)
    name = getattr(part, "__name__", "checkpoint")
    return Graph((*stage.captured_vars, *vars), nodes, outputs, name), stage.captured, out_tree
