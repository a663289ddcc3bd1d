"""`graphcnn diff`."""

from __future__ import annotations

from pathlib import Path

import click

from graphcnn.cli.networks import Shape, input_shape_option, model_named
from graphcnn.cli.printing import say
from graphcnn.cli.show import STAGES
from graphcnn.transform import simplify


@click.command()
@click.argument("network")
@click.argument("other", required=False)
@click.option("--stage", default="gradient", show_default=True, type=click.Choice(STAGES))
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with both side by side."
)
@input_shape_option
def diff(
    network: str,
    other: str | None,
    stage: str,
    output: Path | None,
    input_shape: Shape | None,
) -> None:
    """Show how the graphs of NETWORK and OTHER differ; without OTHER, what simplification changes."""
    from graphcnn.inspection.difference import difference

    before = getattr(model_named(network, input_shape), f"{stage}_graph")
    after = getattr(model_named(other, input_shape), f"{stage}_graph") if other else simplify(before)
    if output is None:
        say(str(difference(before, after)))
        return
    say(before.show(output, against=after, open=False))
