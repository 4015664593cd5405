"""The Python source of a graph: it runs, gives the numbers of the graph, and reads as one would write it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import GraphError
from wengert.graph.graph import Graph
from wengert.graph.interpreter import bind
from wengert.graph.primitive import Primitive, registry
from wengert.graph.stage import evaluate, stage
from wengert.graph.types import type_of

HERE = Path(__file__).name
THROUGH_REGISTRY = {"convolve", "opaque", "expm_frechet", "inverse_gap", "linear_recurrence", "windows"}
"""Operations whose source calls wengert: their references are too long, or read settings."""


def run(graph: Graph, *args: Any, **kwargs: Any) -> Any:
    """The results of the source of a graph."""
    source = graph.as_python("program")
    scope: dict[str, Any] = {}
    exec(source, scope)
    constants = {"constants": source.constants} if source.constants else {}
    return scope["program"](*args, **kwargs, **constants)


def program(primitive: Primitive, operands: tuple[Any, ...]) -> Graph:
    """A graph of one operation."""

    def apply(*values: Any) -> list[Any]:
        out = bind(primitive, *values)
        return list(out) if primitive.multiple else [out]

    return stage(apply, [type_of(operand) for operand in operands])[0]


def assert_same(found: Any, expected: Any, tolerance: float = 1e-13) -> None:
    leaves, structure = numpy_leaves(found)
    wanted, other = numpy_leaves(expected)
    assert structure == other
    for a, b in zip(leaves, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        numpy.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def numpy_leaves(tree: Any) -> tuple[list[Any], Any]:
    leaves, structure = wg.graph.__globals__["flatten"](tree)
    return [numpy.asarray(leaf) for leaf in leaves], structure


def samples(name: str) -> Iterator[tuple[Primitive, tuple[Any, ...]]]:
    yield from registry[name].samples(numpy.random.default_rng(0))


@pytest.mark.parametrize("name", registry)
def test_every_operation_has_a_source_that_computes_the_same(name: str) -> None:
    for primitive, operands in samples(name):
        graph = program(primitive, operands)
        with numpy.errstate(all="ignore"):
            expected = tuple(evaluate(graph, *operands))
        found = run(graph, *operands)
        assert_same((found,) if len(expected) == 1 else found, expected)


@pytest.mark.parametrize("name", registry)
def test_sources_need_nothing_but_numpy_and_scipy(name: str) -> None:
    calls = [
        "wengert" in source or "operation" in source
        for primitive, operands in samples(name)
        for source in [program(primitive, operands).as_python()]
    ]
    # Of the others some rare cases go through the registry: empty matrices, stacks, indices whose axes move.
    assert not calls[0] or name in THROUGH_REGISTRY


def model(p: dict[str, Any], xs: Any) -> Any:
    """User code with everything: loops, a branch, indexing, assignment, linear algebra."""

    def step(c: Any, x: Any) -> tuple[Any, Any]:
        h = np.tanh(p["w"] @ c + x)
        return h, np.sum(h**2)

    c, ys = wg.scan(step, np.zeros(3), xs)
    _, total = wg.while_loop(lambda s: s[0] < 10, lambda s: (s[0] * 1.5 + 1, s[1] + s[0] * p["b"] ** 2), (1.0, 0.0))
    z = wg.cond(np.sum(c) > 0, lambda a: a * 2, lambda a: np.sin(a), c)
    a = p["w"] @ p["w"].T + np.eye(3)
    s = np.linalg.solve(a, z)
    z = np.zeros(3)
    z[1:] = s[:2] * xs[numpy.array([0, 1]), 0]
    z[0] = wg.switch(np.argmax(s), [np.sin, np.cos, np.exp], s[1])
    low = np.linalg.cholesky(a)
    return np.sum(ys) + total + np.sum(z**2) + np.linalg.slogdet(a)[1] + np.sqrt(np.abs(s)).sum() + low[2, 0]


def arguments() -> tuple[Any, Any]:
    rng = numpy.random.default_rng(1)
    return {"w": rng.normal(size=(3, 3)) * 0.4, "b": rng.normal()}, rng.normal(size=(5, 3))


def test_the_gradient_of_user_code_runs_as_plain_numpy() -> None:
    p, xs = arguments()
    graph = wg.trace(wg.grad(model), p, xs)
    source = graph.as_python()
    assert "wengert" not in source
    assert_same(run(graph, p, xs), wg.grad(model)(p, xs), 1e-11)
    statements = [
        "for step in range(5):",
        "while while_loop_cond(",
        "    if ",
        "elif ",
        "np.linalg.solve(",
        "p_w = p['w']",
    ]
    assert [statement for statement in statements if statement not in source] == []


def test_the_second_derivative_and_a_batch_run() -> None:
    p, xs = arguments()
    squared = lambda p, xs: np.sum(wg.grad(model)(p, xs)["w"] ** 2)
    assert_same(run(wg.trace(wg.grad(squared), p, xs), p, xs), wg.grad(squared)(p, xs), 1e-9)
    many = wg.vmap(wg.grad(lambda xs, p: model(p, xs)), in_axes=(0, None))
    stack = numpy.stack([xs, 2 * xs, -xs])
    assert_same(run(wg.trace(many, stack, p), stack, p), many(stack, p), 1e-10)


def test_the_source_runs_as_a_script_without_wengert(tmp_path: Path) -> None:
    p, xs = arguments()
    source = wg.trace(wg.grad(model), p, xs).as_python("gradient")
    script = f"import sys\nsys.modules['wengert'] = None\n{source}\np = {{'w': np.ones((3, 3)) / 5, 'b': 0.5}}\n"
    (tmp_path / "script.py").write_text(f"{script}print(gradient(p, np.ones((5, 3)))['w'].sum())\n")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    expected = wg.grad(model)({"w": numpy.ones((3, 3)) / 5, "b": 0.5}, numpy.ones((5, 3)))["w"].sum()
    numpy.testing.assert_allclose(float(done.stdout), expected, rtol=1e-11)


def test_expected_source() -> None:
    first = sys._getframe().f_lineno + 2

    def loss(w: Any, x: Any) -> Any:
        h = np.tanh(w @ x)
        return np.sum(h[1:] * 3)

    lines = str(wg.trace(wg.grad(loss), numpy.ones((3, 2)), numpy.ones(2)).as_python()).splitlines()
    code = [line.split("  # ")[0].rstrip() for line in lines]
    assert code == EXPECTED.strip("\n").splitlines()
    comments = {line.split()[0]: line.split("  # ")[1] for line in lines if "  # " in line}
    assert comments["v0"] == f"{HERE}:{first + 1}"
    assert comments["g2"] == f"gradient of {HERE}:{first + 1}"


EXPECTED = """
import numpy as np


