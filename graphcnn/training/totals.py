"""Losses and metrics over many batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from graphcnn.arrays import Array
from graphcnn.training.metrics import StatisticsMetric


class Totals:
    """Adds results up over batches.

    A sum-type loss adds up, a metric of statistics gathers them, and all else is a mean over samples.
    summed: the names of results that add up. statistics: the metrics of statistics, by the names of results.
    """

    def __init__(self, summed: set[str], statistics: Mapping[str, StatisticsMetric] | None = None) -> None:
        self.samples = 0
        self._summed = summed
        self._statistics = statistics or {}
        self._totals: dict[str, Any] = {}

    def add(self, results: Mapping[str, Array], samples: int) -> None:
        self.samples += samples
        for name, value in results.items():
            if name in self._statistics:
                found, held = np.asarray(value, np.float64), self._totals.get(name)
                merge = getattr(self._statistics[name], "merge", np.add)
                self._totals[name] = found if held is None else merge(held, found)
                continue
            weight = 1 if name in self._summed else samples
            self._totals[name] = self._totals.get(name, 0.0) + float(value) * weight

    def state(self) -> dict[str, object]:
        """Return the sums as JSON data, for `set_state` of others to go on with."""
        sums = {
            name: total.tolist() if name in self._statistics else total
            for name, total in self._totals.items()
        }
        return {"samples": self.samples, "sums": sums}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.samples = state["samples"]
        self._totals = {
            name: np.array(total, np.float64) if name in self._statistics else total
            for name, total in state["sums"].items()
        }

    def result(self) -> dict[str, float]:
        numbers: dict[str, float] = {}
        for name, total in self._totals.items():
            if name in self._statistics:
                numbers[name] = float(self._statistics[name].result(total))
            else:
                numbers[name] = total if name in self._summed else total / max(self.samples, 1)
        return numbers
