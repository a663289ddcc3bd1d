"""`verify` catches what planning and placing could get wrong: each fault is seeded wherever it fits."""

import functools
import itertools
from dataclasses import replace

import pytest

import graphcnn as gcn
from graphcnn import ops
from graphcnn.errors import BackendError
from graphcnn.ir import BATCH, Emitter, Graph, TensorType
from graphcnn.testing import random_step
from graphcnn.zoo import ZOO
from graphcnn_native import NativeBackend
from graphcnn_native.codegen.module import generate
from graphcnn_native.lowering import lower
from graphcnn_native.lowering.program import ALIGNMENT, Domain, Keeps, Place
from graphcnn_native.lowering.schedule import GENERATED
from graphcnn_native.lowering.verify import verify
from graphcnn_native.op_code import is_pointwise
from graphcnn_native.target import named_target


def step_of(network, shape):
    options = {"loss": gcn.CrossEntropy(), "optimizer": gcn.SGD(0.05, momentum=0.9)}
    return gcn.compile(network, input_shape=shape, backend="numpy", **options).step_graph


def normalised():
    layers = [gcn.Conv2d(8, 3, padding="same"), gcn.BatchNorm2d(), gcn.ReLU(), gcn.MaxPool2d(2)]
    return gcn.Sequential(*layers, gcn.Dropout(0.5), gcn.Flatten(), gcn.Dense(10))


def wide():
    return gcn.Sequential(
        gcn.Conv2d(32, 3, padding=1), gcn.ReLU(), gcn.Conv2d(32, 3), gcn.Flatten(), gcn.Dense(10)
    )


def prepared():
    """Filters that are mapped once; large sums follow the last that is done with them."""
    layers = [gcn.Conv2d(32, 3, padding=1), gcn.Conv2d(32, 3), gcn.Flatten(), gcn.Dense(10)]
    graph = gcn.compile(gcn.Sequential(*layers), input_shape=(12, 12, 16), backend="numpy").forward_graph
    emit = Emitter(graph)
    totals = emit(ops.Sum((0,)), graph.outputs["output"])
    graph.output("scaled", emit(ops.Divide(), totals, emit(ops.Sum((0,)), emit(ops.Exp(), totals))))
    return graph


def states():
    """States that move round, an input that is copied, numbers that are drawn, a batch that is turned."""
    graph = Graph("states")
    emit = Emitter(graph)
    a, b = (graph.input(name, TensorType((2,), "int64"), role="state") for name in "ab")
    x = graph.input("x", TensorType((BATCH, 4), "float32"))
    graph.update("a", b)
    drawn, following = emit.all(ops.RandomUniform(), a, x)
    graph.update("b", following)
    turned = emit(ops.Rot180((0,)), emit(ops.Tanh(), emit(ops.Multiply(), drawn, x)))
    graph.output("y", emit(ops.Sum((1,)), emit(ops.Tanh(), turned)))
    return graph


def large():
    """Samples that leave the cache from kernel to kernel, after some that do not."""
    layers = [gcn.Conv2d(8, 1), gcn.Tanh(), gcn.MaxPool2d(2, stride=1), gcn.Conv2d(16, 1), gcn.Tanh()]
    layers += [gcn.AvgPool2d(4), gcn.Conv2d(32, 1), gcn.Tanh(), gcn.MaxPool2d(4), gcn.Flatten(), gcn.Dense(3)]
    return gcn.compile(gcn.Sequential(*layers), input_shape=(96, 96, 4), backend="numpy").forward_graph


def neighbours():
    """Correlations of few filters between pads and pools, not all of which they can do on their way."""
    graph = Graph("neighbours")
    emit = Emitter(graph)
    x = graph.input("x", TensorType((BATCH, 7, 7, 3), "float32"))
    window = graph.input("window", TensorType((3, 3, 3, 5), "float32"))
    for number, (padding, stride) in enumerate([(1, 2), (1, 1), (0, 2)]):
        images = emit(ops.Pad(((0, 0), (1 - padding, 0), (1, 1), (0, 0))), emit(ops.Tanh(), x))
        maps = emit(ops.Correlate2d(padding=((1, 1), (0, 0))), images, window)
        graph.output(f"pooled {number}", emit(ops.AveragePool2d((2, 2), (stride, stride)), maps))
        if not padding:
            graph.output("maps", maps)
    return graph


