"""The command line: `graphcnn train`, `show`, `diff`, `bench`, `inspect` and `backends`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from graphcnn.backend import DEFAULT, backends, load_backend
from graphcnn.compiler import compile, load
from graphcnn.data import Dataset, load_digits, load_idx_folder
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.network import Network
from graphcnn.errors import BackendError, GraphcnnError, OptionError
from graphcnn.inspection.benchmark import benchmark, random_batch
from graphcnn.inspection.profile import Mode
from graphcnn.inspection.recording import record_graph
from graphcnn.inspection.tables import kernel_lines, layer_table
from graphcnn.interchange.files import require_place, write_atomically
from graphcnn.ir import Graph
from graphcnn.rendering import print_visibly
from graphcnn.training.callbacks import CSVLog
from graphcnn.training.losses import CrossEntropy
from graphcnn.training.model import Model
from graphcnn.training.optimizers import SGD, Adam, AdamW, Optimizer
from graphcnn.transform import simplify
from graphcnn.visible import visible, visible_lines
from graphcnn.zoo import ZOO

if TYPE_CHECKING:
    from rich.console import RenderableType

STAGES = ("forward", "gradient", "step")
CODE = ("kernels", "llvm", "assembly")
FORMS = ("text", "table", "dot", "mermaid", "latex", "svg", "html")
WIDEST_TABLE = 160
MODEL_SUFFIX = ".safetensors"
PAGE = "graphs.html"


class _Group(click.Group):
    """Shows what goes wrong as one readable message; with --debug as a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (GraphcnnError, OSError) as error:
            if context.params.get("debug"):
                raise
            _say(f"Error: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphcnn")
@click.option("--debug", is_flag=True, help="Show errors with their traceback.")
def main(debug: bool) -> None:
    """Compile and train convolutional networks, and read their gradient graphs."""


@main.command()
@click.argument("network")
@click.option(
    "--data", default="digits", show_default=True, help="'digits', or a folder of IDX files like MNIST's."
)
@click.option("--epochs", default=10, show_default=True, type=click.IntRange(1))
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(1))
@click.option("--optimizer", default="sgd", show_default=True, type=click.Choice(["sgd", "adam", "adamw"]))
@click.option("--learning-rate", type=float, help="Default: 0.05 for sgd, 0.001 for adam and adamw.")
@click.option("--momentum", default=0.9, show_default=True, type=float, help="Of sgd.")
@click.option("--backend", default=DEFAULT, show_default=True)
@click.option("--seed", default=0, show_default=True, type=int)
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Default: runs/NETWORK.")
def train(
    network: str,
    data: str,
    epochs: int,
    batch_size: int,
    optimizer: str,
    learning_rate: float | None,
    momentum: float,
    backend: str,
    seed: int,
    output: Path | None,
) -> None:
    """Train NETWORK: a name from the zoo, or SCRIPT.py:VARIABLE.

    Writes the weights, the history as CSV, and the graphs as text and as a page to the output folder.
    """
    dataset = _dataset(data)
    definition, shape = _definition(network)
    model = compile(
        definition,
        input_shape=None if isinstance(definition, Network) else shape or dataset.images.shape[1:],
        loss=CrossEntropy(),
        optimizer=_optimizer(optimizer, learning_rate, momentum),
        backend=backend,
        seed=seed,
    )
    folder = output or Path("runs") / Path(network.partition(":")[0]).stem
    folder.mkdir(parents=True, exist_ok=True)
    for name in (f"model{MODEL_SUFFIX}", PAGE):
        require_place(folder / name)
    _say(f"{dataset}\n{model}")
    history = model.fit(
        dataset.images,
        dataset.labels,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=(dataset.test_images, dataset.test_labels),
        callbacks=[CSVLog(folder / "history.csv")],
    )
    _write(model, folder)
    _say(f"test accuracy {history['val_accuracy'][-1]:.2%}, loss {history['val_loss'][-1]:.4f}")
    _say(f"weights         {folder / 'model.safetensors'}")
    _say(f"history         {folder / 'history.csv'}")
    _say(f"gradient graph  {folder / 'gradient.graph'}  (also forward.graph and step.graph)")
    _say(f"viewer          {folder / PAGE}  (open it in a browser)")


input_shape_option = click.option(
    "--input-shape", type=(int, int, int), help="Height, width, channels; for a Sequential of a script."
)


