"""What images are taken for: names of classes stay with the model, files become what it was trained on."""

import csv
import json
import re
import warnings

import numpy as np
import pytest
from PIL import Image

import graphcnn as gcn
from graphcnn.errors import FileError, GraphcnnWarning, OptionError

RANDOM = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def photos(tmp_path):
    """Return a folder with photographs of two classes, of many sizes."""
    for name, colour in {"sky": (40, 80, 220), "wood": (120, 200, 40)}.items():
        (tmp_path / name).mkdir()
        for number in range(6):
            noise = RANDOM.integers(-30, 30, (20 + number, 30 - number, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def compiled(classes=2, channels=3, loss=None):
    network = gcn.Sequential(gcn.Conv2d(4, 3), gcn.ReLU(), gcn.GlobalAvgPool2d(), gcn.Dense(classes))
    return gcn.compile(
        network, input_shape=(8, 8, channels), loss=loss or gcn.CrossEntropy(), optimizer=gcn.Adam(0.05)
    )


def trained(photos, channels=3):
    dataset = gcn.data.load_image_folder(photos, size=8, channels=channels)
    model = compiled(channels=channels)
    model.fit(dataset, epochs=30, batch_size=4, progress=False)
    return dataset, model


def test_a_photograph_is_told_in_words_after_loading_the_model(photos):
    _, model = trained(photos)
    model.save(photos / "model.safetensors")
    again = gcn.load(photos / "model.safetensors")
    assert again.classes == ("sky", "wood")
    found = again.classify(photos / "wood" / "3.png")
    assert found.best == ("wood",)
    assert re.fullmatch(rf"{photos / 'wood' / '3.png'}  wood [\d.]+%   sky [\d.]+%", str(found))
    assert list(found[0]) == ["wood", "sky"]
    assert sum(found[0].values()) == pytest.approx(1)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_files_become_what_the_set_has_of_them(photos, channels, resize):
    dataset = gcn.data.load_image_folder(photos, size=8, channels=channels, resize=resize)
    images = gcn.data.load_images(dataset.files, size=8, channels=channels, resize=resize)
    np.testing.assert_array_equal(images, dataset.images)
    model = compiled(channels=channels)
    found, given = model.classify(photos, resize=resize), model.classify(dataset.images)
    np.testing.assert_array_equal(found.probabilities, given.probabilities)
    assert found.files == dataset.files
    assert given.files == ()
    assert str(given).splitlines()[11].startswith("#11  ")
    logits = model.predict(dataset.images).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(given.probabilities, shares, rtol=1e-6)


@pytest.mark.parametrize("resize", ["crop", "stretch"])
def test_a_model_remembers_how_its_images_got_their_size(photos, resize):
    dataset = gcn.data.load_image_folder(photos, size=8, resize=resize).split(0.75)
    model = compiled()
    model.fit(dataset, epochs=2, batch_size=4, progress=False, checkpoint=gcn.Checkpoint(photos / "saved"))
    model.fit(dataset.images, dataset.labels, progress=False)
    model.save(photos / "model.safetensors")
    again = gcn.load(photos / "model.safetensors")
    assert gcn.resume(photos / "saved").resize == again.resize == model.resize == resize
    found, told = again.classify(photos), again.classify(photos, resize=resize)
    other = again.classify(photos, resize="crop" if resize == "stretch" else "stretch")
    np.testing.assert_array_equal(found.probabilities, told.probabilities)
    assert (found.probabilities != other.probabilities).any()
    with pytest.raises(OptionError, match="neither 'crop' nor 'stretch'"):
        model.resize = "squeeze"


def test_a_file_with_another_resize_is_refused(photos):
    model = compiled()
    model.resize = "stretch"
    path = photos / "model.safetensors"
    model.save(path)
    path.write_bytes(path.read_bytes().replace(b'"resize":"stretch"', b'"resize":"squeeze"'))
    with pytest.raises(FileError, match="neither 'crop' nor 'stretch'"):
        gcn.load(path)


def test_more_images_than_are_decoded_at_a_time(photos, monkeypatch):
    whole = compiled().classify(photos)
    monkeypatch.setattr("graphcnn.data.image_list.AT_A_TIME", 5)
    parts = compiled().classify(photos)
    assert parts.files == whole.files
    np.testing.assert_allclose(parts.probabilities, whole.probabilities, rtol=1e-6)


def test_files_that_cannot_be_loaded_are_named_and_nothing_else_is_lost(photos):
    (photos / "sky" / "2.png").write_bytes(b"x")
    with pytest.warns(GraphcnnWarning, match="1 of 13 files are left out") as caught:
        found = compiled().classify([photos / "wood" / "1.png", photos])
    assert [each.filename for each in caught] == [__file__]
    assert len(found) == 12
    assert found.files[0] == found.files[7] == str(photos / "wood" / "1.png")
    assert found.left_out[0].startswith(f"{photos / 'sky' / '2.png'}: it is no image")
    (photos / "none").mkdir()
    for wrong, said in {
        photos / "sky" / "2.png": "2.png: it is no image",
        photos / "nowhere.jpg": "there is no such file",
        photos / "none": "there are no images in",
    }.items():
        for load in (compiled().classify, gcn.data.load_images):
            with pytest.raises(FileError, match=said) as refused:
                load(wrong)
            assert refused.value.mend
    with pytest.raises(OptionError, match="7 is not the path of an image"):
        compiled().classify([7])
    with pytest.raises(FileError, match="not all of one size"):
        gcn.data.load_images([photos / "wood" / "1.png", photos / "wood" / "2.png"])


def test_a_table_of_all_probabilities(photos):
    _, model = trained(photos)
    found = model.classify(photos)
    found.to_csv(photos / "found.csv")
    with (photos / "found.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "class", "sky", "wood"]
    assert [row[0] for row in rows[1:]] == list(found.files)
    assert [row[1] for row in rows[1:]] == list(found.best)
    np.testing.assert_allclose(np.array([row[2:] for row in rows[1:]], float), found.probabilities, atol=1e-6)


def test_answers_yes_and_no_are_each_their_own():
    model = compiled(classes=3, loss=gcn.BinaryCrossEntropy())
    images = RANDOM.random((4, 8, 8, 3), dtype=np.float32)
    wanted = 1 / (1 + np.exp(-model.predict(images).astype(np.float64)))
    np.testing.assert_allclose(model.classify(images).probabilities, wanted, rtol=1e-6)


def test_networks_that_tell_no_classes_apart_are_refused():
    image = gcn.Input((8, 8, 2), name="image")
    pixels = gcn.compile(gcn.Network(image, gcn.Conv2d(2, 1)(image)))
    rows = gcn.compile(gcn.Sequential(gcn.Dense(2)), input_shape=(3,))
    numbers = compiled(loss=gcn.SquaredError(reduction="mean"))
    for model, given, said in (
        (pixels, np.zeros((1, 8, 8, 2), np.float32), "classify is for networks of one output"),
        (numbers, np.zeros((1, 8, 8, 3), np.float32), "classify is for networks of one output"),
        (rows, __file__, "takes no images, grey or RGB"),
    ):
        with pytest.raises(OptionError, match=said):
            model.classify(given)


# Names


def test_names_come_from_the_data_and_can_be_set(photos):
    model = compiled()
    assert model.classes == ()
    model.classes = ["no", "yes"]
    assert model.classes == ("no", "yes")
    for wrong in (["a"], "ab", [1, 2], None):
        with pytest.raises(OptionError, match="are no names for the outputs"):
            model.classes = wrong
    assert trained(photos)[1].classes == ("sky", "wood")


def test_a_report_of_arrays_has_the_names_of_the_model(photos):
    dataset, model = trained(photos)
    assert model.evaluate(dataset.images, dataset.labels, report=True).classes == ("sky", "wood")


def test_mistakes_have_their_files(photos):
    dataset = gcn.data.load_image_folder(photos, size=8).split(0.5, seed=1)
    report = compiled().evaluate(dataset, report=True)
    assert report.mistakes
    for mistake in report.mistakes:
        assert mistake.file == dataset.test_files[mistake.index]
    page = report.show_mistakes(photos / "mistakes.html", open=False).read_text()
    assert f"{report.mistakes[0].file[-5:]}: {report.mistakes[0].true} → " in page


def test_names_that_do_not_fit_in_a_file_are_damage(photos):
    _, model = trained(photos)
    path = photos / "model.safetensors"
    model.save(path)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert json.loads(header["__metadata__"]["classes"]) == ["sky", "wood"]
    for wrong in ('["sky"]', "3", '["a", 2]', '"ab"'):
        header["__metadata__"]["classes"] = wrong
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])
        with pytest.raises(FileError, match="is damaged"):
            gcn.load(path)


def test_a_network_with_more_outputs_than_classes_is_pointed_out(photos):
    dataset = gcn.data.load_image_folder(photos, size=8)
    with pytest.warns(GraphcnnWarning, match="the network has 10 outputs, and there are 2 classes") as caught:
        compiled(classes=10).fit(dataset, progress=False)
    assert [each.filename for each in caught] == [__file__]
    only = gcn.data.Dataset(
        dataset.images[:6], dataset.labels[:6], dataset.images[:0], dataset.labels[:0], ("sky",)
    )
    with pytest.warns(GraphcnnWarning, match="all images are of one class, 'sky'"):
        compiled().fit(only, progress=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiled().fit(dataset, progress=False)


def test_paths_where_arrays_belong_are_mended_as_advised(photos):
    _, model = trained(photos)
    paths = [str(photos / "sky" / "1.png"), str(photos / "wood" / "1.png")]
    with pytest.raises(gcn.GraphcnnError) as caught:
        model.predict(paths)
    names = {"gcn": gcn, "paths": paths}
    code = caught.value.mend.removeprefix("load the files, as model.classify does: ")
    assert model.predict(eval(code, names)).shape == (2, 2)
    for call in (model.fit, model.evaluate):
        with pytest.raises(gcn.GraphcnnError, match="labels are missing") as caught:
            call(str(photos))
        code = caught.value.mend.removeprefix("load them: ").partition(" is a ")[0]
        assert len(eval(code, names).images) == 12
