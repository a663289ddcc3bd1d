"""500 random networks, those of the benchmark's generator: native, NumPy and PyTorch compute the same.

Losses and all gradients in float64; and in float32, where the native backend takes short cuts, such as tiles.
"""

import functools
import math

import numpy as np
import pytest
from networks import random_network
from step_worker import built

import graphcnn as gcn
from graphcnn.backend import load_backend

CHUNK, CHUNKS = 25, 20
CLASSES, BATCH = 10, 3
QUICK = [14, 22, 31]
"""Seeds of small networks that every run of the tests looks at."""


@functools.cache
def compiled(seed, dtype):
    shape, layers = random_network(seed)
    options = {"loss": gcn.CrossEntropy(), "backend": "numpy", "dtype": dtype, "seed": seed}
    return gcn.compile(built(shape, layers), **options)


def inputs_of(seed):
    """Return images, labels and weights in float64."""
    model, random = compiled(seed, "float64"), np.random.default_rng(seed)
    images = random.standard_normal((BATCH, *random_network(seed)[0]))
    return {"image": images, "target": random.integers(0, CLASSES, BATCH), **model.state()}


def computed(backend, seed, dtype="float64"):
    """Return the loss and the gradients."""
    given = {name: x.astype(dtype) if x.dtype == "float64" else x for name, x in inputs_of(seed).items()}
    graph = compiled(seed, dtype).gradient_graph
    return load_backend(backend).compile(graph)(**{name: given[name] for name in graph.inputs})


def error(found, expected):
    """Return how far an array is off, by its length."""
    return np.linalg.norm(found - expected) / (np.linalg.norm(expected) + 1e-12)


def check(seed):
    expected, found, single = (
        computed("numpy", seed),
        computed("native", seed),
        computed("native", seed, "float32"),
    )
    for name, array in expected.items():
        assert error(found[name], array) < 1e-9, (seed, name)
        # Rounding takes some units over the kink of their relu: a few places of a gradient are then others.
        assert error(single[name], array) < (1e-4 if name == "loss" else 0.05), (seed, name)


@pytest.mark.parametrize("seed", QUICK)
def test_a_few_compute_what_numpy_computes(seed):
    check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, CHUNK * CHUNKS, CHUNK))
def test_all_compute_what_numpy_computes(first):
    for seed in range(first, first + CHUNK):
        check(seed)
        compiled.cache_clear()


@pytest.mark.torch
@pytest.mark.parametrize("first", range(0, CHUNK * CHUNKS, CHUNK))
def test_all_compute_what_pytorch_computes(first):
    torch = pytest.importorskip("torch")
    from torch_worker import module

    for seed in range(first, first + CHUNK):
        inputs, found = inputs_of(seed), computed("native", seed)
        network = module(*random_network(seed)).double()
        names = [name for name in found if name.startswith("gradient(")]
        own = [name.removeprefix("gradient(").removesuffix(")") for name in names]
        parameters = list(network.parameters())
        for label, parameter in zip(own, parameters, strict=True):
            parameter.data = torch.from_numpy(as_pytorch(inputs[label], parameter.shape, seed))
        images = torch.from_numpy(inputs["image"].transpose(0, 3, 1, 2).copy())
        loss = torch.nn.functional.cross_entropy(network(images), torch.from_numpy(inputs["target"]))
        loss.backward()
        assert error(found["loss"], loss.item()) < 1e-9, seed
        for name, parameter in zip(names, parameters, strict=True):
            gradient = as_pytorch(found[name], parameter.shape, seed)
            assert error(gradient, parameter.grad.numpy()) < 1e-8, (seed, name)
        compiled.cache_clear()


def as_pytorch(array, shape, seed):
    """Return a parameter as PyTorch lays it out: channels come first, and so they do in what is flattened."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1).copy()
    if array.ndim == 1:
        return array.copy()
    _, layers = random_network(seed)
    channels = [layer[1] for layer in layers if layer[0] == "conv"][-1]
    is_flattened = ("flatten",) in layers and array.shape[1] != CLASSES
    side = math.isqrt(array.shape[0] // channels) if is_flattened else 1
    return array.reshape(side, side, -1, array.shape[1]).transpose(3, 2, 0, 1).reshape(tuple(shape)).copy()
