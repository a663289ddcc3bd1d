"""`train --weights`, `--freeze` and `--unfreeze`: training that begins with what was learnt before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from graphcnn.cli.printing import say
from graphcnn.errors import FileError
from graphcnn.interchange.weights import read_weights
from graphcnn.training.freezing import layer_of
from graphcnn.training.model import Model


def begin_with(model: Model, path: Path) -> None:
    """Set the weights of a file, but those of layers that have other shapes in it, such as a head.

    Raises FileError for a damaged file, and for one of which no layer fits.
    """
    tensors, _ = read_weights(path)
    types = model.weights.types
    unfit = {
        layer_of(name)
        for name, type in types.items()
        if name not in tensors
        or (tensors[name].shape, tensors[name].dtype.name) != (type.concrete(1), type.dtype)
    }
    layers = list(dict.fromkeys(map(layer_of, types)))
    others = [layer for layer in layers if layer in unfit]
    if len(others) == len(layers):
        raise FileError(
            f"{path}: no layer of {model.forward_graph.name} has its weights there",
            facts=[
                f"layers of the network: {', '.join(layers)[:200]}",
                f"of the file: {_layers(tensors)[:200]}",
            ],
            mend="name the network that was trained, with its --input-shape",
        )
    model.load_weights(path, only=[layer for layer in layers if layer not in unfit])
    begun = f"; {', '.join(others)} {'begins' if len(others) == 1 else 'begin'} anew" if others else ""
    say(f"begins with the weights of {path}{begun}")


def set_frozen(model: Model, patterns: Sequence[str], *, unfreeze: bool) -> None:
    """Freeze layers by name or pattern, after all are trained again where that was asked for."""
    if unfreeze:
        model.unfreeze()
    if patterns:
        model.freeze(*patterns)


def _layers(names: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(map(layer_of, names)))
