"""`graphcnn zoo`."""

from __future__ import annotations

import click

from graphcnn.cli.printing import say
from graphcnn.dsl.network import as_network
from graphcnn.inspection.tables import layer_rows, scaled
from graphcnn.ir import Graph
from graphcnn.zoo import PUBLISHED, ZOO


@click.command("zoo")
def list_zoo() -> None:
    """List the networks of the zoo: parameters, FLOPs of one image forward, its shape, and the paper."""
    say(f"{'network':20} {'parameters':>11}  {'FLOPs':>7}  {'input':13}  paper")
    for name, entry in ZOO.items():
        _say_row(name, as_network(entry.make(), entry.input_shape).graph, entry.paper)
    for name, published in PUBLISHED.items():
        _say_row(name, published.make().graph, published.paper)


def _say_row(name: str, graph: Graph, paper: str) -> None:
    rows = layer_rows(graph)
    parameters = sum(row.parameters for row in rows)
    flops = scaled(sum(row.forward.flops for row in rows))
    shape = "x".join(
        str(size) for value in graph.inputs_with_role("data").values() for size in value.type.shape[1:]
    )
    say(f"{name:20} {parameters:>11,}  {flops:>7}  {shape:13}  {paper}".rstrip())
