"""Matrix products of bfloat16, by tiles: samples with weights, and samples with samples."""

from __future__ import annotations

from graphcnn.ir import Value
from graphcnn_native.call_table import Slot
from graphcnn_native.codegen.function import INDEX, Index, Ssa, vector
from graphcnn_native.codegen.lanes import load_lanes
from graphcnn_native.elements import SIZES
from graphcnn_native.kernels.bfloat16_filters import joined
from graphcnn_native.kernels.bfloat16_tiles import LINE, Tiles
from graphcnn_native.kernels.tile import ColumnGroup, column_groups, over_columns
from graphcnn_native.kernels.writer import Position, Writer
from graphcnn_native.lowering.bfloat16 import Bfloat16Matmul, Bfloat16ProductOverSamples
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, FILTERS, SAMPLES, TILE, over_samples, steps_of

STEPS_AT_ONCE = 8
"""Steps of a sum that are written out."""
LEFT, RIGHTS = 4, (5, 6, 7, 5)


class _Product:
    """Samples [N, C] with weights [C, D]: 16 samples and 64 columns at a time."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, Bfloat16Matmul)
        self.w, self.f, self.tiles = w, w.f, Tiles(w.f)
        samples, panels = node.operands
        self.samples, self.panels = w.buffer(samples), w.address(w.buffer(panels))
        (self.result,) = w.graph.results(w.kernel.root)
        self.columns = node.op.columns
        self.steps = steps_of((1, 1), samples.type.static(1)).count

    def write(self) -> None:
        f, w = self.f, self.w
        w.tile = f"{TILE} rows x {FILTERS} columns"
        groups = column_groups(self.columns, FILTERS // TILE, w.target, "float")
        count, is_cut = sum(group.count for group in groups), self.columns % TILE == 0
        units = w.cut(0, count, 1 if is_cut else count)
        with f.loop(w.begin, w.end, TILE, name="sample") as n:
            rows, before = f.index(f.least(TILE, f.subtract(w.end, n.index))), 0
            self.tiles.set_up(rows, LEFT + 1)
            for group in groups:
                with over_columns(f, group, before, units if is_cut else None) as column:
                    self._sum(n.index, group, column)
                    self._finish(n.index, rows, group, column)
                before += group.count
        self.tiles.give_back()

    def _sum(self, first: Index, group: ColumnGroup, column: Index) -> None:
        f, tiles, panel = self.f, self.tiles, self.steps * TILE * LINE
        samples = f.element(self.w.address(self.samples), "i8", f.multiply(first, self.samples.bytes))
        weights = f.element(self.panels, "i8", f.multiply(f.divide(column, TILE), panel))

        def step(number: Index) -> None:
            tiles.load(LEFT, f.element(samples, "i8", f.multiply(number, LINE)), self.samples.bytes)
            for along in range(len(group.columns)):
                there = f.element(weights, "i8", f.multiply(number, TILE * LINE), along * panel)
                tiles.load(RIGHTS[along], there, LINE)
                tiles.multiply_add(along, LEFT, RIGHTS[along])

        for along in range(len(group.columns)):
            tiles.clear(along)
        whole = self.steps // STEPS_AT_ONCE * STEPS_AT_ONCE
        with f.loop(0, whole, STEPS_AT_ONCE, name="steps") as steps:
            for number in range(STEPS_AT_ONCE):
                step(f.add(steps.index, number))
        for number in range(whole, self.steps):
            step(number)
        for along in range(len(group.columns)):
            sums = f.element(self.w.workspace, "float", along * TILE)
            tiles.store(along, sums, FILTERS * SIZES["float"])

    def _finish(self, first: Index, rows: Index, group: ColumnGroup, column: Index) -> None:
        f = self.f
        with f.loop(0, rows, name="row") as row:
            sums = f.element(self.w.workspace, "float", f.multiply(row.index, FILTERS))
            for c in group.columns:
                place = f.add(first, row.index), f.add(column, c.offset)
                total = f.load(vector("float", c.lanes), f.element(sums, "float", c.offset))
                self.w.store(Position(place, c.lanes, c.used), {self.result: total})


class _OverSamples:
    """The transpose of [N, C] with [N, D]: 32 rows and 32 columns at a time, and some samples."""

    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, Bfloat16ProductOverSamples)
        self.w, self.f, self.tiles = w, w.f, Tiles(w.f)
        self.left, self.right = node.operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.columns = self.result.type.static(1)
        place = over_samples(self.right.type)
        self.turned, self.pairs, self.sums = (
            self.f.element(w.workspace, "i8", offset) for offset in (place.turned, place.pairs, place.sums)
        )
        self.zeros = self.f.allocate("i8", LINE)
        self.f.clear(self.zeros, LINE)
        assert w.kernel.unfinished is not None
        self.unfinished = w.kernel.unfinished

    def write(self) -> None:
        """Sum up over the batch and finish; between parts of it, sums are put back."""
        f, w = self.f, self.w
        self.tiles.set_up(TILE, 6)
        w.tile = f"{DEPTH} rows x {DEPTH} columns"
        first, count = (w.slot(slot, INDEX) for slot in (Slot.FIRST, Slot.COUNT))
        with f.loop(0, count, SAMPLES, name="samples") as start:
            self.first, self.count = (
                f.add(first, start.index),
                f.least(SAMPLES, f.subtract(count, start.index)),
            )
            self.steps = f.divide(f.add(self.count, DEPTH - 1), DEPTH)
            end = f.index(f.add(self.first, self.count))
            self.is_later = f.compare("ne", f.index(self.first), f.index(0))
            self.is_last = f.compare("sge", end, w.batch)
            self.is_early = f.compare("slt", end, w.batch)
            self._pair()
            with f.loop(w.begin, w.end, DEPTH, name="row") as row:
                self._turn(row.index)
                for group in column_groups(self.columns, 2, w.target, "float"):
                    with f.each(group.offset, group.count, group.width, name="column") as column:
                        self._sum(group, column)
                        self._finish(row.index, group, column)
        self.tiles.give_back()

    def _numbers(self, value: Value, sample: Index, first: Index) -> Ssa:
        """Load 16 numbers of a sample, or zeros behind the last, each in the lower half of 32 bits."""
        f, w, buffer = self.f, self.w, self.w.buffer(value)
        before = f.multiply(f.add(self.first, sample), buffer.bytes)
        there = f.element(f.element(w.address(buffer), "i8", before), "i16", first)
        is_there = f.compare("slt", f.index(sample), f.index(self.count))
        x = f.load(vector("i16", TILE), f.select(is_there, there, self.zeros))
        return f.convert("zext", x, "i32")

    def _pair(self) -> None:
        """Put the samples on the right into pairs, columns beside each other."""
        f = self.f
        with (
            f.loop(0, f.multiply(self.steps, TILE), name="pair") as pair,
            f.each(0, -(-self.columns // TILE), 1, name="panel") as panel,
        ):
            samples = (f.add(f.multiply(pair.index, 2), n) for n in (0, 1))
            numbers = [self._numbers(self.right, n, f.multiply(panel, TILE)) for n in samples]
            place = f.add(f.multiply(panel, SAMPLES // 2), pair.index)
            f.store(joined(f, *numbers), f.element(self.pairs, "i8", f.multiply(place, LINE)))

    def _turn(self, row: Index) -> None:
        """Put 32 rows of the result into two tiles a step: of 16 rows by 32 samples."""
        f = self.f
        with f.loop(0, self.steps, name="step") as step, f.loop(0, 2, name="tile") as tile:
            first, rows = f.multiply(step.index, DEPTH), f.add(row, f.multiply(tile.index, TILE))
            pairs = []
            for pair in range(TILE):
                numbers = [self._numbers(self.left, f.add(first, 2 * pair + n), rows) for n in (0, 1)]
                pairs.append(
                    f.emit(f"<{TILE} x float>", f"bitcast {joined(f, *numbers)} to <{TILE} x float>")
                )
            place = f.multiply(f.add(f.multiply(step.index, 2), tile.index), TILE * LINE)
            for number, x in enumerate(f.turned(pairs)):
                f.store(x, f.element(self.turned, "i8", place, number * LINE))

    def _sum(self, group: ColumnGroup, column: Index) -> None:
        f, tiles, wide = self.f, self.tiles, len(group.columns)
        panels = f.element(self.pairs, "i8", f.multiply(f.divide(column, TILE), SAMPLES // 2 * LINE))
        for total in range(2 * wide):
            tiles.clear(total)
        with f.loop(0, self.steps, name="step") as step:
            for row in range(2):
                here = f.multiply(step.index, 2 * TILE * LINE)
                tiles.load(4 + row, f.element(self.turned, "i8", here, row * TILE * LINE), LINE)
                for along in range(wide):
                    if row == 0:
                        there = f.multiply(step.index, TILE * LINE)
                        tiles.load(
                            6 + along, f.element(panels, "i8", there, along * SAMPLES // 2 * LINE), LINE
                        )
                    tiles.multiply_add(row * wide + along, 4 + row, 6 + along)
        for total in range(2 * wide):
            row, along = divmod(total, wide)
            tiles.store(total, f.element(self.sums, "float", (row * DEPTH + along) * TILE), 2 * LINE)

    def _finish(self, first: Index, group: ColumnGroup, column: Index) -> None:
        """Add what was summed up before, and finish the sums or put them back."""
        f, w = self.f, self.w
        rows = f.least(DEPTH, f.subtract(w.end, first))
        for condition, part in (
            (self.is_later, self._add_unfinished),
            (self.is_last, self._store),
            (self.is_early, self._put_back),
        ):
            with f.when(condition), f.loop(0, rows, name="row") as row:
                sums = f.element(self.sums, "float", f.multiply(row.index, DEPTH))
                for c in group.columns:
                    position = Position((f.add(first, row.index), f.add(column, c.offset)), c.lanes, c.used)
                    part(position, f.element(sums, "float", c.offset))

    def _add_unfinished(self, position: Position, sums: Ssa) -> None:
        f, w = self.f, self.w
        place = w.offset(self.result.type, position.indices)
        address = f.element(w.address(self.unfinished), "float", place)
        before = load_lanes(f, "float", address, position.lanes, position.used, exact=False)
        f.store(f.binary("fadd", before, f.load(vector("float", position.lanes), sums)), sums)

    def _store(self, position: Position, sums: Ssa) -> None:
        self.w.store(position, {self.result: self.f.load(vector("float", position.lanes), sums)})

    def _put_back(self, position: Position, sums: Ssa) -> None:
        self.w.put(self.unfinished, position, self.f.load(vector("float", position.lanes), sums))


def bfloat16_matmul(w: Writer) -> None:
    _Product(w).write()


def bfloat16_product_over_samples(w: Writer) -> None:
    _OverSamples(w).write()
