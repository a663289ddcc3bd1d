"""The table that a step is called with: numbers, addresses, and then the addresses of the caller's arrays."""

from __future__ import annotations

from enum import IntEnum


class Slot(IntEnum):
    """What stands where in the table; from ARRAYS on, the caller's arrays.

    FIRST and COUNT name the part of the batch that is worked on; the arena has room for CAPACITY samples.
    SHARDS of it are worked on here, from FIRST_SHARD on: all of them, unless ranks share them. Behind those
    of the first EXCHANGES turns of which DUE says so, EXCHANGE is called.
    STAGE is the stage that runs; the first SKIPPED ones do not, since what they prepare is there. KERNEL is
    the one that threads share, in so many PARTS, or the first of those up to UNTIL that they go through. ROWS
    of partial sums are added up, one of each shard. Where LEFT_OUT is not 0, it is where it says of each
    kernel whether others compute it. MODE is how the caller of the step treats denormals; REFERENCE is called
    for ops without code of their own.
    """

    BATCH = 0
    FIRST = 1
    COUNT = 2
    CAPACITY = 3
    SHARDS = 4
    SHARD_SIZE = 5
    ARENA = 6
    SUMS = 7
    SCRATCH = 8
    PROFILE = 9
    POOL = 10
    THREADS = 11
    PARALLEL_FOR = 12
    FLUSH = 13
    RESTORE = 14
    STAGE = 15
    MODE = 16
    REFERENCE = 17
    SKIPPED = 18
    KERNEL = 19
    PARTS = 20
    ROWS = 21
    FIRST_SHARD = 22
    EXCHANGES = 23
    DUE = 24
    EXCHANGE = 25
    LEFT_OUT = 26
    UNTIL = 27
    ARRAYS = 28
