"""Rules about convolutions: the article's rotations cancel, and padding moves into the op."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from graphcnn.ir import Value, Values
from graphcnn.ops import Convolve2d, Correlate2d, Crop, Pad, Rot180, Subsample
from graphcnn.ops.convolution import FILTER_AXES, IMAGE_AXES
from graphcnn.rewrite import Match, Rule

NOTHING = (0, 0)


def _convolution_of_rotated(match: Match, op: Convolve2d, operands: Values) -> Value | None:
    window = match.definition(operands[1])
    axes = FILTER_AXES if op.sum_over == "channels" else IMAGE_AXES
    if window.op != Rot180(axes):
        return None
    return match.emit(op.as_correlation(), operands[0], window.operands[0])


def _rotated_operands(match: Match, op: Correlate2d, operands: Values) -> Value | None:
    if op.sum_over != "batch" or (op.stride, op.dilation) != ((1, 1), (1, 1)):
        return None
    images, window = (match.definition(operand) for operand in operands)
    if images.op != Rot180(IMAGE_AXES) or window.op != Rot180(IMAGE_AXES):
        return None
    (top, bottom), (before, after) = op.padding
    mirrored = replace(op, padding=((bottom, top), (after, before)))
    return match.emit(Rot180(FILTER_AXES), match.emit(mirrored, images.operands[0], window.operands[0]))


def _crop_of_correlation(match: Match, op: Crop, operands: Values) -> Value | None:
    """Computing less beats cutting off: a crop at stride 1 is a smaller padding."""
    inner = match.definition(operands[0])
    if type(inner.op) not in (Correlate2d, Convolve2d):
        return None
    assert isinstance(inner.op, Correlate2d | Convolve2d)
    if inner.op.stride != (1, 1) or inner.op.sum_over != "channels":
        return None
    if op.widths[0] != NOTHING or op.widths[3] != NOTHING:
        return None
    (top, bottom), (left, right) = (
        tuple(inner.op.padding[axis][side] - op.widths[1 + axis][side] for side in (0, 1)) for axis in (0, 1)
    )
    if min(top, bottom, left, right) < 0 or match.uses(operands[0]) > 1:
        return None
    return match.emit(replace(inner.op, padding=((top, bottom), (left, right))), *inner.operands)


def _subsample_of_correlation(match: Match, op: Subsample, operands: Values) -> Value | None:
    """Computing less beats leaving out: to keep every second result is a stride."""
    inner = match.definition(operands[0])
    if type(inner.op) not in (Correlate2d, Convolve2d) or match.uses(operands[0]) > 1:
        return None
    assert isinstance(inner.op, Correlate2d | Convolve2d)
    if inner.op.sum_over != "channels":
        return None
    rows, columns = (stride * factor for stride, factor in zip(inner.op.stride, op.factors, strict=True))
    return match.emit(replace(inner.op, stride=(rows, columns)), *inner.operands)


def _pad_before_correlation(match: Match, op: Correlate2d | Convolve2d, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    if not isinstance(inner.op, Pad) or inner.op.value:
        return None
    if inner.op.widths[0] != NOTHING or inner.op.widths[3] != NOTHING:
        return None
    (top, bottom), (left, right) = op.padding
    (more_top, more_bottom), (more_left, more_right) = inner.op.widths[1:3]
    padding = ((top + more_top, bottom + more_bottom), (left + more_left, right + more_right))
    return match.emit(replace(op, padding=padding), inner.operands[0], operands[1])


RULES: Final = (
    Rule(
        "convolution-of-rotated",
        "convolve2d(x, rot180(k)) → correlate2d(x, k), Eq. 3",
        Convolve2d,
        _convolution_of_rotated,
    ),
    Rule(
        "rotated-operands",
        "correlate2d(rot180(o), rot180(d)) → rot180(correlate2d(o, d)), in another order of summation",
        Correlate2d,
        _rotated_operands,
        keeps="finite",
    ),
    Rule(
        "crop-of-correlation",
        "crop(correlate2d(x, k)) → correlate2d with less padding",
        Crop,
        _crop_of_correlation,
    ),
    Rule(
        "subsample-of-correlation",
        "subsample(correlate2d(x, k)) → correlate2d with a stride",
        Subsample,
        _subsample_of_correlation,
    ),
    Rule(
        "pad-before-correlation",
        "correlate2d(pad(x), k) → correlate2d with more padding",
        (Correlate2d, Convolve2d),
        _pad_before_correlation,
    ),
)
