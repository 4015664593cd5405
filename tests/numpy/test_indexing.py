"""Brackets in every form, assignment, NumPy's indexing functions: values, derivatives, all modes, errors."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import (
    ArrayConversionError,
    ConcretizationError,
    DtypeError,
    IndexOutOfBoundsError,
    ShapeError,
    UnsupportedError,
)

RNG = numpy.random.default_rng(3)
X = RNG.normal(size=(3, 4, 5))
ROWS = numpy.array([2, 0, -1, 2])
MASK = numpy.array([True, False, True])

KEYS: list[Any] = [
    1,
    -1,
    (1, 2),
    (0, -1, 3),
    slice(1, 3),
    slice(None, None, -1),
    slice(-1, None, -2),
    slice(2, 1),
    ...,
    None,
    (),
    (..., 0),
    (None, 1, ..., None),
    (slice(None), 1),
    (slice(None), slice(1, None, 2), slice(4, 0, -3)),
    (0, ..., slice(2)),
    ROWS,
    [0, 2],
    (ROWS,),
    (slice(None), ROWS),
    (..., ROWS),
    (ROWS, ROWS),
    (ROWS[:, None], ROWS[:2]),
    (ROWS, slice(None), ROWS),
    (slice(1, 3), ROWS, ROWS),
    (0, slice(None), ROWS),
    (slice(None), 0, ROWS),
    (ROWS, slice(None), 0),
    (ROWS, None, ROWS),
    (None, ROWS, 1),
    (ROWS, ..., ROWS),
    (ROWS, 1, ..., ROWS),
    (ROWS, ROWS, ROWS, ...),
    (slice(None, None, -1), ROWS, slice(1, 4)),
    ROWS.reshape(2, 2),
    (1, ROWS.reshape(2, 2), slice(None, 2)),
    numpy.zeros(0, int),
    [],
    (slice(None), []),
    MASK,
    (MASK, 0),
    (MASK, ROWS[:2]),
    (slice(None), numpy.array([True] * 4)),
    X > 0,
    (X[:, :, 0] > 0),
    (0, X[0] > 0),
    (..., numpy.zeros(5, bool)),
    True,
    False,
    (numpy.True_, 1),
    (None, True, ..., 2),
    (numpy.int64(1), numpy.array(2)),
    (True, ROWS),
    (..., True, ROWS),
    numpy.uint8(2),
    ROWS.astype(numpy.int8),
]


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key).replace("\n", "")[:60])
def test_reading_every_kind_of_key(key: Any) -> None:
    check_values(lambda x: x[key], X)
    check_derivatives(lambda x: x[key] ** 2, X)


@pytest.mark.parametrize("key", KEYS, ids=lambda key: str(key).replace("\n", "")[:60])
def test_assigning_to_every_kind_of_key(key: Any) -> None:
    def f(x: Any, v: Any) -> Any:
        y = np.copy(x)
        y[key] = v
        return y * x

    shape = X[key].shape
    v = RNG.normal(size=shape)
    check_values(lambda x: f(x, 2.0), X)
    check_values(f, X, v)
    check_values(lambda x: f(x, x[0, 0, 0]), X)
    check_values(lambda v: _into(X, key, v), v)
    check_derivatives(lambda x: f(x, v), X)
    check_derivatives(lambda v: _into(X, key, v) ** 2, v)
    if shape and shape[0] > 1:
        check_derivatives(lambda v: _into(X, key, v) ** 2, v[:1])


def _into(x: Any, key: Any, v: Any) -> Any:
    """`x[key] = v` for a plain array and a value of any kind."""
    if not isinstance(v, wg.Tensor):
        y = x.copy()
        y[key] = v
        return y
    y = wg.constant(x)
    y[key] = v
    return y


@given(data=st.data())
def test_random_basic_and_advanced_keys(data: st.DataObject) -> None:
    shape = data.draw(hn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    x = numpy.arange(1.0, 1 + numpy.prod(shape)).reshape(shape)
    key = data.draw(hn.basic_indices(shape, allow_newaxis=True, allow_ellipsis=True))
    if shape and 0 not in shape and data.draw(st.booleans()):
        # Arrays in some places, mixed with slices, integers, new axes and an ellipsis.
        block = data.draw(hn.array_shapes(min_dims=1, max_dims=2, min_side=1, max_side=2))
        parts: list[Any] = []
        for n in shape:
            kind = data.draw(st.sampled_from(["array", "int", "slice", "mask", "new"]))
            if kind == "new":
                parts.append(None)
                kind = "array"
            if kind == "array":
                parts.append(data.draw(hn.arrays(int, block, elements=st.integers(-n, n - 1))))
            elif kind == "int":
                parts.append(data.draw(st.integers(-n, n - 1)))
            elif kind == "slice":
                parts.append(data.draw(st.slices(n)))
            else:
                parts.append(numpy.arange(n) == data.draw(st.integers(0, n - 1)))
        if data.draw(st.booleans()):
            at = data.draw(st.integers(0, len(parts)))
            parts = [*parts[:at], ..., *parts[at:]]
        key = tuple(parts)
    expected = x[key]
    recorded = wg.variable(x)
    agree(recorded[key].numpy(), expected)
    agree(wg.trace(lambda x: x[key], x)(x), expected)
    agree(wg.vmap(lambda x: x[key])(numpy.stack([x, -x])), numpy.stack([expected, -expected]))
    agree(wg.vmap(lambda x: x[key], in_axes=-1)(numpy.stack([x, -x], -1)), numpy.stack([expected, -expected]))
    # The gradient adds up where an element is read, as often as it is.
    weights = numpy.arange(2.0, 2 + expected.size).reshape(numpy.shape(expected))
    wanted = numpy.zeros(shape)
    numpy.add.at(wanted, key, weights)
    found = wg.grad(lambda x: np.sum(x[key] * weights))(x)
    agree(found, wanted)
    agree(wg.trace(wg.grad(lambda x: np.sum(x[key] * weights)), x)(x), wanted)
    # Assignment and addition.
    written = x.copy()
    written[key] = weights
    y = wg.variable(x) * 1
    y[key] = weights
    agree(y.numpy(), written)
    added = x.copy()
    numpy.add.at(added, key, weights)
    agree(wg.variable(x).at[key].add(weights).numpy(), added)
    # Which of several values for an element wins, decides which of them has a derivative.
    numbered = numpy.full(shape, -1.0)
    numbered[key] = numpy.arange(float(expected.size)).reshape(numpy.shape(expected))
    winner = numpy.isin(numpy.arange(expected.size), numbered).reshape(numpy.shape(expected))

    def last(v: Any) -> Any:
        y = wg.constant(x)
        y[key] = v
        return np.sum(y)

    agree(wg.grad(last)(weights), winner.astype(float))
    agree(wg.trace(wg.grad(last), weights)(weights), winner.astype(float))


def test_traced_indices_in_every_mode() -> None:
    vector, matrix = RNG.normal(size=6), RNG.normal(size=(6, 4))
    i, j = numpy.array(4), numpy.array([1, -2, 1])
    for f in (
        lambda x, i: x[i],
        lambda x, i: x[..., i % 4],
        lambda x, i: x[i, 1:3],
        lambda x, i: x[None, i, ::-1],
        lambda x, i: x[1, i % 4] if np.ndim(i) == 0 else x[i, 0],
        lambda x, i: x[[0, 1]][:, i % 4],
        lambda x, i: np.take(x, i, axis=1, mode="wrap"),
    ):
        check_values(f, matrix, i)
        check_values(f, matrix, j)
        check_derivatives(lambda x, i, f=f: f(x, i) ** 2, matrix, j)

    def write(x: Any, i: Any, v: Any) -> Any:
        y = np.copy(x)
        y[i] = v
        y[i] += v
        return y

    check_values(write, vector, i, numpy.array(2.0))
    check_values(write, vector, j, numpy.array([3.0, 4.0, 5.0]))
    check_values(write, matrix, j, RNG.normal(size=(3, 1)))
    check_values(lambda x, i, v: write(x, (slice(None), i), v), RNG.normal(size=(4, 6)), j, RNG.normal(size=3))
    check_derivatives(lambda x: write(x, j, x[:3]) ** 2, vector)
    # Only one of the operands mapped.
    for axes in ((0, None, None), (None, 0, None), (None, None, 0), (0, 0, None), (None, 0, 0)):
        stack = [
            numpy.stack([a, a[::-1]]) if k is not None else a
            for a, k in zip((vector, j, vector[:3]), axes, strict=True)
        ]
        rows = [write(*[a[k] if axis is not None else a for a, axis in zip(stack, axes, strict=True)]) for k in (0, 1)]
        agree(
            wg.vmap(lambda x, i, v: write(wg.constant(x) if not isinstance(x, wg.Tensor) else x, i, v), axes)(*stack),
            rows,
        )


def test_a_traced_position_in_a_static_loop() -> None:
    x = RNG.normal(size=5)

    def by_batch(x: Any) -> Any:
        x = np.asarray(x) if isinstance(x, wg.Tensor) else wg.constant(x)
        return np.sum(wg.vmap(lambda i: x[i] ** 2)(np.arange(5)))

    def by_loop(x: Any) -> Any:
        def step(k: Any, y: Any) -> Any:
            y[k] = y[k - 1] * y[k]
            return y

        return wg.fori_loop(1, 5, step, x * 1)

    check_derivatives(by_batch, x)
    check_derivatives(by_loop, x)
    agree(by_loop(x), numpy.cumprod(x))
    g = wg.trace(lambda x, i: x[i] * x[i - 1], x, 0)
    for k in range(5):
        assert g(x, k) == x[k] * x[k - 1]


def test_repeated_indices() -> None:
    i = numpy.array([0, 0, 2, 0])
    x = numpy.zeros(3)

    def once(x: Any) -> Any:
        y = np.copy(x)
        y[i] += 1.0
        return y

    def often(x: Any) -> Any:
        y = np.copy(x)
        np.add.at(y, i, 1.0)
        return y

    def less(x: Any) -> Any:
        y = np.copy(x)
        np.subtract.at(y, i, x[i])
        return y

    for f in (once, often, less):
        check_values(f, x)
        check_derivatives(lambda x, f=f: f(x) ** 2, RNG.normal(size=3))
    agree(wg.vmap(lambda x: x.at[i].add(1.0))(numpy.zeros((2, 3))), [[3.0, 0, 1], [3.0, 0, 1]])
    check_values(_writes(lambda y, x: y.__setitem__(i, x[[0, 1, 2, 0]] + numpy.arange(4.0))), x)
    agree(wg.grad(lambda v: np.sum(wg.constant(x).at[i].set(v)))(numpy.ones(4)), [0.0, 0, 1, 1])


def test_masks_that_are_traced() -> None:
    x = RNG.normal(size=(4, 3))

    def positive(x: Any) -> Any:
        y = np.copy(x)
        y[x < 0] = 0.0
        y[x[:, 0] > 0] = 2 * y[0]
        return y

    check_values(positive, x)
    check_derivatives(lambda x: positive(x) ** 2, x)
    agree(wg.grad(lambda x: np.sum(x[x > 0] ** 2))(x), numpy.where(x > 0, 2 * x, 0))
    with pytest.raises(ConcretizationError, match=r"np.where\(mask, x, 0\)"):
        wg.trace(lambda x: x[x > 0], x)
    with pytest.raises(ConcretizationError, match=r"np.where\(mask, x, 0\)"):
        wg.vmap(lambda x: x[x > 0])(x)
    for f in (np.nonzero, np.argwhere, np.flatnonzero, np.where, lambda x: np.compress(x[0] > 0, x, 1)):
        with pytest.raises(ConcretizationError):
            wg.trace(f, x)
        found, expected = f(wg.variable(x)), f(x)
        for a, b in zip(found, expected, strict=True):
            agree(a.numpy() if isinstance(a, wg.Tensor) else a, b)


def test_assignment_rebinds_the_handle_only() -> None:
    x = wg.variable(numpy.arange(4.0))
    y = x * 1
    alias, part, copy = y, y[1:], np.copy(y)
    before = y * 2
    y[1] = x[0] + 10
    y[2:] = 7
    agree(alias.numpy(), [0.0, 10, 7, 7])
    for same in (part.numpy(), copy.numpy()[1:], before.numpy()[1:] / 2):
        agree(same, [1.0, 2, 3])
    np.sum(y * before).backward()
    agree(x.grad, [2.0, 20, 14, 14])  # y = (x0, x0 + 10, 7, 7), before = 2 x
    source = numpy.zeros(3)
    c = wg.constant(source)
    c[0] = wg.variable(1.0)
    assert source[0] == 0


def test_a_constant_buffer_takes_values_of_every_level() -> None:
    def f(x: Any) -> Any:
        out = np.zeros(3)
        out[0] = 1.5
        out[1] = x
        out[2] = out[1] * out[0]
        return out

    agree(wg.trace(f, 2.0)(2.0), [1.5, 2, 3])
    agree(wg.jvp(f, (2.0,), (1.0,)), [[1.5, 2, 3], [0, 1, 1.5]])
    check_derivatives(lambda x: f(x) ** 2, numpy.array(2.0))
    agree(wg.vmap(f)(numpy.array([1.0, 2.0])), [[1.5, 1, 1.5], [1.5, 2, 3]])
    counts = np.zeros(2, int)
    assert isinstance(counts, numpy.ndarray)

    def traced(x: Any) -> Any:
        kept = np.zeros(2)
        first = x + kept
        kept[0] = 5.0
        return first + x + kept

    agree(wg.trace(traced, 1.0)(1.0), [7.0, 2.0])


def test_a_graph_that_reads_a_buffer_before_and_after_assignment() -> None:
    def f(x: Any) -> Any:
        buffer = np.ones(2)
        a = buffer * x
        buffer[:] = x * 3
        return a + buffer * x

    agree(wg.trace(f, 2.0)(2.0), [14.0, 14])
    agree(wg.vmap(f)(numpy.array([2.0, 3.0])), [[14.0, 14], [30, 30]])
    check_derivatives(f, numpy.array(2.0))


FUNCTIONS: list[Any] = [
    lambda x: np.take(x, ROWS),
    lambda x: np.take(x, [5, -7, 9], mode="wrap"),
    lambda x: np.take(x, [[5, -7]], 1, mode="clip"),
    lambda x: np.take(x, 1, axis=0),
    lambda x: np.take(x, ROWS.reshape(2, 2), axis=-1),
    lambda x: np.take_along_axis(x, numpy.argsort(X, 1), 1),
    lambda x: np.take_along_axis(x, ROWS, None),
    lambda x: np.take_along_axis(x, numpy.array([0, 1]).reshape(1, 1, 2), -1),
    lambda x: np.choose(numpy.array([0, 1, 1, 0, 1]), [x[0, 0], x[1]]),
    lambda x: np.choose(numpy.array([0, 5, -1]), x[:, :3, 0], mode="clip"),
    lambda x: np.compress(MASK, x, axis=0),
    lambda x: np.compress([False, True], x),
    lambda x: np.extract(X > 0, x),
    lambda x: np.select([X > 1, X > 0], [x, x**2], 3.0),
    np.tril,
    np.triu,
    lambda x: np.tril(x, -1),
    lambda x: np.triu(x[0, 0], 1),
    lambda x: np.triu(x, 2),
    np.diagonal,
    lambda x: np.diagonal(x, 1, 2, 1),
    lambda x: np.diagonal(x, -2, 0, 2),
    lambda x: np.diagonal(x, 9),
    lambda x: np.diag(x[0]),
    lambda x: np.diag(x[0], 2),
    lambda x: np.diag(x[0, 0]),
    lambda x: np.diag(x[0, 0], -2),
    lambda x: np.diagflat(x[:2, 0], 1),
    np.trace,
    lambda x: np.trace(x, 1, 0, 2),
    lambda x: np.roll(x, 3),
    lambda x: np.roll(x, -1, 1),
    lambda x: np.roll(x, (1, -7), (0, 2)),
    lambda x: np.roll(x, 2, (0, 1)),
    np.flip,
    lambda x: np.flip(x, (0, -1)),
    np.fliplr,
    np.flipud,
    np.rot90,
    lambda x: np.rot90(x, 2),
    lambda x: np.rot90(x, -1, (2, 0)),
    lambda x: np.rot90(x, 4),
    lambda x: x.take([1, 1], 1),
    lambda x: x.diagonal(),
    lambda x: x.trace(),
    lambda x: x.compress(MASK, 0),
    lambda x: np.stack([row * k for k, row in enumerate(x)]),
    lambda x: x[::2, ..., None][..., 0].T.mT,
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_functions(number: int) -> None:
    f = FUNCTIONS[number]
    check_values(f, X)
    if "compress" not in f.__name__:
        check_derivatives(lambda x: f(x) ** 2, X)


def _writes(write: Any) -> Any:
    def f(x: Any) -> Any:
        y = np.copy(x)
        write(y, x)
        return y

    return f


WRITES: list[Any] = [
    lambda y, x: np.put(y, [0, 3, -1], x[0, 0, :2]),
    lambda y, x: np.put(y, [1, 100], 2.0, mode="wrap"),
    lambda y, x: np.put_along_axis(y, numpy.argmax(X, 1, keepdims=True), x[:, :1] * 2, 1),
    lambda y, x: np.put_along_axis(y, ROWS, 5.0, None),
    lambda y, x: np.place(y, X > 1, x[0, 0] * 3),
    lambda y, x: np.putmask(y, X > 0.5, x * 2),
    lambda y, x: np.copyto(y, x[0] * 2),
    lambda y, x: np.copyto(y, x * x, where=X > 0),
    lambda y, x: y.fill(2.0),
]


@pytest.mark.parametrize("number", range(len(WRITES)))
def test_functions_that_write(number: int) -> None:
    f = _writes(WRITES[number])
    check_values(f, X)
    check_derivatives(lambda x: f(x) * x, X)


def test_filling_the_diagonal() -> None:
    def f(x: Any) -> Any:
        y = np.copy(x[:, :3, :3])
        np.fill_diagonal(y, x[0, 0] * 2)
        return y

    check_values(f, X)
    check_derivatives(lambda x: f(x) * x[:, :3, :3], X)


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0, 2)])
def test_empty_and_0_dimensional(shape: tuple[int, ...]) -> None:
    x = numpy.ones(shape)
    check_values(lambda x: x[...], x)
    check_values(lambda x: x[None], x)
    check_values(lambda x: x[numpy.zeros(shape, bool)], x)
    check_values(_writes(lambda y, x: y.__setitem__(..., x * 2)), x)
    assert wg.grad(lambda x: np.sum(x[...] * 2))(x).shape == shape
    assert wg.grad(lambda x: np.sum(x.at[...].add(x)))(x).shape == shape


def test_strided_inputs() -> None:
    for x in (
        numpy.broadcast_to(numpy.arange(4.0), (3, 4)),
        RNG.normal(size=(8, 6))[::2, ::-1].T,
        numpy.ones((3, 4), order="F"),
    ):
        check_values(lambda x: x[1:, [0, 2]], x)
        check_derivatives(lambda x: x[::-1, [0, 2, 0]] * x[0, 0], x)
        check_values(lambda x: _writes(lambda y, x: y.__setitem__(0, x[1]))(x), x)


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.complex128, numpy.complex64])
def test_dtypes(dtype: Any) -> None:
    x = RNG.normal(size=(3, 4)).astype(dtype)

    def f(x: Any) -> Any:
        y = np.copy(x)
        y[1:, [0, 0, 2]] = x[:2, 1:]
        return y[::-1, ROWS] * x[0, 1]

    check_values(f, x, rtol=1e-5, atol=1e-6)
    if dtype is numpy.complex128:
        check_derivatives(f, x)
    else:
        assert wg.grad(lambda x: np.sum(np.abs(f(x))))(x).dtype == dtype
    # A real number assigned into a complex array, and an integer into a real one.
    mixed = wg.grad(lambda v: np.sum(np.abs(wg.constant(x * (1 + 0j)).at[0, 0].set(v)) ** 2))(3.0)
    agree(mixed, 6.0)


def test_errors_name_the_users_line() -> None:
    x = numpy.ones((2, 3))
    readers = {
        "index 2 on axis 0": lambda x: x[2],
        "index -3 on axis 0": lambda x: x[-3],
        "index 3 on axis 1": lambda x: x[0, 3],
        "index 7 on axis 1": lambda x: x[:, [0, 7]],
        "3 indices": lambda x: x[0, 0, 0],
        "index -4": lambda x: x.take(-4, axis=1),
        "mask of shape": lambda x: x[numpy.ones(3, bool)],
        "one ellipsis": lambda x: x[..., 0, ...],
        "index 5 ": lambda x: x.at[5].set(0.0),
        "index 6 ": lambda x: x.at[[6]].set(0.0),
    }
    for text, f in readers.items():
        for run in (wg.grad, wg.trace, wg.vmap, lambda f, x: wg.jvp(f, (x,), (x,))):
            with pytest.raises(IndexOutOfBoundsError, match=text) as caught:
                run(f, x) if run in (wg.trace,) or run.__name__ == "<lambda>" else run(f)(
                    x if run is wg.grad else x[None]
                )
            assert "test_indexing.py" in str(caught.value.source)
    for bad in (1.5, "a", numpy.ones(2)):
        with pytest.raises(DtypeError):
            wg.trace(lambda x, bad=bad: x[bad], x)
    with pytest.raises(DtypeError):
        wg.trace(lambda x: x[x], x)
    with pytest.raises(ShapeError):
        wg.trace(lambda x: x[[0, 1], [0, 1, 2]], x)
    for run in (
        wg.grad(lambda x: np.sum(x.at[0].set(numpy.ones(2)))),
        lambda x: wg.trace(lambda x: x.at[0].set(numpy.ones(2)), x),
    ):
        with pytest.raises(ShapeError):
            run(x)
    for plain in (x[0], x):
        for run in (lambda f: wg.trace(f, 1), lambda f: wg.vmap(f)(numpy.arange(2))):
            with pytest.raises(ArrayConversionError, match=r"np\.take"):
                run(lambda i, plain=plain: plain[i])
            run(lambda i, plain=plain: wg.constant(plain)[i] + np.take(plain, i, axis=0))
    with pytest.raises(ConcretizationError, match="slice has a traced limit"):
        wg.trace(lambda x, n: x[:n], x, 1)
    with pytest.raises(UnsupportedError, match=r"wengert\.numpy\.zeros"):
        np.put(numpy.zeros(3), [0], wg.variable(1.0))
    with pytest.raises(TypeError):
        iter(wg.variable(1.0))


def test_a_loop_over_elements_costs_its_length() -> None:
    """The cotangents of `x[i]` add up in one buffer: no array of the size of `x` is made for each."""
    made = []
    original = numpy.zeros

    def counting(*args: Any, **options: Any) -> Any:
        made.append(args)
        return original(*args, **options)

    def total(x: Any) -> Any:
        s = 0.0
        for k in range(200):
            s = s + x[k] * x[-k - 1] + np.sum(x[k : k + 2]) + np.sum(x[[k, k]])
        return s + np.sum(x)

    x = RNG.normal(size=300)
    numpy.zeros = counting
    try:
        gradient = wg.grad(total)(x)
    finally:
        numpy.zeros = original
    assert sum(numpy.prod(args[0]) >= 300 for args in made) <= 1
    agree(gradient, wg.trace(wg.grad(total), x)(x))


def test_a_loop_of_assignments_writes_in_place() -> None:
    """Where nothing else refers to the array, `x[i] = v` copies it neither forward nor backward."""
    addresses = set()

    def fill(x: Any, saved: bool) -> Any:
        y = np.zeros(50)
        kept = []
        y[:2] = x
        for k in range(2, 50):
            y[k] = y[k - 1] * 0.9 + y[k - 2] ** 2 * 0.01
            addresses.add(y.value.ctypes.data)
            if saved:
                kept.append(y * y)  # keeps the array for the derivative, so that it may not be written to
        return np.sum(y * y) + sum(np.sum(v[k // 2] * v[k // 3]) for k, v in enumerate(kept))

    x = numpy.array([0.5, 0.7])
    wg.grad(lambda x: fill(x, False))(x)
    assert len(addresses) == 1
    for saved in (False, True):
        along = [wg.jvp(lambda x, saved=saved: _plain_fill(x, saved), (x,), (t,))[1] for t in numpy.eye(2)]
        agree(wg.grad(lambda x, saved=saved: fill(x, saved))(x), along)
    assert len(addresses) > 40


def _plain_fill(x: Any, saved: bool) -> Any:
    """The same without assignment."""
    values = [x[0], x[1]]
    kept = []
    for k in range(2, 50):
        values.append(values[k - 1] * 0.9 + values[k - 2] ** 2 * 0.01)
        if saved:
            kept.append([v * v for v in values] + [0.0] * 50)
    return sum(v * v for v in values) + sum(v[k // 2] * v[k // 3] for k, v in enumerate(kept))


def test_views_and_other_handles_are_safe_from_writing_in_place() -> None:
    def f(x: Any) -> Any:
        y = np.zeros(4)
        y[0] = x
        part, plain = y[1:], y.value
        y[1] = x * 2
        other = y.copy()
        y[2] = x * 3
        assert plain[1] == 0
        y[1:] = y[:-1]  # reads what it writes
        return np.sum(part) + np.sum(other) * 10 + np.sum(y * numpy.array([1.0, 2, 3, 4]))

    agree(wg.grad(f)(2.0), 30.0 + 1 + 2 + 6 + 12)
    source = numpy.zeros(2)
    for make in (lambda: wg.constant(source), lambda: wg.variable(source), lambda: wg.constant(source[:])):
        x = make()
        x[0] = 1.0
        assert source[0] == 0
    x = wg.variable(numpy.zeros(2))
    first = x
    y = x * 1
    leaf = x.note
    x[0] = 5.0
    assert first is x and leaf.value[0] == 0 and y.numpy()[0] == 0
    # Forward mode and second order: the tangent of a shared value is not written to.
    agree(wg.grad(lambda x: wg.jvp(f, (x,), (x,))[1])(2.0), 51.0)
    agree(wg.jvp(wg.grad(lambda x: f(x) ** 2), (2.0,), (1.0,))[1], 2 * 51.0**2)
