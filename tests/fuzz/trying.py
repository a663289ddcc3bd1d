"""How an input is given to a parser of files, within bounds of time and memory, and what is a fault."""

import functools
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from graphcnn.errors import FileError

SPARE = 64 << 20
"""Bytes that a parser may take beside twice its input."""
SECONDS = 1.0
"""Of the processor, for any input of up to a megabyte."""


class FaultError(Exception):
    """An input that a parser neither reads nor refuses as it should."""


@dataclass(frozen=True)
class Parser:
    """seeds: returns valid inputs. read: gives an input to the parser, in a folder that `prepare` made.

    words: what inputs of this kind are made of. errors: those that it may raise. spare: bytes that it may
    take beside twice its input. needs: the package without which there is no such parser.
    """

    name: str
    seeds: Callable[[], Sequence[bytes]]
    read: Callable[[Path, bytes], object]
    errors: tuple[type[Exception], ...] = (FileError,)
    prepare: Callable[[Path], None] = lambda folder: None
    words: tuple[bytes, ...] = ()
    spare: int = SPARE
    needs: str = ""


@contextmanager
def limited(size: int, spare: int = SPARE):
    """Give no more memory than a parser may take for an input of this size."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(os.pread(_statistics(), 20, 0).partition(b" ")[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 2 * size + spare, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@functools.cache
def _statistics() -> int:
    return os.open("/proc/self/statm", os.O_RDONLY)  # kept open: it is read for every input


def tried(parser: Parser, folder: Path, content: bytes) -> bool:
    """Give an input to a parser; return whether it was read. Raises FaultError for what must not be."""
    begin = time.process_time()
    try:
        with limited(len(content), parser.spare):
            parser.read(folder, content)
    except parser.errors:
        return False
    except Exception as error:
        raise FaultError(f"{parser.name}: {type(error).__name__}: {error}") from error
    finally:
        taken = time.process_time() - begin
        if taken > SECONDS:
            raise FaultError(f"{parser.name}: it took {taken:.1f} s of the processor")
    return True


def in_memory() -> tempfile.TemporaryDirectory:
    """Return a folder, of a disk in memory where there is one."""
    return tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def written(path: Path, content: bytes) -> Path:
    path.unlink(missing_ok=True)  # some disks flush a file that is overwritten, which takes milliseconds
    path.write_bytes(content)
    return path


def from_file(load: Callable[[Path], object], name: str) -> Callable[[Path, bytes], object]:
    """Return what writes an input to a file of this name, and loads that."""

    def read(folder: Path, content: bytes) -> object:
        return load(written(folder / name, content))

    return read


def in_folder(write: Callable[[Path], object]) -> bytes:
    """Return what is written to a path."""
    with in_memory() as folder:
        path = Path(folder) / "file"
        write(path)
        return next(Path(folder).iterdir()).read_bytes()
