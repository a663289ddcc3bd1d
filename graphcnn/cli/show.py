"""`graphcnn show`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from graphcnn.cli.networks import (
    Shape,
    backend_option,
    input_shape_option,
    model_named,
    precision_option,
    shard_option,
    stem_of,
)
from graphcnn.cli.printing import print_table, say, table_text
from graphcnn.errors import OptionError
from graphcnn.inspection.benchmark import benchmark, random_batch
from graphcnn.inspection.tables import kernel_lines, layer_table
from graphcnn.interchange.files import write_atomically
from graphcnn.ir import Graph
from graphcnn.training.graphs import Precision
from graphcnn.training.model import Model

STAGES = ("forward", "gradient", "step")
CODE = ("kernels", "llvm", "assembly")
FORMS = ("text", "table", "dot", "mermaid", "latex", "svg", "html")


@click.command()
@click.argument("network")
@click.option(
    "--stage",
    default="gradient",
    show_default=True,
    type=click.Choice([*STAGES, *CODE]),
    help="A graph, or what the backend made of the step.",
)
@click.option(
    "--as",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(FORMS),
    help="html: a page that shows all stages, to look at in a browser.",
)
@click.option(
    "--by", type=click.Choice(["layer", "node"]), help="The boxes of svg. Default: by the size of the graph."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write. Default: html goes to NETWORK.html, all else is printed.",
)
@click.option("--profile", is_flag=True, help="For html: measure a step on random data, and show times.")
@click.option(
    "--batch-size", default=1, show_default=True, type=click.IntRange(1), help="For FLOPs and bytes."
)
@click.option(
    "--ranks",
    type=click.IntRange(1),
    help="Of the step: how many share each batch, for what each sends to others.",
)
@shard_option
@backend_option
@precision_option
@input_shape_option
def show(
    network: str,
    stage: str,
    form: str,
    by: str | None,
    batch_size: int,
    output: Path | None,
    profile: bool,
    ranks: int | None,
    shard_optimizer: bool,
    backend: str | None,
    precision: Precision | None,
    input_shape: Shape | None,
) -> None:
    """Show a graph of NETWORK: a name from the zoo, SCRIPT.py:VARIABLE, MODEL.safetensors or MODEL.onnx."""
    if profile and form != "html":
        raise OptionError("--profile is for pages", mend="--as html; `graphcnn bench` prints times")
    if stage in CODE and form not in ("text", "html"):
        raise OptionError(f"the {stage} of a step are text, and no {form}", mend="leave out --as")
    if ranks is not None and stage != "step" and form != "html":
        raise OptionError(f"--ranks is for the step, not for {stage}", mend="--stage step")
    if shard_optimizer and ranks is None:
        raise OptionError("--shard-optimizer is for several ranks", mend="--stage step --ranks 8")
    model = model_named(network, input_shape, backend, precision, shard_optimizer=shard_optimizer)
    if form == "html":
        path = output or Path(f"{stem_of(network)}.html")
        times = benchmark(model, batch=batch_size) if profile else None
        say(model.show(path, profile=times, batch_size=batch_size, ranks=ranks, title=path.stem, open=False))
    elif form == "table" and output is None:
        print_table(layer_table(_graph(model, stage, ranks), batch_size, ranks=ranks))
    elif output is None:
        say(_written(model, stage, form, by, batch_size, ranks), nl=False)
    else:
        write_atomically(output, _written(model, stage, form, by, batch_size, ranks).encode())
        say(output)


def _graph(model: Model, stage: str, ranks: int | None) -> Graph:
    return model.graph(stage) if ranks is None else model.graph_of_ranks(stage, ranks)


def _written(model: Model, stage: str, form: str, by: str | None, batch_size: int, ranks: int | None) -> str:
    """Return a graph or the code of the step in one of the forms that are text."""
    from graphcnn.inspection.dot import graph_dot
    from graphcnn.inspection.latex import latex_document
    from graphcnn.inspection.mermaid import graph_mermaid
    from graphcnn.inspection.svg import graph_svg

    if stage in CODE:
        return _code(model, stage, batch_size)
    write: dict[str, Callable[[Graph], str]] = {
        "text": str,
        "table": lambda graph: table_text(layer_table(graph, batch_size, ranks=ranks)),
        "dot": graph_dot,
        "mermaid": graph_mermaid,
        "latex": latex_document,
        "svg": lambda graph: graph_svg(graph, by_layer=None if by is None else by == "layer"),
    }
    return write[form](_graph(model, stage, ranks))


def _code(model: Model, stage: str, batch_size: int) -> str:
    """Return what the backend made of the training step, as text that ends with a line's end."""
    executable = model.executable("step")
    if stage == "kernels":
        if executable.report().batch != batch_size:  # it is the latest call that a report is about
            settings = dict.fromkeys(executable.graph.inputs_with_role("setting"), 0.0)
            executable.step(model.state(), **random_batch(model, executable.graph, batch_size), **settings)
        return "\n".join(kernel_lines(executable.report())) + "\n"
    write = getattr(executable, "llvm_ir" if stage == "llvm" else "assembly", None)
    if write is None:
        raise OptionError(
            f"backend {model.backend.name!r} generates no {stage}", mend="--backend native, which does"
        )
    return f"{write()}\n"
