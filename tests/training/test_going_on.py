"""Schedules, metrics and callbacks that watch numbers go on from a checkpoint as if never stopped."""

import csv

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.training.history import TIMES

RANDOM = np.random.default_rng(21)
IMAGES = RANDOM.random((22, 4, 4, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 22)


class Broken(gcn.Callback):
    """Fails at a step, before it is taken."""

    def __init__(self, epoch, step):
        self.place = (epoch, step)

    def on_step_begin(self, model, epoch, step, batch):
        if (epoch, step) == self.place:
            raise ZeroDivisionError("the power is gone")


def classifier():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dropout(0.2), gcn.Dense(3))
    return gcn.compile(
        network,
        input_shape=(4, 4, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.Adam(0.3),
        metrics=["accuracy", "f1", "precision", "top2_accuracy"],
        seed=4,
        backend="numpy",
    )


def watching(folder, kind):
    """Return callbacks of a kind, those that watch with one another."""
    rates = {
        "one cycle": lambda: gcn.one_cycle(0.3, 4),
        "warm-up": lambda: gcn.cosine_decay(0.3, 4, warmup=1, by="step"),
        "plateau": lambda: gcn.ReduceOnPlateau("val_loss", patience=1),
    }
    return [
        rates[kind](),
        gcn.BestWeights("val_f1"),
        gcn.EarlyStopping("val_loss", patience=4),
        gcn.CSVLog(folder / "log.csv"),
        gcn.ModelCheckpoint(folder / "best.safetensors", save_best_only=True),
    ]


def rows(folder):
    with (folder / "log.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", ["one cycle", "warm-up", "plateau"])
@pytest.mark.parametrize("options", [{}, {"steps_per_epoch": 3}], ids=["passes", "steps"])
@pytest.mark.parametrize("place", [(1, 2), (2, 1), (2, 3), (4, 3)])
def test_an_interrupted_training_ends_as_one_that_never_stopped(tmp_path, kind, options, place):
    given = {"epochs": 4, "batch_size": 6, "validation_split": 0.25, "validate_every": 2, **options}
    whole_folder, folder = tmp_path / "whole", tmp_path / "parts"
    for each in (whole_folder, folder):
        each.mkdir()
    whole = classifier()
    of_whole = watching(whole_folder, kind)
    history = whole.fit(IMAGES, LABELS, callbacks=of_whole, progress=False, **given)
    checkpoint = gcn.Checkpoint(folder / "checkpoints", every=1)
    with pytest.raises(ZeroDivisionError):
        classifier().fit(
            IMAGES,
            LABELS,
            callbacks=[*watching(folder, kind), Broken(*place)],
            checkpoint=checkpoint,
            progress=False,
            **given,
        )
    resumed = gcn.resume(folder / "checkpoints")
    of_parts = watching(folder, kind)
    again = resumed.fit(IMAGES, LABELS, callbacks=of_parts, progress=False)
    for name, array in whole.state().items():
        assert array.tobytes() == resumed.state()[name].tobytes(), name
    for name in history.names:
        if name not in TIMES:
            assert history[name] == again[name], name
    assert history.validations == again.validations == resumed.history.validations
    assert rows(folder) == rows(whole_folder)
    assert resumed.learning_rate == whole.learning_rate
    for before, after in zip(of_whole[1:3], of_parts[1:3], strict=True):
        assert (before.best, before.best_epoch) == (after.best, after.best_epoch)
    best, of_parts_best = (gcn.load(each / "best.safetensors") for each in (whole_folder, folder))
    assert best.epochs_done == of_parts_best.epochs_done


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_validation_that_an_error_has_ended_is_made_when_training_goes_on(tmp_path, epoch):
    class Failing:
        """Raises when it is gone through so many times."""

        def __init__(self, at):
            self.at, self.count = at, 0

        def __iter__(self):
            self.count += 1
            if self.count == self.at:
                raise ZeroDivisionError
            yield IMAGES, LABELS

    given = {"epochs": 3, "batch_size": 6, "validate_every": 1, "progress": False}
    whole, other = classifier(), classifier()
    history = whole.fit(IMAGES, LABELS, validation_data=[(IMAGES, LABELS)], **given)
    within = len(history.validations[0])
    checkpoint = gcn.Checkpoint(tmp_path)
    failing = Failing((within + 1) * (epoch - 1) + 2)
    with pytest.raises(ZeroDivisionError):
        other.fit(IMAGES, LABELS, validation_data=failing, checkpoint=checkpoint, **given)
    again = gcn.resume(tmp_path).fit(IMAGES, LABELS, validation_data=[(IMAGES, LABELS)], progress=False)
    assert within > 1
    assert again.validations == history.validations
    assert again["val_loss"] == history["val_loss"]
