"""`wengert.numpy.fft`: values and dtypes are NumPy's, in every mode; derivatives agree with differences."""

from __future__ import annotations

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import AxisError, DtypeError, ShapeError, UnsupportedError
from wengert.testing import check_grads

rng = numpy.random.default_rng(3)
REAL, PLANES = rng.normal(size=(3, 5)), rng.normal(size=(2, 4, 6))
COMPLEX = REAL + 1j * rng.normal(size=(3, 5))
CALLS = {
    **{f"{name} {n} {axis} {norm}": (name, COMPLEX, {"n": n, "axis": axis, "norm": norm})
       for name in ("fft", "ifft", "irfft", "hfft")
       for n, axis, norm in ((None, -1, None), (4, 0, "ortho"), (7, 1, "forward"), (1, 1, "backward"))},
    **{f"{name} {n} {axis} {norm}": (name, REAL, {"n": n, "axis": axis, "norm": norm})
       for name in ("rfft", "ihfft", "fft")
       for n, axis, norm in ((None, -1, None), (2, 0, "ortho"), (8, 1, "forward"))},
    **{name: (name, PLANES, {}) for name in
       ("fftn", "ifftn", "rfftn", "irfftn", "fft2", "ifft2", "rfft2", "irfft2", "fftshift", "ifftshift")},
    **{f"{name} of some axes": (name, PLANES, {"s": (5, 3), "axes": (2, 0), "norm": "ortho"})
       for name in ("fftn", "ifftn", "rfftn", "irfftn")},
    "fftshift of an axis": ("fftshift", REAL, {"axes": 1}),
    "ifftshift of an axis": ("ifftshift", REAL, {"axes": (1,)}),
}  # fmt: skip
each_call = pytest.mark.parametrize("call", CALLS)


@each_call
def test_values_are_numpys(call):
    name, x, options = CALLS[call]
    original = getattr(numpy.fft, name)
    wanted = original(x, **options)
    same = {"rtol": 1e-13, "atol": 1e-13}
    numpy.testing.assert_array_equal(getattr(np.fft, name)(x, **options), wanted)
    numpy.testing.assert_allclose(wg.jit(lambda x: original(x, **options))(x), wanted, **same)
    numpy.testing.assert_allclose(wg.vjp(lambda x: original(x, **options), x)[0], wanted, **same)
    single = x.astype("c8" if x.dtype.kind == "c" else "f4")
    assert wg.jit(lambda x: original(x, **options))(single).dtype == original(single, **options).dtype


@each_call
def test_derivatives(call):
    name, x, options = CALLS[call]
    check_grads(lambda x: getattr(np.fft, name)(x, **options), (x,))


def test_batches_are_loops():
    many = rng.normal(size=(4, 3, 5))
    for axis in (0, 1, 2):
        found = wg.vmap(lambda x: np.fft.rfft(x, axis=0), in_axes=axis)(many)
        wanted = [numpy.fft.rfft(x, axis=0) for x in numpy.moveaxis(many, axis, 0)]
        numpy.testing.assert_allclose(found, wanted, rtol=1e-13, atol=1e-13)


def test_the_compiled_gradient_of_a_spectrum():
    def power(x):
        return np.sum(np.abs(np.fft.rfft(np.sin(x))) ** 4)

    numpy.testing.assert_allclose(wg.jit(wg.grad(power))(REAL), wg.grad(power)(REAL), rtol=1e-12)


def test_parsevals_theorem_gives_the_gradient():
    """Sum of |fft(x)|**2 is n times that of x**2."""
    x = REAL[0]
    found = wg.grad(lambda x: np.sum(np.abs(np.fft.fft(x)) ** 2))(x)
    numpy.testing.assert_allclose(found, 2 * x.size * x, rtol=1e-13)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda x: np.fft.fft(x, axis=2), AxisError),
        (lambda x: np.fft.fft(x, n=0), ShapeError),
        (lambda x: np.fft.fft(x[:0], axis=0), ShapeError),
        (lambda x: np.fft.irfft(x[:, :1]), ShapeError),
        (lambda x: np.fft.fft(x, norm="none"), UnsupportedError),
        (lambda x: np.fft.fft(x, out=numpy.empty(5, complex)), UnsupportedError),
        (lambda x: np.fft.rfft(x * 1j), DtypeError),
        (lambda x: np.fft.fftn(x, s=(2,), axes=(0, 1)), ShapeError),
    ],
)
def test_misuse_is_named(call, error):
    with pytest.raises(error) as caught:
        wg.jit(call)(REAL)
    assert "test_fft.py" in str(caught.value)
