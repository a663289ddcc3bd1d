"""What comes in from outside is short, and needs public names alone. `make examples` runs it."""

import ast
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

import graphcnn as gcn

EXAMPLES = Path(__file__).parents[1] / "examples"
ADDED = sorted(EXAMPLES.glob("add_*.py"))
DOORS = ("graphcnn_numpy", "graphcnn_native")


def test_there_is_one_for_each_door() -> None:
    doors = "op structural_op rule pass layer loss optimizer metric"
    assert {f"add_an_{door}.py" if door[0] in "aeiou" else f"add_a_{door}.py" for door in doors.split()} == {
        path.name for path in ADDED
    }
    for other in ("save_and_load.py", "c_backend.py", "backend_plugin"):
        assert (EXAMPLES / other).exists()


@pytest.mark.parametrize("path", [*ADDED, EXAMPLES / "save_and_load.py"], ids=lambda path: path.stem)
def test_it_is_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


def test_photographs_are_trained_on_and_the_network_learns_other_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the folders of one's own, where a second run finds what the first has trained."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("photographs")
    monkeypatch.setattr(example, "EPOCHS", 1)
    monkeypatch.setattr(example, "SIDE", 16)
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folders = [
        str(example.draw(tmp_path / "first", ("disc", "ring", "square"), 10)),
        str(example.draw(tmp_path / "second", ("hexagon", "triangle"), 10)),
    ]
    monkeypatch.setattr("sys.argv", ["photographs.py", *folders])
    for trained in ("3 classes", "2 classes"):
        example.main()
        said = capsys.readouterr().out
        assert said.startswith("Dataset(")
        assert trained in said.splitlines()[0]
        assert "tuned.safetensors tells hexagon, triangle apart" in said
    assert {"curves.png", "mistakes.html", "photographs.html", "tuned.safetensors"} <= {
        path.name for path in (tmp_path / "photographs-run").iterdir()
    }


def test_each_layer_of_augmentation_is_in_the_figure_and_shows_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    example = importlib.import_module("augmentation")
    pictures = np.array([example.house(), example.house(), example.flower(), example.flower()], np.float32)
    for layer in example.LAYERS.values():
        shown = example.augmented(layer, pictures)
        assert shown.ndim == 4 and shown.shape[3] == 3
        is_changed = shown.shape != pictures.shape or not np.array_equal(shown, pictures)
        assert is_changed != isinstance(layer, gcn.ReLU), layer
    guide = (EXAMPLES.parent / "docs" / "guide.md").read_text(encoding="utf-8")
    table = guide.partition("| layer | in training |")[2].partition("![")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`(\w+)[(.]", cell)}
    assert listed == {type(layer).__name__ for layer in example.LAYERS.values()} - {"ReLU", "GaussianNoise"}
    monkeypatch.setattr("sys.argv", ["augmentation.py", str(tmp_path / "figure.png")])
    example.main()
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    "path", [*EXAMPLES.glob("*.py"), *EXAMPLES.glob("backend_plugin/*.py")], ids=lambda path: path.stem
)
def test_it_imports_public_names_alone(path: Path) -> None:
    """Public are the names in `__all__` of the packages themselves, of `graphcnn.ops` and the like."""
    public = {
        "graphcnn",
        *DOORS,
        *(f"graphcnn.{name}" for name in ("backend", "data", "ops", "testing", "zoo")),
    }
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert {name.name for name in node.names if name.name.startswith("graphcnn")} <= public
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("graphcnn"):
            assert node.module in public
            module = importlib.import_module(node.module or "")
            for name in node.names:
                assert name.name in getattr(module, "__all__", dir(module))
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "gcn":
            assert node.attr in gcn.__all__
        elif (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and ast.unparse(node.value) != "self"
        ):
            pytest.fail(f"line {node.lineno} uses the private name {node.attr}")
