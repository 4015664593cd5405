"""Functions with derivatives of their own: either mode from either rule, any order, batches, compiled; misfits."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import (
    CapturedValueError,
    LeakedTensorError,
    RuleDtypeError,
    RuleMissingError,
    RuleShapeError,
    RuleStructureError,
    WrongRuleError,
)

X = numpy.array([0.3, -1.2, 2.0])
A = numpy.random.default_rng(0).normal(size=(3, 3))


def plain(x, a):
    return {"y": np.tanh(a @ x), "n": np.sum(x * x)}


def by_jvp():
    function = wg.custom_jvp(plain)

    @function.defjvp
    def rule(primals, tangents):
        (x, a), (tx, ta) = primals, tangents
        out = function(x, a)
        return out, {"y": (1 - out["y"] ** 2) * (a @ tx + ta @ x), "n": 2 * np.sum(x * tx)}

    return function


def by_vjp():
    function = wg.custom_vjp(plain)

    def forward(x, a):
        out = function(x, a)
        return out, {"x": x, "a": a, "y": out["y"], "note": "residuals may hold anything"}

    def backward(kept, ct):
        inner = ct["y"] * (1 - kept["y"] ** 2)
        return kept["a"].T @ inner + 2 * ct["n"] * kept["x"], np.outer(inner, kept["x"])

    function.defvjp(forward, backward)
    return function


def loss(f):
    return lambda x, a: np.sum(np.sin(f(x, a)["y"])) + f(x, a)["n"] ** 2


USES = {
    "values": lambda f: loss(f),
    "jvp": lambda f: lambda x, a: wg.jvp(loss(f), (x, a), (np.cos(x), np.sin(a))),
    "gradient": lambda f: wg.grad(loss(f), argnums=(0, 1)),
    "gradient in one": lambda f: wg.grad(loss(f), argnums=1),
    "hessian": lambda f: wg.hessian(loss(f)),
    "forward over forward": lambda f: (
        lambda x, a: wg.jvp(lambda x: wg.jvp(lambda x: loss(f)(x, a), (x,), (np.cos(x),))[1], (x,), (np.sin(x),))
    ),
    "reverse over reverse": lambda f: wg.grad(lambda x, a: np.sum(wg.grad(loss(f))(x, a) ** 3), argnums=1),
    "reverse over forward": lambda f: wg.grad(lambda x, a: wg.jvp(lambda x: loss(f)(x, a), (x,), (x,))[1]),
    "third order": lambda f: wg.grad(lambda x, a: np.sum(wg.hessian(loss(f))(x, a)[0])),
    "batch": lambda f: lambda x, a: wg.vmap(loss(f), (0, None))(np.stack([x, 2 * x]), a),
    "batch of gradients": lambda f: lambda x, a: wg.vmap(wg.grad(loss(f), (0, 1)), (None, 2))(x, np.stack([a, -a], 2)),
    "gradient of a batch": lambda f: wg.grad(
        lambda x, a: np.sum(wg.vmap(loss(f), (0, None))(np.stack([x, 2 * x]), a) ** 2), (0, 1)
    ),
    "batch of batches": lambda f: (
        lambda x, a: wg.vmap(lambda a: wg.vmap(lambda x: wg.grad(loss(f))(x, a))(np.eye(3)))(np.stack([a, a.T]))
    ),
    "series": lambda f: lambda x, a: wg.jet(lambda x: loss(f)(x, a), (x,), ([np.cos(x), np.sin(x), x],)),
    "laplacian": lambda f: lambda x, a: wg.laplacian(lambda x: loss(f)(x, a))(x),
    "diagonal of the hessian": lambda f: lambda x, a: wg.hessian_diagonal(lambda x: loss(f)(x, a))(x),
    "linearised": lambda f: lambda x, a: wg.linearize(lambda x: loss(f)(x, a), x)[1](np.sin(x)),
    "in a scan": lambda f: wg.grad(
        lambda x, a: np.sum(wg.scan(lambda c, _: (f(c, a)["y"] + 0.1 * c, c), x, None, 3)[1] ** 2), (0, 1)
    ),
    "in a while loop": lambda f: wg.grad(
        lambda x, a: np.sum(wg.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, f(c[1], a)["y"] + c[1]), (0, x))[1])
    ),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("make", [by_jvp, by_vjp])
def test_every_use_is_that_of_the_function_itself(use, make):
    expected = leaves(USES[use](plain)(X, A))
    made = USES[use](make())
    same(made(X, A), expected)
    same(wg.verify(wg.trace(made, X, A))(X, A), expected)
    same(wg.jit(made)(X, A), expected, 1e-9)


def leaves(tree):
    if isinstance(tree, dict):
        tree = [tree[key] for key in sorted(tree)]
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, tuple | list) else [tree]


def same(found, expected, rtol=1e-11):
    for mine, theirs in zip(leaves(found), expected, strict=True):
        assert numpy.shape(mine) == numpy.shape(theirs)
        numpy.testing.assert_allclose(mine, theirs, rtol, atol=rtol)


@pytest.mark.parametrize("make", [by_jvp, by_vjp])
def test_the_graph_of_a_program_keeps_the_rules(make):
    """A derivative that is asked of the graph, and not of the program, is that of the rules as well."""
    graph = wg.trace(loss(make()), X, A)
    assert [n.primitive.name for n in graph.nodes].count("custom_call") == 2
    same(wg.grad(graph, (0, 1))(X, A), leaves(wg.grad(loss(plain), (0, 1))(X, A)))
    same(wg.vmap(wg.grad(graph), (None, 0))(X, np.stack([A, A.T])), [
        numpy.stack([wg.grad(loss(plain))(X, a) for a in (A, A.T)])
    ])  # fmt: skip
    same(wg.grad(wg.jit(loss(make())))(X, A), [wg.grad(loss(plain))(X, A)])
    scope = {}
    exec(graph.as_python("run"), scope)
    same(scope["run"](X, A), [loss(plain)(X, A)])


def test_define_by_run_and_its_graph():
    function = by_vjp()
    x = wg.variable(X, name="x")
    y = np.sum(function(x, A)["y"] ** 2)
    assert "custom(x, const(f64[3,3]), rule=plain)" in str(wg.graph(y))
    y.backward(create_graph=True)
    same([x.grad.numpy()], [wg.grad(lambda x: np.sum(plain(x, A)["y"] ** 2))(X)])
    np.sum(x.grad * x.grad).backward()


def test_rules_see_numbers_while_a_program_runs():
    """Python may branch on them, in the function and in its rules."""
    seen = []

    @wg.custom_vjp
    def f(x):
        return x * x if x > 0 else -x

    def forward(x):
        seen.append(float(x))
        return (x * x, 2 * x) if x > 0 else (-x, -1.0)

    f.defvjp(forward, lambda slope, ct: (slope * ct,))
    assert (wg.grad(f)(3.0), wg.grad(f)(-3.0)) == (6.0, -1.0)
    assert seen == [3.0, 3.0, -3.0]  # the first for the check
    assert f(3.0) == 9.0


def test_the_derivative_is_that_of_the_rule():
    """Clipped gradients and the like: another derivative than the slope, if one says so."""
    clipped = wg.custom_vjp(lambda x: x, check=False)
    clipped.defvjp(lambda x: (x, None), lambda _, ct: (np.clip(ct, -1, 1),))
    assert wg.grad(lambda x: 5 * clipped(x) ** 2)(3.0) == 1.0
    assert wg.jit(wg.grad(lambda x: 5 * clipped(x) ** 2))(3.0) == 1.0
    twice = wg.custom_jvp(lambda x: x, check=False)
    twice.defjvp(lambda x, t: (x[0], 2 * t[0]))
    assert wg.jvp(twice, (1.0,), (1.0,)) == (1.0, 2.0)
    assert wg.grad(twice)(1.0) == 2.0


def test_arguments_that_are_no_arrays():
    @wg.custom_jvp(nondiff_argnums=(0, 2))
    def apply(fn, x, power=2):
        return fn(x) ** power

    @apply.defjvp
    def rule(fn, power, primals, tangents):
        (x,), (t,) = primals, tangents
        y, slope = wg.jvp(fn, (x,), (t,))
        return y**power, power * y ** (power - 1) * slope

    for power in (2, 3):
        expected = wg.grad(lambda x, power=power: np.sin(x) ** power)(0.7)
        for f in (
            wg.grad(lambda x, power=power: apply(np.sin, x, power)),
            wg.grad(lambda x, power=power: apply(np.sin, x, power=power)),
            wg.jit(wg.grad(lambda x, power=power: apply(np.sin, x=x, power=power))),
            wg.grad(wg.jit(lambda x, power=power: apply(np.sin, x=x, power=power))),
        ):
            numpy.testing.assert_allclose(f(0.7), expected, rtol=1e-14)
    assert wg.grad(lambda x: apply(np.sin, x))(0.7) == wg.grad(lambda x: np.sin(x) ** 2)(0.7)

    @wg.custom_vjp(nondiff_argnums=(0,))
    def solve(fn, x):
        return fn(x)

    solve.defvjp(lambda fn, x: (fn(x), x), lambda fn, x, ct: (ct * wg.grad(fn)(x),))
    assert wg.grad(lambda x: solve(np.sin, x))(0.5) == np.cos(0.5)


def test_integers_and_unused_arguments():
    pick = wg.custom_vjp(lambda x, k, other: np.take(x, k))
    pick.defvjp(
        lambda x, k, other: (np.take(x, k), (k, np.zeros_like(x))),
        lambda kept, ct: (np.where(np.arange(3) == kept[0], ct, kept[1]), None, None),
    )
    same(wg.grad(lambda x: pick(x, 1, {"unused": x}))(X), [[0, 1, 0]])
    assert wg.jvp(lambda x: pick(x, 1, x), (X,), (X,)) == (X[1], X[1])
    count = wg.custom_jvp(lambda x: (x * 2, np.sum(x > 0)))
    count.defjvp(lambda p, t: (count(*p), (2 * t[0], None)))
    assert wg.jvp(count, (X,), (X,))[1][1] == 0
    same(wg.grad(lambda x: np.sum(count(x)[0]) * count(x)[1])(X), [[4.0, 4.0, 4.0]])


def test_complex_numbers():
    """Cotangents are those of `wg.vjp`, so that a rule may use it."""

    def f(z):
        return z**2 * np.exp(1j * z)

    first = wg.custom_vjp(f)
    first.defvjp(lambda z: wg.vjp(f, z), lambda pullback, ct: pullback(ct))
    second = wg.custom_jvp(f)
    second.defjvp(lambda p, t: wg.jvp(f, p, t))
    third = wg.custom_vjp(f)
    third.defvjp(lambda z: (f(z), z), lambda z, ct: (ct * np.conj((2 * z + 1j * z**2) * np.exp(1j * z)),))
    z = numpy.array([0.3 + 0.2j, -1.0 + 0.5j])
    for g in (first, second, third):
        same(wg.grad(lambda z, g=g: np.sum(abs(g(z)) ** 2))(z), [wg.grad(lambda z: np.sum(abs(f(z)) ** 2))(z)])
        same(wg.jvp(g, (z,), (1j * z,)), wg.jvp(f, (z,), (1j * z,)))


def test_single_precision():
    f = wg.custom_vjp(np.sin)
    f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (ct * np.cos(x),))
    x = X.astype(numpy.float32)
    assert wg.grad(lambda x: np.sum(f(x)))(x).dtype == numpy.float32
    assert wg.jit(wg.grad(lambda x: np.sum(f(x))))(x).dtype == numpy.float32


def test_methods():
    class Model:
        w = 3.0

        @wg.custom_jvp
        def scale(self, x):
            return self.w * x

    Model.__dict__["scale"].nondiff = (0,)
    Model.__dict__["scale"].defjvp(lambda self, p, t: (self.w * p[0], self.w * t[0]))
    assert wg.grad(Model().scale)(1.0) == 3.0


def test_rules_with_loops():
    """The transpose of a loop over tangents, which no operation declares."""

    def powers(x, a):
        return wg.scan(lambda c, _: (a @ c, np.sum(c)), x, None, 4)

    f = wg.custom_jvp(powers)
    f.defjvp(lambda p, t: wg.jvp(powers, p, t))
    g = wg.grad(lambda x, a: np.sum(f(x, a)[1] ** 2), (0, 1))
    expected = leaves(wg.grad(lambda x, a: np.sum(powers(x, a)[1] ** 2), (0, 1))(X, A))
    same(g(X, A), expected)
    same(wg.jit(g)(X, A), expected, 1e-9)
    same(wg.vmap(g, (0, None))(np.stack([X, X]), A), [numpy.stack([e, e]) for e in expected])


# Bad rules. ---------------------------------------------------------------------------------------------


def wrong_sign(kind):
    f = (wg.custom_jvp if kind == "jvp" else wg.custom_vjp)(np.sin)
    if kind == "jvp":
        f.defjvp(lambda p, t: (np.sin(p[0]), -np.cos(p[0]) * t[0]))
    else:
        f.defvjp(lambda x: (np.sin(x), x), lambda x, ct: (-np.cos(x) * ct,))
    return f


@pytest.mark.parametrize("kind", ["jvp", "vjp"])
@pytest.mark.parametrize("use", [wg.grad, lambda f: wg.vmap(wg.grad(f)), lambda f: wg.jit(wg.grad(f))])
def test_a_wrong_sign_is_refused_with_both_numbers(kind, use):
    x = 1.0 if use is wg.grad else numpy.ones(3)
    f = wrong_sign(kind)
    with pytest.raises(WrongRuleError) as caught:
        use(lambda x: np.sum(f(x)))(x)
    message = str(caught.value)
    assert f"the {kind} rule of sin gives the derivative -" in message
    assert "but the slope of the function is 0." in message
    assert "test_custom.py" in message and "-np.cos" in message
    if use is wg.grad:
        assert "-0.540302" in message and " 0.540302" in message


def test_the_argument_is_named():
    f = wg.custom_jvp(lambda x, y: x * y)
    f.defjvp(lambda p, t: (p[0] * p[1], t[0] * p[1] - p[0] * t[1]))
    with pytest.raises(WrongRuleError, match=r"  in y: -2, but 2"):
        wg.grad(f)(2.0, 3.0)


def test_rules_that_disagree():
    f = wg.custom_jvp(lambda x: x**2)
    f.defjvp(lambda p, t: (p[0] ** 2, 2 * p[0] * t[0]))
    f.defvjp(lambda x: (x**2, x), lambda x, ct: (2.00001 * x * ct,))
    with pytest.raises(WrongRuleError, match="the rules of <lambda> disagree: the jvp rule gives the derivative 6"):
        wg.grad(f)(3.0)


def test_another_value_or_no_linear_rule():
    f = wg.custom_jvp(np.sin)
    f.defjvp(lambda p, t: (np.cos(p[0]), np.cos(p[0]) * t[0]))
    with pytest.raises(WrongRuleError, match=r"sin returns 0\.84147.* its jvp rule returns is 0\.54"):
        wg.grad(f)(1.0)
    g = wg.custom_jvp(np.sin)
    g.defjvp(lambda p, t: (np.sin(p[0]), np.cos(p[0]) * abs(t[0])))
    with pytest.raises(WrongRuleError, match="is not linear"):
        wg.jvp(g, (1.0,), (1.0,))


def test_a_kink_is_no_error():
    for slope in (0.0, 0.5, 1.0):
        relu = wg.custom_jvp(lambda x: np.maximum(x, 0))
        relu.defjvp(
            lambda p, t, s=slope: (np.maximum(p[0], 0), np.where(p[0] > 0, 1.0, np.where(p[0] < 0, 0, s)) * t[0])
        )
        assert wg.grad(relu)(0.0) == slope
    relu = wg.custom_jvp(lambda x: np.maximum(x, 0))
    relu.defjvp(lambda p, t: (np.maximum(p[0], 0), -1.0 * t[0]))
    with pytest.raises(WrongRuleError):
        wg.grad(relu)(0.0)


def test_a_point_outside_of_the_domain_tells_nothing():
    f = wg.custom_jvp(np.log)
    f.defjvp(lambda p, t: (np.log(p[0]), -t[0] / p[0]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert wg.grad(f)(0.0) == -numpy.inf
    with pytest.raises(WrongRuleError):
        wg.grad(f)(1.0)


STRUCTURE = {
    "jvp of one value": ("jvp", lambda p, t: p[0] ** 2, "returned a", "return (result, tangent)"),
    "jvp of other containers": ("jvp", lambda p, t: (p[0] ** 2, [2 * p[0] * t[0]]), "tangent is a list", "an array"),
    "jvp of a word": ("jvp", lambda p, t: (p[0] ** 2, "no"), "tangent is a str", "return an array"),
    "fwd of one value": ("vjp", (lambda x: x**2, lambda x, ct: (2 * x * ct,)), "forward part", "(result, residuals)"),
    "bwd without a tuple": ("vjp", (lambda x: (x**2, x), lambda x, ct: 2 * x * ct), "for 1 argument", "a tuple"),
    "bwd of two": ("vjp", (lambda x: (x**2, x), lambda x, ct: (ct, ct)), "2 values for 1 argument", "a tuple"),
}


@pytest.mark.parametrize("case", STRUCTURE)
@pytest.mark.parametrize("check", [False, True])
def test_a_misfit_is_reported_against_the_line_of_the_rule(case, check):
    kind, rule, message, repair = STRUCTURE[case]
    f = wg.custom_jvp(lambda x: x**2, check=check) if kind == "jvp" else wg.custom_vjp(lambda x: x**2, check=check)
    if kind == "jvp":
        f.defjvp(rule)
    else:
        f.defvjp(*rule)
    for use in (wg.grad, lambda f: wg.jit(wg.grad(f)), lambda f: lambda x: wg.jvp(f, (x,), (x,))):
        with pytest.raises(RuleStructureError) as caught:
            use(lambda x: np.sum(f(x)))(3.0 if use is wg.grad else X)
        assert message in caught.value.message and repair in caught.value.repair
        assert caught.value.source.file == __file__
        assert caught.value.source.line < test_a_misfit_is_reported_against_the_line_of_the_rule.__code__.co_firstlineno


def test_another_result_or_other_containers():
    f = wg.custom_vjp(lambda x: x**2)
    f.defvjp(lambda x: ([x**2], x), lambda x, ct: (2 * x * ct[0],))
    with pytest.raises(RuleStructureError, match="return different containers"):
        wg.grad(f)(3.0)
    g = wg.custom_jvp(lambda p: {"a": p["x"] * 2})
    g.defjvp(lambda p, t: (g(*p), {"b": 2 * t[0]["x"]}))
    with pytest.raises(RuleStructureError, match="tangents have other containers than the results"):
        wg.grad(lambda p: g(p)["a"])({"x": 1.0})


def test_wrong_shapes_and_dtypes():
    f = wg.custom_vjp(lambda x: np.sum(x))
    f.defvjp(lambda x: (np.sum(x), x), lambda x, ct: (ct,))
    with pytest.raises(RuleShapeError, match=r"cotangent\[0\] is f64\[\], the argument is f64\[3\]"):
        wg.grad(f)(X)
    g = wg.custom_jvp(lambda x: np.sum(x))
    g.defjvp(lambda p, t: (np.sum(p[0]), t[0]))
    with pytest.raises(RuleShapeError, match=r"tangent is f64\[3\], the result is f64\[\]"):
        wg.grad(g)(X)
    h = wg.custom_jvp(lambda x: np.sin(x))
    h.defjvp(lambda p, t: (np.sin(p[0]), t[0] * np.cos(p[0]) * numpy.ones(3)))
    with pytest.raises(RuleDtypeError, match=r"tangent is f64\[3\], the result is f32\[3\]"):
        wg.grad(lambda x: np.sum(h(x)))(X.astype(numpy.float32))


def test_reverse_mode_keeps_the_residuals_and_nothing_else():
    step = wg.custom_vjp(lambda x: x + 1.0, check=False)
    step.defvjp(lambda x: (x + 1.0, None), lambda _, ct: (ct,))

    def chain(x):
        for _ in range(50):
            x = step(x)
        return np.sum(x)

    x = numpy.ones(100_000)
    gradient = wg.grad(chain)
    gradient(x)
    tracemalloc.start()
    gradient(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 * x.nbytes


def test_one_rule_per_argument():
    f = wg.custom_jvp(lambda x, y: np.sin(x) * y)
    f.defjvps(lambda t, out, x, y: np.cos(x) * y * t, lambda t, out, x, y: np.sin(x) * t)
    same(wg.grad(f, (0, 1))(2.0, 3.0), [3 * np.cos(2.0), np.sin(2.0)])
    g = wg.custom_jvp(lambda x, y: np.sin(x) * y, check=False)
    g.defjvps(None, lambda t, out, x, y: np.sin(x) * t)
    same(wg.grad(g, (0, 1))(2.0, 3.0), [0.0, np.sin(2.0)])
    g.defjvps(lambda t, out, x, y: t)
    with pytest.raises(RuleStructureError, match="<lambda> has 1 rules for 2 arguments"):
        wg.grad(g)(2.0, 3.0)
    with pytest.raises(TypeError, match="is made of a function, not of 3"):
        wg.custom_jvp(3)


def test_sparsity_is_that_of_the_rule():
    """Not of the function, whose derivative may be zero where the rule's is not."""
    rounded = wg.straight_through(np.round)
    numpy.testing.assert_array_equal(wg.sparsity(rounded, X).toarray(), numpy.eye(3))
    numpy.testing.assert_array_equal(wg.sparse_jacobian(rounded)(X).toarray(), numpy.eye(3))
    turned = wg.custom_vjp(lambda x: np.sin(x)[::-1])
    turned.defvjp(lambda x: (np.sin(x)[::-1], x), lambda x, ct: (np.cos(x) * ct[::-1],))
    numpy.testing.assert_array_equal(wg.sparsity(turned, X).toarray(), numpy.eye(3)[::-1])
    numpy.testing.assert_allclose(wg.sparse_hessian(lambda x: np.sum(turned(x)))(X).toarray(), -numpy.diag(np.sin(X)))


