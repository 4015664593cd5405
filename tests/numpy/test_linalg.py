"""`numpy.linalg`: values against NumPy and SciPy, derivatives in every mode, errors."""

from __future__ import annotations

import numpy
import pytest
import scipy.linalg
from tests.numpy.modes import agree, check_derivatives, check_values

import wengert as wg
import wengert.numpy as np
import wengert.numpy.linalg as linalg
from wengert.errors import ShapeError, SingularMatrixError, UnsupportedError

rng = numpy.random.default_rng(5)


def real(*shape: int) -> numpy.ndarray:
    return rng.normal(size=shape)


def cplx(*shape: int) -> numpy.ndarray:
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


def regular(n: int, *lead: int, kind=real) -> numpy.ndarray:
    return kind(*lead, n, n) + 3 * numpy.eye(n)


def hermitian_part(a):
    return (a + numpy.conj(np.swapaxes(a, -1, -2))) / 2


def positive(a):
    """A positive definite matrix made of any."""
    n = a.shape[-1]
    return a @ numpy.conj(np.swapaxes(a, -1, -2)) + numpy.eye(n)


MATRIX_FUNCTIONS = {
    "inv": numpy.linalg.inv,
    "det": numpy.linalg.det,
    "slogdet": lambda a: numpy.linalg.slogdet(a)[1],
    "matrix_power 3": lambda a: numpy.linalg.matrix_power(a, 3),
    "matrix_power -2": lambda a: numpy.linalg.matrix_power(a, -2),
    "cholesky": lambda a: numpy.linalg.cholesky(positive(a)),
    "cholesky upper": lambda a: numpy.linalg.cholesky(positive(a), upper=True),
    "qr": lambda a: numpy.linalg.qr(a).Q + 2 * numpy.linalg.qr(a).R,
    "eigvalsh": lambda a: numpy.linalg.eigvalsh(hermitian_part(a)),
    "svdvals": lambda a: linalg.svdvals(a),
    "pinv": numpy.linalg.pinv,
    "diagonal": lambda a: linalg.diagonal(a, offset=1),
    "trace": lambda a: linalg.trace(a),
    "matrix_transpose": lambda a: linalg.matrix_transpose(a),
    "matrix_norm": lambda a: linalg.matrix_norm(a),
}


@pytest.mark.parametrize("name", MATRIX_FUNCTIONS)
@pytest.mark.parametrize("lead", [(), (2,)])
def test_functions_of_square_matrices_in_every_mode(name, lead):
    f, a = MATRIX_FUNCTIONS[name], regular(3, *lead)
    check_values(f, a, rtol=1e-10, atol=1e-10)
    check_derivatives(f, a)


@pytest.mark.parametrize("name", [n for n in MATRIX_FUNCTIONS if n not in ("slogdet", "qr")])
def test_functions_of_complex_matrices(name):
    f = MATRIX_FUNCTIONS[name]
    check_derivatives(f if numpy.iscomplexobj(f(cplx(3, 3))) else lambda a: f(a) + 0j, regular(3, kind=cplx))


def test_complex_slogdet_and_qr():
    a = regular(3, kind=cplx)
    check_derivatives(lambda a: numpy.linalg.slogdet(a).sign, a)
    check_derivatives(lambda a: numpy.linalg.slogdet(a).logabsdet + 0j, a)
    check_derivatives(lambda a: numpy.linalg.qr(a)[0], cplx(4, 3))
    check_derivatives(lambda a: numpy.linalg.qr(a)[1], cplx(3, 3))


@pytest.mark.parametrize(
    "shapes", [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (3, 2)), ((3, 3), (2, 3, 1)), ((2, 3, 3), (3,))]
)
@pytest.mark.parametrize("kind", [real, cplx])
def test_solve(shapes, kind):
    a, b = regular(3, *shapes[0][:-2], kind=kind), kind(*shapes[1])
    if kind is real:
        agree(wg.trace(numpy.linalg.solve, a, b)(a, b), numpy.linalg.solve(a, b))
    check_derivatives(lambda a: numpy.linalg.solve(a, b), a)
    check_derivatives(lambda b: numpy.linalg.solve(a, b), b)