def rounded():
    """A correlation of bfloat16, whose images a kernel of samples keeps with zeros around them."""
    graph = Graph("rounded")
    emit = Emitter(graph)
    x = emit(ops.RoundBfloat16(), emit(ops.Tanh(), graph.input("x", TensorType((BATCH, 6, 6, 8)))))
    window = emit(ops.RoundBfloat16(), graph.input("window", TensorType((3, 3, 8, 8))))
    graph.output("y", emit(ops.Correlate2d(padding=((1, 1), (1, 1))), x, window))
    return graph


def with_margins(program, buffer, margins):
    """Return the program with other zeros around the images in a buffer, wherever it is named."""
    changed = replace(buffer, margins=margins)
    for kernel in each(program, lambda k: buffer in k.kept):
        stores = tuple((value, changed if b == buffer else b) for value, b in kernel.stores)
        program = with_kernel(program, kernel, stores=stores)
    offsets = {changed if b == buffer else b: offset for b, offset in program.offsets.items()}
    return replace(program, buffers={**program.buffers, buffer.value: changed}, offsets=offsets)


def forced(program, kernel, **changes):
    """Return the program with a kernel that does the work of a neighbour, which knows it."""
    pool = changes.get("pool")
    neighbour = program.kernels[changes["pad"] if pool is None else pool]
    by = {} if pool is None else {"pooled_by": kernel.number}
    program = with_kernel(program, neighbour, is_optional=True, **by)
    return with_kernel(program, kernel, **changes)


def correlations(program):
    """Yield the correlations of samples that do no neighbour's work."""
    for kernel in each(program, lambda k: k.domain is Domain.SAMPLES and k.pool is None):
        if type(kernel.op(program.graph)) is ops.Correlate2d and not kernel.adds_up_samples:
            yield kernel


def readers_of(program, kernel):
    return list(dict.fromkeys(r.number for b in kernel.kept for r in program.readers.get(b, ())))


@functools.cache
def programs():
    NativeBackend()
    graphs = [
        *(step_of(ZOO[name].make(), ZOO[name].input_shape) for name in ("digits", "lenet5")),
        *(step_of(normalised(), (8, 8, 3)), step_of(wide(), (12, 12, 16))),
        *(prepared(), states(), neighbours(), large()),
        *(random_step(seed).graph for seed in range(12)),
    ]
    lowered = [lower(graph, named_target("avx2")) for graph in graphs]
    return [verify(program) for program in (*lowered, lower(rounded(), named_target("amx")))]


def with_kernel(program, kernel, **changes):
    kernels = list(program.kernels)
    kernels[kernel.number] = replace(kernel, **changes)
    return replace(program, kernels=tuple(kernels))


def with_offset(program, buffer, offset):
    return replace(program, offsets={**program.offsets, buffer: offset})


FAULTS = {}


def fault(seed):
    """Register a generator of programs that are broken in one way."""
    FAULTS[seed.__name__] = seed
    return seed


def each(program, fits):
    return [kernel for kernel in program.kernels if fits(kernel)]


def kept(program, place, per_sample=None):
    return [
        (kernel, buffer)
        for kernel in program.kernels
        for buffer in kernel.kept
        if buffer.place is place and per_sample in (None, buffer.per_sample)
    ]


@fault
def a_load_is_left_out(program):
    """But for values that could as well be computed anew, or read through the transpose of a product."""
    for kernel in each(program, lambda k: k.pad is None):
        for value in kernel.loads:
            op = program.graph.node(value.key).op
            if not is_pointwise(op) and not isinstance(op, (ops.Transpose, *GENERATED)):
                yield with_kernel(program, kernel, loads=kernel.loads - {value})


