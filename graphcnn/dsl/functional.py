"""Functions on values of a network. Each returns a new value; none has parameters."""

from __future__ import annotations

from graphcnn import ops
from graphcnn.arguments import known_arguments
from graphcnn.dsl.matrices import product
from graphcnn.dsl.tensor import Tensor, apply_function, apply_op


@known_arguments
def correlate2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the cross-correlation (Eq. 1, 4) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Correlate2d(), x, filters)


@known_arguments
def convolve2d(x: Tensor, filters: Tensor) -> Tensor:
    """Return the true convolution (Eq. 2-3) of images [N, H, W, C] with filters [k1, k2, C, D]."""
    return apply_op(ops.Convolve2d(), x, filters)


@known_arguments
def matmul(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrix product x @ y of the last two axes, for every place along the axes in front.

    As in NumPy: axes in front are broadcast together, and a vector counts as a row on the left, as a column
    on the right. Samples times one matrix, [N, ..., A, K] @ [K, B], is a 1x1 correlation.
    """
    return apply_function(product, "matmul", x, y)


@known_arguments
def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return half the squared distance of each sample, ½Σ(t-y)² (Eq. 9), of shape [N]."""
    return apply_function(
        lambda build, y, t: build(ops.SquaredError(), y, t), "squared_error", outputs, targets, rule="Eq. 9"
    )
