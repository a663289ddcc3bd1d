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
_OWN_METRIC: Final = (
    'gcn.compile(network, metrics=["accuracy"]); also "top5_accuracy", "f1", "mean_iou", "rmse", and your own'
)
_LIST: Final = (
    "gcn.Sequential(gcn.Flatten(), gcn.Dense(10)); a list of layers is unpacked: Sequential(*layers)"
)
_BEFORE: Final = "model.fit(images, labels); arrays are made ready beforehand, with NumPy: images / 255"
_INITIAL: Final = (
    "gcn.Conv2d(16, 3, initializer=gcn.Glorot()); or gcn.He, gcn.LeCun, gcn.Normal, gcn.Constant"
)
_ONE_HOT: Final = "gcn.CrossEntropy(); it takes labels as they are; shares of classes with soft_targets=True"
_SCHEDULES: Final = "gcn.cosine_decay(0.1, epochs=10); a callback of model.fit, as gcn.one_cycle, too"
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
    "Normalization": "gcn.Normalize.of(images)",
    "Resizing": "gcn.resize2d(x, 32)",
    "RandomHorizontalFlip": "gcn.RandomFlip()",
    "RandomVerticalFlip": 'gcn.RandomFlip("vertical")',
    "RandomTranslation": "gcn.RandomCrop(padding=4); shifts images by up to 4 pixels",
    "RandomShift": "gcn.RandomCrop(padding=4); shifts images by up to 4 pixels",
    "CutOut": "gcn.Cutout(16)",
    "MixUp": "gcn.Mixup(0.2); it mixes targets in the loss",
    "RandomRotation": "gcn.RandomAffine(15); turns images by up to 15 degrees",
    "RandomZoom": "gcn.RandomAffine(scale=(0.8, 1.2))",
    "RandomBrightness": "gcn.ColorJitter(brightness=0.2)",
    "RandomContrast": "gcn.ColorJitter(contrast=0.2)",
    "RandomSaturation": "gcn.ColorJitter(saturation=0.2)",
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
    "ExponentialLR": "gcn.exponential_decay(0.1, 0.9)",
    "ReduceLROnPlateau": "gcn.ReduceOnPlateau()",
    "lr_scheduler": _SCHEDULES,
    "schedules": _SCHEDULES,
    "CosineDecay": _SCHEDULES,
    "LambdaLR": "gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)",
    "LearningRateScheduler": "gcn.LearningRateSchedule(lambda epoch: 0.1 / epoch)",
    "OneCycleLR": "gcn.one_cycle(0.1, epochs=10)",
    "CyclicLR": "gcn.triangular(0.1, epochs=10)",
    "PolynomialLR": "gcn.polynomial_decay(0.1, epochs=10)",
    "PolynomialDecay": "gcn.polynomial_decay(0.1, epochs=10)",
    "LinearLR": "gcn.polynomial_decay(0.1, epochs=10)",
    "ExponentialDecay": "gcn.exponential_decay(0.1, 0.9)",
    "CosineAnnealingWarmRestarts": "gcn.one_cycle(0.1, epochs=10)",
    "LRFinder": "gcn.find_learning_rate(model, images, labels)",
    "CSVLogger": 'gcn.CSVLog("log.csv")',
    **dict.fromkeys(("bfloat16", "autocast", "GradScaler"), 'gcn.compile(network, precision="bfloat16")'),
    "save": 'model.save("model.safetensors")',
    "load_model": 'gcn.load("model.safetensors")',
    "fit": "model.fit(images, labels); gcn.compile makes the model",
    "manual_seed": _SEED,
    "set_seed": _SEED,
    "no_grad": "model.predict(images); it keeps nothing for gradients",
    "SummaryWriter": 'gcn.TensorBoard("logs")',
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
_CIFAR: Final = 'gcn.data.load_cifar("cifar-10-batches-bin"); the folder with its files, unpacked'
_FOLDER: Final = 'gcn.data.load_image_folder("photos", size=64); the folder has one for each class'

OF_DATA: Final = {
    **dict.fromkeys(("mnist", "MNIST", "FashionMNIST", "KMNIST", "EMNIST", "QMNIST", "load_mnist"), _MNIST),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "cifar10", "cifar100"), _CIFAR),
    **dict.fromkeys(("image_dataset_from_directory", "flow_from_directory"), _FOLDER),
    "load_data": 'gcn.data.load("mnist"); a path, at which it finds out what is there',
    "random_split": "dataset.split(0.9)",
    "DataLoader": _ARRAYS,
    "TensorDataset": _ARRAYS,
    "ImageFolder": _FOLDER,
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

