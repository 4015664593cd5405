"""vmap: any axes of any containers, control flow by lanes and by masks, nesting, linear algebra, errors that name."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

import wengert as wg
import wengert.errors as errors
import wengert.numpy as wnp

RNG = np.random.default_rng(7)


class Point(NamedTuple):
    x: np.ndarray
    y: np.ndarray


def ways(f):
    """The mapped function on numbers, as a graph, and compiled."""
    return [f, lambda *args: wg.trace(f, *args)(*args), wg.jit(f)]


def same(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


# Axes -----------------------------------------------------------------------------------------------------


def energy(p, q, scale=1.0):
    return {"dot": np.sum(p["a"] * q.x) * scale, "outer": (p["b"][:, None] * q.y, p["a"])}


@pytest.mark.parametrize("axis", [0, 1, -1, -2])
def test_axes_of_containers_are_moved_in_and_out(axis):
    a, b = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 2))
    x, y = RNG.normal(size=(3,)), RNG.normal(size=(4, 5))
    put = lambda z: np.moveaxis(z, 0, axis)
    in_axes = ({"a": axis, "b": 0}, Point(None, axis))
    out_axes = {"dot": 0, "outer": (axis, -1)}
    expected = [energy({"a": a[k], "b": b[k]}, Point(x, y[k])) for k in range(4)]
    for run in ways(wg.vmap(energy, in_axes, out_axes)):
        got = run({"a": put(a), "b": b}, Point(x, put(y)))
        same(got["dot"], [e["dot"] for e in expected])
        same(got["outer"][0], np.stack([e["outer"][0] for e in expected], axis))
        same(got["outer"][1], np.stack([e["outer"][1] for e in expected], -1))


def test_prefixes_of_containers_and_keywords():
    p = {"w": RNG.normal(size=(4, 3)), "b": [RNG.normal(size=4), RNG.normal(size=4)]}
    f = lambda p, x, *, shift: np.sum(p["w"] * x) + p["b"][0] * p["b"][1] + shift
    x, shift = RNG.normal(size=3), np.arange(4.0)
    expected = [f({"w": p["w"][k], "b": [v[k] for v in p["b"]]}, x, shift=shift[k]) for k in range(4)]
    for axes in [(0, None), [0, None], ({"w": 0, "b": 0}, None), ({"w": 0, "b": [0, -1]}, None)]:
        same(wg.vmap(f, axes)(p, x, shift=shift), expected)
    same(wg.vmap(lambda p: p["w"] * 2, out_axes=1)(p), (2 * p["w"]).T)


def test_axis_size_and_outputs_that_do_not_depend_on_the_lane():
    same(wg.vmap(lambda x: x + 1, in_axes=None, axis_size=3)(2.0), [3.0, 3.0, 3.0])
    both = wg.vmap(lambda x, y: (x * 2, np.sum(y)), in_axes=(None, 0), out_axes=(None, 0))
    once, each = both(3.0, np.ones((4, 2)))
    assert once == 6.0 and each.tolist() == [2.0] * 4
    assert wg.vmap(lambda x: x * 2)(np.zeros((0, 3))).shape == (0, 3)
    assert wg.vmap(lambda x: np.sum(x), axis_size=2)(np.ones((2, 3))).tolist() == [3.0, 3.0]


def test_nested_maps_and_derivatives_through_them():
    x, y = RNG.normal(size=(4, 3)), RNG.normal(size=(5, 3))
    gram = wg.vmap(wg.vmap(np.dot, (None, 0)), (0, None))
    for run in ways(gram):
        same(run(x, y), x @ y.T)
    swapped = wg.vmap(wg.vmap(np.dot, (None, 0), 0), (0, None), 1)
    same(swapped(x, y), y @ x.T)
    same(wg.grad(lambda x: np.sum(gram(x, y) ** 2))(x), 2 * (x @ y.T) @ y)
    f = lambda v: np.sum(np.sin(v) * v[0])
    same(wg.vmap(wg.hessian(f))(x), [wg.hessian(f)(row) for row in x])
    same(wg.jvp(wg.vmap(f), (x,), (x,))[1], [wg.jvp(f, (row,), (row,))[1] for row in x])


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: np.linalg.solve(a, b),
        lambda a, b: np.linalg.inv(a) @ b,
        lambda a, b: np.linalg.det(a) * b,
        lambda a, b: np.linalg.cholesky(a @ a.T + 3 * np.eye(3)) @ b,
        lambda a, b: np.linalg.eigh(a @ a.T)[0] * b,
        lambda a, b: np.linalg.svd(a)[1] * b,
        lambda a, b: np.linalg.qr(a)[1] @ b,
        lambda a, b: np.linalg.norm(a) + np.linalg.slogdet(a)[1] * b,
    ],
)
def test_linear_algebra_over_lanes(f):
    a, b = RNG.normal(size=(4, 3, 3)), RNG.normal(size=(3, 4))
    same(wg.vmap(f, (0, 1))(a, b), [f(a[k], b[:, k]) for k in range(4)])
    loss = lambda a, b: np.sum(f(a, b) ** 2)
    got = wg.vmap(wg.grad(loss, (0, 1)), (0, 1))(a, b)
    for k in range(4):
        for mine, theirs in zip(got, wg.grad(loss, (0, 1))(a[k], b[:, k]), strict=True):
            np.testing.assert_allclose(mine[k], theirs, rtol=1e-9, atol=1e-11)


# Control flow ---------------------------------------------------------------------------------------------


def countdown(v):
    """Ends only for a whole number that is not negative."""
    return wg.while_loop(lambda s: s != 0.0, lambda s: s - 1.0, v)


def guarded(x):
    return wg.cond(x > 0, lambda v: countdown(wnp.round(v)) + v * v, lambda v: np.sin(v), x)


TABLE = np.arange(1.0, 6)


def horner(n, x):
    """Reads TABLE[0 .. n-1]; one step too many would be out of bounds."""
    start = (0, 0.0)
    return wg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x + wnp.take(TABLE, s[0])), start)[1]


def loop_in_loop(x):
    """The inner loop ends only for lanes whose outer loop is at work."""

    def body(state):
        k, v = state
        powers = wg.while_loop(lambda s: s[0] != 0, lambda s: (s[0] - 1, s[1] * x), (k, 1.0))[1]
        return k - 1, v * 1.1 + powers

    return wg.while_loop(lambda s: s[0] != 0, body, (wnp.round(x * 2).astype(int), x))[1]


def three_ways(x):
    index = wnp.where(x > 1, 2, wnp.where(x > 0, 1, 0))
    return wg.switch(index, [lambda v: countdown(wnp.round(-v)) * v, np.sin, lambda v: v**3], x)


XS = np.array([-1.5, 2.2, 0.5, 3.1, -0.5])
LANES = {
    "guarded": (guarded, 0, (XS,)),
    "horner": (horner, 1, (np.array([1, 5, 0, 3]), np.array([0.5, 0.7, 0.3, 0.9]))),
    "loop in loop": (loop_in_loop, 0, (np.array([0.5, 1.7, 0.1, 2.2]),)),
    "three ways": (three_ways, 0, (XS,)),
}


@pytest.mark.parametrize("name", LANES)
@pytest.mark.parametrize("order", [0, 1, 2])
def test_each_lane_runs_its_own_branch_and_steps(name, order):
    """Programs that would not end, or read out of bounds, if a lane ran what is another's."""
    f, at, args = LANES[name]
    for _ in range(order):
        f = wg.grad(f, at)
    expected = [f(*(a[k] for a in args)) for k in range(len(args[0]))]
    for run in ways(wg.vmap(f)):
        same(run(*args), expected)


