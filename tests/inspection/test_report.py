"""The report on an evaluation is what NumPy counts of predictions and targets."""

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import OptionError

RANDOM = np.random.default_rng(12)
IMAGES = RANDOM.random((30, 6, 6, 1)).astype(np.float32)
LABELS = RANDOM.integers(0, 3, 30)
NAMES = ("cat", "dog", "cow")


def compiled(loss, *last, **options):
    return gcn.compile(gcn.Sequential(*last), input_shape=(6, 6, 1), loss=loss, **options)


def classifier(units=3):
    return compiled(gcn.CrossEntropy(), gcn.Flatten(), gcn.Dense(units))


def test_classes_are_counted_and_named():
    model = classifier()
    report = model.evaluate(IMAGES, LABELS, batch_size=7, report=True, classes=NAMES)
    chosen = model.predict(IMAGES).argmax(1)
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (LABELS, chosen), 1)
    np.testing.assert_array_equal(report.confusion, expected)
    scores = report.scores
    np.testing.assert_allclose(scores.recall, expected.diagonal() / expected.sum(1))
    np.testing.assert_array_equal(scores.support, np.bincount(LABELS))
    assert report.results == model.evaluate(IMAGES, LABELS, batch_size=7)
    assert report["accuracy"] == pytest.approx((chosen == LABELS).mean())
    assert (report.samples, report.classes) == (30, NAMES)
    text = str(report)
    for part in ("30 samples", "accuracy", "precision", "weighted mean", "taken for", *NAMES):
        assert part in text
    assert f"{scores.f1[1]:.4f}" in text
    assert "<pre" in report._repr_html_()


def test_the_worst_mistakes_come_first_with_their_pictures(tmp_path):
    model = classifier()
    report = model.evaluate(IMAGES, LABELS, batch_size=7, report=True, classes=NAMES)
    outputs = model.predict(IMAGES).astype(float)
    losses = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(30), LABELS]
    wrong = np.flatnonzero(outputs.argmax(1) != LABELS)
    worst = wrong[np.argsort(-losses[wrong])]
    assert [each.index for each in report.mistakes] == worst.tolist()
    first = report.mistakes[0]
    assert first.score == pytest.approx(losses[worst[0]], rel=1e-5)
    assert (first.true, first.predicted) == (NAMES[LABELS[first.index]], NAMES[outputs[first.index].argmax()])
    np.testing.assert_array_equal(first.inputs["image"], IMAGES[first.index])
    page = report.show_mistakes(tmp_path / "mistakes.html", count=4, open=False)
    written = page.read_text(encoding="utf-8")
    assert written.count("<img") == 4
    assert f"#{first.index}: {first.true} → {first.predicted}" in written


def test_batches_that_come_once_are_enough():
    model = classifier()
    pieces = ((IMAGES[i : i + 8], LABELS[i : i + 8]) for i in range(0, 30, 8))
    once, whole = model.evaluate(pieces, report=True), model.evaluate(IMAGES, LABELS, report=True)
    np.testing.assert_array_equal(once.confusion, whole.confusion)
    assert [each.index for each in once.mistakes] == [each.index for each in whole.mistakes]


def test_of_many_classes_those_that_are_confused_most_are_listed():
    model = classifier(30)
    report = model.evaluate(IMAGES, LABELS, report=True)
    apart = report.confusion.copy()
    np.fill_diagonal(apart, 0)
    true, taken = np.unravel_index(apart.argmax(), apart.shape)
    lines = str(report).splitlines()
    place = next(number for number, line in enumerate(lines) if "confused most often" in line)
    rows = [line.split() for line in lines[place:]]
    assert [str(true), str(taken), str(apart.max())] in rows


def test_pixels_are_counted_but_for_those_that_the_loss_ignores(tmp_path):
    labels = RANDOM.choice([0, 1, 2, 255], (30, 6, 6))
    model = compiled(gcn.CrossEntropy(ignore=255), gcn.Conv2d(3, 1))
    report = model.evaluate(IMAGES, labels, report=True)
    counts = labels != 255
    expected = np.zeros((3, 3), int)
    np.add.at(expected, (labels[counts], model.predict(IMAGES).argmax(-1)[counts]), 1)
    np.testing.assert_array_equal(report.confusion, expected)
    shares = [each.score for each in report.mistakes]
    assert shares == sorted(shares, reverse=True)
    assert "% wrong" in report.show_mistakes(tmp_path / "a.html", open=False).read_text(encoding="utf-8")


