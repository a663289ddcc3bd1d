"""What a network computes for one batch: every value and every gradient, and what is wrong with them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.arguments import known_methods
from graphcnn.arrays import Array
from graphcnn.backend import evaluate, observe, with_state
from graphcnn.cached import cached
from graphcnn.errors import DifferentiationError, OptionError, meant
from graphcnn.inspection.images import ImageGrid, feature_map_grid, filter_grid
from graphcnn.inspection.nonfinite import NonFinite, first_nonfinite
from graphcnn.ir import BATCH, Graph, Input, Value
from graphcnn.ops import Relu
from graphcnn.rendering import as_html
from graphcnn.transform.differentiate import differentiate
from graphcnn.transform.simplify import prune
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

    from graphcnn.training.model import Model

GRADIENT = "gradient({})"
"""The name of the output that holds the gradient of a parameter."""
LOSS = "loss"
"""The name of the output that gradients are of."""


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What one layer did with the batch.

    key: of the node whose result is the layer's output. mean, std, least, greatest: of that output, where it
    is finite. gradient_norm, parameter_norm: the root of the sum of squares over all of its parameters; None
    where it has none, or no gradient was computed. dead: the share of its units that are 0 for every sample
    of the batch, for a ReLU, else None. dead_channels: channels of which all units are. nonfinite: elements
    of all nodes of the layer, of the gradient too, that are NaN or infinite.
    """

    layer: str
    key: int
    shape: tuple[int, ...]
    mean: float
    std: float
    least: float
    greatest: float
    gradient_norm: float | None
    parameter_norm: float | None
    dead: float | None
    dead_channels: tuple[int, ...]
    nonfinite: int


