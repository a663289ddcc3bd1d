"""`model.summary()`: the layers of a model as a table that prints and displays itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.inspection.notebook import table_html
from graphcnn.inspection.tables import layer_table
from graphcnn.ir import Graph
from graphcnn.rendering import as_text
from graphcnn.training.feeding import check_batch_size

if TYPE_CHECKING:
    from rich.table import Table

    from graphcnn.training.model import Model


@dataclass(frozen=True, slots=True, repr=False)
class Summary:
    """The table of a graph's layers; FLOPs and bytes are those of so many samples."""

    graph: Graph
    batch: int

    def __rich__(self) -> Table:
        return layer_table(self.graph, self.batch)

    def __str__(self) -> str:
        return as_text(self)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return table_html(self.graph, self.batch)


def model_summary(model: Model, *, batch_size: int = 1) -> Summary:
    """Return the table of a model's layers; see `Model.summary`."""
    graph = model.forward_graph if model.loss is None else model.gradient_graph
    return Summary(graph, check_batch_size(batch_size))
