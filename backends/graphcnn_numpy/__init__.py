"""The reference backend: an environment, one loop, and one NumPy kernel per op.

It is the meaning of the IR, for any element type; it is written to be read, and uses BLAS and strided
windows rather than Python loops over pixels, samples or channels. `register` is the door for kernels of
further ops.
"""

from graphcnn_numpy.interpreter import NumpyBackend, NumpyExecutable
from graphcnn_numpy.kernels import register

backend = NumpyBackend()

__all__ = ["NumpyBackend", "NumpyExecutable", "backend", "register"]
