"""Writes docs/errors.md from the docstrings in src/wengert/errors.py: python scripts/errors_page.py

The messages on the page are those that the examples give. `tests/test_errors.py` runs every example and compares the
page.
"""

from __future__ import annotations

import inspect
import linecache
import re
import textwrap
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import wengert as wg
import wengert.numpy as np
from wengert import errors

PAGE = Path(__file__).parent.parent / "docs" / "errors.md"

HEAD = """\
# Errors and warnings

Every exception and warning that a user can meet, with a program that fails and the same program repaired. A message
says what was asked and what was found, names the line of your program (not a line of the library), and says what to
do. In the programs `wg` is `wengert` and `np` is `wengert.numpy`.

Exceptions are subclasses of `wengert.errors.WengertError` and of the built-in exception that NumPy or Python raises
in such a case, so that `except ValueError` keeps working.

This page is made of the docstrings in `src/wengert/errors.py` and of what the examples really print, by
`python scripts/errors_page.py`. A test runs every example and compares the page.
"""


class Example(NamedTuple):
    """One class of errors with its two programs."""

    error: type[Exception]
    summary: str
    failing: str
    repaired: str


class Outcome(NamedTuple):
    """What a program raised or warned of, where, and the text; None where nothing happened."""

    error: type[BaseException] | None
    text: str
    file: str
    line: int


def examples() -> list[Example]:
    """All classes of `errors.py` but the base, in order."""
    found = []
    for value in vars(errors).values():
        if inspect.isclass(value) and value.__module__ == errors.__name__ and value is not errors.WengertError:
            doc = inspect.getdoc(value) or ""
            summary = doc.split("\n\n")[0]
            found.append(Example(value, " ".join(summary.split()), block(doc, "Failing"), block(doc, "Repaired")))
    return found


def block(doc: str, title: str) -> str:
    """The indented program under `Title::`."""
    found = re.search(rf"^{title}::\n\n((?:    .*\n|\n)+)", doc + "\n", re.MULTILINE)
    return textwrap.dedent(found[1]).strip() + "\n" if found else ""


def run(program: str, file: str = "model.py") -> Outcome:
    """Run a program as if it stood in a file of that name."""
    linecache.cache[file] = (len(program), None, program.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"wg": wg, "np": np, "__name__": "model"}
    try:
        with warnings.catch_warnings(record=True) as given:
            warnings.simplefilter("always")
            exec(compile(program, file, "exec"), scope)
    except Exception as error:
        source = getattr(error, "source", None)
        return Outcome(type(error), str(error), source.file if source else "", source.line if source else 0)
    finally:
        del linecache.cache[file]
    if given:
        return Outcome(given[0].category, str(given[0].message), given[0].filename, given[0].lineno)
    return Outcome(None, "", "", 0)


def page() -> str:
    """The text of docs/errors.md."""
    parts = [HEAD]
    for error, summary, failing, repaired in examples():
        bases = [base.__name__ for base in error.__bases__ if base is not errors.WengertError]
        outcome = run(failing)
        shown = f"{outcome.error.__name__}: {outcome.text}" if outcome.error else "nothing"
        if issubclass(error, Warning):
            shown = f"{outcome.file}:{outcome.line}: {shown}"
        parts.append(
            f"## {error.__name__}\n\n{summary} Also a `{'`, `'.join(bases)}`.\n\n"
            f"Failing:\n\n```python\n{failing}```\n\n```text\n{textwrap.dedent(shown)}\n```\n\n"
            f"Repaired:\n\n```python\n{repaired}```\n"
        )
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
