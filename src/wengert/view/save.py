"""Writing a picture to a file."""

from __future__ import annotations

import os
from pathlib import Path


def saved(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text, also written to a file if one is named. Characters that UTF-8 has no place for become "?"."""
    if path is not None:
        Path(path).write_text(text, "utf-8", errors="replace")
    return text
