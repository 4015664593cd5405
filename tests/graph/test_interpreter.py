"""Interpreters: threads do not see each other, exceptions leave nothing behind, leaked tensors raise."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import ConcretizationError, LeakedTensorError
from wengert.graph import interpreter

WAYS = {
    "trace": lambda f: wg.trace(f, 2.0),
    "grad": lambda f: wg.grad(f)(2.0),
    "jvp": lambda f: wg.jvp(f, (2.0,), (1.0,)),
    "vmap": lambda f: wg.vmap(f)(numpy.ones(3)),
    "grad of grad": lambda f: wg.grad(wg.grad(f))(2.0),
    "trace of grad": lambda f: wg.trace(wg.grad(f), 2.0),
    "scan": lambda f: wg.trace(lambda x: wg.scan(lambda c, _: (f(c), None), x, None, length=2)[0], 2.0),
    "cond": lambda f: wg.grad(lambda x: wg.cond(x > 0, f, f, x))(2.0),
}


class OwnError(Exception):
    pass


@pytest.mark.parametrize("way", WAYS)
def test_an_exception_leaves_nothing_at_work(way: str) -> None:
    def fails(x: Any) -> Any:
        assert interpreter.state.stack
        np.sin(x)
        raise OwnError

    with pytest.raises(OwnError):
        WAYS[way](fails)
    assert interpreter.state.stack == []
    assert interpreter.innermost() is None
    assert wg.grad(lambda x: x**3)(2.0) == 12.0
    assert isinstance(numpy.zeros(2) + np.zeros(2), numpy.ndarray)


def test_an_error_of_ours_leaves_nothing_at_work() -> None:
    with pytest.raises(ConcretizationError):
        wg.trace(lambda x: x if x > 0 else -x, 1.0)
    assert interpreter.state.stack == []


def test_threads_do_not_see_each_other() -> None:
    """All threads are inside their transforms at the same moment, at different depths of nesting."""
    count = 6
    meet = threading.Barrier(count, timeout=30)

    def work(k: int) -> tuple[Any, int]:
        seen = []

        def f(x: Any) -> Any:
            meet.wait()
            seen.append(len(interpreter.state.stack))
            y = np.sin(x) * k
            meet.wait()
            return y * y

        transform = f
        for _ in range(k % 3 + 1):
            transform = wg.grad(transform)
        return transform(0.3), seen[0]

    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(work, range(count)))
    x = 0.3
    derivatives = [2 * numpy.sin(x) * numpy.cos(x), 2 * numpy.cos(2 * x), -4 * numpy.sin(2 * x)]
    for k, (value, depth) in enumerate(results):
        numpy.testing.assert_allclose(value, k**2 * derivatives[k % 3], atol=1e-12)
        assert depth == results[k % 3][1]
    assert results[0][1] < results[1][1] < results[2][1]
    assert interpreter.state.stack == []


def test_a_thread_started_inside_a_trace_is_outside_of_it() -> None:
    found = []

    def f(x: Any) -> Any:
        thread = threading.Thread(target=lambda: found.append((interpreter.innermost(), wg.grad(np.sin)(0.0))))
        thread.start()
        thread.join()
        return x * 2

    assert wg.grad(f)(1.0) == 2.0
    assert found == [(None, 1.0)]


def test_an_exception_in_one_thread_leaves_the_others_alone() -> None:
    meet = threading.Barrier(2, timeout=30)

    def fails(x: Any) -> Any:
        meet.wait()
        raise OwnError

    def works(x: Any) -> Any:
        meet.wait()
        return np.exp(x) * x

    with ThreadPoolExecutor(2) as pool:
        bad, good = pool.submit(wg.grad(fails), 1.0), pool.submit(wg.grad(works), 0.0)
    assert isinstance(bad.exception(), OwnError)
    assert good.result() == 1.0


def test_a_leaked_tensor_raises_and_says_where_it_was_made() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        y = np.sin(x)  # made on this line
        kept.append(y)
        return y * 2

    wg.trace(f, 1.0)
    inside = (lambda t: wg.grad(lambda x: x * t)(1.0), lambda t: wg.trace(lambda x: x * t, 1.0))
    for use in (lambda t: t + 1, float, *inside):
        with pytest.raises(LeakedTensorError, match=r"made at test_interpreter\.py:\d+.*after its trace had ended"):
            use(kept[0])
        assert interpreter.state.stack == []


def test_a_concrete_tensor_that_outlives_its_transform_is_a_constant() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        kept.append(x * 3)
        return x**2

    assert wg.grad(f)(2.0) == 4.0
    assert float(kept[0] + 1) == 7.0
    assert wg.grad(lambda x: x * kept[0])(1.0) == 6.0


def test_levels_keep_perturbations_apart() -> None:
    assert wg.grad(lambda x: x * wg.grad(lambda y: x + y)(2.0))(3.0) == 1.0
    assert wg.jvp(lambda x: x * wg.jvp(lambda y: x * y, (2.0,), (1.0,))[1], (3.0,), (1.0,))[1] == 6.0
