"""What ranks compare before they train together, and what makes it the same where it is not."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import numpy as np

from graphcnn.arrays import Array
from graphcnn.backend import Backend, processor_of
from graphcnn.data.fingerprint import Fingerprint, fingerprint
from graphcnn.distributed.agreement import Stated
from graphcnn.ir import Graph, Origin
from graphcnn.training.callbacks import Callback

PACKAGES: Final = ("graphcnn", "numpy", "llvmlite")
"""Their versions decide which machine code is made, and how it rounds."""

_SAME_DATA: Final = "give every rank the same data, in the same order"
_SAME_BATCHES: Final = "let the iterable yield the same batches, all samples of each, on every rank"
_SAME_CALL: Final = "call fit with the same arguments on every rank"
_SAME_NETWORK: Final = "compile the same network with the same arguments on every rank"


def stated_of_machine(backend: Backend) -> Mapping[str, Stated]:
    """Return versions and processor, as far as bits depend on them."""
    found = {
        f"the version of {name}": Stated(_version(name), f"install the same {name} on every machine")
        for name in PACKAGES
    }
    processor = Stated(
        processor_of(backend) or _processor(), "run all ranks on machines with processors of one kind"
    )
    return {**found, "the processor": processor}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    """Return the processor as NumPy sees it, whose kernels depend on that."""
    found: Any = np.show_config(mode="dicts")
    return " ".join([platform.machine(), *found.get("SIMD Extensions", {}).get("found", [])])


def stated_of_model(
    backend: Backend,
    options: Mapping[str, object],
    graphs: Mapping[str, Graph],
    state: Mapping[str, Array],
    *,
    shards_optimizer: bool,
) -> dict[str, Stated]:
    """Return what a model computes, and from which state on.

    options: of the backend. state: what all ranks have of it.
    """
    chosen = {name: value for name, value in options.items() if name != "threads"}
    return {
        **stated_of_machine(backend),
        "shard_optimizer": Stated(repr(shards_optimizer), _SAME_NETWORK),
        "the backend": Stated(f"{backend.name} {json.dumps(chosen, default=repr)}", _SAME_NETWORK),
        **{name: Stated(_graph_text(graph), _SAME_NETWORK) for name, graph in graphs.items()},
        **{
            f"the values of {name}": Stated(
                hashlib.sha256(np.ascontiguousarray(array).data).hexdigest(),
                "compile with the same seed and weights on every rank, and load the same file",
            )
            for name, array in state.items()
        },
    }


def _graph_text(graph: Graph) -> str:
    """Return a graph as text, without the places in scripts, which may lie elsewhere on other machines."""
    return str(graph.copy(origin=lambda origin: Origin(layer=origin.layer)))


def stated_of_position(position: Mapping[str, object]) -> dict[str, Stated]:
    """Return where the training of a model is, and its numbers, by name."""
    mend = "compile with the same seed on every rank, and call the same methods in the same order"
    return {name: Stated(repr(value), mend) for name, value in position.items()}


def stated_of_call(
    arguments: Mapping[str, object], callbacks: Sequence[Callback], data: Mapping[str, Fingerprint]
) -> dict[str, Stated]:
    """Return what a call of `fit` does. data: the fingerprints of arrays by name."""
    names = ", ".join(type(each).__name__ for each in callbacks) or "none"
    return {
        **{name: Stated(repr(value), _SAME_CALL) for name, value in arguments.items()},
        "callbacks": Stated(names, _SAME_CALL),
        **{f"the data {name}": Stated(_print_text(each), _SAME_DATA) for name, each in data.items()},
    }


def stated_of_epoch(epoch: int, rate: float) -> dict[str, Stated]:
    """Return what callbacks have decided on before an epoch."""
    mend = "let callbacks decide by what they are told, and not by time or chance"
    return {f"the learning rate of epoch {epoch}": Stated(repr(rate), mend)}


def stated_of_batch(batch: Mapping[str, Array] | None, title: str) -> dict[str, Stated]:
    """Return a batch that users have made, or that there is none."""
    if batch is None:
        return {title: Stated("none", _SAME_BATCHES)}
    return {
        f"{name} in {title}": Stated(_print_text(fingerprint(array)), _SAME_BATCHES)
        for name, array in batch.items()
    }


def _print_text(found: Fingerprint) -> str:
    return f"{found['dtype']}{found['shape']} {found['sample']}"
