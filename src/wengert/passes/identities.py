"""The table of algebraic identities. How to read it: `rules.py`. Each row is tested as an identity.

Sources of the exact rows: IEEE 754-2019, sections 5 and 6.3 (signs of zeros): negation is exact and
x + (-y) = x - y; x * 1, x / 1, x - 0.0 and x + -0.0 are x, but -0.0 + 0.0 is 0.0. In complex multiplication
with 1 + 0i, 0 * infinity makes NaNs, so that such rows hold for real numbers only.
"""

from __future__ import annotations

from .rules import kinds, neutral, one_dtype, positive_zero, regular, rule

REAL = kinds("biuf")
FLOAT = kinds("f")
INEXACT = kinds("fc")
INTEGER = kinds("iu")
BOOLEAN = kinds("b")

IDENTITIES = (
    # Neutral elements.
    rule("multiply(x, 1) -> x", [REAL]),
    rule("divide(x, 1) -> x", [REAL]),
    rule("subtract(x, a) -> x", [kinds("iufc"), positive_zero("a")]),
    rule("add(x, a) -> x", [FLOAT, neutral("a")]),
    rule("add(x, 0) -> x", [kinds("biu")]),
    rule("add(x, 0) -> x", [INEXACT], ["zero sign"]),
    rule("logical_and(x, 1) -> x", [one_dtype]),
    rule("logical_or(x, 0) -> x", [one_dtype]),
    rule("logical_and(x, 0) -> 0"),
    rule("logical_or(x, 1) -> 1"),
    rule("where(1, x, y) -> x"),
    rule("where(0, x, y) -> y"),
    rule("where(x, y, y) -> y"),
    rule("f(x, x) -> x", [one_dtype], f="idempotent"),
    # Signs.
    rule("positive(x) -> x"),
    rule("negative(negative(x)) -> x", [one_dtype]),
    rule("add(x, negative(y)) -> subtract(x, y)", [one_dtype]),
    rule("subtract(x, negative(y)) -> add(x, y)", [one_dtype]),
    rule("multiply(x, -1) -> negative(x)", [one_dtype, kinds("if")]),
    rule("subtract(a, x) -> negative(x)", [one_dtype, FLOAT, neutral("a")]),
    rule("subtract(0, x) -> negative(x)", [one_dtype, kinds("i")]),
    rule("subtract(0, x) -> negative(x)", [one_dtype, INEXACT], ["zero sign"]),
    rule("multiply(negative(x), negative(y)) -> multiply(x, y)", [one_dtype, kinds("if")]),
    rule("divide(negative(x), negative(y)) -> divide(x, y)", [one_dtype, FLOAT]),
    rule("multiply(negative(x), a) -> multiply(x, negative(a))", [one_dtype, FLOAT]),
    rule("negative(multiply(x, a)) -> multiply(x, negative(a))", [one_dtype, FLOAT]),
    rule("negative(subtract(x, y)) -> subtract(y, x)", [one_dtype, INEXACT], ["zero sign"]),
    rule("negative(subtract(x, y)) -> subtract(y, x)", [one_dtype, kinds("i")]),
    rule("f(negative(x)) -> f(x)", [FLOAT, one_dtype], f="even"),
    # At 0, |x| has derivative 0 and so |x|^2 second derivative 0; that of x^2 is the true one.
    rule("f(abs(x)) -> f(x)", [FLOAT, one_dtype], ["derivative"], f="even"),
    rule("abs(square(x)) -> square(x)", [FLOAT, one_dtype], ["derivative"]),
    # The same operation twice.
    rule("logical_not(logical_not(x)) -> x", [one_dtype]),
    rule("invert(invert(x)) -> x"),
    rule("conj(conj(x)) -> x"),
    rule("real(conj(x)) -> real(x)"),
    rule("f(f(x)) -> f(x)", f="identity"),
    rule("logical_not(equal(x, y)) -> not_equal(x, y)"),
    rule("logical_not(not_equal(x, y)) -> equal(x, y)"),
    rule("multiply(x, x) -> square(x)", [kinds("iufc"), one_dtype]),
    # The strong product leaves the sign of a zero open; a zero factor wins over an infinite cotangent, so a
    # constant has to be without zeros to make it an ordinary product.
    rule("strong_multiply(1, x) -> x", [REAL]),
    rule("strong_multiply(x, 1) -> x", [REAL]),
    rule("strong_multiply(0, x) -> 0"),
    rule("strong_multiply(a, x) -> multiply(a, x)", [REAL, regular("a")]),
    rule("strong_multiply(x, a) -> multiply(x, a)", [REAL, regular("a")]),
    # Constants together.
    rule("f(f(x, a), b) -> f(x, f(a, b))", [one_dtype, kinds("iu")], f="associative"),
    rule("f(f(x, a), b) -> f(x, f(a, b))", [one_dtype, FLOAT], ["rounding", "nan"], f="associative"),
    # Not exact.
    rule("subtract(x, x) -> 0", [INTEGER]),
    rule("subtract(x, x) -> 0", [INEXACT], ["nan"]),
    rule("divide(x, x) -> 1", [INEXACT, one_dtype], ["nan", "rounding"]),
    rule("multiply(x, 0) -> 0", [kinds("biu")]),
    rule("multiply(x, 0) -> 0", [INEXACT], ["nan", "zero sign"]),
    rule("add(multiply(x, y), multiply(x, z)) -> multiply(x, add(y, z))", [one_dtype], ["rounding", "nan"]),
    rule("divide(multiply(x, y), y) -> x", [one_dtype], ["rounding", "nan"]),
    rule("exp(log(x)) -> x", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("log(exp(x)) -> x", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("multiply(exp(x), exp(y)) -> exp(add(x, y))", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("sqrt(square(x)) -> abs(x)", [FLOAT, one_dtype], ["rounding", "nan", "derivative"]),
    rule("square(sqrt(x)) -> x", [FLOAT, one_dtype], ["rounding", "nan", "derivative"]),
    rule("log(add(x, 1)) -> log1p(x)", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("subtract(exp(x), 1) -> expm1(x)", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("divide(1, add(exp(negative(x)), 1)) -> sigmoid(x)", [FLOAT, one_dtype], ["rounding", "nan"]),
    rule("f(x) -> x", changes=["derivative"], f="identity"),
)  # fmt: skip
