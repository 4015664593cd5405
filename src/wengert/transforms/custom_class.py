"""`Function`: a function with its derivative as a class of two static methods, as PyTorch has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..errors import RuleStructureError
from ..graph.interpreter import is_traced
from ..graph.trees import flatten, unflatten
from ..source import Source
from .custom import apply_rule
from .custom_rules import Definition, FunctionRule, Static, definition_line, is_value, zero_of
from .trace import parameter_names


class Context:
    """What `forward` hands to `backward`: `save_for_backward`, or any attributes.

    Attributes
    ----------
    saved_tensors : what `save_for_backward` was given, as a tuple.
    needs_input_grad : for each argument of `forward` whether its cotangent is wanted.
    """

    needs_input_grad: tuple[bool, ...] = ()
    saved_tensors: tuple[Any, ...] = ()

    def save_for_backward(self, *values: Any) -> None:
        """Keep arrays (or anything else) for `backward` and `jvp`."""
        self.saved_tensors = values

    save_for_forward = save_for_backward

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Name results that have no derivative: `backward` gets zeros for them."""
        self._constants = [id(out) for out in outputs]


class ClassDefinition(Definition):
    """The definition that a subclass of `Function` is."""

    def __init__(self, cls: type[Function]) -> None:
        super().__init__()
        self.cls = cls
        self.label = cls.__name__
        self.check = cls.check
        self.has_jvp = cls.jvp is not Function.jvp
        self.has_vjp = cls.backward is not Function.backward
        self.apart = cls.setup_context is not Function.setup_context

    def value(self, *args: Any) -> Any:
        return self.run(args, Context())

    def run(self, args: Sequence[Any], context: Context) -> Any:
        if not self.apart:
            return self.cls.forward(context, *args)
        out = self.cls.forward(*args)
        self.cls.setup_context(context, tuple(args), out)
        return out

    def jvp(self, args: Sequence[Any], static: Static, tangents: Sequence[Any]) -> Any:
        context = Context()
        context.needs_input_grad = tuple([k not in static for k in range(len(args))])
        out = self.run(args, context)
        given = iter(tangents)
        return out, self.cls.jvp(context, *[None if k in static else next(given) for k in range(len(args))])

    def forward(self, args: Sequence[Any], static: Static, needed: Sequence[Any]) -> Any:
        context = Context()
        flags = iter(needed)
        context.needs_input_grad = tuple([False if k in static else bool(next(flags)) for k in range(len(args))])
        out = self.run(args, context)
        constants = context.__dict__.pop("_constants", ())
        fixed = [id(leaf) in constants for leaf in flatten(out)[0]]
        return out, (vars(context), fixed)

    def backward(self, args: int, static: Static, residuals: Any, ct: Any) -> Any:
        attributes, fixed = residuals
        context = Context()
        vars(context).update(attributes)
        leaves, structure = flatten(ct)
        if any(fixed):
            ct = unflatten(structure, [zero_of(x) if f else x for x, f in zip(leaves, fixed, strict=True)])
        found = self.cls.backward(context, *(ct if isinstance(ct, (tuple, list)) else (ct,)))
        parts = tuple(found) if isinstance(found, (tuple, list)) else (found,)
        if len(parts) < args or any(part is not None for part in parts[args:]):
            raise RuleStructureError(
                f"{self.label}.backward returned {len(parts)} values for {args} arguments of forward",
                "return one cotangent per argument, None for those that have none", self.line("backward"),
            )  # fmt: skip
        return tuple([part for k, part in enumerate(parts[:args]) if k not in static])

    def line(self, which: str) -> Source | None:
        return definition_line(getattr(self.cls, which if which in ("jvp", "backward") else "forward"))

    def names(self) -> list[str]:
        return parameter_names(self.cls.forward)[0 if self.apart else 1 :]


class Function:
    """A function with its derivative: a subclass defines `forward` and `backward`, or `jvp`, and is called by `apply`.

    forward(ctx, *args) : the result, an array or a tuple (or other container) of arrays. Whatever `backward` needs goes
        into `ctx`: by `ctx.save_for_backward(...)`, or as attributes.
    backward(ctx, *cotangents) : a cotangent per argument of `forward`, None for those that have none; alone or in a
        tuple. One cotangent comes in for each result.
    jvp(ctx, *tangents) : the tangent of the result, in its containers; those of arguments that are no arrays are None.
    setup_context(ctx, inputs, output) : if defined, `forward` gets no `ctx`, and this fills it.

    Either rule is enough, the other mode follows from it. Class attribute `check`: False if the derivative is meant to
    differ from the slope, with which it is compared where it is first used.

    Arguments that are arrays are differentiated; all others (numbers, flags, functions, lists) are handed through.
    Everything that goes through `wg.custom_vjp` goes through here, with the same errors.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> class Cube(wg.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x**3
    ...
    ...     @staticmethod
    ...     def backward(ctx, ct):
    ...         (x,) = ctx.saved_tensors
    ...         return 3 * x**2 * ct
    >>> wg.grad(Cube.apply)(2.0), wg.grad(wg.grad(Cube.apply))(2.0)
    (np.float64(12.0), np.float64(12.0))
    """

    check: ClassVar[bool] = True
    _definition: ClassVar[ClassDefinition]

    @staticmethod
    def forward(*args: Any) -> Any:
        raise NotImplementedError("define forward(ctx, *args)")

    @staticmethod
    def backward(ctx: Context, *cotangents: Any) -> Any:
        raise NotImplementedError("define backward(ctx, *cotangents) or jvp(ctx, *tangents)")

    @staticmethod
    def jvp(ctx: Context, *tangents: Any) -> Any:
        raise NotImplementedError("define backward(ctx, *cotangents) or jvp(ctx, *tangents)")

    @staticmethod
    def setup_context(ctx: Context, inputs: tuple[Any, ...], output: Any) -> None:
        """Fill the context, if `forward` does not get it."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """The result, in any transform."""
        definition = cls.__dict__.get("_definition")
        if definition is None:
            definition = cls._definition = ClassDefinition(cls)
        if not any(map(is_traced, args)):
            return definition.value(*args)
        static = {k: x for k, x in enumerate(args) if not is_value(x)}
        leaves = [x for x in args if is_value(x)]
        return apply_rule(FunctionRule(definition, len(args), static, flatten(tuple(leaves))[1]), leaves)