@main.command()
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
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="For html; default: NETWORK.html."
)
@click.option("--profile", is_flag=True, help="For html: measure a step on random data, and show times.")
@click.option(
    "--batch-size", default=1, show_default=True, type=click.IntRange(1), help="For FLOPs and bytes."
)
@click.option("--backend", default=DEFAULT, show_default=True)
@input_shape_option
def show(
    network: str,
    stage: str,
    form: str,
    by: str | None,
    batch_size: int,
    output: Path | None,
    profile: bool,
    backend: str,
    input_shape: tuple[int, int, int] | None,
) -> None:
    """Show a graph of NETWORK: a name from the zoo, SCRIPT.py:VARIABLE, or a saved MODEL.safetensors."""
    if (output is not None or profile) and form != "html":
        raise OptionError("--output and --profile are for pages", mend="--as html, or `> FILE` for text")
    if form == "html":
        path = output or Path(f"{Path(network.partition(':')[0]).stem}.html")
        model = _model(network, input_shape, backend)
        times = benchmark(model, batch=batch_size) if profile else None
        model.show(path, profile=times, batch_size=batch_size, title=path.stem, open=False)
        _say(path)
        return
    if stage in CODE:
        _say(_code(_model(network, input_shape, backend), stage))
        return
    graph = getattr(_model(network, input_shape), f"{stage}_graph")
    if form == "table":
        _print_table(layer_table(graph, batch_size))
        return
    _say(_written(graph, form, by), nl=False)


@main.command()
@click.argument("network")
@click.argument("other", required=False)
@click.option("--stage", default="gradient", show_default=True, type=click.Choice(STAGES))
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with both side by side."
)
@input_shape_option
def diff(
    network: str,
    other: str | None,
    stage: str,
    output: Path | None,
    input_shape: tuple[int, int, int] | None,
) -> None:
    """Show how the graphs of NETWORK and OTHER differ; without OTHER, what simplification changes."""
    from graphcnn.inspection.difference import difference

    before = getattr(_model(network, input_shape), f"{stage}_graph")
    after = getattr(_model(other, input_shape), f"{stage}_graph") if other else simplify(before)
    if output is None:
        _say(str(difference(before, after)))
        return
    _say(before.show(output, against=after, open=False))


@main.command()
@click.argument("network")
@click.option("--mode", default="train", show_default=True, type=click.Choice(["train", "infer"]))
@click.option("--batch-size", default=64, show_default=True, type=click.IntRange(1))
@click.option("--repeats", default=30, show_default=True, type=click.IntRange(1))
@click.option("--compile", "compiles", is_flag=True, help="Time the compilation instead, phase by phase.")
@click.option("--backend", default=DEFAULT, show_default=True)
@click.option(
    "--trace", type=click.Path(dir_okay=False, path_type=Path), help="Write one step as a Chrome trace."
)
@input_shape_option
def bench(
    network: str,
    mode: Mode,
    batch_size: int,
    repeats: int,
    compiles: bool,
    backend: str,
    trace: Path | None,
    input_shape: tuple[int, int, int] | None,
) -> None:
    """Time a training step or the inference of NETWORK on random data, kernel by kernel."""
    if compiles:
        from graphcnn.inspection.compile_times import compile_times

        graph = "step" if mode == "train" else "forward"
        _print_table(compile_times(lambda: _model(network, input_shape, backend), graph))
        return
    model = _model(network, input_shape, backend)
    profile = benchmark(model, mode=mode, batch=batch_size, repeats=repeats)
    _print_table(profile)
    if trace is not None:
        profile.write_chrome_trace(trace)
        _say(f"trace written to {trace}: open it in https://ui.perfetto.dev or chrome://tracing")


@main.command()
@click.argument("network")
@click.option(
    "--data",
    default="digits",
    show_default=True,
    help="'digits', a folder of IDX files like MNIST's, or 'random'.",
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
    input_shape: tuple[int, int, int] | None,
) -> None:
    """Show what NETWORK computes for one batch: a name from the zoo, SCRIPT.py:VARIABLE, or a saved model.

    Prints for each layer its outputs, the norm of its gradient, dead ReLUs, and where NaN or infinity began.
    """

    if data == "random":
        model = _model(network, input_shape)
        batch = random_batch(model, model.gradient_graph, batch_size)
        recording = record_graph(model.gradient_graph, model.state(), batch)
    else:
        dataset = _dataset(data)
        height, width, channels = dataset.images.shape[1:]
        model = _model(network, input_shape, data_shape=(height, width, channels))
        recording = model.inspect(dataset.images[:batch_size], dataset.labels[:batch_size])
    _print_table(recording)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        for path in recording.write_images(output):
            _say(path)


