"""The errors of graphcnn: each says what is wrong, where in the user's code, and how to mend it."""

from __future__ import annotations

import linecache
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from graphcnn.visible import visible


class GraphcnnError(Exception):
    """Base of every error that graphcnn raises on purpose.

    problem: one sentence that says what is wrong.
    facts: lines that show the evidence (shapes, the arithmetic, what was allowed).
    mend: what the user can do about it.
    """

    def __init__(self, problem: str, *, facts: Sequence[str] = (), mend: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.facts = tuple(facts)
        self.mend = mend
        self.layer = ""
        self.file = ""
        self.line = 0

    def located(self, *, layer: str = "", file: str = "", line: int = 0) -> GraphcnnError:
        """Fill in the place that is not known yet; the innermost place wins. Returns the error itself."""
        self.layer = self.layer or layer
        if not self.file:
            self.file, self.line = file, line
        return self

    def __str__(self) -> str:
        lines = [f"{self._place()}{self.problem}"]
        source = linecache.getline(self.file, self.line).strip() if self.file else ""
        if source:
            lines.append(f"    {source}")
        lines += [f"  {fact}" for fact in self.facts]
        if self.mend:
            lines.append(f"  Mend: {self.mend}")
        return "\n".join(map(visible, lines))

    def _place(self) -> str:
        where = f"{Path(self.file).name}:{self.line}" if self.file else ""
        if self.layer and where:
            return f"{self.layer} ({where}): "
        return f"{self.layer or where}: " if self.layer or where else ""


def meant(given: object, known: Iterable[str], otherwise: str = "") -> str:
    """Return the mend for an unknown name: the known one that it resembles, or else another mend."""
    from difflib import get_close_matches

    lowered = {name.lower(): name for name in known}
    found = get_close_matches(given.lower(), lowered, 1) if isinstance(given, str) else []
    return f"did you mean {lowered[found[0]]!r}?" if found else otherwise


def add_fact(error: Exception, fact: str) -> None:
    """Let an error that passes by say where it happened: as a fact once, or as a note of a foreign one."""
    if not isinstance(error, GraphcnnError):
        error.add_note(fact)
    elif fact not in error.facts:
        error.facts += (fact,)


class ShapeError(GraphcnnError, ValueError):
    """Shapes, ranks or element types that do not fit together."""


class OptionError(GraphcnnError, ValueError):
    """An argument whose value is not allowed, such as a stride of 0 or an unknown padding."""


class ArgumentError(OptionError, TypeError):
    """A call whose arguments do not fit what is called: unknown ones, too many, too few. A TypeError too."""


class SettingError(OptionError, AttributeError):
    """An attribute that cannot be set; an AttributeError too."""


class UnknownNameError(OptionError, KeyError):
    """A name that a mapping does not have; a KeyError too, as mappings promise."""


class UnknownPlaceError(OptionError, IndexError):
    """A place that a sequence does not have; an IndexError too, as sequences promise."""


class PathError(OptionError, OSError):
    """A path at which no file can be written; an OSError too."""

    def about(self, number: int, path: Path) -> Self:
        """Set the system's number of the error and the path, as an OSError has them; return the error."""
        self.errno, self.strerror, self.filename = number, self.problem, str(path)
        return self


class MissingFolderError(PathError, FileNotFoundError):
    """A path whose folder does not exist; a FileNotFoundError too."""


class GraphError(GraphcnnError, ValueError):
    """A graph that breaks the rules which `verify` states."""


class ParseError(GraphcnnError, ValueError):
    """Text that is not a graph in the text form."""


class DifferentiationError(GraphcnnError, ValueError):
    """A gradient that does not exist, such as one of a tensor that is not a scalar."""


class DataError(GraphcnnError, ValueError):
    """Images, labels or batches that do not fit the model."""


class FileError(GraphcnnError, ValueError):
    """A file that is damaged, truncated or not of the format its name says."""


class InterchangeError(GraphcnnError, ValueError):
    """A network that another format holds and graphcnn has no ops for."""


class ExportError(GraphcnnError, ValueError):
    """A graph that a file of another format cannot hold."""


class FunctionError(GraphcnnError, ValueError):
    """A function of the user's own that cannot be compiled."""


class BackendError(GraphcnnError, RuntimeError):
    """A backend that is unknown, cannot be loaded, or lacks an operation."""


class OutOfMemoryError(BackendError, MemoryError):
    """A call that needs more memory than there is."""


class ScriptError(GraphcnnError, RuntimeError):
    """A user's script that fails while the command line runs it for its networks; the cause is its error."""


class TrainingError(GraphcnnError, ArithmeticError):
    """Training that has gone wrong, such as a loss that is no longer a number."""


class RankError(GraphcnnError, RuntimeError):
    """Training on several ranks that one of them has ended, or that would not compute the same.

    One has raised an error, died, does not answer or has left; or they differ in versions, options or data.
    """


class GraphcnnWarning(UserWarning):
    """What is allowed, but hardly meant, such as training at a rate of 0."""
