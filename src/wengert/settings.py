"""The few settings: read as attributes of `settings`, changed for a block with `with settings(name=value):`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


class Count:
    """A number that tells somebody when it changes."""

    def __init__(self) -> None:
        self.tell: Callable[[int], None] = lambda number: None
        self._value = 0

    @property
    def value(self) -> int:
        return self._value

    @value.setter
    def value(self, number: int) -> None:
        self._value = number
        self.tell(number)


unusual = Count()
"""How many settings differ from what they are at first, in all threads: while this is not 0, compiled functions are
called through Python, which looks at the settings."""
_counting = threading.Lock()


class Settings(threading.local):
    """Per-thread settings.

    strong_zero : an exact zero in the product of a cotangent (or tangent) with a local derivative wins over
        an infinity, and a zero cotangent over a NaN, so that a masked branch of `where` or `sqrt(sum(x**2))`
        at 0 has the derivative one expects. False gives strict IEEE products.
    degenerate : what the derivative of eigenvectors and singular vectors does for equal values:
        "limit" gives the derivative that exists and warns if it does not; "nan" gives strict NaN.
    """

    strong_zero: bool = True
    degenerate: str = "limit"

    def __setattr__(self, name: str, value: Any) -> None:
        usual = getattr(type(self), name, value)
        before = getattr(self, name, usual)
        super().__setattr__(name, value)
        with _counting:
            unusual.value += int(value != usual) - int(before != usual)

    @contextmanager
    def __call__(self, **changes: Any) -> Iterator[Settings]:
        """Change settings inside a `with` block, in this thread only.

        >>> import wengert as wg
        >>> with wg.settings(strong_zero=False):
        ...     wg.settings.strong_zero
        False
        """
        for name in changes:
            if name not in type(self).__annotations__:
                raise AttributeError(f"no setting {name!r}; there are {sorted(type(self).__annotations__)}")
        before = {name: getattr(self, name) for name in changes}
        for name, value in changes.items():
            setattr(self, name, value)
        try:
            yield self
        finally:
            for name, value in before.items():
                setattr(self, name, value)


settings = Settings()
