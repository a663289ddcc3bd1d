"""A report on an evaluation as tables: scores by class, the confusion matrix, errors by number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.inspection.tallies import AnswerTally, ClassTally, ErrorTally
from graphcnn.rendering import as_text
from graphcnn.training.progress import format_numbers
from graphcnn.visible import visible

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table

    from graphcnn.inspection.report import Report

WIDEST: Final = 20
"""So many classes make a matrix that can be read; of more, the pairs that are confused most are listed."""
PAIRS: Final = 10
LONGEST_NAME: Final = 16


def report_display(report: Report) -> Group:
    """Return for rich: loss and metrics, a table by class or number, and the confusion matrix."""
    from rich.console import Group
    from rich.text import Text

    tally = report.tally
    title = f"{report.title}, {report.samples:,} samples: {format_numbers(dict(report.results))}"
    parts: list[RenderableType] = [Text(visible(title))]
    if isinstance(tally, ErrorTally):
        parts.append(_errors(tally))
    else:
        parts.append(_scores(tally))
    if isinstance(tally, ClassTally):
        parts += _confusion(tally)
    return Group(*parts)


def report_text(report: Report) -> str:
    """Return the same as text."""
    return as_text(report_display(report))


def _table(first: str, headers: tuple[str, ...], *, footer: bool = False) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_footer=footer)
    table.add_column(first, no_wrap=True, max_width=LONGEST_NAME, overflow="ellipsis")
    for header in headers:
        table.add_column(
            Text(header), justify="right", no_wrap=True, max_width=LONGEST_NAME, overflow="ellipsis"
        )
    return table


def _scores(tally: ClassTally | AnswerTally) -> Table:
    from rich.text import Text

    scores = tally.scores
    is_of_classes = isinstance(tally, ClassTally)
    headers = ("precision", "recall", "F1", "IoU", "of them" if is_of_classes else "yes")
    table = _table("class" if is_of_classes else "question", headers)
    columns = (scores.precision, scores.recall, scores.f1, scores.iou)
    for place, name in enumerate(tally.names):
        cells = [f"{column[place]:.4f}" for column in columns]
        table.add_row(Text(visible(name)), *cells, f"{scores.support[place]:,}")
    table.add_section()
    predicted = tally.confusion.sum(0) if isinstance(tally, ClassTally) else tally.counts[1]
    occurs = scores.support + predicted > 0
    means = [f"{column[occurs].mean() if occurs.any() else 0.0:.4f}" for column in columns]
    table.add_row("mean", *means, f"{scores.support.sum():,}")
    weights = scores.support / max(scores.support.sum(), 1)
    table.add_row("weighted mean", *(f"{(column * weights).sum():.4f}" for column in columns), "")
    return table


def _confusion(tally: ClassTally) -> list[RenderableType]:
    from rich.text import Text

    names = [visible(name) for name in tally.names]
    matrix: Array = tally.confusion
    if len(names) <= WIDEST and sum(len(name[:LONGEST_NAME]) + 1 for name in names) < 80:
        table = _table("true \\ taken for", tuple(names))
        for name, row, place in zip(names, matrix, range(len(names)), strict=True):
            cells = (
                Text(f"{count:,}" if count else "·", style="bold" if column == place else "")
                for column, count in enumerate(row)
            )
            table.add_row(Text(name), *cells)
        return [table]
    apart = matrix.copy()
    np.fill_diagonal(apart, 0)
    order = np.argsort(apart, axis=None, kind="stable")[::-1][:PAIRS]
    table = _table("true", ("taken for", "times"))
    for true, taken in zip(*np.unravel_index(order, apart.shape), strict=True):
        if apart[true, taken]:
            table.add_row(Text(names[true]), Text(names[taken]), f"{apart[true, taken]:,}")
    return [Text("confused most often"), table] if apart.any() else []


def _errors(tally: ErrorTally) -> Table:
    from rich.text import Text

    table = _table("number", ("MAE", "RMSE", "R²"))
    columns = (tally.mae, tally.rmse, tally.r2)
    for place, name in enumerate(tally.names[:WIDEST]):
        table.add_row(Text(visible(name)), *(f"{column[place]:.4g}" for column in columns))
    table.add_section()
    whole = (tally.mae.mean(), float(np.sqrt((tally.rmse**2).mean())), tally.r2.mean())
    table.add_row(f"all {len(tally.names)}", *(f"{each:.4g}" for each in whole))
    return table
