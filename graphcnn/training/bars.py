"""Bars made of characters, for numbers that span many powers of ten."""

from __future__ import annotations

import math
from collections.abc import Sequence

BAR = 12
"""Characters of the longest bar."""
DECADES = 6.0
"""Powers of ten that a bar spans: what is smaller than the largest number by that much has none."""
LEVELS = "▁▂▃▄▅▆▇█"


def log_bar(number: float, largest: float, width: int = BAR) -> str:
    """Return a bar whose length shows the power of ten: full for the largest, `!` for NaN or infinity."""
    if not math.isfinite(number):
        return "!" * width
    if number <= 0 or largest <= 0:
        return ""
    share = 1 + math.log10(number / largest) / DECADES
    return "█" * max(0, round(share * width))


def log_trend(numbers: Sequence[float], width: int = BAR) -> str:
    """Return how numbers have changed, by their powers of ten: a character for each of `width` moments.

    A whole decade between the least and the greatest is at least two levels. `!` is NaN or infinity.
    """
    step = max(1.0, len(numbers) / width)
    shown = [numbers[int(place * step)] for place in range(min(width, len(numbers)))]
    if shown:
        shown[-1] = numbers[-1]
    logs = [math.log10(n) if math.isfinite(n) and n > 0 else -math.inf for n in shown]
    found = [n for n in logs if math.isfinite(n)]
    low, high = (min(found), max(found)) if found else (0.0, 0.0)
    span = max(high - low, len(LEVELS) / 2 / 2)
    return "".join(
        "!" if not math.isfinite(number) else _level(log - low, span)
        for number, log in zip(shown, logs, strict=True)
    )


def _level(height: float, span: float) -> str:
    return LEVELS[round(max(0.0, height / span) * (len(LEVELS) - 1))] if math.isfinite(height) else LEVELS[0]
