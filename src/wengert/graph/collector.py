"""Rest for Python's collector of cycles while graphs are made.

A trace makes hundreds of thousands of objects that stay. Each time their number has grown by a part, the collector
looks through all of them, for nothing: that takes as long as the trace itself.
"""

from __future__ import annotations

import gc
import threading
from typing import Any

_lock = threading.Lock()
_depth = 0
_was_on = False


class Paused:
    """Context in which no cycles are looked for, in any thread; contexts may be inside each other."""

    def __enter__(self) -> None:
        global _depth, _was_on
        with _lock:
            if not _depth:
                _was_on = gc.isenabled()
                gc.disable()
            _depth += 1

    def __exit__(self, *failure: Any) -> None:
        global _depth
        with _lock:
            _depth -= 1
            if not _depth and _was_on:
                gc.enable()
