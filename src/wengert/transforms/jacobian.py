"""Dense Jacobians and Hessians, by batching forward or reverse mode over a basis."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import IntegerInputError, NonScalarOutputError
from ..graph.interpreter import is_traced, type_of_value
from ..graph.trees import flatten, unflatten
from ..ops.families import shape_of
from ..ops.shape import move_axis, reshape
from .forward import jvp
from .grad import check_differentiable, grad, vjp
from .vmap import vmap


def jacobian(fn: Callable[..., Any], argnums: int = 0, mode: str = "auto") -> Callable[..., Any]:
    """A function that returns all partial derivatives of `fn` with respect to one argument.

    Parameters
    ----------
    fn : from arrays to arrays, in any containers. argnums : which positional argument.
    mode : "forward" (one column per input element), "reverse" (one row per output element), or "auto", the
        cheaper of the two by the number of elements.

    Returns
    -------
    A function whose result has the containers of the output, each leaf replaced by the containers of the
    argument, each leaf of shape (*output shape, *input shape).

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
        leaves, structure = flatten(args[argnums])
        check_differentiable(leaves, structure, "jacobian")

        def of(*values: Any) -> Any:
            new = list(args)
            new[argnums] = unflatten(structure, values)
            return fn(*new, **kwargs)

        inputs = [type_of_value(leaf)._replace(weak=False) for leaf in leaves]
        values = [
            leaf if is_traced(leaf) else np.asarray(leaf, t.dtype) for leaf, t in zip(leaves, inputs, strict=True)
        ]
        out, pullback = vjp(of, *values)
        outs, out_structure = flatten(out)
        outputs = [type_of_value(o) for o in outs]
        wide = sum(t.size for t in inputs) < sum(t.size for t in outputs)
        if mode == "forward" or (mode == "auto" and wide):
            basis = _basis(inputs)
            columns = vmap(lambda *ts: jvp(of, tuple(values), ts)[1])(*basis)
            columns = [move_axis(c, 0, len(shape_of(c)) - 1) for c in flatten(columns)[0]]
            table = [_cut(c, o.shape, inputs) for c, o in zip(columns, outputs, strict=True)]
        else:
            rows = vmap(lambda *cts: pullback(unflatten(out_structure, cts)))(*_basis(outputs))
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
        return unflatten(out_structure, [unflatten(structure, row) for row in table])

    return wrapped


def _conjugate(x: Any) -> Any:
    return x.conj() if type_of_value(x).dtype.kind == "c" else x


def _basis(types: list[Any]) -> list[np.ndarray]:
    """Unit vectors of the direct sum of some array spaces, stacked along a leading axis."""
    total = sum(t.size for t in types)
    starts = np.cumsum([0, *(t.size for t in types)])
    eye = np.eye(total)
    return [
        eye[:, starts[k] : starts[k + 1]].reshape(total, *t.shape).astype(t.dtype if t.dtype.kind in "fc" else float)
        for k, t in enumerate(types)
    ]


def _cut(columns: Any, shape: tuple[int, ...], inputs: list[Any]) -> list[Any]:
    """(*out, all inputs) as one (*out, *in) per input."""
    starts = np.cumsum([0, *(t.size for t in inputs)])
    return [reshape(columns[..., starts[k] : starts[k + 1]], (*shape, *t.shape)) for k, t in enumerate(inputs)]


def hessian(fn: Callable[..., Any], argnums: int = 0) -> Callable[..., Any]:
    """All second derivatives of a real scalar function: forward mode over reverse mode.

    The result has the argument's containers twice: each leaf holds, for every leaf, an array of shape
    (*shape, *shape).

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(np.array([1.0, 3.0]))
    array([[6., 2.],
           [2., 0.]])
    """
    return jacobian(grad(fn, argnums), argnums, mode="forward")


def hvp(fn: Callable[..., Any], primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> Any:
    """Hessian times vector of a real scalar function of its first argument, without the Hessian.

    Forward over reverse: a small multiple of the cost of the gradient.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    if not primals:
        raise IntegerInputError("hvp needs at least one argument", "write wg.hvp(f, (x,), (v,))")
    return jvp(grad(fn), primals, tangents)[1]
