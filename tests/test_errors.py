"""The examples of every error fail and succeed as they say, and docs/errors.md is made of them."""

from __future__ import annotations

import copy
import importlib.util
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest

from wengert import errors

SCRIPT = Path(__file__).parent.parent / "scripts" / "errors_page.py"


def load() -> Any:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("errors_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


errors_page = load()
EXAMPLES = errors_page.examples()
each_example = pytest.mark.parametrize("example", EXAMPLES, ids=[example.error.__name__ for example in EXAMPLES])


def test_every_class_has_both_programs() -> None:
    assert len(EXAMPLES) > 15
    assert all(example.summary and example.failing and example.repaired for example in EXAMPLES)


@each_example
def test_the_failing_program_fails_and_says_where_and_what_to_do(example: Any) -> None:
    outcome = errors_page.run(example.failing, "/home/user/model.py")
    assert outcome.error is example.error
    assert outcome.file == "/home/user/model.py"
    assert 1 <= outcome.line <= example.failing.count("\n")
    if issubclass(example.error, Warning):
        assert "; " in outcome.text, "a warning says what to do after the semicolon"
        return
    line = example.failing.splitlines()[outcome.line - 1].strip()
    assert f"where:  /home/user/model.py:{outcome.line}, in " in outcome.text
    assert line in outcome.text
    repair = outcome.text.partition("  repair: ")[2]
    assert len(repair.split()) >= 2


@each_example
def test_the_repaired_program_runs(example: Any) -> None:
    outcome = errors_page.run(example.repaired)
    assert outcome.error is None, outcome.text


@each_example
def test_errors_are_also_those_of_python(example: Any) -> None:
    """`except ValueError` and the like keep working."""
    if issubclass(example.error, Warning):
        assert issubclass(example.error, UserWarning)
    else:
        assert issubclass(example.error, errors.WengertError)
        assert len(example.error.__mro__) > len(errors.WengertError.__mro__) + 1


def test_the_page_is_up_to_date() -> None:
    assert errors_page.PAGE.read_text() == errors_page.page(), "run: python scripts/errors_page.py"


def test_errors_survive_pickling() -> None:
    """They cross process boundaries (pytest-xdist, multiprocessing) with their text."""
    for example in EXAMPLES:
        if issubclass(example.error, errors.WengertError):
            error = example.error("asked and found", "do this")
            for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
                assert type(twin) is example.error
                assert str(twin) == str(error)
