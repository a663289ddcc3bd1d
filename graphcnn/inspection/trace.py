"""A profile as a trace of events, in the format that Perfetto and chrome://tracing read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any

from graphcnn.backend import Timeline
from graphcnn.errors import OptionError
from graphcnn.interchange.files import write_atomically

if TYPE_CHECKING:
    from graphcnn.inspection.profile import Profile

PROCESS = 0


def write_chrome_trace(profile: Profile, path: str | PathLike[str]) -> None:
    """Write one step of a profile: a row per thread with its kernels, each call when it really ran.

    The format is Chrome's Trace Event Format, complete events ("ph": "X") with times in microseconds from the
    begin of the call. Raises OptionError where the backend does not tell when its kernels ran, and OSError.
    """
    timeline = profile.timeline
    if timeline is None:
        raise OptionError(
            f"backend {profile.backend!r} does not tell when its kernels ran",
            mend='gcn.compile(network, backend="native")',
        )
    trace = {
        "traceEvents": [*_names(profile), *_events(profile, timeline)],
        "displayTimeUnit": "ms",
        "otherData": {"title": profile.title, "median of a call in ms": profile.seconds * 1e3},
    }
    write_atomically(path, json.dumps(trace, indent=0).encode())


def _names(profile: Profile) -> Iterator[dict[str, Any]]:
    yield {"ph": "M", "name": "process_name", "pid": PROCESS, "args": {"name": profile.title}}
    for thread in range(profile.threads):
        name = f"thread {thread}" if thread else "thread 0 (the caller)"
        yield {"ph": "M", "name": "thread_name", "pid": PROCESS, "tid": thread, "args": {"name": name}}


def _events(profile: Profile, timeline: Timeline) -> Iterator[dict[str, Any]]:
    begin, end = profile.span
    yield _event("Python: the call begins", "python", 0, 0.0, -begin)
    for call in timeline.calls:
        kernel = profile.kernels[call["kernel"]]
        yield _event(
            kernel.name,
            "kernel",
            int(call["thread"]),
            float(call["begin"]) - begin,
            float(call["end"] - call["begin"]),
            layer=kernel.layers,
            rule=kernel.rules,
            nodes=" ".join(f"%{key}" for key in kernel.nodes),
            **{"FLOP of the step": kernel.flops, "bytes of the step": kernel.bytes},
            details=kernel.details,
        )
    computed = timeline.seconds - begin
    yield _event("Python: the call returns", "python", 0, computed, end - timeline.seconds)


def _event(
    name: str, category: str, thread: int, begin: float, seconds: float, **arguments: object
) -> dict[str, Any]:
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": PROCESS,
        "tid": thread,
        "ts": round(begin * 1e6, 3),
        "dur": round(seconds * 1e6, 3),
        "args": arguments,
    }
