"""`show`: a page in a temporary file, opened in the browser where there is one."""

from __future__ import annotations

import os
import sys
import tempfile
import webbrowser
from pathlib import Path

from ..graph.graph import Graph
from .html import to_html


def show(graph: Graph, path: str | os.PathLike[str] | None = None, *, group: str = "auto") -> Path:
    """Write the graph's page to a file, open it in the default browser, and return the file's path.

    path : the file to write; by default a new temporary one, which stays so that the browser can reload it.
    group : as for `to_html`.

    Where no browser can be opened (no screen, no browser, none that answers) only the file is written.
    """
    if path is None:
        safe = "".join(char if char.isalnum() and char.isascii() else "-" for char in graph.name)[:40]
        handle, name = tempfile.mkstemp(prefix=f"wengert-{safe}-", suffix=".html")
        os.close(handle)
        path = name
    file = Path(path).absolute()
    to_html(graph, file, group=group)
    if has_screen():
        try:
            webbrowser.open(file.as_uri())
        except (webbrowser.Error, OSError):
            # A browser that cannot be started is no reason to lose the page.
            pass
    return file


def has_screen() -> bool:
    """Whether a browser window could appear. Without a screen `webbrowser` may start a text browser and wait."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))
