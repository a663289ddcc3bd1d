"""One gzip stream, decompressed piece by piece."""

from __future__ import annotations

import zlib
from typing import BinaryIO

MOST_RATIO = 1032  # deflate's shortest code is 2 bits for 258 bytes
_BLOCK = 1 << 18  # compressed bytes that are read at a time


class GzipStream:
    """Reads a gzip stream (RFC 1952) from a file, never decompressing more than is asked for.

    The standard library's `gzip` walks header fields and concatenated streams in Python, which a hostile
    file can make very slow; this one stops at the end of the first stream.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._inflater = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._waiting = b""

    @property
    def finished(self) -> bool:
        """Whether the stream came to its end, and its checksum and length were right."""
        return self._inflater.eof

    @property
    def consumed(self) -> int:
        """The position in the file up to which the stream was read."""
        return self._file.tell() - len(self._waiting) - len(self._inflater.unused_data)

    def read(self, size: int) -> bytes:
        """At least 1 and at most `size` bytes; none where the stream or the file ends.

        Raises zlib.error if the data are damaged.
        """
        while not self.finished:
            self._waiting = self._waiting or self._file.read(_BLOCK)
            at_end = not self._waiting
            block = self._inflater.decompress(self._waiting, size)
            # After its end, zlib counts the same bytes as unused and may count them as unconsumed, too.
            self._waiting = b"" if self.finished else self._inflater.unconsumed_tail
            if block or at_end:
                return block
        return b""
