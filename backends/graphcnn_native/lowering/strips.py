"""How many samples of a block go through neighbouring kernels together: few enough to stay in the cache.

A block has as many samples as fill the lanes of a vector. Where a sample is large, what one kernel stores of
a whole block has left the cache before the next one reads it. Such kernels go through the block strip by
strip: a few samples pass through all kernels of a *loop over strips*, and then the next ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from graphcnn.ir import Graph
from graphcnn.ops import Correlate2d
from graphcnn_native.lowering.bfloat16 import Bfloat16FilterGradient, Bfloat16Matmul
from graphcnn_native.lowering.program import Domain, PlannedKernel, partial_sum_type
from graphcnn_native.lowering.samples_in_lanes import suits_samples_in_lanes
from graphcnn_native.lowering.winograd import WinogradCorrelation, WinogradFilterGradient
from graphcnn_native.target import Target

NEARBY = 1024 * 1024
"""Bytes that a kernel reads and writes of a strip: about what the second cache holds."""
ALIKE = 4
"""So many times as long as the shortest strip in a loop may be those that its other kernels would take."""


def strips(graph: Graph, kernels: Sequence[PlannedKernel], block: int, target: Target) -> list[int]:
    """Return for each kernel how many samples of a block it takes at a time."""
    found = [block] * len(kernels)
    for loop in _loops(graph, kernels, block, target):
        for number, _ in loop if len(loop) > 1 else ():
            found[number] = min(samples for _, samples in loop)
    return found


def _loops(
    graph: Graph, kernels: Iterable[PlannedKernel], block: int, target: Target
) -> list[list[tuple[int, int]]]:
    """Return the loops over strips: the numbers of their kernels, and how many samples suit each."""
    loops: list[list[tuple[int, int]]] = [[]]
    stage = -1
    for kernel in kernels:
        if kernel.domain is not Domain.SAMPLES:
            continue
        samples = _samples(graph, kernel, block, target)
        suiting = [samples, *(others for _, others in loops[-1])]
        if kernel.stage != stage or samples == block or max(suiting) > ALIKE * min(suiting):
            loops.append([])
        stage = kernel.stage
        if samples < block:
            loops[-1].append((kernel.number, samples))
    return loops


def _samples(graph: Graph, kernel: PlannedKernel, block: int, target: Target) -> int:
    """Return how many samples a kernel should take at a time, a power of two or the whole block.

    Filters, and partial sums both ways, are moved anew for each strip: that should be less than what is moved
    of its samples.
    """
    if _fills_lanes(graph, kernel, target):
        return block
    stored = [value for value, _ in kernel.stores]
    moved = sum(value.type.bytes(1) for value in (*kernel.loads, *stored) if value.type.has_batch)
    again = sum(value.type.bytes(1) for value in kernel.loads if not value.type.has_batch)
    again += sum(2 * partial_sum_type(graph, key).bytes(1) for key in kernel.partial)
    samples = 1
    while samples < block and (2 * samples * moved <= NEARBY or samples * moved < again):
        samples *= 2
    return min(samples, block)


def _fills_lanes(graph: Graph, kernel: PlannedKernel, target: Target) -> bool:
    """Whether a kernel makes use of all samples of a block: in its lanes, or as places of its maps."""
    if kernel.is_optional or (kernel.pad, kernel.pool) != (None, None):
        return True
    op = kernel.op(graph)
    if isinstance(op, Bfloat16FilterGradient | Bfloat16Matmul | WinogradCorrelation | WinogradFilterGradient):
        return True
    if kernel.root is None or not isinstance(op, Correlate2d):
        return False
    images, window = graph.node(kernel.root).operands
    filters = graph.results(kernel.root)[0] if op.sum_over == "batch" else window
    return suits_samples_in_lanes(op, images.type, filters.type, target)
