"""How much of an image a unit of each feature map sees."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from graphcnn.ir import BATCH, Graph, Input, Node
from graphcnn.ops import (
    AveragePool2d,
    Convolve2d,
    Correlate2d,
    Crop,
    Interpolate,
    L2Pool2d,
    MaxPool2d,
    Pad,
    Subsample,
    SumPool2d,
    Take,
    ZeroInsert,
)

Size: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Along one axis of the image: how many pixels a unit sees, and how far apart neighbours look."""

    size: Fraction = Fraction(1)
    step: Fraction = Fraction(1)

    def through(self, reach: int, stride: int | Fraction) -> _Axis:
        """Return the axis behind a window that spans `reach` units and moves by `stride`."""
        return _Axis(self.size + (reach - 1) * self.step, self.step * stride)


_Field: TypeAlias = tuple[_Axis, _Axis] | None
"""None: the whole image."""


def receptive_fields(graph: Graph) -> dict[int, Size | None]:
    """Return for each forward node that an image reaches the rows and columns that one of its units sees.

    None stands for the whole image, which every unit behind a dense layer or a global pool sees. Padding
    counts as pixels, so that a field can be larger than the image.
    """
    found: dict[int, _Field] = {}
    for key, node in graph.items():
        if isinstance(node.op, Input):
            if node.op.role == "data" and node.types[0].rank == 4 and node.types[0].shape[0] == BATCH:
                found[key] = _Axis(), _Axis()
        elif node.origin.forward is None:
            seen = [found[operand.key] for operand in node.operands if operand.key in found]
            if seen:
                found[key] = _behind(node, _widest(seen))
    return {key: None if field is None else _size(field) for key, field in found.items()}


def _size(field: tuple[_Axis, _Axis]) -> Size:
    return -int(-field[0].size // 1), -int(-field[1].size // 1)


def _widest(fields: list[_Field]) -> _Field:
    pairs = [field for field in fields if field is not None]
    if len(pairs) < len(fields):
        return None
    rows, columns = (max((pair[axis] for pair in pairs), key=lambda a: (a.size, a.step)) for axis in (0, 1))
    return rows, columns


def _behind(node: Node, field: _Field) -> _Field:
    if field is None:
        return None
    op = node.op
    match op:
        case Correlate2d() | Convolve2d() if op.sum_over == "channels":
            window = node.operands[1].type
            reaches = [op.dilation[axis] * (window.static(axis) - 1) + 1 for axis in (0, 1)]
            return field[0].through(reaches[0], op.stride[0]), field[1].through(reaches[1], op.stride[1])
        case MaxPool2d() | AveragePool2d() | L2Pool2d() | SumPool2d():
            return field[0].through(op.size[0], op.stride[0]), field[1].through(op.size[1], op.stride[1])
        case Subsample():
            return field[0].through(1, op.factors[0]), field[1].through(1, op.factors[1])
        case ZeroInsert():
            return tuple(axis.through(1, Fraction(1, f)) for axis, f in zip(field, op.factors, strict=True))  # type: ignore[return-value]
        case Pad() | Crop():
            return field
        case Interpolate():
            scale = Fraction(node.operands[0].type.static(op.axis), op.size)
            return tuple(  # type: ignore[return-value]
                side.through(2, scale) if op.axis == axis else side
                for axis, side in zip((1, 2), field, strict=True)
            )
        case Take() if node.types[0].rank == 4:
            step = abs(op.runs[0][2]) if len(op.runs) == 1 else 1  # several runs pad
            return field[0].through(1, step if op.axis == 1 else 1), field[1].through(
                1, step if op.axis == 2 else 1
            )
    keeps_places = node.types[0].shape[:3] == node.operands[0].type.shape[:3]
    return field if keeps_places and node.types[0].rank == 4 else None
