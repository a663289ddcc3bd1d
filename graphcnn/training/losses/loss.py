"""What a loss is, and how those of samples become that of a batch, as nodes of the training step."""

from __future__ import annotations

from typing import Final, Literal, Protocol, get_args

import numpy as np

from graphcnn import ops
from graphcnn.errors import OptionError
from graphcnn.ir import BATCH, Emitter, TensorType, Value
from graphcnn.training.options import refuse
from graphcnn.training.parts import blaming, check_part, definition, title

Reduction = Literal["mean", "sum"]
REDUCTIONS: Final = get_args(Reduction)


class Loss(Protocol):
    """What `gcn.compile` takes as a loss: one of these, or an object of your own with these attributes.

    It is saved with a model where it is a frozen dataclass whose attributes are numbers, texts, truth values
    or tuples of those; `gcn.load(path, objects=[...])` then needs its class.
    Two attributes more are looked at where a loss has them: `ignore`, a label of no class that targets may
    hold, and `target_range`, the least and the greatest number that targets may hold.
    """

    @property
    def reduction(self) -> Reduction:
        """How the losses of the samples become the loss of the batch."""

    def target_type(self, output: TensorType) -> TensorType:
        """Return the type of the targets for a network's output, the batch axis in front.

        Raises ShapeError where the output does not fit.
        """

    def per_sample(self, emit: Emitter, output: Value, target: Value) -> Value:
        """Append the loss of each sample, of shape [N], with `emit(op, value, ...)`."""


def check_loss(loss: object, called: str = "loss") -> None:
    """Raise OptionError unless this is a loss. called: what errors call it."""
    methods = {
        "target_type": "def target_type(self, output): return the TensorType of the targets",
        "per_sample": "def per_sample(self, emit, output, target): return emit(op, output, target), [N]",
    }
    check_part(called, loss, methods, "gcn.CrossEntropy()")
    if not hasattr(loss, "reduction"):
        raise OptionError(
            f"the loss {title(loss)} does not say how the losses of the samples become one",
            facts=definition(loss, "per_sample"),
            mend='reduction = "mean", or "sum", in the class',
        )
    if loss.reduction not in REDUCTIONS:
        raise OptionError(
            f"{title(loss)}.reduction={loss.reduction!r:.60} is neither 'mean' nor 'sum'",
            facts=definition(loss, "per_sample"),
            mend='reduction = "mean"',
        )


def target_type(loss: Loss, output: TensorType) -> TensorType:
    """Return the type of a loss's targets. Raises OptionError where it is none of a batch."""
    with blaming(loss, "target_type"):
        type = loss.target_type(output)
    if not isinstance(type, TensorType) or type.shape[:1] != (BATCH,):
        raise OptionError(
            f"{title(loss)}.target_type returned {_shown(type)}, not the type of a batch of targets",
            facts=definition(loss, "target_type"),
            mend='return output, or gcn.TensorType(("N",), "int64") for a label for each sample',
        )
    return type


def total_loss(
    emit: Emitter,
    loss: Loss,
    output: Value,
    target: Value,
    weights: Value | None = None,
    share: Value | None = None,
) -> Value:
    """Append the loss of the batch: the mean or the sum over its samples, a scalar.

    weights: a number for each sample, [N], which its loss is multiplied by; a mean still divides by N.
    share: where samples are mixed with those of the batch in reverse order, what each is itself, [N].
    Raises OptionError for a loss of the user's own that is not one number for each sample.
    """
    each = _of_samples(emit, loss, output, target, weights)
    if share is not None:
        turned = None if weights is None else emit(ops.Rot180((0,)), weights)
        other = _of_samples(emit, loss, output, emit(ops.Rot180((0,)), target), turned)
        if share.type != each.type:
            share = emit(ops.Cast(each.type.dtype), share)
        rest = emit(ops.Subtract(), ops.constant(emit, 1.0, share.type), share)
        each = emit(ops.Add(), emit(ops.Multiply(), share, each), emit(ops.Multiply(), rest, other))
    reduce = ops.Mean if loss.reduction == "mean" else ops.Sum
    return emit(reduce((0,)), each)


def _of_samples(emit: Emitter, loss: Loss, output: Value, target: Value, weights: Value | None) -> Value:
    """Append the loss of each sample, times its weight, [N]."""
    with blaming(loss, "per_sample"):
        each = loss.per_sample(emit, output, target)
        if isinstance(each, Value):
            each = emit.graph.require(each, f"the loss {title(loss)}")
    if not isinstance(each, Value) or each.type.shape != (BATCH,) or not each.type.is_float:
        shown = each.type if isinstance(each, Value) else each
        raise OptionError(
            f"{title(loss)}.per_sample returned {_shown(shown)}, not one number for each sample: "
            f"{output.type.dtype}[N]",
            facts=definition(loss, "per_sample"),
            mend=_mend(each),
        )
    if weights is not None:
        each = emit(ops.Multiply(), each, weights)
    return each


def _mend(each: object) -> str:
    """Return what makes one number for each sample of what a loss returned."""
    if not isinstance(each, Value):
        return "return the value that the last emit gives: return emit(op, output, target)"
    if each.type.has_batch:
        return "sum or average over the other axes: return emit(gcn.ops.Sum((1,)), each) for [N, units]"
    return "leave axis 0, the samples, alone: emit(gcn.ops.Sum((1,)), each); reduction does the rest"


def _shown(found: object) -> str:
    return str(found) if isinstance(found, TensorType) else f"{found!r:.60}"


def check_reduction(reduction: object) -> None:
    """Raise OptionError, at the user's line, unless it is "mean" or "sum"."""
    if isinstance(reduction, str) and reduction in REDUCTIONS:
        return
    mend = 'reduction="mean"'
    if isinstance(reduction, np.ndarray):
        mend = "gcn.compile(network, loss=...) takes the loss, and model.evaluate(images, labels) computes it"
    refuse(f"reduction={reduction!r:.60} is neither 'mean' nor 'sum'", mend)
