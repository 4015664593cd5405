"""Power series: every differentiable operation against nested forward mode, known series, loops, cost, errors."""

from __future__ import annotations

import importlib
import math
import pkgutil

import mpmath
import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors
import wengert.numpy as wnp
import wengert.ops
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry

for module in pkgutil.walk_packages(wengert.ops.__path__, "wengert.ops."):
    importlib.import_module(module.name)

ORDER = 3


def line(v, order):
    return [v, *[None] * (order - 1)]


def nested(f, curve, order):
    """The derivatives of f(curve(t)) at 0, by forward mode over forward mode."""
    found = []
    slope = lambda g: lambda t: wg.jvp(g, (t,), (1.0,))[1]
    g = lambda t: f(*curve(t))
    for _ in range(order):
        g = slope(g)
        found.append(g(0.0))
    return found


def close(found, expected, rtol=1e-8):
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = np.asarray(mine), np.asarray(theirs)
        scale = max(1.0, float(np.max(np.abs(theirs), initial=0.0)))
        np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * scale)


def sampled(name):
    """Samples of an operation with something to move, and smooth directions for two orders."""
    if registry[name].not_differentiable is not None:
        return
    rng = np.random.default_rng(1)
    for primitive, operands in registry[name].samples(np.random.default_rng(0)):
        moving = [k for k, x in enumerate(operands) if np.asarray(x).dtype.kind in "fc"]
        if moving and all(np.asarray(operands[k]).dtype not in (np.float32, np.complex64) for k in moving):
            draws = []
            for _ in range(2):
                draws.append({})
                for k in moving:
                    x = np.asarray(operands[k])
                    d = 0.3 * rng.normal(size=x.shape)
                    draws[-1][k] = d + 0.2j * rng.normal(size=x.shape) if x.dtype.kind == "c" else d
            yield primitive, operands, moving, draws


@pytest.mark.parametrize("name", [n for n in registry if next(sampled(n), None) is not None])
def test_every_operation_agrees_with_nested_forward_mode(name):
    for primitive, operands, moving, (first, second) in sampled(name):

        def f(*values, primitive=primitive, operands=operands, moving=moving):
            full = list(operands)
            for k, value in zip(moving, values, strict=True):
                full[k] = value
            outs = bind(primitive, *full)
            return [o for o in (outs if primitive.multiple else [outs]) if o.dtype.kind in "fc"]

        def curve(t, operands=operands, moving=moving, first=first, second=second):
            return [operands[k] + t * first[k] + t * t / 2 * second[k] for k in moving]

        expected = nested(f, curve, ORDER)
        primals = tuple(operands[k] for k in moving)
        series = tuple([first[k], second[k], None] for k in moving)
        out, found = wg.jet(f, primals, series)
        close(out, f(*primals))
        for k in range(ORDER):
            close([own[k] for own in found], expected[k])


KNOWN = {
    "exp": (np.exp, mpmath.exp, 0.3),
    "log": (np.log, mpmath.log, 0.7),
    "tanh": (np.tanh, mpmath.tanh, 0.4),
    "tan": (np.tan, mpmath.tan, 0.5),
    "sqrt": (np.sqrt, mpmath.sqrt, 0.9),
    "arctan": (np.arctan, mpmath.atan, -0.3),
    "quotient": (lambda x: np.sin(x) / (1 + x * x), lambda x: mpmath.sin(x) / (1 + x * x), 0.2),
    "tower": (lambda x: x**x, lambda x: x**x, 0.8),
    "root": (lambda x: x**-1.5, lambda x: x**-1.5, 0.8),
    "composite": (
        lambda x: np.exp(-(np.cosh(x) ** 2)) * x**7,
        lambda x: mpmath.exp(-(mpmath.cosh(x) ** 2)) * x**7,
        0.6,
    ),
}


@pytest.mark.parametrize("name", KNOWN)
def test_twelve_derivatives_against_mpmath(name):
    f, exact, x = KNOWN[name]
    with mpmath.workdps(60):
        expected = [float(c * mpmath.factorial(k)) for k, c in enumerate(mpmath.taylor(exact, mpmath.mpf(x), 12))]
    out, found = wg.jet(f, (x,), (line(1.0, 12),))
    np.testing.assert_allclose([out, *found], expected, rtol=1e-10)
    compiled = wg.jit(lambda x: wg.jet(f, (x,), (line(1.0, 12),)))(x)
    np.testing.assert_allclose([compiled[0], *compiled[1]], expected, rtol=1e-10)


