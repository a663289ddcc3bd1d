"""Folders of images by class: which files there are, and of which class each is."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from graphcnn.data.refusal import held_by
from graphcnn.errors import FileError

TRAINS: Final = ("train", "training")
TESTS: Final = ("test", "testing", "val", "valid", "validation")
SUFFIXES: Final = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".pbm"}
"""By these, a folder of images is recognised. What a file is, its content tells."""
DEEPEST: Final = 8
"""So many folders with nothing but the next one in them are gone through."""
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
    train, _ = _parts(_inmost(folder))
    return any(_images_in(each) for each in _folders(train))


def image_files(folder: Path) -> ImageFiles:
    """Return the files of a set: those of folder/CLASS, or of folder/train/CLASS and folder/test/CLASS.

    Where all of it is in one folder of the folder, as in that of an archive, it is looked for there. Files
    are looked for at any depth, and symbolic links are followed. Names that begin with a dot are hidden, and
    not looked at. Raises FileError where there are no folders of classes, or a class is tested alone.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    train, test = _parts(_inmost(folder))
    classes = tuple(each.name for each in _folders(train))
    if not classes:
        raise FileError(
            f"{folder}: there are no folders of classes.",
            facts=["looked for CLASS/*.jpg, or train/CLASS/*.jpg and test/CLASS/*.jpg", held_by(folder)],
            mend="put the images of each class into a folder with the name of the class.",
        )
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
    found: dict[str, list[ImageFile]] = {name: [] for name in classes}
    left_out: list[tuple[str, str]] = []
    for part in [train] if test is None else [train, test]:
        for name in classes:
            if (part / name).is_dir():
                for path, status in walked(part / name, left_out, folder):
                    found[name].append(as_found(path, status, folder, is_test=part is test))
    held = [name for name in classes if found[name]]
    empty = [os.path.relpath(train / name, folder) for name in classes if not found[name]]
    left_out += [(path, "it is a folder without images, and no class") for path in empty]
    files = [replace(file, label=label) for label, name in enumerate(held) for file in found[name]]
    files.sort(key=lambda file: file.is_test)  # which is stable
    return ImageFiles(folder, tuple(held), tuple(files), tuple(left_out))


def no_folder(folder: Path) -> FileError:
    """Return the error for what is no folder, such as an archive of one."""
    if not folder.is_file():
        return FileError(f"{folder}: there is no such folder.", mend="check the path.")
    return FileError(f"{folder}: it is a file, not a folder.", mend=unpacked_by(folder))


def unpacked_by(file: Path) -> str:
    """Return what is to be done with a file in the place of a folder."""
    name, lower = shlex.quote(str(file)), file.name.lower()
    target = shlex.quote(str(file.with_name(lower and file.name.partition(".")[0])))
    if lower.endswith(".zip"):
        return f"unpack it: python -m zipfile -e {name} {target}"
    if lower.endswith((".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2")):
        return f"unpack it: python -m tarfile -e {name} {target}"
    if lower.endswith((".csv", ".tsv")):
        return f"gcn.data.load_image_folder({str(file.parent)!r}, labels={file.name!r})"
    return "give the folder that the images are in."


def _inmost(folder: Path) -> Path:
    """Return the folder in which the classes are, where others have nothing but it in them."""
    for _ in range(DEEPEST):
        inside = _folders(folder)
        is_alone = len(inside) == 1 and not _has_files(folder) and not _has_files(inside[0])
        if not is_alone or not _folders(inside[0]):
            return folder
        (folder,) = inside
    return folder


def _has_files(folder: Path) -> bool:
    return any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir())


def _images_in(folder: Path) -> bool:
    return any(Path(name).suffix.lower() in SUFFIXES for _, _, names in os.walk(folder) for name in names)


def _parts(folder: Path) -> tuple[Path, Path | None]:
    """Return the folder of what is to be trained on, the whole one by default, and that of tests, if any."""
    folders = {each.name.lower(): each for each in _folders(folder)}
    train = [folders[name] for name in TRAINS if name in folders]
    if len(train) != 1 or not folders.keys() <= {*TRAINS, *TESTS} or not _folders(train[0]):
        return folder, None
    return train[0], next((folders[name] for name in TESTS if name in folders), None)


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, in the order of their names; hidden ones are left out."""
    hidden = (".", "__MACOSX")  # which archives of a Mac have beside the files
    return sorted(each for each in folder.iterdir() if not each.name.startswith(hidden) and each.is_dir())


def as_found(path: str, status: os.stat_result, folder: Path, *, is_test: bool = False) -> ImageFile:
    """Return a file of a set, whose class is to be said yet."""
    identity = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    return ImageFile(os.path.relpath(path, folder), 0, is_test, identity)


def walked(
    folder: Path,
    left_out: list[tuple[str, str]],
    root: Path | None = None,
    above: tuple[tuple[int, int], ...] = (),
) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the files in a folder and those in it; note what is none.

    root: from which on its path is noted. above: the folders that it is in.
    """
    root = folder if root is None else root
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
                    yield from walked(Path(entry.path), left_out, root, inside)
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
