"""Python's `if`, `while` and `and` under `jit(f, branches=True)`: pieces that are compiled and chosen at run time."""

from __future__ import annotations

import threading
import warnings

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import BranchLimitWarning, ConcretizationError
from wengert.native import branches, entry

needs_native = pytest.mark.skipif(not entry.available, reason="objects are laid out otherwise in this interpreter")


def jit(f, most=True):
    return wg.jit(f, branches=most)


def same(a, b, rtol=1e-13):
    if isinstance(a, (tuple, list)):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y, rtol)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        same(list(a.values()), list(b.values()), rtol)
    elif a is not None or b is not None:
        numpy.testing.assert_allclose(a, b, rtol=rtol, atol=1e-14)


X = numpy.linspace(-2, 3, 9)


def absolute(x):
    return x if x > 0 else -x


def sign_name(x):
    if x < 0:
        return -1.0
    elif x == 0:
        return 0.0
    return 1.0


def both(x, y):
    if x > 0 and y > 0:
        return x * y
    if x > 0 or y > 0:
        return x + y
    return x - y


def bisection(a, b):
    def f(x):
        return x * x * x - 2

    n = 0
    while b - a > 1e-6:
        middle = (a + b) / 2
        if f(middle) * f(a) > 0:
            a = middle
        else:
            b = middle
        n += 1
    return {"root": (a + b) / 2, "steps": n}


def newton(x):
    while abs(x * x - 2) > 1e-12:
        x = (x + 2 / x) / 2
    return x


def early_return(x):
    total = np.sum(x)
    for k in range(9):
        total = total + x[k] ** 2
        if total > 4:
            return total, k
    return total, 9


def keeps_values_over_branches(x):
    a = np.sin(x)
    b = np.cos(x)
    scale = np.sum(a * b)
    y = a * 2
    if scale > 0:
        y[0] = b[1]
        y = y + x
    else:
        y[1:] = 0.0
    z = b - a
    if np.max(y) > 2:
        return y @ z
    return np.sum(y) * scale


def clipped(x):
    return [min(max(v, -1.0), 1.0) for v in (x[0], x[4], x[8])]


def sorted_by_python(x):
    return np.stack(sorted([x[3], x[0], x[7], x[5]]))


def nested_containers(p):
    if p["w"][0] > 0:
        return {"a": [p["w"], None], "b": ()}
    return {"c": -p["w"]}


def converts(x):
    return np.sum(x) if bool(np.any(x > 2)) else -np.sum(x)


def not_an_answer(x):
    return x * 2 if not (x[0] > 0) else x * 3


CASES = [
    (absolute, [(2.0,), (-2.0,), (0.5,), (-7.0,)]),
    (sign_name, [(2.0,), (0.0,), (-3.0,), (numpy.float64(4),)]),
    (both, [(1.0, 2.0), (1.0, -2.0), (-1.0, 2.0), (-1.0, -2.0), (2.0, 2.0)]),
    (bisection, [(0.0, 2.0), (1.0, 1.5), (-3.0, 4.0), (0.0, 2.0)]),
    (newton, [(1.0,), (5.0,), (-3.0,), (1.4142135623730951,)]),
    (early_return, [(X,), (X * 3,), (X * 0.1,), (-X,)]),
    (keeps_values_over_branches, [(X,), (X * 3,), (-X,), (X * 0.1,)]),
    (clipped, [(X,), (X * 0.1,), (-X,)]),
    (sorted_by_python, [(X,), (-X,), (numpy.sin(X * 5),)]),
    (nested_containers, [({"w": X},), ({"w": -X},)]),
    (converts, [(X,), (X * 0.1,)]),
    (not_an_answer, [(X,), (-X,)]),
]


