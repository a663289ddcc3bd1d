"""Work on many files in threads, with a bar that shows how far it is."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable

from graphcnn.errors import OptionError
from graphcnn.late_bar import LateBar


def thread_count(threads: object) -> int:
    """Return how many threads work: by default one for each processor. Raises OptionError for no number."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if type(threads) is not int or threads < 1:
        raise OptionError(f"threads={threads!r:.60} is not an integer of at least 1", mend="threads=2")
    return threads


def in_threads(work: Callable[[int], str], count: int, threads: int, bar: LateBar | None) -> list[str]:
    """Return `work(number)` of all numbers below `count`. The first error that is raised ends it."""
    results = [""] * count
    numbers = iter(range(count))
    done: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
    is_over = threading.Event()
    lock = threading.Lock()

    def worker() -> None:
        try:
            while not is_over.is_set():
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                results[number] = work(number)
                done.put(None)
        except BaseException as error:
            done.put(error)

    workers = [threading.Thread(target=worker, name="graphcnn decoding", daemon=True) for _ in range(threads)]
    try:
        if bar is not None:
            bar.show_later()
        for thread in workers:
            thread.start()
        for finished in range(1, count + 1):
            error = done.get()
            if error is not None:
                raise error
            if bar is not None:
                bar.report(finished, count)
    finally:
        is_over.set()
        for thread in workers:
            if thread.ident is not None:
                thread.join()
        if bar is not None:
            bar.close()
    return results
