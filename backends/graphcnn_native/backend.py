"""The backend that the entry point names."""

from __future__ import annotations

from graphcnn.backend import reference, require_ops
from graphcnn.errors import OptionError
from graphcnn.interrupts import uninterrupted
from graphcnn.ir import Graph, Op
from graphcnn_native.codegen.emitters import WITHOUT_KERNEL
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.lowering.canonical import OWN_FORMS
from graphcnn_native.op_code import EMITTERS, LANES, POINTWISE
from graphcnn_native.runtime.processors import thread_count


def _own_ops() -> frozenset[type[Op]]:
    known = {*WITHOUT_KERNEL, *POINTWISE, *LANES, *EMITTERS}
    return frozenset(known - OWN_FORMS)


class NativeBackend:
    """Compiles graphs to machine code for this processor."""

    name = "native"

    @property
    def ops(self) -> frozenset[type[Op]]:
        """Those that have code of their own, and those that the reference backend computes."""
        return _own_ops() | reference().ops

    def check_options(self, *, threads: int | None = None, winograd: bool = True) -> None:
        """Raise OptionError for values that `compile` does not take, also of the environment variable."""
        if not isinstance(winograd, bool):
            raise OptionError(f"winograd={winograd!r} is neither True nor False", mend="winograd=False")
        thread_count(threads)

    def compile(self, graph: Graph, *, threads: int | None = None, winograd: bool = True) -> NativeExecutable:
        """Return an executable of the graph, which runs on so many threads.

        threads: by default $GRAPHCNN_THREADS, or else all processors; results do not depend on it.
        winograd: let 3x3 convolutions of many channels in float32 take Winograd's F(2x2, 3x3), which
        multiplies 2.25 times less and rounds in another place; False computes every product as written.
        An op without code of its own is computed by the reference backend's kernel, which the step calls.
        Raises BackendError for an op that neither backend knows, OptionError for options of other types.
        """
        if not {type(node.op) for _, node in graph.items()} <= _own_ops():
            require_ops(self, graph)
        self.check_options(threads=threads, winograd=winograd)
        count = thread_count(threads)
        return uninterrupted(lambda: NativeExecutable(graph, threads=count, winograd=winograd))
