"""Where a node comes from: the user's line, the layer, and for gradients the forward node and the rule."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Origin:
    """The story of one node.

    file, line: the place in the user's script that caused the node; "" and 0 where there is none.
    layer: the layer's name, such as `conv1`.
    rule: the equation or rule that made the node, such as `Eq. 14`.
    forward: for a gradient node, the key of the forward node that it belongs to.
    """

    file: str = ""
    line: int = 0
    layer: str = ""
    rule: str = ""
    forward: int | None = None

    def remapped(self, key_of: Callable[[int], int | None]) -> Origin:
        """Return the origin for a graph in which the nodes have other keys."""
        if self.forward is None or (key := key_of(self.forward)) == self.forward:
            return self
        return Origin(self.file, self.line, self.layer, self.rule, key)


_OWN_PACKAGES: Final = ("graphcnn", "graphcnn_numpy", "graphcnn_native")


def users_line() -> Origin:
    """Return the innermost frame outside graphcnn's own code (its zoo counts as a user's script).

    The user of the command line has no line there: what called it is no script of theirs.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and is_internal(module := frame.f_globals.get("__name__", "")):
        if _is_command(module):
            return Origin()
        frame = frame.f_back
    return Origin(file=frame.f_code.co_filename, line=frame.f_lineno)


def users_line_of(error: BaseException) -> Origin:
    """Return the innermost line outside graphcnn's own code that an error passed; an empty one for none."""
    place, step = Origin(), error.__traceback__
    while step is not None:
        module = step.tb_frame.f_globals.get("__name__", "")
        if _is_command(module):
            place = Origin()
        elif not is_internal(module):
            place = Origin(file=step.tb_frame.f_code.co_filename, line=step.tb_lineno)
        step = step.tb_next
    return place


def is_internal(module: str) -> bool:
    """Whether a module is one of graphcnn's own packages and no user's; the zoo is written as users write."""
    package = module.split(".")
    return package[0] in _OWN_PACKAGES and package[1:2] != ["zoo"]


def _is_command(module: str) -> bool:
    return module.startswith("graphcnn.cli")
