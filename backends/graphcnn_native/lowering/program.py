"""What a graph becomes: kernels in stages, and buffers.

A *stage* ends with a barrier: all threads have finished it before the next begins. Within a stage the
kernels of the domain "samples" run one after the other on a few samples at a time, so that what they hand
to each other stays in the cache; kernels of the domain "whole" (parameters, sums over the batch) run beside
them, each cut into chunks of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from graphcnn.ir import BATCH, Dim, Graph, Node, Op, Value
from graphcnn.ops import Count, Matmul, RandomUniform

ALIGNMENT = 64
"""Buffers begin at multiples of so many bytes: a cache line, and the widest vector."""


class Domain(Enum):
    SAMPLES = "samples"
    WHOLE = "whole"


class Place(Enum):
    """Where a buffer is: the caller's array, kept for the whole call, or for one block of samples."""

    CALLER = "caller"
    ARENA = "arena"
    BLOCK = "block"


@dataclass
class Buffer:
    """Memory for one value, row-major as in the IR.

    slot: of the caller's array. offset: in bytes; per sample for a value with a batch in the arena.
    """

    value: Value
    place: Place
    slot: int = -1
    offset: int = -1

    @property
    def per_sample(self) -> bool:
        return self.value.type.has_batch

    @property
    def bytes(self) -> int:
        """The bytes of one sample, or of the whole where there is no batch."""
        return self.value.type.bytes(1)


@dataclass
class Kernel:
    """One generated function: a root op, if there is one, and the pointwise ops that follow from it.

    values: what it can compute; stores: what it writes, and where.
    shape: of the values. partial: the offset in bytes of its sums in the memory of a shard, or -1.
    sums: the kernel whose partial sums this one adds up. unfinished: where a product that sums over samples
    keeps its sums between the parts of a batch. copies: a value that is copied as it is, from `source` where
    that is not its buffer.
    workspace: bytes that it needs to itself while it works, at `workspace_offset` in the memory of a block.
    pad, pool: the kernels that pad its images and pool its result, whose work it does where samples fill the
    lanes of a vector (see `narrow.py`). is_optional: such a kernel. pooled_by: of one that pools.
    work, nodes: what it computes, by the keys of the program's graph and of the graph that was compiled.
    pieces: into how many a kernel of the whole is cut; the code generator decides that.
    counted: the nodes of that graph which it finishes, and whose FLOPs are therefore its own.
    """

    number: int
    domain: Domain
    stage: int
    shape: tuple[Dim, ...]
    root: int | None = None
    values: list[Value] = field(default_factory=list)
    stores: list[tuple[Value, Buffer]] = field(default_factory=list)
    partial: int = -1
    sums: Kernel | None = None
    unfinished: Buffer | None = None
    copies: Value | None = None
    source: Buffer | None = None
    pad: Kernel | None = None
    pool: Kernel | None = None
    pooled_by: Kernel | None = None
    is_optional: bool = False
    workspace: int = 0
    workspace_offset: int = -1
    loads: frozenset[Value] = frozenset()
    work: tuple[int, ...] = ()
    nodes: tuple[int, ...] = ()
    counted: tuple[Node, ...] = ()
    title: str = ""
    name: str = ""
    is_flat: bool = False
    tile: str = ""
    pieces: int = 1

    @property
    def given(self) -> Value | None:
        """The value that other kernels have summed up for this one."""
        return self.values[0] if self.sums is not None else None

    def op(self, graph: Graph) -> Op | None:
        return None if self.root is None else graph.node(self.root).op


@dataclass
class Program:
    """The kernels of a graph in the order of their stages, its buffers, and the memory that they take.

    slots: what each of the caller's arrays is: ("input" | "output" | "update", label).
    arena: bytes of the arena that do not depend on the batch; arena_per_sample: those that do.
    block: samples that are carried through a stage together; scratch: bytes of one thread's block.
    partial: bytes of the sums of one shard. labels: inputs that must be labels, and of how many classes.
    divided: the stage that can go through a large batch in parts, or -1.
    """

    graph: Graph
    kernels: list[Kernel]
    buffers: dict[Value, Buffer]
    slots: list[tuple[str, str]]
    block: int
    arena: int = 0
    arena_per_sample: int = 0
    scratch: int = 0
    partial: int = 0
    labels: dict[str, int] = field(default_factory=dict)
    divided: int = -1

    @property
    def stages(self) -> int:
        return 1 + max((kernel.stage for kernel in self.kernels), default=-1)

    def by_stage(self) -> list[list[Kernel]]:
        """Return the kernels of each stage."""
        found: list[list[Kernel]] = [[] for _ in range(self.stages)]
        for kernel in self.kernels:
            found[kernel.stage].append(kernel)
        return found

    def is_repeated(self, stage: int) -> bool:
        """Whether a stage runs after each part of the batch, since it sums up products over samples."""
        follows = self.divided >= 0 and stage == self.divided + 1
        return follows and any(kernel.unfinished is not None for kernel in self.kernels)

    def describe(self, kernel: Kernel) -> str:
        """Return in words when a kernel runs, its tile, and where it reads and writes."""
        read = [kernel.source or self.buffers[value] for value in kernel.loads]
        sources = [self._name(buffer) for buffer in sorted(read, key=lambda b: (b.value.key, b.value.index))]
        if kernel.sums is not None:
            sources.append(f"sums+{kernel.sums.partial}")
        targets = [self._name(buffer) for _, buffer in kernel.stores]
        if kernel.unfinished is not None:
            targets.append(f"unfinished {self._name(kernel.unfinished)}")
        if kernel.partial >= 0:
            targets.append(f"sums+{kernel.partial}")
        tile = f", tile {kernel.tile}" if kernel.tile else ""
        moved = f"{', '.join(sources) or 'nothing'} → {', '.join(targets)}"
        return f"stage {kernel.stage}, {kernel.domain.value}{tile}: {moved}"

    def _name(self, buffer: Buffer) -> str:
        """Return what a buffer is called: the caller's name for it, or its place and offset."""
        if buffer.place is Place.CALLER:
            kind, label = self.slots[buffer.slot]
            return f"new {label}" if kind == "update" else label
        return f"{buffer.place.value}+{buffer.offset}"

    def base(self, value: Value) -> Value:
        """Return the value whose buffer holds this one: a reshape holds the same elements."""
        return base(self.graph, value)


def operands_read(node: Node) -> tuple[Value, ...]:
    """Return the operands whose elements a node needs; of the others it takes nothing but the shape."""
    if isinstance(node.op, Count):
        return ()
    return node.operands[:1] if isinstance(node.op, RandomUniform) else node.operands


def is_product_over_samples(graph: Graph, kernel: Kernel) -> bool:
    """Whether a kernel is a product that sums over the batch, as the gradient of dense weights does."""
    if kernel.root is None or not isinstance(kernel.op(graph), Matmul):
        return False
    x, y = (operand.type.shape for operand in graph.node(kernel.root).operands)
    return x[1] == BATCH and x[0] != BATCH and y[1] != BATCH


def base(graph: Graph, value: Value) -> Value:
    """Return the value behind reshapes."""
    from graphcnn.ops import Reshape

    node = graph.node(value.key)
    while isinstance(node.op, Reshape):
        value = node.operands[0]
        node = graph.node(value.key)
    return value
