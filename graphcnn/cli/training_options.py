"""The options of `graphcnn train` that say how to train, and what `compile` and `fit` take for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from graphcnn.data import Dataset
from graphcnn.errors import OptionError
from graphcnn.training.callbacks import Callback
from graphcnn.training.live_plot import LivePlot
from graphcnn.training.losses import CrossEntropy
from graphcnn.training.monitors import BestWeights, EarlyStopping, ReduceOnPlateau
from graphcnn.training.optimizers import SGD, Adam, AdamW, Lion, Muon, Optimizer, RMSprop
from graphcnn.training.schedules import (
    cosine_decay,
    exponential_decay,
    one_cycle,
    polynomial_decay,
    step_decay,
    triangular,
)
from graphcnn.training.tensorboard import TensorBoard

F = TypeVar("F", bound=Callable[..., Any])

RATES: Final = {"sgd": 0.05, "adam": 0.001, "adamw": 0.001, "rmsprop": 0.001, "lion": 1e-4, "muon": 0.02}
"""The learning rate of each optimiser, where none is chosen; of a schedule the highest."""
SGD_DECAY: Final = 5e-4
SCHEDULES: Final = ("one-cycle", "cosine", "triangular", "polynomial", "exponential", "step", "constant")
LAST_SHARE: Final = 0.01
"""What an exponential schedule makes of the rate by the end."""
HELD_OUT: Final = 0.1
"""The share of the images that is evaluated, where a set has none to test on."""
FEWEST_TO_SPLIT: Final = 10
STAGES: Final = 3
"""So many rates has a schedule by steps, each a tenth of the one before."""

OPTIONS: Final = (
    click.option(
        "--epochs",
        default=5,
        show_default=True,
        type=click.IntRange(1),
        help="How many to train; a model that is trained on goes on counting.",
    ),
    click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1)),
    click.option("--optimizer", default="sgd", show_default=True, type=click.Choice(list(RATES))),
    click.option(
        "--learning-rate",
        type=float,
        help=f"The highest one. Default: {', '.join(f'{v:g} for {k}' for k, v in RATES.items())}.",
    ),
    click.option("--momentum", default=0.9, show_default=True, type=float, help="Of sgd and rmsprop."),
    click.option("--weight-decay", type=float, help="Default: 0.0005 for sgd, else that of the optimiser."),
    click.option("--label-smoothing", default=0.0, show_default=True, type=float),
    click.option("--clip-norm", type=float, help="Of all gradients together."),
    click.option("--average", type=float, help="Keep a moving average of the weights, such as 0.999."),
    click.option("--metric", "metrics", multiple=True, help="Beside accuracy, such as f1 or top5_accuracy."),
    click.option("--schedule", default="one-cycle", show_default=True, type=click.Choice(SCHEDULES)),
    click.option("--warmup", type=float, help="Epochs in which the learning rate rises."),
    click.option(
        "--validation-split",
        type=float,
        help="Evaluate on this share of the training images after each epoch, not on the test images. "
        "Default: 0.1 where there are no test images; 0 trains on all.",
    ),
    click.option("--validate-every", type=click.IntRange(1), help="Evaluate after so many steps, too."),
    click.option("--steps-per-epoch", type=click.IntRange(1), help="Default: once through the images."),
    click.option(
        "--class-weight", type=click.Choice(["balanced"]), help="Let each class count alike, however rare."
    ),
    click.option("--early-stopping", type=click.IntRange(0), help="Stop after so many epochs for no better."),
    click.option("--best-weights", is_flag=True, help="Keep the weights with the least validation loss."),
    click.option(
        "--reduce-on-plateau", type=click.IntRange(0), help="A tenth of the rate after so many epochs."
    ),
    click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        help="A picture of the curves, such as curves.png.",
    ),
    click.option(
        "--tensorboard", type=click.Path(file_okay=False, path_type=Path), help="A folder for its log."
    ),
)


def training_options(command: F) -> F:
    """Give a command all of these options."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


OF_THE_MODEL: Final = (
    *("optimizer", "momentum", "weight_decay", "label_smoothing", "clip_norm", "average", "metrics"),
)
"""Options that a model has been compiled with, so that a saved one cannot be given others."""


