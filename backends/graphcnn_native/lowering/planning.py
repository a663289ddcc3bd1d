"""From a canonical graph to a plan: which kernels there are, when they run, what they read and write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from graphcnn.ir import BATCH, Graph, Value
from graphcnn.ops import Constant, Input, SoftmaxCrossEntropy, WarpSamplesTransposed
from graphcnn_native.elements import SIZES
from graphcnn_native.lowering.bfloat16 import (
    Bfloat16Correlation,
    Bfloat16FilterGradient,
    Bfloat16Matmul,
    Bfloat16ProductOverSamples,
    margins_of,
)
from graphcnn_native.lowering.bfloat16_tiling import FILTERS, TILE, over_samples, packing
from graphcnn_native.lowering.caller_arrays import CallerArrays
from graphcnn_native.lowering.draft import Draft, drafts_by_value
from graphcnn_native.lowering.program import (
    BLOCK,
    Buffer,
    Domain,
    Keeps,
    Place,
    Plan,
    PlannedKernel,
    is_product_over_samples,
    unshaped,
)
from graphcnn_native.lowering.routing import (
    RoutedCorrelation,
    RoutedFilterGradient,
    filter_lists,
    map_lists,
)
from graphcnn_native.lowering.samples_in_lanes import join_neighbours
from graphcnn_native.lowering.schedule import Schedule
from graphcnn_native.lowering.strips import strips
from graphcnn_native.lowering.sums_on_the_way import add_up_on_the_way
from graphcnn_native.lowering.winograd import WinogradCorrelation, WinogradFilterGradient, workspace
from graphcnn_native.target import Target


def plan(graph: Graph, compiled: Graph, sources: Mapping[int, int], target: Target) -> Plan:
    """Return the plan of a canonical graph.

    compiled: the graph that it was made of; sources: for each key of the canonical one, the key in that.
    """
    schedule = Schedule(graph)
    add_up_on_the_way(schedule, target)
    arrays = CallerArrays(schedule)
    drafts = _busy(schedule.kernels)
    schedule.kernels[:] = drafts
    join_neighbours(schedule, target)
    buffers = _give_buffers(graph, drafts, arrays.buffers)
    finishing = _Finishing(schedule, compiled, sources, target)
    planned = [finishing.planned(draft) for draft in drafts]
    block = block_of(target)
    taken = strips(graph, planned, block, target)
    kernels = tuple(replace(kernel, strip=strip) for kernel, strip in zip(planned, taken, strict=True))
    divided = _divided_stage(kernels)
    return Plan(graph, kernels, buffers, tuple(arrays.slots), block, divided, _labels(graph))


def block_of(target: Target) -> int:
    """Return how many samples are carried through a stage together."""
    return max(BLOCK, target.lanes(SIZES["float"]))


def _busy(drafts: list[Draft]) -> list[Draft]:
    """Return the kernels of which somebody reads something, numbered anew.

    Of the values of the others, kernels need nothing but the shape.
    """
    needed, busy = set[Value](), set[Draft]()
    for draft in sorted(drafts, key=lambda d: (d.stage, d.number), reverse=True):
        if draft.stores or draft in busy or not needed.isdisjoint(draft.values):
            busy.add(draft)
            needed |= draft.loads
            if draft.totals is not None:
                busy.add(draft.totals)
    found = [draft for draft in drafts if draft in busy]
    for number, draft in enumerate(found):
        draft.number = number
    return found


def _give_buffers(graph: Graph, drafts: list[Draft], known: Mapping[Value, Buffer]) -> dict[Value, Buffer]:
    """Return the buffers of all stored values, and let kernels store what others read."""
    buffers, readers, margins = dict(known), drafts_by_value(drafts), margins_of(graph)
    for draft in drafts:
        for value in draft.values:
            if value in readers and value not in buffers:
                buffers[value] = Buffer(value, _place(draft, readers[value]), margins=margins.get(value))
                draft.stores.insert(0, (value, buffers[value]))
        if draft.root is not None and is_product_over_samples(graph.node(draft.root)):
            draft.unfinished = Buffer(draft.values[0], Place.ARENA, keeps=Keeps.UNFINISHED)
    return buffers


def _place(writer: Draft, readers: Iterable[Draft]) -> Place:
    """What is read in the same stage, sample by sample, need not outlive a block of samples."""
    if writer.domain is Domain.SAMPLES and all(
        reader.domain is Domain.SAMPLES and reader.stage == writer.stage for reader in readers
    ):
        return Place.BLOCK
    return Place.ARENA


def _divided_stage(kernels: Iterable[PlannedKernel]) -> int:
    """Return the stage that can go through a batch in parts, so that memory does not grow with the batch.

    There must be only one with kernels by sample, and nothing else may need all samples at once but products
    that sum over them, which can be summed up part by part as well.
    """
    stages = {kernel.stage for kernel in kernels if kernel.domain is Domain.SAMPLES}
    if len(stages) != 1:
        return -1
    (stage,) = stages
    for kernel in kernels:
        if kernel.domain is Domain.SAMPLES:
            continue
        is_product = kernel.unfinished is not None
        reads_samples = any(value.type.has_batch for value in kernel.loads)
        if kernel.stage == stage or (is_product and kernel.stage != stage + 1):
            return -1
        if (reads_samples and not is_product) or BATCH in kernel.shape:
            return -1
    return stage


class _Finishing:
    """Makes planned kernels of drafts that are complete."""

    def __init__(
        self, schedule: Schedule, compiled: Graph, sources: Mapping[int, int], target: Target
    ) -> None:
        self._schedule, self._compiled, self._sources, self._target = schedule, compiled, sources, target
        self._last = _finishing_nodes(schedule.graph, sources)
        self._merged = _merged(compiled, self._last.keys())
        self._margins = margins_of(schedule.graph)

    def planned(self, draft: Draft) -> PlannedKernel:
        graph, sources = self._schedule.graph, self._sources
        work = tuple(sorted(self._schedule.nodes(draft)))
        finished = self._with_merged(sources[key] for key in work if self._last[sources[key]] == key)
        return PlannedKernel(
            draft.number,
            draft.domain,
            draft.stage,
            draft.shape,
            draft.root,
            tuple(draft.values),
            draft.loads,
            tuple(draft.stores),
            draft.adds_up_samples,
            tuple(draft.sums),
            _number(draft.totals),
            draft.unfinished,
            draft.copies,
            draft.source,
            _number(draft.pad),
            _number(draft.pool),
            _number(draft.pooled_by),
            draft.is_optional,
            self._workspace(draft),
            title=_title(graph, draft),
            work=work,
            nodes=self._nodes(work or _carried_on(draft)),
            counted=tuple(self._compiled.node(key) for key in finished),
        )

    def _nodes(self, work: Iterable[int]) -> tuple[int, ...]:
        """Return the nodes of the compiled graph that these come from; constants are shared, and nobody's."""
        nodes = sorted(self._with_merged({self._sources[key] for key in work}))
        return tuple(n for n in nodes if not isinstance(self._compiled.node(n).op, Constant)) or tuple(nodes)

    def _with_merged(self, nodes: Iterable[int]) -> list[int]:
        return [each for node in nodes for each in (node, *self._merged.get(node, ()))]

    def _workspace(self, draft: Draft) -> int:
        """Return the bytes that a kernel needs to itself while it works."""
        graph = self._schedule.graph
        if draft.root is None:
            return 0
        node = graph.node(draft.root)
        types = [operand.type for operand in node.operands]
        match node.op:
            case RoutedFilterGradient():
                return filter_lists(node.op, types[0], types[1], self._target).bytes
            case RoutedCorrelation():
                return map_lists(node.op, types[0], types[2], self._target).bytes
            case WarpSamplesTransposed():
                return types[0].with_dtype("float64").bytes(1)
            case Bfloat16Correlation():
                results, margins = graph.results(draft.root)[0].type, self._margins[node.operands[0]]
                return max(cut.bytes for _, cut in node.op.cuts(types[0], results, margins))
            case Bfloat16Matmul():
                return TILE * FILTERS * SIZES["float"]
            case Bfloat16ProductOverSamples():
                return over_samples(types[1]).bytes
            case Bfloat16FilterGradient():
                return packing(node.op, node.op.taps, types[0], types[1], block_of(self._target)).bytes
            case WinogradCorrelation() | WinogradFilterGradient():
                maps = types[1] if node.op.sum_over == "batch" else graph.results(draft.root)[0].type
                return workspace(node.op, types[0], maps, self._target).bytes
        return 0


