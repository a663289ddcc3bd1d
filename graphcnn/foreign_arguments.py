"""What other frameworks call the arguments of layers, losses and the like, and what to write here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

SAME: Final = {
    "kernel_size": ("kernel", "size"),
    "pool_size": ("size",),
    "window": ("size", "kernel"),
    "output_size": ("size",),
    "out_channels": ("filters",),
    "out_features": ("units",),
    "units": ("filters",),
    "filters": ("units",),
    "strides": ("stride",),
    "dilation_rate": ("dilation",),
    "pad": ("padding", "widths"),
    "pads": ("padding", "widths"),
    "pad_width": ("widths", "padding"),
    "use_bias": ("bias",),
    "depth_multiplier": ("multiplier",),
    "kernel_initializer": ("initializer",),
    "depthwise_initializer": ("initializer",),
    "init": ("initial", "initializer"),
    "num_groups": ("groups",),
    "eps": ("epsilon",),
    "p": ("rate",),
    "drop_prob": ("rate",),
    "prob": ("rate",),
    "std": ("deviation",),
    "stddev": ("deviation",),
    "scale_factor": ("scale",),
    "upscale_factor": ("factor",),
    "downscale_factor": ("factor",),
    "interpolation": ("mode",),
    "target_shape": ("shape",),
    "dim": ("axis", "axes"),
    "dims": ("axes", "axis"),
    "axis": ("axes",),
    "axes": ("axis",),
    "perm": ("axes",),
    "keepdim": ("keepdims",),
    "input": ("x",),
    "other": ("y",),
    "a_min": ("low",),
    "a_max": ("high",),
    "split_size_or_sections": ("parts",),
    "num_or_size_splits": ("parts",),
    "chunks": ("parts",),
    "unbiased": ("correction",),
    "ddof": ("correction",),
    "alpha": ("negative_slope",),
    "lr": ("learning_rate",),
    "rate": ("learning_rate",),
    "beta_1": ("beta1",),
    "beta_2": ("beta2",),
    "rho": ("alpha",),
    "l2": ("weight_decay",),
    "initial_accumulator_value": ("initial",),
    "ns_steps": ("iterations",),
    "pos_weight": ("positive_weights",),
    "weight": ("class_weights", "positive_weights"),
    "weights": ("class_weights", "positive_weights"),
    "class_weight": ("class_weights",),
    "ignore_index": ("ignore",),
    "ignore_class": ("ignore",),
    "filename": ("path",),
    "filepath": ("path",),
    "file": ("path",),
    "restore_best_weights": ("restore_best",),
    "val": ("value",),
    "num_classes": ("classes",),
    "n_classes": ("classes",),
    "T_max": ("epochs",),
    "eta_min": ("end",),
    "step_size": ("every",),
    "gamma": ("factor",),
    "initial_learning_rate": ("start",),
    "width_mult": ("width",),
    "max_lr": ("peak",),
    "pct_start": ("rise",),
    "base_lr": ("start",),
    "min_lr": ("min_rate",),
    "decay_rate": ("factor",),
    "log_dir": ("folder",),
    "logdir": ("folder",),
    "threshold": ("min_delta",),
}
"""Another framework's name → those that mean the same here, of which a call has one at most."""

_BATCH_NORMS: Final = ("BatchNorm2d", "BatchNorm1d")

ORDERS: Final = {
    **dict.fromkeys(_BATCH_NORMS, ("", "epsilon", "momentum")),
    "GroupNorm": ("groups", "", "epsilon"),
}
"""PyTorch's order of arguments, where the number of channels is among them, which is not given here: ""."""

