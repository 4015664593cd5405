"""Shapes, axes, joining, splitting, padding, and the functions that are more than one elementwise operation."""

from __future__ import annotations

import copy
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
from wengert.errors import AxisError, ConcretizationError, ShapeError, UnsupportedError

RNG = numpy.random.default_rng(5)
X = RNG.normal(size=(2, 3, 4))

FUNCTIONS: list[Any] = [
    lambda x: np.reshape(x, (4, -1)),
    lambda x: np.reshape(x, -1),
    lambda x: np.reshape(x, (3, 8), order="F"),
    lambda x: x.reshape(2, 12),
    lambda x: x.reshape((-1, 2)),
    lambda x: x.reshape(-1),
    np.ravel,
    lambda x: np.ravel(x, order="F"),
    lambda x: x.ravel(),
    lambda x: x.flatten(),
    lambda x: x.flatten("F"),
    np.transpose,
    lambda x: np.transpose(x, (1, -1, 0)),
    lambda x: x.T,
    lambda x: x.transpose(2, 0, 1),
    lambda x: x.mT,
    lambda x: x.transpose(),
    lambda x: np.permute_dims(x, (2, 1, 0)),
    np.matrix_transpose,
    lambda x: np.moveaxis(x, 0, -1),
    lambda x: np.moveaxis(x, (0, 1), (-1, 0)),
    lambda x: np.rollaxis(x, 2),
    lambda x: np.rollaxis(x, 0, 3),
    lambda x: np.swapaxes(x, 0, -1),
    lambda x: x.swapaxes(1, 2),
    lambda x: np.expand_dims(x, 1),
    lambda x: np.expand_dims(x, (0, -1)),
    lambda x: np.squeeze(x[:1, :, :1]),
    lambda x: np.squeeze(x[:1, :, :1], axis=-1),
    lambda x: x[:1].squeeze(0),
    lambda x: np.broadcast_to(x, (5, 2, 3, 4)),
    lambda x: np.broadcast_to(x[:, :1], (2, 6, 4)),
    lambda x: np.broadcast_arrays(x[0], x[:, :1, 0, None])[1],
    lambda x: np.atleast_1d(x[0, 0, 0]),
    lambda x: np.atleast_2d(x[0, 0]),
    lambda x: np.atleast_3d(x[0]),
    lambda x: np.atleast_3d(x[0, 0]),
    lambda x: np.concatenate([x, x * 2]),
    lambda x: np.concatenate((x, X[:, :1]), axis=1),
    lambda x: np.concatenate([x, x[0]], axis=None),
    lambda x: np.concatenate([x, x[..., :0]], -1),
    lambda x: np.concat([x, X], axis=-1),
    lambda x: np.stack([x, X, x * x]),
    lambda x: np.stack([x[0], x[1]], axis=-1),
    lambda x: np.vstack([x[0], x[1, 0]]),
    lambda x: np.hstack([x, x]),
    lambda x: np.hstack([x[0, 0], 1.0]),
    lambda x: np.dstack([x[0], x[1]]),
    lambda x: np.dstack([x[0, 0], x[1, 0]]),
    lambda x: np.column_stack([x[0, 0], x[0].T]),
    lambda x: np.block([[x[0], x[1]], [x[1], x[0] * 2]]),
    lambda x: np.block([x[0, 0], 1.0, x[0, 1]]),
    lambda x: np.append(x, 1.0),
    lambda x: np.append(x, X[:1], axis=0),
    lambda x: np.split(x, 3, axis=1)[1],
    lambda x: np.split(x, [1, 3], axis=-1)[1],
    lambda x: np.array_split(x, 3, -1)[0],
    lambda x: np.array_split(x, [2], -1)[1],
    lambda x: np.vsplit(x, 2)[1],
    lambda x: np.hsplit(x, 3)[2],
    lambda x: np.dsplit(x, 2)[0],
    lambda x: np.hsplit(x[0, 0], 2)[1],
    lambda x: np.split(x, 3, 1)[0],
    lambda x: np.unstack(x, axis=1)[2],
    lambda x: np.tile(x, 2),
    lambda x: np.tile(x, (2, 1, 1, 3)),
    lambda x: np.tile(x, (2, 1)),
    lambda x: np.tile(x, 0),
    lambda x: np.repeat(x, 2),
    lambda x: np.repeat(x, 3, axis=1),
    lambda x: np.repeat(x, [1, 0, 2], axis=1),
    lambda x: x.repeat(2, -1),
    lambda x: np.resize(x, (5, 7)),
    lambda x: np.pad(x, 1),
    lambda x: np.pad(x, ((0, 1), (2, 0), (1, 1))),
    lambda x: np.pad(x, (1, 2), constant_values=3.0),
    lambda x: np.pad(x[0], 1, constant_values=((1, 2), (3, 4))),
    lambda x: np.pad(x, 2, mode="edge"),
    lambda x: np.pad(x, 1, "reflect"),
    lambda x: np.pad(x, (2, 1), "symmetric"),
    lambda x: np.pad(x, 3, "wrap"),
    lambda x: np.pad(x, 2, "reflect"),
    lambda x: np.pad(x[0], ((1, 0), (0, 2)), constant_values=x[0, 0, 0]),
    lambda x: np.delete(x, 1, axis=1),
    lambda x: np.delete(x, [0, -1], axis=2),
    lambda x: np.delete(x, slice(1, 3), -1),
    lambda x: np.delete(x, 5),
    lambda x: np.insert(x, 1, 2.0),
    lambda x: np.insert(x, 1, x[:, 0], axis=1),
    lambda x: np.insert(x, [0, 2], x[:, :2], axis=1),
    lambda x: np.insert(x, [1, 1, 3], 7.0, axis=-1),
    lambda x: np.insert(x, slice(0, 2), 5.0, axis=0),
    lambda x: np.insert(x[0, 0], 2, x[1, 0]),
]

