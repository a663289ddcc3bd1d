"""Pages: one HTML file each, written where the user says and shown in the browser or in the notebook."""

from __future__ import annotations

import re
import tempfile
import webbrowser
from os import PathLike
from pathlib import Path

from graphcnn.dsl.tensor import at_users_line
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.inspection.notebook import display_in_notebook
from graphcnn.interchange.files import as_path, write_atomically

SUFFIX = ".html"
OTHER_FORMS = (
    *(".png", ".jpg", ".jpeg", ".gif", ".webp", ".bmp", ".tif", ".tiff", ".pdf", ".eps", ".ps", ".svg"),
    *(".dot", ".gv", ".mmd", ".tex", ".txt", ".md", ".json", ".csv", ".onnx", ".npz", ".safetensors", ".py"),
)
"""How names of files end that hold no page."""


def check_page_path(path: object, others: tuple[str, ...] = ()) -> None:
    """Raise OptionError for the name of a picture or of text: a page under it opens nowhere.

    others: facts on how such files are made.
    """
    suffix = "" if path is None else as_path(path).suffix
    if suffix.lower() in OTHER_FORMS:
        raise at_users_line(
            OptionError(
                f"show writes a page in HTML, and {str(path)!r:.60} is the name of another kind of file",
                facts=others,
                mend=f"give {as_path(path).with_suffix(SUFFIX).name!r:.60}",
            )
        )


def show_page(html: str, title: str, path: str | PathLike[str] | None, open: bool) -> Path:
    """Write a page whole or not at all, show it where `open` says so, and return its path.

    path: by default a file in a new folder for temporary ones, with the title as its name.
    Raises OptionError for a path that cannot be one, and OSError where it cannot be written.
    """
    if path is None:
        plain = re.sub(r"[^A-Za-z0-9]+", "-", title)[:60].strip("-") or "page"
        target = Path(tempfile.mkdtemp(prefix="graphcnn-")) / f"{plain}{SUFFIX}"
    else:
        target = Path(path)
    write_atomically(target, html.encode("utf-8"))
    if not open or display_in_notebook(html):
        return target
    if not webbrowser.open(target.absolute().as_uri()):
        raise GraphcnnError(
            "there is no browser to open the page with", facts=[f"it is written: {target}"], mend="open=False"
        )
    return target
