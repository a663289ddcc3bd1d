"""How kernels are cut, of the whole into pieces and of samples into parts, which threads take one by one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from graphcnn import ops
from graphcnn.ir import BATCH
from graphcnn_native.kernels import nest, product
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.bfloat16 import Bfloat16ProductOverSamples
from graphcnn_native.lowering.bfloat16_tiling import DEPTH
from graphcnn_native.lowering.panels import InPanels
from graphcnn_native.lowering.program import Program
from graphcnn_native.lowering.winograd import WinogradFilters
from graphcnn_native.op_code import has_code

CHUNK = 8192
"""Elements that one thread takes at a time from a kernel of the whole."""
FLOPS_OF_PART, BYTES_OF_PART = 200_000, 100_000
"""Work on one sample that is worth a thread of its own: some microseconds, where handing it out takes a
fraction of one."""

PIECES = 16
"""Into so many pieces a product over samples is cut at most, each of which puts samples in order anew."""

BYTE, BYTE_FETCHED = 1.5, 35.0
"""FLOPs that take as long as to load or store a byte, and as to fetch two of them from another core: threads
halve the time of FLOPs, but not that of fetching."""
NEAR = 1024 * 1024
"""Bytes that stay in the cache of a core from one call to the next."""


@dataclass(frozen=True)
class Share:
    """`pieces` of `chunk` each, the last one up to `extent`; for every sample, where that is said.

    A chunk of 0 stands for all there is.
    """

    pieces: int
    chunk: int
    extent: int
    for_every_sample: bool = False


def share(writer: Writer) -> Share:
    """Return how a kernel of the whole is cut: by elements where it is flat, or else along its first axis."""
    kernel = writer.kernel
    shape = kernel.shape
    is_flat = kernel.root is None and bool(shape) and nest.is_flat(writer)
    op = kernel.op(writer.plan.graph)
    if op is not None and not has_code(op):
        return Share(1, 0, 1)
    if not shape:
        return Share(1, 1, 1)
    sizes = [int(size) for size in shape if size != BATCH]
    if BATCH in shape:
        if is_flat:
            return Share(1, 0, math.prod(sizes), for_every_sample=True)
        return Share(1, 0, 1, for_every_sample=True) if shape[0] == BATCH else Share(1, 0, int(shape[0]))
    if is_flat:
        extent, chunk = math.prod(sizes), CHUNK
    elif isinstance(op, WinogradFilters):
        extent, chunk = sizes[1], max(1, CHUNK // (sizes[0] * sizes[2]))
    elif isinstance(op, InPanels):
        extent, chunk = math.prod(sizes[:-1]), max(1, CHUNK // sizes[-1])
    elif isinstance(op, ops.Sum | ops.Mean):
        return Share(1, 0, sizes[0])
    else:
        extent, chunk = sizes[0], max(1, CHUNK // max(1, math.prod(sizes[1:])))
    turns = isinstance(op, WinogradFilters | InPanels) and op.is_turned
    if isinstance(op, ops.Transpose) or turns:
        chunk = -(-chunk // 16) * 16
    if isinstance(op, Bfloat16ProductOverSamples):
        chunk = DEPTH * max(1, -(-extent // (DEPTH * PIECES)))
    elif isinstance(op, ops.Matmul) and len(shape) == 2:
        tile = product.product_rows(writer)
        chunk = max(tile, chunk // 2 // tile * tile)
    return Share(-(-extent // chunk), chunk, extent)


def most_parts(writer: Writer) -> int:
    """Return into how many parts it is worth cutting a kernel's work on the same samples."""
    if writer.grains == 1:
        return 1
    kernel = writer.kernel
    moved = sum(value.type.bytes(1) for value in kernel.touched)
    return min(writer.grains, max(1, kernel.flops(1) // FLOPS_OF_PART, moved // BYTES_OF_PART))


def work(program: Program) -> tuple[int, int]:
    """Return the work of a call beside its samples, and that of a sample: FLOPs, and bytes that take as long.

    Where a call changes parameters, threads have to fetch them from each other's caches, which is work that
    one thread alone does not have, and counts against sharing; not where no cache holds them.
    """
    changed = sum(value.type.bytes(1) for value in program.graph.updates.values())
    beside = -BYTE_FETCHED * changed if changed <= NEAR else 0
    of_sample = 0.0
    for kernel in program.kernels:
        for node in kernel.counted:
            types = *node.types, *(operand.type for operand in node.operands)
            if any(type.has_batch for type in types):
                of_sample += node.cost(1).flops
            else:
                beside += node.cost(1).flops
        for value in kernel.touched:
            if value.type.has_batch:
                of_sample += BYTE * value.type.bytes(1)
            else:
                beside += BYTE * value.type.bytes(1)
    return round(beside), round(of_sample)
