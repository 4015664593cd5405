"""What nodes cost: against counts made by hand."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.graph.cost import elements, flops, graph_work, node_work, size_text
from wengert.graph.primitive import registry
from wengert.graph.types import type_of


def work(f, *args):
    return graph_work(wg.trace(f, *args))


def test_elementwise_counts_elements():
    x = numpy.ones((4, 5))
    found = work(lambda x: np.sin(x) * x + 1, x)
    assert found.operations == 3 * 20
    assert found.bytes == 8 * (20 + 20) + 8 * 60 + (8 * 40 + 8)


@pytest.mark.parametrize(
    ("left", "right", "count"),
    [((3, 4), (4, 5), 2 * 3 * 4 * 5), ((4,), (4,), 8), ((2, 3, 4), (4, 5), 2 * 2 * 3 * 4 * 5), ((3, 4), (4,), 24)],
)
def test_products_count_their_inner_extent(left, right, count):
    assert work(lambda a, b: a @ b, numpy.ones(left), numpy.ones(right)).operations == count


def test_einsum_counts_all_letters():
    found = work(lambda a, b: np.einsum("abc,cd->ad", a, b), numpy.ones((2, 3, 4)), numpy.ones((4, 5)))
    assert found.operations == 2 * 2 * 3 * 4 * 5


def test_views_are_free_and_copies_cost_bytes():
    x = numpy.ones((6, 4))
    assert work(lambda x: x.T.reshape(4, 6)[1:], x).operations == 0
    assert work(lambda x: x.T[1:], x).bytes == 0
    joined = work(lambda x: np.concatenate([x, x]), x)
    assert (joined.operations, joined.bytes) == (0, 8 * 24 * 4)


def test_factorisations_are_cubic():
    def count(n):
        return work(np.linalg.inv, numpy.eye(n)).operations

    assert count(20) == 8 * count(10)


def test_loops_multiply_and_branches_take_the_dearest():
    one = work(lambda c: np.sin(c) * c, numpy.ones(7)).operations
    assert work(lambda c: wg.fori_loop(0, 9, lambda k, c: np.sin(c) * c, c), numpy.ones(7)).operations == 9 * one
    found = work(lambda p, x: wg.cond(p, lambda v: np.sin(v) * v, lambda v: v, x), True, numpy.ones(7))
    assert found.operations == one
    unknown = work(lambda x: wg.while_loop(lambda v: v > 1, lambda v: v / 2, x), 3.0)
    assert unknown.open
    assert unknown.operations == 2  # one step: the comparison and the division


def test_every_primitive_has_a_cost():
    rng = numpy.random.default_rng(0)
    seen = 0
    for primitive in registry.values():
        for instance, operands in primitive.samples(rng):
            types = [type_of(x) for x in operands]
            out = instance.type(*types)
            outs = out if instance.multiple else (out,)
            node = wg.Node(instance, tuple(wg.Var.of(t) for t in types), tuple(wg.Var.of(t) for t in outs), None, 0, 0)
            if not instance.higher_order:
                assert flops(node, types, outs) >= 0
            assert node_work(node).seconds > 0
            seen += 1
    assert seen > 200


def test_texts_of_sizes():
    assert [size_text(n) for n in (0, 999, 1234, 8e6, 123.4e9)] == ["0 B", "999 B", "1.23 kB", "8 MB", "123 GB"]
    assert elements(wg.ArrayType((2, 3), numpy.dtype(float))) == 6
