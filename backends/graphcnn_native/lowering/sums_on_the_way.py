"""Sums over a batch that are added up by the kernel that computes what they are of.

Batch norm waits for two sums of what a convolution has computed, and on the way back for two of what an
input gradient has. A kernel of their own for them would read from memory what has just been written there.
Here such sums move to the kernel that computes their summands, which adds them up while these are in
registers, in `Writer.store`. On tiles only where all that they are of is at hand: other maps would be read in
short rows that lie apart, which takes as long as a kernel of their own does.

Sums that no kernel of samples waits for, such as the gradient of a bias, stay where they are.
"""

from __future__ import annotations

from graphcnn.ir import BATCH, Op
from graphcnn.ops import Correlate2d, Mean, Sum
from graphcnn_native.lowering.bfloat16 import Bfloat16Correlation
from graphcnn_native.lowering.draft import Draft, drafts_by_value
from graphcnn_native.lowering.panels import PanelCorrelation
from graphcnn_native.lowering.program import Domain
from graphcnn_native.lowering.samples_in_lanes import suits_samples_in_lanes
from graphcnn_native.lowering.schedule import Schedule, runs_before
from graphcnn_native.lowering.strides import PhasedCorrelation
from graphcnn_native.lowering.winograd import WinogradCorrelation
from graphcnn_native.target import Target


def add_up_on_the_way(schedule: Schedule, target: Target) -> None:
    """Let kernels add up sums of what they compute, which kernels of samples wait for."""
    awaited = _awaited(schedule)
    moved = set[Draft]()
    for total in schedule.kernels:
        adding = total.totals
        if adding is None or total not in awaited or not _is_over_places(schedule, adding):
            continue
        maker = _maker(schedule, adding, target)
        if maker is not None and adding.root is not None:
            maker.sums.append(adding.root)
            maker.loads |= {v for v in adding.loads if schedule.kernel_of.get(v) is not maker}
            total.totals = maker
            moved.add(adding)
    schedule.kernels[:] = [kernel for kernel in schedule.kernels if kernel not in moved]


def _awaited(schedule: Schedule) -> set[Draft]:
    """Return the kernels of the whole for which some kernel of samples waits."""
    readers, found = drafts_by_value(schedule.kernels), set[Draft]()
    for kernel in sorted(schedule.kernels, key=lambda k: (k.stage, k.number), reverse=True):
        if kernel.domain is not Domain.WHOLE:
            continue
        reading = [reader for value in kernel.values for reader in readers.get(value, ())]
        if any(reader.domain is Domain.SAMPLES or reader in found for reader in reading):
            found.add(kernel)
    return found


def _is_over_places(schedule: Schedule, adding: Draft) -> bool:
    """Whether a kernel sums over all axes but the last, which stays."""
    op = adding.op(schedule.graph)
    if adding.root is None or not isinstance(op, Sum | Mean):
        return False
    (operand,) = schedule.graph.node(adding.root).operands
    rank = operand.type.rank
    return rank > 2 and op.axes == tuple(range(rank - 1)) and not op.keep and operand.type.shape[0] == BATCH


def _maker(schedule: Schedule, adding: Draft, target: Target) -> Draft | None:
    """Return the kernel that can add up these sums on its way: what they are of is there when it runs."""
    assert adding.root is not None
    (operand,) = schedule.graph.node(adding.root).operands
    makers = {schedule.kernel_of[value] for value in adding.loads if value in schedule.kernel_of}
    maker = max(makers, key=lambda k: (k.stage, k.number), default=None)
    if maker is None or maker.domain is not Domain.SAMPLES or maker.shape != operand.type.shape:
        return None
    is_last = all(other is maker or runs_before(other, maker) for other in makers)
    if not is_last or not _can_add_up(schedule, maker, target):
        return None
    if isinstance(maker.op(schedule.graph), WinogradCorrelation):
        others = adding.loads - maker.loads - {*maker.values}
        return None if any(value.type.has_batch for value in others) else maker
    return maker


def _can_add_up(schedule: Schedule, kernel: Draft, target: Target) -> bool:
    """Whether a kernel computes its results tile by tile, with channels in the lanes."""
    op: Op | None = kernel.op(schedule.graph)
    if kernel.root is None or kernel.adds_up_samples:
        return False
    if isinstance(op, Bfloat16Correlation | WinogradCorrelation | PhasedCorrelation | PanelCorrelation):
        return True
    if type(op) is not Correlate2d:
        return False
    images, filters = (operand.type for operand in schedule.graph.node(kernel.root).operands)
    return not suits_samples_in_lanes(op, images, filters, target)