@fault
def images_to_be_padded_are_not_loaded(program):
    for kernel in each(program, lambda k: k.pad is not None):
        (source,) = program.graph.node(program.kernels[kernel.pad].root).operands
        yield with_kernel(program, kernel, loads=kernel.loads - {program.unshaped(source)})


@fault
def a_load_has_no_buffer(program):
    for kernel in program.kernels:
        for value in kernel.loads:
            yield replace(program, buffers={v: b for v, b in program.buffers.items() if v != value})


@fault
def a_load_has_the_buffer_of_another_value(program):
    for kernel in program.kernels:
        for value in kernel.loads:
            other = next(b for v, b in program.buffers.items() if v != value)
            yield replace(program, buffers={**program.buffers, value: other})


@fault
def a_store_is_left_out(program):
    for kernel in program.kernels:
        for n in range(len(kernel.stores)):
            yield with_kernel(program, kernel, stores=kernel.stores[:n] + kernel.stores[n + 1 :])


@fault
def a_value_is_stored_in_the_buffer_of_another(program):
    for kernel in each(program, lambda k: k.stores):
        value, _ = kernel.stores[0]
        other = next(b for v, b in program.buffers.items() if v != value)
        yield with_kernel(program, kernel, stores=((value, other), *kernel.stores[1:]))


@fault
def a_value_is_stored_twice(program):
    for kernel in each(program, lambda k: k.stores):
        yield with_kernel(program, kernel, stores=(*kernel.stores, kernel.stores[0]))


@fault
def what_is_not_computed_is_stored(program):
    for kernel in each(program, lambda k: k.stores and k.copies is None):
        other = next(v for v in program.buffers if v not in kernel.values)
        yield with_kernel(program, kernel, stores=((other, replace(kernel.stores[0][1], value=other)),))


@fault
def a_reader_runs_a_stage_too_early(program):
    for kernel in program.kernels:
        written = [b for b in program.read_by(kernel) if any(b in other.kept for other in program.kernels)]
        if written and kernel.stage and kernel.totals is None:
            first = min(k.stage for k in program.kernels if any(b in k.kept for b in written))
            yield with_kernel(program, kernel, stage=first - 1)


@fault
def a_writer_runs_a_stage_too_late(program):
    for kernel in program.kernels:
        readers = [r for b in kernel.kept for r in program.readers.get(b, ())]
        if readers:
            yield with_kernel(program, kernel, stage=max(r.stage for r in readers) + 1)


@fault
def a_total_runs_with_its_sums(program):
    for kernel in each(program, lambda k: k.totals is not None):
        yield with_kernel(program, kernel, stage=program.kernels[kernel.totals].stage)


@fault
def a_stage_is_missing(program):
    yield with_kernel(program, program.kernels[0], stage=-1)


@fault
def two_kernels_change_places(program):
    if len(program.kernels) > 1:
        first, second, *rest = program.kernels
        yield replace(program, kernels=(second, first, *rest))


@fault
def two_numbers_are_equal(program):
    for kernel in program.kernels[1:]:
        yield with_kernel(program, kernel, number=0)


@fault
def the_whole_goes_through_samples(program):
    for kernel in each(program, lambda k: k.domain is Domain.WHOLE and BATCH not in k.shape):
        yield with_kernel(program, kernel, domain=Domain.SAMPLES)


@fault
def a_turned_batch_goes_through_samples(program):
    for kernel in each(
        program, lambda k: isinstance(k.op(program.graph), ops.Rot180) and k.shape[0] == BATCH
    ):
        if 0 in kernel.op(program.graph).axes:
            yield with_kernel(program, kernel, domain=Domain.SAMPLES)


@fault
def samples_that_share_blocks_are_of_the_whole(program):
    for kernel in each(program, lambda k: k.domain is Domain.SAMPLES):
        if any(buffer.place is Place.BLOCK for buffer in program.read_by(kernel)):
            yield with_kernel(program, kernel, domain=Domain.WHOLE)


