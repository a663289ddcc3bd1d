"""What to say where a call cannot have the memory that it needs."""

from __future__ import annotations

from graphcnn.errors import GraphcnnError, OutOfMemoryError
from graphcnn_native.lowering.program import Program

GIGABYTE = 1e9


def no_memory(program: Program, batch: int, needed: int) -> GraphcnnError:
    """Return the error of a call on so many samples that needs so many bytes beside its inputs.

    It names the layer of the largest value that the call stores.
    """
    values = [buffer.value for buffer in program.buffers.values()]
    largest = max(values, key=lambda value: value.type.bytes(batch))
    node = program.graph.node(largest.key)
    origin = node.origin
    smaller = "make this layer smaller"
    return OutOfMemoryError(
        f"there is no memory for a batch of {batch}",
        facts=[
            f"needed beside the inputs: {needed / GIGABYTE:,.1f} GB",
            f"the largest value: {node.op.name}, {largest.type}, "
            f"{largest.type.bytes(batch) / GIGABYTE:,.1f} GB for this batch",
        ],
        mend=f"take smaller batches, or {smaller}" if batch > 1 else smaller,
    ).located(layer=origin.layer, file=origin.file, line=origin.line)
