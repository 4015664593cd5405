"""Printing from programs: each time they run, whatever was made of them."""

from __future__ import annotations

import numpy as onp
import pytest

import wengert as wg
import wengert.numpy as np


def f(x):
    wg.debug.print("x={x:.2f} sum={}", np.sum(x), x=x)

    def step(s, k):
        wg.debug.print("step {}", k)
        return s * 1.5, None

    s, _ = wg.scan(step, np.sum(x), onp.arange(2))
    return wg.cond(s > 3, lambda s: (wg.debug.print("big"), s)[1], lambda s: (wg.debug.print("small"), s)[1], s)


PRINTED = "x=[1.00 1.00] sum=2.0\nstep 0\nstep 1\nbig\n"


@pytest.mark.parametrize(
    "run",
    [
        f,
        wg.grad(f),
        wg.jit(f),
        wg.jit(wg.grad(f)),
        wg.grad(wg.jit(f)),
        lambda x: wg.jvp(f, (x,), (x,)),
        lambda x: wg.trace(f, x)(x),
        lambda x: wg.optimize(wg.trace(wg.value_and_grad(f), x))(x),
    ],
)
def test_once_and_in_order(run, capsys):
    for _ in range(2):
        run(onp.ones(2))
        assert capsys.readouterr().out == PRINTED


def test_lane_by_lane(capsys):
    def show(x):
        wg.debug.print("lane {}", x)
        return x

    for g in (wg.vmap(show), wg.jit(wg.vmap(show))):
        g(onp.array([1.0, 2.0]))
        assert capsys.readouterr().out == "lane 1.0\nlane 2.0\n"


def test_constants_are_printed_when_the_program_runs(capsys):
    @wg.jit
    def g(x):
        wg.debug.print("here")
        return x

    g.lower(1.0)
    assert capsys.readouterr().out == ""
    g(1.0)
    g(2.0)
    assert capsys.readouterr().out == "here\nhere\n"


def test_the_source_prints_too(capsys):
    graph = wg.trace(lambda x: (wg.debug.print("{{}} {x:.1f} {y}", x=x, y=(x, 1.0)), x)[1], onp.ones(2))
    assert "show(" in str(graph) and "= show" not in str(graph)
    scope: dict = {}
    exec(graph.as_python(), scope)
    capsys.readouterr()
    next(v for k, v in scope.items() if callable(v) and not k.startswith("_") and k != "np")(onp.ones(2))
    assert capsys.readouterr().out.startswith("{} [1. 1.] (array([1., 1.]), 1.0)")