def test_solve_of_mixed_types():
    a, b = regular(3), cplx(3)
    check_derivatives(lambda a: numpy.real(numpy.linalg.solve(a, b)), a)
    check_derivatives(lambda b: numpy.linalg.solve(a, b), b)


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("unit", [True, False])
@pytest.mark.parametrize("trans", [0, 1, "C"])
def test_solve_triangular_agrees_with_scipy(lower, unit, trans):
    a, b = regular(3), real(3, 2)
    f = lambda a, b: linalg.solve_triangular(a, b, trans, lower, unit)
    agree(f(a, b), scipy.linalg.solve_triangular(a, b, trans=trans, lower=lower, unit_diagonal=unit))
    check_derivatives(lambda a: f(a, b), a)
    check_derivatives(lambda b: f(a, b), b)
    check_derivatives(lambda a: f(a, b[:, 0]), regular(3, 2))
    check_derivatives(lambda a: f(a, b), regular(3, kind=cplx))


def test_expm_agrees_with_scipy_and_its_frechet_derivative():
    a, e, c = real(3, 3), real(3, 3), real(3, 3)
    agree(linalg.expm(a), scipy.linalg.expm(a))
    agree(wg.jvp(linalg.expm, (a,), (e,))[1], scipy.linalg.expm_frechet(a, e, compute_expm=False))
    adjoint = scipy.linalg.expm_frechet(a.T, c, compute_expm=False)
    agree(wg.grad(lambda a: np.sum(c * linalg.expm(a)))(a), adjoint)
    check_derivatives(linalg.expm, a)
    check_derivatives(linalg.expm, real(2, 2, 2))
    check_derivatives(linalg.expm, cplx(2, 2))
    third = wg.grad(wg.grad(wg.grad(lambda t: linalg.expm(t * a)[0, 1])))(0.3)
    numpy.testing.assert_allclose(
        third, (numpy.linalg.matrix_power(a, 3) @ scipy.linalg.expm(0.3 * a))[0, 1], rtol=1e-9
    )


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (2, 4), (2, 4, 2)])
@pytest.mark.parametrize("kind", [real, cplx])
def test_qr_of_every_shape(shape, kind):
    a = kind(*shape)
    check_derivatives(lambda a: numpy.linalg.qr(a)[0], a)
    check_derivatives(lambda a: numpy.linalg.qr(a, mode="r"), a)


def test_complete_qr_spans_the_complement():
    a = real(4, 2)
    project = lambda a: numpy.linalg.qr(a, "complete")[0][:, 2:] @ numpy.linalg.qr(a, "complete")[0][:, 2:].T
    check_derivatives(project, a)
    check_derivatives(lambda a: numpy.linalg.qr(a, "complete")[1], a)


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (2, 4), (2, 4, 2)])
@pytest.mark.parametrize("full", [False, True])
def test_svd_of_every_shape(shape, full):
    a = real(*shape)
    k = min(shape[-2:])

    def parts(a):
        u, s, vh = numpy.linalg.svd(a, full_matrices=full)
        return u[..., :k], s, vh[..., :k, :]

    for place in range(3):
        check_derivatives(lambda a, place=place: parts(a)[place], a)
    agree(wg.trace(lambda a: numpy.linalg.svd(a, full)[0], a)(a), numpy.linalg.svd(a, full)[0])
    rest = lambda a: numpy.linalg.svd(a)[0][..., k:] @ np.swapaxes(numpy.linalg.svd(a)[0][..., k:], -1, -2)
    if full and shape[-2] > k:
        check_derivatives(rest, a)
    rest = lambda a: np.swapaxes(numpy.linalg.svd(a)[2][..., k:, :], -1, -2) @ numpy.linalg.svd(a)[2][..., k:, :]
    if full and shape[-1] > k:
        check_derivatives(rest, a)


def test_svd_of_complex_matrices_up_to_phases():
    for shape in [(3, 3), (4, 2), (2, 4)]:
        a = cplx(*shape)

        def low_rank(a):
            u, s, vh = numpy.linalg.svd(a, full_matrices=False)
            return (u * numpy.sin(s)) @ vh

        check_derivatives(low_rank, a)
        check_derivatives(lambda a: numpy.linalg.svd(a, compute_uv=False) + 0j, a)


