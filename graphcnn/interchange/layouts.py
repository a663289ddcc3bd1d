"""Whose files of weights can be read and written."""

from __future__ import annotations

from typing import Final

from graphcnn.errors import OptionError

READ: Final = ("graphcnn", "torchvision", "keras")
WRITTEN: Final = READ[:2]


def require_layout(layout: object, known: tuple[str, ...] = READ) -> None:
    """Raise OptionError for a layout that files of weights cannot be read, or written, in."""
    if layout == "keras" and layout not in known:
        raise OptionError(
            'layout="keras" is read, and not written',
            mend='model.load_weights(path, layout="keras"); to write, layout="torchvision", or leave it out',
        )
    if layout not in known:
        raise OptionError(
            f"layout={layout!r:.60} is not a layout of weights",
            facts=[f"there are {', '.join(map(repr, known))}"],
            mend='layout="torchvision" for state dicts of PyTorch\'s modules; leave it out for our own files',
        )
