"""Schedules of checkpoints: against Griewank and Walther's formulas, and by playing them."""

from __future__ import annotations

import itertools
import math

import pytest

from wengert.transforms.schedule import (
    Again,
    Chain,
    Repeat,
    Steps,
    logarithmic,
    nested,
    reach,
    repeats_needed,
    revolve,
    square_root,
    with_states,
    within,
)


def play(schedule, start=0):
    """Run a schedule as reverse mode does: steps in the order of derivatives, steps run, most states held."""
    run = 0
    order = []
    most = 0

    def forward(part):
        nonlocal run
        run += part.steps

    def sweep(part, at, held):
        """The derivative of a part whose first state is held; forward has been run by the caller (but for Steps)."""
        nonlocal most
        if isinstance(part, Steps):
            most = max(most, held + 1)
            order.extend(range(at + part.steps - 1, at - 1, -1))
        elif isinstance(part, Again):
            begin(part.part)
            sweep(part.part, at, held)
        elif isinstance(part, Repeat):
            for k in range(part.count - 1, -1, -1):
                begin(part.part)
                sweep(part.part, at + k * part.part.steps, held + k)
        else:
            starts = list(itertools.accumulate((p.steps for p in part.parts), initial=at))
            holds, before = [], 0  # the first part starts from the state that is held already
            for k, p in enumerate(part.parts):
                own = int(k > 0 and not isinstance(p, Steps))
                holds.append(before + own)
                before += own + (p.count if isinstance(p, Repeat) else 0)
            for p, begins, more in reversed(list(zip(part.parts, starts, holds, strict=False))):
                sweep(p, begins, held + more)

    def begin(part):
        """The run of a part that is about to be differentiated."""
        forward(part)

    begin(schedule)
    sweep(schedule, 0, 1)
    return order, run, most


@pytest.mark.parametrize("states", [2, 3, 5, 10])
@pytest.mark.parametrize("steps", [1, 2, 7, 10, 50, 200])
def test_revolve_is_optimal(steps, states):
    """Griewank and Walther: r n - (p + r over r - 1) steps are run again, r the least with (p + r over r) >= n."""
    made = revolve(steps, states)
    r = repeats_needed(steps, states)
    order, run, most = play(made)
    assert order == list(range(steps - 1, -1, -1))
    assert run == made.runs() == steps + (r * steps - math.comb(states + r, r - 1) if r else 0)
    assert most <= states + 2  # a loop of segments keeps the first state a second time


@pytest.mark.parametrize("steps", [1, 3, 10, 100, 1000, 12345])
def test_square_root_and_logarithm(steps):
    for made in (square_root(steps), logarithmic(steps)):
        order, run, _ = play(made)
        assert order == list(range(steps - 1, -1, -1))
        assert run == made.runs()
    assert square_root(steps).runs() <= 2 * steps
    assert square_root(steps).cost(1, 1) <= 3 * math.sqrt(steps) + 3
    assert logarithmic(steps).cost(1, 1) <= 8 * math.log2(steps + 1) + 8
    assert logarithmic(steps).runs() <= steps * (2 + math.log(steps, 4))


@pytest.mark.parametrize("budget", [1e6, 1e5, 2e4, 5e3])
@pytest.mark.parametrize(("state", "step"), [(100, 100), (8, 800), (800, 8)])
def test_budgets_are_kept(budget, state, step):
    steps = 5000
    made = within(steps, state, step, budget)
    if made is None:
        assert budget < step + 4 * state + 12 * state
        return
    assert made.steps == steps
    assert made.cost(state, step) <= budget
    order, run, _ = play(made)
    assert order == list(range(steps - 1, -1, -1))
    assert run == made.runs()


def test_more_memory_never_takes_more_runs():
    runs = [within(3000, 10, 10, budget).runs() for budget in (300, 1000, 3000, 10_000, 40_000)]
    assert runs == sorted(runs, reverse=True)
    assert runs[-1] == 3000


def test_numbers_of_states():
    for states in (4, 7, 20, 100):
        made = with_states(1000, states)
        assert made.steps == 1000
        assert made.cost(1, 1) <= states + 1
    assert reach(3, 2) == 10
    assert nested(7, 0, 3) == Steps(7)
    with pytest.raises(ValueError, match="need a state"):
        revolve(2, 0)
    assert isinstance(revolve(3, 2), Chain)
