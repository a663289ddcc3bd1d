"""What other frameworks call layers, losses, functions and the like, and what to write here.

A note follows the code after "; ".
"""

from __future__ import annotations

from typing import Final

from graphcnn.errors import meant

_SQUARED: Final = 'gcn.SquaredError(reduction="mean"); half the sum of squares of each sample'
_LOGITS: Final = "gcn.CrossEntropy(); it takes logits, so end the network without softmax"
_BINARY: Final = "gcn.BinaryCrossEntropy(); it takes logits, so end the network without sigmoid"
_SHARES: Final = "gcn.CrossEntropy(soft_targets=True); it takes logits, so end the network without softmax"
_HERE: Final = "gcn.Conv2d, gcn.ReLU, gcn.CrossEntropy, gcn.Adam; all else is in gcn itself, too"
_ARRAYS: Final = "model.fit(images, labels); arrays go to a model as they are"
_SEED: Final = "gcn.compile(network, seed=0)"
_POOL: Final = "gcn.{0}(2)(x); the layer, called on a value"
_OWN_METRIC: Final = 'gcn.compile(network, metrics=["accuracy"]); also "binary_accuracy", "iou", and your own'
_LIST: Final = (
    "gcn.Sequential(gcn.Flatten(), gcn.Dense(10)); a list of layers is unpacked: Sequential(*layers)"
)
_BEFORE: Final = "model.fit(images, labels); arrays are made ready beforehand, with NumPy: images / 255"
_INITIAL: Final = (
    "gcn.Conv2d(16, 3, initializer=gcn.Glorot()); or gcn.He, gcn.LeCun, gcn.Normal, gcn.Constant"
)
_ONE_HOT: Final = "gcn.CrossEntropy(); it takes labels as they are; shares of classes with soft_targets=True"
_SCHEDULES: Final = "gcn.cosine_decay(0.1, epochs=10); a callback of model.fit, as gcn.step_decay, too"
_SEPARABLE: Final = 'gcn.Sequential(gcn.DepthwiseConv2d(3, padding="same"), gcn.Conv2d(16, 1))'

