"""One kernel per op: `kernel(op, operands, batch)` returns the result, or a tuple of results."""

from graphcnn_numpy.kernels import convolution, loss, pointwise, pooling, random, shape, user
from graphcnn_numpy.kernels.kernel import Kernel, Kernels

KERNELS: Kernels = {
    **convolution.KERNELS,
    **pointwise.KERNELS,
    **pooling.KERNELS,
    **shape.KERNELS,
    **loss.KERNELS,
    **random.KERNELS,
    **user.KERNELS,
}

__all__ = ["KERNELS", "Kernel", "Kernels"]
