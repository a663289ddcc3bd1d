"""The total of what shards have summed: by a balanced tree over them (`graphcnn/distributed/tree.py`).

Shards 0 and 1 are added, 2 and 3, and so on; then these sums, neighbours with neighbours. So ranks that have
the shards below one node of the tree can each add up their own, and the total has the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from graphcnn_native.codegen.function import INDEX, POINTER, Function, Index, Ssa, constant, vector
from graphcnn_native.elements import SIZES
from graphcnn_native.lowering.program import MOST_SHARDS
from graphcnn_native.target import Target

NOTHING: Final = -0.0
"""What changes no number that it is added to, 0.0 and -0.0 included."""
UNROLLED: Final = 4


def add_up(target: Target, item: str) -> Function:
    """Return a function that adds up rows of memory.

    Its arguments: the addresses of the total, which may be one of the rows, and of the first row, the
    elements of each, how many rows there are, at least 1 and at most MOST_SHARDS, and how many bytes they are
    apart.
    """
    parameters = [(POINTER, "total"), (POINTER, "first"), (INDEX, "size"), (INDEX, "rows"), (INDEX, "apart")]
    f = Function(f"add_up_{item}", parameters, attributes="nounwind")
    result, first, size, rows, apart = f.parameters
    last = f.subtract(rows, 1)
    certain = [0, *_doubled()]  # of those that are looked at
    offsets = [f.multiply(n if n in certain else f.least(last, n), apart) for n in range(MOST_SHARDS)]
    is_there = {n: f.compare("sgt", rows, f.index(n)) for n in range(1, MOST_SHARDS)}

    def tree(begin: int, count: int, load: Callable[[int], Ssa]) -> Ssa:
        if count == 1:
            x = load(begin)
            return x if begin in certain else f.select(is_there[begin], x, constant(x.type, NOTHING))
        half = count // 2
        return f.binary("fadd", tree(begin, half, load), tree(begin + half, half, load))

    def total(element: Index, lanes: int, vectors: int) -> None:
        """Add up some vectors, side by side."""

        def of(number: int) -> Callable[[int], Ssa]:
            def load(row: int) -> Ssa:
                there = f.element(f.element(first, "i8", offsets[row]), item, element, number * lanes)
                return f.load(vector(item, lanes), there)

            return load

        totals = [of(number)(0) for number in range(vectors)]
        for width in _doubled():
            with f.when(is_there[width]) as more:
                upper = [tree(width, width, of(number)) for number in range(vectors)]
                more.results = [f.binary("fadd", x, y) for x, y in zip(totals, upper, strict=True)]
                more.otherwise = totals
            totals = more.results
        for number, x in enumerate(totals):
            f.store(x, f.element(result, item, element, number * lanes))

    lanes = target.lanes(SIZES[item])
    begin: Index = 0
    for width, vectors in ((lanes, UNROLLED), (lanes, 1), (1, 1)):
        step = width * vectors
        end = f.multiply(f.divide(size, step), step)
        with f.loop(begin, end, step, name="element") as run:
            total(run.index, width, vectors)
        begin = end
    f.end()
    return f


def _doubled() -> list[int]:
    return [1 << n for n in range((MOST_SHARDS - 1).bit_length())]
