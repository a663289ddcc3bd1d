"""Puts a program together: a function per kernel, one per stage, and the step that calls them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from graphcnn import ops
from graphcnn.ir import BATCH, Op
from graphcnn_native.codegen.function import INDEX, ITEMS, POINTER, Function, Index, Ssa
from graphcnn_native.kernels import movement, nest, pooling, product, reduction, rows, winograd
from graphcnn_native.kernels.correlation import correlation
from graphcnn_native.kernels.narrow import leave_to_neighbours
from graphcnn_native.kernels.writer import Slot, Writer
from graphcnn_native.lowering.layout import Layout, shared
from graphcnn_native.lowering.program import Domain, Kernel, Program
from graphcnn_native.lowering.winograd import WinogradCorrelation, WinogradFilterGradient, WinogradFilters
from graphcnn_native.runtime.call_log import BEGAN, ENDED, HEADER
from graphcnn_native.target import Target

EMITTERS: dict[type[Op], Callable[[Writer], None]] = {
    ops.Correlate2d: correlation,
    WinogradFilters: winograd.winograd_filters,
    WinogradCorrelation: winograd.winograd,
    WinogradFilterGradient: winograd.winograd_gradient,
    ops.Matmul: product.matmul,
    ops.MaxPool2d: pooling.max_pool,
    ops.GatherWinner2d: pooling.gather,
    ops.SumPool2d: pooling.sum_pool,
    ops.AveragePool2d: pooling.sum_pool,
    ops.L2Pool2d: pooling.sum_pool,
    ops.RouteToWinner2d: pooling.back,
    ops.SpreadToBlock2d: pooling.back,
    ops.Sum: reduction.reduction,
    ops.Mean: reduction.reduction,
    ops.ArgMax: rows.argmax,
    ops.LogSoftmax: rows.log_softmax,
    ops.SoftmaxCrossEntropy: rows.softmax_cross_entropy,
    ops.Transpose: movement.transpose,
    ops.Rot180: movement.view,
    ops.Crop: movement.view,
    ops.Subsample: movement.view,
    ops.Pad: movement.pad,
    ops.ZeroInsert: movement.zero_insert,
    ops.Concatenate: movement.concatenate,
}
MODULES = 6
"""So many modules share the kernels, to be compiled at the same time."""
NOWHERE = Ssa(POINTER, "null")
CHUNK = 8192
"""Elements that one thread takes at a time from a kernel of the whole."""


@dataclass(frozen=True)
class Share:
    """How a kernel of the whole is cut into pieces: `items` pieces of `chunk`, up to `extent`."""

    items: int
    chunk: int
    extent: Index | None


def generate(program: Program, target: Target) -> list[str]:
    """Return the program as modules of LLVM IR: the first has `step(context)`, the others its kernels.

    They are several so that they can be compiled at the same time.
    """
    layouts = [Layout(program, kernel) for kernel in program.kernels]
    functions: list[Function] = []
    shares: dict[int, Share] = {}
    for kernel, layout, first in zip(program.kernels, layouts, shared(layouts), strict=True):
        alike = program.kernels[first]
        if alike is kernel:
            writer = written(program, kernel, layout, target)
            functions.append(writer.finish())
            if kernel.domain is Domain.WHOLE:
                shares[kernel.number] = _share(kernel, writer)
        kernel.name, kernel.is_flat, kernel.tile = alike.name, alike.is_flat, alike.tile
        if kernel.domain is Domain.WHOLE:
            shares[kernel.number] = shares[first]
            kernel.pieces = shares[first].items
    stages = [_stage(program, stage, kernels, shares) for stage, kernels in enumerate(program.by_stage())]
    monotonic = 6 if "apple" in target.triple or "darwin" in target.triple else 1
    ticks = TICKS if target.triple.startswith("x86_64") else OTHER_TICKS
    runner = RUNNER.format(clock=monotonic, profile=int(Slot.PROFILE), header=HEADER) + ticks
    main = [*stages, _step(program, shares)]
    declared = [f"declare void @{f.name}({', '.join(f.parameter_types)})" for f in functions]
    places = [_places(number, layout.places) for number, layout in enumerate(layouts)]
    texts = [_text(target, main, [runner, *declared, *places])]
    return texts + [_text(target, part) for part in _parts(functions)]


def written(program: Program, kernel: Kernel, layout: Layout, target: Target) -> Writer:
    """Return the writer of a kernel, all of which is written but its end."""
    writer = Writer(program, kernel, layout, target)
    kernel.is_flat = kernel.root is None and writer.is_flat(*(value for value, _ in kernel.stores))
    root = kernel.op(program.graph)
    if kernel.is_optional:
        leave_to_neighbours(writer)
    if root is None:
        nest.pointwise(writer)
    else:
        EMITTERS[type(root)](writer)
    return writer


def _places(number: int, places: Sequence[int]) -> str:
    numbers = ", ".join(f"i64 {place}" for place in places)
    return f"@places{number} = internal constant [{len(places)} x i64] [{numbers}]"


def _text(target: Target, functions: Sequence[Function], more: Sequence[str] = ()) -> str:
    declarations = sorted({line for function in functions for line in function.declarations})
    return "\n".join([f'target triple = "{target.triple}"', *declarations, *more, *map(str, functions)])


def _parts(functions: list[Function]) -> list[list[Function]]:
    """Deal functions out to a few modules of about the same length."""
    parts: list[list[Function]] = [[] for _ in range(min(MODULES, len(functions)))]
    lengths = [0] * len(parts)
    for function in sorted(functions, key=lambda f: (-f.length, f.name)):
        shortest = lengths.index(min(lengths))
        parts[shortest].append(function)
        lengths[shortest] += function.length
    return parts


def _share(kernel: Kernel, writer: Writer) -> Share:
    shape = kernel.shape
    if not shape:
        return Share(1, 1, 1)
    root = kernel.op(writer.graph)
    if BATCH in shape:
        return Share(1, 0, None)
    sizes = [int(size) for size in shape]
    if kernel.is_flat:
        extent, chunk = math.prod(sizes), CHUNK
    elif isinstance(root, WinogradFilters):
        extent = math.prod(sizes[1:])
        chunk = CHUNK // sizes[0]
    elif isinstance(root, ops.Sum | ops.Mean):
        return Share(1, 0, sizes[0])
    else:
        extent, chunk = sizes[0], max(1, CHUNK // max(1, math.prod(sizes[1:])))
    if isinstance(root, ops.Transpose):
        chunk = -(-chunk // 16) * 16
    if isinstance(root, ops.Matmul):
        tile = product.product_rows(writer)
        chunk = max(tile, chunk // 2 // tile * tile)
    return Share(-(-extent // chunk), chunk, extent)


def _stage(program: Program, stage: int, kernels: list[Kernel], shares: dict[int, Share]) -> Function:
    """The work of one stage: item 0, 1, ... are shards of the samples, and then pieces of the whole."""
    f = Function(
        f"stage{stage}",
        [(POINTER, "context"), (INDEX, "worker"), (INDEX, "item")],
        attributes="nounwind",
    )
    context, worker, item = f.parameters

    def slot(number: int, type: str = INDEX) -> Ssa:
        return f.load(type, f.element(context, INDEX, number))

    scratch = f.element(slot(Slot.SCRATCH, POINTER), "i8", f.multiply(worker, program.scratch))

    def call(kernel: Kernel, begin: Index, end: Index, sums: Ssa = NOWHERE) -> None:
        arguments = (
            f"{context}, {scratch}, {sums}, {f.index(begin)}, {f.index(end)}, ptr @places{kernel.number}"
        )
        f.do(f"call void @run(ptr @{kernel.name}, i64 {kernel.number}, {worker}, {arguments})")

    by_sample = [kernel for kernel in kernels if kernel.domain is Domain.SAMPLES]
    first: Index = 0
    if by_sample:
        shards = slot(Slot.SHARDS)
        with f.when(f.compare("slt", item, shards)):
            _shard(f, program, by_sample, slot, call)
        first = shards
    is_last = f.compare("sge", f.index(f.add(slot(Slot.FIRST), slot(Slot.COUNT))), slot(Slot.BATCH))
    for kernel in kernels:
        if kernel.number not in shares:
            continue
        share = shares[kernel.number]
        number = f.index(f.subtract(item, first))
        inside = f.binary(
            "and",
            f.compare("sge", number, f.index(0)),
            f.compare("slt", number, f.index(share.items)),
        )
        if kernel.unfinished is None:
            inside = f.binary("and", inside, is_last)
        with f.when(inside):
            begin = f.multiply(number, share.chunk)
            end = _extent(f, kernel, share, slot)
            if share.chunk:
                end = f.least(f.add(begin, share.chunk), end)
            call(kernel, begin, end)
        first = f.add(first, share.items)
    f.end()
    return f


def _extent(f: Function, kernel: Kernel, share: Share, slot: Callable[..., Ssa]) -> Index:
    if share.extent is not None:
        return share.extent
    batch = slot(Slot.BATCH)
    if kernel.is_flat:
        return f.multiply(batch, math.prod(int(size) for size in kernel.shape if size != BATCH))
    return batch if kernel.shape[0] == BATCH else int(kernel.shape[0])


def _shard(
    f: Function,
    program: Program,
    kernels: list[Kernel],
    slot: Callable[..., Ssa],
    call: Callable[[Kernel, Index, Index, Ssa], None],
) -> None:
    """Carry a shard's samples through the kernels of a stage, block by block."""
    _, _, item = f.parameters
    size = slot(Slot.SHARD_SIZE)
    start = slot(Slot.FIRST)
    begin = f.add(start, f.multiply(item, size))
    end = f.least(f.add(begin, size), f.add(start, slot(Slot.COUNT)))
    sums = f.element(slot(Slot.SUMS, POINTER), "i8", f.multiply(item, program.partial))
    with f.when(f.compare("eq", start, f.index(0))):
        for kernel in kernels:
            if kernel.partial >= 0:
                assert kernel.root is not None
                (result,) = program.graph.results(kernel.root)
                f.clear(f.element(sums, "i8", kernel.partial), result.type.bytes(1))
    with f.loop(begin, end, program.block) as block:
        last = f.least(f.add(block.index, program.block), end)
        for kernel in kernels:
            call(kernel, block.index, last, sums)


