"""Define by run: a chain of 100 multiplications on 3 elements, forward and backward.

This is nothing but bookkeeping: the time per operation is what recording a node and walking back over it
costs. Two chains: `y = y * c` by a constant, and `y = y * x` where both operands need their gradient and
x's has 101 contributions to add up.
"""

from __future__ import annotations

import numpy

import wengert as wg

from .harness import Effort, Report, Run, Target, main, micro, peer, race, ratio

STEPS = 100
START = numpy.array([0.5, 1.0, 1.5])
FACTOR = numpy.array([1.01, 0.99, 1.02])


def wengert_chain(by_constant: bool) -> Run:
    def run() -> numpy.ndarray:
        x = wg.variable(START)
        y, factor = x, (FACTOR if by_constant else x)
        for _ in range(STEPS):
            y = y * factor
        y.sum().backward()
        return x.grad

    return run


def torch_chain(by_constant: bool) -> Run | None:
    if (torch := peer("torch")) is None:
        return None
    constant = torch.tensor(FACTOR)

    def run() -> object:
        x = torch.tensor(START, requires_grad=True)
        y, factor = x, (constant if by_constant else x)
        for _ in range(STEPS):
            y = y * factor
        y.sum().backward()
        return x.grad

    return run


def autograd_chain(by_constant: bool) -> Run | None:
    if (autograd := peer("autograd")) is None:
        return None
    anp = peer("autograd.numpy")

    def chain(x: object) -> object:
        y, factor = x, (FACTOR if by_constant else x)
        for _ in range(STEPS):
            y = y * factor
        return anp.sum(y)

    gradient = autograd.grad(chain)
    return lambda: gradient(START)


def jax_chain(by_constant: bool) -> Run | None:
    if (jax := peer("jax")) is None:
        return None
    start, constant = jax.numpy.asarray(START), jax.numpy.asarray(FACTOR)

    def chain(x: object) -> object:
        y, factor = x, (constant if by_constant else x)
        for _ in range(STEPS):
            y = y * factor
        return y.sum()

    gradient = jax.grad(chain)
    return lambda: gradient(start).block_until_ready()


VERSIONS = {
    "wengert": wengert_chain,
    "PyTorch eager": torch_chain,
    "autograd": autograd_chain,
    "JAX, not jitted": jax_chain,
}


def measure(effort: Effort) -> list[Report]:
    report = Report(
        f"Define by run: {STEPS} multiplications on 3 elements, forward and backward",
        "Time per multiplication, the gradient included. `y = y * c` multiplies by a constant; "
        "in `y = y * x` both operands need their gradient.",
        ("chain", "library", "least µs/op", "median µs/op", "times wengert"),
    )
    for by_constant, formula, exact in (
        (True, "y = y * c", FACTOR**STEPS),
        (False, "y = y * x", (STEPS + 1) * START**STEPS),
    ):
        contenders = {name: run for name, make in VERSIONS.items() if (run := make(by_constant)) is not None}
        for run in contenders.values():
            numpy.testing.assert_allclose(numpy.asarray(run()), exact, rtol=1e-12)
        times = race(contenders, effort)
        ours = times["wengert"].least
        for name, time in times.items():
            report.add(formula, name, micro(time.least / STEPS), micro(time.median / STEPS), ratio(time.least, ours))
        if by_constant:
            report.targets.append(Target(f"{formula}: at most 4 µs per operation", ours / STEPS * 1e6, 4.0, "µs"))
        if "PyTorch eager" in times:
            slower = ours / times["PyTorch eager"].least
            report.targets.append(Target(f"{formula}: not slower than PyTorch's eager mode", slower, 1.0, "times"))
    return [report]


if __name__ == "__main__":
    main(measure, __doc__)