def test_derivatives_and_taylor_coefficients_along_a_curve():
    x, v, w = np.array([0.3, 0.8]), np.array([1.0, -2.0]), np.array([0.5, 0.25])
    f = lambda x: np.sin(x[0]) * x[1] ** 2
    found = wg.jet(f, (x,), ([v, w, None, None],))[1]
    expected = nested(f, lambda t: (x + t * v + t * t / 2 * w,), 4)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    taylor = wg.jet(f, (x,), ([v, w / 2, None, None],), taylor=True)[1]
    np.testing.assert_allclose(taylor, [c / math.factorial(k + 1) for k, c in enumerate(expected)], rtol=1e-12)


def test_containers_and_chains_of_jets():
    p = {"a": np.array([1.0, 2.0]), "n": 3}
    f = lambda p, s: {"y": (p["a"] * s, p["n"]), "z": np.sum(p["a"]) ** 2}
    out, series = wg.jet(f, (p, 0.5), ({"a": [np.ones(2), None], "n": [None, None]}, [2.0, None]))
    assert out["y"][0].tolist() == [0.5, 1.0] and out["y"][1] == 3 and out["z"] == 9.0
    np.testing.assert_allclose(series["y"][0], [[2.5, 4.5], [4.0, 4.0]])
    np.testing.assert_allclose(series["z"], [12.0, 8.0])
    assert [float(c) for c in series["y"][1]] == [0.0, 0.0]
    g = lambda out: np.sin(out["z"]) * out["y"][0][0]
    through = wg.jet(g, (out,), (series,))[1]
    at_once = wg.jet(lambda p, s: g(f(p, s)), (p, 0.5), ({"a": [np.ones(2), None], "n": [None, None]}, [2.0, None]))[1]
    np.testing.assert_allclose(through, at_once, rtol=1e-12)


def test_whole_powers_are_exact_at_zero():
    assert wg.jet(lambda x: x**3, (0.0,), (line(1.0, 4),))[1] == [0.0, 0.0, 6.0, 0.0]
    found = wg.jet(lambda x: x ** np.arange(4), (np.zeros(4),), (line(np.ones(4), 3),))[1]
    np.testing.assert_array_equal(found, [[0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 6]])
    assert wg.jet(lambda x: x**0, (0.0,), (line(1.0, 2),))[1] == [0.0, 0.0]
    assert wg.jet(np.square, (0.0,), (line(1.0, 3),))[1] == [0.0, 2.0, 0.0]
    assert wg.jet(lambda x: x**2.0, (-1.0,), (line(1.0, 3),))[1] == [-2.0, 2.0, 0.0]


