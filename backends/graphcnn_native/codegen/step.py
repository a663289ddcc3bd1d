"""The step: goes through the stages, and through the kernels of each, on all threads.

Its code is the same for every program; what differs is a few numbers, and three tables of them: the kernels
by their turns, the stages, and the places of all kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from graphcnn.ir import BATCH
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index
from graphcnn_native.codegen.item_code import ITEM, OTHER_TICKS, TICKS
from graphcnn_native.codegen.shard_sums import add_up
from graphcnn_native.codegen.shares import Share
from graphcnn_native.codegen.step_code import ROWS, STEP
from graphcnn_native.elements import ITEMS
from graphcnn_native.kernels.writer import named
from graphcnn_native.lowering.placing import sums_room
from graphcnn_native.lowering.program import Domain, PlacedKernel, Program, aligned, partial_sum_type
from graphcnn_native.runtime.call_log import BEGAN, ENDED, HEADER
from graphcnn_native.target import Target


@dataclass(frozen=True)
class WrittenKernel:
    """What became of a placed kernel: a function, which may be that of others too, and how it is called.

    function: its name. tile: what it keeps in registers, in words. places: the numbers that it is handed.
    share: how a kernel of the whole is cut; None for one of samples. most_parts: into how many parts the work
    on the same samples may be cut.
    """

    placed: PlacedKernel
    function: str
    tile: str
    places: tuple[int, ...]
    share: Share | None
    most_parts: int = 1

    @property
    def pieces(self) -> int:
        return 1 if self.share is None else self.share.pieces


def step(target: Target) -> str:
    """Return the text of `step(context)`, which returns how many labels name no class."""
    numbers = {slot.name.lower(): int(slot) for slot in Slot}
    clock = 6 if "apple" in target.triple or "darwin" in target.triple else 1
    numbers |= {"began": BEGAN, "ended": ENDED, "header": HEADER, "clock": clock}
    code = STEP.substitute(numbers) + ITEM.substitute(numbers)
    sums = [add_up(target, item) for item in ("float", "double")]
    declarations = sorted({line for function in sums for line in function.declarations})
    ticks = TICKS if target.triple.startswith("x86_64") else OTHER_TICKS
    return "\n".join([*declarations, ROWS, code, *map(str, sums), ticks])


def tables(program: Program, kernels: Sequence[WrittenKernel]) -> str:
    """Return the text of the tables that the step goes through, and of its check of labels."""
    unfit = _unfit_labels(program)
    numbers = {
        "stage_count": program.stages,
        "divided": program.divided,
        "block_size": program.block,
        "block_bytes": program.scratch,
        "sums_bytes": program.sums,
    }
    answers = {"sums_up_products": program.sums_up_products, "flushes": _flushes(program)}
    return "\n".join(
        [
            *sorted(unfit.declarations),
            *_tables(program, kernels),
            *(f"@{name} = constant i64 {number}" for name, number in numbers.items()),
            *(f"@{name} = constant i1 {str(answer).lower()}" for name, answer in answers.items()),
            str(unfit),
        ]
    )


def _flushes(program: Program) -> bool:
    """Whether denormals count as 0: where float32 is computed with, whose training comes upon them."""
    return any(type.dtype == "float32" for _, node in program.graph.items() for type in node.types)


def _tables(program: Program, kernels: Sequence[WrittenKernel]) -> list[str]:
    functions: dict[str, int] = {}
    for kernel in kernels:
        functions.setdefault(kernel.function, len(functions))
    rows: list[str] = []
    stages: list[str] = []
    places: list[int] = []
    for number, of_stage in enumerate(program.by_stage):
        by_sample = [kernels[k.number] for k in of_stage if k.domain is Domain.SAMPLES]
        whole = [kernels[k.number] for k in of_stage if k.domain is Domain.WHOLE]
        first = program.first_turns[number]
        stages.append(
            f"%Stage {{ {_numbers(first, first + len(by_sample), first + len(of_stage))}, "
            f"{_numbers(sum(kernel.pieces for kernel in whole), any(k.most_parts > 1 for k in by_sample))} }}"
        )
        for kernel in (*by_sample, *whole):
            row = _row(program, kernel, functions[kernel.function], len(places))
            nodes = ", ".join(named(key, program.graph.node(key)) for key in kernel.placed.work)
            what = "".join(letter if letter.isprintable() else "?" for letter in nodes or "copy")
            rows.append(f"; stage {number}, kernel {kernel.placed.number}: {what}\n  {row}")
            places += kernel.places
    declared = [
        f"declare void @{name}(ptr, ptr, ptr, i64, i64, ptr, ptr, i64, i64, i64, i64)" for name in functions
    ]
    return [
        *declared,
        _table("functions", "ptr", [f"ptr @{name}" for name in functions]),
        ROWS,
        _table("kernels", "%Kernel", rows),
        _table("stages", "%Stage", stages),
        _table("places", INDEX, [_numbers(place) for place in places]),
    ]


def _row(program: Program, kernel: WrittenKernel, function: int, first_place: int) -> str:
    placed, share = kernel.placed, kernel.share or Share(0, 0, 0)
    numbers = _numbers(
        *(function, first_place, placed.number, *_to_clear(program, placed)),
        *(share.pieces, share.chunk, share.extent, share.for_every_sample, placed.unfinished is not None),
        *(kernel.most_parts, placed.strip, _left_in_loop(program, placed)),
        *_to_add_up(program, placed, share),
    )
    return f"%Kernel {{ {numbers} }}"


def _to_clear(program: Program, kernel: PlacedKernel) -> tuple[int, int]:
    """Return where in the memory of a shard a kernel's partial sums are, and how many bytes they take."""
    if not kernel.partial:
        return 0, 0
    if kernel.adds_up_samples and kernel.root is not None:
        return kernel.sums_offset, partial_sum_type(program.graph, kernel.root).bytes(1)
    return kernel.sums_offset, sum(sums_room(program.graph, kernel, key) for key in kernel.sums)


