"""`graphcnn train`."""

from __future__ import annotations

from pathlib import Path

import click

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
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.training.csv_log import CSVLog
from graphcnn.training.model import Model
from graphcnn.training.optimizers import SGD, Adam, AdamW, Optimizer

PAGE = "graphs.html"


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
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Default: runs/NETWORK.")
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
    """Train NETWORK: a name from the zoo, or SCRIPT.py:VARIABLE.

    Writes the weights, the history as CSV, and the graphs as text and as a page to the output folder.
    """
    dataset = dataset_named(data)
    model = model_named(
        network,
        input_shape,
        backend,
        data_shape=dataset.images.shape[1:],
        optimizer=_optimizer(optimizer, learning_rate, momentum),
        seed=seed,
    )
    require_images(network, model, data, dataset, "a folder with IDX files of such images: --data FOLDER")
    folder = output or Path("runs") / Path(network.partition(":")[0]).stem
    folder.mkdir(parents=True, exist_ok=True)
    for name in (f"model{MODEL_SUFFIX}", PAGE):
        require_place(folder / name)
    say(f"{dataset}\n{model}")
    history = model.fit(
        dataset.images,
        dataset.labels,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(dataset.test_images, dataset.test_labels),
        callbacks=[CSVLog(folder / "history.csv")],
    )
    _write(model, folder)
    accuracy = f"accuracy {history['val_accuracy'][-1]:.2%}, " if "val_accuracy" in history.names else ""
    say(f"test {accuracy}loss {history['val_loss'][-1]:.4f}")
    say(f"weights         {folder / 'model.safetensors'}")
    say(f"history         {folder / 'history.csv'}")
    say(f"gradient graph  {folder / 'gradient.graph'}  (also forward.graph and step.graph)")
    say(f"viewer          {folder / PAGE}  (open it in a browser)")


def _optimizer(name: str, learning_rate: float | None, momentum: float) -> Optimizer:
    if name == "sgd":
        return SGD(0.05 if learning_rate is None else learning_rate, momentum=momentum)
    return (Adam if name == "adam" else AdamW)(0.001 if learning_rate is None else learning_rate)


def _write(model: Model, folder: Path) -> None:
    model.save(folder / f"model{MODEL_SUFFIX}")
    for stage in STAGES:
        write_atomically(folder / f"{stage}.graph", str(getattr(model, f"{stage}_graph")).encode())
    model.show(folder / PAGE, open=False)
