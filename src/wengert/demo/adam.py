"""Adam, plainly: all that the demonstration needs of an optimiser."""

from __future__ import annotations

import numpy as np

Parameters = dict[str, np.ndarray]


class Adam:
    """Adam (D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1).

    With g the gradient at step t: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g², and the parameter moves by
    -rate * (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon).

    Parameters
    ----------
    decay : b1 and b2.
    epsilon : keeps the division harmless where a gradient has always been zero.

    >>> adam = Adam()
    >>> adam.step({"w": np.array([1.0, 1.0])}, {"w": np.array([0.5, -2.0])}, rate=0.1)
    {'w': array([0.9, 1.1])}
    """

    def __init__(self, decay: tuple[float, float] = (0.9, 0.999), epsilon: float = 1e-8) -> None:
        self.decay = decay
        self.epsilon = epsilon
        self.steps = 0
        self.mean: Parameters = {}
        self.square: Parameters = {}

    def step(self, parameters: Parameters, gradients: dict[str, np.ndarray | None], rate: float) -> Parameters:
        """New parameters after one step down the gradients.

        A parameter whose gradient is None took no part in the loss: it and its moments stay as they are.
        """
        self.steps += 1
        first, second = self.decay
        moved = dict(parameters)
        for name, gradient in gradients.items():
            if gradient is None:
                continue
            self.mean[name] = first * self.mean.get(name, 0.0) + (1 - first) * gradient
            self.square[name] = second * self.square.get(name, 0.0) + (1 - second) * gradient**2
            mean = self.mean[name] / (1 - first**self.steps)
            square = self.square[name] / (1 - second**self.steps)
            moved[name] = parameters[name] - rate * mean / (np.sqrt(square) + self.epsilon)
        return moved
