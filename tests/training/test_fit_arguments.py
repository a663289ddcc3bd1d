"""What `fit` is told beside data and epochs: a share to validate on, steps of an epoch, when to validate."""

import csv

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

RANDOM = np.random.default_rng(11)
IMAGES = np.arange(20, dtype=np.float32).reshape(20, 1) / 20
LABELS = np.arange(20) % 3


def classifier(seed=0):
    return gcn.compile(
        gcn.Dense(3), input_shape=(1,), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1), seed=seed
    )


class Rows(gcn.Callback):
    """Notes which samples each step is taken on."""

    def __init__(self):
        self.steps = []

    def on_step_begin(self, model, epoch, step, batch):
        (images,) = (array for name, array in batch.items() if not name.startswith(("target", "sample")))
        self.steps.append((epoch, step, np.rint(images[:, 0] * 20).astype(int).tolist()))


def fit(model, *data, rows=None, **options):
    callbacks = [] if rows is None else [rows]
    return model.fit(*data, **{"batch_size": 4, "progress": False, "callbacks": callbacks, **options})


def assert_same_bits(model, other):
    for name, value in model.state().items():
        assert value.tobytes() == other.state()[name].tobytes(), name


# A share of the samples to validate on


def test_a_share_of_the_samples_is_held_out_and_the_same_in_each_fit():
    model, rows = classifier(), Rows()
    history = fit(model, IMAGES, LABELS, rows=rows, epochs=2, validation_split=0.3)
    fit(model, IMAGES, LABELS, rows=rows, validation_split=0.3)
    trained = {row for _, _, numbers in rows.steps for row in numbers}
    assert len(trained) == 14
    held = sorted(set(range(20)) - trained)
    assert held != list(range(14, 20))
    again = classifier()
    expected = fit(again, IMAGES[sorted(trained)], LABELS[sorted(trained)], epochs=2)
    assert history["loss"] == expected["loss"]
    scores = again.evaluate(IMAGES[held], LABELS[held])
    assert history["val_loss"][-1] == pytest.approx(scores["loss"])
    other = Rows()
    fit(classifier(seed=1), IMAGES, LABELS, rows=other, validation_split=0.3)
    assert {row for _, _, numbers in other.steps for row in numbers} != trained


def test_weights_of_samples_go_with_them_and_those_of_classes_are_for_training_alone():
    weights = RANDOM.random(20)
    model, rows = classifier(), Rows()
    history = fit(
        model,
        IMAGES,
        LABELS,
        rows=rows,
        validation_split=0.3,
        sample_weight=weights,
        class_weight={1: 5.0},
    )
    trained = sorted({row for _, _, numbers in rows.steps for row in numbers})
    held = sorted(set(range(20)) - set(trained))
    again = classifier()
    fit(again, IMAGES[trained], LABELS[trained], sample_weight=weights[trained], class_weight={1: 5.0})
    assert_same_bits(model, again)
    scores = again.evaluate(IMAGES[held], LABELS[held], sample_weight=weights[held])
    assert history["val_loss"] == [pytest.approx(scores["loss"])]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"validation_split": 0.3, "validation_data": (IMAGES, LABELS)}, "both"),
        ({"validation_split": 0}, "validation_split=0 is not a share"),
        ({"validation_split": 1.0}, "validation_split=1.0 is not a share"),
        ({"validation_split": "0.2"}, "validation_split='0.2' is not a share"),
        ({"validation_split": 0.01}, "leaves no sample"),
        ({"validation_split": 0.99}, "leaves no sample"),
        ({"validate_every": 2}, "there are no validation data"),
        ({"validate_every": 0, "validation_split": 0.2}, "validate_every=0 is not a number of steps"),
        ({"steps_per_epoch": 0}, "steps_per_epoch=0 is not a number of steps"),
        ({"steps_per_epoch": 2.5}, "steps_per_epoch=2.5 is not a number of steps"),
    ],
)
def test_arguments_that_cannot_be_are_refused_before_training(options, problem):
    model = classifier()
    with pytest.raises(OptionError, match=problem) as caught:
        fit(model, IMAGES, LABELS, **options)
    assert caught.value.mend
    assert model.epochs_done == 0


def test_batches_cannot_be_split():
    with pytest.raises(OptionError, match=r"validation_split is for arrays(.*\n)+  Mend: validation_data="):
        fit(classifier(), [(IMAGES, LABELS)], validation_split=0.2)


