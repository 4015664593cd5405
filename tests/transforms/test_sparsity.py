"""Patterns from graphs cover the true derivatives, and are sharp where operations say what they read."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
import wengert.ops
from wengert.errors import SparsityError
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry
from wengert.graph.stage import stage
from wengert.graph.types import is_inexact, type_of
from wengert.ops.families import Elementwise
from wengert.transforms.sparsity import graph_pattern

for module in pkgutil.walk_packages(wengert.ops.__path__, "wengert.ops."):
    importlib.import_module(module.name)


def slopes(primitive: Any, operands: Any, moving: list[int]) -> Any:
    """Which elements of all results change with which elements of the operands that move, by forward mode."""

    def function(*values: Any) -> Any:
        given = dict(zip(moving, values, strict=True))
        return bind(primitive, *[given.get(k, x) for k, x in enumerate(operands)])

    primals = tuple(numpy.asarray(operands[k]) for k in moving)
    columns = []
    for k, x in enumerate(primals):
        for place in numpy.ndindex(x.shape):
            found: Any = False
            for unit in (1, 1j) if x.dtype.kind == "c" else (1,):
                tangents = [numpy.zeros_like(p) for p in primals]
                tangents[k][place] = unit
                tangent = wg.jvp(function, primals, tuple(tangents))[1]
                parts = tangent if primitive.multiple else (tangent,)
                found = found | (numpy.concatenate([numpy.ravel(numpy.asarray(p, complex)) for p in parts]) != 0)
            columns.append(found)
    return numpy.array(columns).T


def pattern_of(primitive: Any, operands: Any, moving: list[int], known: bool) -> Any:
    """The pattern of an operation, its other operands known or not."""
    inputs = moving if known else list(range(len(operands)))

    def function(*values: Any) -> list[Any]:
        given = dict(zip(inputs, values, strict=True))
        out = bind(primitive, *[given.get(k, x) for k, x in enumerate(operands)])
        return list(out) if primitive.multiple else [out]

    graph, _ = stage(function, [type_of(numpy.asarray(operands[k])) for k in inputs])
    return graph_pattern(graph, [k in moving for k in inputs])[0].toarray()


@pytest.mark.parametrize("name", list(registry))
def test_patterns_cover_derivatives(name: str) -> None:
    for primitive, operands in registry[name].samples(numpy.random.default_rng(0)):
        moving = [k for k, x in enumerate(operands) if is_inexact(numpy.asarray(x).dtype)]
        if not moving or not primitive.differentiable or primitive.not_differentiable is not None:
            continue
        true = slopes(primitive, operands, moving)
        if true.size == 0:
            continue
        known, unknown = (pattern_of(primitive, operands, moving, flag) for flag in (True, False))
        assert known.shape == unknown.shape == true.shape
        assert not (true & ~known).any()
        assert not (known & ~unknown).any()
        unary = isinstance(primitive, Elementwise) and len(operands) == 1
        if "rearranging" in primitive.facts or (unary and true.any()):  # `imag` of real numbers is 0
            assert (true == known).all()


def dense(fn: Any, *args: Any, **options: Any) -> Any:
    return wg.sparsity(fn, *args, **options).toarray().astype(int)


X = numpy.arange(1.0, 6.0)
MASK = numpy.array([1.0, 0.0, 1.0, 0.0, 2.0])
LOWER = numpy.tri(5, dtype=int)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x: np.sin(x) * x, numpy.eye(5)),
        (lambda x: x[::-1], numpy.eye(5)[::-1]),
        (lambda x: x * x[0], numpy.eye(5) + numpy.outer([0, 1, 1, 1, 1], [1, 0, 0, 0, 0])),
        (lambda x: MASK * x, numpy.diag(MASK != 0)),
        (lambda x: np.where(MASK > 0, x, 1.0), numpy.diag(MASK != 0)),
        (lambda x: np.where(x > 0, x, np.roll(x, 1)), numpy.eye(5) + numpy.roll(numpy.eye(5), 1, 0)),
        (lambda x: numpy.diag(MASK) @ x, numpy.diag(MASK != 0)),
        (lambda x: np.outer(x, x)[0], numpy.eye(5) + numpy.outer([0, 1, 1, 1, 1], [1, 0, 0, 0, 0])),
        (lambda x: np.floor(x) + (x > 2), numpy.zeros((5, 5))),
        (lambda x: wg.stop_gradient(x) * 2, numpy.zeros((5, 5))),
        (lambda x: np.cumsum(x), LOWER),
        (lambda x: np.cumsum(x[::-1]), LOWER[:, ::-1]),
        (lambda x: np.sum(x), numpy.ones((1, 5))),
        (lambda x: np.sort(x), numpy.ones((5, 5))),
        (lambda x: x[np.argsort(x)], numpy.ones((5, 5))),
        (lambda x: x[numpy.array([4, 0, 0])], numpy.eye(5)[[4, 0, 0]]),
        (lambda x: np.concatenate([x[3:], x[:1]]), numpy.eye(5)[[3, 4, 0]]),
        (lambda x: np.pad(x[1:3], 1), numpy.eye(5)[[0, 1, 2, 0]] * [[0], [1], [1], [0]]),
        (lambda x: wg.cond(x[0] > 0, lambda: x, lambda: x[::-1]), numpy.clip(numpy.eye(5) + numpy.eye(5)[::-1], 0, 1)),
        (lambda x: wg.scan(lambda c, v: (v, c), 0.0, x)[1], numpy.eye(5, k=-1)),
        (lambda x: wg.scan(lambda c, v: (v, c), 0.0, x, reverse=True)[1], numpy.eye(5, k=1)),
        (lambda x: wg.scan(lambda c, v: (0.5 * c + v, c + v), 0.0, x)[1], LOWER),
        (lambda x: wg.fori_loop(0, 5, lambda i, y: y + x[2], np.zeros(2)), numpy.eye(5)[[2, 2]]),
        (lambda x: wg.map(lambda v: v * v, x), numpy.eye(5)),
        (lambda x: wg.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, x[::-1]))[1],
         numpy.clip(numpy.eye(5) + numpy.eye(5)[::-1], 0, 1)),
    ],
)  # fmt: skip
def test_patterns(fn: Any, expected: Any) -> None:
    numpy.testing.assert_array_equal(dense(fn, X), expected)


def test_indices_that_a_loop_counts_are_known() -> None:
    """`i` is a number in each step, so assignment to `y[i]` is sharp."""

    def shifted(x: Any) -> Any:
        def step(i: Any, y: Any) -> Any:
            y[i] = x[i - 1] * 2
            return y

        return wg.fori_loop(1, 5, step, np.zeros(5))

    numpy.testing.assert_array_equal(dense(shifted, X), numpy.eye(5, k=-1))


def test_gradient_of_a_loop_of_unknown_length() -> None:
    """The record of a while loop has an axis of unknown length; the pattern of the Hessian is that of any number of
    steps."""

    def energy(x: Any) -> Any:
        return np.sum(wg.while_loop(lambda c: np.sum(c * c) > 0.1, lambda c: 0.5 * c * np.cos(x), x))

    found = wg.sparsity(wg.grad(energy), X).toarray()
    true = numpy.abs(wg.hessian(energy)(X)) > 0
    assert not (true & ~found).any()
    numpy.testing.assert_array_equal(found, numpy.eye(5))


@pytest.mark.parametrize(
    "shapes", [((2, 3), (3, 4)), ((3,), (3, 4)), ((2, 3), (3,)), ((2, 1, 2, 3), (4, 3, 2)), ((3,), (3,))]
)
def test_products(shapes: Any) -> None:
    rng = numpy.random.default_rng(0)
    a, b = (rng.normal(size=shape) for shape in shapes)
    for k in (0, 1):
        jacobian = wg.jacobian(np.matmul, k)(a, b).reshape(-1, (a, b)[k].size)
        numpy.testing.assert_array_equal(dense(np.matmul, a, b, argnums=k), jacobian != 0)
    sparse = b * (rng.random(b.shape) < 0.4)
    jacobian = wg.jacobian(lambda a: a @ sparse)(a).reshape(-1, a.size)
    numpy.testing.assert_array_equal(dense(lambda a: a @ sparse, a), jacobian != 0)
    sparse = a * (rng.random(a.shape) < 0.4)
    jacobian = wg.jacobian(lambda b: sparse @ b)(b).reshape(-1, b.size)
    numpy.testing.assert_array_equal(dense(lambda b: sparse @ b, b), jacobian != 0)


def test_convolutions_are_banded() -> None:
    """Known kernels leave out their zeros; unknown ones meet every element of a window."""
    rng = numpy.random.default_rng(0)
    kernel = numpy.array([1.0, 0.0, -2.0])
    x = rng.normal(size=7)
    for mode in ("full", "same", "valid"):
        jacobian = wg.jacobian(lambda x, mode=mode: np.convolve(x, kernel, mode))(x)
        numpy.testing.assert_array_equal(dense(lambda x, mode=mode: np.convolve(x, kernel, mode), x), jacobian != 0)
        for k in (0, 1):
            jacobian = wg.jacobian(lambda x, w, mode=mode: np.convolve(x, w, mode), k)(x, kernel + 3)
            found = dense(lambda x, w, mode=mode: np.convolve(x, w, mode), x, kernel + 3, argnums=k)
            assert not ((jacobian != 0) & (found == 0)).any()
            if k == 0:
                numpy.testing.assert_array_equal(found, jacobian != 0)


def test_linear_algebra_couples_a_matrix_and_nothing_else() -> None:
    a = numpy.random.default_rng(0).normal(size=(3, 2, 2)) + 3 * numpy.eye(2)
    numpy.testing.assert_array_equal(dense(np.linalg.inv, a), numpy.kron(numpy.eye(3), numpy.ones((4, 4))))
    numpy.testing.assert_array_equal(dense(np.linalg.det, a), numpy.kron(numpy.eye(3), numpy.ones((1, 4))))
    b = numpy.ones((3, 2, 2))
    right = dense(np.linalg.solve, a, b, argnums=1)  # columns of the right-hand side do not mix
    numpy.testing.assert_array_equal(right, numpy.kron(numpy.eye(3), [[1, 0, 1, 0], [0, 1, 0, 1]] * 2))


def test_integer_arguments_are_indices() -> None:
    numpy.testing.assert_array_equal(dense(lambda x, i: x[i], X, numpy.array([2, 0])), numpy.eye(5)[[2, 0]])
    unknown = wg.ArrayType((2,), numpy.dtype(int))
    numpy.testing.assert_array_equal(dense(lambda x, i: x[i], X, unknown), numpy.ones((2, 5)))


def test_axes_with_known_indices_stay_sharp() -> None:
    """`take_along_axis` mixes each line, and not the lines with each other."""
    a = numpy.arange(6.0).reshape(2, 3)
    found = dense(lambda x: np.take_along_axis(x, np.argsort(x, axis=1), 1), a)
    numpy.testing.assert_array_equal(found, numpy.kron(numpy.eye(2), numpy.ones((3, 3))))


def test_containers_and_argnums() -> None:
    def fn(p: Any, q: Any) -> Any:
        return {"b": q * 2, "a": p["u"] + p["v"][0]}

    p = {"u": numpy.ones(2), "v": numpy.ones(2)}
    q = numpy.ones(1)
    expected = [[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    numpy.testing.assert_array_equal(dense(fn, p, q), expected)
    numpy.testing.assert_array_equal(dense(fn, p, q, argnums=1), [[0], [0], [1]])
    both = dense(fn, p, q, argnums=(0, 1))
    numpy.testing.assert_array_equal(both, numpy.hstack([expected, [[0], [0], [1]]]))
    assert dense(lambda x: x, numpy.ones(0)).shape == (0, 0)
    assert dense(lambda x: 3.0, 1.0).tolist() == [[0]]


def test_many_variables() -> None:
    n = 100_000
    found = wg.sparsity(wg.grad(lambda x: np.sum((x[1:] - x[:-1] ** 2) ** 2)), wg.ArrayType((n,), numpy.dtype(float)))
    assert found.shape == (n, n) and found.nnz == 3 * n - 2


def test_scalars_stacked_one_by_one() -> None:
    found = wg.sparsity(lambda x: np.stack([x[k] * x[k + 1] for k in range(500)]), numpy.ones(501))
    assert found.nnz == 1000


@pytest.mark.parametrize(
    "fn",
    [
        lambda x: x[x > 2],
        lambda x: x if x[0] > 0 else -x,
        lambda x: np.sum(np.nonzero(x)[0]) * x,
    ],
)
def test_structure_that_changes_with_values(fn: Any) -> None:
    with pytest.raises(SparsityError, match="structure of <lambda> changes with the values") as found:
        wg.sparsity(fn, X)
    assert found.value.source is not None and found.value.source.file.endswith("test_sparsity.py")
    assert found.value.repair


def test_patterns_without_zeros_are_refused() -> None:
    with pytest.raises(SparsityError, match="no sparsity"):
        wg.sparsity(lambda x: x * np.sum(x), wg.ArrayType((100_000,), numpy.dtype(float)))
