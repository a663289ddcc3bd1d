"""What README and docs show is what happens."""

import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(path: str, language: str) -> list[str]:
    return [body for tag, body in FENCE.findall((ROOT / path).read_text(encoding="utf-8")) if tag == language]


def run(code: str, name: str, namespace: dict[str, object]) -> str:
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, name, "exec"), namespace)
    return output.getvalue()


@pytest.mark.parametrize("path", ["README.md", "docs/guide.md", "docs/graphs.md"])
def test_every_python_block_runs(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
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
