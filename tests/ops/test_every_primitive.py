"""Laws that every primitive keeps, checked on its own samples. A new primitive gets all of them by existing.

One test per law, one parameter per name in the registry. The operands are read-only throughout, so that a
rule that writes into what it was given fails as well.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy
import pytest

import wengert as wg
import wengert.ops
from wengert.errors import DegenerateWarning, DtypeError, NotDifferentiableError, SingularMatrixError, WengertError
from wengert.graph.interpreter import bind
from wengert.graph.primitive import Primitive, registry
from wengert.graph.types import ArrayType, type_of
from wengert.ops.families import Bilinear, Elementwise, Linear
from wengert.ops.solve import Stacked

for module in pkgutil.walk_packages(wengert.ops.__path__, "wengert.ops."):
    importlib.import_module(module.name)

NAMES = list(registry)
DECLARED_ZERO = {"stop_gradient": "it is there to hide a derivative that is not zero"}
"""Primitives whose derivative is 0 by definition and not by mathematics."""

every_primitive = pytest.mark.parametrize("name", NAMES)


class Case(NamedTuple):
    """An instance and operands for it."""

    primitive: Primitive
    operands: tuple[Any, ...]

    def __call__(self, *operands: Any) -> list[Any]:
        """All outputs, of arrays or of tensors."""
        outs = bind(self.primitive, *operands)
        return list(outs) if self.primitive.multiple else [outs]

    @property
    def moving(self) -> list[int]:
        """The operands that can be differentiated."""
        return [k for k, x in enumerate(self.operands) if numpy.asarray(x).dtype.kind in "fc"]

    def along(self, chosen: Sequence[int]) -> Callable[..., list[Any]]:
        """The outputs as a function of the chosen operands only."""

        def function(*values: Any) -> list[Any]:
            given = dict(zip(chosen, values, strict=True))
            return self(*[given.get(k, x) for k, x in enumerate(self.operands)])

        return function

    def at(self, chosen: Sequence[int]) -> tuple[Any, ...]:
        return tuple(self.operands[k] for k in chosen)


def frozen(value: Any) -> Any:
    if isinstance(value, numpy.ndarray):
        value = value.view()
        value.flags.writeable = False
    return value


def cases(name: str, seed: int = 0) -> list[Case]:
    """The samples of a primitive."""
    found = registry[name].samples(numpy.random.default_rng(seed))
    return [Case(primitive, tuple(frozen(x) for x in operands)) for primitive, operands in found]


def differentiable_cases(name: str) -> Iterator[Case]:
    """Samples with something to differentiate, of primitives that can be."""
    if registry[name].not_differentiable is None:
        yield from (case for case in cases(name) if case.moving)


def random_like(values: Sequence[Any], seed: int) -> tuple[Any, ...]:
    """A random direction: normal numbers, complex where the values are, and 0 for integers."""
    rng = numpy.random.default_rng(seed)

    def one(value: Any) -> Any:
        value = numpy.asarray(value)
        if value.dtype.kind not in "fc":
            return numpy.zeros_like(value)
        draw = rng.normal(size=value.shape)
        if value.dtype.kind == "c":
            draw = draw + 1j * rng.normal(size=value.shape)
        return numpy.asarray(draw, value.dtype)

    return tuple(one(value) for value in values)


def inner(a: Sequence[Any], b: Sequence[Any]) -> float:
    """The real inner product Re(sum(conj(a) b))."""
    return float(sum(numpy.sum(numpy.real(numpy.conj(x) * y)) for x, y in zip(a, b, strict=True)))


def same(found: Sequence[Any], expected: Sequence[Any], rtol: float = 0.0) -> None:
    """Equal shapes, dtypes and values, up to `rtol` of the largest entry."""
    assert len(found) == len(expected)
    for mine, theirs in zip(found, expected, strict=True):
        mine, theirs = numpy.asarray(mine), numpy.asarray(theirs)
        assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
        near(mine, theirs, rtol)


def near(found: Any, expected: Any, rtol: float) -> None:
    scale = numpy.max(numpy.abs(numpy.asarray(expected, complex)), initial=0.0, where=numpy.isfinite(expected))
    numpy.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * max(scale, 1.0) if rtol else 0.0)


def central(function: Callable[..., Sequence[Any]], point: Sequence[Any], direction: Sequence[Any], step: float) -> Any:
    """The slope of every result along a direction, from two values."""

    def shifted(by: float) -> list[Any]:
        values = [numpy.asarray(x) + numpy.asarray(by * t, x.dtype) for x, t in zip(point, direction, strict=True)]
        return [numpy.asarray(out, complex) for out in function(*values)]

    return [(up - down) / (2 * step) for up, down in zip(shifted(step), shifted(-step), strict=True)]


def singles(values: Sequence[Any]) -> bool:
    return any(numpy.asarray(value).dtype in (numpy.float32, numpy.complex64) for value in values)


def matches_differences(function: Callable[..., Any], point: Any, direction: Any, tangents: Any) -> None:
    """Tangents against central differences, whose error is about eps/step + step**2."""
    step, rtol = (1e-2, 1e-3) if singles(tangents) else (1e-5, 1e-7)
    for tangent, slope in zip(tangents, central(function, point, direction, step), strict=True):
        near(tangent, slope, rtol)


# Declarations. ------------------------------------------------------------------------------------------


@every_primitive
def test_every_question_is_answered_and_documented(name: str) -> None:
    primitive = registry[name]
    Primitive.check_declaration(primitive)
    doc = inspect.getdoc(primitive)
    assert doc and doc != inspect.getdoc(Primitive)
    for base in type(primitive).__mro__ if isinstance(primitive, Primitive) else primitive.__mro__[1:]:
        assert doc != inspect.getdoc(base), f"the docstring is that of {base.__name__}"
    linear = isinstance(primitive, Linear | Bilinear) or (
        inspect.isclass(primitive) and issubclass(primitive, Linear | Bilinear)
    )
    assert not linear or primitive.transpose is not None
    assert cases(name), "no samples"


@every_primitive
def test_instances_are_told_apart_by_their_parameters(name: str) -> None:
    for case in cases(name):
        primitive = case.primitive
        assert tuple(primitive.arguments()) == tuple(primitive.params)
        if not isinstance(primitive, Elementwise):
            twin = type(primitive)(*primitive.arguments().values())
            assert twin == primitive and hash(twin) == hash(primitive)
            assert type(primitive).of(*primitive.arguments().values()) == primitive


# Values. ------------------------------------------------------------------------------------------------


@every_primitive
def test_type_is_what_numpy_gives(name: str) -> None:
    for case in cases(name):
        check_type(case)


def check_type(case: Case) -> None:
    types = case.primitive.type(*[type_of(x) for x in case.operands])
    outs = case(*case.operands)
    assert [(t.shape, t.dtype) for t in (types if case.primitive.multiple else [types])] == [
        (out.shape, out.dtype) for out in map(numpy.asarray, outs)
    ]


@every_primitive
def test_eager_is_static(name: str) -> None:
    for case in cases(name):
        expected = case(*case.operands)
        graph = wg.verify(wg.trace(case, *case.operands))
        same(graph(*case.operands), expected)
        recorded = case(*[wg.variable(x) if k in case.moving else x for k, x in enumerate(case.operands)])
        same([x.numpy() if isinstance(x, wg.Tensor) else x for x in recorded], expected)


@every_primitive
def test_memory_layout_makes_no_difference(name: str) -> None:
    """Transposed and strided operands, cotangents and tangents."""

    def spread(x: Any) -> Any:
        x = numpy.asarray(x)
        if not x.ndim:
            return x[()]
        wide = numpy.zeros(tuple(2 * n for n in x.shape[::-1]), x.dtype).T
        view = wide[(slice(None, None, 2),) * x.ndim]
        view[...] = x
        return frozen(view)

    for case in cases(name):
        same(case(*map(spread, case.operands)), case(*case.operands), 1e-14)
    for case in differentiable_cases(name):
        check_layout(case, spread, lambda x: x)


@every_primitive
def test_repeated_elements_make_no_difference(name: str) -> None:
    """Operands, tangents and cotangents of stride 0, as the derivative of a sum hands them on."""

    def repeated(x: Any) -> Any:
        x = numpy.asarray(x)
        return numpy.broadcast_to(x.flat[0], x.shape) if x.ndim and x.size else x

    for case in differentiable_cases(name):
        check_layout(case, lambda x: x, lambda x: x, repeated)
        flat = case._replace(operands=tuple(map(repeated, case.operands)))
        copy = case._replace(operands=tuple(frozen(numpy.array(x)) for x in flat.operands))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateWarning)
            try:
                expected = copy(*copy.operands)
            except (SingularMatrixError, numpy.linalg.LinAlgError):
                continue  # a matrix of equal entries
            same(flat(*flat.operands), expected, 1e-14)


def check_layout(case: Case, change: Any, keep: Any, repeat: Callable[[Any], Any] | None = None) -> None:
    """Derivatives with changed arrays equal those with plain ones; `repeat` also chooses the values."""
    chosen = case.moving
    function, point = case.along(chosen), case.at(chosen)
    tangents, cts = random_like(point, 1), random_like(function(*point), 2)
    if repeat is not None:
        tangents, cts = (tuple(map(repeat, values)) for values in (tangents, cts))
    plain = [tuple(numpy.array(x) for x in values) for values in (point, tangents, cts)]
    changed = [tuple(change(x) for x in values) for values in (point, tangents, cts)]
    results = []
    for where, direction, ct in (plain, changed):
        results.append([*wg.jvp(function, where, direction)[1], *wg.vjp(function, *where)[1](list(ct))])
    same(results[1], results[0], 1e-13)


@every_primitive
def test_single_precision_stays_single(name: str) -> None:
    """float32 in, the type that NumPy gives out; derivatives are of the operands' and the outputs' dtypes."""
    narrow = {numpy.dtype(numpy.float64): numpy.float32, numpy.dtype(numpy.complex128): numpy.complex64}
    for case in cases(name):
        if case.primitive.higher_order:
            continue  # its graphs are made for one dtype
        rounded = [numpy.asarray(x) for x in case.operands]
        rounded = [frozen(x.astype(narrow.get(x.dtype, x.dtype))) for x in rounded]
        single = case._replace(operands=tuple(rounded))
        check_type(single)
        if case.primitive.not_differentiable is not None or not case.moving:
            continue
        wide = case._replace(
            operands=tuple(
                frozen(x.astype(numpy.asarray(o).dtype)) for x, o in zip(rounded, case.operands, strict=True)
            )
        )
        results = []
        for version in (single, wide):
            chosen = version.moving
            function, point = version.along(chosen), version.at(chosen)
            outs, tangents = wg.jvp(function, point, random_like(point, 1))
            cts = wg.vjp(function, *point)[1](list(random_like(outs, 2)))
            assert [numpy.asarray(x).dtype for x in tangents] == [numpy.asarray(x).dtype for x in outs]
            assert [numpy.asarray(x).dtype for x in cts] == [numpy.asarray(x).dtype for x in point]
            results.append([*tangents, *cts])
        for mine, exact in zip(*results, strict=True):
            near(mine, exact, 2e-4)


# Derivatives. -------------------------------------------------------------------------------------------


@every_primitive
def test_jvp_is_the_central_difference(name: str) -> None:
    for case in differentiable_cases(name):
        chosen = case.moving
        function, point = case.along(chosen), case.at(chosen)
        direction = random_like(point, 1)
        outs, tangents = wg.jvp(function, point, direction)
        same(outs, function(*point), 1e-14)
        if name in DECLARED_ZERO or not case.primitive.differentiable:  # the samples may lie on a jump
            assert not any(numpy.any(t) for t in tangents)
        else:
            matches_differences(function, point, direction, tangents)


@every_primitive
def test_vjp_is_the_adjoint_of_jvp_for_any_choice_of_operands(name: str) -> None:
    """<ct, J t> = <J^T ct, t>, on numbers and in a static graph."""
    for case in differentiable_cases(name):
        for chosen in subsets(case.moving):
            function, point = case.along(chosen), case.at(chosen)
            direction = random_like(point, 1)
            outs, tangents = wg.jvp(function, point, direction)
            cts = random_like(outs, 2)
            pulled = pullback(function, cts)(*point)
            near(inner(pulled, direction), inner(cts, tangents), 1e-11 if not singles(outs) else 1e-5)
            assert [numpy.shape(x) for x in pulled] == [numpy.shape(x) for x in point]
            same(wg.verify(wg.trace(pullback(function, cts), *point))(*point), pulled, 1e-13)
            forward = wg.trace(lambda *x, f=function, d=direction: wg.jvp(f, x, d)[1], *point)
            same(wg.verify(forward)(*point), tangents, 1e-13)


def pullback(function: Callable[..., Any], cts: Sequence[Any]) -> Callable[..., tuple[Any, ...]]:
    """The cotangents of the arguments as a function of the arguments."""
    return lambda *point: wg.vjp(function, *point)[1](list(cts))


def subsets(items: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for count in range(1, len(items) + 1):
        yield from itertools.combinations(items, count)


@every_primitive
def test_second_derivatives(name: str) -> None:
    """Forward over reverse against differences of gradients, and reverse over reverse as its adjoint."""
    for case in differentiable_cases(name):
        chosen = case.moving
        function, point = case.along(chosen), case.at(chosen)
        direction = random_like(point, 1)
        gradient = pullback(function, random_like(function(*point), 2))
        pulled, bends = wg.jvp(gradient, point, direction)
        matches_differences(gradient, point, direction, bends)
        weights = random_like(pulled, 3)
        twice = wg.vjp(gradient, *point)[1](weights)
        near(inner(twice, direction), inner(weights, bends), 1e-10 if not singles(bends) else 1e-4)


@every_primitive
def test_what_has_no_derivative_says_so(name: str) -> None:
    reason = registry[name].not_differentiable
    if reason is None:
        return
    for case in (case for case in cases(name) if case.moving):
        with pytest.raises(NotDifferentiableError, match=reason):
            wg.jvp(case.along(case.moving), case.at(case.moving), random_like(case.at(case.moving), 1))
        with pytest.raises(NotDifferentiableError, match=reason):
            outs, pull = wg.vjp(case.along(case.moving), *case.at(case.moving))
            pull(outs)


# Batches. -----------------------------------------------------------------------------------------------


@every_primitive
def test_batch_is_a_loop(name: str) -> None:
    """For any choice of batched operands, first and last axes, values and gradients."""
    draws = [cases(name, seed) for seed in (0, 1, 2)]
    for versions in zip(*draws, strict=True):
        case = versions[0]
        everything = range(len(case.operands))
        for chosen in subsets(everything) if len(everything) <= 3 else [everything, everything[:1], everything[1:]]:
            for axis in (0, -1):
                stacked = list(case.operands)
                axes: list[int | None] = [None] * len(stacked)
                for k in chosen:
                    stacked[k] = frozen(numpy.stack([v.operands[k] for v in versions], axis))
                    axes[k] = axis
                rows = []
                for version in versions:
                    own = [version.operands[k] if k in chosen else x for k, x in enumerate(case.operands)]
                    rows.append(case(*own))
                found = wg.vmap(case, in_axes=tuple(axes))(*stacked)
                same(found, [numpy.stack(column) for column in zip(*rows, strict=True)], 1e-13)


@every_primitive
def test_batch_of_derivatives_is_a_loop(name: str) -> None:
    if registry[name].not_differentiable is not None:
        return
    draws = [cases(name, seed) for seed in (0, 1)]
    for case, other in zip(*draws, strict=True):
        chosen = case.moving
        if not chosen:
            continue
        function = case.along(chosen)
        points = [case.at(chosen), other.at(chosen)]
        direction = random_like(points[0], 1)
        gradient = pullback(function, random_like(function(*points[0]), 2))
        stacked = [numpy.stack(column) for column in zip(*points, strict=True)]
        for derived in (gradient, lambda *x, f=function, d=direction: wg.jvp(f, x, d)[1]):
            rows = [derived(*point) for point in points]
            same(wg.vmap(derived)(*stacked), [numpy.stack(c) for c in zip(*rows, strict=True)], 1e-11)


@every_primitive
def test_batch_of_nothing(name: str) -> None:
    for case in cases(name):
        empty = [numpy.zeros((0, *numpy.shape(x)), numpy.asarray(x).dtype) for x in case.operands]
        types = [type_of(x) for x in case(*case.operands)]
        outs = wg.vmap(case)(*empty)
        assert [(out.shape, out.dtype) for out in outs] == [((0, *t.shape), t.dtype) for t in types]


# Complex numbers. ---------------------------------------------------------------------------------------

ELEMENTWISE = [name for name, entry in registry.items() if isinstance(entry, Elementwise)]


def complex_case(name: str) -> Case:
    """Complex numbers away from the axes, on which the branch cuts lie."""
    primitive = registry[name]
    rng = numpy.random.default_rng(4)

    def draw(sampler: Any) -> Any:
        x = sampler(rng, (2, 3))
        return (
            x if x.dtype.kind == "b" else frozen(x + 1j * rng.uniform(0.2, 0.6, x.shape) * rng.choice([-1, 1], x.shape))
        )

    return Case(primitive, tuple(draw(sampler) for sampler in primitive.samplers))


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if registry[name].complex])
def test_complex_operands(name: str) -> None:
    case = complex_case(name)
    check_type(case)
    chosen = case.moving
    function, point = case.along(chosen), case.at(chosen)
    direction = random_like(point, 1)
    outs, tangents = wg.jvp(function, point, direction)
    if name not in DECLARED_ZERO:
        matches_differences(function, point, direction, tangents)
    cts = random_like(outs, 2)
    gradient = pullback(function, cts)
    near(inner(gradient(*point), direction), inner(cts, tangents), 1e-11)
    same(wg.trace(gradient, *point)(*point), gradient(*point), 1e-13)
    if name not in DECLARED_ZERO:
        matches_differences(gradient, point, direction, wg.jvp(gradient, point, direction)[1])


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if not registry[name].complex])
def test_complex_operands_are_refused_where_they_have_no_rule(name: str) -> None:
    case = complex_case(name)
    with pytest.raises(DtypeError):
        case.primitive.type(*[type_of(x) for x in case.operands])
    with pytest.raises(DtypeError):
        wg.jvp(case.along(case.moving), case.at(case.moving), random_like(case.at(case.moving), 1))
    with pytest.raises(DtypeError):
        wg.vjp(case.along(case.moving), *case.at(case.moving))


# Operands that do not fit. ------------------------------------------------------------------------------


def corruptions(types: Sequence[ArrayType]) -> Iterator[list[ArrayType]]:
    """Types with one operand's extents or dtype changed."""
    for k, t in enumerate(types):
        for axis in range(t.ndim):
            for extent in {0, t.shape[axis] + 1}:
                changed = (*t.shape[:axis], extent, *t.shape[axis + 1 :])
                yield [*types[:k], t._replace(shape=changed), *types[k + 1 :]]
        for dtype in (bool, numpy.int64, numpy.float64, numpy.complex128):
            yield [*types[:k], t._replace(dtype=numpy.dtype(dtype)), *types[k + 1 :]]


@every_primitive
def test_type_accepts_what_numpy_accepts_and_refuses_with_our_errors(name: str) -> None:
    for case in cases(name):
        if case.primitive.higher_order:
            continue  # operands are made by the public functions, which check them
        for types in corruptions([type_of(x) for x in case.operands]):
            if isinstance(case.primitive, Stacked) and any(t.dtype.kind not in "fc" for t in types):
                continue  # matrices of integers are converted on the way in, by the public functions
            operands = [numpy.ones(t.shape, t.dtype) for t in types]
            try:
                result = case.primitive.type(*types)
            except WengertError as error:
                assert error.message and error.repair
                continue
            wanted = list(result) if case.primitive.multiple else [result]
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    outs = case(*operands)
            except (SingularMatrixError, numpy.linalg.LinAlgError, IndexError):
                continue  # a matter of values
            assert [(t.shape, t.dtype) for t in wanted] == [(numpy.shape(o), numpy.asarray(o).dtype) for o in outs]
