"""Loop nests: which values share loops, as text; what they compute; how much memory they take."""

from __future__ import annotations

import re

import numpy
import pytest

import wengert as wg
import wengert.numpy as np


def rng():
    return numpy.random.default_rng(0)


def skeleton(f, *args):
    """The loops without their arithmetic: loops, branches, and what is stored where."""
    lines = []
    for line in wg.jit(f).lower(*args).loops.splitlines():
        words = line.strip()
        if re.match(r"(for|each|while|case)\b", words) or re.match(r"(output|arena|record)\d+\[", words):
            words = re.sub(r"%\d+", "%", words)
            lines.append(line[: len(line) - len(line.lstrip())] + re.sub(r"\[.*?\] = .*", "[]", words))
    return lines


def softmax(x):
    e = np.exp(x - np.max(x, axis=1, keepdims=True))
    return e / np.sum(e, axis=1, keepdims=True)


def cross_entropy(x, labels):
    s = x - np.max(x, axis=1, keepdims=True)
    logits = s - np.log(np.sum(np.exp(s), axis=1, keepdims=True))
    return -np.mean(logits[numpy.arange(x.shape[0]), labels])


def layer_norm(x, a, b):
    m = np.mean(x, axis=-1, keepdims=True)
    v = np.mean((x - m) ** 2, axis=-1, keepdims=True)
    return (x - m) / np.sqrt(v + 1e-5) * a + b


def lennard_jones(x):
    d = x[:, None, :] - x[None, :, :]
    itself = np.eye(x.shape[0])
    r6 = (np.sum(d**2, axis=-1) + itself) ** 3
    return 0.5 * np.sum((1 - itself) * 4 * (1 / r6**2 - 1 / r6))


def test_softmax_is_one_nest_with_a_row_in_cache():
    x = rng().normal(size=(30, 50))
    lines = skeleton(softmax, x)
    assert lines[0] == "each % in range(30):"
    assert lines[1] == "    for % in range(50):"  # the largest element
    assert re.fullmatch(r"        arena\d+\[\]", lines[3])  # exponentials, kept for the quotients
    assert lines[-2:] == ["    each % in range(50):", "        output1[]"]
    assert sum(line.startswith(("each", "for")) for line in lines) == 1
    low = wg.jit(softmax).lower(x)
    assert low.program.memory <= 50 * 8 + 64


def test_layer_norm_with_its_gradient_is_one_nest():
    x, a, b = rng().normal(size=(30, 50)), rng().normal(size=50), rng().normal(size=50)
    f = wg.value_and_grad(lambda x, a, b: np.sum(np.sin(layer_norm(x, a, b))), argnums=(0, 1, 2))
    lines = skeleton(f, x, a, b)
    nests = [line for line in lines if line.startswith(("each", "for"))]
    # Accumulators of the sums over rows begin at 0; then all rows.
    assert nests == ["for % in range(50):", "for % in range(50):", "for % in range(30):"]
    assert "again, with strong products" in wg.jit(f).lower(x, a, b).loops
    found, wanted = wg.jit(f)(x, a, b), f(x, a, b)
    numpy.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    for p, q in zip(found[1], wanted[1], strict=True):
        numpy.testing.assert_allclose(p, q, rtol=1e-9, atol=1e-12)


def test_several_outputs_share_one_loop():
    def f(x, y):
        e = np.exp(x) * y
        return e, e + x, np.sum(e), np.max(x - y)

    x, y = rng().normal(size=(2, 40, 30))
    assert skeleton(f, x, y)[:3] == ["for % in range(1200):", "    output2[]", "    output3[]"]
    for a, b in zip(wg.jit(f)(x, y), f(x, y), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-12)


def test_all_pairs_without_an_array_of_all_pairs():
    x = numpy.mgrid[0:4, 0:4, 0:4].reshape(3, -1).T * 1.1 + rng().normal(size=(64, 3)) * 0.05
    f = wg.value_and_grad(lennard_jones)
    lines = skeleton(f, x)
    assert lines.count("for % in range(64):") >= 1
    assert lines.count("    for % in range(64):") == 1  # one loop over pairs computes everything
    assert wg.jit(f).lower(x).program.memory <= 2 * x.nbytes
    found, wanted = wg.jit(f)(x), f(x)
    numpy.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
    numpy.testing.assert_allclose(found[1], wanted[1], rtol=1e-9, atol=1e-9)