_INPUTS: Final = "leave it out: how many channels come in is seen from the input"
_AFFINE: Final = (
    'leave it out: scale and shift are trained; model.freeze("*.scale", "*.shift") keeps them at 1 and 0'
)
_PENALTY: Final = "leave it out: the optimiser has weight_decay=, gcn.SGD(0.05, weight_decay=1e-4)"
_LAYOUT: Final = "leave it out: images are [N, H, W, C], channels last"
_REDUCE: Final = 'reduction="mean" or reduction="sum"'
_CPU: Final = "leave it out: networks compute on the CPU, in the precision of gcn.compile(..., dtype=)"
_CLIP: Final = "gcn.compile(..., {name}) clips gradients"
_WEIGHTS: Final = 'leave it out: model.load_weights(path, layout="torchvision") reads those of torchvision'
_SCHEDULE: Final = "a schedule: model.fit(..., callbacks=[gcn.cosine_decay(0.1, epochs=10)])"
_PART: Final = 'only="conv*" sets some layers, by pattern or in a list, and the file may hold others'
_FASTER: Final = "leave it out: the whole step is compiled"

INSTEAD: Final = {
    **{f"{layer}.{name}": _AFFINE for layer in _BATCH_NORMS for name in ("scale", "shift")},
    **{f"{layer}.axis": "leave it out: channels are the last axis" for layer in _BATCH_NORMS},
    "BinaryCrossEntropy.weight": "positive_weights=[3.0], for what the answers yes count; "
    "model.fit(..., sample_weight=weights) weighs samples",
    **{f"load_weights.{name}": _PART for name in ("strict", "by_name", "skip_mismatch")},
    "MaxUnpool2d.output_size": "leave it out: the result is as large as the images, the second value",
    "Upsample2d.size": "gcn.resize2d(x, size); scale=2 is twice the size",
    "start_dim": "leave it out: all axes behind the batch become one",
    "end_dim": "leave it out: all axes behind the batch become one",
    "decay": _SCHEDULE,
    "lr_decay": _SCHEDULE,
    "training": "leave it out: Dropout and BatchNorm2d know fit and train_step from inference",
    "pretrained": _WEIGHTS,
    "weights": _WEIGHTS,
    "include_top": "classes=10, and gcn.compile(...).load_weights(path, only=names) for all but the head",
    "in_channels": _INPUTS,
    "in_features": _INPUTS,
    "num_features": _INPUTS,
    "num_channels": _INPUTS,
    "num_parameters": "leave it out, for one slope; per_channel=True for one per channel",
    "normalized_shape": "leave it out: the last axis is normalised; axes=3 for the last three",
    "input_dim": "gcn.compile(network, input_shape=...) takes the input's shape",
    "input_shape": "gcn.compile(network, input_shape=...) takes the input's shape",
    "batch_size": "leave it out: a network takes any batch size; fit and predict have batch_size=",
    "inplace": "leave it out: the compiler decides which memory is used again",
    "return_indices": "leave it out: gcn.MaxUnpool2d(size)(y, images) finds the places itself",
    "data_format": _LAYOUT,
    "memory_format": _LAYOUT,
    "device": _CPU,
    "dtype": _CPU,
    "kernel_regularizer": _PENALTY,
    "bias_regularizer": _PENALTY,
    "activity_regularizer": _PENALTY,
    "bias_initializer": "leave it out: a bias begins with 0",
    "track_running_stats": "leave it out: inference normalises with running averages",
    "elementwise_affine": _AFFINE,
    "affine": _AFFINE,
    "center": _AFFINE,
    "size_average": _REDUCE,
    "reduce": _REDUCE,
    "from_logits": "leave it out: the loss takes logits, so end the network without softmax or sigmoid",
    "log_target": "leave it out: targets are shares, and not their logarithms",
    "betas": "beta1=0.9, beta2=0.999",
    "params": "leave it out: gcn.compile(network, optimizer=...) gives it the parameters",
    "parameters": "leave it out: gcn.compile(network, optimizer=...) gives it the parameters",
    "dampening": "leave it out: the velocity is momentum · velocity + gradient",
    "maximize": "leave it out, and negate the loss",
    "amsgrad": "leave it out: gcn.Adam() is Adam as it was published",
    "foreach": _FASTER,
    "fused": _FASTER,
    "capturable": _FASTER,
    "differentiable": _FASTER,
    "clipnorm": _CLIP.format(name="clip_parameter_norm=1.0"),
    "global_clipnorm": _CLIP.format(name="clip_norm=1.0"),
    "max_norm": _CLIP.format(name="clip_norm=1.0"),
    "clipvalue": _CLIP.format(name="clip_value=0.5"),
    "use_ema": "gcn.compile(..., average=0.999), and model.averaged()",
    "verbose": "leave it out: fit(..., progress=False) is quiet",
}
"""Another framework's name, or that of one layer → what to write where no argument means the same."""

