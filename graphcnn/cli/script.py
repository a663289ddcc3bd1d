"""Running a user's script for the networks in it."""

from __future__ import annotations

import runpy
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from graphcnn.errors import GraphcnnError, ScriptError
from graphcnn.origin import is_internal

NAME = "graphcnn_script"
"""What a script finds in `__name__`: it is not the program, so that its main part does not run."""

_LIBRARIES = tuple(
    Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")
)


def run_script(path: str) -> dict[str, Any]:
    """Return the variables of a script. Raises ScriptError, with the user's lines alone, where it fails."""
    with within_script(path):
        return runpy.run_path(path, run_name=NAME)


@contextmanager
def within_script(path: str) -> Iterator[None]:
    """Let what runs import its neighbours, as `python SCRIPT.py` does, and be blamed for its own errors."""
    folder = str(Path(path).resolve().parent)
    sys.path.insert(0, folder)
    try:
        yield
    except GraphcnnError:
        raise
    except (Exception, SystemExit) as error:
        raise _script_error(path, error) from error
    finally:
        sys.path.remove(folder)


def _script_error(path: str, error: BaseException) -> ScriptError:
    said = "".join(traceback.format_exception_only(type(error), error)[-1:]).strip()
    frames = list(_users_frames(error.__traceback__))
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((error.filename, error.lineno or 0, ""))
    fault = ScriptError(
        f"the script {Path(path).name} fails: {said}",
        facts=[f"called in {Path(file).name}:{line}{name}" for file, line, name in frames[-2::-1]],
    )
    if frames:
        fault.located(file=frames[-1][0], line=frames[-1][1])
    return fault


def _users_frames(step: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    """Yield file, line and function of each frame that is neither graphcnn's, nor a library's."""
    while step is not None:
        code = step.tb_frame.f_code
        if not is_internal(step.tb_frame.f_globals.get("__name__", "")) and not _is_library(code.co_filename):
            name = "" if code.co_name.startswith("<") else f", {code.co_name}"
            yield code.co_filename, step.tb_lineno, name
        step = step.tb_next


def _is_library(file: str) -> bool:
    if file.startswith("<"):  # such as <frozen runpy>
        return True
    place = Path(file).resolve()
    return any(place.is_relative_to(folder) for folder in _LIBRARIES) or "site-packages" in place.parts
