"""Writing files so that a crash at any moment leaves the old file or the new one, whole.

What is unfinished lies beside the file as `.graphcnn-….part`, locked by who writes it. The part of a process
that was killed is locked by nobody: whoever next writes in the folder removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from types import ModuleType

from graphcnn.errors import FileError, MissingFolderError, OptionError, PathError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # a system without POSIX's locks: parts that a kill leaves stay there
    fcntl = None

PART = re.compile(r"\.graphcnn-[0-9a-f]{16}\.part")
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)


def as_path(path: object) -> Path:
    """Return what a user gave as a path. Raises OptionError where it can be none."""
    given = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(given, str):
        raise OptionError(f"{given!r:.60} is not a path", mend='give a string or a Path: "model.safetensors"')
    if not given or "\0" in given:
        raise OptionError(
            f"the path {given!r:.60} is empty or has a zero character in it", mend="name a file"
        )
    return Path(given)


@contextmanager
def opened(path: Path) -> Iterator[tuple[FileIO, int]]:
    """Give a file to read, and its size. Raises FileError for what is none: nothing, a folder, a pipe."""
    file = None
    with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):
        file = FileIO(path, opener=_without_waiting)
    if file is not None:
        with file:
            status = os.fstat(file.fileno())
            if stat.S_ISREG(status.st_mode):
                yield file, status.st_size
                return
    raise FileError(f"{path} does not exist, or is not a file", mend="check the path and the working folder")


def _without_waiting(name: str, flags: int) -> int:
    """Open a file at once, where opening a pipe would wait for who writes into it."""
    return os.open(name, flags | getattr(os, "O_NONBLOCK", 0))


def require_place(path: str | os.PathLike[str]) -> Path:
    """Return the file that writing to a path makes or replaces; where it is a symbolic link, its target.

    Call it before long work whose result is to be written. Raises PathError, which is an OSError too, where
    the folder is missing or something else than a file is there, and PermissionError.
    """
    given = as_path(path)
    target = Path(os.path.realpath(given))
    if target.is_dir() or os.fspath(path).endswith(os.sep):
        raise PathError(
            f"{given} is a folder, and not a file to write",
            mend="name a file in it",
        ).about(errno.EISDIR, given)
    if target.exists() and not target.is_file():
        raise PathError(
            f"{given} is a device or a pipe, and not a file that can be replaced", mend="name a file"
        ).about(errno.EINVAL, given)
    folder = target.parent
    if not folder.is_dir():
        raise MissingFolderError(
            f"there is no folder {folder} for {target.name}", mend="make it, or choose another"
        ).about(errno.ENOENT, folder)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "files cannot be made in this folder", str(folder))
    return target


def write_atomically(path: str | os.PathLike[str], content: bytes | Sequence[bytes | memoryview]) -> None:
    """Write beside the file, sync, rename over it, and sync the folder.

    content: all bytes, or parts of them in their order.
    The file keeps its permissions, and its owner where the system lets it. Raises as `require_place` does,
    and OSError, which names the file, where writing fails; the old file is whole then.
    """
    target = require_place(path)
    try:
        _replace(target, [content] if isinstance(content, bytes) else content)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None


def _replace(target: Path, content: Sequence[bytes | memoryview]) -> None:
    old = target.stat() if target.exists() else None
    _remove_abandoned(target.parent)
    part, file = _new_part(target.parent, mode=0o666 if old is None else 0o600)
    try:
        with file:
            for each in content:
                _write_all(file, each)
            if old is not None:
                _take_over(file.fileno(), old)
            os.fsync(file.fileno())
            if fcntl is None:
                file.close()  # elsewhere than on POSIX an open file cannot be renamed
            part.replace(target)  # while the lock is held: nobody takes the part for abandoned
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            part.unlink()
        raise
    _sync_folder(target.parent)


def _new_part(folder: Path, mode: int) -> tuple[Path, FileIO]:
    """Return a new file beside those of a folder, and its locked handle. The system applies its umask."""
    while True:
        part = folder / f".graphcnn-{secrets.token_hex(8)}.part"
        file = FileIO(part, "wb", opener=lambda name, flags: os.open(name, flags | os.O_EXCL | _FLAGS, mode))
        if _is_locked(file.fileno()) and os.fstat(file.fileno()).st_nlink:
            return part, file
        file.close()  # someone who cleans up was faster than the lock, and removes it


def _is_locked(handle: int) -> bool:
    """Lock a file; return whether it is this handle's, which it counts as where the disk has no locks."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, so that they are there after a power cut, too.

    Raises OSError, which names the folder.
    """
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        for each in missing:
            _sync_folder(each.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def locked(path: Path) -> FileIO | None:
    """Lock a file, which is made if it is missing, until the handle is closed or the process ends.

    None where another process has it locked. Processes that are forked meanwhile do not hold it. Where the
    disk has no locks, there is none that could be in the way.
    """
    file = FileIO(path, "wb", opener=lambda name, flags: os.open(name, flags | _FLAGS, 0o666))
    try:
        if fcntl is not None:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            file.close()
            return None
    return file


def _remove_abandoned(folder: Path) -> None:
    """Remove the parts whose writers are dead. What cannot be listed, locked or removed stays."""
    if fcntl is None:
        return
    parts: list[Path] = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        parts = [Path(entry.path) for entry in entries if PART.fullmatch(entry.name)]
    for part in parts:
        with contextlib.suppress(OSError):
            handle = os.open(part, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink()
            finally:
                os.close(handle)


def _write_all(file: FileIO, content: bytes | memoryview) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[file.write(rest) :]


def _take_over(handle: int, old: os.stat_result) -> None:
    """Give a file the owner, where that is allowed, and the permissions of the one that it replaces."""
    if os.name != "posix":
        return
    made = os.fstat(handle)
    if (made.st_uid, made.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(handle, old.st_uid, old.st_gid)
    os.fchmod(handle, stat.S_IMODE(old.st_mode) & 0o777)


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    with contextlib.suppress(PermissionError):  # a folder that may be written in, but not read
        handle = os.open(folder, os.O_RDONLY | _FLAGS)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
