"""Matrix products and Einstein sums against NumPy, in every mode."""

from __future__ import annotations

import numpy
import pytest
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
import wengert.numpy.linalg as linalg
from wengert.errors import AxisError, ShapeError, UnsupportedError
from wengert.numpy import products
from wengert.ops import einsum as einsum_module

rng = numpy.random.default_rng(3)


def real(*shape: int) -> numpy.ndarray:
    return rng.normal(size=shape)


def cplx(*shape: int) -> numpy.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


SHAPES = [
    ((3,), (3,)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 3), (3, 4)),
    ((5, 2, 3), (3, 4)),
    ((5, 2, 3), (3,)),
    ((3,), (5, 3, 2)),
    ((2, 3), (5, 3, 4)),
    ((5, 1, 2, 3), (4, 3, 2)),
    ((1, 2, 3), (4, 3, 2)),
    ((2, 0), (0, 3)),
    ((0, 3), (3, 2)),
]


@pytest.mark.parametrize("left,right", SHAPES)
def test_matmul_follows_numpy_for_vectors_matrices_and_stacks(left, right):
    x, y = real(*left), real(*right)
    check_values(lambda x, y: x @ y, x, y)
    for f in (lambda x: x @ y, lambda x: numpy.matmul(x, y)):
        check_derivatives(f, x)
    check_derivatives(lambda y: x @ y, y)


@pytest.mark.parametrize("left,right", SHAPES)
def test_vmap_of_matmul_is_a_loop_for_every_choice_of_batched_operands(left, right):
    for axes in [(0, None), (None, 0), (0, 0), (-1, 0), (0, -1)]:
        x = real(*left) if axes[0] is None else real(3, *left)
        y = real(*right) if axes[1] is None else real(3, *right)
        rows = [numpy.matmul(x if axes[0] is None else x[k], y if axes[1] is None else y[k]) for k in range(3)]
        xs, ys = (z if a is None else numpy.moveaxis(z, 0, a) for z, a in zip((x, y), axes, strict=True))
        agree(wg.vmap(numpy.matmul, in_axes=axes)(xs, ys), numpy.stack(rows))


def test_complex_and_mixed_products():
    a, b, r = cplx(2, 3), cplx(3, 2), real(3, 2)
    check_derivatives(lambda a: a @ b, a)
    check_derivatives(lambda a: a @ r, a)
    check_derivatives(lambda r: numpy.real(a @ r), r)
    check_derivatives(lambda a: numpy.vdot(a, b), a)
    check_derivatives(lambda a: numpy.vecdot(a, numpy.conj(b.T)), a)


def test_float32_stays_float32_and_integers_multiply():
    x = real(2, 3).astype(numpy.float32)
    gradient = wg.grad(lambda x: np.sum(x @ x.T))(x)
    assert gradient.dtype == numpy.float32
    whole = wg.trace(lambda i, x: i @ x, numpy.ones((2, 3), int), numpy.ones((3, 2), int))
    assert whole(numpy.arange(6).reshape(2, 3), numpy.arange(6).reshape(3, 2)).dtype == numpy.int64


def test_operators_reach_matmul_from_both_sides():
    a = wg.variable(real(2, 2))
    plain = real(2, 2)
    agree((a @ plain).numpy(), a.numpy() @ plain)
    agree((plain @ a).numpy(), plain @ a.numpy())
    agree((plain.tolist() @ a).numpy(), plain @ a.numpy())
    agree(a.dot(plain).numpy(), a.numpy() @ plain)
    before = a.numpy()
    a @= plain
    agree(a.numpy(), before @ plain)
    with pytest.raises(TypeError):
        a @ "text"