@known_methods()
class Recording:
    """Every value of a graph for one batch, as the reference backend computes it.

    graph: whose values these are: the gradient graph, or the forward graph where no targets were given.
    values: the first result of each node, by its key; all arrays are read-only.

    `recording["conv1"]` is the output of a layer, and `recording.gradient("conv1")` its delta;
    `recording["conv1.filters"]` an input of the graph, `recording["gradient(conv1.filters)"]` one of its
    outputs, `recording[17]` the result of a node, and `recording[value]` any value of the graph.
    """

    def __init__(self, graph: Graph, results: Mapping[Value, Array], batch: int) -> None:
        self.graph = graph
        self.batch = batch
        self._results = dict(results)
        self._gradients: dict[Value, Array] = {}
        for array in self._results.values():
            array.flags.writeable = False

    @property
    def values(self) -> Mapping[int, Array]:
        """The first result of each node, by its key."""
        return MappingProxyType(
            {key: self._results[self.graph.results(key)[0]] for key, _ in self.graph.items()}
        )

    def __getitem__(self, what: int | str | Value) -> Array:
        return self._results[self._found(what)]

    def _found(self, what: int | str | Value) -> Value:
        if isinstance(what, Value):
            found: Value | None = what if what in self._results else None
        elif isinstance(what, str):
            found = self._named(what)
        else:
            known = isinstance(what, int | np.integer) and 0 <= what < len(self.graph)
            found = self.graph.results(int(what))[0] if known else None
        if found is None:
            names = (*self._outputs, *self.graph.inputs, *self.graph.outputs)
            raise OptionError(
                f"there is no value {what!r} in the recording of {self.graph.name!r}",
                facts=[
                    f"layers: {', '.join(self._outputs)}",
                    f"inputs: {', '.join(self.graph.inputs)}",
                    f"outputs: {', '.join(self.graph.outputs)}",
                    f"nodes: 0 to {len(self.graph) - 1}",
                ],
                mend=meant(what, names, "take one of these names, or the number of a node"),
            )
        return found

    def _named(self, name: str) -> Value | None:
        for values in (self.graph.inputs, self.graph.outputs):
            if name in values:
                return values[name]
        return self.graph.results(self._outputs[name])[0] if name in self._outputs else None

    @cached
    def _outputs(self) -> dict[str, int]:
        """For each layer the key of its output: the last node that it has in the forward pass."""
        found: dict[str, int] = {}
        for key, node in self.graph.items():
            if node.origin.layer and node.origin.forward is None and not isinstance(node.op, Input):
                found[node.origin.layer] = key
        return found

    def gradient(self, of: int | str | Value) -> Array:
        """Return the gradient of the loss with respect to a value, in that value's shape.

        of: a parameter such as "conv1.filters", a layer such as "conv1", whose delta it is (Eq. 15), an input
        such as "image", or any other value that `recording[of]` knows. It is zero where the loss does not
        depend on it. Of what is no parameter, it is computed when it is asked for.

        Raises OptionError for an unknown name, and where no targets were given, so that there is no loss;
        DifferentiationError for integers, and for a value that itself depends on gradients.
        """
        if isinstance(of, str) and GRADIENT.format(of) in self.graph.outputs:
            return self[GRADIENT.format(of)]
        value = self._found(of)
        if value not in self._gradients:
            self._gradients[value] = self._differentiated(of, value)
        return self._gradients[value]

    def _differentiated(self, of: object, value: Value) -> Array:
        loss = self.graph.outputs.get(LOSS)
        if loss is None:
            raise OptionError(
                f"there is no gradient of {of!r}: the recording has no loss",
                mend="record with targets: model.inspect(x, y)",
            )
        if self.graph.node(value.key).origin.forward is not None:
            raise DifferentiationError(
                f"{of!r} is a value of the gradient: the loss does not follow from it",
                mend="name a layer, an input or a node of the forward pass",
            )
        name = str(of)
        with_gradient, found = differentiate(
            self.graph.copy(outputs=False, updates=False), loss, {name: value}
        )
        with_gradient.output(GRADIENT.format(f"%{value.key}"), found[name])
        needed = prune(with_gradient)
        inputs = {name: self._results[self.graph.inputs[name]] for name in needed.inputs}
        with np.errstate(all="ignore"):
            (result,) = evaluate(needed, **inputs).values()
        gradient = np.asarray(result)
        gradient.flags.writeable = False
        return gradient

    def histogram(self, what: int | str | Value, bins: int = 40) -> tuple[Array, Array]:
        """Return how many of a value's finite elements lie in each of so many intervals, and their edges."""
        array = self[what]
        counts, edges = np.histogram(array[np.isfinite(array)], bins)
        return counts, edges

    # Layers

    @cached
    def layers(self) -> tuple[LayerRecord, ...]:
        """A record per layer, in the order of the network."""
        return tuple(self._layer(layer, key) for layer, key in self._outputs.items())

    def _layer(self, layer: str, key: int) -> LayerRecord:
        output = self.values[key].astype(np.float64)
        finite = output[np.isfinite(output)]
        if not finite.size:
            finite = np.full(1, np.nan)
        parameters = [
            label
            for label, value in self.graph.inputs_with_role("parameter", "frozen").items()
            if self.graph.node(value.key).origin.layer == layer
        ]
        gradients = [GRADIENT.format(p) for p in parameters if GRADIENT.format(p) in self.graph.outputs]
        is_relu = isinstance(self.graph.node(key).op, Relu)
        return LayerRecord(
            layer,
            key,
            output.shape,
            float(finite.mean()),
            float(finite.std()),
            float(finite.min()),
            float(finite.max()),
            self._norm(gradients),
            self._norm(parameters),
            float(self.dead_units(layer).mean()) if is_relu else None,
            self._dead_channels(layer) if is_relu else (),
            self._nonfinite(layer),
        )

    def _norm(self, names: list[str]) -> float | None:
        return (
            math.hypot(*(float(np.linalg.norm(self[name].astype("f8"))) for name in names)) if names else None
        )

    def dead_units(self, layer: str) -> Array:
        """Return which units of a ReLU are 0 for every sample of the batch: bools, without the batch axis.

        Such a unit passes no gradient for this batch. Raises OptionError for a layer that is no ReLU.
        """
        output = self[layer]
        if not isinstance(self.graph.node(self._outputs[layer]).op, Relu):
            relus = [name for name, key in self._outputs.items() if isinstance(self.graph.node(key).op, Relu)]
            raise OptionError(f"{layer!r} is no ReLU", facts=[f"ReLUs: {', '.join(relus) or 'none'}"])
        return np.asarray((output == 0).all(axis=0))

    @property
    def dead_relus(self) -> dict[str, float]:
        """The share of dead units of every ReLU, by layer."""
        return {record.layer: record.dead for record in self.layers if record.dead is not None}

    def _dead_channels(self, layer: str) -> tuple[int, ...]:
        dead = self.dead_units(layer)
        return (
            tuple(map(int, np.flatnonzero(dead.reshape(-1, dead.shape[-1]).all(axis=0)))) if dead.ndim else ()
        )

    def _nonfinite(self, layer: str) -> int:
        values = [
            v for k, node in self.graph.items() if node.origin.layer == layer for v in self.graph.results(k)
        ]
        return sum(int((~np.isfinite(self._results[v])).sum()) for v in values if v.type.is_float)

    @cached
    def first_nonfinite(self) -> NonFinite | None:
        """The first node that produced NaN or infinity, forward or backward; None where all is finite.

        Inputs, parameters and targets are looked at as well.
        """
        return first_nonfinite(self.graph, self._results)

    # Images

    def feature_maps(self, layer: str, sample: int = 0, *, columns: int | None = None) -> ImageGrid:
        """Return what a layer made of one sample as a grid of images, one for each channel.

        Raises OptionError for a layer without feature maps, and for a sample that the batch does not have.
        """
        output = self[layer]
        if output.ndim != 4:
            raise OptionError(
                f"{layer!r} has no feature maps: its output is {list(output.shape)}",
                facts=[f"layers with [N, H, W, C]: {', '.join(self._layers_with_maps()) or 'none'}"],
            )
        if not -len(output) <= sample < len(output):
            raise OptionError(f"there is no sample {sample} in a batch of {len(output)}")
        return feature_map_grid(f"{layer}, sample {sample}", output[sample], columns)

    def _layers_with_maps(self) -> list[str]:
        return [layer for layer, key in self._outputs.items() if self.values[key].ndim == 4]

    def filters(self, layer: str, *, columns: int | None = None, gradient: bool = False) -> ImageGrid:
        """Return the filters of a layer as a grid of images, or with `gradient` the gradient of them.

        There is an image for each filter that sees one channel or the colours of the network's input; for
        others a row, with an image for each channel.
        Raises OptionError for a layer without filters.
        """
        name = f"{layer}.filters"
        if name not in self.graph.inputs:
            found = [
                label.removesuffix(".filters") for label in self.graph.inputs if label.endswith(".filters")
            ]
            raise OptionError(
                f"{layer!r} has no filters", facts=[f"layers that do: {', '.join(found) or 'none'}"]
            )
        shown = self.gradient(name) if gradient else self[name]
        is_colour = shown.shape[2] == 3 and self._sees_the_input(name)
        return filter_grid(GRADIENT.format(name) if gradient else name, shown, columns, is_colour=is_colour)

    def _sees_the_input(self, filters: str) -> bool:
        users = [self.graph.node(key) for key in self.graph.users(self.graph.inputs[filters])]
        images = [self.graph.node(user.operands[0].key).op for user in users]
        return any(isinstance(op, Input) and op.role == "data" for op in images)

    def write_images(self, folder: str | PathLike[str]) -> list[Path]:
        """Write the filters of all layers and the feature maps of the first sample as PNG; return the files.

        Raises OptionError where matplotlib is not installed, and OSError where a file cannot be written.
        """
        written = []
        names = [label for label in self.graph.inputs if label.endswith(".filters")]
        grids = [self.filters(name.removesuffix(".filters")) for name in names]
        grids += [self.feature_maps(layer) for layer in self._layers_with_maps()]
        for number, grid in enumerate(grids):
            path = Path(folder) / f"{number:03} {_file_name(grid.title)}.png"
            grid.save(path)
            written.append(path)
        return written

    # Display

    def table(self) -> Table:
        """Return a rich table with a row per layer."""
        from graphcnn.inspection.recording_table import recording_table

        return recording_table(self)

    def __rich__(self) -> Any:
        from graphcnn.inspection.recording_table import recording_display

        return recording_display(self)

    def __str__(self) -> str:
        from graphcnn.inspection.recording_table import recording_text

        return recording_text(self)

    def _repr_html_(self) -> str:
        return as_html(str(self))

    def __repr__(self) -> str:
        return f"<Recording of {visible(self.graph.name)}: {len(self.graph)} nodes, batch {self.batch}>"


def record(model: Model, x: object, y: object = None) -> Recording:
    """Return every value that the model computes for a batch; see `Model.inspect`."""
    graph = model.forward_graph if y is None else model.gradient_graph
    return record_graph(graph, model.state(), model.as_batch(x, y))


def record_graph(graph: Graph, state: Mapping[str, Array], inputs: Mapping[str, object]) -> Recording:
    """Return every value of a graph, computed by the reference backend."""
    found: dict[Value, Array] = {}

    def keep(key: int, operands: Sequence[Array], results: Sequence[Array]) -> bool:
        found.update(zip(graph.results(key), map(np.asarray, results), strict=True))
        return False

    # Results may be views of the inputs, which their owner may change later.
    given = {name: np.array(array) for name, array in with_state(graph, state, inputs).items()}
    with np.errstate(all="ignore"):
        observe(graph, keep, **given)
    sizes = [
        found[value].shape[value.type.shape.index(BATCH)]
        for value in graph.inputs.values()
        if value.type.has_batch
    ]
    return Recording(graph, found, next(iter(sizes), 1))


def _file_name(title: str) -> str:
    """Return the title with nothing in it that a file system or a shell could take for more than a letter."""
    return re.sub(r"[^\w .-]", "_", title)[:80]