RUNNER = """
declare i32 @clock_gettime(i32, ptr)

define internal i64 @now() nounwind noinline {{
  %time = alloca [2 x i64]
  %failed = call i32 @clock_gettime(i32 {clock}, ptr %time)
  %seconds = load i64, ptr %time
  %rest = getelementptr i64, ptr %time, i64 1
  %nanoseconds = load i64, ptr %rest
  %whole = mul i64 %seconds, 1000000000
  %now = add i64 %whole, %nanoseconds
  ret i64 %now
}}

define internal void @run(ptr %kernel, i64 %number, i64 %worker, ptr %context, ptr %block, ptr %sums,
                          i64 %begin, i64 %end, ptr %places) nounwind noinline {{
  %slot = getelementptr i64, ptr %context, i64 {profile}
  %log = load ptr, ptr %slot
  %quick = icmp eq ptr %log, null
  br i1 %quick, label %call, label %measured
call:
  call void %kernel(ptr %context, ptr %block, ptr %sums, i64 %begin, i64 %end, ptr %places)
  ret void
measured:
  %before = call i64 @ticks()
  call void %kernel(ptr %context, ptr %block, ptr %sums, i64 %begin, i64 %end, ptr %places)
  %after = call i64 @ticks()
  %room = load i64, ptr %log
  %row = mul i64 %worker, %room
  %row.items = mul i64 %row, 3
  %row.and.counts = add i64 %row.items, %worker
  %place = add i64 %row.and.counts, {header}
  %count.at = getelementptr i64, ptr %log, i64 %place
  %count = load i64, ptr %count.at
  %more = add i64 %count, 1
  store i64 %more, ptr %count.at
  %fits = icmp ult i64 %count, %room
  br i1 %fits, label %note, label %done
note:
  %items = mul i64 %count, 3
  %first = add i64 %items, 1
  %number.at = getelementptr i64, ptr %count.at, i64 %first
  %before.at = getelementptr i64, ptr %number.at, i64 1
  %after.at = getelementptr i64, ptr %number.at, i64 2
  store i64 %number, ptr %number.at
  store i64 %before, ptr %before.at
  store i64 %after, ptr %after.at
  br label %done
done:
  ret void
}}

define internal void @mark(ptr %context, i64 %place) nounwind noinline {{
  %slot = getelementptr i64, ptr %context, i64 {profile}
  %log = load ptr, ptr %slot
  %quick = icmp eq ptr %log, null
  br i1 %quick, label %done, label %note
note:
  %ticks = call i64 @ticks()
  %now = call i64 @now()
  %ticks.at = getelementptr i64, ptr %log, i64 %place
  %now.at = getelementptr i64, ptr %ticks.at, i64 1
  store i64 %ticks, ptr %ticks.at
  store i64 %now, ptr %now.at
  br label %done
done:
  ret void
}}
"""
"""`run` calls a kernel and, where there is a log of calls (`runtime/call_log.py`), notes when it did; `mark`
notes the present moment by both clocks."""
TICKS = """
declare i64 @llvm.readcyclecounter()

define internal i64 @ticks() nounwind alwaysinline {
  %ticks = call i64 @llvm.readcyclecounter()
  ret i64 %ticks
}
"""
"""The time stamp counter of x86, which is read in a third of the time of the system's clock."""
OTHER_TICKS = """
define internal i64 @ticks() nounwind {
  %ticks = call i64 @now()
  ret i64 %ticks
}
"""


