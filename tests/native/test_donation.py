"""Donated arguments: results lie in their memory, values are those without donation, and misuse is refused."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import DonationError
from wengert.native.donation import unfit
from wengert.testing import random_program

rng = numpy.random.default_rng(0)


def same(f: Any, *args: Any, donate: Any) -> tuple[Any, Any, Any]:
    """A donating function against the plain one; its result, the arguments it was given, and the function."""
    wanted = wg.jit(f)(*[copy.deepcopy(a) for a in args])
    given = [copy.deepcopy(a) for a in args]
    step = wg.jit(f, donate=donate)
    found = step(*given)
    several = isinstance(wanted, tuple)
    for a, b in zip(found if several else (found,), wanted if several else (wanted,), strict=True):
        numpy.testing.assert_array_equal(a, b)
    return found, given, step


def test_an_elementwise_step_is_in_place() -> None:
    x, g = rng.normal(size=(2, 300))
    found, given, step = same(lambda x, g: x - 0.1 * np.tanh(g), x, g, donate="x")
    assert found is given[0]
    plan = step.lower(x, g).memory
    assert plan.copied == [] and plan.outputs == 0 and plan.donated == x.nbytes and plan.arena == 0
    numpy.testing.assert_array_equal(given[1], g)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: x[::-1] * 2,
        lambda x: np.cumsum(x) - x,
        lambda x: x - np.mean(x),
        lambda x: x * np.sum(x[1:] * x[:-1]),
        lambda x: np.roll(x, 1) + x,
        lambda x: np.sort(x) + x[0],
        lambda x: x,
        lambda x: np.concatenate([x[50:], x[:50]]),
        lambda x: np.where(x > 0, x, np.flip(x)),
        lambda x: wg.fori_loop(0, 5, lambda i, v: v + np.roll(v, 1), x),
        lambda x: wg.grad(lambda v: np.sum(np.sqrt(np.abs(v)) * v))(x),
        lambda x: np.zeros(100),
        lambda x: x[np.argsort(x)],
        lambda x: x.reshape(10, 10).T.reshape(100),
    ],
)
def test_whatever_reads_in_another_order_is_right_too(f: Any) -> None:
    for n in (100,):
        found, given, _ = same(f, rng.normal(size=n), donate=0)
        assert numpy.shares_memory(found, given[0])


@pytest.mark.parametrize("n", [1, 2, 5, 16, 17])
def test_small_arrays(n: int) -> None:
    found, given, _ = same(lambda x: x[::-1] + np.sum(x), rng.normal(size=n), donate="x")
    assert numpy.shares_memory(found, given[0])


def test_matrix_product_with_itself_on_both_sides() -> None:
    found, given, step = same(lambda x: x @ x + x, rng.normal(size=(60, 60)), donate="x")
    assert numpy.shares_memory(found, given[0])
    found, given, step = same(lambda x: x @ x, rng.normal(size=(60, 60)), donate="x")
    assert numpy.shares_memory(found, given[0])
    assert step.lower(given[0]).memory.copied == [0] or step.lower(given[0]).memory.arena >= 60 * 60 * 8


def test_optimiser_with_containers() -> None:
    def step(parameters: Any, momentum: Any, x: Any) -> Any:
        def loss(p: Any) -> Any:
            return np.mean((np.tanh(x @ p["w"]) @ p["v"]) ** 2)

        g = wg.grad(loss)(parameters)
        m = {k: 0.9 * momentum[k] + g[k] for k in g}
        return {k: parameters[k] - 0.1 * m[k] for k in m}, m

    def start() -> tuple[Any, Any]:
        r = numpy.random.default_rng(1)
        p = {"w": r.normal(size=(20, 30)), "v": r.normal(size=(30, 5))}
        return p, {k: numpy.zeros_like(v) for k, v in p.items()}

    x = rng.normal(size=(40, 20))
    p, m = start()
    first = dict(p)
    fast = wg.jit(step, donate=("parameters", 1))
    q, n = start()
    plain = wg.jit(step)
    for _ in range(5):
        p, m = fast(p, m, x)
        q, n = plain(q, n, x)
    for k in p:
        numpy.testing.assert_array_equal(p[k], q[k])
        numpy.testing.assert_array_equal(m[k], n[k])
        assert p[k] is first[k]
    assert fast.lower(p, m, x).memory.copied == []


def test_integers_and_dtypes_that_differ() -> None:
    found, given, _ = same(lambda x: x * 2, numpy.arange(50), donate="x")
    assert found is given[0]
    found, given, _ = same(lambda x: x * 0.5, numpy.arange(50), donate="x")
    assert not numpy.shares_memory(found, given[0])


def test_one_memory_for_one_result_only() -> None:
    found, given, _ = same(lambda x: (x + 1, x - 1, x[:3]), rng.normal(size=40), donate="x")
    assert found[0] is given[0] and not numpy.shares_memory(found[1], found[0])
    found, given, _ = same(lambda x, y: (x + y, x - y), rng.normal(size=40), rng.normal(size=40), donate=("x", "y"))
    assert found[0] is given[0] and numpy.shares_memory(found[1], given[1])
    found, given, _ = same(lambda x, y: (y, x), rng.normal(size=40), rng.normal(size=40), donate=("x", "y"))


def test_results_without_axes_are_numbers() -> None:
    assert wg.jit(lambda x: x + 1, donate="x")(numpy.array(2.0)) == 3.0


def test_no_new_array_is_made() -> None:
    step = wg.jit(lambda x: np.tanh(x) * 0.5 + 1, donate="x")
    x = numpy.ones(10**6)
    x = step(x)
    tracemalloc.start()
    for _ in range(3):
        x = step(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100_000


def test_static_arguments_and_keywords() -> None:
    def f(kind: str, x: Any, *, y: Any = 2.0) -> Any:
        return x * y if kind == "times" else x + y

    step = wg.jit(f, static_argnames="kind", donate="x")
    x = numpy.ones(30)
    assert step("times", x) is x and x[0] == 2
    assert step("plus", x=x, y=3.0) is x and x[0] == 5
    step = wg.jit(lambda a, b, *, y: a * b + y, donate="y")
    y = numpy.ones(30)
    assert step(2.0, 3.0, y=y) is y and y[0] == 7


def test_other_transforms_overwrite_nothing() -> None:
    f = wg.jit(lambda x: np.sin(x) * x, donate="x")
    x = rng.normal(size=30)
    kept = x.copy()
    wg.grad(lambda x: np.sum(f(x) ** 2))(x)
    wg.vmap(f)(x.reshape(3, 10))
    wg.jit(lambda x: f(x) + 1)(x)
    v = wg.variable(x)
    np.sum(f(v)).backward()
    f.profile(x)
    numpy.testing.assert_array_equal(x, kept)


def test_pickle_keeps_it() -> None:
    again = pickle.loads(pickle.dumps(wg.jit(increment, donate="x")))
    x = numpy.zeros(20)
    assert again(x) is x


def increment(x: Any) -> Any:
    return x + 1


def test_an_error_leaves_the_function_usable() -> None:
    f = wg.jit(lambda x, i: x[i] + x, donate="x")
    x = numpy.ones(20)
    with pytest.raises(wg.errors.IndexOutOfBoundsError):
        f(x, 20)
    assert f(x, 3) is x


@pytest.mark.parametrize(
    ("donate", "message"),
    [("y", "named 'y'"), (3, "at position 3"), (-1, "at position -1"), (("x", "n"), "donated and static")],
)
def test_parameters_that_cannot_be_donated(donate: Any, message: str) -> None:
    with pytest.raises(DonationError, match=message):
        wg.jit(lambda x, n: x * n, static_argnames="n", donate=donate)


def test_arrays_that_cannot_be_donated() -> None:
    f = wg.jit(lambda x, y: x + y, donate="x")
    a, locked = numpy.ones((4, 4)), numpy.ones((4, 4))
    locked.flags.writeable = False
    for x, message in [
        ([1.0, 2.0], "type float"),
        (2.0, "type float"),
        (numpy.float64(2.0), "type float64"),
        (locked, "read-only"),
        (a.T, "contiguous"),
        (a[:, ::2], "contiguous"),
        (a.astype(">f8"), "contiguous"),
    ]:
        with pytest.raises(DonationError, match=message):
            f(x, 1.0)
    with pytest.raises(DonationError, match="x shares memory"):
        f(a, a)
    with pytest.raises(DonationError, match="x shares memory"):
        f(a, a[::-1])
    with pytest.raises(DonationError, match="x shares memory"):
        f(a[1:], a[1])
    b = numpy.ones((8, 4))
    assert numpy.shares_memory(f(b[:4], b[4:]), b)


def test_branches_and_donation_do_not_go_together() -> None:
    with pytest.raises(DonationError, match="branches"):
        wg.jit(lambda x: x, branches=True, donate="x")


@pytest.mark.parametrize("seed", range(25))
def test_random_programs_compute_the_same(seed: int) -> None:
    program = random_program(seed)
    given = copy.deepcopy(list(program.inputs))
    donated = tuple(k for k, a in enumerate(given) if isinstance(a, numpy.ndarray) and unfit(a) is None)
    wanted = wg.jit(program.function)(*given)
    found = wg.jit(program.function, donate=donated)(*given)
    for a, b in zip(found, wanted, strict=True):
        numpy.testing.assert_array_equal(a, b)
