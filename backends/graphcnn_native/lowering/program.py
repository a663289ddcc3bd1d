"""What a graph becomes on the way to machine code: a plan, then a program, and then code.

    Graph ── plan ──> Plan of PlannedKernel ── place ──> Program of PlacedKernel ── generate ──> Code

Each is frozen, and each knows more than the one before: a plan says which kernels there are, when they run
and what they read and write; a program says in addition where in memory that is; the code
(`codegen/module.py`) is LLVM IR. `verify.py` states what holds of every program.

Words that are used throughout:

kernel: one function: a *root*, if there is one, which is an op that is more than pointwise, and the pointwise
    ops that follow from it, computed while its results are in registers.
stage: kernels between two barriers: all threads have finished it before the next one begins.
domain: what a kernel's work is cut into. Kernels of *samples* run one after the other on a block of samples,
    so that what they hand to each other stays in the cache; kernels of the *whole* (parameters, sums over
    the batch) run beside them, each cut into pieces of its own.
block: the samples that a thread carries through a stage together.
strip: of a block, the samples that a few neighbouring kernels carry on together (`strips.py`).
shard: the samples whose sums are added up together; how many shards there are depends on the batch alone.
stored, computed where it is read: a value is either stored by the one kernel that computes it, or computed
    anew by every kernel that reads it.
stored value: what stands behind reshapes, which hold the same elements (`unshaped`).
buffer: memory for one stored value: an array of the caller's, or a place in the arena or in a block.
arena: memory for the whole call. Part of it holds values of the whole, part of it a row for each sample.
partial sums: what a kernel of samples adds up over a shard; a kernel of the whole *totals* them.
sums on the way: of what a kernel computes anyway, added up while it is in registers (`sums_on_the_way.py`).
band: a part of a kernel's work on a shard that has sums on the way of its own, so that threads can share it.
unfinished sums: of a product over samples, between the parts of a batch that goes through a stage in parts.
divided stage: the stage that a large batch can go through in parts, so that memory does not grow with it.
samples in the lanes: a correlation of few filters whose vectors hold one pixel of many samples
    (`samples_in_lanes.py`). It does without the kernel that pads its images, and pools on its way: these
    kernels are then optional, for calls with too few samples.
turn: of a kernel, its number in the order in which stages go through their kernels.
places: the numbers that tell a kernel's function where its buffers lie; the function itself does not know.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import accumulate, groupby

from graphcnn.cached import cached
from graphcnn.ir import Dim, Graph, Node, Op, Role, TensorType, Value
from graphcnn.ops import Broadcast, Matmul, RandomNumbers, Reshape, Transpose
from graphcnn_native.interface import Interface
from graphcnn_native.op_code import has_code

ALIGNMENT = 64
"""Buffers begin at multiples of so many bytes: a cache line, and the widest vector."""
KEPT: tuple[Role, ...] = ("parameter", "state", "frozen")
"""Roles of inputs that inference leaves as they are."""
BLOCK = 8
"""Samples that are carried through a stage together, at least: enough for a tile of a matrix product."""
MOST_SHARDS = 16
"""Into so many shards a batch is cut at most, and into few only one of few samples."""
BANDS = 4
"""Into so many bands the work on a shard is cut, which is into how many parts threads can cut it."""


class Domain(Enum):
    SAMPLES = "samples"
    WHOLE = "whole"


class Place(Enum):
    """Where a buffer is: the caller's array, kept for the whole call, or for one block of samples."""

    CALLER = "caller"
    ARENA = "arena"
    BLOCK = "block"


class Keeps(Enum):
    """What a buffer keeps: a value, the unfinished sums of it, or a value until the last stage copies it."""

    VALUE = "value"
    UNFINISHED = "unfinished"
    UNTIL_COPIED = "until copied"


@dataclass(frozen=True)
class Margins:
    """Zeros around the images of a sample that are kept as bfloat16: so many rows above and below, and
    columns between one row and the next, at the right of the one and at the left of the other."""

    above: int = 0
    below: int = 0
    between: int = 0

    def pitch(self, images: TensorType) -> int:
        """Return how many places lie from a pixel to the one below it."""
        return as_images(images)[1] + self.between

    def first(self, images: TensorType) -> int:
        """Return at which place of a sample its first pixel is."""
        return self.above * self.pitch(images) + self.between

    def places(self, images: TensorType) -> int:
        """Return how many places, pixels and zeros, a sample has."""
        rows = self.above + as_images(images)[0] + self.below
        return rows * self.pitch(images) + self.between

    def bytes(self, images: TensorType) -> int:
        """Return the bytes of a sample; behind it, zeros for whoever reads a few numbers too many."""
        return aligned(2 * self.places(images) * as_images(images)[2] + ALIGNMENT)


