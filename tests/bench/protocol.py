"""How a worker of a benchmark is called, and how it answers on standard input and output.

It prints one JSON line when it is ready, with the seconds of the first call (compilation included) and, where
it counts them, the FLOPs of a call. It then answers every line that holds a number n with the seconds that n
calls take, until a line says "quit".
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

WARM_UP = 3


def arguments(description: str | None) -> argparse.ArgumentParser:
    """Return a parser of what every worker is told."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=form)
    parser.add_argument("net")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--mode", choices=("train", "infer"), default="train")
    parser.add_argument("--threads", type=int, default=2)
    return parser


def answer(name: str, call: Callable[[], object], flops: Callable[[], int] | None = None) -> None:
    """Time calls for whoever asks. flops: counts those of a call, once the first call has been timed."""
    start = time.perf_counter()
    call()
    first = time.perf_counter() - start
    for _ in range(WARM_UP):
        call()
    counted = {} if flops is None else {"flops": flops()}
    print(json.dumps({"ready": True, "first_s": round(first, 3), "name": name, **counted}), flush=True)
    for line in sys.stdin:
        if line.strip() == "quit":
            return
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(json.dumps({"seconds": time.perf_counter() - start}), flush=True)