def _step(program: Program, shares: dict[int, Share]) -> Function:
    """The whole step: each stage on all threads, one after the other, with denormals flushed to zero."""
    f = Function("step", [(POINTER, "context")], result="i64", attributes="nounwind")
    (context,) = f.parameters

    def slot(number: int, type: str = INDEX) -> Ssa:
        return f.load(type, f.element(context, INDEX, number))

    unfit = _unfit_labels(f, program, slot)
    with f.when(f.compare("ne", unfit, f.index(0))):
        f.do(f"ret {unfit}")
        f.begin_dead_block()
    f.do(f"call void @mark({context}, i64 {BEGAN})")
    mode = f.emit(INDEX, f"call i64 {slot(Slot.FLUSH, POINTER).name}()")

    def run(stage: int, items: Index) -> None:
        pool, threads = slot(Slot.POOL, POINTER), slot(Slot.THREADS)
        arguments = f"{pool}, ptr @stage{stage}, {context}, {f.index(items)}, {threads}"
        f.do(f"call void {slot(Slot.PARALLEL_FOR, POINTER).name}({arguments})")

    by_stage = program.by_stage()

    def items(stage: int) -> Index:
        kernels = by_stage[stage]
        whole = sum(shares[k.number].items for k in kernels if k.number in shares)
        by_sample = any(kernel.domain is Domain.SAMPLES for kernel in kernels)
        return f.add(whole, slot(Slot.SHARDS)) if by_sample else whole

    for stage in range(program.stages):
        if stage == program.divided:
            _part_by_part(f, program, run, items, slot)
        else:
            run(stage, items(stage))
    f.do(f"call void {slot(Slot.RESTORE, POINTER).name}({mode})")
    f.do(f"call void @mark({context}, i64 {ENDED})")
    f.end(f.index(0))
    return f


