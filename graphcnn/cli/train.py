"""`graphcnn train`."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from graphcnn.cli.config import config_option
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
from graphcnn.cli.training_options import OF_THE_MODEL, TrainingOptions, training_options
from graphcnn.data import Dataset
from graphcnn.errors import OptionError
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.training.csv_log import CSVLog
from graphcnn.training.model import Model
from graphcnn.training.monitors import ModelCheckpoint

PAGE = "graphs.html"
INTERRUPTED = 130
"""What a command ends with after Ctrl-C: 128 and the number of the signal."""


@click.command()
@click.argument("network")
@click.option(
    "--data",
    default=DIGITS,
    show_default=True,
    help="'digits', or a path: a folder of MNIST's or CIFAR's files, NumPy's arrays, images by class.",
)
@training_options
@backend_option
@click.option("--seed", default=0, show_default=True, type=int)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: runs/NETWORK, or the place of a saved model.",
)
@input_shape_option
@config_option
def train(
    network: str,
    data: str,
    backend: str | None,
    seed: int,
    output: Path | None,
    input_shape: Shape | None,
    config: Path | None,
    **options: Any,
) -> None:
    """Train NETWORK: a name from the zoo, SCRIPT.py:VARIABLE, or a saved MODEL.safetensors, to train it on.

    Writes the weights after each epoch, the history as CSV, and the graphs as text and as a page to the
    output folder. Ctrl-C ends training after the present step and saves the weights; a second one, at once.
    """
    dataset = dataset_named(data, network, input_shape)
    chosen = TrainingOptions(**options)
    compiled = chosen.compiled_with()
    model = model_named(
        network, input_shape, backend, data_shape=dataset.images.shape[1:], options=compiled, seed=seed
    )
    if model.optimizer is not compiled["optimizer"]:
        _require_no_choice(network, model, compiled)
        model.learning_rate = chosen.learning_rate or model.learning_rate
    require_images(
        network, model, data, dataset, "other data: --data PATH; of images by class, --input-shape"
    )
    weights = _place(network, output)
    folder = weights.parent
    folder.mkdir(parents=True, exist_ok=True)
    for path in (weights, folder / PAGE):
        require_place(path)
    say(f"{dataset}\n{model}")
    arguments = chosen.fit_with()
    last = model.epochs_done + chosen.epochs
    callbacks = chosen.callbacks(model.learning_rate, model.epochs_done)
    try:
        with Interruption() as interruption:
            model.fit(
                dataset,
                callbacks=[
                    *callbacks,
                    CSVLog(folder / "history.csv"),
                    ModelCheckpoint(weights),
                    interruption,
                ],
                **arguments,
            )
    except BrokenPipeError:
        _stop(model, weights, last, "nobody reads the output any more")
        raise
    if interruption.came:
        _stop(model, weights, last, "interrupted")
        raise SystemExit(INTERRUPTED)
    if chosen.gives_back:
        model.save(weights)
    _write_graphs(model, folder)
    if len(dataset.test_images):
        _say_results(model, dataset)
    say(f"weights         {weights}")
    say(f"history         {folder / 'history.csv'}")
    say(f"gradient graph  {folder / 'gradient.graph'}  (also forward.graph and step.graph)")
    say(f"viewer          {folder / PAGE}  (open it in a browser)")


def _say_results(model: Model, dataset: Dataset) -> None:
    """Evaluate the test images."""
    results = model.evaluate(dataset)
    accuracy = f"accuracy {results['accuracy']:.2%}, " if "accuracy" in results else ""
    say(f"test {accuracy}loss {results['loss']:.4f}")


def _place(network: str, output: Path | None) -> Path:
    """Return where the weights go: those of a saved model take the place of the old ones."""
    if output is not None:
        return output / f"model{MODEL_SUFFIX}"
    if network.endswith(MODEL_SUFFIX):
        return Path(network)
    return Path("runs") / Path(network.partition(":")[0]).stem / f"model{MODEL_SUFFIX}"


def _given(options: Iterable[str]) -> list[tuple[str, Any]]:
    """Return those of the options that are on the command line as written there, and their values."""
    context = click.get_current_context()
    return [
        (parameter.opts[0], context.params[parameter.name])
        for parameter in context.command.params
        if parameter.name in options
        and context.get_parameter_source(parameter.name) is ParameterSource.COMMANDLINE
    ]


def _require_no_choice(network: str, model: Model, compiled: Mapping[str, Any]) -> None:
    """Raise OptionError where something is chosen that a model has already."""
    given = [option for option, _ in _given([*OF_THE_MODEL, "seed"])]
    context = click.get_current_context()
    is_of_file = context.get_parameter_source("optimizer") is ParameterSource.DEFAULT_MAP
    if is_of_file and model.optimizer != compiled["optimizer"]:
        given.append("optimizer in the file")
    if given:
        raise OptionError(
            f"{network} is a model, which has its loss, optimiser and seed already",
            mend=f"leave out {', '.join(given)}; --learning-rate can be given",
        )


def _stop(model: Model, weights: Path, last: int, why: str) -> None:
    """Save a model that is not trained to its end, and say how to go on."""
    model.save(weights)
    left = last - model.epochs_done
    say(f"Stopped after epoch {model.epochs_done} of {last}: {why}. The weights are in {weights}", err=True)
    if not left:
        return
    again = {parameter.name for parameter in click.get_current_context().command.params}
    again -= {*OF_THE_MODEL, "epochs", "network", "output", "seed", "input_shape"}
    command = ["graphcnn", "train", str(weights), "--epochs", str(left)]
    for option, value in _given(again):
        for each in value if isinstance(value, tuple | list) else [value]:
            command += [option] if each is True else [option, str(each)]
    say(f"Go on, with epoch {model.epochs_done + 1} from its first batch: {shlex.join(command)}", err=True)


def _write_graphs(model: Model, folder: Path) -> None:
    for stage in STAGES:
        write_atomically(folder / f"{stage}.graph", str(getattr(model, f"{stage}_graph")).encode())
    model.show(folder / PAGE, open=False)
