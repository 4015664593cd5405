"""Loops and branches: values, both modes, higher order, batching, static graphs, captured values, errors."""

from __future__ import annotations

import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors
import wengert.numpy as wnp


def slope(f, x, step=1e-6):
    return (f(x + step) - f(x - step)) / (2 * step)


def rollout(w, start):
    last, ys = wg.scan(lambda c, x: (np.sin(c * w) + x, c * x), start, np.array([0.1, 0.2, 0.3]))
    return last * 2 + np.sum(ys * ys)


def contraction(w, x):
    return wg.while_loop(lambda v: v * v > 0.1, lambda v: np.sin(v) * w, x)


def nested(w, x):
    """A while loop in a scan, both capturing `w`."""

    def step(c, t):
        inner = wg.while_loop(lambda v: v < 4.0, lambda v: v * (1.5 + 0.1 * w), wnp.abs(c) + t)
        return np.sin(inner) * w, inner

    last, ys = wg.scan(step, x, np.arange(3.0) + 1)
    return last + np.sum(ys)


def branching(w, x):
    return wg.cond(x * w > 0.3, lambda v: np.sin(v) * w, lambda v: v * v * w, x)


def chosen(w, x):
    index = wnp.where(x > 1, 2, wnp.where(x > 0.5, 1, 0))
    return wg.switch(index, [lambda: x * w, lambda: np.cos(x * w), lambda: w**3])


def counted(w, x):
    return wg.fori_loop(0, 5, lambda i, v: v * w + i * x, x)


