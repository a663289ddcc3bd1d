"""graphcnn compiles convolutional networks; their gradient is a graph that you can read.

    import graphcnn as gcn

    network = gcn.Sequential(gcn.Conv2d(8, 3), gcn.ReLU(), gcn.MaxPool2d(2), gcn.Flatten(), gcn.Dense(10))
    model = gcn.compile(network, input_shape=(8, 8, 1), loss=gcn.CrossEntropy(), optimizer=gcn.SGD(0.1))

Names are imported when they are first used, so that `import graphcnn` itself costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from graphcnn.displays import register_display as _register_display

__version__ = "0.1.0"

if TYPE_CHECKING:
    from graphcnn import backend as backend
    from graphcnn import data as data
    from graphcnn import ops as ops
    from graphcnn import testing as testing
    from graphcnn import zoo as zoo
    from graphcnn.backend import Backend as Backend
    from graphcnn.backend import Executable as Executable
    from graphcnn.backend import Report as Report
    from graphcnn.backend import backends as backends
    from graphcnn.backend import evaluate as evaluate
    from graphcnn.compiler import compile as compile
    from graphcnn.compiler import load as load
    from graphcnn.compiler import resume as resume
    from graphcnn.dsl.activations import celu as celu
    from graphcnn.dsl.activations import elu as elu
    from graphcnn.dsl.activations import gelu as gelu
    from graphcnn.dsl.activations import hardsigmoid as hardsigmoid
    from graphcnn.dsl.activations import hardswish as hardswish
    from graphcnn.dsl.activations import hardtanh as hardtanh
    from graphcnn.dsl.activations import leaky_relu as leaky_relu
    from graphcnn.dsl.activations import log_softmax as log_softmax
    from graphcnn.dsl.activations import mish as mish
    from graphcnn.dsl.activations import prelu as prelu
    from graphcnn.dsl.activations import relu as relu
    from graphcnn.dsl.activations import relu6 as relu6
    from graphcnn.dsl.activations import scaled_tanh as scaled_tanh
    from graphcnn.dsl.activations import selu as selu
    from graphcnn.dsl.activations import sigmoid as sigmoid
    from graphcnn.dsl.activations import silu as silu
    from graphcnn.dsl.activations import softmax as softmax
    from graphcnn.dsl.activations import softplus as softplus
    from graphcnn.dsl.activations import softsign as softsign
    from graphcnn.dsl.activations import tanh as tanh
    from graphcnn.dsl.builder import Builder as Builder
    from graphcnn.dsl.elementwise import abs as abs
    from graphcnn.dsl.elementwise import clip as clip
    from graphcnn.dsl.elementwise import cos as cos
    from graphcnn.dsl.elementwise import equal as equal
    from graphcnn.dsl.elementwise import erf as erf
    from graphcnn.dsl.elementwise import exp as exp
    from graphcnn.dsl.elementwise import log as log
    from graphcnn.dsl.elementwise import maximum as maximum
    from graphcnn.dsl.elementwise import minimum as minimum
    from graphcnn.dsl.elementwise import sign as sign
    from graphcnn.dsl.elementwise import sin as sin
    from graphcnn.dsl.elementwise import sqrt as sqrt
    from graphcnn.dsl.elementwise import stop_gradient as stop_gradient
    from graphcnn.dsl.elementwise import where as where
    from graphcnn.dsl.functional import convolve2d as convolve2d
    from graphcnn.dsl.functional import correlate2d as correlate2d
    from graphcnn.dsl.functional import matmul as matmul
    from graphcnn.dsl.functional import squared_error as squared_error
    from graphcnn.dsl.initializers import Constant as Constant
    from graphcnn.dsl.initializers import Glorot as Glorot
    from graphcnn.dsl.initializers import He as He
    from graphcnn.dsl.initializers import LeCun as LeCun
    from graphcnn.dsl.initializers import Normal as Normal
    from graphcnn.dsl.layers import CELU as CELU
    from graphcnn.dsl.layers import ELU as ELU
    from graphcnn.dsl.layers import GELU as GELU
    from graphcnn.dsl.layers import SELU as SELU
    from graphcnn.dsl.layers import AdaptiveAvgPool1d as AdaptiveAvgPool1d
    from graphcnn.dsl.layers import AdaptiveAvgPool2d as AdaptiveAvgPool2d
    from graphcnn.dsl.layers import AdaptiveMaxPool1d as AdaptiveMaxPool1d
    from graphcnn.dsl.layers import AdaptiveMaxPool2d as AdaptiveMaxPool2d
    from graphcnn.dsl.layers import AvgPool1d as AvgPool1d
    from graphcnn.dsl.layers import AvgPool2d as AvgPool2d
    from graphcnn.dsl.layers import BatchNorm1d as BatchNorm1d
    from graphcnn.dsl.layers import BatchNorm2d as BatchNorm2d
    from graphcnn.dsl.layers import ColorJitter as ColorJitter
    from graphcnn.dsl.layers import Conv1d as Conv1d
    from graphcnn.dsl.layers import Conv2d as Conv2d
    from graphcnn.dsl.layers import ConvTranspose1d as ConvTranspose1d
    from graphcnn.dsl.layers import ConvTranspose2d as ConvTranspose2d
    from graphcnn.dsl.layers import CutMix as CutMix
    from graphcnn.dsl.layers import Cutout as Cutout
    from graphcnn.dsl.layers import Dense as Dense
    from graphcnn.dsl.layers import DepthwiseConv2d as DepthwiseConv2d
    from graphcnn.dsl.layers import Dropout as Dropout
    from graphcnn.dsl.layers import Dropout2d as Dropout2d
    from graphcnn.dsl.layers import Flatten as Flatten
    from graphcnn.dsl.layers import GaussianNoise as GaussianNoise
    from graphcnn.dsl.layers import GlobalAvgPool1d as GlobalAvgPool1d
    from graphcnn.dsl.layers import GlobalAvgPool2d as GlobalAvgPool2d
    from graphcnn.dsl.layers import GlobalMaxPool1d as GlobalMaxPool1d
    from graphcnn.dsl.layers import GlobalMaxPool2d as GlobalMaxPool2d
    from graphcnn.dsl.layers import GroupNorm as GroupNorm
    from graphcnn.dsl.layers import Hardsigmoid as Hardsigmoid
    from graphcnn.dsl.layers import Hardswish as Hardswish
    from graphcnn.dsl.layers import Hardtanh as Hardtanh
    from graphcnn.dsl.layers import InstanceNorm2d as InstanceNorm2d
    from graphcnn.dsl.layers import L2Pool2d as L2Pool2d
    from graphcnn.dsl.layers import Layer as Layer
    from graphcnn.dsl.layers import LayerNorm as LayerNorm
    from graphcnn.dsl.layers import LeakyReLU as LeakyReLU
    from graphcnn.dsl.layers import LocalResponseNorm as LocalResponseNorm
    from graphcnn.dsl.layers import LogSoftmax as LogSoftmax
    from graphcnn.dsl.layers import LPPool2d as LPPool2d
    from graphcnn.dsl.layers import MaxPool1d as MaxPool1d
    from graphcnn.dsl.layers import MaxPool2d as MaxPool2d
    from graphcnn.dsl.layers import MaxUnpool2d as MaxUnpool2d
    from graphcnn.dsl.layers import Mish as Mish
    from graphcnn.dsl.layers import Mixup as Mixup
    from graphcnn.dsl.layers import Normalize as Normalize
    from graphcnn.dsl.layers import Pad2d as Pad2d
    from graphcnn.dsl.layers import PixelShuffle as PixelShuffle
    from graphcnn.dsl.layers import PixelUnshuffle as PixelUnshuffle
    from graphcnn.dsl.layers import PReLU as PReLU
    from graphcnn.dsl.layers import RandomAffine as RandomAffine
    from graphcnn.dsl.layers import RandomCrop as RandomCrop
    from graphcnn.dsl.layers import RandomErasing as RandomErasing
    from graphcnn.dsl.layers import RandomFlip as RandomFlip
    from graphcnn.dsl.layers import ReLU as ReLU
    from graphcnn.dsl.layers import ReLU6 as ReLU6
    from graphcnn.dsl.layers import Reshape as Reshape
    from graphcnn.dsl.layers import RMSNorm as RMSNorm
    from graphcnn.dsl.layers import ScaledTanh as ScaledTanh
    from graphcnn.dsl.layers import Sigmoid as Sigmoid
    from graphcnn.dsl.layers import SiLU as SiLU
    from graphcnn.dsl.layers import Softmax as Softmax
    from graphcnn.dsl.layers import Softplus as Softplus
    from graphcnn.dsl.layers import Softsign as Softsign
    from graphcnn.dsl.layers import StochasticDepth as StochasticDepth
    from graphcnn.dsl.layers import Tanh as Tanh
    from graphcnn.dsl.layers import Upsample2d as Upsample2d
    from graphcnn.dsl.network import Input as Input
    from graphcnn.dsl.network import Network as Network
    from graphcnn.dsl.network import Parameter as Parameter
    from graphcnn.dsl.network import Sequential as Sequential
    from graphcnn.dsl.padding import pad as pad
    from graphcnn.dsl.pointwise import Activation as Activation
    from graphcnn.dsl.pointwise import pointwise as pointwise
    from graphcnn.dsl.reductions import argmax as argmax
    from graphcnn.dsl.reductions import max as max
    from graphcnn.dsl.reductions import mean as mean
    from graphcnn.dsl.reductions import min as min
    from graphcnn.dsl.reductions import sum as sum
    from graphcnn.dsl.reductions import var as var
    from graphcnn.dsl.resampling import pixel_shuffle as pixel_shuffle
    from graphcnn.dsl.resampling import pixel_unshuffle as pixel_unshuffle
    from graphcnn.dsl.resampling import resize2d as resize2d
    from graphcnn.dsl.resampling import upsample2d as upsample2d
    from graphcnn.dsl.shapes import concatenate as concatenate
    from graphcnn.dsl.shapes import flatten as flatten
    from graphcnn.dsl.shapes import reshape as reshape
    from graphcnn.dsl.shapes import split as split
    from graphcnn.dsl.shapes import stack as stack
    from graphcnn.dsl.shapes import transpose as transpose
    from graphcnn.dsl.tensor import Tensor as Tensor
    from graphcnn.dsl.tensor import apply_op as apply_op
    from graphcnn.errors import GraphcnnError as GraphcnnError
    from graphcnn.errors import GraphcnnWarning as GraphcnnWarning
    from graphcnn.errors import InterchangeError as InterchangeError
    from graphcnn.errors import OptionError as OptionError
    from graphcnn.errors import ShapeError as ShapeError
    from graphcnn.interchange.onnx.reading import from_onnx as from_onnx
    from graphcnn.ir import Emitter as Emitter
    from graphcnn.ir import Graph as Graph
    from graphcnn.ir import Op as Op
    from graphcnn.ir import Origin as Origin
    from graphcnn.ir import TensorType as TensorType
    from graphcnn.ir import Value as Value
    from graphcnn.ir.verify import verify as verify
    from graphcnn.ops import parse as parse
    from graphcnn.ops import register_op as register_op
    from graphcnn.rewrite import Match as Match
    from graphcnn.rewrite import Rule as Rule
    from graphcnn.training.callbacks import Callback as Callback
    from graphcnn.training.checkpoint import Checkpoint as Checkpoint
    from graphcnn.training.csv_log import CSVLog as CSVLog
    from graphcnn.training.gradient_log import GradientLog as GradientLog
    from graphcnn.training.history import History as History
    from graphcnn.training.live_plot import LivePlot as LivePlot
    from graphcnn.training.losses import AbsoluteError as AbsoluteError
    from graphcnn.training.losses import BinaryCrossEntropy as BinaryCrossEntropy
    from graphcnn.training.losses import CosineSimilarity as CosineSimilarity
    from graphcnn.training.losses import CrossEntropy as CrossEntropy
    from graphcnn.training.losses import Dice as Dice
    from graphcnn.training.losses import Focal as Focal
    from graphcnn.training.losses import Hinge as Hinge
    from graphcnn.training.losses import Huber as Huber
    from graphcnn.training.losses import KLDivergence as KLDivergence
    from graphcnn.training.losses import Loss as Loss
    from graphcnn.training.losses import SquaredError as SquaredError
    from graphcnn.training.metrics import Metric as Metric
    from graphcnn.training.model import Model as Model
    from graphcnn.training.monitors import BestWeights as BestWeights
    from graphcnn.training.monitors import EarlyStopping as EarlyStopping
    from graphcnn.training.monitors import ModelCheckpoint as ModelCheckpoint
    from graphcnn.training.monitors import ReduceOnPlateau as ReduceOnPlateau
    from graphcnn.training.optimizers import SGD as SGD
    from graphcnn.training.optimizers import Adagrad as Adagrad
    from graphcnn.training.optimizers import Adam as Adam
    from graphcnn.training.optimizers import AdamW as AdamW
    from graphcnn.training.optimizers import Lion as Lion
    from graphcnn.training.optimizers import Muon as Muon
    from graphcnn.training.optimizers import Optimizer as Optimizer
    from graphcnn.training.optimizers import RMSprop as RMSprop
    from graphcnn.training.rate_finder import find_learning_rate as find_learning_rate
    from graphcnn.training.schedules import LearningRateSchedule as LearningRateSchedule
    from graphcnn.training.schedules import cosine_decay as cosine_decay
    from graphcnn.training.schedules import exponential_decay as exponential_decay
    from graphcnn.training.schedules import one_cycle as one_cycle
    from graphcnn.training.schedules import polynomial_decay as polynomial_decay
    from graphcnn.training.schedules import step_decay as step_decay
    from graphcnn.training.schedules import triangular as triangular
    from graphcnn.training.tensorboard import TensorBoard as TensorBoard
    from graphcnn.training.views import Views as Views
    from graphcnn.transform import Pass as Pass
    from graphcnn.transform import distribute as distribute
    from graphcnn.transform import gradient as gradient
    from graphcnn.transform import simplification_rules as simplification_rules
    from graphcnn.transform.simplify import simplify as simplify

_HOMES = {
    "backend": ("Backend", "Executable", "Report", "backends", "evaluate"),
    "compiler": ("compile", "load", "resume"),
    "dsl.activations": (
        *("celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_softmax"),
        *("mish", "prelu", "relu", "relu6", "scaled_tanh", "selu", "sigmoid", "silu", "softmax"),
        *("softplus", "softsign", "tanh"),
    ),
    "dsl.builder": ("Builder",),
    "dsl.elementwise": (
        *("abs", "clip", "cos", "equal", "erf", "exp", "log", "maximum", "minimum", "sign", "sin", "sqrt"),
        *("stop_gradient", "where"),
    ),
    "dsl.functional": ("convolve2d", "correlate2d", "matmul", "squared_error"),
    "dsl.initializers": ("Constant", "Glorot", "He", "LeCun", "Normal"),
    "dsl.layers": (
        *("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AvgPool1d"),
        *("AvgPool2d", "BatchNorm1d", "BatchNorm2d", "CELU", "Conv1d", "Conv2d", "ConvTranspose1d"),
        *("ConvTranspose2d", "Dense", "DepthwiseConv2d", "Dropout", "Dropout2d", "ELU", "Flatten", "GELU"),
        *("GaussianNoise", "GlobalAvgPool1d", "GlobalAvgPool2d", "GlobalMaxPool1d", "GlobalMaxPool2d"),
        *("GroupNorm", "Hardsigmoid", "Hardswish", "Hardtanh", "InstanceNorm2d", "L2Pool2d", "LPPool2d"),
        *("Layer", "LayerNorm", "LeakyReLU", "LocalResponseNorm", "LogSoftmax", "MaxPool1d", "MaxPool2d"),
        *("MaxUnpool2d", "Mish", "PReLU", "RMSNorm", "ReLU", "ReLU6", "SELU", "ScaledTanh", "SiLU"),
        *("Sigmoid", "Softmax", "Softplus", "Softsign", "StochasticDepth", "Tanh"),
    ),
    "dsl.layers.augmentation": ("Cutout", "RandomCrop", "RandomErasing", "RandomFlip"),
    "dsl.layers.distortion": ("ColorJitter", "RandomAffine"),
    "dsl.layers.mixing": ("CutMix", "Mixup"),
    "dsl.layers.normalize": ("Normalize",),
    "dsl.layers.resampling": ("PixelShuffle", "PixelUnshuffle", "Upsample2d"),
    "dsl.layers.shape": ("Pad2d", "Reshape"),
    "dsl.network": ("Input", "Network", "Parameter", "Sequential"),
    "dsl.padding": ("pad",),
    "dsl.pointwise": ("Activation", "pointwise"),
    "dsl.reductions": ("argmax", "max", "mean", "min", "sum", "var"),
    "dsl.resampling": ("pixel_shuffle", "pixel_unshuffle", "resize2d", "upsample2d"),
    "dsl.shapes": ("concatenate", "flatten", "reshape", "split", "stack", "transpose"),
    "dsl.tensor": ("Tensor", "apply_op"),
    "errors": ("GraphcnnError", "GraphcnnWarning", "InterchangeError", "OptionError", "ShapeError"),
    "interchange.onnx.reading": ("from_onnx",),
    "ir": ("Emitter", "Graph", "Op", "Origin", "TensorType", "Value", "verify"),
    "ops": ("parse", "register_op"),
    "rewrite": ("Match", "Rule"),
    "training.callbacks": ("Callback",),
    "training.checkpoint": ("Checkpoint",),
    "training.csv_log": ("CSVLog",),
    "training.gradient_log": ("GradientLog",),
    "training.history": ("History",),
    "training.live_plot": ("LivePlot",),
    "training.losses": (
        *("AbsoluteError", "BinaryCrossEntropy", "CosineSimilarity", "CrossEntropy", "Dice", "Focal"),
        *("Hinge", "Huber", "KLDivergence", "Loss", "SquaredError"),
    ),
    "training.metrics": ("Metric",),
    "training.model": ("Model",),
    "training.monitors": ("BestWeights", "EarlyStopping", "ModelCheckpoint", "ReduceOnPlateau"),
    "training.rate_finder": ("find_learning_rate",),
    "training.schedules": (
        *("LearningRateSchedule", "cosine_decay", "exponential_decay", "one_cycle", "polynomial_decay"),
        *("step_decay", "triangular"),
    ),
    "training.tensorboard": ("TensorBoard",),
    "training.views": ("Views",),
    "training.optimizers": ("SGD", "Adagrad", "Adam", "AdamW", "Lion", "Muon", "Optimizer", "RMSprop"),
    "transform": ("Pass", "distribute", "gradient", "simplification_rules", "simplify"),
}  # fmt: skip
_DISPLAYS = {
    "inspection.divergence": ("first_nonfinite_of_steps",),
    "inspection.dataset_sheet": ("show_dataset",),
    "inspection.notebook": ("graph_html", "model_html"),
    "inspection.profile": ("profile",),
    "inspection.recording": ("record",),
    "inspection.report": ("evaluation_report",),
    "inspection.summary": ("model_summary",),
    "inspection.svg": ("graph_svg",),
    "inspection.viewer": ("show_graph", "show_model"),
}
for _module, _functions in _DISPLAYS.items():
    for _function in _functions:
        _register_display(_function, f"graphcnn.{_module}")

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
_PACKAGES = ("backend", "data", "ops", "testing", "zoo")

__all__ = [*_HOME_OF, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> object:
    if name in _PACKAGES:
        return importlib.import_module(f"graphcnn.{name}")
    if name not in _HOME_OF:
        from graphcnn.foreign_names import FOREIGN
        from graphcnn.unknown_names import unknown_name

        raise unknown_name(__name__, name, __all__, FOREIGN)
    value = getattr(importlib.import_module(f"graphcnn.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