@pytest.mark.parametrize("kind", [real, cplx])
def test_eigh_vectors(kind):
    a = kind(3, 3)

    def function(a):
        w, v = numpy.linalg.eigh(hermitian_part(a))
        return (v * numpy.sin(w)) @ numpy.conj(v).T

    check_derivatives(function, a)
    if kind is real:
        check_derivatives(lambda a: numpy.linalg.eigh(hermitian_part(a)).eigenvectors, a)
        check_derivatives(lambda a: numpy.linalg.eigh(hermitian_part(a))[1], real(2, 3, 3))


def test_the_gradient_of_a_function_of_a_symmetric_matrix_is_symmetric():
    a = positive(real(3, 3))
    for f in (
        lambda a: np.linalg.eigh(a)[1][0, 0],
        lambda a: np.linalg.cholesky(a)[2, 0],
        lambda a: np.linalg.eigvalsh(a)[0],
    ):
        gradient = wg.grad(f)(a)
        agree(gradient, gradient.T, rtol=1e-13)


@pytest.mark.parametrize("kind", [real, cplx])
def test_eig(kind):
    a = kind(3, 3) + numpy.diag([0.0, 4.0, 8.0])

    def values(a):
        w = numpy.linalg.eigvals(a)
        return numpy.real(numpy.sum(w**3)) + numpy.imag(w[0] * w[1])

    def function(a):
        w, v = numpy.linalg.eig(a)
        return numpy.real((v * numpy.sin(w)) @ numpy.linalg.inv(v))

    for f in (values, function):
        check_derivatives(f if kind is real else lambda a, f=f: f(a) + 0j, a)
    _, v = numpy.linalg.eig(wg.variable(a))
    agree(v.numpy(), numpy.linalg.eig(a)[1].astype(complex))
    # Also the entries of the vectors, which LAPACK gives length 1 and a real largest component.
    entries = lambda a: numpy.real(numpy.linalg.eig(a)[1] * weights)
    weights = cplx(3, 3)
    check_derivatives(entries if kind is real else lambda a: entries(a) + 0j, a)
    check_derivatives(entries, numpy.diag([1.0, 4.0, 8.0]) + 0.3 * real(3, 3))


def test_eigenvalues_of_a_rotation_are_complex():
    gradient = wg.grad(lambda t: numpy.imag(numpy.linalg.eigvals(t * np.array([[0.0, 1.0], [-1.0, 0.0]]))[0]))(2.0)
    numpy.testing.assert_allclose(gradient, 1.0)


@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (3, 3), (2, 3, 2)])
@pytest.mark.parametrize("kind", [real, cplx])
def test_pinv_of_every_shape(shape, kind):
    check_derivatives(numpy.linalg.pinv, kind(*shape))


def test_pinv_of_a_deficient_matrix_moves_among_matrices_of_its_rank():
    left, right = real(4, 2), real(2, 3)
    check_derivatives(lambda x: numpy.linalg.pinv(x @ right, 1e-10), left)
    check_derivatives(lambda x: numpy.linalg.pinv(left @ x, rtol=1e-10), right)
    symmetric = lambda x: numpy.linalg.pinv(x @ x.T, 1e-10, hermitian=True)
    check_derivatives(symmetric, real(3, 2))


@pytest.mark.parametrize("a,b", [((4, 2), (4,)), ((4, 2), (4, 3)), ((2, 4), (2,)), ((3, 3), (3,))])
def test_lstsq(a, b):
    a, b = real(*a), real(*b)
    found = numpy.linalg.lstsq(wg.variable(a), wg.variable(b))
    for mine, theirs in zip(found, numpy.linalg.lstsq(a, b), strict=True):
        agree(mine.numpy() if isinstance(mine, wg.Tensor) else mine, theirs, rtol=1e-10) if numpy.ndim(theirs) else None
    assert found[2] == numpy.linalg.matrix_rank(a)
    check_derivatives(lambda a: numpy.linalg.lstsq(a, b)[0], a)
    check_derivatives(lambda b: numpy.linalg.lstsq(a, b)[0], b)
    if a.shape[0] > a.shape[1]:
        check_derivatives(lambda a: numpy.linalg.lstsq(a, b)[1], a)


