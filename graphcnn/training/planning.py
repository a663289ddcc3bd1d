"""The plan of a call of `fit`: its epochs, all or those that are left, its data, and where it is saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from graphcnn.backend import Backend, processor_of
from graphcnn.data.dataset import Dataset
from graphcnn.data.fingerprint import Fingerprint
from graphcnn.errors import OptionError
from graphcnn.ops.attributes import is_int
from graphcnn.training.checkpoint import Checkpoint
from graphcnn.training.epoch_length import check_steps, check_validation, of_steps
from graphcnn.training.feed import Feed, Source, of_validation, parts_to_train
from graphcnn.training.feeding import check_prefetch
from graphcnn.training.own_rows import OwnRows
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


def epoch_numbers(epochs: object, initial_epoch: object, done: int) -> range:
    """Return the numbers of the epochs to train. Raises OptionError where there are none."""
    if not is_int(epochs, 1):
        raise OptionError(f"epochs={epochs!r:.60} is not an integer of at least 1", mend="epochs=5")
    assert isinstance(epochs, int)
    if initial_epoch is None:
        return range(done + 1, done + epochs + 1)
    if not is_int(initial_epoch, 0):
        raise OptionError(
            f"initial_epoch={initial_epoch!r:.60} is not a number of epochs of at least 0",
            mend="initial_epoch=model.epochs_done, or leave it out, to go on",
        )
    assert isinstance(initial_epoch, int)
    if initial_epoch >= epochs:
        raise OptionError(
            f"no epoch is left after initial_epoch={initial_epoch}: the last is epochs={epochs}",
            mend=f"epochs={initial_epoch + epochs}, which trains {epochs} more; or leave out initial_epoch",
        )
    return range(initial_epoch + 1, epochs + 1)


@dataclass(frozen=True)
class Data:
    """What a call of `fit` trains on, and what it evaluates, if anything."""

    training: Source
    validation: Source | None

    def fingerprints(self) -> dict[str, Fingerprint]:
        """Return those of all arrays by name."""
        found = self.training.fingerprints()
        for name, each in (self.validation.fingerprints() if self.validation else {}).items():
            found[f"validation {name}"] = each
        return found


def planned_data(
    feed: Feed,
    plan: Plan,
    x: object,
    y: object,
    validation_data: Any,
    *,
    seed: int,
    key_seed: int | None,
    prefetch: int,
    weights: Mapping[str, object],
    own: tuple[OwnRows | None, OwnRows | None] = (None, None),
) -> Data:
    """Return the data of a call of `fit`, which are checked as far as they can be.

    seed: of the model. key_seed: of the keys of samples; None for graphs that take none. weights: what its
    arguments of that name say of samples. own: which rows of arrays are read, in training and in validation.
    Others are as `fit` has them.
    """
    size, shuffle, split, validate_every, steps = plan.options.values()
    if isinstance(x, Dataset) and validation_data is None and split is None and len(x.test_images):
        validation_data = x
    x, y = parts_to_train(x, y)
    check_validation(validation_data, split, validate_every)
    shuffled_by = seed if shuffle else None
    validation: Source | None = None
    if steps is not None:
        check_steps("steps_per_epoch", steps)
    if split is None:
        ahead = check_prefetch(prefetch)
        once = steps is not None and isinstance(x, Iterator)
        most = len(plan.numbers) * steps if once else None  # no thread draws more than is needed
        training = feed.arrays(
            x,
            y,
            size=size,
            seed=shuffled_by,
            key_seed=key_seed,
            prefetch=ahead,
            most=most,
            own=own[0],
            **weights,
        )
    else:
        training, validation = feed.split(
            x, y, split, size=size, seed=shuffled_by, drawn_by=seed, key_seed=key_seed, own=own, **weights
        )
    if steps is not None:
        training = of_steps(training, steps, is_iterator=isinstance(x, Iterator))
    if validation_data is not None:
        with of_validation():
            validation = feed.validation(validation_data, size, own[1])
    return Data(training, validation)


def saved_training(
    plan: Plan,
    checkpoint: Checkpoint | None,
    data: Data,
    backend: Backend,
    backend_options: Mapping[str, object],
    *,
    is_writer: bool = True,
) -> tuple[Checkpoint | None, Training | None, Path | None]:
    """Return where a call saves checkpoints, what is the same in all of them, and the one it comes from.

    is_writer: whether this process writes them, and not another one for it.
    Raises DataError for other data than those of the call that it goes on with, and OptionError where the
    folder has the checkpoints of another training.
    """
    latest: Path | None = None
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise OptionError(
            f"checkpoint={checkpoint!r:.60} is not a Checkpoint", mend='checkpoint=gcn.Checkpoint("run")'
        )
    is_saved = checkpoint is not None or plan.begun is not None
    fingerprints = data.fingerprints() if is_saved else {}
    if plan.begun is not None:
        otherwise = f"model = gcn.load({str(plan.begun.path)!r}) trains on others"
        require_same_data(plan.begun.training.data, fingerprints, otherwise)
        checkpoint = checkpoint or plan.begun.checkpoint
        if checkpoint.path.resolve() == plan.begun.path.parent.resolve():
            latest = plan.begun.path
    if checkpoint is None:
        return None, None, None
    if latest is None and is_writer:
        checkpoint.require_free()
    training = Training(
        plan.numbers.start,
        plan.numbers[-1],
        plan.options,
        backend.name,
        {name: value for name, value in backend_options.items() if name != "threads"},
        processor_of(backend),
        fingerprints,
        checkpoint.every,
        checkpoint.keep,
        totals={} if plan.begun is None else plan.begun.training.totals,
        batch={} if plan.begun is None else plan.begun.training.batch,
    )
    return checkpoint, training, latest
