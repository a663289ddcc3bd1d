"""The reference backend's kernels inside of a step: what ops without native code are computed with."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Executable, reference
from graphcnn.errors import GraphcnnError
from graphcnn.ir import BATCH, Graph, Node, TensorType
from graphcnn_native.lowering.program import PlannedKernel, Program
from graphcnn_native.op_code import has_code

CALL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
"""`call(kernel, batch, addresses)`: the kernel's number, and the addresses of its operands and results."""


class ReferenceKernels:
    """The kernels of a program that call the reference backend's. The machine code calls `address`.

    What a kernel raises must not pass through machine code: it is kept, and the step goes on with zeros;
    whoever called the step then raises it.
    """

    def __init__(self, program: Program | None) -> None:
        """program: None where it is known to have no such kernels."""
        self.ops: list[str] = []
        self._failure: BaseException | None = None
        self._kernels: dict[int, _Kernel] = {}
        for kernel in () if program is None else program.kernels:
            assert program is not None
            op = kernel.op(program.graph)
            if op is not None and not has_code(op):
                self._kernels[kernel.number] = _Kernel(program.graph, kernel)
                self.ops.append(op.name)
        self._function = CALL(self._call) if self._kernels else None
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value or 0 if self._function else 0

    def __bool__(self) -> bool:
        return bool(self._kernels)

    def _call(self, number: int, batch: int, addresses: int) -> None:
        try:
            self._kernels[number].run(batch, addresses)
        except BaseException as error:
            self._failure = error
            self._kernels[number].clear(batch, addresses)

    def begin(self) -> None:
        """Forget what a kernel raised in an earlier step, should an interrupt have come in between."""
        self._failure = None

    def raise_failure(self) -> None:
        """Raise what a kernel has raised in the step that has ended."""
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure


class _Kernel:
    """One op on its own, compiled by the reference backend."""

    def __init__(self, graph: Graph, kernel: PlannedKernel) -> None:
        assert kernel.root is not None
        self._node: Node = graph.node(kernel.root)
        self._stored = [(f"result{value.index}", value.type) for value, _ in kernel.stores]
        alone = Graph(self._node.op.name)
        operands = [alone.input(f"operand{n}", each.type) for n, each in enumerate(self._node.operands)]
        self._lacks_batch = not any(each.type.has_batch for each in operands) and any(
            type.has_batch for type in self._node.types
        )
        if self._lacks_batch:
            alone.input("batch", TensorType((BATCH,), "bool"))
        for index, result in enumerate(alone.add_all(self._node.op, *operands)):
            alone.output(f"result{index}", result)
        self._executable: Executable = reference().compile(alone)

    def run(self, batch: int, addresses: int) -> None:
        given, stores = self._arrays(batch, addresses)
        inputs: dict[str, Any] = {f"operand{number}": array for number, array in enumerate(given)}
        if self._lacks_batch:
            inputs["batch"] = np.zeros(batch, np.bool_)
        try:
            results = self._executable(**inputs)
            for (label, _), array in zip(self._stored, stores, strict=True):
                np.copyto(array, results[label])
        except GraphcnnError as error:
            place = self._node.origin
            raise error.located(layer=place.layer, file=place.file, line=place.line) from None
        except Exception as error:
            place = self._node.origin
            where = f", {place.layer}, {place.file}:{place.line}" if place.layer or place.file else ""
            error.add_note(
                f"in the reference's kernel of {self._node.op.name!r}{where}; the state is what it was before"
            )
            raise

    def clear(self, batch: int, addresses: int) -> None:
        for array in self._arrays(batch, addresses)[1]:
            array[...] = 0

    def _arrays(self, batch: int, addresses: int) -> tuple[list[Array], list[Array]]:
        """Return the operands, which are not to be written to, and what is stored."""
        types = [operand.type for operand in self._node.operands]
        count = len(types) + len(self._stored)
        pointers = list((ctypes.c_int64 * count).from_address(addresses))
        operands = [_array(pointer, type, batch) for pointer, type in zip(pointers, types, strict=False)]
        for operand in operands:
            operand.flags.writeable = False
        stored = zip(pointers[len(types) :], self._stored, strict=True)
        return operands, [_array(pointer, type, batch) for pointer, (_, type) in stored]


def _array(address: int, type: TensorType, batch: int) -> Array:
    """Return the memory at an address as an array of this type."""
    dtype, shape = np.dtype(type.dtype), type.concrete(batch)
    memory: Any = (ctypes.c_char * (math.prod(shape) * dtype.itemsize)).from_address(address)
    array: Array = np.frombuffer(memory, dtype).reshape(shape)
    return array
