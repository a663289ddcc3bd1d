"""Comparisons, truth values, and choices by them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.step import Step, op, operands_of
from graphcnn.interchange.onnx.reading.table import reads
from graphcnn.interchange.onnx.reading.values import Variable
from graphcnn.ir import Value


def _unequal(build: Builder, x: Value, y: Value) -> Value:
    return build(ops.LogicalNot(), build(ops.Equal(), x, y))


def _is_nan(build: Builder, x: Value) -> Value:
    return _unequal(build, x, x)


_FUNCTIONS: Final[dict[str, tuple[int, Callable[..., Value]]]] = {
    "Greater": (2, op(ops.Greater())),
    "GreaterOrEqual": (2, op(ops.GreaterEqual())),
    "Less": (2, lambda build, x, y: build(ops.Greater(), y, x)),
    "LessOrEqual": (2, lambda build, x, y: build(ops.GreaterEqual(), y, x)),
    "Equal": (2, op(ops.Equal())),
    "And": (2, op(ops.LogicalAnd())),
    "Or": (2, op(ops.LogicalOr())),
    "Xor": (2, _unequal),
    "Not": (1, op(ops.LogicalNot())),
    "IsNaN": (1, _is_nan),
    "Where": (3, op(ops.Select())),
}


@reads(*_FUNCTIONS)
def comparison(step: Step) -> Variable:
    name = step.node.op_type
    count, function = _FUNCTIONS[name]
    return step.each(name.lower(), function, *operands_of(step, count))


@reads("IsInf")
def is_infinite(step: Step) -> Variable:
    signs = [
        sign
        for sign, name in ((1.0, "detect_positive"), (-1.0, "detect_negative"))
        if step.setting(name, default=1)
    ]

    def of(build: Builder, x: Value) -> Value:
        if not signs:
            return _unequal(build, build(ops.Abs(), x), build(ops.Abs(), x))
        size = build(ops.Abs(), x) if len(signs) == 2 else x
        infinity = ops.constant(build, signs[0] * float("inf"), x.type)
        return build(ops.Equal(), size, infinity)

    return step.each("isinf", of, step[0])
