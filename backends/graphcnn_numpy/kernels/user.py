"""Functions of the user's own, which Numba makes into ufuncs."""

from __future__ import annotations

import numpy as np

from graphcnn import ops
from graphcnn.arrays import Array
from graphcnn.scalar_compiler import ufunc
from graphcnn_numpy.kernels.kernel import Kernels


def user_function(op: ops.UserFunction, operands: list[Array], batch: int) -> Array:
    with np.errstate(all="ignore"):  # what overflows inside of the function is its own affair
        result: Array = ufunc(op.function, operands[0].dtype.name)(*operands)
    return result


KERNELS: Kernels = {ops.UserFunction: user_function}
