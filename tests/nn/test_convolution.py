"""Convolution and pooling against SciPy's correlation and plain loops, in one to three dimensions."""

from __future__ import annotations

import itertools

import numpy as onp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import correlate

import wengert as wg
import wengert.numpy as np
from wengert.errors import ShapeError


@st.composite
def problems(draw):
    d = draw(st.integers(1, 3))
    each = lambda low, high: tuple(draw(st.lists(st.integers(low, high), min_size=d, max_size=d)))
    kernel, stride, padding, dilation, groups = each(1, 3), each(1, 3), each(0, 2), each(1, 2), draw(st.integers(1, 2))
    span = [(k - 1) * a + 1 for k, a in zip(kernel, dilation, strict=True)]
    size = [max(n, s - 2 * p) for n, s, p in zip(each(1, 6), span, padding, strict=True)]
    n, inner, outer = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rng = onp.random.default_rng(draw(st.integers(0, 99)))
    x, w = rng.normal(size=(n, groups * inner, *size)), rng.normal(size=(groups * outer, inner, *kernel))
    return x, w, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def by_scipy(x, w, stride, padding, dilation, groups):
    """Channel by channel with SciPy: padded, the kernel spread out, every stride-th value taken."""
    d = len(stride)
    x = onp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    kernel = onp.zeros((*w.shape[:2], *((k - 1) * a + 1 for k, a in zip(w.shape[2:], dilation, strict=True))))
    kernel[(..., *(slice(None, None, a) for a in dilation))] = w
    outer, inner = w.shape[0] // groups, w.shape[1]
    rows = []
    for image in x:
        row = []
        for o in range(w.shape[0]):
            first = o // outer * inner
            total = sum(correlate(image[first + c], kernel[o, c], "valid", "direct") for c in range(inner))
            row.append(total[tuple(slice(None, None, s) for s in stride)])
        rows.append(row)
    assert d == onp.ndim(rows[0][0])
    return onp.array(rows)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_conv_is_scipys_correlation(problem):
    x, w, options = problem
    onp.testing.assert_allclose(wg.nn.conv(x, w, **options), by_scipy(x, w, **options), rtol=1e-11, atol=1e-11)


@given(problems())
@settings(max_examples=60, deadline=None)
def test_conv_transpose_is_the_transpose(problem):
    x, w, options = problem
    out = wg.nn.conv(x, w, **options)
    ct = onp.random.default_rng(1).normal(size=out.shape)
    pads = zip(x.shape[2:], out.shape[2:], options["stride"], options["padding"], options["dilation"], w.shape[2:],
               strict=True)  # fmt: skip
    extra = tuple(n - ((m - 1) * s - 2 * p + a * (k - 1) + 1) for n, m, s, p, a, k in pads)
    back = wg.nn.conv_transpose(ct, w, output_padding=extra, **options)
    assert back.shape == x.shape
    assert onp.vdot(back, x) == pytest.approx(onp.vdot(ct, out), rel=1e-9, abs=1e-9)
    onp.testing.assert_allclose(wg.vjp(lambda z: wg.nn.conv(z, w, **options), x)[1](ct)[0], back, atol=1e-11)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_gradients_and_compiled_programs(d):
    rng = onp.random.default_rng(d)
    size = (5, 4, 3)[:d]
    x, w, b = rng.normal(size=(2, 4, *size)), rng.normal(size=(6, 2, *(2,) * d)), rng.normal(size=6)

    def f(x, w, b):
        return np.tanh(wg.nn.conv(x, w, b, stride=2, padding=1, groups=2))

    wg.testing.check_grads(f, (x, w, b), order=1)
    onp.testing.assert_allclose(wg.jit(f)(x, w, b), f(x, w, b), rtol=1e-12)
    g = wg.grad(lambda *a: np.sum(f(*a) ** 2), argnums=(0, 1, 2))
    compiled = wg.jit(g)
    assert compiled.lower(x, w, b).callbacks == []
    for found, expected in zip(compiled(x, w, b), g(x, w, b), strict=True):
        onp.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


