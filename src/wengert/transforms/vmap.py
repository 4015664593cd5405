"""`vmap`: run a function of one example on many at once, by carrying a batch axis through every operation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import BatchAxisError, WengertError
from ..graph.graph import Graph
from ..graph.interpreter import Interpreter, bind, is_traced, type_of_value
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import children, flatten, is_leaf, paths, unflatten
from ..graph.types import ArrayType
from ..ops.families import shape_of, vocabulary
from ..ops.shape import broadcast_to, move_axis
from .complaints import explain
from .trace import argument_names, parameter_names


class Batch(Interpreter):
    """Tensors carry one more axis, at the position in their note, that the program does not see."""

    symbolic = False
    noun = "batched value"

    def __init__(self, size: Any, mode: str = "lanes") -> None:
        super().__init__()
        self.size = size
        self.batching = batchings[mode]

    def type(self, tensor: Tensor) -> ArrayType:
        t = type_of_value(tensor.value)
        return ArrayType(t.shape[: tensor.note] + t.shape[tensor.note + 1 :], t.dtype)

    def concrete(self, tensor: Tensor) -> Any:
        return None  # a batch of numbers is not a number: `if x > 0` cannot be answered

    def decide(self, tensor: Tensor) -> bool | None:
        return None

    def show(self, tensor: Tensor) -> str:
        return f"Tensor({tensor.type}, batch of {self.size})"

    def check_alive(self, tensor: Tensor) -> None:
        if self.done & 1:
            super().check_alive(tensor)

    def apply(self, primitive: Primitive, operands: tuple[Any, ...]) -> Any:
        values: list[Any] = []
        axes: list[int | None] = []
        for operand in operands:
            if operand.__class__ is Tensor and operand.interpreter is self:
                values.append(operand.value)
                axes.append(operand.note)
            else:
                values.append(self.lower(operand))
                axes.append(None)
        try:
            outs, out_axes = batch_rule(primitive, values, axes, self.batching)
        except WengertError:
            raise
        except (ValueError, TypeError, IndexError) as error:
            raise explain(primitive, operands, error) from error
        if not primitive.multiple:
            return outs if out_axes is None else Tensor(self, outs, out_axes)
        return tuple(o if a is None else Tensor(self, o, a) for o, a in zip(outs, out_axes, strict=True))


def batch_rule(
    primitive: Primitive, values: Sequence[Any], axes: Sequence[int | None], batching: Batching
) -> tuple[Any, Any]:
    """An operation on batched operands, by its own rule; by a loop over the batch if it declares none."""
    if primitive.batch is None:
        return loop(primitive, values, axes)
    return primitive.batch(values, axes, batching) if primitive.higher_order else primitive.batch(values, axes)


def loop(primitive: Primitive, values: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
    """The last resort: one call per element of the batch, stacked."""
    size = next(shape_of(v)[a] for v, a in zip(values, axes, strict=True) if a is not None)
    moved = [v if a is None else move_axis(v, a, 0) for v, a in zip(values, axes, strict=True)]
    if size == 0:
        types = primitive.type(*[
            type_of_value(v) if a is None else ArrayType(shape_of(v)[1:], type_of_value(v).dtype)
            for v, a in zip(moved, axes, strict=True)
        ])  # fmt: skip
        empty = [np.zeros((0, *t.shape), t.dtype) for t in (types if primitive.multiple else (types,))]
        return (tuple(empty), (0,) * len(empty)) if primitive.multiple else (empty[0], 0)
    rows = []
    for k in range(size):
        row = [v if a is None else vocabulary.take_row(v, k) for v, a in zip(moved, axes, strict=True)]
        out = bind(primitive, *row)
        rows.append(out if primitive.multiple else (out,))
    stacked = tuple(vocabulary.stack_rows(column) for column in zip(*rows, strict=True))
    return (stacked, (0,) * len(stacked)) if primitive.multiple else (stacked[0], 0)


class Batching:
    """What the rules of loops and branches get to batch the graphs they hold; one for each `mode` of `vmap`.

    mode : "lanes" if each lane runs its own branch and its own number of steps, "mask" if all lanes run all branches
        and as many steps as the longest, and each takes its own results.
    """

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __call__(
        self, graph: Graph, batched: Sequence[bool], size: Any, force: Sequence[bool] | bool = False
    ) -> tuple[Graph, list[bool]]:
        """The graph on inputs that carry a leading batch axis where `batched`; the list says which outputs carry one.

        `force` names outputs that shall carry the axis in any case.
        """
        forced = [force] * len(graph.outputs) if isinstance(force, bool) else list(force)

        def make() -> tuple[Graph, list[bool]]:
            types = [
                ArrayType((size, *var.shape), var.dtype) if b else var.type
                for var, b in zip(graph.inputs, batched, strict=True)
            ]
            carried: list[bool] = []

            def run(*values: Any) -> list[Any]:
                with Batch(size, self.mode) as batch:
                    given = [Tensor(batch, v, 0) if b else v for v, b in zip(values, batched, strict=True)]
                    outs = evaluate(graph, *given)
                results = []
                for out, must in zip(outs, forced, strict=True):
                    mine = is_traced(out) and out.interpreter is batch
                    carried.append(mine or must)
                    results.append(batched_value(batch, out) if mine or must else batch.lower(out))
                return results

            names = [getattr(var, "name", None) for var in graph.inputs]
            result, _ = stage(run, types, names, name=f"vmap of {graph.name}")
            return result, carried

        return graph.cached(("batch", tuple(batched), size, tuple(forced), self.mode), make)

    def run(self, graph: Graph, batched: Sequence[bool], size: int, values: Sequence[Any]) -> list[Any]:
        """The outputs of the graph at once for `size` lanes, each with a leading batch axis, without a new graph."""
        with Batch(size, self.mode) as batch:
            outs = evaluate(graph, *[Tensor(batch, v, 0) if b else v for v, b in zip(values, batched, strict=True)])
        return [batched_value(batch, out) for out in outs]


batchings = {mode: Batching(mode) for mode in ("lanes", "mask")}


def batched_value(batch: Batch, out: Any, axis: int = 0) -> Any:
    """A result with its batch axis at `axis`; repeated along it if it does not depend on the batch."""
    if is_traced(out) and out.interpreter is batch:
        rank = len(shape_of(out.value))
        return move_axis(out.value, out.note, axis % rank if rank else 0)
    value = batch.lower(out)
    shape = shape_of(value)
    repeated = broadcast_to(value if is_traced(value) else np.asarray(value), (batch.size, *shape))
    return move_axis(repeated, 0, axis % (len(shape) + 1))


def vmap(
    fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, axis_size: int | None = None, mode: str = "lanes"
) -> Callable[..., Any]:
    """A function that maps `fn` over an axis of its arguments, as one pass over batched arrays.

    Parameters
    ----------
    fn : a function of single examples, in any containers.
    in_axes : an integer for all arguments, or a tuple with one entry per positional argument: an integer (negative
        ones count from the end), None (not mapped), or a container of these with the argument's structure or a
        prefix of it. Keyword arguments are mapped over axis 0.
    out_axes : the same for the output; None for an output that does not depend on the mapped axis.
    axis_size : needed only if nothing is mapped.
    mode : what a `cond`, `switch` or `while_loop` does whose decision differs between lanes. "lanes": each lane runs
        its own branch and its own number of steps, so that a branch that does not terminate harms nobody who does
        not take it; compiled code loops over the lanes. "mask": all lanes run all branches, and as many steps as
        the longest, and each takes its own results: vectorised throughout, but every branch must be fit for every
        lane.

    Returns
    -------
    A function of the same arguments with one more axis where mapped. Its result has the dtypes of `fn`.

    Raises
    ------
    BatchAxisError : an axis does not exist, sizes disagree, or an axis is no integer; the leaf is named.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.vmap(np.dot, in_axes=(0, None))(np.eye(2), np.array([3.0, 4.0]))
    array([3., 4.])
    >>> steps = lambda x: wg.while_loop(lambda s: s[0] > 1, lambda s: (s[0] / 2, s[1] + 1), (x, 0))[1]
    >>> wg.vmap(steps)(np.array([1.0, 2.0, 100.0]))
    array([0, 1, 7])
    """
    if (compiled := getattr(fn, "compiled_with", None)) is not None:
        key = f"vmap {in_axes} {out_axes} {axis_size} {mode}"
        return compiled(key, lambda f: vmap(f, in_axes, out_axes, axis_size, mode))  # type: ignore[no-any-return]
    if not callable(fn):
        raise TypeError(f"vmap maps a function, not {fn!r}")
    if mode not in batchings:
        raise BatchAxisError(f"vmap: mode {mode!r}", 'choose "lanes" or "mask"')
    if axis_size is not None and (not isinstance(axis_size, (int, np.integer)) or axis_size < 0):
        raise BatchAxisError(f"vmap: axis_size {axis_size!r}", "give the number of lanes as an integer")

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        axes = flat_axes(fn, in_axes, args) + [0] * len(flatten(kwargs)[0])
        size = common_size(leaves, axes, lambda: argument_names(fn, args, kwargs), axis_size)
        with Batch(size, mode) as batch:
            tensors = [
                leaf if axis is None else Tensor(batch, leaf if is_traced(leaf) else np.asarray(leaf), axis)
                for leaf, axis in zip(leaves, axes, strict=True)
            ]
            new_args, new_kwargs = unflatten(structure, tensors)
            result = fn(*new_args, **new_kwargs)
        outs, out_structure = flatten(result)
        wanted = prefix_axes(out_axes, result, "out_axes", "output")
        results = []
        for out, axis, path in zip(outs, wanted, paths(out_structure, "output"), strict=True):
            if axis is None:
                if is_traced(out) and out.interpreter is batch:
                    raise BatchAxisError(
                        f"vmap: {path} has out_axes=None but depends on the mapped axis",
                        "give it an axis in out_axes",
                    )
                results.append(batch.lower(out))
                continue
            rank = len(shape_of(out)) + 1
            if not -rank <= axis < rank:
                raise BatchAxisError(
                    f"vmap: out_axes {axis} for {path}, which has {rank} axes with the mapped one",
                    f"choose an axis from {-rank} to {rank - 1}",
                )
            results.append(vocabulary.settle(batched_value(batch, out, axis)))
        return unflatten(out_structure, results)

    return wrapped


def flat_axes(fn: Callable[..., Any], in_axes: Any, args: tuple[Any, ...]) -> list[int | None]:
    """One axis per leaf of the positional arguments."""
    if not isinstance(in_axes, (tuple, list)):
        return [axis for k, arg in enumerate(args) for axis in prefix_axes(in_axes, arg, "in_axes", _name(fn, k))]
    if len(in_axes) != len(args):
        raise BatchAxisError(
            f"vmap: in_axes {in_axes!r} has {len(in_axes)} entries, but there are {len(args)} arguments",
            "give one entry per positional argument",
        )
    pairs = enumerate(zip(in_axes, args, strict=True))
    return [axis for k, (axes, arg) in pairs for axis in prefix_axes(axes, arg, "in_axes", _name(fn, k))]


def _name(fn: Callable[..., Any], k: int) -> Callable[[], str]:
    def name() -> str:
        names = parameter_names(fn)
        return f"argument {names[k] if k < len(names) else f'arg{k}'}"

    return name


def prefix_axes(axes: Any, tree: Any, what: str, root: str | Callable[[], str]) -> list[int | None]:
    """`axes`, whose structure is a prefix of the tree's, as one axis per leaf. `root` names the tree in an error."""
    if axes is None or (isinstance(axes, (int, np.integer)) and not isinstance(axes, bool)):
        return [None if axes is None else int(axes)] * len(flatten(tree)[0])
    name = root if isinstance(root, str) else root()
    if is_leaf(axes):
        raise BatchAxisError(
            f"vmap: {what} of {name} is {axes!r}",
            "give an integer, None, or a container of these like the value's",
        )
    kind, own, keys = children(axes)
    if is_leaf(tree):
        raise BatchAxisError(
            f"vmap: {what} of {name} is {axes!r}, but the value is no container", "give an integer or None"
        )
    kind_of_tree, parts, names = children(tree)
    if kind is not kind_of_tree or set(keys) != set(names):
        lacking = [f"{name}[{k!r}] has no entry" for k in names if k not in keys]
        extra = [f"there is no {name}[{k!r}]" for k in keys if k not in names]
        detail = "; ".join([*lacking[:1], *extra[:1]]) or f"a {kind.__name__} for a {kind_of_tree.__name__}"
        raise BatchAxisError(
            f"vmap: {what} of {name} does not have the value's containers: {detail}",
            "give an entry for every part of the value: an integer, None, or a container of these",
        )
    matched = dict(zip(keys, own, strict=True))
    return [
        axis
        for key, part in zip(names, parts, strict=True)
        for axis in prefix_axes(matched[key], part, what, f"{name}[{key!r}]")
    ]


def common_size(
    leaves: Sequence[Any], axes: list[int | None], names: Callable[[], list[str]], given: int | None
) -> int:
    """The mapped extent, the same for every leaf; replaces negative axes in place. `names` is asked on failure."""
    size, owner = given, -1
    for k, (leaf, axis) in enumerate(zip(leaves, axes, strict=True)):
        if axis is None:
            continue
        shape = shape_of(leaf) if hasattr(leaf, "shape") else np.shape(leaf)
        if not -len(shape) <= axis < len(shape):
            raise BatchAxisError(
                f"vmap: axis {axis} of argument {names()[k]}, which has shape {tuple(shape)}",
                "choose an existing axis in in_axes, or None to pass the argument unmapped",
            )
        axes[k] = axis % len(shape)
        extent = shape[axis]
        if size is not None and extent != size:
            other = "axis_size" if owner < 0 else f"argument {names()[owner]}"
            raise BatchAxisError(
                f"vmap: argument {names()[k]} has {extent} elements along its mapped axis, but {other} has {size}",
                "mapped axes must have one length; pass the others with in_axes=None",
            )
        size, owner = extent, k
    if size is None:
        raise BatchAxisError("vmap: no argument is mapped, so the size is not known", "give axis_size=")
    return size
