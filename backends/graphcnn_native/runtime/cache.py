"""Machine code, and what is known of it, on disk: what was compiled once is ready in the next process.

Loading a file is running it. Hence folder and files count only if they are this user's own, no other user
can write them and no symbolic link leads to them; and every check is made on what has been opened, which
cannot be exchanged afterwards. Anything else, like damage, a full disk or a missing home, means no cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
from collections.abc import Iterable, Iterator

import llvmlite
import llvmlite.binding as llvm

import graphcnn
from graphcnn.cache_folder import cache_folder
from graphcnn_native.target import Target

# Some hundreds of networks; the least recently used ones are removed beyond it.
_MOST_BYTES = 256 << 20

_TIDIED_AT = "000"
"""Entries whose keys begin with this have the folder listed and tidied, one in 4096, or in some tens of
networks: for that, all its files are looked at, which takes as long as a network's compilation once there are
ten thousands."""

_MAGIC = b"graphcnn object 1\n"
_KEY_LENGTH = 64
_HEADER_LENGTH = len(_MAGIC) + 2 * (_KEY_LENGTH + 1)
_ENTRY = re.compile(r"[0-9a-f]{64}\.object")
_UNFINISHED = re.compile(r"\.[0-9a-f]{64}\.[0-9a-f]{16}\.part")
_ABANDONED_AFTER_SECONDS = 3600.0

_OWN = os.O_CLOEXEC | os.O_NOFOLLOW


def key(text: str, target: Target, options: str) -> str:
    """Return the name of the machine code that a text becomes: a digest of all that decides it."""
    digest = hashlib.sha256()
    versions = (graphcnn.__version__, llvmlite.__version__, ".".join(map(str, llvm.llvm_version_info)))
    for part in (*versions, target.triple, target.cpu, target.features, options, text):
        content = part.encode()
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def load(key: str) -> bytes | None:
    """Return what is kept under the key, or None if there is none that is whole and ours."""
    return load_all([key]).get(key)


def load_all(keys: Iterable[str]) -> dict[str, bytes]:
    """Return what is kept under each of the keys for which there is something that is whole and ours."""
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError), _opened_folder() as folder:
        for key in keys:
            with contextlib.suppress(OSError):
                code = _read(folder, key)
                if code is not None:
                    found[key] = code
    return found


def store(key: str, code: bytes) -> None:
    """Keep what belongs to the key, where that is possible."""
    content = _wrapped(key, code)
    if len(content) > _MOST_BYTES:
        return
    with contextlib.suppress(OSError), _opened_folder() as folder:
        _write(folder, key, content)
        if key.startswith(_TIDIED_AT):
            _remove_oldest(folder)


def _read(folder: int, key: str) -> bytes | None:
    handle = os.open(f"{key}.object", os.O_RDONLY | os.O_NONBLOCK | _OWN, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        status = os.fstat(handle)
        if not _is_ours(status, stat.S_IFREG) or status.st_size > _MOST_BYTES:
            return None
        code = _unwrapped(key, file.read(status.st_size))
        if code is not None:
            _mark_used(handle)
        return code


def _wrapped(key: str, code: bytes) -> bytes:
    return b"%s%s\n%s\n%s" % (_MAGIC, key.encode(), hashlib.sha256(code).hexdigest().encode(), code)


def _unwrapped(key: str, content: bytes) -> bytes | None:
    """Return the machine code in an entry, or None if it is damaged, cut off or of another key."""
    code = content[_HEADER_LENGTH:]
    return code if code and content == _wrapped(key, code) else None


@contextlib.contextmanager
def _opened_folder() -> Iterator[int]:
    """Give the cache's folder, made if need be, as an open directory. Raises OSError if there is none."""
    try:
        folder = cache_folder()
    except RuntimeError as error:  # a user without a home
        raise FileNotFoundError("there is no home") from error
    if folder is None:
        raise FileNotFoundError("the cache is off")
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _OWN)
    try:
        if not _is_ours(os.fstat(handle), stat.S_IFDIR):
            raise PermissionError(f"other users can write {folder}")
        yield handle
    finally:
        os.close(handle)


def _is_ours(status: os.stat_result, kind: int) -> bool:
    """Return whether it is of that kind and this user alone can change it."""
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_IFMT(status.st_mode) == kind and status.st_uid == os.geteuid() and not others_write


def _mark_used(handle: int) -> None:
    """Make the entry the newest, so that the oldest are those that nobody uses."""
    with contextlib.suppress(OSError):
        os.utime(handle)


def _write(folder: int, key: str, content: bytes) -> None:
    """Write beside the entry and rename over it, so that no process ever sees half of one.

    No sync: what a crash of the machine damages, the checksum tells.
    """
    unfinished = f".{key}.{secrets.token_hex(8)}.part"
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _OWN, 0o600, dir_fd=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.rename(unfinished, f"{key}.object", src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _remove(folder, unfinished)
        raise


def _remove_oldest(folder: int) -> None:
    """Remove the least recently used entries beyond the bound, and what interrupted processes left."""
    entries: list[tuple[float, int, str]] = []
    with os.scandir(folder) as listing:
        for item in listing:
            if _ENTRY.fullmatch(item.name) or _UNFINISHED.fullmatch(item.name):
                status = item.stat(follow_symlinks=False)
                entries.append((status.st_mtime, status.st_size, item.name))
    entries.sort()
    total = sum(size for _, size, _ in entries)
    for changed, size, name in entries:
        abandoned = name.endswith(".part") and time.time() - changed > _ABANDONED_AFTER_SECONDS
        if not abandoned and total <= _MOST_BYTES:
            continue
        _remove(folder, name)
        total -= size


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)
