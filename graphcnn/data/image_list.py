"""Single images as a network takes them, such as photographs to be classified; they have no labels."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import known_arguments
from graphcnn.data.decoding import NotDecoded, Wanted, decoded, require_pillow
from graphcnn.data.image_files import SUFFIXES, walked
from graphcnn.data.image_folder import quiet_decoders, wanted_images
from graphcnn.data.refusal import file_errors
from graphcnn.data.threads import in_threads, thread_count
from graphcnn.errors import FileError, OptionError

AT_A_TIME: Final = 256
"""So many images are decoded before they are handed on."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Some files with their images, and those that could not be loaded, with the reason."""

    files: list[Path]
    images: list[NDArray[np.uint8]]
    left_out: list[tuple[Path, str]]


Paths = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]


@known_arguments
def load_images(
    paths: Paths,
    *,
    size: int | tuple[int, int] | None = None,
    resize: str = "crop",
    channels: int = 3,
) -> NDArray[np.uint8]:
    """Images of these files, in their order, for `model.predict`  # uint8 [n, H, W, C]

    paths: a file, a folder, of which it is the images in it at any depth in the order of their names, or
    several of both. size, resize: as in `load_image_folder`, which says what else becomes of images.
    channels: 3 for RGB, 1 for grey. `model.classify(paths)` knows size and channels by itself.
    Raises FileError for the first file that cannot be loaded, and for images of different sizes without
    `size`; OptionError for options that are not allowed, and where Pillow is not installed.
    """
    require_pillow()
    wanted = wanted_images(size, resize, channels)
    images: list[NDArray[np.uint8]] = []
    files = image_paths(paths)
    for some in decoded_images(files, wanted):
        for path, reason in some.left_out:
            raise FileError(f"{path}: {reason}.", mend="leave it out, or check that it is an image.")
        images += some.images
    for path, image in zip(files, images, strict=True):
        if image.shape != images[0].shape:
            raise FileError(
                "the images are not all of one size.",
                facts=[f"{files[0]}: {images[0].shape[:2]}", f"{path}: {image.shape[:2]}"],
                mend="give them one: size=128",
            )
    return np.stack(images)


def image_paths(paths: Paths) -> list[Path]:
    """Return the files that are meant. Raises FileError where there is none, OptionError for no paths."""
    if isinstance(paths, str | os.PathLike):
        given: list[object] = [paths]
    else:
        given = list(paths) if isinstance(paths, Iterable) else [paths]
    found: list[Path] = []
    for each in given:
        if not isinstance(each, str | os.PathLike):
            raise OptionError(
                f"{each!r:.60} is not the path of an image", mend='"photo.jpg", or a list of paths'
            )
        path = Path(each)
        with file_errors(path):
            found += _images_in(path) if path.is_dir() else [path]
        if not path.exists():
            raise FileError(f"{path}: there is no such file.", mend="check the path.")
    if not found:
        raise FileError(
            f"there are no images in {', '.join(map(str, given)) or 'an empty list'}.",
            mend="give the paths of images, or of a folder with images in it.",
        )
    return found


def _images_in(folder: Path) -> list[Path]:
    paths = sorted(Path(path) for path, _ in walked(folder, []))
    return [path for path in paths if path.suffix.lower() in SUFFIXES]


def decoded_images(paths: Sequence[Path], wanted: Wanted) -> Iterator[Decoded]:
    """Yield the images of some of the files at a time, decoded in threads."""
    for first in range(0, len(paths), AT_A_TIME):
        yield _decoded(paths[first : first + AT_A_TIME], wanted)


def _decoded(paths: Sequence[Path], wanted: Wanted) -> Decoded:
    images: list[NDArray[np.uint8] | None] = [None] * len(paths)

    def decode(number: int) -> str:
        try:
            images[number] = decoded(paths[number], wanted)
        except NotDecoded as reason:
            return str(reason)
        return ""

    with quiet_decoders():
        reasons = in_threads(decode, len(paths), thread_count(None), None)
    whole = [(path, image) for path, image in zip(paths, images, strict=True) if image is not None]
    left_out = [(path, reason) for path, reason in zip(paths, reasons, strict=True) if reason]
    return Decoded([path for path, _ in whole], [image for _, image in whole], left_out)