POINTWISE: list[Any] = [
    lambda x: np.where(x > 0, x, x**2),
    lambda x: np.where(X > 0, x, 1),
    lambda x: np.where([True, False, True, True], x, 0.0),
    lambda x: np.clip(x, -0.5, 0.5),
    lambda x: np.clip(x, None, 0.3),
    lambda x: np.clip(x, 0.1, None),
    lambda x: x.clip(-1, 1),
    lambda x: np.clip(x, x[0, 0, 0] - 1, X + 0.7),
    lambda x: np.clip(x, min=0.2),
    lambda x: np.clip(x, max=0.2),
    lambda x: np.round(x) * x,
    lambda x: np.round(x, 1) * x,
    lambda x: x.round(2) * x,
    lambda x: np.around(x * 100, -1) * x,
    lambda x: np.nan_to_num(x / 1),
    lambda x: np.interp(x, [-1.0, 0.0, 0.5, 2.0], [0.0, 2.0, 1.0, 5.0]),
    lambda x: np.interp(X, numpy.array([-1.0, 0.2, 1.0]) + x[0, 0, 0] / 9, x[0, :, 0]),
    lambda x: np.interp(x, [-1.0, 1.0], [0.0, 2.0], left=-7.0, right=x[0, 0, 0]),
    lambda x: np.interp(x[0, 0], [0.0], [3.0]),
    np.sinc,
    lambda x: np.sinc(x / 20),
    lambda x: np.real(x) * np.imag(x) + np.angle(x) + x,
    lambda x: x.real + x.imag + x.conj(),
    lambda x: np.copy(x) * x.copy(),
    lambda x: x.astype(float) * copy.deepcopy(x),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_rearranging(number: int) -> None:
    f = FUNCTIONS[number]
    check_values(f, X)
    check_derivatives(lambda x: f(x) ** 2, X)


@pytest.mark.parametrize("number", range(len(POINTWISE)))
def test_pointwise(number: int) -> None:
    f = POINTWISE[number]
    check_values(f, X)
    check_derivatives(lambda x: f(x) * x[0, 0, 1], X)


@given(data=st.data())
def test_random_shapes(data: st.DataObject) -> None:
    shape = data.draw(hn.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3))
    x = numpy.arange(float(numpy.prod(shape))).reshape(shape)
    axes = data.draw(st.permutations(range(len(shape))))
    axis, other = (
        data.draw(st.integers(-len(shape), len(shape) - 1)),
        data.draw(st.integers(-len(shape), len(shape) - 1)),
    )
    reps = data.draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    wider = data.draw(hn.broadcastable_shapes(shape, min_side=0, max_side=3, max_dims=5))
    cuts = sorted(data.draw(st.lists(st.integers(-3, 3), max_size=3)))
    widths = data.draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=len(shape), max_size=len(shape))
    )
    for f in (
        lambda x: np.transpose(x, axes),
        lambda x: np.swapaxes(x, axis, other),
        lambda x: np.moveaxis(x, axis, other),
        lambda x: np.tile(x, reps),
        lambda x: np.concatenate([x, x], axis),
        lambda x: np.stack([x, x], axis),
        lambda x: np.flip(x, axis),
        lambda x: np.roll(x, 2, axis),
        lambda x: np.repeat(x, 2, axis),
        lambda x: np.pad(x, widths),
        lambda x: np.expand_dims(x, axis),
        lambda x: np.concatenate(np.array_split(x, cuts, axis), axis),
        lambda x: np.reshape(x, shape[::-1], order="F"),
        lambda x: x + np.broadcast_to(x[..., :1] * 0, shape),
    ):
        expected = f(x)
        agree(wg.trace(f, x)(x), expected)
        agree(wg.vmap(f)(numpy.stack([x, x + 1])), numpy.stack([expected, f(x + 1)]))
        out, pullback = wg.vjp(f, x)
        agree(out, expected)
        (ct,) = pullback(expected)
        # <J x, J x> = <x, J^T J x>: the functions are linear.
        numpy.testing.assert_allclose(numpy.sum(ct * x), numpy.sum(expected**2))
    try:
        expected = numpy.broadcast_to(x, wider)
    except ValueError:
        with pytest.raises(ShapeError):
            np.broadcast_to(wg.variable(x), wider)
    else:
        agree(np.broadcast_to(wg.variable(x), wider).numpy(), expected)