@fault
def another_shape(program):
    for kernel in each(program, lambda k: k.values):
        yield with_kernel(program, kernel, shape=(*kernel.shape, 7))


@fault
def a_buffer_has_no_place(program):
    for place in (Place.ARENA, Place.BLOCK):
        for _, buffer in kept(program, place):
            yield replace(program, offsets={b: o for b, o in program.offsets.items() if b != buffer})


@fault
def a_buffer_begins_within_a_cache_line(program):
    for place in (Place.ARENA, Place.BLOCK):
        for _, buffer in kept(program, place):
            yield with_offset(program, buffer, program.offsets[buffer] + ALIGNMENT // 2)


@fault
def a_buffer_lies_behind_the_arena(program):
    for _, buffer in kept(program, Place.ARENA):
        yield with_offset(program, buffer, max(program.arena, program.arena_per_sample))


@fault
def a_buffer_lies_behind_the_block(program):
    for _, buffer in kept(program, Place.BLOCK):
        yield with_offset(program, buffer, program.scratch)


@fault
def two_lives_overlap_in_the_arena(program):
    """Of a kernel that stores both at once."""
    for kernel in program.kernels:
        for per_sample in (False, True):
            both = [b for b in kernel.kept if b.place is Place.ARENA and b.per_sample is per_sample]
            if len(both) > 1:
                yield with_offset(program, both[0], program.offsets[both[1]])


@fault
def what_is_read_is_overwritten_in_the_arena(program):
    for kernel in program.kernels:
        stored = [buffer for buffer in kernel.kept if buffer.place is Place.ARENA]
        for buffer, read in itertools.product(stored, program.read_by(kernel)):
            if read.place is Place.ARENA and read.per_sample is buffer.per_sample:
                yield with_offset(program, buffer, program.offsets[read])


@fault
def what_is_prepared_is_overwritten(program):
    """By a kernel after the last that reads it."""
    for kernel, kept_for_good in kept(program, Place.ARENA):
        last = max((reader.stage for reader in program.readers.get(kept_for_good, ())), default=0)
        if kernel.stage < program.prepared <= last:
            for other, buffer in kept(program, Place.ARENA):
                if other.stage > last and buffer.per_sample is kept_for_good.per_sample:
                    yield with_offset(program, buffer, program.offsets[kept_for_good])


@fault
def what_is_read_is_overwritten_in_a_block(program):
    for kernel, buffer in kept(program, Place.BLOCK):
        for read in program.read_by(kernel):
            if read.place is Place.BLOCK:
                yield with_offset(program, buffer, program.offsets[read])


@fault
def what_outlives_a_strip_is_overwritten_by_the_next(program):
    """By a kernel of the same loop over strips that runs before it is written, or after it was read."""
    for kernel, buffer in kept(program, Place.BLOCK):
        first, last = program.strip_loops[kernel.number]
        for other in program.kernels[first : last + 1]:
            for shorter in other.kept:
                if shorter in program.within_strips and buffer not in program.within_strips:
                    yield with_offset(program, buffer, program.offsets[shorter])


@fault
def a_strip_is_none(program):
    for kernel in program.kernels:
        yield with_kernel(program, kernel, strip=0)
        yield with_kernel(program, kernel, strip=program.block + 1)


@fault
def who_does_a_neighbours_work_sees_a_strip_alone(program):
    for kernel in each(program, lambda k: k.is_optional or k.pad is not None or k.pool is not None):
        yield with_kernel(program, kernel, strip=1)


@fault
def a_workspace_lies_on_what_is_read(program):
    for kernel in each(program, lambda k: k.workspace):
        for read in program.read_by(kernel):
            if read.place is Place.BLOCK:
                yield with_kernel(program, kernel, workspace_offset=program.offsets[read])


@fault
def a_workspace_has_no_place(program):
    for kernel in each(program, lambda k: k.workspace):
        yield with_kernel(program, kernel, workspace_offset=-1)


@fault
def partial_sums_overlap(program):
    found = each(program, lambda k: k.adds_up_samples)
    for first, second in itertools.pairwise(found):
        yield with_kernel(program, first, sums_offset=second.sums_offset)


@fault
def partial_sums_have_no_place(program):
    for kernel in each(program, lambda k: k.adds_up_samples):
        yield with_kernel(program, kernel, sums_offset=-1)


@fault
def memory_is_too_small(program):
    for name in ("arena", "arena_per_sample", "scratch", "sums"):
        if getattr(program, name):
            yield replace(program, **{name: getattr(program, name) - 2 * ALIGNMENT})


@fault
def nobody_totals_partial_sums(program):
    for kernel in each(program, lambda k: k.totals is not None):
        yield with_kernel(program, kernel, totals=None)


@fault
def sums_of_another_kernel_are_totalled(program):
    totals = each(program, lambda k: k.totals is not None)
    for first, second in itertools.pairwise(totals):
        if first.totals != second.totals:
            yield with_kernel(program, first, totals=second.totals)


@fault
def sums_are_totalled_elsewhere_than_where_they_are(program):
    for kernel in each(program, lambda k: k.totals is not None):
        yield with_kernel(program, kernel, sums_offset=kernel.sums_offset + ALIGNMENT)


@fault
def sums_are_totalled_that_nobody_adds_up(program):
    for kernel in each(program, lambda k: k.totals is not None):
        yield with_kernel(program, program.kernels[kernel.totals], adds_up_samples=False, sums=())


@fault
def unfinished_sums_are_forgotten(program):
    for kernel in each(program, lambda k: k.unfinished is not None):
        yield with_kernel(program, kernel, unfinished=None)


@fault
def unfinished_sums_are_kept_as_the_result(program):
    for kernel in each(program, lambda k: k.unfinished is not None):
        yield with_kernel(program, kernel, unfinished=replace(kernel.unfinished, keeps=Keeps.VALUE))


@fault
def slots_are_exchanged(program):
    for n in range(len(program.slots) - 1):
        slots = list(program.slots)
        slots[n], slots[n + 1] = slots[n + 1], slots[n]
        yield replace(program, slots=tuple(slots))


@fault
def an_input_is_read_from_the_array_of_another(program):
    inputs = list(program.graph.inputs.values())
    read = {value for kernel in program.kernels for value in kernel.loads}
    for value in inputs:
        if value in read and len(inputs) > 1:
            slot = (program.buffers[value].slot + 1) % len(inputs)
            yield replace(
                program, buffers={**program.buffers, value: replace(program.buffers[value], slot=slot)}
            )


@fault
def an_input_is_written(program):
    for kernel, buffer in kept(program, Place.CALLER):
        stores = tuple((v, replace(b, slot=0) if b == buffer else b) for v, b in kernel.stores)
        yield with_kernel(program, kernel, stores=stores)


@fault
def a_state_is_replaced_while_others_read_it(program):
    for kernel, buffer in kept(program, Place.CALLER):
        kind, label = program.slots[buffer.slot]
        if kind == "update":
            state = program.buffers[program.graph.inputs[label]]
            for reader in program.readers.get(state, ()):
                if reader.number != kernel.number:
                    yield with_kernel(program, program.kernels[reader.number], stage=kernel.stage)


@fault
def a_block_is_read_in_a_later_stage(program):
    for kernel in program.kernels:
        if any(buffer.place is Place.BLOCK for buffer in program.read_by(kernel)):
            yield with_kernel(program, kernel, stage=program.stages)


@fault
def a_pad_is_left_out_for_one_who_needs_it(program):
    for kernel in each(program, lambda k: k.pad is not None):
        yield with_kernel(program, kernel, pad=None)


@fault
def nobody_knows_that_a_pool_is_optional(program):
    for kernel in each(program, lambda k: k.pooled_by is not None):
        yield with_kernel(program, kernel, pooled_by=None)


@fault
def a_pool_is_not_optional(program):
    for kernel in each(program, lambda k: k.pool is not None):
        yield with_kernel(program, program.kernels[kernel.pool], is_optional=False)


@fault
def windows_that_overlap_are_pooled_on_the_way(program):
    for kernel in correlations(program):
        for number in readers_of(program, kernel):
            op = program.kernels[number].op(program.graph)
            if isinstance(op, ops.AveragePool2d) and op.size != op.stride:
                yield forced(program, kernel, pool=number)


@fault
def maps_that_others_need_are_pooled_on_the_way(program):
    for kernel in correlations(program):
        for number in readers_of(program, kernel):
            op = program.kernels[number].op(program.graph)
            is_needed = any(buffer.place is not Place.BLOCK for buffer in kernel.kept)
            if isinstance(op, ops.AveragePool2d) and is_needed:
                yield forced(program, kernel, pool=number)


@fault
def rows_above_images_are_padded_on_the_way(program):
    for kernel in correlations(program):
        images = program.graph.node(kernel.root).operands[0]
        for pad in each(program, lambda k, images=images: k.root == images.key):
            op = program.graph.node(pad.root).op
            if isinstance(op, ops.Pad) and any(op.widths[1]):
                (source,) = program.graph.node(pad.root).operands
                loads = kernel.loads | {program.unshaped(source)}
                yield forced(program, kernel, pad=pad.number, loads=loads)


@fault
def there_are_too_few_zeros_around_images(program):
    for buffer in program.buffers.values():
        if buffer.margins is not None:
            for side in ("above", "below", "between"):
                yield with_margins(program, buffer, replace(buffer.margins, **{side: 0}))


@fault
def what_is_kept_as_bfloat16_is_read_as_float32(program):
    for kernel in program.kernels:
        for value, buffer in program.buffers.items():
            if buffer.margins is not None and value not in {*kernel.values, *kernel.loads}:
                yield with_kernel(program, kernel, loads=kernel.loads | {value})


@fault
def a_value_is_kept_in_the_wrong_form(program):
    for buffer in program.buffers.values():
        if buffer.margins is not None:
            yield with_margins(program, buffer, None)


@fault
def another_stage_is_divided(program):
    if program.divided >= 0:
        yield replace(program, divided=program.divided + 1)


@fault
def a_stage_is_divided_though_others_need_all_samples(program):
    stages = {kernel.stage for kernel in program.kernels if kernel.domain is Domain.SAMPLES}
    if program.divided < 0 and len(stages) > 1:
        yield replace(program, divided=min(stages))


@fault
def labels_are_not_checked(program):
    for label, classes in program.labels.items():
        yield replace(program, labels={})
        yield replace(program, labels={label: classes + 1})


@fault
def a_block_has_no_samples(program):
    yield replace(program, block=0)


@pytest.mark.parametrize("seed", FAULTS.values(), ids=FAULTS)
def test_a_fault_is_caught(seed):
    caught = 0
    for program in programs():
        for broken in seed(program):
            with pytest.raises(BackendError, match=r"^(kernel \d+|the program)"):
                verify(broken)
            caught += 1
    assert caught, "the fault fits no program"


def test_pieces_cover_all_of_a_kernel():
    looked_at = 0
    for program in programs()[:4]:
        for kernel in generate(program, named_target("avx2")).kernels:
            assert (kernel.share is None) == (kernel.placed.domain is Domain.SAMPLES)
            if kernel.share is not None and kernel.share.chunk:
                pieces, chunk, extent = kernel.share.pieces, kernel.share.chunk, kernel.share.extent
                assert (pieces - 1) * chunk < extent <= pieces * chunk
                looked_at += 1
    assert looked_at > 20


def test_programs_are_verified_where_the_environment_says_so(monkeypatch):
    seen = []
    monkeypatch.setattr("graphcnn_native.lowering.verify", lambda program: seen.append(program) or program)
    for chosen in ("on", "off"):
        monkeypatch.setenv("GRAPHCNN_VERIFY", chosen)
        lower(states(), named_target("avx2"))
    assert len(seen) == 1
