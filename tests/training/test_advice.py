"""Advice in errors is followed to the letter: its code is run, and what was refused is accepted."""

import copy
import pickle
import re

import numpy as np
import PIL.Image
import pytest

import graphcnn as gcn
from graphcnn.errors import GraphcnnError
from graphcnn.foreign_names import OF_MODELS

IMAGES = np.random.default_rng(4).random((6, 8, 8, 1), np.float32)
LABELS = np.array([0, 1, 2, 0, 1, 2])
WORDS = np.array(["cat", "dog", "owl"])[LABELS]


def classifier(channels: int = 1, classes: int = 3) -> gcn.Model:
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(classes))
    return gcn.compile(network, input_shape=(8, 8, channels), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))


def advised(call, **names):
    """Return what the code in an error's advice computes: what stands behind its last colon."""
    with pytest.raises(GraphcnnError) as caught:
        call()
    *statements, last = re.sub(r"^[^(]*: ", "", caught.value.mend).split("; ")
    names |= {"np": np, "gcn": gcn}
    for statement in statements:
        exec(statement, names)
    if "=" in last.partition("(")[0]:
        exec(last, names)
        return names
    return eval(last, names)


LABELS_AND_NEW = {
    "words": (WORDS, "labels"),
    "words as objects": (WORDS.astype(object), "labels"),
    "digits as words": (LABELS.astype(str), None),
    "objects": (LABELS.astype(object), None),
    "one-hot": (np.eye(3)[LABELS], None),
    "one-hot integers": (np.eye(3, dtype=int)[LABELS], None),
    "floats": (LABELS.astype(np.float32), None),
    "truth values": (LABELS > 0, None),
    "a column": (LABELS[:, None], None),
    "from 1": (LABELS + 1, None),
    "sparse": (LABELS * 100, "labels"),
    "dates": (LABELS.astype("datetime64[D]"), "labels"),
}


@pytest.mark.parametrize(("given", "name"), LABELS_AND_NEW.values(), ids=LABELS_AND_NEW)
def test_labels_that_were_refused_are_accepted_as_advised(given, name):
    model = classifier()
    found = advised(lambda: model.fit(IMAGES, given, progress=False), labels=given)
    labels = found if name is None else found[name]
    if given.dtype != bool:
        np.testing.assert_array_equal(labels, LABELS)
    model.fit(IMAGES, labels, progress=False)


@pytest.mark.parametrize("absent", [-1, -100])
def test_samples_without_a_class_are_left_out_as_advised(absent):
    model, labels = classifier(), np.where(LABELS == 2, absent, LABELS)
    images, known = advised(lambda: model.fit(IMAGES, labels, progress=False), labels=labels, images=IMAGES)
    assert len(images) == len(known) == 4
    model.fit(images, known, progress=False)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_samples_that_are_not_finite_are_left_out_as_advised(number):
    model, images = classifier(), IMAGES.copy()
    images[2, 3, 3] = number
    kept, labels = advised(lambda: model.fit(images, LABELS, progress=False), images=images, targets=LABELS)
    assert len(kept) == 5
    model.fit(kept, labels, progress=False)

    network = gcn.Sequential(gcn.Flatten(), gcn.Dense(1))
    options = {"input_shape": (8, 8, 1), "loss": gcn.SquaredError(), "optimizer": gcn.SGD(0.01)}
    regression, targets = gcn.compile(network, **options), np.ones((6, 1), np.float32)
    targets[4] = number
    kept, targets = advised(
        lambda: regression.fit(IMAGES, targets, progress=False), images=IMAGES, targets=targets
    )
    assert len(kept) == 5
    regression.fit(kept, targets, progress=False)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (LABELS + 0.5, "not whole numbers"),
        (np.array([None, "cat"] * 3, object), "the number of its class, from 0"),
        (np.zeros((6, 8, 8), int), "one number of a class for each sample"),
        (np.zeros((), int), "one number of a class for each sample"),
        (LABELS[:0], "give every sample its label"),
        (np.arange(6), "give the last Dense layer 6 units"),
    ],
)
def test_labels_that_no_code_mends_are_explained(labels, said):
    with pytest.raises(GraphcnnError, match=re.escape(said)):
        classifier().fit(IMAGES, labels, progress=False)


COLOURS = np.repeat(IMAGES, 3, axis=-1)
IMAGES_GIVEN = {
    "no channel": (1, IMAGES[..., 0]),
    "a single image": (1, IMAGES[0]),
    "a single image without channel": (1, IMAGES[0, ..., 0]),
    "flat": (1, IMAGES.reshape(6, 64)),
    "flat colours": (3, COLOURS.reshape(6, 192)),
    "channels first": (3, COLOURS.transpose(0, 3, 1, 2)),
    "a single image, channels first": (3, COLOURS[0].transpose(2, 0, 1)),
    "colours for a grey network": (1, COLOURS),
    "grey for a network of colours": (3, IMAGES),
    "integers of bytes": (1, (IMAGES * 255).astype(np.int64)),
    "truth values": (1, IMAGES > 0.5),
    "objects": (1, IMAGES.astype(object)),
}


