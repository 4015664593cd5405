"""NumPy's complaints as errors of ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import IndexOutOfBoundsError, SingularMatrixError, WengertError
from ..graph.interpreter import type_of_value
from ..graph.primitive import Primitive
from ..source import here


def explain(primitive: Primitive, values: Sequence[Any], error: Exception) -> Exception:
    """NumPy's complaint about an operation as one of ours, with types, the user's line and the repair."""
    types = [type_of_value(value) for value in values]
    try:
        primitive.type(*types)
    except WengertError as better:
        return better
    text = f"{primitive.name} of {', '.join(map(str, types))}: {error}"
    for kind, ours in _TRANSLATION:
        if isinstance(error, kind):
            return ours(text, "check the operands on this line", here(3))
    return WengertError(text, "check the operands on this line", here(3))


_TRANSLATION: tuple[tuple[type[Exception], type[WengertError]], ...] = (
    (np.linalg.LinAlgError, SingularMatrixError),
    (IndexError, IndexOutOfBoundsError),
)
