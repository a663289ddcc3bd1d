"""How many floating-point operations a second this machine can do at most: the measure of every kernel."""

from __future__ import annotations

import ctypes
import functools
import time
from collections import Counter
from typing import Final

from graphcnn_native.codegen.function import INDEX, POINTER, Function, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.runtime.engine import Library, compile_module
from graphcnn_native.runtime.threads import pool
from graphcnn_native.target import Target, host_target

TURNS = 200_000
RUNS = 9


AGAIN = 10
"""At how many calls it is measured again: other programs may have had the processors at one time."""

_asked: Final[Counter[tuple[int, str]]] = Counter()
_best: Final[dict[tuple[int, str], float]] = {}


def measured_peak(threads: int, item: str = "float") -> float:
    """Return FLOP/s of nothing but independent multiply-adds on so many threads: the best that was ever seen.

    item: "float" or "double". It is measured at the first call and at every tenth from then on, so that it is
    before and after what is compared with it; that takes some tens of milliseconds.
    """
    key = threads, item
    if _asked[key] % AGAIN == 0:
        _best[key] = max(_best.get(key, 0.0), _measured(threads, item))
    _asked[key] += 1
    return _best[key]


def _measured(threads: int, item: str) -> float:
    """Return the best FLOP/s of a few runs."""
    target = host_target()
    sums = 12 if target.registers <= 16 else 24
    workers, library = pool(threads), _library(target, item, sums)
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    )
    parallel_for = signature(workers.parallel_for)
    work = library.address("multiply_add")
    flops = 2 * TURNS * sums * target.lanes(SIZES[item]) * threads
    best = 0.0
    for _ in range(RUNS):
        start = time.perf_counter()
        parallel_for(workers.address, work, None, threads, threads)
        best = max(best, flops / (time.perf_counter() - start))
    return best


@functools.cache
def _library(target: Target, item: str, sums: int) -> Library:
    return compile_module(_module(target, item, sums), target)


def _module(target: Target, item: str, sums: int) -> str:
    f = Function("multiply_add", [(POINTER, "context"), (INDEX, "worker"), (INDEX, "item")])
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
    f.end()
    return "\n".join([f'target triple = "{target.triple}"', *sorted(f.declarations), str(f)])