@dataclass(frozen=True)
class Buffer:
    """Memory for one stored value, row-major as in the IR. slot: of the caller's array.

    margins: of images that are kept as bfloat16 (`bfloat16.py`).
    """

    value: Value
    place: Place = field(hash=False)
    slot: int = field(default=-1, hash=False)
    keeps: Keeps = field(default=Keeps.VALUE, hash=False)
    margins: Margins | None = field(default=None, hash=False)

    @property
    def per_sample(self) -> bool:
        return self.value.type.has_batch

    @property
    def bytes(self) -> int:
        """The bytes of one sample, or of the whole where there is no batch."""
        if self.margins is not None:
            return self.margins.bytes(self.value.type)
        return self.value.type.bytes(1)


@dataclass(frozen=True)
class PlannedKernel:
    """What one kernel computes, when it runs, and what it reads and writes.

    number: its place in the plan; kernels refer to each other by it. shape: of the values.
    values: what it can compute: the results of its root, and what follows from them. loads: the stored values
    that it reads; it reads no others. stores: what it writes, and into which buffer.
    adds_up_samples: whether its root's result is a partial sum. sums: the keys of the sums over samples that
    it adds up on the way. totals: the kernel whose partial sums it adds up: those of its own first value.
    unfinished: where a product over samples keeps its sums. copies: a value that is copied as it is, from
    `source` where that is not the value's own buffer.
    pad, pool: the kernels whose work it does where samples fill the lanes. pooled_by: of one that pools.
    is_optional: whether another kernel may do its work. workspace: bytes that it needs to itself.
    strip: how many samples of a block it takes at a time.
    work, nodes: what it computes, by the keys of the plan's graph and of the graph that was compiled.
    counted: the nodes of that graph which it finishes, and whose FLOPs are therefore its own.
    """

    number: int
    domain: Domain
    stage: int
    shape: tuple[Dim, ...]
    root: int | None
    values: tuple[Value, ...]
    loads: frozenset[Value]
    stores: tuple[tuple[Value, Buffer], ...]
    adds_up_samples: bool = False
    sums: tuple[int, ...] = ()
    totals: int | None = None
    unfinished: Buffer | None = None
    copies: Value | None = None
    source: Buffer | None = None
    pad: int | None = None
    pool: int | None = None
    pooled_by: int | None = None
    is_optional: bool = False
    workspace: int = 0
    strip: int = 1
    title: str = ""
    work: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    counted: tuple[Node, ...] = ()

    @property
    def total(self) -> Value | None:
        """The value whose partial sums it adds up."""
        return None if self.totals is None else self.values[0]

    @property
    def partial(self) -> tuple[int, ...]:
        """The keys of the ops of which it has partial sums: of its root, or those on the way."""
        return (self.root,) if self.adds_up_samples and self.root is not None else self.sums

    def bands_of(self, key: int) -> int:
        """Return how many sums it keeps of one of the ops of which it has partial sums."""
        return BANDS if key in self.sums else 1

    @property
    def kept(self) -> tuple[Buffer, ...]:
        """The buffers that it writes."""
        stored = tuple(buffer for _, buffer in self.stores)
        return stored if self.unfinished is None else (*stored, self.unfinished)

    @property
    def touched(self) -> tuple[Value, ...]:
        """The values that it reads from memory and writes there."""
        return *self.loads, *(value for value, _ in self.stores)

    def flops(self, batch: int) -> int:
        """Return the FLOPs of what it finishes, as the ops are defined."""
        return sum(node.cost(batch).flops for node in self.counted)

    @property
    def written_from(self) -> int:
        """The number of the first kernel that may write what this one stores: where samples fill the lanes,
        the correlation that pools for it does."""
        return self.number if self.pooled_by is None else self.pooled_by

    def op(self, graph: Graph) -> Op | None:
        return None if self.root is None else graph.node(self.root).op