VECTOR_ORDERS = [None, 1, 2, 3, 2.5, -1, -2, numpy.inf, -numpy.inf, 0]
MATRIX_ORDERS = [None, "fro", "nuc", 1, -1, 2, -2, numpy.inf, -numpy.inf]


@pytest.mark.parametrize("ord", VECTOR_ORDERS)
@pytest.mark.parametrize("options", [{"axis": 0}, {"axis": -1, "keepdims": True}])
def test_vector_norms_of_every_order(ord, options):
    f = lambda x: numpy.linalg.norm(x, ord, **options)
    check_values(f, real(3, 4))
    check_derivatives(f, real(3, 4))
    check_derivatives(lambda x: f(x) + 0j, cplx(3, 4), second=False)


@pytest.mark.parametrize("ord", MATRIX_ORDERS)
def test_matrix_norms_of_every_order(ord):
    check_values(lambda x: numpy.linalg.norm(x, ord), real(3, 4))
    check_values(lambda x: numpy.linalg.norm(x, ord, axis=(2, 0), keepdims=True), real(3, 2, 4))
    check_derivatives(lambda x: numpy.linalg.norm(x, ord), real(3, 4))
    check_derivatives(lambda x: numpy.linalg.norm(x, ord, axis=(0, 2)), real(3, 2, 4))
    check_derivatives(lambda x: numpy.linalg.norm(x, ord) + 0j, cplx(3, 4), second=False)


def test_other_norms():
    check_values(lambda x: numpy.linalg.norm(x), real(2, 3, 2))
    check_values(lambda x: numpy.linalg.norm(x, keepdims=True), real(2, 3, 2))
    check_values(lambda x: linalg.vector_norm(x, axis=(0, 2), keepdims=True), real(2, 3, 2))
    check_values(lambda x: linalg.matrix_norm(x, ord=1, keepdims=True), real(2, 3, 2))
    for p in (None, 1, 2, -2, numpy.inf, "fro"):
        check_values(lambda x, p=p: numpy.linalg.cond(x, p), regular(3, 2), rtol=1e-10)
        check_derivatives(lambda x, p=p: numpy.linalg.cond(x, p), regular(3))
    check_values(lambda x: numpy.linalg.matrix_rank(x), numpy.diag([1.0, 2.0, 0.0]))
    check_values(lambda x: numpy.linalg.matrix_rank(x, rtol=0.5), real(2, 3, 3))
    check_values(lambda x: numpy.linalg.matrix_rank(x), numpy.zeros(3))


@pytest.mark.parametrize("ord", [None, 2, 3, 1, numpy.inf])
def test_gradients_of_norms_are_0_at_0_in_every_order(ord):
    zero = numpy.zeros(3)
    f = lambda x: numpy.linalg.norm(x, ord)
    agree(wg.grad(f)(zero), zero)
    agree(wg.jvp(f, (zero,), (numpy.ones(3),))[1], numpy.float64(0))
    agree(wg.jvp(wg.grad(f), (zero,), (numpy.ones(3),))[1], zero)
    agree(wg.grad(lambda x: np.sum(wg.grad(f)(x) * x))(zero), zero)
    agree(wg.trace(wg.grad(f), zero)(zero), zero)


def test_chains_powers_and_tensors():
    a, b, c = real(2, 5), real(5, 3), real(3, 4)
    chain = lambda a: numpy.linalg.multi_dot([a, b, c, c.T])
    check_values(chain, a)
    check_derivatives(chain, a)
    ends = lambda x: numpy.linalg.multi_dot([x, b, c[:, 0]])
    check_derivatives(ends, real(5))
    check_values(lambda a: numpy.linalg.matrix_power(a, 0) + a, real(2, 3, 3))
    check_values(lambda x, y: numpy.linalg.tensorsolve(x, y), real(2, 3, 6), real(2, 3))
    check_derivatives(lambda x: numpy.linalg.tensorsolve(x, numpy.ones((2, 3))), real(2, 3, 6))
    check_derivatives(lambda x: numpy.linalg.tensorsolve(x, numpy.ones((2, 3)), axes=(0,)), real(6, 2, 3))
    check_values(lambda x: numpy.linalg.tensorinv(x), real(4, 6, 8, 3))


