"""What ranks that share the samples of a batch tell one another, and when.

Every rank runs the same program, kernels of samples on its own ones alone. Where a kernel of the whole totals
partial sums, it needs those of all ranks; where it reads samples, it needs all of them; and so does a caller.
Kernels of the whole that work for nothing but updates can be left to one rank, which gives the others what it
has computed.
"""

from __future__ import annotations

from bisect import bisect_left

from graphcnn_native.interface import ARENA, Exchanges, Rows, Sums, Updating
from graphcnn_native.lowering.placing import sums_room, telling_turns
from graphcnn_native.lowering.program import (
    Buffer,
    Domain,
    Place,
    PlacedKernel,
    Program,
    partial_sum_type,
)


def exchanges(program: Program) -> Exchanges:
    """Return what ranks exchange in a call of a program."""
    updated = {
        program.slots[buffer.slot][1]: program.turns[kernel.number]
        for kernel in program.kernels
        for _, buffer in kernel.stores
        if buffer.place is Place.CALLER and program.slots[buffer.slot][0] == "update"
    }
    return Exchanges(
        _sums(program),
        _rows(program),
        _whole_inputs(program),
        updated,
        len(program.kernels),
        _updating(program),
    )


def _updating(program: Program) -> tuple[Updating, ...]:
    """Return the kernels that work for updates, the last ones first: these read what the others store."""
    found: dict[int, Updating] = {}
    for kernel in sorted(program.kernels, key=lambda kernel: kernel.stage, reverse=True):
        if kernel.domain is Domain.SAMPLES:
            continue
        serves, is_alone = set[str](), True
        for buffer in kernel.kept:
            kind, label = _slot(program, buffer)
            serves |= {label} if kind == "update" else set()
            is_alone &= kind != "output"
            for reader in program.readers.get(buffer, ()):
                of_reader = found.get(reader.number)
                serves |= set() if of_reader is None else {*of_reader.serves}
                is_alone &= reader is kernel or (of_reader is not None and of_reader.serves_these_alone)
        touches = _touched(program, kernel)
        if serves or touches:
            found[kernel.number] = Updating(
                kernel.number, tuple(sorted(serves)), is_alone, tuple(sorted(touches))
            )
    return tuple(found.values())


def _touched(program: Program, kernel: PlacedKernel) -> set[str]:
    """Return the parameters and states that a kernel reads or writes, of those that have updates."""
    slots = [_slot(program, buffer) for buffer in (*program.read_by(kernel), *kernel.kept)]
    labels = {label for kind, label in slots if kind in ("input", "update")}
    return labels & program.graph.updates.keys()


def _slot(program: Program, buffer: Buffer) -> tuple[str, str]:
    """Return which of the caller's arrays a buffer is, if it is one."""
    return program.slots[buffer.slot] if buffer.place is Place.CALLER else ("", "")


def _sums(program: Program) -> tuple[Sums, ...]:
    """Return the partial sums; those that lie side by side are one, if all else about them is the same."""
    awaited = {kernel.values[0].key: kernel.stage for kernel in program.kernels if kernel.totals is not None}
    turns = telling_turns(program)
    found: list[Sums] = []
    for kernel in sorted(program.kernels, key=lambda kernel: kernel.sums_offset):
        end = kernel.sums_offset
        for key in kernel.partial:
            begin, end = end, end + sums_room(program.graph, kernel, key)
            is_double = partial_sum_type(program.graph, key).dtype == "float64"
            first = program.first_turns[awaited[key]]
            sums = Sums(turns[kernel.number], first, begin, end, is_double)
            if found and found[-1]._replace(begin=begin, end=end) == sums and found[-1].end == begin:
                found[-1] = found[-1]._replace(end=end)
            else:
                found.append(sums)
    return tuple(found)


def _rows(program: Program) -> tuple[Rows, ...]:
    """Return the arrays of samples that kernels of the whole or callers read. They go when sums do."""
    telling = sorted(set(telling_turns(program).values()))
    found: list[Rows] = []
    for kernel in program.kernels:
        for _, buffer in kernel.stores if kernel.domain is Domain.SAMPLES else ():
            readers = [k.stage for k in program.readers.get(buffer, ()) if k.domain is Domain.WHOLE]
            following = program.first_turns[kernel.stage + 1]
            later = telling[bisect_left(telling, program.turns[kernel.number]) :]
            turn = min([following - 1, *later])
            if buffer.place is Place.CALLER:
                found.append(Rows(turn, following, buffer.slot, 0, buffer.bytes))
            elif readers:
                place, first = program.offsets[buffer], program.first_turns[min(readers)]
                found.append(Rows(turn, first, ARENA, place, buffer.bytes))
    return tuple(found)


def _whole_inputs(program: Program) -> tuple[str, ...]:
    """Return the inputs that a rank needs whole: kernels of the whole read them, or they are labels."""

    def is_whole(label: str, buffer: Buffer) -> bool:
        read = any(kernel.domain is Domain.WHOLE for kernel in program.readers.get(buffer, ()))
        return buffer.per_sample and (read or label in program.labels)

    inputs = program.graph.inputs.items()
    return tuple(label for label, value in inputs if is_whole(label, program.buffers[value]))
