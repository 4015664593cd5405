"""The worst errors of the mathematical functions in compiled code, in units in the last place, and where they occur.

    python scripts/worst_errors.py                        # every function, float64 and float32
    python scripts/worst_errors.py sin power --points 100000 --seed 3
    python scripts/worst_errors.py exp --every 1          # all 2**32 numbers of float32, against NumPy's float64
    python scripts/worst_errors.py --every 64             # every 64th of them, the functions of one operand

Arguments are drawn over all exponents (subnormal numbers included), over the intervals that matter to the function,
and at hard places such as the floats next to multiples of pi/2; then around the worst found, closer and closer.
Results are compared with mpmath. Needs mpmath.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import mpmath
import numpy as np

import wengert as wg
from wengert.ops import arithmetic, exponential, special, trigonometric

PRECISION = 420
"""Bits that mpmath computes with: what 1 + x loses of x = 2**-100 leaves enough."""
TINY = 2.0**-100
SPECIAL = (0.0, -0.0, math.inf, -math.inf, math.nan)


class Function(NamedTuple):
    native: Callable[..., Any]
    exact: Callable[..., Any]
    spans: Sequence[Any]
    """Intervals to draw from; for two operands, pairs of intervals."""
    reference: Callable[..., Any] | None = None
    """What NumPy gives, for special values."""
    unit: Callable[..., float] | None = None
    """What an error is relative to where that is not the result itself."""


def small(function: Callable[[Any], Any], slope: float = 1.0) -> Callable[[Any], Any]:
    """An odd function, or one whose next term is as small: f(x) = x + slope x**2 below what mpmath's digits resolve."""
    return lambda x: x + slope * x * x if abs(x) < TINY else function(x)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mpmath.exp(-x))


def softplus(x: Any) -> Any:
    return mpmath.log1p(mpmath.exp(x)) if x > -200 else mpmath.exp(x) * (1 - mpmath.exp(x) / 2)


def logaddexp(x: Any, y: Any) -> Any:
    return max(x, y) + softplus(-abs(x - y))


def larger_term(x: float, y: float) -> float:
    """Of max(x, y) and log(1 + exp(-|x - y|)), which may cancel in `logaddexp`."""
    return max(abs(max(x, y)), float(softplus(-abs(mpmath.mpf(x) - y))))


def hypot(x: Any, y: Any) -> Any:
    return mpmath.sqrt(x * x + y * y)


def erfc(x: Any) -> Any:
    return mpmath.erfc(x) if abs(x) < 1000 else mpmath.mpf(1) - mpmath.sign(x)


def cbrt(x: Any) -> Any:
    return mpmath.sign(x) * mpmath.cbrt(abs(x))


def power(x: Any, y: Any) -> Any:
    return mpmath.power(x, y).real


