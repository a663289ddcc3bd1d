"""Losses: what training makes small."""

import graphcnn as gcn
from graphcnn.dsl.tensor import apply_function
from graphcnn.training.losses import total_loss
from tests.op_db.expressions import expression
from tests.op_db.written import Outside


def reduction_of(sample):
    chosen = sample.kwargs.get("reduction", "mean")
    if chosen == "none":
        raise Outside("a loss that is not made one number")
    return chosen


def lost(loss, output, target):
    """Return a loss of graphcnn's as PyTorch's function of outputs and targets."""
    return apply_function(lambda build, y, t: total_loss(build, loss, y, t), "loss", output, target)


def batches(w, *tensors):
    """Return tensors with samples along the first axis."""
    if any(tensor.dim() == 0 for tensor in tensors):
        raise Outside("a single number without a batch")
    return [w.value(tensor, batch=True) for tensor in tensors]


def classes_last(w, tensor):
    """Return [N, classes, ...] as [N, ..., classes]."""
    if tensor.dim() < 2:
        raise Outside("a single sample without a batch")
    x = w.value(tensor, batch=True)
    return gcn.transpose(x, (0, *range(2, tensor.dim()), 1)) if tensor.dim() > 2 else x


def numbers(tensor):
    if tensor is not None and (tensor < 0).any():
        raise Outside("weights below 0")
    return None if tensor is None else tuple(tensor.tolist())


@expression("nn.functional.cross_entropy")
def cross_entropy(w, s):
    target, reduction = s.args[0], reduction_of(s)
    is_soft = target.is_floating_point()
    ignored = s.kwargs.get("ignore_index", -100)
    loss = gcn.CrossEntropy(
        reduction,
        label_smoothing=s.kwargs.get("label_smoothing", 0.0),
        class_weights=numbers(s.kwargs.get("weight")),
        ignore=None if is_soft or ignored == -100 else ignored,
        soft_targets=is_soft,
    )
    output = classes_last(w, s.input)
    return lost(loss, output, classes_last(w, target) if is_soft else w.value(target, batch=True))


@expression("nn.functional.nll_loss")
def nll_loss(w, s):
    target, reduction = s.args[0], reduction_of(s)
    weight, ignored = s.kwargs.get("weight"), s.kwargs.get("ignore_index")
    x, labels = classes_last(w, s.input), w.value(target, batch=True)
    shares = gcn.apply_op(gcn.ops.OneHot(s.input.shape[1], w.dtype), labels)
    if weight is not None:
        shares = shares * w.value(weight)
    if ignored is not None:
        if not 0 <= ignored < s.input.shape[1]:
            if (target == ignored).any():
                raise Outside("an ignored label that is no class")
        else:
            counted = [0.0 if number == ignored else 1.0 for number in range(s.input.shape[1])]
            shares = shares * gcn.stack(*(number + 0.0 * gcn.sum(shares) for number in counted))
    total = -gcn.sum(shares * x)
    return total if reduction == "sum" else total / gcn.sum(shares)


@expression("nn.functional.binary_cross_entropy_with_logits")
def binary_cross_entropy(w, s):
    reduction = reduction_of(s)
    if s.kwargs.get("weight") is not None:
        raise Outside("a weight for each element")
    positive = s.kwargs.get("pos_weight")
    x, y = batches(w, s.input, s.args[0])
    if positive is not None and (positive.dim() != 1 or s.input.dim() < 2):
        raise Outside("weights of the answers yes by sample")
    return lost(gcn.BinaryCrossEntropy(numbers(positive), reduction), x, y)


def elementwise(cls, *options):
    def write(w, s):
        given = [s.kwargs.get(name, default) for name, default in options]
        return lost(cls(*given, reduction=reduction_of(s)), *batches(w, s.input, s.args[0]))

    return write


expression("nn.functional.l1_loss")(elementwise(gcn.AbsoluteError))
expression("nn.functional.huber_loss")(elementwise(gcn.Huber, ("delta", 1.0)))


@expression("nn.functional.mse_loss")
def mse_loss(w, s):
    total = lost(gcn.SquaredError("sum"), *batches(w, s.input, s.args[0])) * 2.0
    return total if reduction_of(s) == "sum" else total / float(s.input.numel())


@expression("nn.functional.smooth_l1_loss")
def smooth_l1_loss(w, s):
    beta, reduction = float(s.kwargs.get("beta", 1.0)), reduction_of(s)
    if beta == 0:
        return lost(gcn.AbsoluteError(reduction=reduction), *batches(w, s.input, s.args[0]))
    return lost(gcn.Huber(beta, reduction=reduction), *batches(w, s.input, s.args[0])) / beta


@expression("nn.functional.kl_div")
def kl_div(w, s):
    x, t = batches(w, s.input, s.args[0])
    reduction = s.kwargs.get("reduction", "mean")
    if reduction == "none":
        raise Outside("a loss that is not made one number")
    total = gcn.sum(gcn.exp(t) * (t - x) if s.kwargs.get("log_target") else t * (gcn.log(t) - x))
    count = {"sum": 1, "batchmean": s.input.shape[0], "mean": s.input.numel()}[reduction]
    return total / float(count)


@expression("nn.functional.multi_margin_loss")
def multi_margin_loss(w, s):
    if s.input.dim() < 2:
        raise Outside("a single sample without a batch")
    if s.kwargs.get("weight") is not None:
        raise Outside("weights of classes")
    if s.kwargs.get("margin", 1.0) <= 0:
        raise Outside("a margin below 0")
    loss = gcn.Hinge(s.kwargs.get("margin", 1.0), s.kwargs.get("p", 1), reduction_of(s))
    return lost(loss, *batches(w, s.input, s.args[0]))