def test_questions_have_a_row_each():
    targets = RANDOM.integers(0, 2, (30, 3)).astype(np.float32)
    model = compiled(gcn.BinaryCrossEntropy(), gcn.Flatten(), gcn.Dense(3))
    report = model.evaluate(IMAGES, targets, report=True, classes=("red", "round", "ripe"))
    said, true = model.predict(IMAGES) > 0, targets > 0
    np.testing.assert_allclose(report.scores.precision, (said & true).sum(0) / np.maximum(said.sum(0), 1))
    assert "ripe" in str(report)
    wrong = (said != true).any(1)
    assert len(report.mistakes) == wrong.sum()
    with pytest.raises(OptionError, match="only classes are taken for each other"):
        _ = report.confusion


def test_numbers_have_errors():
    targets = RANDOM.standard_normal((30, 2)).astype(np.float32)
    model = compiled(gcn.SquaredError(), gcn.Flatten(), gcn.Dense(2))
    report = model.evaluate(IMAGES, targets, batch_size=7, report=True)
    difference = model.predict(IMAGES).astype(float) - targets
    np.testing.assert_allclose(report.errors["mae"], np.abs(difference).mean(0), rtol=1e-6)
    np.testing.assert_allclose(report.errors["rmse"], np.sqrt((difference**2).mean(0)), rtol=1e-6)
    spread = ((targets - targets.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(report.errors["r2"], 1 - (difference**2).sum(0) / spread, rtol=1e-5)
    assert report.mistakes[0].index == np.abs(difference).mean(1).argmax()
    assert "RMSE" in str(report)
    with pytest.raises(OptionError, match=r"report\.errors"):
        _ = report.scores


def test_each_of_several_outputs_has_a_report():
    image = gcn.Input((6, 6, 1), name="image")
    features = gcn.Flatten()(image)
    network = gcn.Network(image, {"kind": gcn.Dense(3)(features), "size": gcn.Dense(1)(features)})
    loss = {"kind": gcn.CrossEntropy(), "size": gcn.SquaredError(reduction="mean")}
    model = gcn.compile(network, loss=loss)
    targets = {"kind": LABELS, "size": np.ones((30, 1), np.float32)}
    reports = model.evaluate(IMAGES, targets, report=True, classes={"kind": NAMES, "size": ("cm",)})
    assert list(reports) == ["kind", "size"]
    assert reports["kind"].classes == NAMES
    assert reports["kind"].confusion.sum() == 30
    assert reports["kind"].results.keys() == {"kind_loss", "kind_accuracy"}
    assert reports["size"].errors["mae"].shape == (1,)


def test_where_all_is_right_there_is_nothing_to_show():
    model = classifier()
    report = model.evaluate(IMAGES, model.predict(IMAGES).argmax(1), report=True)
    assert report.mistakes == ()
    with pytest.raises(OptionError, match="no mistake to show"):
        report.show_mistakes(open=False)


@pytest.mark.parametrize("classes", [("cat", "dog"), "cat", 3])
def test_names_that_do_not_fit_are_refused(classes):
    with pytest.raises(OptionError, match=r"are not 3 names(.*\n)+  Mend: classes="):
        classifier().evaluate(IMAGES, LABELS, report=True, classes=classes)


def test_a_model_that_was_compiled_without_a_loss_has_no_report():
    model = gcn.compile(gcn.Dense(2), input_shape=(4,))
    with pytest.raises(OptionError, match="without a loss"):
        model.evaluate(np.zeros((2, 4), np.float32), [0, 1], report=True)


def test_the_classes_of_a_dataset_are_named_where_the_outputs_are_as_many():
    digits = gcn.data.load_digits()
    for units, names in ((10, digits.classes), (12, tuple(map(str, range(12))))):
        network = gcn.Sequential(gcn.Flatten(), gcn.Dense(units))
        model = gcn.compile(network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy())
        report = model.evaluate(digits, report=True)
        assert report.classes == names
        assert report.samples == 360
