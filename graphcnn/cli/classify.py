"""`graphcnn classify`."""

from __future__ import annotations

from pathlib import Path

import click

from graphcnn.cli.networks import backend_option, model_named
from graphcnn.cli.printing import say
from graphcnn.interchange.files import require_place
from graphcnn.training.views import Views


@click.command()
@click.argument("model")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--resize",
    type=click.Choice(["crop", "stretch"]),
    help="Cut off what is beyond the network's shape of images, or squeeze them; by default as in training.",
)
@click.option("--views", is_flag=True, help="See each image mirrored, too.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a CSV file with the probabilities of all classes instead.",
)
@backend_option
def classify(
    model: str,
    images: tuple[Path, ...],
    resize: str | None,
    views: bool,
    output: Path | None,
    backend: str | None,
) -> None:
    """Say what IMAGES, files or folders of them, are taken for by MODEL.safetensors, which train saves."""
    if output is not None:
        require_place(output)
    found = model_named(model, backend=backend).classify(
        list(images), resize=resize, views=Views() if views else None
    )
    if output is None:
        say(found)
        return
    found.to_csv(output)
    say(f"{output}: {len(found):,} images")
