"""Losses and metrics over many batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from graphcnn.arrays import Array


class Totals:
    """Sums results over batches: a sum-type loss adds up, everything else is a mean over samples."""

    def __init__(self, summed: set[str]) -> None:
        self.samples = 0
        self._summed = summed
        self._totals: dict[str, float] = {}

    def add(self, results: Mapping[str, Array], samples: int) -> None:
        self.samples += samples
        for name, value in results.items():
            weight = 1 if name in self._summed else samples
            self._totals[name] = self._totals.get(name, 0.0) + float(value) * weight

    def state(self) -> dict[str, object]:
        """Return the sums as JSON data, for `set_state` of others to go on with."""
        return {"samples": self.samples, "sums": dict(self._totals)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        self.samples, self._totals = state["samples"], dict(state["sums"])

    def result(self) -> dict[str, float]:
        return {
            name: total if name in self._summed else total / max(self.samples, 1)
            for name, total in self._totals.items()
        }
