"""The sizes of gradients on their way: against gradients computed directly, and the marks."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as onp
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import BackwardError, NonScalarOutputError


def network(weights, x):
    h = x
    for w in weights:
        h = np.tanh(h @ w)
    return np.mean((h - 1.0) ** 2)


def weights_of(scale, count=6):
    rng = onp.random.default_rng(0)
    return [rng.normal(size=(8, 8)) * scale for _ in range(count)]


def test_norms_are_those_of_the_gradients():
    weights = weights_of(0.3)
    flow = wg.debug.gradient_flow(network, weights, onp.ones((2, 8)))
    expected = wg.grad(network)(weights, onp.ones((2, 8)))
    found = {row.name: row.norm for row in flow.parameters}
    for k, g in enumerate(expected):
        assert found[f"weights[{k}]"] == pytest.approx(float(onp.linalg.norm(g)))


def test_vanishing_lines_are_marked():
    variables = [wg.variable(w, name=f"w{k}") for k, w in enumerate(weights_of(0.01))]
    h = onp.ones((2, 8))
    h0 = np.tanh(h @ variables[0])
    h1 = np.tanh(h0 @ variables[1])
    h2 = np.tanh(h1 @ variables[2])
    h3 = np.tanh(h2 @ variables[3])
    h4 = np.tanh(h3 @ variables[4])
    h5 = h4 @ variables[5]
    loss = np.mean((h5 - 1.0) ** 2)
    flow = wg.debug.gradient_flow(loss)
    marks = {row.name: row.mark for row in flow.lines}
    assert marks["h0"] == "vanishing" and marks["h5"] == ""
    assert all(v.grad is None for v in variables)
    assert "vanishing" in str(flow)


def test_the_figure_is_well_formed(tmp_path):
    flow = wg.debug.gradient_flow(lambda a, b: np.sum(np.exp(a * b)), onp.ones(3), 2.0)
    root = ElementTree.fromstring(flow.to_svg(tmp_path / "flow.svg"))
    assert (tmp_path / "flow.svg").read_text("utf-8") == flow.to_svg()
    assert len(root.findall("{http://www.w3.org/2000/svg}rect")) == 1 + len(flow.lines) + len(flow.parameters)


def test_what_has_no_gradient_is_refused():
    with pytest.raises(BackwardError):
        wg.debug.gradient_flow(3.0)
    with pytest.raises(BackwardError):
        wg.debug.gradient_flow(lambda x: np.round(x), 3.0)
    with pytest.raises(NonScalarOutputError):
        wg.debug.gradient_flow(wg.variable(onp.ones(2)) * 2.0)
