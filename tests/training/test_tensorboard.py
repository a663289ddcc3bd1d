"""The log for TensorBoard is what TensorBoard's own reader finds in it."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.random((20, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 20)


def classifier():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    return gcn.compile(network, input_shape=(4, 4, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))


def fit(model, epochs, *callbacks, **options):
    options = {"batch_size": 5, "validation_data": (IMAGES, LABELS), "progress": False, **options}
    return model.fit(IMAGES, LABELS, epochs=epochs, callbacks=callbacks, **options)


def points(folder, run, tag):
    """Return the steps and the numbers that TensorBoard shows."""
    accumulator = EventAccumulator(str(folder / run)).Reload()
    found = accumulator.Scalars(tag)
    return [each.step for each in found], [each.value for each in found]


def test_training_and_validation_are_two_runs_with_the_same_tags(tmp_path):
    history = fit(classifier(), 3, gcn.TensorBoard(tmp_path))
    for run, prefix in (("training", ""), ("validation", "val_")):
        for tag in ("loss", "accuracy"):
            steps, values = points(tmp_path, run, tag)
            assert steps == [4, 8, 12]
            np.testing.assert_allclose(values, history[f"{prefix}{tag}"], rtol=1e-6)
    assert points(tmp_path, "training", "learning_rate")[1] == pytest.approx([0.1] * 3)


def test_steps_and_validations_within_epochs(tmp_path):
    fit(classifier(), 2, gcn.TensorBoard(tmp_path, every=2), validate_every=3)
    assert points(tmp_path, "training", "step_loss")[0] == [2, 4, 6, 8]
    assert points(tmp_path, "validation", "loss")[0] == [3, 4, 7, 8]
    assert points(tmp_path, "training", "loss")[0] == [4, 8]


def test_training_that_goes_on_drops_what_it_trains_again(tmp_path):
    model = classifier()
    fit(model, 3, gcn.TensorBoard(tmp_path))
    history = fit(model, 4, gcn.TensorBoard(tmp_path), initial_epoch=2)
    steps, values = points(tmp_path, "training", "loss")
    assert steps == [4, 8, 12, 16]
    np.testing.assert_allclose(values[2:], history["loss"], rtol=1e-6)


def test_batches_of_an_unknown_number_stand_at_epochs(tmp_path):
    batches = [(IMAGES[:10], LABELS[:10]), (IMAGES[10:], LABELS[10:])]
    model = classifier()
    model.fit(batches, epochs=2, callbacks=[gcn.TensorBoard(tmp_path)], progress=False)
    assert points(tmp_path, "training", "loss")[0] == [1, 2]
    with pytest.raises(OptionError, match="steps_per_epoch=100"):
        model.fit(batches, callbacks=[gcn.TensorBoard(tmp_path, every=1)], progress=False)


def test_it_cannot_be_without_its_package(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    with pytest.raises(OptionError, match=r"pip install 'graphcnn\[tensorboard\]'"):
        gcn.TensorBoard(tmp_path)


def test_a_number_of_steps_that_is_none(tmp_path):
    with pytest.raises(OptionError, match="every=0 is not a number of steps"):
        gcn.TensorBoard(tmp_path, every=0)
