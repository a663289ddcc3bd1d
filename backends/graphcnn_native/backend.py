"""The backend that the entry point names."""

from __future__ import annotations

from graphcnn.backend import require_ops
from graphcnn.errors import OptionError
from graphcnn.ir import Graph, Input, Op
from graphcnn.ops import SquaredError
from graphcnn.ops.convolution import Convolve2d
from graphcnn.ops.shape import Reshape
from graphcnn_native.codegen.emitters import EMITTERS
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.lowering import winograd
from graphcnn_native.lowering.schedule import GENERATED, POINTWISE


class NativeBackend:
    """Compiles graphs to machine code for this processor."""

    name = "native"

    @property
    def ops(self) -> frozenset[type[Op]]:
        known = {Input, Convolve2d, Reshape, SquaredError, *GENERATED, *POINTWISE, *EMITTERS}
        return frozenset(known - winograd.OPS)

    def compile(self, graph: Graph, *, threads: int | None = None, winograd: bool = True) -> NativeExecutable:
        """Return an executable of the graph, which runs on so many threads.

        threads: by default $GRAPHCNN_THREADS, or else all processors; results do not depend on it.
        winograd: let 3x3 convolutions of many channels in float32 take Winograd's F(2x2, 3x3), which
        multiplies 2.25 times less and rounds in another place; False computes every product as written.
        Raises BackendError for an op that the backend does not know, OptionError for options of other types.
        """
        require_ops(self, graph)
        if not isinstance(winograd, bool):
            raise OptionError(f"winograd={winograd!r} is neither True nor False", mend="winograd=False")
        return NativeExecutable(graph, threads=threads, winograd=winograd)
