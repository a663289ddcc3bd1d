"""Filter gradients of bfloat16: products of images, channels down and places across, with deltas.

Images and deltas of some samples are put in order first: each place behind the other, with zeros in between,
so that a tap is a distance between the places of images and deltas. It is the deltas that are moved by it,
since pairs of places of theirs can begin anywhere, in one of two copies.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from graphcnn.ir import Value
from graphcnn_native.codegen.function import Index, Ssa, vector
from graphcnn_native.kernels.bfloat16_filters import joined
from graphcnn_native.kernels.bfloat16_tiles import LINE, Tiles
from graphcnn_native.kernels.correlation_writer import add_to
from graphcnn_native.kernels.tile import ColumnGroup, column_groups
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.bfloat16 import Bfloat16FilterGradient
from graphcnn_native.lowering.bfloat16_tiling import DEPTH, TILE, AlongAxis, packing

NEAR_STEPS = 8
"""Steps whose factors the first cache holds, for 32 channels and 32 filters."""
LEFT, RIGHT = (4, 5), (6, 7)
BLOCK_BYTES = 4 * DEPTH * DEPTH


@dataclass(frozen=True)
class _Block:
    """Sums that are in tiles together: of so many channels from one on, and of a group of filters."""

    channel: Index
    channels: int
    column: Index
    group: ColumnGroup


class _FilterGradient:
    def __init__(self, w: Writer) -> None:
        assert w.kernel.root is not None
        node = w.graph.node(w.kernel.root)
        assert isinstance(node.op, Bfloat16FilterGradient)
        self.w, self.f, self.op, self.tiles = w, w.f, node.op, Tiles(w.f)
        self.images, self.deltas = node.operands
        (self.result,) = w.graph.results(w.kernel.root)
        self.channels, self.filters = (value.type.static(3) for value in node.operands)
        self.packed = packing(self.op, self.op.taps, self.images.type, self.deltas.type, w.plan.block)
        self.flat_images, self.flat_deltas, self.turned, self.pairs, self.sums = (
            self.f.element(w.workspace, "i8", offset)
            for offset in (
                *(self.packed.images, self.packed.deltas, self.packed.turned),
                *(self.packed.pairs, self.packed.sums),
            )
        )

    def write(self) -> None:
        f, w, packed = self.f, self.w, self.packed
        self.tiles.set_up(TILE, 6)
        self.zeros = f.allocate("i8", LINE)
        f.clear(self.zeros, LINE)
        high = min(DEPTH, TILE * -(-self.channels // TILE))
        w.tile = f"{high} channels x {2 * TILE} filters, {packed.samples} samples"
        with f.loop(w.begin, w.end, packed.samples, name="chunk") as chunk:
            self.first = chunk.index
            self.count = f.least(packed.samples, f.subtract(w.end, chunk.index))
            places = f.multiply(self.count, packed.rows * packed.pitch)
            self.steps = f.divide(f.add(places, DEPTH - 1), DEPTH)
            self._pack_deltas(places)
            for down in packed.down:
                for across in packed.across:
                    self._pack_images(down, across, places)
                    self._products(down, across)
        self.tiles.give_back()

    # In order

    def _pack_deltas(self, places: Index) -> None:
        f, packed, size = self.f, self.packed, 2 * self.filters
        f.clear(self.flat_deltas, packed.before * size)
        behind = f.element(self.flat_deltas, "i8", f.multiply(f.add(places, packed.before), size))
        f.clear(behind, (packed.behind + DEPTH + 2) * size)
        rows, columns = self.deltas.type.static(1), self.deltas.type.static(2)
        first = f.element(self.flat_deltas, "i8", packed.before * size)
        whole = (AlongAxis(0, rows, 0, 1, 0), AlongAxis(0, columns, 0, 1, 0))
        self._flatten(self.deltas, whole, (1, 1), first)
        self._pair()

    def _pack_images(self, down: AlongAxis, across: AlongAxis, places: Index) -> None:
        f, size = self.f, 2 * self.channels
        f.clear(f.element(self.flat_images, "i8", f.multiply(places, size)), DEPTH * size)
        self._flatten(self.images, (down, across), self.op.dilation, self.flat_images)
        self._turn()

    def _flatten(
        self, value: Value, taken: tuple[AlongAxis, AlongAxis], step: tuple[int, int], target: Ssa
    ) -> None:
        """Copy every step-th row and column of some samples, with zeros behind rows and below them."""
        f, w, packed = self.f, self.w, self.packed
        (down, across), channels = taken, value.type.static(3)
        row_of = 2 * packed.pitch * channels
        with f.loop(0, self.count, name="sample") as n:
            sample = f.element(target, "i8", f.multiply(n.index, packed.rows * row_of))
            with f.loop(0, down.size, name="row") as row:
                here = f.element(sample, "i8", f.multiply(row.index, row_of))
                place = f.add(self.first, n.index), f.add(f.multiply(row.index, step[0]), down.first)
                there = w.place_in_margins(w.buffer(value), (*place, across.first, 0))
                if step[1] == 1:
                    f.copy(here, there, 2 * across.size * channels)
                else:
                    with f.loop(0, across.size, name="column") as column:
                        pixel = f.element(here, "i16", f.multiply(column.index, channels))
                        source = f.element(there, "i16", f.multiply(column.index, step[1] * channels))
                        f.copy(pixel, source, 2 * channels)
                f.clear(
                    f.element(here, "i16", across.size * channels),
                    2 * (packed.pitch - across.size) * channels,
                )
            below = f.element(sample, "i8", down.size * row_of)
            f.clear(below, (packed.rows - down.size) * row_of)

    def _numbers(self, first: Ssa, place: Index, channels: int) -> Ssa:
        """Load 16 numbers of a place, each in the lower half of 32 bits."""
        f = self.f
        x = f.load(vector("i16", TILE), f.element(first, "i16", f.multiply(place, channels)))
        return f.convert("zext", x, "i32")

    def _pair(self) -> None:
        """Put deltas into pairs of places, filters beside each other: of a few places, in all filters."""
        f, packed, filters = self.f, self.packed, self.filters
        count = f.add(f.multiply(self.steps, TILE), (packed.before + packed.behind) // 2)
        half = packed.pairs_of_half * LINE
        with (
            f.loop(0, count, TILE, name="pairs") as begin,
            f.each(0, -(-filters // TILE), 1, name="panel") as panel,
        ):
            first = f.element(self.flat_deltas, "i16", f.multiply(panel, TILE))
            own = f.element(self.pairs, "i8", f.multiply(panel, 2 * half))
            before = self._numbers(first, f.multiply(begin.index, 2), filters)
            end = f.least(count, f.add(begin.index, TILE))
            with f.loop(begin.index, end, carried=[before], name="pair") as pair:
                place = f.multiply(pair.index, 2)
                middle, last = (self._numbers(first, f.add(place, further), filters) for further in (1, 2))
                here = f.element(own, "i8", f.multiply(pair.index, LINE))
                f.store(joined(f, pair.values[0], middle), here)
                f.store(joined(f, middle, last), f.element(here, "i8", half))
                pair.results = [last]

    def _turn(self) -> None:
        """Put images into tiles of 16 channels by 32 places."""
        f, packed, channels = self.f, self.packed, self.channels
        with (
            f.loop(0, self.steps, name="step") as step,
            f.each(0, -(-channels // TILE), 1, name="panel") as panel,
        ):
            first = f.element(self.flat_images, "i16", f.multiply(panel, TILE))
            own = f.element(self.turned, "i8", f.multiply(panel, packed.places * LINE // 2))
            place = f.multiply(step.index, DEPTH)
            pairs = []
            for pair in range(TILE):
                numbers = (self._numbers(first, f.add(place, 2 * pair + n), channels) for n in (0, 1))
                pairs.append(f.emit("<16 x float>", f"bitcast {joined(f, *numbers)} to <16 x float>"))
            here = f.element(own, "i8", f.multiply(step.index, TILE * LINE))
            for channel, x in enumerate(f.turned(pairs)):
                f.store(x, f.element(here, "i8", channel * LINE))

    # Products

    def _products(self, down: AlongAxis, across: AlongAxis) -> None:
        """Sum up over the places of some samples for all taps at one remainder."""
        f = self.f
        groups = column_groups(self.filters, 2, self.w.target, "float")
        for start, size, count in _blocks(self.channels):
            with f.each(start, count, DEPTH, name="channel") as channel:
                for group in groups:
                    with f.each(group.offset, group.count, group.width, name="column") as column:
                        self._block(_Block(channel, size, column, group), down, across)

    def _block(self, block: _Block, down: AlongAxis, across: AlongAxis) -> None:
        """Sum up a block for all taps: for a few steps, whose factors stay in the first cache meanwhile.

        Of the deltas' two halves, one is read by every other tap.
        """
        f, step = self.f, self.op.dilation
        whole = f.multiply(f.divide(self.steps, NEAR_STEPS), NEAR_STEPS)
        with f.loop(0, 2, name="half") as half:
            with f.loop(0, whole, NEAR_STEPS, name="near") as near:
                self._taps(block, down, across, half.index, near.index, NEAR_STEPS)
            with f.when(f.compare("slt", f.index(whole), f.index(self.steps))):
                self._taps(block, down, across, half.index, whole, f.subtract(self.steps, whole))
        with f.loop(0, down.taps, name="down") as m, f.loop(0, across.taps, name="across") as n:
            taps = f.multiply(m.index, step[0]), f.multiply(n.index, step[1])
            sums = self._sums_of(m.index, n.index, across)
            self._add_up(block, sums, f.add(taps[0], down.tap), f.add(taps[1], across.tap))

    def _sums_of(self, m: Index, n: Index, across: AlongAxis) -> Ssa:
        """Return the address of a tap's sums."""
        tap = self.f.add(self.f.multiply(m, across.taps), n)
        return self.f.element(self.sums, "i8", self.f.multiply(tap, BLOCK_BYTES))

    def _taps(
        self, block: _Block, down: AlongAxis, across: AlongAxis, half: Index, first: Index, steps: Index
    ) -> None:
        """Add products of some steps to the sums of taps that read a half of the deltas."""
        f, packed = self.f, self.packed
        is_first = f.compare("eq", f.index(first), f.index(0))
        with f.loop(0, down.taps, name="down") as m:
            row = f.multiply(f.add(m.index, down.shift), packed.pitch)
            place = f.index(f.subtract(packed.before - across.shift, row))
            parity = f.binary("and", f.binary("xor", place, f.index(half)), f.index(1))
            with f.loop(parity, across.taps, 2, name="across") as n:
                pair = f.binary("ashr", f.index(f.subtract(place, n.index)), f.index(1))
                pair = f.index(f.add(pair, f.multiply(half, packed.pairs_of_half)))
                self._sum(block, self._sums_of(m.index, n.index, across), is_first, pair, first, steps)

    def _sum(self, block: _Block, sums: Ssa, is_first: Ssa, pair: Index, first: Index, steps: Index) -> None:
        """Add to sums the products of so many steps from one on; pair: the first of the deltas'.

        is_first: whether there are no sums yet.
        """
        f, packed, tiles = self.f, self.packed, self.tiles
        high, wide = -(-block.channels // TILE), len(block.group.columns)
        panel, half = packed.places * LINE // 2, packed.pairs_of_half * LINE
        before = f.multiply(first, TILE * LINE)
        images = f.element(self.turned, "i8", f.multiply(block.channel, panel // TILE), before)
        deltas = f.element(self.pairs, "i8", f.multiply(block.column, 2 * half // TILE),
                           f.multiply(pair, LINE), before)  # fmt: skip
        places = [(row, along) for row in range(high) for along in range(wide)]
        there = [f.element(sums, "float", (row * DEPTH + along) * TILE) for row, along in places]
        stride = f.select(is_first, f.index(0), f.index(2 * LINE))
        for total, address in enumerate(there):
            tiles.load(total, f.select(is_first, self.zeros, address), stride)
        with f.loop(0, steps, name="step") if isinstance(steps, Ssa) else nullcontext() as loop:
            for step in [loop.index] if loop else range(NEAR_STEPS):
                further = f.multiply(step, TILE * LINE)
                for row in range(high):
                    tiles.load(LEFT[row], f.element(images, "i8", further, row * panel), LINE)
                    for along in range(wide):
                        if row == 0:
                            right = f.element(deltas, "i8", further, along * 2 * half)
                            tiles.load(RIGHT[along], right, LINE)
                        tiles.multiply_add(row * wide + along, LEFT[row], RIGHT[along])
        for total, address in enumerate(there):
            tiles.store(total, address, 2 * LINE)

    def _add_up(self, block: _Block, sums: Ssa, row: Index, column: Index) -> None:
        """Add the sums of a tap to those of the shard."""
        f, w = self.f, self.w
        place = w.offset(self.result.type, (row, column, block.channel, block.column))
        first = f.element(w.shard, "float", place)
        with f.loop(0, block.channels, name="row") as channel:
            here = f.element(sums, "float", f.multiply(channel.index, DEPTH))
            there = f.element(first, "float", f.multiply(channel.index, self.filters))
            for c in block.group.columns:
                total = f.load(vector("float", c.lanes), f.element(here, "float", c.offset))
                add_to(w, "float", f.element(there, "float", c.offset), c, total)


def _blocks(channels: int) -> list[tuple[int, int, int]]:
    """Return (first channel, size, how many) of blocks of 32 channels, and of what is left."""
    whole, rest = divmod(channels, DEPTH)
    found = [(0, DEPTH, whole)] if whole else []
    return [*found, (whole * DEPTH, rest, 1)] if rest else found


def bfloat16_filter_gradient(w: Writer) -> None:
    _FilterGradient(w).write()
