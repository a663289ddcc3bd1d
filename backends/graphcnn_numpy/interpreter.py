"""The interpreter: walks the graph in creation order and calls a kernel for each node.

Of one of several ranks it does the same, on that rank's shards of the batch (`shards.py`).
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, Final

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
from graphcnn.distributed.transport import Transport
from graphcnn.ir import Graph, Input, Op, last_reads, live_bytes
from graphcnn.transform import computing_ranks, kept_elsewhere, require_distributed
from graphcnn_numpy.applying import apply
from graphcnn_numpy.kernels import KERNELS
from graphcnn_numpy.shards import Sharing, own_samples, require_sums


class NumpyExecutable:
    """A graph together with the order in which to compute it and the moments when values can be dropped."""

    def __init__(self, graph: Graph, ranks: Transport | None = None) -> None:
        self.graph: Final[Graph] = graph
        self._ranks = ranks
        self._batch = 1
        self._is_profiled = False
        self._began = self._ended = 0.0
        self._moments: list[tuple[float, float]] = []
        self._dropped = last_reads(graph)
        self.elsewhere: Final = frozenset[str]() if ranks is None else kept_elsewhere(graph, ranks.rank)
        self._left_out: Final = frozenset[int]() if ranks is None else _left_to_others(graph, ranks.rank)

    def __call__(self, /, **inputs: object) -> dict[str, Array]:
        arrays, batch = bind_inputs(self.graph, inputs, self.elsewhere)
        roots = self._compute(arrays, batch)
        return {
            label: np.array(roots[value.key][value.index])
            for label, value in (*self.graph.outputs.items(), *self.graph.updates.items())
            if label not in self.elsewhere
        }

    step = step_by_calling

    def observe(self, observer: Observer, /, **inputs: object) -> None:
        """Compute every node in order and show it to the observer, as long as it wants to see more.

        An executable of several ranks cannot: a rank has some samples alone.
        """
        assert self._ranks is None
        self._compute(*bind_inputs(self.graph, inputs), observer)

    @np.errstate(all="ignore")  # infinities and NaN are results like others, as on every backend
    def _compute(
        self, inputs: dict[str, Array], batch: int, observer: Observer | None = None
    ) -> dict[int, tuple[Any, ...]]:
        """Return the results of every node that an output or update names."""
        self._batch, self._moments = batch, []
        self._began = time.perf_counter()
        sharing = None if self._ranks is None else Sharing(self.graph, self._ranks, batch)
        environment: dict[int, tuple[Any, ...]] = {}
        for key, node in self.graph.items():
            operands = [environment[operand.key][operand.index] for operand in node.operands]
            if key in self._left_out:
                environment[key] = (None,) * len(node.types)
            elif isinstance(node.op, Input):
                environment[key] = (inputs[node.op.label],)
            else:
                start = time.perf_counter()
                if sharing is None:
                    environment[key] = apply(node, operands, batch)
                else:
                    environment[key] = sharing.compute(node, operands)
                if self._is_profiled:
                    self._moments.append((start, time.perf_counter()))
            if observer is not None and observer(key, operands, environment[key]):
                break
            for dead in self._dropped.get(key, ()):
                del environment[dead]
        self._ended = time.perf_counter()
        return environment

    def own_samples(self, samples: int) -> list[range]:
        """Return which samples of a batch of so many are looked at, but for what `whole_inputs` names."""
        return [range(samples) if self._ranks is None else own_samples(self._ranks, samples)]

    def profile(self, on: bool) -> None:
        self._is_profiled = on
        self._moments = []

    def report(self) -> Report:
        """Return a kernel per node, with the times of the latest call if it was made under `profile`."""
        kernels, live = [], live_bytes(self.graph, self._batch)
        for key, node in self.graph.items():
            if not isinstance(node.op, Input) and key not in self._left_out:
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


def _left_to_others(graph: Graph, rank: int) -> frozenset[int]:
    """Return the nodes whose results a rank does not need."""
    return frozenset(key for key, needing in computing_ranks(graph).items() if not needing >> rank & 1)


class NumpyBackend:
    """Runs graphs node by node in NumPy."""

    name = "numpy"

    @property
    def ops(self) -> frozenset[type[Op]]:
        return frozenset({Input, *KERNELS})

    def compile(self, graph: Graph, *, ranks: Transport | None = None) -> NumpyExecutable:
        """Return an executable of the graph. Raises BackendError where there is no kernel for an op.

        ranks: the way to the other ranks with which the samples of every batch are shared. All call the
        executable at once, with arrays of all samples; of inputs that `graphcnn.transform.whole_inputs` does
        not name, a rank looks at its `own_samples` alone. Results have the same bits for any number of
        ranks, one among them. Raises GraphError for a graph that was not distributed.
        """
        require_ops(self, graph)
        if ranks is not None:
            require_sums(require_distributed(graph, ranks.size))
        return NumpyExecutable(graph, ranks)
