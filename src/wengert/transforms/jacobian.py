"""Dense Jacobians and Hessians, by batching forward or reverse mode over a basis."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import IntegerInputError, NonScalarOutputError, TreeMismatchError
from ..graph.interpreter import is_traced, type_of_value
from ..graph.trees import flatten, unflatten
from ..ops.families import shape_of
from ..ops.shape import move_axis, reshape
from .forward import jvp
from .grad import check_differentiable, one_like, vjp
from .vmap import vmap


def jacobian(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, mode: str = "auto", has_aux: bool = False
) -> Callable[..., Any]:
    """A function that returns all partial derivatives of `fn` with respect to one argument, or several.

    Parameters
    ----------
    fn : from arrays to arrays, in any containers.
    argnums : which positional argument, or a sequence of such.
    mode : "forward" pushes one tangent per input element, K times the cost of `fn` for each of n columns; "reverse"
        pulls one cotangent per output element, K times the cost for each of m rows; "auto" takes the cheaper one,
        forward if there are fewer inputs than outputs. All columns or rows go at once, batched.
    has_aux : `fn` returns (output, anything else), which is handed through.

    Returns
    -------
    A function whose result has the containers of the output, each leaf replaced by the containers of the
    argument (a tuple of those for a sequence `argnums`), each leaf of shape (*output shape, *input shape); with
    `has_aux` (that, aux).

    Raises
    ------
    IntegerInputError : a leaf of the argument is integer or boolean.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    if mode not in ("auto", "forward", "reverse"):
        raise NonScalarOutputError(f"jacobian: mode {mode!r}", 'choose "auto", "forward" or "reverse"')

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        of, leaves, structure = chosen(fn, argnums, args, kwargs, "jacobian")
        inputs = [type_of_value(leaf)._replace(weak=False) for leaf in leaves]
        values = [
            leaf if is_traced(leaf) else np.asarray(leaf, t.dtype) for leaf, t in zip(leaves, inputs, strict=True)
        ]
        aux: Any = None
        forward = mode == "forward"
        if not forward:
            out, pullback, *rest = vjp(of, *values, has_aux=has_aux)
            aux = rest[0] if rest else None
            outs, out_structure = flatten(out)
            outputs = [type_of_value(o) for o in outs]
            forward = mode == "auto" and sum(t.size for t in inputs) < sum(t.size for t in outputs)
        if forward:
            columns, *rest = vmap(
                lambda *ts: jvp(of, tuple(values), ts, has_aux=has_aux)[1:], out_axes=(0, None) if has_aux else (0,)
            )(*basis(inputs))
            aux = rest[0] if rest else None
            leaves_out, out_structure = flatten(columns)
            table = [cut(move_axis(c, 0, len(shape_of(c)) - 1), shape_of(c)[1:], inputs) for c in leaves_out]
        else:
            rows = vmap(lambda *cts: pullback(unflatten(out_structure, cts)))(*basis(outputs))
            # `pullback` is the adjoint; a row of the Jacobian is its conjugate.
            parts = [_conjugate(r) for r in flatten(rows)[0]]
            starts = np.cumsum([0, *(o.size for o in outputs)])
            table = [
                [
                    reshape(p[starts[k] : starts[k + 1]], (*o.shape, *t.shape))
                    for p, t in zip(parts, inputs, strict=True)
                ]
                for k, o in enumerate(outputs)
            ]
        result = unflatten(out_structure, [unflatten(structure, row) for row in table])
        return (result, aux) if has_aux else result

    return wrapped


