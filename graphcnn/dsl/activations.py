"""Activations as functions of values; as layers, they are in `dsl/layers/activation.py`."""

from __future__ import annotations

from typing import Literal

from graphcnn.arguments import known_arguments
from graphcnn.dsl.layers import activation as layers
from graphcnn.dsl.layers.base import OneValue
from graphcnn.dsl.tensor import Tensor, apply_function, broadcast_together


def _applied(layer: OneValue, x: Tensor) -> Tensor:
    """Return what a layer computes, under its name, though without any parameters."""
    return apply_function(layer.build, layer.kind, x)


@known_arguments
def relu(x: Tensor) -> Tensor:
    """Return max(0, x), element by element."""
    return _applied(layers.ReLU(), x)


@known_arguments
def tanh(x: Tensor) -> Tensor:
    """Return the hyperbolic tangent of each element."""
    return _applied(layers.Tanh(), x)


@known_arguments
def sigmoid(x: Tensor) -> Tensor:
    """Return 1 / (1 + e^-x) of each element."""
    return _applied(layers.Sigmoid(), x)


@known_arguments
def scaled_tanh(x: Tensor, amplitude: float = 1.7159, slope: float = 2 / 3) -> Tensor:
    """Return amplitude · tanh(slope · x), by default LeCun's 1.7159 tanh(2x/3)."""
    return _applied(layers.ScaledTanh(amplitude, slope), x)


@known_arguments
def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """Return x where it is above 0, and negative_slope · x elsewhere."""
    return _applied(layers.LeakyReLU(negative_slope), x)


@known_arguments
def prelu(x: Tensor, slope: Tensor | float) -> Tensor:
    """Return x where it is above 0, and slope · x elsewhere; shapes are broadcast together.

    slope: a value of shape [C] or [], such as `gcn.Parameter((), "slope")`.
    """
    return apply_function(
        lambda build, *values: layers.with_slope_below(build, *broadcast_together(build, "prelu", *values)),
        "prelu",
        x,
        slope,
        rule="Eq. 8",
    )


@known_arguments
def relu6(x: Tensor) -> Tensor:
    """Return min(max(0, x), 6), element by element."""
    return _applied(layers.ReLU6(), x)


@known_arguments
def hardtanh(x: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """Return the nearest number from min_val to max_val; the slope at these is 0, other than `clip`'s."""
    return _applied(layers.Hardtanh(min_val, max_val), x)


@known_arguments
def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is above 0, and alpha · (e^x - 1) elsewhere."""
    return _applied(layers.ELU(alpha), x)


@known_arguments
def selu(x: Tensor) -> Tensor:
    """Return 1.0507 · elu(x, 1.6733), which keeps mean 0 and variance 1."""
    return _applied(layers.SELU(), x)


@known_arguments
def celu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """Return x where it is above 0, and alpha · (e^(x/alpha) - 1) elsewhere."""
    return _applied(layers.CELU(alpha), x)


@known_arguments
def silu(x: Tensor) -> Tensor:
    """Return x · sigmoid(x), also called swish."""
    return _applied(layers.SiLU(), x)


@known_arguments
def gelu(x: Tensor, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """Return x · Φ(x), where Φ is the normal distribution's function, or its approximation by tanh."""
    return _applied(layers.GELU(approximate), x)


@known_arguments
def mish(x: Tensor) -> Tensor:
    """Return x · tanh(softplus(x))."""
    return _applied(layers.Mish(), x)


@known_arguments
def softplus(x: Tensor, beta: float = 1.0, threshold: float | None = None) -> Tensor:
    """Return ln(1 + e^(beta · x)) / beta; where beta · x is above the threshold, x itself."""
    return _applied(layers.Softplus(beta, threshold), x)


@known_arguments
def softsign(x: Tensor) -> Tensor:
    """Return x / (1 + |x|)."""
    return _applied(layers.Softsign(), x)


@known_arguments
def hardsigmoid(x: Tensor) -> Tensor:
    """Return (x + 3) / 6 from -3 to 3, 0 below and 1 above."""
    return _applied(layers.Hardsigmoid(), x)


@known_arguments
def hardswish(x: Tensor) -> Tensor:
    """Return x · hardsigmoid(x)."""
    return _applied(layers.Hardswish(), x)


@known_arguments
def log_softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return the logarithm of softmax along an axis."""
    return _applied(layers.LogSoftmax(axis), x)


@known_arguments
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Return e^x / Σ e^x along an axis: probabilities that add up to 1."""
    return _applied(layers.Softmax(axis), x)
