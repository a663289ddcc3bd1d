"""What each operation means: attributes, shape rule, gradient rule, cost and equation; no kernels.

`OPS` is the table of all operations by their name in the text form; `register_op` is the door into it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from graphcnn.arguments import known_arguments
from graphcnn.ir import Graph, Input, parse_graph
from graphcnn.ops.activation import Clip, ClipMask, Elu, Relu, ReluMask, Sigmoid, Softplus, Tanh
from graphcnn.ops.arithmetic import (
    Abs,
    Add,
    Divide,
    Maximum,
    Minimum,
    Multiply,
    Negate,
    Power,
    Sign,
    Subtract,
)
from graphcnn.ops.collective import AllGather, AllReduce, BroadcastFrom, KeepOn
from graphcnn.ops.comparison import (
    Equal,
    Greater,
    GreaterEqual,
    LogicalAnd,
    LogicalNot,
    LogicalOr,
    Select,
)
from graphcnn.ops.convolution import Convolve2d, Correlate2d, Rot180
from graphcnn.ops.elementary import Cos, Erf, Exp, Log, Sin, Sqrt
from graphcnn.ops.interpolation import Interpolate, InterpolateTransposed
from graphcnn.ops.linear import Matmul
from graphcnn.ops.loss import LogSoftmax, OneHot, SoftmaxCrossEntropy, SquaredError
from graphcnn.ops.per_sample import SampleIntegers, SampleNormal, SampleNumbers, SampleUniform
from graphcnn.ops.pointwise import Constant, StopGradient, constant
from graphcnn.ops.pooling import (
    AveragePool2d,
    GatherWinner2d,
    L2Pool2d,
    MaxPool2d,
    RouteToWinner2d,
    SpreadToBlock2d,
    SumPool2d,
)
from graphcnn.ops.random import GENERATOR_STATE, RandomNormal, RandomNumbers, RandomUniform
from graphcnn.ops.reduction import ArgMax, Broadcast, Count, InverseDeviation, Max, Mean, Sum
from graphcnn.ops.rounding import RoundBfloat16
from graphcnn.ops.sample_moves import CropSamples, EraseSamples, FlipSamples, PasteSamples
from graphcnn.ops.sample_warp import WarpSamples, WarpSamplesTransposed
from graphcnn.ops.shape import Cast, Concatenate, Crop, Pad, Reshape, Subsample, Transpose, ZeroInsert
from graphcnn.ops.table import OPS, register_op
from graphcnn.ops.taking import ScatterSum, Take
from graphcnn.ops.user import UserFunction
from graphcnn.scalar import ScalarFunction, by_name
from graphcnn.unknown_names import unknown_name

for _op in (
    *(Input, Constant),
    *(Correlate2d, Convolve2d, Rot180),
    *(ZeroInsert, Subsample, Pad, Crop, Transpose, Reshape, Broadcast, Concatenate, Cast),
    *(Take, ScatterSum, Interpolate, InterpolateTransposed),
    *(Matmul,),
    *(Add, Subtract, Multiply, Divide, Maximum, Minimum, Negate, Abs, Sign, Power),
    *(Exp, Log, Sqrt, Sin, Cos, Erf),
    *(Tanh, Sigmoid, Relu, ReluMask, Softplus, Elu, Clip, ClipMask, StopGradient),
    *(RoundBfloat16,),
    *(Greater, GreaterEqual, Equal, LogicalAnd, LogicalOr, LogicalNot, Select),
    *(MaxPool2d, RouteToWinner2d, GatherWinner2d),
    *(AveragePool2d, L2Pool2d, SumPool2d, SpreadToBlock2d),
    *(Sum, Mean, InverseDeviation, Max, Count, ArgMax),
    *(LogSoftmax, OneHot, SoftmaxCrossEntropy, SquaredError),
    *(RandomUniform, RandomNormal),
    *(SampleUniform, SampleNormal, SampleIntegers),
    *(FlipSamples, CropSamples, PasteSamples, EraseSamples, WarpSamples, WarpSamplesTransposed),
    *(UserFunction,),
    *(AllReduce, AllGather, BroadcastFrom, KeepOn),
):
    register_op(_op)


@known_arguments
def parse(text: str, *, functions: Iterable[ScalarFunction] = ()) -> Graph:
    """Return the graph that `str(graph)` printed. Raises ParseError, which names the line of the text.

    functions: what `gcn.pointwise` made, where the graph uses it: a text holds only its name.
    """
    return parse_graph(text, OPS, by_name(functions))


__all__ = [
    "GENERATOR_STATE",
    "OPS",
    "Abs",
    "Add",
    "AllGather",
    "AllReduce",
    "ArgMax",
    "AveragePool2d",
    "Broadcast",
    "BroadcastFrom",
    "Cast",
    "Clip",
    "ClipMask",
    "Concatenate",
    "Constant",
    "Convolve2d",
    "Correlate2d",
    "Cos",
    "Count",
    "Crop",
    "CropSamples",
    "Divide",
    "Elu",
    "Equal",
    "EraseSamples",
    "Erf",
    "Exp",
    "FlipSamples",
    "GatherWinner2d",
    "Greater",
    "GreaterEqual",
    "Input",
    "Interpolate",
    "InterpolateTransposed",
    "InverseDeviation",
    "KeepOn",
    "L2Pool2d",
    "Log",
    "LogSoftmax",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "Matmul",
    "Max",
    "MaxPool2d",
    "Maximum",
    "Mean",
    "Minimum",
    "Multiply",
    "Negate",
    "OneHot",
    "Pad",
    "PasteSamples",
    "Power",
    "RandomNormal",
    "RandomNumbers",
    "RandomUniform",
    "Relu",
    "ReluMask",
    "Reshape",
    "Rot180",
    "RoundBfloat16",
    "RouteToWinner2d",
    "SampleIntegers",
    "SampleNormal",
    "SampleNumbers",
    "SampleUniform",
    "ScatterSum",
    "Select",
    "Sigmoid",
    "Sign",
    "Sin",
    "SoftmaxCrossEntropy",
    "Softplus",
    "SpreadToBlock2d",
    "Sqrt",
    "SquaredError",
    "StopGradient",
    "Subsample",
    "Subtract",
    "Sum",
    "SumPool2d",
    "Take",
    "Tanh",
    "Transpose",
    "UserFunction",
    "WarpSamples",
    "WarpSamplesTransposed",
    "ZeroInsert",
    "constant",
    "parse",
    "register_op",
]


if not TYPE_CHECKING:  # type checkers know which names there are

    def __getattr__(name: str) -> object:
        raise unknown_name(__name__, name, __all__)