@dataclass(frozen=True)
class Plan:
    """The kernels of a graph, and the buffers of its stored values.

    slots: what each of the caller's arrays is: ("input" | "output" | "update", label).
    block: samples that are carried through a stage together. divided: the divided stage, or -1.
    labels: inputs that must be labels, and of how many classes.
    """

    graph: Graph
    kernels: tuple[PlannedKernel, ...]
    buffers: Mapping[Value, Buffer]
    slots: tuple[tuple[str, str], ...]
    block: int
    divided: int = -1
    labels: Mapping[str, int] = field(default_factory=dict)

    @cached
    def stages(self) -> int:
        return 1 + max((kernel.stage for kernel in self.kernels), default=-1)

    @cached
    def prepared(self) -> int:
        """How many stages at the begin depend on nothing but parameters and states, which the graph leaves as
        they are: what they store stays as it is from call to call."""
        if self.graph.updates:
            return 0
        known = set(self.graph.inputs_with_role(*KEPT).values())
        for stage, kernels in enumerate(self.by_stage):
            for kernel in kernels:
                is_kept = all(buffer.place is Place.ARENA for buffer in kernel.kept)
                if kernel.domain is Domain.SAMPLES or not is_kept or not kernel.loads <= known:
                    return stage
            known.update(value for kernel in kernels for value in kernel.values)
        return self.stages

    @cached
    def by_stage(self) -> tuple[tuple[PlannedKernel, ...], ...]:
        """The kernels of each stage."""
        found: list[list[PlannedKernel]] = [[] for _ in range(self.stages)]
        for kernel in self.kernels:
            found[kernel.stage].append(kernel)
        return tuple(map(tuple, found))

    @cached
    def turns(self) -> dict[int, int]:
        """The turn of each kernel, by its number: the stages follow one another, and within each the kernels
        of samples come first, which a thread goes through one by one."""
        in_turn = sorted(self.kernels, key=lambda k: (k.stage, k.domain is Domain.WHOLE, k.number))
        return {kernel.number: turn for turn, kernel in enumerate(in_turn)}

    @cached
    def first_turns(self) -> tuple[int, ...]:
        """The first turn of each stage, and the one behind them all."""
        return (0, *accumulate(map(len, self.by_stage)))

    @cached
    def strip_loops(self) -> dict[int, tuple[int, int]]:
        """The first and the last kernel of the loop over strips that each kernel of samples is in."""
        found: dict[int, tuple[int, int]] = {}
        for kernels in self.by_stage:
            by_sample = [kernel for kernel in kernels if kernel.domain is Domain.SAMPLES]
            for strip, together in groupby(by_sample, key=lambda kernel: kernel.strip):
                numbers = [kernel.number for kernel in together]
                for number in numbers:
                    found[number] = (number, number) if strip == self.block else (numbers[0], numbers[-1])
        return found

    def outlives_strips(self, buffer: Buffer, writer: PlannedKernel) -> bool:
        """Whether a buffer of a block is read by kernels of another loop over strips than its writer."""
        loop = self.strip_loops[writer.number]
        return any(self.strip_loops[reader.number] != loop for reader in self.readers.get(buffer, ()))

    @cached
    def within_strips(self) -> frozenset[Buffer]:
        """The buffers of blocks that are read in the loop over strips in which they are written: their memory
        serves one strip after the other."""
        return frozenset(
            buffer
            for kernel in self.kernels
            for buffer in kernel.kept
            if buffer.place is Place.BLOCK and not self.outlives_strips(buffer, kernel)
        )

    @cached
    def readers(self) -> dict[Buffer, list[PlannedKernel]]:
        """The kernels that read each buffer."""
        found: dict[Buffer, list[PlannedKernel]] = {}
        for kernel in self.kernels:
            for buffer in self.read_by(kernel):
                found.setdefault(buffer, []).append(kernel)
        return found

    @cached
    def sums_up_products(self) -> bool:
        """Whether some product over samples is summed up between the parts of a batch."""
        return any(kernel.unfinished is not None for kernel in self.kernels)

    def read_by(self, kernel: PlannedKernel) -> list[Buffer]:
        """Return the buffers that a kernel reads, in a fixed order."""
        if kernel.source is not None:
            return [kernel.source]
        return [self.buffers[value] for value in sorted(kernel.loads, key=lambda v: (v.key, v.index))]

    def is_repeated(self, stage: int) -> bool:
        """Whether a stage runs after each part of the batch, since it sums up products over samples."""
        return self.sums_up_products and self.divided >= 0 and stage == self.divided + 1

    def unshaped(self, value: Value) -> Value:
        """Return the value whose buffer holds this one: a reshape holds the same elements."""
        return unshaped(self.graph, value)


@dataclass(frozen=True)
class PlacedKernel(PlannedKernel):
    """A planned kernel, and where in memory it works.

    In bytes, or -1. sums_offset: of its partial sums in the memory of a shard, or of those that it totals.
    workspace_offset: in that of a block.
    """

    sums_offset: int = -1
    workspace_offset: int = -1


