"""Folders of images by class, decoded on all processors, once."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graphcnn.arguments import translated_arguments
from graphcnn.data import decoding
from graphcnn.data.dataset import Dataset, check_resize
from graphcnn.data.decoded import Entry, LeftOut, Memory, Room, image_cache
from graphcnn.data.decoding import NotDecoded, Wanted, decoded, is_grey, require_pillow
from graphcnn.data.image_files import ImageFiles, image_files
from graphcnn.data.label_table import Labels, labelled_files, tables_in
from graphcnn.data.refusal import file_errors
from graphcnn.data.threads import in_threads, thread_count
from graphcnn.errors import FileError, OptionError
from graphcnn.late_bar import LateBar, is_watched
from graphcnn.visible import visible
from graphcnn.warned import warn

PROBED = 64
"""So many files tell whether images are grey; a coloured one among the others tells later."""
LISTED = 8
OF_FOLDERS = {
    **dict.fromkeys(("validation_split", "subset", "test_size"), "load_image_folder(...).split(0.8)"),
    **dict.fromkeys(("image_size", "target_size", "img_size", "shape"), "size=(height, width)"),
    **dict.fromkeys(("color_mode", "grayscale", "mode"), "channels=1 for grey, channels=3 for RGB"),
    **dict.fromkeys(("batch_size", "shuffle", "seed"), "fit takes it: model.fit(dataset, batch_size=32)"),
    **dict.fromkeys(("transform", "rescale", "augment"), "layers do it: gcn.Normalize.of(dataset)"),
    **dict.fromkeys(("class_names", "classes", "label_mode"), "the folders, or labels=, name the classes"),
    **dict.fromkeys(("csv", "df", "dataframe", "annotations"), 'labels="labels.csv", or {file: class}'),
    **dict.fromkeys(("num_workers", "workers"), "threads="),
    "crop_to_aspect_ratio": 'resize="crop", as by default, or resize="stretch"',
}
"""What others call the arguments, and what to write instead."""
LARGEST_SIDE = 1 << 15


@translated_arguments(OF_FOLDERS)
def load_image_folder(
    folder: str | os.PathLike[str],
    *,
    labels: Labels | None = None,
    size: int | tuple[int, int] | None = None,
    resize: str = "crop",
    channels: int | None = None,
    strict: bool = False,
    cache: bool | str | os.PathLike[str] = True,
    threads: int | None = None,
    progress: bool = True,
) -> Dataset:
    """Images in folders that are named as their classes: folder/CLASS/*.jpg  # uint8 [N, H, W, C]

    Where the folder has train/CLASS and test/CLASS (or val/CLASS, where there is no test), these are the two
    parts of the set; otherwise all images are there to train on, and `split` makes some of them test images.
    A folder that has nothing but one folder of folders in it stands for that one, as archives make them.
    JPEG, PNG, BMP, GIF, TIFF, WebP and PPM files are told by their content and decoded by Pillow, the extra
    `graphcnn[images]`. Images are turned as their EXIF data say; 16 bits are scaled to 8, transparency is
    dropped. Files are looked for at any depth, and links are followed; names that begin with a dot are
    hidden. `dataset.files` has the path of each image.

    labels: where classes are no folders, the table that says them: a CSV file with a column of files and one
    of their classes (called label or class, where there are more), whose path may begin in the folder; or a
    mapping from files to classes.
    size: height and width that images get, one number for both; by default all must be of one size already.
    resize: "crop" keeps the shape of things, and cuts off what is beyond the size at two ends; "stretch"
    makes the whole image fit. channels: 1 for grey, 3 for RGB; by default 1 where all images are grey.
    strict: raise FileError for files that cannot be loaded; by default they are left out with a warning, and
    `dataset.left_out` names them all. Images of more pixels than `PIL.Image.MAX_IMAGE_PIXELS` are such.
    cache: keep the decoded images in a file, which the next call reads, unless the files, their sizes or
    times have changed: in `images` of the cache's folder ($GRAPHCNN_CACHE), or in a folder of your own. They
    are read from that file when they are needed, so that a set may be larger than memory. False decodes to
    memory. threads: that decode, by default one for each processor. progress: show it on a terminal, if it
    lasts.

    Raises FileError for a folder in which there is no such set, OptionError for options that are not allowed
    and where Pillow is not installed.
    """
    version = require_pillow()
    wanted = wanted_images(size, resize, channels)
    workers = thread_count(threads)
    folder = Path(folder)
    with file_errors(folder):
        files = image_files(folder) if labels is None else labelled_files(folder, labels)
        if labels is None and len(files.classes) == 1:
            _refuse_beside_a_table(folder, files)
    if not files.files:
        raise FileError(
            f"{folder}: there are no files in the folders of classes.",
            facts=_listed(files.left_out),
            mend="put the images of each class into the folder with its name.",
        )
    cached = image_cache(cache)
    entry = (
        None if cached is None else Entry(cached, _name(folder, wanted, channels, version), files.digest())
    )
    found = None if entry is None else entry.read()
    images, left_out = found or _decoded_all(files, wanted, channels, entry, workers, progress=progress)
    return _dataset(files, images, left_out, resize, strict=strict)


def _refuse_beside_a_table(folder: Path, files: ImageFiles) -> None:
    """Raise FileError for images in one folder with a table beside it, which says what they are."""
    tables = tables_in(folder)
    if tables:
        raise FileError(
            f"{folder}: all images are in one folder, and a table is beside it.",
            facts=[f"folder: {files.classes[0]}", f"table: {', '.join(tables)[:200]}"],
            mend=f'labels="{tables[0]}", if it has their classes; of a command, --data {folder / tables[0]}',
        )


def wanted_images(size: object, resize: object, channels: object) -> Wanted:
    """Return what images become. Raises OptionError for what they cannot become."""
    check_resize(resize)
    if channels not in (None, 1, 3) or isinstance(channels, bool):
        raise OptionError(
            f"channels={channels!r:.60} is neither 1, for grey, nor 3, for RGB", mend="channels=3"
        )
    pair: Any = (size, size) if isinstance(size, int) else size
    if pair is not None:
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if not is_pair or not all(type(side) is int and 0 < side <= LARGEST_SIDE for side in pair):
            raise OptionError(
                f"size={size!r:.60} is neither a number of pixels nor a height and a width",
                mend="size=(224, 224)",
            )
        pair = tuple(pair)
    return Wanted(pair, 1 if channels == 1 else 3, resize == "crop")


def _name(folder: Path, wanted: Wanted, channels: int | None, version: str) -> str:
    """Return the name of what decides, beside the files, what becomes of them."""
    decides = (os.path.realpath(folder), wanted.size, wanted.is_cropped, channels, version, decoding.VERSION)
    return hashlib.sha256(os.fsencode(repr(decides))).hexdigest()[:32]


def _decoded_all(
    files: ImageFiles,
    wanted: Wanted,
    channels: int | None,
    entry: Entry | None,
    threads: int,
    *,
    progress: bool,
) -> tuple[NDArray[np.uint8], LeftOut]:
    """Return the images of all files but those that cannot be loaded, and why these are left out."""
    with quiet_decoders():
        if channels is None and _seem_grey(files):
            try:
                return _decode(files, replace(wanted, channels=1), entry, threads, progress, only_grey=True)
            except _HasColours:
                pass
        return _decode(files, wanted, entry, threads, progress)


@contextmanager
def quiet_decoders() -> Iterator[None]:
    """Let a bomb be an error, and Pillow not warn of data that it reads nevertheless."""
    from PIL.Image import DecompressionBombWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", DecompressionBombWarning)
        yield


class _HasColours(Exception):  # noqa: N818 - it is no error
    """A coloured image among those that seemed to be grey."""


def _seem_grey(files: ImageFiles) -> bool:
    paths = files.files[:: max(1, len(files.files) // PROBED)]
    found = [_is_grey(files.folder / file.path) for file in paths]
    return True in found and False not in found


def _is_grey(path: Path) -> bool | None:
    try:
        return is_grey(path)
    except NotDecoded:
        return None


def _decode(
    files: ImageFiles,
    wanted: Wanted,
    entry: Entry | None,
    threads: int,
    progress: bool,
    *,
    only_grey: bool = False,
) -> tuple[NDArray[np.uint8], LeftOut]:
    first, left_out = 0, {}
    shape: tuple[int, int, int] | None = None
    if wanted.size is not None:
        shape = (*wanted.size, wanted.channels)
    while shape is None and first < len(files.files):  # the first image says of what size all are
        try:
            height, width, depth = decoded(files.folder / files.files[first].path, wanted).shape
            shape = height, width, depth
        except NotDecoded as reason:
            left_out[first] = str(reason)
            first += 1
    if shape is None:
        raise _nothing_left(files, left_out)
    example = files.files[min(first, len(files.files) - 1)].path
    count = len(files.files)
    room: Room = Memory(count, shape) if entry is None else entry.room(count, shape)

    def put(number: int) -> str:
        """Decode a file; return why it is left out, or "" where it is not."""
        path = files.folder / files.files[number].path
        try:
            if only_grey and not is_grey(path):
                raise _HasColours
            image = decoded(path, wanted)
        except NotDecoded as reason:
            return str(reason)
        if image.shape != shape:
            raise _of_another_size(example, shape, files.files[number].path, image.shape)
        room.put(number, image)
        return ""

    try:
        bar = (
            LateBar(f"decoding {visible(str(files.folder))}", "images") if progress and is_watched() else None
        )
        reasons = in_threads(put, count, threads, bar)
        left_out = {number: reason for number, reason in enumerate(reasons) if reason}
        if len(left_out) == count:
            raise _nothing_left(files, left_out)
        return room.finished(left_out), left_out
    except BaseException:
        room.abandon()
        raise


def _of_another_size(example: str, shape: tuple[int, ...], other: str, found: tuple[int, ...]) -> FileError:
    if shape[2] != found[2] or shape[:2] == found[:2]:
        raise AssertionError("channels are as they are wanted")
    return FileError(
        "the images are not all of one size.",
        facts=[f"{example}: {shape[0]}x{shape[1]} pixels", f"{other}: {found[0]}x{found[1]}"],
        mend=f"give them one: size=128; or of a command --input-shape 128 128 {shape[2]}",
    )


def _nothing_left(files: ImageFiles, left_out: LeftOut) -> FileError:
    names = [(files.files[number].path, reason) for number, reason in left_out.items()]
    return FileError(
        f"{files.folder}: none of the {len(files.files):,} files can be loaded.",
        facts=_listed([*names, *files.left_out]),
        mend="check that these are images.",
    )


def _dataset(
    files: ImageFiles, images: NDArray[np.uint8], left_out: LeftOut, resize: str, *, strict: bool
) -> Dataset:
    names = [(files.files[number].path, reason) for number, reason in sorted(left_out.items())]
    names = sorted([*names, *files.left_out])
    if names:
        problem = f"{files.folder}: {len(names):,} of {len(files.files) + len(files.left_out):,} files"
        if strict:
            raise FileError(
                f"{problem} cannot be loaded.", facts=_listed(names), mend="strict=False leaves them out."
            )
        lines = [f"{problem} are left out", *_listed(names), "dataset.left_out has them all"]
        warn("\n  ".join(map(visible, lines)))
    kept = [file for number, file in enumerate(files.files) if number not in left_out]
    labels = np.array([file.label for file in kept], np.int64)
    trained = sum(not file.is_test for file in kept)
    paths = tuple(str(files.folder / file.path) for file in kept)
    return Dataset(
        images[:trained],
        labels[:trained],
        images[trained:],
        labels[trained:],
        files.classes,
        tuple(f"{path}: {reason}" for path, reason in names),
        paths[:trained],
        paths[trained:],
        resize,
    )


def _listed(names: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> list[str]:
    """Return some of the names of files with the reasons."""
    more = [f"and {len(names) - LISTED} more"] if len(names) > LISTED else []
    return [*(f"{path}: {reason}" for path, reason in names[:LISTED]), *more]
