"""Sizes that count the batch several times, such as the heads of all samples, and arithmetic with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from graphcnn.ir import BATCH


@dataclass(frozen=True, slots=True)
class Multiple:
    """The size N · each, where each is more than 1."""

    each: int

    def __str__(self) -> str:
        return f"{self.each}·{BATCH}"


def per_sample(size: Any) -> int | None:
    """Return how often a size counts the batch; None for a number."""
    if size == BATCH:
        return 1
    return size.each if isinstance(size, Multiple) else None


def of_batch(each: int) -> Any:
    """Return the size that counts the batch so often."""
    return 0 if each == 0 else BATCH if each == 1 else Multiple(each)


# Each returns None for what is no size, and is known only at run time


def times(a: Any, b: Any) -> Any:
    first, second = per_sample(a), per_sample(b)
    if first is None and second is None:
        return a * b
    if first is not None and second is not None:
        return None
    count, factor = (first, b) if first is not None else (second, a)
    return of_batch(count * factor) if _is_whole(factor) and factor >= 0 else None


def divided(a: Any, b: Any) -> Any:
    first, second = per_sample(a), per_sample(b)
    if first is None and second is None:
        return math.trunc(a / b) if b else None
    if first is None:
        return None
    divisor = b if second is None else second
    if not _is_whole(divisor) or divisor < 1 or first % divisor:
        return None
    return of_batch(first // divisor) if second is None else first // divisor


def plus(a: Any, b: Any) -> Any:
    first, second = per_sample(a), per_sample(b)
    if first is None and second is None:
        return a + b
    if first is not None and second is not None:
        return of_batch(first + second)
    return a if b == 0 else b if a == 0 else None


def equals(a: Any, b: Any) -> bool | None:
    """Return whether two sizes are equal; None where that depends on how many samples there are."""
    first, second = per_sample(a), per_sample(b)
    if (first is None) == (second is None):
        return bool(a == b)
    each, number = (first, b) if first is not None else (second, a)
    return False if number < (each or 1) or number % (each or 1) else None


def _is_whole(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