def _finishing_nodes(graph: Graph, sources: Mapping[int, int]) -> dict[int, int]:
    """Return for each node of the compiled graph the last one of the canonical graph that does its work.

    Of several that were made of it, that is one that computes, not one that moves its operands or results.
    """
    made = defaultdict[int, list[int]](list)
    for key, source in sorted(sources.items()):
        made[source].append(key)
    found: dict[int, int] = {}
    for source, keys in made.items():
        computing = [key for key in keys if graph.node(key).cost(1).flops] if len(keys) > 1 else keys
        found[source] = (computing or keys)[-1]
    return found


def _merged(compiled: Graph, kept: Collection[int]) -> dict[int, list[int]]:
    """Return the nodes that became one with what reads them, such as what is cropped, by the node with which.

    kept: the nodes of which there is something in the canonical graph.
    """
    part_of = {key: key for key in kept}
    for key, node in reversed(list(compiled.items())):
        for operand in node.operands if key in part_of else ():
            part_of.setdefault(operand.key, part_of[key])
    found: dict[int, list[int]] = {}
    for key, reader in part_of.items():
        if key != reader and not isinstance(compiled.node(key).op, Input):
            found.setdefault(reader, []).append(key)
    return found


def _number(draft: Draft | None) -> int | None:
    return None if draft is None else draft.number


def _carried_on(draft: Draft) -> list[int]:
    """Return the node of which a kernel only adds up the partial sums, or copies the value."""
    if draft.total is not None:
        return [draft.total.key]
    return [] if draft.copies is None else [draft.copies.key]


def _title(graph: Graph, draft: Draft) -> str:
    if draft.copies is not None:
        return "copy"
    root = [] if draft.root is None else [draft.root]
    keys = list(dict.fromkeys([*root, *(value.key for value in draft.values), *draft.sums]))
    names = [graph.node(key).op.name for key in keys]
    if draft.totals is not None:
        names[0] = "total"
    return "_".join([*names[:2], *names[2:][-1:]])


def _labels(graph: Graph) -> dict[str, int]:
    """Return the inputs that are labels, and of how many classes."""
    names = {value: label for label, value in graph.inputs.items()}
    found: dict[str, int] = {}
    for _, node in graph.items():
        if isinstance(node.op, SoftmaxCrossEntropy):
            label, classes = names.get(unshaped(graph, node.operands[1])), node.operands[0].type.static(1)
            if label is not None:
                found[label] = min(classes, found.get(label, classes))
    return found
