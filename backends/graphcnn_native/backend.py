"""The backend that the entry point names."""

from __future__ import annotations

from graphcnn.backend import require_ops
from graphcnn.ir import Graph, Input, Op
from graphcnn.ops import SquaredError
from graphcnn.ops.convolution import Convolve2d
from graphcnn.ops.shape import Reshape
from graphcnn_native.codegen.module import EMITTERS
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.lowering.schedule import GENERATED, POINTWISE


class NativeBackend:
    """Compiles graphs to machine code for this processor."""

    name = "native"

    @property
    def ops(self) -> frozenset[type[Op]]:
        return frozenset({Input, Convolve2d, Reshape, SquaredError, *GENERATED, *POINTWISE, *EMITTERS})

    def compile(self, graph: Graph, *, threads: int | None = None) -> NativeExecutable:
        """Return an executable of the graph, which runs on so many threads.

        threads: by default $GRAPHCNN_THREADS, or else all processors; results do not depend on it.
        Raises BackendError for an op that the backend does not know.
        """
        require_ops(self, graph)
        return NativeExecutable(graph, threads=threads)
