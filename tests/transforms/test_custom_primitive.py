"""`defprimitive`: declarations by functions keep the laws of all operations; open questions are refused."""

from __future__ import annotations

import numpy
import pytest
import scipy.special
from tests.ops import test_every_primitive as laws

import wengert as wg
import wengert.numpy as np
from wengert.errors import DtypeError, NotDifferentiableError, RegistrationError, ShapeError
from wengert.graph.interpreter import bind
from wengert.graph.primitive import registry

LAWS = [law for name, law in vars(laws).items() if name.startswith("test_") and "complex" not in name]


@pytest.fixture(autouse=True)
def clean():
    before = dict(registry)
    yield
    for name in set(registry) - set(before):
        del registry[name]


def lambert():
    """W exp(W) = x; the derivative is W / (x (1 + W))."""

    def value(x):
        return scipy.special.lambertw(x).real.astype("f4" if numpy.result_type(x) == "f4" else float)

    return wg.defprimitive(
        "test_lambertw", value,
        derivatives=[lambda x, out: out / (x * (1 + out))], samples=(0.5, 4), facts=("increasing",),
        doc="The principal branch of Lambert's W",
    )  # fmt: skip


def several():
    """Two results and a parameter; one rule, that of reverse mode."""

    def vjp(ct, operands, out, power):
        (x,), (first, second) = operands, ct
        total = 0.0 * x if first is None else np.cos(x) * first
        return (total if second is None else total + power * x ** (power - 1) * second,)

    return wg.defprimitive(
        "test_several", lambda x, power: (numpy.sin(x), x**power), type=lambda x, power: (floating(x), x), vjp=vjp,
        params=("power",), multiple=True, doc="sin x and a power of x",
        samples=lambda rng: [((rng.uniform(0.5, 2, 3),), {"power": 3}), ((rng.uniform(0.5, 2, (0, 2)),), {"power": 2})],
    )  # fmt: skip


def linear():
    """Linear in all operands: a transpose says it all."""
    return wg.defprimitive(
        "test_reverse", lambda x: x[::-1], type=lambda x: x if x.ndim else refuse(x),
        transpose=lambda ct, operands, linear: (op(ct),),
        batch=lambda xs, axes: (op(np.moveaxis(xs[0], axes[0], -1)), xs[0].ndim - 1), doc="The first axis turned round",
        native=lambda e, xs, types, out: e.map(
            out.shape, out.dtype, lambda i: xs[0].at(e, [e.sub(out.shape[0] - 1, i[0]), *i[1:]])
        ),
        samples=lambda rng: [(rng.normal(size=(3, 2)),), (rng.normal(size=0),)],
    )  # fmt: skip


def floating(x):
    if x.dtype.kind not in "fc":
        raise DtypeError(f"test_several of {x}", "give floating-point numbers")
    return x


def refuse(x):
    raise ShapeError(f"a number of type {x} cannot be turned round", "give an array")


def op(x):
    return bind(registry["test_reverse"].of(), x)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("declare", [lambert, several, linear])
def test_laws(law, declare):
    name = declare().primitive.name
    law(name)


def test_use():
    w, both = lambert(), several()
    numpy.testing.assert_allclose(w(numpy.e), 1.0)
    numpy.testing.assert_allclose(wg.grad(w)(numpy.e), 1 / (2 * numpy.e))
    x = numpy.array([0.5, 1.5])
    numpy.testing.assert_allclose(wg.jvp(lambda x: both(x, power=4)[1], (x,), (x,))[1], 4 * x**4)
    numpy.testing.assert_allclose(
        wg.jit(wg.grad(lambda x: np.sum(both(x, power=2)[1] + w(x))))(x), 2 * x + wg.vmap(wg.grad(w))(x)
    )
    assert "test_several(x, power=4)" in str(wg.trace(lambda x: both(x, power=4)[1], x))
    assert linear()([1.0, 2.0]).tolist() == [2.0, 1.0]
    compiled = wg.jit(lambda x: op(x) * 2)
    numpy.testing.assert_array_equal(compiled(x), 2 * x[::-1])
    assert compiled.lower(x).callbacks == []


def test_mistakes():
    both = several()
    with pytest.raises(TypeError, match=r"takes the parameters \('power',\), got \(\)"):
        both(1.0)
    with pytest.raises(RegistrationError, match="exists already"):
        several()
    with pytest.raises(ShapeError, match="cannot be turned round"):
        linear()(1.0)
    plain = {"type": lambda x: x, "samples": lambda rng: [(1.0,)]}
    for arguments, message in (
        ({}, "says neither what its results are nor"),
        ({"type": lambda x: x}, "has no samples"),
        (plain, "has no derivative and does not say why"),
        (plain | {"derivatives": [1]}, "has type= and derivatives="),
    ):
        with pytest.raises(RegistrationError, match=message):
            wg.defprimitive("test_open", lambda x: x, **arguments)
    f = wg.defprimitive("test_not", lambda x: x, not_differentiable="nobody knows", **plain)
    with pytest.raises(NotDifferentiableError, match="nobody knows"):
        wg.grad(f)(1.0)
