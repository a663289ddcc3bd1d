"""What this machine can do at most, in products and in memory: the measures of every kernel."""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections import Counter
from typing import Final

import numpy as np

from graphcnn_native.codegen.function import INDEX, POINTER, Function, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.kernels.bfloat16_tiles import Tiles
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, TILE
from graphcnn_native.runtime.engine import Library, compile_module
from graphcnn_native.runtime.threads import pool
from graphcnn_native.target import Target, host_target
from graphcnn_native.workspace import address

TURNS = 200_000
SUMS = 6
"""Tiles of sums that do not wait for each other."""
RUNS = 9
ROOM = 128 * 1024 * 1024
"""Bytes that no cache holds."""
LINE = 64
PARAMETERS = [(POINTER, "context"), (INDEX, "worker"), (INDEX, "item")]

AGAIN = 10
"""At how many calls it is measured again: other programs may have had the processors at one time."""

_MEASURING: Final = threading.Lock()
_asked: Final[Counter[tuple[int, str]]] = Counter()
_best: Final[dict[tuple[int, str], float]] = {}


def measured_peak(threads: int, item: str = "float") -> float:
    """Return FLOP/s of nothing but independent multiply-adds on so many threads: the best that was ever seen.

    item: "float", "double", or "bfloat16", of which tiles are multiplied. It is measured at the first call
    and at every tenth from then on, so that it is before and after what is compared with it; that takes some
    tens of milliseconds.
    """
    return _best_of(threads, item)


def measured_bandwidth(threads: int) -> float:
    """Return the bytes/s that so many threads load and store, half each, where no cache holds them.

    It is measured as the peak is, and takes 128 MB for the while.
    """
    return _best_of(threads, "memory")


def _best_of(threads: int, what: str) -> float:
    key = threads, what
    with _MEASURING:  # by one thread: two would share the processors, and free each other's code
        if _asked[key] % AGAIN == 0:
            _best[key] = max(_best.get(key, 0.0), _measured(threads, what))
        _asked[key] += 1
        return _best[key]


def _measured(threads: int, what: str) -> float:
    """Return the best of a few runs, in FLOP/s or, for "memory", in bytes/s."""
    target = host_target()
    workers = pool(threads)
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    )
    parallel_for = signature(workers.parallel_for)
    if what == "memory":
        room = np.zeros(ROOM // threads * threads, np.uint8)
        size, context = room.nbytes // threads // LINE * LINE, address(room)
        work, done = _library(_streaming(target, size)).address("work"), 2 * size * threads
    elif what == "bfloat16":
        work, context = _library(_multiplying_tiles(target)).address("work"), None
        done = 2 * TURNS * SUMS * TILE * TILE * DEPTH * threads
    else:
        sums = 12 if target.registers <= 16 else 24
        work, context = _library(_multiplying(target, what, sums)).address("work"), None
        done = 2 * TURNS * sums * target.lanes(SIZES[what]) * threads
    best = 0.0
    for _ in range(RUNS):
        start = time.perf_counter()
        parallel_for(workers.address, work, context, threads, threads)
        best = max(best, done / (time.perf_counter() - start))
    return best


@functools.cache
def _library(text: str) -> Library:
    return compile_module(text, host_target())


def _streaming(target: Target, size: int) -> str:
    """Return code that adds to all of an item's share of the memory."""
    f = Function("work", PARAMETERS)
    context, _, number = f.parameters
    lanes = target.lanes(SIZES["float"])
    first = f.element(context, "i8", f.multiply(number, size))
    with f.loop(0, size // SIZES["float"], LINE // SIZES["float"]) as line:
        for offset in range(0, LINE // SIZES["float"], lanes):
            place = f.element(first, "float", line.index, offset)
            x = f.load(vector("float", lanes), place)
            f.store(f.binary("fadd", x, constant(x.type, 1.0)), place)
    return _module(target, f)


def _multiplying(target: Target, item: str, sums: int) -> str:
    f = Function("work", PARAMETERS)
    type = vector(item, target.lanes(SIZES[item]))
    start = f.convert("sitofp", f.parameters[2], item)
    factor = f.splat(start, target.lanes(SIZES[item]))
    with f.loop(0, TURNS, carried=[constant(type, 0.0)] * sums) as turn:
        turn.results = [multiply_add(f, target, factor, factor, total) for total in turn.values]
    total = turn.results[0]
    for other in turn.results[1:]:
        total = f.binary("fadd", total, other)
    register = "w" if target.triple.startswith(("aarch64", "arm64")) else "x"
    f.do(f'call void asm sideeffect "", "{register}"({total})')
    return _module(target, f)


def _multiplying_tiles(target: Target) -> str:
    f = Function("work", PARAMETERS)
    tiles = Tiles(f)
    tiles.set_up(TILE, 0)
    for tile in range(SUMS + 2):
        tiles.clear(tile)
    with f.loop(0, TURNS):
        for total in range(SUMS):
            tiles.multiply_add(total, SUMS, SUMS + 1)
    tiles.give_back()
    return _module(target, f)


def _module(target: Target, f: Function) -> str:
    f.end()
    return "\n".join([f'target triple = "{target.triple}"', *sorted(f.declarations), str(f)])
