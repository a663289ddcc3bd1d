"""What emitters write with: nodes of ONNX, and for each value of the graph the tensors that hold it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.interchange.onnx.layouts import (
    CHANNELS_FIRST,
    CHANNELS_THEN_FILTERS,
    FILTERS_FIRST,
    Layout,
    between,
    keeps_order,
    plain,
    turned,
)
from graphcnn.ir import BATCH, Dim, DType, Graph, Input, Node, TensorType, Value
from graphcnn.ops import Broadcast, Constant

if TYPE_CHECKING:
    from collections.abc import Iterator


class NotInOnnx(Exception):  # noqa: N818 - a verdict on a node, which `export` collects
    """A node that ONNX has no operators for; the message says why."""


@dataclass(frozen=True, slots=True)
class OnnxNode:
    """One operator, under names that the file will not have. source: the graph's node that it is written for.

    path: where it stands in words, such as `conv1/gradient/Conv`.
    """

    path: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    source: Node


@dataclass(frozen=True, slots=True)
class Known:
    """Numbers that the file holds. path: what they are, in words."""

    path: str
    array: Array


@dataclass
class Writer:
    """The nodes that are written so far, in an order in which they can be computed.

    A value may be held by several tensors, each in a layout of its own. Asked for one that is not there, the
    writer transposes, once. A value that `Broadcast` makes is held by what was there before, which ONNX
    repeats itself wherever operands meet element by element.

    opset: of the file. stored: arrays of parameters and states by their names, as far as they are known and
    fixed, so that some can be folded into others. fold: whether they are to be.
    """

    graph: Graph
    opset: int
    stored: Mapping[str, Array] = field(default_factory=dict)
    fold: bool = False
    nodes: list[OnnxNode] = field(default_factory=list)
    constants: dict[str, Known] = field(default_factory=dict)
    types: dict[str, TensorType] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tensors: dict[Value, dict[Layout, str]] = {}
        self._count = 0
        self._notes: dict[Value, str] = {}
        self._known: dict[tuple[object, ...], str] = {}
        self._source: Node | None = None

    # Writing nodes

    @contextmanager
    def on_behalf(self, node: Node) -> Iterator[None]:
        """Let what is written meanwhile belong to a node of the graph."""
        before, self._source = self._source, node
        yield
        self._source = before

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Write an operator, and return the name of its output."""
        return self.all(kind, *inputs, outputs=1, **attributes)[0]

    def all(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> tuple[str, ...]:
        """Write an operator, and return the names of so many outputs."""
        assert self._source is not None
        path = self._path(kind)
        results = tuple(self._unused() for _ in range(outputs))
        self.nodes.append(OnnxNode(path, kind, inputs, results, attributes, self._source))
        return results

    def _unused(self) -> str:
        """Return a name that no tensor has, and no input."""
        self._count += 1
        name = f"\0{self._count}"
        return self._unused() if name in self.graph.inputs else name

    def _path(self, kind: str) -> str:
        """Return where a node stands in words: its layer, `gradient` or what updates it, its operator."""
        assert self._source is not None
        origin = self._source.origin
        part = ""
        if origin.forward is not None:
            is_update = isinstance(self.graph.node(origin.forward).op, Input)
            part = re.sub(r"\W+", "_", origin.rule).strip("_") if is_update else "gradient"
        return "/".join(filter(None, (origin.layer, part, kind)))

    def require_opset(self, opset: int, what: str) -> None:
        """Raise NotInOnnx for a file of an older opset than what is to be written needs."""
        if self.opset < opset:
            raise NotInOnnx(f"{what} needs opset {opset}, and the file is of opset {self.opset}")

    # Values and the tensors that hold them

    def put(self, value: Value, tensor: str, layout: Layout | None = None) -> None:
        """Say which tensor holds a value, in the graph's order of axes or another layout."""
        layout = plain(value.type.rank) if layout is None else layout
        self._tensors.setdefault(value, {}).setdefault(layout, tensor)
        self.types.setdefault(tensor, value.type.with_shape(turned(value.type.shape, layout)))

    def note(self, value: Value, tensor: str) -> None:
        """Keep what else is known of a value, for those who read it."""
        self._notes[value] = tensor

    def noted(self, value: Value) -> str | None:
        """Return what `note` was given."""
        return self._notes.get(value)

    def node_of(self, value: Value) -> Node:
        """Return the node that computes a value."""
        return self.graph.node(value.key)

    def is_read_once(self, value: Value) -> bool:
        """Return whether a single node reads a value, and nothing outside of the graph does."""
        readers = self.graph.users(value)
        return len(readers) == 1 and value not in self.graph.roots()

    def constant_of(self, value: Value) -> float | None:
        """Return the number that a value is known to be."""
        op = self.node_of(value).op
        return op.value if isinstance(op, Constant) else None

    def layouts(self, value: Value) -> list[Layout]:
        """Return the layouts in which a value is held already, the first one first; of a spread one, none."""
        return [*self._tensors.get(value, ())]

    def is_spread(self, value: Value) -> bool:
        """Return whether a value is what `Broadcast` makes of a smaller one, and is not written out yet."""
        return value not in self._tensors and isinstance(self.node_of(value).op, Broadcast)

    def layout(self, *values: Value) -> Layout:
        """Return the layout in which values of one rank are had with the fewest transpositions.

        Of equally good ones, the one in which convolutions are.
        """
        rank = max(value.type.rank for value in values)
        held = [self.layouts(value) for value in values if value.type.rank == rank and self.layouts(value)]
        candidates = dict.fromkeys(layout for each in held for layout in each)
        own = plain(rank)
        usual = (CHANNELS_FIRST, FILTERS_FIRST, CHANNELS_THEN_FILTERS, own)
        return min(
            candidates,
            key=lambda layout: (
                sum(layout not in each for each in held),
                usual.index(layout) if layout in usual else len(usual),
            ),
            default=own,
        )

    def tensor(self, value: Value, layout: Layout | None = None) -> str:
        """Return the tensor that holds a value in a layout, by default in the graph's order of axes."""
        layout = plain(value.type.rank) if layout is None else layout
        held = self._tensors.get(value, {})
        if layout in held:
            return held[layout]
        if held:
            have, tensor = next(iter(held.items()))
            self.put(value, self("Transpose", tensor, perm=between(have, layout)), layout)
        else:
            shape = self.shape(turned(value.type.shape, layout))
            self.put(value, self("Expand", self.operand(value, layout), shape), layout)
        return self._tensors[value][layout]

    def operand(self, value: Value, layout: Layout) -> str:
        """Return a tensor for an operator that works element by element: a spread value as it was before.

        layout: of the operands that have their full rank.
        """
        if not self.is_spread(value):
            return self.tensor(value, layout if value.type.rank == len(layout) else None)
        source = value
        while self.is_spread(source):
            (source,) = self.node_of(source).operands
        rank, own = len(layout), source.type.shape
        if not own or layout == plain(rank):
            return self.tensor(source)
        if source.type.rank == rank:
            return self.tensor(source, layout)
        shape = (*(1,) * (rank - source.type.rank), *own)
        known = ("spread", source, layout)
        if known not in self._known:
            if keeps_order(shape, layout):
                self._known[known] = self.reshaped(self.tensor(source), turned(shape, layout))
            else:
                full = self.reshaped(self.tensor(source), shape)
                self._known[known] = self("Transpose", full, perm=list(layout))
        return self._known[known]

    def operands(self, values: Iterable[Value], layout: Layout) -> list[str]:
        """Return `operand` of each value; where all are spread, the first is written out."""
        values = list(values)
        full = [value for value in values if value.type.rank == len(layout)]
        if layout and all(self.is_spread(value) for value in full):
            self.tensor(full[0], layout)
        return [self.operand(value, layout) for value in values]

    def in_order(self, value: Value) -> str:
        """Return a tensor whose elements stand in the graph's order, whatever its axes of size 1 do."""
        for layout, tensor in self._tensors.get(value, {}).items():
            if keeps_order(value.type.shape, layout):
                return tensor
        return self.tensor(value)

    # Constants and shapes

    def constant(self, array: Array, name: str = "") -> str:
        """Return the tensor of known numbers; equal ones are there once."""
        known = (array.dtype.str, array.shape, array.tobytes(), name)
        if known not in self._known:
            found = self._unused()
            self.constants[found] = Known(name or f"constant/{_words(array)}", array)
            self._known[known] = found
        return self._known[known]

    def number(self, value: float, like: str | TensorType) -> str:
        """Return a scalar of an element type."""
        dtype = like if isinstance(like, str) else like.dtype
        return self.constant(np.array(value, dtype))

    def integers(self, *values: int) -> str:
        """Return a list of integers, as axes and shapes are."""
        return self.constant(np.array(values, np.int64))

    def reshaped(self, tensor: str, shape: Sequence[Dim]) -> str:
        """Write a reshape to a shape that may have the batch in it."""
        return self("Reshape", tensor, self.integers(*(-1 if size == BATCH else size for size in shape)))

    def batch(self) -> str:
        """Return the number of samples, as a list of one integer."""
        if ("batch",) not in self._known:
            value = next(value for value in self.graph.inputs.values() if value.type.has_batch)
            layout, tensor = next(iter(self._tensors[value].items()))
            axis = layout.index(value.type.shape.index(BATCH))
            self._known["batch",] = self("Shape", tensor, start=axis, end=axis + 1)
        return self._known["batch",]

    def samples(self) -> str:
        """Return the number of samples, as an integer."""
        if ("samples",) not in self._known:
            self._known["samples",] = self("Squeeze", self.batch(), self.integers(0))
        return self._known["samples",]

    def shape(self, sizes: Sequence[Dim]) -> str:
        """Return a shape as a list of integers, of which the batch is known at run time only."""
        if BATCH not in sizes:
            return self.integers(*sizes)  # type: ignore[arg-type]
        known = ("shape", *sizes)
        if known not in self._known:
            place = list(sizes).index(BATCH)
            before, after = sizes[:place], sizes[place + 1 :]
            parts = [self.integers(*part) for part in (before, after) if part]  # type: ignore[arg-type]
            parts.insert(1 if before else 0, self.batch())
            self._known[known] = self("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]
        return self._known[known]

    def zeros(self, sizes: Sequence[Dim], dtype: DType) -> str:
        """Write a tensor of zeros."""
        return self("ConstantOfShape", self.shape(sizes), value=np.zeros(1, dtype))

    def cast(self, tensor: str, dtype: str) -> str:
        """Write a conversion to an element type."""
        return self("Cast", tensor, to=dtype)

    def reduced(self, kind: str, tensor: str, axes: Sequence[int], *, keep: bool) -> str:
        """Write a reduction over axes, of which there is at least one."""
        if self.opset >= 18 or kind == "ReduceSum":
            return self(kind, tensor, self.integers(*axes), keepdims=int(keep))
        return self(kind, tensor, axes=list(axes), keepdims=int(keep))

    def unsqueezed(self, tensor: str, *axes: int) -> str:
        """Write new axes of size 1."""
        return self("Unsqueeze", tensor, self.integers(*axes))


def _words(array: Array) -> str:
    """Return the name of known numbers: what they are, as far as that is short."""
    if array.size > 8:
        return f"{array.dtype}_{'x'.join(map(str, array.shape))}"
    return "_".join(f"{number:g}" if array.dtype.kind == "f" else str(int(number)) for number in array.flat)