ACTIVATIONS: Final = {
    "relu": "ReLU",
    "relu6": "ReLU6",
    "gelu": "GELU",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "silu": "SiLU",
    "swish": "SiLU",
    "mish": "Mish",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "softmax": "Softmax",
    "softplus": "Softplus",
    "softsign": "Softsign",
    "leaky_relu": "LeakyReLU",
    "log_softmax": "LogSoftmax",
    "hard_sigmoid": "Hardsigmoid",
    "hard_swish": "Hardswish",
}
"""Another framework's name of an activation → the layer."""


def foreign(title: str, name: str, value: object, known: Sequence[str]) -> str:
    """Return what to write instead of another framework's argument; "" for a name that none has.

    title: what is called. known: the names of its arguments.
    """
    if f"{title}.{name}" in INSTEAD:
        return INSTEAD[f"{title}.{name}"]
    for same in SAME.get(name, ()):
        if same in known and same == "learning_rate" and hasattr(value, "schedule"):
            return "learning_rate=0.05, and model.fit(..., callbacks=[schedule])"
        if same in known:
            return f"{same}={written(same, value)}"
    if name == "activation":
        layer = ACTIVATIONS.get(value, "ReLU") if isinstance(value, str) else "ReLU"
        return f"a layer of its own, behind {title}: gcn.{layer}()"
    return INSTEAD.get(name, "")


def without_channels(
    title: str, arguments: Sequence[object], keywords: Mapping[str, object], known: Sequence[str]
) -> dict[str, object] | None:
    """Return arguments in PyTorch's order by their names here, but for the number of channels.

    None where there is none among them, and for arguments that have no name here.
    """
    order = ORDERS.get(title, ())
    place = order.index("") if order else 0
    if not place < len(arguments) <= len(order) or not isinstance(arguments[place], int):
        return None
    named = {name: value for name, value in zip(order, arguments, strict=False) if name}
    for name, value in keywords.items():
        ours = name if name in known else next((same for same in SAME.get(name, ()) if same in known), "")
        if not ours or ours in named:
            return None
        named[ours] = value
    return named


def weights_written(given: object) -> str:
    """Return weights of classes as they are written, of what is often given; "" where it is no such thing."""
    value = given.tolist() if hasattr(given, "tolist") else given
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"[{value!r}]"
    if isinstance(value, Mapping) and value and all(isinstance(key, int) and key >= 0 for key in value):
        return repr([value.get(label, 1.0) for label in range(max(value) + 1)])
    return repr(value) if isinstance(value, list) else ""


def written(name: str, value: object) -> str:
    """Return a value as it is written for the argument of this name."""
    if name in ("class_weights", "positive_weights") and (weights := weights_written(value)):
        return weights if len(weights) <= 60 else "..."
    if hasattr(value, "tolist"):
        value = value.tolist()
    if name == "initializer" and isinstance(value, str):
        return next((f"gcn.{each}()" for each in ("Glorot", "LeCun") if each.lower() in value), "gcn.He()")
    if isinstance(value, bool) and name == "correction":
        return str(int(value))
    return shown if len(shown := repr(value)) <= 40 and "<" not in shown else "..."