_IN_FIT: Final = (
    "a model needs no modes: dropout and batch norm behave as in training within fit and train_step alone"
)
_CPU: Final = "a model computes on the CPU, in the precision of gcn.compile(..., dtype=)"
_GRADIENTS: Final = "train_step computes gradients anew and applies them; model.inspect(x, y) shows them"
_STEP: Final = "model.train_step(x, y)"
_LAYERS: Final = "print(model.summary()) lists the layers, model.forward_graph has their nodes"
_BATCHES: Final = "model.fit(batches), where batches yields pairs (images, labels)"
_ARRAYS_OF: Final = "a layer has no arrays: a model has those of all layers by name"
_BY_NAME: Final = f'model.parameters["conv1.filters"]; {_ARRAYS_OF}'

OF_MODELS: Final = {
    "train": f"model.fit(x, y, epochs=5) trains; {_IN_FIT}",
    "eval": f"model.evaluate(x, y) and model.predict(x) compute as in inference; {_IN_FIT}",
    "training": _IN_FIT,
    "forward": "model.predict(x)",
    "call": "model.predict(x)",
    "predict_classes": "model.classify(x).best, or model.predict(x).argmax(axis=1)",
    "predict_proba": "model.classify(x).probabilities",
    "predict_on_batch": "model.predict(x)",
    "train_on_batch": _STEP,
    "partial_fit": _STEP,
    "step": _STEP,
    "test_on_batch": "model.evaluate(x, y)",
    "score": "model.evaluate(x, y)",
    "fit_generator": _BATCHES,
    "evaluate_generator": "model.evaluate(batches), where batches yields pairs (images, labels)",
    "compile": "gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05))",
    "to": _CPU,
    "cpu": _CPU,
    "cuda": _CPU,
    "gpu": _CPU,
    "float": _CPU,
    "double": _CPU,
    **dict.fromkeys(("half", "bfloat16"), 'gcn.compile(network, precision="bfloat16")'),
    **dict.fromkeys(("export", "to_onnx", "onnx_export"), 'model.export_onnx("network.onnx")'),
    "backward": _GRADIENTS,
    "zero_grad": _GRADIENTS,
    "grad": _GRADIENTS,
    "gradients": _GRADIENTS,
    "state_dict": "model.state() returns all that training changes, model.weights what predictions need",
    "load_state_dict": "model.set_state(state), or model.weights.update(weights)",
    "get_weights": "model.weights: name → array",
    "set_weights": "model.weights.update(weights)",
    "named_parameters": "model.parameters.items()",
    "trainable_weights": "model.parameters: name → array",
    "trainable_variables": "model.parameters: name → array",
    "count_params": "model.parameters.count",
    "layers": _LAYERS,
    "modules": _LAYERS,
    "named_modules": _LAYERS,
    "get_layer": f'model.parameters["conv1.filters"] has the filters of conv1; {_LAYERS}',
    "get_submodule": f'model.parameters["conv1.filters"] has the filters of conv1; {_LAYERS}',
    "children": _LAYERS,
    "add": "gcn.Sequential(*layers), then gcn.compile(network)",
    "lr": "model.learning_rate",
    "trainable": 'model.freeze("conv*") and model.unfreeze(); model.frozen names what is frozen',
    "requires_grad": 'model.freeze("conv*") and model.unfreeze(); model.frozen names what is frozen',
    "to_json": "model.save(path); print(model.forward_graph) is the network as text",
    "plot": "model.show(), or model.history.plot()",
}
"""Of a model: what it has by another name, or does not need."""

_GROUPS: Final = (
    "gcn.compile(network, loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05), "
    'groups={"conv*": {"learning_rate": 0.1}}); or model.learning_rate for all'
)

OF_OPTIMIZERS: Final = {
    **dict.fromkeys(("step", "minimize", "apply_gradients", "update"), "model.train_step(images, labels)"),
    "zero_grad": _GRADIENTS,
    "lr": "model.learning_rate",
    "param_groups": _GROUPS,
    "state_dict": "model.state(); the optimiser's state is in it",
    "load_state_dict": "model.set_state(model.state())",
    "get_config": "model.optimizer",
}
"""Of optimisers."""

OF_LOSSES: Final = {
    **dict.fromkeys(("forward", "call", "item", "result"), 'model.evaluate(images, labels)["loss"]'),
    "backward": _GRADIENTS,
}
"""Of losses."""

SETTABLE: Final = {
    **{
        name: f"gcn.compile(network, {name}=..., weights=model.weights)"
        for name in ("loss", "optimizer", "metrics", "passes", "precision")
    },
    "parameters": "model.parameters.update(parameters)",
    "weights": "model.weights.update(weights)",
    "frozen": 'model.freeze("*") and model.unfreeze()',
}
"""What a model has and cannot be set, and how it is had otherwise."""

