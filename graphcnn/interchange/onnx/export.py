"""From a graph to operators of ONNX: each node is written in its order; what nobody reads is dropped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Final

from graphcnn.arrays import Array
from graphcnn.errors import ExportError
from graphcnn.interchange.onnx.layouts import (
    CHANNELS_FIRST,
    CHANNELS_THEN_FILTERS,
    FILTERS_FIRST,
    Images,
    Layout,
    plain,
)
from graphcnn.interchange.onnx.table import EMITTERS
from graphcnn.interchange.onnx.writer import NotInOnnx, OnnxNode, Writer
from graphcnn.ir import BATCH, Graph, Input, Node, Op, TensorType, Value
from graphcnn.ops import Convolve2d, Correlate2d, Rot180, UserFunction

NEWER: Final = 18
"""The opset that has all that any op needs."""
NEXT: Final = ".next"
"""What follows the name of a state in the name of the output that replaces it."""


@dataclass(frozen=True, slots=True)
class Plug:
    """An input or output of the file. label: its name in the graph. type: that of the graph's value."""

    label: str
    name: str
    type: TensorType
    layout: Layout
    role: str = ""


@dataclass(frozen=True, slots=True)
class Written:
    """All of a file but the values of parameters: operators in order, known numbers, inputs and outputs.

    types: of the tensors that hold a value of the graph, by name.
    """

    nodes: list[OnnxNode]
    constants: dict[str, Array]
    inputs: list[Plug]
    outputs: list[Plug]
    types: dict[str, TensorType]
    opset: int


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is written.

    opset: of its operators. images: the order of the axes of images that go in and out. stored: values of
    inputs by name that the file holds. is_fixed: whether these are no inputs of the file, but a part of it.
    fold: whether batch norm is to be folded into the convolution before it.
    """

    opset: int
    images: Images = "NCHW"
    stored: Mapping[str, Array] = field(default_factory=dict)
    is_fixed: bool = False
    fold: bool = False


def written(graph: Graph, options: Options, gradients: Mapping[str, str] | None = None) -> Written:
    """Return a graph as operators of ONNX.

    gradients: the outputs that have the layout of an input, with its name.
    Raises ExportError, which lists every node that ONNX has no operators for.
    """
    layouts = _input_layouts(graph, options.images)
    known = options.stored if options.is_fixed else {}
    write = Writer(graph, options.opset, known, options.fold)
    for label, value in graph.inputs.items():
        write.put(value, label, layouts[label])
    _write_nodes(write)
    inputs = [
        Plug(label, label, value.type, layouts[label], graph.role(label))
        for label, value in graph.inputs.items()
    ]
    outputs = [
        Plug(label, label, value.type, _output_layout(label, value, layouts, options.images, gradients or {}))
        for label, value in graph.outputs.items()
    ]
    outputs += [
        Plug(label, label + NEXT, value.type, layouts[label]) for label, value in graph.updates.items()
    ]
    return _named(write, inputs, outputs, options)


# Layouts


def _input_layouts(graph: Graph, images: Images) -> dict[str, Layout]:
    """Return the layout of each input: filters and their optimiser's state as filters, batches as images."""
    filters = _filters(graph)
    layouts: dict[str, Layout] = {}
    for label, value in graph.inputs.items():
        of = max((name for name in filters if label.startswith(f"{name}.")), key=len, default=label)
        shape = value.type.shape
        if of in filters and graph.inputs[of].type == value.type:
            layouts[label] = filters[of]
        elif images == "NCHW" and len(shape) == 4 and shape[0] == BATCH and graph.role(label) == "data":
            layouts[label] = CHANNELS_FIRST
        else:
            layouts[label] = plain(len(shape))
    return layouts


def _filters(graph: Graph) -> dict[str, Layout]:
    """Return the inputs that convolutions take as filters, as they are or made of by elementwise ops.

    Filters that are rotated are those of ConvTranspose, which has them the other way round.
    """
    found: dict[str, Layout] = {}
    for _, node in graph.items():
        if not isinstance(node.op, Correlate2d | Convolve2d) or node.op.sum_over != "channels":
            continue
        window = graph.node(node.operands[1].key)
        is_turned = isinstance(window.op, Rot180) and node.op.groups == 1
        layout = CHANNELS_THEN_FILTERS if is_turned else FILTERS_FIRST
        for label in _made_of(graph, window.operands[0] if is_turned else node.operands[1]):
            found.setdefault(label, layout)
    return found


def _made_of(graph: Graph, value: Value) -> list[str]:
    """Return the inputs of a value's own type that it is made of."""
    found: list[str] = []
    seen: set[Value] = set()
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        node = graph.node(value.key)
        if isinstance(node.op, Input):
            found.append(node.op.label)
        else:
            waiting += [each for each in node.operands if each.type == value.type]
    return found