@dataclass(frozen=True)
class TrainingOptions:
    """What was chosen, by the names of the options."""

    epochs: int
    batch_size: int
    optimizer: str
    learning_rate: float | None
    momentum: float
    weight_decay: float | None
    label_smoothing: float
    clip_norm: float | None
    average: float | None
    metrics: tuple[str, ...]
    schedule: str
    warmup: float | None
    validation_split: float | None
    validate_every: int | None
    steps_per_epoch: int | None
    class_weight: str | None
    early_stopping: int | None
    best_weights: bool
    reduce_on_plateau: int | None
    plot: Path | None
    tensorboard: Path | None

    @property
    def gives_back(self) -> bool:
        """Whether the model has other weights after training than after its last epoch."""
        return self.best_weights or self.early_stopping is not None

    def compiled_with(self) -> dict[str, Any]:
        """Return the arguments of `compile` for a network that is no model yet."""
        chosen: dict[str, Any] = {
            "loss": CrossEntropy(label_smoothing=self.label_smoothing),
            "optimizer": self._optimizer(),
            "clip_norm": self.clip_norm,
            "average": self.average,
            "metrics": ["accuracy", *self.metrics] if self.metrics else None,
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def _optimizer(self) -> Optimizer:
        rate = RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
        decay = {} if self.weight_decay is None else {"weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            decay = {"weight_decay": SGD_DECAY} | decay
        if self.optimizer in ("sgd", "rmsprop"):
            kind: Any = SGD if self.optimizer == "sgd" else RMSprop
            return kind(rate, momentum=self.momentum, **decay)  # type: ignore[no-any-return]
        others: dict[str, Any] = {"adam": Adam, "adamw": AdamW, "lion": Lion, "muon": Muon}
        return others[self.optimizer](rate, **decay)  # type: ignore[no-any-return]

    def held_out(self, dataset: Dataset) -> float:
        """Return the share of the training images that test ones are made of, where a set has none."""
        if len(dataset.test_images) or len(dataset.images) < FEWEST_TO_SPLIT:
            return 0.0
        share = HELD_OUT if self.validation_split is None else self.validation_split
        if not 0 <= share < 1:
            raise OptionError(
                f"--validation-split {share} is no share of the images, from 0 to below 1",
                mend=f"--validation-split {HELD_OUT}",
            )
        return share

    def fit_with(self, *, is_split: bool = False) -> dict[str, Any]:
        """Return the arguments of `fit`, but for data and callbacks.

        is_split: whether the images to evaluate have been held out already.
        """
        return {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "validation_split": None if is_split else self.validation_split or None,
            "validate_every": self.validate_every,
            "steps_per_epoch": self.steps_per_epoch,
            "class_weight": self.class_weight,
        }

    def callbacks(self, rate: float, done: int) -> list[Callback]:
        """Return the callbacks that were asked for.

        rate: the model's own learning rate. done: the epochs that it has been trained for already, which are
        the first part of the schedule.
        """
        found: list[Callback] = []
        if self.reduce_on_plateau is not None:
            found.append(ReduceOnPlateau(patience=self.reduce_on_plateau))
            if self.schedule != "constant":
                raise OptionError(
                    "--reduce-on-plateau changes the learning rate, and so does the schedule",
                    mend="--schedule constant --reduce-on-plateau 3",
                )
        schedule = self._schedule(rate, done + self.epochs)
        if schedule is not None:
            found.append(schedule)
        if self.early_stopping is not None:
            found.append(EarlyStopping(patience=self.early_stopping))
        if self.best_weights:
            found.append(BestWeights())
        if self.plot is not None:
            found.append(LivePlot(self.plot))
        if self.tensorboard is not None:
            found.append(TensorBoard(self.tensorboard))
        return found

    def _schedule(self, rate: float, epochs: int) -> Callback | None:
        warmup = self.warmup or 0.0
        if self.schedule in ("one-cycle", "triangular"):
            make: Any = one_cycle if self.schedule == "one-cycle" else triangular
            rise = {} if self.warmup is None else {"rise": min(self.warmup / epochs, 1.0)}
            return make(rate, epochs, **rise)  # type: ignore[no-any-return]
        if self.schedule == "cosine":
            return cosine_decay(rate, epochs, warmup=warmup, by="step")
        if self.schedule == "polynomial":
            return polynomial_decay(rate, epochs, warmup=warmup, by="step")
        if self.schedule == "exponential":
            return exponential_decay(rate, LAST_SHARE ** (1 / epochs), warmup=warmup, by="step")
        if self.schedule == "step":
            return step_decay(rate, max(1, -(-epochs // STAGES)), warmup=warmup, by="step")
        return step_decay(rate, epochs, warmup=warmup, by="step") if warmup else None