OF_DATASETS: Final = {
    **dict.fromkeys(("class_names", "class_to_idx", "names", "categories"), "dataset.classes, by label"),
    **dict.fromkeys(
        ("filenames", "file_paths", "paths", "imgs", "samples"), "dataset.files and dataset.test_files"
    ),
    **dict.fromkeys(("targets", "y", "y_train", "train_labels"), "dataset.labels"),
    **dict.fromkeys(("data", "x", "x_train", "train_images"), "dataset.images"),
    **dict.fromkeys(("y_test", "x_test", "val_images"), "dataset.test_images and dataset.test_labels"),
    **dict.fromkeys(("train_test_split", "random_split", "validation_split"), "dataset.split(0.9)"),
    **dict.fromkeys(
        ("map", "transform", "batch", "shuffle"),
        "fit(batch_size=) shuffles and makes batches; layers change images: gcn.RandomFlip()",
    ),
    "shape": "dataset.images.shape",
    "head": "print(dataset), or dataset.show()",
    "plot": "dataset.show()",
}
"""What others call what a `Dataset` has."""

OF_HISTORIES: Final = {
    "history": 'history["loss"]; a History has its lists itself',
    "keys": "history.names",
    "items": "[(name, history[name]) for name in history.names]",
    "values": "[history[name] for name in history.names]",
    "get": 'history["loss"]',
    "epoch": "history.epochs",
    "params": "history.names",
    "to_dict": "{name: history[name] for name in history.names}",
}
"""Of the history of a training."""

OWN_OF_MODELS: Final = {
    "fit": "model.fit(images, labels)",
    "train_step": "model.train_step(images, labels)",
    "evaluate": "model.evaluate(images, labels)",
    "predict": "model.predict(images)",
    "summary": "model.summary()",
    "show": "model.show()",
    "inspect": "model.inspect(images)",
    "profile": "model.profile(images)",
    "save": 'model.save("model.safetensors")',
    "save_weights": 'model.save_weights("weights.safetensors")',
    "load_weights": 'model.load_weights("weights.safetensors")',
    "freeze": 'model.freeze("*")',
    "unfreeze": "model.unfreeze()",
    "state": "model.state()",
    **{name: f"model.{name}" for name in ("weights", "optimizer", "loss", "metrics", "history")},
    **{name: f"model.{name}" for name in ("learning_rate", "forward_graph", "gradient_graph", "step_graph")},
}
"""What a model has, and a layer or network is asked for that is not compiled yet."""

_AT_ONCE: Final = "gcn.Sequential(*layers); with all layers at once, of a list that may grow before"
_GOES_ON: Final = "gcn.Network(network.inputs, gcn.Dense(10)(network.output)); a network is made at once"

OF_NETWORKS: Final = {
    "parameters": "model.parameters; the optimiser, which is not given them, is an argument of gcn.compile",
    "compile": "{model}",
    "build": "{model}",
    "graph": "model.forward_graph",
    "input_shape": "model.forward_graph.inputs; gcn.compile is given the shape of the images",
    "output_shape": "model.summary(); it has all shapes",
    **dict.fromkeys(("add", "append", "extend", "insert", "add_module"), _AT_ONCE),
    "pop": "network[:-1]",
    **{f"Network.{name}": _GOES_ON for name in ("add", "append", "extend", "insert", "add_module", "pop")},
    **dict.fromkeys(("weight", "get_weights", "trainable_weights"), _BY_NAME),
    "set_weights": 'model.parameters["conv1.filters"]; it can be assigned to; ' + _ARRAYS_OF,
    "running_mean": 'model.weights["batchnorm1.mean"]; ' + _ARRAYS_OF,
    "running_var": 'model.weights["batchnorm1.variance"]; ' + _ARRAYS_OF,
    "gamma": 'model.parameters["batchnorm1.scale"]; ' + _ARRAYS_OF,
    "beta": 'model.parameters["batchnorm1.shift"]; ' + _ARRAYS_OF,
}
"""Of layers and networks, which are not compiled yet; {model}: the code that makes a model of them."""


def of_network(title: str, name: str, *, has_inputs: bool) -> str:
    """Return what to write instead of an attribute that no network or layer has; "" for a name that none has.

    title: the class that is asked for it. has_inputs: whether the network knows the shape of its images.
    """
    own = OF_NETWORKS.get(f"{title}.{name}") or OF_NETWORKS.get(name)
    instead = own or OWN_OF_MODELS.get(name) or OF_MODELS.get(name, "")
    shape = "" if has_inputs else " input_shape=(28, 28, 1),"
    made = f"gcn.compile(network,{shape} loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.05))"
    if "model." in instead:
        return f"model = {made}; {instead}"
    return instead.replace("{model}", f"model = {made}")


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
