"""`graphcnn train`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
from click.core import ParameterSource

from graphcnn.cli.interruption import Interruption
from graphcnn.cli.networks import (
    DIGITS,
    MODEL_SUFFIX,
    Shape,
    backend_option,
    dataset_named,
    input_shape_option,
    model_named,
    require_images,
)
from graphcnn.cli.printing import say
from graphcnn.cli.show import STAGES
from graphcnn.errors import OptionError
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.training.callbacks import ModelCheckpoint
from graphcnn.training.csv_log import CSVLog
from graphcnn.training.model import Model
from graphcnn.training.optimizers import SGD, Adam, AdamW, Optimizer

PAGE = "graphs.html"
INTERRUPTED = 130
"""What a command ends with after Ctrl-C: 128 and the number of the signal."""


@click.command()
@click.argument("network")
@click.option(
    "--data", default=DIGITS, show_default=True, help="'digits', or a folder of IDX files like MNIST's."
)
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option("--optimizer", default="sgd", show_default=True, type=click.Choice(["sgd", "adam", "adamw"]))
@click.option("--learning-rate", type=float, help="Default: 0.05 for sgd, 0.001 for adam and adamw.")
@click.option("--momentum", default=0.9, show_default=True, type=float, help="Of sgd.")
@backend_option
@click.option("--seed", default=0, show_default=True, type=int)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: runs/NETWORK, or the place of a saved model.",
)
@input_shape_option
def train(
    network: str,
    data: str,
    epochs: int,
    batch_size: int,
    optimizer: str,
    learning_rate: float | None,
    momentum: float,
    backend: str | None,
    seed: int,
    output: Path | None,
    input_shape: Shape | None,
) -> None:
    """Train NETWORK: a name from the zoo, SCRIPT.py:VARIABLE, or a saved MODEL.safetensors, to train it on.

    Writes the weights after each epoch, the history as CSV, and the graphs as text and as a page to the
    output folder. Ctrl-C ends training after the present step and saves the weights; a second one, at once.
    """
    dataset = dataset_named(data)
    chosen = _optimizer(optimizer, learning_rate, momentum)
    model = model_named(
        network, input_shape, backend, data_shape=dataset.images.shape[1:], optimizer=chosen, seed=seed
    )
    if model.optimizer is not chosen:
        _require_no_choice(network)
        model.learning_rate = model.learning_rate if learning_rate is None else learning_rate
    require_images(network, model, data, dataset, "a folder with IDX files of such images: --data FOLDER")
    weights = _place(network, output)
    folder = weights.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in (weights, folder / PAGE):
        require_place(path)
    say(f"{dataset}\n{model}")
    last = model.epochs_done + epochs
    try:
        with Interruption() as interruption:
            history = model.fit(
                dataset.images,
                dataset.labels,
                epochs=epochs,
                batch_size=batch_size,
                validation_data=(dataset.test_images, dataset.test_labels),
                callbacks=[CSVLog(folder / "history.csv"), ModelCheckpoint(weights), interruption],
            )
    except BrokenPipeError:
        _stop(model, weights, last, "nobody reads the output any more")
        raise
    if interruption.came:
        _stop(model, weights, last, "interrupted")
        raise SystemExit(INTERRUPTED)
    _write_graphs(model, folder)
    accuracy = f"accuracy {history['val_accuracy'][-1]:.2%}, " if "val_accuracy" in history.names else ""
    say(f"test {accuracy}loss {history['val_loss'][-1]:.4f}")
    say(f"weights         {weights}")
    say(f"history         {folder / 'history.csv'}")
    say(f"gradient graph  {folder / 'gradient.graph'}  (also forward.graph and step.graph)")
    say(f"viewer          {folder / PAGE}  (open it in a browser)")


def _place(network: str, output: Path | None) -> Path:
    """Return where the weights go: those of a saved model take the place of the old ones."""
    if output is not None:
        return output / f"model{MODEL_SUFFIX}"
    if network.endswith(MODEL_SUFFIX):
        return Path(network)
    return Path("runs") / Path(network.partition(":")[0]).stem / f"model{MODEL_SUFFIX}"


def _given(*options: str) -> list[str]:
    """Return those of the options that are on the command line, as they are written there."""
    source = click.get_current_context().get_parameter_source
    return [
        f"--{option.replace('_', '-')}" for option in options if source(option) is ParameterSource.COMMANDLINE
    ]


def _require_no_choice(network: str) -> None:
    """Raise OptionError where something is chosen that a model has already."""
    given = ", ".join(_given("optimizer", "momentum", "seed"))
    if given:
        raise OptionError(
            f"{network} is a model, which has its optimiser and seed already",
            mend=f"leave out {given}; --learning-rate can be given",
        )


def _stop(model: Model, weights: Path, last: int, why: str) -> None:
    """Save a model that is not trained to its end, and say how to go on."""
    model.save(weights)
    left = last - model.epochs_done
    say(f"Stopped after epoch {model.epochs_done} of {last}: {why}. The weights are in {weights}", err=True)
    if not left:
        return
    parameters = click.get_current_context().params
    options = [
        part
        for option in _given("data", "batch_size", "backend")
        for part in (option, str(parameters[option[2:].replace("-", "_")]))
    ]
    command = shlex.join(["graphcnn", "train", str(weights), "--epochs", str(left), *options])
    say(f"Go on, with epoch {model.epochs_done + 1} from its first batch: {command}", err=True)


def _optimizer(name: str, learning_rate: float | None, momentum: float) -> Optimizer:
    if name == "sgd":
        return SGD(0.05 if learning_rate is None else learning_rate, momentum=momentum)
    return (Adam if name == "adam" else AdamW)(0.001 if learning_rate is None else learning_rate)


def _write_graphs(model: Model, folder: Path) -> None:
    for stage in STAGES:
        write_atomically(folder / f"{stage}.graph", str(getattr(model, f"{stage}_graph")).encode())
    model.show(folder / PAGE, open=False)
