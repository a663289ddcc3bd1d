"""A graph as a table: a row per layer, with shape, parameters, FLOPs and bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.backend import Report
from graphcnn.ir import Cost, Graph, Input, format_shape

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True, slots=True)
class LayerRow:
    """One layer of a graph, or the nodes that belong to none.

    shape: of the layer's last forward node, or of its last node. parameters: numbers that are trained.
    cost: FLOPs and bytes of all of its nodes at the batch size asked for.
    """

    layer: str
    shape: str
    parameters: int
    nodes: int
    cost: Cost


def layer_rows(graph: Graph, batch: int = 1) -> list[LayerRow]:
    """Return a row per layer, in the order in which the layers first appear."""
    keys: dict[str, list[int]] = {}
    for key, node in graph.items():
        label = node.op.label if isinstance(node.op, Input) else ""
        keys.setdefault(node.origin.layer or label, []).append(key)
    return [_row(graph, layer, members, batch) for layer, members in keys.items()]


def _row(graph: Graph, layer: str, keys: list[int], batch: int) -> LayerRow:
    nodes = [graph.node(key) for key in keys]
    forward = [node for node in nodes if node.origin.forward is None] or nodes
    held = [node for node in nodes if isinstance(node.op, Input)]
    parameters = sum(
        n.types[0].elements(1) for n in held if isinstance(n.op, Input) and n.op.role == "parameter"
    )
    cost = sum((node.cost(batch) for node in nodes), Cost(0, 0))
    computing = len(nodes) - len(held)
    return LayerRow(layer, format_shape(forward[-1].types[0].shape), parameters, computing, cost)


def layer_table(graph: Graph, batch: int = 1) -> Table:
    """Return a rich table of the graph's layers, with totals; FLOPs and bytes are per batch."""
    from rich.table import Table

    rows = layer_rows(graph, batch)
    table = Table(title=f"{graph.name}, batch {batch}", show_footer=True)
    total = sum((row.cost for row in rows), Cost(0, 0))
    table.add_column("layer", "total", no_wrap=True)
    table.add_column("shape", no_wrap=True)
    for header, footer in (
        ("parameters", f"{sum(row.parameters for row in rows):,}"),
        ("nodes", f"{sum(row.nodes for row in rows):,}"),
        ("FLOPs", scaled(total.flops)),
        ("bytes", scaled(total.bytes)),
    ):
        table.add_column(header, footer, justify="right", no_wrap=True)
    for row in rows:
        parameters = f"{row.parameters:,}" if row.parameters else ""
        table.add_row(
            row.layer, row.shape, parameters, str(row.nodes), scaled(row.cost.flops), scaled(row.cost.bytes)
        )
    return table


def scaled(number: int) -> str:
    """Return 1,234,567 as `1.23 M`."""
    value = float(number)
    for unit in ("", " k", " M", " G"):
        if value < 1000:
            return f"{value:.3g}{unit}"
        value /= 1000
    return f"{value:,.3g} T"


def kernel_lines(report: Report) -> list[str]:
    """Return a line per kernel: its work for one call, the nodes that it covers, and how it was built."""
    title = f"{len(report.kernels)} kernels for batch {report.batch}, backend {report.backend}"
    lines = [title]
    for kernel in report.kernels:
        nodes = " ".join(f"%{key}" for key in kernel.nodes)
        work = f"{scaled(kernel.flops)}FLOP {scaled(kernel.bytes)}B"
        lines.append(f"{kernel.name:32} {work:22} {kernel.details}  | {nodes}".rstrip())
    return lines
