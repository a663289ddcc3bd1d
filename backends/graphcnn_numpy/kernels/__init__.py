"""One kernel per op: `kernel(op, operands, batch)` returns the result, or a tuple of results."""

from __future__ import annotations

from graphcnn.backend import check_kernel
from graphcnn.ir import Op
from graphcnn_numpy.kernels import (
    convolution,
    loss,
    pointwise,
    pooling,
    random,
    reduction,
    sample_moves,
    sample_warp,
    shape,
    user,
)
from graphcnn_numpy.kernels.kernel import Kernel, Kernels
from graphcnn_numpy.kernels.reduction import SumOfSamples

KERNELS: Kernels = {}
"""All kernels by the class of their op; `register` fills it."""

SUMS_OF_SAMPLES: dict[type[Op], SumOfSamples] = {}
"""How ranks add up samples, of the kernels that came with this backend."""


def register(op: type[Op], kernel: Kernel) -> None:
    """Let the reference backend compute an op: graphs that are compiled from now on may hold it.

    kernel: `kernel(op, operands, batch)` returns the result as an array, or a tuple of results. op: the
    node's op, with its attributes. operands: an array for each, which the kernel must not write to. batch:
    the number of samples, N. Results have the shapes and element types that the op's shape rule says; they
    may be views of the operands.

    A kernel that the op has already is replaced; several ranks cannot add up its sums over samples any more.
    Raises OptionError, at the user's line, for what is no registered op, and for what cannot be called like
    this.
    """
    check_kernel(op, "op", "operands", "batch", kernel=kernel)
    KERNELS[op] = kernel
    SUMS_OF_SAMPLES.pop(op, None)


for _table in (
    convolution,
    pointwise,
    pooling,
    shape,
    reduction,
    sample_moves,
    sample_warp,
    loss,
    random,
    user,
):
    for _op, _kernel in _table.KERNELS.items():
        register(_op, _kernel)
SUMS_OF_SAMPLES.update(reduction.SUMS_OF_SAMPLES)

__all__ = ["KERNELS", "SUMS_OF_SAMPLES", "Kernel", "Kernels", "register"]
