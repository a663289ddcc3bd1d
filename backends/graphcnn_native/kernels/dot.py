"""Matrix products whose right factor is stored transposed: [A, K] x [B, K]ᵀ, as an error takes back through
a dense layer.

Both factors run along the depth, so vectors do too: every sum is a vector whose lanes are added up at the
end. That costs a few shuffles a sum, and saves a transposed copy of the weights in every step.
"""

from __future__ import annotations

from graphcnn.ir import Value
from graphcnn_native.codegen.function import Index, Ssa, constant, lanes_of, vector
from graphcnn_native.codegen.lanes import load_filled
from graphcnn_native.elements import ITEMS, SIZES, SQUARE
from graphcnn_native.kernels.tile import multiply_add
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.program import Place


class DotProduct:
    """A tile holds sums for a few rows of the left factor, and for `across` rows of the right one."""

    def __init__(self, w: Writer, left: Value, right: Value, result: Value) -> None:
        self.w, self.f = w, w.f
        self.left, self.right, self.result = left, right, result
        self.item = ITEMS[result.type.dtype]
        self.depth, self.width = right.type.static(1), right.type.static(0)
        self.lanes = w.target.lanes(SIZES[self.item])
        self.across = max(SQUARE, self.lanes // 2)
        self.rows = max(1, (w.target.registers - 2) // (self.across + 1))
        w.tile = f"{self.rows} rows x {self.across} sums of {self.lanes} lanes"

    def write(self) -> None:
        f, w = self.f, self.w
        whole = f.add(w.begin, f.multiply(f.divide(f.subtract(w.end, w.begin), self.rows), self.rows))
        rest = self.width % self.across
        for start, count, used in (
            (0, self.width // self.across, self.across),
            (self.width - rest, int(rest > 0), rest),
        ):
            if count:
                with f.each(start, count, self.across, name="column") as column:
                    with f.loop(w.begin, whole, self.rows, name="row") as row:
                        self._tile(row.index, self.rows, column, used)
                    with f.loop(whole, w.end, name="row") as row:
                        self._tile(row.index, 1, column, used)

    def _tile(self, row: Index, rows: int, column: Index, used: int) -> None:
        f, lanes = self.f, self.lanes
        lefts = [self._address(self.left, f.add(row, n)) for n in range(rows)]
        rights = [self._address(self.right, f.add(column, min(n, used - 1))) for n in range(self.across)]
        sums = [constant(vector(self.item, lanes), 0.0)] * (rows * self.across)
        with f.loop(0, self.depth // lanes * lanes, lanes, carried=sums, name="step") as step:
            step.results = self._add(lefts, rights, step.index, lanes, lanes, step.values)
        sums = step.results
        if rest := self.depth % lanes:
            sums = self._add(lefts, rights, self.depth - rest, lanes, rest, sums)
        for n in range(rows):
            total = self._across_lanes(sums[n * self.across : (n + 1) * self.across])
            self.w.store(Position((f.add(row, n), column), self.across, used), {self.result: total})

    def _address(self, value: Value, row: Index) -> Ssa:
        base = self.w.address(self.w.buffer(value))
        return self.f.element(base, self.item, self.f.multiply(row, self.depth))

    def _add(
        self, lefts: list[Ssa], rights: list[Ssa], offset: Index, lanes: int, used: int, sums: list[Ssa]
    ) -> list[Ssa]:
        """Add the products of a vector's depth to every sum of the tile."""
        f = self.f
        x = [self._load(self.left, left, offset, lanes, used) for left in lefts]
        found = list(sums)
        for number, right in enumerate(rights):
            y = self._load(self.right, right, offset, lanes, used)
            for row in range(len(lefts)):
                place = row * self.across + number
                found[place] = multiply_add(f, self.w.target, x[row], y, found[place])
        return found

    def _load(self, value: Value, row: Ssa, offset: Index, lanes: int, used: int) -> Ssa:
        """Load lanes along the depth; what lies beyond it counts as zero on both sides."""
        f, exact = self.f, self.w.buffer(value).place is Place.CALLER
        return load_filled(f, self.item, f.element(row, self.item, offset), lanes, used, 0.0, exact=exact)

    def _across_lanes(self, sums: list[Ssa]) -> Ssa:
        """Add up the lanes of each sum, and return the totals side by side."""
        f, side = self.f, min(SQUARE, self.lanes)
        parts = []
        for first in range(0, len(sums), side):
            totals = f.transposed(sums[first : first + side])
            while len(totals) > 1:
                totals = [f.binary("fadd", x, y) for x, y in zip(totals[::2], totals[1::2], strict=True)]
            (total,) = totals
            while (lanes := lanes_of(total.type)) > side:
                total = f.binary("fadd", f.part(total, 0, lanes // 2), f.part(total, lanes // 2, lanes // 2))
            parts.append(total)
        return f.joined(parts)
