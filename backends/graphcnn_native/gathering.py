"""Gathering the rows of a batch in machine code, on all threads: pixels become numbers as they are copied."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.batches import WHITE
from graphcnn.data.batches import gather as gathered_by_numpy
from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index, Ssa, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.runtime.engine import Library, compile_module
from graphcnn_native.runtime.threads import pool
from graphcnn_native.target import Target, host_target
from graphcnn_native.workspace import plain_address

LINE: Final = 64
WORTH_SHARING: Final = 1 << 14
"""Pixels that are worth more threads than the caller's: some microseconds."""
PIXELS, NUMBERS, ROWS = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.int64)
CONTEXT: Final = ("array", "rows", "out", "count", "size", "share")
"""What the machine code is told: addresses, the number of rows, the pixels of each, and an item's rows."""


@dataclass(frozen=True)
class Gathering:
    """Writes rows of an array into another, as `graphcnn.data.batches.gather` does, and with its bits.

    threads: that share the work. Rows of a training set are all over memory: to wait for them is most of it.
    """

    threads: int

    def __call__(self, array: Array, rows: Array | None, out: Array) -> None:
        begin = source = chosen = 0
        if array.dtype == PIXELS and out.dtype == NUMBERS and out.size:
            rows = np.arange(len(out)) if rows is None else rows
            source, begin = plain_address(array), plain_address(out)
            chosen = plain_address(rows) if rows.dtype == ROWS else 0
        if not (begin and source and chosen) or rows is None:
            gathered_by_numpy(array, rows, out)
            return
        count, size = len(out), out.size
        threads = self.threads if size >= WORTH_SHARING else 1
        items = min(2 * threads, count) if threads > 1 else 1
        share = -(-count // items)
        context = (ctypes.c_int64 * len(CONTEXT))(source, chosen, begin, count, size // count, share)
        _shared(threads)(context, items, threads)


@functools.cache
def _shared(threads: int) -> Callable[..., None]:
    """Return the call that lets so many threads gather."""
    workers = pool(threads)
    pointers = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
    call = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_int64, ctypes.c_int64)(workers.parallel_for)
    return functools.partial(call, workers.address, _code().address("gather"))


@functools.cache
def _code() -> Library:
    target = host_target()
    return compile_module(written(target), target)


def written(target: Target) -> str:
    """Return the module as LLVM IR, for any target."""
    f = Function("gather", [(POINTER, "context"), (INDEX, "worker"), (INDEX, "item")])
    context, _, item = f.parameters
    array, rows, out, count, size, share = (
        f.load(POINTER if place < 3 else INDEX, f.element(context, INDEX, place)) for place in range(6)
    )
    lanes = target.lanes(SIZES["float"])
    first = f.multiply(item, share)
    end = f.least(f.add(first, share), count)
    last = f.subtract(count, 1)
    with f.loop(first, end, name="row") as row:
        pixels = _row(f, array, rows, row.index, size)
        following = _row(f, array, rows, f.least(f.add(row.index, 1), last), size)
        numbers = f.element(out, "float", f.multiply(row.index, size))
        begin: Index = 0
        for width in (LINE, lanes, 1):
            step = min(width, lanes)
            with f.loop(begin, f.subtract(size, width - 1), width, name="column") as column:
                if width == LINE:
                    f.prefetch(f.element(following, "i8", column.index))
                for offset in range(0, width, step):
                    x = f.load(vector("i8", step), f.element(pixels, "i8", column.index, offset))
                    f.store(_divided(f, target, x), f.element(numbers, "float", column.index, offset))
            begin = f.multiply(f.quotient(size, width), width)
    f.end()
    return "\n".join([f'target triple = "{target.triple}"', *sorted(f.declarations), str(f)])


def _row(f: Function, array: Ssa, rows: Ssa, number: Index, size: Ssa) -> Ssa:
    """Return the address of the row whose number stands at a place of `rows`."""
    row = f.load(INDEX, f.element(rows, INDEX, number))
    return f.element(array, "i8", f.multiply(row, size))


def _divided(f: Function, target: Target, pixels: Ssa) -> Ssa:
    """Return bytes divided by 255 as float32.

    Where a product is added with one rounding, x/255 is x·h + x·l, h + l being 1/255 in two numbers. For all
    bytes it has the bits of the division, which takes several times as long.
    """
    x = f.convert("sitofp", f.convert("zext", pixels, "i32"), "float")
    if not target.fused:
        return f.binary("fdiv", x, constant(x.type, WHITE))
    high = np.float32(1 / WHITE)
    low = np.float32(1 / WHITE - float(high))
    rest = f.binary("fmul", x, constant(x.type, float(low)))
    return f.intrinsic("fma", x, constant(x.type, float(high)), rest)
