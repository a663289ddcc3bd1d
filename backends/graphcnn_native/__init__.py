"""The native backend: the whole graph as machine code, one call a step, on all threads.

A graph goes through stages that can each be printed: `lowering` turns it into kernels and buffers,
`kernels` writes each kernel as loops over vectors of LLVM IR, `codegen` puts them together, and `runtime`
compiles them, keeps the machine code on disk, and runs it on a pool of threads.
"""

from graphcnn_native.backend import NativeBackend
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.kernels.element import Element
from graphcnn_native.kernels.registration import register

backend = NativeBackend()

__all__ = ["Element", "NativeBackend", "NativeExecutable", "backend", "register"]
