"""Bytes as people write them."""

from __future__ import annotations

import re

from ..errors import WengertError

UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
         "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}  # fmt: skip


def bytes_in(size: int | float | str) -> int:
    """A number of bytes from a number or a text.

    >>> bytes_in("8MB"), bytes_in("1.5 GiB"), bytes_in(8e6)
    (8000000, 1610612736, 8000000)
    """
    if isinstance(size, str):
        found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?\d+)?)\s*([a-z]*)\s*", size.lower())
        if found is None or found[2] not in UNITS:
            raise WengertError(f"{size!r} is no number of bytes", 'write for instance "8MB", "1.5 GiB" or 8e6')
        return int(float(found[1]) * UNITS[found[2]])
    if isinstance(size, bool) or not isinstance(size, (int, float)) or size < 0:
        raise WengertError(f"{size!r} is no number of bytes", 'write for instance "8MB", "1.5 GiB" or 8e6')
    return int(size)