def _output_layout(
    label: str, value: Value, inputs: Mapping[str, Layout], images: Images, gradients: Mapping[str, str]
) -> Layout:
    if label in gradients:
        return inputs[gradients[label]]
    shape = value.type.shape
    is_image = len(shape) == 4 and shape[0] == BATCH
    return CHANNELS_FIRST if images == "NCHW" and is_image else plain(len(shape))


# Nodes


def _write_nodes(write: Writer) -> None:
    refused: list[str] = []
    unknown: list[type[Op]] = []
    for key, node in write.graph.items():
        if isinstance(node.op, Input):
            continue
        emit, results = EMITTERS.get(type(node.op)), write.graph.results(key)
        if emit is None:
            unknown.append(type(node.op))
        with write.on_behalf(node):
            try:
                if emit is None:
                    raise NotInOnnx("nothing says what it is in ONNX")
                emit(write, node, results)
            except NotInOnnx as reason:
                refused.append(f"{_place(node)}{_called(node)}: {reason}")
                for result in results:
                    write.put(result, "")
    if refused:
        mend = f"opset={NEWER}"
        if unknown:
            name = unknown[0].__name__
            mend = f"graphcnn.interchange.onnx.register({name}, emit), whose emit says what {name} is there"
        raise ExportError(
            f"{len(refused)} of {len(write.graph)} nodes have no operators in ONNX", facts=refused, mend=mend
        )


def _called(node: Node) -> str:
    return f"{node.op.name} {node.op.function.name}" if isinstance(node.op, UserFunction) else node.op.name


def _place(node: Node) -> str:
    origin = node.origin
    line = f"{PurePath(origin.file).name}:{origin.line}" if origin.file else ""
    where = f"{origin.layer} ({line})" if origin.layer and line else origin.layer or line
    return f"{where}: " if where else ""


# Names


def _named(write: Writer, inputs: list[Plug], outputs: list[Plug], options: Options) -> Written:
    """Return what the outputs need, under names that tell what it is."""
    names = _Names([plug.name for plug in (*inputs, *outputs)])
    roots = _roots(write, outputs, names)
    nodes = _needed(write.nodes, roots)
    read = {tensor for node in nodes for tensor in node.inputs}
    for tensor, known in write.constants.items():
        if tensor in read:
            names.give(tensor, known.path)
    titles = _Names([])
    for node in nodes:
        titles.give(node.outputs[0], node.path)
        for place, output in enumerate(node.outputs):
            names.give(output, f"{node.path}.{place}" if place else node.path)
    return Written(
        [names.applied(node, titles.of(node.outputs[0])) for node in nodes],
        {names.of(tensor): known.array for tensor, known in write.constants.items() if tensor in read},
        [plug for plug in inputs if not options.is_fixed or plug.role == "data" or plug.label in read],
        outputs,
        {names.of(tensor): type for tensor, type in write.types.items() if names.has(tensor)},
        write.opset,
    )


def _roots(write: Writer, outputs: list[Plug], names: _Names) -> list[str]:
    """Return the tensors that leave the graph, each under the name of its output."""
    roots = []
    values = [*write.graph.outputs.values(), *write.graph.updates.values()]
    for plug, value in zip(outputs, values, strict=True):
        with write.on_behalf(write.node_of(value)):
            tensor = write.tensor(value, plug.layout)
            if names.has(tensor) or tensor in write.graph.inputs or tensor in write.constants:
                tensor = write("Identity", tensor)
        names.fix(tensor, plug.name)
        roots.append(tensor)
    return roots


def _needed(nodes: list[OnnxNode], roots: list[str]) -> list[OnnxNode]:
    """Return the nodes that something which is needed reads, in their order."""
    needed, found = set(roots), []
    for node in reversed(nodes):
        if needed.intersection(node.outputs):
            needed.update(node.inputs)
            found.append(node)
    return found[::-1]


class _Names:
    """The names of tensors in the file. taken: those of inputs and outputs."""

    def __init__(self, taken: list[str]) -> None:
        self._taken = set(taken)
        self._names: dict[str, str] = {}

    def fix(self, tensor: str, name: str) -> None:
        self._names[tensor] = name

    def has(self, tensor: str) -> bool:
        return tensor in self._names

    def give(self, tensor: str, path: str) -> None:
        """Name a tensor by its path, with a number behind it where several have the same."""
        if tensor in self._names:
            return
        name, number = path, 1
        while name in self._taken:
            number += 1
            name = f"{path}.{number}"
        self._taken.add(name)
        self._names[tensor] = name

    def of(self, tensor: str) -> str:
        """Return the name in the file; that of an input is its own."""
        return self._names.get(tensor, tensor)

    def applied(self, node: OnnxNode, title: str) -> OnnxNode:
        """Return a node under its own name, and those of its tensors."""
        inputs, outputs = (tuple(map(self.of, each)) for each in (node.inputs, node.outputs))
        return replace(node, path=title, inputs=inputs, outputs=outputs)
