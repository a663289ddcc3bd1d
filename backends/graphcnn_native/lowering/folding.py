"""Batch norm as inference computes it, folded into the convolution before it: a rule of `canonical.py`.

There its mean and variance are parameters like scale and shift, so that all it does is to multiply maps by
one number per channel and to add another. The filters can be multiplied instead, once for all images.
"""

from __future__ import annotations

from typing import TypeAlias

from graphcnn.ir import Op, Value, Values
from graphcnn.ops import Add, Broadcast, Correlate2d, Multiply, Negate, Subtract
from graphcnn.rewrite import Match
from graphcnn_native.lowering.panels import PanelCorrelation, is_kept
from graphcnn_native.lowering.winograd import WinogradCorrelation

Step: TypeAlias = tuple[Op, Value]
"""An addition, subtraction or multiplication of maps, and the vector with a number per channel."""


def folded_scale(match: Match, op: Op, operands: Values) -> Value | None:
    """Emit multiplications of a convolution's maps as one of its filters, and all additions as a single one.

    Filters and vectors may depend on nothing but parameters, which inference leaves as they are.
    """
    chain = _steps(match, op, operands)
    if chain is None or (len(chain[1]) < 2 and not isinstance(op, Multiply)):
        return None
    correlation, steps = chain
    scale, shift = None, None
    for step, vector in reversed(steps):
        if isinstance(step, Multiply):
            scale = vector if scale is None else match.emit(step, scale, vector)
            shift = None if shift is None else match.emit(step, shift, vector)
        elif shift is None:
            shift = vector if isinstance(step, Add) else match.emit(Negate(), vector)
        else:
            shift = match.emit(step, shift, vector)
    maps = _with_filters_scaled(match, correlation, scale)
    if shift is None:
        return maps
    return match.emit(Add(), maps, match.emit(Broadcast(maps.type.shape), shift))


def _steps(match: Match, op: Op, operands: Values) -> tuple[Value, list[Step]] | None:
    """Return the maps of a convolution and what is done to them, the last step first; None for other maps."""
    steps: list[Step] = []
    while isinstance(op, Add | Subtract | Multiply):
        maps, vector = operands
        if not isinstance(op, Subtract) and _vector(match, vector) is None:
            maps, vector = vector, maps
        added = _vector(match, vector)
        if added is None or match.uses(maps) > 1:
            return None
        steps.append((op, added))
        node = match.definition(maps)
        op, operands = node.op, node.operands
    is_fit = type(op) in (Correlate2d, WinogradCorrelation, PanelCorrelation) and op.sum_over == "channels"  # type: ignore[attr-defined]
    return (maps, steps) if steps and is_fit and is_kept(match, operands[1]) else None


def _vector(match: Match, value: Value) -> Value | None:
    """Return the numbers per channel that a value broadcasts to maps, if parameters decide them."""
    node = match.definition(value)
    if not isinstance(node.op, Broadcast) or value.type.rank != 4:
        return None
    (vector,) = node.operands
    is_by_channel = vector.type.shape == value.type.shape[-1:]
    return vector if is_by_channel and is_kept(match, vector) else None


def _with_filters_scaled(match: Match, maps: Value, scale: Value | None) -> Value:
    """Emit a convolution whose filters are multiplied, each by its own number."""
    node = match.definition(maps)
    images, window = node.operands
    if scale is None:
        return maps
    mapped = match.definition(window)
    is_prepared = isinstance(node.op, WinogradCorrelation | PanelCorrelation)
    filters = mapped.operands[0] if is_prepared else window
    scaled = match.emit(Multiply(), filters, match.emit(Broadcast(filters.type.shape), scale))
    if is_prepared:
        scaled = match.emit_as(maps, mapped.op, scaled)
    return match.emit_as(maps, node.op, images, scaled)
