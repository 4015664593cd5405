"""What a compiled program needs of memory: told before it runs, and no more than that is used; results in place."""

from __future__ import annotations

import re
import tracemalloc
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.native import entry, memory
from wengert.native.inplace import Accesses, joined, regular
from wengert.native.loops import Builder, Loop

N = 100_000
SLACK = 4_000
"""Bytes of the objects around arrays, and of what an arena has before its first aligned place."""


def chain(x: Any) -> Any:
    """Elementwise operations that cannot join one loop, since a running sum needs all of what comes before."""
    for k in range(6):
        x = np.tanh(np.cumsum(x) * (0.1 + k))
    return x


def peak_of(call: Any) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def products(x: Any) -> Any:
    y = np.tanh(x @ x) + 1
    return np.sum(np.sin(y @ x) * np.sum(y, axis=0))


PROGRAMS = [
    (chain, (N,)),
    (wg.grad(lambda x: np.sum(chain(x) ** 2)), (N,)),
    (products, (300, 300)),
    (wg.grad(products), (300, 300)),
    (lambda x: wg.scan(lambda c, t: (np.sin(c + t), c[:5]), x[0], x), (300, 300)),
    (lambda x: wg.vmap(np.linalg.inv)(x.reshape(100, 30, 30) + 100 * np.eye(30)), (300, 300)),
]


@pytest.mark.parametrize(("f", "shape"), PROGRAMS)
def test_the_arena_is_what_was_planned_and_nothing_else_is_allocated(f: Any, shape: tuple[int, ...]) -> None:
    x = numpy.random.default_rng(0).uniform(size=shape)
    low = wg.jit(f).lower(x)
    plan = low.memory
    assert plan.inputs == x.nbytes and plan.arena == low.program.memory and plan.records == 0
    assert plan.alive <= plan.arena
    assert "malloc" not in low.llvm and "realloc" not in low.llvm
    out = low.program([x])  # makes what is made once
    low.program._arenas.clear()
    bytes_out = sum(numpy.asarray(o).nbytes for o in out)
    assert plan.outputs == bytes_out
    wanted = plan.arena + plan.outputs
    assert wanted <= peak_of(lambda: low.program([x])) <= wanted + SLACK
    assert bytes_out <= peak_of(lambda: low.program([x])) <= bytes_out + SLACK  # the arena is kept


@pytest.mark.skipif(not entry.available, reason="calls go through ctypes here")
def test_calls_by_the_fast_entry_take_the_same() -> None:
    f = wg.jit(chain)
    x = numpy.random.default_rng(0).uniform(size=N)
    plan = f.lower(x).memory
    f(x)  # writes the record, and runs by ctypes
    wanted = plan.arena + plan.outputs
    assert wanted <= peak_of(lambda: f(x)) <= wanted + SLACK
    assert plan.outputs <= peak_of(lambda: f(x)) <= plan.outputs + SLACK


def pairs_of_sums(x: Any) -> Any:
    """At the product two arrays end, and their buffers are the whole arena if it lies over one of them."""
    for _ in range(4):
        a = np.cumsum(x)
        b = np.cumsum(a)
        x = np.tanh(a * b)
    return np.cumsum(x)


def test_a_chain_that_cannot_fuse_needs_no_third_buffer() -> None:
    x = numpy.random.default_rng(0).uniform(size=N)
    for f in (chain, pairs_of_sums):
        low = wg.jit(f).lower(x)
        assert low.memory.arena <= 2 * 8 * N
        assert any(room.over for room in low.memory.buffers)
        numpy.testing.assert_allclose(low.program([x])[0], f(x), rtol=1e-9)
    written = low.program.written
    assert memory.plan(written.lowering.buffers) >= 3 * 8 * N  # were nothing in place


def test_products_between_elementwise_operations() -> None:
    def f(x: Any) -> Any:
        for _ in range(5):
            x = np.tanh(x @ x) * 2 + 1
        return x

    x = numpy.random.default_rng(0).normal(size=(200, 200)) / 20
    low = wg.jit(f).lower(x)
    assert low.memory.arena <= 2 * x.nbytes
    numpy.testing.assert_allclose(low.program([x])[0], f(x), rtol=1e-9)


def test_records_are_told() -> None:
    def f(x: Any) -> Any:
        return np.sum(wg.while_loop(lambda v: np.sum(v) < 100, lambda v: v * np.sin(v + 2) * 3, x))

    plan = wg.jit(wg.grad(f)).lower(numpy.ones(50)).memory
    assert plan.records > 0 and "records of while_loops" in str(plan)


