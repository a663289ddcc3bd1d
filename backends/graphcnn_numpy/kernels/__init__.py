"""One kernel per op: `kernel(op, operands, batch)` returns the result, or a tuple of results."""

from collections.abc import Callable
from typing import Any

from graphcnn.ir import Op
from graphcnn_numpy.kernels import convolution, loss, pointwise, pooling, random, shape

Kernel = Callable[[Any, Any, int], Any]

KERNELS: dict[type[Op], Kernel] = {
    **convolution.KERNELS,
    **pointwise.KERNELS,
    **pooling.KERNELS,
    **shape.KERNELS,
    **loss.KERNELS,
    **random.KERNELS,
}
