"""Loops divided among threads: the same bits for any number, from many Python threads at once, and after a fork."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import wengert as wg
import wengert.numpy as wnp

RNG = np.random.default_rng(0)
LONG = RNG.normal(size=200_001)
WIDE = RNG.normal(size=(301, 257)).astype(np.float32)


def chain(x):
    return wnp.tanh(x) * wnp.exp(-x), wnp.sin(x) + x


def softmax(a):
    e = wnp.exp(a - wnp.max(a, axis=1, keepdims=True))
    return e / wnp.sum(e, axis=1, keepdims=True)


def norm(a):
    centred = a - wnp.mean(a, axis=1, keepdims=True)
    return wnp.sum((centred / wnp.sqrt(wnp.mean(centred**2, axis=1, keepdims=True) + 1e-5)) ** 3)


FACTOR = RNG.normal(size=(257, 400)).astype(np.float32)
STACK = RNG.normal(size=(24, 80, 80))


def products(a):
    return a @ FACTOR, wnp.sum(STACK @ STACK, axis=0)


CASES = [
    (products, WIDE),
    (chain, LONG),
    (softmax, WIDE),
    (wg.grad(norm), WIDE),
    (wg.grad(lambda x: wnp.sum(chain(x)[0])), LONG),
]


@pytest.mark.parametrize(("f", "x"), CASES)
def test_the_same_bits_for_any_number(f, x):
    wanted = None
    for count in (1, 2, 3, 7):
        g = wg.jit(lambda x, f=f: f(x), threads=count)
        assert "chunk" in g.lower(x).llvm
        found = [np.asarray(part).tobytes() for part in (g(x) if isinstance(g(x), tuple) else [g(x)])]
        wanted = wanted or found
        assert found == wanted
    with np.errstate(all="ignore"):
        evaluated = f(x)
    for a, b in zip(*(v if isinstance(v, tuple) else [v] for v in (g(x), evaluated)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4 if x.dtype == np.float32 else 1e-12, atol=1e-5)


def test_small_loops_stay_whole():
    assert "chunk" not in wg.jit(chain).lower(LONG[:1000]).llvm


def test_many_python_threads_at_once():
    f = wg.jit(softmax, threads=3)
    wanted = f(WIDE)
    found = []

    def work():
        for _ in range(20):
            found.append(np.array_equal(f(WIDE), wanted))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


PROGRAM = """
import os, sys, numpy as np, wengert as wg, wengert.numpy as wnp
f = wg.jit(lambda x: wnp.exp(wnp.sin(x)), threads=3)
x = np.linspace(0, 1, 300_000)
wanted = f(x)
child = os.fork()
if child == 0:
    os._exit(0 if np.array_equal(f(x), wanted) else 1)
_, status = os.waitpid(child, 0)
assert np.array_equal(f(x), wanted)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork():
    assert "fork" in multiprocessing.get_all_start_methods()
    subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], check=True, timeout=120)


def test_the_environment_sets_the_number():
    text = "from wengert.native import threads; print(threads.limit())"
    environment = {**os.environ, "WENGERT_THREADS": "5"}
    made = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout == "5\n"
    if hasattr(os, "sched_setaffinity"):
        text = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); " + text
        environment.pop("WENGERT_THREADS")
        made = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
        assert made.stdout == "1\n"


def test_bad_numbers_are_told():
    with pytest.raises(ValueError, match="0 threads"):
        wg.jit(chain, threads=0)
    for wrong in (2.5, "2", True):
        with pytest.raises(TypeError, match="threads="):
            wg.jit(chain, threads=wrong)
