"""From a parsed model to a network: node by node, in the file's order, with what is in the way collected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, cast

import numpy as np

from graphcnn.arrays import Array
from graphcnn.dsl.builder import TARGET_SHARE
from graphcnn.dsl.network import OUTPUT, Input, Network
from graphcnn.dsl.tensor import Tensor
from graphcnn.errors import FileError, GraphcnnError, InterchangeError, OptionError, meant
from graphcnn.interchange.onnx.reading.file import STANDARD, ModelFile, require_onnx
from graphcnn.interchange.onnx.reading.folding import folded, is_random
from graphcnn.interchange.onnx.reading.functions import Body, body_of, require_bounded
from graphcnn.interchange.onnx.reading.merged import read_merged
from graphcnn.interchange.onnx.reading.names import Names
from graphcnn.interchange.onnx.reading.sample_places import SamplePlaces, read_places
from graphcnn.interchange.onnx.reading.signature import Place, Signature
from graphcnn.interchange.onnx.reading.step import Making, Step
from graphcnn.interchange.onnx.reading.table import (
    WITHOUT_AN_OP,
    Reading,
    UnknownYetError,
    WholeNumbersError,
    in_the_way,
    readings,
)
from graphcnn.interchange.onnx.reading.taking import MOST_RUNS
from graphcnn.interchange.onnx.reading.tensors import array_of
from graphcnn.interchange.onnx.reading.values import (
    Held,
    Known,
    Made,
    Merged,
    Order,
    Variable,
    channels_last,
)

MOST_STEPS: Final = 20_000
"""Nodes of the functions that are called, and of branches; those of the graph are in the file one by one."""
UNFIT: Final = (ArithmeticError, AttributeError, LookupError, MemoryError, TypeError, ValueError)
"""What code raises that is given other operands or attributes than the standard says."""
DEEPEST: Final = 16
"""Functions that call functions, and branches within branches."""


@dataclass(frozen=True, slots=True)
class Imported:
    """A network and, by the names in the file, where its inputs and outputs are in it.

    order: of the file's outputs, of which `constants` depend on no input. Where all are such, there is no
    network.
    """

    network: Network | None
    inputs: dict[str, tuple[str, Order]]
    outputs: dict[str, tuple[str, Order]]
    constants: dict[str, Array]
    order: tuple[str, ...]


class UnreadableError(InterchangeError):
    """A file with nodes that cannot be read. asked: inputs whose values are needed to read them."""

    asked: tuple[str, ...] = ()

    def asking(self, names: Sequence[str]) -> UnreadableError:
        """Set the names of these inputs; return the error."""
        self.asked = tuple(dict.fromkeys(names))
        return self


@dataclass(slots=True)
class _Scope:
    """The values that nodes can use: of the graph, or of a function that is called. None is in the way.

    used: names of values that a node or the caller takes; nobody misses others.
    """

    held: dict[str, Held | None]
    opsets: Mapping[str, int]
    used: Set[str]
    attributes: Mapping[str, Any] = field(default_factory=dict)


class Reader:
    """Reads one model."""

    def __init__(self, file: ModelFile, signature: Signature) -> None:
        self._file = file
        self._signature = signature
        self._readings = readings()
        self._functions = {(each.domain, each.name): each for each in file.model.functions}
        self._obstacles: dict[tuple[str, str], list[str]] = {}
        self._steps = 0
        self._inputs: dict[int, str] = {}
        self._asked: list[str] = []
        taken = {place.name for place in signature.inputs.values()} | {OUTPUT, "loss", TARGET_SHARE}
        self._making = Making(Names(taken), signature.batch, {}, {})

    def network(self, outputs: Sequence[str] | None = None) -> Imported:
        """Return the network. Raises FileError for a damaged file, InterchangeError for one in the way.

        outputs: values or nodes of the file that it ends with, by default the outputs of the file.
        """
        graph, folder = self._file.model.graph, self._file.folder
        require_bounded(self._functions, graph.node)
        if graph.sparse_initializer:
            raise InterchangeError(f"{self._file.title} has sparse initializers", mend="store them densely")
        names = [value.name for value in graph.output] if outputs is None else _chosen(graph, outputs)
        nodes = needed_nodes(graph, names)
        scope = _Scope({}, self._file.opsets, _used(nodes, names))
        for tensor in graph.initializer:
            _enter(scope, tensor.name, Known(array_of(tensor, folder), tensor.name))
        sources = {}
        for name, place in self._signature.inputs.items():
            order = self._order_of_input(name, place)
            shape = tuple(place.shape[axis] for axis in order)
            shape = shape[1:] if place.has_batch else shape
            sources[name] = Input(
                cast(tuple[int, ...], shape), place.name, dtype=place.dtype, batch=place.has_batch
            )
            variable = Variable.of(sources[name], order)
            self._inputs[id(variable)] = name
            _enter(scope, name, variable)
        for name, array in self._signature.values.items():
            _enter(scope, name, Known(array))
        self._read_all(nodes, scope)
        found = {name: scope.held.get(name) for name in names}
        if self._obstacles:
            raise self._error()
        for name, held in found.items():
            if held is None:
                raise FileError(f"the output {name!r:.80} is made by no node")
        return self._finished(sources, found)  # type: ignore[arg-type] # none is None

    def _order_of_input(self, name: str, place: Place) -> Order:
        """Return the order of an input's axes: channels last, unless the file itself transposes it first."""
        users = [node.op_type for node in self._file.model.graph.node if name in node.input]
        if len(place.shape) == 4 and (not users or set(users) != {"Transpose"}):
            return channels_last(4)
        if len(place.shape) == 3 and set(users) & _ON_SIGNALS:
            return channels_last(3)
        return tuple(range(len(place.shape)))

    def _finished(self, sources: dict[str, Tensor], found: dict[str, Held]) -> Imported:
        network_outputs, outputs, constants = {}, {}, {}
        names = Names({place.name for place in self._signature.inputs.values()} | {"loss", TARGET_SHARE})
        for name, held in found.items():
            if isinstance(held, Known):
                constants[name] = held.array
                continue
            order = _order_of_output(held)
            label = OUTPUT if len(found) == 1 else names.free(name)
            network_outputs[label], outputs[name] = held.at(order), (label, order)
        inputs = {
            name: (
                self._signature.inputs[name].name,
                self._order_of_input(name, self._signature.inputs[name]),
            )
            for name in sources
        }
        title = Names(set()).free(self._file.model.graph.name or "network")
        network = Network(list(sources.values()), network_outputs, name=title) if network_outputs else None
        return Imported(network, inputs, outputs, constants, tuple(found))

    # Nodes

    def _read_all(self, nodes: Sequence[Any], scope: _Scope, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise FileError(f"its functions or branches lie within each other more than {DEEPEST} deep")
        for node in nodes:
            self._steps += depth > 0
            if self._steps > MOST_STEPS:
                raise FileError(f"its functions and branches have more than {MOST_STEPS} nodes")
            for name in node.input:
                if name and name not in scope.held:
                    raise FileError(
                        f"{_title(node)} takes {name!r:.80}, which nothing before it makes: "
                        "its nodes are in a wrong order, or in a cycle"
                    )
            results = self._results(node, scope, depth)
            for name, result in zip(node.output, results, strict=False):
                if name:
                    _enter(scope, name, result)

    def _results(self, node: Any, scope: _Scope, depth: int) -> Sequence[Held | None]:
        """Return what a node makes; for one that is in the way, or behind such, nothing."""
        nothing: list[Held | None] = [None] * len(node.output)
        operands = [scope.held[name] if name else None for name in node.input]
        if any(operand is None for name, operand in zip(node.input, operands, strict=True) if name):
            if not self._is_readable(node, scope):
                self._note(node, in_the_way())
            return nothing
        try:
            results = self._read(node, operands, scope, depth)
        except FileError:
            raise
        except GraphcnnError as error:
            self._note(node, error)
            return nothing
        except UNFIT as error:
            said = f"{type(error).__name__}: {error!s:.200}"
            self._note(node, in_the_way(f"its operands or attributes are none that it can have ({said})"))
            return nothing
        return [*results, *nothing[len(results) :]]

    def _is_readable(self, node: Any, scope: _Scope) -> bool:
        is_known = node.domain in STANDARD and (node.op_type in self._readings or node.op_type == "If")
        return is_known or self._body(node, [], scope) is not None

    def _read(
        self, node: Any, operands: Sequence[Held | None], scope: _Scope, depth: int
    ) -> Sequence[Held | None]:
        attributes = _attributes(node, scope)
        if (node.domain, node.op_type) in self._functions:
            return self._call(node, operands, attributes, scope, depth)
        if node.domain not in STANDARD:
            raise in_the_way(f"it is of the domain {node.domain!r:.40}, not of the standard")
        version = scope.opsets[""]
        if node.op_type == "Constant":
            return [Known(_constant(attributes, self._file))]
        if node.op_type == "If":
            return self._branch(operands, attributes, scope, depth)
        reading = self._readings.get(node.op_type)
        constants = [operand for operand in operands if operand is not None]
        is_known = all(isinstance(operand, Known) for operand in constants)
        if is_known and not is_random(node) and not _takes_of_weight(node, operands):
            known = folded(node, operands, attributes, version)  # type: ignore[arg-type] # all are known
            if known is not None or reading is None:
                return known or []
        if reading is None:
            return self._call(node, operands, attributes, scope, depth)
        wanted = [name in scope.used for name in node.output]
        step = Step(node, version, operands, attributes, wanted, self._making)
        found = _reading_of(operands, reading)(step)
        results = found if isinstance(found, tuple) else (found,)
        if isinstance(results[0], Variable) and results[0].made is None:
            results[0].made = Made(node.op_type, tuple(operands), attributes)
        return results

    def _body(self, node: Any, operands: Sequence[Held | None], scope: _Scope) -> Body | None:
        own = self._functions.get((node.domain, node.op_type))
        return body_of(node, operands, scope.opsets, own)

    def _call(
        self,
        node: Any,
        operands: Sequence[Held | None],
        attributes: dict[str, Any],
        scope: _Scope,
        depth: int,
    ) -> Sequence[Held | None]:
        """Return what a function makes: one of the file's, or what the standard says that an operator is."""
        body = self._body(node, operands, scope)
        if body is None:
            raise in_the_way(WITHOUT_AN_OP)
        used = _used(body.nodes, body.outputs)
        inside = _Scope({"": None}, body.opsets, used, {**body.defaults, **attributes})
        for name, operand in zip(body.inputs, [*operands, *[None] * len(body.inputs)], strict=False):
            inside.held[name] = operand
        before = set(self._obstacles)
        missing = {name for name, held in inside.held.items() if held is None}
        self._read_all([_without(each, missing) for each in body.nodes], inside, depth + 1)
        for found in set(self._obstacles) - before:
            self._obstacles[found] = [f"within {_title(node)}"]
        return [inside.held.get(name) for name in body.outputs]

    def _branch(
        self, operands: Sequence[Held | None], attributes: dict[str, Any], scope: _Scope, depth: int
    ) -> Sequence[Held | None]:
        """Return what the branch makes that a known condition chooses."""
        (condition,) = operands
        if not isinstance(condition, Known):
            raise UnknownYetError(condition, "condition")  # type: ignore[arg-type] # it is not missing
        chosen = attributes["then_branch" if condition.array.reshape(-1)[0] else "else_branch"]
        used = _used(chosen.node, [value.name for value in chosen.output])
        inside = _Scope(dict(scope.held), scope.opsets, used, scope.attributes)
        for tensor in chosen.initializer:
            inside.held[tensor.name] = Known(array_of(tensor, self._file.folder), tensor.name)
        self._read_all(chosen.node, inside, depth + 1)
        return [inside.held.get(value.name) for value in chosen.output]

    # What is in the way

    def _note(self, node: Any, error: GraphcnnError) -> None:
        domain = "" if node.domain in STANDARD else f"{node.domain}."
        reason = " ".join([error.problem, *error.facts])
        if isinstance(error, UnknownYetError | WholeNumbersError):
            self._asked += [self._inputs[id(each)] for each in error.operands if id(each) in self._inputs]
        self._obstacles.setdefault((f"{domain}{node.op_type}", reason), []).append(_title(node))

    def _error(self) -> InterchangeError:
        facts = []
        for (operator, reason), nodes in self._obstacles.items():
            shown = ", ".join(dict.fromkeys(nodes[:4])) + (
                f" and {len(nodes) - 4} more" if len(nodes) > 4 else ""
            )
            facts.append(f"{operator} ({shown}): {reason}")
        problem = f"{self._file.title} has nodes that graphcnn cannot read"
        return UnreadableError(problem, facts=facts, mend=self._mend()).asking(self._asked)

    def _mend(self) -> str:
        if self._asked:
            return f"gcn.from_onnx(..., values={{{self._asked[0]!r:.80}: array}}), where that never changes"
        if self._signature.batch is not None:
            return (
                f"gcn.from_onnx(..., batch=False) keeps the {self._signature.batch} samples of the file, "
                "if that is in the way; or export the network without these operators"
            )
        return "export the network without these operators, for example only up to them"


def _takes_of_weight(node: Any, operands: Sequence[Held | None]) -> bool:
    """Whether a node picks rows of a weight, which are trained as such: what is picked twice stays one."""
    if node.op_type != "Gather" or not all(isinstance(each, Known) for each in operands):
        return False
    table, places = cast("list[Known]", operands)
    is_weight = bool(table.name) and table.array.dtype.kind == "f" and table.rank > 0
    return is_weight and places.array.size <= MOST_RUNS


def _reading_of(operands: Sequence[Held | None], reading: Reading) -> Reading:
    """Return what reads a node of these operands."""
    if any(isinstance(operand, SamplePlaces) for operand in operands):
        return read_places
    if any(isinstance(operand, Merged) for operand in operands):
        return partial(read_merged, reading=reading)
    return reading


_ON_SIGNALS: Final = {
    *("Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool"),
    *("BatchNormalization", "InstanceNormalization"),
}


def _order_of_output(held: Variable) -> Order:
    """Return the order in which a value leaves the network: channels last, where nothing moves for it."""
    is_vector = sum(size != 1 for size in held.shape[1:]) < 2
    return channels_last(4) if held.rank == 4 and is_vector else held.any_order


def _chosen(graph: Any, outputs: Sequence[str]) -> list[str]:
    """Return the values of these names, or that nodes of these names make."""
    values = {name for node in graph.node for name in node.output if name}
    of_nodes = {node.name: node.output[0] for node in graph.node if node.name and node.output}
    chosen = [outputs] if isinstance(outputs, str) else list(outputs)
    for name in chosen:
        if name not in values and name not in of_nodes:
            last = [node.name or node.output[0] for node in graph.node[-5:] if node.output]
            raise OptionError(
                f"outputs={name!r:.80} is neither a value nor a node of the file",
                facts=[f"the last nodes: {', '.join(last)[:400]}"],
                mend=meant(name, [*values, *of_nodes], f"outputs=[{last[0]!r:.80}]"),
            )
    return [name if name in values else of_nodes[name] for name in chosen]


def needed_nodes(graph: Any, outputs: Sequence[str]) -> list[Any]:
    """Return the nodes that values depend on, in the file's order."""
    needed = set(outputs)
    kept = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_taken(node))
    return kept[::-1]


