"""What README and docs show is what happens."""

import contextlib
import io
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from graphcnn.cli import main

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(path: str, language: str) -> list[str]:
    return [body for tag, body in FENCE.findall((ROOT / path).read_text(encoding="utf-8")) if tag == language]


def run(code: str, name: str, namespace: dict[str, object]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, name, "exec"), namespace)
    return output.getvalue()


def make_photographs(folder: Path, classes: tuple[str, ...]) -> None:
    """Make a folder of images by class, of different sizes and colours."""
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        colour = random.integers(40, 200, 3)
        for number in range(20):
            pixels = colour + random.integers(-40, 40, (40 + number, 60 - number, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number:03}.jpg")


@pytest.mark.parametrize(
    "path", ["README.md", "docs/guide.md", "docs/graphs.md", "docs/extending.md", "docs/onnx.md"]
)
def test_every_python_block_runs(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRAPHCNN_CACHE", str(tmp_path / "cache"))
    make_photographs(tmp_path / "photographs", ("cat", "dog"))
    make_photographs(tmp_path / "birds", ("crow", "finch", "owl"))
    namespace: dict[str, object] = {"__name__": "__main__"}
    assert blocks(path, "python")
    for number, code in enumerate(blocks(path, "python"), 1):
        run(code, f"{path} block {number}", namespace)


def test_the_gradient_graph_in_the_readme_is_what_its_script_prints() -> None:
    script = next(code for code in blocks("README.md", "python") if "lenet5 =" in code)
    shown = next(text for text in blocks("README.md", "") if text.startswith('graph "'))
    assert run(script, "lenet5.py", {"__name__": "__main__"}).strip() == shown.strip()
    assert len(shown.splitlines()) <= 100, "the gradient of LeNet-5 is to fit two screens of 50 lines"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return "\n".join(line.rstrip() for line in result.output.splitlines())


def test_what_the_guide_shows_of_a_network_is_what_the_command_line_shows() -> None:
    table, changes = blocks("docs/guide.md", "text")
    assert table.strip("\n") in shown("show", "digits", "--as", "table")
    heading, *lines = changes.strip().splitlines()
    printed = shown("diff", "lenet5").splitlines()
    assert heading in printed
    assert "\n".join(lines) in "\n".join(printed)


def test_the_picture_in_the_guide_is_what_the_command_line_draws() -> None:
    picture = (ROOT / "docs" / "images" / "lenet5.svg").read_text(encoding="utf-8")
    drawn = shown("show", "lenet5", "--as", "svg")
    assert picture.splitlines() == drawn.splitlines(), "renew it: graphcnn show lenet5 --as svg > ..."