@dataclass(frozen=True)
class Program(Plan):
    """A plan, and where everything lies.

    offsets: in bytes, of the buffers in the arena and in a block; by sample for those with a batch in the
    arena.
    arena: bytes of the arena that do not depend on the batch; arena_per_sample: those that do.
    scratch: bytes of one thread's block. sums: bytes of the partial sums of one shard.
    """

    kernels: tuple[PlacedKernel, ...]
    offsets: Mapping[Buffer, int] = field(default_factory=dict)
    arena: int = 0
    arena_per_sample: int = 0
    scratch: int = 0
    sums: int = 0

    @property
    def interface(self) -> Interface:
        """What calls of the program's code have to know of it."""
        return Interface(
            self.slots,
            self.labels,
            self.block,
            self.divided >= 0,
            self.prepared,
            self.arena,
            self.arena_per_sample,
            self.scratch,
            self.sums,
        )

    def describe(self, kernel: PlacedKernel, tile: str = "") -> str:
        """Return in words when a kernel runs, its tile, and where it reads and writes."""
        sources = [self._name(buffer) for buffer in self.read_by(kernel)]
        if kernel.totals is not None:
            sources.append(f"sums+{kernel.sums_offset}")
        targets = [self._name(buffer) for _, buffer in kernel.stores]
        if kernel.unfinished is not None:
            targets.append(f"unfinished {self._name(kernel.unfinished)}")
        if kernel.partial:
            targets.append(f"sums+{kernel.sums_offset}")
        op = kernel.op(self.graph)
        made = f", tile {tile}" if tile else ""
        if kernel.domain is Domain.SAMPLES and kernel.strip < self.block:
            made = f", strips of {kernel.strip}{made}"
        if op is not None and not has_code(op):
            made = ", by the reference backend's kernel"
        made += self._neighbours(kernel)
        moved = f"{', '.join(sources) or 'nothing'} → {', '.join(targets)}"
        return f"stage {kernel.stage}, {kernel.domain.value}{made}: {moved}"

    def _neighbours(self, kernel: PlacedKernel) -> str:
        """Return in words which kernel does a kernel's work, or whose work it does, by their numbers."""
        doing = [each.number for each in self.kernels if kernel.number in (each.pad, each.pool)]
        done = [number for number in (kernel.pad, kernel.pool) if number is not None]
        if not doing and not done:
            return ""
        numbers = " and ".join(map(str, sorted(doing or done)))
        which = f"kernel{'s' if len(doing or done) > 1 else ''} {numbers}"
        return f", {'done by' if doing else 'with the work of'} {which} where samples fill the lanes"

    def _name(self, buffer: Buffer) -> str:
        """Return what a buffer is called: the caller's name for it, or its place and offset."""
        if buffer.place is Place.CALLER:
            kind, label = self.slots[buffer.slot]
            return f"new {label}" if kind == "update" else label
        return f"{buffer.place.value}+{self.offsets[buffer]}"


def spreads(node: Node, value: Value) -> bool:
    """Whether an element of a node's value depends on elements of its operands at other places than its own.

    The state that follows on a generator's state does not; the numbers that are drawn do. Nor does what is
    broadcast to the shape that it has.
    """
    if isinstance(node.op, Broadcast):
        return node.operands[0].type.shape != value.type.shape
    return isinstance(node.op, RandomNumbers) and value.index == 0


def partial_sum_type(graph: Graph, root: int) -> TensorType:
    """Return what a shard keeps of the root op that adds up its samples: sums and means are in float64."""
    node = graph.node(root)
    return node.op.sum_type(node.types)


def is_product_over_samples(node: Node) -> bool:
    """Whether a node is a product that sums over the batch, as the gradient of dense weights does."""
    if not isinstance(node.op, Matmul) or node.operands[0].type.rank > 2:
        return False
    return all(operand.type.has_batch for operand in node.operands) and not node.types[0].has_batch


def turns_matrices(op: Op) -> bool:
    """Whether an op transposes matrices, so that a product can read what it transposes in its place."""
    return isinstance(op, Transpose) and op.turns_matrices


def unshaped(graph: Graph, value: Value) -> Value:
    """Return the value behind reshapes."""
    node = graph.node(value.key)
    while isinstance(node.op, Reshape):
        value = node.operands[0]
        node = graph.node(value.key)
    return value


def as_images(type: TensorType) -> tuple[int, int, int]:
    """Return rows, columns and channels of images [N, H, W, C]; all else is a pixel of many channels."""
    if type.rank == 4:
        return type.static(1), type.static(2), type.static(3)
    return 1, 1, math.prod(type.static(axis) for axis in range(1, type.rank))


def aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
