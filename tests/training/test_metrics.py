"""Metrics are what NumPy computes of predictions and targets."""

import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError
from tests.training.measured import measured

RANDOM = np.random.default_rng(1)
IMAGES = RANDOM.standard_normal((7, 5, 4, 2)).astype(np.float32)


def iou(predicted, true):
    """Return the mean over samples and classes of boolean masks [n, H, W, classes]."""
    both, either = ((predicted & true).sum((1, 2)), (predicted | true).sum((1, 2)))
    return np.where(either == 0, 1.0, both / np.maximum(either, 1)).mean()


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("loss", [gcn.BinaryCrossEntropy(), gcn.Focal()], ids=repr)
def test_binary_accuracy_comes_by_itself_where_answers_are_yes_or_no(loss, backend):
    model = measured(loss, [gcn.Flatten(), gcn.Dense(3)], backend)
    targets = RANDOM.integers(0, 2, (7, 3)).astype(np.float32)
    expected = ((model.predict(IMAGES) > 0) == (targets > 0.5)).mean()
    assert model.evaluate(IMAGES, targets, batch_size=3)["binary_accuracy"] == pytest.approx(expected)


def test_images_have_no_metric_unless_it_is_asked_for():
    assert measured(gcn.BinaryCrossEntropy(), [gcn.Conv2d(1, 1)]).metrics == ()


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_iou_of_masks(backend):
    model = measured(
        gcn.Dice(), [gcn.Conv2d(2, 3, padding="same")], backend, metrics=["iou", "binary_accuracy"]
    )
    targets = RANDOM.integers(0, 2, (7, 5, 4, 2)).astype(np.float32)
    predicted = model.predict(IMAGES) > 0
    results = model.evaluate(IMAGES, targets, batch_size=3)
    assert results["iou"] == pytest.approx(iou(predicted, targets > 0))
    assert results["binary_accuracy"] == pytest.approx((predicted == (targets > 0)).mean())


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_iou_of_labels_leaves_out_what_is_no_class(backend):
    model = measured(gcn.CrossEntropy(ignore=255), [gcn.Conv2d(3, 1)], backend, metrics=["iou"])
    labels = RANDOM.choice([0, 1, 255], (7, 5, 4))  # of class 2 there is nothing
    chosen = model.predict(IMAGES).argmax(-1)[..., None] == np.arange(3)
    expected = iou(chosen & (labels < 3)[..., None], labels[..., None] == np.arange(3))
    assert model.evaluate(IMAGES, labels, batch_size=4)["iou"] == pytest.approx(expected)
    assert model.train_step(IMAGES, labels)["iou"] == pytest.approx(expected)


def test_masks_that_cover_nothing_agree():
    model = measured(gcn.BinaryCrossEntropy(), [gcn.Conv2d(1, 1, bias=False)], metrics=["iou"])
    assert model.evaluate(np.zeros_like(IMAGES), np.zeros((7, 5, 4, 1), np.float32))["iou"] == 1


@pytest.mark.parametrize(
    ("name", "loss", "last", "mend"),
    [
        ("accuracy", gcn.BinaryCrossEntropy(), [gcn.Flatten(), gcn.Dense(3)], "binary_accuracy"),
        ("binary_accuracy", gcn.CrossEntropy(), [gcn.Flatten(), gcn.Dense(3)], "BinaryCrossEntropy"),
        ("iou", gcn.CrossEntropy(), [gcn.Flatten(), gcn.Dense(3)], "leave metrics out"),
        ("acuracy", gcn.CrossEntropy(), [gcn.Flatten(), gcn.Dense(3)], "did you mean 'accuracy'"),
    ],
)
def test_a_metric_of_other_outputs(name, loss, last, mend):
    with pytest.raises(OptionError, match=mend):
        measured(loss, last, metrics=[name]).train_step(IMAGES, np.zeros((7, 3), np.float32))


