"""Why gradients are zero: unused, cut, or a derivative that is zero at this point."""

from __future__ import annotations

import numpy as onp
import pytest

import wengert as wg
import wengert.numpy as np
from wengert.errors import BackwardError


def pick(x, y, z, w):
    k = np.argmax(np.sin(x))
    whole = (y * 2).astype(int)
    return np.take(np.array([1.0, 2.0, 3.0]), k) + np.sum(whole) * 1.0 + np.sum(wg.stop_gradient(z))


ARGS = onp.arange(3.0), onp.ones(2), 3.0, 1.0


@pytest.mark.parametrize("compiled", [False, True])
def test_a_function_names_what_cuts(compiled, capsys):
    reasons = wg.why_zero(wg.jit(pick) if compiled else pick, *ARGS)
    assert [r.kind for r in reasons] == ["cut", "cut", "cut", "unused"]
    assert [[what for what, _, _ in r.places] for r in reasons] == [["argmax"], ["convert"], ["stop_gradient"], []]
    assert reasons[0].places[0][1].text == "k = np.argmax(np.sin(x))"
    printed = capsys.readouterr().out
    assert "x: every path to the result is cut" in printed and "w: the result does not depend on it" in printed


def test_variables_name_what_cuts():
    x, y, z, w, v = (wg.variable(onp.arange(1.0, 4.0), name=n) for n in "xyzwv")
    k = np.argmax(np.sin(x))
    loss = np.sum(np.maximum(-y, 0.0)) + k * np.sum(z) + np.sum(wg.stop_gradient(w * 2.0))
    reasons = wg.why_zero(loss, x, y, z, w, v)
    assert [r.kind for r in reasons] == ["cut", "zero", "alive", "cut", "unused"]
    assert [what for what, _, _ in reasons[0].places] == ["argmax"]
    assert reasons[1].places[0][0] == "maximum" and "np.maximum(-y" in reasons[1].places[0][1].text
    assert x.grad is None and y.grad is None  # asking changes nothing


def test_a_dead_relu_is_found_in_a_function():
    (w, b) = wg.why_zero(lambda w, b: np.sum(np.maximum(-w, 0.0) * b), onp.ones(3), 2.0)
    assert w.kind == b.kind == "zero"
    assert [what for what, _, _ in w.places] == ["maximum"]
    assert [what for what, _, _ in b.places] == ["multiply"]


def test_cuts_inside_loops_and_branches():
    def f(x):
        def step(s, _):
            return np.floor(s * 1.5), None

        return wg.scan(step, x, length=3)[0]

    (reason,) = wg.why_zero(f, 1.5)
    assert reason.kind == "cut" and reason.places[0][0] == "floor"
    (reason,) = wg.why_zero(lambda x: wg.cond(x > 0, np.round, np.sign, x), 1.5)
    assert reason.kind == "cut" and {what for what, _, _ in reason.places} == {"greater", "rint", "sign"}
    (reason,) = wg.why_zero(lambda x: wg.while_loop(lambda s: s < 5, lambda s: s * 2.0, x), 1.5)
    assert reason.kind == "alive"


def test_plain_values_and_strangers_are_refused():
    with pytest.raises(BackwardError, match="plain value"):
        wg.why_zero(3.0, wg.variable(1.0))
    with pytest.raises(BackwardError, match="not in any graph"):
        wg.why_zero(wg.variable(1.0) * 2.0, 3.0)
