"""Figures of matplotlib, where it is installed, as pictures and in notebooks."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any

from graphcnn.errors import OptionError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(**options: Any) -> Figure:
    """Return a figure that notebooks display by itself, whether or not matplotlib draws into them.

    options: as those of matplotlib's Figure. Raises OptionError where matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise OptionError("plots need matplotlib", mend="pip install 'graphcnn[plot]'") from None
    from graphcnn.displayed_figure import DisplayedFigure

    return DisplayedFigure(**options)


def require_format(figure: Figure, format: str) -> None:
    """Raise OptionError for a format, as names of files end with it, that matplotlib does not write."""
    known = figure.canvas.get_supported_filetypes()
    if format.lower() not in known:
        raise OptionError(
            f"a picture's name ends with its format, and not with {format!r}",
            facts=[f"formats: {', '.join(known)}"],
            mend='for example save("maps.png")',
        )


def picture(figure: Figure, format: str) -> bytes:
    """Return a figure as the content of a file. Raises as `require_format` does."""
    require_format(figure, format)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format)
    return buffer.getvalue()


def is_in_notebook() -> bool:
    """Return whether a notebook is running this: a terminal's IPython has no kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
