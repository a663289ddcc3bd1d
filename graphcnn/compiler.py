"""From a network to a model: trace it, build its graphs, draw its first parameters, choose its backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path

import numpy as np

from graphcnn.arguments import translated_arguments
from graphcnn.arrays import Array
from graphcnn.backend import DEFAULT, Backend, as_backend, as_input, backends, check_options, processor_of
from graphcnn.distributed.engines import GivenRanks, as_transport
from graphcnn.distributed.transport import Transport
from graphcnn.dsl.from_graph import traced_graph
from graphcnn.dsl.initializers import initial_value
from graphcnn.dsl.layers import Layer
from graphcnn.dsl.misplaced import is_model
from graphcnn.dsl.network import Network, Traced, as_network
from graphcnn.dsl.other_orders import warn_of_channels_in_front
from graphcnn.errors import GraphcnnError, OptionError
from graphcnn.interchange.files import as_path
from graphcnn.ir import DType, Graph, users_line
from graphcnn.phases import phase
from graphcnn.scalar import ScalarFunction
from graphcnn.training.checkpoint import Checkpoint, read_latest
from graphcnn.training.graphs import Graphs, Precision, check_names, checked_precision, objective_of
from graphcnn.training.logits import warn_of_last_activations
from graphcnn.training.model import Model
from graphcnn.training.model_file import ModelFile, read_model_file
from graphcnn.training.objective import GivenMetrics, Losses
from graphcnn.training.optimizers import (
    GivenGroups,
    Optimizer,
    check_optimizer,
    checked_groups,
    with_updates,
)
from graphcnn.training.options import require_flag
from graphcnn.training.other_arguments import COMPILE
from graphcnn.training.parameters import name_of
from graphcnn.training.planning import Begun
from graphcnn.training.ranks import Ranks
from graphcnn.transform import Passes
from graphcnn.transform.passes import Given
from graphcnn.visible import visible
from graphcnn.warned import warn


@translated_arguments(COMPILE)
def compile(
    network: Network | Layer | Graph,
    *,
    input_shape: tuple[int, ...] | None = None,
    loss: Losses | None = None,
    loss_weights: Mapping[str, float] | None = None,
    optimizer: Optimizer | None = None,
    clip_norm: float | None = None,
    clip_value: float | None = None,
    clip_parameter_norm: float | None = None,
    groups: GivenGroups | None = None,
    no_decay: bool = False,
    accumulate: int = 1,
    lookahead: tuple[int, float] | None = None,
    average: float | None = None,
    metrics: GivenMetrics | None = None,
    backend: str | Backend = DEFAULT,
    threads: int | None = None,
    winograd: bool | int | None = None,
    seed: int = 0,
    dtype: DType | None = None,
    weights: Mapping[str, object] | None = None,
    passes: Given = None,
    precision: Precision | None = None,
    ranks: GivenRanks = None,
    shard_optimizer: bool = False,
) -> Model:
    """Return a model of the network, ready to train and to predict.

    network: what layers make, or a `Graph`, whose output is the one named `output` or its only one. A graph
    is trained as it is; for inference its updates are left out.
    input_shape: the shape of one sample, (height, width, channels); needed for a `Sequential`.
    loss: without one the model can only predict. optimizer: without one it can also be evaluated.
    clip_norm: the greatest norm of all gradients together; clip_parameter_norm: of those of each parameter;
    clip_value: the greatest size of each number in them. groups: by pattern of layers or parameters, what
    is other for them: {"conv*": {"learning_rate": 0.1, "weight_decay": 0.0}, "head": {"frozen": True}}; the
    learning rate is a factor, and what comes later in the dictionary holds. no_decay: True for no weight
    decay of parameters with fewer than two axes, biases and norms, unless a group says one.
    accumulate: over how many batches gradients are averaged before parameters change.
    lookahead: (steps, share): every so many steps, weights go back to that share of the way that they made.
    average: the share that an exponential moving average of the weights keeps in a step, such as 0.999, with
    which `model.averaged()` predicts.
    metrics: names or metrics: "accuracy", the default with `CrossEntropy`; "binary_accuracy", that with
    `BinaryCrossEntropy` and `Focal`; "iou" of masks. By default none with other losses, and of images.
    Of a network with several outputs, loss and metrics are for each of them, or a dictionary by output:
    {"digit": gcn.CrossEntropy(), "angle": gcn.SquaredError()}; outputs that it leaves out are not trained.
    loss_weights: by output, what its loss is multiplied by in the sum; 1, and for auxiliary outputs 0.3.
    backend: the name of an installed backend, or a backend itself. threads: how many it may use, by default
    $GRAPHCNN_THREADS or else all processors; results do not depend on it. winograd: False has the native
    backend compute 3x3 convolutions product by product as well, which takes two to three times as long and
    rounds differently; 2 keeps it to small tiles, which round best.
    seed: of first values, shuffling and dropout; the same seed gives the same bits. dtype: "float32"
    (default) or "float64" for the whole network.
    weights: first values of parameters and states by name. Others are drawn as their layers say; of a graph,
    parameters with two and more axes as those of `Conv2d`, and all else is 0.
    passes: functions from a graph to a graph, or `gcn.Pass`, for the stages "forward" (the network, before
    loss and gradient are made of it), "gradient" (network, loss and gradients; the step is made of what comes
    out) and "step" (the step, simplified; what comes out is compiled): {"forward": [first, second]}.
    precision: "bfloat16" has convolutions and matrix products multiply numbers that are rounded to bfloat16,
    forward and backward, and sum up the products in float32, which is faster where the processor multiplies
    them. Parameters, their updates and everything else stay in float32. "float32" is the default.
    ranks: "mpi" trains with all processes that `mpiexec` has started, each of which runs the same script:
    they share the samples of each batch, and come to the bits of one process. Or a `Transport` of your own.
    `fit`, `evaluate` and `train_step` are then called by all of them alike, with the same data.
    shard_optimizer: True cuts the optimiser's state over the ranks: each has that of some parameters, alone
    computes these, and gives them to the others (ZeRO, stage 1). The bits stay the same; `save`, `averaged`,
    `freeze` and `unfreeze` are called by all ranks, too.

    Raises ShapeError or OptionError, with the layer and its line, for a network that does not fit
    together, GraphError for a pass that changes what a graph takes or gives, and BackendError for an unknown
    backend.
    """
    place = users_line()
    try:
        together = _together(ranks, shard_optimizer)
        with phase("trace"):
            inference, training = _traced(network, input_shape, _dtype(dtype))
        warn_of_channels_in_front(inference.graph)
        chosen_passes = Passes.of(passes)
        _check_seed(seed)
        if optimizer is not None:
            check_optimizer(optimizer)
        chosen_backend, options = _backend(backend, together.transport, threads=threads, winograd=winograd)
        forward, trained = (chosen_passes.run("forward", traced.graph) for traced in (inference, training))
        chosen = objective_of(forward, trained, loss, loss_weights, metrics)
        check_names(inference.graph, chosen)
        if chosen is not None:
            warn_of_last_activations(trained, chosen)
        chosen_groups, frozen = checked_groups(groups, list(trained.inputs_with_role("parameter", "state")))
        optimizer = with_updates(
            optimizer,
            clip_value=clip_value,
            clip_parameter_norm=clip_parameter_norm,
            clip_norm=clip_norm,
            groups=chosen_groups,
            no_decay=no_decay,
            accumulate=accumulate,
            lookahead=lookahead,
            average=average,
        )
        graphs = Graphs(
            forward,
            trained,
            chosen,
            optimizer,
            chosen_passes,
            training.frozen | frozen,
            checked_precision(precision) or "float32",
        )
        initial = graphs.first_values
        state = {
            label: initial_value(initializer, training.graph.inputs[label].type, label, seed)
            for label, initializer in training.initializers.items()
        }
        state |= _given_weights(training.graph, weights or {})
        state |= initial
        return Model(
            graphs,
            state,
            backend=chosen_backend,
            options=options,
            seed=int(seed),
            frozen_by_layers=lambda: training.frozen,
            ranks=together,
        )
    except GraphcnnError as error:
        raise error.located(file=place.file, line=place.line) from None


@translated_arguments(COMPILE)
def load(
    path: str | PathLike[str],
    *,
    objects: Iterable[object] = (),
    functions: Iterable[ScalarFunction] = (),
    passes: Given = None,
    backend: str | Backend = DEFAULT,
    threads: int | None = None,
    winograd: bool | int | None = None,
    precision: Precision | None = None,
    ranks: GivenRanks = None,
    shard_optimizer: bool = False,
) -> Model:
    """Return the model that `Model.save` wrote, ready to predict and to train on. No code is executed.

    backend, threads, winograd, ranks, shard_optimizer: as `compile` takes them; of several ranks, the first
    reads the file for all. precision: by default that of the model.

    objects: what the model uses of your own, which the file knows by name alone: the classes of losses,
    optimisers and metrics, and what `gcn.pointwise` made. Ops are there once `gcn.register_op` has them.
    functions: further objects; an older name for those that `gcn.pointwise` made.
    passes: as `compile` takes them, where the model went through some. Those of the stage "forward" have done
    their work; those of the other stages run again. {} goes on without them.

    Raises FileError for a file that is damaged or was not saved by graphcnn, OptionError for objects or
    passes that are missing, and BackendError for an unknown backend.
    """
    together = _together(ranks, shard_optimizer)
    chosen_backend, options = _backend(backend, together.transport, threads=threads, winograd=winograd)
    own = None if passes is None else Passes.of(passes)
    given, chosen_precision = [*objects, *functions], checked_precision(precision)

    def read(place: Path) -> ModelFile:
        return read_model_file(place, given, own, chosen_precision)

    _, file = together.read_by_first(lambda: (as_path(path), read(as_path(path))), read)
    return Model.of_file(file, backend=chosen_backend, options=options, ranks=together)


@translated_arguments(COMPILE)
def resume(
    folder: str | PathLike[str],
    *,
    objects: Iterable[object] = (),
    passes: Given = None,
    backend: str | Backend | None = None,
    threads: int | None = None,
    winograd: bool | int | None = None,
    precision: Precision | None = None,
    ranks: GivenRanks = None,
    shard_optimizer: bool = False,
) -> Model:
    """Return the model of the latest checkpoint in a folder, to go on with the `fit` that was interrupted.

    `gcn.resume(folder).fit(images, labels)`, with the same data, validation data and callbacks, takes the
    steps that are left, to the same bits as if there had been no interruption, on any number of threads and
    of ranks, whether or not these cut the optimiser's state.
    A checkpoint that is damaged is passed over with a warning.

    objects, passes: as `load` takes them. backend, winograd, precision: by default those that training has
    begun with. threads, ranks, shard_optimizer: as `compile` takes them; of several ranks, the first reads
    for all.

    Raises FileError where there is no checkpoint that is whole, and otherwise what `load` raises.
    """
    given = list(objects)
    own = None if passes is None else Passes.of(passes)
    chosen_precision, together = checked_precision(precision), _together(ranks, shard_optimizer)

    def read(place: Path) -> ModelFile:
        return read_model_file(place, given, own, chosen_precision)

    path, file = together.read_by_first(lambda: read_latest(Checkpoint(folder), read), read)
    training = file.training
    assert training is not None
    if backend is None and training.backend not in backends():
        raise OptionError(
            f"the training in {folder} began on a backend {training.backend!r:.60}, which is not installed",
            mend="gcn.resume(folder, backend=...), the backend itself",
        )
    chosen, options = _backend(
        training.backend if backend is None else backend,
        together.transport,
        threads=threads,
        winograd=winograd,
    )
    if chosen.name == training.backend:
        options = {**training.backend_options, **options}
        check_options(chosen, options)
    processor = processor_of(chosen)
    if chosen.name == training.backend and processor != training.processor and together.is_first:
        warn(
            visible(
                f"training began on {training.processor:.100}, and this is {processor}: "
                "it goes on, but rounds otherwise"
            )
        )
    checkpoint = Checkpoint(folder, training.every, keep=training.keep)
    return Model.of_file(
        file, backend=chosen, options=options, begun=Begun(training, checkpoint, path), ranks=together
    )


def _together(ranks: GivenRanks, shard_optimizer: bool) -> Ranks:
    """Return the ranks that train a model. Raises OptionError for what names none."""
    require_flag("shard_optimizer", shard_optimizer)
    return Ranks(as_transport(ranks), shards_optimizer=shard_optimizer)


def _traced(network: object, input_shape: object, dtype: DType | None) -> tuple[Traced, Traced]:
    """Return a network as graphs for inference and for training."""
    if not isinstance(network, Graph):
        layers = as_network(network, input_shape)  # type: ignore[arg-type]
        return layers.trace(training=False, dtype=dtype), layers.trace(training=True, dtype=dtype)
    for name, given in (("input_shape", input_shape), ("dtype", dtype)):
        if given is not None:
            raise OptionError("the inputs of a Graph have their types already", mend=f"leave out {name}")
    return traced_graph(network)


def _given_weights(graph: Graph, weights: Mapping[str, object]) -> dict[str, Array]:
    """Return first values of parameters and states as arrays of their types."""
    if is_model(weights):
        raise OptionError("weights= takes weights by name, not a model", mend="weights=model.weights")
    if not isinstance(weights, Mapping):
        raise OptionError(f"weights={weights!r:.60} is not a dictionary", mend="weights={name: array}")
    types = {label: value.type for label, value in graph.inputs_with_role("parameter", "state").items()}
    unknown = [name for name in weights if name not in types]
    if unknown:
        found = name_of(unknown[0], list(types))
        raise OptionError(
            f"there is no parameter or state {', '.join(map(repr, unknown)):.200}",
            facts=[f"there are: {', '.join(types) or 'none'}"],
            mend=f"weights={{{found!r}: array}}" if found else "give one of these names",
        )
    return {
        name: np.array(as_input(f"weights[{name!r}]", types[name], given)) for name, given in weights.items()
    }


def _backend(
    backend: str | Backend, transport: Transport | None, **given: object
) -> tuple[Backend, dict[str, object]]:
    """Return a backend and the options that were given. Raises OptionError for one that it does not take."""
    chosen = as_backend(backend)
    options = {option: value for option, value in given.items() if value is not None}
    check_options(chosen, options if transport is None else {**options, "ranks": transport})
    return chosen, options


def _dtype(dtype: object) -> DType | None:
    if dtype is None:
        return None
    try:
        name = np.dtype(dtype).name  # type: ignore[call-overload]
    except TypeError:
        name = ""
    if name not in ("float32", "float64"):
        raise OptionError(
            f"dtype={dtype!r} is neither 'float32' nor 'float64'",
            mend='precision="bfloat16"' if "16" in str(dtype) else 'dtype="float64"',
        )
    return "float32" if name == "float32" else "float64"


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**64:
        raise OptionError(
            f"seed={seed!r:.60} is not an integer from 0 to 2**64 - 1", mend="seed=0, or another whole number"
        )
