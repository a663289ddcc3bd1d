"""How long it takes to compile a model, phase by phase: for the first time, and again from the cache."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.phases import measured_phases
from graphcnn.training.model import Model

if TYPE_CHECKING:
    from rich.table import Table

REST = "machine code and all else"


@dataclass(frozen=True)
class CompileTimes:
    """Seconds by phase, with an empty cache of machine code and with one that holds all."""

    cold: Mapping[str, float]
    cached: Mapping[str, float]

    def __rich__(self) -> Table:
        from rich.table import Table

        table = Table("phase", "first time, ms", "from the cache, ms")
        for column in table.columns[1:]:
            column.justify = "right"
        for name in self.cold:
            table.add_row(name, *(f"{1000 * times.get(name, 0.0):.1f}" for times in (self.cold, self.cached)))
        totals = (f"{1000 * sum(times.values()):.1f}" for times in (self.cold, self.cached))
        table.add_section()
        table.add_row("in all", *totals)
        return table


def compile_times(make: Callable[[], Model], graph: str) -> CompileTimes:
    """Return how long a model's making takes together with the compilation of one of its graphs.

    graph: "step" or "forward". For that time, machine code is kept in a folder of its own.
    """
    before = os.environ.get("GRAPHCNN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHCNN_CACHE"] = folder
        try:
            return CompileTimes(_times(make, graph), _times(make, graph))
        finally:
            if before is None:
                del os.environ["GRAPHCNN_CACHE"]
            else:
                os.environ["GRAPHCNN_CACHE"] = before


def _times(make: Callable[[], Model], graph: str) -> dict[str, float]:
    start = time.perf_counter()
    with measured_phases() as seconds:
        make().executable(graph)
    return {**seconds, REST: time.perf_counter() - start - sum(seconds.values())}