@pytest.mark.parametrize("a", [numpy.zeros((3, 3)), numpy.diag([1.0, 2.0, 0.0]), numpy.outer([1.0, 2, 3], [4.0, 5, 6])])
def test_the_gradient_of_a_determinant_is_the_matrix_of_cofactors(a):
    minors = numpy.array(
        [[numpy.linalg.det(numpy.delete(numpy.delete(a, i, 0), j, 1)) for j in range(3)] for i in range(3)]
    )
    signs = (-1.0) ** numpy.add.outer(range(3), range(3))
    agree(wg.grad(numpy.linalg.det)(a), minors * signs, atol=1e-12)
    z = a * (1 + 2j)
    agree(numpy.conj(wg.grad(lambda z: numpy.real(numpy.linalg.det(z)))(z)), minors * signs * (1 + 2j) ** 2, atol=1e-10)


def test_results_keep_numpys_names_and_pass_through_derivatives():
    a = positive(real(3, 3))
    assert type(numpy.linalg.eigh(wg.variable(a))) is type(numpy.linalg.eigh(a))
    out, pullback = wg.vjp(numpy.linalg.svd, a)
    assert type(out) is type(numpy.linalg.svd(a))
    assert pullback(out)[0].shape == (3, 3)
    _, tangent = wg.jvp(numpy.linalg.slogdet, (a,), (a,))
    numpy.testing.assert_allclose(tangent.logabsdet, 3.0)
    assert wg.trace(numpy.linalg.qr, a)(a).R.shape == (3, 3)


def test_float32_and_integers():
    a = positive(real(3, 3)).astype(numpy.float32)
    for f in (
        np.linalg.det,
        lambda a: np.sum(np.linalg.inv(a)),
        lambda a: np.sum(np.linalg.eigh(a)[1]),
        lambda a: np.sum(np.linalg.cholesky(a)),
        lambda a: np.sum(np.linalg.qr(a)[0]),
        lambda a: np.sum(np.linalg.svd(a)[0]),
        np.linalg.norm,
        lambda a: np.linalg.norm(a, 3, 0)[0],
        lambda a: np.sum(np.linalg.pinv(a)),
        lambda a: np.sum(linalg.solve_triangular(a, a)),
        lambda a: np.sum(linalg.expm(a / 9)),
        lambda a: np.linalg.cond(a),
        lambda a: np.sum(np.linalg.solve(a, a)),
        lambda a: np.linalg.slogdet(a)[1],
    ):
        gradient = wg.grad(f)(a)
        assert gradient.dtype == numpy.float32
        numpy.testing.assert_allclose(gradient, wg.grad(f)(a.astype(float)), rtol=0.02, atol=0.02)
    whole = numpy.array([[2, 1], [1, 3]])
    g = wg.trace(lambda a, x: np.linalg.solve(a, x), whole, numpy.ones(2))
    agree(g(whole, numpy.ones(2)), numpy.linalg.solve(whole, numpy.ones(2)))
    with pytest.raises(TypeError, match="precision"):
        numpy.linalg.inv(wg.variable(numpy.eye(2, dtype=numpy.float16)))


def test_empty_matrices():
    for shape in [(0, 0), (2, 0, 0), (0, 3, 3)]:
        a = numpy.zeros(shape)
        for f in (
            numpy.linalg.inv,
            numpy.linalg.det,
            lambda a: numpy.linalg.eigh(a)[1],
            numpy.linalg.cholesky,
            numpy.linalg.eigvalsh,
            lambda a: numpy.linalg.slogdet(a)[1],
            lambda a: numpy.linalg.solve(a, a),
            linalg.expm,
            lambda a: numpy.linalg.qr(a)[1],
            lambda a: numpy.linalg.svd(a, False)[0],
            numpy.linalg.pinv,
        ):
            agree(f(wg.variable(a)).numpy(), f(a))
            assert wg.grad(lambda a, f=f: np.sum(f(a)))(a).shape == shape
    for shape in [(0, 3), (3, 0)]:
        a = numpy.zeros(shape)
        for f in (
            lambda a: numpy.linalg.qr(a)[1],
            lambda a: numpy.linalg.svd(a, False)[0],
            numpy.linalg.pinv,
            numpy.linalg.norm,
        ):
            agree(f(wg.variable(a)).numpy(), f(a))
            assert wg.grad(lambda a, f=f: np.sum(f(a)))(a).shape == shape


