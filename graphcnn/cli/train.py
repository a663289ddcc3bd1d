"""`graphcnn train`."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from graphcnn.cli.augmentation import AUGMENTATIONS, layers_in_front
from graphcnn.cli.config import config_option, write_config
from graphcnn.cli.fine_tuning import begin_with, set_frozen
from graphcnn.cli.networks import (
    DIGITS,
    MODEL_SUFFIX,
    Shape,
    backend_option,
    dataset_named,
    input_shape_option,
    model_named,
    precision_option,
    require_images,
    shard_option,
    stem_of,
)
from graphcnn.cli.printing import print_table, say
from graphcnn.cli.ranks import started_ranks
from graphcnn.cli.resuming import (
    CHECKPOINTS,
    CONFIG,
    RunCheckpoint,
    given,
    refuse_beside_resume,
    resume_option,
    resumed_model,
)
from graphcnn.cli.show import STAGES
from graphcnn.cli.training_options import OF_THE_MODEL, TrainingOptions, training_options
from graphcnn.data import Dataset
from graphcnn.errors import OptionError
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.training.csv_log import CSVLog
from graphcnn.training.graphs import Precision
from graphcnn.training.model import Model
from graphcnn.training.monitors import ModelCheckpoint
from graphcnn.training.rate_finder import find_learning_rate as learning_rates

PAGE = "graphs.html"
MISTAKES = "mistakes.html"


@click.command()
@click.argument("network")
@click.option(
    "--data",
    default=DIGITS,
    show_default=True,
    help="'digits', or a path: a folder of MNIST's or CIFAR's files, NumPy's arrays, images by class; a CSV "
    "file of the classes of images beside it.",
)
@training_options
@click.option(
    "--augment",
    multiple=True,
    type=click.Choice(list(AUGMENTATIONS)),
    help="Change images in training, in several ways: --augment flip --augment crop.",
)
@click.option("--normalize", is_flag=True, help="By the mean and deviation of the training images.")
@click.option(
    "--weights",
    "learnt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Begin with those of a model or of its weights; layers of other shapes, as a head, begin anew.",
)
@click.option("--freeze", "frozen", multiple=True, help="Layers that are not trained, such as 'layer*'.")
@click.option("--unfreeze", is_flag=True, help="Train all layers of a saved model.")
@click.option(
    "--find-learning-rate", is_flag=True, help="Show how the loss goes at growing rates instead of training."
)
@click.option("--report", is_flag=True, help="At the end print scores by class and the confusion matrix.")
@backend_option
@precision_option
@shard_option
@click.option("--seed", default=0, show_default=True, type=int)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Default: runs/NETWORK, or the place of a saved model.",
)
@input_shape_option
@click.option("--checkpoint-every", default="30s", show_default=True, help="Also 10min or 1h, or steps: 500.")
@config_option
@resume_option
def train(
    network: str,
    data: str,
    augment: tuple[str, ...],
    normalize: bool,
    learnt: Path | None,
    frozen: tuple[str, ...],
    unfreeze: bool,
    find_learning_rate: bool,
    report: bool,
    backend: str | None,
    precision: Precision | None,
    shard_optimizer: bool,
    seed: int,
    output: Path | None,
    input_shape: Shape | None,
    checkpoint_every: str,
    config: Path | None,
    resume: Path | None,
    **options: Any,
) -> None:
    """Train NETWORK: a name from the zoo, SCRIPT.py:VARIABLE, or MODEL.safetensors or MODEL.onnx, to go on.

    MODEL.onnx:VALUE ends the network of the file with one of its values, such as that before its softmax.

    Writes the weights after each epoch, the history as CSV, the graphs as text and as a page, and checkpoints
    to the output folder. Ctrl-C ends training after the present step and says how to go on; a second one, at
    once. Under mpiexec, as in `mpiexec -n 4 graphcnn train ...`, all processes train one model together.
    """
    ranks = started_ranks()
    chosen = TrainingOptions(**options)
    dataset = dataset_named(data, network, input_shape)
    held_out = chosen.held_out(dataset)
    if held_out:
        dataset = dataset.split(1 - held_out, seed=seed)
        say(f"{held_out:.0%} of the images are held out to evaluate; --validation-split 0 trains on all")
    weights = _place(network, output)
    if resume is None:
        compiled = chosen.compiled_with()
        model = model_named(
            network,
            input_shape,
            backend,
            precision,
            dataset=dataset,
            in_front=layers_in_front(dataset, augment, normalize=normalize),
            options=compiled,
            seed=seed,
            ranks=ranks,
            shard_optimizer=shard_optimizer,
        )
        if model.optimizer is not compiled["optimizer"]:
            _require_no_choice(network, model, compiled)
            model.learning_rate = chosen.learning_rate or model.learning_rate
        if learnt is not None:
            begin_with(model, learnt)
        set_frozen(model, frozen, unfreeze=unfreeze)
    else:
        refuse_beside_resume()
        model, weights = (
            resumed_model(network, resume, backend, ranks=ranks, shard_optimizer=shard_optimizer),
            resume / weights.name,
        )
    require_images(
        network, model, data, dataset, "other data: --data PATH; of images by class, --input-shape"
    )
    if find_learning_rate:
        say(learning_rates(model, dataset.images, dataset.labels, batch_size=chosen.batch_size))
        return
    folder = weights.parent
    checkpoint = RunCheckpoint(folder / CHECKPOINTS, _every(checkpoint_every))
    if model.rank == 0:
        if resume is None:
            checkpoint.require_free()
        folder.mkdir(parents=True, exist_ok=True)
        for path in (weights, folder / PAGE, folder / MISTAKES):
            require_place(path)
        write_config(folder / CONFIG, click.get_current_context(), besides=["output"])
    say(f"{dataset}\n{model}" + f", {model.ranks} ranks" * (model.ranks > 1))
    if model.begun is not None:
        say(f"goes on after {model.epochs_done} epochs and {model.steps_done} steps")
    arguments = chosen.fit_with(is_split=bool(held_out))
    done = model.epochs_done if model.begun is None else model.begun.first - 1
    callbacks = chosen.callbacks(model.contents().learning_rate, done)
    try:
        model.fit(
            dataset,
            callbacks=[*callbacks, CSVLog(folder / "history.csv"), ModelCheckpoint(weights)],
            checkpoint=checkpoint,
            **arguments,
        )
    except BrokenPipeError:
        say("Training ended, since nobody reads its output any more", err=True)
        raise
    if chosen.gives_back and (model.rank == 0 or model.shard_optimizer):
        model.save(weights)
    if model.rank == 0:
        _write_graphs(model, folder)
    if len(dataset.test_images):
        part = "validation" if held_out else "test"
        _say_results(model, dataset, part, folder if report else None)
    elif report:
        say("no report: there are no images to evaluate; leave out --validation-split 0")
    say(f"weights         {weights}")
    say(f"history         {folder / 'history.csv'}")
    say(f"gradient graph  {folder / 'gradient.graph'}  (also forward.graph and step.graph)")
    say(f"viewer          {folder / PAGE}  (open it in a browser)")
    if dataset.files:
        say(f"to use it       {shlex.join(['graphcnn', 'classify', str(weights)])} PHOTO...")


def _say_results(model: Model, dataset: Dataset, part: str, folder: Path | None) -> None:
    """Evaluate the test images; with a folder print a report, and write a page of mistakes into it.

    part: what these images are called.
    """
    if folder is None:
        results = model.evaluate(dataset)
    else:
        if model.rank:
            return
        report = model.evaluate(dataset, report=True)
        print_table(report)
        results = report.results
        if report.mistakes:
            report.show_mistakes(folder / MISTAKES, open=False)
            say(f"mistakes        {folder / MISTAKES}  (open it in a browser)")
    accuracy = f"accuracy {results['accuracy']:.2%}, " if "accuracy" in results else ""
    say(f"{part} {accuracy}loss {results['loss']:.4f}")


def _place(network: str, output: Path | None) -> Path:
    """Return where the weights go: those of a saved model take the place of the old ones."""
    if output is not None:
        return output / f"model{MODEL_SUFFIX}"
    if network.endswith(MODEL_SUFFIX):
        return Path(network)
    return Path("runs") / stem_of(network) / f"model{MODEL_SUFFIX}"


def _require_no_choice(network: str, model: Model, compiled: Mapping[str, Any]) -> None:
    """Raise OptionError where something is chosen that a model has already."""
    found = given([*OF_THE_MODEL, "augment", "normalize", "seed"])
    context = click.get_current_context()
    is_of_file = context.get_parameter_source("optimizer") is ParameterSource.DEFAULT_MAP
    if is_of_file and model.optimizer != compiled["optimizer"]:
        found.append("optimizer in the file")
    if found:
        raise OptionError(
            f"{network} is a model, which has its layers, loss, optimiser and seed already",
            mend=f"leave out {', '.join(found)}; --learning-rate can be given",
        )


def _every(given: str) -> int | str:
    """Return how often checkpoints are saved: a number of steps, or a time."""
    return int(given) if given.isdecimal() else given


def _write_graphs(model: Model, folder: Path) -> None:
    for stage in STAGES:
        write_atomically(folder / f"{stage}.graph", str(getattr(model, f"{stage}_graph")).encode())
    model.show(folder / PAGE, open=False)
