"""Random programs of every kind: compiled equals evaluated; values, gradients and batches of gradients."""

from __future__ import annotations

import pytest

from wengert.testing import random_program
from wengert.testing.differential import check_compiled

FEW = range(40)
MANY = range(1000, 1300)
BLOCK = 25


@pytest.mark.parametrize("seed", FEW)
def test_compiled_is_evaluated(seed):
    check_compiled(random_program(seed), batch=seed % 4 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", MANY[::BLOCK])
def test_many_compiled_are_evaluated(first):
    for seed in range(first, first + BLOCK):
        check_compiled(random_program(seed, lines=10), batch=seed % 10 == 0)
