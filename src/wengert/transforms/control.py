"""Control flow for users: `cond`, `switch`, `while_loop`, `fori_loop`, `scan`, `map`, `associative_scan`.

Where the deciding value has a number (plain arrays, define-by-run), `cond` and `switch` just call the chosen
function. Otherwise, and for loops, the functions are traced once into closed graphs; what they capture from
outside becomes an operand.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, IndexOutOfBoundsError, ShapeError, TreeMismatchError
from ..graph.graph import Graph
from ..graph.interpreter import bind, is_traced, type_of_value
from ..graph.nodes import Var
from ..graph.primitive import Primitive
from ..graph.stage import evaluate, stage
from ..graph.tensor import Tensor
from ..graph.trees import Structure, flatten, flatten_as, paths, unflatten
from ..graph.types import ArrayType
from ..ops.branch import Switch
from ..ops.families import shape_of
from ..ops.online import Online
from ..ops.scan import Scan
from ..ops.shape import concatenate, convert, reshape
from ..ops.while_loop import While
from .scheduled import checked_states, chosen_schedule, run_scan


def staged(
    fn: Callable[..., Any], tree: Structure, types: Sequence[ArrayType], name: str, inside: bool = False
) -> tuple[Graph, list[Any], Structure]:
    """The closed graph of `fn(*arguments)`, what it captured (its leading inputs), the output's containers.

    `inside`: the function may not run at all, so what it computes of captured values alone belongs to the graph.
    Otherwise that is computed once, before the loop.
    """
    found: list[Structure] = []

    def flat(*tensors: Any) -> list[Any]:
        outs, structure = flatten(fn(*unflatten(tree, tensors)))
        found.append(structure)
        return outs

    graph, captured = stage(flat, types, close=True, name=getattr(fn, "__name__", name), inside=inside)
    return graph, captured, found[0]


def merge_captures(graphs: Sequence[Graph], captures: Sequence[Sequence[Any]]) -> tuple[list[Graph], list[Any]]:
    """Graphs that all take the union of what any of them captured as leading inputs."""
    union: dict[int, Any] = {}
    for captured in captures:
        for tensor in captured:
            union.setdefault(id(tensor.note) if isinstance(tensor.note, Var) else id(tensor), tensor)
    merged = []
    for graph, captured in zip(graphs, captures, strict=True):
        own = {
            id(t.note) if isinstance(t.note, Var) else id(t): var
            for t, var in zip(captured, graph.inputs, strict=False)
        }
        lead = [own.get(key) or Var.of(type_of_value(tensor)) for key, tensor in union.items()]
        merged.append(graph.replace(inputs=[*lead, *graph.inputs[len(captured) :]]))
    return merged, list(union.values())


def as_values(tree: Any) -> tuple[list[Any], Structure]:
    """Leaves as arrays or tensors (Python numbers stay: they are weak)."""
    leaves, structure = flatten(tree)
    return [
        x if is_traced(x) or isinstance(x, (np.ndarray, np.generic, bool, int, float, complex)) else np.asarray(x)
        for x in leaves
    ], structure


def checked(primitive: Primitive, *operands: Any) -> Any:
    """Bind after the type rule, which evaluation on numbers would skip."""
    primitive.type(*[type_of_value(operand) for operand in operands])
    return bind(primitive, *operands)


def number(value: Any) -> Any:
    """The number inside a value, None if it has none."""
    return value.interpreter.concrete(value) if isinstance(value, Tensor) else value


def cond(pred: Any, true_fn: Callable[..., Any], false_fn: Callable[..., Any], *operands: Any) -> Any:
    """`true_fn(*operands)` if `pred` else `false_fn(*operands)`, as part of the graph.

    Parameters
    ----------
    pred : boolean or number, scalar.
    true_fn, false_fn : functions that return the same containers, shapes and dtypes.
    operands : their arguments; what they capture from outside is differentiated as well.

    Only the chosen branch runs, under `vmap` the chosen one of each lane (see its `mode`).

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(lambda x: wg.cond(x > 0, np.sin, lambda v: v * 0, x))(0.0)
    np.float64(0.0)
    """
    if shape_of(pred) != ():
        raise ShapeError(f"cond: the predicate is {type_of_value(pred)}", "give one boolean; use np.where for arrays")
    known = number(pred)
    if known is not None:
        return (true_fn if known else false_fn)(*operands)
    return choose(truth(pred), [false_fn, true_fn], operands, "cond")


def truth(pred: Any) -> Any:
    """A number as a boolean."""
    return pred if type_of_value(pred).dtype.kind == "b" else pred != 0


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """`branches[index](*operands)` as part of the graph.

    Raises
    ------
    IndexOutOfBoundsError : the index is not one of 0 ... len(branches)-1 (nothing is clamped).

    Example
    -------
    >>> import wengert as wg
    >>> wg.switch(1, [lambda x: x, lambda x: x * x], 3.0)
    9.0
    """
    if type_of_value(index).dtype.kind not in "iub" or shape_of(index) != ():
        raise DtypeError(f"switch: the index is {type_of_value(index)}", "give an integer scalar")
    known = number(index)
    if known is not None:
        if not 0 <= int(known) < len(branches):
            raise IndexOutOfBoundsError(
                f"switch: index {known} with {len(branches)} branches", "give 0 <= index < branches"
            )
        return branches[int(known)](*operands)
    return choose(index, list(branches), operands, "switch")


def choose(index: Any, branches: Sequence[Callable[..., Any]], operands: Sequence[Any], what: str) -> Any:
    leaves, tree = as_values(tuple(operands))
    types = [type_of_value(leaf) for leaf in leaves]
    graphs, captures, structures = zip(*(staged(b, tree, types, f"{what} branch", True) for b in branches), strict=True)
    for k, structure in enumerate(structures):
        if structure != structures[0]:
            raise TreeMismatchError(
                f"{what}: branches return different containers: {structures[0]} and {structure} (branch {k})",
                "return the same containers from every branch",
            )
    graphs, captured = merge_captures(graphs, captures)
    graphs = common_outputs(graphs)
    return unflatten(structures[0], checked(Switch(tuple(graphs)), index, *captured, *leaves))


def common_outputs(graphs: Sequence[Graph]) -> list[Graph]:
    """Branches with outputs converted to common dtypes, as `where` would."""
    columns = list(zip(*([a.type for a in g.outputs] for g in graphs), strict=True))
    dtypes = [np.result_type(*(t.promotes_as for t in column)) for column in columns]
    return [converted(g, dtypes) for g in graphs]


def converted(graph: Graph, dtypes: Sequence[Any]) -> Graph:
    """The graph with outputs of the given dtypes."""
    if all(a.type.dtype == d and not a.type.weak for a, d in zip(graph.outputs, dtypes, strict=True)):
        return graph

    def run(*values: Any) -> list[Any]:
        outs = evaluate(graph, *values)
        return [convert(out if is_traced(out) else np.asarray(out), d) for out, d in zip(outs, dtypes, strict=True)]

    names = [getattr(var, "name", None) for var in graph.inputs]
    return stage(run, [var.type for var in graph.inputs], names, name=graph.name)[0]


def settle_carry(
    fn: Callable[..., Any], make: Callable[[list[ArrayType]], tuple[Graph, list[Any], Structure]], leaves: list[Any],
    tree: Structure, what: str, outputs_of: Callable[[Structure], Structure | None] = lambda s: s,
) -> tuple[Graph, list[Any], Structure, list[Any]]:  # fmt: skip
    """Trace a loop body whose carries keep their types; Python numbers and integers are promoted if it takes that."""
    for _ in range(2):
        types = [type_of_value(leaf)._replace(weak=False) for leaf in leaves]
        graph, captured, structure = make(types)
        found = [a.type for a in graph.outputs[: len(leaves)]]
        wider = [np.result_type(t.dtype, o.promotes_as) for t, o in zip(types, found, strict=False)]
        if all(w == t.dtype for w, t in zip(wider, types, strict=False)):
            break
        leaves = [convert(x if is_traced(x) else np.asarray(x), w) for x, w in zip(leaves, wider, strict=True)]
    dtypes = [*wider, *(a.type.dtype for a in graph.outputs[len(leaves) :])]
    return (
        converted(graph, dtypes),
        captured,
        structure,
        [x if hasattr(x, "dtype") else np.asarray(x)[()] for x in leaves],
    )


def check_carry(
    tree: Structure, found: Structure, before: Sequence[ArrayType], after: Sequence[Any], what: str
) -> None:
    if tree != found:
        flatten_as(
            tree, unflatten(found, [0] * found.num_leaves), f"{what}: carry returned by the body against init", "carry"
        )
    for t, o, path in zip(before, after, paths(tree), strict=False):
        if t.shape != o.type.shape:
            raise ShapeError(
                f"{what}: carry{path} is {t} going in and {o.type} coming out of the body",
                "make the body return carries of the same shape",
            )


def scan(
    f: Callable[..., Any],
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    checkpoint: str | int | None = None,
) -> Any:
    """Loop over leading axes, carrying state: `carry, y = f(carry, x)` for each x; returns (last carry, stacked ys).

    Parameters
    ----------
    f : `f(carry, x) -> (new carry, y)`; containers of arrays. The carry keeps its shapes and dtypes. Traced once.
    init : first carry. xs : arrays with one leading length, or None.
    length : number of steps, needed if `xs` is None. reverse : from the last to the first.
    checkpoint : what reverse mode keeps. None: what the derivative of every step reads. "sqrt": about sqrt(n) states,
        every step runs twice. "log": states in proportion to log(n), and as many runs of every step. A number: so many
        states, by the schedule that runs least steps again (Griewank and Walther's, see `transforms.schedule`).

    Raises
    ------
    ShapeError : lengths differ, or a carry changes shape; the leaf is named.
    TreeMismatchError : the body does not return a pair, or a carry of other containers.

    Example
    -------
    >>> import wengert as wg, numpy as np
    >>> wg.scan(lambda c, x: (c + x, c), 0.0, np.arange(4.0))
    (np.float64(6.0), array([0., 0., 1., 3.]))
    """
    init_leaves, carry_tree = as_values(init)
    x_leaves, x_tree = as_values(xs)
    x_leaves = [x if is_traced(x) else np.asarray(x) for x in x_leaves]
    for x, path in zip(x_leaves, paths(x_tree), strict=True):
        shape = shape_of(x)
        if not shape or (length is not None and shape[0] != length):
            raise ShapeError(
                f"scan: xs{path} has shape {shape}, but there are {length} steps", "leading axes must have one length"
            )
        length = shape[0]
    if length is None:
        raise ShapeError("scan: no xs and no length", "give length=")
    if not isinstance(length, (int, np.integer)) or length < 0:
        raise ShapeError(f"scan: length {length!r}", "give the number of steps, an integer of at least 0")
    x_types = [ArrayType(shape_of(x)[1:], type_of_value(x).dtype) for x in x_leaves]
    both = flatten((init, xs))[1]

    def body(carry: Any, x: Any) -> Any:
        result = f(carry, x)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise TreeMismatchError(
                f"scan: the body returned {type(result).__name__}", "return (carry, y) from the body"
            )
        new, y = result
        outs.append((flatten(new)[1], flatten(y)[1]))
        return flatten(new)[0], flatten(y)[0]

    outs: list[tuple[Structure, Structure]] = []

    def make(types: list[ArrayType]) -> tuple[Graph, list[Any], Structure]:
        graph, captured, structure = staged(body, both, [*types, *x_types], "scan body", length == 0)
        check_carry(carry_tree, outs[-1][0], types, graph.outputs, "scan")
        return graph.replace(name=getattr(f, "__name__", "body")), captured, structure

    graph, captured, _, carry = settle_carry(f, make, init_leaves, carry_tree, "scan")
    n = len(carry)
    loop = Scan(graph, len(captured), n, length, reverse)
    if checkpoint is None or not length:
        results = checked(loop, *captured, *carry, *x_leaves)
    else:
        loop.type(*[type_of_value(v) for v in (*captured, *carry, *x_leaves)])
        results = run_scan(loop, [*captured, *carry, *x_leaves], chosen_schedule(checkpoint, length))
    return unflatten(carry_tree, results[:n]), unflatten(outs[-1][1], results[n:])


def while_loop(
    cond_fn: Callable[..., Any], body_fn: Callable[..., Any], init: Any, checkpoint: int | None = None
) -> Any:
    """`while cond_fn(carry): carry = body_fn(carry)`; any number of steps, differentiable in both modes.

    Parameters
    ----------
    cond_fn : from the carry to one boolean. body_fn : from the carry to a carry of the same shapes and dtypes.
    init : first carry, any containers.
    checkpoint : an even number of states, 2 or more. Reverse mode then keeps so many, placed while the loop runs, and a
        record of a stretch between two of them; every step runs twice (see `ops.online`).

    Without it reverse mode keeps a record that grows with the steps. Under `vmap` each lane runs its own number of
    steps (see its `mode`).

    Example
    -------
    >>> import wengert as wg
    >>> halve = lambda x: wg.while_loop(lambda v: v > 1, lambda v: v / 2, x)
    >>> halve(10.0), wg.grad(halve)(10.0)
    (np.float64(0.625), np.float64(0.0625))
    """
    leaves, tree = as_values(init)
    one = flatten((init,))[1]

    def make(types: list[ArrayType]) -> tuple[Graph, list[Any], Structure]:
        graph, captured, structure = staged(body_fn, one, types, "while body", True)
        check_carry(tree, structure, types, graph.outputs, "while_loop")
        return graph, captured, structure

    body, body_captured, _, carry = settle_carry(body_fn, make, leaves, tree, "while_loop")
    condition, cond_captured, _ = staged(cond_fn, one, [type_of_value(x) for x in carry], "while condition")
    given = (condition, body, len(cond_captured), len(body_captured), None)
    loop = While(*given) if checkpoint is None else Online(*given, checked_states(checkpoint))
    return unflatten(tree, checked(loop, *cond_captured, *body_captured, *carry))


def fori_loop(lower: Any, upper: Any, body_fn: Callable[..., Any], init: Any) -> Any:
    """`for i in range(lower, upper): carry = body_fn(i, carry)`.

    The bounds may be traced integers; if they are numbers the loop has a known length and is a `scan`.

    Example
    -------
    >>> import wengert as wg
    >>> wg.fori_loop(0, 4, lambda i, x: x * 2, 1.0)
    np.float64(16.0)
    """
    low, high = number(lower), number(upper)
    for bound in (lower, upper):
        if type_of_value(bound).dtype.kind not in "iu" or shape_of(bound) != ():
            raise DtypeError(f"fori_loop: a bound is {type_of_value(bound)}", "give integer scalars")
    if low is not None and high is not None:
        steps = np.arange(int(low), builtins.max(int(low), int(high)))
        return scan(lambda carry, i: (body_fn(i, carry), None), init, steps)[0]
    start = lower if is_traced(lower) else np.int64(lower)
    stop = upper if is_traced(upper) else np.int64(upper)
    return while_loop(lambda s: s[0] < stop, lambda s: (s[0] + 1, body_fn(s[0], s[1])), (start, init))[1]


def map(f: Callable[..., Any], xs: Any) -> Any:
    """`f` applied to the slices of `xs` along the leading axis, one after the other, and stacked.

    Example
    -------
    >>> import wengert as wg, numpy as np
    >>> wg.map(lambda x: x @ x, np.ones((2, 3)))
    array([3., 3.])
    """
    return scan(lambda _, x: (None, f(x)), None, xs)[1]


def associative_scan(fn: Callable[..., Any], elems: Any, reverse: bool = False, axis: int = 0) -> Any:
    """All prefixes of an associative operation, in O(log n) batched steps.

    Parameters
    ----------
    fn : `fn(a, b)` on containers like `elems`, applied to slices along `axis`; must be associative.
    elems : container of arrays with one length along `axis`.

    Source: G. Blelloch, Prefix sums and their applications, 1990 (odd positions by recursion).

    Example
    -------
    >>> import wengert as wg, numpy as np
    >>> wg.associative_scan(np.add, np.arange(5.0))
    array([ 0.,  1.,  3.,  6., 10.])
    """
    leaves, tree = as_values(elems)
    leaves = [x if is_traced(x) else np.asarray(x) for x in leaves]
    sizes = {shape_of(x)[axis] for x in leaves}
    if len(sizes) > 1:
        raise ShapeError(f"associative_scan: lengths {sorted(sizes)} along axis {axis}", "all leaves need one length")

    def cut(x: Any, start: int | None, stop: int | None, step: int | None = None) -> Any:
        place = axis % len(shape_of(x))
        return x[(slice(None),) * place + (slice(start, stop, step),)]

    def combine(a: list[Any], b: list[Any]) -> list[Any]:
        return flatten_as(tree, fn(unflatten(tree, a), unflatten(tree, b)), "associative_scan: result of fn")

    def interleave(a: Any, b: Any) -> Any:
        place = axis % len(shape_of(a))
        shape = shape_of(a)
        n, m = shape[place], shape_of(b)[place]
        head = cut(a, 0, m)
        widen = (*shape_of(head)[: place + 1], 1, *shape_of(head)[place + 1 :])
        pairs = concatenate([reshape(head, widen), reshape(b, widen)], place + 1)
        pairs = reshape(pairs, (*shape[:place], 2 * m, *shape[place + 1 :]))
        return pairs if n == m else concatenate([pairs, cut(a, m, None)], place)

    def prefixes(items: list[Any]) -> list[Any]:
        n = shape_of(items[0])[axis]
        if n < 2:
            return items
        pairs = combine([cut(x, 0, n - 1, 2) for x in items], [cut(x, 1, None, 2) for x in items])
        odd = prefixes(pairs)
        even = [cut(x, 2, None, 2) for x in items]
        if shape_of(even[0])[axis]:
            even = combine([cut(x, 0, shape_of(e)[axis]) for x, e in zip(odd, even, strict=True)], even)
        even = [concatenate([cut(x, 0, 1), e], axis % len(shape_of(x))) for x, e in zip(items, even, strict=True)]
        return [interleave(e, o) for e, o in zip(even, odd, strict=True)]

    if reverse:
        leaves = [cut(x, None, None, -1) for x in leaves]
    found = prefixes(leaves) if leaves else leaves
    if reverse:
        found = [cut(x, None, None, -1) for x in found]
    return unflatten(tree, found)