def test_promotion_and_dtypes() -> None:
    single, double, whole = numpy.ones(2, numpy.float32), numpy.ones(2), numpy.arange(2)
    for others in ((double,), (whole,), (single,), (1j * double,), (1.0,), (True,)):
        for f in (lambda x, *r: np.hstack([x, *r]), lambda x, *r: np.where([True, False], x, r[0])):
            expected = f(single, *others)
            found = f(wg.variable(single), *others)
            agree(found.numpy(), expected)
    assert wg.grad(lambda x: np.sum(np.stack([x, double])))(single).dtype == numpy.float32
    agree(wg.variable(single).astype(complex).numpy(), single.astype(complex))
    agree(np.concatenate([wg.variable(single), whole], dtype=numpy.float64).numpy(), [1.0, 1, 0, 1])
    check_derivatives(
        lambda z: np.real(z) * np.imag(z) + np.angle(z) + z.real * z.conj(),
        RNG.normal(size=3) + 1j * RNG.normal(size=3),
    )
    assert np.result_type(wg.variable(single), 2.0) == numpy.float32
    assert np.iscomplexobj(wg.variable(1j)) and not np.isrealobj(wg.variable(1j))
    z = wg.variable(numpy.array([1.0, 1j]))
    agree(np.iscomplex(z), [False, True])
    agree(np.isreal(z), [True, False])


def test_questions() -> None:
    x = wg.variable(X)
    assert np.shape(x) == X.shape and np.ndim(x) == 3 and np.size(x) == 24 and np.size(x, 1) == 3
    assert np.allclose(x, X) is True and np.allclose(x, X + 1) is False
    assert np.array_equal(x, X) is True and np.array_equal(x, X[0]) is False and np.array_equiv(x[0], x[:1]) is True
    special = numpy.array([numpy.nan, numpy.inf, -numpy.inf, 1.0])
    s = wg.variable(special)
    for equal_nan in (True, False):
        agree(
            np.isclose(s, special + 1e-9, equal_nan=equal_nan),
            numpy.isclose(special, special + 1e-9, equal_nan=equal_nan),
        )
    agree(np.isclose(s, 1.0), numpy.isclose(special, 1.0))
    agree(np.nan_to_num(s).numpy(), numpy.nan_to_num(special))
    agree(np.nan_to_num(s, nan=1.0, posinf=2.0, neginf=3.0).numpy(), [1.0, 2, 3, 1])
    agree(wg.grad(lambda x: np.sum(np.nan_to_num(x)))(special), [0.0, 0, 0, 1])
    agree(np.isposinf(s), numpy.isposinf(special))
    agree(np.isneginf(s), numpy.isneginf(special))
    agree(wg.trace(lambda x: np.allclose(x, x), X)(X), numpy.True_)