def test_the_text_names_the_lines() -> None:
    def f(x: Any, y: Any) -> Any:
        first = np.cumsum(x * 2)
        return np.cumsum(np.tanh(first) + y) * numpy.random.default_rng(0).normal(size=N)

    plan = wg.jit(f).lower(numpy.ones(N), numpy.ones(N)).memory
    text = str(plan)
    assert f"{plan.total:,} bytes" in text and f"{plan.arena:,}" in text
    assert plan.constants >= 8 * N and plan.total == plan.arena + plan.inputs + plan.outputs + plan.constants
    assert re.search(r"800,000  at 0: 100000 float64 .*test_memory.py:\d+  first = np.cumsum", text)
    assert len(plan.buffers) and all(room.source is not None for room in plan.buffers)


def test_donated_memory_is_no_output() -> None:
    plan = wg.jit(lambda x: np.sin(x), donate="x").lower(numpy.ones(1000)).memory
    assert plan.outputs == 0 and plan.donated == 8000 and "8,000 over donated inputs" in str(plan)
    plan = wg.jit(lambda x: np.sin(x[::-1]), donate="x").lower(numpy.ones(1000)).memory
    assert plan.copied == [0] and plan.arena == 8000 and "copied over donated inputs" in str(plan)


# What may lie over what, from loops written by hand -----------------------------------------------------------


def built(write: Any, size: int = 100) -> tuple[Builder, Any, Any]:
    """A program that fills `old`, runs the loops of `write(e, old, new)`, and reads `new`."""
    e = Builder()
    out = e.buffer("output", "f8", size)
    old = e.buffer("arena", "f8", size)
    with e.loop(size) as i:
        e.store(old, i, 1.0)
    new = e.buffer("arena", "f8", size)
    write(e, old, new)
    with e.loop(size) as i:
        e.store(out, i, e.load(new, i))
    return e, old, new


def same_place(e: Any, old: Any, new: Any) -> None:
    with e.loop(100) as i:
        e.store(new, i, e.neg(e.load(old, i)))


def two_by_two(e: Any, old: Any, new: Any) -> None:
    with e.loop(50) as i:
        for k in range(2):
            at = e.add(e.mul(i, 2), k)
            e.store(new, at, e.neg(e.load(old, at)))


def other_place(e: Any, old: Any, new: Any) -> None:
    with e.loop(100) as i:
        e.store(new, i, e.load(old, e.sub(99, i)))


def read_late(e: Any, old: Any, new: Any) -> None:
    with e.loop(100) as i:
        e.store(new, i, 1.0)
        e.store(new, i, e.load(old, i))


def swapped(e: Any, old: Any, new: Any) -> None:
    with e.loop(50) as i:
        a, b = e.mul(i, 2), e.add(e.mul(i, 2), 1)
        e.store(new, a, e.load(old, b))
        e.store(new, b, e.load(old, a))


def read_by_an_inner_loop(e: Any, old: Any, new: Any) -> None:
    with e.loop(100) as i:
        total = e.cell("f64", 0.0)
        with e.loop(100) as j:
            e.write(total, e.add(e.read(total), e.load(old, j)))
        e.store(new, i, e.read(total))


def many_times(e: Any, old: Any, new: Any) -> None:
    with e.loop(10), e.loop(100) as i:
        e.store(new, i, e.load(old, i))


def by_loaded_index(e: Any, old: Any, new: Any) -> None:
    table = e.buffer("input", "i8", 100)
    with e.loop(100) as i:
        at = e.load(table, i)
        e.store(new, at, e.load(old, at))


@pytest.mark.parametrize(
    ("write", "fine"),
    [
        (same_place, True),
        (two_by_two, True),
        (other_place, False),
        (read_late, False),
        (swapped, False),
        (read_by_an_inner_loop, False),
        (many_times, False),
        (by_loaded_index, False),
    ],
)
def test_only_loops_that_read_where_they_write_are_in_place(write: Any, fine: bool) -> None:
    e, old, new = built(write)
    assert joined(e) == ([(old, new)] if fine else [])


def test_whoever_is_read_again_is_not_written_over() -> None:
    e, old, _ = built(same_place)
    with e.loop(100) as i:
        e.store(e.buffers[0], i, e.load(old, i))
    assert joined(e) == []


def test_offsets_that_only_loops_decide() -> None:
    e, old, new = built(by_loaded_index)
    loop = e.root.statements[1]
    assert isinstance(loop, Loop) and not Accesses(loop).may(old, new)
    assert not any(regular(offset) for offset, *_ in Accesses(loop).stores[new])
