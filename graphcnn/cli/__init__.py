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
from graphcnn.cli.printing import close_output, is_spoken, say, spoken, warnings_said
from graphcnn.cli.show import show
from graphcnn.cli.train import train
from graphcnn.cli.zoo import list_zoo
from graphcnn.distributed.launcher import launched, started_by_mpi
from graphcnn.errors import GraphcnnError, OptionError

INTERRUPTED = 130
"""What a command ends with after Ctrl-C: 128 and the number of the signal."""
UNREAD = 141
"""What a command ends with when nobody reads its output, as in `| head`: 128 and the number of the signal."""


class _Group(click.Group):
    """Shows what goes wrong as one readable message; with --debug as a traceback."""

    def invoke(self, context: click.Context) -> Any:
        found = launched()
        with spoken(found is None or found.rank == 0):
            return self._invoke(context)

    def _invoke(self, context: click.Context) -> Any:
        try:
            with warnings_said():
                return super().invoke(context)
        except click.ClickException as error:
            if is_spoken():
                raise
            sys.exit(error.exit_code)
        except BrokenPipeError as error:
            close_output()
            _say_notes(error)
            sys.exit(UNREAD)
        except KeyboardInterrupt as error:
            if not _told(error):
                say("Interrupted", err=True)
            sys.exit(INTERRUPTED)
        except (GraphcnnError, OSError) as error:
            if context.params.get("debug"):
                raise
            if not _told(error):
                say(f"Error: {error}", err=True)
                _say_notes(error)
            sys.exit(1)


def _told(error: BaseException) -> bool:
    """Return whether all ranks are told of an error, where this is one of several."""
    if not started_by_mpi():
        return False
    from graphcnn.distributed.monitor import told

    return told(error)


def _say_notes(error: BaseException) -> None:
    """Show what an error was told on its way, such as how to go on with the training that it ended."""
    for note in getattr(error, "__notes__", ()):
        say(f"  {note}", err=True)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="graphcnn")
@click.option("--debug", is_flag=True, help="Show errors with their traceback.")
def main(debug: bool) -> None:
    """Compile and train convolutional networks, and read their gradient graphs."""
    command = str(click.get_current_context().invoked_subcommand)
    if command != train.name and started_by_mpi():
        raise OptionError(
            f"graphcnn {command} runs in one process, and several were started",
            mend=f"graphcnn {command} without mpiexec in front; graphcnn train alone shares its work",
        )


for _command in (train, classify, show, diff, export, bench, inspect, list_backends, list_zoo):
    main.add_command(_command)
