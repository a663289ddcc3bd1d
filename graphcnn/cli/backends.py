"""`graphcnn backends`."""

from __future__ import annotations

import click

from graphcnn.backend import DEFAULT, backends, load_backend
from graphcnn.cli.printing import say
from graphcnn.errors import BackendError


@click.command("backends")
def list_backends() -> None:
    """List the installed backends."""
    for name, entry in sorted(backends().items()):
        try:
            state = f"{len(load_backend(name).ops)} ops"
        except BackendError as error:
            state = error.problem
        say(f"{name:12}  {entry.value:32}  {state}{'  (default)' if name == DEFAULT else ''}")