FOREIGN: Final = {
    # losses
    "MSELoss": _SQUARED,
    "MeanSquaredError": _SQUARED,
    "mse_loss": _SQUARED,
    "L1Loss": "gcn.AbsoluteError()",
    "MeanAbsoluteError": "gcn.AbsoluteError()",
    "l1_loss": "gcn.AbsoluteError()",
    "SmoothL1Loss": "gcn.Huber()",
    "HuberLoss": "gcn.Huber()",
    "CrossEntropyLoss": "gcn.CrossEntropy()",
    "cross_entropy": "gcn.CrossEntropy()",
    "NLLLoss": _LOGITS,
    "nll_loss": _LOGITS,
    "SparseCategoricalCrossentropy": _LOGITS,
    "CategoricalCrossentropy": _SHARES,
    "BCEWithLogitsLoss": "gcn.BinaryCrossEntropy()",
    "BCELoss": _BINARY,
    "BinaryCrossentropy": _BINARY,
    "binary_cross_entropy": _BINARY,
    "binary_cross_entropy_with_logits": "gcn.BinaryCrossEntropy()",
    "KLDivLoss": "gcn.KLDivergence(); it takes logits, so end the network without softmax",
    "CosineEmbeddingLoss": "gcn.CosineSimilarity()",
    "MultiMarginLoss": "gcn.Hinge()",
    "SoftmaxCrossEntropy": _LOGITS,
    "SoftmaxCrossEntropyLoss": _LOGITS,
    "softmax_cross_entropy": _LOGITS,
    "softmax_cross_entropy_with_logits": _LOGITS,
    "CategoricalCrossEntropy": _SHARES,
    "SigmoidCrossEntropy": "gcn.BinaryCrossEntropy()",
    "BCE": _BINARY,
    "MultiLabelSoftMarginLoss": "gcn.BinaryCrossEntropy()",
    "NLL": _LOGITS,
    "MSE": _SQUARED,
    "MAE": "gcn.AbsoluteError()",
    "DiceLoss": "gcn.Dice()",
    "FocalLoss": "gcn.Focal()",
    # layers
    "Linear": "gcn.Dense(10); the number of inputs is seen from the input",
    "LazyLinear": "gcn.Dense(10)",
    "LazyConv2d": "gcn.Conv2d(16, 3)",
    "Conv2DTranspose": "gcn.ConvTranspose2d(16, 2, stride=2)",
    "SeparableConv2D": _SEPARABLE,
    "SeparableConv2d": _SEPARABLE,
    "DepthwiseConv2D": "gcn.DepthwiseConv2d(3)",
    "MaxPooling2D": "gcn.MaxPool2d(2)",
    "MaxPooling1D": "gcn.MaxPool1d(2)",
    "AveragePooling2D": "gcn.AvgPool2d(2)",
    "AveragePooling1D": "gcn.AvgPool1d(2)",
    "GlobalAveragePooling2D": "gcn.GlobalAvgPool2d()",
    "GlobalAveragePooling1D": "gcn.GlobalAvgPool1d()",
    "GlobalMaxPooling2D": "gcn.GlobalMaxPool2d()",
    "GlobalMaxPooling1D": "gcn.GlobalMaxPool1d()",
    "AdaptiveAveragePooling2D": "gcn.AdaptiveAvgPool2d(1)",
    "BatchNormalization": "gcn.BatchNorm2d()",
    "BatchNorm": "gcn.BatchNorm2d()",
    "LazyBatchNorm2d": "gcn.BatchNorm2d()",
    "LayerNormalization": "gcn.LayerNorm()",
    "GroupNormalization": "gcn.GroupNorm(4)",
    "UpSampling2D": "gcn.Upsample2d(2)",
    "Upsample": "gcn.Upsample2d(2)",
    "ZeroPadding2D": "gcn.Pad2d(1)",
    "ZeroPad2d": "gcn.Pad2d(1)",
    "ConstantPad2d": "gcn.Pad2d(1, value=0.5)",
    "ReflectionPad2d": 'gcn.Pad2d(1, "reflect")',
    "ReplicationPad2d": 'gcn.Pad2d(1, "edge")',
    "SpatialDropout2D": "gcn.Dropout2d(0.5)",
    "DropPath": "gcn.StochasticDepth(0.1)",
    "Unflatten": "gcn.Reshape((8, 8, 1))",
    "Swish": "gcn.SiLU()",
    "Permute": "gcn.transpose(x, (0, 3, 1, 2)); a function of values",
    "Concatenate": "gcn.concatenate(x, y)",
    "Concat": "gcn.concatenate(x, y)",
    "Subtract": "x - y",
    "Average": "(x + y) / 2",
    "Lambda": "gcn.exp(x); functions and operators take values of a network; gcn.pointwise makes a layer's",
    "ModuleList": _LIST,
    "Rescaling": _BEFORE,
    "Resizing": "gcn.resize2d(x, 32)",
    "RandomFlip": _BEFORE,
    "Module": "gcn.Layer; the base of layers of your own; gcn.Sequential and gcn.Network join layers",
    "Functional": "gcn.Network(x, gcn.exp(x))",
    "InputLayer": "gcn.Input((28, 28, 1))",
    "Add": "x + y",
    "Multiply": "x * y",
    # functions
    "cat": "gcn.concatenate(x, y)",
    "concat": "gcn.concatenate(x, y)",
    "hstack": "gcn.concatenate(x, y)",
    "view": "gcn.reshape(x, (-1,)); without the batch axis",
    "permute": "gcn.transpose(x, (0, 3, 1, 2))",
    "swapaxes": "gcn.transpose(x); exchanges the last two axes; gcn.transpose(x, axes) any",
    "squeeze": "x[:, 0]; takes a place of an axis, which is gone then",
    "unsqueeze": "x[:, None]",
    "expand_dims": "x[:, None]",
    "chunk": "gcn.split(x, 2)",
    "bmm": "gcn.matmul(x, y)",
    "mm": "gcn.matmul(x, y)",
    "dot": "gcn.matmul(x, y)",
    "einsum": "gcn.matmul(x, y)",
    "pow": "x**2",
    "square": "x**2",
    "add": "x + y",
    "subtract": "x - y",
    "sub": "x - y",
    "multiply": "x * y",
    "mul": "x * y",
    "divide": "x / y",
    "div": "x / y",
    "greater": "x > y",
    "less": "x < y",
    "logical_and": "(x > 0) & (x < 1)",
    "logical_or": "(x < 0) | (x > 1)",
    "logical_not": "~(x > 0)",
    "clamp": "gcn.clip(x, 0.0, 1.0)",
    "amax": "gcn.max(x)",
    "amin": "gcn.min(x)",
    "reduce_mean": "gcn.mean(x)",
    "reduce_sum": "gcn.sum(x)",
    "reduce_max": "gcn.max(x)",
    "std": "gcn.sqrt(gcn.var(x))",
    "norm": "gcn.sqrt(gcn.sum(x**2, axes=-1))",
    "detach": "gcn.stop_gradient(x)",
    "interpolate": "gcn.resize2d(x, 32)",
    "upsample": "gcn.upsample2d(x, 2)",
    "dropout": "gcn.Dropout(0.5)(x)",
    "conv2d": "gcn.Conv2d(16, 3)(x); the layer; gcn.correlate2d(x, filters) where the filters are values",
    "linear": "gcn.Dense(10)(gcn.flatten(x))",
    "max_pool2d": _POOL.format("MaxPool2d"),
    "avg_pool2d": _POOL.format("AvgPool2d"),
    "batch_norm": "gcn.BatchNorm2d()(x)",
    "layer_norm": "gcn.LayerNorm()(x)",
    "grad": "model.gradient_graph; gradients are a graph; gcn.gradient(graph, of, wrt) derives them",
    # training
    "StepLR": "gcn.step_decay(0.1, every=30)",
    "CosineAnnealingLR": "gcn.cosine_decay(0.1, epochs=10)",
    "ExponentialLR": "gcn.step_decay(0.1, every=1, factor=0.9)",
    "ReduceLROnPlateau": "gcn.cosine_decay(0.1, epochs=10); a callback; gcn.EarlyStopping() watches a number",
    "lr_scheduler": _SCHEDULES,
    "schedules": _SCHEDULES,
    "CosineDecay": _SCHEDULES,
    "LambdaLR": "gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)",
    "LearningRateScheduler": "gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)",
    "CSVLogger": 'gcn.CSVLog("log.csv")',
    "save": 'model.save("model.safetensors")',
    "load_model": 'gcn.load("model.safetensors")',
    "fit": "model.fit(images, labels); gcn.compile makes the model",
    "manual_seed": _SEED,
    "set_seed": _SEED,
    "no_grad": "model.predict(images); it keeps nothing for gradients",
    "TensorBoard": 'gcn.CSVLog("log.csv")',
    "metrics": _OWN_METRIC,
    "Accuracy": _OWN_METRIC,
    "accuracy": _OWN_METRIC,
    "BinaryAccuracy": _OWN_METRIC,
    "init": _INITIAL,
    "initializers": _INITIAL,
    "to_categorical": _ONE_HOT,
    "one_hot": _ONE_HOT,
    "Variable": 'gcn.Parameter((3,), "scale"); a trained tensor of your own',
    "GradientTape": "model.gradient_graph; gradients are a graph; gcn.gradient(graph, of, wrt) derives them",
    "Trainer": _ARRAYS,
    "train": "model.fit(images, labels); gcn.compile makes the model",
    "predict": "model.predict(images); gcn.compile makes the model",
    "random": _SEED,
    "DataLoader": _ARRAYS,
    "Dataset": _ARRAYS,
    "tensor": _ARRAYS,
    "from_numpy": _ARRAYS,
    "device": "gcn.compile(network, threads=4); networks compute on the CPU",
    "nn": _HERE,
    "functional": _HERE,
    "layers": _HERE,
    "models": "gcn.zoo.resnet18()",
    "losses": _HERE,
    "optim": _HERE,
    "optimizers": _HERE,
    "callbacks": _HERE,
    "keras": _HERE,
    "torch": _HERE,
    "datasets": "gcn.data.load_digits()",
    "summary": "model.summary()",
}  # fmt; skip
"""Of the namespace `gcn`. Values of a network are x and y."""