def _to_add_up(program: Program, kernel: PlacedKernel, share: Share) -> tuple[int, int, int, int, int]:
    """Return what a kernel totals: where it is in the memory of a shard; its bands, and bytes from one to the
    next; whether it is in float64; how many elements of it belong to each place that the kernel is cut at.
    """
    if kernel.totals is None:
        return 0, 0, 0, 0, 0
    key = kernel.values[0].key
    kept, bands = partial_sum_type(program.graph, key), program.kernels[kernel.totals].bands_of(key)
    elements = math.prod(int(size) for size in kept.shape) // max(1, share.extent)
    return kernel.sums_offset, bands, aligned(kept.bytes(1)), kept.dtype == "float64", elements


def _left_in_loop(program: Program, kernel: PlacedKernel) -> int:
    """Return how many kernels are left of a loop over strips, with this one; 0 of the whole."""
    if kernel.domain is Domain.WHOLE:
        return 0
    last = program.strip_loops[kernel.number][1]
    rest = program.kernels[kernel.number : last + 1]
    return sum(other.domain is Domain.SAMPLES and other.stage == kernel.stage for other in rest)


def _numbers(*numbers: int) -> str:
    return ", ".join([f"i64 {int(number)}" for number in numbers])


def _table(name: str, type: str, rows: Sequence[str]) -> str:
    lines = ",\n  ".join(rows)
    content = f"[\n  {lines}\n]" if rows else "zeroinitializer"
    return f"@{name} = constant [{len(rows)} x {type}] {content}"


def _unfit_labels(program: Program) -> Function:
    """Return a function that counts the labels that name no class: then nothing is done."""
    f = Function("unfit_labels", [(POINTER, "context")], result=INDEX, attributes="nounwind")
    (context,) = f.parameters
    batch, unfit = f.load(INDEX, f.element(context, INDEX, Slot.BATCH)), f.index(0)
    for label, classes in program.labels.items():
        value = program.graph.inputs[label]
        item, slot = ITEMS[value.type.dtype], program.buffers[value].slot
        labels = f.load(POINTER, f.element(context, INDEX, Slot.ARRAYS + slot))
        known = math.prod(int(size) for size in value.type.shape if size != BATCH)
        count: Index = f.multiply(batch, known) if value.type.has_batch else known
        with f.loop(0, count, carried=[unfit], name="sample") as sample:
            number = f.convert("sext", f.load(item, f.element(labels, item, sample.index)), INDEX)
            beyond = f.compare("uge", number, f.index(classes))
            sample.results = [f.binary("add", sample.values[0], f.convert("zext", beyond, INDEX))]
        unfit = sample.results[0]
    f.end(unfit)
    return f
