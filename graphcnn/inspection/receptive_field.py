"""How much of an image a unit of each feature map sees.

Rows and columns are followed on their own, from op to op: each place of a result sees what the places of the
operand see that it reads. What cannot be followed counts as seeing all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from typing import TypeAlias

from graphcnn.inspection.seen import FLAT, Along, Reading, Seen
from graphcnn.ir import BATCH, Graph, Input, Node, TensorType
from graphcnn.ops import (
    ArgMax,
    AveragePool2d,
    Broadcast,
    Cast,
    Concatenate,
    Convolve2d,
    Correlate2d,
    Count,
    Crop,
    GatherWinner2d,
    Interpolate,
    InverseDeviation,
    L2Pool2d,
    LogSoftmax,
    Matmul,
    Max,
    MaxPool2d,
    Mean,
    Pad,
    RandomNumbers,
    Reshape,
    Rot180,
    RouteToWinner2d,
    Select,
    SoftmaxCrossEntropy,
    SpreadToBlock2d,
    SquaredError,
    StopGradient,
    Subsample,
    Sum,
    SumPool2d,
    Take,
    Transpose,
    UserFunction,
    ZeroInsert,
)
from graphcnn.ops.collective import Collective
from graphcnn.ops.comparison import Comparison, Logic
from graphcnn.ops.interpolation import Grid
from graphcnn.ops.pointwise import Pointwise

Size: TypeAlias = tuple[int, int]

IMAGE_RANKS = (3, 4)
"""[N, H, W, C]; and [N, L, C], or [N, H, W], whose second axis counts as columns too."""


def receptive_fields(graph: Graph) -> dict[int, Size | None]:
    """Return for each forward node that an image reaches the rows and columns that one of its units sees.

    None stands for the whole image, which every unit behind a dense layer or a global pool sees. Padding of
    any kind counts as pixels, so that a field can be larger than the image. Mean and variance over a batch
    count as in inference, as constants. Of a signal [N, L, C], places are rows and channels columns.
    """
    rows, columns = (seen_along(graph, axis) for axis in (1, 2))
    return {
        key: None if seen.is_all and columns[key].is_all else (seen.most, columns[key].most)
        for key, seen in rows.items()
    }


def seen_along(graph: Graph, image_axis: int) -> dict[int, Seen]:
    """Return what the units of each forward node see along one axis of the images that reach it."""
    found: dict[int, Seen] = {}
    for key, node in graph.items():
        type, op = node.types[0], node.op
        if isinstance(op, Input):
            if op.role == "data" and type.rank in IMAGE_RANKS and type.shape[0] == BATCH:
                axes = [Along(step=1) if axis == image_axis else FLAT for axis in range(type.rank)]
                found[key] = Seen.of((0, 0), axes, type.concrete(1), type.static(image_axis))
        elif node.origin.forward is None and not _is_constant(node):
            followed = [
                _behind(node, place, found[operand.key])
                for place, operand in enumerate(node.operands)
                if operand.key in found
            ]
            if followed:
                found[key] = reduce(Seen.joined, followed)
    return found


def _is_constant(node: Node) -> bool:
    """Whether no image reaches a node in inference: statistics of a batch, random numbers, sizes."""
    match node.op:
        case Sum(axes) | Mean(axes) | Max(axes) | InverseDeviation(axes):
            return node.types[0].rank > 0 and any(node.operands[0].type.shape[axis] == BATCH for axis in axes)
        case RandomNumbers() | Count():
            return True
    return False


def _behind(node: Node, place: int, seen: Seen) -> Seen:
    """Return what the units of a node see through the operand at a place, whose units see `seen`."""
    operand, sizes = node.operands[place].type, node.types[0].concrete(1)
    axes: Sequence[Along] | None = None
    match node.op:
        case (
            Pointwise()
            | Comparison()
            | Logic()
            | Select()
            | Cast()
            | StopGradient()
            | UserFunction()
            | Collective()
        ):
            axes = seen.axes if len(seen.axes) == len(sizes) else None
        case Sum(folded, keep) | Mean(folded, keep) | Max(folded, keep) | InverseDeviation(folded, keep):
            return seen.folded(folded, sizes, keep)
        case ArgMax(axis):
            return seen.folded((axis,), sizes, keep=False)
        case LogSoftmax():
            return seen.folded((operand.rank - 1,), sizes)
        case SoftmaxCrossEntropy() | SquaredError():
            return seen.folded(range(1, operand.rank), sizes, keep=False)
        case Matmul():
            return seen.folded((operand.rank - 1 - place,), sizes)
        case Correlate2d() | Convolve2d():
            if place == 0 and node.op.sum_over == "channels":
                return seen.folded((3,), seen.sizes).read(_readings(node), sizes)
        case Broadcast():
            axes = (*[FLAT] * (len(sizes) - operand.rank), *seen.axes)
        case Transpose(permutation):
            axes = [seen.axes[axis] for axis in permutation]
        case Concatenate(axis):
            axes = seen.axes if seen.axes[axis] == FLAT else None
        case Reshape() if _in_front_of_batch(operand) == _in_front_of_batch(node.types[0]):
            return seen.reshaped(sizes)
        case GatherWinner2d() if place == 1:
            axes = seen.axes
        case _ if readings := _readings(node):
            return seen.read(readings, sizes)
    return Seen.all(sizes, seen.extent) if axes is None else seen.with_axes(axes, sizes)


def _in_front_of_batch(type: TensorType) -> int:
    """Return how many elements there are of which each has a batch axis of its own behind it."""
    return math.prod(type.concrete(1)[: type.shape.index(BATCH)]) if type.has_batch else 0


def _readings(node: Node) -> dict[int, Reading]:
    """Return for each axis along which a node does not read place by place what it reads; {} if unknown."""
    op, x = node.op, node.operands[0].type
    match op:
        case Correlate2d() | Convolve2d():
            window = node.operands[1].type
            taps = [range(0, window.static(axis) * op.dilation[axis], op.dilation[axis]) for axis in (0, 1)]
            return {axis + 1: _window(taps[axis], op.padding[axis][0], op.stride[axis]) for axis in (0, 1)}
        case MaxPool2d() | AveragePool2d() | L2Pool2d() | SumPool2d() | GatherWinner2d():
            return {
                axis + 1: _window(range(op.size[axis]), op.padding[axis][0], op.stride[axis])
                for axis in (0, 1)
            }
        case RouteToWinner2d() | SpreadToBlock2d():
            return {axis + 1: _blocks(op.size[axis], op.padding[axis][0], op.stride[axis]) for axis in (0, 1)}
        case Subsample(factors):
            return {axis: Reading(((0,),), factor) for axis, factor in enumerate(factors, 1)}
        case ZeroInsert(factors):
            return {axis: Reading(((0,), *[()] * (factor - 1))) for axis, factor in enumerate(factors, 1)}
        case Pad(widths):
            return {axis: Reading(((-before,),)) for axis, (before, _) in enumerate(widths)}
        case Crop(widths):
            return {axis: Reading(((before,),)) for axis, (before, _) in enumerate(widths)}
        case Rot180(axes):
            return {axis: Reading(((x.concrete(1)[axis] - 1,),), -1) for axis in axes}
        case Take(axis):
            return {axis: _taken(op, x.static(axis))}
        case Interpolate(axis):
            return {axis: _between(op.grid(x))}
    return {}


def _window(taps: Sequence[int], before: int, stride: int) -> Reading:
    return Reading(([tap - before for tap in taps],), stride)


def _blocks(size: int, before: int, stride: int) -> Reading:
    """Return which windows a place lies in, for each place of a stride."""
    ends = [(-((size - 1 - before - place) // stride), (place + before) // stride) for place in range(stride)]
    return Reading(tuple(range(first, last + 1) for first, last in ends))


def _between(grid: Grid) -> Reading:
    """Return the neighbours that interpolation lies between; one, where it meets that."""
    common = math.gcd(grid.slope, grid.denominator)
    exact = [
        Fraction(grid.slope * i + grid.shift, grid.denominator) for i in range(grid.denominator // common)
    ]
    places = tuple(tuple(sorted({math.floor(each), math.ceil(each)})) for each in exact)
    return Reading(places, grid.slope // common)


def _taken(op: Take, size: int) -> Reading:
    """Return what `Take` reads; what it puts before and after a whole axis is padding, as if that went on."""
    if (0, size, 1) in op.runs:
        before = sum(count for _, count, _ in op.runs[: op.runs.index((0, size, 1))])
        return Reading(((-before,),))
    if len(op.runs) == 1:
        ((first, _, step),) = op.runs
        return Reading(((first,),), step)
    return Reading(tuple((first + k * step,) for first, count, step in op.runs for k in range(count)), size)