def test_nan_goes_through_as_in_numpy():
    a = numpy.array([[1.0, numpy.nan], [0.0, 1.0]])
    with numpy.errstate(invalid="ignore"):  # NumPy's own warning
        assert numpy.isnan(wg.grad(lambda a: np.sum(np.linalg.inv(a)))(a)).any()
        assert numpy.isnan(wg.grad(numpy.linalg.det)(a)).any()


def test_errors_name_the_type_and_the_repair():
    tall, square = wg.variable(numpy.ones((3, 2))), wg.variable(numpy.zeros((2, 2)))
    for f in (
        numpy.linalg.inv,
        numpy.linalg.det,
        numpy.linalg.cholesky,
        numpy.linalg.eigh,
        numpy.linalg.eig,
        lambda a: numpy.linalg.solve(a, a),
        linalg.expm,
        lambda a: numpy.linalg.matrix_power(a, 2),
    ):
        with pytest.raises(ShapeError, match=r"f64\[3,2\].*not square|not square"):
            f(tall)
    for f in (numpy.linalg.svd, numpy.linalg.qr, numpy.linalg.inv, numpy.linalg.pinv):
        with pytest.raises(ShapeError, match="two axes"):
            f(wg.variable(numpy.ones(3)))
    for f in (
        numpy.linalg.inv,
        numpy.linalg.cholesky,
        lambda a: numpy.linalg.solve(a, numpy.ones(2)),
        lambda a: linalg.solve_triangular(a, numpy.ones(2)),
    ):
        with pytest.raises(SingularMatrixError, match=r"test_linalg\.py"):
            f(square)
    with pytest.raises(ShapeError, match="rows"):
        numpy.linalg.solve(square, numpy.ones(3))
    with pytest.raises(ShapeError):
        numpy.linalg.multi_dot([square, numpy.ones((2, 2, 2)), square])
    with pytest.raises(UnsupportedError, match="raw"):
        numpy.linalg.qr(tall, "raw")
    with pytest.raises(ValueError, match="norm order"):
        numpy.linalg.norm(tall, 5)


def test_importing_wengert_leaves_scipy_alone():
    import subprocess
    import sys

    code = "import sys, wengert, wengert.numpy.linalg; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("values", [(2.0, 1.0, 0.0), (2.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 0.0)])
def test_higher_derivatives_of_a_determinant_at_singular_matrices(values):
    u, v = (numpy.linalg.qr(real(3, 3))[0] for _ in range(2))
    a, e = u @ numpy.diag(values) @ v, real(3, 3)

    def written_out(a):
        return numpy.sum(a[0] * numpy.cross(a[1], a[2]))

    close = {"rtol": 1e-11, "atol": 1e-11}
    along = lambda f: lambda a: wg.jvp(wg.grad(f), (a,), (e,))[1]
    agree(wg.grad(numpy.linalg.det)(a), wg.grad(written_out)(a), **close)
    agree(along(numpy.linalg.det)(a), along(written_out)(a), **close)
    twice = lambda f: lambda a: wg.grad(lambda a: np.sum(e * wg.grad(f)(a)))(a)
    agree(twice(numpy.linalg.det)(a), twice(written_out)(a), **close)
    agree(wg.jvp(twice(numpy.linalg.det), (a,), (e,))[1], wg.jvp(twice(written_out), (a,), (e,))[1], **close)


def test_the_derivative_of_slogdet_at_a_singular_matrix_says_what_to_do():
    with pytest.raises(SingularMatrixError, match="use det"):
        wg.grad(lambda a: numpy.linalg.slogdet(a)[1])(numpy.zeros((2, 2)))