def test_metrics_by_output_are_in_the_file(tmp_path):
    image = gcn.Input((5, 4, 2), name="image")
    features = gcn.Flatten()(image)
    network = gcn.Network(image, {"kind": gcn.Dense(3)(features), "tags": gcn.Dense(4)(features)})
    loss = {"kind": gcn.CrossEntropy(), "tags": gcn.BinaryCrossEntropy()}
    model = gcn.compile(network, loss=loss, optimizer=gcn.SGD(0.1))
    targets = {"kind": np.arange(7) % 3, "tags": np.ones((7, 4), np.float32)}
    results = model.evaluate(IMAGES, targets)
    assert {"kind_accuracy", "tags_binary_accuracy"} < results.keys()
    model.save(tmp_path / "two.safetensors")
    assert gcn.load(tmp_path / "two.safetensors").evaluate(IMAGES, targets) == results


def test_early_stopping_looks_for_the_greatest_iou():
    assert gcn.EarlyStopping("val_iou").sign == gcn.EarlyStopping("val_binary_accuracy").sign == -1


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("ignore", [255, -1, 1])
def test_accuracy_leaves_out_what_the_loss_ignores(ignore, backend, tmp_path):
    labels = RANDOM.choice([0, 1, 2, ignore], (7, 5, 4))
    model = measured(gcn.CrossEntropy(ignore=ignore), [gcn.Conv2d(3, 1)], backend, metrics=["accuracy"])
    right = model.predict(IMAGES).argmax(-1) == labels
    expected = right[labels != ignore].mean()
    assert model.evaluate(IMAGES, labels)["accuracy"] == pytest.approx(expected)
    model.save(tmp_path / "model.safetensors")
    again = gcn.load(tmp_path / "model.safetensors", backend=backend)
    assert again.evaluate(IMAGES, labels)["accuracy"] == pytest.approx(expected)
    rows = measured(gcn.CrossEntropy(ignore=ignore), [gcn.Flatten(), gcn.Dense(3)], backend)
    assert rows.evaluate(IMAGES, np.full(7, ignore))["accuracy"] == 0


@pytest.mark.parametrize("asked", ["acuracy", "acc", "auc", "meansquare", "top_5"])
@pytest.mark.parametrize(
    ("loss", "last"),
    [
        (gcn.CrossEntropy(), (gcn.Flatten(), gcn.Dense(3))),
        (gcn.Hinge(), (gcn.Flatten(), gcn.Dense(3))),
        (gcn.BinaryCrossEntropy(), (gcn.Flatten(), gcn.Dense(3))),
        (gcn.Focal(), (gcn.Flatten(), gcn.Dense(3))),
        (gcn.Dice(), (gcn.Conv2d(2, 1),)),
        (gcn.CrossEntropy(), (gcn.Conv2d(2, 1),)),
        (gcn.SquaredError(), (gcn.Flatten(), gcn.Dense(3))),
    ],
)
def test_an_unknown_metric_is_answered_with_one_that_goes_with_the_loss(loss, last, asked):
    for given in ([asked], asked, {"output": [asked]}):
        with pytest.raises(OptionError, match=f"unknown metric '{asked}'|is not a sequence") as caught:
            measured(loss, last, backend="numpy", metrics=given)
        said = re.search(r"did you mean '(\w+)'|metrics=\[\"(\w+)\"", caught.value.mend)
        metrics = None if said is None else [said[1] or said[2]]
        measured(loss, last, backend="numpy", metrics=metrics)
    assert said or isinstance(loss, gcn.SquaredError)


def test_metrics_that_do_not_fit_are_left_out_as_advised():
    for loss, last, asked in (
        (gcn.BinaryCrossEntropy(), (gcn.Flatten(), gcn.Dense(3)), "accuracy"),
        (gcn.SquaredError(), (gcn.Flatten(), gcn.Dense(3)), "iou"),
    ):
        with pytest.raises(OptionError, match="needs outputs") as caught:
            measured(loss, last, backend="numpy", metrics=[asked])
        assert caught.value.mend.startswith("leave metrics out")
        measured(loss, last, backend="numpy")
    for given in (gcn.CrossEntropy(), 3):
        with pytest.raises(OptionError, match="not a sequence"):
            measured(gcn.CrossEntropy(), (gcn.Flatten(), gcn.Dense(3)), metrics=given)
