"""`graphcnn inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from graphcnn.cli.networks import (
    DIGITS,
    Shape,
    dataset_named,
    input_shape_option,
    model_named,
    require_images,
)
from graphcnn.cli.printing import print_table, say
from graphcnn.inspection.benchmark import random_batch
from graphcnn.inspection.recording import record_graph


@click.command()
@click.argument("network")
@click.option(
    "--data",
    default=DIGITS,
    show_default=True,
    help="'digits', a path as train takes it, or 'random'.",
)
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write filters and feature maps as images to this folder.",
)
@input_shape_option
def inspect(
    network: str,
    data: str,
    batch_size: int,
    output: Path | None,
    input_shape: Shape | None,
) -> None:
    """Show what NETWORK computes for one batch: a name from the zoo, SCRIPT.py:VARIABLE, or a saved model.

    Prints for each layer its outputs, the norm of its gradient, dead ReLUs, and where NaN or infinity began.
    """
    if data == "random":
        model = model_named(network, input_shape)
        batch = random_batch(model, model.gradient_graph, batch_size)
        recording = record_graph(model.gradient_graph, model.state(), batch)
    else:
        dataset = dataset_named(data, network, input_shape)
        model = model_named(network, input_shape, dataset=dataset)
        mend = "--data random, or other data: --data PATH"
        require_images(network, model, data, dataset, mend)
        recording = model.inspect(dataset.images[:batch_size], dataset.labels[:batch_size])
    print_table(recording)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for path in recording.write_images(output):
            say(path)
