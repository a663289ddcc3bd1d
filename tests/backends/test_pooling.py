"""What pooling does where values are equal, infinite or not a number, on both backends."""

import numpy as np
import pytest

from graphcnn.backend import load_backend
from graphcnn.ir import Graph, TensorType
from graphcnn.ops import MaxPool2d


def pooled(backend, images, **options):
    graph = Graph("pool")
    x = graph.input("x", TensorType(("N", *images.shape[1:]), "float64"))
    value, index = graph.add_all(MaxPool2d(**options), x)
    graph.output("value", value)
    graph.output("index", index)
    found = load_backend(backend).compile(graph)(x=images)
    return found["value"][0, :, :, 0].tolist(), found["index"][0, :, :, 0].tolist()


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_padding_never_wins(backend):
    images = np.full((1, 2, 2, 1), -np.inf)
    value, index = pooled(backend, images, size=(2, 2), stride=(2, 2), padding=((1, 1), (1, 1)))
    assert value == [[-np.inf, -np.inf], [-np.inf, -np.inf]]
    assert index == [[3, 2], [1, 0]]


@pytest.mark.parametrize("backend", ["numpy", "native"])
def test_the_first_of_equals_wins(backend):
    assert pooled(backend, np.ones((1, 2, 4, 1)), size=(2, 2), stride=(2, 2)) == ([[1.0, 1.0]], [[0, 0]])


@pytest.mark.parametrize("backend", ["numpy", "native"])
@pytest.mark.parametrize("padding", [((0, 0), (0, 0)), ((1, 1), (1, 1))])
def test_the_first_nan_wins(backend, padding):
    images = np.array([[1.0, 5.0], [np.nan, np.nan]])[None, :, :, None]
    value, index = pooled(backend, images, size=(2, 2), stride=(2, 2), padding=padding)
    if any(padding[0]):
        assert np.isnan(value[1]).all() and index[1] == [1, 0]
    else:
        assert np.isnan(value[0][0]) and index == [[2]]
