"""What tells kernels apart: of those that differ in nothing but where their buffers lie, one is generated.

A kernel's code depends on its *signature*: its ops on the types that they meet, and which of the values are
in memory, in what kind of place. Where exactly is a table of numbers, the kernel's *places*, which is handed
to it at every call. The layers of a deep network are alike: some tens of signatures cover hundreds of
kernels.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from graphcnn.ir import Input, Node, Value
from graphcnn.ops import Constant, Pad
from graphcnn_native.lowering.program import (
    Buffer,
    Place,
    PlacedKernel,
    Plan,
    PlannedKernel,
    Program,
)

ARENA, PARTIAL, WORKSPACE, FIRST_BUFFER = range(4)
"""The places of a kernel: what all buffers by sample in the arena lie behind, the offset of its sums in those
of a shard, the offset of its workspace in a block, and then buffer by buffer its offset or, of the caller's
arrays, the slot."""


class Layout:
    """The signature of one kernel, and its buffers in the order of its places."""

    def __init__(self, plan: Plan, kernel: PlannedKernel) -> None:
        self._plan, self._kernel, self._graph = plan, kernel, plan.graph
        self.buffers: list[Buffer] = []
        self._numbers: dict[Buffer, int] = {}
        self._seen: dict[Value, int] = {}
        self._parts: list[Hashable] = []
        self._read()
        self._write()

    @property
    def signature(self) -> Hashable:
        return tuple(self._parts)

    def places(self, program: Program, kernel: PlacedKernel) -> list[int]:
        """Return the places of a kernel in its program."""
        found = [program.arena, kernel.sums_offset, kernel.workspace_offset]
        return found + [b.slot if b.place is Place.CALLER else program.offsets[b] for b in self.buffers]

    def number(self, buffer: Buffer) -> int:
        """Return at which of the places a buffer's is."""
        return FIRST_BUFFER + self._numbers[buffer]

    def _read(self) -> None:
        """Note what the kernel computes, from the ops of its values down to what it loads."""
        kernel, graph = self._kernel, self._graph
        self._parts += [kernel.domain, kernel.shape, kernel.is_optional, kernel.adds_up_samples]
        self._parts += [kernel.totals is not None, kernel.copies is not None]
        if kernel.source is not None:
            self._parts.append(self._place(kernel.source))
        if kernel.copies is not None:
            self._visit(kernel.copies)
        if kernel.root is not None:
            root = graph.node(kernel.root)
            self._parts += [_identity(root), root.types, self._operands(root)]
        for number in (kernel.pad, kernel.pool):
            neighbour = None if number is None else self._plan.kernels[number]
            self._parts.append(None if neighbour is None else neighbour.op(graph))
            if neighbour is not None and neighbour.root is not None and number == kernel.pad:
                self._parts.append(self._operands(graph.node(neighbour.root)))
        self._parts += [self._visit(value) for value in kernel.values]
        for key in kernel.sums:
            node = graph.node(key)
            self._parts += [_identity(node), node.types, self._operands(node)]

    def _write(self) -> None:
        """Note where the kernel stores what."""
        kernel = self._kernel
        pool = None if kernel.pool is None else self._plan.kernels[kernel.pool]
        for writer in (kernel, pool):
            for value, buffer in () if writer is None else writer.stores:
                kind = self._plan.slots[buffer.slot][0] if buffer.place is Place.CALLER else ""
                result = value.index if writer is pool else self._visit(value)
                self._parts += [result, kind, self._place(buffer)]
        if kernel.unfinished is not None:
            self._parts.append(self._place(kernel.unfinished))

    def _operands(self, node: Node) -> tuple[Hashable, ...]:
        read = node.operands_read
        return tuple(self._visit(each) if each in read else each.type for each in node.operands)

    def _visit(self, value: Value) -> int:
        """Return a value's number; note what it is when it is met for the first time."""
        if value not in self._seen:
            what = self._what(value)
            self._seen[value] = len(self._seen)
            self._parts.append(what)
        return self._seen[value]

    def _what(self, value: Value) -> Hashable:
        kernel, node = self._kernel, self._graph.node(value.key)
        stored = self._plan.unshaped(value)
        if stored == kernel.copies or (stored in kernel.loads and stored not in kernel.values):
            # A correlation skips the zeros that a pad has written, whoever wrote them.
            zeros = node.op if isinstance(node.op, Pad) and not node.op.value else None
            return value.type, zeros, self._place(kernel.source or self._plan.buffers[stored])
        if value.key == kernel.root:
            return "root", value.index, value.type
        if value == kernel.total:
            in_bands = kernel.totals is not None and value.key in self._plan.kernels[kernel.totals].sums
            types = tuple(operand.type for operand in node.operands)
            return "total", _identity(node), value.type, types, in_bands
        if isinstance(node.op, Input):
            return "shape", value.type
        return _identity(node), value.index, value.type, self._operands(node)

    def _place(self, buffer: Buffer) -> Hashable:
        """Return what the code depends on of a place: its kind and size, not where it is."""
        if buffer not in self._numbers:
            self._numbers[buffer] = len(self.buffers)
            self.buffers.append(buffer)
        is_within = buffer in self._plan.within_strips
        return self._numbers[buffer], buffer.place, is_within, buffer.value.type, buffer.margins


def _identity(node: Node) -> Hashable:
    """Return what tells ops apart: 0.0 and -0.0 are equal, but not the same constant."""
    return (node.op, repr(node.op.value)) if isinstance(node.op, Constant) else node.op


def shared(layouts: Sequence[Layout]) -> list[int]:
    """Return for each kernel the first one of the same signature."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(layout.signature, number) for number, layout in enumerate(layouts)]