FUNCTIONS = {
    "dot of matrices": (lambda x, y: numpy.dot(x, y), (2, 3), (3, 2)),
    "dot with a number": (lambda x, y: numpy.dot(x, y), (2, 3), ()),
    "dot of stacks": (lambda x, y: numpy.dot(x, y), (4, 2, 3), (5, 3, 2)),
    "inner of vectors": (lambda x, y: numpy.inner(x, y), (3,), (3,)),
    "inner of stacks": (lambda x, y: numpy.inner(x, y), (2, 3), (4, 3)),
    "outer": (lambda x, y: numpy.outer(x, y), (2, 3), (4,)),
    "vdot": (lambda x, y: numpy.vdot(x, y), (2, 3), (3, 2)),
    "tensordot": (lambda x, y: numpy.tensordot(x, y), (4, 2, 3), (2, 3, 5)),
    "tensordot of 0 axes": (lambda x, y: numpy.tensordot(x, y, 0), (2,), (3, 2)),
    "tensordot over named axes": (lambda x, y: numpy.tensordot(x, y, ((0, -1), (1, 0))), (4, 2, 3), (3, 4, 5)),
    "kron of matrices": (lambda x, y: numpy.kron(x, y), (2, 3), (3, 2)),
    "kron of different ranks": (lambda x, y: numpy.kron(x, y), (3,), (2, 2)),
    "cross": (lambda x, y: numpy.cross(x, y), (2, 3), (3,)),
    "cross along other axes": (lambda x, y: numpy.cross(x, y, axisa=0, axisb=1, axisc=0), (3, 2), (2, 3)),
    "vecdot": (lambda x, y: numpy.vecdot(x, y), (2, 3), (3,)),
    "linalg.vecdot": (lambda x, y: linalg.vecdot(x, y, axis=0), (3, 2), (3, 2)),
    "linalg.outer": (lambda x, y: numpy.linalg.outer(x, y), (2,), (3,)),
    "linalg.cross": (lambda x, y: numpy.linalg.cross(x, y), (3,), (3,)),
    "linalg.tensordot": (lambda x, y: numpy.linalg.tensordot(x, y, axes=1), (2, 3), (3, 2)),
    "linalg.matmul": (lambda x, y: numpy.linalg.matmul(x, y), (2, 3), (3, 2)),
    "matvec": (lambda x, y: products.matvec(x, y), (4, 2, 3), (3,)),
    "vecmat": (lambda x, y: products.vecmat(x, y), (2,), (4, 2, 3)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_products_agree_with_numpy_in_every_mode(name):
    f, left, right = FUNCTIONS[name]
    x, y = real(*left), real(*right)
    check_values(f, x, y)
    check_derivatives(lambda x: f(x, y), x)
    check_derivatives(lambda y: f(x, y), y)


EINSUMS = [
    ("ij,jk->ik", (2, 3), (3, 4)),
    ("ij,jk", (2, 3), (3, 4)),
    ("ii", (3, 3)),
    ("ii->i", (3, 3)),
    ("iij->ji", (3, 3, 2)),
    ("ij->", (2, 3)),
    ("ij->ji", (2, 3)),
    ("i,j->ij", (2,), (3,)),
    ("i,i,i->", (3,), (3,), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
    ("ij,ij->ij", (2, 3), (2, 3)),
    ("...ij,...jk->...ik", (4, 2, 3), (3, 2)),
    ("...i,...i", (4, 2, 3), (3,)),
    ("i...->...", (2, 3, 4)),
    ("ii,ij->j", (3, 3), (3, 2)),
    ("ij,kl->jl", (2, 3), (4, 2)),
    ("ij,ij->j", (1, 3), (2, 3)),
    ("aab,bcc->ac", (2, 2, 3), (3, 2, 2)),
    ("iii->i", (2, 2, 2)),
    (",i->i", (), (3,)),
    ("ij,jk->ik", (0, 3), (3, 2)),
    ("a,ab,abc->abc", (2,), (2, 3), (2, 3, 2)),
    ("ab,cd,ef->", (2, 2), (2, 2), (2, 2)),
    ("bij,bjk,bkl,lm->bim", (2, 2, 3), (2, 3, 2), (2, 2, 2), (2, 3)),
]


@pytest.mark.parametrize("subscripts,shapes", [(s, shapes) for s, *shapes in EINSUMS])
def test_einsum_agrees_with_numpy_in_every_mode(subscripts, shapes):
    operands = [real(*shape) for shape in shapes]
    check_values(lambda *xs: numpy.einsum(subscripts, *xs), *operands)
    for k in range(len(operands)):
        others = operands[:k], operands[k + 1 :]
        check_derivatives(lambda x, o=others: numpy.einsum(subscripts, *o[0], x, *o[1]), operands[k])


def test_einsum_understands_lists_of_subscripts():
    x, y = real(2, 3), real(3, 4)
    f = lambda x: numpy.einsum(x, [0, 1], y, [1, 2], [2, 0])
    agree(f(wg.variable(x)).numpy(), (x @ y).T)
    agree(numpy.einsum(wg.variable(x), [0, 1]).numpy(), x)


def test_einsum_gradients_of_complex_operands():
    x, y = cplx(3, 3), cplx(3, 2)
    check_derivatives(lambda x: numpy.einsum("ii,ij->j", x, y), x)


def test_a_long_einsum_takes_the_cheap_order():
    shapes = [(50, 2), (2, 50), (50, 2), (2, 50)]
    g = wg.trace(lambda *xs: np.einsum("ab,bc,cd,de->ae", *xs), *[numpy.ones(s) for s in shapes])
    largest = max(v.type.size for node in g.nodes[:-1] for v in node.outputs)
    assert largest <= 100


def test_shapes_that_do_not_fit_name_the_repair():
    x = wg.variable(numpy.ones((2, 3)))
    with pytest.raises(ShapeError, match=r"x @ y\.T"):
        x @ x
    with pytest.raises(ShapeError, match="number"):
        x @ 2.0
    with pytest.raises(ShapeError, match="stacks"):
        numpy.matmul(wg.variable(numpy.ones((2, 2, 3))), numpy.ones((4, 3, 2)))
    for text, shapes in [
        ("ij,jk->ik", [(2, 3), (2, 3)]),
        ("ij->k", [(2, 3)]),
        ("ijk->i", [(2, 3)]),
        ("ij,j->i", [(2, 3)]),
    ]:
        with pytest.raises(ShapeError):
            wg.trace(lambda *xs, text=text: np.einsum(text, *xs), *[numpy.ones(s) for s in shapes])
    with pytest.raises(ShapeError):
        numpy.tensordot(x, numpy.ones((2, 2)), 1)
    with pytest.raises(AxisError):
        numpy.tensordot(x, numpy.ones((2, 2)), ((5,), (0,)))
    with pytest.raises(ShapeError):
        numpy.cross(x[:, :1], numpy.ones(3))
    with pytest.raises(UnsupportedError, match="out"):
        numpy.einsum("ij->i", x, out=numpy.ones(2))


def test_plain_arrays_are_handed_to_numpy():
    x = real(2, 3)
    assert type(np.matmul(x, x.T)) is numpy.ndarray
    assert numpy.array_equal(np.einsum("ij->j", x), numpy.einsum("ij->j", x))


@pytest.mark.parametrize(
    "subscripts,left,right",
    [
        ("ab,bc->ac", (2, 3), (3, 4)),
        ("bij,bjk->bik", (4, 2, 3), (4, 3, 5)),
        ("abc,cad->db", (2, 3, 4), (4, 2, 5)),
        ("a,a->", (3,), (3,)),
        ("ab,bc->ca", (2, 3), (3, 4)),
        ("ab,ab->a", (2, 3), (2, 3)),
        ("xab,bxc->acx", (2, 3, 4), (4, 2, 5)),
        ("ab,b->a", (0, 3), (3,)),
    ],
)
def test_large_einsums_of_two_operands_are_matrix_products(monkeypatch, subscripts, left, right):
    monkeypatch.setattr(einsum_module, "SMALL", -1)
    primitive = einsum_module.Einsum(subscripts)
    assert primitive.plan is not None
    x, y = real(*left), real(*right)
    agree(primitive.numpy(x, y), numpy.einsum(subscripts, x, y))


def test_gradients_of_large_operands():
    x = real(40, 30)
    check_derivatives(lambda x: numpy.einsum("ij,kj->ik", x, x), x, second=False)


def test_a_product_with_a_constant_is_differentiated_twice_and_shown():
    plain = real(3, 3)
    for f in (lambda a: a @ plain, lambda a: plain @ a):
        x = wg.variable(real(3, 3))
        np.sum(f(x) ** 3).backward(create_graph=True)
        first, x.grad = x.grad, None
        np.sum(first).backward()
        agree(x.grad, wg.grad(lambda a, f=f: np.sum(wg.grad(lambda a: np.sum(f(a) ** 3))(a)))(x.numpy()))
        assert any(node.primitive.name == "matmul" for node in wg.graph(f(x)).nodes)