def by_loops(x, size, stride, padding, dilation, reduce, fill):
    d = len(size)
    padded = onp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)], constant_values=fill)
    counts = [
        (n - (k - 1) * a - 1) // s + 1 for n, k, a, s in zip(padded.shape[2:], size, dilation, stride, strict=True)
    ]
    out = onp.zeros((*x.shape[:2], *counts))
    for place in itertools.product(*map(range, counts)):
        reach = tuple(
            slice(p * s, p * s + (k - 1) * a + 1, a) for p, s, k, a in zip(place, stride, size, dilation, strict=True)
        )
        out[(..., *place)] = reduce(padded[(..., *reach)], tuple(range(2, 2 + d)))
    return out


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("size", "stride", "padding", "dilation"),
    [((2,), (2,), (0,), (1,)), ((3, 2), (1, 2), (1, 1), (2, 1)), ((2, 2, 2), (2, 1, 2), (0, 1, 0), (1, 1, 1))],
)
def test_pooling_is_what_loops_give(size, stride, padding, dilation, compiled):
    x = onp.random.default_rng(0).normal(size=(2, 3, 6, 5, 4)[: 2 + len(size)])
    made = wg.jit if compiled else lambda f: f
    found = made(lambda x: wg.nn.max_pool(x, size, stride, padding, dilation))(x)
    onp.testing.assert_array_equal(found, by_loops(x, size, stride, padding, dilation, onp.max, -onp.inf))
    one = (1,) * len(size)
    mean = by_loops(x, size, stride, padding, one, onp.mean, 0.0)
    onp.testing.assert_allclose(made(lambda x: wg.nn.avg_pool(x, size, stride, padding))(x), mean, atol=1e-15)
    inside = by_loops(onp.ones_like(x), size, stride, padding, one, onp.mean, 0.0)
    found = made(lambda x: wg.nn.avg_pool(x, size, stride, padding, count_padding=False))(x)
    onp.testing.assert_allclose(found, mean / inside, atol=1e-14)
    g = wg.grad(lambda x: np.sum(wg.nn.max_pool(x, size, stride, padding, dilation) ** 2))
    onp.testing.assert_allclose(made(g)(x), g(x), rtol=1e-12)
    wg.testing.check_grads(lambda x: wg.nn.max_pool(x, size, stride, padding, dilation), (x,), order=1)


def test_ties_share_and_batches_nest():
    assert wg.grad(lambda x: np.sum(wg.nn.max_pool(x, 2)))(onp.ones((1, 1, 2))).tolist() == [[[0.5, 0.5]]]
    rng = onp.random.default_rng(0)
    for axes in ((0, None), (None, 0), (0, 0)):
        xs = rng.normal(size=(3, 2, 2, 5)) if axes[0] == 0 else rng.normal(size=(2, 2, 5))
        ws = rng.normal(size=(3, 4, 2, 3)) if axes[1] == 0 else rng.normal(size=(4, 2, 3))
        for options in ({"padding": 1}, {"stride": 2}):
            found = wg.vmap(lambda x, w, o=options: wg.nn.conv(x, w, **o), in_axes=axes)(xs, ws)
            for k in range(3):
                one = wg.nn.conv(xs[k] if axes[0] == 0 else xs, ws[k] if axes[1] == 0 else ws, **options)
                onp.testing.assert_allclose(found[k], one, atol=1e-12)


def test_names_of_padding():
    x, w = onp.arange(6.0).reshape(1, 1, 6), onp.ones((1, 1, 4))
    assert wg.nn.conv(x, w, padding="same").shape == x.shape
    onp.testing.assert_allclose(
        wg.nn.conv(x, w, padding="same")[0, 0], onp.convolve(onp.pad(x[0, 0], (1, 2)), w[0, 0], "valid")
    )
    assert wg.nn.conv(x, w, padding="valid").shape == (1, 1, 3)
    assert wg.nn.conv(x, w, padding=((2, 0),)).shape == (1, 1, 5)


def test_bad_input():
    x, w = onp.ones((1, 2, 5)), onp.ones((3, 2, 2))
    with pytest.raises(ShapeError, match="2 channels"):
        wg.nn.conv(x, onp.ones((3, 1, 2)))
    with pytest.raises(ShapeError, match="lengths"):
        wg.nn.conv(x[0], w)
    with pytest.raises(ValueError, match="stride"):
        wg.nn.conv(x, w, stride=0)
    with pytest.raises(ValueError, match="same"):
        wg.nn.conv(x, w, stride=2, padding="same")
    with pytest.raises(ValueError, match="padding"):
        wg.nn.conv(x, w, padding="full")
    with pytest.raises(ValueError, match="groups"):
        wg.nn.conv(x, w, groups=0)
    with pytest.raises(ShapeError, match="bias"):
        wg.nn.conv(x, w, onp.ones(2))
    with pytest.raises(ShapeError, match="no window"):
        wg.nn.max_pool(x, 6)
    assert wg.nn.conv(x, onp.ones((3, 2, 6))).shape == (1, 3, 0)
    assert wg.grad(lambda x: np.sum(wg.nn.conv(x, onp.ones((3, 2, 6)))))(x).tolist() == onp.zeros_like(x).tolist()
