"""The two losses that files may end with; a network without them is trained with a loss of its own."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.dsl.builder import Builder
from graphcnn.interchange.onnx.reading.step import Step
from graphcnn.interchange.onnx.reading.table import in_the_way, reads
from graphcnn.interchange.onnx.reading.values import Held, Order, Variable
from graphcnn.ir import Value


@reads("NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss")
def cross_entropy(step: Step) -> tuple[Held | None, ...]:
    """-w(t) · ln p(t) of each target t, of logarithms [N, C, ...] or of what softmax makes them of."""
    x, target = step.variable(0), step.variable(1)
    last: Order = (0, *range(2, x.rank), 1)
    classes = x.shape[1]
    if not isinstance(classes, int) or target.dtype not in ("int32", "int64"):
        raise in_the_way(f"its targets are {target.dtype}, among {classes} classes")
    weights = None if step.optional(2) is None else step.as_variable(step[2]).in_file
    ignored = step.setting("ignore_index")
    reduction = step.setting("reduction", default="mean")
    is_softmax = step.node.op_type == "SoftmaxCrossEntropyLoss"
    logarithms = x.at(last)
    if is_softmax:
        logarithms = step.emit("log_softmax", lambda b, v: b(ops.LogSoftmax(), v), logarithms)
    targets = target.in_file
    rest = () if weights is None else (weights,)

    def share(build: Builder, labels: Value, *weight: Value) -> tuple[Value, Value]:
        """Append the row of each target, and its weight."""
        hot = build(ops.OneHot(classes, x.dtype), _within(build, labels, ignored, classes))
        axis = (hot.type.rank - 1,)
        if weight:
            each = build(
                ops.Sum(axis), build(ops.Multiply(), hot, build(ops.Broadcast(hot.type.shape), weight[0]))
            )
        else:
            each = build(ops.Sum(axis), hot)
        if ignored is not None:
            label = build(ops.Constant(int(ignored), labels.type.with_shape(())))
            is_ignored = build(ops.Equal(), labels, label)
            each = build(ops.Select(), is_ignored, ops.constant(build, 0.0, each.type), each)
        return hot, each

    def losses(build: Builder, values: Value, labels: Value, *weight: Value) -> Value:
        hot, each = share(build, labels, *weight)
        zero = ops.constant(build, 0.0, values.type)
        is_target = build(ops.Greater(), hot, zero)
        own = build(ops.Sum((hot.type.rank - 1,)), build(ops.Select(), is_target, values, zero))
        loss = build(ops.Negate(), build(ops.Multiply(), own, each))
        if reduction == "none":
            return loss
        every = tuple(range(loss.type.rank))
        total = build(ops.Sum(every), loss)
        return total if reduction == "sum" else build(ops.Divide(), total, build(ops.Sum(every), each))

    loss = Variable.of(step.emit("loss", losses, logarithms, targets, *rest))
    if not any(step.wanted[1:]):
        return (loss,)
    return loss, Variable.of(logarithms, last)


def _within(build: Builder, labels: Value, ignored: int | None, classes: int) -> Value:
    """Append labels of which those to be ignored are 0: a row for each is made, and weighs nothing."""
    if ignored is None or 0 <= ignored < classes:
        return labels
    label, zero = (build(ops.Constant(each, labels.type.with_shape(()))) for each in (int(ignored), 0))
    return build(ops.Select(), build(ops.Equal(), labels, label), zero, labels)
