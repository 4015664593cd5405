from dataclasses import replace

import numpy as np
import pytest

from wengert.demo import digits

SMALL = digits.Config(sizes=(64, 16, 10), epochs=2, batch=64)


@pytest.fixture(scope="module")
def data():
    return digits.load()


@pytest.fixture(scope="module")
def trained(data):
    train, validation, _ = data
    return digits.train(SMALL, train, validation, seed=0)


def as_rows(images):
    return {(row.tobytes(), int(label)) for row, label in zip(images.pixels, images.labels, strict=True)}


def test_the_images_are_split_without_overlap_and_with_every_digit_in_its_share(data):
    assert [len(part) for part in data] == [1149, 288, 360]
    parts = [as_rows(part) for part in data]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    everything = np.concatenate([part.labels for part in data])
    for part in data:
        share = np.bincount(part.labels, minlength=10) / len(part)
        assert np.allclose(share, np.bincount(everything) / len(everything), atol=0.005)
        assert part.pixels.min() == 0 and part.pixels.max() == 1
    again = digits.load()
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(data, again, strict=True))


def test_shift_moves_a_share_of_the_images_by_up_to_one_pixel():
    dot = np.zeros((500, 8, 8))
    dot[:, 4, 3] = 1.0
    flat = dot.reshape(500, 64)
    assert np.array_equal(digits.shift(flat, 0.0, np.random.default_rng(0)), flat)

    moved = digits.shift(flat, 0.5, np.random.default_rng(0)).reshape(500, 8, 8)
    assert np.array_equal(moved.sum(axis=(1, 2)), np.ones(500))
    _, rows, columns = np.nonzero(moved)
    assert {*rows} == {3, 4, 5} and {*columns} == {2, 3, 4}
    still = np.mean((rows == 4) & (columns == 3))
    assert still == pytest.approx(0.5 + 0.5 / 9, abs=0.07)


def test_shift_moves_ink_off_the_edge_and_brings_in_none():
    corner = np.zeros((300, 8, 8))
    corner[:, 0, 0] = 1.0
    moved = digits.shift(corner.reshape(300, 64), 1.0, np.random.default_rng(0)).reshape(300, 8, 8)
    assert {*moved.sum(axis=(1, 2))} == {0.0, 1.0}
    assert moved[:, 2:].sum() == 0 and moved[:, :, 2:].sum() == 0


def test_the_loss_is_the_mean_negative_log_of_the_softmax():
    logits = np.array([[1000.0, 0.0], [0.3, 1.7]])
    expected = -np.log(np.exp(1.7) / (np.exp(0.3) + np.exp(1.7))) / 2
    assert digits.cross_entropy(logits, np.array([0, 1])) == pytest.approx(expected, rel=1e-12)


def test_one_step_moves_along_the_gradient_of_the_loss(data):
    batch = digits.Images(data[0].pixels[:7], data[0].labels[:7])
    parameters = digits.initial((64, 5, 10), np.random.default_rng(1))

    class Recorder:
        def step(self, parameters, gradients, rate):
            self.gradients = gradients
            return parameters

    recorder = Recorder()
    config = replace(SMALL, decay=0.3)
    _, loss = digits.descend(parameters, batch, config, recorder, rate=0.1)

    def objective(parameters):
        data_part = digits.cross_entropy(digits.scores(parameters, batch.pixels), batch.labels)
        return data_part + 0.3 * digits.penalty(parameters)

    assert loss == pytest.approx(digits.cross_entropy(digits.scores(parameters, batch.pixels), batch.labels))
    assert {*recorder.gradients} == {"w0", "b0", "w1", "b1"}
    generator = np.random.default_rng(2)
    for name, value in parameters.items():
        direction = generator.normal(size=value.shape)
        h = 1e-6
        up = objective({**parameters, name: value + h * direction})
        down = objective({**parameters, name: value - h * direction})
        assert np.sum(recorder.gradients[name] * direction) == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-8)


def test_training_lowers_the_loss_and_beats_chance(trained, data):
    parameters, history, steps = trained
    assert steps == 2 * -(-1149 // 64)
    assert history.train_loss[1] < history.train_loss[0]
    assert len(history.train_loss) == len(history.validation_loss) == len(history.validation_accuracy) == 2
    accuracy, loss = digits.evaluate(parameters, data[1])
    assert (accuracy, loss) == (history.validation_accuracy[-1], history.validation_loss[-1])
    assert accuracy > 0.4


def test_a_seed_decides_the_whole_training(trained, data):
    train, validation, _ = data
    again, _, _ = digits.train(SMALL, train, validation, seed=0)
    other, _, _ = digits.train(SMALL, train, validation, seed=1)
    assert all(np.array_equal(trained[0][name], again[name]) for name in again)
    assert not np.array_equal(trained[0]["w0"], other["w0"])


def test_saliency_is_the_slope_of_the_predicted_score(trained, data):
    parameters, pixels = trained[0], data[2].pixels[:3]
    maps = digits.saliency(parameters, pixels)
    predicted = digits.scores(parameters, pixels).argmax(axis=1)
    h = 1e-6
    for pixel in (10, 20, 36):
        step = np.zeros(64)
        step[pixel] = h
        up, down = digits.scores(parameters, pixels + step), digits.scores(parameters, pixels - step)
        slope = (up - down)[np.arange(3), predicted] / (2 * h)
        assert maps[:, pixel] == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_the_hardest_images_are_all_misread_ones_first_and_then_the_least_certain(trained, data):
    images = digits.Images(data[2].pixels[:60], data[2].labels[:60])
    wrong = int(np.sum(digits.scores(trained[0], images.pixels).argmax(axis=1) != images.labels))
    cases = digits.hardest(trained[0], images, least=wrong + 3)
    assert [case.wrong for case in cases] == [True] * wrong + [False] * 3
    certain = [case.probability for case in cases if not case.wrong]
    assert certain == sorted(certain)
    assert len(digits.hardest(trained[0], images, least=0)) == wrong


def test_the_picture_knows_values_and_gradients(trained, data):
    graph = digits.picture(trained[0], digits.Images(data[0].pixels[:2], data[0].labels[:2]), SMALL)
    assert {var.label for var in graph.inputs} == {"w0", "b0", "w1", "b1"}
    assert {node.source.file for node in graph.nodes} == {digits.__file__}
    assert all(graph.values[var].shape == graph.gradients[var].shape == var.shape for var in graph.inputs)
