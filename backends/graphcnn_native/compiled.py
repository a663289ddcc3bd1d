"""From a graph to machine code: by way of a program, or at once from what is on disk.

A graph that was compiled before is known by a digest of all that decides its code. Under it, the cache holds
the interface and the names of the modules; so the next process neither lowers the graph nor writes IR.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import graphcnn
from graphcnn.ir import Graph, Op
from graphcnn.phases import listener, phase
from graphcnn.scalar import ScalarFunction
from graphcnn_native.codegen.module import generate
from graphcnn_native.codegen.shares import work
from graphcnn_native.interface import Exchanges, Interface
from graphcnn_native.lowering import Program, is_verified, lower
from graphcnn_native.lowering.exchanges import exchanges
from graphcnn_native.op_code import is_as_shipped
from graphcnn_native.runtime import cache
from graphcnn_native.runtime.engine import Library, compile_modules, load_modules
from graphcnn_native.target import Target


@dataclass(frozen=True)
class Compiled:
    """Machine code in memory, which has a function `step(table)`, and what calls of it need.

    program: by whose way it was made; None if it comes from the disk.
    """

    interface: Interface
    library: Library
    program: Program | None = None


def compiled(graph: Graph, target: Target, *, winograd: bool | int) -> Compiled:
    """Return the machine code of a graph. Raises BackendError as `lower` and `compile_modules` do."""
    with phase("look up"):
        key = _key(graph, target, winograd)
        known = None if key is None else _known(key, target)
    if known is not None:
        return known
    program = lower(graph, target, winograd=winograd)
    code = generate(program, target)
    beside, of_sample = work(program)
    told = exchanges(program)
    interface = replace(program.interface, work=beside, work_per_sample=of_sample, exchanges=told)
    library = compile_modules(code.modules, target, listener=listener())
    if key is not None:
        cache.store(key, _entry(interface, library.keys))
    return Compiled(interface, library, program)


def _known(key: str, target: Target) -> Compiled | None:
    """Return what the cache holds of a graph, or None if any of it is missing."""
    entry = cache.load(key)
    if entry is None:
        return None
    content = json.loads(entry)
    library = load_modules(content.pop("modules"), target)
    if library is None:
        return None
    content["slots"] = tuple((kind, label) for kind, label in content["slots"])
    content["exchanges"] = Exchanges.loaded(content["exchanges"])
    return Compiled(Interface(**content), library)


def _entry(interface: Interface, modules: tuple[str, ...]) -> bytes:
    return json.dumps({**asdict(interface), "modules": modules}).encode()


def _key(graph: Graph, target: Target, winograd: bool | int) -> str | None:
    """Return the name under which the cache knows a graph, or None if it cannot tell what its code will be.

    Where nodes come from has no part in it: the same network in another script has the same code.
    """
    sources = _sources()
    if sources is None or is_verified() or not all(_is_told_by_text(node.op) for _, node in graph.items()):
        return None
    roots = ("output", graph.outputs), ("update", graph.updates)
    text = "\n".join(
        [
            *(f"{node.op!r} {[(v.key, v.index) for v in node.operands]}" for _, node in graph.items()),
            *(f"{kind} {label!r} {v.key} {v.index}" for kind, named in roots for label, v in named.items()),
        ]
    )
    return cache.key(text, target, f"graph, {winograd=}, {sources}")


def _is_told_by_text(op: Op) -> bool:
    """Whether an op's text decides its code: functions and kernels of the user's own do not print."""
    return is_as_shipped(op) and not isinstance(getattr(op, "function", None), ScalarFunction)


@functools.cache
def _sources() -> str | None:
    """Return what tells versions of this project's code apart, as Python does for its own compiled files.

    None where the code is in no files of its own.
    """
    folders = [Path(os.fspath(file)).parent for file in (graphcnn.__file__, __file__)]
    try:
        found = sorted(_stamps(folders))
    except OSError:
        return None
    return "\n".join(found) or None


def _stamps(folders: list[Path]) -> Iterator[str]:
    for folder in folders:
        with os.scandir(folder) as listing:
            for item in listing:
                if item.is_dir():
                    yield from _stamps([folder / item.name])
                elif item.name.endswith(".py"):
                    status = item.stat()
                    yield f"{item.path} {status.st_mtime_ns} {status.st_size}"
