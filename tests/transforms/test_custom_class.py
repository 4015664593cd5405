"""`Function`: the class form of a function with its own derivative, in every use that the function form has."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import RuleMissingError, RuleShapeError, RuleStructureError, WrongRuleError

X = numpy.array([-2.0, -0.4, 0.3, 1.7])
W = numpy.random.default_rng(0).normal(size=(4, 3))


def plain(x, w, flag, n):
    return x @ w * n, np.sum(x * x)


class Layer(wg.Function):
    """Two results, arguments that are no arrays, attributes on the context."""

    @staticmethod
    def forward(ctx, x, w, flag, n):
        assert flag == "relu"
        ctx.save_for_backward(x, w)
        ctx.n = n
        return plain(x, w, flag, n)

    @staticmethod
    def backward(ctx, first, second):
        x, w = ctx.saved_tensors
        gx = ctx.n * w @ first + 2 * second * x if ctx.needs_input_grad[0] else None
        return gx, ctx.n * np.outer(x, first), None, None


class Tangent(wg.Function):
    """The same by forward mode, with the context filled apart."""

    @staticmethod
    def forward(x, w, flag, n):
        return plain(x, w, flag, n)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_forward(*inputs[:2])
        ctx.n = inputs[3]

    @staticmethod
    def jvp(ctx, tx, tw, flag, n):
        assert flag is None and n is None
        x, w = ctx.saved_tensors
        return (tx @ w + x @ tw) * ctx.n, 2 * np.sum(x * tx)


def loss(f):
    def run(x, w):
        y, n = f(x, w, "relu", 3)
        return np.sum(np.sin(y)) + n**2

    return run


USES = {
    "gradient": lambda f: wg.grad(f, (0, 1)),
    "gradient in one": lambda f: wg.grad(f, 1),
    "hessian": lambda f: wg.hessian(f),
    "jvp": lambda f: lambda x, w: wg.jvp(f, (x, w), (np.cos(x), np.sin(w))),
    "batch of gradients": lambda f: lambda x, w: wg.vmap(wg.grad(f, (0, 1)), (None, 0))(x, np.stack([w, 2 * w])),
    "gradient of the graph": lambda f: lambda x, w: wg.grad(wg.trace(f, x, w), (0, 1))(x, w),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", [Layer, Tangent])
def test_every_use_is_that_of_the_function_itself(use, kind):
    expected = USES[use](loss(plain))(X, W)
    made = USES[use](loss(kind.apply))
    for found in (made(X, W), wg.jit(made)(X, W)):
        for a, b in zip(tuples(found), tuples(expected), strict=True):
            numpy.testing.assert_allclose(a, b, 1e-9)


def tuples(value):
    return value if isinstance(value, tuple) else (value,)


def test_without_a_derivative_forward_is_just_called():
    y = Layer.apply(X, W, "relu", 2)[0]
    numpy.testing.assert_array_equal(y, X @ W * 2)
    x = wg.variable(X)
    (Layer.apply(x, W, "relu", 1)[1] * 2).backward()
    numpy.testing.assert_allclose(x.grad, 4 * X)


def test_a_single_cotangent_needs_no_tuple_and_complex_ones_descend():
    class Square(wg.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.z = z
            return z * z

        @staticmethod
        def backward(ctx, ct):
            return 2 * np.conj(ctx.z) * ct

    z = numpy.array([1 + 2j, 0.5 - 1j])
    expected = wg.grad(lambda z: np.sum(abs(z * z) ** 2))(z)
    numpy.testing.assert_allclose(wg.grad(lambda z: np.sum(abs(Square.apply(z)) ** 2))(z), expected, 1e-12)


def test_results_marked_as_constants():
    class Top(wg.Function):
        @staticmethod
        def forward(ctx, x):
            place = np.argmax(x)
            rest = np.exp(x)
            ctx.mark_non_differentiable(rest)
            ctx.place, ctx.n = place, x.shape[0]
            return x[place], rest

        @staticmethod
        def backward(ctx, ct, rest):
            assert not np.any(rest)
            return np.where(np.arange(ctx.n) == ctx.place, ct, 0.0)

        check = False

    numpy.testing.assert_array_equal(
        wg.grad(lambda x: Top.apply(x)[0] ** 2 + np.sum(Top.apply(x)[1]))(X), [0, 0, 0, 2 * 1.7]
    )


def test_mistakes():
    class Sign(wg.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return np.sin(x)

        @staticmethod
        def backward(ctx, ct):
            return -np.cos(ctx.saved_tensors[0]) * ct

    with pytest.raises(WrongRuleError, match=r"the vjp rule of Sign gives the derivative -0\.540302") as caught:
        wg.grad(Sign.apply)(1.0)
    assert caught.value.source.function.endswith("Sign.backward")

    class Count(Sign):
        @staticmethod
        def backward(ctx, ct):
            return ct, ct

    with pytest.raises(RuleStructureError, match=r"Count\.backward returned 2 values for 1 arguments"):
        wg.grad(Count.apply)(1.0)

    class Shape(Sign):
        check = False

        @staticmethod
        def backward(ctx, ct):
            return np.sum(ct)

    with pytest.raises(RuleShapeError, match=r"is f64\[\], the argument is f64\[4\]"):
        wg.grad(lambda x: np.sum(Shape.apply(x)))(X)

    class Nothing(wg.Function):
        @staticmethod
        def forward(ctx, x):
            return x

    assert Nothing.apply(1.0) == 1.0
    with pytest.raises(RuleMissingError):
        wg.grad(Nothing.apply)(1.0)
