"""Arguments that the fast code of a function cannot do, handed to the C library without spoiling the vectors.

A branch in a loop would keep LLVM from vectorising it. So `rescue(x, fast)` is written as a call of a function that is
only declared, together with versions for vectors of 2 to 16 lanes, which the attribute "vector-function-abi-variant"
tells the vectoriser of. After the loops are vectorised, the definitions of these functions are linked in and inlined
everywhere: they test whether any lane asks for the C library (one comparison and one branch, practically never taken)
and call it for such lanes only.
"""

from __future__ import annotations

import itertools
import re

from .mathematics_trigonometric import LIMIT

TYPES = {"f64": "double", "f32": "float"}
NAMES = ("sin", "cos", "tan")
LANES = (2, 4, 8, 16)
"""Of the vectors that there are versions for."""
USE = re.compile(r"call \w+ @wengert\.(\w+)\.(f32|f64)\(")


def attribute(name: str, dtype: str) -> str:
    """What stands at a call, so that the vectoriser finds the versions for vectors."""
    variants = ",".join(f"_ZGV_LLVM_N{n}vv_wengert.{name}.{dtype}(wengert.{name}.{dtype}.{n})" for n in LANES)
    return f'"vector-function-abi-variant"="{variants}"'


def _declarations() -> frozenset[str]:
    lines, kept = set(), []
    for name, dtype in itertools.product(NAMES, TYPES):
        t = TYPES[dtype]
        lines.add(f"declare {t} @wengert.{name}.{dtype}({t}, {t}) nounwind willreturn memory(none)")
        for n in LANES:
            v = f"<{n} x {t}>"
            lines.add(f"declare {v} @wengert.{name}.{dtype}.{n}({v}, {v}) nounwind willreturn memory(none)")
            kept.append(f"ptr @wengert.{name}.{dtype}.{n}")
    used = f'appending global [{len(kept)} x ptr] [{", ".join(kept)}], section "llvm.metadata"'
    return frozenset(lines | {f"@llvm.compiler.used = {used}"})


DECLARATIONS = _declarations()
"""Lines for a module that calls any of the functions; one keeps LLVM from dropping them before they are used."""


def definitions(text: str) -> str:
    """The functions that a module's text calls, as a module of their own; empty if there are none."""
    used = sorted(set(USE.findall(text)))
    lines = []
    for name, dtype in used:
        lines += [_scalar(name, dtype), _lanes(name, dtype), *(_vector(name, dtype, n) for n in LANES)]
    if lines:
        dtypes = sorted({d for _, d in used})
        lines += [f"declare {TYPES[d]} @llvm.fabs.{d}({TYPES[d]})" for d in dtypes]
        lines += [f"declare <{n} x {TYPES[d]}> @llvm.fabs.v{n}{d}(<{n} x {TYPES[d]}>)" for d in dtypes for n in LANES]
        lines += [f"declare {TYPES[d]} @{_library(name, d)}({TYPES[d]})" for name, d in used]
        lines.append('!0 = !{!"branch_weights", i32 1, i32 1000000}')
    return "\n".join(lines)


def _library(name: str, dtype: str) -> str:
    return name + ("f" if dtype == "f32" else "")


def _scalar(name: str, dtype: str) -> str:
    t = TYPES[dtype]
    return f"""
define available_externally {t} @wengert.{name}.{dtype}({t} %x, {t} %fast) alwaysinline nounwind {{
  %size = call {t} @llvm.fabs.{dtype}({t} %x)
  %far = fcmp ogt {t} %size, {LIMIT[dtype]:.1f}
  br i1 %far, label %slow, label %done, !prof !0
slow:
  %called = call {t} @{_library(name, dtype)}({t} %x)
  br label %done
done:
  %result = phi {t} [ %fast, %0 ], [ %called, %slow ]
  ret {t} %result
}}"""


def _lanes(name: str, dtype: str) -> str:
    """One lane after the other, in memory."""
    t = TYPES[dtype]
    return f"""
define internal void @wengert.{name}.{dtype}.lanes(ptr %xs, ptr %results, i64 %count) noinline cold nounwind {{
entry:
  br label %loop
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %px = getelementptr inbounds {t}, ptr %xs, i64 %i
  %pr = getelementptr inbounds {t}, ptr %results, i64 %i
  %x = load {t}, ptr %px
  %fast = load {t}, ptr %pr
  %result = call {t} @wengert.{name}.{dtype}({t} %x, {t} %fast)
  store {t} %result, ptr %pr
  %next = add nuw nsw i64 %i, 1
  %more = icmp slt i64 %next, %count
  br i1 %more, label %loop, label %done
done:
  ret void
}}"""


def _vector(name: str, dtype: str, n: int) -> str:
    t, v, bits = TYPES[dtype], f"<{n} x {TYPES[dtype]}>", f"v{n}{dtype}"
    return f"""
define available_externally {v} @wengert.{name}.{dtype}.{n}({v} %x, {v} %fast) alwaysinline nounwind {{
  %xs = alloca {v}
  %results = alloca {v}
  %size = call {v} @llvm.fabs.{bits}({v} %x)
  %far = fcmp ogt {v} %size, splat ({t} {LIMIT[dtype]:.1f})
  %mask = bitcast <{n} x i1> %far to i{n}
  %any = icmp ne i{n} %mask, 0
  br i1 %any, label %slow, label %done, !prof !0
slow:
  store {v} %x, ptr %xs
  store {v} %fast, ptr %results
  call void @wengert.{name}.{dtype}.lanes(ptr %xs, ptr %results, i64 {n})
  %found = load {v}, ptr %results
  br label %done
done:
  %result = phi {v} [ %fast, %0 ], [ %found, %slow ]
  ret {v} %result
}}"""
