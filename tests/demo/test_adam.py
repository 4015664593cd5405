import numpy as np
import pytest

from wengert.demo.adam import Adam


def test_the_first_step_is_as_long_as_the_rate_whatever_the_gradient():
    moved = Adam().step({"w": np.zeros(3)}, {"w": np.array([1e-3, -1.0, 1e3])}, rate=0.01)
    assert moved["w"] == pytest.approx([-0.01, 0.01, -0.01], rel=1e-4)


def test_the_steps_are_those_of_the_published_algorithm():
    gradients = [0.5, -0.2, 0.1]
    adam, parameters = Adam((0.9, 0.99), 1e-8), {"w": np.array(1.0)}
    w, m, v = 1.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        parameters = adam.step(parameters, {"w": np.array(g)}, rate=0.1)
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w -= 0.1 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.99**t)) + 1e-8)
        assert float(parameters["w"]) == pytest.approx(w, rel=1e-13)


def test_a_parameter_without_a_gradient_stays_with_its_moments():
    adam = Adam()
    start = {"used": np.ones(2), "unused": np.ones(2)}
    moved = adam.step(start, {"used": np.ones(2), "unused": None}, rate=0.1)
    assert moved["unused"] is start["unused"]
    assert "unused" not in adam.mean and "unused" not in adam.square
    assert not np.array_equal(moved["used"], start["used"])
    assert np.array_equal(start["used"], np.ones(2)), "the given parameters are left alone"
