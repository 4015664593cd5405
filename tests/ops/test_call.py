"""Calls of graphs: derivatives and batches call derivatives and batches of the body; printed, inlined, compiled."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import ShapeError
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry
from wengert.graph.types import ArrayType
from wengert.native.program import Program
from wengert.ops.call import Call
from wengert.passes import dce, inline, optimize

X = numpy.array([0.3, -1.2, 2.0])


def called(fn, *types, kind=Call):
    """A function that calls the graph of `fn`, made once."""
    primitive = kind(wg.trace(fn, *types))
    return lambda *args: bind(primitive, *args)[0] if len(primitive.body.outputs) == 1 else bind(primitive, *args)


def program_of(graph):
    types = [[atom.type for atom in atoms] for atoms in (graph.inputs, graph.outputs)]
    return Program(lambda: graph, *types)


def softness(x):
    return np.log(1 + np.exp(x)) * np.tanh(x)


soft = called(softness, X)


def test_values_and_derivatives_of_any_order_are_those_of_the_body():
    numpy.testing.assert_array_equal(soft(X), softness(X))
    for transform in (
        lambda f: wg.grad(lambda x: np.sum(f(x))),
        lambda f: lambda x: wg.jvp(f, (x,), (np.cos(x),)),
        lambda f: wg.hessian(lambda x: np.sum(f(x))),
        lambda f: wg.jacobian(wg.grad(lambda x: np.sum(f(x)) ** 2)),
        lambda f: lambda x: wg.vmap(f)(np.stack([x, 2 * x])),
        lambda f: lambda x: wg.vmap(wg.grad(lambda v: np.sum(f(v))))(np.stack([x, 2 * x])),
    ):
        for made, plain in zip(
            numpy.atleast_1d(transform(soft)(X)), numpy.atleast_1d(transform(softness)(X)), strict=True
        ):
            numpy.testing.assert_allclose(made, plain, rtol=1e-13)
        numpy.testing.assert_allclose(wg.trace(transform(soft), X)(X)[0], transform(softness)(X)[0], rtol=1e-13)


def test_define_by_run():
    x = wg.variable(X)
    y = np.sum(soft(x) * x)
    y.backward()
    numpy.testing.assert_allclose(x.grad, wg.grad(lambda x: np.sum(softness(x) * x))(X), rtol=1e-13)


def test_a_graph_holds_one_body_for_many_calls():
    graph = wg.trace(wg.grad(lambda x: np.sum(soft(soft(soft(x))))), X)
    bodies = {id(inner) for node in graph.nodes for _, inner in node.subgraphs}
    assert len([node for node in graph.nodes if node.primitive.name == "call"]) == 6
    assert len(bodies) == 2  # forward part and backward part


def test_values_of_the_body_are_kept_for_the_backward_part_or_computed_again():
    class Again(Call):
        """A call whose values are computed again."""

        name = "call_again_for_tests"
        again = True

    try:
        again = called(softness, X, kind=Again)
        count = {}
        for f in (soft, again):
            graph = wg.trace(wg.grad(lambda x, f=f: np.sum(f(x))), X)
            back = [node for node in graph.nodes if node.backward and node.subgraphs][-1]
            count[f] = [node.primitive.name for node in back.subgraphs[0][1].nodes].count("exp")
            numpy.testing.assert_allclose(graph(X), wg.grad(lambda x: np.sum(softness(x)))(X), rtol=1e-13)
        assert (count[soft], count[again]) == (0, 1)
        assert type(back.primitive) is Again
    finally:
        registry.pop("call_again_for_tests")


def test_printed_with_the_body_below_and_as_python():
    def double(x):
        return 2 * x

    twice = called(double, X)
    graph = wg.trace(lambda x: twice(x) + 1, X)
    text = str(graph)
    assert "v0: f64[3] = call(x)" in text
    assert "    body:\n      double(x: f64[3]) -> f64[3]:" in text
    scope = {}
    exec(graph.as_python("run"), scope)
    numpy.testing.assert_array_equal(scope["run"](X), 2 * X + 1)


def test_inlining():
    graph = wg.trace(lambda x: soft(soft(x)), X)
    flat = inline(graph)
    assert not any(node.subgraphs for node in flat.nodes)
    numpy.testing.assert_array_equal(wg.verify(flat)(X), graph(X))
    assert inline(graph, calls=False) is graph

    class Kept(Call):
        """A call that stays."""

        name = "call_kept_for_tests"
        inline = False

    registry.pop("call_kept_for_tests")
    kept = called(softness, X, kind=Kept)
    graph = wg.trace(lambda x: kept(kept(x)), X)
    assert [node.primitive.name for node in optimize(graph, check=wg.verify).nodes] == ["call_kept_for_tests"] * 2


def test_compiled_programs_hold_no_calls_of_custom_functions():
    f = wg.custom_jvp(softness)
    f.defjvp(lambda p, t: wg.jvp(softness, p, t))
    compiled = wg.jit(lambda x: f(x) * np.exp(x))
    lowered = compiled.lower(X)
    assert "custom_call" in {node.primitive.name for node in lowered.traced.nodes}
    assert [node.primitive.name for node in lowered.graph.nodes].count("exp") == 1  # shared with the function
    numpy.testing.assert_allclose(compiled(X), softness(X) * np.exp(X), 1e-12)
    assert "custom_call" in {node.primitive.name for node in optimize(lowered.traced).nodes}
    numpy.testing.assert_allclose(
        wg.grad(lambda x: np.sum(compiled(x)))(X), wg.grad(lambda x: np.sum(softness(x) * np.exp(x)))(X)
    )


def test_python_numbers_keep_their_dtypes():
    """A Python number does not raise float32, before and after inlining, and where the body expects float64 it is."""
    scale = called(lambda x, s: x * s, X.astype(numpy.float32), 2.0)
    assert scale(X.astype(numpy.float32), 3.0).dtype == numpy.float32
    assert wg.grad(lambda s: np.sum(scale(X.astype(numpy.float32), s)))(3.0).dtype == numpy.float64
    strong = called(lambda x, s: x * s, X.astype(numpy.float32), numpy.float64(2))
    assert strong(X.astype(numpy.float32), 3.0).dtype == numpy.float64
    for f in (scale, strong):
        graph = wg.trace(lambda x, f=f: f(x, 3.0), X.astype(numpy.float32))
        for version in (graph, inline(graph)):
            assert wg.verify(version)(X.astype(numpy.float32)).dtype == graph.outputs[0].dtype


def test_dead_results_and_operands_go():
    two = called(lambda x, y: (np.sin(x), np.cos(y)), X, X)
    graph = dce(wg.trace(lambda x, y: two(x, y)[0], X, X))
    (node,) = wg.verify(graph).nodes
    assert len(node.inputs) == len(node.outputs) == 1
    numpy.testing.assert_array_equal(graph(X, X), np.sin(X))


def test_a_misfit_is_refused():
    with pytest.raises(ShapeError, match=r"call of softness with \[f64\[2\]\], but it was traced for \[f64\[3\]\]"):
        wg.trace(soft, numpy.ones(2))


def halving(x):
    return wg.while_loop(lambda v: v > 1, lambda v: v / 2 + 0.1 * np.sin(v), x)


@pytest.mark.parametrize("passes", [(), None])
def test_loops_of_unknown_length_in_calls_of_one_body(passes):
    """Each call has its own number of steps."""
    half = called(halving, ArrayType((), numpy.dtype(float)))

    def f(x, inner=half):
        return inner(x) * inner(7 * x) - inner(0.5 * x)

    expected = wg.grad(lambda x: f(x, halving))(13.0)
    numpy.testing.assert_allclose(wg.grad(f)(13.0), expected, rtol=1e-13)
    graph = wg.trace(wg.grad(f), numpy.float64(1))
    graph = optimize(graph, passes, check=wg.verify)
    numpy.testing.assert_allclose(graph(numpy.float64(13)), expected, rtol=1e-13)
    (found,) = program_of(graph)([numpy.asarray(13.0)])
    numpy.testing.assert_allclose(found, expected, rtol=1e-12)


def test_compiled_in_place():
    graph = wg.trace(wg.grad(lambda x: np.sum(soft(soft(x) + x))), X)
    program = program_of(graph)
    assert program.callbacks == []
    numpy.testing.assert_allclose(program([X])[0], graph(X), rtol=1e-13)


def test_batched_with_any_choice_of_operands():
    product = called(lambda a, b: a @ b, numpy.ones((3, 3)), X)
    a = numpy.random.default_rng(0).normal(size=(4, 3, 3))
    numpy.testing.assert_allclose(wg.vmap(product, (0, None))(a, X), a @ X)
    numpy.testing.assert_allclose(wg.vmap(product, (None, 1))(a[0], a[1]), (a[0] @ a[1]).T)


def test_sparsity_goes_through_the_body():
    pairs = called(lambda x: x * x[::-1], X)
    numpy.testing.assert_array_equal(wg.sparsity(pairs, X).toarray(), [[1, 0, 1], [0, 1, 0], [1, 0, 1]])