@pytest.mark.parametrize("fn, calls", CASES, ids=[fn.__name__ for fn, _ in CASES])
def test_unmodified_python_compiles(fn, calls):
    f = jit(fn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for args in calls + calls:
            same(f(*args), fn(*args))
    (tree,) = {id(t): t for t in f._known.values()}.values() if len(f._known) == 1 else list(f._known.values())[:1]
    assert tree.given_up is None
    assert tree.count > 1


def test_other_branches_are_traced_when_first_met():
    runs = []

    @jit
    def f(x):
        runs.append(1)
        return x * 2 if x > 0 else x * 3

    assert f(1.0) == 2
    assert f(4.0) == 8
    assert len(runs) == 1
    assert f(-1.0) == -3
    assert f(-2.0) == -6
    assert f(3.0) == 6
    assert len(runs) == 2


def test_turns_of_a_loop_are_compiled_once():
    f = jit(newton)
    f(100.0)
    (tree,) = f._known.values()
    assert tree.count > 8
    assert len(tree.lowered) <= 4


def test_a_function_without_branches_is_one_program():
    f = jit(lambda x, y: x * y + 1)
    for _ in range(3):
        same(f(X, 2.0), X * 2 + 1)
    (tree,) = f._known.values()
    assert tree.count == 1
    assert len(f._records) <= 1


@needs_native
def test_a_settled_tree_is_one_program(monkeypatch):
    calls = []
    original = branches.Tree.__call__
    monkeypatch.setattr(branches.Tree, "__call__", lambda self, *a: (calls.append(1), original(self, *a))[1])
    f = jit(bisection)
    for _ in range(20):
        same(f(0.0, 2.0), bisection(0.0, 2.0))
    (tree,) = f._known.values()
    assert tree.straight is None
    assert tree.count > 24  # too long to be compiled as a whole
    f = jit(both)
    points = [(1.0, 2.0), (-1.0, 2.0), (-1.0, -2.0)]
    for args in points * 6:
        same(f(*args), both(*args))
    calls.clear()
    for args in points:
        same(f(*args), both(*args))
    assert not calls
    assert "now one program" in str(f.explain())
    same(f(1.0, -2.0), both(1.0, -2.0))  # a branch that is missing in the program
    assert len(calls) == 1
    for args in [*points, (2.0, -3.0)] * 6:
        same(f(*args), both(*args))
    calls.clear()
    same(f(1.0, -2.0), both(1.0, -2.0))
    assert not calls


@needs_native
def test_settled_trees_of_arrays_containers_and_errors():
    def f(p, i):
        x = p["x"][i]
        if x > 0:
            return {"y": np.sin(p["x"]), "k": 1}
        return {"y": p["x"] * x, "k": 2}

    g = jit(f)
    for _ in range(15):
        for i in (0, 8):
            found = g({"x": X}, i)
            same(found, f({"x": X}, i))
            assert type(found["k"]) is numpy.int64
    with pytest.raises(wg.errors.IndexOutOfBoundsError) as caught:
        g({"x": X}, 99)
    assert caught.value.source.text == 'x = p["x"][i]'
    slope = jit(wg.grad(lambda x: x**3 if x > 1 else x))
    for _ in range(15):
        assert [slope(2.0), slope(0.5)] == [12, 1]
    other_results = jit(nested_containers)
    for _ in range(15):
        same(other_results({"w": X}), nested_containers({"w": X}))
        same(other_results({"w": -X}), nested_containers({"w": -X}))
    (tree,) = other_results._known.values()
    assert tree.straight is None


def test_dead_values_are_not_kept():
    @jit
    def f(x):
        big = np.exp(np.outer(x, x))
        total = np.sum(big)
        del big
        return total if total > 1 else -total

    f(X)
    (tree,) = f._known.values()
    assert all(atom.shape == () for atom in tree.first.graph.outputs)


def test_what_only_the_machinery_holds_is_computed_again(monkeypatch):
    """Reference counting is an economy: a value that was not kept is found all the same."""
    monkeypatch.setattr(branches.weakref, "ref", lambda tensor: lambda: None)
    for fn, calls in [case for case in CASES if case[0] in (keeps_values_over_branches, both, newton)]:
        f = jit(fn)
        for args in calls + calls:
            same(f(*args), fn(*args))


def test_derivatives_follow_the_branch_taken():
    def f(x):
        y = x
        while y < 100:
            y = y * x if x > 3 else y * 10
        return y

    for x in (2.0, 5.0, 50.0, 200.0):
        assert wg.grad(jit(f))(x) == pytest.approx(wg.grad(f)(x), rel=1e-12)
        assert jit(wg.grad(f))(x) == pytest.approx(wg.grad(f)(x), rel=1e-12)
        assert jit(wg.grad(jit(f)))(x) == pytest.approx(wg.grad(f)(x), rel=1e-12)
        assert wg.jvp(jit(f), (x,), (1.0,))[1] == pytest.approx(wg.grad(f)(x), rel=1e-12)
        assert wg.grad(wg.grad(jit(f)))(x) == pytest.approx(wg.grad(wg.grad(f))(x), rel=1e-12)
    both_ways = jit(wg.value_and_grad(keeps_values_over_branches))
    for x in (X, -X, X * 3, X * 0.1, X):
        same(both_ways(x), wg.value_and_grad(keeps_values_over_branches)(x))
    leaf = wg.variable(5.0)
    y = jit(f)(leaf)
    y.backward()
    assert leaf.grad == pytest.approx(wg.grad(f)(5.0))


def test_a_batch_has_no_single_answer():
    with pytest.raises(ConcretizationError):
        wg.vmap(jit(absolute))(X)
    with pytest.raises(ConcretizationError):
        wg.jit(jit(absolute))(1.0)
    assert jit(lambda x: jit(absolute)(x) + 1)(-3.0) == 4


def test_the_default_is_a_clear_error():
    with pytest.raises(ConcretizationError, match=r"wg\.cond") as caught:
        wg.jit(absolute)(1.0)
    assert caught.value.source.text == "return x if x > 0 else -x"
    with pytest.raises(ConcretizationError):
        jit(lambda x: range(x))(3)  # a number, not an answer


def test_loops_of_the_graph_ask_no_questions():
    with pytest.raises(ConcretizationError):
        jit(lambda x: wg.fori_loop(0, 3, lambda k, s: s + 1 if s > 0 else s - 1, x))(1.0)
    f = jit(lambda x: wg.fori_loop(0, 3, lambda k, s: s * x, 1.0) if x > 0 else 0.0)
    assert f(2.0) == 8
    assert f(-2.0) == 0


def test_ambiguous_arrays():
    with pytest.raises(ValueError, match="ambiguous"):
        jit(lambda x: x if x > 0 else -x)(X)
    same(jit(lambda x: x if x[:1] > 0 else -x)(X), -X)


def test_the_limit_is_told_with_the_line():
    def slow(x):
        n = 0
        while x > 1:  # this line
            x, n = x / 2, n + 1
        return n

    f = jit(slow, 6)
    assert f(8.0) == 3
    with pytest.warns(BranchLimitWarning, match=r"slow needs more than the 6 pieces.*test_branches.py:\d+") as caught:
        assert f(1e9) == slow(1e9)
    assert caught[0].filename == __file__
    line = int(str(caught[0].message).split("test_branches.py:")[1].split(",")[0])
    with open(__file__) as file:
        assert "# this line" in file.readlines()[line - 1]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert f(1e9) == slow(1e9)  # told once
        assert f(8.0) == 3
    assert "evaluated without compiling" in str(f.explain())
    found = f(16.0)
    assert isinstance(found, numpy.generic)


def test_programs_that_change_their_mind():
    switch = []

    def f(x):
        y = np.sin(x) if switch else np.cos(x)
        return y if y > 0 else -y

    g = jit(f)
    same(g(0.5), f(0.5))
    switch.append(1)
    with pytest.warns(BranchLimitWarning, match="other operations"):
        same(g(2.0), abs(numpy.sin(2.0)))  # another branch: traced again, and found to differ


def test_captured_values_of_a_transform_around():
    def outer(w):
        return jit(lambda x: x * w if x > 0 else x * w * 2)(3.0)

    with pytest.warns(BranchLimitWarning, match="captures"):
        assert wg.grad(outer)(2.0) == 3


def test_errors_of_the_function_itself():
    @jit
    def root(x):
        if x < 0:
            raise ValueError("negative")
        return np.sqrt(x)

    assert root(4.0) == 2
    for _ in range(3):
        with pytest.raises(ValueError, match="negative"):
            root(-1.0)
        assert root(9.0) == 3

    @jit
    def careful(x):
        try:
            return x[0] if x[0] > 0 else x[1]
        except Exception:
            return None

    with pytest.warns(BranchLimitWarning):
        few = wg.jit(careful.fn, branches=1)
        assert few(X) == X[1]  # giving up is no exception that the function could catch
    assert careful(X) == X[1]


def test_static_arguments_and_keywords():
    f = wg.jit(lambda x, n, *, y=2.0: x**n if x > y else y, static_argnames="n", branches=True)
    for _ in range(2):
        assert f(3.0, 2) == 9
        assert f(3.0, n=3) == 27
        assert f(1.0, 2, y=5.0) == 5
        assert f(8.0, 2, y=5.0) == 64


def test_explained():
    f = jit(both)
    f(1.0, 2.0)
    text = str(f.explain())
    assert "3 pieces" in text
    assert "test_branches.py" in text
    with pytest.raises(wg.errors.UnsupportedError):
        f.lower(1.0, 2.0)


def test_many_threads_grow_one_tree():
    f = jit(newton)
    starts = numpy.linspace(0.1, 50, 24)
    wanted = [newton(x) for x in starts]
    found = {}

    def work(k):
        for i in range(k, 24, 4):
            found[i] = f(starts[i])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same([found[i] for i in range(24)], wanted)


def test_settings_are_heeded():
    f = jit(wg.grad(lambda x: np.where(x > 0, np.sqrt(x), 0.0) if x < 1 else x))
    assert f(0.0) == 0
    with wg.settings(strong_zero=False):
        assert numpy.isnan(f(0.0))
    assert f(0.0) == 0


def test_under_a_watch():
    f = jit(lambda x: np.log(x) if x < 2 else x)
    f(1.0)
    with pytest.raises(wg.errors.NonFiniteError), wg.debug.nans(), numpy.errstate(all="ignore"):
        f(-1.0)
