"""The discrete Fourier transform along one axis, from which `wengert.numpy.fft` makes all others.

The transform is the product with the symmetric matrix exp(-2 pi i j k / n), so it is its own transpose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import DtypeError, ShapeError
from ..graph.interpreter import bind
from ..graph.primitive import Sample
from ..graph.types import ArrayType
from .arithmetic import real
from .families import Linear
from .shape import canonical_axis


class Fourier(Linear):
    """y[k] = sum over j of x[j] exp(-2 pi i j k / n) along an axis, +2 pi i if `inverse`; neither is divided by n."""

    name = "fourier"
    params = ("axis", "inverse")

    def type(self, x: ArrayType) -> ArrayType:
        axis = canonical_axis(self.axis, x.ndim, self.name)
        if x.dtype.kind not in "fc":
            raise DtypeError(f"{self.name} of {x}", "convert it to floating-point or complex numbers")
        if x.shape[axis] == 0:
            raise ShapeError(f"{self.name} along axis {axis} of {x}, which is empty", "give at least one point")
        return ArrayType(x.shape, np.result_type(x.dtype, np.complex64))

    def numpy(self, x: Any) -> Any:
        return np.fft.ifft(x, axis=self.axis, norm="forward") if self.inverse else np.fft.fft(x, axis=self.axis)

    def transpose(self, ct: Any, operands: Sequence[Any], linear: Sequence[bool]) -> Sequence[Any]:
        transformed = fourier(ct, self.axis, self.inverse)
        return (transformed if operands[0].dtype.kind == "c" else real(transformed),)

    def batch(self, operands: Sequence[Any], axes: Sequence[int | None]) -> tuple[Any, Any]:
        at = axes[0] or 0
        return fourier(operands[0], self.axis + (self.axis >= at), self.inverse), at

    @classmethod
    def samples(cls, rng: np.random.Generator) -> Iterator[Sample]:
        for shape, axis, inverse in (((5,), 0, False), ((4, 3), 0, True), ((2, 6), 1, False), ((0, 3), 1, False)):
            yield cls(axis, inverse), (rng.normal(size=shape) + 1j * rng.normal(size=shape),)
        yield cls(0, False), (rng.normal(size=(4, 2)),)


def fourier(x: Any, axis: int, inverse: bool = False) -> Any:
    """The transform of complex numbers along an axis counted from the front, not divided by its length."""
    return bind(Fourier.of(axis, inverse), x)
