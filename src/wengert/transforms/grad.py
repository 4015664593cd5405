"""The functional face of reverse mode: `grad`, `value_and_grad`, `vjp`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import BackwardError, IntegerInputError, NonScalarOutputError
from ..graph.interpreter import is_traced, symbolic_active, type_of_value
from ..graph.tensor import Tensor
from ..graph.trees import flatten, flatten_as, paths, unflatten
from ..graph.types import is_inexact
from ..ops.arithmetic import conj
from ..ops.families import vocabulary
from ..ops.shape import zeros_like
from .forward import check_tangent
from .reverse import Record
from .series import settle
from .sizes import bytes_in
from .trace import argument_names, leaf_names, parameter_names


def lowered(record: Record, value: Any) -> Any:
    """A result of one level of recording as a value of the level below."""
    if is_traced(value) and value.interpreter is record:
        return settle(value.value)
    return settle(record.lower(value))


def unwrap_tree(record: Record, tree: Any) -> Any:
    leaves, structure = flatten(tree)
    return unflatten(structure, [lowered(record, leaf) for leaf in leaves])


def descent(ct: Any) -> Any:
    """A cotangent as a gradient: conjugated, so that `x - lr * grad` descends; a 0-dimensional array as a scalar."""
    ct = settle(conj(ct))
    return ct[()] if isinstance(ct, np.ndarray) and ct.ndim == 0 else ct


def unshared(gradients: list[Any]) -> list[Any]:
    """No two leaves share one array: `a + b` hands the same cotangent to both, and the user may write into it."""
    if len(gradients) > 1:
        seen: set[int] = set()
        for k, gradient in enumerate(gradients):
            if gradient.__class__ is np.ndarray:
                if id(gradient) in seen:
                    gradients[k] = gradient.copy()
                seen.add(id(gradient))
    return gradients


def value_and_grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    memory: int | float | str | None = None,
) -> Callable[..., Any]:
    """A function that returns the value and the gradient of a real scalar function, by reverse mode.

    Parameters
    ----------
    fn : takes arrays in any containers and returns one real number (and anything else if `has_aux`).
    argnums : the argument, or a sequence of arguments, to differentiate with respect to.
    has_aux : `fn` returns (value, aux); aux is handed through.
    memory : the most bytes that a call may allocate at any moment (8e6, "8MB", "1.5 GiB"), results included and
        arguments not. `fn` is then traced once for the types of its arguments (arrays, and everything in `argnums`;
        other arguments are constants), and what to keep and what to compute again is planned for the whole graph.
        Leaves that took no part have zeros.

    Returns
    -------
    A function returning (value, gradient), or ((value, aux), gradient). The gradient has the containers of the
    argument (a tuple of them if `argnums` is a sequence), the shapes and dtypes of its leaves. For a complex
    leaf it is dL/dRe + i dL/dIm, so that `x - lr * grad` descends. A leaf that took no part, that is, that no
    operation used, has None in a run on numbers and zeros in a static graph. Of a function made by `jit` the
    gradient is compiled as well.

    Raises
    ------
    NonScalarOutputError : the output is not one real number.
    IntegerInputError : a leaf is integer or boolean.
    MemoryBudgetError : the budget is too small (the least possible is named), or `fn` has no structure to plan for.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.value_and_grad(lambda x: np.sum(x**2))(np.array([1.0, 2.0]))
    (np.float64(5.0), array([2., 4.]))
    """
    if memory is not None:
        return vocabulary.gradient_within(fn, argnums, has_aux, bytes_in(memory))  # type: ignore[no-any-return]
    if (compiled := getattr(fn, "compiled_with", None)) is not None and memory is None:
        key = f"value_and_grad {argnums} {has_aux}"
        return compiled(key, lambda f: value_and_grad(f, argnums, has_aux))  # type: ignore[no-any-return]
    several = not isinstance(argnums, int)
    numbers: tuple[int, ...] = tuple(argnums) if several else (argnums,)  # type: ignore[arg-type]
    roots = parameter_names(fn)
    known_labels: dict[Any, list[str]] = {}

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        for k in numbers:
            if not -len(args) <= k < len(args):
                raise BackwardError(
                    f"grad with respect to argument {k}, but the function was called with {len(args)} arguments",
                    "give argnums of arguments that are passed by position",
                )
        chosen = tuple(args[k] for k in numbers)
        leaves, structure = flatten(chosen)
        check_differentiable(leaves, structure, "grad")
        key = (len(args), structure)
        labels = known_labels.get(key)
        if labels is None:
            labels = known_labels[key] = [n for k in numbers for n in leaf_names(roots, k % len(args), args[k])]
        with Record() as record:
            tensors = [record.leaf(_plain(leaf), label) for leaf, label in zip(leaves, labels, strict=True)]
            vars = [tensor.note for tensor in tensors]
            new_args = list(args)
            for k, value in zip(numbers, unflatten(structure, tensors), strict=True):
                new_args[k] = value
            result = fn(*new_args, **kwargs)
        aux = None
        if has_aux:
            if not isinstance(result, (tuple, list)) or len(result) != 2:
                raise NonScalarOutputError(
                    "has_aux=True, but the function did not return a pair", "return (value, aux) from the function"
                )
            result, aux = result
        value = check_scalar(record, result)
        seeds = [(result.note, one_like(value))] if _belongs(record, result) else []
        found = record.backward(seeds)
        eager = not symbolic_active()
        gradients = [
            descent(found[var])
            if var in found
            else (None if eager and not hasattr(var, "used") else descent(zeros_like(leaf)))
            for var, leaf in zip(vars, leaves, strict=True)
        ]
        gradient = unflatten(structure, unshared(gradients))
        gradient = gradient if several else gradient[0]
        return ((value, unwrap_tree(record, aux)), gradient) if has_aux else (value, gradient)

    return wrapped


def grad(
    fn: Callable[..., Any],
    argnums: int | Sequence[int] = 0,
    has_aux: bool = False,
    memory: int | float | str | None = None,
) -> Callable[..., Any]:
    """A function that returns the gradient of a real scalar function; see `value_and_grad`.

    With `has_aux` it returns (gradient, aux). With `memory` it stays within so many bytes, or says what is the least.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.grad(np.sin)(0.0)
    np.float64(1.0)
    >>> wg.grad(wg.grad(lambda x: x**3))(2.0)
    np.float64(12.0)
    """
    if (compiled := getattr(fn, "compiled_with", None)) is not None and memory is None:
        return compiled(f"grad {argnums} {has_aux}", lambda f: grad(f, argnums, has_aux))  # type: ignore[no-any-return]
    both = value_and_grad(fn, argnums, has_aux, memory)

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(fn: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Value of `fn` and its pullback, the function from cotangents of the output to those of the arguments.

    Parameters
    ----------
    fn : a function of arrays in any containers.
    primals : its arguments. Integer leaves are allowed and get zero cotangents.
    has_aux : `fn` returns (output, aux).

    Returns
    -------
    (out, pullback), or (out, pullback, aux). `pullback(ct)` takes the containers of the output and returns a
    tuple with one entry per argument, zeros where nothing arrives. It is the adjoint for the inner product
    Re(sum(conj(a) * b)), and may be called any number of times.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> out, pullback = wg.vjp(lambda a, x: a @ x, np.eye(2), np.array([1.0, 2.0]))
    >>> pullback(np.array([1.0, 0.0]))[1]
    array([1., 0.])
    """
    leaves, structure = flatten(primals)
    names = argument_names(fn, primals)
    with Record() as record:
        tensors = [
            record.leaf(_plain(leaf), name) if is_inexact(type_of_value(leaf).dtype) else leaf
            for leaf, name in zip(leaves, names, strict=True)
        ]
        vars = [tensor.note if _belongs(record, tensor) else None for tensor in tensors]
        result = fn(*unflatten(structure, tensors))
    aux = None
    if has_aux:
        result, aux = result
    outs, out_structure = flatten(result)
    values = [lowered(record, out) for out in outs]
    notes = [out.note if _belongs(record, out) else None for out in outs]

    def pullback(cotangent: Any) -> Any:
        cts = flatten_as(out_structure, cotangent, "pullback: cotangents against outputs", "cotangent")
        seeds = []
        for note, value, ct, path in zip(notes, values, cts, paths(out_structure), strict=True):
            ct = check_tangent(value, ct, path, "cotangent", "output")
            if note is not None and ct is not None:
                seeds.append((note, conj(ct)))
        found = record.backward(seeds)
        return unflatten(
            structure,
            [descent(found[v]) if v in found else descent(zeros_like(p)) for v, p in zip(vars, leaves, strict=True)],
        )

    out = unflatten(out_structure, values)
    return (out, pullback, unwrap_tree(record, aux)) if has_aux else (out, pullback)


