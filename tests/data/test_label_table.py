"""Images whose classes a table says: whatever it calls the files, each is found, or named as left out."""

import warnings

import numpy as np
import pytest
from PIL import Image

import graphcnn as gcn
from graphcnn.data import load_image_folder
from graphcnn.errors import FileError, GraphcnnWarning, OptionError

NAMES = ["IMG_1", "IMG_2", "IMG_3", "IMG_4"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with images that are as bright as their numbers."""
    (tmp_path / "images").mkdir()
    for number, name in enumerate(NAMES, 1):
        Image.fromarray(np.full((4, 4), number, np.uint8)).save(tmp_path / "images" / f"{name}.png")
    return tmp_path


def labels_by_brightness(dataset):
    """Return the class of each image, by its number."""
    return {
        int(image[0, 0, 0]): dataset.classes[label]
        for image, label in zip(dataset.images, dataset.labels, strict=True)
    }


@pytest.mark.parametrize("called", ["{}.png", "{}", "images/{}.png", "./images/{}.png", r"images\{}.png"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", [True, False])
def test_files_are_found_whatever_a_table_calls_them(folder, called, delimiter, header):
    rows = [["file", "kind"]] if header else []
    rows += [[called.format(name), f"class {index % 2}"] for index, name in enumerate(NAMES)]
    (folder / "labels.csv").write_text("\r\n".join(map(delimiter.join, rows)) + "\r\n\r\n", "utf-8-sig")
    for dataset in (load_image_folder(folder, labels="labels.csv"), gcn.data.load(folder / "labels.csv")):
        assert labels_by_brightness(dataset) == {1: "class 0", 2: "class 1", 3: "class 0", 4: "class 1"}
        assert dataset.files[0] == str(folder / "images" / "IMG_1.png")
        assert dataset.left_out == ()


def test_the_column_of_classes_is_told_by_its_name(folder):
    table = folder / "labels.csv"
    rows = [f"{10 - number},{name}.png,{'xy'[number % 2]}" for number, name in enumerate(NAMES)]
    table.write_text("\n".join(["id,image,Label", *rows]))
    assert labels_by_brightness(gcn.data.load(table)) == {1: "x", 2: "y", 3: "x", 4: "y"}
    table.write_text("\n".join(["id,image,breed", *rows]))
    with pytest.raises(FileError, match="which column has the classes is not known") as caught:
        gcn.data.load(table)
    assert "id, breed" in str(caught.value)


def test_classes_are_in_the_order_of_their_numbers(folder):
    labels = dict(zip([f"{name}.png" for name in NAMES], [10, 9, 9, 100], strict=True))
    assert load_image_folder(folder, labels=labels).classes == ("9", "10", "100")
    labels["IMG_1"] = "cat"
    del labels["IMG_1.png"]
    assert load_image_folder(folder, labels=labels).classes == ("100", "9", "cat")


def test_what_only_one_of_both_has_is_named(folder):
    table = folder / "labels.csv"
    table.write_text("IMG_1.png,a\nIMG_2.png,b\nIMG_9.png,b\n")
    with pytest.warns(GraphcnnWarning, match="3 of 5 files are left out"):
        dataset = gcn.data.load(table)
    assert dataset.left_out == (
        "IMG_9.png: labels.csv names it, and there is no such file, or several",
        "images/IMG_3.png: labels.csv does not name it",
        "images/IMG_4.png: labels.csv does not name it",
    )


def test_a_name_that_two_files_have_is_not_taken_for_either(folder):
    (folder / "more").mkdir()
    Image.fromarray(np.full((4, 4), 9, np.uint8)).save(folder / "more" / "IMG_1.png")
    labels = {"images/IMG_1.png": "a", "IMG_2": "b", "IMG_1.png": "b"}
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        dataset = load_image_folder(folder, labels=labels)
    assert labels_by_brightness(dataset) == {1: "a", 2: "b"}
    assert "IMG_1.png: labels names it, and there is no such file, or several" in dataset.left_out


def test_tables_that_do_not_help_are_refused(folder):
    table = folder / "labels.csv"
    for content, said in {
        "IMG_1.png\nIMG_2.png\n": "it has no two columns",
        "": "it has no two columns",
        "a.png,cat\nb.png,dog\n": "it names no file in",
        "IMG_1.png,cat\nIMG_1.png,dog\n": "has two classes",
        'IMG_1.png,"' + "x" * 200_000 + '"\n': "it is no table",
    }.items():
        table.write_text(content)
        with pytest.raises(FileError, match=said) as caught:
            gcn.data.load(table)
        assert caught.value.mend
    with pytest.raises(FileError, match="there is no such table") as caught:
        load_image_folder(folder, labels="lables.csv")
    assert "labels.csv" in str(caught.value)
    with pytest.raises(OptionError, match="neither a CSV file nor a mapping"):
        load_image_folder(folder, labels=["cat"])


def test_a_table_beside_the_only_folder_or_the_images_is_pointed_to(folder):
    (folder / "labels.csv").write_text("IMG_1.png,a\nIMG_2.png,b\nIMG_3.png,b\nIMG_4.png,b\n")
    with pytest.raises(FileError, match="all images are in one folder, and a table is beside it") as caught:
        gcn.data.load(folder)
    assert f"--data {folder / 'labels.csv'}" in caught.value.mend
    for path in (folder / "images").iterdir():
        path.rename(folder / path.name)
    (folder / "images").rmdir()
    with pytest.raises(FileError) as caught:
        gcn.data.load(folder)
    assert str(folder / "labels.csv") in caught.value.mend
    assert gcn.data.load(folder / "labels.csv").classes == ("a", "b")
