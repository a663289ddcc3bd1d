"""The viewer as one HTML file: template, script, style, layout library and data put together."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path

from graphcnn.inspection.viewer.nodes import Json
from graphcnn.interchange.files import write_atomically
from graphcnn.visible import visible

SCRIPTS = (
    "elements",
    "numbers",
    "model",
    "layout",
    "drawing",
    "navigation",
    "grids",
    "rotation",
    "stepper",
    "panel",
    "controls",
    "start",
)
"""The page's modules in the order in which they are put together, inside one function."""

LONGEST_TITLE = 120


def page(document: Json) -> str:
    """Return the HTML of a document. It loads nothing, and its policy lets nothing but its own script run."""
    library = _asset("vendor/dagre.min.js")
    modules = "\n".join(_asset(f"assets/{name}.js") for name in SCRIPTS)
    script = f'"use strict";\n(() => {{\n{modules}\n}})();\n'
    style = _asset("assets/style.css")
    data = json.dumps(document, separators=(",", ":"), allow_nan=False)
    parts = {
        "{{policy}}": _policy([library, script], style),
        "{{title}}": html.escape(visible(document["title"][:LONGEST_TITLE])),
        "{{style}}": style,
        "{{data}}": data.replace("<", "\\u003c"),
        "{{licence}}": html.escape(_asset("vendor/dagre.LICENSE").replace("--", "—")),
        "{{library}}": library,
        "{{script}}": script,
    }
    template = _asset("assets/page.html")
    before, *rest = template.split("{{")
    filled = [before]
    for piece in rest:
        name, _, text = piece.partition("}}")
        filled += [parts[f"{{{{{name}}}}}"], text]
    return "".join(filled)


def write_page(document: Json, path: Path) -> Path:
    """Write the page of a document, whole or not at all, and return its path.

    Raises OptionError for a path that cannot be one, and OSError where it cannot be written.
    """
    write_atomically(path, page(document).encode("utf-8"))
    return path


def _policy(scripts: list[str], style: str) -> str:
    hashes = " ".join(_hash(text) for text in scripts)
    return (
        f"default-src 'none'; script-src {hashes}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _asset(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
