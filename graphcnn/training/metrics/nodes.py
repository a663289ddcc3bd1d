"""Nodes and checks that several metrics share."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.errors import OptionError
from graphcnn.ir import Emitter, Value


def is_above(emit: Emitter, value: Value, least: float) -> Value:
    """Append whether each element is greater than a number."""
    return emit(ops.Greater(), value, ops.constant(emit, least, value.type))


def is_label(emit: Emitter, target: Value, label: int) -> Value:
    """Append whether each target is a certain label."""
    return emit(ops.Equal(), target, emit(ops.Constant(label, target.type.with_shape(()))))


def counts(emit: Emitter, output: Value, target: Value, ignore: int) -> Value:
    """Append 1 for each target that counts, and 0 for the label that does not, in the outputs' type."""
    zero, one = (ops.constant(emit, number, output.type) for number in (0.0, 1.0))
    return emit(ops.Select(), is_label(emit, target, ignore), zero, one)


def has_labels(output: Value, target: Value) -> bool:
    """Return whether targets are labels, each of a row of outputs."""
    is_of_rows = target.type.shape == output.type.shape[:-1] and output.type.rank >= 2
    return is_of_rows and not target.type.is_float


def require_labels(name: str, output: Value, target: Value) -> None:
    """Raise OptionError unless targets are labels, each of a row of outputs."""
    if has_labels(output, target):
        return
    raise OptionError(
        f"{name} needs outputs [N, classes] and labels [N], or those of pixels",
        facts=[f"outputs {output.type}, targets {target.type}"],
        mend="leave metrics out, and those that go with the loss are taken; "
        'metrics=["binary_accuracy"] where each output is a question of its own'
        if target.type == output.type
        else "use it with loss=gcn.CrossEntropy(), or leave metrics out",
    )


def require_shares(name: str, output: Value, target: Value) -> None:
    """Raise OptionError unless outputs and targets have the same shape."""
    if target.type != output.type:
        raise OptionError(
            f"{name} needs outputs and targets of one shape",
            facts=[f"outputs {output.type}, targets {target.type}"],
            mend="use it with loss=gcn.BinaryCrossEntropy(), or leave metrics out",
        )
