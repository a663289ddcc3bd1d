"""The interpreter: walks the graph in creation order and calls a kernel for each node."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import (
    KERNEL_CALLS,
    KernelReport,
    Memory,
    Observer,
    Report,
    Timeline,
    bind_inputs,
    require_ops,
    step_by_calling,
)
from graphcnn.calls import described
from graphcnn.errors import BackendError, GraphcnnError, OutOfMemoryError
from graphcnn.ir import Graph, Input, Node, Op, last_reads, live_bytes
from graphcnn_numpy.kernels import KERNELS, Kernel


class NumpyExecutable:
    """A graph together with the order in which to compute it and the moments when values can be dropped."""

    def __init__(self, graph: Graph) -> None:
        self.graph: Final[Graph] = graph
        self._batch = 1
        self._is_profiled = False
        self._began = self._ended = 0.0
        self._moments: list[tuple[float, float]] = []
        self._dropped = last_reads(graph)

    def __call__(self, /, **inputs: object) -> dict[str, Array]:
        arrays, batch = bind_inputs(self.graph, inputs)
        roots = self._compute(arrays, batch)
        return {
            label: np.array(roots[value.key][value.index])
            for label, value in (*self.graph.outputs.items(), *self.graph.updates.items())
        }

    step = step_by_calling

    def observe(self, observer: Observer, /, **inputs: object) -> None:
        """Compute every node in order and show it to the observer, as long as it wants to see more."""
        self._compute(*bind_inputs(self.graph, inputs), observer)

    @np.errstate(all="ignore")  # infinities and NaN are results like others, as on every backend
    def _compute(
        self, inputs: dict[str, Array], batch: int, observer: Observer | None = None
    ) -> dict[int, tuple[Array, ...]]:
        """Return the results of every node that an output or update names."""
        self._batch, self._moments = batch, []
        self._began = time.perf_counter()
        environment: dict[int, tuple[Array, ...]] = {}
        for key, node in self.graph.items():
            operands: list[Array] = []
            if isinstance(node.op, Input):
                environment[key] = (inputs[node.op.label],)
            else:
                operands = [environment[operand.key][operand.index] for operand in node.operands]
                start = time.perf_counter()
                try:
                    kernel = KERNELS[type(node.op)]
                    result = kernel(node.op, operands, batch)
                except MemoryError as error:
                    raise _no_memory(node, batch, error) from None
                if self._is_profiled:
                    self._moments.append((start, time.perf_counter()))
                environment[key] = result if isinstance(result, tuple) else (result,)
                if not _fit(environment[key], node, batch):
                    raise _another_type(kernel, result, node, batch)
            if observer is not None and observer(key, operands, environment[key]):
                break
            for dead in self._dropped.get(key, ()):
                del environment[dead]
        self._ended = time.perf_counter()
        return environment

    def profile(self, on: bool) -> None:
        self._is_profiled = on
        self._moments = []

    def report(self) -> Report:
        """Return a kernel per node, with the times of the latest call if it was made under `profile`."""
        kernels, live = [], live_bytes(self.graph, self._batch)
        for key, node in self.graph.items():
            if not isinstance(node.op, Input):
                cost = node.cost(self._batch)
                kernels.append(KernelReport(node.op.name, (key,), cost.flops, cost.bytes, live=live[key]))
        memory = Memory(max(live.values(), default=0))
        if not self._moments:
            return Report(NumpyBackend.name, self._batch, tuple(kernels), memory=memory)
        calls = np.zeros(len(self._moments), KERNEL_CALLS)
        moments = np.array(self._moments) - self._began
        calls["kernel"], calls["begin"], calls["end"] = np.arange(len(calls)), moments[:, 0], moments[:, 1]
        timed = [
            replace(kernel, seconds=end - begin)
            for kernel, (begin, end) in zip(kernels, self._moments, strict=True)
        ]
        timeline = Timeline(self._began, self._ended - self._began, calls)
        return Report(NumpyBackend.name, self._batch, tuple(timed), timeline=timeline, memory=memory)


class NumpyBackend:
    """Runs graphs node by node in NumPy."""

    name = "numpy"

    @property
    def ops(self) -> frozenset[type[Op]]:
        return frozenset({Input, *KERNELS})

    def compile(self, graph: Graph) -> NumpyExecutable:
        """Return an executable of the graph. Raises BackendError where there is no kernel for an op."""
        require_ops(self, graph)
        return NumpyExecutable(graph)


def _fit(results: tuple[Array, ...], node: Node, batch: int) -> bool:
    """Return whether a kernel's results are of the types that the op's shape rule says."""
    if len(results) != len(node.types):
        return False
    for result, type in zip(results, node.types, strict=True):
        if getattr(result, "dtype", None) != type.dtype or result.shape != type.concrete(batch):
            return False
    return True


def _another_type(kernel: Kernel, result: object, node: Node, batch: int) -> GraphcnnError:
    """Return the error of a kernel whose results are of other types than the op's shape rule says."""
    found = result if isinstance(result, tuple) else (result,)
    wanted = [type.with_shape(type.concrete(batch)) for type in node.types]
    return BackendError(
        f"the kernel of {node.op.name}, {described(kernel)}, returned {', '.join(map(_shown, found))}; "
        f"the shape rule says {', '.join(map(str, wanted))}",
        mend="np.asarray(result, operands[0].dtype) in the kernel, or other types from result_types",
    ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)


def _shown(result: object) -> str:
    if not isinstance(result, np.ndarray | np.generic):
        return f"{type(result).__name__}, no array"
    return f"{result.dtype}[{', '.join(map(str, result.shape))}]"


def _no_memory(node: Node, batch: int, error: MemoryError) -> GraphcnnError:
    """Return the error of a node that needs more memory than there is."""
    smaller = "make this layer smaller"
    return OutOfMemoryError(
        f"there is no memory for {node.op.name}: {', '.join(map(str, node.types))}, a batch of {batch}",
        facts=[str(error)],
        mend=f"take smaller batches, or {smaller}" if batch > 1 else smaller,
    ).located(layer=node.origin.layer, file=node.origin.file, line=node.origin.line)
