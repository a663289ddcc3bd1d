"""Gathering the rows of a batch in machine code: pixels become numbers as they are copied."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.data.batches import WHITE
from graphcnn.data.batches import gather as gathered_by_numpy
from graphcnn_native.codegen.function import INDEX, POINTER, Function, Ssa, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.runtime.engine import compile_module
from graphcnn_native.target import Target, host_target
from graphcnn_native.workspace import plain_address

LINE: Final = 64
PIXELS, NUMBERS, ROWS = np.dtype(np.uint8), np.dtype(np.float32), np.dtype(np.int64)
PARAMETERS = [(POINTER, "array"), (POINTER, "rows"), (POINTER, "out"), (INDEX, "count"), (INDEX, "size")]
FIRST: Final = np.zeros(1, np.int64)


def gather(array: Array, rows: Array | None, out: Array) -> None:
    """Write rows of an array into another, as `graphcnn.data.batches.gather` does, and with its bits."""
    begin = source = chosen = 0
    count, size = 1, out.size
    if array.dtype == PIXELS and out.dtype == NUMBERS:
        source, begin = plain_address(array), plain_address(out)
        if rows is None:
            chosen = plain_address(FIRST)
        elif rows.dtype == ROWS and rows.size:
            chosen, count = plain_address(rows), len(rows)
            size //= count
    if begin and source and chosen:
        _pixels()(source, chosen, begin, count, size)
    else:
        gathered_by_numpy(array, rows, out)


@functools.cache
def _pixels() -> Callable[..., None]:
    """Return the machine code that gathers bytes as float32."""
    target = host_target()
    library = compile_module(written(target), target)
    signature = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 2)
    function: Any = signature(library.address("gather"))
    function.library = library  # the code lives as long as what calls it
    return function  # type: ignore[no-any-return]


def written(target: Target) -> str:
    """Return the module as LLVM IR, for any target."""
    f = Function("gather", PARAMETERS)
    array, rows, out, count, size = f.parameters
    lanes = target.lanes(SIZES["float"])
    last = f.subtract(count, 1)
    with f.loop(0, count, name="row") as row:
        pixels = _row(f, array, rows, row.index, size)
        following = _row(f, array, rows, f.least(f.add(row.index, 1), last), size)
        numbers = f.element(out, "float", f.multiply(row.index, size))
        begin: Any = 0
        for width in (LINE, lanes, 1):
            step = min(width, lanes)
            end = f.subtract(size, width - 1)
            with f.loop(begin, end, width, name="column") as column:
                if width == LINE:
                    f.prefetch(f.element(following, "i8", column.index))
                for offset in range(0, width, step):
                    x = f.load(vector("i8", step), f.element(pixels, "i8", column.index, offset))
                    f.store(_divided(f, target, x), f.element(numbers, "float", column.index, offset))
            begin = f.multiply(f.quotient(size, width), width)
    f.end()
    return "\n".join([f'target triple = "{target.triple}"', *sorted(f.declarations), str(f)])


def _row(f: Function, array: Ssa, rows: Ssa, number: Any, size: Ssa) -> Ssa:
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
    return f.intrinsic(
        "fma", x, constant(x.type, float(high)), f.binary("fmul", x, constant(x.type, float(low)))
    )
