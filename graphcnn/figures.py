"""Figures of matplotlib, where it is installed."""

from __future__ import annotations

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
