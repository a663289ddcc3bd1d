"""`train --resume FOLDER`: going on with the training in a folder, with the options that began it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from graphcnn.cli.config import take_over
from graphcnn.cli.networks import variables_of
from graphcnn.cli.ranks import started_ranks
from graphcnn.compiler import resume
from graphcnn.distributed.engines import GivenRanks
from graphcnn.errors import FileError, OptionError
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.descriptions import own_parts
from graphcnn.training.model import Model
from graphcnn.training.ranks import Ranks
from graphcnn.visible import visible

F = TypeVar("F", bound=Callable[..., Any])

CONFIG: Final = "train.toml"
"""The options of the command, as `--config` takes them."""
CHECKPOINTS: Final = "checkpoints"
CHANGEABLE: Final = (
    *("resume", "epochs", "data", "backend", "shard_optimizer", "checkpoint_every", "report"),
)
"""Options that may be others than before: more epochs, data that lie elsewhere, where it runs, a report."""


class RunCheckpoint(Checkpoint):
    """The checkpoints in the folder of a training, with which the command line goes on."""

    def how_to_go_on(self) -> str:
        return f"go on with {visible(shlex.join(['graphcnn', 'train', '--resume', str(self.path.parent)]))}"


def resume_option(command: F) -> F:
    """Give a command the option `--resume`."""
    option = click.option(
        "--resume",
        type=click.Path(file_okay=False, path_type=Path),
        is_eager=True,
        callback=_take_up,
        metavar="FOLDER",
        help="Go on with the training whose output folder this is, with its options; --epochs may be more.",
    )
    return option(command)


def _take_up(context: click.Context, parameter: click.Parameter, folder: Path | None) -> Path | None:
    if folder is None:
        return None

    def take(place: Path) -> Path:
        if not place.is_file():
            raise FileError(
                f"{folder} is not the folder of a training: it has no {CONFIG}",
                mend="graphcnn train --resume FOLDER, where FOLDER is what --output was, or runs/NETWORK",
            )
        take_over(context, place)
        return folder

    place = folder / CONFIG
    Ranks(started_ranks()).read_by_first(lambda: (place, take(place)), take)
    return folder


def resumed_model(
    network: str, folder: Path, backend: str | None, *, ranks: GivenRanks, shard_optimizer: bool
) -> Model:
    """Return the model of the latest checkpoint of a training, with what its script has of its own."""
    variables, passes = variables_of(network)
    return resume(
        folder / CHECKPOINTS,
        objects=own_parts(variables),
        passes=passes,
        backend=backend,
        ranks=ranks,
        shard_optimizer=shard_optimizer,
    )


def given(options: Collection[str]) -> list[str]:
    """Return those of the options that are on the command line, as they are written there."""
    context = click.get_current_context()
    return [
        each.opts[0] if isinstance(each, click.Option) else str(each.name).upper()
        for each in context.command.params
        if each.name in options and context.get_parameter_source(each.name) is ParameterSource.COMMANDLINE
    ]


def refuse_beside_resume() -> None:
    """Raise OptionError for options that the training has already, and that are given nevertheless."""
    names = [str(each.name) for each in click.get_current_context().command.params]
    found = given([name for name in names if name not in CHANGEABLE])
    if found:
        raise OptionError(
            f"the training that is resumed has {' and '.join(found)} already",
            mend=f"leave out {', '.join(found)}",
        )
