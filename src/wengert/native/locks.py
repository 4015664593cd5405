"""Locks that do not outlive a fork: the thread that held one is not there in the new process."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class Lock:
    """A lock that its holder may take again, and that a forked process finds open."""

    def __init__(self) -> None:
        self.inner = threading.RLock()
        every.add(self)

    def __enter__(self) -> None:
        self.inner.acquire()

    def __exit__(self, *failure: Any) -> None:
        self.inner.release()


every: weakref.WeakSet[Lock] = weakref.WeakSet()


def renew() -> None:
    """After a fork, in the new process."""
    for lock in every:
        lock.inner = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew)
