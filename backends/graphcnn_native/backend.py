"""The backend that the entry point names."""

from __future__ import annotations

from graphcnn.backend import reference, require_ops
from graphcnn.distributed.transport import Transport
from graphcnn.errors import OptionError
from graphcnn.interrupts import uninterrupted
from graphcnn.ir import Graph, Op
from graphcnn_native.codegen.emitters import WITHOUT_KERNEL
from graphcnn_native.executable import NativeExecutable
from graphcnn_native.gathering import Gathering
from graphcnn_native.lowering.canonical import OWN_FORMS
from graphcnn_native.lowering.winograd import CHOICES
from graphcnn_native.op_code import EMITTERS, LANES, POINTWISE
from graphcnn_native.runtime.processors import thread_count
from graphcnn_native.target import host_target


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

    @property
    def processor(self) -> str:
        """What the bits of its code depend on: the vectors of this processor."""
        target = host_target()
        fused = ", multiplying and adding in one" if target.fused else ""
        return f"{target.triple.partition('-')[0]} with vectors of {8 * target.vector_bytes} bits{fused}"

    def check_options(
        self, *, threads: int | None = None, winograd: bool | int = True, ranks: Transport | None = None
    ) -> None:
        """Raise OptionError for values that `compile` does not take, also of the environment variable."""
        if not isinstance(winograd, bool) and winograd not in list(CHOICES):
            raise OptionError(
                f"winograd={winograd!r:.60} is neither True, False, 2 nor 4",
                mend="winograd=2, for tiles of 2x2 results",
            )
        thread_count(threads)

    def gathering(
        self, *, threads: int | None = None, winograd: bool | int = True, ranks: Transport | None = None
    ) -> Gathering:
        """Return what gathers the rows of batches for graphs that are compiled with these options."""
        return Gathering(thread_count(threads))

    def compile(
        self,
        graph: Graph,
        *,
        threads: int | None = None,
        winograd: bool | int = True,
        ranks: Transport | None = None,
    ) -> NativeExecutable:
        """Return an executable of the graph, which runs on so many threads.

        threads: by default $GRAPHCNN_THREADS, or else all processors; results do not depend on it.
        winograd: let convolutions of many channels, by 3x3 taps or more, in float32 take Winograd's minimal
        filtering: tiles of 6x6 pixels take four times fewer products, and round about twice as much as plain
        sums; those of 4x4 pixels, which yield 2x2 results, 2.25 times fewer. 2: none larger than these. False
        computes every product as written.
        ranks: the way to other ranks, of which all compile and call the same graph, and share the samples of
        each batch: results are those of one process, to the bit. A call takes arrays for the whole batch, of
        which a rank reads its `own_samples`, but for the inputs that `whole_inputs` names. An error on one
        rank ends the call on all, with the state as it was before it; then there are no further calls.
        An op without code of its own is computed by the reference backend's kernel, which the step calls.
        Raises BackendError for an op that neither backend knows, OptionError for options of other types, and
        GraphError for ranks and a graph that `distribute` has not made.
        """
        if not {type(node.op) for _, node in graph.items()} <= _own_ops():
            require_ops(self, graph)
        self.check_options(threads=threads, winograd=winograd)
        count = thread_count(threads)
        return uninterrupted(lambda: NativeExecutable(graph, threads=count, winograd=winograd, ranks=ranks))