def _part_by_part(
    f: Function,
    program: Program,
    run: Callable[[int, Index], None],
    items: Callable[[int], Index],
    slot: Callable[..., Ssa],
) -> None:
    """Go through the batch in parts that the arena has room for.

    After each part but the last, which the next stage comes after anyway, the products over samples sum up.
    """
    (context,) = f.parameters
    batch, capacity = slot(Slot.BATCH), slot(Slot.CAPACITY)
    sums_up = any(kernel.unfinished is not None for kernel in program.kernels)
    with f.loop(0, batch, capacity) as part:
        first = part.index
        count = f.least(capacity, f.subtract(batch, first))
        f.store(first, f.element(context, INDEX, Slot.FIRST))
        f.store(f.index(count), f.element(context, INDEX, Slot.COUNT))
        run(program.divided, items(program.divided))
        more = f.compare("slt", f.index(f.add(first, count)), batch)
        if sums_up:
            with f.when(more):
                run(program.divided + 1, items(program.divided + 1))


def _unfit_labels(f: Function, program: Program, slot: Callable[..., Ssa]) -> Ssa:
    """Return how many labels name no class: then nothing is done, and the state stays as it is."""
    batch, unfit = slot(Slot.BATCH), f.index(0)
    for label, classes in program.labels.items():
        value = program.graph.inputs[label]
        item = ITEMS[value.type.dtype]
        base = slot(Slot.ARRAYS + program.slots.index(("input", label)), POINTER)
        known = math.prod(int(size) for size in value.type.shape if size != BATCH)
        count = f.multiply(batch, known) if value.type.has_batch else known
        with f.loop(0, count, carried=[unfit]) as sample:
            number = f.convert("sext", f.load(item, f.element(base, item, sample.index)), INDEX)
            beyond = f.compare("uge", number, f.index(classes))
            sample.results = [f.binary("add", sample.values[0], f.convert("zext", beyond, INDEX))]
        unfit = sample.results[0]
    return unfit
