"""Random programs: every transform of every program agrees with NumPy, with differences, and with every other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import pytest

import wengert as wg
from wengert.passes import optimize
from wengert.testing import Program, check_grads, random_program

FEW = range(100)
MANY = range(100, 1300)
BLOCK = 100


def same(found: Sequence[Any], expected: Sequence[Any], rtol: float) -> None:
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = numpy.asarray(mine), numpy.asarray(theirs)
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        scale = max(1.0, float(numpy.max(numpy.abs(theirs), initial=0.0)))
        numpy.testing.assert_allclose(mine, theirs, rtol=rtol, atol=rtol * scale)


def random_like(values: Sequence[Any], seed: int) -> list[Any]:
    """A direction: normal numbers, 0 for integers."""
    rng = numpy.random.default_rng(seed)
    draws = []
    for value in map(numpy.asarray, values):
        draw = rng.normal(size=value.shape) + (1j * rng.normal(size=value.shape) if value.dtype.kind == "c" else 0)
        draws.append(numpy.asarray(draw if value.dtype.kind in "fc" else 0 * value, value.dtype))
    return draws


def inner(a: Sequence[Any], b: Sequence[Any]) -> Any:
    return sum(numpy.sum(numpy.real(numpy.conj(x) * y)) for x, y in zip(a, b, strict=True))


def check_values(program: Program) -> None:
    """Eager, recorded, traced, as NumPy source, and optimised."""
    args = program.inputs
    expected = program(*args)
    rounding = 1e-5 if program.single else 1e-12
    recorded = program(*[wg.variable(x) if numpy.asarray(x).dtype.kind in "fc" else x for x in args])
    recorded = [x.numpy() if isinstance(x, wg.Tensor) else x for x in recorded]
    same(recorded, expected, rounding)  # NumPy adds up in another order here and there
    graph = wg.verify(wg.trace(program, *args))
    same(graph(*args), recorded, rounding)  # results written over operands lie otherwise in memory
    same(run_source(graph, args), expected, rounding)
    same(optimize(graph, check=wg.verify)(*args), expected, rounding)


def run_source(graph: wg.Graph, args: Sequence[Any]) -> Any:
    """The graph's NumPy source, executed."""
    source = graph.as_python("written")
    scope: dict[str, Any] = {}
    exec(source, scope)
    options = {"constants": source.constants} if source.constants else {}
    return scope["written"](*args, **options)


def derivatives(program: Program) -> tuple[Any, Any, list[Any], list[Any]]:
    """The jvp and the vjp in a direction as functions of the inputs, with the directions."""
    args = program.inputs
    tangents = random_like(args, 1)
    cts = random_like(program(*args), 2)
    forward = lambda *args: wg.jvp(program, args, tangents)[1]
    backward = lambda *args: wg.vjp(program, *args)[1](cts)
    return forward, backward, tangents, cts


def check_derivatives(program: Program) -> None:
    """jvp against vjp, and both against differences, twice."""
    forward, backward, tangents, cts = derivatives(program)
    moved, pulled = forward(*program.inputs), backward(*program.inputs)
    rounding = 1e-4 if program.single else 1e-10
    terms = sum(float(numpy.sum(numpy.abs(ct) * numpy.abs(m))) for ct, m in zip(cts, moved, strict=True))
    assert abs(inner(pulled, tangents) - inner(cts, moved)) <= rounding * max(1.0, terms)
    check_grads(program, program.inputs, order=2, directions=1)


def check_graphs_of_derivatives(program: Program) -> None:
    """Static derivatives against eager ones, as they are, as NumPy source, and optimised."""
    args = program.inputs
    rounding = 1e-4 if program.single else 1e-10
    for derivative in derivatives(program)[:2]:
        expected = derivative(*args)
        graph = wg.verify(wg.trace(derivative, *args))
        same(graph(*args), expected, rounding)
        same(run_source(graph, args), expected, rounding)
        same(optimize(graph, check=wg.verify)(*args), expected, rounding)


def check_batch(program: Program) -> None:
    """vmap of the program and of its gradient against loops, over the first and over the last axis."""
    args = program.inputs
    near = [random_like(args, 3), random_like(args, 4)]
    rows = [
        args,
        *([x + numpy.asarray(1e-4 * d, numpy.asarray(x).dtype) for x, d in zip(args, ds, strict=True)] for ds in near),
    ]
    rounding = 1e-4 if program.single else 1e-10
    cts = random_like(program(*args), 2)

    def gradient(*args: Any) -> Any:
        return list(wg.vjp(program, *args)[1](cts))

    for function in (program, gradient):
        expected = [numpy.stack(column) for column in zip(*(function(*row) for row in rows), strict=True)]
        for axis in (0, -1):
            stacked = [numpy.stack(column, axis) for column in zip(*rows, strict=True)]
            same(wg.vmap(function, in_axes=axis)(*stacked), expected, rounding)


CHECKS = [check_values, check_derivatives, check_graphs_of_derivatives, check_batch]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("start", range(FEW.start, FEW.stop, 20))
def test_programs(start: int, check: Any) -> None:
    run(range(start, start + 20), check)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(MANY.start, MANY.stop, BLOCK))
def test_many_programs(start: int) -> None:
    for check in CHECKS:
        costly = check is check_graphs_of_derivatives
        run(range(start, start + BLOCK, 10 if costly else 1), check)


def run(seeds: Sequence[int], check: Any) -> None:
    for seed in seeds:
        program = random_program(seed)
        try:
            check(program)
        except Exception as error:
            error.add_note(f"in random_program({seed}), whose inputs are {program.inputs}:\n{program.source}")
            raise


def test_a_transposed_cotangent_and_one_through_an_index_add_up() -> None:
    """Program 91: the sum is kept in one array, in C order whatever the order of the first cotangent."""

    def loss(x: Any) -> Any:
        return wg.numpy.sum(x[numpy.array([0, 2])]) + wg.numpy.sum(x.T)

    same([wg.grad(loss)(numpy.ones((3, 2)))], [numpy.array([[2.0, 2.0], [1.0, 1.0], [2.0, 2.0]])], 0.0)


def test_programs_are_the_same_in_every_run() -> None:
    first, again = random_program(7), random_program(7)
    assert first.source == again.source
    same(again(*again.inputs), first(*first.inputs), 0.0)


def test_programs_use_much_of_numpy() -> None:
    text = "".join(random_program(seed).source for seed in FEW)
    for name in "sum max sort reshape concatenate einsum solve fori_loop cond scan assign maximum complex128".split():
        assert name in text or name == "complex128", name
    inputs = [x for seed in FEW for x in random_program(seed).inputs]
    assert {str(numpy.asarray(x).dtype) for x in inputs} == {"float64", "complex128", "float32", "int64"}
    assert any(numpy.size(x) == 0 for x in inputs)