def _used(nodes: Sequence[Any], outputs: Sequence[str]) -> set[str]:
    return {name for node in nodes for name in _taken(node)} | set(outputs)


def _taken(node: Any) -> Iterator[str]:
    """Yield the names that a node takes, and that the nodes of its branches do."""
    within = [node]
    while within:
        each = within.pop()
        yield from each.input
        within += [
            inner for attribute in each.attribute if attribute.HasField("g") for inner in attribute.g.node
        ]


def _enter(scope: _Scope, name: str, held: Held | None) -> None:
    if name in scope.held and name:
        raise FileError(f"two nodes or inputs make {name!r:.80}")
    scope.held[name] = held


def _title(node: Any) -> str:
    return (
        repr(node.name)[:80]
        if node.name
        else f"the {node.op_type} that makes {next(iter(node.output), '')!r:.60}"
    )


def _attributes(node: Any, scope: _Scope) -> dict[str, Any]:
    return dict(_each_attribute(node, scope))


def _each_attribute(node: Any, scope: _Scope) -> Iterator[tuple[str, Any]]:
    onnx = require_onnx()
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in scope.attributes:
                yield attribute.name, scope.attributes[attribute.ref_attr_name]
            continue
        try:
            value = onnx.helper.get_attribute_value(attribute)
        except ValueError as error:
            raise FileError(
                f"the attribute {attribute.name!r:.60} of {_title(node)}: {error!s:.100}"
            ) from None
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        elif isinstance(value, float):
            value = float(str(np.float32(value)))  # 0.001 as it was meant: a file has it in float32
        elif attribute.type == onnx.AttributeProto.STRINGS:
            value = [each.decode(errors="replace") for each in value]
        elif not isinstance(value, int | float) and attribute.type in (
            onnx.AttributeProto.INTS,
            onnx.AttributeProto.FLOATS,
        ):
            value = list(value)
        yield attribute.name, value


def _constant(attributes: dict[str, Any], file: ModelFile) -> Array:
    """Return what a node Constant holds."""
    if "value" in attributes:
        return array_of(attributes["value"], file.folder)
    for name, dtype in (("value_float", np.float32), ("value_int", np.int64)):
        for each in (name, f"{name}s"):
            if each in attributes:
                return np.array(attributes[each], dtype)
    raise in_the_way("it holds no numbers")


def _without(node: Any, missing: set[str]) -> Any:
    """Return a node of a function without the operands that its caller has left out."""
    if not missing.intersection(node.input):
        return node
    copy = type(node)()
    copy.CopyFrom(node)
    kept = ["" if name in missing else name for name in node.input]
    while kept and not kept[-1]:
        kept.pop()
    copy.ClearField("input")
    copy.input.extend(kept)
    return copy