# Epochs of so many steps


def test_epochs_of_so_many_steps_go_through_the_data_one_after_the_other():
    whole, parts = Rows(), Rows()
    fit(classifier(), IMAGES, LABELS, rows=whole, epochs=3)
    model = classifier()
    fit(model, IMAGES, LABELS, rows=parts, epochs=5, steps_per_epoch=3)
    assert [numbers for _, _, numbers in parts.steps] == [numbers for _, _, numbers in whole.steps]
    assert [(epoch, step) for epoch, step, _ in parts.steps[:4]] == [(1, 1), (1, 2), (1, 3), (2, 1)]
    assert model.epochs_done == 5
    assert model.steps_per_epoch == 3


def test_an_epoch_may_be_several_passes():
    whole, parts = Rows(), Rows()
    fit(classifier(), IMAGES, LABELS, rows=whole, epochs=3)
    fit(classifier(), IMAGES, LABELS, rows=parts, epochs=2, steps_per_epoch=7)
    assert [numbers for _, _, numbers in parts.steps] == [numbers for _, _, numbers in whole.steps][:14]


def test_training_in_two_sittings_takes_the_steps_of_one():
    whole, parts = classifier(), classifier()
    fit(whole, IMAGES, LABELS, epochs=5, steps_per_epoch=3)
    for epochs in (2, 3):
        fit(parts, IMAGES, LABELS, epochs=epochs, steps_per_epoch=3)
    assert_same_bits(whole, parts)


def test_an_endless_generator_has_epochs():
    def endless():
        number = 0
        while True:
            chosen = (np.arange(4) + 4 * number) % 20
            yield IMAGES[chosen], LABELS[chosen]
            number += 1

    rows, model, batches = Rows(), classifier(), endless()
    fit(model, batches, rows=rows, epochs=2, steps_per_epoch=3)
    fit(model, batches, rows=rows, epochs=1, steps_per_epoch=3)
    assert [numbers[0] for _, _, numbers in rows.steps] == [0, 4, 8, 12, 16, 0, 4, 8, 12]


def test_a_list_of_batches_begins_anew_where_it_ends():
    pieces = [(IMAGES[i : i + 4], LABELS[i : i + 4]) for i in range(0, 20, 4)]
    rows, model = Rows(), classifier()
    fit(model, pieces, rows=rows, epochs=2, steps_per_epoch=3)
    fit(model, pieces, rows=rows, epochs=1, steps_per_epoch=3)
    assert [numbers[0] for _, _, numbers in rows.steps] == [0, 4, 8, 12, 16, 0, 4, 8, 12]


def test_a_generator_that_ends_too_early_says_so():
    pieces = ((IMAGES[i : i + 4], LABELS[i : i + 4]) for i in range(0, 20, 4))
    with pytest.raises(DataError, match=r"the batches ended after 2 of 3 steps of epoch 2(.*\n)+  Mend: "):
        fit(classifier(), pieces, epochs=2, steps_per_epoch=3)


# Validations within epochs


def test_validations_within_epochs_leave_training_as_it_is():
    class Heard(gcn.Callback):
        def on_validation_end(self, model, epoch, step, logs):
            heard.append((epoch, step, sorted(logs)))
            scores.append((logs["val_loss"], model.evaluate(IMAGES, LABELS)["loss"]))

    heard, scores = [], []
    model, plain = classifier(), classifier()
    history = fit(
        model,
        IMAGES,
        LABELS,
        epochs=2,
        validation_data=(IMAGES, LABELS),
        validate_every=2,
        callbacks=[Heard()],
    )
    fit(plain, IMAGES, LABELS, epochs=2)
    names = ["val_accuracy", "val_loss"]
    assert heard == [(1, 2, names), (1, 4, names), (2, 2, names), (2, 4, names)]
    assert all(told == pytest.approx(found) for told, found in scores)
    assert_same_bits(model, plain)
    assert len(history) == 2


