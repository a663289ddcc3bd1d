"""Where graphcnn keeps what it would otherwise have to make again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path | None:
    """Return where the cache is: $GRAPHCNN_CACHE, or else graphcnn in the folder for caches; None for none.

    Raises RuntimeError for a user without a home.
    """
    chosen = os.environ.get("GRAPHCNN_CACHE")
    if chosen is not None:
        return None if chosen in ("", "off") else Path(chosen).expanduser()
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not caches.is_absolute():  # the XDG base directory specification has relative ones ignored
        caches = Path("~/.cache").expanduser()
    return caches / "graphcnn"
