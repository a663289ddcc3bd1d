"""Folders of images by class: which files there are, and of which class each is."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graphcnn.data.refusal import held_by
from graphcnn.errors import FileError

TRAIN: Final = "train"
TESTS: Final = ("test", "val", "valid", "validation")
SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
"""By these, a folder of images is recognised. What a file is, its content tells."""
_KINDS: Final = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file that may be an image. path: from the folder of the set on. label: of its class."""

    path: str
    label: int
    is_test: bool
    status: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ImageFiles:
    """The files of a set, those to train on first, and what is no file, with the reason."""

    folder: Path
    classes: tuple[str, ...]
    files: tuple[ImageFile, ...]
    left_out: tuple[tuple[str, str], ...]

    def digest(self) -> str:
        """Return some letters and digits that change when a file is added, removed, renamed or written."""
        content = hashlib.sha256()
        for file in self.files:
            content.update(os.fsencode(file.path) + b"\0" + repr(file.status).encode() + b"\0")
        return content.hexdigest()


def holds_images(folder: Path) -> bool:
    """Whether a folder has folders of classes with images in them, or such folders to train and test on."""
    if not folder.is_dir():
        return False
    classes = _folders(folder / TRAIN if _is_split(folder) else folder)
    return any(
        Path(name).suffix.lower() in SUFFIXES
        for each in classes
        for _, _, names in os.walk(each)
        for name in names
    )


def image_files(folder: Path) -> ImageFiles:
    """Return the files of a set: those of folder/CLASS, or of folder/train/CLASS and folder/test/CLASS.

    Files are looked for at any depth, and symbolic links are followed. Names that begin with a dot are
    hidden, and not looked at. Raises FileError where there are no folders of classes, or a class is tested
    alone.
    """
    if not folder.is_dir():
        raise FileError(f"{folder}: there is no such folder.", mend="check the path.")
    is_split = _is_split(folder)
    train = folder / TRAIN if is_split else folder
    classes = tuple(each.name for each in _folders(train))
    if not classes:
        raise FileError(
            f"{folder}: there are no folders of classes.",
            facts=["looked for CLASS/*.jpg, or train/CLASS/*.jpg and test/CLASS/*.jpg", held_by(folder)],
            mend="put the images of each class into a folder with the name of the class.",
        )
    test = next((folder / name for name in TESTS if is_split and (folder / name).is_dir()), None)
    unknown = [] if test is None else [each.name for each in _folders(test) if each.name not in classes]
    if unknown:
        raise FileError(
            f"{test}: a class is tested that there are no images of to train on.",
            facts=[
                f"classes of {test}: {', '.join(unknown)[:200]}",
                f"of {train}: {', '.join(classes)[:200]}",
            ],
            mend="give both the same folders of classes.",
        )
    found: list[ImageFile] = []
    left_out: list[tuple[str, str]] = []
    for part in [train] if test is None else [train, test]:
        for label, name in enumerate(classes):
            if not (part / name).is_dir():
                continue
            for path, status in _walked(part / name, left_out, folder, ()):
                shown = os.path.relpath(path, folder)
                identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
                found.append(ImageFile(shown, label, part is test, identity))
    return ImageFiles(folder, classes, tuple(found), tuple(left_out))


def _is_split(folder: Path) -> bool:
    """Whether a folder has a folder to train on, with classes in it, and others to test on alone."""
    names = {each.name for each in _folders(folder)}
    return TRAIN in names and names <= {TRAIN, *TESTS} and bool(_folders(folder / TRAIN))


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, in the order of their names; hidden ones are left out."""
    hidden = (".", "__MACOSX")  # which archives of a Mac have beside the files
    return sorted(each for each in folder.iterdir() if not each.name.startswith(hidden) and each.is_dir())


def _walked(
    folder: Path, left_out: list[tuple[str, str]], root: Path, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder and those in it; note what is none. above: the folders that it is in."""
    place = folder.stat()
    inside = (*above, (place.st_dev, place.st_ino))
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        reason = ""
        try:
            status = entry.stat()
        except OSError as error:
            reason = "it is a link to nothing" if entry.is_symlink() else f"{error.strerror or error}"
        else:
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) not in inside:
                    yield from _walked(Path(entry.path), left_out, root, inside)
                    continue
                reason = "it is a link to a folder that it is in"
            elif not stat.S_ISREG(status.st_mode):
                reason = f"it is {_KINDS.get(stat.S_IFMT(status.st_mode), 'no file')}"
            elif not status.st_size:
                reason = "it is empty"
        if reason:
            left_out.append((os.path.relpath(entry.path, root), reason))
        else:
            yield entry.path, status
