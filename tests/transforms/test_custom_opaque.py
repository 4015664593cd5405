"""Opaque code in every transform; C functions by their pointers; what it must return and take."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy
import pytest
import scipy.special

import wengert as wg
import wengert.numpy as np
from wengert.errors import (
    IndexOutOfBoundsError,
    NotDifferentiableError,
    OpaqueCallError,
    OpaqueResultError,
    RuleStructureError,
    WrongRuleError,
)

X = numpy.linspace(0.1, 5.0, 6)
J0, J1 = scipy.special.j0(X), scipy.special.j1(X)


def library():
    found = ctypes.CDLL(ctypes.util.find_library("m"))
    for name in ("j0", "j1"):
        getattr(found, name).argtypes, getattr(found, name).restype = [ctypes.c_double], ctypes.c_double
    return found


def bessel(kind, rule):
    source = scipy.special if kind == "scipy" else library()
    if kind == "python":  # a function that takes one number at a time is opaque as well
        first, second = (numpy.vectorize(f) for f in (scipy.special.j0, scipy.special.j1))
    else:
        first, second = source.j0, source.j1
    j1 = wg.opaque(second, jvp=lambda x, t, out: (j0(x[0]) - out / x[0]) * t[0])
    if rule == "jvp":
        j0 = wg.opaque(first, jvp=lambda x, t, out: -j1(x[0]) * t[0])
    else:
        j0 = wg.opaque(first, vjp=lambda x, out, ct: (-j1(x[0]) * ct,))
    return j0


USES = {
    "values": lambda f: f,
    "jvp": lambda f: lambda x: wg.jvp(f, (x,), (numpy.ones(6),))[1],
    "gradient": lambda f: wg.grad(lambda x: np.sum(f(x))),
    "batch": lambda f: wg.vmap(f),
    "batch of gradients": lambda f: wg.vmap(wg.grad(f)),
    "second": lambda f: wg.vmap(wg.grad(wg.grad(f))),
    "scan": lambda f: wg.grad(lambda x: wg.scan(lambda c, x: (c + f(x), None), 0.0, x)[0]),
}
EXPECTED = dict.fromkeys(USES, -J1) | {"values": J0, "batch": J0, "second": J1 / X - J0}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("rule", ["jvp", "vjp"])
@pytest.mark.parametrize("kind", ["scipy", "c", "python"])
def test_every_use(kind, rule, use):
    made = USES[use](bessel(kind, rule))
    numpy.testing.assert_allclose(made(X), EXPECTED[use], 1e-12)
    numpy.testing.assert_allclose(wg.verify(wg.trace(made, X))(X), EXPECTED[use], 1e-12)
    compiled = wg.jit(made)
    numpy.testing.assert_allclose(compiled(X), EXPECTED[use], 1e-12)
    assert bool(compiled.lower(X).callbacks) == (kind != "c")  # a C function is called by pointer


def test_compiled_functions_that_differ_in_the_pointer_only():
    """Their programs are the same text, and are told apart all the same."""
    number = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double, ctypes.c_int32)
    fns = [number(lambda x, n: x * n), number(lambda x, n: x + n)]
    found = [wg.jit(wg.opaque(f))(X[:, None], numpy.arange(3)) for f in fns]
    numpy.testing.assert_array_equal(found, [X[:, None] * numpy.arange(3), X[:, None] + numpy.arange(3)])
    numpy.testing.assert_array_equal(wg.opaque(fns[0])(X[:2], 2), 2 * X[:2])
    numpy.testing.assert_array_equal(wg.vmap(wg.opaque(fns[0]), (0, None))(X, numpy.arange(3)), found[0])


def test_a_large_array_is_mapped_once():
    """However many read the result."""
    calls = []
    f = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(lambda x: calls.append(x) or 2 * x)
    g = wg.opaque(f)
    x = numpy.arange(100.0)

    def program(x):
        y = g(x)
        return np.sum(y * y) + np.sum(np.sin(y)), y

    numpy.testing.assert_array_equal(wg.jit(program)(x)[1], 2 * x)
    assert len(calls) == 100


def filter_by_pointers():
    """void(const double *x, double gain, double *y, double *total)"""
    pointer = ctypes.POINTER(ctypes.c_double)

    def code(x, gain, y, total):
        total[0] = 0.0
        for k in range(3):
            y[k] = gain * x[k] ** 2
            total[0] += y[k]

    made = ctypes.CFUNCTYPE(None, pointer, ctypes.c_double, pointer, pointer)(code)

    def vjp(primals, out, ct):
        x, gain = primals
        slope = ct[0] + ct[1]
        return 2 * gain * x * slope, np.sum(slope * x**2)

    return wg.opaque(made, vjp=vjp, result=lambda x, gain: (x, wg.ArrayType((), x.dtype)))


def test_pointers_to_arrays():
    f = filter_by_pointers()
    x = numpy.array([1.0, 2.0, 3.0])

    def plain(x, gain):
        return gain * x**2, np.sum(gain * x**2)

    def loss(f):
        return lambda x, gain: np.sum(f(x, gain)[0] ** 2) + f(x, gain)[1]

    for made, expected, *several in (
        (loss(f), loss(plain)),
        (wg.grad(loss(f), (0, 1)), wg.grad(loss(plain), (0, 1))),
        (lambda x, g: wg.jvp(loss(f), (x, g), (x, g)), lambda x, g: wg.jvp(loss(plain), (x, g), (x, g))),
        (wg.vmap(wg.grad(loss(f)), (None, 0)), wg.vmap(wg.grad(loss(plain)), (None, 0)), 0.5, 2.0, 3.0, 4.0),
    ):
        gain = numpy.array(several) if several else 0.5
        compiled = wg.jit(made)
        for found in (made(x, gain), compiled(x, gain)):
            wanted = expected(x, gain)
            for a, b in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, wanted)), strict=True):
                numpy.testing.assert_allclose(a, b, 1e-12)
        assert compiled.lower(x, gain).callbacks == []


def test_batches_run_item_by_item_or_all_at_once():
    shapes = []

    def sort(x):
        shapes.append(x.shape)
        return numpy.sort(x, axis=-1)

    x = numpy.random.default_rng(0).normal(size=(4, 5))
    for vectorized, wanted in ((False, [(5,)] * 4), (True, [(4, 5)])):
        shapes.clear()
        f = wg.vmap(wg.opaque(sort, result=lambda x: x, vectorized=vectorized))
        numpy.testing.assert_array_equal(f(x), numpy.sort(x))
        assert shapes == wanted
        numpy.testing.assert_array_equal(wg.jit(wg.vmap(f))(x.reshape(2, 2, 5)), numpy.sort(x).reshape(2, 2, 5))


def test_containers_and_results_of_fixed_type():
    f = wg.opaque(
        lambda x: {"s": numpy.sum(x), "n": numpy.array([len(x)])},
        result={"s": wg.ArrayType((), numpy.dtype(float)), "n": numpy.zeros(1, int)},
        jvp=lambda p, t, out: {"s": np.sum(t[0]), "n": None},
    )
    assert wg.jit(f)(X) == {"s": numpy.sum(X), "n": numpy.array([6])}
    numpy.testing.assert_array_equal(wg.grad(lambda x: f(x)["s"] * f(x)["n"][0])(X), numpy.full(6, 6.0))


def test_the_code_may_keep_and_change_what_it_gets():
    kept = []

    def change(x):
        kept.append(x)
        x[:] = 0
        return x + 1

    f = wg.jit(lambda x: wg.opaque(change)(x * 2) + x)
    numpy.testing.assert_array_equal(f(X), 1 + X)
    f(X)
    numpy.testing.assert_array_equal(kept[0], numpy.zeros(6))
    x = X.copy()
    wg.jit(wg.opaque(change))(x)
    numpy.testing.assert_array_equal(x, X)


def test_exceptions_come_out():
    def fails(x):
        raise IndexOutOfBoundsError("no such row", "ask for another")

    for f in (wg.opaque(fails), wg.jit(wg.opaque(fails))):
        with pytest.raises(IndexOutOfBoundsError, match="no such row"):
            f(X)


def test_callbacks():
    seen = []

    def host(x, k):
        seen.append(float(k))
        return numpy.interp(x, [0, 10], [0, 100]) * k

    def program(x):
        return wg.scan(
            lambda c, k: (c + wg.callback(host, c, k, jvp=lambda p, t, out: 10 * (t[0] * p[1] + p[0] * t[1])), None),
            x, np.arange(1.0, 3.0),
        )[0]  # fmt: skip

    assert wg.jit(program)(0.01) == pytest.approx(0.01 * 11 * 21)
    assert seen == [1.0, 2.0]
    assert wg.grad(program)(0.01) == pytest.approx(11 * 21)
    assert wg.jit(wg.grad(program))(0.01) == pytest.approx(11 * 21)


# Mistakes. ----------------------------------------------------------------------------------------------


def test_no_rule():
    f = wg.opaque(scipy.special.j0)
    for use in (wg.grad, lambda f: wg.jit(wg.grad(f)), lambda f: lambda x: wg.jvp(f, (x,), (x,))):
        with pytest.raises(NotDifferentiableError, match=r"opaque code without a rule: give wg\.opaque jvp= or vjp="):
            use(f)(1.0)


def test_wrong_rules():
    for wrong in (
        wg.opaque(numpy.sin, jvp=lambda x, t, out: -np.cos(x[0]) * t[0]),
        wg.opaque(numpy.sin, vjp=lambda x, out, ct: (-np.cos(x[0]) * ct,)),
    ):
        with pytest.raises(WrongRuleError, match=r"gives the derivative -0\.540302, but .* is 0\.540302"):
            wg.grad(wrong)(1.0)
    with pytest.raises(RuleStructureError):
        wg.grad(wg.opaque(numpy.sin, vjp=lambda x, out, ct: np.cos(x[0]) * ct))(1.0)


def test_the_code_is_not_tried_on_numbers_that_were_made_up():
    seen = []
    f = wg.opaque(lambda x: seen.append(x) or x, jvp=lambda x, t, out: t[0])
    wg.trace(wg.grad(f), 1.0)
    assert seen == []


@pytest.mark.parametrize("use", [wg.jit, lambda f: wg.grad(lambda x: np.sum(f(x)))])
def test_another_result_than_declared(use):
    for f, message in (
        (wg.opaque(numpy.sum, jvp=lambda x, t, out: np.sum(t[0])), r"sum returned f64\[\] where f64\[6\] is expected"),
        (
            wg.opaque(numpy.sin, result=lambda x: (x, x), jvp=lambda x, t, out: (t[0], t[0])),
            r"sin returned f64\[6\] where \[f64\[6\], f64\[6\]\] result= says",
        ),
    ):
        with pytest.raises(OpaqueResultError, match=message):
            use(lambda x, f=f: f(x)[0] if "sin" in repr(f) else f(x))(X)


def test_a_result_that_is_no_type():
    with pytest.raises(OpaqueResultError, match="result= of dot is 'scalar', which is no array of numbers"):
        wg.jit(wg.opaque(numpy.dot, result="scalar"))(X, X)


def test_c_functions_that_do_not_fit():
    found = ctypes.CDLL(ctypes.util.find_library("m"))
    with pytest.raises(OpaqueCallError, match="does not say what it takes"):
        wg.opaque(found.cosh)
    with pytest.raises(OpaqueCallError, match="parameter or result"):
        wg.opaque(ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.c_double)(lambda x: b""))
    f = wg.opaque(library().j0)
    for use in (f, wg.jit(f)):
        with pytest.raises(OpaqueCallError, match=r"takes float64, and was given c128\[\]"):
            use(numpy.complex128(1))
    with pytest.raises(OpaqueCallError, match="takes 1 parameters, and was given 2"):
        f(X, X)
    pointer = ctypes.POINTER(ctypes.c_double)
    with pytest.raises(OpaqueCallError, match="give result="):
        wg.opaque(ctypes.CFUNCTYPE(None, pointer, pointer)(lambda x, y: None))
    g = wg.opaque(ctypes.CFUNCTYPE(None, pointer, pointer)(lambda x, y: None), result=lambda x: x)
    with pytest.raises(OpaqueCallError, match=r"takes float64, and was given f32\[6\]"):
        wg.jit(g)(X.astype("f4"))
