"""`stop_gradient`: the identity that derivatives do not pass."""

from __future__ import annotations

from typing import Any

from ..graph.trees import tree_map
from .families import elementwise


def _same(x: Any) -> Any:
    return x


_stop = elementwise(
    "stop_gradient", _same, facts=("identity",), scalar=lambda e, x: x,
    doc="x, with derivative 0",
)  # fmt: skip


def stop_gradient(tree: Any) -> Any:
    """The same values, cut out of every derivative (forward and reverse, any order).

    Parameters
    ----------
    tree : an array, a number, or a container of them.

    Example
    -------
    >>> import wengert as wg
    >>> wg.grad(lambda x: wg.stop_gradient(x) * x)(3.0)
    np.float64(3.0)
    """
    return tree_map(_stop, tree)
