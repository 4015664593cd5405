"""Special functions. The references are SciPy's, which is imported when one is first evaluated."""

from __future__ import annotations

import functools
import importlib
import math
from typing import Any

import numpy as np

from .arithmetic import square
from .exponential import exp, inexact_dtype
from .families import Elementwise, elementwise, reals

scipy_special = functools.cache(lambda: importlib.import_module("scipy.special"))
"""SciPy's special functions, imported when first used (it takes longer than wengert itself)."""

SLOPE = 2 / math.sqrt(math.pi)


def rounded(y: Any, x: Any) -> Any:
    """A value in the dtype of the operand, where that is float16, which SciPy's functions do not return."""
    return y.astype(x.dtype) if getattr(x, "dtype", None) == np.float16 else y


class OfScipy(Elementwise, abstract=True):
    """An operation with the name of SciPy's function, which prints as a call of that."""

    def python(self, *operands: Any) -> str:
        return f"scipy.special.{self.name}({', '.join(map(str, operands))})"


erf = elementwise(
    "erf", lambda x: rounded(scipy_special().erf(x), x), lambda x: SLOPE * exp(-square(x)), dtypes=inexact_dtype,
    facts=("odd", "increasing", "zero at zero", "tame"), complex=False, family=OfScipy, scalar=lambda e, x: e.erf(x),
    doc="The error function, 2/sqrt(pi) times the integral of exp(-t**2) from 0 to x (NIST DLMF 7.2.1).",
)  # fmt: skip
erfc = elementwise(
    "erfc", lambda x: rounded(scipy_special().erfc(x), x), lambda x: -SLOPE * exp(-square(x)), dtypes=inexact_dtype,
    facts=("tame",), samples=reals(-2, 2), complex=False, family=OfScipy, scalar=lambda e, x: e.erfc(x),
    doc="1 - erf(x), accurate where erf(x) is near 1 (NIST DLMF 7.2.2).",
)  # fmt: skip
