"""What a call of `fit` has to do: all of it, or what is left of one that was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graphcnn.backend import Backend, processor_of
from graphcnn.data.fingerprint import Fingerprint
from graphcnn.errors import OptionError
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.loop import epoch_numbers
from graphcnn.training.position import Training, chosen_options, require_same_data

DEFAULTS: Final = {
    "batch_size": 32,
    "shuffle": True,
    "validation_split": None,
    "validate_every": None,
    "steps_per_epoch": None,
}
"""What the arguments of `fit` that decide which steps are taken are where they are not given."""


@dataclass(frozen=True)
class Begun:
    """A call of `fit` that was interrupted, where it is, and the checkpoint that tells so."""

    training: Training
    checkpoint: Checkpoint
    path: Path


@dataclass(frozen=True)
class Plan:
    """What a call of `fit` does.

    numbers: of all its epochs. left: of those that are not done. options: its arguments that decide which
    steps are taken. begun: the call that it goes on with.
    """

    numbers: range
    left: range
    options: Mapping[str, Any]
    begun: Begun | None = None


def planned(
    begun: Begun | None,
    epochs: object,
    initial_epoch: object,
    epochs_done: int,
    given: Mapping[str, object],
) -> Plan:
    """Return what a call of `fit` does.

    given: its arguments that decide which steps are taken, by name, None where they are not given.
    Raises OptionError for others than those of the call that it goes on with.
    """
    if begun is None:
        numbers = epoch_numbers(1 if epochs is None else epochs, initial_epoch, epochs_done)
        return Plan(numbers, numbers, chosen_options(given, DEFAULTS, None))
    training = begun.training
    options = chosen_options(given, DEFAULTS, training)
    if epochs is None and initial_epoch is None:
        numbers = range(training.first, training.last + 1)
    else:
        numbers = epoch_numbers(
            training.last if epochs is None else epochs, initial_epoch, training.first - 1
        )
    return Plan(numbers, training.remaining(numbers, epochs_done), options, begun)


def saved_training(
    plan: Plan,
    checkpoint: Checkpoint | None,
    data: Mapping[str, Fingerprint],
    backend: Backend,
    backend_options: Mapping[str, object],
) -> tuple[Checkpoint | None, Training | None, Path | None]:
    """Return where a call saves checkpoints, what is the same in all of them, and the one it comes from.

    Raises DataError for other data than those of the call that it goes on with, and OptionError where the
    folder has the checkpoints of another training.
    """
    latest: Path | None = None
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise OptionError(
            f"checkpoint={checkpoint!r:.60} is not a Checkpoint", mend='checkpoint=gcn.Checkpoint("run")'
        )
    if plan.begun is not None:
        otherwise = f"model = gcn.load({str(plan.begun.path)!r}) trains on others"
        require_same_data(plan.begun.training.data, data, otherwise)
        checkpoint = checkpoint or plan.begun.checkpoint
        if checkpoint.path.resolve() == plan.begun.path.parent.resolve():
            latest = plan.begun.path
    if checkpoint is None:
        return None, None, None
    if latest is None:
        checkpoint.require_free()
    training = Training(
        plan.numbers.start,
        plan.numbers[-1],
        plan.options,
        backend.name,
        backend_options,
        processor_of(backend),
        data,
        checkpoint.every,
        checkpoint.keep,
        totals={} if plan.begun is None else plan.begun.training.totals,
        batch={} if plan.begun is None else plan.begun.training.batch,
    )
    return checkpoint, training, latest
