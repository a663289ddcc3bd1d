"""The curves of training while it runs: in a notebook, or in a picture that is written anew."""

from __future__ import annotations

import importlib
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphcnn.arguments import known_arguments
from graphcnn.errors import OptionError
from graphcnn.figures import is_in_notebook, new_figure, picture, require_format
from graphcnn.interchange.files import as_path, require_place, write_atomically
from graphcnn.training.callbacks import Callback

if TYPE_CHECKING:
    from graphcnn.training.model import Model


@known_arguments
class LivePlot(Callback):
    """Draws `model.history` after each validation and epoch, in the place where it was drawn before.

    path: a picture to write, in the format that its name ends with; by default the curves are displayed in
    the notebook. Raises OptionError where matplotlib is not installed or does not know the format, and `fit`
    where there is neither a path nor a notebook.
    """

    only_writes = True

    def __init__(self, path: str | PathLike[str] | None = None) -> None:
        figure = new_figure()
        self.path = None if path is None else as_path(path)
        if self.path is not None:
            require_format(figure, self.path.suffix[1:])
        self._display: Any = None

    def on_train_begin(self, model: Model) -> None:
        self._display = None
        if self.path is not None:
            require_place(self.path)
        elif not is_in_notebook():
            raise OptionError("there is no notebook to draw in", mend='gcn.LivePlot("curves.png")')

    def on_validation_end(self, model: Model, epoch: int, step: int, logs: dict[str, float]) -> None:
        self._draw(model)

    def on_epoch_end(self, model: Model, epoch: int, logs: dict[str, float]) -> None:
        self._draw(model)

    def _draw(self, model: Model) -> None:
        figure = model.history.plot()
        if self.path is not None:
            write_atomically(self.path, picture(figure, self.path.suffix[1:]))
        elif self._display is None:
            display = importlib.import_module("IPython.display").display
            self._display = display(figure, display_id=True)
        else:
            self._display.update(figure)

    def __getstate__(self) -> dict[str, Any]:
        """A copy draws in a place of its own."""
        return {**self.__dict__, "_display": None}