def _belongs(record: Record, value: Any) -> bool:
    return is_traced(value) and value.interpreter is record and value.note is not None


def _plain(leaf: Any) -> Any:
    """Lists are containers and never arrive here; anything array-like that is not an array becomes one."""
    return leaf if is_traced(leaf) or isinstance(leaf, (np.ndarray, np.generic, float, complex)) else np.asarray(leaf)


def check_differentiable(leaves: Sequence[Any], structure: Any, what: str) -> None:
    """Refuse integer leaves, by name."""
    for k, leaf in enumerate(leaves):
        if leaf.__class__ is float or (leaf.__class__ is np.ndarray and leaf.dtype.kind in "fc"):
            continue
        t = type_of_value(leaf)
        if not is_inexact(t.dtype):
            raise IntegerInputError(
                f"{what} with respect to {t} (argument{paths(structure)[k]}): integers and booleans have no derivative",
                "pass a float: 3.0, or x.astype(float); choose other arguments with argnums=",
            )


def check_scalar(record: Record, result: Any) -> Any:
    """The value of a result that must be one real number."""
    if result.__class__ is Tensor or isinstance(result, (np.ndarray, np.generic, float, complex, int)):
        value = lowered(record, result)
    else:
        structure = flatten(result)[1]
        raise NonScalarOutputError(
            f"grad needs a function that returns one number, and this one returned {structure}",
            "return the loss alone, or (loss, rest) with has_aux=True",
        )
    if value.__class__ is np.float64:
        return value
    t = type_of_value(value)
    if t.shape != ():
        raise NonScalarOutputError(
            f"grad needs a function that returns one number, and this one returned {t}",
            "reduce it with np.sum or np.mean, or use wg.vjp or wg.jacobian",
        )
    if t.dtype.kind == "c":
        raise NonScalarOutputError(
            f"grad needs a real output, and this one is {t}",
            "take .real, .imag or abs of it, or use wg.vjp with a complex cotangent",
        )
    return value


def one_like(value: Any) -> Any:
    """1 of the dtype of a scalar (float64 for integers)."""
    dtype = type_of_value(value).dtype if not hasattr(value, "dtype") else value.dtype
    return dtype.type(1) if is_inexact(dtype) else np.float64(1)