@pytest.mark.parametrize(("channels", "given"), IMAGES_GIVEN.values(), ids=IMAGES_GIVEN)
def test_images_that_were_refused_are_accepted_as_advised(channels, given):
    model = classifier(channels)
    found = advised(lambda: model.predict(given), images=given, image=given)
    if isinstance(found, np.ndarray):
        assert model.predict(found).shape == (len(found), 3)
        assert found.max() <= 1


def test_paths_are_decoded_as_advised(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, paths = classifier(), ["0.png", "1.png"]
    for path in paths:
        PIL.Image.new("L", (12, 9)).save(path)
    for given in ("0.png", ["0.png", "1.png"], b"0.png"):
        found = advised(lambda given=given: model.predict(given), paths=paths)
        assert model.predict(found).shape == (2, 3)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (None, 8, 8, 1), 64, "8, 8, 1"])
def test_input_shapes_are_mended_as_advised(shape):
    def compiled(shape):
        network = gcn.Sequential(
            gcn.Conv2d(4, 3), gcn.MaxPool2d(2), gcn.Conv2d(4, 2), gcn.Flatten(), gcn.Dense(2)
        )
        return gcn.compile(network, input_shape=shape)

    with pytest.raises(GraphcnnError) as caught:
        compiled(shape)
    assert ".py" in str(caught.value)
    mended = re.search(r"\((\d+, \d+, \d+)\)", caught.value.mend)
    assert compiled(tuple(map(int, mended[1].split(", ")))).predict is not None


def test_pixels_without_a_class_are_ignored_as_advised():
    network = gcn.Sequential(gcn.Conv2d(3, 3, padding="same"))
    options = {"input_shape": (8, 8, 1), "optimizer": gcn.SGD(0.01)}
    labels = np.full((6, 8, 8), 255)
    labels[:, 2:] = 1
    with pytest.raises(GraphcnnError, match=r"gcn\.CrossEntropy\(ignore=255\)"):
        gcn.compile(network, loss=gcn.CrossEntropy(), **options).fit(IMAGES, labels, progress=False)
    gcn.compile(network, loss=gcn.CrossEntropy(ignore=255), **options).fit(IMAGES, labels, progress=False)


@pytest.mark.parametrize("name", OF_MODELS)
def test_names_of_other_frameworks_say_what_exists(name):
    model = classifier()
    assert not hasattr(model, name)
    with pytest.raises(AttributeError) as caught:
        getattr(model, name)
    said = str(caught.value)
    assert said.startswith(f"a Model has no attribute {name!r}: ")
    assert re.search(r"model|gcn\.", said)
    for path in re.findall(r"\bmodel((?:\.\w+)+)", said):
        found = model
        for step in path.strip(".").split("."):
            found = getattr(found, step)
    for step in re.findall(r"\bgcn\.(\w+)", said):
        assert getattr(gcn, step)


def test_unknown_names_are_told_what_they_resemble():
    model = classifier()
    with pytest.raises(AttributeError, match="did you mean 'parameters'"):
        _ = model.parametres
    with pytest.raises(AttributeError, match="did you mean 'fit'"):
        _ = model.Fit
    with pytest.raises(AttributeError, match=r"no attribute 'zzzzzz'$"):
        _ = model.zzzzzz
    assert not hasattr(model, "_repr_png_")
    assert copy.copy(model).summary is not None
    empty = gcn.Model.__new__(gcn.Model)  # as pickle and copy begin
    assert not hasattr(empty, "__setstate__")
    assert not hasattr(empty, "_graphs")
    assert pickle.loads(pickle.dumps(AttributeError("told"))).args == ("told",)


def test_a_model_predicts_when_it_is_called():
    model = classifier()
    np.testing.assert_array_equal(model(IMAGES), model.predict(IMAGES))


def test_the_summary_is_a_table_wherever_it_is_shown():
    summary = classifier().summary(batch_size=2)
    for text in (str(summary), repr(summary)):
        assert "batch 2" in text
        assert "\x1b" not in text
        assert re.search(r"dense1 +\[N, 3\]", text)
    assert "<table>" in summary._repr_html_()
    assert "conv1" in str(gcn.compile(gcn.Conv2d(2, 3), input_shape=(8, 8, 1)).summary())
    with pytest.raises(gcn.OptionError, match="batch_size=0"):
        classifier().summary(batch_size=0)
