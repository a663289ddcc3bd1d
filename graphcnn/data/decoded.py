"""Decoded images: in memory, or in a file of the cache, which keeps them from one run to the next.

An entry is two files. NAME-KEY.npy has the images, as NumPy reads them, and NAME-KEY.json what was left out;
the latter comes last, and only with it there is an entry. NAME stands for the folder and what its images
become, KEY for the files that are there: when they change, the entry of the others is removed.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from graphcnn.cache_folder import cache_folder
from graphcnn.errors import FileError, OutOfMemoryError

Shape = tuple[int, int, int]
LeftOut = dict[int, str]
"""Why files were left out, by their numbers."""

_HEADER: Final = 128
"""Bytes that NumPy's header takes, for any number of images."""
_LONGEST_NOTE: Final = 2**21
"""Bytes of a note that is read: reasons for ten thousand files. A longer one has images decoded again."""
_UNUSED_AFTER: Final = 30 * 24 * 3600.0
_ABANDONED_AFTER: Final = 24 * 3600.0
"""Seconds after which an entry that nobody reads is removed, and what an interrupted process left."""


def _header(shape: tuple[int, ...]) -> bytes:
    """Return NumPy's header for bytes of this shape."""
    stream = io.BytesIO()
    npy.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue()


class Room(Protocol):
    """Where decoded images go: any thread may put one, under its number."""

    def put(self, number: int, image: NDArray[np.uint8]) -> None:
        """Keep an image."""

    def finished(self, left_out: LeftOut) -> NDArray[np.uint8]:
        """Return all images but those that were left out, in the order of their numbers."""

    def abandon(self) -> None:
        """Give the room up."""


class Memory:
    """Room in memory for so many images."""

    def __init__(self, count: int, shape: Shape) -> None:
        try:
            self._images = np.empty((count, *shape), np.uint8)
        except (MemoryError, ValueError):
            raise OutOfMemoryError(
                f"{count:,} images of {'x'.join(map(str, shape))} do not fit into memory",
                facts=[f"they need {count * math.prod(shape) / 2**30:.1f} GiB"],
                mend="cache=True keeps them in a file; size=64 makes them smaller",
            ) from None

    def put(self, number: int, image: NDArray[np.uint8]) -> None:
        self._images[number] = image

    def finished(self, left_out: LeftOut) -> NDArray[np.uint8]:
        return np.delete(self._images, list(left_out), 0) if left_out else self._images

    def abandon(self) -> None:
        pass


