"""The command line: a module per command; `networks` finds what they name, `printing` says what they say."""

from __future__ import annotations

import sys
from typing import Any

import click

from graphcnn.cli.backends import list_backends
from graphcnn.cli.bench import bench
from graphcnn.cli.classify import classify
from graphcnn.cli.diff import diff
from graphcnn.cli.export import export
from graphcnn.cli.inspect import inspect
from graphcnn.cli.printing import close_output, say, warnings_said
from graphcnn.cli.show import show
from graphcnn.cli.train import train
from graphcnn.cli.zoo import list_zoo
from graphcnn.errors import GraphcnnError

INTERRUPTED = 130
"""What a command ends with after Ctrl-C: 128 and the number of the signal."""
UNREAD = 141
"""What a command ends with when nobody reads its output, as in `| head`: 128 and the number of the signal."""


class _Group(click.Group):
    """Shows what goes wrong as one readable message; with --debug as a traceback."""

    def invoke(self, context: click.Context) -> Any:
        try:
            with warnings_said():
                return super().invoke(context)
        except BrokenPipeError as error:
            close_output()
            _say_notes(error)
            sys.exit(UNREAD)
        except KeyboardInterrupt:
            say("Interrupted", err=True)
            sys.exit(INTERRUPTED)
        except (GraphcnnError, OSError) as error:
            if context.params.get("debug"):
                raise
            say(f"Error: {error}", err=True)
            _say_notes(error)
            sys.exit(1)


def _say_notes(error: BaseException) -> None:
    """Show what an error was told on its way, such as how to go on with the training that it ended."""
    for note in getattr(error, "__notes__", ()):
        say(f"  {note}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphcnn")
@click.option("--debug", is_flag=True, help="Show errors with their traceback.")
def main(debug: bool) -> None:
    """Compile and train convolutional networks, and read their gradient graphs."""


for _command in (train, classify, show, diff, export, bench, inspect, list_backends, list_zoo):
    main.add_command(_command)
