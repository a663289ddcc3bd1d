"""A set of images: its parts, what it prints, the pictures that it shows, and training on it."""

import copy
import pickle
import re

import numpy as np
import pytest

import graphcnn as gcn
from graphcnn.data import Dataset, mapping
from graphcnn.errors import DataError, FileError, OptionError

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (60, 6, 5, 1), dtype=np.uint8)
LABELS = np.repeat([0, 1, 2], [10, 20, 30])
TESTS = RANDOM.integers(0, 256, (8, 6, 5, 1), dtype=np.uint8)


def dataset(**changes):
    parts = {
        "images": PIXELS,
        "labels": LABELS,
        "test_images": TESTS,
        "test_labels": np.arange(8) % 3,
        "classes": ("cat", "dog", "hen"),
    }
    return Dataset(**{**parts, **changes})


def without_tests(**changes):
    return dataset(test_images=TESTS[:0], test_labels=np.zeros(0, np.int64), **changes)


def made(backend="native", **options):
    network = gcn.Sequential(gcn.Conv2d(2, 3), gcn.ReLU(), gcn.Flatten(), gcn.Dense(3))
    return gcn.compile(
        network,
        input_shape=(6, 5, 1),
        loss=gcn.CrossEntropy(),
        optimizer=gcn.SGD(0.1),
        backend=backend,
        **options,
    )


def scaled(images, dtype="float32"):
    return images.astype(dtype) / np.dtype(dtype).type(255)


def bits(model):
    return {name: value.tobytes() for name, value in model.state().items()}


# Parts


def rows_of(images):
    """Return which of the images these are."""
    return [int(np.flatnonzero((image == PIXELS).all(axis=(1, 2, 3)))[0]) for image in images]


@pytest.mark.parametrize(
    ("arguments", "sizes"),
    [((0.9,), (54, 6)), ((50,), (50, 10)), ((0.5, 0.25), (30, 15)), ((30, 5), (30, 5)), ((0.5, 3), (30, 3))],
)
def test_a_split_draws_both_parts_from_the_training_images(arguments, sizes):
    part = dataset().split(*arguments, seed=4)
    assert (len(part.images), len(part.test_images)) == sizes
    chosen, tested = rows_of(part.images), rows_of(part.test_images)
    assert not set(chosen) & set(tested)
    assert len(set(chosen + tested)) == sum(sizes)
    assert chosen == sorted(chosen)
    np.testing.assert_array_equal(part.labels, LABELS[chosen])
    np.testing.assert_array_equal(part.test_labels, LABELS[tested])
    assert part.images.dtype == np.uint8
    again = dataset().split(*arguments, seed=4)
    np.testing.assert_array_equal(again.images, part.images)
    assert rows_of(dataset().split(*arguments, seed=5).images) != chosen


@pytest.mark.parametrize(
    "arguments", [(1.0,), (0.0,), (-3,), (0,), (60,), (61,), (50, 11), (True,), ("half",)]
)
def test_a_split_that_there_is_not_is_refused_with_one_that_there_is(arguments):
    with pytest.raises(OptionError, match=r"test_dataset\.py:\d+: .*") as caught:
        dataset().split(*arguments)
    advice = re.search(r"\d+\.\d+|\d+", caught.value.mend)
    assert advice is not None


def test_images_are_taken_at_random_and_keep_their_order():
    part = dataset().take(20)
    chosen = rows_of(part.images)
    assert len(chosen) == 20
    assert chosen == sorted(chosen)
    assert set(LABELS[chosen]) == {0, 1, 2}
    np.testing.assert_array_equal(part.labels, LABELS[chosen])
    assert part.test_images is TESTS
    assert len(dataset().take(0.1).images) == 6
    with pytest.raises(OptionError, match="61 of 60"):
        dataset().take(61)


def test_classes_are_balanced():
    part = dataset().balanced(4, seed=1)
    assert np.bincount(part.labels).tolist() == [4, 4, 4]
    np.testing.assert_array_equal(part.labels, LABELS[rows_of(part.images)])
    assert np.bincount(dataset().balanced().labels).tolist() == [10, 10, 10]
    with pytest.raises(OptionError, match="no 11 training images of the class 'cat'") as caught:
        dataset().balanced(11)
    assert "balanced(10)" in caught.value.mend


def test_a_class_without_images_stays_without_when_classes_are_balanced():
    part = dataset(classes=("cat", "dog", "hen", "yak")).balanced()
    assert np.bincount(part.labels, minlength=4).tolist() == [10, 10, 10, 0]


