"""`check_grads`: derivatives of a function, in both modes and to any order, against differences of its values.

A slope along a direction t, weighted over the outputs by w, is one number: <w, J t>. Forward mode gives it as
<w, jvp(t)>, reverse mode as <vjp(w), t>, and the function itself as a central difference, whose error is known: the
square of the step, and the rounding of the values divided by the step. Higher orders check the jvp, and the vjp,
as functions of their own.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..graph.interpreter import type_of_value
from ..graph.trees import flatten, paths, unflatten
from ..graph.types import is_inexact
from ..transforms.forward import jvp
from ..transforms.grad import vjp
from ..transforms.trace import argument_names

Leaves = Sequence[Any]

SHORTER = 8
"""How much shorter the second step is."""


class GradientError(AssertionError):
    """A derivative that is not the slope of its function. `kink` says that the function has no slope there."""

    def __init__(self, message: str, kink: bool = False) -> None:
        super().__init__(message)
        self.kink = kink


class KinkWarning(UserWarning):
    """The function has two slopes at this point, and the derivative is one of them or between them."""


class Trouble(NamedTuple):
    """Why there is no derivative to compare with: "a kink", "a jump" or no value beside the point."""

    what: str
    behind: float
    ahead: float

    def __str__(self) -> str:
        if not self.what:
            return "the function is not finite beside the point: choose one inside its domain"
        return (
            f"{self.what}: along this direction the slope is {self.behind:.6g} behind the point and {self.ahead:.6g} "
            "ahead; there is no derivative to compare with, choose another point"
        )

    def allows(self, slope: float, room: float) -> bool:
        """Whether a derivative lies between the two slopes of a kink."""
        low, high = sorted((self.behind, self.ahead))
        return self.what == "a kink" and low - room <= slope <= high + room


class Flat(NamedTuple):
    """A function of floating-point leaves to floating-point leaves, with their names."""

    run: Callable[..., list[Any]]
    inputs: list[str]
    outputs: list[str]
    label: str

    def tangent(self) -> Callable[..., Any]:
        """`(t, *point) -> J t`."""
        return lambda t, *point: jvp(self.run, point, tuple(t))[1]

    def cotangent(self) -> Callable[..., Any]:
        """`(w, *point) -> J^T w`."""
        return lambda w, *point: list(vjp(self.run, *point)[1](list(w)))


def check_grads(
    fn: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("forward", "reverse"),
    rtol: float | None = None,
    atol: float = 0.0,
    directions: int = 2,
    seed: int = 0,
) -> None:
    """Check the derivatives of `fn` at `args` along random directions; silent if all is well.

    Parameters
    ----------
    fn : a function of arrays in any containers to arrays in any containers. Integer and boolean leaves are left
        as they are.
    args : its positional arguments, in a tuple or list. Best where `fn` is smooth: at a kink a derivative that lies
        between the two slopes is accepted with a `KinkWarning`, and higher orders are not checked there.
    order : 1 checks gradients; 2 derivatives of gradients too, and so on. Costs 2**order evaluations per direction.
    modes : "forward" (jvp), "reverse" (vjp) or both; from order 2 on all combinations.
    rtol, atol : how far a derivative may be from the difference, relative to the sum of the absolute values of its
        terms. Default 1e-5, for single precision 2e-2. What the differences lose to rounding is granted on top.
    directions : number of random directions.
    seed : of the random numbers; the same directions in every run.

    Raises
    ------
    GradientError : (an `AssertionError`) a derivative differs. It names mode, order, direction and the leaves, and says
        by how much, and if the function jumps or has a kink there, its two slopes.

    Example
    -------
    >>> import wengert as wg, wengert.numpy as np
    >>> wg.testing.check_grads(lambda p: np.sin(p["x"]) * p["y"], ({"x": np.ones(3), "y": 2.0},))
    >>> wg.testing.check_grads(lambda x: 3 * wg.stop_gradient(x) + np.clip(x, 0, 1), (0.0,))
    Traceback (most recent call last):
        ...
    wengert.testing.check.GradientError: forward mode, direction 0: the derivative is ..., the slope ... is ...
      from x: f64[] to output: derivative ..., slope ...
      a kink: along this direction the slope is ... behind the point and ... ahead; ...
    """
    if not set(modes) <= {"forward", "reverse"} or not modes:
        raise ValueError(f"modes {modes!r}: give 'forward', 'reverse' or both")
    if not isinstance(args, (tuple, list)):
        raise TypeError("check_grads takes the arguments in a tuple: check_grads(f, (x,))")
    flat, point = flattened(fn, tuple(args))
    rng = np.random.default_rng(seed)
    for k in range(directions):
        check_order(flat, point, order, tuple(modes), rtol, atol, k, rng)


def flattened(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Flat, list[Any]]:
    """The function of the floating-point leaves alone, and these leaves."""
    leaves, structure = flatten(args)
    moving = [k for k, leaf in enumerate(leaves) if is_inexact(type_of_value(leaf).dtype)]

    def full(point: Leaves) -> list[Any]:
        given = list(leaves)
        for k, value in zip(moving, point, strict=True):
            given[k] = value
        outs, out_structure = flatten(fn(*unflatten(structure, given)))
        names = paths(out_structure)
        return [(n, out) for n, out in zip(names, outs, strict=True) if is_inexact(type_of_value(out).dtype)]

    point = [np.asarray(leaves[k]) for k in moving]
    names = argument_names(fn, args)
    outputs = [f"output{name}" for name, _ in full(point)]
    if not point or not outputs:
        raise ValueError(
            "check_grads found nothing to differentiate: no floating-point leaf goes in, or none comes out"
        )
    return Flat(lambda *values: [out for _, out in full(values)], [names[k] for k in moving], outputs, ""), point


def check_order(
    flat: Flat, point: list[Any], order: int, modes: tuple[str, ...], rtol: float | None, atol: float, k: int, rng: Any
) -> None:
    """Check the derivatives of a function, and (from order 2 on) those functions themselves."""
    values = [np.asarray(out) for out in flat.run(*point)]
    t, w = random_like(point, rng), random_like(values, rng)
    for mode in modes:
        check = Check(flat, point, values, mode, rtol, atol, k)
        smooth = check.compare(t, w, order > 1)
        if order > 1 and smooth:  # at a kink the slope jumps, and has no slope of its own
            if mode == "forward":
                inner, names, fixed = flat.tangent(), flat.outputs, t
            else:
                inner, names, fixed = flat.cotangent(), flat.inputs, w

            def run(*at: Any, inner: Any = inner, fixed: Any = fixed) -> list[Any]:
                return list(inner(fixed, *at))

            derived = [f"{'jvp' if mode == 'forward' else 'gradient'} of {name}" for name in names]
            label = f"{check.title()}, and of that "
            check_order(Flat(run, flat.inputs, derived, label), point, order - 1, modes, rtol, atol, k, rng)


def random_like(leaves: Leaves, rng: Any) -> list[Any]:
    """Normal numbers of the same shapes and dtypes."""

    def one(leaf: Any) -> Any:
        draw = rng.normal(size=leaf.shape)
        if leaf.dtype.kind == "c":
            draw = draw + 1j * rng.normal(size=leaf.shape)
        return np.asarray(draw, leaf.dtype)

    return [one(leaf) for leaf in leaves]


def products(a: Leaves, b: Leaves) -> list[Any]:
    """The terms of Re(sum(conj(a) b)), leaf by leaf, in double precision."""
    return [np.real(np.conj(np.asarray(x, complex)) * np.asarray(y, complex)) for x, y in zip(a, b, strict=True)]


def total(terms: Sequence[Any]) -> float:
    return float(sum(np.sum(term) for term in terms))


class Check:
    """The comparison of one mode with differences, at one point."""

    def __init__(
        self,
        flat: Flat,
        point: list[Any],
        values: list[Any],
        mode: str,
        rtol: float | None,
        atol: float,
        direction: int,
    ) -> None:
        self.flat = flat
        self.point = point
        self.values = values
        self.mode = mode
        self.direction = direction
        self.eps = max(float(np.finfo(x.dtype).eps) for x in (*point, *values))
        single = self.eps > 1e-10
        self.rtol = rtol if rtol is not None else (2e-2 if single else 1e-5)
        self.atol = atol
        size = max([1.0, *(float(np.max(np.abs(x), initial=0.0)) for x in point)])
        self.step = (1e-2 if single else 1e-5) * size

    def title(self) -> str:
        return f"{self.flat.label}{self.mode} mode" + ("" if self.flat.label else f", direction {self.direction}")

    def given(self, t: Leaves, w: Leaves) -> float:
        """<w, J t> by the mode to be checked."""
        if self.mode == "forward":
            return total(products(w, self.flat.tangent()(t, *self.point)))
        return total(products(self.flat.cotangent()(w, *self.point), t))

    def shifted(self, t: Leaves, by: float) -> list[Any]:
        # Arrays like the point: a scalar of NumPy times a Python number may be a Python number.
        moved = [np.asarray(x + np.asarray(by * d, x.dtype)) for x, d in zip(self.point, t, strict=True)]
        return [np.asarray(out, complex) for out in self.flat.run(*moved)]

    def slope(self, t: Leaves, w: Leaves, step: float) -> tuple[float, float]:
        """<w, J t> by a central difference, and the deviation to be allowed."""
        ahead, behind = self.shifted(t, step), self.shifted(t, -step)
        terms = products(w, [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)])
        rounding = 8 * self.eps * total([np.abs(p) for p in products(w, self.values)]) / step
        return total(terms), self.atol + self.rtol * max(1e-3, total([np.abs(p) for p in terms])) + rounding

    def agree(self, t: Leaves, w: Leaves) -> tuple[bool, float, float, float]:
        """Whether derivative and slope agree; both, and the deviation allowed.

        Where they do not, a shorter step is tried: it makes the error of the difference smaller, not that of a
        derivative.
        """
        found = self.given(t, w)
        for step in (self.step, self.step / SHORTER):
            expected, allowed = self.slope(t, w, step)
            if abs(found - expected) <= allowed:
                return True, found, expected, allowed
        return False, found, expected, allowed

    def compare(self, t: Leaves, w: Leaves, look: bool) -> bool:
        """Raise if the derivative is wrong. Whether there is one: with `look`, kinks are looked for in any case."""
        fine, found, expected, allowed = self.agree(t, w)
        kink = self.kink(t, w) if look or not fine else None
        if kink is not None and kink.allows(found, allowed):
            warnings.warn(f"{self.title()}: the derivative is {found:.6g} at {kink}", KinkWarning, stacklevel=5)
            return False
        if fine:
            return True
        lines = [
            f"{self.title()}: the derivative is {found:.9g}, the slope of the function is {expected:.9g}, "
            f"which differ by {abs(found - expected):.3g} (allowed: {allowed:.3g})"
        ]
        lines += self.culprits(t, w)
        raise GradientError("\n  ".join([*lines, *([str(kink)] if kink else [])]), kink is not None)

    def culprits(self, t: Leaves, w: Leaves) -> Iterator[str]:
        """The pairs of an input leaf and an output leaf that differ."""
        for i, source in enumerate(self.flat.inputs):
            for o, target in enumerate(self.flat.outputs):
                along, weight = only(t, i), only(w, o)
                fine, found, expected, _ = self.agree(along, weight)
                if not fine:
                    kind = type_of_value(self.point[i])
                    yield f"from {source}: {kind} to {target}: derivative {found:.9g}, slope {expected:.9g}"

    def kink(self, t: Leaves, w: Leaves) -> Trouble | None:
        """What is wrong with the function itself, if its slopes ahead and behind differ however small the step."""
        here = [np.asarray(out, complex) for out in self.flat.run(*self.point)]

        def sides(step: float) -> tuple[float, float]:
            ahead, behind = self.shifted(t, step), self.shifted(t, -step)
            return (
                total(products(w, [(a - x) / step for a, x in zip(ahead, here, strict=True)])),
                total(products(w, [(x - b) / step for b, x in zip(behind, here, strict=True)])),
            )

        far, near = sides(self.step), sides(self.step / SHORTER)
        if not np.isfinite([*far, *near]).all():
            return Trouble("", near[1], near[0])
        steep, gap, near_gap = max(map(abs, far)), abs(far[0] - far[1]), abs(near[0] - near[1])
        if max(map(abs, near)) > SHORTER / 2 * steep:
            return Trouble("a jump", near[1], near[0])  # the same step in value over a shorter way
        if gap > self.rtol * steep and near_gap > gap / 2:
            return Trouble("a kink", near[1], near[0])  # the slopes of a smooth function come together
        return None


def only(leaves: Leaves, k: int) -> list[Any]:
    """The leaves with all but one set to 0."""
    return [leaf if j == k else np.zeros_like(leaf) for j, leaf in enumerate(leaves)]
