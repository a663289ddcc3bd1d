"""The dataflow graph: append-only, typed, and to be read as one `networkx.MultiDiGraph`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Final, Literal, Self, TypeAlias, get_args

from graphcnn.arguments import known_arguments
from graphcnn.displays import display
from graphcnn.errors import GraphcnnError, GraphError
from graphcnn.ir.arithmetic import Emitted
from graphcnn.ir.op import Cost, Op, require_op
from graphcnn.ir.types import BATCH, TensorType
from graphcnn.origin import Origin
from graphcnn.sample_keys import SAMPLE_KEY
from graphcnn.visible import visible

if TYPE_CHECKING:
    import networkx

Role: TypeAlias = Literal["data", "parameter", "frozen", "state", "setting", "sample"]
"""What feeds an input: a batch, a trained parameter, one that training leaves alone, other state of the
training, a setting such as the learning rate, or the keys of a batch's samples (`graphcnn.sample_keys`)."""

SAMPLE_KEYS: Final = TensorType((BATCH,), "int64")
"""The type of the input with the role "sample", whose name is `sample_key`."""


@dataclass(frozen=True, slots=True)
class Input(Op):
    """A tensor that the caller supplies by name."""

    label: str
    type: TensorType
    role: Role = "data"

    name: ClassVar[str] = "input"
    equation: ClassVar[str] = "x"
    arity: ClassVar[int] = 0
    formula: ClassVar[str] = "$y"

    def __post_init__(self) -> None:
        if not isinstance(self.label, str):
            raise GraphError(f"the label of an input is a string, not {self.label!r}")
        if self.role not in get_args(Role):
            raise GraphError(f"input {self.label!r} has the unknown role {self.role!r}")
        if self.role == "sample" and (self.label, self.type) != (SAMPLE_KEY, SAMPLE_KEYS):
            raise GraphError(
                f"the keys of samples are {SAMPLE_KEY!r}, {SAMPLE_KEYS}, not {self.label!r}, {self.type}"
            )

    def result_types(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return (self.type,)

    def cost(self, operands: Sequence[TensorType], results: Sequence[TensorType], batch: int) -> Cost:
        return Cost(0, 0)


class Identity:
    """Which graph a value belongs to: an object that is no other, and that does not keep the graph alive."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


@dataclass(frozen=True, slots=True)
class Value(Emitted):
    """One result of one node: the node's key, the result's index, and its type.

    owner: tells which graph it belongs to (`Graph.require` compares it). Values of different graphs are equal
    where key, index and type are, so that graphs can be compared. A value made by hand has no owner.
    """

    key: int
    index: int
    type: TensorType = field(hash=False)  # where a value is found, its key nearly always decides
    owner: Identity | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation applied to operands. Its `operands` are the truth; the graph's edges follow from it.

    counted: the node whose FLOPs are this one's, where it is not the node itself (`Op.counted_as`).
    """

    op: Op
    operands: tuple[Value, ...]
    types: tuple[TensorType, ...]
    origin: Origin = field(default_factory=Origin)
    counted: Node | None = field(default=None, compare=False, repr=False)

    @property
    def operands_read(self) -> tuple[Value, ...]:
        """The operands whose elements are needed; of the others it is the shape alone."""
        alone = self.op.shape_operands
        if not alone:
            return self.operands
        return tuple(operand for place, operand in enumerate(self.operands) if place not in alone)

    @property
    def is_by_sample(self) -> bool:
        """Whether the results have samples [N, ...], each of which depends on the operands' one alone."""
        return self.op.is_by_sample([operand.type for operand in self.operands_read], self.types)

    @property
    def sums_samples(self) -> bool:
        """Whether the results are a sum over the samples [N, ...] of the operands, or are made of one."""
        return self.op.sums_samples([operand.type for operand in self.operands])

    def cost(self, batch: int) -> Cost:
        """Return FLOPs and bytes at this batch size."""
        cost = self.op.cost([operand.type for operand in self.operands], self.types, batch)
        return cost if self.counted is None else Cost(self.counted.cost(batch).flops, cost.bytes)


class Graph:
    """A typed dataflow graph with named inputs, outputs and state updates.

    Nodes are only ever appended (`add`), and their operands must exist already: creation order is
    therefore a valid schedule and no cycle can be built. Keys are creation integers. State is an input
    with the role "parameter" or "state", paired in `updates` with the value that replaces it.

    Values belong to their graph, and a value of another one is refused. A copy also takes the values that
    the original had when it was copied: their keys are the same.
    """

    def __init__(self, name: str = "graph") -> None:
        self.name = name
        self._nodes: dict[int, Node] = {}
        self._results: dict[int, tuple[Value, ...]] = {}
        self._inputs: dict[str, Value] = {}
        self._outputs: dict[str, Value] = {}
        self._updates: dict[str, Value] = {}
        self._identity = Identity()
        self._copied: dict[Identity, int] = {}
        self._nx: networkx.MultiDiGraph | None = None
        self._readers: dict[int, list[tuple[int, int]]] = {}
        self._read = 0

    # Building

    def add(self, op: Op, *operands: Value, origin: Origin | None = None) -> Value:
        """Append a node and return its first result. Raises ShapeError where the operands do not fit."""
        return self.add_all(op, *operands, origin=origin)[0]

    def add_all(self, op: Op, *operands: Value, origin: Origin | None = None) -> tuple[Value, ...]:
        """Append a node and return all of its results."""
        origin = origin or Origin()
        require_op(op)
        operands = tuple(self.require(operand, f"operand of {op.name}") for operand in operands)
        if len(operands) != op.arity >= 0:
            raise GraphError(f"{op.name} takes {op.arity} operands, not {len(operands)}")
        try:
            types = op.result_types(*(operand.type for operand in operands))
            _check_types(op, types)
        except GraphcnnError as error:
            raise error.located(layer=origin.layer, file=origin.file, line=origin.line) from None
        return self._append(Node(op, operands, types, origin))

    def add_like(self, node: Node, operands: tuple[Value, ...], origin: Origin) -> tuple[Value, ...]:
        """Append a node like one of another graph, on operands of the same types: its own are known."""
        if [operand.type for operand in operands] != [operand.type for operand in node.operands]:
            return self.add_all(node.op, *operands, origin=origin)
        operands = tuple([self.require(operand, "operand") for operand in operands])
        return self._append(Node(node.op, operands, node.types, origin))

    def _append(self, node: Node) -> tuple[Value, ...]:
        op, nodes, forward = node.op, self._nodes, node.origin.forward
        if isinstance(op, Input) and op.label in self._inputs:
            raise GraphError(f"there is an input {op.label!r} already")
        counted = op.counted_as(
            node,
            [nodes[operand.key] for operand in node.operands],
            None if forward is None else nodes.get(forward),
        )
        if counted is not None:
            node = replace(node, counted=counted)
        key, identity = len(nodes), self._identity
        results = tuple([Value(key, index, type, identity) for index, type in enumerate(node.types)])
        nodes[key], self._results[key] = node, results
        if self._nx is not None:
            _link(self._nx, key, node)
        if isinstance(op, Input):
            self._inputs[op.label] = results[0]
        return results

    def input(
        self, label: str, type: TensorType, *, role: Role = "data", origin: Origin | None = None
    ) -> Value:
        """Append a named input and return it."""
        return self.add(Input(label, type, role), origin=origin)

    def output(self, label: str, value: Value) -> None:
        """Name a value as an output of the graph."""
        value = self.require(value, f"output {label!r}")
        if label in self._outputs:
            raise GraphError(f"there is an output {label!r} already")
        self._outputs[label] = value

    def update(self, label: str, value: Value) -> None:
        """Pair the state input `label` with the value that replaces it after a step."""
        value = self.require(value, f"update of {label!r}")
        state = self._inputs.get(label)
        if state is None or self.role(label) not in ("parameter", "state"):
            raise GraphError(f"update of {label!r}: there is no parameter or state input of this name")
        if state.type != value.type:
            raise GraphError(f"update of {label!r}: it has type {state.type}, its replacement {value.type}")
        if label in self._updates:
            raise GraphError(f"there is an update of {label!r} already")
        self._updates[label] = value

    def redirect(self, label: str, value: Value) -> None:
        """Pair a state that has a replacement already with another one, which may be made of the first."""
        if label not in self._updates:
            raise GraphError(f"{label!r} has no update that another could take the place of")
        kept = self._updates.pop(label)
        try:
            self.update(label, value)
        except GraphcnnError:
            self._updates[label] = kept
            raise

    # Reading

    @property
    def nx(self) -> networkx.MultiDiGraph:
        """The graph in networkx, for reading: node attribute `node`, edges keyed by operand position.

        It is made when it is first asked for, and grows with the graph from then on.
        """
        if self._nx is None:
            import networkx

            self._nx = networkx.MultiDiGraph()
            for key, node in self._nodes.items():
                _link(self._nx, key, node)
        return self._nx

    @property
    def has_nx(self) -> bool:
        """Whether the graph is in networkx already, where it may have been changed by mistake."""
        return self._nx is not None

    @property
    def inputs(self) -> Mapping[str, Value]:
        return MappingProxyType(self._inputs)

    @property
    def outputs(self) -> Mapping[str, Value]:
        return MappingProxyType(self._outputs)

    @property
    def updates(self) -> Mapping[str, Value]:
        return MappingProxyType(self._updates)

    def role(self, label: str) -> Role:
        """Return the role of the input of this name."""
        op = self._nodes[self._inputs[label].key].op
        assert isinstance(op, Input)
        return op.role

    def inputs_with_role(self, *roles: Role) -> dict[str, Value]:
        """Return the inputs of these roles, in creation order."""
        return {label: value for label, value in self._inputs.items() if self.role(label) in roles}

    def node(self, key: int) -> Node:
        return self._nodes[key]

    def results(self, key: int) -> tuple[Value, ...]:
        """Return the values that a node computes."""
        return self._results[key]

    def items(self) -> Iterator[tuple[int, Node]]:
        """Yield every key and node, in an order in which they can be computed."""
        return iter(self._nodes.items())

    def users(self, value: Value) -> list[int]:
        """Return the keys of the nodes that take this value as an operand."""
        value = self.require(value, "users")
        for key in range(self._read, len(self._nodes)):
            for operand in self._nodes[key].operands:
                self._readers.setdefault(operand.key, []).append((operand.index, key))
        self._read = len(self._nodes)
        return sorted({user for index, user in self._readers.get(value.key, ()) if index == value.index})

    def roots(self) -> tuple[Value, ...]:
        """Return the values that leave the graph: outputs, then updates."""
        return (*self._outputs.values(), *self._updates.values())

    def cost(self, batch: int = 1) -> Cost:
        """Return FLOPs and bytes of the whole graph at this batch size."""
        return sum((node.cost(batch) for node in self._nodes.values()), Cost(0, 0))

    def __len__(self) -> int:
        return len(self._nodes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Graph):
            return NotImplemented
        return (
            self.name == other.name
            and self._nodes == other._nodes
            and list(self._outputs.items()) == list(other._outputs.items())
            and list(self._updates.items()) == list(other._updates.items())
        )

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        from graphcnn.ir.text import format_graph

        return format_graph(self)

    def __repr__(self) -> str:
        inputs = ", ".join(f"{k}: {v.type}" for k, v in self.inputs_with_role("data").items())
        outputs = ", ".join(f"{k}: {v.type}" for k, v in self._outputs.items())
        return visible(f"<Graph {self.name}: {len(self)} nodes, ({inputs}) -> ({outputs})>")

    @known_arguments
    def show(
        self,
        path: str | PathLike[str] | None = None,
        *,
        against: Graph | None = None,
        batch_size: int = 1,
        open: bool = True,
    ) -> Path:
        """Write the graph as one HTML page, open it in the browser, and return its path.

        path: the file to write, atomically; by default one in a new folder for temporary files.
        against: another graph, to show both side by side, with what it removes, adds and changes in colour.
        batch_size: samples that FLOPs, bytes and memory are given for. open: whether to open the page; in a
        notebook it is displayed there instead.

        Raises GraphError for a graph that is empty or breaks the rules of `verify`, OptionError for a path
        that cannot be one, and OSError where the file cannot be written.
        """
        written: Path = display("show_graph")(self, path, against=against, batch_size=batch_size, open=open)
        return written

    def _repr_svg_(self) -> str | None:
        """Return the graph as a picture, for notebooks; an empty graph has none."""
        return display("graph_svg")(self) if len(self) else None

    def _repr_html_(self) -> str | None:
        """Return the picture under a line that says what it is, for notebooks."""
        return display("graph_html")(self) if len(self) else None

    # Making another graph out of this one

    def copy(
        self,
        name: str | None = None,
        *,
        outputs: bool = True,
        updates: bool = True,
        origin: Callable[[Origin], Origin] | None = None,
    ) -> Graph:
        """Return a graph with the same nodes and keys, to which more nodes can be added.

        outputs, updates: whether it has those as well. origin: returns what becomes of a node's origin.
        """
        from graphcnn.ir.rebuild import Rebuild

        rebuild = Rebuild(self, name)
        for key, node in self._nodes.items():
            rebuild.copy(key, node.origin if origin is None else origin(node.origin))
        rebuild.name_roots(outputs=outputs, updates=updates)
        copy = rebuild.result
        copy._copied = self._copied | {self._identity: len(self)}
        return copy

    def __copy__(self) -> Graph:
        return self.copy()

    def __deepcopy__(self, memo: object) -> Graph:
        return self.copy()

    def require(self, value: Value, what: str = "value") -> Value:
        """Return a value as one of this graph's own. Raises GraphError for what is a value of another graph.

        what: what the value is for, as the error says it.
        """
        if not isinstance(value, Value):
            raise GraphError(f"{what}: {value!r} is not a value of a graph")
        results = self._results.get(value.key, ())
        if 0 <= value.index < len(results) and results[value.index] is value:
            return value
        is_own = value.owner is self._identity
        if not is_own and value.owner is not None and value.key >= self._copied.get(value.owner, 0):
            raise GraphError(
                f"{what}: %{value.key} of type {value.type} is a value of another graph than {self.name!r}",
                facts=["a graph that was simplified, parsed or loaded has values of its own"],
                mend=f"take it from this graph: {_PLACES}",
            )
        if not 0 <= value.index < len(results) or results[value.index] != value:
            raise GraphError(
                f"{what}: %{value.key} of type {value.type} is not in graph {self.name!r}",
                mend=f"take it from this graph: {_PLACES}",
            )
        return results[value.index]


def _check_types(op: Op, types: object) -> None:
    """Raise GraphError for a shape rule that returned anything but types."""
    if isinstance(types, tuple) and types and all(isinstance(type, TensorType) for type in types):
        return
    raise GraphError(
        f"the shape rule of {op.name} returned {types!r:.100}",
        mend="return a tuple with the TensorType of each result",
    )


def _link(nx: networkx.MultiDiGraph, key: int, node: Node) -> None:
    nx.add_node(key, node=node)
    for position, operand in enumerate(node.operands):
        nx.add_edge(operand.key, key, key=position, result=operand.index)


_PLACES: Final = "graph.inputs[name], graph.outputs[name] or graph.results(key)[0]"


@dataclass(frozen=True, slots=True)
class Emitter:
    """Appends nodes to a graph on behalf of one origin: `emit(Add(), a, b)`."""

    graph: Graph
    origin: Origin = field(default_factory=Origin)

    def __call__(self, op: Op, *operands: Value) -> Value:
        return self.graph.add(op, *operands, origin=self.origin)

    def all(self, op: Op, *operands: Value) -> tuple[Value, ...]:
        """Append a node and return all of its results."""
        return self.graph.add_all(op, *operands, origin=self.origin)

    def by(self, rule: str) -> Self:
        """Return an emitter whose nodes name this rule or equation as their maker."""
        return replace(self, origin=replace(self.origin, rule=rule))


def batch_inputs(graph: Graph) -> list[str]:
    """Return the names of the inputs that tell the batch size at run time."""
    return [label for label, value in graph.inputs.items() if BATCH in value.type.shape]
