"""`custom_jvp` and `custom_vjp`: functions whose derivative the user gives."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from ..errors import RuleStructureError
from ..graph.interpreter import bind, is_traced
from ..graph.trees import flatten, unflatten
from ..ops.custom import Custom
from ..ops.families import vocabulary
from ..ops.trigonometric import cos, sin
from ..source import Source
from .custom_check import check_rules
from .custom_rules import Definition, FunctionRule, Static, definition_line
from .trace import parameter_names


def apply_rule(rule: FunctionRule, leaves: Sequence[Any]) -> Any:
    """The result of a function with its own derivative, in its containers; some leaf is traced."""
    if rule.definition.check:
        rule.ready = check_rules
    outs = bind(Custom(rule), *leaves)
    return unflatten(rule.out_tree or rule.definition.out_trees[rule.key], list(outs))


class CustomFunction(Definition):
    """A function with a derivative given by rules; made by `custom_jvp` and `custom_vjp`.

    Either rule is enough: the other mode follows from it.
    """

    def __init__(self, fn: Callable[..., Any], nondiff_argnums: Sequence[int] = (), check: bool = True) -> None:
        super().__init__()
        if not callable(fn):
            raise TypeError(f"a function with a derivative of its own is made of a function, not of {fn!r}")
        functools.update_wrapper(self, fn)
        self.fn = fn
        self.label = getattr(fn, "__name__", type(fn).__name__)
        self.check = check
        self.nondiff = tuple(nondiff_argnums)
        self.rules: dict[str, Callable[..., Any]] = {}
        try:
            self.signature: inspect.Signature | None = inspect.signature(fn)
            kinds = {p.kind for p in self.signature.parameters.values()}
            simple = kinds <= {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
            self.positional = len(self.signature.parameters) if simple else -1
        except (TypeError, ValueError):
            self.signature = None

    def defjvp(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        """Define forward mode: `rule(primals, tangents)` returns (result, tangent of the result).

        Parameters
        ----------
        rule : gets the tuples of arguments and of their tangents (zeros where nothing moves), after
            the arguments in `nondiff_argnums`, if there are any. It must be linear in the tangents, and written in
            operations that can be traced. A tangent that it returns as None is zero.

        Returns
        -------
        `rule`, so that this serves as a decorator.
        """
        self.rules["jvp"] = rule
        self.checked.clear()
        return rule

    def defjvps(self, *rules: Callable[..., Any] | None) -> None:
        """Define forward mode argument by argument: `rule(tangent, result, *arguments)`; None for one without effect.

        Example
        -------
        >>> import wengert as wg, wengert.numpy as np
        >>> product = wg.custom_jvp(lambda x, y: x * y)
        >>> product.defjvps(lambda t, out, x, y: t * y, lambda t, out, x, y: x * t)
        >>> wg.grad(product, argnums=(0, 1))(2.0, 3.0)
        (np.float64(3.0), np.float64(2.0))
        """

        @functools.wraps(self.fn)
        def rule(*given: Any) -> Any:
            *static, primals, tangents = given
            arguments = list(primals)
            for k, value in zip(sorted(self.nondiff), static, strict=True):
                arguments.insert(k, value)
            out = self.fn(*arguments)
            if len(rules) != len(tangents):
                raise RuleStructureError(
                    f"{self.label} has {len(rules)} rules for {len(tangents)} arguments",
                    "give defjvps one rule per argument, None for one without effect", definition_line(self.fn),
                )  # fmt: skip
            parts = [r(t, out, *arguments) for r, t in zip(rules, tangents, strict=True) if r is not None]
            total = parts[0] if parts else None
            for part in parts[1:]:
                total = total + part
            return out, total

        self.defjvp(rule)

    def defvjp(self, fwd: Callable[..., Any], bwd: Callable[..., Any]) -> None:
        """Define reverse mode by a forward and a backward part.

        Parameters
        ----------
        fwd : gets the arguments of the function and returns (result, residuals); residuals are anything that `bwd`
            needs, in any containers.
        bwd : `bwd(residuals, cotangent)`, after the arguments in `nondiff_argnums`, if there are any. The cotangent has
            the containers of the result. It returns a tuple with a cotangent for each argument that is not in
            `nondiff_argnums`, None for one that is zero, and must be linear in the cotangent.
        """
        self.rules["forward"], self.rules["backward"] = fwd, bwd
        self.checked.clear()

    @property
    def has_jvp(self) -> bool:  # type: ignore[override]
        return "jvp" in self.rules

    @property
    def has_vjp(self) -> bool:  # type: ignore[override]
        return "forward" in self.rules

    def value(self, *args: Any) -> Any:
        return self.fn(*args)

    def jvp(self, args: Sequence[Any], static: Static, tangents: Sequence[Any]) -> Any:
        primals = tuple([x for k, x in enumerate(args) if k not in static])
        return self.rules["jvp"](*[static[k] for k in sorted(static)], primals, tuple(tangents))

    def forward(self, args: Sequence[Any], static: Static, needed: Sequence[Any]) -> Any:
        return self.rules["forward"](*args)

    def backward(self, args: int, static: Static, residuals: Any, ct: Any) -> Any:
        return self.rules["backward"](*[static[k] for k in sorted(static)], residuals, ct)

    def line(self, which: str) -> Source | None:
        return definition_line(self.rules.get(which, self.fn))

    def names(self) -> list[str]:
        return parameter_names(self.fn)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        """All arguments by position, with defaults."""
        if self.signature is None or (len(args) == self.positional and not kwargs):
            return args
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound.args if not bound.kwargs else args

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not any(map(is_traced, args)) and not any(map(is_traced, flatten((args, kwargs))[0])):
            return self.fn(*args, **kwargs)
        args = self.arguments(args, kwargs)
        static = {k % len(args): args[k] for k in self.nondiff}
        leaves, tree = flatten(tuple([x for k, x in enumerate(args) if k not in static]) if static else args)
        if not any(map(is_traced, leaves)):
            return self.fn(*args)
        leaves = [x if is_number(x) else np.asarray(x) for x in leaves]
        return apply_rule(FunctionRule(self, len(args), static, tree), leaves)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __repr__(self) -> str:
        return f"<{self.label} with a derivative of its own>"


def is_number(x: Any) -> bool:
    return is_traced(x) or isinstance(x, (np.ndarray, np.generic, bool, int, float, complex))


@overload
def custom_jvp(
    fn: Callable[..., Any], *, nondiff_argnums: Sequence[int] = (), check: bool = True
) -> CustomFunction: ...
@overload
def custom_jvp(
    fn: None = None, *, nondiff_argnums: Sequence[int] = (), check: bool = True
) -> Callable[[Callable[..., Any]], CustomFunction]: ...
def custom_jvp(fn: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = (), check: bool = True) -> Any:
    """A function with a derivative of its own in forward mode; reverse mode follows by transposing it.

    Parameters
    ----------
    fn : a function of arrays in any containers. While a program runs it sees numbers, so that it may branch on them.
    nondiff_argnums : positions of arguments that are not differentiated and need not be arrays (functions, flags).
        They come first among the arguments of the rule. In compiled code they should be hashable.
    check : whether the rule is compared with differences of the function where it is first used, at the values there
        (in a trace, at random ones). Turn it off for a derivative that is meant to differ from the slope.

    Returns
    -------
    A function with the method `defjvp(rule)`, where `rule(primals, tangents)` returns (result, tangent), and
    `defjvps`, one rule per argument. `defvjp` may be given as well; the rules are then compared with each other.

    Derivatives of any order, batches and compiled programs go through: second derivatives are those of the rule.

    Raises (when a derivative is taken)
    ------
    RuleMissingError : no rule was defined.
    RuleStructureError, RuleShapeError, RuleDtypeError : the rule returns what does not fit; its line is named.
    WrongRuleError : the rule is not the slope of the function; both numbers are given.
    CapturedValueError : the function uses a differentiated or batched value that is no argument.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> @wg.custom_jvp
    ... def log1pexp(x):
    ...     return np.log(1 + np.exp(x))
    >>> @log1pexp.defjvp
    ... def _(primals, tangents):
    ...     (x,), (t,) = primals, tangents
    ...     return log1pexp(x), t * (1 - 1 / (1 + np.exp(x)))
    >>> wg.grad(log1pexp)(0.0), wg.grad(wg.grad(log1pexp))(0.0)
    (np.float64(0.5), np.float64(0.25))
    """
    if fn is None:
        return lambda f: CustomFunction(f, nondiff_argnums, check)
    return CustomFunction(fn, nondiff_argnums, check)


@overload
def custom_vjp(
    fn: Callable[..., Any], *, nondiff_argnums: Sequence[int] = (), check: bool = True
) -> CustomFunction: ...
@overload
def custom_vjp(
    fn: None = None, *, nondiff_argnums: Sequence[int] = (), check: bool = True
) -> Callable[[Callable[..., Any]], CustomFunction]: ...
def custom_vjp(fn: Callable[..., Any] | None = None, *, nondiff_argnums: Sequence[int] = (), check: bool = True) -> Any:
    """A function with a derivative of its own in reverse mode; forward mode follows by transposing the pullback.

    Parameters, errors and what goes through are those of `custom_jvp`. The result has the method `defvjp(fwd, bwd)`:
    `fwd(*args)` returns (result, residuals), `bwd(residuals, cotangent)` a tuple with one cotangent per argument, None
    for one that is zero. Reverse mode keeps the residuals. Cotangents are as those of `wg.vjp`: for complex numbers
    the adjoint.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> @wg.custom_vjp
    ... def norm(x):
    ...     return np.sqrt(np.sum(x**2))
    >>> def forward(x):
    ...     r = norm(x)
    ...     return r, (x, r)
    >>> def backward(residuals, ct):
    ...     x, r = residuals
    ...     return (ct * x / r,)
    >>> norm.defvjp(forward, backward)
    >>> wg.grad(norm)(np.array([3.0, 4.0]))
    array([0.6, 0.8])
    >>> wg.jvp(norm, (np.array([3.0, 4.0]),), (np.array([1.0, 0.0]),))
    (np.float64(5.0), np.float64(0.6))
    """
    if fn is None:
        return lambda f: CustomFunction(f, nondiff_argnums, check)
    return CustomFunction(fn, nondiff_argnums, check)


def samples(rng: Any) -> Iterator[tuple[FunctionRule, tuple[Any, ...]]]:
    """Rules of each kind and operands, for the tests of every primitive."""
    for function in (_by_jvp(), _by_vjp()):
        operands = (rng.normal(size=3), rng.normal(size=(2, 3)))
        yield FunctionRule(function, 2, {}, flatten(operands)[1]), operands


def _sample(x: Any, y: Any) -> Any:
    return sin(x) * y, {"x": x * x}


@functools.cache
def _by_jvp() -> CustomFunction:
    function = custom_jvp(_sample)
    function.defjvp(lambda p, t: (_sample(*p), (cos(p[0]) * p[1] * t[0] + sin(p[0]) * t[1], {"x": 2 * p[0] * t[0]})))
    return function


@functools.cache
def _by_vjp() -> CustomFunction:
    function = custom_vjp(_sample)

    def backward(residuals: Any, ct: Any) -> Any:
        x, y = residuals
        first, second = ct[0], ct[1]["x"]
        return vocabulary.sum_axes(cos(x) * y * first, (0,)) + 2 * x * second, sin(x) * first

    function.defvjp(lambda x, y: (_sample(x, y), (x, y)), backward)
    return function


vocabulary.custom_samples = samples
