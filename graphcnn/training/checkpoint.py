"""Checkpoints: a folder of whole files, from the latest of which training goes on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Final

from graphcnn.arguments import known_arguments
from graphcnn.errors import FileError, OptionError
from graphcnn.interchange.files import as_path
from graphcnn.ops.attributes import is_int
from graphcnn.training.model_file import ModelFile, read_epochs_done_and_training
from graphcnn.visible import visible
from graphcnn.warned import warn

NAME: Final = re.compile(r"checkpoint-([0-9]{6,15})\.safetensors")
_TIME: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) *(s|min|m|h)")
_SECONDS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


@known_arguments
@dataclass(frozen=True)
class Checkpoint:
    """Says where `fit` saves checkpoints, from which training goes on as if it had never stopped.

    folder: made where it is missing; a training has one for itself. every: the time between two checkpoints,
    such as "30s", "10min" or "1h", which gets longer where they would take more than 1 % of the training's
    time; or a number of steps. keep: how many of the latest stay; older ones are removed.

    They are copied between two steps and written meanwhile, atomically. Training that ends early saves one
    more, whether by Ctrl-C, SIGTERM or an error, and says how to go on. Raises OptionError for other values.
    """

    folder: str | PathLike[str]
    every: int | str = "30s"
    keep: int = 3

    def __post_init__(self) -> None:
        as_path(self.folder)
        if not is_int(self.every, 1) and not self.seconds:
            raise OptionError(
                f"every={self.every!r:.60} is neither a time nor a number of steps of at least 1",
                mend='every="30s", "10min" or "1h"; every=500 steps',
            )
        if not is_int(self.keep, 1):
            raise OptionError(
                f"keep={self.keep!r:.60} is not a number of checkpoints of at least 1", mend="keep=3"
            )

    @property
    def path(self) -> Path:
        """The folder."""
        return as_path(self.folder)

    @property
    def seconds(self) -> float:
        """The least time between two checkpoints; 0 where it is a number of steps."""
        found = _TIME.fullmatch(self.every) if isinstance(self.every, str) else None
        return float(found[1]) * _SECONDS[found[2]] if found else 0.0

    @property
    def latest(self) -> Path | None:
        """The latest checkpoint in the folder; None where there is none."""
        return next(iter(self.files().values()), None)

    def files(self) -> dict[int, Path]:
        """Return the checkpoints in the folder by their numbers, the latest first."""
        try:
            found = {path: NAME.fullmatch(path.name) for path in self.path.iterdir()}
        except (FileNotFoundError, NotADirectoryError):
            return {}
        numbered = {int(match[1]): path for path, match in found.items() if match}
        return dict(sorted(numbered.items(), reverse=True))

    def file(self, number: int) -> Path:
        """Return the place of the checkpoint of a number."""
        return self.path / f"checkpoint-{number:06d}.safetensors"

    def how_to_go_on(self) -> str:
        """Return what to do to go on with a training that has ended early."""
        return f"go on with model = gcn.resume({visible(str(self.folder))!r}); model.fit(data)"

    def require_free(self) -> None:
        """Raise OptionError where the folder has the checkpoints of another training, which has not ended."""
        for path in self.files().values():
            try:
                epochs_done, training = read_epochs_done_and_training(path)
            except (FileError, OSError):
                continue
            if training is None or training.has_ended or epochs_done >= training.last:
                return
            raise OptionError(
                f"{visible(str(self.folder))} has the checkpoints of a training that has not ended",
                facts=[f"{epochs_done} of {training.last} epochs are done"],
                mend=f"{self.how_to_go_on()}; or take another folder, or remove this one",
            )


def read_latest(checkpoint: Checkpoint, read: Callable[[Path], ModelFile]) -> tuple[Path, ModelFile]:
    """Return the latest checkpoint that is whole, as `read` returns it, and warn of those that are not.

    Raises FileError where there is none.
    """
    reasons: list[str] = []
    for path in checkpoint.files().values():
        try:
            file = read(path)
            if file.training is None:
                raise FileError(f"{path.name} is a model, and no checkpoint")
        except (FileError, OSError) as error:
            reasons.append(f"{path.name}: {' '.join(str(error).split())}")
            continue
        if reasons:
            warn(visible(f"training goes on from {path}; later ones cannot be read: {'; '.join(reasons)}"))
        return path, file
    if reasons:
        raise FileError(
            f"none of the checkpoints in {checkpoint.folder} can be read", facts=reasons, mend="train anew"
        )
    raise FileError(
        f"there is no checkpoint in {checkpoint.folder}",
        mend="check the path and the working folder; fit(..., checkpoint=gcn.Checkpoint(folder)) saves them",
    )
