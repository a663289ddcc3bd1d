"""How long it takes to compile a model, phase by phase, with nothing in the cache, with all, and as it is."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graphcnn.phases import counted, measured_phases
from graphcnn.training.model import Model

if TYPE_CHECKING:
    from rich.table import Table

REST = "machine code and all else"


@dataclass(frozen=True)
class Compilation:
    """Seconds by phase, and how many modules of machine code were compiled or came from the cache."""

    seconds: Mapping[str, float]
    counts: Mapping[str, int]


@dataclass(frozen=True)
class CompileTimes:
    """Compilations: with an empty cache of machine code, with one that holds all, and with the user's own."""

    cold: Compilation
    cached: Compilation
    own: Compilation

    def __rich__(self) -> Table:
        from rich.table import Table

        compilations = self.cold, self.cached, self.own
        table = Table("phase", "first time, ms", "from the cache, ms", "with your cache, ms")
        for column in table.columns[1:]:
            column.justify = "right"
        for name in self.cold.seconds:
            table.add_row(name, *(f"{1000 * each.seconds.get(name, 0.0):.1f}" for each in compilations))
        table.add_section()
        table.add_row("in all", *(f"{1000 * sum(each.seconds.values()):.1f}" for each in compilations))
        table.add_section()
        for name in self.cold.counts:
            table.add_row(name, *(str(each.counts.get(name, 0)) for each in compilations))
        return table


def compile_times(make: Callable[[], Model], graph: str) -> CompileTimes:
    """Return how long a model's making takes together with the compilation of one of its graphs.

    graph: "step" or "forward". Machine code is kept in a folder of its own at first, and then where the user
    keeps it, with what other networks have left there.
    """
    before = os.environ.get("GRAPHCNN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GRAPHCNN_CACHE"] = folder
        try:
            cold, cached = _compilation(make, graph), _compilation(make, graph)
        finally:
            if before is None:
                del os.environ["GRAPHCNN_CACHE"]
            else:
                os.environ["GRAPHCNN_CACHE"] = before
    return CompileTimes(cold, cached, _compilation(make, graph))


def _compilation(make: Callable[[], Model], graph: str) -> Compilation:
    start = time.perf_counter()
    with measured_phases() as seconds, counted() as counts:
        make().executable(graph)
    rest = time.perf_counter() - start - sum(seconds.values())
    return Compilation({**seconds, REST: rest}, counts)
