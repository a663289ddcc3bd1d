"""Data that does not fit is refused with a message that says what, where and how to mend it."""

import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.errors import DataError, OptionError

IMAGES = np.random.default_rng(0).random((10, 6, 6, 1)).astype(np.float32)
LABELS = np.arange(10) % 3


def classifier(loss=None, last=None):
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten(), last or gcn.Dense(3))
    return gcn.compile(
        network, input_shape=(6, 6, 1), loss=loss or gcn.CrossEntropy(), optimizer=gcn.SGD(0.1, momentum=0.9)
    )


@pytest.mark.parametrize("shape", [(10,), (10, 1)])
def test_labels_where_a_number_for_each_class_is_needed(shape):
    model, labels = classifier(gcn.SquaredError()), LABELS.reshape(shape)
    message = refused(CALLS["fit"](IMAGES, labels), model)
    mend = message.partition("Mend: ")[2].partition(", or a loss of labels")[0]
    assert mend.startswith("np.eye(3, dtype='float32')[labels")
    model.fit(IMAGES, eval(mend, {"np": np, "labels": labels}), epochs=1, progress=False)


def test_a_shape_that_does_not_fit_is_named_before_an_element_type():
    message = refused(CALLS["fit"]((IMAGES * 255).astype(np.uint8)[..., 0], LABELS), classifier())
    assert "images[..., None]" in message


def refused(call, model, kind=DataError):
    """Return the message of the error that `call(model)` raises; nothing must have been trained."""
    before = model.state()
    with pytest.raises(kind) as caught:
        call(model)
    assert re.match(r"test_data_errors\.py:\d+: ", str(caught.value)), (
        "it names the line that calls the model"
    )
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])
    assert model.epochs_done == 0
    assert len(model.history) == 0
    return str(caught.value)


