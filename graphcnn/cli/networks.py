"""What an argument of a command names: a network of the zoo, a script or a file, and the data for it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import click

from graphcnn.backend import DEFAULT
from graphcnn.cli.script import run_script, within_script
from graphcnn.compiler import compile, load
from graphcnn.data import Dataset, load_digits
from graphcnn.data import load as load_data
from graphcnn.distributed.engines import GivenRanks
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.network import Network, Sequential, as_network
from graphcnn.errors import OptionError
from graphcnn.ir import Graph, format_shape
from graphcnn.training.graphs import PRECISIONS, Precision
from graphcnn.training.losses import CrossEntropy
from graphcnn.training.model import Model
from graphcnn.training.optimizers import SGD
from graphcnn.transform import Passes
from graphcnn.zoo import PUBLISHED, ZOO

MODEL_SUFFIX = ".safetensors"
ONNX_SUFFIX = ".onnx"
DIGITS = "digits"

Shape: TypeAlias = tuple[int, int, int]
Definition: TypeAlias = Network | Layer | Graph | Model

input_shape_option = click.option(
    "--input-shape",
    type=(int, int, int),
    help="Height, width, channels; for a Sequential of a script, a network of the zoo, or an ONNX file.",
)
precision_option = click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What products multiply. Default: float32, or what a model has been compiled with.",
)
shard_option = click.option(
    "--shard-optimizer/--no-shard-optimizer",
    help="Of several ranks, each has the optimizer's state for some parameters alone, to the same bits.",
)
backend_option = click.option("--backend", help=f"Default: {DEFAULT}, or that of a Model of a script.")


def dataset_named(data: str, network: str = "", input_shape: Shape | None = None) -> Dataset:
    """Return the digits, or the data at a path.

    network, input_shape: what images of a folder are for, as far as that tells of what shape they have to be.
    """
    if data == DIGITS:
        return load_digits()
    shape = input_shape or _known_shape(network)
    if shape is None:
        return load_data(data)
    return load_data(data, size=shape[:2], channels=shape[2] if shape[2] in (1, 3) else None)


def _known_shape(network: str) -> Shape | None:
    """Return the shape of the images that a network of the zoo, a saved model or an ONNX file takes."""
    if network in ZOO:
        return ZOO[network].input_shape
    if network in PUBLISHED:
        shape: Shape = inspect.signature(PUBLISHED[network].make).parameters["input_shape"].default
        return shape
    if (file := _onnx_file(network)) is not None:
        graph = file.graph
    elif network.endswith(MODEL_SUFFIX):
        graph = load(network).forward_graph
    else:
        return None
    shapes = [value.type.shape[1:] for value in graph.inputs_with_role("data").values()]
    return tuple(map(int, shapes[0])) if len(shapes) == 1 and len(shapes[0]) == 3 else None  # type: ignore[return-value]


def model_named(
    name: str,
    input_shape: Shape | None = None,
    backend: str | None = None,
    precision: Precision | None = None,
    *,
    dataset: Dataset | None = None,
    in_front: Sequence[Layer] = (),
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    ranks: GivenRanks = None,
    shard_optimizer: bool = False,
) -> Model:
    """Return the model that a name stands for: a saved one, one of a script, or a network with a usual loss.

    input_shape: what the user has asked for. dataset: what a network of the zoo gets its classes from, and
    one of which nothing else tells it the shape. in_front: layers that a network begins with.
    options, seed: for a network that is no model yet, what it is compiled with. ranks, shard_optimizer: as
    `compile` takes them.
    """
    together: dict[str, Any] = {"ranks": ranks, "shard_optimizer": shard_optimizer}
    if name.endswith(MODEL_SUFFIX):
        _refuse_shape(name, input_shape)
        return load(name, backend=backend or DEFAULT, precision=precision, **together)
    classes = {} if dataset is None else {"classes": len(dataset.classes)}
    if name in PUBLISHED:
        definition: Definition = _published(name, input_shape, classes)
        shape, input_shape = None, None
    elif (file := _onnx_file(name, input_shape)) is not None:
        definition, shape, input_shape = file, None, None
    else:
        definition, shape = _definition(name, classes)
    if isinstance(definition, Sequential) and definition.input is not None:
        definition = as_network(definition, None)
    if in_front and isinstance(definition, Network | Layer):
        whole = Sequential(*in_front, definition)
        definition = as_network(whole, None) if isinstance(definition, Network) else whole
    if isinstance(definition, Layer):
        chosen = input_shape or shape or (None if dataset is None else dataset.images.shape[1:])
        if chosen is None:
            raise OptionError(
                f"the shape of what {name} takes is not known",
                mend="--input-shape HEIGHT WIDTH CHANNELS, for example --input-shape 28 28 1",
            )
    else:
        _refuse_shape(name, input_shape)
        chosen = None
    if isinstance(definition, Model):
        if backend not in (None, definition.backend.name):
            raise OptionError(
                f"{name} is a model for the backend {definition.backend.name!r}", mend="leave out --backend"
            )
        if precision not in (None, definition.precision):
            raise OptionError(
                f"{name} is a model whose products are of {definition.precision}",
                mend=f"leave out --precision, or write gcn.compile(..., precision={precision!r}) there",
            )
        if ranks is not None and definition.ranks == 1:
            raise OptionError(
                f"{name} is a model for one process, and several were started",
                mend='write gcn.compile(..., ranks="mpi") there, or name a network that is no model yet',
            )
        if shard_optimizer and not definition.shard_optimizer:
            raise OptionError(
                f"{name} is a model whose ranks all have the optimizer's state",
                mend="leave out --shard-optimizer, or write gcn.compile(..., shard_optimizer=True) there",
            )
        return definition
    usual: dict[str, Any] = {"loss": CrossEntropy(), "optimizer": SGD(0.01, momentum=0.9)}
    if isinstance(definition, Network) and _takes_no_labels(definition):
        usual = {}
    return compile(
        definition,
        input_shape=None if chosen is None else tuple(chosen),
        backend=backend or DEFAULT,
        precision=precision,
        seed=seed,
        **together,
        **(usual | dict(options or {})),
    )


def _onnx_file(name: str, input_shape: Shape | None = None) -> Network | None:
    """Return the network of MODEL.onnx, or of MODEL.onnx:VALUE, which ends with it; None for another name.

    A command reads it once. input_shape: of the images of its only input, where the file leaves that open.
    """
    path, _, value = (name, "", "") if name.endswith(ONNX_SUFFIX) else name.rpartition(":")
    if not path.endswith(ONNX_SUFFIX):
        return None
    context = click.get_current_context(silent=True)
    read: dict[object, Network] = {} if context is None else context.meta.setdefault(__name__, {})
    if (name, input_shape) not in read:
        read[name, input_shape] = _read_onnx(path, value, input_shape)
    return read[name, input_shape]


def _read_onnx(path: str, value: str, input_shape: Shape | None) -> Network:
    from graphcnn.interchange.onnx.reading import network_of
    from graphcnn.interchange.onnx.reading.file import read_model

    file = read_model(path)
    shapes = None
    if input_shape is not None:
        height, width, channels = input_shape
        shapes = dict.fromkeys(file.input_names(), (None, channels, height, width))
    return network_of(file, shapes=shapes, outputs=[value] if value else None)


def _takes_no_labels(network: Network) -> bool:
    """Whether a network has other outputs than scores of classes, so that it has no usual loss."""
    return len(network.outputs) > 1 or not network.output.type.is_float or not network.output.type.has_batch


def require_images(name: str, model: Model, data: str, dataset: Dataset, mend: str) -> None:
    """Raise OptionError where a model takes other images than those of the data."""
    inputs = model.forward_graph.inputs_with_role("data").values()
    images = dataset.images.shape[1:]
    if len(inputs) == 1 and all(value.type.shape[1:] == images for value in inputs):
        return
    raise OptionError(
        f"{name} does not take the images of {data!r}",
        facts=[
            f"it takes {', '.join(format_shape(value.type.shape) for value in inputs)}",
            f"they are {format_shape(('N', *images))}",
        ],
        mend=mend,
    )


def _refuse_shape(name: str, input_shape: Shape | None) -> None:
    if input_shape is not None:
        raise OptionError(f"the inputs of {name} have their shapes already", mend="leave out --input-shape")


def _published(name: str, input_shape: Shape | None, classes: Mapping[str, int]) -> Network:
    shape = {} if input_shape is None else {"input_shape": input_shape}
    return PUBLISHED[name].make(**shape, **classes)


def stem_of(name: str) -> str:
    """Return what files of a network are called: its name without folder, ending and variable."""
    return Path(name.partition(":")[0]).stem


def variables_of(name: str) -> tuple[list[object], Passes | None]:
    """Return what a script defines, and the passes of its model where the name stands for one."""
    path = name.rpartition(":")[0]
    if not path.endswith(".py"):
        return [], None
    definition, _ = _definition(name)
    passes = definition.passes if isinstance(definition, Model) else None
    return list(run_script(path).values()), passes


def _definition(name: str, classes: Mapping[str, int] | None = None) -> tuple[Definition, Shape | None]:
    """Return the network that a name stands for, and the shape of its samples where that is known.

    classes: how many a network of the zoo gets, as its argument.
    """
    if name in ZOO:
        return ZOO[name].make(**(classes or {})), ZOO[name].input_shape
    path, _, variable = (name, "", "") if name.endswith(".py") else name.rpartition(":")
    if not path.endswith(".py"):
        raise OptionError(
            f"there is no network {name!r}",
            facts=[f"zoo: {', '.join([*ZOO, *PUBLISHED])}"],
            mend="give a name from the zoo, SCRIPT.py:VARIABLE, a saved MODEL.safetensors or a MODEL.onnx",
        )
    if not Path(path).is_file():
        raise OptionError(f"there is no script {path}", mend="check the path and the working folder")
    variables = run_script(path)
    if variable not in variables:
        found = [k for k, v in variables.items() if isinstance(v, Definition) and not k.startswith("_")]
        raise OptionError(
            f"{path} has no variable {variable!r}"
            if variable
            else f"{path} is a script: name a network of it",
            facts=[f"networks in it: {', '.join(found) or 'none'}"],
            mend=f"{path}:{found[0]}"
            if found
            else f"write one there: network = gcn.Sequential(...), {path}:network",
        )
    definition = variables[variable]
    if callable(definition) and not isinstance(definition, Definition):
        with within_script(path):
            definition = definition()
    if not isinstance(definition, Definition):
        raise OptionError(
            f"{variable!r} of {path} is {type(definition).__name__}, not a network",
            mend="name a Sequential, Network, Model or Graph, or a function that returns one",
        )
    return definition, None
