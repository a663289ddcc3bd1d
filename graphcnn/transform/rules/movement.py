"""Rules about ops that move elements: what undoes or follows itself, and what moves nothing."""

from __future__ import annotations

from typing import Final

from graphcnn.ir import Value, Values
from graphcnn.ops import Broadcast, Crop, Mean, Pad, Reshape, Rot180, Sum, Transpose, ZeroInsert
from graphcnn.rewrite import Match, Rule


def _rot180_pairs(match: Match, op: Rot180, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    return inner.operands[0] if inner.op == op else None


def _transpose_to_itself(match: Match, op: Transpose, operands: Values) -> Value | None:
    return operands[0] if op.permutation == tuple(range(len(op.permutation))) else None


def _transpose_twice(match: Match, op: Transpose, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    if not isinstance(inner.op, Transpose):
        return None
    permutation = tuple(inner.op.permutation[axis] for axis in op.permutation)
    return match.emit(Transpose(permutation), inner.operands[0])


def _same_shape(match: Match, op: Reshape | Broadcast, operands: Values) -> Value | None:
    return operands[0] if op.shape == operands[0].type.shape else None


def _reshape_twice(match: Match, op: Reshape, operands: Values) -> Value | None:
    inner = match.definition(operands[0])
    return match.emit(op, inner.operands[0]) if isinstance(inner.op, Reshape) else None


def _no_widths(match: Match, op: Pad | Crop, operands: Values) -> Value | None:
    return None if any(map(any, op.widths)) else operands[0]


def _no_zeros(match: Match, op: ZeroInsert, operands: Values) -> Value | None:
    return operands[0] if op.factors == (1, 1) else None


def _no_axes(match: Match, op: Sum | Mean, operands: Values) -> Value | None:
    return None if op.axes else operands[0]


RULES: Final = (
    Rule("rot180-pairs", "rot180(rot180(x)) → x", Rot180, _rot180_pairs),
    Rule(
        "transpose-to-itself",
        "a transpose that leaves the axes where they are → x",
        Transpose,
        _transpose_to_itself,
        group="transpose-pairs",
    ),
    Rule(
        "transpose-twice",
        "transpose(transpose(x)) → one transpose",
        Transpose,
        _transpose_twice,
        group="transpose-pairs",
    ),
    Rule(
        "same-shape",
        "reshape or broadcast of x to its own shape → x",
        (Reshape, Broadcast),
        _same_shape,
        group="reshape-chains",
    ),
    Rule(
        "reshape-twice", "reshape(reshape(x)) → one reshape", Reshape, _reshape_twice, group="reshape-chains"
    ),
    Rule("no-widths", "pad or crop by nothing → x", (Pad, Crop), _no_widths, group="no-operation"),
    Rule("no-zeros", "zero_insert by factors of 1 → x", ZeroInsert, _no_zeros, group="no-operation"),
    Rule(
        "no-axes",
        "sum or mean over no axes → x, though a sum may begin with 0.0 and so turn -0.0 into it",
        (Sum, Mean),
        _no_axes,
        keeps="finite",
        group="no-operation",
    ),
)
