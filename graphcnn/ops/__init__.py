"""What each operation means: attributes, shape rule, gradient rule, cost and equation; no kernels.

`OPS` is the table of all operations by their name in the text form; `register_op` is the door into it.
"""

from __future__ import annotations

from collections.abc import Iterable

from graphcnn.ir import Graph, Input, parse_graph
from graphcnn.ops.convolution import Convolve2d, Correlate2d, Rot180
from graphcnn.ops.linear import Matmul
from graphcnn.ops.loss import LogSoftmax, OneHot, SoftmaxCrossEntropy, SquaredError
from graphcnn.ops.pointwise import (
    Add,
    Constant,
    Divide,
    Equal,
    Exp,
    Greater,
    Log,
    Maximum,
    Multiply,
    Negate,
    Power,
    Relu,
    ReluMask,
    Select,
    Sigmoid,
    Sqrt,
    Subtract,
    Tanh,
    constant,
)
from graphcnn.ops.pooling import (
    AveragePool2d,
    GatherWinner2d,
    L2Pool2d,
    MaxPool2d,
    RouteToWinner2d,
    SpreadToBlock2d,
    SumPool2d,
)
from graphcnn.ops.random import GENERATOR_STATE, RandomUniform
from graphcnn.ops.reduction import ArgMax, Broadcast, Count, InverseDeviation, Max, Mean, Sum
from graphcnn.ops.shape import Cast, Concatenate, Crop, Pad, Reshape, Subsample, Transpose, ZeroInsert
from graphcnn.ops.table import OPS, register_op
from graphcnn.ops.user import UserFunction
from graphcnn.scalar import ScalarFunction, by_name

for _op in (
    *(Input, Constant),
    *(Correlate2d, Convolve2d, Rot180),
    *(ZeroInsert, Subsample, Pad, Crop, Transpose, Reshape, Broadcast, Concatenate, Cast),
    *(Matmul,),
    *(Add, Subtract, Multiply, Divide, Maximum, Negate, Power, Exp, Log, Sqrt, Tanh, Sigmoid),
    *(Relu, ReluMask, Greater, Equal, Select),
    *(MaxPool2d, RouteToWinner2d, GatherWinner2d),
    *(AveragePool2d, L2Pool2d, SumPool2d, SpreadToBlock2d),
    *(Sum, Mean, InverseDeviation, Max, Count, ArgMax),
    *(LogSoftmax, OneHot, SoftmaxCrossEntropy, SquaredError),
    *(RandomUniform,),
    *(UserFunction,),
):
    register_op(_op)


def parse(text: str, *, functions: Iterable[ScalarFunction] = ()) -> Graph:
    """Return the graph that `str(graph)` printed. Raises ParseError, which names the line of the text.

    functions: what `gcn.pointwise` made, where the graph uses it: a text holds only its name.
    """
    return parse_graph(text, OPS, by_name(functions))


__all__ = [
    "GENERATOR_STATE",
    "OPS",
    "Add",
    "ArgMax",
    "AveragePool2d",
    "Broadcast",
    "Cast",
    "Concatenate",
    "Constant",
    "Convolve2d",
    "Correlate2d",
    "Count",
    "Crop",
    "Divide",
    "Equal",
    "Exp",
    "GatherWinner2d",
    "Greater",
    "Input",
    "InverseDeviation",
    "L2Pool2d",
    "Log",
    "LogSoftmax",
    "Matmul",
    "Max",
    "MaxPool2d",
    "Maximum",
    "Mean",
    "Multiply",
    "Negate",
    "OneHot",
    "Pad",
    "Power",
    "RandomUniform",
    "Relu",
    "ReluMask",
    "Reshape",
    "Rot180",
    "RouteToWinner2d",
    "Select",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "SpreadToBlock2d",
    "Sqrt",
    "SquaredError",
    "Subsample",
    "Subtract",
    "Sum",
    "SumPool2d",
    "Tanh",
    "Transpose",
    "UserFunction",
    "ZeroInsert",
    "constant",
    "parse",
    "register_op",
]
