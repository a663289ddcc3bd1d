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
from graphcnn_native.lowering.program import Buffer, Kernel, Place, Program, operands_read

ARENA, SHARD, PARTIAL, WORKSPACE, FIRST_BUFFER = range(5)
"""The places of a kernel: what all buffers by sample in the arena lie behind, the bytes of one shard's sums,
the offset of this kernel's among them, the offset of its workspace in a block, and then buffer by buffer its
offset or, of the caller's arrays, the slot."""


class Layout:
    """The signature and the places of one kernel, and its buffers in the order of both."""

    def __init__(self, program: Program, kernel: Kernel) -> None:
        self._program, self._kernel, self._graph = program, kernel, program.graph
        self.buffers: list[Buffer] = []
        self._numbers: dict[int, int] = {}
        self._seen: dict[Value, int] = {}
        self._parts: list[Hashable] = []
        self._read()
        self._write()

    @property
    def signature(self) -> Hashable:
        return tuple(self._parts)

    @property
    def places(self) -> list[int]:
        kernel, program = self._kernel, self._program
        partial = kernel.partial if kernel.sums is None else kernel.sums.partial
        found = [program.arena, program.partial, partial, kernel.workspace_offset]
        return found + [b.slot if b.place is Place.CALLER else b.offset for b in self.buffers]

    def number(self, buffer: Buffer) -> int:
        """Return at which of the places a buffer's is."""
        return FIRST_BUFFER + self._numbers[id(buffer)]

    def _read(self) -> None:
        """Note what the kernel computes, from the ops of its values down to what it loads."""
        kernel, graph = self._kernel, self._graph
        is_partial, sums, copies = kernel.partial >= 0, kernel.sums is not None, kernel.copies is not None
        self._parts += [kernel.domain, kernel.shape, kernel.is_optional, is_partial, sums, copies]
        if kernel.source is not None:
            self._parts.append(self._place(kernel.source))
        if kernel.copies is not None:
            self._visit(kernel.copies)
        if kernel.root is not None:
            root = graph.node(kernel.root)
            self._parts += [_identity(root), root.types, self._operands(root)]
        for neighbour in (kernel.pad, kernel.pool):
            node = None if neighbour is None or neighbour.root is None else graph.node(neighbour.root)
            self._parts.append(node and node.op)
        if kernel.pad is not None and kernel.pad.root is not None:
            self._parts.append(self._operands(graph.node(kernel.pad.root)))
        self._parts += [self._visit(value) for value in kernel.values]

    def _write(self) -> None:
        """Note where the kernel stores what."""
        kernel = self._kernel
        for writer in (kernel, kernel.pool):
            for value, buffer in [] if writer is None else writer.stores:
                kind = self._program.slots[buffer.slot][0] if buffer.place is Place.CALLER else ""
                result = value.index if writer is kernel.pool else self._visit(value)
                self._parts += [result, kind, self._place(buffer)]
        if kernel.unfinished is not None:
            self._parts.append(self._place(kernel.unfinished))

    def _operands(self, node: Node) -> tuple[Hashable, ...]:
        read = operands_read(node)
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
        stored = self._program.base(value)
        if stored == kernel.copies or (stored in kernel.loads and stored not in kernel.values):
            # A correlation skips the zeros that a pad has written, whoever wrote them.
            zeros = node.op if isinstance(node.op, Pad) else None
            return value.type, zeros, self._place(kernel.source or self._program.buffers[stored])
        if value.key == kernel.root:
            return "root", value.index, value.type
        if value == kernel.given:
            return "given", _identity(node), value.type, tuple(operand.type for operand in node.operands)
        if isinstance(node.op, Input):
            return "shape", value.type
        return _identity(node), value.index, value.type, self._operands(node)

    def _place(self, buffer: Buffer) -> Hashable:
        """Return what the code depends on of a place: its kind and size, not where it is."""
        if id(buffer) not in self._numbers:
            self._numbers[id(buffer)] = len(self.buffers)
            self.buffers.append(buffer)
        return self._numbers[id(buffer)], buffer.place, buffer.value.type


def _identity(node: Node) -> Hashable:
    """Return what tells ops apart: 0.0 and -0.0 are equal, but not the same constant."""
    return (node.op, repr(node.op.value)) if isinstance(node.op, Constant) else node.op


def shared(layouts: Sequence[Layout]) -> list[int]:
    """Return for each kernel the first one of the same signature."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(layout.signature, number) for number, layout in enumerate(layouts)]
