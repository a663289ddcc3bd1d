"""Pictures with captions under headings, as one HTML page that loads nothing."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from os import PathLike
from pathlib import Path

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.inspection.notebook import Page
from graphcnn.inspection.pages import check_page_path, show_page
from graphcnn.visible import visible

SMALLEST = 64
"""Pixels of the screen along the longer side of a picture, at least: smaller ones are enlarged."""
STYLE = """
:root { color-scheme: light dark; font: 14px/1.4 system-ui, sans-serif }
body { margin: 1.5em }
section { margin: 1.2em 0 }
h1 { font-size: 1.3em } h2 { font-size: 1em; margin: 0 0 .4em }
div { display: flex; flex-wrap: wrap; gap: .6em }
figure { margin: 0 } figcaption { max-width: 14em; overflow-wrap: anywhere; font-size: .85em }
img { display: block; image-rendering: pixelated; background: #888 }
"""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """An image with a line under it.

    image: bytes, or numbers from 0 to 1 (what is beyond is cut off)  # [H, W], [H, W, 1] or [H, W, 3]
    """

    image: Array
    caption: str = ""


@known_methods()
@dataclass(frozen=True, slots=True, eq=False)
class PictureSheet:
    """A page of pictures. sections: each a heading, and the pictures under it."""

    title: str
    sections: Sequence[tuple[str, Sequence[Picture]]]

    def html(self) -> str:
        """Return the page."""
        policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
        sections = "\n".join(_section(heading, pictures) for heading, pictures in self.sections)
        title = escape(visible(self.title))
        return (
            f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
            f"<title>{title}</title><style>{STYLE}</style></head>\n"
            f"<body><h1>{title}</h1>\n{sections}\n</body></html>\n"
        )

    def show(self, path: str | PathLike[str] | None = None, *, open: bool = True) -> Path:
        """Write the page, open it in the browser or display it in the notebook, and return its path.

        path: by default a file in a new folder for temporary ones. open: whether to open it.
        Raises OptionError for a path that cannot be one, and OSError where it cannot be written.
        """
        check_page_path(path)
        return show_page(self.html(), self.title, path, open)

    def _repr_html_(self) -> str:
        return Page(self.html())._repr_html_()


def _section(heading: str, pictures: Sequence[Picture]) -> str:
    figures = "".join(map(_figure, pictures))
    return f"<section><h2>{escape(visible(heading))}</h2><div>{figures}</div></section>"


def _figure(picture: Picture) -> str:
    height, width = picture.image.shape[:2]
    enlarged = max(1, -(-SMALLEST // max(height, width)))
    data = base64.b64encode(png(picture.image)).decode("ascii")
    caption = escape(visible(picture.caption))
    return (
        f'<figure><img src="data:image/png;base64,{data}" width="{width * enlarged}" '
        f'height="{height * enlarged}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def png(image: Array) -> bytes:
    """Return an image as a PNG file (ISO/IEC 15948) of 8 bits, grey or RGB; of other channels, the first.

    image: bytes, or numbers from 0 to 1; what is no number is black  # [H, W], [H, W, 1] or [H, W, C]
    """
    if image.dtype != np.uint8:
        image = np.rint(np.clip(np.nan_to_num(image), 0, 1) * 255).astype(np.uint8)
    if image.ndim == 2:
        image = image[..., None]
    pixels = image if image.shape[2] == 3 else image[..., :1]
    height, width, channels = pixels.shape
    lines = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter: 0, none
    lines[:, 1:] = pixels.reshape(height, -1)
    colour = 2 if channels == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
