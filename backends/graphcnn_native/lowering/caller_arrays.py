"""Which kernels write the caller's arrays, and what is copied there in the end.

A kernel writes an output or a new state where the caller wants it, if that is sound; elsewhere the value is
copied. The array of an update may be that of the state which it replaces: everybody else must have read it,
and the kernel itself may read it only where it writes.
"""

from __future__ import annotations

from graphcnn.ir import BATCH, Value
from graphcnn_native.lowering.draft import Draft, drafts_by_value
from graphcnn_native.lowering.program import Buffer, Domain, Keeps, Place, spreads, unshaped
from graphcnn_native.lowering.schedule import Schedule


class CallerArrays:
    """What each of the caller's arrays is, and the buffers that are among them; it adds stores to kernels."""

    def __init__(self, schedule: Schedule) -> None:
        graph = schedule.graph
        self._schedule = schedule
        self._elsewhere: dict[Draft, set[Value]] = {}
        self.slots = [("input", label) for label in graph.inputs]
        self.buffers = {
            value: Buffer(value, Place.CALLER, slot) for slot, value in enumerate(graph.inputs.values())
        }
        stored = {("output", label): unshaped(graph, value) for label, value in graph.outputs.items()}
        stored |= {("update", label): unshaped(graph, value) for label, value in graph.updates.items()}
        arrays = {name: Buffer(value, Place.CALLER, len(self.slots) + n)
                  for n, (name, value) in enumerate(stored.items())}  # fmt: skip
        self.slots += stored
        self._keep_inputs(arrays)
        readers = drafts_by_value(schedule.kernels)
        last = max((kernel.stage for kernel in schedule.kernels), default=0)
        for (kind, label), buffer in arrays.items():
            writer = schedule.kernel_of.get(buffer.value)
            if writer is not None and (
                kind == "output" or self._may_overwrite(writer, graph.inputs[label], readers)
            ):
                self.buffers.setdefault(buffer.value, buffer)
                writer.stores.append((buffer.value, buffer))
            elif kind == "update":
                copy = self._copy(buffer.value, buffer, last + 1)
                if writer is None:
                    copy.loads, copy.source = frozenset(), _until_copied(buffer.value)

    def _keep_inputs(self, arrays: dict[tuple[str, str], Buffer]) -> None:
        """Copy inputs that are outputs, and keep those that are updates until they can be written."""
        kept = set[Value]()
        for (kind, _), buffer in arrays.items():
            if buffer.value in self._schedule.kernel_of:
                continue
            if kind == "output":
                self._copy(buffer.value, buffer, 0)
            elif buffer.value not in kept:
                self._copy(buffer.value, _until_copied(buffer.value), 0)
                kept.add(buffer.value)

    def _copy(self, value: Value, target: Buffer, stage: int) -> Draft:
        kernels, shape = self._schedule.kernels, value.type.shape
        domain = Domain.SAMPLES if shape and shape[0] == BATCH else Domain.WHOLE
        kernel = Draft(len(kernels), domain, stage, shape, stores=[(value, target)], copies=value)
        kernel.loads = frozenset([value])
        kernels.append(kernel)
        return kernel

    def _may_overwrite(self, writer: Draft, state: Value, readers: dict[Value, list[Draft]]) -> bool:
        """Whether all who read a state are done when `writer` replaces it, or read just what they replace."""
        for kernel in readers.get(state, ()):
            if kernel is not writer:
                if kernel.stage >= writer.stage:
                    return False
                continue
            if kernel not in self._elsewhere:
                self._elsewhere[kernel] = read_elsewhere(self._schedule, kernel)
            if state.type.shape != kernel.shape or state in self._elsewhere[kernel]:
                return False
        return True


def _until_copied(value: Value) -> Buffer:
    return Buffer(value, Place.ARENA, keeps=Keeps.UNTIL_COPIED)


def read_elsewhere(schedule: Schedule, kernel: Draft) -> set[Value]:
    """Return what a kernel reads at other elements than that which it writes: by its root, or spread."""
    graph, found = schedule.graph, set[Value]()
    if kernel.root is not None:
        found |= schedule.read_by_root(graph.node(kernel.root))
    pending, seen = list(kernel.values), set[Value]()
    while pending:
        value = pending.pop()
        node = graph.node(value.key)
        if value in seen or value == kernel.total:
            continue
        seen.add(value)
        if spreads(node, value):
            found.update(leaf for operand in node.operands_read for leaf in schedule.leaves(operand))
        if value.key != kernel.root and value not in kernel.loads:
            pending += node.operands_read
    return found