def test_no_rule():
    f = wg.custom_jvp(lambda x: x**2)
    assert f(2.0) == 4.0
    assert wg.jit(f)(2.0) == 4.0
    with pytest.raises(RuleMissingError, match="no rule was defined"):
        wg.grad(f)(2.0)


def test_values_from_outside():
    """What is constant at the level of the derivative may be captured; what is differentiated or batched may not."""

    def by(w):
        f = wg.custom_jvp(lambda x: w * x)
        f.defjvp(lambda p, t: (w * p[0], w * t[0]))
        return f

    assert wg.grad(lambda x: by(3.0)(x))(2.0) == 3.0
    assert wg.grad(lambda w: wg.grad(lambda x: by(w)(x))(2.0))(3.0) == 1.0
    assert wg.jit(lambda w, x: by(w)(x))(3.0, 2.0) == 6.0
    assert wg.jit(lambda w, x: wg.grad(by(w))(x))(3.0, 2.0) == 3.0
    same(wg.vmap(lambda w: wg.grad(by(w))(2.0))(X), [X])
    for bad in (
        lambda: wg.grad(lambda w: by(w)(w))(2.0),
        lambda: wg.jvp(lambda w: by(w)(w), (2.0,), (1.0,)),
        lambda: wg.grad(lambda x: np.sum(wg.vmap(lambda w: by(w)(x))(X)))(2.0),
        lambda: wg.grad(wg.trace(lambda w, x: wg.map(lambda v: by(w)(v), x)[0], 2.0, X))(2.0, X),
    ):
        with pytest.raises((CapturedValueError, LeakedTensorError)):
            bad()
