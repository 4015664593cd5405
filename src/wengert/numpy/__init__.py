"""NumPy's names, on plain arrays at NumPy's speed and on traced values in the graph.

`import wengert.numpy as np` replaces `import numpy as np`. A name of NumPy that is not defined here is NumPy's
own: it works on plain arrays, and on a traced value raises `UnsupportedError`.
"""

import numpy as _numpy
from numpy import (  # noqa: F401
    bool_,
    complex64,
    complex128,
    complexfloating,
    dtype,
    e,
    euler_gamma,
    eye,
    finfo,
    float16,
    float32,
    float64,
    floating,
    fromfunction,
    generic,
    identity,
    iinfo,
    index_exp,
    indices,
    inexact,
    inf,
    int8,
    int16,
    int32,
    int64,
    integer,
    intp,
    ix_,
    ndarray,
    newaxis,
    number,
    pi,
    s_,
    tri,
    ufunc,
    uint8,
    uint16,
    uint32,
    uint64,
)  # fmt: skip

from . import fft, linalg  # noqa: F401
from . import protocols as _protocols  # noqa: F401
from . import special as _special  # noqa: F401
from .convolving import *  # noqa: F403
from .creation import *  # noqa: F403
from .cumulative import *  # noqa: F403
from .elementwise import (  # noqa: F401
    abs,
    absolute,
    acos,
    acosh,
    add,
    arccos,
    arccosh,
    arcsin,
    arcsinh,
    arctan,
    arctan2,
    arctanh,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bitwise_and,
    bitwise_invert,
    bitwise_left_shift,
    bitwise_not,
    bitwise_or,
    bitwise_right_shift,
    bitwise_xor,
    cbrt,
    ceil,
    conj,
    conjugate,
    copysign,
    cos,
    cosh,
    deg2rad,
    degrees,
    divide,
    equal,
    exp,
    exp2,
    expm1,
    float_power,
    floor,
    floor_divide,
    fmax,
    fmin,
    fmod,
    gcd,
    greater,
    greater_equal,
    heaviside,
    hypot,
    invert,
    isfinite,
    isinf,
    isnan,
    lcm,
    left_shift,
    less,
    less_equal,
    log,
    log1p,
    log2,
    log10,
    logaddexp,
    logaddexp2,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    multiply,
    negative,
    nextafter,
    not_equal,
    positive,
    pow,
    power,
    rad2deg,
    radians,
    reciprocal,
    remainder,
    right_shift,
    rint,
    sign,
    signbit,
    sin,
    sinh,
    sqrt,
    square,
    subtract,
    tan,
    tanh,
    true_divide,
    trunc,
)  # fmt: skip
from .indexing import *  # noqa: F403
from .joining import *  # noqa: F403
from .moments import *  # noqa: F403
from .nan import *  # noqa: F403
from .pointwise import *  # noqa: F403
from .products import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shaping import *  # noqa: F403
from .sorting import *  # noqa: F403
from .writing import *  # noqa: F403

nan = _numpy.nan  # the module `nan` beside this one has that name too

__all__ = sorted(name for name in globals() if not name.startswith("_") and hasattr(_numpy, name))


def __getattr__(name: str) -> object:
    """NumPy's own for every name that is not defined here."""
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(_numpy, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(_numpy)})
