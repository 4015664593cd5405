"""SciPy's special functions on traced values: `scipy.special.erf(x)` and others dispatch here.

They are known by name, since importing SciPy takes longer than importing wengert.
"""

from __future__ import annotations

from ..ops import arithmetic, exponential, special
from .convert import as_operand
from .dispatch import by_name

for _name, _primitive in {
    "erf": special.erf,
    "erfc": special.erfc,
    "expit": exponential.sigmoid,
    "softplus": exponential.softplus,
    "expm1": exponential.expm1,
    "log1p": exponential.log1p,
    "exp2": exponential.exp2,
    "cbrt": arithmetic.cbrt,
}.items():
    by_name[_name] = lambda *operands, own=_primitive: own(*map(as_operand, operands))
