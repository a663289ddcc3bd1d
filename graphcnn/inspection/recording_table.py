"""A recording as a table: a row per layer, and below it the first node that is not finite."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

from graphcnn.training.bars import log_bar

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from graphcnn.inspection.recording import LayerRecord, Recording

WIDTH = 110


def recording_table(recording: Recording) -> Table:
    """Return a rich table with a row per layer."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", min_width=8, max_width=24)
    for header in ("mean", "std", "least", "greatest"):
        table.add_column(header, justify="right", no_wrap=True)
    table.add_column("gradient norm", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for header in ("dead", "not finite"):
        table.add_column(header, justify="right", no_wrap=True)
    norms = [record.gradient_norm for record in recording.layers if record.gradient_norm is not None]
    largest = max((norm for norm in norms if math.isfinite(norm)), default=0.0)
    for record in recording.layers:
        cells = _cells(record, largest)
        style = "red" if record.nonfinite else "yellow" if (record.dead or 0) > 0.5 else ""
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells), style=style)
    return table


def _cells(record: LayerRecord, largest: float) -> tuple[str, ...]:
    numbers = (record.mean, record.std, record.least, record.greatest)
    norm = record.gradient_norm
    return (
        record.layer,
        *(f"{number:.3g}" for number in numbers),
        "" if norm is None else f"{norm:.3g}",
        "" if norm is None else log_bar(norm, largest),
        "" if record.dead is None else f"{record.dead:.0%}",
        f"{record.nonfinite:,}" if record.nonfinite else "",
    )


def recording_display(recording: Recording) -> Group:
    """Return for rich: a title, the table, and the first node that is not finite."""
    from rich.console import Group
    from rich.text import Text

    what = "outputs of the layers, gradients of their parameters"
    title = f"{recording.graph.name}, batch {recording.batch}: {what}"
    first = recording.first_nonfinite
    end = [] if first is None else [Text(str(first), style="red")]
    return Group(Text(title), recording_table(recording), *end)


def recording_text(recording: Recording) -> str:
    """Return the same as text."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(recording_display(recording))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")
