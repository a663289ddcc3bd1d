"""Work on several threads, as many of them as the system grants."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def side_by_side(work: Callable[[T], Any], items: Sequence[T], threads: int) -> list[Any]:
    """Return `work(item)` for each item, done on up to so many threads, the caller's among them.

    Unlike an executor's, its threads can also be had while the interpreter is about to end, and where there
    are none, the caller does it all. Raises what `work` raises for the first item that fails.
    """
    results: list[Any] = [None] * len(items)
    errors: dict[int, BaseException] = {}
    numbers = itertools.count()

    def run() -> None:
        while (number := next(numbers)) < len(items):
            try:
                results[number] = work(items[number])
            except BaseException as error:
                errors[number] = error

    helpers = []
    for _ in range(min(threads, len(items)) - 1):
        helper = threading.Thread(target=run, name="graphcnn compiler")
        try:
            helper.start()
        except RuntimeError:
            break
        helpers.append(helper)
    run()
    for helper in helpers:
        helper.join()
    if errors:
        raise errors[min(errors)]
    return results
