"""Which correlations have samples in the lanes, and which neighbours' work they do on the way.

A correlation with few filters turns its rows so that samples are innermost
(`kernels/samples_in_lanes.py`). While they are, zeros beside the images cost nothing to write and pooling
reads whole vectors; so such a kernel does without the kernel that pads its images, and does the work of the
one that pools its result. Where a call has too few samples to fill the lanes, all three kernels run one after
the other as they stand.
"""

from __future__ import annotations

import math

from graphcnn.ir import Graph, TensorType, Value
from graphcnn.ops import AveragePool2d, Broadcast, Correlate2d, L2Pool2d, MaxPool2d, Pad, SumPool2d
from graphcnn.ops.attributes import NO_PADDING
from graphcnn_native.elements import ITEMS, SIZES, SQUARE
from graphcnn_native.lowering.draft import Draft, drafts_by_value
from graphcnn_native.lowering.program import Domain, PlannedKernel, unshaped
from graphcnn_native.lowering.schedule import Schedule
from graphcnn_native.op_code import is_pointwise
from graphcnn_native.target import Target

LARGEST_WINDOW = 256 * 1024
"""Bytes of turned rows that a thread's stack and second cache hold."""
LEAST_PRODUCTS = 16
"""A sum of fewer products is not worth turning its factors."""
LARGEST_POOL = 9
"""Units of a pooling window whose code is written out."""
POOLS = (MaxPool2d, SumPool2d, AveragePool2d, L2Pool2d)
"""Pools whose work the correlation before them does."""


def suits_samples_in_lanes(op: Correlate2d, images: TensorType, filters: TensorType, target: Target) -> bool:
    """Whether so few filters, or their gradient, are better off with samples in the lanes.

    Turned rows serve all taps; a single one does not pay for them. Maps gain by zeros that are left out too.
    """
    item = ITEMS[images.dtype]
    lanes = target.lanes(SIZES[item])
    k1, k2, channels, count = (filters.static(axis) for axis in range(4))
    window = k1 * images.static(2) * channels * lanes * SIZES[item]
    width = -(-count // lanes) * lanes
    narrow = target.lanes_of_row(count, SIZES[item])
    if op.sum_over == "batch":
        is_part = count <= lanes and 4 * count <= 3 * narrow
    else:
        is_part = 4 * count <= 3 * width and (count > lanes or count < narrow)
    return (
        (op.stride, op.dilation, op.groups) == ((1, 1), (1, 1), 1)
        and lanes % SQUARE == 0
        and is_part
        and k1 * k2 > 1
        and count <= target.registers - 3
        and k1 * k2 * channels >= LEAST_PRODUCTS
        and window <= LARGEST_WINDOW
    )


def too_few(lanes: int) -> int:
    """Return how many samples of a block are too few to be put into the lanes: it pays for more than half."""
    return lanes // 2


def join_neighbours(schedule: Schedule, target: Target) -> None:
    """Let kernels with samples in the lanes read images that are not padded, and pool what they compute."""
    joining = _Joining(schedule, target)
    for kernel in schedule.kernels:
        if _pads_sides(schedule, kernel):
            joining.join_pad(kernel)
        elif _tiles_maps(schedule, kernel):
            joining.join_pool(kernel)


def is_same_for_samples(graph: Graph, kernel: Draft | PlannedKernel) -> bool:
    """Return whether what follows from a kernel's root reads nothing that differs from sample to sample."""
    followers = [value for value in kernel.values if value.key != kernel.root]
    pending = [operand for value in followers for operand in graph.node(value.key).operands_read]
    seen = {*kernel.values}
    while pending:
        value = pending.pop()
        if value in seen or not value.type.has_batch:
            continue
        seen.add(value)
        node = graph.node(value.key)
        if unshaped(graph, value) in kernel.loads or not (
            isinstance(node.op, Broadcast) or is_pointwise(node.op)
        ):
            return False
        pending += node.operands_read
    return True


def _has_samples_in_lanes(schedule: Schedule, kernel: Draft, target: Target) -> bool:
    op = kernel.op(schedule.graph)
    if type(op) is not Correlate2d or kernel.domain is not Domain.SAMPLES or kernel.root is None:
        return False
    images, window = (operand.type for operand in schedule.graph.node(kernel.root).operands)
    result = schedule.graph.results(kernel.root)[0].type
    return suits_samples_in_lanes(op, images, result if op.sum_over == "batch" else window, target)


def _is_plain(schedule: Schedule, kernel: Draft) -> bool:
    """Whether a kernel for samples computes nothing but the results of its root."""
    if kernel.root is None or kernel.domain is not Domain.SAMPLES or kernel.adds_up_samples:
        return False
    return set(kernel.values) <= set(schedule.graph.results(kernel.root))


def _pads_sides(schedule: Schedule, kernel: Draft) -> bool:
    op = kernel.op(schedule.graph)
    if not isinstance(op, Pad) or op.value or not _is_plain(schedule, kernel) or kernel.stores:
        return False
    return len(op.widths) == 4 and op.widths[0] == op.widths[1] == op.widths[3] == (0, 0)


def _tiles_maps(schedule: Schedule, kernel: Draft) -> bool:
    op = kernel.op(schedule.graph)
    if not isinstance(op, POOLS) or not _is_plain(schedule, kernel):
        return False
    return op.size == op.stride and op.padding == NO_PADDING and math.prod(op.size) <= LARGEST_POOL


class _Joining:
    """Joins neighbours, and knows who reads what meanwhile."""

    def __init__(self, schedule: Schedule, target: Target) -> None:
        self.schedule, self.graph = schedule, schedule.graph
        self.joinable = {
            kernel for kernel in schedule.kernels if _has_samples_in_lanes(schedule, kernel, target)
        }
        self._readers = drafts_by_value(schedule.kernels)

    def join_pad(self, pad: Draft) -> None:
        assert pad.root is not None
        (source,), (padded,) = self.graph.node(pad.root).operands, self.graph.results(pad.root)
        readers = self.readers(pad)
        for reader in readers:
            if reader not in self.joinable or reader.stage != pad.stage or reader.root is None:
                return
            images, *others = self.graph.node(reader.root).operands
            if images != padded:
                return
            followers = [value for value in reader.values if value.key != reader.root]
            read = {operand for value in followers for operand in self.graph.node(value.key).operands_read}
            if padded in {leaf for value in (*others, *read) for leaf in self.schedule.leaves(value)}:
                return
        pad.is_optional = True
        for reader in readers:
            reader.pad = pad
            self._load(reader, unshaped(self.graph, source))

    def join_pool(self, pool: Draft) -> None:
        assert pool.root is not None
        (images,) = self.graph.node(pool.root).operands
        writer = self.schedule.kernel_of.get(images)
        if writer not in self.joinable or writer.stage != pool.stage or writer.stores:
            return
        if self.readers(writer) == [pool] and is_same_for_samples(self.graph, writer):
            pool.is_optional = True
            writer.pool, pool.pooled_by = pool, writer

    def readers(self, kernel: Draft) -> list[Draft]:
        """Return the kernels that load what a kernel computes."""
        return list(dict.fromkeys(r for value in kernel.values for r in self._readers.get(value, ())))

    def _load(self, kernel: Draft, value: Value) -> None:
        if value not in kernel.loads:
            kernel.loads |= {value}
            self._readers.setdefault(value, []).append(kernel)