@pytest.mark.parametrize("name", LANES)
def test_derivatives_of_a_mapped_function(name):
    f, at, args = LANES[name]
    total = lambda *args: np.sum(wg.vmap(f)(*args))
    expected = [wg.grad(f, at)(*(a[k] for a in args)) for k in range(len(args[0]))]
    for run in ways(wg.grad(total, at)):
        same(run(*args), expected)
    along = lambda x: wg.jvp(lambda x: wg.vmap(f)(*args[:at], x), (x,), (np.ones_like(x),))[1]
    for run in ways(along):
        same(run(args[at]), expected)


@pytest.mark.parametrize("name", LANES)
def test_lanes_of_lanes(name):
    f, at, args = LANES[name]
    for g in (f, wg.grad(f, at)):
        expected = np.array([g(*(a[k] for a in args)) for k in range(len(args[0]))])
        for run in ways(wg.vmap(wg.vmap(g))):
            same(run(*(np.stack([a, a[::-1]]) for a in args)), [expected, expected[::-1]])


def test_lanes_in_a_scan():
    f = lambda x: wg.scan(lambda c, t: (c + guarded(c * 0 + x + t), c), x, np.arange(3.0))[0]
    for run in ways(wg.vmap(wg.grad(f))):
        same(run(XS), [wg.grad(f)(x) for x in XS])


def fits_all_lanes(x):
    grown = wg.while_loop(lambda v: v < 9.0, lambda v: v * 1.7 + 0.1, wnp.abs(x) + 0.5)
    return wg.cond(x > 0, lambda v: v * grown, np.sin, x)


def test_masks_give_the_same_and_are_free_of_branches():
    for f in (fits_all_lanes, wg.grad(fits_all_lanes)):
        expected = [f(x) for x in XS]
        for run in ways(wg.vmap(f, mode="mask")):
            same(run(XS), expected)
        same(wg.vmap(f)(XS), expected)
        same(wg.vmap(wg.vmap(f, mode="mask"), mode="mask")(np.stack([XS, XS[::-1]])), [expected, expected[::-1]])
    masked = {n.primitive.name for n in wg.trace(wg.vmap(fits_all_lanes, mode="mask"), XS).all_nodes()}
    lanes = {n.primitive.name for n in wg.trace(wg.vmap(fits_all_lanes), XS).all_nodes()}
    assert "switch" not in masked and "scan" not in masked and "where" in masked
    assert "switch" in lanes and "scan" in lanes


