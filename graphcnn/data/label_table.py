"""Folders of images whose classes a table says: a CSV file beside them, or a mapping of the user's."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

from graphcnn.data.image_files import ImageFile, ImageFiles, as_found, no_folder, walked
from graphcnn.data.refusal import file_errors
from graphcnn.errors import FileError, OptionError

TABLES: Final = (".csv", ".tsv")
LARGEST: Final = 1 << 28
"""Bytes of a table that are read: ten million names of files with their labels."""
LONGEST_ROW: Final = 1 << 18
"""Characters."""
COMPARED: Final = 200
"""So many rows tell which column names the files, unless they are long."""
LONGEST_LABEL: Final = 256
MOST_CLASSES: Final = 1 << 16
MOST_NAMED: Final = 10_000
"""So many files that are not there are left out by name; others are counted."""
_DELIMITERS: Final = ",;\t"
_LABELS: Final = ("label", "labels", "class", "classes", "category", "target", "y")
"""What the column of labels is called, where there are several beside that of the files."""
_LISTED: Final = 8

Labels = str | os.PathLike[str] | Mapping[str, object]


def tables_in(folder: Path) -> list[str]:
    """Return the names of the tables in a folder, which may say of what class its images are."""
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if entry.suffix.lower() in TABLES and entry.is_file() and not entry.name.startswith(".")
    )


def labelled_files(folder: Path, labels: Labels) -> ImageFiles:
    """Return the files in a folder that a table names, at any depth, with the classes that it says.

    labels: a CSV file, from where the program is or in the folder, or class by file. A file is named by its
    path from the folder on, or by its name, with or without the ending. Classes are in the order of their
    names, or of their numbers where all are whole numbers. Files that the table does not name, and those that
    it names and that are not there, are among those left out. Raises FileError for a table that is damaged,
    or that names no file of the folder, OptionError for labels that are none.
    """
    if not folder.is_dir():
        raise no_folder(folder)
    left_out: list[tuple[str, str]] = []
    known = _Names(as_found(path, status, folder) for path, status in walked(folder, left_out))
    if isinstance(labels, Mapping):
        table = "labels"
        rows: Iterator[tuple[str, str]] = ((os.fspath(name), str(label)) for name, label in labels.items())
    elif isinstance(labels, str | os.PathLike):
        path = _place(folder, Path(labels))
        table, rows = path.name, _pairs(path, known)
        left_out = [(name, why) for name, why in left_out if name != table]
    else:
        raise OptionError(
            f"labels={labels!r:.60} is neither a CSV file nor a mapping from files to classes",
            mend='labels="labels.csv", or labels={"IMG_1.jpg": "cat"}',
        )
    found: dict[str, tuple[ImageFile, str]] = {}
    missing: list[str] = []
    missing_count = 0
    names: dict[str, str] = {}
    for name, label in rows:
        file = known.find(name)
        if file is None:
            missing_count += 1
            if missing_count <= MOST_NAMED:
                missing.append(name[:200])
        elif found.setdefault(file.path, (file, names.setdefault(label, label)))[1] != label:
            other = found[file.path][1]
            raise FileError(
                f"{table}: {file.path} has two classes.",
                facts=[f"they are {other!r:.60} and {label!r:.60}"],
                mend="leave one row of it.",
            )
    if not found:
        raise FileError(
            f"{table}: it names no file in {folder}.",
            facts=[f"it names: {', '.join(missing[:_LISTED])[:200]}", known.shown()],
            mend="name the files as they are called: IMG_1.jpg, or images/IMG_1.jpg.",
        )
    left_out += [(name, f"{table} names it, and there is no such file, or several") for name in missing]
    if missing_count > len(missing):
        left_out.append((table, f"{missing_count - len(missing):,} more of its rows name no file"))
    unnamed = [path for path in known.paths if path not in found and Path(path).suffix.lower() not in TABLES]
    left_out += [(path, f"{table} does not name it") for path in unnamed]
    classes = _in_order({label for _, label in found.values()})
    numbers = {label: number for number, label in enumerate(classes)}
    files = [
        ImageFile(path, numbers[label], False, file.status) for path, (file, label) in sorted(found.items())
    ]
    return ImageFiles(folder, classes, tuple(files), tuple(left_out))


class _Names:
    """The files of a folder by what a table may call them."""

    def __init__(self, files: Iterable[ImageFile]) -> None:
        self._by_name: dict[str, ImageFile | None] = {}
        self.paths = {file.path: file for file in files}
        for file in self.paths.values():
            path = PurePosixPath(file.path)
            for called in {path.name, path.stem, str(path.with_suffix(""))}:
                self._by_name[called] = None if called in self._by_name else file  # None: there are several

    def find(self, name: str) -> ImageFile | None:
        path = os.path.normpath(name.strip().replace("\\", "/")) if name.strip() else ""
        return self.paths.get(path) or self._by_name.get(path) or self._by_name.get(PurePosixPath(path).name)

    def shown(self) -> str:
        names = list(self.paths)
        more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        return f"the folder holds: {', '.join(names[:_LISTED]) or 'nothing'}{more}"


def _place(folder: Path, table: Path) -> Path:
    """Return where a table is: as it is given, or in the folder."""
    path = table if table.is_file() or not (folder / table).is_file() else folder / table
    if not path.is_file():
        there = ", ".join(tables_in(folder)) or "none"
        raise FileError(
            f"{table}: there is no such table.",
            facts=[f"tables in {folder}: {there}"],
            mend="give the path of a CSV file that names files and their classes.",
        )
    return path


def _pairs(path: Path, known: _Names) -> Iterator[tuple[str, str]]:
    """Yield the files that a table names, each with its label, as text."""
    width, compared = _longest_rows(path)
    if width < 2:
        begin = compared[0][0] if compared else ""
        raise FileError(
            f"{path.name}: it has no two columns.",
            facts=[f"it begins with: {begin!r:.80}", f"file: {path}"],
            mend="write a line for each image, its file and its class: IMG_1.jpg,cat",
        )
    fitting = [sum(known.find(row[column]) is not None for row in compared) for column in range(width)]
    files = fitting.index(max(fitting))
    has_header = known.find(compared[0][files]) is None and len(compared) > 1
    header = compared[0] if has_header else [f"column {number}" for number in range(1, width + 1)]
    column = _label_column(path, header, files)
    classes: set[str] = set()
    rows = (row for row in _rows(path) if len(row) == width)
    if has_header:
        next(rows, None)
    for row in rows:
        label = row[column].strip()
        if len(label) > LONGEST_LABEL:
            raise FileError(
                f"{path.name}: a class has {len(label):,} characters, and at most {LONGEST_LABEL} are read.",
                facts=[f"the column: {header[column]!r:.60}", f"file: {path}"],
                mend="give each class a name.",
            )
        classes.add(label)
        if len(classes) > MOST_CLASSES:
            raise FileError(
                f"{path.name}: it has more than {MOST_CLASSES:,} classes.",
                facts=[f"the column: {header[column]!r:.60}", f"file: {path}"],
                mend="call the column of the classes label, and leave others out.",
            )
        yield row[files], label


def _longest_rows(path: Path) -> tuple[int, list[list[str]]]:
    """Return the number of columns of the longest rows, and the first of those rows."""
    width, taken = 0, 0
    first: list[list[str]] = []
    for row in _rows(path):
        if len(row) > width:
            width, taken, first = len(row), 0, []
        if len(row) == width and len(first) < COMPARED and taken <= LONGEST_ROW:
            taken += sum(map(len, row)) + len(row)
            first.append(row)
    return width, first


def _label_column(path: Path, header: Sequence[str], files: int) -> int:
    others = [number for number in range(len(header)) if number != files]
    called = [number for number in others if header[number].strip().lower() in _LABELS]
    if len(others) > 1 and len(called) != 1:
        names = ", ".join(header[number].strip() for number in others)
        raise FileError(
            f"{path.name}: which column has the classes is not known.",
            facts=[f"columns beside that of the files: {names[:200]}", f"file: {path}"],
            mend="call it label; or give labels={file: class}, from the columns that you mean.",
        )
    return called[0] if called else others[0]


def _rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a table, apart from empty ones, separated by what its first line has most of.

    They are read one by one, so that memory does not grow with the table.
    """
    with (
        file_errors(path),
        path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
    ):
        size = os.fstat(file.fileno()).st_size
        if size > LARGEST:
            raise FileError(
                f"{path}: it has {size:,} bytes, more than a table of labels takes.",
                mend="leave columns out, or divide it.",
            )
        first = file.readline(LONGEST_ROW)
        file.seek(0)
        lines = _Lines(path, file)
        try:
            for row in csv.reader(lines, delimiter=max(_DELIMITERS, key=first.count), skipinitialspace=True):
                lines.held = 0
                if any(map(str.strip, row)):
                    yield row
        except csv.Error as error:
            raise FileError(
                f"{path.name}: it is no table: {error}.",
                facts=[f"file: {path}"],
                mend="save it as CSV, separated by commas.",
            ) from None


class _Lines:
    """The lines of a table; held: the characters of the row that is being read."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path = path
        self._file = file
        self.held = 0

    def __iter__(self) -> Iterator[str]:
        while line := self._file.readline(LONGEST_ROW + 1):
            self.held += len(line)
            if self.held > LONGEST_ROW:
                raise FileError(
                    f"{self._path.name}: it is no table: a row has more than {LONGEST_ROW:,} characters.",
                    facts=[f"file: {self._path}"],
                    mend='write one image in each line, and close quotes, ".',
                )
            yield line


def _in_order(labels: set[str]) -> tuple[str, ...]:
    if all(label.isascii() and label.isdecimal() and len(label) < 20 for label in labels):
        return tuple(sorted(labels, key=int))
    return tuple(sorted(labels))
