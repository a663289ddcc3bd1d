"""The layers: each says which parameters it has and which nodes it becomes."""

from graphcnn.dsl.layers.base import Function, Layer
from graphcnn.dsl.layers.convolution import Conv2d, ConvTranspose2d, DepthwiseConv2d
from graphcnn.dsl.layers.dense import Dense, Flatten, ReLU, Sigmoid, Tanh
from graphcnn.dsl.layers.normalization import BatchNorm2d, Dropout, LayerNorm
from graphcnn.dsl.layers.pooling import (
    AvgPool2d,
    GlobalAvgPool2d,
    GlobalMaxPool2d,
    L2Pool2d,
    LPPool2d,
    MaxPool2d,
    MaxUnpool2d,
)

__all__ = [
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvTranspose2d",
    "Dense",
    "DepthwiseConv2d",
    "Dropout",
    "Flatten",
    "Function",
    "GlobalAvgPool2d",
    "GlobalMaxPool2d",
    "L2Pool2d",
    "LPPool2d",
    "Layer",
    "LayerNorm",
    "MaxPool2d",
    "MaxUnpool2d",
    "ReLU",
    "Sigmoid",
    "Tanh",
]
