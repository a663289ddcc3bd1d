"""What watchers and ranks tell each other: lines of JSON over a socket."""

from __future__ import annotations

import json
import math
import socket
import time
from typing import Any, Final, TypeAlias

Said: TypeAlias = dict[str, Any]
"""What is told: its "kind", and what belongs to it."""

_LONGEST: Final = 1 << 20
"""Bytes of a line, at most."""


class Link:
    """A connection to another process, from which nothing is waited for. Told are the `kind` and the rest.

    is_open: whether the other end is. heard: when something came from there, on the monotonic clock. behind:
    seconds by which the clock at the other end is behind this one's, or a little more. handles: what was sent
    along by `send_with`.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection: Final = connection
        self.is_open = True
        self.heard = time.monotonic()
        self.behind = math.inf
        self.handles: list[int] = []
        self._unsent = bytearray()
        self._read = bytearray()

    def fileno(self) -> int:
        return self.connection.fileno()

    def send(self, said: Said) -> None:
        """Tell something; what does not go out at once does so by `flush`."""
        self._unsent += json.dumps(said).encode() + b"\n"
        self.flush()

    def send_with(self, said: Said, handles: list[int]) -> None:
        """Tell something, and share open files with the other end, which is on this machine."""
        socket.send_fds(self.connection, [json.dumps(said).encode() + b"\n"], handles)

    def flush(self) -> bool:
        """Return whether all has gone out, or nobody is there any more."""
        while self._unsent and self.is_open:
            try:
                del self._unsent[: self.connection.send(self._unsent)]
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self.is_open = False
        return True

    def receive(self) -> list[Said]:
        """Return all that has come since."""
        while self.is_open:
            try:
                part = self._part()
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                part = b""
            self.is_open = bool(part) and len(self._read) < _LONGEST
            self._read += part
            self.heard = time.monotonic()
        *lines, rest = bytes(self._read).split(b"\n")
        self._read = bytearray(rest)
        return [said for said in map(_parsed, lines) if said is not None]

    def _part(self) -> bytes:
        if self.connection.family != getattr(socket, "AF_UNIX", None):
            return self.connection.recv(1 << 16)
        part, handles, _, _ = socket.recv_fds(self.connection, 1 << 16, 4)
        self.handles += handles
        return part

    def close(self) -> None:
        self.is_open = False
        self.connection.close()


def _parsed(line: bytes) -> Said | None:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) and isinstance(said.get("kind"), str) else None