_MNIST: Final = 'gcn.data.load_idx_folder("mnist"); the folder with the four files of MNIST, or a set like it'

OF_DATA: Final = {
    **dict.fromkeys(("mnist", "MNIST", "FashionMNIST", "EMNIST", "load_mnist", "load_data"), _MNIST),
    "DataLoader": _ARRAYS,
    "TensorDataset": _ARRAYS,
    "ImageFolder": _ARRAYS,
}
"""Of `gcn.data`."""

OF_VALUES: Final = {
    **{name: f"gcn.{name}(x)" for name in ("exp", "log", "sqrt", "sin", "cos", "erf", "abs", "sign", "relu")},
    **{name: f"gcn.{name}(x)" for name in ("tanh", "sigmoid", "softmax", "log_softmax", "flatten", "argmax")},
    **{name: f"gcn.{name}(x)" for name in ("mean", "sum", "max", "min", "var")},
    **{name: f"gcn.{name}(x, y)" for name in ("maximum", "minimum", "matmul", "concatenate", "equal")},
    "absolute": "gcn.abs(x)",
    "clip": "gcn.clip(x, 0.0, 1.0)",
    "where": "gcn.where(x > 0, x, y)",
    "reshape": "gcn.reshape(x, (-1,)); without the batch axis",
    "transpose": "gcn.transpose(x, (0, 3, 1, 2))",
    "T": "gcn.transpose(x); exchanges the last two axes",
    "split": "gcn.split(x, 2)",
    "stack": "gcn.stack(x, y)",
    "vstack": "gcn.stack(x, y, axis=1)",
    "pad": "gcn.pad(x, 1)",
    "repeat": "gcn.upsample2d(x, 2)",
    "tile": "gcn.concatenate(x, x, axis=1)",
    "size": "x.shape",
    "ndim": "x.type.rank",
    "dim": "x.type.rank",
    "dtype": "x.type.dtype",
    "ravel": "gcn.flatten(x)",
    "item": "model.predict(images); a value of a network has no elements yet",
    "numpy": "model.predict(images); a value of a network has no elements yet",
    "cpu": "model.predict(images); a value of a network has no elements yet",
    "data": "model.predict(images); a value of a network has no elements yet",
    "backward": "model.gradient_graph; gcn.compile(network, loss=gcn.CrossEntropy()) derives all gradients",
    "requires_grad": "gcn.stop_gradient(x)",
    "contiguous": "x",
    "negative": "-x",
    "power": "x**2",
    "square": "x**2",
    "reciprocal": "1 / x",
    "log1p": "gcn.log(1 + x)",
    "expm1": "gcn.exp(x) - 1",
    "tan": "gcn.sin(x) / gcn.cos(x)",
    "linalg_norm": "gcn.sqrt(gcn.sum(x**2, axes=-1))",
}  # fmt; skip
"""Methods and attributes of arrays, and functions of NumPy, that a value of a network is asked for."""

