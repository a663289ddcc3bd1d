"""Kernels that call the reference backend's, for ops that have no code of their own."""

from __future__ import annotations

from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import POINTER
from graphcnn_native.kernels.writer import Writer


def call_reference(w: Writer) -> None:
    """Write a call with the addresses of the operands, and of all that is stored (`reference.py`).

    Meanwhile denormals are what they are for the caller of the step.
    """
    assert w.kernel.root is not None
    f = w.f
    buffers = [w.buffer(operand) for operand in w.graph.node(w.kernel.root).operands]
    buffers += [buffer for _, buffer in w.kernel.stores]
    addresses = f.allocate(POINTER, max(1, len(buffers)))
    for number, buffer in enumerate(buffers):
        f.store(w.address(buffer), f.element(addresses, POINTER, number))
    mode = f.emit("i64", f"call i64 {w.slot(Slot.FLUSH).name}()")
    f.do(f"call void {w.slot(Slot.RESTORE).name}({w.slot(Slot.MODE, 'i64')})")
    arguments = f"i64 {w.kernel.number}, {w.batch}, {addresses}"
    f.do(f"call void {w.slot(Slot.REFERENCE).name}({arguments})")
    f.do(f"call void {w.slot(Slot.RESTORE).name}({mode})")
