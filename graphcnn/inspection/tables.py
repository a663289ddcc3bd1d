"""A graph as a table: a row per layer, with shape, receptive field, parameters, FLOPs, bytes and times."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from graphcnn.backend import Report
from graphcnn.inspection.checked import checked
from graphcnn.inspection.labels import shown
from graphcnn.inspection.receptive_field import Size, receptive_fields
from graphcnn.ir import Cost, Graph, Input, format_shape
from graphcnn.transform import sent_bytes
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.table import Table

NOTHING = Cost(0, 0)


class Times(Protocol):
    """Measured times, such as a `Profile`."""

    @property
    def nodes(self) -> Mapping[int, float]:
        """Seconds per node of the graph."""


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of a graph, or the nodes that belong to none.

    shape: of the layer's last forward node, or of its last node. parameters: numbers that training sets;
    frozen: those among them that it leaves alone now.
    forward, backward: FLOPs and bytes at the batch size asked for, of the layer's forward nodes and of its
    others: gradients and updates. seconds: measured for both, where there are times. sent: bytes that a
    rank sends to others, of a graph of several.
    field: the rows and columns of the image that a unit sees; None is the whole image, (0, 0) none of it.
    """

    layer: str
    shape: str
    parameters: int
    frozen: int
    nodes: int
    forward: Cost
    backward: Cost = NOTHING
    field: Size | None = (0, 0)
    seconds: tuple[float, float] | None = None
    sent: int | None = None

    @property
    def cost(self) -> Cost:
        return self.forward + self.backward


def layer_rows(
    graph: Graph, batch: int = 1, times: Times | None = None, ranks: int | None = None
) -> list[LayerRow]:
    """Return a row per layer, in the order in which the layers first appear; settings have none.

    ranks: how many share the samples of a batch, for what each sends.
    """
    keys: dict[str, list[int]] = {}
    for key, node in graph.items():
        if isinstance(node.op, Input) and node.op.role == "setting":
            continue
        label = node.op.label if isinstance(node.op, Input) else ""
        keys.setdefault(node.origin.layer or label, []).append(key)
    fields = receptive_fields(graph)
    rows = [_row(graph, layer, members, batch, fields, times) for layer, members in keys.items()]
    if ranks is None:
        return rows
    sent = sent_bytes(graph, batch, ranks)
    totals = [sum(sent.get(key, 0) for key in members) for members in keys.values()]
    return [replace(row, sent=total) for row, total in zip(rows, totals, strict=True)]


def _row(
    graph: Graph,
    layer: str,
    keys: list[int],
    batch: int,
    fields: dict[int, Size | None],
    times: Times | None,
) -> LayerRow:
    forward = [key for key in keys if graph.node(key).origin.forward is None]
    backward = [key for key in keys if graph.node(key).origin.forward is not None]
    held = [op for key in keys if isinstance(op := graph.node(key).op, Input)]
    last = (forward or keys)[-1]
    sides = [sum((graph.node(key).cost(batch) for key in side), NOTHING) for side in (forward, backward)]
    seconds = times and [sum(times.nodes.get(key, 0.0) for key in side) for side in (forward, backward)]
    return LayerRow(
        layer,
        format_shape(graph.node(last).types[0].shape),
        sum(op.type.elements(1) for op in held if op.role in ("parameter", "frozen")),
        sum(op.type.elements(1) for op in held if op.role == "frozen"),
        len(keys) - len(held),
        sides[0],
        sides[1],
        fields.get(last, (0, 0)),
        (seconds[0], seconds[1]) if seconds else None,
    )


