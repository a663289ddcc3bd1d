"""Gathering the rows of a batch in machine code, on all threads: pixels become numbers as they are copied."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.batches import WHITE, Begin, End, at_the_end
from graphcnn.data.batches import gather as gathered_by_numpy
from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index, Ssa, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.runtime.spare import Work
from graphcnn_native.target import Target, host_target
from graphcnn_native.workspace import plain_address

LINE: Final = 64
WORTH_SHARING: Final = 1 << 14
"""Pixels that are worth more threads than the caller's: some microseconds."""
ITEM: Final = 1 << 12
"""Pixels that a thread gathers ahead at a time, in less than a microsecond, since others may wait for it."""
PIXELS, NUMBERS, ROWS = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.int64)
Context: Final = ctypes.c_int64 * 6
"""What the machine code is told: the addresses of array, rows and out, the number of rows, the size of each,
and how many are an item."""


@dataclass(frozen=True)
class Gathering:
    """Writes rows of an array into another, as `graphcnn.data.batches.gather` does, and with its bits.

    threads: that share the work. Rows of a training set are all over memory: to wait for them is most of it.
    """

    threads: int

    def __call__(self, array: Array, rows: Array | None, out: Array) -> None:
        chosen = _chosen(array, rows, out.dtype, len(out))
        share = -(-len(out) // (2 * self.threads))
        work = None if chosen is None else chosen.work(0, out, self.threads, share)
        if work is None:
            gathered_by_numpy(array, rows, out)
        else:
            work.do()

    def ahead(self, array: Array, rows: Array | None, dtype: np.dtype[Any]) -> Begin:
        """Return what lets threads gather that wait for other work."""
        chosen = _chosen(array, rows, dtype, len(array)) if self.threads > 1 else None
        otherwise = at_the_end(self, array, rows)
        if chosen is None:
            return otherwise

        def begin(first: int, out: Array) -> End:
            work = chosen.work(first, out, self.threads, max(1, ITEM // chosen.size))
            if work is None or work.threads == 1:
                return otherwise(first, out)
            work.begin()
            return work.end

        return begin


@dataclass(frozen=True, slots=True)
class _Chosen:
    """Rows of an array that machine code can gather.

    code: the address of the function. size: what it counts as a row's, pixels or bytes. source, places: the
    addresses of the array and of the numbers of its rows.
    """

    code: int
    size: int
    array: Array
    rows: Array
    source: int
    places: int

    def work(self, first: int, out: Array, threads: int, share: int) -> Work | None:
        """Return the work to write them into an array, from one on; None where the code cannot write.

        share: how many rows are an item.
        """
        count, target = len(out), plain_address(out)
        if not target:
            return None
        places = self.places + first * ROWS.itemsize
        context = Context(self.source, places, target, count, self.size, share)
        threads = threads if count * self.size >= WORTH_SHARING else 1
        return Work(self.code, context, -(-count // share), threads, (self.array, self.rows, out))


def _chosen(array: Array, rows: Array | None, dtype: np.dtype[Any], count: int) -> _Chosen | None:
    """Return rows of an array, so many if all are, that become another element type; None for the rest."""
    if not array.size or not count:
        return None
    size = array.size // len(array)
    if array.dtype == PIXELS and dtype == NUMBERS:
        name = "divide"
    elif array.dtype == dtype and not dtype.hasobject and rows is not None:
        name, size = "copy", size * dtype.itemsize
    else:
        return None
    rows = np.arange(count) if rows is None else rows
    source, places = plain_address(array), plain_address(rows)
    if not source or not places or rows.dtype != ROWS:
        return None
    return _Chosen(_code()[name], size, array, rows, source, places)


@functools.cache
def _code() -> dict[str, int]:
    """Return the addresses of the functions."""
    target = host_target()
    library = compile_module(written(target), target)
    addresses = {name: library.address(name) for name in ("divide", "copy")}
    library.keep_forever()  # threads of the pool may be at it when the interpreter exits
    return addresses


def written(target: Target) -> str:
    """Return the module as LLVM IR, for any target."""
    lanes = target.lanes(SIZES["float"])

    def divide(f: Function, out: Ssa, pixels: Ssa, column: Index, width: int) -> None:
        for offset in range(0, width, min(width, lanes)):
            x = f.load(vector("i8", min(width, lanes)), f.element(pixels, "i8", column, offset))
            f.store(_divided(f, target, x), f.element(out, "float", column, offset))

    def copy(f: Function, out: Ssa, row: Ssa, column: Index, width: int) -> None:
        f.store(f.load(vector("i8", width), f.element(row, "i8", column)), f.element(out, "i8", column))

    functions = [
        _function("divide", "float", (LINE, lanes, 1), divide),
        _function("copy", "i8", (LINE, 1), copy),
    ]
    declarations = sorted(set().union(*(f.declarations for f in functions)))
    return "\n".join([f'target triple = "{target.triple}"', *declarations, *map(str, functions)])


def _function(
    name: str, element: str, widths: tuple[int, ...], move: Callable[[Function, Ssa, Ssa, Index, int], None]
) -> Function:
    """Return the function that gathers the rows of an item.

    element: of `out`. move: writes the code for so many elements of a row, from a column on.
    """
    f = Function(name, [(POINTER, "context"), (INDEX, "worker"), (INDEX, "item")])
    context, _, item = f.parameters
    array, rows, out, count, size, share = (
        f.load(POINTER if place < 3 else INDEX, f.element(context, INDEX, place)) for place in range(6)
    )
    first = f.multiply(item, share)
    end = f.least(f.add(first, share), count)
    last = f.subtract(count, 1)
    with f.loop(first, end, name="row") as row:
        given = _row(f, array, rows, row.index, size)
        following = _row(f, array, rows, f.least(f.add(row.index, 1), last), size)
        written = f.element(out, element, f.multiply(row.index, size))
        begin: Index = 0
        for width in widths:
            with f.loop(begin, f.subtract(size, width - 1), width, name="column") as column:
                if width == LINE:
                    f.prefetch(f.element(following, "i8", column.index))
                move(f, written, given, column.index, width)
            begin = f.multiply(f.quotient(size, width), width)
    f.end()
    return f


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
