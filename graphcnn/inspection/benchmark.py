"""How long a model's step or inference takes on random data, and each of its kernels, on this machine."""

from __future__ import annotations

import numpy as np

from graphcnn.arrays import Array
from graphcnn.inspection.profile import Mode, Profile, measure
from graphcnn.ir import Graph
from graphcnn.sample_keys import identities
from graphcnn.training.model import Model


def benchmark(model: Model, *, mode: Mode = "train", batch: int = 64, repeats: int = 30) -> Profile:
    """Return the profile of training steps (on a copy of the model's state) or inference on random data.

    batch: samples per call. repeats: measured calls.
    Raises OptionError where the model was compiled without a loss or optimizer and `mode` is "train".
    """
    graph = model.executable("step" if mode == "train" else "forward").graph
    return measure(model, random_batch(model, graph, batch), mode=mode, repeats=repeats)


def random_batch(model: Model, graph: Graph, batch: int) -> dict[str, Array]:
    """Return random data for the inputs of one of the model's graphs; labels are within the classes."""
    classes = min(int(value.type.shape[-1]) for value in model.forward_graph.outputs.values())
    random = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for label, value in graph.inputs_with_role("data").items():
        shape = value.type.concrete(batch)
        if value.type.is_float:
            inputs[label] = random.standard_normal(shape).astype(value.type.dtype)
        else:
            inputs[label] = random.integers(classes, size=shape).astype(value.type.dtype)
    keys = dict.fromkeys(graph.inputs_with_role("sample"), identities(0, np.arange(batch)))
    return {**inputs, **keys}