UNIT = (-1.0, 1.0)
NEAR = (-4.0, 4.0)
WAVE = [NEAR, (-1000.0, 1000.0), (-(2.0**18), 2.0**18), (-(2.0**41), 2.0**41)]
PLANE = [(UNIT, UNIT), (NEAR, UNIT), ((-1e9, 1e9), NEAR)]
FUNCTIONS = {
    "exp": Function(exponential.exp, mpmath.exp, [NEAR, (-104, 89), (-746, 710)], np.exp),
    "exp2": Function(exponential.exp2, lambda x: mpmath.power(2, x), [NEAR, (-150, 128), (-1076, 1024)], np.exp2),
    "expm1": Function(exponential.expm1, small(mpmath.expm1, 0.5), [NEAR, UNIT, (-45, 710), (-20, 89)], np.expm1),
    "log": Function(exponential.log, mpmath.log, [(0, 4), (0.5, 1.5), (0.99, 1.01)], np.log),
    "log2": Function(exponential.log2, lambda x: mpmath.log(x, 2), [(0, 4), (0.5, 1.5), (0.99, 1.01)], np.log2),
    "log10": Function(exponential.log10, mpmath.log10, [(0, 4), (0.5, 1.5), (0.99, 1.01)], np.log10),
    "log1p": Function(exponential.log1p, small(mpmath.log1p, -0.5), [UNIT, (-1, 10), (-0.5, 0.5), (0, 1e20)], np.log1p),
    "sigmoid": Function(exponential.sigmoid, sigmoid, [NEAR, (-104, 20), (-746, 40)]),
    "softplus": Function(exponential.softplus, softplus, [NEAR, (-104, 20), (-746, 40)]),
    "sinh": Function(trigonometric.sinh, small(mpmath.sinh), [UNIT, NEAR, (-90, 90), (-711, 711)], np.sinh),
    "cosh": Function(trigonometric.cosh, mpmath.cosh, [UNIT, NEAR, (-90, 90), (-711, 711)], np.cosh),
    "tanh": Function(trigonometric.tanh, small(mpmath.tanh), [UNIT, NEAR, (-25, 25)], np.tanh),
    "arcsinh": Function(trigonometric.arcsinh, small(mpmath.asinh), [UNIT, NEAR, (-1e9, 1e9)], np.arcsinh),
    "arccosh": Function(trigonometric.arccosh, mpmath.acosh, [(1, 1.001), (1, 4), (1, 1e9)], np.arccosh),
    "arctanh": Function(trigonometric.arctanh, small(mpmath.atanh), [UNIT, (-0.5, 0.5), (0.99, 1)], np.arctanh),
    "sin": Function(trigonometric.sin, small(mpmath.sin), WAVE, np.sin),
    "cos": Function(trigonometric.cos, mpmath.cos, WAVE, np.cos),
    "tan": Function(trigonometric.tan, small(mpmath.tan), WAVE, np.tan),
    "arcsin": Function(trigonometric.arcsin, small(mpmath.asin), [UNIT, (0.4, 0.6), (0.99, 1)], np.arcsin),
    "arccos": Function(trigonometric.arccos, mpmath.acos, [UNIT, (-0.6, 0.6), (0.99, 1), (-1, -0.99)], np.arccos),
    "arctan": Function(trigonometric.arctan, small(mpmath.atan), [UNIT, NEAR, (-1e3, 1e3)], np.arctan),
    "cbrt": Function(arithmetic.cbrt, cbrt, [NEAR, (0.9, 8.1)], np.cbrt),
    "erf": Function(special.erf, mpmath.erf, [UNIT, NEAR, (-7, 7)]),
    "erfc": Function(special.erfc, erfc, [UNIT, NEAR, (-7, 11), (0, 28)]),
    "arctan2": Function(trigonometric.arctan2, mpmath.atan2, PLANE, np.arctan2),
    "hypot": Function(trigonometric.hypot, hypot, PLANE, np.hypot),
    "power": Function(
        arithmetic.power, power,
        [((0, 4), NEAR), ((0.99, 1.01), (-7e4, 7e4)), ((0, 1e5), (-9, 9)), ((0.1, 10), (-400, 400)),
         ((0.5, 2), (-1100, 1100))],
        np.power,
    ),
    "logaddexp": Function(
        exponential.logaddexp, logaddexp, [(NEAR, NEAR), ((-100, 100), (-100, 100))], np.logaddexp,
        larger_term,
    ),
}  # fmt: skip
WHOLE = ("power",)
"""Functions that also get integers for their second operand, with negative bases."""


