"""The primitives that docs/add_a_primitive.md declares keep every law."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ops import test_every_primitive as laws

from wengert.graph.primitive import registry

PAGE = Path(__file__).parent.parent.parent / "docs" / "add_a_primitive.md"
LAWS = [law for name, law in vars(laws).items() if name.startswith("test_") and "complex" not in name]


@pytest.fixture(scope="module")
def names() -> Iterator[list[str]]:
    """What the page declares, registered while the tests of this file run."""
    before = set(registry)
    scope: dict[str, object] = {}
    for example in doctest.DocTestParser().get_examples(PAGE.read_text()):
        if example.source.lstrip().startswith(("import", "from", "class", "def ", "softsign =", "tridiagonal =")):
            exec(compile(example.source, str(PAGE), "exec"), scope)
    added = sorted(set(registry) - before)
    yield added
    for name in added:
        del registry[name]


@pytest.mark.parametrize("law", LAWS)
def test_declarations_on_the_page(law, names: list[str]) -> None:
    assert names == ["moving_sum", "softsign", "tridiagonal_solve"]
    for name in names:
        law(name)


def test_complex_numbers_are_refused(names: list[str]) -> None:
    laws.test_complex_operands_are_refused_where_they_have_no_rule("softsign")