def test_rows_of_a_large_file_are_mapped_again(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", PIXELS)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert not mapping.is_mapped(dataset(images=np.asarray(mapped)).split(0.5).images)
    monkeypatch.setattr(mapping, "LARGE", 0)
    monkeypatch.setattr(mapping, "_BLOCK", 100)
    part, expected = dataset(images=np.asarray(mapped)).split(0.5), dataset().split(0.5)
    for found, other in ((part.images, expected.images), (part.test_images, expected.test_images)):
        assert mapping.is_mapped(found)
        np.testing.assert_array_equal(found, other)
    assert not mapping.is_mapped(expected.images)


def test_a_folder_without_room_for_rows_is_named(tmp_path, monkeypatch):
    np.save(tmp_path / "images.npy", PIXELS)
    monkeypatch.setattr(mapping, "LARGE", 0)
    monkeypatch.setattr(
        mapping.tempfile, "TemporaryFile", lambda **_: (tmp_path / "nowhere" / "file").open("wb")
    )
    with pytest.raises(FileError, match="cannot be kept in") as caught:
        dataset(images=np.load(tmp_path / "images.npy", mmap_mode="r")).split(0.5)
    assert "TMPDIR" in caught.value.mend


# What it prints and shows


def test_it_prints_the_numbers_of_images_by_class():
    lines = str(dataset(left_out=("a.jpg: it is empty",))).splitlines()
    assert lines[0] == "Dataset(60 training and 8 test images of 6x5x1, 3 classes)"
    assert [line.split() for line in lines[1:5]] == [
        ["class", "training", "test"],
        ["cat", "10", "3"],
        ["dog", "20", "3"],
        ["hen", "30", "2"],
    ]
    assert "1 file is left out" in lines[5]
    assert "test" not in str(without_tests())


def test_of_many_classes_some_are_printed():
    many = dataset(classes=tuple(f"class {number}" for number in range(100)))
    lines = str(many).splitlines()
    assert len(lines) == 23
    assert lines[-1].strip() == "and 80 classes more"


def test_a_name_that_would_command_a_terminal_is_printed_as_an_escape():
    assert "\x1b" not in str(dataset(classes=("\x1b[2J", "b", "c")))


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_page_shows_pictures_of_each_class(tmp_path, dtype):
    images, tests = (PIXELS, TESTS) if dtype == "uint8" else (scaled(PIXELS), scaled(TESTS))
    shown = dataset(images=images, test_images=tests, classes=("<b>", "dog", "hen"))
    page = shown.show(tmp_path / "sheet.html", per_class=4, open=False).read_text("utf-8")
    assert page.count("<img ") == 12
    assert "&lt;b&gt;: 10" in page
    assert "<b>" not in page
    assert "default-src 'none'" in page
    tested = shown.show(tmp_path / "tests.html", per_class=4, test=True, open=False).read_text("utf-8")
    assert tested.count("<img ") == 8


def test_pictures_are_those_of_the_set(tmp_path):
    import base64
    import io

    from PIL import Image

    for images in (PIXELS, np.repeat(PIXELS, 3, axis=3)):
        shown = dataset(images=images, test_images=images[:0], test_labels=LABELS[:0])
        page = shown.show(tmp_path / "sheet.html", per_class=1, open=False).read_text("utf-8")
        data, number = re.search(r"base64,([^\"]+)\".*?<figcaption>(\d+)<", page).groups()
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            found = np.asarray(picture)
        np.testing.assert_array_equal(found, images[int(number)].squeeze())


def test_pictures_under_the_name_of_another_kind_of_file_are_refused(tmp_path):
    with pytest.raises(OptionError, match=r"test_dataset\.py:\d+: show writes a page in HTML"):
        dataset().show(tmp_path / "sheet.png")
    with pytest.raises(OptionError, match="per_class=0"):
        dataset().show(tmp_path / "sheet.html", per_class=0)


# Training on it


@pytest.mark.parametrize("backend", ["native", "numpy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_train_evaluate_and_predict_as_what_they_are_divided_by_255(backend, dtype):
    given, expected = made(backend, dtype=dtype), made(backend, dtype=dtype)
    floats, tests = scaled(PIXELS, dtype), scaled(TESTS, dtype)
    given.fit(PIXELS, LABELS.astype(np.int8), batch_size=16, epochs=2, progress=False)
    expected.fit(floats, LABELS, batch_size=16, epochs=2, progress=False)
    assert bits(given) == bits(expected)
    assert given.train_step(PIXELS, LABELS) == expected.train_step(floats, LABELS)
    batches = [(PIXELS[:9], LABELS[:9]), (PIXELS[9:], LABELS[9:].astype(np.uint16))]
    given.fit(batches, progress=False)
    expected.fit([(scaled(x, dtype), y) for x, y in batches], progress=False)
    assert bits(given) == bits(expected)
    for size in (3, 256):
        assert (
            given.predict(TESTS, batch_size=size).tobytes()
            == expected.predict(tests, batch_size=size).tobytes()
        )
    assert given.evaluate(TESTS, LABELS[:8]) == expected.evaluate(tests, LABELS[:8])
    assert given.predict(TESTS[:0]).shape == (0, 3)
    recorded, wanted = given.inspect(PIXELS, LABELS), expected.inspect(floats, LABELS)
    for name in recorded.values:
        np.testing.assert_array_equal(recorded.values[name], wanted.values[name])
    assert given.profile(PIXELS, LABELS, repeats=1, warmup=0).batch == 60


def test_a_set_is_trained_on_its_one_part_and_evaluated_on_its_other():
    given, expected = made(), made()
    history = given.fit(dataset(), epochs=2, progress=False)
    wanted = expected.fit(
        scaled(PIXELS), LABELS, epochs=2, validation_data=(scaled(TESTS), np.arange(8) % 3), progress=False
    )
    assert bits(given) == bits(expected)
    assert history["val_loss"] == wanted["val_loss"]
    assert given.evaluate(dataset()) == expected.evaluate(scaled(TESTS), np.arange(8) % 3)
    other = dataset(test_images=PIXELS, test_labels=LABELS)
    assert (
        made().fit(dataset(), validation_data=other, progress=False)["val_loss"]
        == made().fit(PIXELS, LABELS, validation_data=(PIXELS, LABELS), progress=False)["val_loss"]
    )


def test_a_set_without_test_images_is_trained_on_and_not_evaluated():
    model = made()
    assert "val_loss" not in model.fit(without_tests(), progress=False).names
    for call in (
        lambda: model.evaluate(without_tests()),
        lambda: model.fit(PIXELS, LABELS, validation_data=without_tests()),
    ):
        with pytest.raises(DataError, match=r"test_dataset\.py:\d+: .*no images to test on") as caught:
            call()
        assert "dataset.split(0.9)" in caught.value.mend
    model.evaluate(without_tests().split(0.9))


def test_labels_beside_a_set_and_a_set_in_the_place_of_images_are_refused():
    model = made()
    with pytest.raises(DataError, match="labels are given beside a Dataset"):
        model.fit(dataset(), LABELS)
    with pytest.raises(DataError, match="are a Dataset") as caught:
        model.predict(dataset())
    assert "dataset.test_images" in caught.value.mend


def test_bytes_for_what_takes_no_images_are_refused_as_ever():
    model = gcn.compile(gcn.Dense(2), input_shape=(4,), loss=gcn.SquaredError(), optimizer=gcn.SGD(0.1))
    with pytest.raises(DataError, match="holds uint8, but float32 is needed"):
        model.predict(np.zeros((3, 4), np.uint8))
    autoencoder = gcn.compile(
        gcn.Conv2d(1, 3, padding="same"),
        input_shape=(6, 5, 1),
        loss=gcn.SquaredError(),
        optimizer=gcn.SGD(0.1),
    )
    with pytest.raises(DataError, match="'targets' holds uint8"):  # they may be pixels, or answers 0 and 1
        autoencoder.fit(PIXELS, PIXELS, progress=False)
    autoencoder.fit(PIXELS, scaled(PIXELS), progress=False)


def test_arrays_that_are_trained_on_are_not_copied():
    import tracemalloc

    images, labels = np.zeros((8000, 32, 32, 3), np.uint8), np.zeros(8000, np.int16)
    network = gcn.Sequential(gcn.MaxPool2d(8), gcn.Flatten(), gcn.Dense(3))
    model = gcn.compile(network, input_shape=(32, 32, 3), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))
    model.fit(images[:32], labels[:32], progress=False)
    tracemalloc.start()
    model.fit(images, labels, progress=False)
    model.evaluate(images, labels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < images.nbytes / 2


def test_numbers_that_are_finite_in_float64_alone_are_found():
    images = scaled(PIXELS, "float64")
    images[7, 2, 2, 0] = 1e300
    with pytest.raises(DataError, match="NaN or infinity in 1 of 60 samples") as caught:
        made().fit(images, LABELS, progress=False)
    assert "the first is sample 7" in str(caught.value)
    images[7, 2, 2, 0] = 3e38
    made().evaluate(images, LABELS)


def test_a_hint_does_not_take_pixels_for_numbers_that_are_too_large(capsys):
    model = made()
    model.learning_rate = 1e-9
    model.fit(np.repeat(PIXELS, 20, axis=0), np.repeat(LABELS, 20), batch_size=8)
    said = capsys.readouterr().out
    assert "Hint:" in said
    assert "scaled" not in said
    assert "255" not in said


def test_a_model_that_was_copied_gathers_as_the_first():
    model = made()
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.fit(PIXELS, LABELS, progress=False)
    assert bits(model) == bits(twin)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("class_names", "dataset.classes"),
        ("filenames", "dataset.files"),
        ("targets", "dataset.labels"),
        ("random_split", "dataset.split(0.9)"),
        ("imagse", "did you mean 'images'?"),
    ],
)
def test_what_others_call_it_is_pointed_to(name, said):
    dataset = gcn.data.load_digits()
    with pytest.raises(AttributeError, match=f"a Dataset has no attribute '{name}'") as caught:
        getattr(dataset, name)
    assert said in str(caught.value)
    for code in re.findall(r"dataset\.[\w.()]+", said):
        eval(code, {"dataset": dataset})
    assert not hasattr(dataset, "__array__")
    assert copy.deepcopy(dataset).classes == pickle.loads(pickle.dumps(dataset)).classes
