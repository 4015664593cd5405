"""What every test runs under: stricter than use (warnings are errors, see pyproject.toml) and repeatable."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from wengert.graph import interpreter
from wengert.settings import Settings, settings

# No test opens a window.
os.environ.setdefault("MPLBACKEND", "Agg")
# Compiled programs of tests do not go into the user's cache, nor come from it.
os.environ.setdefault("WENGERT_CACHE", "")

# Hypothesis: no deadline (machines differ), and the same examples in every run unless one asks for new ones
# with `--hypothesis-profile=search`.
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.register_profile("search", deadline=None, max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("repeatable")


def _settings_now() -> dict[str, object]:
    return {name: getattr(settings, name) for name in Settings.__annotations__}


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After every test, failed calls included, no interpreter is at work and the settings are as before."""
    before = _settings_now()
    yield
    left = list(interpreter.state.stack)
    interpreter.state.stack.clear()  # one test that leaves something behind fails, not all those after it
    assert not left, f"interpreters left at work: {left}"
    after = _settings_now()
    for name, value in before.items():
        setattr(settings, name, value)
    assert after == before
