"""A recording as a table: a row per layer, and below it the first node that is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from graphcnn.rendering import as_text
from graphcnn.training.bars import log_bar
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from graphcnn.inspection.recording import LayerRecord, Recording

BAR = 8
MANY = 0.5
"""The share of dead units from which a ReLU is shown in another colour."""


def recording_table(recording: Recording) -> Table:
    """Return a rich table with a row per layer; columns that would be empty are left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    layers = recording.layers
    norms = [record.gradient_norm for record in layers if record.gradient_norm is not None]
    largest = max((norm for norm in norms if math.isfinite(norm)), default=0.0)
    columns: dict[str, Callable[[LayerRecord], str]] = {
        "mean": lambda record: f"{record.mean:.3g}",
        "std": lambda record: f"{record.std:.3g}",
        "min": lambda record: f"{record.least:.3g}",
        "max": lambda record: f"{record.greatest:.3g}",
        "gradient": lambda record: _present(record.gradient_norm, ".3g"),
        "": lambda record: (
            "" if record.gradient_norm is None else log_bar(record.gradient_norm, largest, BAR)
        ),
        "dead": lambda record: _present(record.dead, ".0%"),
        "NaN/Inf": lambda record: f"{record.nonfinite:,}" if record.nonfinite else "",
    }
    cells = {header: [show(record) for record in layers] for header, show in columns.items()}
    shown = {header: column for header, column in cells.items() if any(column)}
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("layer", min_width=10, max_width=24)
    for header in shown:
        table.add_column(header, justify="right" if header else "left", no_wrap=True)
    for number, record in enumerate(layers):
        name = Text(visible(record.layer), no_wrap=True, overflow="ellipsis")
        style = "red" if record.nonfinite else "yellow" if (record.dead or 0) > MANY else ""
        table.add_row(name, *(column[number] for column in shown.values()), style=style)
    return table


def _present(number: float | None, form: str) -> str:
    return "" if number is None else format(number, form)


def recording_display(recording: Recording) -> Group:
    """Return for rich: a title, the table, and the first node that is not finite."""
    from rich.console import Group
    from rich.text import Text

    title = f"{visible(recording.graph.name)}, batch {recording.batch}: outputs by layer"
    if any(record.gradient_norm is not None for record in recording.layers):
        title += ", norms of gradients"
    first = recording.first_nonfinite
    end = [] if first is None else [Text(str(first), style="red")]
    return Group(Text(title), recording_table(recording), *end)


def recording_text(recording: Recording) -> str:
    """Return the same as text."""
    return as_text(recording_display(recording))