PROGRAMS = [rollout, contraction, nested, branching, chosen, counted]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("x", [0.4, 0.7, 2.0])
def test_both_modes_and_second_order_agree_with_differences(program, x):
    f = lambda w: program(w, x)
    g = wg.grad(f)
    np.testing.assert_allclose(g(0.8), slope(f, 0.8), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(wg.jvp(f, (0.8,), (1.0,))[1], g(0.8), rtol=1e-12)
    second = slope(g, 0.8)
    np.testing.assert_allclose(wg.grad(g)(0.8), second, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(wg.jvp(g, (0.8,), (1.0,))[1], wg.grad(g)(0.8), rtol=1e-10)
    forward = lambda w: wg.jvp(f, (w,), (1.0,))[1]
    np.testing.assert_allclose(wg.grad(forward)(0.8), wg.grad(g)(0.8), rtol=1e-10)
    np.testing.assert_allclose(wg.jvp(forward, (0.8,), (1.0,))[1], wg.grad(g)(0.8), rtol=1e-10)


@pytest.mark.parametrize("program", PROGRAMS)
def test_static_graph_gives_what_evaluation_gives(program):
    for order, f in enumerate([program, wg.grad(program), wg.grad(wg.grad(program))]):
        graph = wg.trace(f, 0.8, 0.7)
        for x in (0.4, 0.7, 2.0):  # the graph holds every branch and any number of steps
            np.testing.assert_allclose(graph(0.8, x), f(0.8, x), rtol=1e-10, atol=1e-12, err_msg=f"order {order}")


@pytest.mark.parametrize("program", PROGRAMS)
def test_vmap_is_a_loop(program):
    xs = np.array([0.2, 0.4, 0.7, 1.0, 2.0])
    ws = np.array([0.8, 0.5, 0.9, 0.8, 0.3])
    for f in (program, wg.grad(program), wg.grad(wg.grad(program))):
        expected = [f(w, x) for w, x in zip(ws, xs, strict=True)]
        np.testing.assert_allclose(wg.vmap(f)(ws, xs), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(wg.trace(wg.vmap(f), ws, xs)(ws, xs), expected, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(wg.vmap(f, (None, 0))(0.8, xs), [f(0.8, x) for x in xs], rtol=1e-10, atol=1e-12)
    batched = lambda ws: wg.vmap(program)(ws, xs).sum()
    np.testing.assert_allclose(
        wg.grad(batched)(ws), [wg.grad(program)(w, x) for w, x in zip(ws, xs, strict=True)], rtol=1e-10
    )


def test_define_by_run_goes_through_loops_and_differentiates_again():
    w = wg.variable(0.8)
    y = rollout(w, 0.5)
    y.backward(create_graph=True)
    first, w.grad = w.grad, None
    first.backward()
    np.testing.assert_allclose(w.grad, wg.grad(wg.grad(rollout))(0.8, 0.5), rtol=1e-12)


def test_scan_over_containers_in_reverse_and_of_no_steps():
    xs = {"a": np.arange(6.0).reshape(3, 2), "b": np.arange(3)}
    carry, ys = wg.scan(lambda c, x: (c + x["a"] * x["b"], (c, x["b"])), np.zeros(2), xs, reverse=True)
    np.testing.assert_allclose(carry, (xs["a"] * xs["b"][:, None]).sum(0))
    assert ys[0].shape == (3, 2) and ys[1].tolist() == [0, 1, 2]
    last, empty = wg.scan(lambda c, x: (c * x, x), 2.0, np.zeros(0))
    assert last == 2.0 and empty.shape == (0,)
    np.testing.assert_allclose(wg.grad(lambda c: wg.scan(lambda v, x: (v * x, x), c, np.zeros(0))[0])(2.0), 1.0)


def test_while_loop_of_no_steps_and_of_many():
    f = lambda x: wg.while_loop(lambda v: v < 1.0, lambda v: v + 0.001 * v, x)
    assert f(3.0) == 3.0 and wg.grad(f)(3.0) == 1.0
    np.testing.assert_allclose(wg.grad(f)(0.001), slope(f, 0.001, 1e-9), rtol=1e-4)


def test_fori_loop_with_traced_bounds():
    f = lambda n, x: wg.fori_loop(0, n, lambda i, v: v * x, 1.0)
    graph = wg.trace(wg.grad(f, argnums=1), 3, 2.0)
    np.testing.assert_allclose([graph(n, 2.0) for n in (0, 1, 5)], [0.0, 1.0, 80.0])


def test_map_and_associative_scan():
    xs = np.random.default_rng(0).normal(size=(7, 3))
    np.testing.assert_allclose(wg.map(lambda x: np.sum(x * x), xs), (xs * xs).sum(1))
    for n in range(8):
        x = xs[:n, 0]
        np.testing.assert_allclose(wg.associative_scan(np.multiply, x), np.cumprod(x), rtol=1e-12)
        np.testing.assert_allclose(wg.associative_scan(np.add, x, reverse=True), np.cumsum(x[::-1])[::-1], rtol=1e-12)
    affine = lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1])

    def recurrence(a, b):
        return np.sum(wg.associative_scan(affine, (a, b))[1] ** 2)

    def loop(a, b):
        h, total = 0.0, 0.0
        for k in range(7):
            h = a[k] * h + b[k]
            total = total + h**2
        return total

    a, b = xs[:, 0], xs[:, 1]
    for got, wanted in zip(wg.grad(recurrence, (0, 1))(a, b), wg.grad(loop, (0, 1))(a, b), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10)
    np.testing.assert_allclose(wg.associative_scan(np.add, xs, axis=1), np.cumsum(xs, 1), rtol=1e-12)


def test_a_branch_not_taken_does_not_run():
    def refuse(x):
        raise AssertionError("ran")

    assert wg.cond(True, lambda x: x, refuse, 1.0) == 1.0
    graph = wg.trace(lambda p, x: wg.cond(p, lambda v: np.log(v), lambda v: v, x), True, 1.0)
    with np.errstate(all="raise"):
        assert graph(False, 0.0) == 0.0  # log(0) would raise


def test_what_a_body_computes_of_captured_values_runs_only_with_it():
    singular = np.zeros((2, 2))

    def chosen(p, w):
        return wg.cond(p, lambda: np.sum(np.linalg.inv(w)), lambda: np.sum(w))

    graph = wg.trace(wg.grad(chosen, argnums=1), True, singular)
    np.testing.assert_array_equal(graph(False, singular), np.ones((2, 2)))
    nothing = lambda w: wg.while_loop(lambda v: v < 0.0, lambda v: v + np.sum(np.linalg.inv(w)), 1.0)
    np.testing.assert_array_equal(wg.grad(nothing)(singular), singular)
    w = wg.variable(singular)
    assert nothing(w) == 1.0
    none = lambda w: wg.scan(lambda c, x: (c + np.sum(np.linalg.inv(w)), x), 1.0, np.zeros(0))[0]
    np.testing.assert_array_equal(wg.grad(none)(singular), singular)
    assert np.sum(w * 2.0).numpy() == 0.0  # and the record of variables is as before


def test_integer_carries_and_promotion():
    total, count = wg.while_loop(lambda s: s[1] < 5, lambda s: (s[0] + 0.5, s[1] + 1), (0, 0))
    assert total == 2.5 and count == 5
    np.testing.assert_allclose(
        wg.grad(lambda x: wg.fori_loop(0, 3, lambda i, s: (s[0] * x, s[1] + i), (1.0, 0))[0])(2.0), 12.0
    )


def test_python_conditions_on_the_carry_work_outside_loops_only():
    with pytest.raises(errors.ConcretizationError, match=r"wg\.cond"):
        wg.scan(lambda c, x: (c if c > 0 else x, c), 0.0, np.ones(3))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: wg.scan(lambda c, x: c, 0.0, np.ones(3)), errors.TreeMismatchError, "return \\(carry, y\\)"),
        (lambda: wg.scan(lambda c, x: ((c, c), x), 0.0, np.ones(3)), errors.TreeMismatchError, "carry"),
        (lambda: wg.scan(lambda c, x: (x, c), 0.0, np.ones((3, 2))), errors.ShapeError, "carry"),
        (lambda: wg.scan(lambda c, x: (c, c), 0.0, {"a": np.ones(3), "b": np.ones(4)}), errors.ShapeError, "'b'"),
        (lambda: wg.scan(lambda c, x: (c, c), 0.0), errors.ShapeError, "length"),
        (lambda: wg.while_loop(lambda v: v > 0, lambda v: v - 1, np.ones(2)), errors.ShapeError, "boolean"),
        (lambda: wg.scan(lambda c, _: (c, c), 1.0, length=-1), errors.ShapeError, "length -1"),
        (lambda: wg.scan(lambda c, _: (c, c), 1.0, length=3.0), errors.ShapeError, "an integer"),
        (lambda: wg.switch(2, [lambda: 1.0, lambda: 2.0]), errors.IndexOutOfBoundsError, "2 branches"),
        (lambda: wg.switch(0.5, [lambda: 1.0]), errors.DtypeError, "integer"),
        (lambda: wg.cond(np.ones(2) > 0, lambda: 1.0, lambda: 2.0), errors.ShapeError, "np.where"),
        (
            lambda: wg.trace(lambda p, x: wg.cond(p, lambda: x, lambda: np.ones(2) * x), True, 1.0),
            errors.ShapeError,
            "branch",
        ),
        (lambda: wg.trace(lambda k: wg.switch(k, [lambda: 1.0, lambda: 2.0]), 0)(5), errors.IndexOutOfBoundsError, "5"),
    ],
)
def test_misuse_is_named(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call()
    assert "test_control.py" in str(caught.value)