def chosen(
    fn: Callable[..., Any], argnums: int | Sequence[int], args: Sequence[Any], kwargs: dict[str, Any], what: str
) -> tuple[Callable[..., Any], list[Any], Any]:
    """`fn` as a function of the leaves of the chosen arguments, those leaves, and their containers."""
    several = not isinstance(argnums, int)
    numbers: tuple[int, ...] = tuple(argnums) if several else (argnums,)  # type: ignore[arg-type]
    for k in numbers:
        if not -len(args) <= k < len(args):
            raise IntegerInputError(
                f"{what} with respect to argument {k}, but the function was called with {len(args)} arguments",
                "give argnums of arguments that are passed by position",
            )
    picked = tuple(args[k] for k in numbers)
    leaves, structure = flatten(picked if several else picked[0])
    check_differentiable(leaves, structure, what)

    def of(*values: Any) -> Any:
        new = list(args)
        parts = unflatten(structure, values)
        for k, part in zip(numbers, parts if several else (parts,), strict=True):
            new[k] = part
        return fn(*new, **kwargs)

    return of, leaves, structure


def _conjugate(x: Any) -> Any:
    return x.conj() if type_of_value(x).dtype.kind == "c" else x


def basis(types: list[Any]) -> list[np.ndarray]:
    """Unit vectors of the direct sum of some array spaces, stacked along a leading axis."""
    total = sum(t.size for t in types)
    starts = np.cumsum([0, *(t.size for t in types)])
    eye = np.eye(total)
    return [
        eye[:, starts[k] : starts[k + 1]].reshape(total, *t.shape).astype(t.dtype if t.dtype.kind in "fc" else float)
        for k, t in enumerate(types)
    ]


def cut(columns: Any, shape: tuple[int, ...], inputs: list[Any]) -> list[Any]:
    """(*out, all inputs) as one (*out, *in) per input."""
    starts = np.cumsum([0, *(t.size for t in inputs)])
    return [reshape(columns[..., starts[k] : starts[k + 1]], (*shape, *t.shape)) for k, t in enumerate(inputs)]


def whole_gradient(fn: Callable[..., Any], argnums: int | Sequence[int], what: str) -> Callable[..., Any]:
    """The gradient with zeros, and not None, for leaves that took no part, so that it can be differentiated again."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        of, leaves, structure = chosen(fn, argnums, args, kwargs, what)
        out, pullback = vjp(of, *leaves)
        if flatten(out)[1] != flatten(0.0)[1] or shape_of(out) != () or type_of_value(out).dtype.kind == "c":
            found = type_of_value(out) if flatten(out)[1] == flatten(0.0)[1] else flatten(out)[1]
            raise NonScalarOutputError(
                f"{what} needs a function that returns one real number, and this one returned {found}",
                "reduce it with np.sum or np.mean; for arrays use wg.jacobian(wg.jacobian(f))",
            )
        return unflatten(structure, pullback(one_like(out)))

    return wrapped


def hessian(fn: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """All second derivatives of a real scalar function: forward mode over reverse mode.

    The result has the argument's containers twice: each leaf holds, for every leaf, an array of shape
    (*shape, *shape); zeros for a leaf that took no part.

    Raises
    ------
    IntegerInputError : a leaf of the argument is integer or boolean.
    NonScalarOutputError : `fn` does not return one real number.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(whole_gradient(fn, argnums, "hessian"), argnums, mode="forward")


def hvp(fn: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Hessian times vector of a real scalar function of its first argument, without the Hessian.

    Parameters
    ----------
    fn : returns one real number.
    primals : tuple of its arguments.
    tangents : tuple of directions with the same containers, shapes and dtypes; one for each argument, or just one, for
        the first.

    Returns
    -------
    The derivative of the gradient in the first argument along the tangents, in the containers of that argument. Forward
    mode over reverse mode: at most four times the cost of the gradient.

    Raises
    ------
    TreeMismatchError, ShapeError, DtypeError : a tangent does not fit its primal (the leaf is named).
    NonScalarOutputError : `fn` does not return one real number.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    if not isinstance(primals, (tuple, list)) or not isinstance(tangents, (tuple, list)) or not primals:
        raise TreeMismatchError("hvp takes tuples of primals and tangents", "write wg.hvp(f, (x,), (v,))")
    gradient = whole_gradient(fn, 0, "hvp")
    if len(tangents) == 1 < len(primals):
        first, *rest = primals
        return jvp(lambda x: gradient(x, *rest), (first,), tangents)[1]
    return jvp(gradient, primals, tangents)[1]