def changed(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


CALLS = {
    "fit": lambda x, y: lambda model: model.fit(x, y, epochs=1, progress=False),
    "fit on batches": lambda x, y: lambda model: model.fit([(x, y)], progress=False),
    "validation": lambda x, y: (
        lambda model: model.fit(IMAGES, LABELS, validation_data=(x, y), progress=False)
    ),
    "evaluate": lambda x, y: lambda model: model.evaluate(x, y),
    "train_step": lambda x, y: lambda model: model.train_step(x, y),
}  # fmt: skip
FAULTS = {
    "a label too great": (
        (IMAGES, changed(LABELS, 7, 3)),
        ["label 3 of sample 7 is out of range", "labels are 0 to 2", "renumber the labels"],
    ),
    "a negative label": ((IMAGES, changed(LABELS, 4, -1)), ["label -1 of sample 4", "labels are 0 to 2"]),
    "integers": (((IMAGES * 255).astype(np.int64), LABELS), ["holds int64", ".astype('float32')"]),
    "no samples": ((IMAGES[:0], LABELS[:0]), ["the dataset is empty", "[0, 6, 6, 1]"]),
    "too few labels": ((IMAGES, LABELS[:9]), ["10 inputs, 9 labels", "give every sample its label"]),
    "one-hot labels": (
        (IMAGES, np.eye(3)[LABELS]),
        ["labels [10, 3] look one-hot", "labels.argmax(axis=1)"],
    ),
    "labels in a column": ((IMAGES, LABELS[:, None]), ["labels have the shape [10, 1]", "labels[..., 0]"]),
    "float labels": (
        (IMAGES, LABELS.astype(np.float32)),
        ["labels are float32, but integers are needed", "labels.astype('int64')"],
    ),
    "words as labels": ((IMAGES, ["cat"] * 10), ["labels are text, but integers are needed", "np.unique"]),
    "no channel axis": (
        (IMAGES[..., 0], LABELS),
        ["[10, 6, 6], but [N, 6, 6, 1] is needed", "images[..., None]"],
    ),
    "a single sample": ((IMAGES[0], LABELS[0]), ["[6, 6, 1], but [N, 6, 6, 1] is needed", "image[None]"]),
    "another size": ((IMAGES[:, :5], LABELS), ["[10, 5, 6, 1], but [N, 6, 6, 1] is needed"]),
    "images of unequal shape": (
        ([IMAGES[0], IMAGES[1][:4]], LABELS[:2]),
        ["inputs 'image' are not an array", "np.stack"],
    ),
    "labels of unequal length": ((IMAGES[:2], [[1], [1, 2]]), ["labels are not an array"]),
    "the wrong name": (({"photo": IMAGES}, LABELS), ["inputs are image, not photo", "gcn.Input"]),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize(("data", "expected"), FAULTS.values(), ids=FAULTS)
def test_data_that_does_not_fit_is_refused_before_anything_is_trained(call, data, expected):
    message = refused(call(*data), classifier())
    for part in expected:
        assert part in message


@pytest.mark.parametrize("call", [name for name in CALLS if name != "train_step"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite_are_found(call, value):
    images = changed(changed(IMAGES, (3, 1, 2, 0), value), (8, 0, 0, 0), value)
    message = refused(CALLS[call](images, LABELS), classifier())
    assert "'image' hold NaN or infinity in 2 of 10 samples" in message
    assert "the first is sample 3" in message
    assert "kept = np.isfinite(images)" in message


def test_targets_of_a_regression():
    model = classifier(gcn.SquaredError(), gcn.Dense(1))
    targets = np.zeros((10, 1))
    assert "targets[..., None]" in refused(lambda m: m.fit(IMAGES, targets[:, 0]), model)
    assert "targets hold NaN or infinity" in refused(lambda m: m.fit(IMAGES, targets + np.nan), model)
    assert "'targets' holds int64" in refused(lambda m: m.fit(IMAGES, targets.astype(int)), model)


def test_images_with_their_channels_first():
    model = gcn.compile(gcn.Conv2d(2, 3), input_shape=(6, 5, 3))
    with pytest.raises(DataError, match=r"images\.transpose\(0, 2, 3, 1\)"):
        model.predict(np.zeros((2, 3, 6, 5), np.float32))


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("size", [0, -4, 2.5, "8", True])
def test_a_batch_size_that_is_no_count(call, size):
    arguments = (IMAGES,) if call == "predict" else (IMAGES, LABELS)
    message = refused(lambda m: getattr(m, call)(*arguments, batch_size=size), classifier(), OptionError)
    assert f"batch_size={size!r} is not an integer of at least 1" in message
    assert "Mend: " in message


@pytest.mark.parametrize("epochs", [0, -1, 1.5, True])
def test_epochs_that_are_no_count(epochs):
    message = refused(lambda m: m.fit(IMAGES, LABELS, epochs=epochs), classifier(), OptionError)
    assert f"epochs={epochs!r} is not an integer of at least 1" in message


def test_missing_labels():
    assert "labels are missing" in refused(lambda m: m.fit(IMAGES), classifier())


# Batches from an iterable


def test_a_generator_is_exhausted_in_the_second_epoch():
    model = classifier()
    batches = ((IMAGES[i : i + 5], LABELS[i : i + 5]) for i in (0, 5))
    with pytest.raises(DataError, match="the batches of epoch 2 are empty") as caught:
        model.fit(batches, epochs=2, progress=False)
    assert "a generator ends after one epoch" in str(caught.value)
    assert model.epochs_done == 1
    assert len(model.history) == 1
    assert np.isfinite(model.fit(IMAGES, LABELS, progress=False)["loss"]).all()


def test_validation_from_a_generator_is_exhausted_in_the_second_epoch():
    model = classifier()
    validation = (batch for batch in [(IMAGES, LABELS)])
    with pytest.raises(DataError, match="a generator ends after one pass"):
        model.fit(IMAGES, LABELS, epochs=2, validation_data=validation, progress=False)


NOT_VALIDATED = {
    "labels out of range": (IMAGES, LABELS + 9),
    "labels of another number": (IMAGES[:2], LABELS),
    "images of another shape": (IMAGES[..., 0], LABELS),
    "a batch": [(IMAGES, LABELS), (IMAGES, LABELS + 9)],
    "no batches": [],
    "images alone": IMAGES,
    "a share": 0.2,
    "a tuple of one": (IMAGES,),
    "no pairs": [IMAGES],
    "weights below 0": (IMAGES, LABELS, -np.ones(len(LABELS), np.float32)),
}


@pytest.mark.parametrize("given", NOT_VALIDATED.values(), ids=NOT_VALIDATED)
def test_errors_of_validation_data_say_so(given):
    model = classifier()
    with pytest.raises(DataError, match=r"^test_data_errors\.py:\d+: validation_data: .*\n    model\.fit"):
        model.fit(IMAGES, LABELS, validation_data=given, progress=False)
    with pytest.raises(DataError) as caught:
        model.fit(IMAGES, LABELS + 9, validation_data=(IMAGES, LABELS), progress=False)
    assert "validation_data" not in caught.value.problem


def test_images_and_labels_as_one_argument_are_told_apart_as_advised():
    for call in (lambda m, x: m.fit(x, progress=False), lambda m, x: m.evaluate(x)):
        for pair in ((IMAGES, LABELS), [IMAGES, LABELS]):
            message = refused(lambda m, call=call, pair=pair: call(m, pair), classifier())
            assert message.endswith("Mend: as arguments of their own: images, labels")
    assert "labels are missing" in refused(lambda m: m.train_step(IMAGES, None), classifier())
    for nothing in (None, {1, 2}, object()):
        message = refused(lambda m, nothing=nothing: m.predict(nothing), classifier())
        assert f"are {type(nothing).__name__}, not an array" in message


def test_graphs_that_a_model_does_not_have():
    model = classifier()
    for name, mend in (("step_", "did you mean 'step'?"), ("backward", 'model.graph("gradient")')):
        with pytest.raises(
            OptionError, match=rf"test_data_errors\.py:\d+: a model has no graph '{name}'"
        ) as caught:
            model.graph(name)
        assert caught.value.mend == mend


@pytest.mark.parametrize("batches", [[], iter(())])
def test_no_batches_at_all(batches):
    assert "the batches of epoch 1 are empty" in refused(
        lambda m: m.fit(batches, progress=False), classifier()
    )
    assert "the dataset is empty" in refused(lambda m: m.evaluate(batches), classifier())


@pytest.mark.parametrize("batch", [IMAGES, (IMAGES,), (IMAGES, LABELS, LABELS, LABELS), 3])
def test_a_batch_that_is_no_pair(batch):
    message = refused(lambda m: m.fit([batch], progress=False), classifier())
    assert "a batch is not a pair (images, labels)" in message
    assert type(batch).__name__ in message


def test_a_bad_batch_after_a_good_one():
    model = classifier()
    bad = (IMAGES, changed(LABELS, 2, 9))
    with pytest.raises(DataError, match="label 9 of sample 2"):
        model.fit([(IMAGES, LABELS), bad], progress=False)
    assert np.isfinite(model.train_step(IMAGES, LABELS)["loss"])


# Several inputs


def test_several_inputs_of_unequal_length():
    left, right = gcn.Input((3,), name="left"), gcn.Input((3,), name="right")
    model = gcn.compile(gcn.Network((left, right), left + right))
    with pytest.raises(DataError, match="2 left, 3 right"):
        model.predict([np.zeros((2, 3)), np.zeros((3, 3))])
    with pytest.raises(DataError, match="the network has 2 inputs: left, right"):
        model.predict(np.zeros((2, 3)))


# A model that was compiled for less


def test_training_a_model_without_a_loss_or_optimizer():
    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(3))
    predictor = gcn.compile(network, input_shape=(6, 6, 1))
    scorer = gcn.compile(network, input_shape=(6, 6, 1), loss=gcn.CrossEntropy())
    for model, lacking in ((predictor, "a loss and an optimizer"), (scorer, "an optimizer")):
        with pytest.raises(OptionError, match=rf"compiled without {lacking}\n.*\n  Mend: gcn.compile"):
            model.fit(IMAGES, LABELS)
    with pytest.raises(OptionError, match="compiled without a loss\n"):
        predictor.evaluate(IMAGES, LABELS)
    assert set(scorer.evaluate(IMAGES, LABELS)) == {"loss", "accuracy"}
