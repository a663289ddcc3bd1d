"""Filters as they are, in the order in which register tiles read them."""

from __future__ import annotations

from graphcnn_native.codegen.function import Index, Ssa, vector
from graphcnn_native.codegen.lanes import Column, load_lanes, store_lanes
from graphcnn_native.elements import ITEMS, SIZES
from graphcnn_native.kernels.tile import column_groups
from graphcnn_native.kernels.writer import Writer
from graphcnn_native.lowering.panels import InPanels
from graphcnn_native.lowering.program import Place


def in_panels(w: Writer) -> None:
    """Copy filters [..., C, D] into panels; the kernel's share is a range of their rows of D."""
    assert w.kernel.root is not None
    node = w.graph.node(w.kernel.root)
    assert isinstance(node.op, InPanels)
    f, (result,), (filters,) = w.f, w.graph.results(w.kernel.root), node.operands
    item, exact = ITEMS[filters.type.dtype], w.buffer(filters).place is Place.CALLER
    source, target = w.address(w.buffer(filters)), w.address(w.buffer(result))
    rows, count, lanes = node.op.rows(result.type), result.type.static(-1), w.target.lanes(SIZES[item])
    groups = column_groups(count, node.op.panel // lanes, w.target, item)

    def turned(row: Index, first: Index, part: Column) -> list[Ssa]:
        """Return a vector of a row, and those of the rows behind it: as many as a vector has lanes."""
        channels = result.type.static(-2)
        tap = f.divide(row, channels)
        channel = f.subtract(row, f.multiply(tap, channels))
        filter_ = f.add(f.multiply(f.subtract(rows // channels - 1, tap), count), first, part.offset)
        there = f.element(source, item, f.multiply(filter_, channels), channel)
        along = [f.load(vector(item, lanes), f.element(there, item, n * channels)) for n in range(lanes)]
        return f.turned(along)

    def copied(row: Index, first: Index, part: Column) -> list[Ssa]:
        address = f.element(source, item, f.multiply(row, count), first, part.offset)
        return [load_lanes(f, item, address, part.lanes, part.used, exact=exact)]

    read, at_once = (turned, lanes) if node.op.is_turned else (copied, 1)
    with f.loop(w.begin, w.end, at_once, name="row") as row:
        for group in groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                panel = f.element(target, item, f.multiply(first, rows))
                here = f.element(panel, item, f.multiply(row.index, group.used))
                for part in group.columns:
                    for number, x in enumerate(read(row.index, first, part)):
                        address = f.element(here, item, part.offset + number * group.used)
                        store_lanes(f, x, address, part.used, w.target)