def layer_table(graph: Graph, batch: int = 1, times: Times | None = None, ranks: int | None = None) -> Table:
    """Return a rich table of the graph's layers, with totals; FLOPs and bytes are per batch.

    times: a profile of the same graph, for columns of milliseconds. ranks: how many share the batch, for a
    column of bytes that each sends. Raises GraphError for an empty graph.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    header, *rows, total = layer_cells(graph, batch, times, ranks)
    of_ranks = "" if ranks is None else f", {ranks} ranks"
    table = Table(
        title=Text(f"{shown(graph.name)}, batch {batch}{of_ranks}"),
        show_footer=True,
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    for number, (above, below) in enumerate(zip(header, total, strict=True)):
        table.add_column(above, below, no_wrap=True, justify="left" if number < LEFT_ALIGNED else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


LEFT_ALIGNED = 2
"""So many columns are words: layer and shape."""


def layer_cells(
    graph: Graph, batch: int = 1, times: Times | None = None, ranks: int | None = None
) -> list[list[str]]:
    """Return the cells of the table of layers: a header, a row per layer, and totals."""
    rows = layer_rows(checked(graph), batch, times, ranks)
    has_backward = any(row.backward != NOTHING for row in rows)
    columns = _columns(rows, has_backward, times is not None)
    return [
        ["layer", "shape", *(header for header, _ in columns)],
        *([shown(row.layer), row.shape, *_cells(row, has_backward)] for row in rows),
        ["total", "", *(total for _, total in columns)],
    ]


def _columns(rows: list[LayerRow], has_backward: bool, has_times: bool) -> list[tuple[str, str]]:
    forward = sum((row.forward for row in rows), NOTHING)
    backward = sum((row.backward for row in rows), NOTHING)
    columns = [
        ("receptive\nfield", ""),
        ("parameters", _total_of_parameters(rows)),
        ("FLOPs\nforward", scaled(forward.flops)),
        *([("FLOPs\nbackward", scaled(backward.flops))] if has_backward else []),
        ("bytes", scaled((forward + backward).bytes)),
    ]
    if any(row.sent is not None for row in rows):
        columns.append(("a rank\nsends", scaled(sum(row.sent or 0 for row in rows))))
    if has_times:
        sides = zip(*(row.seconds or (0.0, 0.0) for row in rows), strict=True)
        totals = [f"{sum(side) * 1e3:.3f}" for side in sides]
        columns += list(zip(("ms\nforward", "ms\nbackward"), totals[: 1 + has_backward], strict=False))
    return columns


def _total_of_parameters(rows: list[LayerRow]) -> str:
    """Return how many parameters there are, and where some are frozen how many are trained."""
    count, frozen = sum(row.parameters for row in rows), sum(row.frozen for row in rows)
    return f"{count:,}\n{count - frozen:,} trained" if frozen else f"{count:,}"


def _cells(row: LayerRow, has_backward: bool) -> list[str]:
    parameters = f"{row.parameters:,}" if row.parameters else ""
    if row.frozen:
        parameters += " frozen" if row.frozen == row.parameters else f", {row.frozen:,} frozen"
    sides = [row.forward, row.backward][: 1 + has_backward]
    flops = [scaled(side.flops) if side.flops else "" for side in sides]
    milliseconds = [f"{seconds * 1e3:.3f}" for seconds in (row.seconds or ())[: 1 + has_backward]]
    return [
        _seen(row.field),
        parameters,
        *flops,
        scaled(row.cost.bytes) if row.cost.bytes else "",
        *([] if row.sent is None else [scaled(row.sent) if row.sent else ""]),
        *milliseconds,
    ]


def _seen(field: Size | None) -> str:
    if field is None:
        return "all"
    return f"{field[0]}x{field[1]}" if any(field) else ""


def scaled(number: int) -> str:
    """Return 1,234,567 as `1.23 M`."""
    value = float(number)
    for unit in ("", " k", " M", " G"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:,.3g} T"


def kernel_lines(report: Report) -> list[str]:
    """Return a line per kernel: its number, its work for one call, how it was built, and its nodes."""
    title = f"{len(report.kernels)} kernels for batch {report.batch}, backend {report.backend}"
    lines = [title]
    for number, kernel in enumerate(report.kernels):
        nodes = " ".join(f"%{key}" for key in kernel.nodes)
        work = f"{scaled(kernel.flops)}FLOP {scaled(kernel.bytes)}B"
        lines.append(visible(f"{number:3} {kernel.name:32} {work:22} {kernel.details}  | {nodes}".rstrip()))
    return lines
