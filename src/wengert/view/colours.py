"""The colours of pictures, by what they stand for, on light and on dark paper."""

from __future__ import annotations

LIGHT = {
    "paper": "#ffffff", "text": "#1b1f24", "muted": "#5b6470", "line": "#7d8794",
    "forward": "#2563a8", "gradient": "#c2410c", "value": "#17653a",
    "input": "#dff3e4", "constant": "#eceef1", "operation": "#f7f9fc", "output": "#e9e2f8",
    "graph": "#dfeafa", "group": "#e6eef9", "backward": "#fdeadd",
}  # fmt: skip

DARK = {
    "paper": "#15181d", "text": "#e8ebef", "muted": "#a2acb8", "line": "#6b7684",
    "forward": "#6cb0f5", "gradient": "#ff9a5c", "value": "#7fd6a0",
    "input": "#1d3a29", "constant": "#2a2f37", "operation": "#20252c", "output": "#352c50",
    "graph": "#1e3350", "group": "#22304a", "backward": "#45291a",
}  # fmt: skip

KINDS = ("input", "constant", "operation", "output", "graph", "group")
"""Kinds of boxes, each with a colour of its name."""