def strong_product(ct, factor):
    product = np.multiply(ct, factor)
    if product.dtype.kind not in 'fc' or not np.isnan(np.minimum.reduce(product, axis=None, initial=0)):
        return product
    zero = np.equal(ct, 0) | np.equal(factor, 0) & np.isinf(ct)
    return np.where(zero, product.dtype.type(0), product)[()]


@np.errstate(all="ignore")
def loss(w, x):
    \"\"\"(f64[3,2], f64[2]) -> f64[3,2]\"\"\"
    c0 = np.array([0.0, 3.0, 3.0], np.float64)
    v0 = np.matmul(w, x)
    h = np.tanh(v0)
    g0 = h * h
    g1 = 1 - g0
    g2 = strong_product(c0, g1)
    g3 = np.reshape(g2, (3, 1))
    g4 = g3 * x
    return g4
"""


def test_large_constants_are_handed_in() -> None:
    table = numpy.arange(40.0) / 7
    graph = wg.trace(lambda x: np.sum(table * x) + table[3] * x, 2.0)
    source = graph.as_python()
    assert list(source.constants) == ["c0"]
    assert source.constants["c0"] is table
    assert "*, constants):" in source
    assert_same(run(graph, 2.0), graph(2.0))


@pytest.mark.parametrize("value", [numpy.nan, -numpy.inf, -0.0, 1e-320, -3, 2 - 1j, True, numpy.float32(0.1)])
def test_constants_are_exact(value: Any) -> None:
    graph = wg.trace(lambda x: (np.where(x, value, value), np.stack([x * 1.0, value * np.ones(()) * 1.0])), True)
    found, expected = numpy_leaves(run(graph, True))[0], numpy_leaves(graph(True))[0]
    for a, b in zip(found, expected, strict=True):
        assert a.tobytes() == b.tobytes()


def test_containers_are_those_of_the_function() -> None:
    def f(pair: Any, *, scale: Any) -> Any:
        return {"a": [pair[0] * scale, None], "b": (pair[1]["k"] + 1,)}

    args = ((2.0, {"k": numpy.ones(2)}),)
    graph = wg.trace(f, *args, scale=3.0)
    assert_same(run(graph, *args, scale=3.0), graph(*args, scale=3.0))


def test_names_never_hide_what_the_source_needs() -> None:
    def f(np_: Any, range: Any, v0: Any, sum: Any) -> Any:
        unslice = range * v0
        strong_product = np.sqrt(unslice) * sum
        return strong_product * np_

    f.__code__ = f.__code__.replace(co_varnames=("np", *f.__code__.co_varnames[1:]))
    values = (2.0, 3.0, 4.0, 5.0)
    gradient = wg.grad(f, argnums=(0, 1, 2, 3))
    assert_same(run(wg.trace(gradient, *values), *values), gradient(*values))


def test_lengths_that_only_the_run_knows() -> None:
    def f(x: Any) -> Any:
        grown, _ = wg.while_loop(lambda s: s[1] < 50, lambda s: (s[0] * x, s[1] * 2 + np.abs(x)), (1.0, 0.5))
        return grown

    graph = wg.trace(wg.grad(f), 1.3)
    assert "n0 = " in graph.as_python()
    for x in (1.3, 60.0):
        assert_same(run(graph, x), wg.grad(f)(x))
    assert_same(run(graph, 1.3), wg.grad(f)(1.3))


def test_an_unknown_constant_is_an_error() -> None:
    x = wg.variable(numpy.ones(3))
    graph = wg.graph(np.sum(x + 1))
    forgotten = wg.Const(None, wg.ArrayType((3,), numpy.dtype(float)))
    node = graph.nodes[0].replace((graph.inputs[0], forgotten), graph.nodes[0].outputs)
    with pytest.raises(GraphError, match=r"(?s)is not known.*wg\.trace"):
        graph.replace(nodes=(node, *graph.nodes[1:])).as_python()


class Doubled(Primitive):
    """An operation of a user, with no text of its own."""

    name = "doubled in a test"
    params = ("table",)
    differentiable = False

    def type(self, x: Any) -> Any:
        return x._replace(weak=False)

    def numpy(self, x: Any) -> Any:
        return np.asarray(x) * self.table["factor"]

    @classmethod
    def samples(cls, rng: numpy.random.Generator) -> Iterator[Any]:
        yield cls(Table(factor=2.0)), (rng.normal(size=3),)


class Table(dict):  # type: ignore[type-arg]
    __hash__ = object.__hash__  # type: ignore[assignment]


del registry[Doubled.name]  # not for the other tests that walk the registry


def test_an_operation_without_text_is_handed_in() -> None:
    graph = program(Doubled(Table(factor=3.0)), (numpy.ones(3),))
    assert "constants['operation'].numpy(" in graph.as_python()
    assert_same(run(graph, numpy.ones(3)), numpy.full(3, 3.0))