class Entry:
    """An entry of the cache, there or not: of a folder's images as they are wanted.

    name: of all that decides what becomes of a file. key: of the files. Both are plain letters and digits.
    """

    def __init__(self, folder: Path, name: str, key: str) -> None:
        self._folder, self._name = folder, name
        self._images = folder / f"{name}-{key}.npy"
        self._note = folder / f"{name}-{key}.json"

    def read(self) -> tuple[NDArray[np.uint8], LeftOut] | None:
        """Return images and what was left out, or None where there is no entry that is whole.

        The images are mapped: the system reads them when they are needed.
        """
        try:
            with self._note.open("rb") as file:
                text = file.read(_LONGEST_NOTE + 1)
            if len(text) > _LONGEST_NOTE:
                return None
            note = json.loads(text.decode("utf-8"))
            left_out = {int(number): str(reason) for number, reason in note["left_out"].items()}
            images = self._mapped(tuple(note["shape"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        for path in (self._note, self._images):
            with contextlib.suppress(OSError):
                os.utime(path)
        return images, left_out

    def _mapped(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Map the images, of which there are as many as the shape says. Raises ValueError for any others."""
        if len(shape) != 4 or not all(type(size) is int and 0 < size < 2**63 for size in shape):
            raise ValueError(f"the shape {shape!r:.80}")
        with self._images.open("rb") as file:
            length = os.fstat(file.fileno()).st_size
            if length != _HEADER + math.prod(shape) or file.read(_HEADER) != _header(shape):
                raise ValueError("its header or its length is another one")
            return np.asarray(np.memmap(file, np.uint8, "r", _HEADER, shape))

    def room(self, count: int, shape: Shape) -> FileRoom:
        """Return room in a new file for so many images. Raises FileError where the disk has none."""
        self._tidy()
        return FileRoom(self, count, shape)

    def take(self, part: Path, shape: Sequence[int], left_out: LeftOut) -> NDArray[np.uint8]:
        """Make a finished file the entry, in the place of those of other files, and return its images."""
        for other in self._folder.glob(f"{self._name}-*"):
            if other not in (self._images, self._note):
                other.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        part.replace(self._images)
        text = json.dumps({"shape": list(shape), "left_out": {str(n): why for n, why in left_out.items()}})
        note = self._new_part()
        note.write_text(text, "utf-8")
        note.replace(self._note)
        return self._mapped(tuple(shape))

    def _new_part(self) -> Path:
        return self._folder / f".{self._name}.{secrets.token_hex(8)}.part"

    def _tidy(self) -> None:
        """Remove what nobody has used for long."""
        now = time.time()
        for path in self._folder.iterdir():
            limit = _ABANDONED_AFTER if path.suffix == ".part" else _UNUSED_AFTER
            with contextlib.suppress(OSError):
                if path.suffix in (".part", ".npy", ".json") and now - path.stat().st_mtime > limit:
                    path.unlink()


class FileRoom:
    """Room in a file beside the entry that it becomes."""

    def __init__(self, entry: Entry, count: int, shape: Shape) -> None:
        self._entry, self._count, self._shape = entry, count, shape
        self._size = math.prod(shape)
        self._path = entry._new_part()
        needed, free = count * self._size, shutil.disk_usage(self._path.parent).free
        if needed > free:
            raise self._full(f"{needed / 2**30:.1f} GiB are needed, and {free / 2**30:.1f} GiB are free")
        self._file = FileIO(self._path, "x+")

    def put(self, number: int, image: NDArray[np.uint8]) -> None:
        self._write(np.ascontiguousarray(image).data.cast("B"), _HEADER + number * self._size)

    def finished(self, left_out: LeftOut) -> NDArray[np.uint8]:
        kept = 0
        for number in range(self._count):
            if number in left_out:
                continue
            if kept < number:
                image = os.pread(self._file.fileno(), self._size, _HEADER + number * self._size)
                self._write(memoryview(image), _HEADER + kept * self._size)
            kept += 1
        shape = (kept, *self._shape)
        self._write(memoryview(_header(shape)), 0)
        try:
            self._file.truncate(_HEADER + kept * self._size)
            os.fsync(self._file.fileno())
            self._file.close()
            return self._entry.take(self._path, shape, left_out)
        except OSError as error:
            raise self._full(str(error.strerror or error)) from error

    def abandon(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def _write(self, content: memoryview, place: int) -> None:
        try:
            while content:
                written = os.pwrite(self._file.fileno(), content, place)
                content, place = content[written:], place + written
        except OSError as error:
            raise self._full(str(error.strerror or error)) from error

    def _full(self, reason: str) -> FileError:
        return FileError(
            f"the decoded images cannot be kept in {self._path.parent}: {reason}",
            mend="cache=FOLDER keeps them elsewhere, cache=False in memory; size=64 makes them smaller",
        )


def image_cache(given: bool | str | os.PathLike[str]) -> Path | None:
    """Return the folder for decoded images, made if need be; None where there is none.

    given: True for `images` in the cache's folder, which may be off; False for none; or the folder itself.
    """
    if given is False:
        return None
    try:
        if given is True:
            caches = cache_folder()
            folder = None if caches is None else caches / "images"
        else:
            folder = Path(given)
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:
        if given is True:  # a user without a home, or one that cannot be written to
            return None
        raise FileError(
            f"{given}: decoded images cannot be kept there: {error}", mend="cache=False"
        ) from error
    return folder
