"""What carries arrays between ranks: a small protocol, so that another engine is one file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

from graphcnn.arrays import Array

Message: TypeAlias = tuple[int, Array]
"""The rank at the other end, and an array that lies in memory in one piece."""
Traffic: TypeAlias = tuple[Sequence[Message], Sequence[Message]]
"""What is sent and what is received, as `Transport.begin` takes it."""


class Pending(Protocol):
    """Messages under way."""

    def done(self) -> bool:
        """Move them on, without waiting; return whether all have arrived."""

    def wait(self) -> None:
        """Return when all have arrived. Raises RankError where another rank has failed."""


class Transport(Protocol):
    """One rank's way to all the others."""

    @property
    def rank(self) -> int:
        """Which rank this is, from 0."""

    @property
    def size(self) -> int:
        """How many ranks there are."""

    def begin(self, sends: Sequence[Message], receives: Sequence[Message]) -> Pending:
        """Begin to send arrays, and to receive into others; return at once.

        All arrays are left alone until `wait` returns or `done` is true. Between two ranks messages arrive in
        the order in which they were begun, and are of the size that the other one sends.
        """