MATRIX = np.array([[1.0, -0.5], [2.0, 0.3]])
PROGRAMS = {
    "scan": lambda x: np.sum(wg.scan(lambda c, t: (np.sin(c) * t + x, c * x), x, np.arange(3.0))[1]),
    "scan over series": lambda x: wg.scan(lambda c, t: (c * t + 1, t), 0.0, wnp.stack([x, x * x, np.sin(x)]))[0],
    "while": lambda x: wg.while_loop(lambda v: v * v > 0.1, lambda v: np.sin(v) * 0.8 * x, x),
    "cond": lambda x: wg.cond(x > 0, lambda v: np.sin(v) * v, lambda v: v, x),
    "constant carry": lambda x: wg.scan(lambda c, t: ((c[1] * x, c[1]), c[0]), (0.0, 1.0), np.arange(4.0))[0][0],
    "of a gradient": lambda x: wg.grad(lambda y: np.sin(y * x) * y)(x),
    "through solve": lambda x: np.sum(np.linalg.solve(np.eye(2) * 3 + x * MATRIX, wnp.stack([np.exp(x), 1.0]))),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_branches_and_gradients_inside(name):
    f = PROGRAMS[name]
    expected = nested(f, lambda t: (0.4 + t,), 4)
    derivatives = lambda x: wg.jet(f, (x,), (line(1.0, 4),))[1]
    np.testing.assert_allclose(derivatives(0.4), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(wg.trace(derivatives, 0.4)(0.4), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(wg.jit(derivatives)(0.4), expected, rtol=1e-9, atol=1e-12)


def test_inside_of_other_transforms():
    third = lambda x: wg.jet(lambda x: np.sin(x) * x, (x,), (line(1.0, 3),))[1][2]
    exact = lambda x: -3 * np.sin(x) - x * np.cos(x)
    slope = lambda x: -4 * np.cos(x) + x * np.sin(x)
    xs = np.linspace(-1, 1, 5)
    np.testing.assert_allclose(wg.vmap(third)(xs), exact(xs), rtol=1e-12)
    np.testing.assert_allclose(wg.vmap(wg.grad(third))(xs), slope(xs), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(wg.jit(wg.vmap(wg.grad(third)))(xs), slope(xs), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(wg.jvp(third, (0.3,), (1.0,))[1], slope(0.3), rtol=1e-11)
    inner = lambda x: wg.jet(np.exp, (x,), (line(1.0, 2),))[1][1] * x
    np.testing.assert_allclose(wg.jet(inner, (0.3,), (line(1.0, 2),))[1][1], (2 + 0.3) * np.exp(0.3), rtol=1e-12)


def products(f, order):
    """Products in the graph of the derivatives up to some order."""
    graph = wg.trace(lambda x: wg.jet(f, (x,), (line(1.0, order),))[1], 1.0)
    return sum(n.primitive.name in ("multiply", "strong_multiply") for n in graph.all_nodes())


@pytest.mark.parametrize(
    "f",
    [
        np.sin,
        np.sqrt,
        lambda x: np.tanh(np.sin(x) * x) / (1 + x * x),
        lambda x: np.exp(x**2.5) * np.arctan(x),
        lambda x: np.log1p(x) ** x,
    ],
)
def test_the_cost_is_quadratic_in_the_order(f):
    """A quadratic through the counts at three orders gives the count at a fourth."""
    low, middle, high, last = (products(f, order) for order in (8, 16, 24, 32))
    assert last - 3 * high + 3 * middle - low <= 8  # the third difference; a square series adds one every other order


def test_functions_with_a_derivative_of_their_own():
    @wg.custom_jvp
    def halved(x):
        return np.sin(x)

    halved.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * t[0]))
    f = lambda x: halved(x * x) * x
    expected = nested(lambda x: np.sin(x * x) * x, lambda t: (0.4 + t,), 4)
    for run in (lambda f: f, wg.jit):
        found = run(lambda x: wg.jet(f, (x,), (line(1.0, 4),))[1])(0.4)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
        np.testing.assert_allclose(run(wg.laplacian(f))(0.4), expected[1], rtol=1e-10)
    np.testing.assert_allclose(wg.linearize(f, 0.4)[1](1.0), expected[0], rtol=1e-12)


@pytest.mark.parametrize(
    "derive",
    [lambda f: wg.jet(f, (1.0,), (line(1.0, 2),)), lambda f: wg.laplacian(f)(1.0), lambda f: wg.linearize(f, 1.0)],
)
def test_what_such_a_function_takes_from_its_surroundings_is_refused(derive):
    def f(y):
        scaled = wg.custom_jvp(lambda z: z * y)
        scaled.defjvp(lambda p, t: (p[0] * y, t[0] * y))
        return scaled(y)

    with pytest.raises(errors.CapturedValueError):
        derive(f)


def test_results_keep_dtypes_and_zeros_are_zeros():
    out, found = wg.jet(lambda x: np.tanh(x) * 2, (np.ones(3, np.float32),), (line(np.ones(3, np.float32), 4),))
    assert out.dtype == np.float32 and all(c.dtype == np.float32 for c in found)
    assert wg.jet(lambda x: np.floor(x) + 1, (0.5,), (line(1.0, 2),)) == (1.0, [0.0, 0.0])
    assert wg.jet(np.sin, (0.5,), ([],)) == (np.sin(0.5), [])
    z = 0.3 + 0.4j
    np.testing.assert_allclose(wg.jet(lambda z: z**3, (z,), (line(1.0 + 0j, 3),))[1], [3 * z**2, 6 * z, 6], rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wg.jet(np.sin, 1.0, [1.0]), errors.TreeMismatchError, "tuples"),
        (lambda: wg.jet(np.sin, (1.0,), ([1.0], [1.0])), errors.TreeMismatchError, "2 series for 1"),
        (lambda: wg.jet(np.sin, (1.0,), (1.0,)), errors.TreeMismatchError, r"series\[0\] is a float"),
        (lambda: wg.jet(np.add, (1.0, 2.0), ([1.0], [1.0, None])), errors.ShapeError, r"series\[0\] has 1 .* has 2"),
        (
            lambda: wg.jet(np.sin, (np.ones(2),), ([None, np.ones(3)],)),
            errors.ShapeError,
            r"series\[0\]\[1\] is f64\[3\]",
        ),
        (lambda: wg.jet(lambda p: p["a"], ({"a": 1.0},), ({"b": [1.0]},)), errors.TreeMismatchError, "containers"),
        (lambda: wg.jet(np.sin, (1,), ([1.0],)), errors.IntegerInputError, r"series\[0\]\[0\] is not zero"),
        (lambda: wg.jet(lambda x: np.nextafter(x, 2.0), (1.0,), ([1.0],)), errors.NotDifferentiableError, "nextafter"),
    ],
)
def test_misuse_is_named(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call()
    assert "test_jet.py" in str(caught.value)
