"""Making arrays, of traced values and inside transforms; the namespace; protocols."""

from __future__ import annotations

import numpy
import pytest
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import ArrayConversionError, ConcretizationError, UnsupportedError

PAIR = numpy.array([0.7, 2.5])

FUNCTIONS = [
    lambda x: np.array([x[0], 2.0, x[1]]),
    lambda x: np.array([[x[0], 1], [x, x]][1]),
    lambda x: np.array([[x[0], 1], [0, x[1]]]),
    lambda x: np.array(x, ndmin=3),
    lambda x: np.asarray((x, [1, 2])),
    lambda x: np.array([x[0], 1], dtype=numpy.complex128).real,
    lambda x: np.full((2, 3), x[0]),
    lambda x: np.full((3, 2), x),
    lambda x: np.full_like(x, x[1] * 2),
    lambda x: x * np.ones_like(x) + np.zeros_like(x),
    lambda x: np.zeros_like(x, shape=(2,)) + x,
    lambda x: np.linspace(x[0], x[1], 7),
    lambda x: np.linspace(x[0], 3, 4, endpoint=False),
    lambda x: np.linspace(x, 2 * x, 3),
    lambda x: np.linspace(x, 1.0, 3, axis=-1),
    lambda x: np.linspace(x[0], x[1], 1),
    lambda x: np.linspace(x[0], x[1], 0),
    lambda x: np.linspace(x[0], x[1], 5, retstep=True)[1],
    lambda x: np.logspace(x[0], x[1], 4),
    lambda x: np.logspace(0, x[1], 3, base=2.0),
    lambda x: np.geomspace(x[0], x[1], 5),
    lambda x: np.geomspace(-x[0], -x[1], 3),
    lambda x: np.vander(x),
    lambda x: np.vander(x, 4, increasing=True),
    lambda x: np.meshgrid(x, [1.0, 2.0, 3.0])[0] * 2,
    lambda x: np.meshgrid(x, x * x, indexing="ij")[1],
    lambda x: np.meshgrid(x, x, x, sparse=True)[2],
    lambda x: np.meshgrid(x[0], x)[0],
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_of_traced_values(number: int) -> None:
    f = FUNCTIONS[number]
    check_values(f, PAIR, rtol=1e-13)
    check_derivatives(lambda x: f(x) ** 2, PAIR)


MAKERS = {
    "zeros": lambda: np.zeros((2, 3)),
    "ones": lambda: np.ones(2, int),
    "full": lambda: np.full(3, 2.0),
    "zeros_like": lambda: np.zeros_like(PAIR),
    "ones_like": lambda: np.ones_like(PAIR, int),
    "full_like": lambda: np.full_like(PAIR, 3),
    "empty": lambda: np.empty(0),
    "array": lambda: np.array([1.0, 2.0]),
}


@pytest.mark.parametrize("name", MAKERS)
def test_plain_outside_and_constant_inside(name: str) -> None:
    make = MAKERS[name]
    outside = make()
    assert type(outside) is numpy.ndarray
    inside = []

    def f(x: float) -> float:
        inside.append(make())
        return x

    for run in (
        wg.grad(f),
        lambda x: wg.trace(f, x),
        lambda x: wg.jvp(f, (x,), (x,)),
        lambda x: wg.vmap(f)(numpy.ones(2)),
    ):
        run(1.0)
        made = inside.pop()
        assert isinstance(made, wg.Tensor)
        agree(made.numpy(), outside)
        agree(numpy.asarray(made), outside)  # a constant leaves no graph


def test_constants_serve_as_plain_arrays() -> None:
    def f(x: float) -> float:
        weights, index = np.ones(3), np.zeros(2, int)
        index[1] = 2
        assert weights.sum() == 3 and weights[0] > 0 and len(weights) == 3
        table = np.unwrap(weights)  # not traced, but there is nothing to trace
        return np.sum(np.array([x, 2 * x, 3 * x])[index] * table[:2]) + weights[1:].tolist()[0]

    check_values(f, numpy.array(2.0))
    check_derivatives(f, numpy.array(2.0))


def test_arange() -> None:
    agree(wg.grad(lambda x: np.sum(np.arange(x, x + 2.5) ** 2))(1.0), 12.0)
    agree(wg.grad(lambda x: np.sum(np.arange(0.0, 3.0, x)))(1.0), 3.0)
    assert type(np.arange(3)) is numpy.ndarray
    with pytest.raises(ConcretizationError):
        wg.trace(lambda n: np.arange(n), 3)


def test_no_silent_conversion() -> None:
    def assign(x: float) -> float:
        buffer = numpy.zeros(2)
        buffer[0] = x
        return buffer.sum()

    for make in (lambda x: numpy.array([x, 1.0]), numpy.asarray):
        with pytest.raises(ArrayConversionError):
            wg.grad(make)(1.0)
        with pytest.raises(ArrayConversionError):
            wg.trace(make, 1.0)
    # NumPy puts an error of its own on top of ours when it is asked to store a traced number.
    with pytest.raises(ValueError, match="setting an array element") as caught:
        wg.grad(assign)(1.0)
    assert isinstance(caught.value.__cause__, ArrayConversionError)
    with pytest.raises(ValueError, match="setting an array element") as caught:
        wg.trace(assign, 1.0)
    assert isinstance(caught.value.__cause__, ArrayConversionError)
    assert wg.grad(lambda x: x * float(x))(3.0) == 3.0  # on purpose


def test_copies_are_handles_of_their_own() -> None:
    x = wg.variable(PAIR) * 1
    for other in (np.array(x), np.copy(x), x.copy(), x.flatten()):
        other[0] = 5.0
        agree(x.numpy(), PAIR)
    same = np.asarray(x)
    assert same is x


def test_the_namespace_is_numpys() -> None:
    assert np.pi == numpy.pi and np.e == numpy.e and np.inf == numpy.inf and np.newaxis is None
    assert np.float32 is numpy.float32 and np.ndarray is numpy.ndarray and np.kaiser is numpy.kaiser
    assert numpy.isnan(np.nan) and np.finfo(float).eps == numpy.finfo(float).eps
    with pytest.raises(AttributeError):
        np.no_such_name  # noqa: B018
    missing = [name for name in numpy.__all__ if not name.startswith("__") and not hasattr(np, name)]
    assert missing == []
    with pytest.raises(UnsupportedError):
        np.unwrap(wg.variable(PAIR))
    assert wg.variable(1.0).__array_namespace__() is np
    plain = [name for name in dir(np) if not name.startswith("_") and hasattr(numpy, name)]
    wrong = [
        n for n in plain if isinstance(getattr(np, n), type(numpy)) and not isinstance(getattr(numpy, n), type(numpy))
    ]
    assert wrong == []


def test_every_function_is_numpy_on_plain_arrays() -> None:
    x = numpy.arange(6.0).reshape(2, 3)
    for name in (
        "take",
        "diag",
        "tril",
        "stack",
        "where",
        "concatenate",
        "reshape",
        "pad",
        "linspace",
        "array",
        "zeros_like",
    ):
        assert getattr(np, name).__doc__
    for f in (
        np.tril,
        np.diag,
        np.flip,
        np.ravel,
        np.sinc,
        np.transpose,
        np.copy,
        np.zeros_like,
        np.nonzero,
        np.argwhere,
    ):
        found, expected = f(x), getattr(numpy, f.__name__)(x)
        assert type(found) is type(expected)
        agree(found, expected)


def test_dlpack_and_devices() -> None:
    x = wg.variable(PAIR)
    agree(numpy.from_dlpack(x), PAIR)
    assert x.device == "cpu" and x.to_device("cpu") is x and x.nbytes == 16 and x.itemsize == 8
    with pytest.raises(ConcretizationError):
        wg.trace(lambda x: numpy.from_dlpack(x), PAIR)
