"""A folder of photographs and the command line: train, see what is wrong, fine-tune, classify."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import graphcnn as gcn
from graphcnn.cli import main

RANDOM = np.random.default_rng(0)
COLOURS = {"grass": (60, 180, 40), "sky": (40, 80, 220), "wood": (160, 90, 40)}


@pytest.fixture(autouse=True)
def own_places(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))


@pytest.fixture
def photos(tmp_path):
    for name, colour in COLOURS.items():
        (tmp_path / name).mkdir()
        for number in range(10):
            noise = RANDOM.integers(-30, 30, (20 + number, 40 - number, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
    return tmp_path


def run(*arguments, code=0):
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result.output


def train(network, folder, *options, code=0):
    return run("train", network, "--data", folder, "--epochs", 2, "--batch-size", 9, *options, code=code)


def test_a_network_of_the_zoo_gets_the_classes_of_the_data_and_some_images_are_held_out(photos):
    said = train("lenet5", photos, "--report", "--output", "run")
    assert "10% of the images are held out to evaluate" in said
    assert "Dataset(27 training and 3 test images of 28x28x1, 3 classes)" in said
    assert "val_accuracy" in said
    assert "true \\ taken for" in said
    assert "validation accuracy" in said
    assert (
        said.splitlines()[-1].partition("use it")[2].strip()
        == "graphcnn classify run/model.safetensors PHOTO..."
    )
    model = gcn.load("run/model.safetensors")
    assert model.classes == ("grass", "sky", "wood")
    assert model.predict(np.zeros((1, 28, 28, 1), np.float32)).shape == (1, 3)


def test_all_images_are_trained_on_where_that_is_asked_for(photos):
    said = train("lenet5", photos, "--validation-split", 0, "--report")
    assert "Dataset(30 training images" in said
    assert "val_" not in said
    assert "no report: there are no images to evaluate" in said
    assert "--validation-split 1.5 is no share" in train(
        "lenet5", photos, "--validation-split", 1.5, "--output", "other", code=1
    )


def test_the_images_held_out_are_the_same_when_training_goes_on(photos):
    train("lenet5", photos, "--seed", 3, "--output", "run")
    said = run("train", "--resume", "run", "--epochs", 3)  # other images would be refused
    assert "goes on after 2 epochs" in said
    assert "epoch 3/3" in said


def test_layers_of_augmentation_stand_in_front_of_any_network(photos):
    every = [option for name in ("flip", "crop", "color", "cutmix") for option in ("--augment", name)]
    train("resnet20", photos, *every, "--normalize", "--output", "run")
    graph = gcn.load("run/model.safetensors").training_graph
    layers = list(dict.fromkeys(node.origin.layer for _, node in graph.items()))
    first = [layer for layer in layers if layer][:5]
    assert [name.rstrip("0123456789") for name in first] == ["jitter", "normalize", "flip", "crop", "cutmix"]
    plain = gcn.compile(gcn.zoo.resnet20(classes=3))
    assert list(gcn.load("run/model.safetensors").weights) == list(plain.weights)
    refused = run("train", "run/model.safetensors", "--data", photos, "--augment", "flip", code=1)
    assert "leave out --augment" in refused


def test_fine_tuning_begins_with_weights_but_for_the_head(photos, tmp_path_factory):
    train("lenet5", photos, "--output", "base")
    two = tmp_path_factory.mktemp("two")
    for name in ("sky", "wood"):
        (photos / name).rename(two / name)
    said = train("lenet5", two, "--weights", "base/model.safetensors", "--freeze", "conv*", "--output", "two")
    assert "begins with the weights of base/model.safetensors; dense3 begins anew" in said
    base, tuned = (gcn.load(f"{each}/model.safetensors") for each in ("base", "two"))
    for name, array in tuned.weights.items():
        assert np.array_equal(array, base.weights[name]) == name.startswith("conv")
    assert {name.partition(".")[0] for name in tuned.frozen} == {"conv1", "conv2"}
    run("train", "two/model.safetensors", "--data", two, "--epochs", 1, "--unfreeze")
    assert not gcn.load("two/model.safetensors").frozen
    refused = train("resnet20", two, "--weights", "base/model.safetensors", "--output", "no", code=1)
    assert "no layer of resnet20 has its weights there" in refused


def test_photographs_are_classified(photos):
    train("lenet5", photos, "--output", "run")
    names = [str(photos / "sky" / "3.png"), str(photos / "wood" / "1.png")]
    lines = run("classify", "run/model.safetensors", *names).splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all("%" in line for line in lines)
    assert "folder.csv: 30 images" in run(
        "classify", "run/model.safetensors", photos, "--output", "folder.csv", "--views"
    )
    with Path("folder.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "class", *COLOURS]
    assert len(rows) == 31
    assert "there is no such file" in run("classify", "run/model.safetensors", "none.jpg", code=1)


def test_a_table_of_classes_is_data_too(photos):
    (photos / "images").mkdir()
    rows = ["file,class"]
    for name in COLOURS:
        for path in sorted((photos / name).iterdir()):
            path.rename(photos / "images" / f"{name}{path.name}")
            rows.append(f"{name}{path.name},{name}")
        (photos / name).rmdir()
    (photos / "classes.csv").write_text("\n".join(rows))
    said = train("lenet5", photos, code=1)
    assert f"--data {photos / 'classes.csv'}" in said
    train("lenet5", photos / "classes.csv")
    assert gcn.load("runs/lenet5/model.safetensors").classes == tuple(COLOURS)


@pytest.mark.filterwarnings("always::graphcnn.errors.GraphcnnWarning")
def test_warnings_are_said_as_errors_are(photos):
    (photos / "sky" / "notes.txt").write_text("none")
    said = train("lenet5", photos)
    assert "Warning: " in said
    assert "1 of 31 files are left out\n  sky/notes.txt: it is no image" in said
    assert "GraphcnnWarning" not in said
    assert json.dumps(said).count("#!/") == 0
