"""A classifier of handwritten digits, trained on dynamic (define-by-run) graphs.

The data are the 1,797 images of 8 x 8 pixels that scikit-learn ships: the test part of "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository (E. Alpaydin and C. Kaynak, 1998).

They are split once, whatever the seed of the run: 1,149 images to train on, 288 to validate on and 360 to test on,
each with every digit in its share. The settings below were chosen by the accuracy on validation images; the test
images are looked at once, at the end of a run.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import wengert as wg
import wengert.numpy as np

from .adam import Adam, Parameters

SIDE = 8
CLASSES = 10


@dataclass(frozen=True)
class Config:
    """Sizes of the layers and how long and how fast to train."""

    sizes: tuple[int, ...] = (SIDE * SIDE, 256, 128, CLASSES)
    epochs: int = 80
    batch: int = 128
    rate: float = 1e-2
    decay: float = 1e-4
    shifted: float = 0.5


@dataclass(frozen=True)
class Images:
    """Some images, one a row with pixels from 0 to 1: pixels (n, 64), labels (n,)."""

    pixels: numpy.ndarray
    labels: numpy.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class History:
    """One number for each epoch."""

    train_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_accuracy: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Case:
    """One test image: what it is, what the classifier says and how sure it is, and which pixels made it say so.

    saliency (8, 8) is the gradient of the score of the predicted digit in the pixels.
    """

    pixels: numpy.ndarray
    label: int
    predicted: int
    probability: float
    saliency: numpy.ndarray

    @property
    def wrong(self) -> bool:
        return self.label != self.predicted


@dataclass(frozen=True)
class Result:
    """What a run found. `confusion[i, j]` counts the test images of digit i that were taken for digit j."""

    config: Config
    counts: tuple[int, int, int]
    history: History
    accuracy: float
    loss: float
    confusion: numpy.ndarray
    cases: list[Case]
    graph: wg.Graph
    steps: int
    training_seconds: float


def load() -> tuple[Images, Images, Images]:
    """The images to train, validate and test on."""
    data = load_digits()
    pixels, labels = data.data / data.data.max(), data.target
    rest, test, rest_labels, test_labels = train_test_split(
        pixels, labels, test_size=360, stratify=labels, random_state=0
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=288, stratify=rest_labels, random_state=0
    )
    return Images(train, train_labels), Images(validation, validation_labels), Images(test, test_labels)


# --- the model: ordinary NumPy code, on arrays and on variables alike -------------------------------------------


def scores(parameters, pixels):
    """The scores of the ten digits for each image, (n, 10): layers x w + b with max(., 0) between them."""
    layers = len(parameters) // 2
    x = pixels
    for layer in range(layers):
        x = x @ parameters[f"w{layer}"] + parameters[f"b{layer}"]
        if layer < layers - 1:
            x = np.maximum(x, 0)
    return x


def cross_entropy(logits, labels):
    """The mean over the images of -log(probability of the right digit), the probabilities being softmax(logits)."""
    shifted = logits - np.max(logits, axis=1, keepdims=True)
    right = shifted[numpy.arange(len(labels)), labels]
    return np.mean(np.log(np.sum(np.exp(shifted), axis=1)) - right)


def penalty(parameters):
    """Half the sum of the squared weights: large weights cost."""
    return 0.5 * sum(np.sum(value**2) for name, value in parameters.items() if name.startswith("w"))


# --- training ---------------------------------------------------------------------------------------------------


def initial(sizes: tuple[int, ...], generator: numpy.random.Generator) -> Parameters:
    """Weights of variance 2 / (inputs of the layer), which keeps the size of values from layer to layer; zero biases.

    K. He, X. Zhang, S. Ren and J. Sun, "Delving deep into rectifiers", ICCV 2015.
    """
    parameters = {}
    for layer, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        parameters[f"w{layer}"] = generator.normal(size=(fan_in, fan_out)) * numpy.sqrt(2 / fan_in)
        parameters[f"b{layer}"] = numpy.zeros(fan_out)
    return parameters


def shift(pixels: numpy.ndarray, share: float, generator: numpy.random.Generator) -> numpy.ndarray:
    """The images with a share of them moved by up to one pixel each way: (n, 64) to (n, 64).

    Few images teach the classifier little about where a digit may lie; moved copies teach it more.
    """
    n = len(pixels)
    framed = numpy.pad(pixels.reshape(n, SIDE, SIDE), ((0, 0), (1, 1), (1, 1)))
    offsets = numpy.where(generator.random((n, 1)) < share, generator.integers(0, 3, (n, 2)), 1)
    rows = offsets[:, :1] + numpy.arange(SIDE)
    columns = offsets[:, 1:] + numpy.arange(SIDE)
    return framed[numpy.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]].reshape(n, -1)


def descend(parameters: Parameters, batch: Images, config: Config, adam: Adam, rate: float) -> tuple[Parameters, float]:
    """One step: record the loss on one batch as a graph, go backward through it, move the parameters."""
    variables = {name: wg.variable(value, name=name) for name, value in parameters.items()}
    loss = cross_entropy(scores(variables, batch.pixels), batch.labels)
    objective = loss + config.decay * penalty(variables)
    objective.backward()
    gradients = {name: variable.grad for name, variable in variables.items()}
    return adam.step(parameters, gradients, rate), loss.item()


def train(
    config: Config,
    train: Images,
    validation: Images,
    seed: int,
    watch: Callable[[History], None] = lambda history: None,
) -> tuple[Parameters, History, int]:
    """Train, looking at the validation images after each epoch.

    watch : called with the history after each epoch.
    Returns the parameters, the history and the number of steps.
    """
    generator = numpy.random.default_rng(seed)
    parameters = initial(config.sizes, generator)
    adam, history = Adam(), History()
    starts = range(0, len(train), config.batch)
    for epoch in range(config.epochs):
        order = generator.permutation(len(train))
        total = 0.0
        for step, start in enumerate(starts):
            chosen = order[start : start + config.batch]
            batch = Images(shift(train.pixels[chosen], config.shifted, generator), train.labels[chosen])
            done = (epoch + step / len(starts)) / config.epochs
            rate = config.rate * 0.5 * (1 + numpy.cos(numpy.pi * done))
            parameters, loss = descend(parameters, batch, config, adam, rate)
            total += loss * len(batch)
        accuracy, loss = evaluate(parameters, validation)
        history.train_loss.append(total / len(train))
        history.validation_loss.append(loss)
        history.validation_accuracy.append(accuracy)
        watch(history)
    return parameters, history, adam.steps


# --- judging ----------------------------------------------------------------------------------------------------


def evaluate(parameters: Parameters, images: Images) -> tuple[float, float]:
    """Accuracy and mean cross-entropy. On plain arrays the model is plain NumPy: no graph is made."""
    logits = scores(parameters, images.pixels)
    return float(numpy.mean(logits.argmax(axis=1) == images.labels)), float(cross_entropy(logits, images.labels))


def probabilities(logits: numpy.ndarray) -> numpy.ndarray:
    exponentials = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def saliency(parameters: Parameters, pixels: numpy.ndarray) -> numpy.ndarray:
    """For each image the gradient of the score of the predicted digit in the pixels, (n, 64).

    Simonyan, Vedaldi and Zisserman, "Deep inside convolutional networks", 2013. The images do not know of each
    other, so one backward pass from the sum of the scores gives the gradient of each.
    """
    variable = wg.variable(pixels, name="pixels")
    logits = scores(parameters, variable)
    predicted = logits.numpy().argmax(axis=1)
    np.sum(logits[numpy.arange(len(pixels)), predicted]).backward()
    return variable.grad


def hardest(parameters: Parameters, images: Images, least: int = 8) -> list[Case]:
    """All misclassified images, then the least certain of the others until there are `least`."""
    chances = probabilities(scores(parameters, images.pixels))
    predicted = chances.argmax(axis=1)
    certainty = chances.max(axis=1)
    right = predicted == images.labels
    order = numpy.lexsort((certainty, right))
    order = order[: max(int(numpy.sum(~right)), least)]
    maps = saliency(parameters, images.pixels[order])
    return [
        Case(
            images.pixels[i].reshape(SIDE, SIDE),
            int(images.labels[i]),
            int(predicted[i]),
            float(certainty[i]),
            gradient.reshape(SIDE, SIDE),
        )
        for i, gradient in zip(order, maps, strict=True)
    ]


def picture(parameters: Parameters, batch: Images, config: Config) -> wg.Graph:
    """The graph of one training step after its backward pass, with the values and gradients in it."""
    variables = {name: wg.variable(value, name=name) for name, value in parameters.items()}
    loss = cross_entropy(scores(variables, batch.pixels), batch.labels) + config.decay * penalty(variables)
    loss.backward()
    return wg.graph(loss)


def run(config: Config, seed: int = 0, watch: Callable[[History], None] = lambda history: None) -> Result:
    """Train on the training images, then judge once on the test images."""
    training, validation, test = load()
    start = time.perf_counter()
    # The matrices are too small to gain by a second thread; on a busy machine waiting for it costs many times the rest.
    with threadpool_limits(1):
        parameters, history, steps = train(config, training, validation, seed, watch)
    seconds = time.perf_counter() - start
    accuracy, loss = evaluate(parameters, test)
    predicted = scores(parameters, test.pixels).argmax(axis=1)
    confusion = numpy.zeros((CLASSES, CLASSES), int)
    numpy.add.at(confusion, (test.labels, predicted), 1)
    return Result(
        config,
        (len(training), len(validation), len(test)),
        history,
        accuracy,
        loss,
        confusion,
        hardest(parameters, test),
        picture(parameters, Images(training.pixels[:5], training.labels[:5]), config),
        steps,
        seconds,
    )
