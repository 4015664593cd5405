"""`sparsity`, `sparse_jacobian`, `sparse_hessian`: what users call. SciPy is imported with the first pattern."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import NonScalarOutputError, UnsupportedError
from ..graph.graph import Graph
from ..graph.interpreter import is_traced
from ..graph.trees import flatten, sealed, unflatten
from ..graph.types import ArrayType, type_of
from ..settings import settings
from ..transforms.grad import check_differentiable, grad
from ..transforms.trace import TypeLeaf, argument_names

if TYPE_CHECKING:
    from .plan import SparsePlan

KEPT = 8
"""Plans kept for one combination of types, where they belong to the values of integer arguments."""


class Call(NamedTuple):
    """The arguments of one call, laid flat."""

    leaves: list[Any]
    structure: Any
    types: list[ArrayType]
    wanted: list[bool]
    names: list[str]

    @property
    def key(self) -> Any:
        return self.structure, tuple(self.types), settings.strong_zero, settings.degenerate

    @property
    def indices(self) -> list[int]:
        """The arguments that may be indices or masks: integers and booleans."""
        return [k for k, t in enumerate(self.types) if t.dtype.kind in "biu" and self.leaves[k] is not None]


class SparseDerivative:
    """A function that returns a sparse derivative; made by `sparse_jacobian` and `sparse_hessian`.

    Calling it gives a `scipy.sparse.csr_array`. `plan(*args)` is the `SparsePlan` for arguments like these: pattern,
    colours, block forms; print it. `pattern(*args)` is its pattern. Plans are made once for each combination of types.
    """

    def __init__(self, fn: Callable[..., Any], argnums: int | Sequence[int], mode: str, compile: bool) -> None:
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.argnums = argnums
        self.mode = mode
        self.compile = compile
        self.what = "sparse_hessian" if mode == "symmetric" else "sparse_jacobian"
        self._quick: dict[Any, SparsePlan] = {}
        self._plans: dict[Any, list[tuple[SparsePlan, list[int], list[Any]]]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        leaves, structure = flatten((args, kwargs))
        quick: Any = None
        if all(leaf.__class__ is np.ndarray and leaf.dtype.isnative for leaf in leaves):
            quick = (structure, settings.strong_zero, settings.degenerate, *((x.shape, x.dtype) for x in leaves))
            if quick in self._quick:  # checked before
                return self._quick[quick].matrix(leaves)
        call = self._call(args, kwargs)
        plan, fixed = self._find(call)
        if quick is not None and not fixed:
            self._quick[quick] = plan
        return plan.matrix([leaf for k, leaf in enumerate(call.leaves) if k not in fixed])

    def plan(self, *args: Any, **kwargs: Any) -> SparsePlan:
        """How the derivative is computed for arguments like these (`wg.ArrayType`s will do)."""
        return self._find(self._call(args, kwargs))[0]

    def pattern(self, *args: Any, **kwargs: Any) -> Any:
        """The structure of every result, as a boolean `scipy.sparse.csr_array`."""
        return self.plan(*args, **kwargs).pattern

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return flat_call(self.fn, self.argnums, args, kwargs, self.what)

    def _find(self, call: Call) -> tuple[SparsePlan, list[int]]:
        """The plan for a call, and the positions of the arguments whose values it belongs to."""
        plans = self._plans.setdefault(call.key, [])
        for position, (plan, fixed, values) in enumerate(plans):
            if all(np.array_equal(call.leaves[k], v) for k, v in zip(fixed, values, strict=True)):
                if position:
                    plans.insert(0, plans.pop(position))
                return plan, fixed
        plan, fixed = self._make(call)
        plans.insert(0, (plan, fixed, [np.array(call.leaves[k]) for k in fixed]))
        del plans[KEPT:]
        return plan, fixed

    def _make(self, call: Call) -> tuple[SparsePlan, list[int]]:
        from .plan import SparsePlan  # with scipy.sparse, which takes longer to import than wengert

        plan = SparsePlan(*flat_graph(self.fn, call, [], self.mode), self.mode, self.compile)
        if plan.asked and call.indices:
            make, wanted = flat_graph(self.fn, call, call.indices, self.mode)
            return SparsePlan(make, wanted, self.mode, self.compile), call.indices
        return plan, []

    def __repr__(self) -> str:
        return f"{self.what}({self.fn!r})"


def flat_call(
    fn: Callable[..., Any], argnums: int | Sequence[int], args: tuple[Any, ...], kwargs: dict[str, Any], what: str
) -> Call:
    """The arguments laid flat, checked; which leaves the derivative is taken in."""
    chosen = [argnums] if isinstance(argnums, int) else list(argnums)
    if any(not -len(args) <= k < len(args) for k in chosen):
        raise UnsupportedError(f"{what}: argnums {argnums} for {len(args)} arguments", "give existing positions")
    chosen = [k % len(args) for k in chosen]
    args, kwargs = sealed((args, kwargs), ArrayType, TypeLeaf)
    leaves, structure = flatten((args, kwargs))
    if any(is_traced(leaf) for leaf in leaves):
        raise UnsupportedError(
            f"{what} inside another transform: a SciPy matrix cannot be traced",
            "use wg.jacobian, wg.hessian or wg.jvp there",
        )
    wanted: list[bool] = []
    for k, arg in enumerate(args):
        own, own_structure = flatten(arg)
        if k in chosen:
            check_differentiable(
                [np.empty(0, x.type.dtype) if isinstance(x, TypeLeaf) else x for x in own], own_structure, what
            )
        wanted += [k in chosen] * len(own)
    wanted += [False] * (len(leaves) - len(wanted))
    types = []
    for k, leaf in enumerate(leaves):
        if isinstance(leaf, TypeLeaf):
            types.append(leaf.type)
            leaves[k] = None
        else:
            t = type_of(leaf)
            t = t._replace(dtype=t.dtype.newbyteorder("="))
            types.append(t._replace(weak=False) if wanted[k] else t)
            leaves[k] = np.asarray(leaf, t.dtype) if wanted[k] or not t.weak else leaf
    return Call(leaves, structure, types, wanted, argument_names(fn, args, kwargs))


def flat_graph(
    fn: Callable[..., Any], call: Call, fixed: Sequence[int], mode: str
) -> tuple[Callable[[], Graph], list[bool]]:
    """What traces the function (its gradient, if `mode` is "symmetric") on flat arguments; which of them are wanted.

    Arguments in `fixed` are constants in it.
    """
    from .plan import traced  # with scipy.sparse, which takes longer to import than wengert

    free = [k for k in range(len(call.leaves)) if k not in fixed]
    wanted = [call.wanted[k] for k in free]

    def run(*values: Any) -> list[Any]:
        whole = list(call.leaves)
        for k, value in zip(free, values, strict=True):
            whole[k] = value

        def of(moved: list[Any]) -> Any:
            given = iter(moved)
            args, kwargs = unflatten(
                call.structure, [next(given) if w else v for v, w in zip(whole, call.wanted, strict=True)]
            )
            return fn(*args, **kwargs)

        own = [v for v, w in zip(whole, call.wanted, strict=True) if w]
        return grad(of)(own) if mode == "symmetric" else flatten(of(own))[0]

    types, names = [call.types[k] for k in free], [call.names[k] for k in free]
    return lambda: traced(run, types, names, getattr(fn, "__name__", "the function")), wanted


def sparsity(fn: Callable[..., Any], *args: Any, argnums: int | Sequence[int] = 0, **kwargs: Any) -> Any:
    """Which elements of the result depend on which elements of an argument, from the graph alone.

    An entry is a structural zero exactly when no path of operations leads from input j to output i. Paths go through
    indexing, reductions, loops, branches (either one) and linear algebra, but not through what has no derivative:
    comparisons, integers, rounding, `stop_gradient`. Elementwise and rearranging operations are sharp, as are indices
    and the zeros of constant factors (`mask * x`, `A @ x`) that do not depend on an argument; integer and boolean
    arguments count as known. Indices that are computed from other arguments may point anywhere along their axis. A
    decomposition couples all elements of a matrix, and a `while_loop` any number of its steps.

    Parameters
    ----------
    fn : a function of arrays in any containers.
    args, kwargs : its arguments, or `wg.ArrayType`s in their place.
    argnums : which arguments to differentiate in, all their leaves one after the other.

    Returns
    -------
    A boolean `scipy.sparse.csr_array` of shape (elements of the output, elements of the argument).

    Raises
    ------
    SparsityError : the structure changes with the values (`x[x > 0]`, `if x > 0`), or the pattern is too large.
    IntegerInputError : a leaf of the argument is integer or boolean.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> wg.sparsity(lambda x: x[1:] * x[:-1], np.ones(4)).toarray().astype(int)
    array([[1, 1, 0, 0],
           [0, 1, 1, 0],
           [0, 0, 1, 1]])
    """
    from ..transforms.sparsity import graph_pattern  # with scipy.sparse, which takes longer to import than wengert

    call = flat_call(fn, argnums, args, kwargs, "sparsity")
    make, wanted = flat_graph(fn, call, [], "auto")
    pattern, asked = graph_pattern(make(), wanted)
    if asked and call.indices:
        make, wanted = flat_graph(fn, call, call.indices, "auto")
        pattern, _ = graph_pattern(make(), wanted)
    return pattern


def sparse_jacobian(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto", compile: bool = True
) -> SparseDerivative:
    """A function that returns the Jacobian of `fn` as a SciPy sparse matrix.

    The pattern follows from the graph (see `sparsity`); columns or rows that do not meet are coloured alike and
    computed together, so that a Jacobian costs a few derivatives however large it is.

    Parameters
    ----------
    fn : a function of arrays in any containers; elements of leaves count one after the other.
    argnums : which arguments to differentiate in.
    mode : "forward" (colours of columns), "reverse" (colours of rows), or "auto", whichever costs less.
    compile : whether to run as machine code, after about as long for compiling as for `wg.jit(fn)` once per colour.

    Returns
    -------
    A function of the same arguments that returns a `scipy.sparse.csr_array` (elements of the output, elements of the
    argument) with sorted indices, ready for `scipy.sparse.linalg`. Entries that happen to be zero are stored. Its
    method `plan` shows pattern, colours and block forms. The plan is used again for arguments of the same types;
    where integer arguments are indices, it belongs to their values too, and is made anew for others.

    Raises
    ------
    SparsityError : the structure changes with the values (`x[x > 0]`, `if x > 0`), or the pattern is too large.
    IntegerInputError : a leaf of the argument is integer or boolean.
    UnsupportedError : called inside another transform.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> jacobian = wg.sparse_jacobian(lambda x: x[1:] * x[:-1])
    >>> jacobian(np.array([1.0, 2.0, 3.0])).toarray()
    array([[2., 1., 0.],
           [0., 3., 2.]])
    >>> print(jacobian.plan(np.ones(1000)))
    999 x 1,000, 1,998 entries (0.002 of all)
    2 colours (columns, forward mode)
    block-diagonal: 1 block, the largest 999 x 1,000
    block-triangular: 1 block, the largest 999 x 1,000
    """
    if mode not in ("auto", "forward", "reverse"):
        raise NonScalarOutputError(f"sparse_jacobian: mode {mode!r}", 'choose "auto", "forward" or "reverse"')
    return SparseDerivative(fn, argnums, mode, compile)


def sparse_hessian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0, compile: bool = True) -> SparseDerivative:
    """A function that returns the second derivatives of a real scalar function as a SciPy sparse matrix.

    As `sparse_jacobian` of the gradient, with a star colouring, which makes use of the symmetry: an entry may be read
    from its row or from its column. The result is symmetric to the last bit.

    Parameters
    ----------
    fn : from arrays in any containers to one real number.
    argnums : which arguments to differentiate in, all their leaves one after the other.
    compile : whether to run as machine code.

    Raises
    ------
    NonScalarOutputError : the result is not one real number. SparsityError, IntegerInputError, UnsupportedError : as
        for `sparse_jacobian`.

    Example
    -------
    >>> import numpy as np, wengert as wg
    >>> hessian = wg.sparse_hessian(lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2))
    >>> hessian(np.array([1.0, 2.0, 3.0])).toarray()
    array([[ 4., -4.,  0.],
           [-4., 38., -8.],
           [ 0., -8.,  2.]])
    >>> hessian.plan(np.ones(1000)).count
    3
    """
    return SparseDerivative(fn, argnums, "symmetric", compile)
