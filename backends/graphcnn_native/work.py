"""What each kernel does in a call: its FLOPs, bytes and nodes, with those of neighbours whose work it does.

Correlations with samples in the lanes (`lowering/samples_in_lanes.py`) do what pads and pools beside them
would, but for blocks of too few samples; so it is the batch size that decides who does what.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from graphcnn.ir import Value
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.lowering import Program
from graphcnn_native.lowering.bfloat16 import is_product
from graphcnn_native.lowering.program import Place, PlacedKernel
from graphcnn_native.lowering.routing import RoutedCorrelation, RoutedFilterGradient
from graphcnn_native.lowering.samples_in_lanes import too_few
from graphcnn_native.lowering.winograd import (
    WinogradCorrelation,
    WinogradFilterGradient,
    step_of,
)
from graphcnn_native.target import Target
from graphcnn_native.workspace import room_for


@dataclass(frozen=True)
class Work:
    """The work of one kernel for a whole batch; nodes by their keys in the graph that was compiled.

    flops: as the ops are defined; performed: those that it takes. streamed: those of the bytes that are not
    in a block, which stays in a cache. is_bfloat16: whether its products are of such numbers, by tiles.
    """

    flops: int
    performed: int
    bytes: int
    streamed: int
    nodes: tuple[int, ...]
    is_bfloat16: bool = False


def works(program: Program, batch: int, target: Target) -> list[Work]:
    """Return the work of each kernel in a call of this batch size."""
    capacity, _, shard = room_for(program.interface, batch)
    blocks = list(_blocks(batch, (capacity, shard, program.block)))

    def joined(kernel: PlacedKernel) -> float:
        """Return for which share of the samples neighbours are done by the correlation between them."""
        if kernel.root is None or (kernel.pad is kernel.pool is None and not kernel.is_optional):
            return 0.0
        item = ITEMS[program.graph.results(kernel.root)[0].type.dtype]
        few = too_few(target.lanes(SIZES[item]))
        return sum(size * times for size, times in blocks if size > few) / batch

    return [_work(program, kernel, batch, joined(kernel)) for kernel in program.kernels]


def _work(program: Program, kernel: PlacedKernel, batch: int, share: float) -> Work:
    """Return the work of a kernel. share: of the samples, for which neighbours are done on the way."""
    loads, stores = {*kernel.loads}, {value for value, _ in kernel.stores}
    if kernel.is_optional:
        done = kernel.flops(batch)
        moved = _between(_moved(program, loads | stores, batch), (0, 0), share)
        left = done - round(done * share)
        return Work(left, left, *moved, kernel.nodes)
    alone, together = loads | stores, loads | stores
    total, nodes = kernel.flops(batch), kernel.nodes
    if kernel.pad is not None:
        pad = program.kernels[kernel.pad]
        alone = alone - pad.loads
        together = together - {value for value, _ in pad.stores}
    if kernel.pool is not None:
        pool = program.kernels[kernel.pool]
        together = together - stores | {value for value, _ in pool.stores}
        total += round(pool.flops(batch) * share)
        nodes = tuple(sorted({*nodes, *pool.nodes})) if share else nodes
    moved = _between(_moved(program, alone, batch), _moved(program, together, batch), share)
    op = kernel.op(program.graph)
    is_bfloat16 = op is not None and is_product(op)
    return Work(total, round(total * _performed(program, kernel)), *moved, nodes, is_bfloat16)


def _performed(program: Program, kernel: PlacedKernel) -> float:
    """Return which share of its FLOPs a kernel takes: on Winograd's tiles, the products of their
    points; by lists, at most those of one unit of each window."""
    op = kernel.op(program.graph)
    if isinstance(op, RoutedCorrelation | RoutedFilterGradient):
        return 1 / math.prod(op.size)
    if kernel.root is None or not isinstance(op, WinogradCorrelation | WinogradFilterGradient):
        return 1.0
    window = program.graph.node(kernel.root).operands[1]
    maps = window.type if op.sum_over == "batch" else program.graph.results(kernel.root)[0].type
    sizes = maps.static(1), maps.static(2)
    tiles = math.prod(-(-size // op.form.results) for size in sizes)
    products = math.prod(op.form.parts_of(op.taps, step_of(op))) * op.form.points
    return tiles * products / (math.prod(sizes) * math.prod(op.taps))


def _moved(program: Program, values: Iterable[Value], batch: int) -> tuple[int, int]:
    """Return the bytes of values, and of those among them that are not in a block."""
    near = far = 0
    for value in values:
        buffer = program.buffers[program.unshaped(value)]
        size = value.type.bytes(batch) if buffer.margins is None else buffer.bytes * batch
        if buffer.place is Place.BLOCK:
            near += size
        else:
            far += size
    return near + far, far


def _between(alone: tuple[int, int], together: tuple[int, int], share: float) -> tuple[int, int]:
    """Return what is moved where a kernel does its neighbours' work for this share of the samples."""
    (moved, streamed), (less, less_streamed) = alone, together
    return moved - round((moved - less) * share), streamed - round((streamed - less_streamed) * share)


def _blocks(samples: int, sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield how samples are cut into parts, those into shards, and those into blocks: sizes, and how many."""
    if not sizes:
        yield samples, 1
        return
    for size, times in ((sizes[0], samples // sizes[0]), (samples % sizes[0], 1)):
        if size and times:
            for block, count in _blocks(size, sizes[1:]):
                yield block, count * times