def test_awkward_points() -> None:
    agree(wg.grad(lambda x: np.where(x > 1, np.sqrt(x - 1), x))(1.0), 1.0)
    for x in (-1.0, 1.0):
        assert wg.grad(lambda x: np.clip(x, -1, 1))(x) == 1
    sinc = wg.grad(wg.grad(np.sinc))
    numpy.testing.assert_allclose(sinc(0.0), -(numpy.pi**2) / 3, rtol=1e-12)
    numpy.testing.assert_allclose(wg.grad(wg.grad(sinc))(0.0), numpy.pi**4 / 5, rtol=1e-12)
    x = numpy.linspace(-0.3, 0.3, 101)
    numpy.testing.assert_allclose(np.sinc(wg.variable(x)).numpy(), numpy.sinc(x), rtol=1e-15)
    nodes, values = [0.0, 1.0, 2.0], [0.0, 1.0, 3.0]
    points = numpy.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, numpy.nan])
    agree(np.interp(wg.variable(points), nodes, values).numpy(), numpy.interp(points, nodes, values))
    agree(wg.grad(lambda x: np.sum(np.interp(x, nodes, values)[:-1]))(points), [0.0, 1, 1, 2, 2, 0, 0])


@pytest.mark.parametrize("shape", [(), (0,), (0, 3)])
def test_empty_and_0_dimensional(shape: tuple[int, ...]) -> None:
    x = numpy.ones(shape)
    for f in (
        np.ravel,
        np.transpose,
        lambda x: np.stack([x, x]),
        lambda x: np.expand_dims(x, 0),
        np.atleast_2d,
        lambda x: np.tile(x, 2),
        lambda x: np.repeat(x, 2),
        lambda x: np.clip(x, 0, None),
        lambda x: np.round(x, 1),
        np.sinc,
        lambda x: np.append(x, x),
        lambda x: np.where(x > 0, x, 0),
        lambda x: np.reshape(x, (-1, 1)) if np.size(x) else np.reshape(x, (0, 2)),
    ):
        check_values(f, x)
        assert wg.grad(lambda x, f=f: np.sum(f(x)))(x).shape == shape


def test_errors() -> None:
    x = wg.variable(X)
    for f in (
        lambda: np.reshape(x, (5, 5)),
        lambda: np.reshape(x, (-1, 7)),
        lambda: np.reshape(x, (-1, -1)),
        lambda: np.squeeze(x, 0),
        lambda: np.concatenate([x, X[0]]),
        lambda: np.concatenate([x, X[:, :, :1]]),
        lambda: np.stack([x, x[0]]),
        lambda: np.concatenate([x[0, 0, 0]]),
        lambda: np.split(x, 5),
        lambda: np.broadcast_to(x, (2, 2)),
        lambda: np.broadcast_arrays(x, X[:, :2]),
        lambda: np.repeat(x, [1, 2], axis=1),
        lambda: np.array_split(x, 0),
    ):
        with pytest.raises(ShapeError) as caught:
            f()
        assert "test_shaping.py" in str(caught.value.source)
    for f in (
        lambda: np.transpose(x, (0, 0, 1)),
        lambda: np.swapaxes(x, 0, 3),
        lambda: np.moveaxis(x, (0, 0), (1, 2)),
        lambda: np.expand_dims(x, (0, 0)),
        lambda: np.concatenate([x, x], 3),
        lambda: np.stack([x, x], 4),
    ):
        with pytest.raises(AxisError):
            f()
    for f in (
        lambda: np.pad(x, 1, "maximum"),
        lambda: np.concatenate([x], out=X),
        lambda: np.clip(x, 0, 1, out=X),
        lambda: np.interp(x, [0.0, 1], [0.0, 1], period=1.0),
        lambda: np.unwrap(x),
    ):
        with pytest.raises(UnsupportedError):
            f()
    with pytest.raises(ConcretizationError):
        wg.trace(lambda x, n: np.repeat(x, n), X, 2)
