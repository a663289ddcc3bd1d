"""Results that a later stride skips are not computed: a rule of `canonical.py`.

A 1x1 convolution with a stride reads one pixel of every few. Where nobody else reads the others, the
convolution that makes them can take the stride, and so can all that follows it pixel by pixel.
"""

from __future__ import annotations

from dataclasses import replace

from graphcnn.ir import Node, Value, Values
from graphcnn.ops import Broadcast, Correlate2d
from graphcnn.ops.attributes import NO_PADDING
from graphcnn.rewrite import Match
from graphcnn_native.op_code import is_pointwise


def stride_before(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    """Emit a 1x1 convolution with a stride as one without, after a convolution that has it instead."""
    images, window = operands
    has_one_tap = (window.type.shape[:2], op.padding, op.sum_over) == ((1, 1), NO_PADDING, "channels")
    if not has_one_tap or op.stride == (1, 1) or images.type.rank != 4:
        return None
    path = _path(match, images)
    if path is None:
        return None
    node = match.definition(path[-1])
    assert isinstance(node.op, Correlate2d)
    down, across = (here * then for here, then in zip(node.op.stride, op.stride, strict=True))
    maps = match.emit_as(path[-1], replace(node.op, stride=(down, across)), *node.operands)
    for read, value in zip(path[:0:-1], path[-2::-1], strict=True):
        follow = match.definition(value)
        kept = [maps if each == read else _spread(match, each, maps) for each in follow.operands]
        maps = match.emit_as(value, follow.op, *kept)
    return match.emit(replace(op, stride=(1, 1)), maps, window)


def _path(match: Match, value: Value) -> list[Value] | None:
    """Return values from one that is computed pixel by pixel back to the convolution that it is made of."""
    path = [value]
    while type((node := match.definition(path[-1])).op) is not Correlate2d:
        before = _one_map(match, node)
        if before is None:
            return None
        path.append(before)
    is_fit = node.op.sum_over == "channels" and all(match.uses(each) <= 1 for each in path)
    return path if is_fit else None


def _one_map(match: Match, node: Node) -> Value | None:
    """Return the one operand of a pointwise node that is no vector or number in all places, if it has one."""
    maps = [each for each in node.operands if not _is_spread(match, each)]
    return maps[0] if is_pointwise(node.op) and len(node.types) == 1 and len(maps) == 1 else None


def _is_spread(match: Match, value: Value) -> bool:
    node = match.definition(value)
    return value.type.is_scalar or (
        isinstance(node.op, Broadcast) and all(size == 1 for size in node.operands[0].type.shape[:-1])
    )


def _spread(match: Match, value: Value, maps: Value) -> Value:
    """Emit what is the same in all places for maps of another size."""
    if value.type.is_scalar:
        return value
    return match.emit(Broadcast(maps.type.shape), *match.definition(value).operands)