@main.command("backends")
def list_backends() -> None:
    """List the installed backends."""
    for name, entry in sorted(backends().items()):
        try:
            state = f"{len(load_backend(name).ops)} ops"
        except BackendError as error:
            state = error.problem
        _say(f"{name:12}  {entry.value:32}  {state}{'  (default)' if name == DEFAULT else ''}")


def _say(text: object, *, err: bool = False, nl: bool = True) -> None:
    """Print text, or a path; whatever names and files in it say, the terminal is not told to do anything."""
    shown = visible(str(text)) if isinstance(text, Path) else visible_lines(str(text))
    click.echo(shown, err=err, nl=nl)


def _written(graph: Graph, form: str, by: str | None) -> str:
    """Return a graph in one of the forms that are text."""
    from graphcnn.inspection.dot import graph_dot
    from graphcnn.inspection.latex import latex_document
    from graphcnn.inspection.mermaid import graph_mermaid
    from graphcnn.inspection.svg import graph_svg

    write: dict[str, Callable[[Graph], str]] = {
        "text": str,
        "dot": graph_dot,
        "mermaid": graph_mermaid,
        "latex": latex_document,
        "svg": lambda graph: graph_svg(graph, by_layer=None if by is None else by == "layer"),
    }
    return write[form](graph)


def _print_table(table: RenderableType) -> None:
    """Print a table; where the output is no terminal, at its full width."""
    from rich.console import Console

    print_visibly(Console(width=None if sys.stdout.isatty() else WIDEST_TABLE), table)


def _code(model: Model, stage: str) -> str:
    """Return what the backend made of the training step, as text."""
    executable = model.executable("step")
    if stage == "kernels":
        return "\n".join(kernel_lines(executable.report()))
    write = getattr(executable, "llvm_ir" if stage == "llvm" else "assembly", None)
    if write is None:
        raise OptionError(
            f"backend {model.backend.name!r} generates no {stage}", mend="--backend native, which does"
        )
    return str(write())


def _dataset(data: str) -> Dataset:
    return load_digits() if data == "digits" else load_idx_folder(data)


def _optimizer(name: str, learning_rate: float | None, momentum: float) -> Optimizer:
    if name == "sgd":
        return SGD(0.05 if learning_rate is None else learning_rate, momentum=momentum)
    return (Adam if name == "adam" else AdamW)(0.001 if learning_rate is None else learning_rate)


def _model(
    name: str,
    input_shape: tuple[int, int, int] | None,
    backend: str = DEFAULT,
    data_shape: tuple[int, int, int] | None = None,
) -> Model:
    """Return the model that a name stands for: a saved one, or a network with an ordinary loss.

    input_shape: what the user has asked for. data_shape: for a network of which nothing else tells the shape.
    """
    if name.endswith(MODEL_SUFFIX):
        return load(name, backend=backend)
    definition, shape = _definition(name)
    return compile(
        definition,
        input_shape=None if isinstance(definition, Network) else input_shape or shape or data_shape,
        loss=CrossEntropy(),
        optimizer=SGD(0.01, momentum=0.9),
        backend=backend,
    )


def _definition(name: str) -> tuple[Network | Layer, tuple[int, int, int] | None]:
    """Return the network that a name stands for, and the shape of its samples where that is known."""
    if name in ZOO:
        return ZOO[name].make(), ZOO[name].input_shape
    path, _, variable = name.rpartition(":")
    if not path.endswith(".py") or not variable:
        raise OptionError(
            f"there is no network {name!r}",
            facts=[f"zoo: {', '.join(ZOO)}"],
            mend="give a name from the zoo, or SCRIPT.py:VARIABLE",
        )
    if not Path(path).is_file():
        raise OptionError(f"there is no script {path}")
    variables = runpy.run_path(path, run_name="graphcnn_script")
    if variable not in variables:
        found = [k for k, v in variables.items() if isinstance(v, Network | Layer)]
        raise OptionError(
            f"{path} has no variable {variable!r}", facts=[f"networks in it: {', '.join(found) or 'none'}"]
        )
    definition = variables[variable]
    if callable(definition) and not isinstance(definition, Layer):
        definition = definition()
    if not isinstance(definition, Network | Layer):
        raise OptionError(f"{variable!r} of {path} is {type(definition).__name__}, not a network")
    return definition, None


def _write(model: Model, folder: Path) -> None:
    model.save(folder / f"model{MODEL_SUFFIX}")
    for stage in STAGES:
        write_atomically(folder / f"{stage}.graph", str(getattr(model, f"{stage}_graph")).encode())
    model.show(folder / PAGE, open=False)
