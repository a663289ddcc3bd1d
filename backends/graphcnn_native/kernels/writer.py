"""What every kernel is written with: addresses of buffers, and values computed where they are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from graphcnn.ir import BATCH, Node, TensorType, Value
from graphcnn.ops import (
    Broadcast,
    Constant,
    Count,
    Mean,
    OneHot,
    RandomNumbers,
    ReluMask,
    Reshape,
)
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index, Ssa, constant, lanes_of, vector
from graphcnn_native.codegen.lanes import load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.on_the_way import SumsOnTheWay
from graphcnn_native.kernels.philox import random_number
from graphcnn_native.kernels.user import require_numbers, user_function
from graphcnn_native.lowering.layout import ARENA, PARTIAL, WORKSPACE, Layout
from graphcnn_native.lowering.program import (
    BANDS,
    Buffer,
    Domain,
    Place,
    Plan,
    PlannedKernel,
    aligned,
    as_images,
    partial_sum_type,
)
from graphcnn_native.op_code import LANES, is_pointwise, scalar_function
from graphcnn_native.target import Target

Range: TypeAlias = tuple[Index, Index]
"""Begin and end."""
MANY_VALUES = 8
"""A kernel of more values computes them in order, since each would recurse into all of those before it."""
PARAMETERS = [
    *((POINTER, "context"), (POINTER, "block"), (POINTER, "sums")),
    *((INDEX, "begin"), (INDEX, "end"), (POINTER, "places")),
    *((POINTER, "own"), (INDEX, "part"), (INDEX, "parts")),
    *((INDEX, "block_begin"), (INDEX, "strip_begin")),
]
"""Of every kernel: the table of addresses, the block of these samples, their shard's sums, what to work on,
and where in each of them the kernel has its own (`Layout`); the block of this thread, where its workspace is,
and which part of the work on these samples is to be done (`Writer.cut`); the first samples of the block, and
of the strip, in which these are."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a tensor: an index per axis; along the last one `lanes` elements, of which `used` exist.

    of_samples: the lanes are the same place in so many samples, whichever these are.
    """

    indices: tuple[Index, ...]
    lanes: int = 1
    used: int = 1
    of_samples: bool = False


class Writer:
    """Writes one kernel.

    `known` holds what is already computed: (value, position) → its lanes.
    """

    def __init__(self, plan: Plan, kernel: PlannedKernel, layout: Layout, target: Target) -> None:
        self.plan = plan
        self.layout = layout
        self.graph = plan.graph
        self.kernel = kernel
        self.target = target
        self.tile = ""
        self._section = -1
        self.f = Function(kernel.title, PARAMETERS, attributes="nounwind")
        self.context, self.block, self.sums, self.begin, self.end, self._places = self.f.parameters[:6]
        self._own, self._part, self._parts, self._block_begin, self._strip_begin = self.f.parameters[6:]
        self.grains = 1
        self.known: dict[tuple[Value, Position], Ssa] = {}
        self.on_the_way = SumsOnTheWay(self)
        self._scalars: dict[Value, Ssa] = {}
        self._channels: dict[Value, Ssa] = {}
        self._addresses: dict[Buffer, Ssa] = {}
        self.batch = self.slot(Slot.BATCH, INDEX)
        self._find_memory()
        self._clear_margins()
        self._read_scalars()

    def name_section(self, key: int) -> None:
        """Say in the code which node the lines that follow compute."""
        if key != self._section:
            self._section = key
            self.f.comment(named(key, self.graph.node(key)))

    # Addresses

    def slot(self, number: int, type: str = POINTER) -> Ssa:
        return self.f.load(type, self.f.element(self.context, INDEX, number))

    def buffer(self, value: Value) -> Buffer:
        return self.plan.buffers[self.plan.unshaped(value)]

    def address(self, buffer: Buffer) -> Ssa:
        """Return the address of a buffer's first element; of sample 0, wherever the samples begin."""
        if buffer not in self._addresses:
            self._addresses[buffer] = self._address(buffer)
        return self._addresses[buffer]

    def _address(self, buffer: Buffer) -> Ssa:
        f, place = self.f, self._place(self.layout.number(buffer))
        if buffer.place is Place.CALLER:
            return f.load(POINTER, f.element(self.context, INDEX, place, Slot.ARRAYS))
        if buffer.place is Place.ARENA:
            arena = self.slot(Slot.ARENA)
            if not buffer.per_sample:
                return f.element(arena, "i8", place)
            behind = f.multiply(self.slot(Slot.CAPACITY, INDEX), place)
            before = f.multiply(self.slot(Slot.FIRST, INDEX), -buffer.bytes)
            return f.element(arena, "i8", self._place(ARENA), behind, before)
        begin = self._strip_begin if buffer in self.plan.within_strips else self._block_begin
        return f.element(self.block, "i8", place, f.multiply(begin, -buffer.bytes))

    def _place(self, number: int) -> Ssa:
        return self.f.load(INDEX, self.f.element(self._places, INDEX, number))

    def _find_memory(self) -> None:
        """Compute the addresses of all that the kernel loads and stores, outside of the loops to come."""
        for buffer in self.layout.buffers:
            self.address(buffer)
        if self.kernel.partial:
            self.shard = self.f.element(self.sums, "i8", self._place(PARTIAL))
        if self.kernel.workspace:
            self.workspace = self.f.element(self._own, "i8", self._place(WORKSPACE))
        if self.kernel.totals is not None:
            self._total = self.f.element(self.slot(Slot.SUMS), "i8", self._place(PARTIAL))

    def cut(self, begin: Index, end: Index, grain: int = 1, *, of_sample: int | None = None) -> Range:
        """Return this part of a range within the samples, in whole grains.

        A kernel that works on it alone can be shared by threads where there are fewer shards than these.
        of_sample: how much of the range is of one sample, where that is not all.
        """
        (part,) = self.cut_along((begin, end, grain), of_sample=of_sample)
        return part

    def is_first_part(self) -> Ssa:
        """Return whether this part is the first; what is not cut is done by that one alone."""
        return self.f.compare("eq", self._part, self.f.index(0))

    def cut_along(self, *ranges: tuple[Index, Index, int], of_sample: int | None = None) -> list[Range]:
        """Return this part of a product of ranges: the first is cut as far as it can be, then the next.

        of_sample: how much of the first one is of one sample, where that is not all.
        """
        if not self.is_by_sample or self.kernel.adds_up_samples:
            return [(begin, end) for begin, end, _ in ranges]
        f, part, parts, found = self.f, self._part, self._parts, list[Range]()
        for number, (begin, end, of_grain) in enumerate(ranges):
            if number == 0 and of_sample is not None:
                size = of_sample
            else:
                assert isinstance(begin, int) and isinstance(end, int)
                size = end - begin
            grain: Index = of_grain
            grains = f.divide(f.add(f.subtract(end, begin), of_grain - 1), of_grain)
            most = -(-size // of_grain)
            if number == 0 and self.kernel.sums:
                grain = f.multiply(f.divide(f.add(grains, BANDS - 1), BANDS), of_grain)
                grains, most = BANDS, min(BANDS, most)
                self.on_the_way.bands = begin, grain
            self.grains *= most
            here, index = parts, part
            if number < len(ranges) - 1:
                here = f.index(f.greatest(1, f.least(parts, grains)))
                parts = f.index(f.quotient(parts, here))
                index = f.index(f.quotient(part, parts))
                part = f.index(f.subtract(part, f.multiply(index, parts)))
            up = f.index(f.subtract(f.add(grains, here), 1))
            each = f.multiply(f.quotient(up, here), grain)
            first = f.least(end, f.add(begin, f.multiply(index, each)))
            found.append((first, f.least(end, f.add(first, each))))
        return found

    def maps_beside(self, result: Value, *operands: Value) -> list[Buffer]:
        """Return the buffers that the kernel writes, and others that it reads at the same places."""
        by_root = {self.plan.unshaped(value) for value in operands}
        shape = result.type.shape
        read = [value for value in self.kernel.loads if value.type.shape == shape and value not in by_root]
        buffers = [self.buffer(value) for value in sorted(read, key=lambda value: (value.key, value.index))]
        return [*buffers, *(buffer for _, buffer in self.kernel.stores if buffer.value.type.shape == shape)]

    def sizes(self, type: TensorType) -> tuple[Index, ...]:
        return tuple(self.batch if size == BATCH else int(size) for size in type.shape)

    def strides(self, type: TensorType) -> tuple[Index, ...]:
        """Return how far apart, in elements, neighbours along each axis are."""
        found: list[Index] = []
        step: Index = 1
        for size in reversed(self.sizes(type)):
            found.append(step)
            step = self.f.multiply(step, size) if len(found) < type.rank else step
        return tuple(reversed(found))

    def offset(self, type: TensorType, indices: Sequence[Index]) -> Index:
        """Return the distance from the first element, in elements."""
        if len(indices) == 1 and type.rank != 1:
            return indices[0]
        if len(indices) == 2 and type.rank > 2:
            return self.f.add(self.f.multiply(indices[0], math.prod(map(int, type.shape[1:]))), indices[1])
        products = [self.f.multiply(i, s) for i, s in zip(indices, self.strides(type), strict=True)]
        return self.f.add(*products) if products else 0

    # Values

    def expression(self, value: Value, position: Position, known: Mapping[Value, Ssa] | None = None) -> Ssa:
        """Return a value at a position, computed from memory and what is `known` there."""
        self.known = {(given, position): x for given, x in (known or {}).items()}
        return self.value(value, position)

    def value(self, value: Value, position: Position) -> Ssa:
        """Return a value at a position: known, loaded, or computed from what it depends on."""
        key = (value, position)
        if key not in self.known:
            self.known[key] = self._value(value, position)
        return self.known[key]

    def _value(self, value: Value, position: Position) -> Ssa:
        f, kernel = self.f, self.kernel
        stored = self.plan.unshaped(value)
        if value in self._scalars:
            return f.splat(self._scalars[value], position.lanes)
        if kernel.totals is not None and stored == kernel.values[0]:
            return self._total_of_shards(stored, position)
        if stored == kernel.copies or (stored in kernel.loads and stored not in kernel.values):
            return self._load(value, stored, position)
        node = self.graph.node(value.key)
        operands = node.operands
        match node.op:
            case Constant():
                item = value_item(value.type)
                return constant(vector(item, position.lanes), node.op.value)
            case Count():
                return f.splat(self.count(node.op, operands[0], value.type), position.lanes)
            case Broadcast():
                return self._broadcast(operands[0], value, position)
            case OneHot():
                return self._one_hot(node.op, operands[0], value, position)
            case RandomNumbers():
                return random_number(self, value, operands, position)
            case Reshape():
                return self.value(operands[0], position)
        function = scalar_function(node.op)
        if function is not None:
            require_numbers(node, function)
        arguments = [self.value(operand, self._scalar_or(operand, value, position)) for operand in operands]
        arguments = [f.splat(x, position.lanes) if lanes_of(x.type) == 1 else x for x in arguments]
        self.name_section(value.key)
        if function is not None:
            return user_function(f, function, arguments, position.used)
        lanes: Ssa = LANES[type(node.op)](f, node.op, arguments, value.type)
        return lanes

    def _scalar_or(self, operand: Value, value: Value, position: Position) -> Position:
        return Position(()) if operand.type.is_scalar and not value.type.is_scalar else position

    def _load(self, value: Value, stored: Value, position: Position) -> Ssa:
        return self._load_from(self.kernel.source or self.buffer(stored), value, position)

    def _load_from(self, buffer: Buffer, value: Value, position: Position) -> Ssa:
        if buffer.margins is not None:
            address = self.place_in_margins(buffer, position.indices)
            bits = load_lanes(self.f, "i16", address, position.lanes, position.used, exact=False)
            return widened(self.f, bits)
        item = ITEMS[value.type.dtype]
        address = self.f.element(self.address(buffer), item, self.offset(value.type, position.indices))
        exact = buffer.place is Place.CALLER
        loaded = load_lanes(self.f, item, address, position.lanes, position.used, exact=exact)
        if value.type.dtype != "bool":
            return loaded
        return self.f.compare("ne", loaded, constant(loaded.type, 0))

    def _total_of_shards(self, value: Value, position: Position) -> Ssa:
        """Return what all shards have summed, which the step has added up; of bands, each by itself."""
        f, node = self.f, self.graph.node(value.key)
        assert self.kernel.totals is not None
        kept, lanes, used = partial_sum_type(self.graph, value.key), position.lanes, position.used
        item, size = ITEMS[kept.dtype], aligned(kept.bytes(1))
        first = f.element(self._total, item, self.offset(value.type, position.indices))
        total, *others = [
            load_lanes(f, item, f.element(first, "i8", band * size), lanes, used, exact=True)
            for band in range(self.plan.kernels[self.kernel.totals].bands_of(value.key))
        ]
        for other in others:
            total = f.binary("fadd", total, other)
        if isinstance(node.op, Mean):
            count = self.count(node.op, node.operands[0], value.type.with_dtype("float64"))
            total = f.binary("fdiv", total, f.splat(count, position.lanes))
        return f.convert("fptrunc", total, ITEMS[value.type.dtype])

    def count(self, op: Count | Mean, operand: Value, type: TensorType) -> Ssa:
        sizes = [self.sizes(operand.type)[axis] for axis in op.axes]
        product: Index = 1
        for size in sizes:
            product = self.f.multiply(product, size)
        item = value_item(type)
        if type.is_float:
            if isinstance(product, int):
                return constant(item, product)
            return self.f.convert("sitofp", product, item)
        if item == "i1":
            return constant(item, 1)
        return self.f.convert("trunc", self.f.index(product), item)

    def _broadcast(self, operand: Value, value: Value, position: Position) -> Ssa:
        if operand.type.is_scalar:
            return self.f.splat(self.value(operand, Position(())), position.lanes)
        if operand.type.shape == value.type.shape:
            return self.value(operand, position)
        if len(position.indices) == 2 < value.type.rank:
            return self._broadcast_in_order(operand, position)
        indices = position.indices[value.type.rank - operand.type.rank :]
        sizes = value.type.shape[value.type.rank - operand.type.rank :]
        kept = tuple(
            0 if size == 1 and wide != 1 else index
            for index, size, wide in zip(indices, operand.type.shape, sizes, strict=True)
        )
        is_alike = operand.type.shape[-1] == 1 and value.type.shape[-1] != 1
        if is_alike or position.of_samples:
            return self.f.splat(self.value(operand, Position(kept)), position.lanes)
        return self.value(operand, Position(kept, position.lanes, position.used))

    def _broadcast_in_order(self, operand: Value, position: Position) -> Ssa:
        """Return what is broadcast to a place of a sample in memory order."""
        f, (n, place) = self.f, position.indices
        if operand not in self._channels:
            number = self.value(operand, Position((n, *[0] * (operand.type.rank - 1))))
            return f.splat(number, position.lanes)
        item, count = ITEMS[operand.type.dtype], operand.type.static(operand.type.rank - 1)
        first = f.remainder(place, count)
        return f.load(vector(item, position.lanes), f.element(self._channels[operand], item, first))

    def _one_hot(self, op: OneHot, labels: Value, value: Value, position: Position) -> Ssa:
        f, item = self.f, value_item(value.type)
        label = self.value(labels, Position(position.indices[:-1]))
        wide = f.convert("sext", label, INDEX)
        counting = f.counting(position.indices[-1], position.lanes)
        hit = f.compare("eq", counting, f.splat(wide, position.lanes))
        type = vector(item, position.lanes)
        return f.select(hit, constant(type, 1), constant(type, 0))

    def _read_scalars(self) -> None:
        """Compute the scalars that the kernel reads once, before its loops."""
        if self.kernel.shape == ():
            return
        seen: set[Value] = set()
        pending = [value for value in self.kernel.values if not self._is_root(value)]
        pending += [v for value in pending for v in self.graph.node(value.key).operands_read]
        for key in (*self.kernel.sums, *(() if self.kernel.root is None else (self.kernel.root,))):
            pending += self.graph.node(key).operands
        while pending:
            value = pending.pop()
            if value in seen or self._is_root(value):
                continue
            seen.add(value)
            stored = self.plan.unshaped(value)
            if value.type.is_scalar and value not in self.kernel.values:
                self._scalars[value] = self._value(value, Position(()))
            elif stored not in self.kernel.loads:
                pending += self.graph.node(value.key).operands_read

    def _is_root(self, value: Value) -> bool:
        """Whether the kernel has the value from its root op, or from the sums of another kernel."""
        is_total = self.kernel.totals is not None and value == self.kernel.values[0]
        return is_total or value.key == self.kernel.root

    def along(self, position: Position) -> Position:
        """Return where a position is along the last axis."""
        return Position(position.indices[-1:], position.lanes, position.used)

    # Storing

    def store(self, position: Position, known: Mapping[Value, Ssa] | None = None) -> None:
        """Store at a position what the kernel has to store, given what is `known` of it already."""
        self.known = {(value, position): x for value, x in (known or {}).items()}
        if len(self.kernel.values) > MANY_VALUES:
            for value in self.kernel.values:
                if not self._is_root(value):
                    self.value(value, position)
        for value, buffer in self.kernel.stores:
            self.put(buffer, position, self.value(value, position))
        self.on_the_way.add(position)

    def put(self, buffer: Buffer, position: Position, x: Ssa) -> None:
        """Store lanes in a buffer at a position."""
        f, type = self.f, buffer.value.type
        item = ITEMS[type.dtype]
        if type.dtype == "bool":
            x = f.convert("zext", x, "i8")
        if buffer.margins is not None:
            address = self.place_in_margins(buffer, position.indices)
            store_lanes(f, rounded_to_bfloat16(f, x), address, position.used, self.target)
            return
        address = f.element(self.address(buffer), item, self.offset(type, position.indices))
        store_lanes(f, x, address, position.used, self.target)

    def place_in_margins(self, buffer: Buffer, indices: Sequence[Index]) -> Ssa:
        """Return the address of a number that is kept as bfloat16, in images with zeros around them."""
        f, type, margins = self.f, buffer.value.type, buffer.margins
        assert margins is not None
        n, *others = indices
        sample = f.element(self.address(buffer), "i8", f.multiply(n, buffer.bytes))
        if type.rank != 4:
            steps = [math.prod(map(int, type.shape[axis + 1 :])) for axis in range(1, type.rank)]
            return f.element(sample, "i16", *map(f.multiply, others, steps))
        row, column, channel = others
        place = f.add(f.multiply(row, margins.pitch(type)), column, margins.first(type))
        return f.element(f.element(sample, "i16", f.multiply(place, type.static(3))), "i16", channel)

    def enter(self, outer: Sequence[Index]) -> None:
        """Compute, before a loop over the last axis, the addresses of what is kept as bfloat16 there."""
        for _, buffer in self.kernel.stores:
            if buffer.margins is not None:
                self.place_in_margins(buffer, (*outer, 0))

    def _clear_margins(self) -> None:
        """Write the zeros around the images that the kernel keeps as bfloat16."""
        f, kept = self.f, [buffer for _, buffer in self.kernel.stores if buffer.margins is not None]
        if not kept:
            return
        with f.when(self.is_first_part()), f.loop(self.begin, self.end, name="sample") as n:
            for buffer in kept:
                images, margins = buffer.value.type, buffer.margins
                assert margins is not None
                (rows, columns, channels), pitch = as_images(images), margins.pitch(images)
                begin = f.element(self.address(buffer), "i8", f.multiply(n.index, buffer.bytes))
                f.clear(begin, 2 * margins.first(images) * channels)
                last = margins.first(images) + (rows - 1) * pitch + columns
                if margins.between:
                    with f.loop(margins.first(images) + columns, last, pitch, name="place") as place:
                        between = f.element(begin, "i16", f.multiply(place.index, channels))
                        f.clear(between, 2 * margins.between * channels)
                f.clear(f.element(begin, "i16", last * channels), buffer.bytes - 2 * last * channels)

    # Shape of the work

    @property
    def is_by_sample(self) -> bool:
        return self.kernel.domain is Domain.SAMPLES

    def asks_for_channels_alone(self) -> bool:
        """Whether what follows from the root needs to know no more of a place than its last index."""
        if self.has_margins():
            return False
        for key in self.kernel.work:
            node = self.graph.node(key)
            is_done = key == self.kernel.root or key in self.kernel.sums
            if is_done or is_pointwise(node.op) or isinstance(node.op, Constant | Count):
                continue
            if not isinstance(node.op, Broadcast) or not _asks_for_channel(node.operands[0].type):
                return False
        root = self.kernel.root
        by_root = set() if root is None else {self.plan.unshaped(v) for v in self.graph.node(root).operands}
        types = [value.type for value in self.kernel.loads if value not in by_root]
        return all(type.shape == self.kernel.shape or _asks_for_channel(type) for type in types)

    def is_flat(self, *values: Value) -> bool:
        """Whether values can be computed element by element in memory order, whatever their axes."""
        return self._broadcasts(*values) == [] and not self.has_margins()

    def is_flat_by_sample(self, *values: Value) -> bool:
        """Whether values can be computed at any place of a sample in memory order: positions (sample, place).

        Beside what `is_flat` allows, a number of each sample or of each of few channels may be broadcast.
        """
        found = None if self.has_margins() else self._broadcasts(*values)
        return found is not None and all(
            self._is_of_sample(node) or self._is_of_channel(node) for node in found
        )

    def has_margins(self) -> bool:
        """Whether the kernel stores, or a mask reads, what lies otherwise than its shape says."""
        nodes = [self.graph.node(key) for key in self.kernel.work]
        asked = [self.plan.unshaped(node.operands[0]) for node in nodes if isinstance(node.op, ReluMask)]
        read = [self.plan.buffers[value] for value in asked if value in self.kernel.loads]
        stored = [buffer for _, buffer in self.kernel.stores]
        return any(buffer.margins is not None for buffer in (*stored, *read))

    def spread_channels(self) -> None:
        """Write down what is broadcast along few channels, again and again, for vectors that begin anywhere.

        Before the loops of a kernel whose stores are flat by sample.
        """
        for node in self._broadcasts(*(value for value, _ in self.kernel.stores)) or []:
            (operand,) = node.operands
            if not self._is_of_channel(node) or operand in self._channels:
                continue
            item, count = ITEMS[operand.type.dtype], operand.type.static(operand.type.rank - 1)
            length = count + self.target.lanes(SIZES["float"]) - 1  # more lanes than of floats has no vector
            table = self.f.allocate(item, length)
            front = (0,) * (operand.type.rank - 1)
            numbers = [self.value(operand, Position((*front, channel))) for channel in range(count)]
            for place in range(length):
                self.f.store(numbers[place % count], self.f.element(table, item, place))
            self._channels[operand] = table

    def _broadcasts(self, *values: Value) -> list[Node] | None:
        """Return the broadcasts of more than scalars that values are computed from; None where another op
        among those has to know each index of a place."""
        found: list[Node] = []
        pending, seen = list(values), set[Value]()
        while pending:
            value = pending.pop()
            if value in seen or value.type.is_scalar:
                continue
            seen.add(value)
            stored = self.plan.unshaped(value)
            node = self.graph.node(value.key)
            if stored in self.kernel.loads or value.key == self.kernel.root:
                continue
            if stored == self.kernel.total:
                continue
            if isinstance(node.op, OneHot):
                return None
            if isinstance(node.op, Broadcast) and not node.operands[0].type.is_scalar:
                found.append(node)
            else:
                pending += node.operands_read
        return found

    def _is_of_sample(self, node: Node) -> bool:
        """Whether a node broadcasts one number of each sample."""
        (operand,), shape = node.operands, node.types[0].shape
        alike = (BATCH, *[1] * (len(shape) - 1))
        return operand.type.shape == alike and shape == self.kernel.shape

    def _is_of_channel(self, node: Node) -> bool:
        """Whether a node broadcasts one number of each channel, of which a vector holds several."""
        (operand,), shape = node.operands, node.types[0].shape
        last = operand.type.shape[-1]
        return (
            operand.type.is_float
            and shape == self.kernel.shape
            and shape[0] == BATCH
            and len(shape) > 2
            and last == shape[-1]
            and _asks_for_channel(operand.type)
            and int(last) < self.target.lanes(SIZES[ITEMS[operand.type.dtype]])
        )


def _asks_for_channel(operand: TensorType) -> bool:
    """Whether a broadcast reads the same numbers at all places but for their last axis."""
    return all(size == 1 for size in operand.shape[:-1])


def rounded_to_bfloat16(f: Function, x: Ssa) -> Ssa:
    """Return the bits of the bfloat16 nearest to each lane of float32, by a processor that has these."""
    rounded = f.convert("fptrunc", x, "bfloat")
    return f.emit(vector("i16", lanes_of(x.type)), f"bitcast {rounded} to {vector('i16', lanes_of(x.type))}")


def widened(f: Function, bits: Ssa) -> Ssa:
    """Return the float32 of the bits of bfloat16: it begins with them."""
    type = vector("i32", lanes_of(bits.type))
    wide = f.binary("shl", f.convert("zext", bits, "i32"), constant(type, 16))
    return f.emit(
        vector("float", lanes_of(bits.type)), f"bitcast {wide} to {vector('float', lanes_of(bits.type))}"
    )


def value_item(type: TensorType) -> str:
    return "i1" if type.dtype == "bool" else ITEMS[type.dtype]


def named(key: int, node: Node) -> str:
    """Return how code calls a node: its key, its op and its layer."""
    layer = f" of {node.origin.layer}" if node.origin.layer else ""
    return f"%{key} {node.op.name}{layer}"