def test_gathers_and_scatters_join_the_rows():
    x, labels = rng().normal(size=(30, 50)), rng().integers(-50, 50, 30)
    f = wg.value_and_grad(lambda x: cross_entropy(x, labels))
    g = wg.value_and_grad(cross_entropy)
    for run, args in ((f, (x,)), (g, (x, labels))):
        outer = [line for line in skeleton(run, *args) if not line.startswith(" ")]
        assert sum(line.endswith("range(30):") for line in outer) <= 3  # the check of the labels and its report
        found, wanted = wg.jit(run)(*args), run(*args)
        numpy.testing.assert_allclose(found[0], wanted[0], rtol=1e-12)
        numpy.testing.assert_allclose(found[1], wanted[1], rtol=1e-9, atol=1e-14)
    with pytest.raises(wg.errors.IndexOutOfBoundsError):
        wg.jit(g)(x, numpy.full(30, 50))
    with pytest.raises(wg.errors.IndexOutOfBoundsError):
        wg.jit(lambda x, k: x[k][:1])(x[0], numpy.array([0, *range(20), 77]))  # though nobody reads it


def test_scatter_adds_sum_up_what_a_loop_computes():
    x, k = rng().normal(size=(200, 4)), rng().integers(0, 30, 200)

    def f(x, k):
        return wg.grad(lambda table: np.sum(table[k] * np.sin(x)))(np.zeros((30, 4)))

    lines = skeleton(f, x, k)
    assert [line for line in lines if line.startswith("for")][-1] == "for % in range(200):"
    numpy.testing.assert_allclose(wg.jit(f)(x, k), f(x, k), rtol=1e-12)


