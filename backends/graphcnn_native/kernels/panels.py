"""Filters as they are, in the order in which register tiles read them."""

from __future__ import annotations

from graphcnn_native.codegen.lanes import load_lanes, store_lanes
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
    rows, count = node.op.rows(filters.type), int(filters.type.shape[-1])
    groups = column_groups(count, node.op.panel // w.target.lanes(SIZES[item]), w.target, item)
    with f.loop(w.begin, w.end, name="row") as row:
        for group in groups:
            with f.each(group.offset, group.count, group.width, name="column") as first:
                there = f.element(source, item, f.multiply(row.index, count), first)
                panel = f.element(target, item, f.multiply(first, rows))
                here = f.element(panel, item, f.multiply(row.index, group.used))
                for part in group.columns:
                    address = f.element(there, item, part.offset)
                    x = load_lanes(f, item, address, part.lanes, part.used, exact=exact)
                    store_lanes(f, x, f.element(here, item, part.offset), part.used, w.target)
