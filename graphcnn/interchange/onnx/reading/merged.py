"""Nodes on values with an axis that counts the batch and others together, as the heads of all samples.

A network's batch is an axis of its own, so that such a value is held with these axes apart. What an operator
does along other axes, and with single elements, it does there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from graphcnn.interchange.onnx.reading.reshaping import merged, reshape_to
from graphcnn.interchange.onnx.reading.step import Step
from graphcnn.interchange.onnx.reading.table import Reading, Results, in_the_way
from graphcnn.interchange.onnx.reading.values import Held, Known, Merged, Variable
from graphcnn.ir import Dim, format_shape

Groups = tuple[int, ...]

_BY_THEMSELVES: Final = {"Reshape", "Transpose", "Shape", "Identity"}
"""What tells such values from others, or does not mind."""
_EACH: Final = {
    *("Add", "Sub", "Mul", "Div", "Neg", "Abs", "Sign", "Exp", "Log", "Sqrt", "Sin", "Cos", "Erf", "Pow"),
    *("Max", "Min", "Sum", "Mean", "Reciprocal", "Relu", "Sigmoid", "Tanh", "Softsign", "Softplus", "Elu"),
    *("HardSwish", "HardSigmoid", "Mish", "LeakyRelu", "Celu", "Gelu", "Selu", "Swish", "Clip", "Dropout"),
    *("Cast", "Where", "Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "And", "Or", "Not"),
}
"""Functions of single elements."""
_ALONG: Final = {
    "Softmax",
    "LogSoftmax",
    "LayerNormalization",
    "RMSNormalization",
    "LpNormalization",
    "Split",
}
"""Operators along one axis, or from it on, which leave the shape as it is; or all axes but this one."""


def read_merged(step: Step, reading: Reading) -> Results:
    """Return what a node makes of operands, some of which are merged.

    Raises InterchangeError for what it does along an axis that counts samples and others.
    """
    name = step.node.op_type
    if name in _BY_THEMSELVES:
        return reading(step)
    if name in _EACH:
        return _each(step, reading)
    if name in _ALONG:
        return _along(step, reading)
    if name == "Gather" and isinstance(step[0], Merged):
        return _gathered(step, step[0], reading)
    if name in ("MatMul", "Gemm"):
        return _product(step, reading)
    found = next(operand for operand in step.inputs if isinstance(operand, Merged))
    raise in_the_way(f"it is of {format_shape(found.shape)}, which counts samples and others along one axis")


def _each(step: Step, reading: Reading) -> Results:
    ranks = [operand.rank for operand in step.inputs if operand is not None]
    groups = _groups_of(step.inputs, max(ranks))
    apart = [None if operand is None else _apart(operand, groups) for operand in step.inputs]
    return _grouped(reading(replace(step, inputs=apart)), groups)


def _along(step: Step, reading: Reading) -> Results:
    x = step[0]
    assert isinstance(x, Merged)
    is_old = step.node.op_type.endswith("Softmax") and step.version < 13
    default = 0 if step.node.op_type == "Split" else 1 if is_old else -1
    axis = step.axis(x.rank, default=default)
    is_to_the_end = is_old or step.node.op_type.endswith("Normalization")
    if any(count != 1 for count in (x.groups[axis:] if is_to_the_end else x.groups[axis : axis + 1])):
        raise in_the_way(f"it is along axis {axis} of {format_shape(x.shape)}, which counts the batch")
    attributes = {**step.attributes, "axis": sum(x.groups[:axis])}
    results = reading(replace(step, inputs=[x.apart, *step.inputs[1:]], attributes=attributes))
    return _grouped(results, x.groups)


def _gathered(step: Step, x: Merged, reading: Reading) -> Results:
    """Read what takes places along another axis; the axes of its indices are in the place of that one."""
    axis = step.axis(x.rank)
    if x.groups[axis] != 1:
        raise in_the_way(f"it is along axis {axis} of {format_shape(x.shape)}, which counts the batch")
    groups = (*x.groups[:axis], *[1] * step[1].rank, *x.groups[axis + 1 :])
    attributes = {**step.attributes, "axis": sum(x.groups[:axis])}
    return _grouped(reading(replace(step, inputs=[x.apart, step[1]], attributes=attributes)), groups)


def _product(step: Step, reading: Reading) -> Results:
    """Read a product of matrices, of which the rows on the left, or how many there are, may be merged."""
    x, y = step[0], step[1]
    is_of_rows = y.rank == 2 and not isinstance(y, Merged) and not step.setting("transA", default=0)
    if is_of_rows and isinstance(x, Merged) and x.groups[-1] == 1:
        return _grouped(reading(replace(step, inputs=[x.apart, *step.inputs[1:]])), x.groups)
    groups = _groups_of([x, y], max(x.rank, y.rank))
    if step.node.op_type == "Gemm" or groups[-2:] != (1, 1) or min(x.rank, y.rank) < 2:
        shapes = " and ".join(format_shape(each.shape) for each in (x, y))
        raise in_the_way(f"it multiplies {shapes}, whose rows or columns count samples and others")
    return _grouped(reading(replace(step, inputs=[_apart(x, groups), _apart(y, groups)])), groups)


def _groups_of(operands: Sequence[Held | None], rank: int) -> Groups:
    """Return the groups of axes of what operands are broadcast to."""
    found = next(operand for operand in operands if isinstance(operand, Merged))
    return (*[1] * (rank - found.rank), *found.groups)


def _apart(operand: Held, groups: Groups) -> Held:
    """Return an operand with axes for those of the others: of size 1, where it has no samples."""
    own = groups[len(groups) - operand.rank :]
    if isinstance(operand, Merged):
        if operand.groups != own:
            raise in_the_way("its operands count samples and others along different axes")
        return operand.apart
    if all(count == 1 for count in own):
        return operand
    shape: list[Dim] = []
    for size, count in zip(operand.shape, own, strict=True):
        if count > 1 and size != 1:
            raise in_the_way(f"its operand {format_shape(operand.shape)} counts samples and others together")
        shape += [1] * count if count > 1 else [size]
    if isinstance(operand, Known):
        return Known(operand.array.reshape(shape), operand.name)
    return reshape_to(operand, tuple(shape))


def _grouped(results: Results, groups: Groups) -> Results:
    def of(result: Held | None) -> Held | None:
        return merged(result, groups) if isinstance(result, Variable) else result

    if isinstance(results, tuple):
        return tuple(of(result) for result in results)
    return of(results)  # type: ignore[return-value] # of something comes something
