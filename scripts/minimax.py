"""Polynomials of least relative error for `native/mathematics_*.py`, by the exchange method of Remez.

    python scripts/minimax.py            # every table with its largest error, as text
    python scripts/minimax.py --write    # and write src/wengert/native/mathematics_coefficients.py

A table approximates g(z) on an interval by a polynomial P so that the largest |w(z) (g(z) - P(z))| is least, where the
weight w makes this the relative error of the function that is wanted, or is 1 where that would vanish inside the
interval. On intervals that begin at 0 coefficients are rounded one by one, the lowest first, and those that follow
are fitted again to make up for the rounding (Brisebarre, Muller, Tisserand, *Computing machine-efficient polynomial
approximations*, ACM TOMS 2006, treats the exact problem). The search for the extrema runs
on a fixed grid of Chebyshev points, which is dense enough that the error between its points is not seen.
Needs mpmath.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
from mpmath import mp, mpf

TARGET = Path(__file__).parent.parent / "src" / "wengert" / "native" / "mathematics_coefficients.py"
GRID = 400
ROUNDS = 12


class Table(NamedTuple):
    name: str
    form: str
    """What the polynomial P stands in, for people to read."""
    function: Callable[[Any], Any]
    weight: Callable[[Any], Any]
    low: Any
    high: Any
    degrees: dict[str, int]
    """The degree for each format of floats: f64, f32, and `short`, which is f64 for results in f32."""


def exp_rest(r: Any) -> Any:
    return mpmath.hyp1f1(1, 3, r) / 2  # (exp(r) - 1 - r) / r**2


def log_rest(f: Any) -> Any:
    return -mpmath.hyp2f1(1, 2, 3, -f) / 2  # (log(1 + f) - f) / f**2


def series(rest: Callable[[Any], Any], at_zero: Any) -> Callable[[Any], Any]:
    """A function of z = x**2 that is given by x, with its limit at 0, near which more digits are carried."""

    def of_square(z: Any) -> Any:
        if z == 0:
            return mpf(at_zero)
        with mp.workdps(mp.dps + 40):
            return rest(mpmath.sqrt(z))

    return of_square


def erfcx(x: Any) -> Any:
    return mpmath.exp(x * x) * mpmath.erfc(x)


def tail(q: Any) -> Any:
    """(1 + 2x) exp(x**2) erfc(x) - 1 at the x with q = (x - 4) / (x + 4)."""
    x = 4 * (1 + q) / (1 - q)
    with mp.workdps(mp.dps + 40):
        return (1 + 2 * x) * erfcx(x) - 1


HALF_LN2 = mpmath.mpf("0.34658")
ROOT = mpmath.mpf("1.41422")
THIRD = mpf(1) / 3

TABLES = (
    Table("EXP", "exp(r) = 1 + r + r**2 P(r), |r| <= log(2) / 2", exp_rest,
          lambda r: mpf("0.4"), -HALF_LN2, HALF_LN2, {"f64": 10, "f32": 5, "short": 5}),
    Table("EXP2", "2**r = 1 + r P(r), |r| <= 1/2", lambda r: mpmath.expm1(r * mp.ln2) / r if r else mp.ln2,
          lambda r: mpf("0.5"), mpf("-0.50001"), mpf("0.50001"), {"f64": 10, "f32": 6}),
    Table("LOG", "log(1 + f) = f + f**2 P(f), sqrt(1/2) <= 1 + f <= sqrt(2)", log_rest,
          lambda f: mpf("0.4"), 1 / ROOT - 1, ROOT - 1, {"f64": 20, "f32": 8}),
    Table("SINH", "sinh(x) = x + x**3 P(x**2), |x| <= 1", series(lambda x: (mpmath.sinh(x) - x) / x**3, THIRD / 2),
          lambda z: z, mpf(0), mpf(1), {"f64": 6, "f32": 2}),
    Table("SIN", "sin(r) = r + r**3 P(r**2), |r| <= pi / 4", series(lambda r: (mpmath.sin(r) - r) / r**3, -THIRD / 2),
          lambda z: z * mpmath.sqrt(z) / mpmath.sin(mpmath.sqrt(z)) if z else z, mpf(0), mpf("0.8") ** 2,
          {"f64": 5, "f32": 2}),
    Table("COS", "cos(r) = 1 - r**2 / 2 + r**4 P(r**2), |r| <= pi / 4",
          series(lambda r: (mpmath.cos(r) - 1 + r * r / 2) / r**4, THIRD / 8),
          lambda z: z * z, mpf(0), mpf("0.8") ** 2, {"f64": 5, "f32": 2}),
    Table("TAN", "tan(r) = r + r**3 P(r**2), |r| <= pi / 4", series(lambda r: (mpmath.tan(r) - r) / r**3, THIRD),
          lambda z: z * mpmath.sqrt(z) / mpmath.tan(mpmath.sqrt(z)) if z else z, mpf(0), mpf("0.8") ** 2,
          {"f64": 14, "f32": 6}),
    Table("ASIN", "arcsin(x) = x + x**3 P(x**2), |x| <= 1/2", series(lambda x: (mpmath.asin(x) - x) / x**3, THIRD / 2),
          lambda z: z, mpf(0), mpf("0.25"), {"f64": 12, "f32": 4}),
    Table("ATAN", "arctan(x) = x + x**3 P(x**2), |x| <= 1", series(lambda x: (mpmath.atan(x) - x) / x**3, -THIRD),
          lambda z: z * mpmath.sqrt(z) / mpmath.atan(mpmath.sqrt(z)) if z else z, mpf(0), mpf(1),
          {"f64": 19, "f32": 8}),
    Table("ATANH", "artanh(s) = s + s**3 P(s**2), |s| <= 0.285", series(lambda s: (mpmath.atanh(s) - s) / s**3, THIRD),
          lambda z: z, mpf(0), mpf("0.285") ** 2, {"f64": 9, "f32": 3}),
    Table("LOG_PAIR", "artanh(s) = s + s**3 / 3 + s**5 P(s**2), |s| <= 0.1716",
          series(lambda s: (mpmath.atanh(s) - s - s**3 / 3) / s**5, mpf(1) / 5), lambda z: z * z, mpf(0),
          mpf("0.1716") ** 2, {"f64": 7, "f32": 4}),
    Table("ERF", "erf(x) = x + x P(x**2), |x| <= 1",
          series(lambda x: mpmath.erf(x) / x - 1, 2 / mpmath.sqrt(mp.pi) - 1),
          lambda z: mpmath.sqrt(z) / mpmath.erf(mpmath.sqrt(z)) if z else mpf(1), mpf(0), mpf("1.001"),
          {"f64": 12, "f32": 6}),
    Table("TAIL", "(1 + 2x) exp(x**2) erfc(x) = 1 + P((x - 4) / (x + 4)), 0 <= x <= 28", tail,
          lambda q: 1 / (1 + tail(q)), mpf(-1), mpf("0.75"), {"f64": 23}),
    Table("SHORT_TAIL", "the same for 0 <= x <= 10.4, where erfc(x) leaves the range of f32", tail,
          lambda q: 1 / (1 + tail(q)), mpf(-1), mpf("0.445"), {"f32": 9, "short": 10}),
    Table("CBRT", "m**(-1/3) = P(m), 1 <= m <= 2", lambda m: m**-THIRD, lambda m: m**THIRD, mpf(1), mpf(2),
          {"f64": 5, "f32": 3}),
)  # fmt: skip


def rounded(x: Any, form: str) -> Any:
    """To the nearest number of a format."""
    with mp.workprec(24 if form == "f32" else 53):
        return +mpf(x)


def remez(values: list[Any], powers: list[list[Any]], weights: list[Any]) -> tuple[Any, list[Any]]:
    """The largest error and the coefficients of sum c_k powers_k. Points with hardly any weight are never chosen."""
    count = len(powers)
    live = [k for k, w in enumerate(weights) if abs(w) > mpf("1e-9")]
    step = mpf(len(live) - 1) / count
    chosen = [live[round(k * step)] for k in range(count + 1)]
    best: tuple[Any, list[Any]] = (mpf("inf"), [])
    for _ in range(ROUNDS):
        matrix = mpmath.matrix(count + 1, count + 1)
        right = mpmath.matrix(count + 1, 1)
        for row, k in enumerate(chosen):
            for column in range(count):
                matrix[row, column] = powers[column][k]
            matrix[row, count] = (-1) ** row / abs(weights[k])
            right[row] = values[k]
        solution = mpmath.lu_solve(matrix, right)
        found = [solution[k] for k in range(count)]
        level = abs(solution[count])
        errors = {k: abs(weights[k]) * (values[k] - mpmath.fdot(found, [p[k] for p in powers])) for k in live}
        worst = max(abs(e) for e in errors.values())
        best = min(best, (worst, found), key=lambda pair: pair[0])
        runs: list[list[int]] = []
        for k in live:
            if runs and (errors[runs[-1][0]] > 0) == (errors[k] > 0):
                runs[-1].append(k)
            else:
                runs.append([k])
        peaks = [max(run, key=lambda k: abs(errors[k])) for run in runs]
        while len(peaks) > count + 1:
            peaks.pop(0 if abs(errors[peaks[0]]) < abs(errors[peaks[-1]]) else -1)
        if len(peaks) < count + 1:
            break
        chosen = peaks
        if worst < level * mpf("1.01"):
            break
    return best


def fit(table: Table, form: str) -> tuple[list[float], Any]:
    """Rounded coefficients from the constant upward, and the largest error on the grid."""
    mp.dps = 40
    middle, radius = (table.low + table.high) / 2, (table.high - table.low) / 2
    points = [middle - radius * mpmath.cos(mp.pi * k / GRID) for k in range(GRID + 1)]
    values = [table.function(z) for z in points]
    weights = [table.weight(z) for z in points]
    powers = [[z**k for z in points] for k in range(table.degrees[form] + 1)]
    fixed: list[Any] = []
    ahead: list[Any] = []
    level, first = mpf(0), 0
    rest = values
    again = 0 if table.low < 0 else 3  # the rounding of later coefficients is never seen
    for k in range(len(powers)):
        if k <= again:
            error, found = remez(rest, powers[k:], weights)
            if k == 0 or error < 4 * level:  # the exchange may fail where only a few powers are left
                level, ahead, first = error, found, k
        fixed.append(rounded(ahead[k - first], form))
        rest = [v - fixed[-1] * p for v, p in zip(rest, powers[k], strict=True)]
    worst = max(abs(w * r) for w, r in zip(weights, rest, strict=True))
    return [float(c) for c in fixed], worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {TARGET.name}")
    parser.add_argument("--only", help="the table of this name")
    options = parser.parse_args()
    lines = [
        '"""Coefficients of polynomials, from the constant upward. Written by scripts/minimax.py; do not edit."""',
        "",
    ]
    for table in TABLES:
        if options.only not in (None, table.name):
            continue
        lines += [f"{table.name} = {{"]
        for form in table.degrees:
            found, worst = fit(table, form)
            print(
                f"{table.name} {form} degree {table.degrees[form]}: largest error 2**{float(mpmath.log(worst, 2)):.1f}"
            )
            lines.append(f'    "{form}": (')
            lines += [f"        {c!r}," for c in found]
            lines.append("    ),")
        lines += ["}", f'"""{table.form}."""']
    if options.write and not options.only:
        TARGET.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
