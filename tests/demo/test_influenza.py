import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import least_squares

import wengert as wg
from wengert.demo import influenza
from wengert.demo.influenza import COUNTS, DAYS, IN_BED, POPULATION, TEXTBOOK, Model


def plausible(model, seed=0):
    changes = 0.5 * np.random.default_rng(seed).normal(size=model.size - 3)
    return np.concatenate([np.log([0.4, 2.0, 1.4]), changes])


def by_scipy(unknowns, model):
    """The same model integrated by SciPy to high accuracy."""
    gamma, first, start = np.exp(unknowns[:3])
    log_beta = np.log(start) + np.concatenate([[0.0], np.cumsum(model.daily_change * unknowns[3:])])
    log_beta = np.broadcast_to(log_beta, DAYS) if model.varying else np.full(DAYS, np.log(start))
    k = model.stages

    def slope(t, state):
        infections = np.exp(np.interp(t, np.arange(DAYS), log_beta)) * state[0] * state[1:].sum() / POPULATION
        left = k * gamma * state[1:]
        return np.concatenate([[-infections], np.concatenate([[infections], left[:-1]]) - left])

    state, states = np.concatenate([[POPULATION - first, first], np.zeros(k - 1)]), []
    # Day by day: beta has a kink at every midnight.
    for day in range(DAYS - 1):
        states.append(state)
        state = solve_ivp(slope, (day, day + 1), state, rtol=1e-10, atol=1e-10).y[:, -1]
    states = np.array([*states, state])
    return np.concatenate([states[:, 1:].sum(axis=1), [POPULATION - state[0]]])


@pytest.mark.parametrize("model", [Model(), TEXTBOOK, Model(stages=2)])
def test_the_simulation_solves_the_differential_equations(model):
    unknowns = plausible(model)
    assert influenza.counts(unknowns, model) == pytest.approx(by_scipy(unknowns, model), rel=1e-3, abs=0.03)


def test_smaller_steps_come_closer_at_fourth_order():
    unknowns = plausible(Model())
    exact = by_scipy(unknowns, Model())
    errors = [np.abs(influenza.counts(unknowns, Model(steps=steps)) - exact).max() for steps in (2, 4)]
    assert 10 < errors[0] / errors[1] < 26


def test_nobody_appears_or_vanishes():
    model = Model()
    log_beta, gamma, first = influenza.unpack(plausible(model), model)
    states = influenza.simulate(log_beta, gamma, first, model)
    assert states.shape == (13 * model.steps, 4)
    recovered = POPULATION - states.sum(axis=1)
    assert np.all(states > 0) and np.all(np.diff(recovered) > 0) and np.all(np.diff(states[:, 0]) < 0)


def test_interpolation_follows_straight_lines_between_days():
    values = np.random.default_rng(0).normal(size=DAYS)
    times = np.arange(26)[:, None] / 2 + np.array([0, 0.25, 0.5])
    assert np.allclose(influenza.interpolation(2) @ values, np.interp(times, np.arange(DAYS), values))


@pytest.mark.parametrize("model", [Model(), TEXTBOOK])
def test_the_gradient_through_the_simulation_is_the_slope(model):
    unknowns = plausible(model)
    graph, value_and_grad = influenza.graphs(model)
    value, gradient = value_and_grad(unknowns)
    assert value == pytest.approx(graph(unknowns)) == pytest.approx(influenza.objective(unknowns, model))
    generator = np.random.default_rng(1)
    for _ in range(3):
        direction, h = generator.normal(size=model.size), 1e-5
        up, down = (influenza.objective(unknowns + step * direction, model) for step in (h, -h))
        assert gradient @ direction == pytest.approx((up - down) / (2 * h), rel=1e-6)


def test_the_graphs_hold_the_simulation_as_one_loop():
    graph, value_and_grad = influenza.graphs(Model())
    assert [node.primitive.name for node in graph.nodes].count("scan") == 1
    assert not any(node.backward for node in graph.nodes)
    assert any(node.backward for node in value_and_grad.nodes)
    assert {node.source.file for node in graph.all_nodes()} == {influenza.__file__}
    wg.verify(graph)
    wg.verify(value_and_grad)


def test_the_textbook_fit_is_the_least_squares_fit_of_scipy():
    fit = influenza.fit(TEXTBOOK)
    found = least_squares(
        lambda unknowns: 2 * (np.sqrt(by_scipy(unknowns, TEXTBOOK)) - np.sqrt(COUNTS)), influenza.guess(TEXTBOOK)
    )
    gamma, first, beta = np.exp(found.x)
    assert fit.gamma == pytest.approx(gamma, rel=1e-3)
    assert fit.first == pytest.approx(first, rel=1e-3)
    assert fit.beta == pytest.approx(np.full(DAYS, beta), rel=1e-3)
    assert fit.objective == pytest.approx(found.cost, rel=1e-3)
    assert fit.r0 == pytest.approx(beta / gamma, rel=1e-3)
    assert fit.rmse == pytest.approx(np.sqrt(np.mean((by_scipy(found.x, TEXTBOOK)[:-1] - IN_BED) ** 2)), rel=1e-3)
    # The spread of log beta from SciPy's finite-difference Jacobian.
    deviation = np.sqrt(np.linalg.inv(found.jac.T @ found.jac)[2, 2])
    assert np.log(fit.high / fit.beta) == pytest.approx(np.full(DAYS, 1.96 * deviation), rel=1e-2)


def test_a_fit_that_is_cut_short_still_goes_down_and_reports():
    seen = []
    fit = influenza.fit(Model(), iterations=5, watch=lambda history: seen.append(list(history)))
    assert len(fit.history) == 5 and seen[-1] == fit.history
    assert np.all(np.diff(fit.history) < 0) and fit.history[-1] == fit.objective
    assert np.all((fit.low < fit.beta) & (fit.beta < fit.high))
    daily = np.isclose(fit.fine_days % 1, 0)
    assert fit.fine_in_bed[daily] == pytest.approx(fit.in_bed, rel=1e-3, abs=0.05)
    assert fit.reproduction[0] == pytest.approx(fit.r0 * (1 - fit.first / POPULATION))
