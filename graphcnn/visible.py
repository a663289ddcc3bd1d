"""Names and paths as they may be shown. They come from files, and a file's names are not trusted.

A control character in a name moves a terminal's cursor, changes its colours or its title, or writes lines
of its own; an override of the direction of text makes one name look like another.
"""

from __future__ import annotations

from typing import Final

_LINE_FEED, _TAB = 0x0A, 0x09
_COMMANDS: Final = {
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    *(0x200E, 0x200F),
    *range(0x2028, 0x202F),
    *(0x2066, 0x2067),
    *range(0xD800, 0xE000),
}
"""Control characters, marks and overrides of direction, separators of lines, halves of surrogate pairs."""


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


_IN_NAMES: Final = {code: _escape(code) for code in (*_COMMANDS, 0x2068, 0x2069)}
_IN_LINES: Final = {code: _escape(code) for code in _COMMANDS - {_LINE_FEED, _TAB}}


def visible(name: str) -> str:
    """Return a name as one line for the eye: what commands a terminal is written as an escape, `\\x1b`."""
    return name if name.isprintable() else name.translate(_IN_NAMES)


def visible_lines(text: str) -> str:
    """Return text whose own lines and isolated right-to-left names stay, and all else as in `visible`."""
    return text.translate(_IN_LINES)