def test_a_mask_runs_what_other_lanes_need():
    with pytest.raises(errors.IndexOutOfBoundsError, match="5"):
        wg.vmap(horner, mode="mask")(np.array([5, 1, 7]), np.ones(3))
    with pytest.raises(errors.IndexOutOfBoundsError, match="5"):
        wg.vmap(horner)(np.array([1, 7]), np.ones(2))  # a lane's own mistake is an error all the same


def test_lanes_with_shared_decision_share_the_branch():
    f = lambda p, x: wg.cond(p, lambda v: v * 2, lambda v: v * 3, x)
    graph = wg.trace(wg.vmap(f, (None, 0)), True, XS)
    assert [n.primitive.name for n in graph.nodes] == ["switch"]
    same(graph(True, XS), XS * 2)
    same(wg.vmap(f)(np.zeros(0, bool), np.zeros(0)), np.zeros(0))


def test_a_branch_out_of_range_is_an_error_in_any_lane():
    f = lambda k: wg.switch(k, [lambda: 1.0, lambda: 2.0])
    for run in ways(wg.vmap(f)):
        same(run(np.array([1, 0])), [2.0, 1.0])
        with pytest.raises(errors.IndexOutOfBoundsError, match="2 branches"):
            run(np.array([1, 2]))


def test_branches_of_integers_and_several_results():
    f = lambda x: wg.cond(x > 0, lambda v: (v, 1, {"n": v > 1}), lambda v: (-v, 2, {"n": v < -1}), x)
    for run in ways(wg.vmap(f)):
        values, kinds, flags = run(XS)
        same(values, np.abs(XS))
        assert kinds.tolist() == [2, 1, 1, 1, 2] and kinds.dtype == np.int64
        assert flags["n"].tolist() == [True, True, False, True, False]


# Misuse ---------------------------------------------------------------------------------------------------


def two(params, x):
    return np.sum(params["w"]) * x


W = {"w": np.ones((3, 2)), "b": np.ones(3)}


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: wg.vmap(two)(W, np.ones(4)), r"argument x has 4 .*argument params\['w'\] has 3"),
        (lambda: wg.vmap(two, (2, None))(W, 1.0), r"axis 2 of argument params\['b'\], which has shape \(3,\)"),
        (lambda: wg.vmap(two, (0, 0))(W, 1.0), r"axis 0 of argument x, which has shape \(\)"),
        (lambda: wg.vmap(two, (0, -2))(W, np.ones(3)), r"axis -2 of argument x"),
        (lambda: wg.vmap(two, (0,))(W, 1.0), "1 entries, but there are 2 arguments"),
        (lambda: wg.vmap(two, ({"w": 0}, None))(W, 1.0), r"argument params .*params\['b'\] has no entry"),
        (lambda: wg.vmap(two, ({"w": 0, "b": 0, "c": 0}, None))(W, 1.0), r"no argument params\['c'\]"),
        (lambda: wg.vmap(two, ({"w": "0", "b": 0}, None))(W, 1.0), r"in_axes of argument params\['w'\] is '0'"),
        (lambda: wg.vmap(two, (0, True))(W, np.ones(3)), "in_axes of argument x is True"),
        (lambda: wg.vmap(two, (0, (0,)))(W, np.ones(3)), "argument x is .*the value is no container"),
        (lambda: wg.vmap(two, ([0, 0], None))(W, 1.0), "argument params"),
        (lambda: wg.vmap(two, (None, None))(W, 1.0), "no argument is mapped"),
        (lambda: wg.vmap(two, (0, None), axis_size=5)(W, 1.0), r"params\['b'\] has 3 .*axis_size has 5"),
        (lambda: wg.vmap(two, (0, None), axis_size=-1)(W, 1.0), "axis_size -1"),
        (lambda: wg.vmap(two, (0, None), 3)(W, 1.0), "out_axes 3 for output"),
        (lambda: wg.vmap(two, (0, None), None)(W, 1.0), "output has out_axes=None but depends"),
        (lambda: wg.vmap(lambda w: (w, {"s": w}), out_axes=(0, {"s": 4}))(W["w"]), r"output\[1\]\['s'\]"),
        (lambda: wg.vmap(lambda w: (w, w), out_axes=(0, 0, 0))(W["w"]), r"out_axes of output .*no output\[2\]"),
        (lambda: wg.vmap(two, mode="select"), "mode 'select'"),
    ],
)
def test_wrong_axes_name_the_leaf(call, text):
    with pytest.raises(errors.BatchAxisError, match=text) as caught:
        call()
    assert "test_vmap.py" in str(caught.value) and "repair" in str(caught.value)


def test_masks_of_long_batches_compile():
    """A carry and the flags of the lanes are read by each other's new values."""
    f = lambda x: wg.while_loop(lambda s: s[0] > 1, lambda s: (np.sqrt(s[0]) * 0.999, s[1] + 1), (x, 0))[1]
    xs = np.linspace(1, 1e6, 40)
    expected = [f(x) for x in xs]
    for mode in ("lanes", "mask"):
        for run in ways(wg.vmap(f, mode=mode)):
            assert run(xs).tolist() == expected