def arguments(name: str, dtype: Any, count: int, seed: int) -> tuple[Any, ...]:
    """About `count` draws of the operands of a function."""
    rng = np.random.default_rng([seed, *name.encode()])
    spans = FUNCTIONS[name].spans
    pair = isinstance(spans[0][0], tuple)
    each = max(count // (len(spans) + 2), 1)

    def everywhere() -> Any:
        bits = rng.integers(0, 2 ** (8 * dtype().itemsize), each, np.uint64 if dtype is np.float64 else np.uint32)
        return bits.view(dtype)

    columns = []
    for column in range(2 if pair else 1):
        own = [s[column] for s in spans] if pair else spans
        parts = [rng.uniform(low, high, each).astype(dtype) for low, high in own] + [everywhere()]
        if not pair:
            parts.append(hard(name, dtype, rng, each))
        columns.append(np.concatenate(parts))
    if name in WHOLE:
        base, exponent = rng.uniform(-30, 30, each), rng.integers(-40, 40, each)
        columns = [np.append(c, x.astype(dtype)) for c, x in zip(columns, (base, exponent), strict=True)]
    fine = np.all([np.isfinite(c) for c in columns], 0)
    return tuple(c[fine] for c in columns)


def hard(name: str, dtype: Any, rng: Any, count: int) -> Any:
    """Floats next to multiples of pi/2 for waves, and next to powers of two for the others."""
    if name in ("sin", "cos", "tan"):
        k = np.unique(
            np.concatenate([np.arange(1, count // 2), np.exp2(rng.uniform(0, 39, count // 2)).astype(np.int64)])
        )
        with mpmath.workprec(200):
            found = [float(mpmath.pi * int(n) / 2) for n in k]
        return np.array(found).astype(dtype)
    sizes = np.ldexp(1.0, rng.integers(-12, 12, count)).astype(dtype)
    steps = rng.integers(-3, 4, count).astype(dtype)
    return sizes + steps * np.spacing(sizes)


def ulps(got: Any, exact: Any, dtype: Any, floor: float = 0.0) -> float:
    """The error in units in the last place of the exact value (of `floor`, if that is larger)."""
    info = np.finfo(dtype)
    size = max(abs(exact), floor)
    exponent = mpmath.frexp(size)[1] - 1 if size else info.minexp
    unit = mpmath.ldexp(1, int(min(max(exponent, info.minexp), info.maxexp - 1)) - info.nmant)
    if math.isnan(got):
        return math.inf
    if math.isinf(got):  # as good as the power of two that ends the range
        got = math.copysign(2.0**128, got) if dtype is np.float32 else mpmath.sign(got) * mpmath.mpf(2) ** 1024
        if abs(exact) > abs(got):
            return 0.0 if mpmath.sign(exact) == mpmath.sign(got) else math.inf
    return float(abs(mpmath.mpf(got) - exact) / unit)


def compiled(name: str) -> Callable[..., Any]:
    function = FUNCTIONS[name].native
    return wg.jit(lambda *operands: function(*operands))  # type: ignore[no-any-return]


def errors(name: str, operands: Sequence[Any], dtype: Any, run: Callable[..., Any] | None = None) -> list[float]:
    """The error at every argument; 0 where no real number is the exact value and the result is NaN, as it must be."""
    function = FUNCTIONS[name]
    found = (run or compiled(name))(*operands)
    if found.dtype != dtype:
        raise TypeError(f"{name} of {dtype} gave {found.dtype}")
    result = []
    with mpmath.workprec(PRECISION):
        for *x, got in zip(*(c.tolist() for c in operands), found.tolist(), strict=True):
            try:
                exact = function.exact(*map(mpmath.mpf, x))
            except (ValueError, ZeroDivisionError):  # poles, which the tests of special values look at
                result.append(0.0)
                continue
            if not isinstance(exact, mpmath.mpf) or not defined(name, *x):
                result.append(0.0 if math.isnan(got) else math.inf)
            elif mpmath.isinf(exact):
                result.append(0.0 if got == float(exact) else math.inf)
            else:
                result.append(ulps(got, exact, dtype, function.unit(*x) if function.unit else 0.0))
    return result


def defined(name: str, *x: float) -> bool:
    """Whether a real power exists; mpmath gives complex numbers where other functions have no real value."""
    return name != "power" or x[0] >= 0 or x[1] == math.floor(x[1])


def worst(name: str, dtype: Any, count: int, seed: int = 0) -> tuple[float, tuple[float, ...]]:
    """The largest error found, and the operands: a draw, then around the worst of it, closer and closer."""
    run = compiled(name)
    operands = arguments(name, dtype, count, seed)
    best: tuple[float, tuple[float, ...]] = (-1.0, ())
    rng = np.random.default_rng(seed)
    for width in (2.0**-4, 2.0**-9, 2.0**-16, 0.0):
        found = np.array(errors(name, operands, dtype, run))
        order = np.argsort(found)[::-1][:8]
        best = max(best, (float(found[order[0]]), tuple(float(c[order[0]]) for c in operands)))
        each = max(count // 40, 4)
        with np.errstate(over="ignore"):
            operands = tuple(
                np.concatenate([(c[k] * (1 + width * rng.uniform(-1, 1, each))).astype(dtype) for k in order])
                for c in operands
            )
        fine = np.all([np.isfinite(c) for c in operands], 0)
        operands = tuple(c[fine] for c in operands)
    return best


def every(name: str, step: int) -> tuple[float, float]:
    """The worst error over every `step`th number of float32; NumPy's float64 function stands for the exact value."""
    function = FUNCTIONS[name]
    if function.reference is None:
        raise ValueError(f"NumPy has no function {name}")
    run = compiled(name)
    best = (0.0, 0.0)
    block = step << 20
    for start in range(0, 1 << 32, block):
        x = np.arange(start, min(start + block, 1 << 32), step, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            exact = function.reference(x.astype(np.float64))
            unit = np.spacing(np.minimum(np.abs(exact), np.finfo(np.float32).max).astype(np.float32))
            found = run(x)
            error = np.abs(found - exact) / unit
        same = (np.isnan(exact) & np.isnan(found)) | (np.abs(exact) > np.finfo(np.float32).max) & np.isinf(found)
        error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
        k = int(np.argmax(error))
        best = max(best, (float(error[k]), float(x[k])))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(FUNCTIONS)} (default: all)")
    parser.add_argument("--points", type=int, default=5000, help="arguments drawn for each function and dtype")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=int, metavar="STEP", help="every STEPth number of float32, by NumPy's float64")
    options = parser.parse_args()
    if unknown := set(options.names) - set(FUNCTIONS):
        parser.error(f"no function {sorted(unknown)}")
    print("function   dtype     worst  at")
    for name in options.names or FUNCTIONS:
        if options.every:
            if FUNCTIONS[name].reference and not isinstance(FUNCTIONS[name].spans[0][0], tuple):
                error, x = every(name, options.every)
                print(f"{name:10} float32 {error:7.3f}  {x!r}", flush=True)
            continue
        for dtype in (np.float64, np.float32):
            error, operands = worst(name, dtype, options.points, options.seed)
            print(f"{name:10} {dtype.__name__} {error:7.3f}  {', '.join(map(repr, operands))}", flush=True)


if __name__ == "__main__":
    main()