def test_the_last_step_is_not_validated_twice(capsys):
    fit(
        classifier(),
        IMAGES,
        LABELS,
        validation_data=(IMAGES, LABELS),
        validate_every=5,
        progress=True,
    )
    assert len(capsys.readouterr().out.splitlines()) == 1
    fit(classifier(), IMAGES, LABELS, validation_data=(IMAGES, LABELS), validate_every=3, progress=True)
    within, end = capsys.readouterr().out.splitlines()
    assert within.startswith("epoch 1/1  step 3  val_loss ")
    assert end.startswith("epoch 1/1  loss ")


def validated(model, **options):
    options = {"epochs": 2, "validation_data": (IMAGES, LABELS), "validate_every": 2, **options}
    return fit(model, IMAGES, LABELS, **options)


def test_the_history_has_validations_within_epochs():
    model = classifier()
    history = validated(model)
    assert [[row["step"] for row in rows] for rows in history.validations] == [[2, 4], [2, 4]]
    assert all(
        row.keys() == {"step", "steps", "val_loss", "val_accuracy"}
        for rows in history.validations
        for row in rows
    )
    assert len(history["val_loss"]) == 2
    validated(model, epochs=1)
    assert model.history.validations[:2] == history.validations
    assert len(model.history.validations) == 3
    first, *_ = history.validations[0]
    places = [(row["epoch"], row.get("step")) for row in history.rows()]
    assert places == [(1, 2), (1, 4), (1, None), (2, 2), (2, 4), (2, None)]
    header, line, *_, last = repr(history).splitlines()
    assert header.split()[:3] == ["epoch", "step", "loss"]
    assert line.split() == ["1", "2", f"{first['val_loss']:.4g}", f"{first['val_accuracy']:.4g}"]
    assert last.split()[1] == f"{history['loss'][1]:.4g}"


def test_validations_within_epochs_are_drawn_between_those_after_epochs():
    history = validated(classifier())
    training, validation = history.plot().axes[0].lines
    assert training.get_xdata().tolist() == [1, 2]
    assert validation.get_xdata().tolist() == [0.4, 0.8, 1, 1.4, 1.8, 2]
    within = [[row["val_loss"] for row in rows] for rows in history.validations]
    expected = [*within[0], history["val_loss"][0], *within[1], history["val_loss"][1]]
    assert validation.get_ydata().tolist() == expected
    pieces = [(IMAGES[i : i + 4], LABELS[i : i + 4]) for i in range(0, 20, 4)]
    unknown = fit(
        classifier(), iter(pieces), validation_data=(IMAGES, LABELS), validate_every=2, callbacks=[]
    )
    assert all("steps" not in row for row in unknown.validations[0])
    places = unknown.plot().axes[0].lines[1].get_xdata()
    assert sorted(places) == places.tolist() and places[-1] == 1


def test_files_have_validations_within_epochs(tmp_path):
    model = classifier()
    history = validated(model, callbacks=[gcn.CSVLog(tmp_path / "log.csv")])
    model.save(tmp_path / "model.safetensors")
    assert gcn.load(tmp_path / "model.safetensors").history.validations == history.validations
    history.to_csv(tmp_path / "history.csv")
    for name in ("log.csv", "history.csv"):
        with (tmp_path / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0])[:4] == ["epoch", "step", "loss", "accuracy"]
        assert [(row["epoch"], row["step"]) for row in rows] == [
            *(("1", "2"), ("1", "4"), ("1", "")),
            *(("2", "2"), ("2", "4"), ("2", "")),
        ]
        assert [float(row["val_loss"]) for row in rows] == [row["val_loss"] for row in history.rows()]
        assert [row["loss"] == "" for row in rows] == [True, True, False] * 2


# Classes that are rare


def test_balanced_weights_let_classes_count_alike():
    labels = np.array([0] * 12 + [1] * 6 + [2] * 2)
    model, by_hand = classifier(), classifier()
    fit(model, IMAGES, labels, class_weight="balanced")
    fit(by_hand, IMAGES, labels, class_weight={0: 20 / 36, 1: 20 / 18, 2: 20 / 6})
    assert_same_bits(model, by_hand)


def test_balanced_weights_need_to_see_all_labels():
    with pytest.raises(
        OptionError, match=r"class_weight='balanced' is for arrays(.*\n)+  Mend: class_weight={0"
    ):
        fit(classifier(), [(IMAGES, LABELS)], class_weight="balanced")
    with pytest.raises(OptionError, match=r"class_weight='equal'"):
        fit(classifier(), IMAGES, LABELS, class_weight="equal")
