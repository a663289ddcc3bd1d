"""Metrics of a whole set, whatever its batches: scores by class, errors of regression, and one's own."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import OptionError
from tests.training.measured import measured

RANDOM = np.random.default_rng(2)
IMAGES = RANDOM.standard_normal((23, 5, 4, 2)).astype(np.float32)
LABELS = RANDOM.integers(0, 4, 23)
BACKENDS = pytest.mark.parametrize("backend", ["numpy", "native"])


def head(units):
    return [gcn.Flatten(), gcn.Dense(units)]


def scores(predicted, true):
    """Return the means of precision, recall, F1 and IoU over those columns of booleans that occur."""
    right = (predicted & true).sum(0).astype(float)
    said, are = predicted.sum(0), true.sum(0)
    occurs = said + are > 0
    with np.errstate(invalid="ignore"):
        each = [right / said, right / are, 2 * right / (said + are), right / (said + are - right)]
    return dict(
        zip(
            ("precision", "recall", "f1", "mean_iou"),
            (np.nan_to_num(column)[occurs].mean() for column in each),
            strict=True,
        )
    )


SCORES = ["precision", "recall", "f1", "mean_iou"]


@BACKENDS
@pytest.mark.parametrize("size", [1, 5, 23])
def test_scores_of_classes_are_those_of_all_samples_together(backend, size):
    model = measured(gcn.CrossEntropy(), head(6), backend, metrics=SCORES)
    one_hot = np.eye(6, dtype=bool)
    expected = scores(one_hot[model.predict(IMAGES).argmax(1)], one_hot[LABELS])
    found = model.evaluate(IMAGES, LABELS, batch_size=size)
    assert {name: found[name] for name in SCORES} == pytest.approx(expected)


@BACKENDS
def test_scores_of_pixels_leave_out_what_the_loss_ignores(backend):
    labels = RANDOM.choice([0, 1, 2, 255], (23, 5, 4))
    for ignore in (255, 1):
        loss = gcn.CrossEntropy(ignore=ignore)
        given = np.where(labels == 255, ignore, labels)
        model = measured(loss, [gcn.Conv2d(3, 1)], backend, metrics=SCORES)
        counts = given != ignore
        one_hot = np.eye(3, dtype=bool)
        expected = scores(one_hot[model.predict(IMAGES).argmax(-1)[counts]], one_hot[given[counts]])
        found = model.evaluate(IMAGES, given, batch_size=4)
        assert {name: found[name] for name in SCORES} == pytest.approx(expected)


@BACKENDS
def test_scores_of_questions(backend):
    targets = RANDOM.integers(0, 2, (23, 3)).astype(np.float32)
    model = measured(gcn.BinaryCrossEntropy(), head(3), backend, metrics=SCORES)
    expected = scores(model.predict(IMAGES) > 0, targets > 0)
    found = model.evaluate(IMAGES, targets, batch_size=4)
    assert {name: found[name] for name in SCORES} == pytest.approx(expected)


@BACKENDS
@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_label_among_the_greatest_outputs(backend, k):
    model = measured(gcn.CrossEntropy(), head(6), backend, metrics=[f"top{k}_accuracy"])
    outputs = model.predict(IMAGES)
    greatest = np.argsort(-outputs, 1)[:, :k]
    expected = (greatest == LABELS[:, None]).any(1).mean()
    assert model.evaluate(IMAGES, LABELS, batch_size=4)[f"top{k}_accuracy"] == pytest.approx(expected)
    assert model.train_step(IMAGES, LABELS)[f"top{k}_accuracy"] == pytest.approx(expected)


def test_top_accuracy_leaves_out_what_the_loss_ignores_and_is_in_the_file(tmp_path):
    labels = np.where(np.arange(23) % 3, LABELS, 3)
    model = measured(gcn.CrossEntropy(ignore=3), head(6), metrics=["top2_accuracy", "f1"])
    greatest = np.argsort(-model.predict(IMAGES), 1)[:, :2]
    expected = (greatest == labels[:, None]).any(1)[labels != 3].mean()
    found = model.evaluate(IMAGES, labels, batch_size=23)
    assert found["top2_accuracy"] == pytest.approx(expected)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors")
    assert again.evaluate(IMAGES, labels, batch_size=23) == pytest.approx(found)


@pytest.mark.parametrize(("k", "mend"), [(6, '["top5_accuracy"]'), (99, '["top5_accuracy"]')])
def test_among_all_classes_every_label_is(k, mend):
    with pytest.raises(OptionError, match="is 1 whatever is predicted: there are 6 classes") as caught:
        measured(gcn.CrossEntropy(), head(6), metrics=[f"top{k}_accuracy"]).train_step(IMAGES, LABELS)
    assert caught.value.mend == f"metrics={mend}"


ERRORS = ["mae", "mse", "rmse", "r2"]


def errors(outputs, targets):
    outputs, targets = (each.astype(np.float64) for each in (outputs, targets))
    difference = outputs - targets
    axes = tuple(range(targets.ndim - 1))
    spread = ((targets - targets.mean(axes)) ** 2).sum(axes)
    mse = (difference**2).mean()
    r2 = (1 - (difference**2).sum(axes) / spread).mean()
    return {"mae": np.abs(difference).mean(), "mse": mse, "rmse": np.sqrt(mse), "r2": r2}


@BACKENDS
@pytest.mark.parametrize("size", [1, 5, 23])
@pytest.mark.parametrize("mean", [0.0, 1000.0])
def test_errors_of_regression_are_those_of_all_samples_together(backend, size, mean):
    targets = (mean + RANDOM.standard_normal((23, 3))).astype(np.float32)
    model = measured(gcn.SquaredError(), head(3), backend, metrics=ERRORS)
    model.parameters["dense1.bias"] = np.full(3, mean)
    expected = errors(model.predict(IMAGES), targets)
    found = model.evaluate(IMAGES, targets, batch_size=size)
    assert {name: found[name] for name in ERRORS} == pytest.approx(expected, rel=2e-3 if mean else 1e-5)


def test_errors_of_maps():
    targets = RANDOM.standard_normal((23, 5, 4, 2)).astype(np.float32)
    model = measured(gcn.AbsoluteError(), [gcn.Conv2d(2, 1)], metrics=ERRORS)
    expected = errors(model.predict(IMAGES), targets)
    found = model.evaluate(IMAGES, targets, batch_size=4)
    assert {name: found[name] for name in ERRORS} == pytest.approx(expected, rel=1e-5)


def test_nothing_explains_targets_that_do_not_vary():
    model = measured(gcn.SquaredError(), head(2), metrics=["r2"])
    targets = np.ones((23, 2), np.float32)
    assert model.evaluate(IMAGES, targets)["r2"] == 0
    for name, array in model.parameters.items():
        model.parameters[name] = np.full_like(array, name.endswith("bias"))
    assert model.evaluate(IMAGES, targets)["r2"] == 1


def test_fit_records_numbers_of_whole_epochs():
    told = []

    class Watch(gcn.Callback):
        def on_step_end(self, model, epoch, step, logs):
            told.append(logs["f1"])

    model = measured(gcn.CrossEntropy(), head(4), metrics=["f1", "accuracy"])
    history = model.fit(
        IMAGES,
        LABELS,
        epochs=2,
        batch_size=5,
        validation_data=(IMAGES, LABELS),
        callbacks=[Watch()],
        progress=False,
    )
    assert history["val_f1"][-1] == pytest.approx(model.evaluate(IMAGES, LABELS)["f1"])
    assert len(told) == 10
    assert all(isinstance(each, float) and 0 <= each <= 1 for each in told)


class Spread:
    """The greatest output minus the least one, over a whole set."""

    name = "spread"

    def append(self, emit, output, target):
        greatest = emit(ops.Max((0, 1)), output)
        least = emit(ops.Max((0, 1)), emit(ops.Negate(), output))
        return emit(ops.Concatenate(0), *(emit(ops.Broadcast((1,)), each) for each in (greatest, least)))

    def merge(self, one, other):
        return np.maximum(one, other)

    def result(self, statistics):
        return float(statistics.sum())


def test_a_metric_of_ones_own_merges_its_statistics():
    model = measured(gcn.CrossEntropy(), head(4), metrics=[Spread()])
    found = model.evaluate(IMAGES, LABELS, batch_size=4)["spread"]
    assert found == pytest.approx(np.ptp(model.predict(IMAGES)))


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"append": lambda self, emit, output, target: output}, "not statistics of a batch"),
        ({"result": lambda self: 1.0}, r"result takes .*, but is called with \(statistics\)"),
        ({"merge": lambda self, one: one}, r"merge takes .*, but is called with \(one, other\)"),
        ({"result": None}, "has merge, but no result"),
    ],
)
def test_statistics_that_are_none_are_refused(changes, problem):
    broken = type("Broken", (Spread,), changes)
    with pytest.raises(OptionError, match=problem) as caught:
        measured(gcn.CrossEntropy(), head(4), metrics=[broken()]).evaluate(IMAGES, LABELS)
    assert caught.value.mend


class TopAccuracy:
    """A metric of one's own, whose class has the name that one of graphcnn's has."""

    name = "mine"

    def append(self, emit, output, target):
        return emit(ops.Mean((0, 1)), output)


def test_a_class_of_ones_own_may_be_called_as_graphcnns_is(tmp_path):
    model = measured(gcn.CrossEntropy(), head(4), metrics=[TopAccuracy(), "top2_accuracy", "f1"])
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", objects=[TopAccuracy])
    assert again.evaluate(IMAGES, LABELS) == model.evaluate(IMAGES, LABELS)
