"""`graphcnn zoo`."""

from __future__ import annotations

import click

from graphcnn.cli.printing import say
from graphcnn.dsl.network import Network, as_network
from graphcnn.inspection.tables import layer_rows, scaled
from graphcnn.zoo import PUBLISHED, ZOO


@click.command("zoo")
def list_zoo() -> None:
    """List the networks of the zoo: parameters, FLOPs of one image forward, its shape, and the paper."""
    say(f"{'network':20} {'parameters':>11}  {'FLOPs':>7}  {'input':13}  paper")
    for name, entry in ZOO.items():
        _say_row(name, as_network(entry.make(), entry.input_shape), entry.paper)
    for name, published in PUBLISHED.items():
        _say_row(name, published.make(), published.paper)


def _say_row(name: str, network: Network, paper: str) -> None:
    traced, training = network.trace(), network.trace(training=True)
    held = training.graph.inputs_with_role("parameter").items()
    parameters = sum(value.type.elements(1) for label, value in held if label not in training.frozen)
    flops = scaled(sum(row.forward.flops for row in layer_rows(traced.graph)))
    (image,) = network.inputs
    shape = "x".join(map(str, image.shape[1:]))
    say(f"{name:20} {parameters:>11,}  {flops:>7}  {shape:13}  {paper}".rstrip())
