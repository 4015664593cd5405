"""How other libraries meet a tensor: the array API's namespace, DLPack, devices."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np

from ..graph.tensor import Tensor
from .methods import attach


def namespace(self: Tensor, *, api_version: str | None = None) -> ModuleType:
    """`wengert.numpy`, as the array API standard asks."""
    return sys.modules[__package__]


def dlpack(self: Tensor, **options: Any) -> Any:
    """The numbers for another library, cut from the graph; `ConcretizationError` where there are none."""
    return np.asarray(self._concrete("memory", "__dlpack__()")).__dlpack__(**options)


def dlpack_device(self: Tensor) -> Any:
    """The CPU."""
    return np.empty(0).__dlpack_device__()


attach(
    __array_namespace__=namespace,
    __dlpack__=dlpack,
    __dlpack_device__=dlpack_device,
    device=property(lambda self: "cpu"),
    to_device=lambda self, device, *, stream=None: self,
    itemsize=property(lambda self: self.dtype.itemsize),
    nbytes=property(lambda self: self.dtype.itemsize * self.size),
)