OF_TEXT: Final = {
    "loss": {
        "mse": _SQUARED,
        "mean_squared_error": _SQUARED,
        "squared_error": _SQUARED,
        "mae": "gcn.AbsoluteError()",
        "l1": "gcn.AbsoluteError()",
        "mean_absolute_error": "gcn.AbsoluteError()",
        "cross_entropy": "gcn.CrossEntropy()",
        "crossentropy": "gcn.CrossEntropy()",
        "sparse_categorical_crossentropy": _LOGITS,
        "nll": _LOGITS,
        "categorical_crossentropy": _SHARES,
        "bce": _BINARY,
        "binary_crossentropy": _BINARY,
        "binary_cross_entropy": _BINARY,
        "huber": "gcn.Huber()",
        "hinge": "gcn.Hinge()",
        "dice": "gcn.Dice()",
        "focal": "gcn.Focal()",
        "kl_divergence": "gcn.KLDivergence(); it takes logits, so end the network without softmax",
        "cosine_similarity": "gcn.CosineSimilarity()",
    },
    "optimizer": {
        "sgd": "gcn.SGD(0.05)",
        "momentum": "gcn.SGD(0.05, momentum=0.9)",
        "adam": "gcn.Adam()",
        "adamw": "gcn.AdamW()",
        "rmsprop": "gcn.RMSprop()",
        "adagrad": "gcn.Adagrad()",
        "lion": "gcn.Lion()",
        "muon": "gcn.Muon()",
    },
}
"""Losses and optimisers by text, as other frameworks take them."""


def named_by(kind: str, text: str) -> str:
    """Return the code of the loss or optimiser that a text names; "" where it names none."""
    known = OF_TEXT.get(kind, {})
    plain = text.lower().replace("-", "_").replace(" ", "_")
    near = plain if plain in known else meant(plain, known).removeprefix("did you mean '").removesuffix("'?")
    return known.get(near, "")