def test_columns_accumulate_beside_rows():
    def f(x):
        y = np.tanh(x)
        return np.sum(y, axis=0), np.sum(y, axis=1), np.sum(y), np.max(y, axis=0), y

    x = rng().normal(size=(37, 21))
    outer = [line for line in skeleton(f, x) if line.startswith(("each", "for"))]
    assert outer.count("for % in range(37):") == 1
    for a, b in zip(wg.jit(f)(x), f(x), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("shape", [(100, 3), (3, 100), (5, 7, 2, 2), (1, 90), (0, 9), (9, 0), (20, 1, 20)])
@pytest.mark.parametrize("dtype", [numpy.float64, numpy.float32])
def test_shapes(shape, dtype):
    """Short trailing axes are written out; sums over every axis, transposed and reversed reads."""

    def f(x):
        y = np.exp(x * 0.5)
        z = y / (1 + np.sum(y, axis=-1, keepdims=True)) + np.sum(y * y, axis=0)
        return z, np.sum(z.T * 2, axis=0), z[::-1] + y, np.sum(z), np.sum(z, axis=tuple(range(1, z.ndim)))

    x = rng().normal(size=shape).astype(dtype)
    rtol = 1e-12 if dtype == numpy.float64 else 1e-4
    for a, b in zip(wg.jit(f)(x), f(x), strict=True):
        assert a.dtype == b.dtype
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def test_strong_zeros_where_a_nan_comes_out():
    """The careful version of a loop: elements that the plain product would make NaN, between ordinary ones."""
    x = numpy.linspace(0, 2, 201)
    f = lambda x: np.sum(np.where(x > 1, np.sqrt(x - 1), x))
    with numpy.errstate(all="ignore"):
        numpy.testing.assert_array_equal(wg.jit(wg.grad(f))(x), wg.grad(f)(x))
        broken = numpy.where(x == x[5], numpy.nan, x)
        numpy.testing.assert_array_equal(wg.jit(wg.grad(f))(broken), wg.grad(f)(broken))
    rows = numpy.zeros((50, 20))
    rows[3] = 1
    g = lambda z: np.sum(np.sqrt(np.sum(z * z, axis=1)))
    numpy.testing.assert_allclose(wg.jit(wg.grad(g))(rows), wg.grad(g)(rows), rtol=1e-15)
    assert "again, with strong products" in wg.jit(wg.grad(g)).lower(rows).loops


def test_strong_zeros_in_a_scan():
    def f(p):
        def step(c, _):
            return np.where(c > 0.5, np.sqrt(np.abs(c - 0.5)) * p, c * p), None

        return np.sum(wg.scan(step, numpy.array([0.5, 1.0, 4.0]), None, length=30)[0])

    assert "again, with strong products" in wg.jit(wg.grad(f)).lower(0.9).loops
    numpy.testing.assert_allclose(wg.jit(wg.grad(f))(0.9), wg.grad(f)(0.9), rtol=1e-12)


def test_a_nan_that_a_comparison_would_hide():
    """The gradient is compared inside the loop, so only the careful version is written."""

    def f(x):
        g = wg.grad(lambda x: np.sum(np.where(x > 1, np.sqrt(np.abs(x - 1)), x)))(x)
        return np.where(g > 0, 1.0, -1.0)

    x = numpy.linspace(0, 2, 201)
    numpy.testing.assert_array_equal(wg.jit(f)(x), f(x))
    assert "again" not in wg.jit(f).lower(x).loops


def test_a_sum_that_is_read_after_other_work_is_computed_once():
    def f(x, w):
        s = np.sum(np.exp(x))
        y = (x @ w) @ w
        return s * 2 + np.sum(y)

    x, w = rng().normal(size=(40, 40)), rng().normal(size=(40, 40))
    text = wg.jit(f).lower(x, w).loops
    assert text.count("1.4426950408889634") == 1  # the exponential
    numpy.testing.assert_allclose(wg.jit(f)(x, w), f(x, w), rtol=1e-10)


def test_constants_by_formula():
    n = 60

    def f(x):
        itself, steps = np.eye(n), np.arange(n) * 3.0 + 1
        rows = numpy.tile(numpy.cos(numpy.arange(n)), (n, 1))
        return x * itself + steps, x * (np.arange(n)[:, None] != np.arange(n)), x + rows, x[::-1, numpy.arange(n)]

    x = rng().normal(size=(n, n))
    for a, b in zip(wg.jit(f)(x), f(x), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-15)


def test_loops_become_vectors():
    x = rng().normal(size=(64, 512))
    low = wg.jit(wg.grad(lambda x: np.sum(softmax(x) ** 2))).lower(x)
    if "ymm" not in low.assembly and "zmm" not in low.assembly:
        pytest.skip("a processor without vectors of 32 bytes")
    for instruction in ("vaddpd", "vmulpd", "vdivpd"):
        assert re.search(instruction + r"\s.*%[yz]mm", low.assembly)


def test_running_twice_gives_the_same_bits():
    x = rng().normal(size=(200, 130))
    f = wg.jit(wg.grad(lambda x: np.sum(layer_norm(x, x[0], x[1]) ** 2) + np.sum(softmax(x) * x)))
    numpy.testing.assert_array_equal(f(x), f(x))


@pytest.mark.parametrize("old, new", [
    ((25, 4, 30), (100, 30)), ((6, 20), (3, 40)), ((24, 5), (2, 3, 4, 5)), ((2, 3, 5, 7), (6, 35)),
    ((7, 1, 12), (7, 3, 4, 1)), ((0, 3), (3, 0)), ((60,), (3, 4, 5)), ((4, 6, 5), (8, 3, 5)),
])  # fmt: skip
def test_reshapes_of_maps(old, new):
    """A reshape inside a nest: its index is computed block by block, without division where axes stay."""
    x = rng().normal(size=old)
    f = lambda x: np.sum(np.reshape(np.transpose(np.tanh(x)).T * 2, new), axis=0)
    numpy.testing.assert_allclose(wg.jit(f)(x), f(x), rtol=1e-12)
    g = wg.grad(lambda x: np.sum(f(x) ** 2))
    numpy.testing.assert_allclose(wg.jit(g)(x), g(x), rtol=1e-12, atol=1e-14)
    kept = wg.jit(lambda x: np.sum(np.reshape(x + x.T[..., :1].T, (-1, x.shape[-1])), axis=1)).lower(
        numpy.ones((5, 40))
    )
    assert "udiv" not in kept.loops


def test_what_is_read_for_every_pair_is_computed_once():
    def f(x):
        y = 1 / (1 + x * x)
        return np.sum(np.sin(y[:, None] * x) * y)

    x = rng().normal(size=300)
    lines = wg.jit(f).lower(x).loops.splitlines()
    assert not any("div(" in line for line in lines if line.startswith("        "))
    numpy.testing.assert_allclose(wg.jit(f)(x), f(x), rtol=1e-10)


def test_a_small_row_inside_a_flat_loop():
    """A value that is computed again, known by index only, keeps the loops around it by index."""
    spec = numpy.random.default_rng(1)
    row = spec.normal(size=(1, 1, 7))

    def f(x, row):
        small = np.sum(np.tanh(row) * row, axis=0, keepdims=True)
        wide = x * small + small
        return wide, np.sum(wide), wide[::-1] * 2 + wide

    x = spec.normal(size=(5, 9, 7))
    for a, b in zip(wg.jit(f)(x, row), f(x, row), strict=True):
        numpy.testing.assert_allclose(a, b, rtol=1e-12)
