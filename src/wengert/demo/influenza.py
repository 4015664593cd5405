"""An epidemic with time-varying transmission, fitted to real counts by gradient through the simulation.

The data: influenza A(H1N1) in a boarding school for 763 boys in the north of England, 22 January to 4 February 1978,
the number of boys confined to bed on each day, and the 512 boys that fell ill in all ("Influenza in a boarding
school", British Medical Journal 1978;1:587, 4 March 1978). The paper gives a chart; the numbers read from it are
those of G. de Vries, T. Hillen, M. Lewis, J. Müller and B. Schönfisch, "A Course in Mathematical Biology", SIAM
2006, chapter 9, which the R package `outbreaks` holds as `influenza_england_1978_school`.

The model is SIR (W. O. Kermack and A. G. McKendrick, 1927) with a transmission rate that may change from day to day,

    dS/dt = -beta(t) S I / N        dI/dt = beta(t) S I / N - (recoveries)        I = I_1 + ... + I_k

where a boy passes through k stages of illness, each left at the rate k gamma, so that an illness lasts 1/gamma days
on average. One stage is the textbook model, in which illnesses last anything from hours to weeks; three stages
make them more alike (the linear chain trick), which the fast end of this outbreak asks for.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy
from scipy.optimize import minimize

import wengert as wg
import wengert.numpy as np

POPULATION = 763
ILL = 512
IN_BED = numpy.array([3.0, 8, 26, 76, 225, 298, 258, 233, 189, 128, 68, 29, 14, 4])
START = datetime.date(1978, 1, 22)
DAYS = len(IN_BED)
COUNTS = numpy.concatenate([IN_BED, [ILL]])


@dataclass(frozen=True)
class Model:
    """What the fit may vary.

    stages : k above.
    varying : whether the transmission may change from day to day.
    daily_change : standard deviation that the change of log beta from one day to the next is expected to have.
    steps : steps of the simulation in a day.
    """

    stages: int = 3
    varying: bool = True
    daily_change: float = 0.4
    steps: int = 4

    @property
    def size(self) -> int:
        """Number of unknowns: log gamma, log of the boys ill on day 0, log beta on day 0, changes of log beta."""
        return 3 + (DAYS - 1 if self.varying else 0)


TEXTBOOK = Model(stages=1, varying=False)


@dataclass
class Fit:
    """What a fit found. Rates are per day; arrays run over the days of `IN_BED` unless said otherwise.

    rmse : root of the mean squared difference between the curve and the counts of boys in bed.
    low, high : where beta lies with 95 % probability by the curvature of the objective (Laplace's approximation).
    reproduction : beta / gamma * S / N, how many others a boy who falls ill on that day infects.
    fine_days, fine_in_bed : the curve in small steps.
    """

    model: Model
    gamma: float
    first: float
    beta: numpy.ndarray
    low: numpy.ndarray
    high: numpy.ndarray
    in_bed: numpy.ndarray
    ill: float
    reproduction: numpy.ndarray
    fine_days: numpy.ndarray
    fine_in_bed: numpy.ndarray
    rmse: float
    objective: float
    message: str
    evaluations: int
    seconds: float
    history: list[float] = field(default_factory=list)

    @property
    def r0(self) -> float:
        """The basic reproduction number: beta / gamma on the first day."""
        return float(self.beta[0] / self.gamma)


# --- the model: ordinary NumPy code -----------------------------------------------------------------------------


def unpack(unknowns, model: Model):
    """log beta (14,), gamma and the boys ill on day 0 from the vector of unknowns.

    The changes of log beta are counted in units of `daily_change`, so that each is expected to be about 1 in size: all
    unknowns then matter about equally, which suits the optimiser.
    """
    log_beta = unknowns[2] + np.zeros(DAYS)
    if model.varying:
        log_beta = log_beta + WALK @ (model.daily_change * unknowns[3:])
    return log_beta, np.exp(unknowns[0]), np.exp(unknowns[1])


WALK = numpy.tri(DAYS, DAYS - 1, -1)
"""Sums changes: row d of WALK @ changes is the sum of the first d of them."""


def interpolation(steps: int) -> numpy.ndarray:
    """The matrix (DAYS - 1) * steps, 3, DAYS that gives log beta at the start, middle and end of each step.

    Between two days log beta is a straight line.
    """
    starts = numpy.arange((DAYS - 1) * steps) / steps
    times = starts[:, None] + numpy.array([0.0, 0.5, 1.0]) / steps
    return numpy.maximum(0.0, 1.0 - numpy.abs(times[:, :, None] - numpy.arange(DAYS)))


def simulate(log_beta, gamma, first, model: Model):
    """The states (S, I_1, ..., I_k) after each step by the Runge-Kutta method, ((DAYS - 1) * steps, 1 + k)."""
    k, h = model.stages, 1 / model.steps
    # What one new infection moves: out of S, into the first stage. What one unit of time moves along the stages.
    infect = numpy.zeros(1 + k)
    infect[:2] = -1.0, 1.0
    progress = numpy.zeros((1 + k, 1 + k))
    progress[1:, 1:] = k * (numpy.eye(k, k=-1) - numpy.eye(k))

    def slope(state, beta):
        infections = beta * state[0] * np.sum(state[1:]) / POPULATION
        return infections * infect + gamma * (progress @ state)

    def step(state, beta):
        a = slope(state, beta[0])
        b = slope(state + h / 2 * a, beta[1])
        c = slope(state + h / 2 * b, beta[1])
        d = slope(state + h * c, beta[2])
        state = state + h / 6 * (a + 2 * b + 2 * c + d)
        return state, state

    everyone = numpy.zeros(1 + k)
    everyone[0] = POPULATION
    _, states = wg.scan(step, everyone + first * infect, np.exp(interpolation(model.steps) @ log_beta))
    return states


def counts(unknowns, model: Model):
    """What the model says of `COUNTS`: boys in bed on each day, then the boys that fell ill in all, (15,)."""
    log_beta, gamma, first = unpack(unknowns, model)
    states = simulate(log_beta, gamma, first, model)
    in_bed = np.sum(states[model.steps - 1 :: model.steps, 1:], axis=1)
    return np.concatenate([np.stack([first]), in_bed, np.stack([POPULATION - states[-1, 0]])])


def residuals(unknowns, model: Model):
    """What the fit makes small: 2 (sqrt(model) - sqrt(count)) for each count, then the changes of log beta.

    The square root of a Poisson count has a standard deviation of about 1/2 whatever its mean (M. S. Bartlett, 1936),
    so that a difference of 3 boys weighs as much at 9 boys in bed as one of 17 at 298.
    """
    misfit = 2 * (np.sqrt(counts(unknowns, model)) - numpy.sqrt(COUNTS))
    return np.concatenate([misfit, unknowns[3:]])


def objective(unknowns, model: Model):
    """Half the sum of squares of `residuals`: up to a constant, minus the log of the posterior density."""
    return 0.5 * np.sum(residuals(unknowns, model) ** 2)


# --- the fit ----------------------------------------------------------------------------------------------------


def guess(model: Model) -> numpy.ndarray:
    """Two days of illness, two boys ill on the first day, each infecting 1.5 others a day, no change."""
    unknowns = numpy.zeros(model.size)
    unknowns[:3] = numpy.log([0.5, 2.0, 1.5])
    return unknowns


def graphs(model: Model) -> tuple[wg.Graph, wg.Graph]:
    """The objective, and the objective with its gradient, as static graphs: made once, run as often as one likes."""

    def misfit(unknowns):
        return objective(unknowns, model)

    return wg.trace(misfit, guess(model)), wg.trace(wg.value_and_grad(misfit), guess(model))


def fit(model: Model, iterations: int = 300, watch: Callable[[list[float]], None] = lambda history: None) -> Fit:
    """Find the unknowns of the model that fit the counts best.

    watch : called with the objective after each iteration so far.
    """
    began = time.perf_counter()
    _, value_and_grad = graphs(model)
    history: list[float] = []

    def record(intermediate_result):
        history.append(float(intermediate_result.fun))
        watch(history)

    # Far beyond anything plausible; they keep the line search from simulating nonsense.
    bounds = [(-2.5, 1.5), (-3.0, 4.0), (-3.0, 2.5)] + [(-6.0, 6.0)] * (model.size - 3)
    found = minimize(
        value_and_grad,
        guess(model),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        callback=record,
        options={"maxiter": iterations, "ftol": 1e-10, "gtol": 1e-5, "maxcor": 20},
    )
    return summarise(found, model, history, time.perf_counter() - began)


def spread(unknowns: numpy.ndarray, model: Model) -> numpy.ndarray:
    """The standard deviation of log beta on each day, (14,).

    Near the best fit the objective is half a square in the Jacobian J of the residuals, so the unknowns have the
    covariance inv(J^T J); log beta is linear in them.
    """
    slopes = wg.jacobian(lambda unknowns: residuals(unknowns, model))(unknowns)
    to_log_beta = wg.jacobian(lambda unknowns: unpack(unknowns, model)[0])(unknowns)
    covariance = numpy.linalg.inv(slopes.T @ slopes)
    return numpy.sqrt(numpy.einsum("ij,jk,ik->i", to_log_beta, covariance, to_log_beta))


def summarise(found, model: Model, history: list[float], seconds: float) -> Fit:
    """Everything the report says of a fit. On plain arrays the model runs as plain NumPy."""
    log_beta, gamma, first = unpack(found.x, model)
    states = simulate(log_beta, gamma, first, model)
    said = counts(found.x, model)
    deviation = spread(found.x, model)
    fine = replace(model, steps=24)
    fine_states = simulate(log_beta, gamma, first, fine)
    susceptible = numpy.concatenate([[POPULATION - first], states[model.steps - 1 :: model.steps, 0]])
    beta = numpy.exp(log_beta)
    return Fit(
        model=model,
        gamma=float(gamma),
        first=float(first),
        beta=beta,
        low=numpy.exp(log_beta - 1.96 * deviation),
        high=numpy.exp(log_beta + 1.96 * deviation),
        in_bed=said[:-1],
        ill=float(said[-1]),
        reproduction=beta / gamma * susceptible / POPULATION,
        fine_days=numpy.arange(len(fine_states) + 1) / fine.steps,
        fine_in_bed=numpy.concatenate([[first], fine_states[:, 1:].sum(axis=1)]),
        rmse=float(numpy.sqrt(numpy.mean((said[:-1] - IN_BED) ** 2))),
        objective=float(found.fun),
        message=str(found.message),
        evaluations=int(found.nfev),
        seconds=seconds,
        history=history,
    )
