"""`graphcnn export`."""

from __future__ import annotations

from pathlib import Path

import click

from graphcnn.cli.networks import Shape, input_shape_option, model_named, precision_option, stem_of
from graphcnn.cli.printing import say
from graphcnn.interchange.onnx.layouts import IMAGES, Images
from graphcnn.training.graphs import Precision
from graphcnn.training.model_onnx import ONNX_GRAPHS, OnnxGraph

FORMS = ("onnx",)


@click.command()
@click.argument("network")
@click.option(
    "--as",
    "form",
    default="onnx",
    show_default=True,
    type=click.Choice(FORMS),
    help="The format of the file.",
)
@click.option(
    "--graph",
    default="forward",
    show_default=True,
    type=click.Choice(ONNX_GRAPHS),
    help="Inference, the gradients, or the whole training step.",
)
@click.option(
    "--layout", default="NCHW", show_default=True, type=click.Choice(IMAGES), help="The axes of images."
)
@click.option("--opset", type=int, help="Default: 21.")
@click.option("--fold", is_flag=True, help="Fold batch norm into the convolutions before it.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file. Default: NETWORK.onnx."
)
@precision_option
@input_shape_option
def export(
    network: str,
    form: str,
    graph: OnnxGraph,
    layout: Images,
    opset: int | None,
    fold: bool,
    output: Path | None,
    precision: Precision | None,
    input_shape: Shape | None,
) -> None:
    """Write NETWORK for other programs: a name from the zoo, SCRIPT.py:VARIABLE, or MODEL.safetensors."""
    model = model_named(network, input_shape, precision=precision)
    path = output or Path(f"{stem_of(network)}.{form}")
    model.export_onnx(path, graph, opset=opset, layout=layout, fold=fold)
    say(path)
