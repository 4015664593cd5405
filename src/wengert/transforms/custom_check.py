"""Rules against the function they belong to: values, slopes, one mode against the other, linearity in the tangents.

One random direction at the point where a derivative is first asked for. A derivative between the slopes ahead of the
point and behind it passes: at a kink either is right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import RuleDtypeError, RuleShapeError, RuleStructureError, WrongRuleError
from ..graph.interpreter import is_traced, strip, type_of_value
from ..graph.types import ArrayType, Dim, is_inexact
from .custom_rules import FunctionRule, strong
from .vmap import Batch

SHORTER = 8
"""How much shorter the second step is, which makes the error of a difference smaller, not that of a rule."""
REPAIR = "correct the rule; where it is meant to differ from the slope, as for a clipped gradient, give check=False"


def check_rules(rule: FunctionRule, values: Sequence[Any]) -> None:
    """Check the rules of a definition when it is first used on arguments of such dtypes and containers.

    In a trace, where there are no numbers, random ones are used; if the function is not finite there, or fails, the
    check waits for the next use.

    Raises
    ------
    WrongRuleError : with the numbers of the rule and of the function, and the line of the rule.
    """
    definition = rule.definition
    key = (rule.tree, *[v.dtype if v.__class__ is np.ndarray else type_of_value(v).dtype for v in values])
    if key in definition.checked:
        return
    found = [concrete(v) for v in values]
    invented = any(x is None for x in found)
    if invented:
        if not definition.invent:
            return
        rng = np.random.default_rng(0)
        found = [invent(type_of_value(v), rng) if x is None else x for v, x in zip(values, found, strict=True)]
        if any(x is None for x in found):
            return
    definition.checked.add(key)  # before, since rules may use the function itself
    twin = FunctionRule(definition, rule.count, rule.static, rule.tree)
    twin.out_tree = rule.out_tree
    done = False
    try:
        with np.errstate(all="ignore"):
            done = Check(twin, found).run()
    except (WrongRuleError, RuleStructureError, RuleShapeError, RuleDtypeError):
        raise
    except Exception:  # the point may be outside of the domain; what fails at the user's own fails again in its use
        pass
    finally:
        if not done:
            definition.checked.discard(key)


def concrete(value: Any) -> Any:
    """The number inside of a value, of the first lane of a batch; None if there is none."""
    while is_traced(value):
        if isinstance(value.interpreter, Batch) and value.note is not None:
            inside = concrete(value.value)
            return None if inside is None or not inside.shape[value.note] else np.take(inside, 0, value.note)
        value = value.value
    return None if value is None or not hasattr(np.asarray(value), "dtype") else np.asarray(value)


def invent(t: ArrayType, rng: Any) -> Any:
    """Numbers of a type, from 0.2 to 0.8, where most functions are smooth; None if a length is not known."""
    if any(isinstance(n, Dim) for n in t.shape):
        return None
    draw = rng.uniform(0.2, 0.8, t.shape)
    return np.asarray(draw + 0.3j * draw if t.dtype.kind == "c" else draw).astype(t.dtype)


class Check:
    """The checks at one point."""

    def __init__(self, rule: FunctionRule, point: Sequence[Any]) -> None:
        self.rule = rule
        self.point = [np.array(x)[()] for x in point]
        self.moving = [is_inexact(strong(x).dtype) and np.size(x) > 0 for x in self.point]
        self.outs = self.values(*self.point)
        self.smooth = [is_inexact(x.dtype) for x in self.outs]
        self.eps = max((float(np.finfo(x.dtype).eps) for x in (*self.active(), *self.seen(self.outs))), default=1.0)
        self.single = self.eps > 1e-10
        self.rtol = 2e-2 if self.single else 1e-4
        rng = np.random.default_rng(1)
        self.t = [direction(x, rng) if m else None for x, m in zip(self.point, self.moving, strict=True)]
        self.w = [direction(x, rng) if s else None for x, s in zip(self.outs, self.smooth, strict=True)]

    def active(self) -> list[Any]:
        return [x for x, m in zip(self.point, self.moving, strict=True) if m]

    def seen(self, outs: Sequence[Any]) -> list[Any]:
        return [x for x, s in zip(outs, self.smooth, strict=True) if s]

    def values(self, *point: Any) -> list[Any]:
        return [np.asarray(strip(x)) for x in self.rule.run(*point)]

    def run(self) -> bool:
        """Whether there was anything to compare; raises `WrongRuleError` if it does not agree."""
        if not any(self.moving) or not any(self.smooth):
            return True
        if not all(np.isfinite(x).all() for x in (*self.active(), *self.seen(self.outs))):
            return False
        definition = self.rule.definition
        found: dict[str, float] = {}
        if definition.has_jvp:
            found["jvp"] = self.forward(self.t)
        if definition.has_vjp:
            found["vjp"] = self.reverse(self.t)
        sides = self.slopes(self.t)
        if sides is None or not all(map(math.isfinite, found.values())):
            return False
        for name, number in found.items():
            if not self.agrees(number, sides):
                self.complain(name, number, sides)
        if len(found) == 2:
            self.compare(found["jvp"], found["vjp"])
        return True

    # The derivative along t, weighted by w. ---------------------------------------------------------

    def forward(self, t: Sequence[Any]) -> float:
        outs, tangents = self.rule.push_given(self.point, t)
        self.same_values(outs, "jvp")
        doubled = self.rule.push_given(self.point, [None if x is None else -2 * x for x in t])[1]
        once, twice = self.weighted(tangents), self.weighted(doubled)
        if math.isfinite(once) and abs(twice + 2 * once) > 1e3 * self.eps * self.size(tangents):
            raise WrongRuleError(
                f"the jvp rule of {self.rule.definition.label} is not linear: {once:.6g} along a direction, and "
                f"{twice:.6g} along -2 times that direction", "make the tangent it returns a multiple of those it gets",
                self.rule.definition.line("jvp"),
            )  # fmt: skip
        return once

    def reverse(self, t: Sequence[Any]) -> float:
        needed = [x is not None for x in t]
        outs, kept, rest = self.rule.pull_given(self.point, needed)
        self.same_values(outs, "forward")
        cts = [None if w is None else np.conj(w) for w in self.w]
        found = self.rule.back_given(kept, rest, cts, needed)
        pairs = [(ct, x) for ct, x in zip(found, t, strict=True) if ct is not None and x is not None]
        return float(sum(np.sum(np.real(np.asarray(strip(ct)) * x)) for ct, x in pairs))

    def weighted(self, tangents: Sequence[Any]) -> float:
        pairs = [(w, x) for w, x in zip(self.w, tangents, strict=True) if w is not None and x is not None]
        return float(sum(np.sum(np.real(np.conj(w) * np.asarray(strip(x)))) for w, x in pairs))

    def size(self, tangents: Sequence[Any]) -> float:
        pairs = [(w, x) for w, x in zip(self.w, tangents, strict=True) if w is not None and x is not None]
        return 1e-30 + float(sum(np.sum(np.abs(w) * np.abs(np.asarray(strip(x)))) for w, x in pairs))

    def slopes(self, t: Sequence[Any]) -> list[tuple[float, float, float]] | None:
        """For two steps the slopes behind and ahead, and what rounding may change them by; None if not finite."""
        scale = max([1.0, *(float(np.max(np.abs(x), initial=0.0)) for x in self.active())])
        step = (1e-2 if self.single else 1e-5) * scale
        found = []
        for h in (step, step / SHORTER):
            ahead, behind = self.at(t, h), self.at(t, -h)
            rates = [[(a - b) / h for a, b in zip(x, y, strict=True)] for x, y in (
                (self.outs64, behind), (ahead, self.outs64))]  # fmt: skip
            rounding = 8 * self.eps * self.size(self.outs) / h
            back, front = (self.weighted(rate) for rate in rates)
            if not (math.isfinite(back) and math.isfinite(front)):
                return None
            found.append((back, front, rounding))
        return found

    def at(self, t: Sequence[Any], by: float) -> list[Any]:
        moved = [x if d is None else x + np.asarray(by * d, x.dtype) for x, d in zip(self.point, t, strict=True)]
        return [np.asarray(out, complex) for out in self.values(*moved)]

    @property
    def outs64(self) -> list[Any]:
        return [np.asarray(out, complex) for out in self.outs]

    # Comparison. ------------------------------------------------------------------------------------

    def agrees(self, number: float, sides: Sequence[tuple[float, float, float]]) -> bool:
        """Near the central difference, or between the slopes of both sides."""
        for back, front, rounding in sides:
            allowed = self.rtol * max(abs(back), abs(front), 1e-3) + rounding
            near = abs(number - (back + front) / 2) <= allowed
            if near or min(back, front) - allowed <= number <= max(back, front) + allowed:
                return True
        return False

    def complain(self, name: str, number: float, sides: Sequence[tuple[float, float, float]]) -> None:
        definition = self.rule.definition
        lines = [
            f"the {name} rule of {definition.label} gives the derivative {number:.6g}, "
            f"but the slope of the function is {(sides[0][0] + sides[0][1]) / 2:.6g}"
        ]
        names = self.rule.leaf_names()
        if sum(self.moving) > 1:
            for k, moving in enumerate(self.moving):
                if moving:
                    t = [x if j == k else None for j, x in enumerate(self.t)]
                    own = (self.forward if name == "jvp" else self.reverse)(t)
                    slopes = self.slopes(t)
                    if slopes is not None and not self.agrees(own, slopes):
                        lines.append(f"  in {names[k]}: {own:.6g}, but {(slopes[0][0] + slopes[0][1]) / 2:.6g}")
        raise WrongRuleError("\n".join(lines), REPAIR, definition.line("jvp" if name == "jvp" else "backward"))

    def compare(self, jvp: float, vjp: float) -> None:
        if abs(jvp - vjp) > max(1e4 * self.eps, 1e-9) * max(abs(jvp), abs(vjp), 1e-3):
            definition = self.rule.definition
            raise WrongRuleError(
                f"the rules of {definition.label} disagree: the jvp rule gives the derivative {jvp:.9g}, "
                f"the vjp rule {vjp:.9g}", "make them rules of one function", definition.line("jvp"),
            )  # fmt: skip

    def same_values(self, outs: Sequence[Any], name: str) -> None:
        for mine, theirs in zip(self.outs, outs, strict=True):
            other = np.asarray(strip(theirs))
            if mine.shape != other.shape or not np.allclose(mine, other, 1e-2 if self.single else 1e-6, equal_nan=True):
                raise WrongRuleError(
                    f"{self.rule.definition.label} returns {np.array2string(mine, threshold=5)}, but the result that "
                    f"its {name} rule returns is {np.array2string(other, threshold=5)}",
                    "return the function's own result from its rules", self.rule.definition.line(name),
                )  # fmt: skip


def direction(x: Any, rng: Any) -> Any:
    """A random direction; 1 for a single number, so that derivatives are those that one knows."""
    if np.size(x) == 1:
        return np.ones_like(x)
    draw = rng.uniform(0.5, 1.5, np.shape(x)) * rng.choice([-1, 1], np.shape(x))
    return np.asarray(draw if x.dtype.kind == "f" else draw * np.exp(1j * draw), x.dtype)
